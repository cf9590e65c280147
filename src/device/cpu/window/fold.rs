//! Windows as columns, and columns added up where they came from.

use super::five;
use crate::device::cpu::parallel;
use crate::device::cpu::real::Real;
use crate::device::window::Sliding;
use crate::device::{Value, by_size};
use crate::error::Fault;
use crate::layout::Shape;

/// Every row of every tap that reads elements: calls `visit(first column, columns, first element, tap row)`.
fn each_row(windows: &[Sliding; 3], mut visit: impl FnMut(usize, std::ops::Range<usize>, usize)) {
    let [deep, high, wide] = windows;
    let columns = deep.count * high.count * wide.count;
    for tap in 0..deep.kernel * high.kernel * wide.kernel {
        let (kd, kh, kw) = (tap / (high.kernel * wide.kernel), tap / wide.kernel % high.kernel, tap % wide.kernel);
        let across = wide.outputs(kw);
        if across.is_empty() {
            continue;
        }
        let first = wide.element(across.start, kw);
        for d in deep.outputs(kd) {
            for h in high.outputs(kh) {
                let line = deep.element(d, kd) * high.size + high.element(h, kh);
                let column = tap * columns + (d * high.count + h) * wide.count;
                visit(column, across.clone(), line * wide.size + first);
            }
        }
    }
}

pub(super) fn unfold(x: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault> {
    let [batch, channels, depth, height, width] = five(x)?;
    let volume = depth * height * width;
    let taps: usize = windows.iter().map(|axis| axis.kernel).product();
    let columns: usize = windows.iter().map(|axis| axis.count).product();
    let stride = windows[2].stride;
    let mut unfolded = Value::blank(Shape::new(&[batch, channels * taps, columns])?, x.dtype())?;
    by_size!(x.dtype(), W => {
        let (out, data) = Value::dense_words::<W>(&mut unfolded, x)?;
        parallel::chunks(out, taps * columns, 1, |part, out| {
            out.fill(W::default());
            let x = &data[part * volume..(part + 1) * volume];
            each_row(windows, |row, across, first| {
                let length = (across.len() - 1) * stride + 1;
                let to = &mut out[row + across.start..row + across.end];
                for (to, &x) in to.iter_mut().zip(x[first..first + length].iter().step_by(stride)) {
                    *to = x;
                }
            });
        });
    });
    Ok(unfolded)
}

pub(super) fn fold<T: Real>(columns: &Value, windows: &[Sliding; 3]) -> Result<Value, Fault> {
    let &[batch, rows, _] = columns.dims() else {
        return Err(Fault::defect(format!("columns of {:?}", columns.dims())));
    };
    let sizes = windows.map(|axis| axis.size);
    let taps: usize = windows.iter().map(|axis| axis.kernel).product();
    let each = taps * windows.iter().map(|axis| axis.count).product::<usize>();
    let stride = windows[2].stride;
    let data = columns.dense::<T>()?;
    let shape = Shape::new(&[batch, rows / taps.max(1), sizes[0], sizes[1], sizes[2]])?;
    let volume: usize = sizes.iter().product();
    Value::build::<T>(shape, |out| {
        parallel::chunks(out, volume, 1 + each / volume.max(1), |part, out| {
            out.fill(T::ZERO);
            let columns = &data[part * each..(part + 1) * each];
            each_row(windows, |row, across, first| {
                let length = (across.len() - 1) * stride + 1;
                let from = &columns[row + across.start..row + across.end];
                for (to, &x) in out[first..first + length].iter_mut().step_by(stride).zip(from) {
                    *to += x;
                }
            });
        });
    })
}
