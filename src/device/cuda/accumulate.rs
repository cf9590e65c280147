//! What backward itself needs: gradients summed down to a shape, and looked at.

use super::Cuda;
use super::lacking::lacking;
use crate::device::Value;
use crate::device::accumulate::{Accumulate, repeated_axes};
use crate::device::copy::Arrange;
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::layout::{DType, Layout, Shape};

impl Accumulate for Cuda {
    fn sum_to(&self, x: &Value, shape: &Shape) -> Result<Value, Fault> {
        self.sum(x, &repeated_axes(x, shape), false)?.with_layout(Layout::contiguous(*shape))
    }
    fn sum_of_squares(&self, x: &Value) -> Result<f64, Fault> {
        let axes: Vec<usize> = (0..x.rank()).collect();
        let norm = self.norm(&self.cast(x, DType::F64)?, &axes, false, 2.0)?;
        let norm = self.bring_back(&norm)?.dense::<f64>()?.first().copied().unwrap_or(0.0);
        Ok(norm * norm)
    }
    lacking! {
        add_up(Value, &Value) -> Value;
        first_not_finite(&Value) -> Option<(usize, f64)>;
    }
}
