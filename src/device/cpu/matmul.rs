//! Products of strided, batched values: which operand lies how, and what is shared among threads.

use super::gemm::{Epilogue, Lines, Nothing, PerColumn, Product, Real, Widen, multiply_integers};
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::matmul::{Joined, Matmul};
use crate::error::Fault;
use crate::layout::{DType, Element, Layout, MAX_RANK, Shape};
use half::{bf16, f16};
use std::sync::OnceLock;

/// Multiply-adds from which on one product is shared among threads by itself, rather than by the batch.
const LARGE: usize = 1 << 23;
/// Multiply-adds that a part of a batch should have at least.
const PART: usize = 1 << 17;

impl Matmul for Cpu {
    fn matmul(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault> {
        let dtype = a.dtype();
        if b.dtype() != dtype {
            return Err(differ(dtype, b.dtype()));
        }
        let plan = Plan::new(a.layout(), b.layout())?;
        match dtype {
            DType::F64 => plan.floats::<f64, f64>(a, b, joined),
            DType::F32 => plan.floats::<f32, f32>(a, b, joined),
            DType::BF16 => rounded::<bf16>(&plan.floats::<bf16, f32>(a, b, joined)?),
            DType::F16 => rounded::<f16>(&plan.floats::<f16, f32>(a, b, joined)?),
            DType::I64 => plan.integers::<i64>(a, b, joined),
            DType::I32 => plan.integers::<i32>(a, b, joined),
            DType::U8 => plan.integers::<u8>(a, b, joined),
            DType::Bool => Err(Fault::dtype(
                "a product of booleans is not defined",
                "convert first: to_dtype(DType::I64) counts, to_dtype(DType::F32) is the float product",
            )),
        }
    }
}

pub(crate) fn differ(left: DType, right: DType) -> Fault {
    Fault::dtype(
        format!("the element types differ: {left} and {right}"),
        format!("convert one of them, for example with to_dtype(DType::{left:?})"),
    )
}

/// 16-bit results: the f32 result, rounded once.
fn rounded<S: Element + From32>(wide: &Value) -> Result<Value, Fault> {
    let from = wide.dense::<f32>()?;
    Value::build::<S>(*wide.shape(), |out| {
        for (to, &x) in out.iter_mut().zip(from) {
            *to = S::from_f32(x);
        }
    })
}

trait From32 {
    fn from_f32(x: f32) -> Self;
}
impl From32 for bf16 {
    fn from_f32(x: f32) -> bf16 {
        bf16::from_f32(x)
    }
}
impl From32 for f16 {
    fn from_f32(x: f32) -> f16 {
        f16::from_f32(x)
    }
}

/// How a batched product is done: the batch axes that remain, and one matrix product for each of their positions.
struct Plan {
    shape: Shape,
    m: usize,
    n: usize,
    k: usize,
    /// Steps of a row and a shared position of A, of a column and a shared position of B.
    left: [isize; 2],
    right: [isize; 2],
    batch: usize,
    sizes: [usize; MAX_RANK],
    left_steps: [isize; MAX_RANK],
    right_steps: [isize; MAX_RANK],
    axes: usize,
    /// Where each begins in its buffer.
    starts: [usize; 2],
}

impl Plan {
    fn new(a: &Layout, b: &Layout) -> Result<Plan, Fault> {
        let ([.., m, k], [.., depth, n]) = (a.dims(), b.dims()) else {
            return Err(Fault::defect("a product of fewer than two axes"));
        };
        let (mut m, k, n) = (*m, *k, *n);
        if k != *depth {
            return Err(Fault::shape(
                "the inner sizes differ",
                format!("the left's last size ({k}) must equal the right's second-to-last ({depth})"),
            ));
        }
        let (rank_a, rank_b) = (a.rank(), b.rank());
        let batch = Shape::new(&a.dims()[..rank_a - 2])?.broadcast(&Shape::new(&b.dims()[..rank_b - 2])?)?;
        let mut dims = [1; MAX_RANK];
        let mut axes = batch.len();
        if axes + 2 > MAX_RANK {
            return Err(Fault::shape(
                format!("the result has {} axes", axes + 2),
                format!("a tensor has at most {MAX_RANK} axes"),
            ));
        }
        dims[..axes].copy_from_slice(&batch);
        (dims[axes], dims[axes + 1]) = (m, n);
        let shape = Shape::new(&dims[..axes + 2])?;

        // Steps along the batch axes; a broadcast axis steps by 0.
        let steps = |layout: &Layout| {
            let mut steps = [0; MAX_RANK];
            let front = axes + 2 - layout.rank();
            for axis in 0..layout.rank() - 2 {
                steps[front + axis] = if layout.dims()[axis] == 1 { 0 } else { layout.strides()[axis] };
            }
            steps
        };
        let (left_steps, right_steps) = (steps(a), steps(b));
        let mut left = [a.strides()[rank_a - 2], a.strides()[rank_a - 1]];
        let right = [b.strides()[rank_b - 1], b.strides()[rank_b - 2]];
        // Rows of A go on through a batch axis that B does not have: then both are one longer axis of rows.
        while axes > 0 && right_steps[axes - 1] == 0 {
            let (size, step) = (batch[axes - 1], left_steps[axes - 1]);
            if m == 1 {
                left[0] = step;
            } else if size != 1 && step != left[0] * m as isize {
                break;
            }
            m *= size;
            axes -= 1;
        }
        let mut sizes = [1; MAX_RANK];
        sizes[..axes].copy_from_slice(&batch[..axes]);
        let batch = sizes[..axes].iter().product();
        let starts = [a.offset(), b.offset()];
        Ok(Plan { shape, m, n, k, left, right, batch, sizes, left_steps, right_steps, axes, starts })
    }

