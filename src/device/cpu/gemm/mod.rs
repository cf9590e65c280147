//! Matrix products: operands packed into panels, a tile of C held in registers, loops around it.
//!
//! `m`, `n`, `k`: rows of A, columns of B, the size they share. `C = alpha · A · B`, or added to what C holds.
//!
//! - [`Operand`]: how a matrix is read: strided, transposed, widened from 16 bits, gathered for a convolution.
//! - [`Epilogue`]: what happens to a finished piece of C while it is still in the first-level cache.
//! - [`Pairs`](pairs::Pairs): two bf16 in the place of one f32.
//! - [`Product`]: the two, put together. It chooses between the paths by shape and strides alone.
//!
//! Every element of C is summed over `k` in an order that only the shape decides, never by several threads, so the
//! bits are the same for any number of them.

#[cfg(target_arch = "x86_64")]
mod dots;
mod epilogue;
mod integer;
mod kernel;
mod loops;
mod operand;
mod packed;
mod pairs;
mod scratch;
mod small;
#[cfg(test)]
mod tests;
mod transpose;
mod turned;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use epilogue::{Epilogue, Nothing, PerColumn};
pub(crate) use integer::multiply_integers;
pub(crate) use kernel::Real;
pub(crate) use operand::{Lines, Operand, Widen};
pub(crate) use packed::Packed;
pub(super) use scratch::{Scratch, lend};
#[cfg(target_arch = "x86_64")]
pub(super) use transpose::{transpose_4, transpose_8, transpose_16};

use crate::device::cpu::beside::{Beside, Key};
use crate::error::Fault;

/// Multiplications from which on a product is shared among threads: fewer are done as soon as helpers have come.
const SHARED: usize = 1 << 19;

/// `C = alpha · A · B`: its sizes, its operands, and what to do with the result.
///
/// ```text
/// let left = Lines::new(a, 0, [k, 1], [m, k])?;      // row-major A: a line is a row
/// let right = Lines::new(b, 0, [1, n], [n, k])?;     // row-major B: a line is a column
/// Product::new([m, n, k], &left, &right).epilogue(&PerColumn(bias)).run(out, n)?;
/// ```
pub(crate) struct Product<'a, T> {
    m: usize,
    n: usize,
    k: usize,
    /// A: its lines are rows.
    left: &'a dyn Operand<T>,
    /// B: its lines are columns.
    right: &'a dyn Operand<T>,
    alpha: T,
    accumulate: bool,
    alone: bool,
    /// Each element is a pair of bf16, which only the tile looks into.
    pairs: bool,
    /// Where packed panels of B may be kept, and what they are called.
    beside: Option<(&'a Beside, Key)>,
    epilogue: &'a dyn Epilogue<T>,
}

impl<'a, T: Real> Product<'a, T> {
    /// The product of an `m × k` and a `k × n` operand.
    pub(crate) fn new([m, n, k]: [usize; 3], left: &'a dyn Operand<T>, right: &'a dyn Operand<T>) -> Product<'a, T> {
        Product {
            m,
            n,
            k,
            left,
            right,
            alpha: T::from_f64(1.0),
            accumulate: false,
            alone: false,
            pairs: false,
            beside: None,
            epilogue: &Nothing,
        }
    }
    /// Multiplies the product by a number.
    pub(crate) fn alpha(self, alpha: T) -> Self {
        Product { alpha, ..self }
    }
    /// Adds to what C holds, instead of replacing it.
    pub(crate) fn accumulate(self, accumulate: bool) -> Self {
        Product { accumulate, ..self }
    }
    /// What happens to each finished piece of C.
    pub(crate) fn epilogue(self, epilogue: &'a dyn Epilogue<T>) -> Self {
        Product { epilogue, ..self }
    }
    /// B is a weight at rest: what is packed of it may be kept beside its numbers.
    pub(in crate::device) fn keep_right(self, beside: &'a Beside, key: Key) -> Self {
        Product { beside: Some((beside, key)), ..self }
    }
    /// Stays on this thread: for a product that is one of many, which are shared out themselves.
    pub(crate) fn alone(self) -> Self {
        Product { alone: true, ..self }
    }
    /// Computes into `out`, whose rows begin `row_stride` apart.
    pub(crate) fn run(mut self, out: &mut [T], row_stride: usize) -> Result<(), Fault> {
        if self.m == 0 || self.n == 0 {
            return Ok(());
        }
        let reach = (self.m - 1).checked_mul(row_stride).and_then(|last| last.checked_add(self.n));
        if row_stride < self.n && self.m > 1 || reach.is_none_or(|reach| reach > out.len()) {
            return Err(Fault::defect(format!(
                "a product of {} × {} does not fit {} elements in rows of {row_stride}",
                self.m,
                self.n,
                out.len()
            )));
        }
        if small::run(&self, out, row_stride) || vector::run(&self, out, row_stride) {
            return Ok(());
        }
        self.alone |= self.m.saturating_mul(self.n).saturating_mul(self.k) < SHARED;
        let kept = loops::kept(&self);
        if kept.is_none() && turned::run(&self, out, row_stride)? {
            return Ok(());
        }
        loops::run(&self, kept, out, row_stride)
    }
}
