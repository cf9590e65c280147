//! Variance and standard deviation.

use super::{Over, fold};
use crate::device::reduce::Reduce;
use crate::device::{Value, on};
use crate::error::Fault;
use crate::layout::Axes;
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, apply_many, one};
use crate::tensor::Tensor;

/// The forms of a spread: over everything, over axes, with another correction.
macro_rules! spreads {
    ($(
        $(#[$meta:meta])*
        $all:ident $over:ident $keep:ident $with:ident $with_keep:ident => $op:ident; $one:literal $many:literal $population:literal;
    )*) => {
        impl Tensor { $(
            $(#[$meta])*
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [1.0, 6.0]]);\n",
                "assert!((x.", stringify!($all), "().item()? - ", $one, ").abs() < 1e-6);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $all(&self) -> Tensor {
                apply($op { over: Over::everything(), correction: 1.0 }, [self])
            }
            #[doc = concat!("[`", stringify!($all), "`](Tensor::", stringify!($all), ") over some axes, which go.")]
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [1.0, 6.0]]);\n",
                "let y = x.", stringify!($over), "(0).to_vec::<f32>()?;\n",
                "assert!(y[0] == 0.0 && (y[1] - ", $many, ").abs() < 1e-6);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $over(&self, axes: impl Axes) -> Tensor {
                apply($op { over: Over::axes(axes.axes()), correction: 1.0 }, [self])
            }
            #[doc = concat!(
                "[`", stringify!($all), "`](Tensor::", stringify!($all), ") over some axes, which stay with size 1."
            )]
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [1.0, 6.0]]);\n",
                "assert_eq!(x.", stringify!($keep), "(0).dims()?, [1, 2]);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $keep(&self, axes: impl Axes) -> Tensor {
                apply($op { over: Over::keeping(axes.axes()), correction: 1.0 }, [self])
            }
            #[doc = concat!(
                "[`", stringify!($over), "`](Tensor::", stringify!($over),
                ") with another divisor, `n - correction`: 0 is for a whole population."
            )]
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [1.0, 6.0]]);\n",
                "assert_eq!(x.", stringify!($with), "(0, 0.0).to_vec::<f32>()?, [0.0, ", $population, "]);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $with(&self, axes: impl Axes, correction: f64) -> Tensor {
                apply($op { over: Over::axes(axes.axes()), correction }, [self])
            }
            #[doc = concat!(
                "[`", stringify!($keep), "`](Tensor::", stringify!($keep),
                ") with another divisor, `n - correction`: 0 is for a whole population."
            )]
            #[doc = concat!(
                "\n\n```\nuse chainrule::Tensor;\nlet x = Tensor::from([[1.0, 2.0], [1.0, 6.0]]);\n",
                "assert_eq!(x.", stringify!($with_keep), "(0, 0.0).to_vec::<f32>()?, [0.0, ", $population, "]);\n",
                "# Ok::<(), chainrule::Error>(())\n```",
            )]
            #[track_caller]
            pub fn $with_keep(&self, axes: impl Axes, correction: f64) -> Tensor {
                apply($op { over: Over::keeping(axes.axes()), correction }, [self])
            }
        )* }
    };
}

spreads! {
    /// The variance of all numbers, `Σ (x - mean)² / (n - 1)`: the unbiased one, as in PyTorch.
    ///
    /// Numbers far from zero do no harm: deviations are taken from the mean of each block, and blocks are joined by the
    /// formula of Chan, Golub and LeVeque (1979).
    #[doc(alias = "variance")]
    var var_over var_keep var_corrected var_corrected_keep => Variance; "5.666_666_5" "8.0" "4.0";
    /// The standard deviation of all numbers, `√(Σ (x - mean)² / (n - 1))`. Where it is 0, so is its gradient.
    std std_over std_keep std_corrected std_corrected_keep => Deviation; "2.380_476_1" "2.828_427_1" "2.0";
}

impl Tensor {
    /// Variance (with divisor `n - correction`) and mean over some axes, in one visit.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let (variance, mean) = Tensor::from([[1.0, 3.0], [2.0, 8.0]]).var_mean(1, 0.0);
    /// assert_eq!(variance.to_vec::<f32>()?, [1.0, 9.0]);
    /// assert_eq!(mean.to_vec::<f32>()?, [2.0, 5.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn var_mean(&self, axes: impl Axes, correction: f64) -> (Tensor, Tensor) {
        let [variance, mean] = apply_many(VarianceMean { over: Over::axes(axes.axes()), correction }, &[self]);
        (variance, mean)
    }
}

/// `2 (x - mean) / (n - correction)`, the derivative of the variance. Recorded, the mean is that of the input.
fn slope(over: &Over, correction: f64, gradient: &Tensor, call: &Call<'_>) -> Tensor {
    let (x, dims) = (call.input(0), call.dims(0));
    let mean = match call.kept(0) {
        Ok(mean) if !call.recorded() => over.repeat(&Tensor::from_value(mean.clone()), call.shape(0)),
        _ => {
            let kept = over.kept(dims.len());
            kept.repeat(&x.mean_keep(kept.axes.clone().unwrap_or_default()), call.shape(0))
        }
    };
    let freedom = (over.count(dims) as f64 - correction).max(0.0);
    over.repeat(&(gradient * (2.0 / freedom)), call.shape(0)) * (x - mean)
}

/// Σ (x - mean)² / (n - correction).
#[derive(Debug)]
struct Variance {
    over: Over,
    correction: f64,
}

impl Op for Variance {
    fn name(&self) -> &'static str {
        "var"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let (variance, mean) = fold!(variance, inputs[0], self.over, self.correction, false)?;
        keep.push(mean);
        one(variance)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        slope(&self.over, self.correction, &arriving[0], call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y · 2 (x - mean) / (n - correction)"
    }
}

/// √ of the variance.
#[derive(Debug)]
struct Deviation {
    over: Over,
    correction: f64,
}

impl Op for Deviation {
    fn name(&self) -> &'static str {
        "std"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let (deviation, mean) = fold!(variance, inputs[0], self.over, self.correction, true)?;
        keep.push(mean);
        one(deviation)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let deviation = call.output(0);
        // At 0 the root has no slope; a constant group then gets no gradient rather than NaN, and no NaN on the way.
        let flat = deviation.detach().equal(0.0);
        let half: Tensor = &arriving[0] / (deviation * 2.0).masked_fill(&flat, 1.0);
        let half = half.masked_fill(&flat, 0.0);
        slope(&self.over, self.correction, &half, call)
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS.and(Saves::OUTPUTS)
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂y · (x - mean) / ((n - correction) y)"
    }
}

/// Both at once.
#[derive(Debug)]
struct VarianceMean {
    over: Over,
    correction: f64,
}

impl Op for VarianceMean {
    fn name(&self) -> &'static str {
        "var_mean"
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let (variance, mean) = fold!(variance, inputs[0], self.over, self.correction, false)?;
        keep.push(mean.clone());
        Ok([variance, mean].into_iter().collect())
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let count = self.over.count(call.dims(0)) as f64;
        slope(&self.over, self.correction, &arriving[0], call)
            + self.over.repeat(&(&arriving[1] / count), call.shape(0))
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, _: usize) -> &'static str {
        "∂L/∂x = ∂L/∂var · 2 (x - mean) / (n - correction) + ∂L/∂mean / n"
    }
}
