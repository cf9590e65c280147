//! Rotary positions: `kernels/rotary.cu`.

use super::Cuda;
use super::lacking::lacks;
use super::module::{Source, source};
use super::rows::beside;
use crate::device::Value;
use crate::device::rotary::{Rotate, Rotation, Slowing, no_turn};
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

const ROTARY: Source = source!("rotary");

impl Rotate for Cuda {
    fn rotate(&self, x: &Value, how: Rotation) -> Result<Value, Fault> {
        let dtype = x.dtype();
        if !dtype.is_float() {
            return Err(no_turn(dtype));
        }
        let &[ref outer @ .., positions, width] = x.dims() else {
            return Err(Fault::defect(format!("rows of {:?}", x.dims())));
        };
        let (pairs, rows) = (how.width / 2, outer.iter().product::<usize>() * positions);
        if 2 * pairs > width {
            return Err(Fault::defect(format!("{} of {width} numbers turned", how.width)));
        }
        if x.count() > u32::MAX as usize {
            return Err(lacks("turning more than 2^32 numbers"));
        }
        let (table, out) = (self.angles(how, positions, beside(dtype))?, self.blank(*x.shape(), dtype)?);
        let (last, strides) = (x.rank() - 1, x.layout().strides());
        let call = self.call(self.kernel(&ROTARY, &format!("rotate_{dtype}"))?).read(x).read(&table).write(&out);
        let call = call.long(rows as i64).long(positions as i64).long(pairs as i64).long(width as i64);
        let call = call.view(&Layout::from_parts(Shape::new(&x.dims()[..last])?, &strides[..last], 0));
        call.long(strides[last] as i64).int(how.interleaved as i32).over(rows * (width - pairs))?;
        Ok(out)
    }
}

impl Cuda {
    /// Cosines, then sines, of each position.
    fn angles(self, how: Rotation, positions: usize, dtype: DType) -> Result<Value, Fault> {
        let pairs = how.width / 2;
        let table = self.blank(Shape::new(&[positions, 2, pairs])?, dtype)?;
        let call = self.call(self.kernel(&ROTARY, &format!("angles_{dtype}"))?).write(&table);
        let call = call.long(positions as i64).long(pairs as i64).long(how.first as i64).double(how.base);
        let call = call.double(how.width as f64).int(how.back as i32);
        let Slowing { slow, start, rise, by_pair, amplitude } = how.slowing;
        call.double(slow).double(start).double(rise).int(by_pair as i32).double(amplitude).over(positions * pairs)?;
        Ok(table)
    }
}
