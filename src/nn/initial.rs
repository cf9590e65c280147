//! The laws by which parameters start.

use crate::device::Random;
use crate::error::{Error, Fault, Result};
use crate::layout::{DType, SizeList, Sizes};
use crate::tensor::Tensor;
use std::panic::Location;

/// How the numbers of a new parameter are chosen.
///
/// Some laws look at the sizes: of a weight `[outputs, inputs, ...]`, each output sees `inputs · (the rest)` numbers
/// (its *fan in*), each input reaches `outputs · (the rest)` (its *fan out*).
///
/// ```
/// use chainrule::nn::Initial;
/// use chainrule::{DType, Random};
/// let x = Initial::Uniform { low: 1.0, high: 2.0 }.tensor([100], DType::F32, &mut Random::new(1));
/// assert!(x.min().item()? >= 1.0 && x.max().item()? < 2.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Initial {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// One number everywhere.
    Constant(f64),
    /// Between two numbers, each as likely as any other.
    Uniform {
        /// From here on,
        low: f64,
        /// below this.
        high: f64,
    },
    /// Normal.
    Normal {
        /// The middle.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
    },
    /// Normal, but nothing outside of an interval.
    TruncatedNormal {
        /// The middle of the normal law,
        mean: f64,
        /// its standard deviation before the cut,
        deviation: f64,
        /// the smallest number
        low: f64,
        /// and the largest.
        high: f64,
    },
    /// Uniform, so that signals keep their size forwards and backwards: variance `2 gain² / (fan in + fan out)`.
    /// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    XavierUniform {
        /// What makes up for the activation that follows: see [`gain`].
        gain: f64,
    },
    /// Normal with the variance of [`XavierUniform`](Initial::XavierUniform).
    XavierNormal {
        /// What makes up for the activation that follows: see [`gain`].
        gain: f64,
    },
    /// Uniform, so that signals keep their size through rectifiers: variance `gain² / fan`.
    /// He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.
    KaimingUniform {
        /// What makes up for the activation that follows: see [`gain`].
        gain: f64,
        /// Forwards or backwards?
        fan: Fan,
    },
    /// Normal with the variance of [`KaimingUniform`](Initial::KaimingUniform).
    KaimingNormal {
        /// What makes up for the activation that follows: see [`gain`].
        gain: f64,
        /// Forwards or backwards?
        fan: Fan,
    },
    /// Uniform within `±1 / √size`.
    Within {
        /// Usually the fan in.
        size: usize,
    },
    /// Rows (or columns, where there are fewer of them) that are orthogonal and have the length `gain`, each such matrix as
    /// likely as any other; all axes but the first are one.
    ///
    /// Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear networks", 2013.
    Orthogonal {
        /// What makes up for the activation that follows: see [`gain`].
        gain: f64,
    },
    /// The identity matrix.
    Eye,
    /// Convolution weights that pass their input on: one at the middle of each kernel, `output i` from `input i` in each group.
    Dirac {
        /// Groups of outputs that each repeat the pattern.
        groups: usize,
    },
    /// Normal, with a part of each column set to zero. Martens, "Deep learning via Hessian-free optimization", 2010.
    Sparse {
        /// The part of each column that is zero.
        sparsity: f64,
        /// The standard deviation of the rest.
        deviation: f64,
    },
}

/// Which way signals keep their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// Forwards: by how many numbers an output sees.
    #[default]
    In,
    /// Backwards: by how many numbers an input reaches.
    Out,
}

/// What makes up for an activation's shrinking: `linear` 1, `sigmoid` 1, `tanh` 5/3, `relu` √2, `selu` 3/4, and
/// `√(2 / (1 + slope²))` for leaky rectifiers (see [`leaky_gain`]); 1 for any other name.
///
/// ```
/// assert_eq!(chainrule::nn::gain("relu"), 2f64.sqrt());
/// ```
pub fn gain(activation: &str) -> f64 {
    match activation {
        "tanh" => 5.0 / 3.0,
        "relu" => 2f64.sqrt(),
        "leaky_relu" => leaky_gain(0.01),
        "selu" => 0.75,
        _ => 1.0,
    }
}

/// The gain of a leaky rectifier with this slope below zero.
///
/// ```
/// assert_eq!(chainrule::nn::leaky_gain(1.0), 1.0);
/// ```
pub fn leaky_gain(slope: f64) -> f64 {
    (2.0 / (1.0 + slope * slope)).sqrt()
}

