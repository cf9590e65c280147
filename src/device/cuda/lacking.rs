//! What has no kernel yet says so, and what to do instead. Nothing is computed on the CPU behind the caller's back.

use crate::error::Fault;

/// "softmax has no CUDA kernel yet".
#[cold]
pub(super) fn lacks(kernel: &str) -> Fault {
    Fault::device(
        format!("{} has no CUDA kernel yet", kernel.replace('_', " ")),
        "move the tensor to the CPU with to(Device::Cpu)",
    )
}
