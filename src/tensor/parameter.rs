//! A number that is learnt: an identity whose value changes.

use super::graph::{History, Leaf, Node};
use super::{Tensor, casts};
use crate::device::copy::Arrange;
use crate::device::{Value, capture, on};
use crate::error::{Error, Fault, Result};
use crate::layout::Element;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A tensor that a model owns and an optimizer changes.
///
/// It has an identity, which it keeps when its value changes; gradients and optimizer states belong to the identity.
/// A clone is another parameter with the same value. It reads like a tensor: methods and operators work on it.
///
/// ```
/// use chainrule::{Parameter, Tensor};
/// let mut weight = Parameter::new(Tensor::from([2.0]));
/// let loss = (&*weight * &*weight).sum();
/// let gradients = loss.backward()?;
/// let step = gradients.of(&weight)? * 0.1;
/// weight.set(&(weight.detach() - step))?;
/// assert_eq!(weight.item()?, 1.6f32 as f64);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub struct Parameter {
    tensor: Tensor,
    leaf: Option<Arc<Node<Leaf>>>,
}

static SHARED_UPDATES: AtomicU64 = AtomicU64::new(0);

/// How often, in the whole program, a parameter was copied for an update because something else still held its value
/// (a graph that was never walked, a clone, a kept tensor). In a healthy training loop it stands still.
///
/// ```
/// let before = chainrule::shared_updates();
/// assert_eq!(chainrule::shared_updates(), before);
/// ```
pub fn shared_updates() -> u64 {
    SHARED_UPDATES.load(Ordering::Relaxed)
}

impl Parameter {
    /// A parameter that starts at the numbers of a tensor. A failed tensor makes a failed parameter.
    #[track_caller]
    pub fn new(start: Tensor) -> Parameter {
        let at = Location::caller();
        let value = match start.value() {
            Ok(value) if value.dtype().is_float() => value.clone(),
            Ok(value) => {
                let what = format!("{} numbers cannot be learnt", value.dtype());
                let fault = Fault::dtype(what, "convert them first: to_dtype(DType::F32)");
                return Parameter { tensor: Tensor::failed(start.refuse("parameter", fault, at)), leaf: None };
            }
            Err(error) => return Parameter { tensor: Tensor::failed(error), leaf: None },
        };
        let leaf = Node::leaf(&value, None, at);
        let history = History::Node { node: leaf.clone(), output: 0 };
        Parameter { tensor: Tensor::with_history(value, history), leaf: Some(leaf) }
    }
    /// Its identity: kept through changes of its value, never used twice.
    ///
    /// ```
    /// use chainrule::{Parameter, Tensor};
    /// let a = Parameter::new(Tensor::zeros([1]));
    /// assert_ne!(a.id(), a.clone().id());
    /// ```
    pub fn id(&self) -> u64 {
        self.leaf.as_ref().map_or(0, |leaf| leaf.id)
    }
    /// Names it, for errors, gradients and files. A model does it when it is built.
    pub fn set_name(&self, name: &str) {
        if let Some(leaf) = &self.leaf {
            leaf.op_of_leaf().rename(name);
        }
    }
    /// Stops learning: nothing that uses it is recorded for its sake any more.
    ///
    /// ```
    /// use chainrule::{Parameter, Tensor};
    /// let mut weight = Parameter::new(Tensor::from([2.0]));
    /// weight.freeze();
    /// assert!(!weight.is_tracked() && weight.is_frozen());
    /// ```
    pub fn freeze(&mut self) {
        if let Some(leaf) = &self.leaf {
            self.tensor.history = History::Frozen(leaf.clone());
        }
    }
    /// Learns again.
    ///
    /// ```
    /// use chainrule::{Parameter, Tensor};
    /// let mut weight = Parameter::new(Tensor::from([2.0]));
    /// weight.freeze();
    /// weight.unfreeze();
    /// assert!(weight.is_tracked());
    /// ```
    pub fn unfreeze(&mut self) {
        if let Some(leaf) = &self.leaf {
            self.tensor.history = History::Node { node: leaf.clone(), output: 0 };
        }
    }
    /// Is it frozen?
    pub fn is_frozen(&self) -> bool {
        matches!(self.tensor.history, History::Frozen(_))
    }
    /// Gives it other numbers of the same shape and element type. On an error nothing has changed.
    ///
    /// ```
    /// use chainrule::{Parameter, Tensor};
    /// let mut weight = Parameter::new(Tensor::zeros([2]));
    /// weight.set(&Tensor::ones([2]))?;
    /// assert!(weight.set(&Tensor::ones([3])).is_err());
    /// assert_eq!(weight.to_vec::<f32>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&mut self, numbers: &Tensor) -> Result<()> {
        let at = Location::caller();
        let new = numbers.value()?;
        let old = self.tensor.value()?;
        if new.shape() != old.shape() || new.dtype() != old.dtype() {
            let what =
                format!("the parameter is {}, the new numbers are {}", self.tensor.describe(), numbers.describe());
            let help = "give numbers of the same shape and element type; make a new parameter for others";
            return Err(self.tensor.refuse("set", Fault::shape(what, help), at));
        }
        capture::carry(old, new);
        self.tensor.value = Ok(new.clone());
        Ok(())
    }
    /// Takes other numbers, of another element type or on another device perhaps; the identity stays.
    pub(crate) fn replace(&mut self, numbers: &Tensor) {
        let Ok(value) = numbers.value() else { return };
        if let Ok(old) = self.tensor.value() {
            capture::carry(old, value);
        }
        let leaf = match &self.leaf {
            Some(old) if old.results().first().is_some_and(|result| result.1 == value.dtype()) => old.clone(),
            Some(old) => old.leaf_again(value),
            None => Node::leaf(value, None, Location::caller()),
        };
        let frozen = self.is_frozen();
        self.tensor = Tensor::with_history(value.clone(), History::Node { node: leaf.clone(), output: 0 });
        self.leaf = Some(leaf);
        if frozen {
            self.freeze();
        }
    }
    /// Changes its numbers in place: `change` gets them row by row. Where something else still holds them
    /// they are copied first (and [`shared_updates`] counts it), so nobody else sees the change.
    ///
    /// ```
    /// use chainrule::{Parameter, Tensor};
    /// let mut weight = Parameter::new(Tensor::from([1.0, 2.0]));
    /// weight.update(|numbers: &mut [f32]| numbers.iter_mut().for_each(|x| *x *= 10.0))?;
    /// assert_eq!(weight.to_vec::<f32>()?, [10.0, 20.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn update<T: Element>(&mut self, change: impl FnOnce(&mut [T])) -> Result<()> {
        let at = Location::caller();
        let describe = self.tensor.describe();
        let Ok(value) = &mut self.tensor.value else { return self.tensor.value().map(|_| ()) };
        let fail = |fault| Error::with("update", fault, Vec::new(), at);
        if value.dtype() != T::DTYPE {
            let what = format!("the parameter is {describe}, the change is for {}", T::DTYPE);
            return Err(fail(Fault::dtype(what, "change it in its own element type")));
        }
        own(value).map_err(fail)?;
        let numbers = value.unshared::<T>().ok_or_else(|| fail(Fault::defect("a parameter's copy is shared")))?;
        change(numbers);
        Ok(())
    }
}

