//! Tensors of random numbers. Each takes one draw of the [`Random`] it is given, so the same stream gives the same
//! tensors again, for any number of threads.

use crate::device::random::{Draw, Generate, Random};
use crate::device::{Device, Value, on};
use crate::error::{Error, Fault};
use crate::layout::{Axis, DType, Shape, Sizes};
use crate::op::{Call, Keep, Op, Outputs, Saves, apply, one};
use crate::tensor::{Tensor, refused};
use std::ops::Range;
use std::panic::Location;

/// A random tensor, or the error that kept it from being made.
fn made(name: &'static str, value: Result<Value, Fault>, at: &'static Location<'static>) -> Tensor {
    match value {
        Ok(value) => Tensor::from_value(value),
        Err(fault) => Tensor::failed(Error::with(name, fault, Vec::new(), at)),
    }
}

/// A random tensor made beside `x`, on its device, from its shape and type and one draw; where `x` failed, its error.
#[track_caller]
fn drawn_like(
    name: &'static str,
    x: &Tensor,
    random: &mut Random,
    make: impl FnOnce(&Value, Draw) -> Result<Value, Fault>,
) -> Tensor {
    let (at, draw) = (Location::caller(), random.draw());
    match x.value() {
        Ok(x) => made(name, make(x, draw), at),
        Err(error) => Tensor::failed(error.clone()),
    }
}

