//! Batch norm and instance norm: channels brought to mean 0 and spread 1, with running statistics for evaluation.

use super::{Init, Initial, Layer, Module, Running};
use crate::error::{Fault, Result};
use crate::layout::DType;
use crate::module;
use crate::ops::finish::Finish;
use crate::tensor::{Parameter, Tensor, refused};
use std::marker::PhantomData;

/// The options of a batch norm or instance norm that is about to be built: see [`BatchNorm2d::options`].
///
/// ```
/// use chainrule::nn::{BatchNorm2d, Init, InstanceNorm1d, Module};
/// let mut init = Init::new();
/// let plain = BatchNorm2d::options(8).without_affine().with_cumulative_average().build(&mut init);
/// assert_eq!(plain.parameter_count(), 0);
/// let learning = InstanceNorm1d::options(8).with_affine().with_running_statistics().build(&mut init);
/// assert_eq!(learning.tensors()?.len(), 5);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct NormOptions<L> {
    channels: usize,
    epsilon: f64,
    momentum: Option<f64>,
    affine: bool,
    running: bool,
    layer: PhantomData<fn() -> L>,
}

impl<L> NormOptions<L> {
    fn new(channels: usize, learns: bool) -> NormOptions<L> {
        NormOptions {
            channels,
            epsilon: 1e-5,
            momentum: Some(0.1),
            affine: learns,
            running: learns,
            layer: PhantomData,
        }
    }
    /// What is added to the variance; 1e-5 unless it is given.
    pub fn with_epsilon(self, epsilon: f64) -> NormOptions<L> {
        NormOptions { epsilon, ..self }
    }
    /// How much of the running statistics one batch replaces; 0.1 unless it is given.
    pub fn with_momentum(self, momentum: f64) -> NormOptions<L> {
        NormOptions { momentum: Some(momentum), ..self }
    }
    #[track_caller]
    fn start(&self, init: &mut Init) -> Parts {
        let channels = self.channels;
        Parts {
            weight: init.parameter_if(self.affine, channels, Initial::Ones),
            bias: init.parameter_if(self.affine, channels, Initial::Zeros),
            running_mean: self.running.then(|| init.running(channels, 0.0)),
            running_var: self.running.then(|| init.running(channels, 1.0)),
            num_batches_tracked: self.running.then(|| init.counter()),
        }
    }
}

struct Parts {
    weight: Option<Parameter>,
    bias: Option<Parameter>,
    running_mean: Option<Running<Tensor>>,
    running_var: Option<Running<Tensor>>,
    num_batches_tracked: Option<Running<Tensor>>,
}

/// What a forward pass reads and writes.
struct Norm<'a> {
    name: &'static str,
    /// The axes that the input may have, besides batch and channels.
    inside: &'static [usize],
    channels: usize,
    epsilon: f64,
    momentum: Option<f64>,
    weight: Option<&'a Tensor>,
    bias: Option<&'a Tensor>,
    running: Option<[&'a Running<Tensor>; 3]>,
}

