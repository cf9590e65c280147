//! What backward gives: a gradient for every leaf that took part.

use super::Tensor;
use super::graph::{History, Place};
use crate::device::accumulate::Accumulate;
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::reduce::Reduce;
use crate::device::{Device, Value, on};
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::formula::Formula;
use crate::layout::{DType, Layout, Shape};
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
    #[track_caller]
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        self.map(&Scale { factor })
    }
    /// Multiplies every gradient by a single number that stays where it is.
    pub(crate) fn multiply(&mut self, factor: &Tensor) -> Result<()> {
        let mut multiplied = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let (gradient, dtype) = (&entry.gradient, entry.gradient.dtype()?);
            multiplied.push((gradient * factor.to(gradient.device()?)).to_dtype(dtype).detach().checked()?);
        }
        for (entry, gradient) in self.entries.iter_mut().zip(multiplied) {
            entry.gradient = gradient;
        }
        Ok(())
    }
    /// Cuts every single number to `-limit ..= limit`; NaN stays.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([2.0, -0.1]).variable();
    /// let mut gradients = (&w * &w).sum().backward()?;
    /// gradients.clip_value(1.0)?;
    /// assert_eq!(gradients.of(&w)?.to_vec::<f32>()?, [1.0, -0.2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn clip_value(&mut self, limit: f64) -> Result<()> {
        self.map(&Clip { limit: limit.abs() })
    }
    /// Scales all gradients together so that their common norm is at most `limit`; gives the norm before.
    ///
    /// They are multiplied by `limit / (norm + 10⁻⁶)` where that is less than 1, as in PyTorch.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([3.0, 4.0]).variable();
    /// let mut gradients = (&w * &w).sum().backward()?;
    /// assert_eq!(gradients.clip_norm(1.0)?, 10.0);
    /// assert!((gradients.norm()? - 1.0).abs() < 1e-6);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn clip_norm(&mut self, limit: f64) -> Result<f64> {
        self.clip_norm_of(limit, 2.0)
    }
    /// The same for a norm of another order; infinity is the greatest magnitude.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([3.0, -4.0]).variable();
    /// let mut gradients = (&w * &w).sum().backward()?;
    /// assert_eq!(gradients.clip_norm_of(2.0, f64::INFINITY)?, 8.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn clip_norm_of(&mut self, limit: f64, order: f64) -> Result<f64> {
        self.clip_norm_unread(limit, order)?.item()
    }
    /// The same without a read: the norm stays a tensor, and so does the factor. On a GPU nobody waits for it; what is read anyway,
    /// such as the loss every hundred steps, is the place to read this too.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([3.0, 4.0]).variable();
    /// let mut gradients = (&w * &w).sum().backward()?;
    /// let norm = gradients.clip_norm_unread(1.0, 2.0)?;
    /// assert_eq!(norm.item()?, 10.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn clip_norm_unread(&mut self, limit: f64, order: f64) -> Result<Tensor> {
        let norm = self.norm_unread(order)?;
        let mut clipped = Vec::with_capacity(self.len());
        for (device, group) in self.by_device()? {
            let near = norm.to(device);
            let (places, values): (Vec<usize>, Vec<&Value>) = group.into_iter().unzip();
            let shrunk = on!(device, shrunk(&values, near.value()?, limit)).map_err(fail)?;
            clipped.extend(places.into_iter().zip(shrunk));
        }
        for (place, value) in clipped {
            self.entries[place].gradient = Tensor::from_value(value);
        }
        Ok(norm)
    }
    /// The values of all gradients with their places, oldest first, by the devices they are on.
    fn by_device(&self) -> Result<Vec<(Device, Placed<'_>)>> {
        let mut groups: Vec<(Device, Placed<'_>)> = Vec::new();
        for (place, entry) in self.entries.iter().enumerate().rev() {
            let value = entry.gradient.value()?;
            match groups.iter_mut().find(|(device, _)| *device == value.device()) {
                Some((_, group)) => group.push((place, value)),
                None => groups.push((value.device(), vec![(place, value)])),
            }
        }
        Ok(groups)
    }
    /// The Euclidean norm of all gradients together.
    #[track_caller]
    pub fn norm(&self) -> Result<f64> {
        self.norm_of(2.0)
    }
    /// The norm of all gradients together `(Σ |x|^order)^(1/order)`; of order infinity the greatest magnitude.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([3.0, -4.0]).variable();
    /// let gradients = (&w * &w).sum().backward()?;
    /// assert_eq!((gradients.norm_of(1.0)?, gradients.norm_of(f64::INFINITY)?), (14.0, 8.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn norm_of(&self, order: f64) -> Result<f64> {
        self.norm_unread(order)?.item()
    }
    /// The same without a read: a single f64, on the device of the gradients.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let w = Tensor::from([3.0, -4.0]).variable();
    /// let gradients = (&w * &w).sum().backward()?;
    /// assert_eq!(gradients.norm_unread(2.0)?.item()?, 10.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn norm_unread(&self, order: f64) -> Result<Tensor> {
        if order == 0.0 || order.is_nan() {
            let fault =
                Fault::value(format!("a norm of order {order}"), "2.0 is usual, f64::INFINITY the greatest magnitude");
            return Err(fail(fault));
        }
        let groups = self.by_device()?;
        let mut norms = Vec::with_capacity(groups.len());
        for (device, group) in &groups {
            let values = group.iter().map(|(_, value)| *value).filter(|value| value.count() > 0).collect::<Vec<_>>();
            if !values.is_empty() {
                norms.push(Tensor::from_value(common_norm(*device, &values, order).map_err(fail)?));
            }
        }
        let Some(first) = norms.first() else { return Ok(Tensor::full([0; 0], 0.0, DType::F64)) };
        let [_, ..] = &norms[1..] else { return Ok(first.clone()) };
        let together: Vec<Tensor> = norms.iter().map(|norm| norm.clone().near(first)).collect();
        let values = together.iter().map(Tensor::value).collect::<Result<Vec<_>>>()?;
        let device = values[0].device();
        Ok(Tensor::from_value(norm_of_norms(device, &values, order).map_err(fail)?))
    }
    /// Is every number finite?
    pub fn is_finite(&self) -> Result<bool> {
        for (device, group) in self.by_device()? {
            let values: Vec<&Value> = group.into_iter().map(|(_, value)| value).collect();
            if !on!(device, all_finite(&values)).map_err(fail)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
    /// A single number that is finite where all are, without a read.
    pub(crate) fn finite_unread(&self) -> Result<Tensor> {
        match &self.by_device()?[..] {
            [(device, group)] => {
                let values: Vec<&Value> = group.iter().map(|(_, value)| *value).collect();
                Ok(Tensor::from_value(on!(*device, greatest(&values)).map_err(fail)?))
            }
            _ => Ok(Tensor::new(if self.is_finite()? { 0.0 } else { f64::NAN })),
        }
    }
    /// Are all of them on this device?
    pub(crate) fn are_on(&self, device: Device) -> bool {
        self.entries.iter().all(|entry| entry.gradient.device().is_ok_and(|own| own == device))
    }
    /// Replaces every number; on an error nothing has changed.
    fn map(&mut self, formula: &impl Formula<1>) -> Result<()> {
        let mut mapped = Vec::with_capacity(self.len());
        for entry in &self.entries {
            let value = entry.gradient.value()?;
            mapped.push(on!(value.device(), formula(formula, [value])).map_err(fail)?);
        }
        for (entry, value) in self.entries.iter_mut().zip(mapped) {
            entry.gradient = Tensor::from_value(value);
        }
        Ok(())
    }
}

/// Values with their places among the entries.
type Placed<'a> = Vec<(usize, &'a Value)>;

