//! Numbers that are asked for now and taken later.

use super::{Device, Value};
use crate::error::Fault;

/// A value on its way to the CPU; one that is there already is itself.
pub(crate) enum Later {
    Here(Value),
    #[cfg(feature = "cuda-unversioned")]
    There(Box<super::cuda::Later>),
}

impl Value {
    /// Asks for the numbers on the CPU. Nobody waits.
    pub(crate) fn later(&self) -> Result<Later, Fault> {
        match self.device() {
            Device::Cpu => Ok(Later::Here(self.clone())),
            #[cfg(feature = "cuda-unversioned")]
            Device::Cuda(cuda) => cuda.ask(self).map(|later| Later::There(Box::new(later))),
        }
    }
}

impl Later {
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Later::Here(_) => true,
            #[cfg(feature = "cuda-unversioned")]
            Later::There(later) => later.is_ready(),
        }
    }
    /// The numbers, once they are there.
    pub(crate) fn take(self) -> Result<Value, Fault> {
        match self {
            Later::Here(value) => Ok(value),
            #[cfg(feature = "cuda-unversioned")]
            Later::There(later) => later.take(),
        }
    }
}
