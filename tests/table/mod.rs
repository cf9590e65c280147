//! The table of operations: one row each, and every check that is made of all of them runs over it.
//!
//! How to add a row: in the file of its family write
//!
//! ```text
//! row("softmax", |x| x[0].softmax(-1))                 // one result; `row("sort", |x| x[0].sort(0))` for [Tensor; 2], Vec<Tensor>
//!     .on([real([2, 3])])                              // a case: one input for each operand; as many cases as teach something
//!     .on([real([0, 3])])                              // sizes 0 and 1, rank 0; views of each case are made by the harness
//!     .definition(|x| plain(&x[0]))                    // the same in plain operations (for a fused operation)
//!     .axis(|x, axis| x[0].softmax(axis))              // lets the harness try axes that are out of range
//!     .wrong(ErrorKind::Shape, &["axis 2"], || Tensor::zeros([3]).softmax(2))
//! ```
//!
//! A row claims, unless it says otherwise: gradients, second derivatives and forward mode for every `real` input, and
//! the four floats. Say otherwise with `.no_gradient("words of the error")`, `.no_second(..)`, `.no_forward(..)`,
//! `.dtypes(ALL)`, `.composed()` (made of several operations, so that half precision rounds more than once).
//!
//! Inputs: `real(shape)` (between -2 and 2), `.between(low, high)`, `.positive()`, `.distinct()` (no two alike: for max, sort),
//! `.away_from(&[0.0, 1.0])` (kinks), `.values(&[..])`, `.constant()` (no gradient wanted), `index(shape, below)`, `mask(shape)`;
//! `.unary(real([]).positive())` and `.binary(real([]), real([]))` put the same kinds of values on the usual shapes.
//!
//! `.large(HALVES, [real([64, 64]), ..])` is a case of a size from which a GPU takes another kernel for these types, `.rounded([real([64, 64]).short(), ..])` one for products that
//! may round: `--test parity` alone runs them. It says which kernels no row launches.
//!
//! Checks: `cargo test --test gradients softmax`, `--test definitions softmax`, `--test failures`, `--test dtypes`, `--test operations`
//! run a family; `CHAINRULE_ROWS=softmax` keeps the rows whose name contains it.
#![allow(dead_code, unused_imports, unused_macros, missing_docs, unreachable_pub)] // a test is no library; each binary uses a part

use chainrule::{DType, Error, ErrorKind, Tensor};

/// The floats.
pub const FLOATS: &[DType] = &[DType::F64, DType::F32, DType::BF16, DType::F16];
/// Those of 16 bits.
pub const HALVES: &[DType] = &[DType::BF16, DType::F16];
/// Those that are computed in as they are.
pub const WIDE: &[DType] = &[DType::F64, DType::F32];
/// The integers.
pub const INTEGERS: &[DType] = &[DType::I64, DType::I32, DType::U8];
/// Floats and integers.
pub const NUMBERS: &[DType] = &[DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U8];
/// Everything, bool too.
pub const ALL: &[DType] =
    &[DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64, DType::I32, DType::U8, DType::Bool];

/// Shapes on which a pointwise operation is tried.
pub const SHAPES: &[&[usize]] = &[&[], &[1], &[0], &[7], &[2, 3], &[4, 1, 3], &[3, 0, 2], &[2, 1, 3, 2], &[130]];
/// Pairs of shapes that broadcast.
pub const PAIRS: &[(&[usize], &[usize])] = &[
    (&[], &[]),
    (&[3], &[]),
    (&[2, 3], &[2, 3]),
    (&[2, 3], &[3]),
    (&[3], &[2, 3]),
    (&[4, 1, 3], &[2, 1]),
    (&[2, 1], &[1, 5]),
    (&[0, 3], &[1, 3]),
    (&[0], &[1]),
    (&[67], &[67]),
];

/// What a row computes.
pub type Call = Box<dyn Fn(&[Tensor]) -> Vec<Tensor>>;
/// The same along an axis.
pub type AxisCall = Box<dyn Fn(&[Tensor], isize) -> Vec<Tensor>>;

