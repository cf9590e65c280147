//! Layer, RMS, group and instance norm: each row by its own statistics.

use super::{Learnt, fits};
use crate::device::rows::{Rows, Standard};
use crate::device::{Value, on};
use crate::error::Fault;
use crate::op::{Call, InputGradients, Keep, Op, Outputs, Saves, Tensors, Wanted, apply_slice, one};
use crate::tensor::Tensor;

impl Tensor {
    /// Layer norm over the last `axes` axes: `(x - mean) / √(variance + epsilon) · weight + bias`.
    ///
    /// Weight and bias have the sizes of these axes. Ba, Kiros, Hinton, "Layer normalization", 2016.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[1.0, 3.0], [10.0, 30.0]]).layer_norm(1, None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm(&self, axes: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> Tensor {
        let kind = Kind::Layer { axes, center: true };
        normalize(self, weight, bias, kind, epsilon)
    }
    /// RMS norm over the last `axes` axes: `x / √(mean(x²) + epsilon) · weight`, a layer norm that leaves the mean alone.
    ///
    /// PyTorch's default epsilon is the smallest step of the element type (1.2e-7 for f32). Zhang and Sennrich, "Root mean
    /// square layer normalization", 2019.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[1.0, -1.0], [5.0, 5.0]]).rms_norm(1, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn rms_norm(&self, axes: usize, weight: Option<&Tensor>, epsilon: f64) -> Tensor {
        let kind = Kind::Layer { axes, center: false };
        normalize(self, weight, None, kind, epsilon)
    }
    /// Group norm of `[batch, channels, ...]`: the channels are cut into `groups`, each standardised together.
    ///
    /// Weight and bias hold one number for each channel. Wu and He, "Group normalization", 2018.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[[1.0], [3.0], [10.0], [30.0]]]).group_norm(2, None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn group_norm(&self, groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> Tensor {
        normalize(self, weight, bias, Kind::Group { groups }, epsilon)
    }
    /// Instance norm of `[batch, channels, ...]`: each channel of each example by itself.
    ///
    /// Weight and bias hold one number for each channel. Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016.
    ///
    /// ```
    /// use chainrule::Tensor;
    /// let y = Tensor::from([[[1.0, 3.0], [10.0, 30.0]]]).instance_norm(None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    pub fn instance_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, epsilon: f64) -> Tensor {
        normalize(self, weight, bias, Kind::Instance, epsilon)
    }
}

/// What is standardised together.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The last axes; the mean is taken away, or not.
    Layer { axes: usize, center: bool },
    /// A group of channels.
    Group { groups: usize },
    /// One channel.
    Instance,
}

#[track_caller]
fn normalize(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, kind: Kind, epsilon: f64) -> Tensor {
    let mut inputs = vec![x];
    inputs.extend(weight);
    inputs.extend(bias);
    apply_slice(Normalize { kind, epsilon, learnt: Learnt::of(weight, bias) }, &inputs)
}

/// One of the four.
#[derive(Debug)]
struct Normalize {
    kind: Kind,
    epsilon: f64,
    learnt: Learnt,
}

impl Normalize {
    /// How the rows lie, and the sizes of weight and bias.
    fn rows(&self, dims: &[usize]) -> Result<(Standard, Vec<usize>), Fault> {
        let (center, epsilon) = (!matches!(self.kind, Kind::Layer { center: false, .. }), self.epsilon);
        match self.kind {
            Kind::Layer { axes, .. } => {
                if axes == 0 || axes > dims.len() {
                    return Err(Fault::shape(
                        format!("the last {axes} axes of a tensor of rank {}", dims.len()),
                        "give how many of the last axes are normalised together: 1 for the last one",
                    ));
                }
                let last = &dims[dims.len() - axes..];
                Ok((Standard { center, length: last.iter().product(), run: 1, groups: 1, epsilon }, last.to_vec()))
            }
            Kind::Group { .. } | Kind::Instance if dims.len() < 2 => Err(Fault::shape(
                format!("a tensor of rank {} has no channels", dims.len()),
                "the sizes are [batch, channels, ...]: add the missing axes with unsqueeze",
            )),
            Kind::Group { groups } if groups == 0 || !dims[1].is_multiple_of(groups) => Err(Fault::shape(
                format!("{} channels do not fall into {groups} equal groups", dims[1]),
                "the number of groups must divide the number of channels (axis 1)",
            )),
            Kind::Group { .. } | Kind::Instance => {
                let channels = dims[1];
                let groups = if let Kind::Group { groups } = self.kind { groups } else { channels };
                let run = dims[2..].iter().product::<usize>();
                let length = channels / groups.max(1) * run;
                Ok((Standard { center, length, run, groups, epsilon }, vec![channels]))
            }
        }
    }
}

