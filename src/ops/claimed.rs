//! What is looked at without reading it: numbers of a GPU that must be of a kind.

use crate::device::{Device, guard};
use crate::error::{Error, Fault};
use crate::layout::DType;
use crate::tensor::Tensor;

/// Whether numbers of a GPU are what they should be, without reading them: a wrong one is told by the next read. None on the CPU, where a
/// look costs nothing.
pub(crate) fn claimed(
    name: &'static str,
    numbers: &Tensor,
    right: impl FnOnce(&Tensor) -> Tensor,
    explain: impl Fn(f64, usize) -> Fault + Send + 'static,
) -> Option<Result<(), Tensor>> {
    if numbers.device().is_ok_and(|device| device == Device::Cpu) {
        return None;
    }
    let wide = numbers.detach().to_dtype(DType::F64).contiguous();
    let right = right(&wide).to_dtype(DType::F64);
    let claim = || guard::claim(right.value()?, wide.value()?, explain).map_err(|fault| Error::new(name, fault));
    Some(claim().map_err(Tensor::failed))
}
