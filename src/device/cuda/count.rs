//! Where something stands, and how often: `kernels/count.cu`.
//!
//! How many elements are not zero, and which number is the largest, give results their size: these operations read such a number and
//! wait for it (`positions`, `coordinates`, `count`). Histograms and searches do not wait.

use super::Cuda;
use super::launch::{Launch, too_many};
use super::module::{Source, source};
use crate::device::Value;
use crate::device::copy::Arrange;
use crate::device::index::{Assembly, Combine, Index, Searched, check_bins, check_row, check_search, negative};
use crate::device::reduce::Reduce;
use crate::error::Fault;
use crate::layout::{DType, Layout, MAX_RANK, Shape};

const COUNT: Source = source!("count");

impl Cuda {
    fn count_kernel(self, name: &str) -> Result<Launch, Fault> {
        Ok(self.call(self.kernel(&COUNT, name)?))
    }
    /// How many marks (u8 or bool) there are: a read.
    pub(super) fn marks(self, marks: &Value) -> Result<usize, Fault> {
        let total = self.bring_back(&self.count_nonzero(marks, &[0], false)?)?;
        Ok(total.dense::<i64>()?.first().map_or(0, |&total| total as usize))
    }
    /// The flat positions of what is not zero.
    pub(super) fn not_zero(self, x: &Value) -> Result<Value, Fault> {
        let marks = self.contiguous(&self.cast(x, DType::Bool)?)?;
        let row = Layout::from_parts(Shape::new(&[x.count()])?, &[1], marks.layout().offset());
        let marks = marks.with_layout(row)?;
        self.list_marks(&marks, self.marks(&marks)?, None, None)
    }
    /// The coordinates of what is not zero.
    pub(super) fn coordinates_of(self, x: &Value) -> Result<Value, Fault> {
        if x.count() > u32::MAX as usize {
            return Err(too_many("a tensor", x.count()));
        }
        let places = self.not_zero(x)?;
        let out = self.blank(Shape::new(&[places.count(), x.rank()])?, DType::I64)?;
        let mut sizes = [1; MAX_RANK];
        x.dims().iter().zip(&mut sizes).for_each(|(&size, to)| *to = size as u64);
        let call = self.count_kernel("coordinates_i64")?.read(&places).write(&out).long(places.count() as i64);
        call.int(x.rank() as i32).block(&sizes).over(places.count())?;
        Ok(out)
    }
    /// How often each number 0, 1, ... occurs.
    pub(super) fn counted(self, x: &Value, weights: Option<&Value>, least: usize) -> Result<Value, Fault> {
        check_row(x)?;
        let x = self.whole_numbers(x, "numbers to count")?;
        if self.end_of(&x, false)?.is_some_and(|least| least < 0) {
            return Err(negative(self.bring_back(&x)?.dense::<i64>()?));
        }
        let size = self.end_of(&x, true)?.map_or(0, |most| most as usize + 1).max(least);
        if let Some(weights) = weights {
            let how = Assembly { combine: Combine::Sum, include: false, skip: None };
            return self.assemble(None, size, 0, &x, weights, how);
        }
        let out = self.full(Shape::new(&[size])?, DType::I64, 0.0)?;
        let call = self.index_kernel("count_i64")?.read(&x).write(&out).long(x.count() as i64);
        call.over(x.count())?;
        Ok(out)
    }
    /// How many numbers fall in each of equal parts of a range.
    pub(super) fn bins(self, x: &Value, bins: usize, low: f64, high: f64) -> Result<Value, Fault> {
        let (low, high) = check_bins(bins, low, high)?;
        let x = self.contiguous(&self.cast(x, DType::F64)?)?;
        let out = self.full(Shape::new(&[bins])?, DType::I64, 0.0)?;
        let call = self.count_kernel("histogram_f64")?.read(&x).write(&out).long(x.count() as i64).long(bins as i64);
        call.double(low).double(high).double((high - low) / bins as f64).over(x.count())?;
        Ok(out)
    }
    /// Where values would stand in ascending rows.
    pub(super) fn searched(self, sorted: &Value, values: &Value, right: bool) -> Result<Value, Fault> {
        let Searched { length, width } = check_search(sorted, values)?;
        let compared = match sorted.dtype() {
            DType::F64 | DType::F32 => sorted.dtype(),
            DType::BF16 | DType::F16 => DType::F32,
            _ => DType::I64,
        };
        let rows = self.contiguous(&self.cast(sorted, compared)?)?;
        let (x, out) = (self.contiguous(&self.cast(values, compared)?)?, self.blank(*values.shape(), DType::I64)?);
        let call = self.count_kernel(&format!("search_{compared}"))?.read(&rows).read(&x).write(&out);
        let call = call.long(out.count() as i64).long(length as i64).long(width as i64);
        call.int(right as i32).over(out.count())?;
        Ok(out)
    }
}
