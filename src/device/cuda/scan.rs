//! Running sums and their relatives: `kernels/scan.cu`.

use super::Cuda;
use super::launch::{Launch, THREADS, too_many};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::index::{Around, Assembly};
use crate::device::scan::Scan;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const SCAN: Source = source!("scan");

/// Bytes of the largest state that stands for a piece of a line.
const STATE: usize = 24;
/// A thread that goes along a piece takes no fewer elements.
const DEEP: usize = 16;

/// The lines of a dense tensor, and who goes along them: `struct Lines` of `kernels/scan.cuh`.
#[derive(Clone, Copy)]
struct Lines {
    count: usize,
    size: usize,
    inner: usize,
    pieces: usize,
    lanes: usize,
    adjacent: bool,
    reversed: bool,
}

impl Lines {
    fn words(self) -> [u64; 5] {
        let pairs = [self.pieces | self.lanes << 32, self.adjacent as usize | (self.reversed as usize) << 32];
        [self.count, self.size, self.inner, pairs[0], pairs[1]].map(|word| word as u64)
    }
    fn blocks(self) -> usize {
        (self.count * self.lanes).div_ceil(THREADS)
    }
}

/// A scan by its kernels.
struct Running<'a> {
    name: &'a str,
    /// The element type in its kernels' names.
    dtype: DType,
    /// The kernel that joins pieces.
    join: &'a str,
    axis: usize,
    reversed: bool,
}

/// The type of 32 or 64 bits that a scan of floats reads and writes.
fn wide(what: &str, dtype: DType) -> Result<DType, Fault> {
    match dtype {
        DType::F64 => Ok(DType::F64),
        DType::F32 | DType::BF16 | DType::F16 => Ok(DType::F32),
        _ => Err(Fault::dtype(
            format!("{what} of {dtype} numbers is not defined"),
            "convert to a float first: x.to_dtype(DType::F32)",
        )),
    }
}