/// An operation and what it claims.
pub struct Row {
    /// The method's name; a variant follows after a space: `"conv2d grouped"`.
    pub name: &'static str,
    /// The operands of each case.
    pub cases: Vec<Vec<Input>>,
    /// More of them, of sizes at which devices take other kernels for these element types.
    pub large: Vec<(&'static [DType], Vec<Input>)>,
    /// More of them in f32, at every precision of products.
    pub rounded: Vec<Vec<Input>>,
    /// Do devices round in `large` and `rounded` what the CPU keeps: an attention's weights and their slopes?
    pub keeps_fewer_bits: bool,
    /// The operation.
    pub call: Call,
    /// The same in plain operations.
    pub definition: Option<Call>,
    /// The operation along an axis, where it takes one.
    pub axis: Option<AxisCall>,
    /// Why there is no gradient: words of the error.
    pub no_gradient: Option<&'static str>,
    /// Why there is no second derivative.
    pub no_second: Option<&'static str>,
    /// Why there is no forward mode.
    pub no_forward: Option<&'static str>,
    /// The element types that work for the `real` operands.
    pub dtypes: &'static [DType],
    /// Made of several operations: half precision rounds more than once.
    pub composed: bool,
    /// Whether integer results equal the f64 result on the same numbers (not so for a division).
    pub exact_integers: bool,
    /// Calls that must fail.
    pub wrong: Vec<Wrong>,
}

/// A call that must fail, with the kind of its error and words of its text.
pub struct Wrong {
    /// The family of the error.
    pub kind: ErrorKind,
    /// What the text must contain.
    pub words: &'static [&'static str],
    /// The call.
    pub call: Box<dyn Fn() -> Option<Error>>,
}

/// One result or several.
pub trait Results {
    /// All of them.
    fn list(self) -> Vec<Tensor>;
}
impl Results for Tensor {
    fn list(self) -> Vec<Tensor> {
        vec![self]
    }
}
impl Results for Vec<Tensor> {
    fn list(self) -> Vec<Tensor> {
        self
    }
}
impl<const N: usize> Results for [Tensor; N] {
    fn list(self) -> Vec<Tensor> {
        self.into()
    }
}
impl Results for (Tensor, Tensor) {
    fn list(self) -> Vec<Tensor> {
        vec![self.0, self.1]
    }
}
impl Results for (Tensor, Tensor, Tensor) {
    fn list(self) -> Vec<Tensor> {
        vec![self.0, self.1, self.2]
    }
}
impl<R: Results> Results for chainrule::Result<R> {
    fn list(self) -> Vec<Tensor> {
        self.map_or_else(|error| vec![Tensor::failed(error)], R::list)
    }
}

/// What a wrong call gives: failed tensors, or an `Err`.
pub trait Failing {
    /// The error.
    fn failure(self) -> Option<Error>;
}
impl Failing for Tensor {
    fn failure(self) -> Option<Error> {
        self.error().cloned()
    }
}
impl Failing for Vec<Tensor> {
    fn failure(self) -> Option<Error> {
        self.first().and_then(Tensor::error).cloned()
    }
}
impl<const N: usize> Failing for [Tensor; N] {
    fn failure(self) -> Option<Error> {
        self.first().and_then(Tensor::error).cloned()
    }
}
impl Failing for (Tensor, Tensor) {
    fn failure(self) -> Option<Error> {
        self.0.error().cloned()
    }
}
impl Failing for (Tensor, Tensor, Tensor) {
    fn failure(self) -> Option<Error> {
        self.0.error().cloned()
    }
}
impl<T: Failing> Failing for chainrule::Result<T> {
    fn failure(self) -> Option<Error> {
        match self {
            Ok(tensor) => tensor.failure(),
            Err(error) => Some(error),
        }
    }
}
/// For calls that read: `Tensor::zeros([2]).item()`.
macro_rules! read_values {
    ($($t:ty),*) => { $( impl Failing for $t { fn failure(self) -> Option<Error> { None } } )* };
}
read_values! { f64, usize, (), chainrule::Gradients, chainrule::Shape, Vec<f32>, Vec<f64>, Vec<i64> }