impl Op for Normalize {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Layer { center: true, .. } => "layer_norm",
            Kind::Layer { center: false, .. } => "rms_norm",
            Kind::Group { .. } => "group_norm",
            Kind::Instance => "instance_norm",
        }
    }
    fn forward(&self, inputs: &[&Value], keep: &mut Keep) -> Result<Outputs, Fault> {
        let x = inputs[0];
        let (standard, sizes) = self.rows(x.dims())?;
        let (weight, bias) = self.learnt.pick(inputs, 1);
        let (weight, bias) = (weight.copied(), bias.copied());
        let why = if matches!(self.kind, Kind::Layer { .. }) {
            "each place along the normalised axes"
        } else {
            "each channel (axis 1)"
        };
        fits("weight", weight, &sizes, why)?;
        fits("bias", bias, &sizes, why)?;
        let result = on!(x.device(), standardize(x, weight, bias, standard))?;
        keep.push(result.mean);
        keep.push(result.scale);
        one(result.output)
    }
    fn gradient(&self, which: usize, arriving: &[Tensor], call: &Call<'_>) -> Tensor {
        let only = |i: usize| i == which;
        let mut all = self.gradients_where(&only, arriving, call);
        all.get_mut(which).and_then(Option::take).unwrap_or_else(|| {
            Tensor::failed(call.error(Fault::defect("no gradient came for an input that wants one")))
        })
    }
    fn gradients(&self, wanted: Wanted<'_>, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        self.gradients_where(&|which| wanted.has(which), arriving, call)
    }
    /// The definition reads them all; weight and bias are small.
    fn saves(&self, _: usize) -> Saves {
        Saves::INPUTS
    }
    fn rule(&self, which: usize) -> &'static str {
        match self.learnt.part(which, 1) {
            0 => "∂L/∂x = (a - mean(a) - x̂ · mean(a · x̂)) / √(variance + ε) with a = ∂L/∂y · w",
            1 => "∂L/∂w = Σ ∂L/∂y · x̂",
            _ => "∂L/∂b = Σ ∂L/∂y",
        }
    }
    fn roles(&self) -> &'static [&'static str] {
        self.learnt.roles()
    }
    fn definition(&self, inputs: &[Tensor], call: &Call<'_>) -> Option<Tensors> {
        let dims = call.dims(0);
        let (standard, _) = self.rows(dims).ok()?;
        let (weight, bias) = self.learnt.pick(inputs, 1);
        let rows = dims.iter().product::<usize>().checked_div(standard.length).unwrap_or(0);
        let x = inputs[0].reshape([rows, standard.length]);
        let centred = if standard.center { &x - x.mean_keep(1) } else { x };
        let spread = (centred.square().mean_keep(1) + self.epsilon).sqrt();
        let mut y = (centred / spread).reshape(dims);
        // Weight and bias broadcast over the last axes, or along axis 1.
        let layer = matches!(self.kind, Kind::Layer { .. });
        let spread_out = |learnt: &Tensor| {
            if layer {
                return learnt.clone();
            }
            let mut sizes = vec![1; dims.len() - 1];
            sizes[0] = dims[1];
            learnt.reshape(sizes)
        };
        if let Some(weight) = weight {
            y = y * spread_out(weight);
        }
        if let Some(bias) = bias {
            y = y + spread_out(bias);
        }
        Some([y].into_iter().collect())
    }
}

impl Normalize {
    fn gradients_where(&self, wanted: &dyn Fn(usize) -> bool, arriving: &[Tensor], call: &Call<'_>) -> InputGradients {
        let mut parts = [false; 3];
        for which in 0..call.inputs() {
            parts[self.learnt.part(which, 1)] |= wanted(which);
        }
        let compute = || -> crate::error::Result<_> {
            let fault = |fault| call.error(fault);
            let (standard, sizes) = self.rows(call.dims(0)).map_err(fault)?;
            let (x, g) = (call.value(0)?, arriving[0].value()?);
            let weight = if self.learnt.weight { Some(call.value(1)?) } else { None };
            let statistics = (call.kept(0)?, call.kept(1)?);
            let all =
                on!(x.device(), standardize_gradient(x, weight, statistics, g, standard, parts)).map_err(fault)?;
            Ok((all, sizes))
        };
        let mut gradients = InputGradients::new();
        match compute() {
            Ok((all, sizes)) => {
                let mut all = all.map(|value| value.map(Tensor::from_value));
                for which in 0..call.inputs() {
                    let part = self.learnt.part(which, 1);
                    let gradient = all[part].take();
                    // The kernel gives one list of weights; they may stand along several axes.
                    gradients.push(if part == 0 { gradient } else { gradient.map(|g| g.reshape(&sizes)) });
                }
            }
            Err(error) => {
                for which in 0..call.inputs() {
                    gradients.push(wanted(which).then(|| Tensor::failed(error.clone())));
                }
            }
        }
        gradients
    }
}
