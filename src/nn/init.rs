//! Where a model's first numbers come from.

use super::{Initial, Running};
use crate::device::{Device, Random};
use crate::layout::{DType, Sizes};
use crate::tensor::{Parameter, Tensor};

/// What constructors take: the device, the element type and the random numbers of a model that is being built.
///
/// The same seed gives the same model. [`empty`](Init::empty) is for models about to be loaded: nothing is drawn.
///
/// ```
/// use chainrule::nn::{Init, Linear};
/// use chainrule::DType;
/// let mut init = Init::new().seed(1).dtype(DType::F64);
/// let layer = Linear::new(784, 10, &mut init);
/// assert_eq!(layer.weight.dtype()?, DType::F64);
/// # Ok::<(), chainrule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Init {
    device: Device,
    dtype: DType,
    random: Random,
    streams: u32,
    empty: bool,
}

impl Default for Init {
    fn default() -> Init {
        Init::new()
    }
}

impl Init {
    /// On the CPU, in f32, seed 0.
    pub fn new() -> Init {
        Init { device: Device::Cpu, dtype: DType::F32, random: Random::new(0), streams: 0, empty: false }
    }
    /// On a device.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear};
    /// use chainrule::Device;
    /// let device = Device::best();
    /// let layer = Linear::new(2, 2, &mut Init::on(&device).seed(1));
    /// assert_eq!(layer.weight.device()?, device);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn on(device: &Device) -> Init {
        Init { device: *device, ..Init::new() }
    }
    /// For a model about to be loaded: every parameter is zero, and nothing is drawn.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear};
    /// assert_eq!(Linear::new(1, 2, &mut Init::empty()).weight.to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    pub fn empty() -> Init {
        Init { empty: true, ..Init::new() }
    }
    /// From another seed.
    pub fn seed(self, seed: u64) -> Init {
        Init { random: Random::new(seed), streams: 0, ..self }
    }
    /// In another float type.
    pub fn dtype(self, dtype: DType) -> Init {
        Init { dtype, ..self }
    }
    /// A parameter of these sizes.
    ///
    /// ```
    /// use chainrule::nn::{Init, Initial};
    /// let weight = Init::new().parameter([3, 4], Initial::XavierUniform { gain: 1.0 });
    /// assert_eq!(weight.dims()?, [3, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn parameter(&mut self, sizes: impl Sizes, initial: Initial) -> Parameter {
        Parameter::new(self.tensor(sizes, initial))
    }
    /// One where it is wanted.
    #[track_caller]
    pub(super) fn parameter_if(&mut self, wanted: bool, sizes: impl Sizes, initial: Initial) -> Option<Parameter> {
        if wanted { Some(self.parameter(sizes, initial)) } else { None }
    }
    /// A tensor of these sizes.
    ///
    /// ```
    /// use chainrule::nn::{Init, Initial};
    /// assert_eq!(Init::new().tensor([2], Initial::Constant(3.0)).to_vec::<f32>()?, [3.0, 3.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn tensor(&mut self, sizes: impl Sizes, initial: Initial) -> Tensor {
        let initial = if self.empty { Initial::Zeros } else { initial };
        initial.tensor(sizes, self.dtype, &mut self.random).to(self.device)
    }
    /// Statistics that training changes: one number everywhere. In f32 where the model is in half precision, whose steps
    /// are too coarse for a slow average.
    ///
    /// ```
    /// use chainrule::nn::Init;
    /// use chainrule::DType;
    /// assert_eq!(Init::new().dtype(DType::BF16).running([4], 1.0).get().dtype()?, DType::F32);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn running(&mut self, sizes: impl Sizes, number: f64) -> Running<Tensor> {
        let dtype = if self.dtype.is_half() { DType::F32 } else { self.dtype };
        Running::new(Tensor::full(sizes, number, dtype).to(self.device))
    }
    /// A whole number that training counts up, from 0.
    ///
    /// ```
    /// assert_eq!(chainrule::nn::Init::new().counter().get().item()?, 0.0);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn counter(&mut self) -> Running<Tensor> {
        Running::new(Tensor::full((), 0.0, DType::I64).to(self.device))
    }
    /// Where the model is.
    pub(super) fn device(&self) -> Device {
        self.device
    }
    /// A stream of its own for a random layer.
    ///
    /// ```
    /// use chainrule::nn::Init;
    /// let mut init = Init::new();
    /// assert_ne!(init.stream().uniform(), init.stream().uniform());
    /// ```
    pub fn stream(&mut self) -> Random {
        // Stream 0 is that of the parameters.
        self.streams = self.streams.wrapping_add(1);
        self.random.stream(self.streams)
    }
}