/// A row that computes `call`.
pub fn row<R: Results>(name: &'static str, call: impl Fn(&[Tensor]) -> R + 'static) -> Row {
    Row {
        name,
        cases: Vec::new(),
        large: Vec::new(),
        rounded: Vec::new(),
        keeps_fewer_bits: false,
        call: Box::new(move |x| call(x).list()),
        definition: None,
        axis: None,
        no_gradient: None,
        no_second: None,
        no_forward: None,
        dtypes: FLOATS,
        composed: false,
        exact_integers: true,
        wrong: Vec::new(),
    }
}

/// A constant on the device of an operand.
pub fn beside(x: &Tensor, constant: Tensor) -> Tensor {
    constant.to(x.device().unwrap_or_default())
}

impl Row {
    /// Adds a case: one input for each operand.
    pub fn on(mut self, inputs: impl IntoIterator<Item = Input>) -> Row {
        self.cases.push(inputs.into_iter().collect());
        self
    }
    /// Adds a case for devices alone, of some element types: other checks would learn nothing from its size.
    pub fn large(mut self, dtypes: &'static [DType], inputs: impl IntoIterator<Item = Input>) -> Row {
        self.large.push((dtypes, inputs.into_iter().collect()));
        self
    }
    /// In `large` devices keep weights and slopes in 16 bits where the CPU has 32, in `rounded` in tf32.
    pub fn keeps_fewer_bits(mut self) -> Row {
        self.keeps_fewer_bits = true;
        self
    }
    /// Adds a case for devices alone, of products of f32 that may be rounded: of short numbers, which none is.
    pub fn rounded(mut self, inputs: impl IntoIterator<Item = Input>) -> Row {
        self.rounded.push(inputs.into_iter().collect());
        self
    }
    /// One operand with such values, on the usual shapes.
    pub fn unary(mut self, like: Input) -> Row {
        self.cases.extend(SHAPES.iter().map(|shape| vec![like.shaped(shape)]));
        self
    }
    /// Two operands with such values, on shapes that broadcast.
    pub fn binary(mut self, left: Input, right: Input) -> Row {
        self.cases.extend(PAIRS.iter().map(|(l, r)| vec![left.shaped(l), right.shaped(r)]));
        self
    }
    /// The same in plain operations: it must give the same values and gradients.
    pub fn definition<R: Results>(mut self, call: impl Fn(&[Tensor]) -> R + 'static) -> Row {
        self.definition = Some(Box::new(move |x| call(x).list()));
        self
    }
    /// The operation along an axis: axes that are out of range will be tried.
    pub fn axis<R: Results>(mut self, call: impl Fn(&[Tensor], isize) -> R + 'static) -> Row {
        self.axis = Some(Box::new(move |x, axis| call(x, axis).list()));
        self
    }
    /// There is no gradient: the error of `backward` contains these words.
    pub fn no_gradient(mut self, words: &'static str) -> Row {
        self.no_gradient = Some(words);
        self
    }
    /// There is no second derivative: the error contains these words.
    pub fn no_second(mut self, words: &'static str) -> Row {
        self.no_second = Some(words);
        self
    }
    /// There is no forward mode: the error contains these words.
    pub fn no_forward(mut self, words: &'static str) -> Row {
        self.no_forward = Some(words);
        self
    }
    /// The element types that work for the `real` operands (`index` and `mask` operands keep theirs).
    pub fn dtypes(mut self, dtypes: &'static [DType]) -> Row {
        self.dtypes = dtypes;
        self
    }
    /// Made of several operations: half precision rounds more than once.
    pub fn composed(mut self) -> Row {
        self.composed = true;
        self
    }
    /// On integers the result is not the f64 result on the same numbers.
    pub fn integers_differ(mut self) -> Row {
        self.exact_integers = false;
        self
    }
    /// A call that must fail with an error of this kind, whose text contains all these words.
    pub fn wrong<F: Failing>(
        mut self,
        kind: ErrorKind,
        words: &'static [&'static str],
        call: impl Fn() -> F + 'static,
    ) -> Row {
        self.wrong.push(Wrong { kind, words, call: Box::new(move || call().failure()) });
        self
    }
}

