//! What a model is: a plain struct that owns its parameters, and can be visited.

use super::in_turn::Behind;
use super::{Load, Path, Running, Summary, load, path};
use crate::device::{Device, Random};
use crate::error::Result;
use crate::layout::DType;
use crate::ops::finish::Finish;
use crate::tensor::{Parameter, State, Tensor};

/// A model or a part of one. [`module!`](crate::module!) writes the implementation from the names of the fields; a
/// [`Parameter`] is one, lists and options of modules are.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, Module};
/// use chainrule::{Tensor, module};
///
/// #[derive(Clone, Debug)]
/// struct Mlp { hidden: Linear, output: Linear }
/// module!(Mlp { hidden, output });
///
/// impl Mlp {
///     fn new(inputs: usize, outputs: usize, init: &mut Init) -> Mlp {
///         Mlp { hidden: Linear::new(inputs, 32, init), output: Linear::new(32, outputs, init) }.named()
///     }
/// }
/// impl Layer for Mlp {
///     fn forward(&self, input: &Tensor) -> Tensor {
///         self.output.forward(&self.hidden.forward(input).relu())
///     }
/// }
///
/// let model = Mlp::new(4, 2, &mut Init::new());
/// let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]);
/// assert_eq!(model.forward(&Tensor::zeros([3, 4])).dims()?, [3, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Module: Send + Sync {
    /// Shows the visitor every parameter and every state, in the order of the fields, each with its place.
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>);
    /// The same, to change them.
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>);

    /// Tells every parameter its name: the last line of a constructor. An outer model's call writes the longer name.
    ///
    /// ```
    /// use chainrule::nn::{Init, Layer, Linear, Module};
    /// use chainrule::Tensor;
    /// let failed = Linear::new(4, 2, &mut Init::new()).named().forward(&Tensor::zeros([1, 5]));
    /// assert!(failed.error().unwrap().to_string().contains("weight"));
    /// ```
    fn named(self) -> Self
    where
        Self: Sized,
    {
        for (name, parameter) in self.parameters() {
            parameter.set_name(&name);
        }
        self
    }
    /// All parameters with their names.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// assert_eq!(Linear::new(4, 2, &mut Init::new()).parameters()[1].0, "bias");
    /// ```
    fn parameters(&self) -> Vec<(String, &Parameter)> {
        let mut found = Collect(Vec::new());
        self.visit(&Path::ROOT, &mut found);
        found.0
    }
    /// All parameters with their names, to change them.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// use chainrule::Tensor;
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// for (_, parameter) in layer.parameters_mut() {
    ///     let zeros = parameter.detach() * 0.0;
    ///     parameter.set(&zeros)?;
    /// }
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn parameters_mut(&mut self) -> Vec<(String, &mut Parameter)> {
        let mut found = Collect(Vec::new());
        self.visit_mut(&Path::ROOT, &mut found);
        found.0
    }
    /// How many numbers are learnt, frozen ones included.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// assert_eq!(Linear::new(4, 2, &mut Init::new()).parameter_count(), 10);
    /// ```
    fn parameter_count(&self) -> usize {
        self.parameters().iter().filter_map(|(_, parameter)| parameter.value().ok()).map(|value| value.count()).sum()
    }
    /// Stops learning: no parameter records any more, and layers evaluate (dropout does nothing, norms use and keep their
    /// running statistics) on any thread, whatever the scope.
    ///
    /// ```
    /// use chainrule::nn::{Init, Layer, Linear, Module};
    /// use chainrule::Tensor;
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// layer.freeze();
    /// assert!(!layer.forward(&Tensor::zeros([1, 4])).is_tracked());
    /// ```
    fn freeze(&mut self) {
        self.visit_mut(&Path::ROOT, &mut Freeze { pattern: "", frozen: true, count: 0 });
    }
    /// Learns again.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// layer.freeze();
    /// layer.unfreeze();
    /// assert!(layer.weight.is_tracked());
    /// ```
    fn unfreeze(&mut self) {
        self.visit_mut(&Path::ROOT, &mut Freeze { pattern: "", frozen: false, count: 0 });
    }
    /// Freezes what a pattern names (see [`matches`](super::matches)): `"encoder"`, `"*.bias"`. Says how many parameters and
    /// states that were.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// assert_eq!(layer.freeze_matching("weight"), 1);
    /// assert!(layer.weight.is_frozen() && layer.bias.as_ref().is_some_and(|bias| !bias.is_frozen()));
    /// ```
    fn freeze_matching(&mut self, pattern: &str) -> usize {
        let mut freeze = Freeze { pattern, frozen: true, count: 0 };
        self.visit_mut(&Path::ROOT, &mut freeze);
        freeze.count
    }
    /// Lets what a pattern names learn again; says how many parameters and states that were.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// layer.freeze();
    /// assert_eq!(layer.unfreeze_matching("*bias"), 1);
    /// ```
    fn unfreeze_matching(&mut self, pattern: &str) -> usize {
        let mut freeze = Freeze { pattern, frozen: false, count: 0 };
        self.visit_mut(&Path::ROOT, &mut freeze);
        freeze.count
    }
    /// Moves parameters and states to a device; they keep their identity. On an error nothing has moved.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// use chainrule::Device;
    /// Linear::new(4, 2, &mut Init::new()).to(Device::best())?;
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn to(&mut self, device: Device) -> Result<()> {
        load::convert(self, &|tensor, _| tensor.to(device))
    }
    /// Turns parameters and float states into another float type; they keep their identity. On an error nothing has changed.
    /// Running statistics of half precision models stay in f32, whose steps are fine enough for a slow average.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// use chainrule::DType;
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// layer.cast(DType::BF16)?;
    /// assert_eq!(layer.weight.dtype()?, DType::BF16);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    fn cast(&mut self, dtype: DType) -> Result<()> {
        load::check_float(dtype)?;
        load::convert(self, &|tensor, is_state| {
            let dtype = if is_state && dtype.is_half() { DType::F32 } else { dtype };
            if tensor.dtype().is_ok_and(DType::is_float) { tensor.to_dtype(dtype) } else { tensor.clone() }
        })
    }
    /// Every parameter and running state with its name, in PyTorch's names and layouts (a `state_dict`), without history.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// let tensors = Linear::new(4, 2, &mut Init::new()).tensors()?;
    /// assert_eq!(tensors[0].0, "weight");
    /// assert_eq!(tensors[0].1.dims()?, [2, 4]);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        load::tensors(self)
    }
    /// Gives parameters and running states the numbers that stand under their names. What does not fit stays as it is; the
    /// report says what matched, what was missing, what was left over; [`strict`](Load::strict) makes an error of it.
    ///
    /// Numbers are converted to the parameter's element type. Names of tied weights are known by both names.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// let mut layer = Linear::new(4, 2, &mut Init::new().seed(1));
    /// let other = Linear::new(4, 2, &mut Init::new().seed(2));
    /// layer.load_tensors(other.tensors()?).strict()?;
    /// assert_eq!(layer.weight.to_vec::<f32>()?, other.weight.to_vec::<f32>()?);
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn load_tensors(&mut self, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Load
    where
        Self: Sized,
    {
        load::load(self, tensors.into_iter().collect())
    }
    /// All it takes to go on exactly here: tensors, and the streams of random layers.
    ///
    /// ```
    /// use chainrule::nn::{Init, Linear, Module};
    /// let mut layer = Linear::new(4, 2, &mut Init::new());
    /// let state = layer.state()?;
    /// layer.load_state(&state)?;
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    fn state(&self) -> Result<State> {
        load::state(self)
    }
    /// Goes on where [`state`](Module::state) was taken, of the same model. On an error nothing has changed.
    #[track_caller]
    fn load_state(&mut self, state: &State) -> Result<()> {
        load::load_state(self, state)
    }
}

