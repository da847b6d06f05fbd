//! Where similarities of weights are computed.

use anyhow::Result;
use onebasin::matching::{Accelerator, Weights};

use crate::args::DeviceName;
use crate::talk::Talk;

/// An opened device that is not the processor.
pub struct Device {
    /// Its name for the record: `cuda:0, NVIDIA …`.
    pub name: String,
    accelerator: Box<dyn Accelerator>,
}

impl Device {
    /// Opens the device of this name; none is the processor.
    pub fn open(name: DeviceName, talk: Talk) -> Result<Option<Self>> {
        let device = match name {
            DeviceName::Cpu => None,
            DeviceName::Cuda(ordinal) => Some(Self::cuda(ordinal)?),
        };
        if let Some(device) = &device {
            talk.detail(&format!("similarities of weights are computed on {}", device.name));
        }
        Ok(device)
    }

    #[cfg(feature = "cuda")]
    fn cuda(ordinal: usize) -> Result<Self> {
        let device = onebasin_cuda::Device::open(ordinal)?;
        Ok(Self { name: format!("cuda:{ordinal}, {}", device.name()), accelerator: Box::new(device) })
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(_: usize) -> Result<Self> {
        anyhow::bail!("this program was built without the feature `cuda`; use --device cpu")
    }

    /// Has the Grams of weights computed here.
    pub fn take<'a>(&self, weights: Weights<'a>) -> Weights<'a> {
        weights.on(&*self.accelerator)
    }
}
