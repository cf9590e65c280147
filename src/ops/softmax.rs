//! Softmax and its relatives: scores become shares.

use crate::device::reduce::Reduce;
use crate::device::rows::{Rows, Softmax};
use crate::device::{Value, on};
use crate::error::{Error, Fault};
use crate::layout::{Axes, Axis, AxisList};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::ops::reduce::Over;
use crate::tensor::Tensor;

impl Tensor {
    /// Softmax along an axis, `e^x / Σ e^x`: positive shares that sum to one, the greater score the greater share.
    ///
    /// The greatest score is subtracted first, so no exponential overflows. Bridle, "Probabilistic interpretation of
    /// feedforward classification network outputs", 1990.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let shares = Tensor::from([[0.0, 0.0], [1000.0, 0.0]]).softmax(-1);
    /// assert_eq!(shares.to_vec::<f32>()?, [0.5, 0.5, 1.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: impl Axis) -> Tensor {
        apply(Along { axis: axis.number(), form: Softmax::Plain }, [self])
    }
    /// The logarithm of [`softmax`](Tensor::softmax), `x - ln Σ e^x`, exact where the share itself would round to zero.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([1000.0, 0.0]).log_softmax(0);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, -1000.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn log_softmax(&self, axis: impl Axis) -> Tensor {
        apply(Along { axis: axis.number(), form: Softmax::Logarithm }, [self])
    }
    /// Softmax of the negated scores, `e^-x / Σ e^-x`: the least gets the greatest share.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([1000.0, 0.0]).softmin(0);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn softmin(&self, axis: impl Axis) -> Tensor {
        match self.dtype() {
            Ok(dtype) if !dtype.is_float() => {
                let what = format!("softmin of {dtype} numbers is not defined");
                Tensor::failed(Error::new(
                    "softmin",
                    Fault::dtype(what, "convert to a float first: x.to_dtype(DType::F32)"),
                ))
            }
            _ => (-self).softmax(axis),
        }
    }
    /// Gated linear unit: the first half along an axis, times the sigmoid of the second, `a · σ(b)`.
    ///
    /// Dauphin, Fan, Auli, Grangier, "Language modeling with gated convolutional networks", 2016.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[4.0, 0.0], [2.0, 100.0]]).glu(1);
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn glu(&self, axis: impl Axis) -> Tensor {
        let size = match self.shape().map(|shape| axis.resolve(shape.len()).map(|axis| shape[axis])) {
            Ok(Ok(size)) => size,
            Ok(Err(fault)) => return Tensor::failed(Error::new("glu", fault)),
            Err(error) => return Tensor::failed(error),
        };
        if size % 2 == 1 {
            let what = format!("{size} numbers along axis {} do not fall into two halves", axis.number());
            let help = "half of them are gated by the other half: the size must be even";
            return Tensor::failed(Error::new("glu", Fault::shape(what, help)));
        }
        let half = size / 2;
        self.narrow(axis.number(), 0, half) * self.narrow(axis.number(), half, half).sigmoid()
    }
    /// `ln Σ e^x` over everything, without overflow: a smooth maximum. Of nothing it is -infinity.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([1000.0, 0.0]).logsumexp().item()?, 1000.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp(&self) -> Tensor {
        apply(LogSumExp(Over::everything()), [self])
    }
    /// [`logsumexp`](Tensor::logsumexp) over some axes, which go.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[1000.0, 0.0], [0.0, -2000.0]]).logsumexp_over(1);
    /// assert_eq!(y.to_vec::<f32>()?, [1000.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp_over(&self, axes: impl Axes) -> Tensor {
        apply(LogSumExp(Over::axes(axes.axes())), [self])
    }
    /// [`logsumexp`](Tensor::logsumexp) over some axes, which stay with size 1.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// assert_eq!(Tensor::from([[1000.0, 0.0]]).logsumexp_keep(1).dims()?, [1, 1]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp_keep(&self, axes: impl Axes) -> Tensor {
        apply(LogSumExp(Over::keeping(axes.axes())), [self])
    }
}

/// Softmax or its logarithm along an axis.
#[derive(Debug)]
struct Along {
    axis: isize,
    form: Softmax,
}

/// The axis; a single number has one, along which it is alone.
fn resolve(axis: isize, rank: usize) -> Result<usize, Fault> {
    if rank == 0 && (axis == 0 || axis == -1) { Ok(0) } else { axis.resolve(rank) }
}

impl Op for Along {
    fn name(&self) -> &'static str {
        match self.form {
            Softmax::Plain => "softmax",
            Softmax::Logarithm => "log_softmax",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        one(on!(x.device(), softmax(x, resolve(self.axis, x.rank())?, self.form))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        if call.recorded() {
            // The rule in plain operations on the result, which knows its history: it can be differentiated again.
            let (y, g) = (call.output(0), &arriving[0]);
            let axes = if call.dims(0).is_empty() { AxisList::none() } else { self.axis.axes() };
            return match self.form {
                Softmax::Plain => &y * (g - (&y * g).sum_keep(axes)),
                Softmax::Logarithm => g - y.exp() * g.sum_keep(axes),
            };
        }
        Tensor::compute(|| {
            let (y, g) = (call.output_value(0)?, arriving[0].value()?);
            let gradient = resolve(self.axis, y.rank())
                .and_then(|axis| on!(y.device(), softmax_gradient(y, g, axis, self.form)))
                .map_err(|fault| call.error(fault))?;
            Ok(Tensor::from_value(gradient))
        })
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::OUTPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        match self.form {
            Softmax::Plain => "∂L/∂x = y · (∂L/∂y - Σ y · ∂L/∂y)",
            Softmax::Logarithm => "∂L/∂x = ∂L/∂y - e^y · Σ ∂L/∂y",
        }
    }
}

/// ln Σ e^x.
#[derive(Debug)]
struct LogSumExp(Over);

impl Op for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let axes = self.0.resolve(x.rank())?;
        one(on!(x.device(), logsumexp(x, &axes, self.0.keeps()))?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let repeat = |folded: &Tensor| self.0.repeat(folded, call.shape(0));
        repeat(&arriving[0]) * (call.input(0) - repeat(&call.output(0))).exp()
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUTS)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y · e^(x - y)"
    }
}