/// One tensor in, one tensor out.
///
/// `#[track_caller]` on the implementation makes errors point at the line that called it.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::Tensor;
/// let layers: Vec<Box<dyn Layer>> = vec![Box::new(Linear::new(4, 2, &mut Init::new()))];
/// assert_eq!(layers[0].forward(&Tensor::zeros([3, 4])).dims()?, [3, 2]);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub trait Layer: Module {
    /// The output for an input.
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor;
    /// The output of this layer and of as many of those behind it as it can take along in the same pass, and how many they are:
    /// see [`in_turn`](crate::nn::in_turn).
    #[doc(hidden)]
    #[track_caller]
    fn forward_along(&self, input: &Tensor, behind: Behind<'_>) -> (Tensor, usize) {
        let _ = behind;
        (self.forward(input), 0)
    }
    /// What this layer does at this moment, if a layer before it can do that to its results on their way out.
    #[doc(hidden)]
    fn as_finish(&self) -> Option<Finish> {
        None
    }
    /// What happens to an input, as a table of layers, sizes and costs: see [`Summary`].
    ///
    /// ```
    /// use chainrule::nn::{Init, Layer, Linear};
    /// use chainrule::Tensor;
    /// let summary = Linear::new(4, 2, &mut Init::new()).summary(&Tensor::zeros([3, 4]))?;
    /// assert_eq!((summary.parameters(), summary.multiply_adds()), (10, 24));
    /// # Ok::<(), chainrule::Error>(())
    /// ```
    #[track_caller]
    fn summary(&self, input: &Tensor) -> Result<Summary> {
        super::summary(self, |layer| layer.forward(input))
    }
}

