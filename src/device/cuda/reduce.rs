//! Many numbers become one: `kernels/reduce.cu`.

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::reduce::{Reduce, floats, folded_count, folded_shape, not_empty, walkable};
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Layout, Shape};

const REDUCE: Source = source!("reduce");

formula_struct!([] EqualFormula equal(x, best)() { select(eq(x, best), 1.0, 0.0) });
formula_struct!([] EqualOrNanFormula equal_or_nan(x, best)() { select(eq(x, best), 1.0, select(eq(x, x), 0.0, select(eq(best, best), 0.0, 1.0))) });
formula_struct!([] ShareFormula share(mark, count)() { mark / count });

/// Bytes of the largest state that is kept between a fold and its join.
pub(super) const STATE: usize = 16;
/// A piece of a fold has no fewer numbers.
const PIECE: usize = 4096;

/// How results are shared out among threads: `struct Shares` of `kernels/fold.cuh`.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    pub(super) results: usize,
    pub(super) length: usize,
    /// Parts of a fold, each of a block.
    pub(super) pieces: usize,
    /// Threads that fold one result together.
    pub(super) lanes: usize,
    /// Are these neighbours, which read a row that is dense in memory?
    pub(super) adjacent: bool,
}

impl Shares {
    pub(super) fn words(self) -> [u64; 4] {
        let (pieces, lanes) = (self.pieces as u64, self.lanes as u64);
        [self.results as u64, self.length as u64, pieces | lanes << 32, self.adjacent as u64]
    }
    pub(super) fn blocks(self) -> usize {
        (self.results * self.lanes).div_ceil(THREADS)
    }
    /// For the kernel that joins the pieces.
    pub(super) fn joined(self) -> Shares {
        Shares { lanes: (self.pieces.next_power_of_two() / 4).clamp(1, THREADS), adjacent: true, ..self }
    }
}

/// The axes that stay and the axes that are folded, as layouts over the same numbers.
fn apart(x: &Value, axes: &[usize]) -> Result<(Layout, Layout), Fault> {
    let side = |folded: bool| {
        let chosen: Vec<usize> = (0..x.rank()).filter(|axis| axes.contains(axis) == folded).collect();
        let pick = |axis: &usize| (x.dims()[*axis], x.layout().strides()[*axis]);
        let (sizes, strides): (Vec<usize>, Vec<isize>) = chosen.iter().map(pick).unzip();
        Ok(Layout::from_parts(Shape::new(&sizes)?, &strides, 0))
    };
    Ok((side(false)?, side(true)?))
}

impl Cuda {
    fn share(self, kept: &Layout, folded: &Layout) -> Shares {
        let dense = |layout: &Layout| {
            layout.dims().iter().zip(layout.strides()).any(|(&size, &stride)| size > 1 && stride.abs() == 1)
        };
        let (results, length) = (kept.count(), folded.count());
        let adjacent = dense(folded) || !dense(kept);
        let multiprocessors = self.0.multiprocessors;
        let lanes = match adjacent {
            true => (length.next_power_of_two() / 4).clamp(1, THREADS),
            false if results >= multiprocessors * 1024 => 8,
            false => 32,
        };
        self.pieces(Shares { results, length, pieces: 1, lanes, adjacent })
    }
    /// Cut into as many pieces as fill the GPU.
    pub(super) fn pieces(self, shares: Shares) -> Shares {
        let wanted = (self.0.multiprocessors * 8).checked_div(shares.blocks()).unwrap_or(1);
        Shares { pieces: wanted.min(shares.length / PIECE).max(1), ..shares }
    }
    /// Folds `axes` of `x` into `out` by a kernel, which takes some arguments more.
    fn fold(
        self,
        name: &str,
        x: &Value,
        out: &Value,
        axes: &[usize],
        more: impl Fn(Launch) -> Launch,
    ) -> Result<(), Fault> {
        walkable(x)?;
        let dtype = if x.dtype() == DType::Bool { DType::U8 } else { x.dtype() };
        let (kept, folded) = apart(x, axes)?;
        let shares = self.share(&kept, &folded);
        let parts = match shares.pieces {
            1 => None,
            pieces => Some(self.blank(Shape::new(&[shares.results * pieces * STATE])?, DType::U8)?),
        };
        let launch = |name: String, shares: Shares, pieces: usize| {
            let call = self.call(self.kernel(&REDUCE, &name)?).read(x).write(out).option(parts.as_ref());
            let call = more(call.block(&shares.words()).view(&kept).view(&folded));
            call.grid([shares.blocks(), pieces, 1], THREADS, 0)
        };
        launch(format!("{name}_{dtype}"), shares, shares.pieces)?;
        if parts.is_some() {
            launch(format!("{name}_join_{dtype}"), shares.joined(), 1)?;
        }
        Ok(())
    }
    /// As [`fold`](Cuda::fold), into a new value.
    fn folded(
        self,
        name: &str,
        x: &Value,
        (axes, keep): (&[usize], bool),
        dtype: DType,
        more: impl Fn(Launch) -> Launch,
    ) -> Result<Value, Fault> {
        let out = self.blank(folded_shape(x, axes, keep)?, dtype)?;
        self.fold(name, x, &out, axes, more)?;
        Ok(out)
    }
    fn total(self, x: &Value, axes: &[usize], keep: bool, divisor: f64, known: bool) -> Result<Value, Fault> {
        let dtype = if x.dtype().is_float() { x.dtype() } else { DType::I64 };
        self.folded("sum", x, (axes, keep), dtype, |call| call.double(divisor).int(known as i32))
    }
}