impl Norm<'_> {
    /// Are running statistics there and to be used?
    fn evaluates(&self) -> bool {
        self.running.is_some_and(|running| running.iter().any(|part| !part.is_training()))
    }
    /// The input has the axes and the channels of this layer, or it is refused with what to do about it.
    #[track_caller]
    fn check(&self, input: &Tensor, unbatched: bool) -> Option<Tensor> {
        let dims = match input.value() {
            Ok(value) => value.dims(),
            Err(error) => return Some(Tensor::failed(error)),
        };
        let channels = if unbatched { dims.first() } else { dims.get(1) };
        let ranks: Vec<usize> = self.inside.iter().map(|inside| inside + 2 - unbatched as usize).collect();
        if !ranks.contains(&dims.len()) {
            let wanted: Vec<String> = ranks.iter().map(usize::to_string).collect();
            let help = format!(
                "it takes [batch, channels{}]: {} axes; other ranks have a layer of their own",
                ["", ", length", ", height, width", ", depth, height, width"]
                    .get(*self.inside.last().unwrap_or(&0))
                    .unwrap_or(&""),
                wanted.join(" or ")
            );
            return Some(refused(
                self.name,
                Fault::shape(format!("the input has {} axes", dims.len()), help),
                &[input],
            ));
        }
        if channels != Some(&self.channels) {
            let what = format!(
                "the input has {} channels, the layer was made for {}",
                channels.copied().unwrap_or(0),
                self.channels
            );
            let help =
                "its channels are axis 1 (axis 0 without a batch): make the layer for as many, or permute the input";
            let mean = self.running.map(|[mean, ..]| mean.get());
            let operands: Vec<&Tensor> = [Some(input), self.weight.or(mean.as_ref())].into_iter().flatten().collect();
            return Some(refused(self.name, Fault::shape(what, help), &operands));
        }
        None
    }
    #[track_caller]
    fn by_running(&self, input: &Tensor, [mean, variance, _]: [&Running<Tensor>; 3]) -> Tensor {
        input.batch_norm_with(&mean.get(), &variance.get(), self.weight, self.bias, self.epsilon)
    }
    /// The norm as one factor and one number to add for each channel, where its statistics stay as they are.
    fn as_finish(&self) -> Option<Finish> {
        let [mean, variance, _] = self.running.filter(|_| self.evaluates())?;
        Some(Finish::norm([&mean.get(), &variance.get()], [self.weight, self.bias], self.epsilon, self.inside))
    }
    /// Moves the running statistics toward those of a batch: all of them, or on an error none.
    fn update(&self, mean: &Tensor, variance: &Tensor, count: bool) -> Result<()> {
        let Some([running_mean, running_variance, batches]) = self.running else { return Ok(()) };
        let toward = |old: &Tensor, new: &Tensor, share: f64| {
            let wide =
                |x: &Tensor| if x.dtype().is_ok_and(DType::is_half) { x.to_dtype(DType::F32) } else { x.clone() };
            let moved = wide(old) * (1.0 - share) + wide(new) * share;
            old.dtype().map_or_else(Tensor::failed, |dtype| moved.to_dtype(dtype))
        };
        // The locks are held one inside the other, so that no other batch comes between.
        batches.update(|before| {
            Tensor::compute(|| {
                let after = if count { before + before.ones_like() } else { before.clone() };
                let share = match self.momentum {
                    Some(momentum) => momentum,
                    None => 1.0 / after.item()?,
                };
                running_mean.update(|old_mean| {
                    Tensor::compute(|| {
                        let new_mean = toward(old_mean, mean, share).checked()?;
                        running_variance.update(|old| toward(old, variance, share))?;
                        Ok(new_mean)
                    })
                })?;
                Ok(after)
            })
        })
    }
    #[track_caller]
    fn batch(&self, input: &Tensor) -> Tensor {
        if let Some(refused) = self.check(input, false) {
            return refused;
        }
        match self.running {
            Some(running) if self.evaluates() => self.by_running(input, running),
            _ => {
                let (y, mean, variance) = input.batch_norm(self.weight, self.bias, self.epsilon);
                if y.error().is_some() {
                    return y;
                }
                match self.update(&mean, &variance, true) {
                    Ok(()) => y,
                    Err(error) => Tensor::failed(error),
                }
            }
        }
    }
    #[track_caller]
    fn instance(&self, input: &Tensor) -> Tensor {
        let rank = input.value().map_or(0, |value| value.rank());
        let unbatched = self.inside.first().is_some_and(|inside| rank == inside + 1);
        if let Some(refused) = self.check(input, unbatched) {
            return refused;
        }
        let batch = if unbatched { input.unsqueeze(0) } else { input.clone() };
        let y = match self.running {
            Some(running) if self.evaluates() => self.by_running(&batch, running),
            running => {
                let y = batch.instance_norm(self.weight, self.bias, self.epsilon);
                match running {
                    Some(_) if y.error().is_none() => match self.update_by_instances(&batch) {
                        Ok(()) => y,
                        Err(error) => Tensor::failed(error),
                    },
                    _ => y,
                }
            }
        };
        if unbatched { y.squeeze_axes(0) } else { y }
    }
    /// The running statistics follow the average over the batch; batches are not counted.
    fn update_by_instances(&self, batch: &Tensor) -> Result<()> {
        let wide = if batch.dtype()?.is_half() { batch.to_dtype(DType::F32) } else { batch.clone() };
        let inside: Vec<usize> = (2..batch.rank()?).collect();
        let (variance, mean) = wide.detach().var_mean(&inside, 1.0);
        self.update(&mean.mean_over(0), &variance.mean_over(0), false)
    }
}