/// Sees the parameters and states of a model.
pub trait Visit<'a> {
    /// A parameter.
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a Parameter);
    /// A tensor that is no parameter but belongs to the model's file: running statistics.
    fn running(&mut self, path: &Path<'_>, running: &'a Running<Tensor>) {
        let _ = (path, running);
    }
    /// The stream of a random layer.
    fn stream(&mut self, path: &Path<'_>, stream: &'a Running<Random>) {
        let _ = (path, stream);
    }
    /// `path` is another name for `of`, relative to the same module: tied weights.
    fn alias(&mut self, path: &Path<'_>, of: &Path<'_>) {
        let _ = (path, of);
    }
}

/// Changes the parameters and states of a model.
pub trait VisitMut<'a> {
    /// A parameter.
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a mut Parameter);
    /// A tensor that is no parameter but belongs to the model's file: running statistics.
    fn running(&mut self, path: &Path<'_>, running: &'a mut Running<Tensor>) {
        let _ = (path, running);
    }
    /// The stream of a random layer.
    fn stream(&mut self, path: &Path<'_>, stream: &'a mut Running<Random>) {
        let _ = (path, stream);
    }
}

struct Collect<P>(Vec<(String, P)>);

impl<'a> Visit<'a> for Collect<&'a Parameter> {
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a Parameter) {
        self.0.push((path.to_string(), parameter));
    }
}

impl<'a> VisitMut<'a> for Collect<&'a mut Parameter> {
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a mut Parameter) {
        self.0.push((path.to_string(), parameter));
    }
}

struct Freeze<'p> {
    pattern: &'p str,
    frozen: bool,
    count: usize,
}

impl Freeze<'_> {
    fn names(&mut self, path: &Path<'_>) -> bool {
        let named = self.pattern.is_empty() || path::matches(self.pattern, &path.to_string());
        self.count += named as usize;
        named
    }
}

impl<'a> VisitMut<'a> for Freeze<'_> {
    fn parameter(&mut self, path: &Path<'_>, parameter: &'a mut Parameter) {
        if self.names(path) {
            if self.frozen { parameter.freeze() } else { parameter.unfreeze() }
        }
    }
    fn running(&mut self, path: &Path<'_>, running: &'a mut Running<Tensor>) {
        if self.names(path) {
            running.set_frozen(self.frozen);
        }
    }
    fn stream(&mut self, path: &Path<'_>, stream: &'a mut Running<Random>) {
        if self.names(path) {
            stream.set_frozen(self.frozen);
        }
    }
}

impl Module for Parameter {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        visitor.parameter(path, self);
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        visitor.parameter(path, self);
    }
}

impl Module for Running<Tensor> {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        visitor.running(path, self);
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        visitor.running(path, self);
    }
}

impl Module for Running<Random> {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        visitor.stream(path, self);
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        visitor.stream(path, self);
    }
}