impl Cuda {
    fn lines(self, x: &Value, axis: usize, reversed: bool) -> Lines {
        let Around { outer, size, inner } = Around::of(x, axis);
        let (count, multiprocessors) = (outer * inner, self.0.multiprocessors);
        let along = (size.next_power_of_two() / 4).clamp(1, THREADS);
        let lanes = match inner {
            1 => along,
            // Lines enough for every multiprocessor, each in order by a thread.
            _ if count >= multiprocessors * 1024 => 1,
            // Threads of 32 lines, or of all there are, read one stretch.
            _ => along.min(THREADS / count.clamp(1, 32).next_power_of_two()),
        };
        let lines = Lines { count, size, inner, pieces: 1, lanes, adjacent: inner == 1, reversed };
        let wanted = (multiprocessors * 8).checked_div(lines.blocks()).unwrap_or(1);
        Lines { pieces: wanted.min(size / (DEEP * lanes)).max(1), ..lines }
    }
    /// Goes along the axis of a dense value; the kernels take some arguments more.
    fn run_along(
        self,
        how: &Running<'_>,
        x: &Value,
        out: &Value,
        more: impl Fn(Launch) -> Launch,
        join: impl Fn(Launch) -> Launch,
    ) -> Result<(), Fault> {
        let lines = self.lines(x, how.axis, how.reversed);
        if lines.count > u32::MAX as usize {
            return Err(too_many("a tensor", x.count()));
        }
        let parts = match lines.pieces {
            1 => None,
            pieces => Some(self.blank(Shape::new(&[lines.count * pieces * STATE])?, DType::U8)?),
        };
        let launch = |kind: &str| {
            let call = self.call(self.kernel(&SCAN, &format!("{}{kind}_{}", how.name, how.dtype))?);
            let call = more(call.read(x).write(out).option(parts.as_ref()).block(&lines.words()));
            call.grid([lines.blocks(), lines.pieces, 1], THREADS, 0)
        };
        if let Some(parts) = &parts {
            launch("_parts")?;
            let call = self.call(self.kernel(&SCAN, &format!("join_{}", how.join))?);
            join(call.write(parts).int(lines.pieces as i32)).grid([lines.count, 1, 1], THREADS, 0)?;
        }
        launch("")
    }
    /// The same for floats, in f32 or f64, into a new value of the type of `x`; all of `others` beside it have its shape.
    fn run_floats(
        self,
        what: &str,
        how: Running<'_>,
        values: &[&Value],
        more: impl Fn(Launch, &[Value]) -> Launch,
    ) -> Result<Value, Fault> {
        let dtype = wide(what, values[0].dtype())?;
        let values: Vec<Value> =
            values.iter().map(|value| self.contiguous(&self.cast(value, dtype)?)).collect::<Result<_, Fault>>()?;
        let out = self.blank(*values[0].shape(), dtype)?;
        let how = Running { dtype, ..how };
        self.run_along(&how, &values[0], &out, |call| more(call, &values[1..]), |call| call)?;
        Ok(out)
    }
    /// In f64, the product of all that stand before each place.
    fn product_before(self, x: &Value, axis: usize) -> Result<Value, Fault> {
        let out = self.blank(*x.shape(), DType::F64)?;
        let how = Running { name: "product_before", dtype: x.dtype(), join: "product", axis, reversed: false };
        self.run_along(&how, x, &out, |call| call, |call| call)?;
        Ok(out)
    }
    /// For each number the product of all others that are folded with it, by what stands before and behind: no division.
    pub(super) fn others(self, x: &Value, axes: &[usize]) -> Result<Value, Fault> {
        // What is folded together becomes one axis, the last.
        let order: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect();
        let turned = self.contiguous(&x.with_layout(x.layout().permuted(&order))?)?;
        let length = axes.iter().map(|&axis| x.dims()[axis]).product::<usize>();
        let rows = turned.count().checked_div(length).unwrap_or(0);
        let dtype = wide("a product", x.dtype())?;
        let flat = self.cast(&turned, dtype)?;
        let flat = flat.with_layout(Layout::from_parts(
            Shape::new(&[rows, length])?,
            &[length as isize, 1],
            flat.layout().offset(),
        ))?;
        let before = self.product_before(&flat, 1)?;
        let how = Running { name: "product_others", dtype, join: "product", axis: 1, reversed: true };
        let others = self.run_floats("a product", how, &[&flat], |call, _| call.read(&before))?;
        let others = self.cast(&others.with_layout(Layout::contiguous(*turned.shape()))?, x.dtype())?;
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(position, &axis)| back[axis] = position);
        others.with_layout(others.layout().permuted(&back))
    }
    /// The places of marks (u8 or bool, a dense row), of which there are `total`; and into `inverse`, for each place which of the groups that begin with
    /// marks it belongs to, put where `order` says.
    pub(super) fn list_marks(
        self,
        marks: &Value,
        total: usize,
        order: Option<&Value>,
        inverse: Option<&Value>,
    ) -> Result<Value, Fault> {
        let out = self.blank(Shape::new(&[total])?, DType::I64)?;
        let how = Running { name: "list_marks", dtype: DType::U8, join: "wholes", axis: 0, reversed: false };
        self.run_along(&how, marks, &out, |call| call.option(order).option(inverse), |call| call)?;
        Ok(out)
    }
    /// Numbers of a dense row of f32 or f64 added up at their goals in `out`, taken by `order`, in which those with one goal stand together.
    pub(super) fn sum_runs(
        self,
        x: &Value,
        goals: &Value,
        order: &Value,
        out: &Value,
        how: Assembly,
    ) -> Result<(), Fault> {
        let row = x.with_layout(Layout::from_parts(Shape::new(&[x.count()])?, &[1], x.layout().offset()))?;
        let running = Running { name: "sum_runs", dtype: out.dtype(), join: "meeting", axis: 0, reversed: false };
        let skip = how.skip.map_or(-1, |skip| skip as i64);
        let more = |call: Launch| call.read(goals).read(order).long(skip).int(how.include as i32);
        self.run_along(&running, &row, out, more, |call| call)
    }
    fn whole(self, name: &str, join: &str, x: &Value, axis: usize, reversed: bool) -> Result<Value, Fault> {
        let x = self.contiguous(&self.cast(x, DType::I64)?)?;
        let out = self.blank(*x.shape(), DType::I64)?;
        let how = Running { name, dtype: DType::I64, join, axis, reversed };
        self.run_along(&how, &x, &out, |call| call, |call| call)?;
        Ok(out)
    }
}