/// An operand of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Values,
    /// Does it want a gradient?
    pub gradient: bool,
}

/// Where an operand's numbers come from.
#[derive(Clone, Debug)]
pub enum Values {
    /// Random, at least 0.05 from each of `away`.
    Real { low: f64, high: f64, away: Vec<f64> },
    /// Random multiples of 1/16 from -2 to 2: no rounding to 8 bits or more changes them.
    Short,
    /// Random, no two nearer than 0.03: for positions that must not change under a small step.
    Distinct,
    /// Random positions below a number; always i64.
    Index(usize),
    /// Random truth values.
    Mask,
    /// These.
    Given(Vec<f64>),
}

/// Random numbers between -2 and 2.
pub fn real<const N: usize>(shape: [usize; N]) -> Input {
    Input { shape: shape.to_vec(), values: Values::Real { low: -2.0, high: 2.0, away: Vec::new() }, gradient: true }
}
/// Random positions below `below`, i64.
pub fn index<const N: usize>(shape: [usize; N], below: usize) -> Input {
    Input { shape: shape.to_vec(), values: Values::Index(below), gradient: false }
}
/// Random truth values.
pub fn mask<const N: usize>(shape: [usize; N]) -> Input {
    Input { shape: shape.to_vec(), values: Values::Mask, gradient: false }
}

impl Input {
    /// Numbers of this range.
    pub fn between(mut self, low: f64, high: f64) -> Input {
        self.values = Values::Real { low, high, away: Vec::new() };
        self
    }
    /// Numbers from 0.2 to 3.
    pub fn positive(self) -> Input {
        self.between(0.2, 3.0)
    }
    /// Numbers of few bits.
    pub fn short(mut self) -> Input {
        self.values = Values::Short;
        self
    }
    /// Never near these: kinks and jumps.
    pub fn away_from(mut self, kinks: &[f64]) -> Input {
        if let Values::Real { away, .. } = &mut self.values {
            away.extend(kinks);
        }
        self
    }
    /// No two alike.
    pub fn distinct(mut self) -> Input {
        self.values = Values::Distinct;
        self
    }
    /// These numbers.
    pub fn values(mut self, numbers: &[f64]) -> Input {
        self.values = Values::Given(numbers.to_vec());
        self
    }
    /// No gradient is wanted.
    pub fn constant(mut self) -> Input {
        self.gradient = false;
        self
    }
    fn shaped(&self, shape: &[usize]) -> Input {
        Input { shape: shape.to_vec(), ..self.clone() }
    }
    /// Is it one of the operands whose element type the table varies?
    pub fn is_real(&self) -> bool {
        !matches!(self.values, Values::Index(_) | Values::Mask)
    }
}

/// The families, each with its rows.
macro_rules! families {
    ($($family:ident)*) => {
        $( mod $family; )*

        /// The names of the families.
        pub const FAMILIES: &[&str] = &[$( stringify!($family) ),*];

        /// The rows of one family; `CHAINRULE_ROWS` keeps those whose name contains it.
        pub fn family(name: &str) -> Vec<Row> {
            let wanted = std::env::var("CHAINRULE_ROWS").unwrap_or_default();
            let rows = match name {
                $( stringify!($family) => $family::rows(), )*
                _ => panic!("there is no family {name}"),
            };
            rows.into_iter().filter(|row| row.name.contains(&wanted)).collect()
        }

        /// A test for each family, so that `cargo test --test gradients softmax` runs one.
        macro_rules! each_family {
            ($check:ident) => {
                $( #[test] fn $family() { $check(stringify!($family)) } )*
            };
        }
    };
}

families! { pointwise shape matmul factor fourier reduce softmax norm conv pool index attention recurrent random loss }

#[allow(clippy::single_component_path_imports)] // this is how a macro gets a path
pub(crate) use each_family;
