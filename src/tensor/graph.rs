//! What is remembered of an operation: a node, its edges to older nodes, and the values its gradients read.

use super::op::{Keep, Op, Outputs, Saves};
use super::{Call, Tensor};
use crate::device::{Device, Value};
use crate::error::Fault;
use crate::layout::{DType, Shape};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) type Place = &'static Location<'static>;

/// Where a tensor comes from.
#[derive(Clone)]
pub(crate) enum History {
    /// Nowhere: data.
    None,
    /// Result `output` of a recorded operation, or a leaf.
    Node { node: Arc<Node>, output: u32 },
    /// A leaf that does not record (a frozen parameter), or a view of a named tensor made without recording:
    /// it has a name and no gradient.
    Frozen(Arc<Node>),
    /// Its history was cut off by `detach`.
    Detached(Place),
    /// It was computed from tracked tensors inside `no_grad`.
    NoGrad(Place),
    /// It came through an operation that has no gradient.
    NoGradient(Arc<(&'static str, Place)>),
}

impl History {
    /// The node of a tensor that wants a gradient.
    #[inline]
    pub(crate) fn tracked(&self) -> Option<(&Arc<Node>, usize)> {
        match self {
            // Positions and masks that come with a result want no gradient, though their node does.
            History::Node { node, output } if node.wants => {
                let output = *output as usize;
                node.results.get(output).is_some_and(|result| result.1.is_float()).then_some((node, output))
            }
            _ => None,
        }
    }
    /// The node that a name can be looked up in.
    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        match self {
            History::Node { node, .. } | History::Frozen(node) => Some(node),
            _ => None,
        }
    }
    /// The reason and the place where history was lost.
    pub(crate) fn cut(&self) -> Option<(&'static str, Place)> {
        match self {
            History::Detached(at) => Some(("detach", at)),
            History::NoGrad(at) => Some(("no_grad", at)),
            History::NoGradient(cut) => Some(**cut),
            History::Frozen(view) => {
                let source = &view.edges.first()?.history;
                if source.tracked().is_some() { Some(("no_grad", view.location)) } else { source.cut() }
            }
            _ => None,
        }
    }
    /// The name of a leaf, of a labelled tensor, or of a view of one.
    pub(crate) fn name(&self) -> Option<String> {
        let mut node = self.node()?;
        let mut suffix = String::new();
        loop {
            if let Some(name) = node.op.label() {
                return Some(format!("{name}{suffix}"));
            }
            let view = node.op.view()?;
            if suffix.is_empty() {
                suffix = format!(" ({view})");
            }
            node = node.edges.first()?.history.node()?;
        }
    }
    pub(crate) fn is_named(&self) -> bool {
        let mut node = self.node();
        while let Some(current) = node {
            if current.op.label().is_some() {
                return true;
            }
            if current.op.view().is_none() {
                return false;
            }
            node = current.edges.first().and_then(|edge| edge.history.node());
        }
        false
    }
}

/// From an operation to one of its inputs.
pub(crate) struct Edge {
    pub(crate) history: History,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

/// The values that gradients read. They have no history, so a node never holds itself.
#[derive(Clone, Default)]
pub(crate) struct Saved {
    pub(crate) inputs: SmallVec<[Option<Value>; 3]>,
    pub(crate) outputs: SmallVec<[Option<Value>; 1]>,
    pub(crate) kept: SmallVec<[Value; 2]>,
}

/// An operation that was recorded. The operation is the last, unsized field: one allocation a node.
pub(crate) struct Node<O: ?Sized = dyn Op> {
    record: Record,
    op: O,
}

/// What is remembered of any operation. It knows no type of operation, so its code exists once.
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) wants: bool,
    location: Place,
    edges: SmallVec<[Edge; 3]>,
    saved: Mutex<Option<Saved>>,
    results: SmallVec<[(Shape, DType); 1]>,
    /// Where the results are.
    device: Device,
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many operations and leaves are remembered at this moment, in the whole program: for tests that watch for leaks.
///
/// ```
/// let before = chainrule::live_nodes();
/// let x = chainrule::Tensor::ones([2]).variable();
/// assert!(chainrule::live_nodes() > before);
/// # drop(x);
/// ```
pub fn live_nodes() -> usize {
    LIVE.load(Ordering::Relaxed)
}

impl Record {
    /// Nothing is known yet but the place. It lies in its node from the start, where it is filled in: it is large.
    fn blank(location: Place) -> Record {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Record {
            id: 0,
            wants: false,
            location,
            edges: SmallVec::new(),
            saved: Mutex::new(None),
            results: SmallVec::new(),
            device: Device::Cpu,
        }
    }
    /// What happened: the node gets its place in the order of all nodes.
    fn fill(&mut self, op: &dyn Op, inputs: &[&Tensor], outputs: &[Value], keep: Keep, wants: bool) {
        let mut saves = Saves::NONE;
        for (which, input) in inputs.iter().enumerate() {
            let Ok(value) = &input.value else { continue };
            if input.history.tracked().is_some() {
                saves = saves.and(op.saves(which));
            }
            self.edges.push(Edge { history: input.history.clone(), shape: *value.shape(), dtype: value.dtype() });
        }
        let mut saved = Saved { kept: keep.values, ..Saved::default() };
        if wants {
            for (which, input) in inputs.iter().enumerate() {
                saved.inputs.push(if saves.has_input(which) { input.value.as_ref().ok().cloned() } else { None });
            }
            for (which, output) in outputs.iter().enumerate() {
                saved.outputs.push(if saves.has_output(which) { Some(output.clone()) } else { None });
            }
        }
        for output in outputs {
            self.results.push((*output.shape(), output.dtype()));
            self.device = output.device();
        }
        *self.saved.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        self.wants = wants;
        self.id = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    /// The device of the results.
    pub(crate) fn device(&self) -> Device {
        self.device
    }
    pub(crate) fn location(&self) -> Place {
        self.location
    }
    pub(crate) fn edges(&self) -> &[Edge] {
        &self.edges
    }
    pub(crate) fn results(&self) -> &[(Shape, DType)] {
        &self.results
    }
    /// A leaf: a variable or a parameter.
    pub(crate) fn is_leaf(&self) -> bool {
        self.edges.is_empty()
    }
    pub(crate) fn saved(&self) -> MutexGuard<'_, Option<Saved>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: ?Sized> Deref for Node<O> {
    type Target = Record;
    #[inline]
    fn deref(&self) -> &Record {
        &self.record
    }
}

impl<O: Op> Node<O> {
    /// A node whose [`fill`](Node::fill) is still to come.
    #[inline]
    pub(crate) fn blank(op: O, location: Place) -> Node<O> {
        Node { record: Record::blank(location), op }
    }
    /// A node that came from nowhere.
    pub(crate) fn source(op: O, value: &Value, location: Place) -> Node<O> {
        let mut node = Node::blank(op, location);
        node.record.fill(&node.op, &[], std::slice::from_ref(value), Keep::new(false), true);
        node
    }
}

impl Node<Leaf> {
    pub(crate) fn op_of_leaf(&self) -> &Leaf {
        &self.op
    }
    /// The same leaf (its identity, name and place) for numbers of another element type.
    pub(crate) fn leaf_again(&self, value: &Value) -> Arc<Node<Leaf>> {
        let leaf = Leaf { name: Mutex::new(self.op.label()) };
        let mut node = Node::source(leaf, value, self.record.location);
        node.record.id = self.record.id;
        Arc::new(node)
    }
}

impl Node {
    pub(crate) fn op(&self) -> &dyn Op {
        &self.op
    }
    /// What the operation of a blank node was given, and what came of it.
    pub(crate) fn fill(&mut self, inputs: &[&Tensor], outputs: &[Value], keep: Keep, wants: bool) {
        self.record.fill(&self.op, inputs, outputs, keep, wants);
    }
    /// A leaf of its own identity.
    pub(crate) fn leaf(value: &Value, name: Option<Arc<str>>, location: Place) -> Arc<Node<Leaf>> {
        let leaf = Leaf { name: Mutex::new(name) };
        Arc::new(Node::source(leaf, value, location))
    }
}

thread_local! {
    static DYING: RefCell<Vec<Arc<Node>>> = const { RefCell::new(Vec::new()) };
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

/// A long chain of nodes would drop recursively and overflow the stack: the last holder of an input puts it on a list,
/// and whoever is outermost empties the list.
impl Drop for Record {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        let mut waiting = false;
        for edge in &mut self.edges {
            if let History::Node { node, .. } | History::Frozen(node) =
                std::mem::replace(&mut edge.history, History::None)
                && Arc::strong_count(&node) == 1
            {
                waiting = true;
                // While a thread ends, the list may be gone: then the node drops here and now.
                let mut node = Some(node);
                let _ = DYING.try_with(|dying| {
                    if let (Ok(mut dying), Some(node)) = (dying.try_borrow_mut(), node.take()) {
                        dying.push(node);
                    }
                });
            }
        }
        if waiting && !DRAINING.try_with(|draining| draining.replace(true)).unwrap_or(true) {
            while let Ok(Some(node)) = DYING.try_with(|dying| dying.borrow_mut().pop()) {
                drop(node);
            }
            let _ = DRAINING.try_with(|draining| draining.set(false));
        }
    }
}

/// The operation of a leaf: it only has a name.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) name: Mutex<Option<Arc<str>>>,
}

impl Leaf {
    pub(crate) fn rename(&self, name: &str) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.into());
    }
}

impl Op for Leaf {
    fn name(&self) -> &'static str {
        "leaf"
    }
    fn forward(&self, _: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        Err(Fault::defect("a leaf is not computed"))
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].clone()
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x adds up here"
    }
    fn label(&self) -> Option<Arc<str>> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn take_label(&self, name: &str) -> bool {
        let mut own = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        let free = own.is_none();
        own.get_or_insert_with(|| name.into());
        free
    }
}
