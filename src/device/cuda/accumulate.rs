//! What backward itself needs: gradients summed down to a shape, and looked at.

use super::Cuda;
use crate::device::Value;
use crate::device::accumulate::{Accumulate, repeated_axes};
use crate::device::copy::Arrange;
use crate::device::elementwise::Elementwise;
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::formula_struct;
use crate::layout::{DType, Layout, Shape};

formula_struct!([] SumFormula add_up(sum, term)() { sum + term });
formula_struct!([] NotFiniteFormula not_finite(x)() { select(is_finite(x), 0.0, 1.0) });

impl Cuda {
    /// The sum of two values.
    pub(super) fn added(self, a: &Value, b: &Value) -> Result<Value, Fault> {
        self.formula(&SumFormula {}, [a, b])
    }
}

impl Accumulate for Cuda {
    fn add_up(&self, sum: Value, term: &Value) -> Result<Value, Fault> {
        if sum.shape() != term.shape() {
            return Err(Fault::defect(format!("gradients of {:?} and {:?} meet", sum.dims(), term.dims())));
        }
        self.added(&sum, &self.cast(term, sum.dtype())?)
    }
    fn sum_to(&self, x: &Value, shape: &Shape) -> Result<Value, Fault> {
        self.sum(x, &repeated_axes(x, shape), false)?.with_layout(Layout::contiguous(*shape))
    }
    fn sum_of_squares(&self, x: &Value) -> Result<f64, Fault> {
        let axes: Vec<usize> = (0..x.rank()).collect();
        let norm = self.norm(&self.cast(x, DType::F64)?, &axes, false, 2.0)?;
        let norm = self.bring_back(&norm)?.dense::<f64>()?.first().copied().unwrap_or(0.0);
        Ok(norm * norm)
    }
    fn first_not_finite(&self, x: &Value) -> Result<Option<(usize, f64)>, Fault> {
        if !x.dtype().is_float() || x.count() == 0 {
            return Ok(None);
        }
        let axes: Vec<usize> = (0..x.rank()).collect();
        let marks = self.formula(&NotFiniteFormula {}, [x])?;
        let (_, place) = self.extreme_place(&marks, &axes, false, true)?;
        let place = self.bring_back(&place)?.dense::<i64>()?.first().map_or(0, |&place| place as usize);
        let x = self.contiguous(x)?;
        let number = Layout::from_parts(Shape::new(&[])?, &[], x.layout().offset() + place);
        let number = self.cast(&x.with_layout(number)?, DType::F64)?;
        let number = self.bring_back(&number)?.dense::<f64>()?.first().copied().unwrap_or(0.0);
        // Where all are finite, the first of the equal marks is that of a finite number.
        Ok((!number.is_finite()).then_some((place, number)))
    }
}
