//! Where something stands, and how often.

use super::{PART, bounds, whole_numbers};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cpu::index::assemble::assemble;
use crate::device::cpu::reduce::{compared_as, dispatch_compared};
use crate::device::cpu::sort::Ordered;
use crate::device::cpu::{Cpu, parallel};
use crate::device::index::{Assembly, Combine, Searched, check_bins, check_row, check_search, negative, no_name};
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::layout::{DType, Element, Shape};

/// Which elements are not zero, as dense booleans.
fn marks(x: &Value) -> Result<Value, Fault> {
    Cpu.contiguous(&Cpu.cast(x, DType::Bool)?)
}

/// Counts the marks of each part of the work, and gives each the place of its first: parts then write on their own.
fn starts(marks: &[bool]) -> (Vec<usize>, usize) {
    let mut starts = vec![0usize; marks.len().div_ceil(PART)];
    parallel::chunks(&mut starts, 1, PART, |part, count| {
        let end = marks.len().min((part + 1) * PART);
        count[0] = marks[part * PART..end].iter().map(|&mark| mark as usize).sum();
    });
    let mut total = 0;
    for start in &mut starts {
        total += std::mem::replace(start, total);
    }
    (starts, total)
}

/// Calls `write(out of the row, flat position)` for every mark; a row has `width` numbers.
fn listed(
    marks: &[bool],
    shape: Shape,
    starts: &[usize],
    width: usize,
    write: impl Fn(&mut [i64], usize) + Sync,
) -> Result<Value, Fault> {
    Value::build::<i64>(shape, |out| {
        let mut rest = out;
        let mut rows = Vec::with_capacity(starts.len());
        for (part, &start) in starts.iter().enumerate() {
            let end = starts.get(part + 1).map_or(rest.len() / width.max(1), |&next| next - start);
            let (own, others) = rest.split_at_mut(end * width);
            rows.push(own);
            rest = others;
        }
        parallel::chunks(&mut rows, 1, PART, |part, rows| {
            let from = part * PART;
            let marks = &marks[from..marks.len().min(from + PART)];
            let found = marks.iter().enumerate().filter_map(|(i, &mark)| mark.then_some(from + i));
            for rows in rows {
                for (row, at) in rows.chunks_exact_mut(width.max(1)).zip(found.clone()) {
                    write(row, at);
                }
            }
        });
    })
}

pub(super) fn positions(x: &Value) -> Result<Value, Fault> {
    let marks = marks(x)?;
    let marks = marks.dense::<bool>()?;
    let (starts, total) = starts(marks);
    listed(marks, Shape::new(&[total])?, &starts, 1, |row, at| row[0] = at as i64)
}

pub(super) fn coordinates(x: &Value) -> Result<Value, Fault> {
    let rank = x.rank();
    let marks = marks(x)?;
    let marks = marks.dense::<bool>()?;
    let (starts, total) = starts(marks);
    listed(marks, Shape::new(&[total, rank])?, &starts, rank, |row, mut at| {
        for (to, &size) in row.iter_mut().zip(x.dims()).rev() {
            *to = (at % size) as i64;
            at /= size;
        }
    })
}

pub(super) fn one_hot(labels: &Value, classes: Option<usize>) -> Result<Value, Fault> {
    let labels = whole_numbers(labels, "labels")?;
    let numbers = labels.dense::<i64>()?;
    let (_, most) = bounds(numbers);
    let classes = match classes {
        Some(classes) => classes,
        None if numbers.is_empty() => {
            return Err(Fault::value("the number of classes of no labels is unknown", "give it: one_hot(10)"));
        }
        None => most.max(0) as usize + 1,
    };
    names(&labels, "labels", classes)?;
    let mut sizes = labels.dims().to_vec();
    sizes.push(classes);
    Value::build::<i64>(Shape::new(&sizes)?, |out| {
        if out.is_empty() {
            return;
        }
        let together = PART.div_ceil(classes);
        parallel::chunks(out, together * classes, 1, |part, block| {
            block.fill(0);
            for (row, label) in block.chunks_exact_mut(classes).zip(&numbers[part * together..]) {
                row[*label as usize] = 1;
            }
        });
    })
}

