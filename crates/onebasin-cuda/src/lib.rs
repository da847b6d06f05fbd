//! Similarities, forward passes and training on NVIDIA GPUs, from a program that needs no CUDA to be built or to start.
//!
//! The driver, NVRTC and cuBLAS are looked for when a [`Device`] is opened; where one is missing, an [`Error`] says which.
//! A device is an [`Accelerator`](onebasin_core::matching::Accelerator), for [`Weights::on`](onebasin_core::matching::Weights::on),
//! and a [`Runner`](onebasin_nn::Runner), for [`evaluate_on`](onebasin_nn::evaluate_on) and
//! training.
//!
//! Read in this order: `machine` (what the arithmetic asks of a device), `tables` (how positions get there), `networks`
//! (Grams), `operators` (what of a graph runs), `nodes` and `forward` (a network run), `backward` and `training` (a network
//! trained), all for any machine; `gpu` (the one file that calls CUDA), [`device`]. Tests compile the kernels for the
//! processor and run the same arithmetic there.
//!
//! ```
//! use onebasin_cuda::Device;
//! match Device::open(0) {
//!     Ok(device) => println!("{}", device.name()),
//!     Err(why) => println!("{why}"),
//! }
//! ```

mod backward;
pub mod device;
pub mod error;
mod forward;
mod gpu;
#[cfg(test)]
mod host;
mod machine;
mod networks;
mod nodes;
mod operators;
mod rows;
mod tables;
mod training;

pub use device::Device;
pub use error::{Error, Result};
pub use machine::Precision;
