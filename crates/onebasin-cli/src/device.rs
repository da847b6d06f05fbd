//! Where networks are trained and evaluated, and similarities of weights computed.

use anyhow::{Result, bail};
use onebasin_core::Params;
use onebasin_core::matching::{Accelerator, Weights};
use onebasin_nn::exec::Program;
use onebasin_nn::{Error, Runner};

use crate::args::{DeviceName, PrecisionName};
use crate::talk::Talk;

/// An opened device that is not the processor.
pub struct Device {
    /// Its name for the record: `cuda:0, NVIDIA …`.
    pub name: String,
    /// The same where it trains: it names a precision other than f32.
    pub trains_as: String,
    accelerator: Box<dyn Accelerator>,
    runner: Box<dyn Runner>,
}

impl Device {
    /// Opens the device of this name; none is the processor.
    pub fn open(name: DeviceName, talk: Talk) -> Result<Option<Self>> {
        Self::open_to_train(name, PrecisionName::F32, talk)
    }

    /// The same, to train in this precision.
    pub fn open_to_train(name: DeviceName, precision: PrecisionName, talk: Talk) -> Result<Option<Self>> {
        let device = match (name, precision) {
            (DeviceName::Cpu, PrecisionName::F32) => None,
            (DeviceName::Cpu, PrecisionName::Bf16) => {
                bail!("--precision bf16 goes with --device cuda: the processor trains in f32")
            }
            (DeviceName::Cuda(ordinal), _) => Some(Self::cuda(ordinal, precision)?),
        };
        if let Some(device) = &device {
            talk.detail(&format!("computing on {}", device.trains_as));
        }
        Ok(device)
    }

    #[cfg(feature = "cuda")]
    fn cuda(ordinal: usize, precision: PrecisionName) -> Result<Self> {
        let device = onebasin_cuda::Device::open(ordinal)?;
        let name = format!("cuda:{ordinal}, {}", device.name());
        let (trains_as, device) = match precision {
            PrecisionName::F32 => (name.clone(), device),
            PrecisionName::Bf16 => (format!("{name}, bf16"), device.training_in(onebasin_cuda::Precision::Bf16)),
        };
        Ok(Self { name, trains_as, accelerator: Box::new(device.clone()), runner: Box::new(device) })
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda(_: usize, _: PrecisionName) -> Result<Self> {
        bail!("this program was built without the feature `cuda`; use --device cpu")
    }

    /// Has the Grams of weights computed here.
    pub fn take<'a>(&self, weights: Weights<'a>) -> Weights<'a> {
        weights.on(&*self.accelerator)
    }

    /// The same for experiments.
    pub fn for_experiments(&self) -> onebasin_lab::Device<'_> {
        let (name, trains_as) = (&*self.name, &*self.trains_as);
        onebasin_lab::Device { name, trains_as, accelerator: &*self.accelerator, runner: &*self.runner }
    }

    /// What trains networks here.
    pub fn trainer(&self) -> &dyn Runner {
        &*self.runner
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