impl Initial {
    /// Numbers of these sizes. Drawn in f32 unless the element type is f64, so that half types start where f32 would.
    #[track_caller]
    pub fn tensor(self, sizes: impl Sizes, dtype: DType, random: &mut Random) -> Tensor {
        let place = Location::caller();
        self.of_sizes(sizes.sizes(), dtype, random)
            .checked()
            .unwrap_or_else(|error| Tensor::failed(error.called_at(place)))
    }
    // Apart, so that it is compiled once and not for every way to write sizes.
    #[track_caller]
    fn of_sizes(self, sizes: SizeList, dtype: DType, random: &mut Random) -> Tensor {
        let uniform = |bound: f64, random: &mut Random| Tensor::uniform_of(dtype, &sizes, -bound..bound, random);
        let normal = |deviation: f64, random: &mut Random| Tensor::normal_of(dtype, &sizes, 0.0, deviation, random);
        let fans = || fans(sizes.shape().map_err(|fault| Error::new("initial", fault))?.as_ref());
        let scaled = |variance: Result<f64>, is_normal: bool, random: &mut Random| match variance {
            Err(error) => Tensor::failed(error),
            Ok(variance) if is_normal => normal(variance.sqrt(), random),
            Ok(variance) => uniform((3.0 * variance).sqrt(), random),
        };
        match self {
            Initial::Zeros => Tensor::full(&sizes, 0.0, dtype),
            Initial::Ones => Tensor::full(&sizes, 1.0, dtype),
            Initial::Constant(number) => Tensor::full(&sizes, number, dtype),
            Initial::Uniform { low, high } => Tensor::uniform_of(dtype, &sizes, low..high, random),
            Initial::Normal { mean, deviation } => Tensor::normal_of(dtype, &sizes, mean, deviation, random),
            Initial::TruncatedNormal { mean, deviation, low, high } => {
                truncated(&sizes, dtype, [mean, deviation, low, high], random)
            }
            Initial::XavierUniform { gain } => scaled(fans().map(|(i, o)| 2.0 * gain * gain / (i + o)), false, random),
            Initial::XavierNormal { gain } => scaled(fans().map(|(i, o)| 2.0 * gain * gain / (i + o)), true, random),
            Initial::KaimingUniform { gain, fan } => scaled(fans().map(|f| gain * gain / fan.of(f)), false, random),
            Initial::KaimingNormal { gain, fan } => scaled(fans().map(|f| gain * gain / fan.of(f)), true, random),
            Initial::Within { size: 0 } => Tensor::full(&sizes, 0.0, dtype),
            Initial::Within { size } => uniform(1.0 / (size as f64).sqrt(), random),
            Initial::Orthogonal { gain } => orthogonal(&sizes, dtype, gain, random),
            Initial::Eye => placed(&sizes, dtype, |place| place.len() == 2 && place[0] == place[1]),
            Initial::Dirac { groups } => dirac(&sizes, dtype, groups),
            Initial::Sparse { sparsity, deviation } => sparse(normal(deviation, random), sparsity, random),
        }
    }
}

impl Fan {
    fn of(self, (fan_in, fan_out): (f64, f64)) -> f64 {
        match self {
            Fan::In => fan_in,
            Fan::Out => fan_out,
        }
    }
}

#[track_caller]
fn refuse(what: String, help: &str) -> Tensor {
    Tensor::failed(Error::new("initial", Fault::shape(what, help)))
}

/// Fan in and fan out of a weight.
#[track_caller]
fn fans(dims: &[usize]) -> Result<(f64, f64)> {
    match dims {
        [outputs, inputs, rest @ ..] => {
            let rest: f64 = rest.iter().map(|&size| size as f64).product();
            // An empty weight has no numbers to scale.
            Ok(((*inputs as f64 * rest).max(1.0), (*outputs as f64 * rest).max(1.0)))
        }
        _ => {
            let fault = Fault::shape(
                format!("a parameter of sizes {dims:?} has no fan in and fan out"),
                "use this law for weights [outputs, inputs, ...]; biases start by Zeros, Constant or Uniform",
            );
            Err(Error::new("initial", fault))
        }
    }
}

