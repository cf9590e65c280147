//! Recurrent layers: the products with all inputs at once, then step after step only what the hidden state adds.
//!
//! ```text
//! gates [T·B, G·H] = input · W_inputᵀ + bias              one product
//! each step:         gates += hidden · W_hiddenᵀ          weights packed once for the sequence
//!                    hidden, cell = pointwise(gates)
//! and back:          slopes = pointwise(gates, dhidden, dcell)
//!                    dhidden = slopes · W_hidden          packed once, too
//! after all steps:   dinput = slopes · W_input, dW_input = slopesᵀ · input, dW_hidden = slopesᵀ · hidden before
//! ```
//!
//! Sequences of a batch do not see each other: blocks of them ([`Sizes::block`]) go through all steps as tasks of their
//! own. Every sum is cut by the shapes alone.
//!
//! A sequence that has ended sleeps: its state stays, its results and slopes are zero. A reversed run finds its sequences
//! asleep first, so each begins at its own end.
//!
//! Kept for the way back: `0` the hidden state before each step; then for LSTM `1` the gates, `2` the cell before each
//! step, `3` the tangent of the cell after it; for GRU `1` the gates, `2` what the hidden state gives to the third gate; for
//! the plain ones `1` the results.

mod backward;
mod forward;
mod step;

use super::Cpu;
use super::beside::{Beside, Key};
use super::copy::Shared;
use super::gemm::{self, Lines, Packed, Product};
use super::real::Real;
use super::simd;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::recurrent::{
    Gates, Owned, Recur, Recurred, RecurrentGradients, RecurrentWanted, Recurring, Sizes, no_recurrence,
};
use crate::error::Fault;
use crate::layout::{DType, Element};

/// A float that recurrent layers compute in.
trait Float: Real + gemm::Real + gemm::Widen<Self> {}
impl<T: Real + gemm::Real + gemm::Widen<T>> Float for T {}

impl Recur for Cpu {
    fn recur(&self, operands: &Recurring<'_>, keep: bool) -> Result<Recurred, Fault> {
        let dtype = operands.input.dtype();
        let owned = Owned::new(operands, dense)?;
        let operands = owned.operands(operands);
        match dtype {
            DType::F64 => forward::run::<f64>(&Problem::new(&operands)?, keep),
            DType::F32 => forward::run::<f32>(&Problem::new(&operands)?, keep),
            _ => {
                // What is kept stays in f32, so that the way back starts from unrounded numbers.
                let run = forward::run::<f32>(&Problem::new(&operands)?, keep)?;
                run.map(|value| self.cast(value, dtype))
            }
        }
    }

    fn recur_gradient(
        &self,
        operands: &Recurring<'_>,
        kept: &[&Value],
        arriving: [&Value; 3],
        wanted: RecurrentWanted,
    ) -> Result<RecurrentGradients, Fault> {
        let dtype = operands.input.dtype();
        let owned = Owned::new(operands, dense)?;
        let operands = owned.operands(operands);
        let [output, hidden, cell] = arriving;
        let (output, hidden, cell) = (dense(output)?, dense(hidden)?, dense(cell)?);
        let arriving = [&output, &hidden, &cell];
        match dtype {
            DType::F64 => backward::run::<f64>(&Problem::new(&operands)?, kept, arriving, wanted),
            DType::F32 => backward::run::<f32>(&Problem::new(&operands)?, kept, arriving, wanted),
            _ => {
                let wide = backward::run::<f32>(&Problem::new(&operands)?, kept, arriving, wanted)?;
                wide.map(|value| self.cast(value, dtype))
            }
        }
    }
}

/// Row-major, and f32 or f64.
fn dense(x: &Value) -> Result<Value, Fault> {
    match x.dtype() {
        DType::F32 | DType::F64 => Cpu.contiguous(x),
        half if half.is_half() => Cpu.contiguous(&Cpu.cast(x, DType::F32)?),
        other => Err(no_recurrence(other)),
    }
}

impl Sizes {
    /// Sequences that go through all steps together. More of them read the weights less often; fewer give more tasks.
    fn block(&self) -> usize {
        /// A multiple of what a register tile takes.
        const MOST: usize = 42;
        const FEW: usize = 16;
        let even = |most: usize| self.batch.div_ceil(self.batch.div_ceil(most).max(1)).max(1);
        if self.batch < 8 * MOST { even(FEW.max(self.batch / 8)) } else { even(MOST) }
    }
    fn blocks(&self) -> usize {
        self.batch.div_ceil(self.block())
    }
    /// About how many elements one block touches.
    fn cost(&self) -> usize {
        self.steps * self.block() * self.gates * (self.out + 16) / 8
    }
}

/// The operands as slices of one element type.
struct Problem<'a, T> {
    kind: Gates,
    sizes: Sizes,
    input: &'a [T],
    hidden: &'a [T],
    cell: Option<&'a [T]>,
    weight_input: &'a [T],
    weight_hidden: Matrix<'a, T>,
    biases: Option<[&'a [T]; 2]>,
    projection: Option<Matrix<'a, T>>,
    reversed: bool,
    lengths: Option<&'a [usize]>,
}

