//! Products of strided, batched values: which operand lies how, and what is shared among threads.

use super::beside::Key;
use super::gemm::{Epilogue, Lines, Nothing, PerColumn, Real, Widen, multiply_integers};
use super::{Cpu, parallel, simd};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::matmul::{Joined, Matmul, Plan, differ};
use crate::error::Fault;
use crate::layout::{DType, Element, Shape};
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
            DType::I64 => plan.integers(a, b, joined),
            // By way of i64: they wrap alike. (Code has a budget.)
            DType::I32 | DType::U8 => {
                let wide = |x: &Value| self.cast(x, DType::I64);
                let start = joined.start.map(|(start, beta)| Ok((wide(start)?, beta))).transpose()?;
                let bias = joined.bias.map(wide).transpose()?;
                let start = start.as_ref().map(|(start, beta)| (start, *beta));
                let joined = Joined { start, bias: bias.as_ref(), ..joined };
                self.cast(&self.matmul(&wide(a)?, &wide(b)?, joined)?, dtype)
            }
            DType::Bool => Err(Fault::dtype(
                "a product of booleans is not defined",
                "convert first: to_dtype(DType::I64) counts, to_dtype(DType::F32) is the float product",
            )),
        }
    }
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

/// What computes the matrix of a batch position into its piece of the result, perhaps alone on its thread. (Known by pointer: what shares
/// work out is compiled for each type of result.)
type Work<'a, T> = &'a (dyn Fn(usize, &mut [T], bool) -> Result<(), Fault> + Sync);

impl Plan {
    /// The operands of batch position `item`.
    fn lines<'a, S: Element>(&self, a: &'a [S], b: &'a [S], item: usize) -> Result<[Lines<'a, S>; 2], Fault> {
        let [left, right] = self.offsets(item);
        Ok([Lines::new(a, left, self.left, [self.m, self.k])?, Lines::new(b, right, self.right, [self.n, self.k])?])
    }

    /// Runs `work(item, its piece of the result)` for each matrix of the batch; says whether the work is alone on its thread.
    fn each<T: Element>(&self, out: &mut [T], work: Work<'_, T>) -> Result<(), Fault> {
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
        let beside = (joined.at_rest && self.batch == 1).then(|| (b.buffer().beside(), self.name_of_right::<S>()));
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
            self.each(out, &|item, out: &mut [T], alone| {
                let [left, right] = self.lines(a, b, item)?;
                S::multiply([self.m, self.n, self.k], left, right, &mut |product| {
                    let product =
                        product.alpha(T::from_f64(joined.alpha)).accumulate(joined.start.is_some()).epilogue(epilogue);
                    let product = match beside {
                        Some((beside, key)) => product.keep_right(beside, key),
                        None => product,
                    };
                    if alone { product.alone() } else { product }.run(out, self.n)
                })
            })
        })
    }

    /// What packed panels of the right operand are called.
    fn name_of_right<S: Element>(&self) -> Key {
        let ([_, start], [line, shared]) = (self.starts, self.right);
        let [start, n, k] = [start, self.n, self.k].map(|number| number as isize);
        Key { kind: "panels", numbers: [S::DTYPE as isize, simd::level() as isize, start, line, shared, n, k, 0] }
    }

    /// Integers; alpha and beta are taken as integers.
    fn integers(&self, a: &Value, b: &Value, joined: Joined) -> Result<Value, Fault> {
        let (a, b) = (a.strided::<i64>()?.data, b.strided::<i64>()?.data);
        let alpha = joined.alpha as i64;
        Value::try_build::<i64>(self.shape, |out| {
            match joined.start {
                Some((start, beta)) => {
                    begin::<i64, i64>(start, &self.shape, out, |x| x.wrapping_mul(beta as i64))?;
                }
                None => out.fill(0),
            }
            self.each(out, &|item, out: &mut [i64], _| {
                let [left, right] = self.lines(a, b, item)?;
                multiply_integers([self.m, self.n, self.k], &left, &right, alpha, out);
                Ok(())
            })?;
            if let Some(bias) = joined.bias {
                let bias = Cpu.contiguous(bias)?;
                let bias = bias.dense::<i64>()?;
                for row in out.chunks_mut(self.n.max(1)) {
                    for (to, &from) in row.iter_mut().zip(bias) {
                        *to = to.wrapping_add(from);
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