/// The norm of values of one device together: a single f64 there.
fn common_norm(device: Device, values: &[&Value], order: f64) -> Result<Value, Fault> {
    if order == 2.0 {
        let squares = on!(device, sum_of_squares(values))?;
        return on!(device, formula(&Root {}, [&squares]));
    }
    let axes: Vec<usize> = (0..crate::layout::MAX_RANK).collect();
    let norms = values.iter().map(|value| on!(device, norm(value, &axes[..value.rank()], false, order)));
    let norms = norms.collect::<Result<Vec<_>, Fault>>()?;
    norm_of_norms(device, &norms.iter().collect::<Vec<_>>(), order)
}

/// The norm of the numbers whose parts have these norms.
fn norm_of_norms(device: Device, norms: &[&Value], order: f64) -> Result<Value, Fault> {
    let row = |norm: &Value| {
        let wide = on!(device, cast(norm, DType::F64))?;
        let wide = on!(device, contiguous(&wide))?;
        let layout = Layout::from_parts(Shape::new(&[1])?, &[1], wide.layout().offset());
        wide.with_layout(layout)
    };
    let rows = norms.iter().map(|norm| row(norm)).collect::<Result<Vec<_>, Fault>>()?;
    let all = on!(device, join(&rows.iter().collect::<Vec<_>>(), 0))?;
    on!(device, norm(&all, &[0], false, order))
}

crate::formula_struct!([] Root root(x) () { sqrt(x) });

#[track_caller]
fn fail(fault: Fault) -> Error {
    Error::new("gradients", fault)
}

crate::formula_struct!([] Scale scale(x) (factor) { x * factor });
crate::formula_struct!([] Clip clip(x) (limit) { minimum(maximum(x, -limit), limit) });

impl std::fmt::Debug for Gradients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (name, gradient) in self.iter() {
            map.entry(&name.unwrap_or("(unnamed)"), &gradient.describe());
        }
        map.finish()
    }
}
