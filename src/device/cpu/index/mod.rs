//! Elements chosen and put by position, on the processor.
//!
//! Positions are first made dense i64 and checked in one pass that vectorises, so that the loops behind it need no
//! checks and nothing is half-written.

mod assemble;
mod count;
mod scatter;
mod select;

use super::copy::Shared;
use super::{Cpu, parallel};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::index::{Assembly, Combine, Index, no_whole_numbers, outside};
use crate::error::Fault;
use crate::layout::DType;

/// Elements that one part of the work touches.
const PART: usize = 16 * 1024;

impl Index for Cpu {
    fn select(&self, x: &Value, axis: usize, index: &Value, blank: Option<usize>) -> Result<Value, Fault> {
        select::select(x, axis, index, blank)
    }
    fn gather(&self, x: &Value, axis: usize, index: &Value) -> Result<Value, Fault> {
        select::gather(x, axis, index)
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
        scatter::scatter(base, axis, index, source, combine, include)
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
        assemble::assemble(base, size, axis, index, source, how)
    }
    fn flat_positions(&self, lists: &[&Value], sizes: &[usize]) -> Result<Value, Fault> {
        select::flat_positions(lists, sizes)
    }
    fn positions(&self, x: &Value) -> Result<Value, Fault> {
        count::positions(x)
    }
    fn coordinates(&self, x: &Value) -> Result<Value, Fault> {
        count::coordinates(x)
    }
    fn names(&self, x: &Value, count: usize) -> Result<(), Fault> {
        count::names(x, "ids", count)
    }
    fn one_hot(&self, labels: &Value, classes: Option<usize>) -> Result<Value, Fault> {
        count::one_hot(labels, classes)
    }
    fn count(&self, x: &Value, weights: Option<&Value>, least: usize) -> Result<Value, Fault> {
        count::count(x, weights, least)
    }
    fn histogram(&self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value, Fault> {
        count::histogram(x, bins, low, high)
    }
    fn search(&self, sorted: &Value, values: &Value, right: bool) -> Result<Value, Fault> {
        count::search(sorted, values, right)
    }
}

/// Integers as dense i64. Whether they are positions or labels, `what` names them.
fn whole_numbers(index: &Value, what: &str) -> Result<Value, Fault> {
    match index.dtype() {
        DType::I64 | DType::I32 | DType::U8 => Cpu.contiguous(&Cpu.cast(index, DType::I64)?),
        other => Err(no_whole_numbers(what, other)),
    }
}

/// Positions along an axis, dense, checked and counted from the front.
fn positions_along(index: &Value, axis: usize, size: usize) -> Result<Value, Fault> {
    let index = whole_numbers(index, "positions")?;
    let numbers = index.dense::<i64>()?;
    let (least, most) = bounds(numbers);
    let size = size as i64; // a size fits isize
    if numbers.is_empty() || (least >= 0 && most < size) {
        return Ok(index);
    }
    if least < -size || most >= size {
        let at = numbers.iter().position(|&i| i < -size || i >= size).unwrap_or(0);
        return Err(outside(numbers[at], at, index.shape(), axis, size as usize));
    }
    Value::build::<i64>(*index.shape(), |out| {
        parallel::chunks(out, PART, 2, |part, out| {
            for (to, &from) in out.iter_mut().zip(&numbers[part * PART..]) {
                *to = if from < 0 { from + size } else { from };
            }
        });
    })
}

/// The least and the greatest of some numbers.
fn bounds(numbers: &[i64]) -> (i64, i64) {
    numbers.iter().fold((i64::MAX, i64::MIN), |(least, most), &x| (least.min(x), most.max(x)))
}