    /// Where the matrices of batch position `item` begin.
    fn offsets(&self, mut item: usize) -> [usize; 2] {
        let [mut left, mut right] = self.starts.map(|start| start as isize);
        for axis in (0..self.axes).rev() {
            let index = (item % self.sizes[axis]) as isize;
            item /= self.sizes[axis];
            left += index * self.left_steps[axis];
            right += index * self.right_steps[axis];
        }
        [left as usize, right as usize]
    }

    /// The operands of batch position `item`.
    fn lines<'a, S: Element>(&self, a: &'a [S], b: &'a [S], item: usize) -> Result<[Lines<'a, S>; 2], Fault> {
        let [left, right] = self.offsets(item);
        Ok([Lines::new(a, left, self.left, [self.m, self.k])?, Lines::new(b, right, self.right, [self.n, self.k])?])
    }

    /// Runs `work(item, its piece of the result)` for each matrix of the batch; says whether the work is alone on its thread.
    fn each<T: Element>(
        &self,
        out: &mut [T],
        work: impl Fn(usize, &mut [T], bool) -> Result<(), Fault> + Sync,
    ) -> Result<(), Fault> {
        let piece = self.m * self.n;
        if piece == 0 {
            return Ok(());
        }
        let cost = piece.saturating_mul(self.k);
        if self.batch == 1 || cost >= LARGE {
            return out.chunks_mut(piece).enumerate().try_for_each(|(item, piece)| work(item, piece, false));
        }
        let group = PART.div_ceil(cost.max(1)).min(self.batch);
        let failed = OnceLock::new();
        parallel::chunks(out, group * piece, (self.k / 8).max(1), |index, pieces| {
            for (item, piece) in pieces.chunks_mut(piece).enumerate() {
                if let Err(fault) = work(index * group + item, piece, true) {
                    let _ = failed.set(fault);
                }
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Floats `S`, computed as `T`.
    fn floats<S: Widen<T>, T: Real>(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault> {
        let (a, b) = (a.strided::<S>()?.data, b.strided::<S>()?.data);
        let bias = match joined.bias {
            Some(bias) => Some(widened::<S, T>(bias)?),
            None => None,
        };
        let per_column = bias.as_ref().map(|bias| bias.dense::<T>()).transpose()?.map(PerColumn);
        let epilogue: &dyn Epilogue<T> = match &per_column {
            Some(bias) if bias.0.len() < self.n => return Err(Fault::defect("a bias shorter than the columns")),
            Some(bias) => bias,
            None => &Nothing,
        };
        Value::try_build::<T>(self.shape, |out| {
            if let Some((start, beta)) = joined.start {
                let beta = T::from_f64(beta);
                begin::<S, T>(start, &self.shape, out, |x| x.widen() * beta)?;
            }
            self.each(out, |item, out, alone| {
                let [left, right] = self.lines(a, b, item)?;
                let mut product = Product::new([self.m, self.n, self.k], &left, &right)
                    .alpha(T::from_f64(joined.alpha))
                    .accumulate(joined.start.is_some())
                    .epilogue(epilogue);
                if alone {
                    product = product.alone();
                }
                product.run(out, self.n)
            })
        })
    }

    /// Integers; alpha and beta are taken as integers.
    fn integers<T: super::gemm::Wrapping>(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault> {
        let (a, b) = (a.strided::<T>()?.data, b.strided::<T>()?.data);
        let alpha = T::from_f64(joined.alpha);
        Value::try_build::<T>(self.shape, |out| {
            match joined.start {
                Some((start, beta)) => {
                    let beta = T::from_f64(beta);
                    begin::<T, T>(start, &self.shape, out, |x| x.times(beta))?;
                }
                None => out.fill(T::default()),
            }
            self.each(out, |item, out, _| {
                let [left, right] = self.lines(a, b, item)?;
                multiply_integers([self.m, self.n, self.k], &left, &right, alpha, out);
                Ok(())
            })?;
            if let Some(bias) = joined.bias {
                let bias = Cpu.contiguous(bias)?;
                let bias = bias.dense::<T>()?;
                for row in out.chunks_mut(self.n.max(1)) {
                    for (to, &from) in row.iter_mut().zip(bias) {
                        *to = to.plus(from);
                    }
                }
            }
            Ok(())
        })
    }
}

/// A dense vector as `T`.
fn widened<S: Widen<T>, T: Real>(x: &Value) -> Result<Value, Fault> {
    let x = Cpu.contiguous(x)?;
    let from = x.dense::<S>()?;
    if S::same(from).is_some() {
        return Ok(x);
    }
    Value::build::<T>(*x.shape(), |out| {
        for (to, &x) in out.iter_mut().zip(from) {
            *to = x.widen();
        }
    })
}

/// Fills `out` with a function of `x`, broadcast to `shape`: what the product is then added to.
fn begin<S: Element, T>(x: &Value, shape: &Shape, out: &mut [T], f: impl Fn(S) -> T) -> Result<(), Fault> {
    let layout = x.layout().expanded(shape)?;
    let data = x.strided::<S>()?.data;
    let (width, across) = match (shape.last(), layout.strides().last()) {
        (Some(&width), Some(&across)) => (width, across),
        _ => (1, 0),
    };
    for (row, values) in out.chunks_mut(width.max(1)).enumerate() {
        let (mut rest, mut at) = (row, layout.offset() as isize);
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            at += (rest % shape[axis]) as isize * layout.strides()[axis];
            rest /= shape[axis];
        }
        for (column, value) in values.iter_mut().enumerate() {
            *value = f(data[(at + column as isize * across) as usize]);
        }
    }
    Ok(())
}