/// A fault where a number is no name of `count` things; `what` they are.
pub(super) fn names(x: &Value, what: &str, count: usize) -> Result<(), Fault> {
    let names = whole_numbers(x, what)?;
    let numbers = names.dense::<i64>()?;
    let (least, most) = bounds(numbers);
    if numbers.is_empty() || (least >= 0 && most < count as i64) {
        return Ok(());
    }
    let at = numbers.iter().position(|&x| x < 0 || x >= count as i64).unwrap_or(0);
    Err(no_name(numbers[at], at, names.shape(), what, count))
}

pub(super) fn count(x: &Value, weights: Option<&Value>, least: usize) -> Result<Value, Fault> {
    check_row(x)?;
    let x = whole_numbers(x, "numbers to count")?;
    let numbers = x.dense::<i64>()?;
    let (smallest, most) = bounds(numbers);
    if !numbers.is_empty() && smallest < 0 {
        return Err(negative(numbers));
    }
    let size = least.max(if numbers.is_empty() { 0 } else { most as usize + 1 });
    let how = Assembly { combine: Combine::Sum, include: false, skip: None };
    // A number as large as 2^60 asks for more memory than there is: a fault, as for any size.
    Shape::new(&[size])?;
    match weights {
        Some(weights) => assemble(None, size, 0, &x, weights, how),
        None => assemble(None, size, 0, &x, &Value::full(*x.shape(), DType::I64, 1.0)?, how),
    }
}

pub(super) fn histogram(x: &Value, bins: usize, low: f64, high: f64) -> Result<Value, Fault> {
    let (low, high) = check_bins(bins, low, high)?;
    let wide = Cpu.contiguous(&Cpu.cast(x, DType::F64)?)?;
    let numbers = wide.dense::<f64>()?;
    let width = (high - low) / bins as f64;
    // Each part counts on its own; counts are whole, so the order of adding them does not matter.
    let parts = numbers.len().div_ceil(PART.max(bins)).max(1);
    let each = numbers.len().div_ceil(parts).max(1);
    let counts = Value::build::<i64>(Shape::new(&[parts, bins])?, |out| {
        parallel::chunks(out, bins, each / bins + 1, |part, counts| {
            counts.fill(0);
            for &x in numbers.iter().skip(part * each).take(each) {
                if x >= low && x <= high {
                    let bin = ((x - low) / width) as usize;
                    counts[bin.min(bins - 1)] += 1;
                }
            }
        });
    })?;
    Cpu.sum(&counts, &[0], false)
}

pub(super) fn search(sorted: &Value, values: &Value, right: bool) -> Result<Value, Fault> {
    let Searched { length, width } = check_search(sorted, values)?;
    let compared = compared_as(sorted.dtype());
    let table = Cpu.contiguous(&Cpu.cast(sorted, compared)?)?;
    let wanted = Cpu.contiguous(&Cpu.cast(values, compared)?)?;
    dispatch_compared!(compared, T => {
        let (table, wanted) = (table.dense::<T>()?, wanted.dense::<T>()?);
        Value::build::<i64>(*values.shape(), |out| {
            parallel::chunks(out, 1024, 4 * (usize::BITS - length.leading_zeros()) as usize, |part, out| {
                for (i, to) in out.iter_mut().enumerate() {
                    let at = part * 1024 + i;
                    let row = &table[at / width * length..][..length];
                    *to = place(row, wanted[at], right) as i64;
                }
            });
        })
    })
}

/// Where `x` would stand among ascending numbers.
fn place<T: Element + Ordered>(row: &[T], x: T, right: bool) -> usize {
    let x = x.rank();
    if right { row.partition_point(|y| y.rank() <= x) } else { row.partition_point(|y| y.rank() < x) }
}
