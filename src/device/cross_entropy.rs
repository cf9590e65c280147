//! The cross entropy of scores with class numbers: what a device must be able to do.

use super::Value;
use crate::error::Fault;

/// What becomes of the losses of single elements.
///
/// ```
/// use chainrule::{Tensor, loss::{CrossEntropy, Reduction}};
/// let (scores, classes) = (Tensor::zeros([3, 2]), Tensor::from([0, 1, 1]));
/// let each = CrossEntropy::new().with_reduction(Reduction::None).of(&scores, &classes);
/// assert_eq!(each.dims()?, [3]);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// Their mean; with class weights the weighted one.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are.
    None,
}

/// How scores are compared with class numbers.
#[derive(Clone, Copy, Debug)]
pub struct Classes {
    /// The axis along which the classes lie.
    pub axis: usize,
    /// Are the scores logarithms of probabilities already (else softmax makes them)?
    pub logarithms: bool,
    /// The share of the target that is spread evenly over all classes.
    pub smoothing: f64,
    /// A class number whose elements do not count.
    pub ignored: Option<i64>,
    /// What becomes of the single losses.
    pub reduction: Reduction,
}

/// A cross entropy with what its gradient needs.
#[derive(Debug)]
pub struct Entropies {
    /// One number, or one for each target.
    pub output: Value,
    /// The greatest score of each row.
    pub greatest: Value,
    /// `1 / Σ e^(x - greatest)` of each row.
    pub scale: Value,
    /// What a mean divides by, f64: the sum of the weights of all classes that are meant.
    pub total: Value,
}

/// The kernels. Half precision goes through f32 and is rounded once. A class number that is out of range is a fault that
/// names its position.
pub trait CrossEntropy {
    /// `-w[t] · ln softmax(x)[t]` for each target `t`, smoothed and reduced.
    fn cross_entropy(
        &self,
        x: &Value,
        target: &Value,
        weights: Option<&Value>,
        how: Classes,
    ) -> Result<Entropies, Fault>;
    /// The gradient for x: `softmax(x)` minus the target, times what arrived, in one pass. `kept` are the greatest, the
    /// scale and the total.
    fn cross_entropy_gradient(
        &self,
        x: &Value,
        target: &Value,
        weights: Option<&Value>,
        g: &Value,
        kept: [&Value; 3],
        how: Classes,
    ) -> Result<Value, Fault>;
}

/// A fault: a target is no number of a class.
#[cold]
pub(in crate::device) fn out_of_range(
    dims: &[usize],
    mut position: usize,
    class: i64,
    count: usize,
    ignored: Option<i64>,
) -> Fault {
    let mut place = vec![0; dims.len()];
    for (axis, &size) in dims.iter().enumerate().rev() {
        place[axis] = position % size.max(1);
        position /= size.max(1);
    }
    let besides = ignored.map_or(String::new(), |ignored| format!("; {ignored} stands for \"does not count\""));
    let help = match count {
        0 => "the scores have no classes: their class axis (axis 1) is empty".to_string(),
        _ => format!("classes are numbered 0 ..= {}{besides}; does the model have an output for each?", count - 1),
    };
    Fault::index(format!("the target at {place:?} is class {class}, the scores are for {count} classes"), help)
}
