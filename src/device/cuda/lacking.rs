//! What has no kernel yet: each says so, and what to do instead. Nothing is computed on the CPU behind the caller's back.

use super::Cuda;
use crate::device::Value;
use crate::device::factor::{Factor, Lu, Side};
use crate::error::Fault;
use crate::layout::DType;

/// "softmax has no CUDA kernel yet".
#[cold]
pub(super) fn lacks(kernel: &str) -> Fault {
    Fault::device(
        format!("{} has no CUDA kernel yet", kernel.replace('_', " ")),
        "move the tensor to the CPU with to(Device::Cpu)",
    )
}

/// Methods that have no kernel yet: their names, what they take, what they would give.
macro_rules! lacking {
    ($($name:ident($($operand:ty),*) -> $result:ty;)*) => { $(
        #[allow(clippy::too_many_arguments, reason = "as in the trait")]
        fn $name(&self, $(_: $operand),*) -> Result<$result, Fault> {
            Err($crate::device::cuda::lacking::lacks(stringify!($name)))
        }
    )* };
}

impl Factor for Cuda {
    lacking! {
        qr(&Value) -> (Value, Value);
        solve_triangular(&Value, &Value, Side) -> Value;
        lu(&Value) -> Lu;
        solve_lu(&Lu, &Value, bool) -> Value;
        inverse(&Lu, DType) -> Value;
        determinants(&Lu, DType) -> [Value; 3];
        cholesky(&Value) -> Value;
        svd(&Value) -> [Value; 3];
        symmetric_eigen(&Value) -> [Value; 2];
        pseudo_inverse(&Value) -> Value;
        rank(&Value) -> Value;
    }
}