/// From the factors of a normal matrix, with signs that make the second factor's diagonal positive: only then is every
/// orthogonal matrix as likely (Mezzadri, "How to generate random matrices from the classical compact groups", 2006).
#[track_caller]
fn orthogonal(sizes: &impl Sizes, dtype: DType, gain: f64, random: &mut Random) -> Tensor {
    let dims: Vec<usize> = sizes.sizes().shape().map(|shape| shape.to_vec()).unwrap_or_default();
    let [rows, rest @ ..] = dims.as_slice() else {
        return refuse(format!("sizes {dims:?}"), "Orthogonal is for weights [outputs, inputs, ...]");
    };
    if rest.is_empty() {
        return refuse(format!("sizes {dims:?}"), "Orthogonal is for weights [outputs, inputs, ...]");
    }
    let columns = rest.iter().fold(1usize, |product, &size| product.saturating_mul(size));
    let (tall, wide) = (*rows.max(&columns), *rows.min(&columns));
    let normal = Tensor::normal_of(DType::F64, [tall, wide], 0.0, 1.0, random);
    if tall == 0 || wide == 0 || normal.error().is_some() {
        return normal.reshape(sizes.sizes()).to_dtype(dtype);
    }
    let (q, r) = normal.qr();
    let signs = 1.0 - r.diagonal(0, 0, 1).less(0.0).to_dtype(DType::F64) * 2.0;
    let q = q * signs;
    let q = if *rows < columns { q.t() } else { q };
    (q * gain).reshape(sizes.sizes()).to_dtype(dtype)
}

/// By the inverse of the normal law's distribution: no number is drawn twice.
#[track_caller]
fn truncated(sizes: &impl Sizes, dtype: DType, [mean, deviation, low, high]: [f64; 4], random: &mut Random) -> Tensor {
    let below = |x: f64| Tensor::full([1], (x - mean) / (deviation * 2f64.sqrt()), DType::F64).erf().item();
    match (below(low), below(high)) {
        (Ok(first), Ok(last)) if low < high && deviation > 0.0 => {
            let places = Tensor::uniform_of(DType::F64, sizes.sizes(), first..last, random);
            let numbers = places.erfinv() * (deviation * 2f64.sqrt()) + mean;
            numbers.clamp(low, high).to_dtype(dtype)
        }
        _ => refuse(
            format!("a truncated normal of deviation {deviation} between {low} and {high}"),
            "the deviation must be above 0 and the lower bound below the upper",
        ),
    }
}

/// Ones where `here` says so, zeros elsewhere.
#[track_caller]
fn placed(sizes: &impl Sizes, dtype: DType, here: impl Fn(&[usize]) -> bool) -> Tensor {
    let sizes = sizes.sizes();
    let shape = match sizes.shape() {
        Ok(shape) => shape,
        Err(fault) => return Tensor::failed(Error::new("initial", fault)),
    };
    // A failed tensor where the sizes are absurd, before any list of that length is made.
    let zeros = Tensor::full(&sizes, 0.0, dtype);
    if zeros.error().is_some() {
        return zeros;
    }
    let mut numbers = vec![0f32; shape.count()];
    let mut place = vec![0; shape.len()];
    for number in &mut numbers {
        *number = f32::from(here(&place));
        for (at, &size) in place.iter_mut().zip(shape.iter()).rev() {
            *at += 1;
            if *at < size {
                break;
            }
            *at = 0;
        }
    }
    Tensor::from_vec(numbers, &sizes).map_or_else(Tensor::failed, |ones| ones.to_dtype(dtype))
}

#[track_caller]
fn dirac(sizes: &impl Sizes, dtype: DType, groups: usize) -> Tensor {
    let dims: Vec<usize> = sizes.sizes().shape().map(|shape| shape.to_vec()).unwrap_or_default();
    match dims.as_slice() {
        [outputs, inputs, kernel @ ..] if !kernel.is_empty() && groups > 0 && outputs.is_multiple_of(groups) => {
            let each = outputs / groups;
            placed(sizes, dtype, |place| {
                let middle = place[2..].iter().zip(kernel).all(|(&at, &size)| at == size / 2);
                middle && place[0] % each == place[1] && place[1] < *inputs
            })
        }
        _ => refuse(
            format!("sizes {dims:?} in {groups} groups"),
            "Dirac is for convolution weights [outputs, inputs / groups, kernel ...]; groups must divide the outputs",
        ),
    }
}

#[track_caller]
fn sparse(dense: Tensor, sparsity: f64, random: &mut Random) -> Tensor {
    Tensor::compute(|| {
        let Ok([rows, columns]) = dense.dims() else {
            return refuse(format!("{} is no matrix", dense.describe()), "Sparse is for matrices").checked();
        };
        let zeros = (sparsity.clamp(0.0, 1.0) * rows as f64).ceil() as usize;
        // In each column, the rows of the smallest random numbers become zero.
        let order = Tensor::uniform([rows, columns], 0.0..1.0, random).argsort(0, false).argsort(0, false);
        Ok(dense.masked_fill(&order.less(zeros as f64), 0.0))
    })
}
