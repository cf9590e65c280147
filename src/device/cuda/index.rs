//! Elements chosen and put by position: `kernels/index.cu`.

use super::Cuda;
use super::faults::Check;
use super::launch::Launch;
use super::module::{Source, source};
use super::transfer::address;
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::index::{
    Around, Assembly, Combine, Index, check_assembly, check_gather, check_scatter, no_arithmetic, no_name,
    no_whole_numbers, outside,
};
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Layout, Shape};

const INDEX: Source = source!("index");

formula_struct!([whole] FlatFormula flat(above, here)(size) { above * size + here });
formula_struct!([] ShareFormula share(sum, count)() { sum / count });

/// Of more positions than these, a sort finds which go to one place.
const COMPARED: usize = 8192;
/// Lines that are longer are put together by many threads, where there are few lines.
const LONG: usize = 256;

fn combine_number(combine: Combine) -> i32 {
    match combine {
        Combine::Replace => 0,
        Combine::Sum => 1,
        Combine::Product => 2,
        Combine::Mean => 3,
        Combine::Largest => 4,
        Combine::Smallest => 5,
    }
}

/// The type that elements are combined in.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F64 | DType::F32 => dtype,
        DType::BF16 | DType::F16 => DType::F32,
        _ => DType::I64,
    }
}

/// The axes of an index but for one, over a layout's strides.
fn without(sizes: &[usize], strides: &[isize], axis: usize) -> Result<Layout, Fault> {
    let kept = |at: &usize| *at != axis;
    let sizes: Vec<usize> = (0..sizes.len()).filter(kept).map(|at| sizes[at]).collect();
    let strides: Vec<isize> = (0..strides.len()).filter(kept).map(|at| strides[at]).collect();
    Ok(Layout::from_parts(Shape::new(&sizes)?, &strides, 0))
}

/// All axes with one of them moved to the end.
fn moved_last(rank: usize, axis: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    order[axis..].rotate_left(1);
    order
}

impl Cuda {
    pub(super) fn index_kernel(self, name: &str) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&INDEX, name)?))
    }
    /// Integers as dense i64.
    pub(super) fn whole_numbers(self, index: &Value, what: &str) -> Result<Value, Fault> {
        match index.dtype() {
            DType::I64 | DType::I32 | DType::U8 => self.contiguous(&self.cast(index, DType::I64)?),
            other => Err(no_whole_numbers(what, other)),
        }
    }
    /// Positions along an axis, dense and counted from the front; one out of range is found out at the next read.
    fn positions_along(self, index: &Value, axis: usize, size: usize) -> Result<Value, Fault> {
        let index = self.whole_numbers(index, "positions")?;
        let (out, shape) = (self.blank(*index.shape(), DType::I64)?, *index.shape());
        let explain = move |number, place| outside(number, place, &shape, axis, size);
        let check = self.next_check(&index, explain)?;
        let call = self.index_kernel("positions_i64")?.read(&index).write(&out).long(index.count() as i64);
        call.long(size as i64).write(&check.word).long(check.number).over(index.count())?;
        Ok(out)
    }
    /// The greatest of whole numbers, or the least, where there are any: a read.
    pub(super) fn end_of(self, numbers: &Value, greatest: bool) -> Result<Option<i64>, Fault> {
        if numbers.count() == 0 {
            return Ok(None);
        }
        let axes: Vec<usize> = (0..numbers.rank()).collect();
        let end = self.bring_back(&self.extreme(numbers, &axes, false, greatest)?)?;
        Ok(end.dense::<i64>()?.first().copied())
    }
    /// For a kernel that checks names of `count` things. A bad one is found out at the next read.
    fn naming(self, numbers: &Value, what: &'static str, count: usize) -> Result<Check, Fault> {
        let shape = *numbers.shape();
        self.next_check(numbers, move |number, place| no_name(number, place, &shape, what, count))
    }
    /// Slices of a dense source put into `out` `[outer, size, inner]`, which nobody else holds.
    fn put_together(
        self,
        source: &Value,
        index: &Value,
        out: &Value,
        [outer, size, inner]: [usize; 3],
        how: Assembly,
    ) -> Result<(), Fault> {
        let single = [outer, inner] == [1, 1] && index.count() > COMPARED;
        if single && how.combine == Combine::Sum && out.dtype().is_float() {
            // However many go to one place: all threads add them up.
            return self.sum_runs(source, index, &self.ascent(index, size)?, out, how);
        }
        let next = self.chains(index, size)?;
        let call = self.index_kernel(&format!("assemble_{}", out.dtype()))?.read(source).read(index).read(&next);
        let call = call.write(out).long(size as i64).long(index.count() as i64).long(outer as i64).long(inner as i64);
        let call = call.long(how.skip.map_or(-1, |skip| skip as i64)).int(combine_number(how.combine));
        call.int(how.include as i32).over(source.count())
    }
    /// For each of some positions below `size`, the next one that goes where it goes: by comparing all with all where they are few.
    fn chains(self, index: &Value, size: usize) -> Result<Value, Fault> {
        if index.count() > COMPARED {
            return self.links(index, size);
        }
        let next = self.blank(*index.shape(), DType::I64)?;
        let count = index.count();
        let call = self.index_kernel("chains_i64")?.read(index).write(&next).long(count as i64);
        call.grid([count.div_ceil(super::launch::THREADS), 1, 1], super::launch::THREADS, 0)?;
        Ok(next)
    }
}

