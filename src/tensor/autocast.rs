//! Autocast: a model of f32 computes in 16 bits where that is faster and does no harm.
//!
//! A scope like the others. What is cast is cast by an operation like any other, so gradients come back in the type of what was
//! cast: parameters stay f32 and learn in f32. A walk back follows what was recorded, whatever scope it is in.

use super::scopes::{modes, with_modes};
use super::{Tensor, casts};
use crate::error::{Error, Fault, Result};
use crate::layout::DType;
use std::panic::Location;

/// In which type autocast lets an operation compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// In the scope's type: f32 operands are cast down.
    Short,
    /// In f32: operands of 16 bits are cast up.
    Single,
    /// In the widest of its operands' types: it takes only one.
    Widest,
    /// In the types that it is given.
    Given,
}

/// The operations that autocast casts for, by their names in errors and traces.
pub const AUTOCAST: &[(Precision, &[&str])] = &[
    (
        Precision::Short,
        &[
            "matmul",
            "add_matmul",
            "linear",
            "conv1d",
            "conv2d",
            "conv3d",
            "conv_transpose1d",
            "conv_transpose2d",
            "conv_transpose3d",
            "scaled_dot_product_attention",
        ],
    ),
    (
        Precision::Single,
        &[
            "exp",
            "exp2",
            "expm1",
            "ln",
            "log1p",
            "log2",
            "log10",
            "pow",
            "rsqrt",
            "reciprocal",
            "softplus",
            "logaddexp",
            "softmax",
            "log_softmax",
            "logsumexp",
            "layer_norm",
            "rms_norm",
            "group_norm",
            "instance_norm",
            "batch_norm",
            "batch_norm_with",
            "sum",
            "nan_sum",
            "mean",
            "prod",
            "var",
            "std",
            "var_mean",
            "norm",
            "vector_norm",
            "cumulative_sum",
            "cumulative_prod",
            "cumulative_logsumexp",
            "square",
            "squared_difference",
            "cross_entropy",
            "nll_loss",
            "focal_loss",
            "l1_loss",
            "smooth_l1_loss",
            "huber_loss",
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
            "binary_cross_entropy_with_positives",
            "kl_div",
            "kl_div_of_logarithms",
            "ctc_loss",
            "rnn",
            "lstm",
            "gru",
            "qr",
            "svd",
            "solve",
            "solve_lower",
            "solve_upper",
            "inverse",
            "determinant",
            "log_determinant",
            "cholesky",
            "symmetric_eigen",
            "pseudo_inverse",
            "grid_sample",
            "rfft",
            "irfft",
            "fft",
            "ifft",
        ],
    ),
    (Precision::Widest, &["cat", "stack", "slice_assign", "index_add", "scatter", "scatter_reduce", "put", "add_at"]),
];

impl Precision {
    /// What autocast does for the operation of this name.
    ///
    /// ```
    /// use chainrule::Precision;
    /// assert_eq!(Precision::of("linear"), Precision::Short);
    /// assert_eq!((Precision::of("softmax"), Precision::of("relu")), (Precision::Single, Precision::Given));
    /// ```
    pub fn of(operation: &str) -> Precision {
        let found = AUTOCAST.iter().find(|(_, names)| names.contains(&operation));
        found.map_or(Precision::Given, |(precision, _)| *precision)
    }
}