impl Scan for Cuda {
    fn cumulative_sum(&self, x: &Value, axis: usize, reversed: bool) -> Result<Value, Fault> {
        if !x.dtype().is_float() {
            return self.whole("running_sum", "wholes", x, axis, reversed);
        }
        let (x, out) = (self.contiguous(x)?, self.blank(*x.shape(), x.dtype())?);
        let how = Running { name: "running_sum", dtype: x.dtype(), join: "sum", axis, reversed };
        self.run_along(&how, &x, &out, |call| call, |call| call)?;
        Ok(out)
    }
    fn cumulative_product(&self, x: &Value, axis: usize) -> Result<Value, Fault> {
        if !x.dtype().is_float() {
            return self.whole("running_product", "whole_product", x, axis, false);
        }
        let how = Running { name: "running_product", dtype: x.dtype(), join: "product", axis, reversed: false };
        self.cast(&self.run_floats("a product", how, &[x], |call, _| call)?, x.dtype())
    }
    fn cumulative_logsumexp(&self, x: &Value, axis: usize) -> Result<Value, Fault> {
        let how = Running { name: "running_logsumexp", dtype: x.dtype(), join: "exponentials", axis, reversed: false };
        self.cast(&self.run_floats("cumulative_logsumexp", how, &[x], |call, _| call)?, x.dtype())
    }
    fn cumulative_extreme(&self, x: &Value, axis: usize, greatest: bool) -> Result<(Value, Value), Fault> {
        let dtype = wide("an extreme", x.dtype()).unwrap_or(DType::I64);
        let wide = self.contiguous(&self.cast(x, dtype)?)?;
        let (best, places) = (self.blank(*x.shape(), dtype)?, self.blank(*x.shape(), DType::I64)?);
        let join = format!("extreme_{dtype}");
        let how = Running { name: "running_extreme", dtype, join: &join, axis, reversed: false };
        let more = |call: Launch| call.write(&places).int(greatest as i32);
        self.run_along(&how, &wide, &best, more, |call| call.int(greatest as i32))?;
        Ok((self.cast(&best, x.dtype())?, places))
    }
    fn cumulative_product_gradient(&self, x: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
        let dense = self.contiguous(&self.cast(x, wide("a gradient", x.dtype())?)?)?;
        let before = self.product_before(&dense, axis)?;
        let how = Running { name: "product_gradient", dtype: x.dtype(), join: "recurrence", axis, reversed: true };
        let more = |call: Launch, others: &[Value]| call.read(&others[0]).read(&before);
        self.cast(&self.run_floats("a gradient", how, &[&dense, g], more)?, x.dtype())
    }
    fn cumulative_logsumexp_gradient(&self, x: &Value, y: &Value, g: &Value, axis: usize) -> Result<Value, Fault> {
        let how = Running { name: "logsumexp_gradient", dtype: x.dtype(), join: "decay", axis, reversed: true };
        let more = |call: Launch, others: &[Value]| call.read(&others[0]).read(&others[1]);
        self.cast(&self.run_floats("a gradient", how, &[x, y, g], more)?, x.dtype())
    }
    fn add_at_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
        let dtype = wide("a gradient", x.dtype())?;
        let (dense, places) = (self.contiguous(&self.cast(x, dtype)?)?, self.contiguous(places)?);
        let out = self.full(*x.shape(), dtype, 0.0)?;
        let how = Running { name: "add_at_places", dtype, join: "meeting", axis, reversed: false };
        self.run_along(&how, &dense, &out, |call| call.read(&places), |call| call)?;
        self.cast(&out, x.dtype())
    }
    fn take_places(&self, x: &Value, places: &Value, axis: usize) -> Result<Value, Fault> {
        let (x, places) = (self.contiguous(x)?, self.contiguous(places)?);
        let (out, Around { size, inner, .. }) = (self.blank(*x.shape(), x.dtype())?, Around::of(&x, axis));
        let call = self.call(self.kernel(&SCAN, &format!("take_places_{}", x.dtype().size()))?);
        let call = call.read(&x).write(&out).read(&places).long(out.count() as i64);
        call.long(size as i64).long(inner as i64).over(out.count())?;
        Ok(out)
    }
}