impl Parameter {
    /// Its value to be changed in place: dense and held by nobody else; copied before (and counted) where something did.
    pub(crate) fn owned(&mut self) -> Result<&mut Value> {
        match &mut self.tensor.value {
            Ok(value) => {
                own(value).map_err(|fault| Error::new("update", fault))?;
                Ok(value)
            }
            Err(error) => Err(error.clone()),
        }
    }
}

/// Makes a value dense and held by nobody else.
fn own(value: &mut Value) -> std::result::Result<(), Fault> {
    if value.is_writable() {
        return Ok(());
    }
    casts::forget(value);
    if !value.is_writable() {
        SHARED_UPDATES.fetch_add(1, Ordering::Relaxed);
        let own = on!(value.device(), duplicate(value))?;
        capture::carry(value, &own);
        *value = own;
    }
    Ok(())
}

impl Deref for Parameter {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

/// Another parameter with the same value (shared until one of them changes), name and frozenness.
impl Clone for Parameter {
    #[track_caller]
    fn clone(&self) -> Parameter {
        let copy = match self.tensor.value() {
            Ok(value) => Tensor::from_value(value.clone()),
            Err(error) => Tensor::failed(error),
        };
        let mut parameter = Parameter::new(copy);
        if let Some(name) = self.name() {
            parameter.set_name(&name);
        }
        if self.is_frozen() {
            parameter.freeze();
        }
        parameter
    }
}

impl std::fmt::Debug for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let frozen = if self.is_frozen() { ", frozen" } else { "" };
        write!(f, "Parameter({}{}{frozen})", self.name().map(|n| n + ": ").unwrap_or_default(), self.tensor.describe())
    }
}
