//! Writing by position.
//!
//! All coordinates but the one along the axis say which *line* an element goes to, and lines do not meet: they are
//! what threads share out. Along a line elements are taken in order, so the result does not depend on threads.

use super::{Combine, PART, Shared, positions_along};
use crate::device::copy::Arrange;
use crate::device::cpu::index::assemble::{Arithmetic, Tally};
use crate::device::cpu::{Cpu, parallel};
use crate::device::index::{check_scatter, no_arithmetic};
use crate::device::{Strided, Value, by_size};
use crate::error::Fault;
use crate::layout::{DType, Element, MAX_RANK};

/// Lines next to each other that are worked on together, so that memory is met in order.
const TOGETHER: usize = 32;
/// From this many additions on along one line, the line is summed in a wider type.
const MANY: usize = 64;

pub(super) fn scatter(
    base: &Value,
    axis: usize,
    index: &Value,
    source: &Value,
    combine: Combine,
    include: bool,
) -> Result<Value, Fault> {
    check_scatter(base, axis, index, source)?;
    let index = positions_along(index, axis, base.dims()[axis])?;
    let lines = Lines::new(base, axis, &index, source)?;
    if combine == Combine::Replace {
        let mut out = Cpu.duplicate(base)?;
        by_size!(base.dtype(), W => {
            let (out, source) = Value::words::<W>(&mut out, source)?;
            lines.place(out, source.data, |_, new| new);
        });
        return Ok(out);
    }
    match base.dtype() {
        DType::F64 => combined::<f64>(base, source, &lines, combine, include),
        DType::F32 => combined::<f32>(base, source, &lines, combine, include),
        DType::I64 => combined::<i64>(base, source, &lines, combine, include),
        DType::Bool => Err(no_arithmetic()),
        narrow => {
            let wide = if narrow.is_float() { DType::F32 } else { DType::I64 };
            let (base, source) = (Cpu.cast(base, wide)?, Cpu.cast(source, wide)?);
            Cpu.cast(&scatter(&base, axis, &index, &source, combine, include)?, narrow)
        }
    }
}

/// The lines of a scatter: where each begins in the result, in the source and in the index.
struct Lines<'a> {
    positions: &'a [i64],
    /// Sizes of the index but for the axis and the axis across; with steps of result, source and index.
    outer: Vec<(usize, [isize; 3])>,
    /// Lines next to each other, and the three steps from one to the next.
    across: (usize, [isize; 3]),
    /// Elements of a line, and the three steps along it.
    along: (usize, [isize; 3]),
    start: isize,
    /// Size of the result along the axis.
    size: usize,
}

