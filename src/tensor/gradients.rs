//! What backward gives: a gradient for every leaf that took part.

use super::Tensor;
use super::graph::{History, Place};
use crate::device::accumulate::Accumulate;
use crate::device::on;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::layout::{DType, Element, dispatch};
use std::sync::Arc;

/// A place where history was cut off on the way to a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What cut it: "detach", "no_grad", or the sentence of an operation that has no gradient.
    pub reason: &'static str,
    /// Where, in your source.
    pub at: &'static std::panic::Location<'static>,
}

pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) name: Option<Arc<str>>,
    pub(super) gradient: Tensor,
}

/// The gradients of one backward pass, by leaf.
///
/// ```
/// use chainrule::Tensor;
/// let w = Tensor::from([2.0]).variable();
/// let gradients = (&w * &w).sum().backward()?;
/// assert_eq!(gradients.len(), 1);
/// assert_eq!(gradients.of(&w)?.item()?, 4.0);
/// assert_eq!(gradients.norm()?, 4.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Default)]
pub struct Gradients {
    /// Sorted by id, newest first.
    pub(super) entries: Vec<Entry>,
    pub(super) cuts: Vec<Cut>,
}

impl Gradients {
    /// The gradient of a variable or parameter, if it took part.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        let History::Node { node, .. } = leaf.history() else { return None };
        self.get_by_id(node.id)
    }
    pub(crate) fn get_by_id(&self, id: u64) -> Option<&Tensor> {
        let at = self.entries.binary_search_by(|entry| id.cmp(&entry.id)).ok()?;
        self.entries.get(at).map(|entry| &entry.gradient)
    }
    /// The gradient of a variable or parameter; an error that says why where there is none.
    #[track_caller]
    pub fn of(&self, leaf: &Tensor) -> Result<&Tensor> {
        let at: Place = std::panic::Location::caller();
        leaf.value()?;
        self.get(leaf).ok_or_else(|| {
            let what = match leaf.history() {
                History::Node { node, .. } if node.is_leaf() => "it took no part in the loss",
                History::Node { .. } => "it is computed, not a leaf",
                History::Frozen(_) => "it is frozen",
                _ => "it is no variable or parameter",
            };
            let name = leaf.name().unwrap_or("the tensor".to_string());
            let mut help = match leaf.history() {
                History::Node { node, .. } if !node.is_leaf() => "ask for it with gradients_of".to_string(),
                History::Node { .. } => "compute the loss from it".to_string(),
                _ => "mark it with variable() before it is used".to_string(),
            };
            for cut in &self.cuts {
                help.push_str(&format!(
                    "{}history was cut by {} at {}:{}",
                    if help.is_empty() { "" } else { "; " },
                    cut.reason,
                    cut.at.file(),
                    cut.at.line()
                ));
            }
            let fault = Fault::new(ErrorKind::Gradient, format!("there is no gradient for {name}: {what}"), help);
            Error::with("gradients", fault, Vec::new(), at)
        })
    }
    /// The gradient of a named parameter.
    ///
    /// ```
    /// use chainrule::{Parameter, Tensor};
    /// let weight = Parameter::new(Tensor::from([3.0]));
    /// weight.set_name("weight");
    /// let gradients = (&*weight * 2.0).sum().backward()?;
    /// assert_eq!(gradients.by_name("weight").unwrap().item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn by_name(&self, name: &str) -> Option<&Tensor> {
        self.iter().find(|(given, _)| *given == Some(name)).map(|(_, gradient)| gradient)
    }
    /// Every gradient with its leaf's name, oldest leaf first.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &Tensor)> {
        self.entries.iter().rev().map(|entry| (entry.name.as_deref(), &entry.gradient))
    }
    /// How many leaves took part.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Did no leaf take part?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// The first places where history was cut off on the way (at most four).
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }
    /// Adds the gradients of another pass, for a batch that is done in pieces.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([2.0]).variable();
    /// let mut total = (&w * 3.0).sum().backward()?;
    /// total.add(&(&w * 4.0).sum().backward()?)?;
    /// assert_eq!(total.of(&w)?.item()?, 7.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn add(&mut self, other: &Gradients) -> Result<()> {
        let mut sums = Vec::with_capacity(other.len());
        for entry in &other.entries {
            if let Some(mine) = self.get_by_id(entry.id) {
                sums.push(Some(super::own::add_up(mine.clone(), &entry.gradient).checked()?));
            } else {
                entry.gradient.value()?;
                sums.push(None);
            }
        }
        for (entry, sum) in other.entries.iter().zip(sums) {
            match self.entries.binary_search_by(|mine| entry.id.cmp(&mine.id)) {
                Ok(at) => {
                    if let Some(sum) = sum {
                        self.entries[at].gradient = sum;
                    }
                }
                Err(at) => self
                    .entries
                    .insert(at, Entry { id: entry.id, name: entry.name.clone(), gradient: entry.gradient.clone() }),
            }
        }
        self.cuts.extend(other.cuts.iter().take(4usize.saturating_sub(self.cuts.len())));
        Ok(())
    }
    /// Multiplies every gradient.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([2.0]).variable();
    /// let mut gradients = (&w * 3.0).sum().backward()?;
    /// gradients.scale(0.5)?;
    /// assert_eq!(gradients.of(&w)?.item()?, 1.5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        self.map(|x| x * factor)
    }
    /// Cuts every single number to `-limit ..= limit`; NaN stays.
    pub fn clip_value(&mut self, limit: f64) -> Result<()> {
        let limit = limit.abs();
        self.map(|x| {
            if x > limit {
                limit
            } else if x < -limit {
                -limit
            } else {
                x
            }
        })
    }
    /// Scales all gradients together so that their common norm is at most `limit`; gives the norm before.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([3.0, 4.0]).variable();
    /// let mut gradients = (&w * &w).sum().backward()?;
    /// assert_eq!(gradients.clip_norm(1.0)?, 10.0);
    /// assert!((gradients.norm()? - 1.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn clip_norm(&mut self, limit: f64) -> Result<f64> {
        let norm = self.norm()?;
        if norm > limit {
            self.scale(limit / norm)?;
        }
        Ok(norm)
    }
    /// The Euclidean norm of all gradients together.
    pub fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for (_, gradient) in self.iter() {
            let value = gradient.value()?;
            total += on!(value.device(), sum_of_squares(value)).map_err(|fault| Error::new("gradients", fault))?;
        }
        Ok(total.sqrt())
    }
    /// Is every number finite?
    pub fn is_finite(&self) -> Result<bool> {
        for (_, gradient) in self.iter() {
            if super::apply::not_finite(gradient.value()?).is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
    /// Replaces every number; on an error nothing has changed. A gradient that is held elsewhere is copied first.
    fn map(&mut self, f: impl Fn(f64) -> f64) -> Result<()> {
        for entry in &self.entries {
            entry.gradient.value()?;
        }
        for entry in &mut self.entries {
            let value = entry.gradient.value()?;
            let (shape, dtype): (_, DType) = (*value.shape(), value.dtype());
            let numbers = entry.gradient.to_vec::<f64>()?;
            let mapped = dispatch!(dtype, T => crate::device::Value::build::<T>(shape, |out| {
                for (o, &x) in out.iter_mut().zip(&numbers) {
                    *o = T::from_f64(f(x));
                }
            }));
            entry.gradient = Tensor::from_value(mapped.map_err(|fault| Error::new("gradients", fault))?);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Gradients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (name, gradient) in self.iter() {
            map.entry(&name.unwrap_or("(unnamed)"), &gradient.describe());
        }
        map.finish()
    }
}