impl Index for Cuda {
    fn select(&self, x: &Value, axis: usize, index: &Value, blank: Option<usize>) -> Result<Value, Fault> {
        let Around { size, inner, .. } = Around::new(x.dims(), axis);
        let (x, index) = (self.contiguous(x)?, self.positions_along(index, axis, size)?);
        let sizes = [&x.dims()[..axis], index.dims(), &x.dims()[axis + 1..]].concat();
        let out = self.blank(Shape::new(&sizes)?, x.dtype())?;
        // The widest word of which a slice is made, and with which both begin.
        let bytes = inner * x.dtype().size();
        let fits = |word: &usize| {
            let all = [bytes as u64, address(&x), address(&out)];
            all.iter().all(|at| at.is_multiple_of(*word as u64))
        };
        let word = [16, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
        let (inner, count) = (bytes / word, out.count() * out.dtype().size() / word);
        let call = self.index_kernel(&format!("select_{word}"))?.read(&x).read(&index).write(&out).long(count as i64);
        let call = call.long(size as i64).long(index.count() as i64).long(inner as i64);
        call.long(blank.map_or(-1, |blank| blank as i64)).over(count)?;
        Ok(out)
    }
    fn gather(&self, x: &Value, axis: usize, index: &Value) -> Result<Value, Fault> {
        check_gather(x, axis, index)?;
        let index = self.positions_along(index, axis, x.dims()[axis])?;
        let out = self.blank(*index.shape(), x.dtype())?;
        let mut strides = x.layout().strides().to_vec();
        let step = std::mem::take(&mut strides[axis]);
        let call = self.index_kernel(&format!("gather_{}", x.dtype().size()))?.read(x).read(&index).write(&out);
        let call = call.long(out.count() as i64).view(&Layout::from_parts(*index.shape(), &strides, 0));
        call.long(step as i64).over(out.count())?;
        Ok(out)
    }
    fn scatter(
        &self,
        base: &Value,
        axis: usize,
        index: &Value,
        source: &Value,
        combine: Combine,
        include: bool,
    ) -> Result<Value, Fault> {
        check_scatter(base, axis, index, source)?;
        let dtype = base.dtype();
        if dtype == DType::Bool && combine != Combine::Replace {
            return Err(no_arithmetic());
        }
        let wide = wide(dtype);
        if combine == Combine::Mean {
            let (base, source) = (self.cast(base, wide)?, self.cast(source, wide)?);
            let sums = self.scatter(&base, axis, index, &source, Combine::Sum, include)?;
            let ones = |like: &Value| self.full(*like.shape(), wide, 1.0);
            let counts = self.scatter(&ones(&base)?, axis, index, &ones(&source)?, Combine::Sum, include)?;
            if dtype.is_float() {
                return self.cast(&self.formula(&ShareFormula {}, [&sums, &counts])?, dtype);
            }
            let out = self.blank(*base.shape(), wide)?;
            let call = self.index_kernel("mean_i64")?.read(&sums).read(&counts).write(&out);
            call.long(out.count() as i64).over(out.count())?;
            return self.cast(&out, dtype);
        }
        let index = self.positions_along(index, axis, base.dims()[axis])?;
        let (out, source) = (self.duplicate(&self.cast(base, wide)?)?, self.cast(source, wide)?);
        let sizes = index.dims();
        let of = |value: &Value| {
            Ok::<_, Fault>((without(sizes, value.layout().strides(), axis)?, value.layout().strides()[axis] as i64))
        };
        let ((to, to_step), (from, from_step), (at, at_step)) = (of(&out)?, of(&source)?, of(&index)?);
        let (lines, along) = (at.count(), sizes[axis]);
        if along > LONG && lines < self.0.multiprocessors * LONG {
            let goals = self.blank(Shape::new(&[lines * along])?, DType::I64)?;
            let rows =
                self.contiguous(&index.with_layout(index.layout().permuted(&moved_last(index.rank(), axis)))?)?;
            let call = self.index_kernel("goals_i64")?.read(&rows).write(&goals).long(lines as i64).long(along as i64);
            call.view(&to).long(to_step).over(goals.count())?;
            let part = Layout::from_parts(*index.shape(), source.layout().strides(), source.layout().offset());
            let source = self.contiguous(&source.with_layout(part.permuted(&moved_last(index.rank(), axis)))?)?;
            self.put_together(&source, &goals, &out, [1, out.count(), 1], Assembly { combine, include, skip: None })?;
            return self.cast(&out, dtype);
        }
        let call = self.index_kernel(&format!("scatter_{wide}"))?.read(&source).read(&index).write(&out);
        let call = call.long(lines as i64).long(along as i64).view(&to).view(&from).view(&at);
        let call = call.long(to_step).long(from_step).long(at_step).int(combine_number(combine)).int(include as i32);
        call.over(lines)?;
        self.cast(&out, dtype)
    }
    fn assemble(
        &self,
        base: Option<&Value>,
        size: usize,
        axis: usize,
        index: &Value,
        source: &Value,
        how: Assembly,
    ) -> Result<Value, Fault> {
        let shape = check_assembly(base, size, axis, index, source)?;
        let dtype = source.dtype();
        if dtype == DType::Bool && how.combine != Combine::Replace {
            return Err(no_arithmetic());
        }
        let index = self.positions_along(index, axis, size)?;
        let wide = wide(dtype);
        let source = self.contiguous(&self.cast(source, wide)?)?;
        let out = match base {
            Some(base) => self.duplicate(&self.cast(base, wide)?)?,
            None => self.full(shape, wide, 0.0)?,
        };
        let Around { outer, inner, .. } = Around::new(&shape, axis);
        self.put_together(&source, &index, &out, [outer, size, inner], how)?;
        self.cast(&out, dtype)
    }
    fn flat_positions(&self, lists: &[&Value], sizes: &[usize]) -> Result<Value, Fault> {
        let mut flat: Option<Value> = None;
        for (axis, list) in lists.iter().enumerate() {
            let here = self.positions_along(list, axis, sizes[axis])?;
            flat = Some(match flat {
                Some(above) => self.formula(&FlatFormula { size: sizes[axis] as f64 }, [&above, &here])?,
                None => here,
            });
        }
        flat.ok_or_else(|| Fault::value("no positions are given", "give a tensor of positions for each leading axis"))
    }
    fn names(&self, x: &Value, count: usize) -> Result<(), Fault> {
        let ids = self.whole_numbers(x, "ids")?;
        let check = self.naming(&ids, "ids", count)?;
        let call = self.index_kernel("names_i64")?.read(&ids).long(ids.count() as i64).long(count as i64);
        call.write(&check.word).long(check.number).over(ids.count())
    }
    fn one_hot(&self, labels: &Value, classes: Option<usize>) -> Result<Value, Fault> {
        let labels = self.whole_numbers(labels, "labels")?;
        let classes = match classes {
            Some(classes) => classes,
            None => match self.end_of(&labels, true)? {
                Some(most) => most.max(0) as usize + 1,
                None => {
                    return Err(Fault::value("the number of classes of no labels is unknown", "give it: one_hot(10)"));
                }
            },
        };
        // What is made from here on fails with a bad label.
        let check = self.naming(&labels, "labels", classes)?;
        let out = self.full(Shape::new(&[labels.dims(), &[classes]].concat())?, DType::I64, 0.0)?;
        let call = self.index_kernel("one_hot_i64")?.read(&labels).write(&out).long(labels.count() as i64);
        call.long(classes as i64).write(&check.word).long(check.number).over(labels.count())?;
        Ok(out)
    }
    fn positions(&self, x: &Value) -> Result<Value, Fault> {
        self.not_zero(x)
    }
    fn coordinates(&self, x: &Value) -> Result<Value, Fault> {
        self.coordinates_of(x)
    }
    fn count(&self, x: &Value, weights: Option<&Value>, least: usize) -> Result<Value, Fault> {
        self.counted(x, weights, least)
    }
    fn histogram(&self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value, Fault> {
        self.bins(x, bins, low, high)
    }
    fn search(&self, sorted: &Value, values: &Value, right: bool) -> Result<Value, Fault> {
        self.searched(sorted, values, right)
    }
}
