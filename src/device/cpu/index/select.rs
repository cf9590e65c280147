//! Reading by position.

use super::{PART, positions_along};
use crate::device::copy::Arrange;
use crate::device::cpu::{Cpu, parallel};
use crate::device::index::{Around, check_gather};
use crate::device::{Strided, Value, Word, by_size};
use crate::error::Fault;
use crate::layout::{MAX_RANK, Shape};

pub(super) fn select(x: &Value, axis: usize, index: &Value, blank: Option<usize>) -> Result<Value, Fault> {
    let around = Around::new(x.dims(), axis);
    let index = positions_along(index, axis, around.size)?;
    let mut sizes = x.dims()[..axis].to_vec();
    sizes.extend_from_slice(index.dims());
    sizes.extend_from_slice(&x.dims()[axis + 1..]);
    let (dense, positions) = (Cpu.contiguous(x)?, index.dense::<i64>()?);
    let mut out = Value::blank(Shape::new(&sizes)?, x.dtype())?;
    by_size!(x.dtype(), W => {
        let (out, source) = Value::dense_words::<W>(&mut out, &dense)?;
        slices(out, source, positions, around, blank);
    });
    Ok(out)
}

/// `out[o, j, :] = source[o, positions[j], :]`.
fn slices<W: Word>(out: &mut [W], source: &[W], positions: &[i64], around: Around, blank: Option<usize>) {
    let (count, width) = (positions.len(), around.inner);
    if out.is_empty() {
        return;
    }
    let together = PART.div_ceil(width);
    parallel::chunks(out, together * width, 2, |part, block| {
        for (row, to) in block.chunks_exact_mut(width).enumerate() {
            let row = part * together + row;
            let (o, position) = (row / count, positions[row % count] as usize);
            if blank == Some(position) {
                to.fill(W::default());
            } else if let [to] = to {
                *to = source[o * around.size + position];
            } else {
                let start = (o * around.size + position) * width;
                to.copy_from_slice(&source[start..start + width]);
            }
        }
    });
}

pub(super) fn gather(x: &Value, axis: usize, index: &Value) -> Result<Value, Fault> {
    check_gather(x, axis, index)?;
    let index = positions_along(index, axis, x.dims()[axis])?;
    let positions = index.dense::<i64>()?;
    let walk = Walk::new(index.dims(), x.layout().strides(), axis);
    let mut out = Value::blank(*index.shape(), x.dtype())?;
    by_size!(x.dtype(), W => {
        let (out, Strided { data, layout }) = Value::words::<W>(&mut out, x)?;
        walk.rows(out, |start, row, to| {
            let start = start + layout.offset() as isize;
            for (i, (to, &position)) in to.iter_mut().zip(&positions[row..]).enumerate() {
                *to = data[(start + i as isize * walk.step + position as isize * walk.along) as usize];
            }
        });
    });
    Ok(out)
}

/// The rows (last axis) of an index, and where each begins in a tensor of other strides when `axis` is left out.
struct Walk<'a> {
    dims: &'a [usize],
    strides: [isize; MAX_RANK],
    /// Step of the tensor for one step along a row; 0 where rows run along `axis`.
    step: isize,
    /// Step of the tensor along `axis`.
    along: isize,
}

impl<'a> Walk<'a> {
    fn new(dims: &'a [usize], strides: &[isize], axis: usize) -> Walk<'a> {
        let mut others = [0; MAX_RANK];
        others[..strides.len()].copy_from_slice(strides);
        others[axis] = 0;
        Walk { dims, strides: others, step: others[dims.len() - 1], along: strides[axis] }
    }
    /// Calls `row(start in the tensor, start in the index, out)` for every row of `out`, on all cores.
    fn rows<W: Send>(&self, out: &mut [W], row: impl Fn(isize, usize, &mut [W]) + Sync) {
        let width = self.dims[self.dims.len() - 1];
        if out.is_empty() {
            return;
        }
        let together = PART.div_ceil(width);
        let outer = &self.dims[..self.dims.len() - 1];
        parallel::chunks(out, together * width, 3, |part, block| {
            for (line, to) in block.chunks_exact_mut(width).enumerate() {
                let line = part * together + line;
                let (mut rest, mut start) = (line, 0);
                for (&size, &stride) in outer.iter().zip(&self.strides).rev() {
                    start += (rest % size) as isize * stride;
                    rest /= size;
                }
                row(start, line * width, to);
            }
        });
    }
}

pub(super) fn flat_positions(lists: &[&Value], sizes: &[usize]) -> Result<Value, Fault> {
    let Some(first) = lists.first() else {
        return Err(Fault::value("no positions are given", "give a tensor of positions for each leading axis"));
    };
    let mut checked = Vec::with_capacity(lists.len());
    for (axis, list) in lists.iter().enumerate() {
        checked.push(positions_along(list, axis, sizes[axis])?);
    }
    let mut columns = Vec::with_capacity(lists.len());
    for list in &checked {
        columns.push(list.dense::<i64>()?);
    }
    Value::build::<i64>(*first.shape(), |out| {
        parallel::chunks(out, PART, lists.len(), |part, out| {
            for (i, to) in out.iter_mut().enumerate() {
                let at = part * PART + i;
                *to = columns.iter().zip(sizes).fold(0, |flat, (list, &size)| flat * size as i64 + list[at]);
            }
        });
    })
}
