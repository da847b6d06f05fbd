//! A GPU, opened by its number.

use std::sync::Arc;

use onebasin::Tensor;
use onebasin::matching::accelerator::{Accelerator, Products};

use crate::error::Result;
use crate::gpu::Gpu;
use crate::networks::Networks;

/// A GPU that similarities can be computed on.
#[derive(Debug, Clone)]
pub struct Device {
    gpu: Arc<Gpu>,
}

impl Device {
    /// Opens the GPU of this number, counted from 0 as the driver counts (`CUDA_VISIBLE_DEVICES` included), and compiles the
    /// kernels for it.
    ///
    /// Cost: the driver's start, and some tenths of a second for the compiler.
    ///
    /// # Errors
    /// If the driver, NVRTC or cuBLAS is not on this machine, there is no such GPU, or it refuses the kernels.
    pub fn open(ordinal: usize) -> Result<Self> {
        Ok(Self { gpu: Arc::new(Gpu::open(ordinal)?) })
    }

    /// What the GPU is called.
    pub fn name(&self) -> &str {
        self.gpu.name()
    }
}

impl Accelerator for Device {
    fn hold(&self, pairs: &[[&Tensor; 2]]) -> Box<dyn Products> {
        Box::new(Networks::new(Arc::clone(&self.gpu), pairs))
    }
}
