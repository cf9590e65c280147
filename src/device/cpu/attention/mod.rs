//! Attention in tiles: scores of some queries against some keys at a time, never the whole matrix of weights.
//!
//! Dao, Fu, Ermon, Rudra, Ré: "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022. The
//! softmax of a row is carried along the tiles (maximum and sum so far); the way back recomputes the weights from them.
//!
//! `L`, `S`: queries and keys; `E`, `F`: sizes of a key and of a value. A task is a run of queries (forward) or of keys
//! (backward) of one matrix, so the shapes alone decide how sums are cut.

mod backward;
mod forward;
mod tile;

use super::Cpu;
use crate::device::attention::{Attend, Attended, Attending, AttentionGradients};
use crate::device::copy::Arrange;
use crate::device::{Strided, Value};
use crate::error::Fault;
use crate::layout::{DType, Element, Layout};

/// Queries of a tile.
const QUERIES: usize = 64;
/// Keys of a tile.
const KEYS: usize = 128;

impl Attend for Cpu {
    fn attend(
        &self,
        query: &Value,
        key: &Value,
        value: &Value,
        mask: Option<&Value>,
        how: Attending,
    ) -> Result<Attended, Fault> {
        match query.dtype() {
            DType::F32 => forward::attend::<f32>(query, key, value, mask, how),
            DType::F64 => forward::attend::<f64>(query, key, value, mask, how),
            half if half.is_half() => {
                let wide = |x: &Value| self.cast(x, DType::F32);
                let mask = mask.map(widened).transpose()?;
                let attended = self.attend(&wide(query)?, &wide(key)?, &wide(value)?, mask.as_ref(), how)?;
                Ok(Attended { out: self.cast(&attended.out, half)?, ..attended })
            }
            other => Err(no_scores(other)),
        }
    }

    fn attend_gradient(
        &self,
        query: &Value,
        key: &Value,
        value: &Value,
        mask: Option<&Value>,
        attended: &Attended,
        arriving: &Value,
        how: Attending,
        mask_too: bool,
    ) -> Result<AttentionGradients, Fault> {
        match query.dtype() {
            DType::F32 => backward::gradients::<f32>(query, key, value, mask, attended, arriving, how, mask_too),
            DType::F64 => backward::gradients::<f64>(query, key, value, mask, attended, arriving, how, mask_too),
            half if half.is_half() => {
                let wide = |x: &Value| self.cast(x, DType::F32);
                let mask = mask.map(widened).transpose()?;
                let (query, key, value, arriving) = (wide(query)?, wide(key)?, wide(value)?, wide(arriving)?);
                // The rounded result would do for the gradient, but the unrounded one costs little and is right.
                let attended = match attended.out.dtype() {
                    DType::F32 => None,
                    _ => Some(self.attend(&query, &key, &value, mask.as_ref(), how)?),
                }
                .unwrap_or(Attended {
                    out: attended.out.clone(),
                    maxima: attended.maxima.clone(),
                    shares: attended.shares.clone(),
                });
                let wide =
                    self.attend_gradient(&query, &key, &value, mask.as_ref(), &attended, &arriving, how, mask_too)?;
                Ok(AttentionGradients {
                    query: self.cast(&wide.query, half)?,
                    key: self.cast(&wide.key, half)?,
                    value: self.cast(&wide.value, half)?,
                    mask: wide.mask.map(|mask| self.cast(&mask, half)).transpose()?,
                })
            }
            other => Err(no_scores(other)),
        }
    }
}

#[cold]
fn no_scores(dtype: DType) -> Fault {
    Fault::dtype(format!("attention over {dtype}"), "convert to a float first, with to_dtype(DType::F32)")
}

/// A half-precision mask in f32; a boolean one as it is.
fn widened(mask: &Value) -> Result<Value, Fault> {
    if mask.dtype() == DType::Bool { Ok(mask.clone()) } else { Cpu.cast(mask, DType::F32) }
}

/// The sizes of the problem.
#[derive(Clone, Copy)]
struct Sizes {
    /// Matrices of keys.
    matrices: usize,
    /// Matrices of queries that share one of keys.
    groups: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
}

impl Sizes {
    fn new(query: &Value, value: &Value) -> Result<Sizes, Fault> {
        let defect = || Fault::defect(format!("attention over {:?} and {:?}", query.dims(), value.dims()));
        let &[ref batch @ .., groups, queries, width] = query.dims() else { return Err(defect()) };
        let &[.., keys, value_width] = value.dims() else { return Err(defect()) };
        Ok(Sizes { matrices: batch.iter().product(), groups, queries, keys, width, value_width })
    }
    /// How many keys query `row` sees.
    fn seen(&self, row: usize, how: Attending) -> usize {
        if how.causal { self.keys.min(row + 1) } else { self.keys }
    }
}

/// Matrices of an operand: where each begins, and its steps.
struct Matrices<'a, T> {
    data: &'a [T],
    layout: &'a Layout,
    row: isize,
    column: isize,
}

impl<'a, T: Element> Matrices<'a, T> {
    fn new(x: &'a Value) -> Result<Matrices<'a, T>, Fault> {
        let Strided { data, layout } = x.strided::<T>()?;
        let &[.., row, column] = layout.strides() else {
            return Err(Fault::defect("attention over fewer than two axes"));
        };
        Ok(Matrices { data, layout, row, column })
    }
    /// Where matrix `which` (counted over all axes but the last two) begins at row `row`.
    fn start(&self, mut which: usize, row: usize) -> usize {
        let axes = self.layout.rank() - 2;
        let mut start = self.layout.offset() as isize + row as isize * self.row;
        for (&size, &stride) in self.layout.dims()[..axes].iter().zip(self.layout.strides()).rev() {
            start += (which % size) as isize * stride;
            which /= size;
        }
        start as usize
    }
}

/// The mask of the scores.
enum Mask<'a, T> {
    None,
    /// True: keep.
    Keep(Matrices<'a, bool>),
    /// Added to the scores.
    Add(Matrices<'a, T>),
}

impl<'a, T: Element> Mask<'a, T> {
    fn new(mask: Option<&'a Value>) -> Result<Mask<'a, T>, Fault> {
        Ok(match mask {
            None => Mask::None,
            Some(mask) if mask.dtype() == DType::Bool => Mask::Keep(Matrices::new(mask)?),
            Some(mask) => Mask::Add(Matrices::new(mask)?),
        })
    }
}