impl<M: Module> Module for Option<M> {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        if let Some(module) = self {
            module.visit(path, visitor);
        }
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        if let Some(module) = self {
            module.visit_mut(path, visitor);
        }
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
        (**self).visit(path, visitor);
    }
    fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
        (**self).visit_mut(path, visitor);
    }
}

impl<L: Layer + ?Sized> Layer for Box<L> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Tensor {
        (**self).forward(input)
    }
    #[track_caller]
    fn forward_along(&self, input: &Tensor, behind: Behind<'_>) -> (Tensor, usize) {
        (**self).forward_along(input, behind)
    }
    fn as_finish(&self) -> Option<Finish> {
        (**self).as_finish()
    }
}

macro_rules! lists {
    ($([$($generics:tt)*] $List:ty),*) => { $(
        impl<M: Module, $($generics)*> Module for $List {
            fn visit<'a>(&'a self, path: &Path<'_>, visitor: &mut dyn Visit<'a>) {
                for (index, module) in self.iter().enumerate() {
                    module.visit(&path.item(index), visitor);
                }
            }
            fn visit_mut<'a>(&'a mut self, path: &Path<'_>, visitor: &mut dyn VisitMut<'a>) {
                for (index, module) in self.iter_mut().enumerate() {
                    module.visit_mut(&path.item(index), visitor);
                }
            }
        }
    )* };
}
lists!([] Vec<M>, [const N: usize] [M; N]);

/// Makes a struct a [`Module`](crate::nn::Module): `module!(Attention { query, key, value, out; heads });`
///
/// All fields are listed, those that hold no parameters after a semicolon: a forgotten one is a compile error. A field
/// is called by its own name, or by another: `norm as "LayerNorm"`; in a list, `{}` stands for the number:
/// `weights as "weight_l{}"`; an empty name adds nothing to the path. Names that files may have besides, for tied
/// weights: `alias "lm_head.weight" => "wte.weight"` after the braces. Type parameters stand in front.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear, Module};
/// use chainrule::{Parameter, Tensor, module};
///
/// struct Residual<M> { inner: M, gains: Vec<Parameter>, scale: f64 }
/// module!(<M: Module> Residual<M> { inner as "", gains as "gain_{}"; scale });
///
/// let linear = Linear::new(2, 2, &mut Init::new());
/// let block = Residual { inner: linear, gains: vec![Parameter::new(Tensor::ones([2]))], scale: 0.5 };
/// let names: Vec<String> = block.parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["weight", "bias", "gain_0"]);
/// ```
#[macro_export]
macro_rules! module {
    (<$($generic:ident $(: $bound:path)?),+> $Type:ty { $($fields:tt)* } $($alias:tt)*) => {
        $crate::module!(@ [$($generic $(: $bound)?),+] $Type { $($fields)* } $($alias)*);
    };
    ($Type:ident { $($fields:tt)* } $($alias:tt)*) => {
        $crate::module!(@ [] $Type { $($fields)* } $($alias)*);
    };
    (@ [$($generics:tt)*] $Type:ty { $($field:ident $(as $name:literal)?),* $(,)? $(; $($plain:ident),* $(,)?)? }
        $(alias $($alias:literal => $of:literal),+ $(,)?)?) => {
        impl<$($generics)*> $crate::nn::Module for $Type {
            #[allow(unused_variables)]
            fn visit<'a>(&'a self, path: &$crate::nn::Path<'_>, visitor: &mut dyn $crate::nn::Visit<'a>) {
                let Self { $($field,)* $($($plain: _,)*)? } = self;
                $($crate::nn::Module::visit($field, &path.child($crate::module!(@name $field $($name)?)), visitor);)*
                $($(visitor.alias(&path.child($alias), &path.child($of));)+)?
            }
            #[allow(unused_variables)]
            fn visit_mut<'a>(&'a mut self, path: &$crate::nn::Path<'_>, visitor: &mut dyn $crate::nn::VisitMut<'a>) {
                let Self { $($field,)* $($($plain: _,)*)? } = self;
                $($crate::nn::Module::visit_mut($field, &path.child($crate::module!(@name $field $($name)?)), visitor);)*
            }
        }
    };
    (@name $field:ident $name:literal) => { $name };
    (@name $field:ident) => { stringify!($field) };
}
