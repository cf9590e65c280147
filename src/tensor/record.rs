//! Everything that happens, written down: for pictures, replays, compiled plans and export.

use super::Tensor;
use super::graph::{History, Node};
use super::op::{Op, Outputs};
use super::scopes::with_modes;
use crate::device::Value;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;

/// One operation as it happened.
#[derive(Clone)]
pub struct Step {
    pub(super) node: Arc<Node>,
    inputs: SmallVec<[Value; 3]>,
    outputs: Outputs,
}

/// Where an operand came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Result `output` of step number `step` of the recording.
    Step {
        /// Which step.
        step: usize,
        /// Which of its results.
        output: usize,
    },
    /// A variable or parameter.
    Leaf {
        /// Its identity.
        id: u64,
        /// Its name, where it has one.
        name: Option<String>,
    },
    /// Data: numbers that nothing recorded here computed.
    Data,
}

impl Step {
    /// The operation.
    pub fn op(&self) -> &dyn Op {
        self.node.op()
    }
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.node.op().name()
    }
    /// Where it stands in your source.
    pub fn location(&self) -> &'static Location<'static> {
        self.node.location()
    }
    /// The operands.
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }
    /// The results.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }
}

/// Every operation of a block, in order, with operands and results.
///
/// ```
/// use chainrule::{Source, Tensor, record};
/// let x = Tensor::from([1.0, 2.0]);
/// let (y, recording) = record(|| (&x * 2.0).exp());
/// let names: Vec<_> = recording.steps().iter().map(|step| step.name()).collect();
/// assert_eq!(names.len(), 2);
/// assert_eq!(names[1], "exp");
/// assert_eq!(recording.sources(1), [Source::Step { step: 0, output: 0 }]);
/// # drop(y);
/// ```
#[derive(Clone, Default)]
pub struct Recording {
    steps: Vec<Step>,
}

impl Recording {
    /// The operations, in the order they happened.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
    /// Where each operand of a step came from.
    pub fn sources(&self, step: usize) -> Vec<Source> {
        let Some(step) = self.steps.get(step) else { return Vec::new() };
        step.node.edges().iter().map(|edge| self.source(&edge.history)).collect()
    }
    /// Where a tensor came from.
    pub fn source_of(&self, tensor: &Tensor) -> Source {
        self.source(tensor.history())
    }
    /// Which step a node belongs to.
    pub(super) fn step_of(&self, node: &Node) -> Option<usize> {
        self.steps.binary_search_by_key(&node.id, |step| step.node.id).ok()
    }
    fn source(&self, history: &History) -> Source {
        match history {
            History::Node { node, output } => match self.step_of(node) {
                Some(step) => Source::Step { step, output: *output as usize },
                None if node.is_leaf() => Source::Leaf { id: node.id, name: history.name() },
                None => Source::Data,
            },
            History::Frozen(node) if node.is_leaf() => Source::Leaf { id: node.id, name: history.name() },
            _ => Source::Data,
        }
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| step.node.op())).finish()
    }
}

thread_local! {
    static RECORDINGS: RefCell<Vec<Recording>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` and writes down every operation, tracked or not, on every element type.
///
/// Unlike the graph that gradients need, a recording holds all operands and results until it is dropped.
pub fn record<R>(work: impl FnOnce() -> R) -> (R, Recording) {
    struct Open;
    impl Drop for Open {
        fn drop(&mut self) {
            RECORDINGS.with_borrow_mut(Vec::pop);
        }
    }
    RECORDINGS.with_borrow_mut(|open| open.push(Recording::default()));
    let open = Open;
    let result = with_modes(|modes| modes.everything = true, work);
    let recording = RECORDINGS.with_borrow_mut(|open| open.last_mut().map(std::mem::take)).unwrap_or_default();
    drop(open);
    // An outer recording sees what the inner one saw.
    RECORDINGS.with_borrow_mut(|open| {
        if let Some(outer) = open.last_mut() {
            outer.steps.extend(recording.steps.iter().cloned());
        }
    });
    (result, recording)
}

/// Adds a step to the innermost open recording.
pub(super) fn write_down(node: &Arc<Node>, inputs: &[&Value], outputs: &[Value]) {
    let step = Step {
        node: node.clone(),
        inputs: inputs.iter().map(|value| (*value).clone()).collect(),
        outputs: outputs.iter().cloned().collect(),
    };
    RECORDINGS.with_borrow_mut(|open| {
        if let Some(recording) = open.last_mut() {
            recording.steps.push(step);
        }
    });
}
