//! A backward pass that is written down: what arrived at each recorded operation, and what it passed on.

use super::backward::{Watch, watched};
use super::graph::Node;
use super::{Gradients, Recording, Source, Tensor};
use crate::device::Value;
use crate::error::Result;
use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;

/// A moment of a backward pass: gradients arrive at an operation, or at a leaf, and go on to its inputs.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Which step of the recording, or which leaf.
    pub at: Source,
    /// What has arrived for each result, summed over the paths that meet there.
    pub arrived: Vec<Option<Value>>,
    /// What goes on: the position of an input and its gradient.
    pub passed: Vec<(usize, Value)>,
}

/// Keeps what it sees.
struct Notes<'a> {
    recording: &'a Recording,
    visits: RefCell<Vec<Visit>>,
}

impl Watch for Notes<'_> {
    fn see(&self, node: &Arc<Node>, arrived: &[Option<Tensor>], passed: &[(usize, Tensor)]) {
        let at = match self.recording.step_of(node) {
            Some(step) => Source::Step { step, output: 0 },
            None if node.is_leaf() => {
                Source::Leaf { id: node.id, name: node.op().label().map(|name| name.to_string()) }
            }
            // It was computed before the recording began.
            None => Source::Data,
        };
        let number = |tensor: &Tensor| tensor.value().ok().cloned();
        self.visits.borrow_mut().push(Visit {
            at,
            arrived: arrived.iter().map(|arrived| arrived.as_ref().and_then(number)).collect(),
            passed: passed.iter().filter_map(|(which, gradient)| Some((*which, number(gradient)?))).collect(),
        });
    }
}

impl Recording {
    /// The gradients of a single number that was computed in this recording, and every moment on the way to them, newest
    /// operation first. The graph is kept.
    ///
    /// ```
    /// use chainrule::{Source, Tensor, record};
    /// let x = Tensor::from([3.0]).variable();
    /// let (loss, recording) = record(|| x.square().sum());
    /// let (gradients, visits) = recording.backward(&loss)?;
    /// assert_eq!(gradients.of(&x)?.item()?, 6.0);
    /// assert_eq!(visits.len(), 3, "sum, square, and x itself");
    /// assert_eq!(visits[0].at, Source::Step { step: 1, output: 0 });
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn backward(&self, loss: &Tensor) -> Result<(Gradients, Vec<Visit>)> {
        let notes = Notes { recording: self, visits: RefCell::new(Vec::new()) };
        let gradients = watched(loss, &notes, Location::caller())?;
        Ok((gradients, notes.visits.into_inner()))
    }
}
