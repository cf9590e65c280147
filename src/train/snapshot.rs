//! What a forward pass changes in a model, kept so that it can be undone.

use crate::device::Random;
use crate::nn::{Module, Path, Running, Visit, VisitMut};
use crate::tensor::Tensor;

/// The streams and running tensors of a model at a moment. Parameters need no keeping: only the optimizer changes them.
#[derive(Default)]
pub(super) struct Snapshot {
    streams: Vec<Random>,
    running: Vec<Tensor>,
}

impl Snapshot {
    /// Keeps the model's, in the place of what was kept before.
    pub(super) fn take<M: Module>(&mut self, model: &M) {
        self.streams.clear();
        self.running.clear();
        model.visit(&Path::ROOT, self);
    }
    /// Gives the model back what it had.
    pub(super) fn restore<M: Module>(&self, model: &mut M) {
        let mut restore = Restore { streams: self.streams.iter(), running: self.running.iter() };
        model.visit_mut(&Path::ROOT, &mut restore);
    }
}

impl<'a> Visit<'a> for Snapshot {
    fn parameter(&mut self, _: &Path<'_>, _: &'a crate::tensor::Parameter) {}
    fn running(&mut self, _: &Path<'_>, running: &'a Running<Tensor>) {
        self.running.push(running.get());
    }
    fn stream(&mut self, _: &Path<'_>, stream: &'a Running<Random>) {
        self.streams.push(stream.get());
    }
}

struct Restore<'s> {
    streams: std::slice::Iter<'s, Random>,
    running: std::slice::Iter<'s, Tensor>,
}

impl<'a> VisitMut<'a> for Restore<'_> {
    fn parameter(&mut self, _: &Path<'_>, _: &'a mut crate::tensor::Parameter) {}
    fn running(&mut self, _: &Path<'_>, running: &'a mut Running<Tensor>) {
        if let Some(before) = self.running.next() {
            running.set(before.clone());
        }
    }
    fn stream(&mut self, _: &Path<'_>, stream: &'a mut Running<Random>) {
        if let Some(before) = self.streams.next() {
            stream.set(before.clone());
        }
    }
}