impl Tensor {
    /// Uniform numbers (f32): from the range's start on, below its end.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::uniform([2, 3], -1.0..1.0, &mut Random::new(1));
    /// assert!(x.to_vec::<f32>()?.iter().all(|x| (-1.0..1.0).contains(x)));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "rand")]
    pub fn uniform(sizes: impl Sizes, range: Range<f64>, random: &mut Random) -> Tensor {
        Tensor::uniform_of(DType::F32, sizes, range, random)
    }
    /// As [`uniform`](Tensor::uniform), in one of the four float types.
    ///
    /// ```
    /// use chainrule::{DType, Random, Tensor};
    /// let x = Tensor::uniform_of(DType::F64, [4], 0.0..1.0, &mut Random::new(1));
    /// assert_eq!(x.dtype()?, DType::F64);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn uniform_of(dtype: DType, sizes: impl Sizes, range: Range<f64>, random: &mut Random) -> Tensor {
        let (at, draw) = (Location::caller(), random.draw());
        let make = |shape: Shape| on!(Device::Cpu, uniform(shape, dtype, range.start, range.end, draw));
        made("uniform", sizes.sizes().shape().and_then(make), at)
    }
    /// Uniform numbers in this tensor's shape and type.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let noise = Tensor::zeros([2, 3]).uniform_like(0.0..0.1, &mut Random::new(1));
    /// assert_eq!(noise.dims::<2>()?, [2, 3]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "rand_like")]
    pub fn uniform_like(&self, range: Range<f64>, random: &mut Random) -> Tensor {
        match self.dtype() {
            Ok(dtype) => self.uniform_beside(dtype, range, random),
            Err(error) => Tensor::failed(error),
        }
    }
    /// Uniform numbers in this tensor's shape, on its device, in a float type.
    #[track_caller]
    pub(super) fn uniform_beside(&self, dtype: DType, range: Range<f64>, random: &mut Random) -> Tensor {
        drawn_like("uniform_like", self, random, |x, draw| {
            on!(x.device(), uniform(*x.shape(), dtype, range.start, range.end, draw))
        })
    }
    /// Normal numbers (f32) of this mean and standard deviation.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::normal([1000], 5.0, 0.1, &mut Random::new(1));
    /// assert!(x.to_vec::<f32>()?.iter().all(|x| (4.0..6.0).contains(x)));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "randn")]
    pub fn normal(sizes: impl Sizes, mean: f64, deviation: f64, random: &mut Random) -> Tensor {
        Tensor::normal_of(DType::F32, sizes, mean, deviation, random)
    }
    /// As [`normal`](Tensor::normal), in one of the four float types.
    ///
    /// ```
    /// use chainrule::{DType, Random, Tensor};
    /// let x = Tensor::normal_of(DType::BF16, [4], 0.0, 1.0, &mut Random::new(1));
    /// assert_eq!(x.dtype()?, DType::BF16);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn normal_of(dtype: DType, sizes: impl Sizes, mean: f64, deviation: f64, random: &mut Random) -> Tensor {
        let (at, draw) = (Location::caller(), random.draw());
        let make = |shape: Shape| on!(Device::Cpu, normal(shape, dtype, mean, deviation, draw));
        made("normal", sizes.sizes().shape().and_then(make), at)
    }
    /// Normal numbers in this tensor's shape and type.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::from([1.0, 2.0]);
    /// let noisy = &x + &x.normal_like(0.0, 0.1, &mut Random::new(1));
    /// assert_eq!(noisy.dims::<1>()?, [2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "randn_like")]
    pub fn normal_like(&self, mean: f64, deviation: f64, random: &mut Random) -> Tensor {
        drawn_like("normal_like", self, random, |x, draw| {
            on!(x.device(), normal(*x.shape(), x.dtype(), mean, deviation, draw))
        })
    }
    /// Waiting times (f32) for what happens `rate` times in a unit of time: numbers of the exponential distribution, whose mean
    /// is `1 / rate`.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let times = Tensor::exponential([10_000], 4.0, &mut Random::new(1));
    /// assert!((times.mean().item()? - 0.25).abs() < 0.01);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn exponential(sizes: impl Sizes, rate: f64, random: &mut Random) -> Tensor {
        Tensor::exponential_of(DType::F32, sizes, rate, random)
    }
    /// As [`exponential`](Tensor::exponential), in one of the four float types.
    ///
    /// ```
    /// use chainrule::{DType, Random, Tensor};
    /// let times = Tensor::exponential_of(DType::F64, [4], 1.0, &mut Random::new(1));
    /// assert_eq!(times.dtype()?, DType::F64);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn exponential_of(dtype: DType, sizes: impl Sizes, rate: f64, random: &mut Random) -> Tensor {
        waiting(&Tensor::uniform_of(DType::F64, sizes, 0.0..1.0, random), dtype, rate)
    }
    /// Waiting times in this tensor's shape and type.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let times = Tensor::zeros([2, 3]).exponential_like(1.0, &mut Random::new(1));
    /// assert!(times.to_vec::<f32>()?.iter().all(|&time| time >= 0.0));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn exponential_like(&self, rate: f64, random: &mut Random) -> Tensor {
        match self.dtype() {
            Ok(dtype) => waiting(&self.uniform_beside(DType::F64, 0.0..1.0, random), dtype, rate),
            Err(error) => Tensor::failed(error),
        }
    }
    /// Whole numbers (i64): from the range's start on, below its end, each as likely as any other.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let dice = Tensor::integers([100], 1..7, &mut Random::new(1));
    /// assert!(dice.to_vec::<i64>()?.iter().all(|x| (1..7).contains(x)));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "randint")]
    pub fn integers(sizes: impl Sizes, range: Range<i64>, random: &mut Random) -> Tensor {
        let (at, draw) = (Location::caller(), random.draw());
        let make = |shape: Shape| on!(Device::Cpu, integers(shape, range.start, range.end, draw));
        made("integers", sizes.sizes().shape().and_then(make), at)
    }
    /// Whole numbers (i64) in this tensor's shape, on its device: from the range's start on, below its end.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let examples = Tensor::zeros([8, 3]);
    /// // A moment between 0 and 999 for each example, where a GPU has them and inside of a captured step too.
    /// let moments = examples.select(1, 0).integers_like(0..1000, &mut Random::new(1));
    /// assert_eq!(moments.dims::<1>()?, [8]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "randint_like")]
    pub fn integers_like(&self, range: Range<i64>, random: &mut Random) -> Tensor {
        drawn_like("integers_like", self, random, |x, draw| {
            on!(x.device(), integers(*x.shape(), range.start, range.end, draw))
        })
    }
    /// Ones with the given chance, else zeros (f32).
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::bernoulli([1000], 0.3, &mut Random::new(1));
    /// assert!((250.0..350.0).contains(&x.sum().item()?));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn bernoulli(sizes: impl Sizes, chance: f64, random: &mut Random) -> Tensor {
        let (at, draw) = (Location::caller(), random.draw());
        let make = |shape: Shape| on!(Device::Cpu, bernoulli(shape, DType::F32, chance, draw));
        made("bernoulli", sizes.sizes().shape().and_then(make), at)
    }
    /// Ones with the given chance, else zeros, in this tensor's shape and type, on its device.
    /// [`flip_coins`](Tensor::flip_coins) has a chance for each place.
    ///
    /// ```
    /// use chainrule::{DType, Random, Tensor};
    /// let seen = Tensor::zeros([1000]).to_dtype(DType::Bool).bernoulli_like(0.3, &mut Random::new(1));
    /// assert!(seen.dtype()? == DType::Bool && (250.0..350.0).contains(&seen.count_nonzero().item()?));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn bernoulli_like(&self, chance: f64, random: &mut Random) -> Tensor {
        drawn_like("bernoulli_like", self, random, |x, draw| {
            on!(x.device(), bernoulli(*x.shape(), x.dtype(), chance, draw))
        })
    }
    /// The numbers 0, 1, ... below `count` in random order (i64).
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let mut order = Tensor::permutation(5, &mut Random::new(1)).to_vec::<i64>()?;
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "randperm")]
    pub fn permutation(count: usize, random: &mut Random) -> Tensor {
        let (at, draw) = (Location::caller(), random.draw());
        made("permutation", on!(Device::Cpu, permutation(count, draw)), at)
    }
    /// The slices along an axis in random order: those of [`permutation`](Tensor::permutation), on this tensor's device.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::from([[1, 2], [3, 4], [5, 6]]);
    /// let order = Tensor::permutation(3, &mut Random::new(1));
    /// assert_eq!(x.shuffled(0, &mut Random::new(1)), x.index_select(0, &order));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn shuffled(&self, axis: impl Axis, random: &mut Random) -> Tensor {
        let draw = random.draw();
        match self.value() {
            Ok(x) => {
                let size = axis.resolve(x.rank()).map(|axis| x.dims()[axis]);
                let order = size.and_then(|size| on!(x.device(), permutation(size, draw)));
                match order {
                    Ok(order) => self.index_select(axis, &Tensor::from_value(order)),
                    Err(fault) => refused("shuffled", fault, &[self]),
                }
            }
            Err(error) => Tensor::failed(error.clone()),
        }
    }
    /// One with the chance that stands at its place, else zero. It has no gradient: the result is chance.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::from([0.0, 1.0]).flip_coins(&mut Random::new(1));
    /// assert_eq!(x.to_vec::<f32>()?, [0.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "bernoulli")]
    pub fn flip_coins(&self, random: &mut Random) -> Tensor {
        apply(Chance { drawn: Drawn::Coins, draw: random.draw() }, [self])
    }
    /// How often something happens whose rate, the mean count, stands at the place: counts of Poisson's distribution, in the
    /// rates' type. It has no gradient: the result is chance.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let counts = Tensor::full([10_000], 3.0, chainrule::DType::F32).poisson(&mut Random::new(1));
    /// assert!((counts.mean().item()? - 3.0).abs() < 0.1 && (counts.var().item()? - 3.0).abs() < 0.2);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn poisson(&self, random: &mut Random) -> Tensor {
        apply(Chance { drawn: Drawn::Counts, draw: random.draw() }, [self])
    }
    /// For each row of weights `count` different positions (i64), drawn one after the other, each as likely as its
    /// weight among those left. Weights need not add up to 1. It has no gradient: the result is a position.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::from([1.0, 0.0, 5.0]).multinomial(2, &mut Random::new(1));
    /// let mut chosen = x.to_vec::<i64>()?;
    /// chosen.sort();
    /// assert_eq!(chosen, [0, 2]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn multinomial(&self, count: usize, random: &mut Random) -> Tensor {
        apply(Chance { drawn: Drawn::Choices { count, replacement: false }, draw: random.draw() }, [self])
    }
    /// As [`multinomial`](Tensor::multinomial), where a position may come again: `count` independent choices.
    ///
    /// ```
    /// use chainrule::{Random, Tensor};
    /// let x = Tensor::from([1.0, 0.0, 5.0]).multinomial_repeated(10, &mut Random::new(1));
    /// assert!(!x.to_vec::<i64>()?.contains(&1));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "categorical")]
    #[doc(alias = "choice")]
    pub fn multinomial_repeated(&self, count: usize, random: &mut Random) -> Tensor {
        apply(Chance { drawn: Drawn::Choices { count, replacement: true }, draw: random.draw() }, [self])
    }
}