impl<'a> Lines<'a> {
    fn new(base: &Value, axis: usize, index: &'a Value, source: &Value) -> Result<Lines<'a>, Fault> {
        let strides = |dims: &[usize]| {
            let mut strides = [1isize; MAX_RANK];
            for at in (1..dims.len()).rev() {
                strides[at - 1] = strides[at] * dims[at].max(1) as isize;
            }
            strides
        };
        let (to, from, positions) = (strides(base.dims()), source.layout().strides(), strides(index.dims()));
        let axes: Vec<(usize, [isize; 3])> =
            index.dims().iter().enumerate().map(|(at, &size)| (size, [to[at], from[at], positions[at]])).collect();
        let last = axes.len() - 1;
        let across = if axis == last { (1, [0; 3]) } else { axes[last] };
        let outer = (0..last).filter(|&at| at != axis).map(|at| axes[at]).collect();
        let start = source.layout().offset() as isize;
        let size = base.dims()[axis];
        Ok(Lines { positions: index.dense()?, outer, across, along: axes[axis], start, size })
    }

    /// Calls `work(result, source, index, lines)` for blocks of neighbouring lines, on all cores.
    fn blocks(&self, cost: usize, work: impl Fn([isize; 3], usize) + Sync) {
        let outer: usize = self.outer.iter().map(|(size, _)| size).product();
        if outer == 0 || self.across.0 == 0 || self.along.0 == 0 {
            return;
        }
        let blocks = self.across.0.div_ceil(TOGETHER);
        let each = cost * self.across.0.min(TOGETHER);
        let group = (PART / each).max(1);
        let all = outer * blocks;
        parallel::parts(all.div_ceil(group), (group * each).min(all * each), |part| {
            for item in part * group..all.min((part + 1) * group) {
                let (mut rest, first) = (item / blocks, item % blocks * TOGETHER);
                let mut at = [0, self.start, 0];
                for (at, step) in at.iter_mut().zip(self.across.1) {
                    *at += first as isize * step;
                }
                for (size, steps) in self.outer.iter().rev() {
                    for (at, step) in at.iter_mut().zip(steps) {
                        *at += (rest % size) as isize * step;
                    }
                    rest /= size;
                }
                work(at, TOGETHER.min(self.across.0 - first));
            }
        });
    }

    /// Calls `meet(position along the axis, line, source)` for every element of a block of lines, line by line in order.
    #[inline(always)]
    fn each<W: Copy>(
        &self,
        [_, from, index]: [isize; 3],
        lines: usize,
        source: &[W],
        mut meet: impl FnMut(usize, usize, W),
    ) {
        for j in 0..self.along.0 as isize {
            let (from, index) = (from + j * self.along.1[1], index + j * self.along.1[2]);
            for line in 0..lines {
                let position = self.positions[(index + line as isize * self.across.1[2]) as usize];
                meet(position as usize, line, source[(from + line as isize * self.across.1[1]) as usize]);
            }
        }
    }

    /// `out[place] = change(out[place], source)` for all elements.
    fn place<W: Copy + Send + Sync>(&self, out: &mut [W], source: &[W], change: impl Fn(W, W) -> W + Sync) {
        let (length, out) = (out.len() as isize, Shared::new(out));
        self.blocks(self.along.0, |at, lines| {
            self.each(at, lines, source, |position, line, new| {
                let place = at[0] + line as isize * self.across.1[0] + position as isize * self.along.1[0];
                debug_assert!((0..length).contains(&place));
                // SAFETY: positions were checked against the size of the axis and the other coordinates against the
                // sizes of the result, so the place lies inside; no other block has this line.
                unsafe {
                    let place = out.at(place);
                    *place = change(*place, new);
                }
            });
        });
    }
}

/// `out ⊕= source`, where ⊕ is arithmetic.
fn combined<T: Element + Arithmetic>(
    base: &Value,
    source: &Value,
    lines: &Lines<'_>,
    combine: Combine,
    include: bool,
) -> Result<Value, Fault> {
    let mut value = Cpu.duplicate(base)?;
    let out = value.unshared::<T>().ok_or_else(|| Fault::defect("a fresh value is shared"))?;
    let Strided { data, .. } = source.strided::<T>()?;
    if combine == Combine::Sum && include && lines.along.0 < MANY {
        lines.place(out, data, T::plus);
        return Ok(value);
    }
    let out = Shared::new(out);
    lines.blocks(lines.along.0.max(lines.size), |at, count| {
        let place = |position: usize, line: usize| {
            at[0] + line as isize * lines.across.1[0] + position as isize * lines.along.1[0]
        };
        let mut tallies = Vec::with_capacity(lines.size * count);
        for position in 0..lines.size {
            for line in 0..count {
                // SAFETY: the place lies inside the result, and no other block has this line.
                tallies.push(Tally::new(unsafe { *out.at(place(position, line)) }, combine, include));
            }
        }
        lines.each(at, count, data, |position, line, new| tallies[position * count + line].take(new, combine));
        for (i, tally) in tallies.into_iter().enumerate() {
            if tally.met() {
                // SAFETY: as above.
                unsafe { *out.at(place(i / count, i % count)) = tally.result(combine) }
            }
        }
    });
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Shape;

    fn value<T: Element>(numbers: &[T], sizes: &[usize]) -> Value {
        Value::build::<T>(Shape::new(sizes).unwrap(), |out| out.copy_from_slice(numbers)).unwrap()
    }

    #[test]
    fn repeated_positions_combine_in_order() {
        let base = value(&[1.0f32, 2.0, 3.0], &[3]);
        let index = value(&[0i64, -1, 0, 2], &[4]);
        let source = value(&[5.0f32, 7.0, 2.0, 8.0], &[4]);
        for (combine, include, wanted) in [
            (Combine::Replace, true, [2.0f32, 2.0, 8.0]),
            (Combine::Sum, true, [8.0, 2.0, 18.0]),
            (Combine::Sum, false, [7.0, 2.0, 15.0]),
            (Combine::Product, true, [10.0, 2.0, 168.0]),
            (Combine::Mean, true, [8.0 / 3.0, 2.0, 6.0]),
            (Combine::Mean, false, [3.5, 2.0, 7.5]),
            (Combine::Largest, false, [5.0, 2.0, 8.0]),
            (Combine::Smallest, true, [1.0, 2.0, 3.0]),
        ] {
            let got = scatter(&base, 0, &index, &source, combine, include).unwrap();
            assert_eq!(got.slice::<f32>().unwrap(), wanted, "{combine:?} {include}");
        }
    }

    #[test]
    fn many_equal_numbers_add_up() {
        let (base, index) = (value(&[0.0f32; 2], &[2]), value(&[1i64; 20000], &[20000]));
        let sum = scatter(&base, 0, &index, &value(&[0.1f32; 20000], &[20000]), Combine::Sum, true).unwrap();
        assert_eq!(sum.slice::<f32>().unwrap()[1], (0.1f32 as f64 * 20000.0) as f32);
    }
}
