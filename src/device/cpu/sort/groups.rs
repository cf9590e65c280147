//! Equals put together: the most frequent element, the different slices.

use super::{Choice, PART, Rows, picked, restored, with_keys};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::cpu::{Cpu, parallel};
use crate::device::index::Index;
use crate::device::sort::Distinct;
use crate::error::Fault;
use crate::layout::{DType, Shape, order_of};

/// The element that stands most often in each row (of several the smallest), and the last of its positions.
pub(super) fn mode(x: &Value, axis: usize) -> Result<(Value, Value), Fault> {
    let rows = Rows::new(x, axis)?;
    let positions = most_frequent(&rows)?;
    Ok((restored(picked(&rows, &positions)?, axis)?, restored(positions, axis)?))
}

fn most_frequent(rows: &Rows) -> Result<Value, Fault> {
    let size = rows.around.size;
    let order = Choice::new(0, size, false).positions(rows)?;
    let order = order.dense::<i64>()?;
    let mut places = Value::blank(rows.shape(1)?, DType::I64)?;
    let out = places.unshared::<i64>().ok_or_else(|| Fault::defect("a fresh value is shared"))?;
    with_keys(&rows.value, &mut |keys| {
        let together = (PART / size).max(1);
        parallel::chunks(out, together, 2 * size, |part, block| {
            for (row, to) in block.iter_mut().enumerate() {
                let from = (part * together + row) * size;
                let (order, ranks) = (&order[from..from + size], keys.list(from, size));
                let (mut most, mut run) = (0, 0);
                for (i, &position) in order.iter().enumerate() {
                    run += 1;
                    let own = ranks[position as usize];
                    let next = order.get(i + 1).map(|&next| ranks[next as usize]);
                    if next != Some(own) || keys.is_nan(own) {
                        if run > most {
                            (most, *to) = (run, position);
                        }
                        run = 0;
                    }
                }
            }
        });
        Ok(())
    })?;
    Ok(places)
}

/// The different slices along `axis`, in lexical order.
pub(super) fn distinct_slices(x: &Value, axis: usize) -> Result<Distinct, Fault> {
    let count = x.dims().get(axis).copied().unwrap_or(0);
    let front = front(x, axis)?;
    let length = front.count() / count.max(1);
    if length == 0 {
        // Slices without elements are all the same.
        let one = Shape::new(&[count.min(1)])?;
        let (firsts, counts) = (Value::full(one, DType::I64, 0.0)?, Value::full(one, DType::I64, count as f64)?);
        let inverse = Value::full(Shape::new(&[count])?, DType::I64, 0.0)?;
        return Ok(Distinct { values: Cpu.select(x, axis, &firsts, None)?, inverse, counts });
    }
    // Ranks order as elements do, whatever their type; no NaN equals another.
    let (mut ranks, mut apart) = (Vec::new(), Vec::new());
    with_keys(&front, &mut |keys| {
        ranks = keys.list(0, front.count());
        apart = ranks.chunks(length).map(|slice| slice.iter().any(|&rank| keys.is_nan(rank))).collect();
        Ok(())
    })?;
    let slice = |i: usize| &ranks[i * length..][..length];
    let order = order_of(count, &|a, b| slice(a).cmp(slice(b)));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if slice(group[0]) == slice(i) && !apart.get(i).copied().unwrap_or(false) => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    let shape = Shape::new(&[groups.len()])?;
    let firsts = Value::build::<i64>(shape, |out| {
        out.iter_mut().zip(&groups).for_each(|(to, group)| *to = group[0] as i64);
    })?;
    let counts = Value::build::<i64>(shape, |out| {
        out.iter_mut().zip(&groups).for_each(|(to, group)| *to = group.len() as i64);
    })?;
    let inverse = Value::build::<i64>(Shape::new(&[count])?, |out| {
        for (number, group) in groups.iter().enumerate() {
            group.iter().for_each(|&i| out[i] = number as i64);
        }
    })?;
    Ok(Distinct { values: Cpu.select(x, axis, &firsts, None)?, inverse, counts })
}

/// The axis moved to the front, dense.
fn front(x: &Value, axis: usize) -> Result<Value, Fault> {
    let mut order: Vec<usize> = (0..x.rank()).collect();
    if axis < x.rank() {
        order[..=axis].rotate_right(1);
    }
    Cpu.contiguous(&x.with_layout(x.layout().permuted(&order))?)
}
