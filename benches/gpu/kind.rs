//! The kinds of numbers that a GPU has units for.

use chainrule::{DType, MatmulPrecision, with_matmul_precision};

/// How numbers are kept, how exactly they are multiplied, and the unit that does it.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) dtype: DType,
    precision: MatmulPrecision,
    pub(crate) unit: Unit,
}

/// What multiplies: each has a roof of its own.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    F32,
    Tf32,
    Half,
}

pub(crate) const F32: Kind =
    Kind { name: "f32", dtype: DType::F32, precision: MatmulPrecision::Exact, unit: Unit::F32 };
pub(crate) const TF32: Kind =
    Kind { name: "tf32", dtype: DType::F32, precision: MatmulPrecision::Tf32, unit: Unit::Tf32 };
pub(crate) const BF16: Kind =
    Kind { name: "bf16", dtype: DType::BF16, precision: MatmulPrecision::Exact, unit: Unit::Half };
pub(crate) const F16: Kind =
    Kind { name: "f16", dtype: DType::F16, precision: MatmulPrecision::Exact, unit: Unit::Half };

impl Kind {
    /// Does something with products of this kind.
    pub(crate) fn within<R>(self, work: impl FnOnce() -> R) -> R {
        with_matmul_precision(self.precision, work)
    }
}
