//! Where similarities of weights are computed and networks evaluated.

use anyhow::Result;
use onebasin::Params;
use onebasin::matching::{Accelerator, Weights};
use onebasin_nn::exec::Program;
use onebasin_nn::{Error, Runner};

use crate::args::DeviceName;
use crate::talk::Talk;

/// An opened device that is not the processor.
pub struct Device {
    /// Its name for the record: `cuda:0, NVIDIA …`.
    pub name: String,
    accelerator: Box<dyn Accelerator>,
    runner: Box<dyn Runner>,
}

impl Device {
    /// Opens the device of this name; none is the processor.
    pub fn open(name: DeviceName, talk: Talk) -> Result<Option<Self>> {
        let device = match name {
            DeviceName::Cpu => None,
            DeviceName::Cuda(ordinal) => Some(Self::cuda(ordinal)?),
        };
        if let Some(device) = &device {
            talk.detail(&format!("similarities of weights are computed, and networks evaluated, on {}", device.name));
        }
        Ok(device)
    }

    #[cfg(feature = "cuda")]
    fn cuda(ordinal: usize) -> Result<Self> {
        let device = onebasin_cuda::Device::open(ordinal)?;
        let name = format!("cuda:{ordinal}, {}", device.name());
        Ok(Self { name, accelerator: Box::new(device.clone()), runner: Box::new(device) })
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(_: usize) -> Result<Self> {
        anyhow::bail!("this program was built without the feature `cuda`; use --device cpu")
    }

    /// Has the Grams of weights computed here.
    pub fn take<'a>(&self, weights: Weights<'a>) -> Weights<'a> {
        weights.on(&*self.accelerator)
    }

    /// The same for experiments.
    pub fn for_experiments(&self) -> onebasin_reproduce::Device<'_> {
        onebasin_reproduce::Device { name: &self.name, accelerator: &*self.accelerator, runner: &*self.runner }
    }

    /// What evaluates a network here; says so and gives nothing where a node of it does not run here.
    pub fn runner(&self, program: &Program, params: &Params, talk: Talk) -> Result<Option<&dyn Runner>> {
        match self.runner.bring(program.graph(), params) {
            Ok(_) => Ok(Some(&*self.runner)),
            Err(why @ Error::Operator { .. }) => {
                talk.say(&format!("note: {why}; networks are evaluated on the processor"));
                Ok(None)
            }
            Err(why) => Err(why.into()),
        }
    }
}