/// `-ln(1 - u) / rate` of uniform numbers in f64, which are never 1.
#[track_caller]
fn waiting(uniform: &Tensor, dtype: DType, rate: f64) -> Tensor {
    if !(rate > 0.0 && rate.is_finite()) {
        let fault = Fault::value(format!("a rate of {rate}"), "it must be above 0 and finite; the mean is its inverse");
        return refused("exponential", fault, &[uniform]);
    }
    if !dtype.is_float() {
        let fault = Fault::dtype(format!("{dtype} is no float"), "use f64, f32, bf16 or f16");
        return refused("exponential", fault, &[uniform]);
    }
    (-(-uniform).log1p() / rate).to_dtype(dtype)
}

/// What is drawn for each place, or each row, of a tensor of likelihoods.
#[derive(Clone, Copy, Debug)]
enum Drawn {
    Coins,
    Counts,
    Choices { count: usize, replacement: bool },
}

/// An operation whose result is chance: its operand says how likely what is.
#[derive(Clone, Copy, Debug)]
struct Chance {
    drawn: Drawn,
    draw: Draw,
}

impl Op for Chance {
    fn name(&self) -> &'static str {
        match self.drawn {
            Drawn::Coins => "flip_coins",
            Drawn::Counts => "poisson",
            Drawn::Choices { replacement: false, .. } => "multinomial",
            Drawn::Choices { replacement: true, .. } => "multinomial_repeated",
        }
    }
    fn forward(&self, inputs: &[&Value], _: &mut Keep) -> Result<Outputs, Fault> {
        let (x, draw) = (inputs[0], self.draw);
        one(match self.drawn {
            Drawn::Coins => on!(x.device(), bernoulli_of(x, draw)),
            Drawn::Counts => on!(x.device(), poisson(x, draw)),
            Drawn::Choices { count, replacement } => on!(x.device(), multinomial(x, count, replacement, draw)),
        }?)
    }
    fn gradient(&self, _: usize, arriving: &[Tensor], _: &Call<'_>) -> Tensor {
        arriving[0].zeros_like()
    }
    fn saves(&self, _: usize) -> Saves {
        Saves::NONE
    }
    fn rule(&self, _: usize) -> &'static str {
        match self.drawn {
            Drawn::Coins | Drawn::Counts => "none: the result is chance",
            Drawn::Choices { .. } => "none: the result is a position",
        }
    }
    fn differentiable(&self) -> Result<(), &'static str> {
        Err(match self.drawn {
            Drawn::Coins => "flip_coins has no gradient: its result is chance",
            Drawn::Counts => "poisson has no gradient: its result is chance",
            Drawn::Choices { .. } => "multinomial has no gradient: its result is a position",
        })
    }
    fn roles(&self) -> &'static [&'static str] {
        match self.drawn {
            Drawn::Coins => &["chances"],
            Drawn::Counts => &["rates"],
            Drawn::Choices { .. } => &["weights"],
        }
    }
}
