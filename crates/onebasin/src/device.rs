//! Where networks are trained and evaluated, and similarities of weights computed.

use onebasin_core::Params;
use onebasin_core::matching::{Accelerator, Weights};
use onebasin_nn::exec::Program;
use onebasin_nn::{Error as NetworkError, Runner};

use crate::error::{Error, Result};

/// A device that is not the processor: it computes similarities of weights, and evaluates and trains networks.
///
/// ```
/// use onebasin::{Context, Device};
/// // The first GPU, or the processor where there is none.
/// let device = Device::cuda(0).ok();
/// let context = Context { device: device.as_ref(), ..Context::default() };
/// # let _ = context;
/// ```
pub struct Device {
    name: String,
    trains_as: String,
    accelerator: Box<dyn Accelerator>,
    runner: Box<dyn Runner>,
}

/// How products are computed where networks are trained on a GPU, for [`Device::cuda_in`].
///
/// ```
/// use onebasin::Precision;
/// assert_eq!(Precision::default(), Precision::F32);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// In single precision.
    #[default]
    F32,
    /// Of factors rounded to bf16, summed in single precision.
    Bf16,
}

impl Device {
    /// The NVIDIA GPU of this number, counted from 0.
    ///
    /// Cost: the driver's start, and some tenths of a second to compile kernels.
    ///
    /// # Errors
    /// If the driver, NVRTC or cuBLAS is missing, there is no such GPU, or this program was built without the feature `cuda`
    /// ([`Error::NoCuda`]).
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Self::cuda_in(ordinal, Precision::F32)
    }

    /// The same, with products in this precision where networks are trained.
    ///
    /// # Errors
    /// As [`Self::cuda`].
    #[cfg(feature = "cuda")]
    pub fn cuda_in(ordinal: usize, precision: Precision) -> Result<Self> {
        let device = onebasin_cuda::Device::open(ordinal)?;
        let name = format!("cuda:{ordinal}, {}", device.name());
        let (trains_as, device) = match precision {
            Precision::F32 => (name.clone(), device),
            Precision::Bf16 => (format!("{name}, bf16"), device.training_in(onebasin_cuda::Precision::Bf16)),
        };
        Ok(Self { name, trains_as, accelerator: Box::new(device.clone()), runner: Box::new(device) })
    }

    /// The same, with products in this precision where networks are trained.
    ///
    /// # Errors
    /// [`Error::NoCuda`].
    #[cfg(not(feature = "cuda"))]
    pub fn cuda_in(_ordinal: usize, _precision: Precision) -> Result<Self> {
        Err(Error::NoCuda)
    }

    /// A device of your own.
    ///
    /// `trains_as` is its name where it trains, if that differs: results of training depend on the precision.
    pub fn new(name: &str, trains_as: &str, accelerator: Box<dyn Accelerator>, runner: Box<dyn Runner>) -> Self {
        Self { name: name.to_owned(), trains_as: trains_as.to_owned(), accelerator, runner }
    }

    /// Its name for records: `cuda:0, NVIDIA …`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same where it trains: it names a precision other than f32.
    pub fn trains_as(&self) -> &str {
        &self.trains_as
    }

    /// What trains networks here.
    pub fn trainer(&self) -> &dyn Runner {
        &*self.runner
    }

    /// Has the Grams of weights computed here.
    pub fn compare<'a>(&self, weights: Weights<'a>) -> Weights<'a> {
        weights.on(&*self.accelerator)
    }

    /// What sums products here.
    pub fn accelerator(&self) -> &dyn Accelerator {
        &*self.accelerator
    }

    /// What evaluates a network here; none where a node of it does not run here.
    ///
    /// # Errors
    /// If a tensor is missing, or the device has no room.
    pub fn runner(&self, program: &Program, params: &Params) -> Result<Option<&dyn Runner>> {
        match self.runner.bring(program.graph(), params) {
            Ok(_) => Ok(Some(&*self.runner)),
            Err(NetworkError::Operator { .. }) => Ok(None),
            Err(why) => Err(Error::Network(why)),
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("name", &self.name).finish_non_exhaustive()
    }
}
