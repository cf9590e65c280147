//! Layers one after another.

use super::in_turn::each_in_turn;
use super::{Layer, Module, Path, Visit, VisitMut};
use crate::tensor::Tensor;
use std::fmt;

/// Layers one after another: each takes what the one before gave.
///
/// Convolutions take along what is behind them as [`in_turn`](super::in_turn) says. Its layers are called `0`, `1`, ... in names, or by the names that [`then_named`](Sequential::then_named) gives.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, Module, Relu, Sequential};
/// use chainrule::Tensor;
/// let mut init = Init::new();
/// let model = Sequential::new()
///     .then(Linear::new(784, 128, &mut init))
///     .then(Relu)
///     .then(Linear::new(128, 10, &mut init))
///     .named();
/// assert_eq!(model.forward(&Tensor::zeros([64, 784])).dims()?, [64, 10]);
/// assert_eq!(model.parameters()[3].0, "2.bias");
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Sequential {
    layers: Vec<(Option<String>, Box<dyn Link>)>,
}

/// A layer that can be cloned and printed whatever its type.
trait Link: Layer {
    fn copy(&self) -> Box<dyn Link>;
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<L: Layer + Clone + fmt::Debug + 'static> Link for L {
    fn copy(&self) -> Box<dyn Link> {
        Box::new(self.clone())
    }
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt(f)
    }
}

impl Clone for Box<dyn Link> {
    fn clone(&self) -> Box<dyn Link> {
        (**self).copy()
    }
}

impl Sequential {
    /// No layers: the output is the input.
    pub fn new() -> Sequential {
        Sequential::default()
    }
    /// One more layer at the end.
    pub fn then(mut self, layer: impl Layer + Clone + fmt::Debug + 'static) -> Sequential {
        self.layers.push((None, Box::new(layer)));
        self
    }
    /// One more layer at the end, with a name of its own.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module, Sequential};
    /// let model = Sequential::new().then_named("head", Linear::new(4, 2, &mut Init::new()));
    /// assert_eq!(model.parameters()[0].0, "head.weight");
    /// ```
    pub fn then_named(mut self, name: &str, layer: impl Layer + Clone + fmt::Debug + 'static) -> Sequential {
        self.layers.push((Some(name.to_string()), Box::new(layer)));
        self
    }
    /// How many layers there are.
    ///
    /// ```
    /// use chainrule::nn::{Relu, Sequential};
    /// assert_eq!(Sequential::new().then(Relu).len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.layers.len()
    }
    /// Is there no layer?
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
    /// Keeps the first `count` layers: to put a new head on a trained body.
    ///
    /// ```
    /// use chainrule::nn::{Relu, Sequential, Tanh};
    /// assert_eq!(Sequential::new().then(Relu).then(Tanh).truncated(1).len(), 1);
    /// ```
    pub fn truncated(mut self, count: usize) -> Sequential {
        self.layers.truncate(count);
        self
    }
}

fn at<'b>(path: &'b Path<'b>, index: usize, name: &'b Option<String>) -> Path<'b> {
    match name {
        Some(name) => path.child(name),
        None => path.item(index),
    }
}

impl Module for Sequential {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        for (index, (name, layer)) in self.layers.iter().enumerate() {
            layer.visit(&at(path, index, name), visitor);
        }
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        for (index, (name, layer)) in self.layers.iter_mut().enumerate() {
            layer.visit_mut(&at(path, index, name), visitor);
        }
    }
}

impl Layer for Sequential {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        let layer = |index: usize| self.layers.get(index).map(|(_, layer)| &**layer as &dyn Layer);
        each_in_turn(input, self.layers.len(), &layer)
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (index, (name, layer)) in self.layers.iter().enumerate() {
            map.entry(&format_args!("{}", at(&Path::ROOT, index, name)), &Shown(&**layer));
        }
        map.finish()
    }
}

struct Shown<'a>(&'a dyn Link);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.print(f)
    }
}