impl Reduce for Cuda {
    fn sum(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        self.total(x, axes, keep, 1.0, false)
    }
    fn sum_known(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        self.total(x, axes, keep, 1.0, true)
    }
    fn mean(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        floats(x, "the mean")?;
        self.total(x, axes, keep, folded_count(x, axes) as f64, false)
    }
    fn product(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        let dtype = if x.dtype().is_float() { x.dtype() } else { DType::I64 };
        self.folded("product", x, (axes, keep), dtype, |call| call)
    }
    fn extreme(&self, x: &Value, axes: &[usize], keep: bool, greatest: bool) -> Result<Value, Fault> {
        not_empty(x, axes)?;
        self.folded("extreme", x, (axes, keep), x.dtype(), |call| call.nothing().int(greatest as i32))
    }
    fn extreme_place(&self, x: &Value, axes: &[usize], keep: bool, greatest: bool) -> Result<(Value, Value), Fault> {
        not_empty(x, axes)?;
        let places = self.blank(folded_shape(x, axes, keep)?, DType::I64)?;
        let best =
            self.folded("extreme", x, (axes, keep), x.dtype(), |call| call.write(&places).int(greatest as i32))?;
        Ok((best, places))
    }
    fn any(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        if folded_count(x, axes) == 0 {
            return self.full(folded_shape(x, axes, keep)?, DType::Bool, 0.0);
        }
        self.extreme(&self.cast(x, DType::Bool)?, axes, keep, true)
    }
    fn all(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        if folded_count(x, axes) == 0 {
            return self.full(folded_shape(x, axes, keep)?, DType::Bool, 1.0);
        }
        self.extreme(&self.cast(x, DType::Bool)?, axes, keep, false)
    }
    fn count_nonzero(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        self.sum(&self.cast(x, DType::Bool)?, axes, keep)
    }
    fn variance(
        &self,
        x: &Value,
        axes: &[usize],
        keep: bool,
        correction: f64,
        root: bool,
    ) -> Result<(Value, Value), Fault> {
        floats(x, "the variance")?;
        let means = self.blank(folded_shape(x, axes, keep)?, x.dtype())?;
        let more = |call: Launch| call.write(&means).double(correction).int(root as i32);
        let variance = self.folded("variance", x, (axes, keep), x.dtype(), more)?;
        Ok((variance, means))
    }
    fn norm(&self, x: &Value, axes: &[usize], keep: bool, order: f64) -> Result<Value, Fault> {
        floats(x, "a norm")?;
        if order.is_infinite() {
            not_empty(x, axes)?;
        }
        let mode = match order {
            0.0 => 0,
            1.0 => 1,
            2.0 => 2,
            f64::INFINITY => 4,
            f64::NEG_INFINITY => 5,
            _ => 3,
        };
        self.folded("norm", x, (axes, keep), x.dtype(), |call| call.double(order).int(mode))
    }
    fn logsumexp(&self, x: &Value, axes: &[usize], keep: bool) -> Result<Value, Fault> {
        floats(x, "logsumexp")?;
        self.folded("logsumexp", x, (axes, keep), x.dtype(), |call| call)
    }
    fn put(&self, x: &Value, places: &Value, shape: Shape, axes: &[usize]) -> Result<Value, Fault> {
        let (x, out) = (self.contiguous(x)?, self.full(shape, x.dtype(), 0.0)?);
        let (kept, folded) = apart(&out, axes)?;
        let call = self.call(self.kernel(&REDUCE, &format!("put_{}", x.dtype().size()))?);
        let call = call.read(&x).write(&out).read(places).long(x.count() as i64);
        call.view(&kept).view(&folded).over(x.count())?;
        Ok(out)
    }
    fn pick(&self, x: &Value, places: &Value, axes: &[usize]) -> Result<Value, Fault> {
        let out = self.blank(*places.shape(), x.dtype())?;
        let (kept, folded) = apart(x, axes)?;
        let call = self.call(self.kernel(&REDUCE, &format!("pick_{}", x.dtype().size()))?);
        let call = call.read(x).write(&out).read(places).long(out.count() as i64);
        call.view(&kept).view(&folded).over(out.count())?;
        Ok(out)
    }
    fn shares(&self, x: &Value, best: &Value, axes: &[usize], nan: bool) -> Result<Value, Fault> {
        // `best` has the folded axes with size 1, or lacks them.
        let kept = folded_shape(x, axes, true)?;
        let best = self.contiguous(best)?;
        let best =
            best.with_layout(Layout::from_parts(kept, Layout::contiguous(kept).strides(), best.layout().offset()))?;
        let marks = match nan {
            true => self.formula(&EqualOrNanFormula {}, [x, &best])?,
            false => self.formula(&EqualFormula {}, [x, &best])?,
        };
        // Counted in a type that holds all numbers of a row.
        let wide = if x.dtype().is_half() { DType::F32 } else { x.dtype() };
        let counts = self.sum(&self.cast(&marks, wide)?, axes, true)?;
        self.cast(&self.formula(&ShareFormula {}, [&marks, &counts])?, x.dtype())
    }
    fn product_of_others(&self, x: &Value, axes: &[usize]) -> Result<Value, Fault> {
        self.others(x, axes)
    }
}
