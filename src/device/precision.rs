//! How exactly products of f32 are computed: a scope that a device with units for shorter numbers looks at.

use std::cell::Cell;

/// How exactly a device computes products of f32: [`with_matmul_precision`] sets it.
///
/// It is a permission. Sums are in f32 everywhere, and a device without units for shorter numbers, such as the CPU, computes
/// [`Exact`](MatmulPrecision::Exact)ly whatever is allowed. Other element types do not ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MatmulPrecision {
    /// Factors are f32, all 24 bits of them.
    #[default]
    Exact,
    /// Factors may be rounded to 11 bits, with the range of f32: relative errors up to some 5e-4.
    Tf32,
    /// Factors may be rounded to bf16, 8 bits with the range of f32: relative errors up to some 4e-3.
    Bf16,
}

thread_local! {
    static PRECISION: Cell<MatmulPrecision> = const { Cell::new(MatmulPrecision::Exact) };
}

/// Products of f32 inside may be computed this exactly: those of matrices, and those that convolutions and attention are
/// made of. It covers this thread; gradients that are to follow it are computed inside, too.
///
/// ```
/// use chainrule::{MatmulPrecision, Tensor, with_matmul_precision};
/// let (x, w) = (Tensor::ones([2, 3]), Tensor::ones([3, 4]).variable());
/// let loss = with_matmul_precision(MatmulPrecision::Tf32, || -> chainrule::Result<Tensor> {
///     let loss = x.matmul(&w).sum();
///     loss.backward()?;
///     Ok(loss)
/// })?;
/// assert_eq!(loss.item()?, 24.0);
/// # Ok::<(), chainrule::Error>(())
/// ```
pub fn with_matmul_precision<R>(precision: MatmulPrecision, work: impl FnOnce() -> R) -> R {
    /// Also where `work` panics.
    struct Restore(MatmulPrecision);
    impl Drop for Restore {
        fn drop(&mut self) {
            PRECISION.set(self.0);
        }
    }
    let _restore = Restore(PRECISION.replace(precision));
    work()
}

/// How exactly products of f32 are computed here.
///
/// ```
/// use chainrule::{MatmulPrecision, matmul_precision, with_matmul_precision};
/// assert_eq!(matmul_precision(), MatmulPrecision::Exact);
/// assert_eq!(with_matmul_precision(MatmulPrecision::Bf16, matmul_precision), MatmulPrecision::Bf16);
/// ```
pub fn matmul_precision() -> MatmulPrecision {
    PRECISION.get()
}