/// Operations inside compute in 16 bits, bf16 or f16, where that is faster and does no harm; parameters, and what sums or needs
/// a wide range, stay f32.
///
/// | computes in | operations |
/// |---|---|
/// | the scope's type | matmul, add_matmul, linear, conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, scaled_dot_product_attention |
/// | f32 | exp, exp2, expm1, ln, log1p, log2, log10, pow, rsqrt, reciprocal, softplus, logaddexp, softmax, log_softmax, logsumexp, layer_norm, rms_norm, group_norm, instance_norm, batch_norm, batch_norm_with, sum, nan_sum, mean, prod, var, std, var_mean, norm, vector_norm, cumulative_sum, cumulative_prod, cumulative_logsumexp, square, squared_difference, cross_entropy, nll_loss, focal_loss, l1_loss, smooth_l1_loss, huber_loss, binary_cross_entropy, binary_cross_entropy_with_logits, binary_cross_entropy_with_positives, kl_div, kl_div_of_logarithms, ctc_loss, rnn, lstm, gru, qr, svd, solve, solve_lower, solve_upper, inverse, determinant, log_determinant, cholesky, symmetric_eigen, pseudo_inverse, grid_sample, rfft, irfft, fft, ifft |
/// | the widest of its operands' types | cat, stack, slice_assign, index_add, scatter, scatter_reduce, put, add_at |
/// | what it is given, mixed types as f32 | all others |
///
/// Operations that are made of others (einsum, bilinear, losses that are means of squares) follow what they are made of. f64 stays f64.
/// In one scope the numbers of a parameter are cast once, until they change; gradients of all its uses are added up in its own type.
/// Sums of products are in f32 everywhere, on the CPU too; results are rounded once. `autocast(DType::F32, ..)` switches it off
/// inside of a scope. With f16, whose range is narrow, gradients need a [`LossScaler`](crate::optim::LossScaler); with bf16 they do not.
///
/// ```
/// use chainrule::nn::{Init, Layer, Linear};
/// use chainrule::optim::{AdamW, Optimizer};
/// use chainrule::{DType, Tensor, autocast};
/// let mut model = Linear::new(3, 2, &mut Init::new());
/// let mut optimizer = AdamW::new(0.01);
/// let x = Tensor::ones([4, 3]);
/// let loss = autocast(DType::BF16, || {
///     let y = model.forward(&x);
///     assert_eq!(y.dtype().ok(), Some(DType::BF16));
///     y.square().mean()
/// });
/// assert_eq!((loss.dtype()?, model.weight.dtype()?), (DType::F32, DType::F32));
/// optimizer.step(&mut model, &loss.backward()?)?;
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn autocast<R>(dtype: DType, work: impl FnOnce() -> R) -> R {
    with_modes(|modes| modes.autocast = (dtype != DType::F32).then_some(dtype), || casts::keeping(work))
}

/// The type that autocast casts to here; none outside of its scopes.
///
/// ```
/// use chainrule::{DType, autocast, autocast_type};
/// assert_eq!((autocast_type(), autocast(DType::BF16, autocast_type)), (None, Some(DType::BF16)));
/// ```
pub fn autocast_type() -> Option<DType> {
    modes().autocast
}

/// The operands of an operation as autocast wants them; nothing where they are that already.
#[cold]
pub(super) fn cast(
    to: DType,
    operation: &'static str,
    inputs: &[&Tensor],
    at: &'static Location<'static>,
) -> Result<Option<Vec<Tensor>>> {
    if !matches!(to, DType::BF16 | DType::F16) {
        let fault = Fault::dtype(format!("autocast to {to}"), "autocast takes bf16 or f16; f32 switches it off");
        return Err(Error::with(operation, fault, Vec::new(), at));
    }
    let changes = |dtype: DType| dtype == DType::F32 || is_short(dtype);
    let mut types: Vec<Option<DType>> = Vec::with_capacity(inputs.len());
    for input in inputs {
        types.push(Some(input.value()?.dtype()).filter(|dtype| changes(*dtype)));
    }
    let wanted = match Precision::of(operation) {
        Precision::Short => to,
        Precision::Single => DType::F32,
        Precision::Widest => {
            let mut given = types.iter().flatten();
            let Some(first) = given.next() else { return Ok(None) };
            if given.all(|dtype| dtype == first) { return Ok(None) } else { DType::F32 }
        }
        Precision::Given => return Ok(None),
    };
    if types.iter().flatten().all(|dtype| *dtype == wanted) {
        return Ok(None);
    }
    let cast = |(input, dtype): (&&Tensor, &Option<DType>)| match dtype {
        Some(dtype) if *dtype != wanted => casts::cast(input, wanted, at),
        _ => (*input).clone(),
    };
    Ok(Some(inputs.iter().zip(&types).map(cast).collect()))
}

fn is_short(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}
