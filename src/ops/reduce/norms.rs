//! Vector norms: lengths of any order, and what is measured with them.

use super::{Over, fold, reductions};
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::{Axes, Axis};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::Tensor;

reductions! {
    /// The length of all numbers as one vector, `√(Σ x²)`. Where it is 0, so is its gradient. Neither great nor tiny
    /// numbers are lost to the square.
    norm norm_over norm_keep => Norm::euclidean; "f32" "30.0_f32.sqrt()" "[10.0_f32.sqrt(), 20.0_f32.sqrt()]";
}

impl Tensor {
    /// The norm of any order, `(Σ |x|^order)^(1/order)`: of order infinity the greatest magnitude, of -infinity the least, of 0
    /// the count of numbers that are not zero.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([3.0, -4.0, 0.0]);
    /// assert_eq!(x.vector_norm(1.0).item()?, 7.0);
    /// assert_eq!(x.vector_norm(f64::INFINITY).item()?, 4.0);
    /// assert_eq!(x.vector_norm(0.0).item()?, 2.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn vector_norm(&self, order: f64) -> Tensor {
        apply(Norm { over: Over::everything(), order }, [self])
    }
    /// [`vector_norm`](Tensor::vector_norm) over some axes, which go.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[3.0, 4.0], [1.0, -1.0]]).vector_norm_over(1.0, 1);
    /// assert_eq!(y.to_vec::<f32>()?, [7.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn vector_norm_over(&self, order: f64, axes: impl Axes) -> Tensor {
        apply(Norm { over: Over::axes(axes.axes()), order }, [self])
    }
    /// [`vector_norm`](Tensor::vector_norm) over some axes, which stay with size 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[3.0, 4.0]]).vector_norm_keep(1.0, 1).dims()?, [1, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn vector_norm_keep(&self, order: f64, axes: impl Axes) -> Tensor {
        apply(Norm { over: Over::keeping(axes.axes()), order }, [self])
    }
    /// Vectors along some axes brought to length 1: `x / max(‖x‖, 1e-12)` in the norm of this order.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[3.0, 4.0], [0.0, 0.0]]).normalize(2.0, -1);
    /// assert_eq!(y.to_vec::<f32>()?, [0.6, 0.8, 0.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn normalize(&self, order: f64, axes: impl Axes) -> Tensor {
        self / self.vector_norm_keep(order, axes).clamp_min(1e-12)
    }
    /// The cosine of the angle between vectors along an axis: `Σ x y / (‖x‖ ‖y‖)`, lengths being at least 1e-8.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[1.0, 0.0], [2.0, 0.0]]);
    /// let y = Tensor::from([[0.0, 5.0], [3.0, 0.0]]);
    /// assert_eq!(x.cosine_similarity(&y, 1).to_vec::<f32>()?, [0.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: impl Axis) -> Tensor {
        // Both are spread to a common shape first, so that the axis means the same in both.
        let (x, y) = match (self.shape(), other.shape()) {
            (Ok(a), Ok(b)) => match a.broadcast(&b) {
                Ok(shape) => (self.expand(shape), other.expand(shape)),
                Err(_) => (self.clone(), other.clone()),
            },
            _ => (self.clone(), other.clone()),
        };
        let unit = |x: &Tensor, length: Tensor| x / length.clamp_min(1e-8);
        let (a, b) = (x.norm_keep(axis.number()), y.norm_keep(axis.number()));
        (unit(&x, a) * unit(&y, b)).sum_over(axis.number())
    }
    /// The distances between two lists of vectors, `dᵢⱼ = ‖xᵢ - yⱼ‖` in the norm of this order: `[.., m, k]` and `[.., n, k]`
    /// give `[.., m, n]`.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let x = Tensor::from([[0.0, 0.0], [3.0, 4.0]]);
    /// let y = Tensor::from([[0.0, 0.0]]);
    /// assert_eq!(x.distances(&y, 2.0).to_vec::<f32>()?, [0.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[doc(alias = "cdist")]
    #[track_caller]
    pub fn distances(&self, other: &Tensor, order: f64) -> Tensor {
        (self.unsqueeze(-2) - other.unsqueeze(-3)).vector_norm_over(order, -1)
    }
    /// The distance between vectors along the last axis, `‖x - y + 1e-6‖` in the norm of this order (PyTorch's form: the
    /// small number keeps the gradient finite where both are equal).
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let d = Tensor::from([[0.0, 0.0]]).pairwise_distance(&Tensor::from([[3.0, 4.0]]), 2.0);
    /// assert!((d.item()? - 5.0).abs() < 1e-5);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn pairwise_distance(&self, other: &Tensor, order: f64) -> Tensor {
        let apart: Tensor = self - other;
        (apart + 1e-6).vector_norm_over(order, -1)
    }
}

/// (Σ |x|^order)^(1/order).
#[derive(Debug)]
struct Norm {
    over: Over,
    order: f64,
}

impl Norm {
    fn euclidean(over: Over) -> Norm {
        Norm { over, order: 2.0 }
    }
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        if self.order == 2.0 { "norm" } else { "vector_norm" }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        if self.order.is_nan() {
            return Err(Fault::value("the order of the norm is NaN", "give a number, or infinity"));
        }
        one(fold!(norm, inputs[0], self.over, self.order)?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let (x, y, order) = (call.input(0), call.output(0), self.order);
        let repeat = |folded: &Tensor| self.over.repeat(folded, call.shape(0));
        // The gradient at length 0 is 0; dividing by 1 there keeps NaN out of its own derivative.
        let divided = |by: &dyn Fn(&Tensor) -> Tensor| {
            let zero = y.detach().equal(0.0);
            let quotient: Tensor = &arriving[0] / by(&y.masked_fill(&zero, 1.0));
            quotient.masked_fill(&zero, 0.0)
        };
        if order == 0.0 {
            return repeat(&arriving[0]) * 0.0;
        }
        if order == 1.0 {
            return repeat(&arriving[0]) * x.sign();
        }
        if order == 2.0 {
            return repeat(&divided(&Tensor::clone)) * x;
        }
        if order.is_infinite() {
            return Tensor::compute(|| {
                let magnitudes = x.detach().abs();
                let (values, best) = (magnitudes.value()?, call.output_value(0)?);
                let shares = self
                    .over
                    .resolve(values.rank())
                    .and_then(|axes| on!(values.device(), shares(values, best, &axes, false)))
                    .map_err(|fault| call.error(fault))?;
                Ok(repeat(&arriving[0]) * x.sign() * Tensor::from_value(shares))
            });
        }
        let powers = x.sign() * x.abs().pow(order - 1.0);
        if order < 1.0 {
            let scaled = repeat(&(&arriving[0] * y.pow(1.0 - order)));
            return scaled * powers.masked_fill(&x.detach().equal(0.0), 0.0);
        }
        repeat(&divided(&|y| y.pow(order - 1.0))) * powers
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUTS)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y · sign(x) · (|x| / y)^(order - 1), 0 where y is 0"
    }
}