impl<'a, T: Float> Problem<'a, T> {
    fn new(from: &Recurring<'a>) -> Result<Problem<'a, T>, Fault> {
        Ok(Problem {
            kind: from.gates,
            sizes: Sizes::new(from)?,
            input: from.input.dense()?,
            hidden: from.hidden.dense()?,
            cell: from.cell.map(Value::dense).transpose()?,
            weight_input: from.weight_input.dense()?,
            weight_hidden: Matrix::new(from.weight_hidden)?,
            biases: match from.biases {
                Some([input, hidden]) => Some([input.dense()?, hidden.dense()?]),
                None => None,
            },
            projection: from.projection.map(Matrix::new).transpose()?,
            reversed: from.reversed,
            lengths: from.lengths,
        })
    }

    /// The steps in the order of the way forward.
    fn order(&self) -> impl DoubleEndedIterator<Item = usize> + use<T> {
        let (steps, reversed) = (self.sizes.steps, self.reversed);
        (0..steps).map(move |step| if reversed { steps - 1 - step } else { step })
    }

    /// The sequences of a block.
    fn block(&self, index: usize) -> Block<'a> {
        let first = index * self.sizes.block();
        let count = self.sizes.block().min(self.sizes.batch - first);
        Block { first, count, lengths: self.lengths.map(|lengths| &lengths[first..first + count]) }
    }
}

/// Some sequences, and how long they are.
#[derive(Clone, Copy)]
struct Block<'a> {
    first: usize,
    count: usize,
    lengths: Option<&'a [usize]>,
}

impl<'a> Block<'a> {
    /// Who is awake in a step.
    fn awake(&self, step: usize) -> Awake<'a> {
        let Some(lengths) = self.lengths else { return Awake { count: self.count, step, lengths: None } };
        let count = lengths.iter().rposition(|&length| length > step).map_or(0, |last| last + 1);
        Awake { count, step, lengths: Some(lengths) }
    }
}

/// Which of the first `count` sequences of a block are awake; the others sleep.
#[derive(Clone, Copy)]
struct Awake<'a> {
    count: usize,
    step: usize,
    lengths: Option<&'a [usize]>,
}

impl Awake<'_> {
    #[inline(always)]
    fn has(&self, row: usize) -> bool {
        self.lengths.is_none_or(|lengths| lengths[row] > self.step)
    }
}

/// Weights that every step multiplies with.
#[derive(Clone, Copy)]
struct Matrix<'a, T> {
    data: &'a [T],
    /// Where packed weights may be kept.
    beside: &'a Beside,
}

impl<'a, T: Element> Matrix<'a, T> {
    fn new(value: &'a Value) -> Result<Matrix<'a, T>, Fault> {
        Ok(Matrix { data: value.dense()?, beside: value.buffer().beside() })
    }
}

/// What weights are read for.
#[derive(Clone, Copy)]
struct Uses {
    products: usize,
    /// Nobody learns: what is packed may be kept for the next sequence.
    at_rest: bool,
}

/// A matrix as every step reads it: packed once, where there are several steps.
enum Weight<'a, T> {
    Packed(Packed<'a, T>),
    /// Its lines, and how many columns and shared positions there are.
    Plain(Lines<'a, T>, [usize; 2]),
}

impl<'a, T: Float> Weight<'a, T> {
    /// `n` lines along the shared size `k`, `[line, shared]` apart.
    fn new(matrix: Matrix<'a, T>, sizes: [usize; 2], apart: [usize; 2], uses: Uses) -> Result<Weight<'a, T>, Fault> {
        let [line, shared] = apart.map(|step| step as isize);
        let lines = Lines::new(matrix.data, 0, [line, shared], sizes)?;
        if uses.products <= 1 {
            return Ok(Weight::Plain(lines, sizes));
        }
        if !uses.at_rest {
            return Ok(Weight::Packed(Packed::new(sizes, &lines)?));
        }
        let (start, [n, k]) = (matrix.data.as_ptr().addr() as isize, sizes.map(|size| size as isize));
        let numbers = [T::DTYPE as isize, simd::level() as isize, start, line, shared, n, k, 0];
        Ok(Weight::Packed(Packed::at_rest(sizes, &lines, matrix.beside, Key { kind: "steps", numbers })?))
    }
    /// `out = left · weight`, or added to what `out` holds; rows of both are dense.
    fn multiply(&self, rows: usize, left: &[T], out: &mut [T], add: bool) -> Result<(), Fault> {
        match self {
            Weight::Packed(packed) => packed.multiply(rows, left, out, add),
            Weight::Plain(right, [n, k]) => {
                let left = Lines::new(left, 0, [*k as isize, 1], [rows, *k])?;
                Product::new([rows, *n, *k], &left, right).accumulate(add).alone().run(out, *n)
            }
        }
    }
}

/// Rows of a matrix of all steps, which blocks write apart from each other.
struct Rows<T> {
    start: Shared<T>,
    width: usize,
    count: usize,
}

impl<T> Rows<T> {
    fn new(all: &mut [T], width: usize) -> Rows<T> {
        Rows { count: all.len().checked_div(width).unwrap_or(usize::MAX), start: Shared::new(all), width }
    }
    /// `count` rows from `first` on.
    ///
    /// # Safety
    /// Nobody else has these rows meanwhile.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self, first: usize, count: usize) -> &mut [T] {
        assert!(first + count <= self.count);
        // SAFETY: they lie inside what the pointer was made of, and the caller vouches that they are its own.
        unsafe { std::slice::from_raw_parts_mut(self.start.at((first * self.width) as isize), count * self.width) }
    }
}