macro_rules! norms {
    ($($(#[$doc:meta])* $Norm:ident $name:literal $method:ident $learns:literal $inside:expr, $input:literal;)*) => { $(
        $(#[$doc])*
        #[doc = concat!("\n\n```\nuse chainrule::nn::{", stringify!($Norm), ", Init, Layer};\nuse chainrule::{Random, Tensor};\n\
            let layer = ", stringify!($Norm), "::new(3, &mut Init::new());\nlet x = Tensor::normal(", $input,
            ", 5.0, 2.0, &mut Random::new(1));\nassert!(layer.forward(&x).mean().item()?.abs() < 1e-5);\n\
            # Ok::<(), chainrule::Error>(())\n```")]
        #[derive(Clone, Debug)]
        pub struct $Norm {
            /// `[channels]`, ones at the start.
            pub weight: Option<Parameter>,
            /// `[channels]`, zeros at the start.
            pub bias: Option<Parameter>,
            /// `[channels]`: the average of the means seen in training.
            pub running_mean: Option<Running<Tensor>>,
            /// `[channels]`: the average of the unbiased variances seen in training.
            pub running_var: Option<Running<Tensor>>,
            /// How many batches were seen in training.
            pub num_batches_tracked: Option<Running<Tensor>>,
            channels: usize,
            epsilon: f64,
            momentum: Option<f64>,
        }
        module!($Norm {
            weight, bias, running_mean, running_var, num_batches_tracked; channels, epsilon, momentum
        });

        impl $Norm {
            /// For so many channels.
            #[track_caller]
            pub fn new(channels: usize, init: &mut Init) -> $Norm {
                $Norm::options(channels).build(init)
            }
            /// With options: epsilon, momentum, what is learnt and what is kept.
            #[doc = concat!("\n\n```\nuse chainrule::nn::{", stringify!($Norm), ", Init};\nlet layer = ", stringify!($Norm),
                "::options(3).with_epsilon(1e-3).with_momentum(0.01).build(&mut Init::new());\n\
                assert_eq!(layer.weight.is_some(), ", stringify!($learns), ");\n```")]
            pub fn options(channels: usize) -> NormOptions<$Norm> {
                NormOptions::new(channels, $learns)
            }
            fn norm(&self) -> Norm<'_> {
                let running = match (&self.running_mean, &self.running_var, &self.num_batches_tracked) {
                    (Some(mean), Some(variance), Some(batches)) => Some([mean, variance, batches]),
                    _ => None,
                };
                Norm {
                    name: $name,
                    inside: $inside,
                    channels: self.channels,
                    epsilon: self.epsilon,
                    momentum: self.momentum,
                    weight: self.weight.as_deref(),
                    bias: self.bias.as_deref(),
                    running,
                }
            }
        }

        impl NormOptions<$Norm> {
            /// The layer, as it starts.
            #[track_caller]
            pub fn build(self, init: &mut Init) -> $Norm {
                let Parts { weight, bias, running_mean, running_var, num_batches_tracked } = self.start(init);
                let NormOptions { channels, epsilon, momentum, .. } = self;
                $Norm { weight, bias, running_mean, running_var, num_batches_tracked, channels, epsilon, momentum }.named()
            }
        }

        impl Layer for $Norm {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Tensor {
                self.norm().$method(input)
            }
            fn as_finish(&self) -> Option<Finish> {
                self.norm().as_finish()
            }
        }
    )* };
}

norms! {
    /// Batch norm of `[batch, channels]` or `[batch, channels, length]`: `(x - mean) / √(variance + epsilon) · weight + bias`.
    ///
    /// In training mean and variance are those of the batch, and the running statistics move toward them (the variance
    /// unbiased); frozen or [`evaluating`](crate::evaluating) they are the running statistics, which then stay as they are.
    /// Ioffe and Szegedy, "Batch normalization", 2015.
    BatchNorm1d "batch_norm1d" batch true &[0, 1], "[8, 3]";
    /// Batch norm of images `[batch, channels, height, width]`; see [`BatchNorm1d`].
    BatchNorm2d "batch_norm2d" batch true &[2], "[8, 3, 4, 4]";
    /// Batch norm of volumes `[batch, channels, depth, height, width]`; see [`BatchNorm1d`].
    BatchNorm3d "batch_norm3d" batch true &[3], "[8, 3, 2, 4, 4]";
    /// Instance norm of `[batch, channels, length]`, or without the batch: each channel of each example by itself.
    ///
    /// By default nothing is learnt and no statistics are kept. Ulyanov, Vedaldi, Lempitsky, "Instance normalization: the
    /// missing ingredient for fast stylization", 2016.
    InstanceNorm1d "instance_norm1d" instance false &[1], "[8, 3, 16]";
    /// Instance norm of images `[batch, channels, height, width]`, or without the batch; see [`InstanceNorm1d`].
    InstanceNorm2d "instance_norm2d" instance false &[2], "[8, 3, 4, 4]";
    /// Instance norm of volumes `[batch, channels, depth, height, width]`, or without the batch; see [`InstanceNorm1d`].
    InstanceNorm3d "instance_norm3d" instance false &[3], "[8, 3, 2, 4, 4]";
}

macro_rules! batch_options {
    ($($Norm:ident)*) => { $(
        impl NormOptions<$Norm> {
            /// The running statistics are plain averages over all batches seen.
            pub fn with_cumulative_average(self) -> NormOptions<$Norm> {
                NormOptions { momentum: None, ..self }
            }
            /// Without weight and bias.
            pub fn without_affine(self) -> NormOptions<$Norm> {
                NormOptions { affine: false, ..self }
            }
            /// Without running statistics: evaluation uses those of its own batch.
            pub fn without_running_statistics(self) -> NormOptions<$Norm> {
                NormOptions { running: false, ..self }
            }
        }
    )* };
}
batch_options! { BatchNorm1d BatchNorm2d BatchNorm3d }

macro_rules! instance_options {
    ($($Norm:ident)*) => { $(
        impl NormOptions<$Norm> {
            /// With weight and bias.
            pub fn with_affine(self) -> NormOptions<$Norm> {
                NormOptions { affine: true, ..self }
            }
            /// With running statistics, which evaluation uses.
            pub fn with_running_statistics(self) -> NormOptions<$Norm> {
                NormOptions { running: true, ..self }
            }
        }
    )* };
}
instance_options! { InstanceNorm1d InstanceNorm2d InstanceNorm3d }
