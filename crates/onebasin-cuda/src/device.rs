//! A GPU, opened by its number.

use std::sync::Arc;

use onebasin_core::graph::Graph;
use onebasin_core::matching::{Accelerator, RootProducts, RowProducts};
use onebasin_core::{Params, Tensor};
use onebasin_nn::optim::Optimizer;
use onebasin_nn::{Runner, Running};

use crate::error::Result;
use crate::forward::DeviceNetwork;
use crate::gpu::Gpu;
use crate::machine::Precision;
use crate::networks::Networks;
use crate::rows::DeviceRows;
use crate::training::DeviceTraining;

/// Numbers in the patches of a convolution made at a time: 256 MiB.
const PATCHES: usize = 1 << 26;

/// A GPU that similarities can be computed, and networks run and trained on.
#[derive(Debug, Clone)]
pub struct Device {
    gpu: Arc<Gpu>,
    training: Precision,
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
        Ok(Self { gpu: Arc::new(Gpu::open(ordinal)?), training: Precision::F32 })
    }

    /// The same GPU, with products in this precision where networks are trained. Weights, gradients and everything else stay
    /// f32, and so do similarities and evaluations.
    #[must_use]
    pub fn training_in(self, precision: Precision) -> Self {
        Self { training: precision, ..self }
    }

    /// What the GPU is called.
    pub fn name(&self) -> &str {
        self.gpu.name()
    }
}

impl Accelerator for Device {
    fn hold(&self, pairs: &[[&Tensor; 2]]) -> Box<dyn RootProducts> {
        Box::new(Networks::new(Arc::clone(&self.gpu), pairs))
    }

    fn rows(&self, inputs: usize, units: usize) -> onebasin_core::error::Result<Option<Box<dyn RowProducts>>> {
        Ok(Some(Box::new(DeviceRows::new(Arc::clone(&self.gpu), inputs, units)?)))
    }
}

impl Runner for Device {
    fn bring(&self, graph: &Graph, params: &Params) -> onebasin_nn::Result<Box<dyn Running>> {
        Ok(Box::new(DeviceNetwork::new(Arc::clone(&self.gpu), graph, params, PATCHES)?))
    }

    fn bring_to_train(
        &self,
        graph: &Graph,
        params: &Params,
        moments: &[Params],
        optimizer: Optimizer,
    ) -> onebasin_nn::Result<Box<dyn onebasin_nn::Training>> {
        let how = (PATCHES, self.training);
        Ok(Box::new(DeviceTraining::new(Arc::clone(&self.gpu), graph, params, moments, optimizer, how)?))
    }
}
