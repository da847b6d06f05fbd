//! Git Re-Basin: bring independently trained neural networks into one basin of the loss landscape, and merge them.
//!
//! Two networks that compute the same, their hidden units in another order, are far apart as they stand and the same
//! once aligned:
//!
//! ```
//! use onebasin_core::matching::{MatchOptions, match_weights};
//! use onebasin_core::merge::{Interpolation, merge};
//! use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
//! use onebasin_core::{Params, Tensor};
//!
//! let net = |first: [f32; 6], last: [f32; 3]| -> Result<Params, onebasin_core::Error> {
//!     let mut net = Params::new();
//!     net.insert("fc1.weight", Tensor::from_f32(&[3, 2], first.to_vec())?);
//!     net.insert("fc2.weight", Tensor::from_f32(&[1, 3], last.to_vec())?);
//!     Ok(net)
//! };
//! let a = net([1., 0., 0., 1., 1., 1.], [2., 3., 4.])?;
//! let b = net([1., 1., 1., 0., 0., 1.], [4., 2., 3.])?;
//!
//! // Which axes count the same units: `hidden` names them, `.` is an axis that stays.
//! let spec = SymmetrySpec::from_toml(r#"
//!     [tensors]
//!     "fc1.weight" = "hidden ."
//!     "fc2.weight" = ". hidden"
//! "#)?;
//! let symmetry = Symmetry::resolve(&spec, &a)?;
//!
//! let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
//! let aligned = found.alignment.apply(&symmetry, &b)?;
//! assert_eq!(merge(&a, &aligned, 0.5, Interpolation::Lerp)?, a);
//! assert_ne!(merge(&a, &b, 0.5, Interpolation::Lerp)?, a);
//! # Ok::<(), onebasin_core::Error>(())
//! ```
//!
//! # What is where
//! - Values: [`Tensor`] of a [`DType`], [`Params`] by name, [`Perm`], and [`stream`] for random numbers with names.
//! - [`graph`]: a network as operators, from which a symmetry is discovered.
//! - [`symmetry`]: which units may be exchanged, as a text, as a value, and one element of it: an alignment.
//! - [`assignment`]: exact linear assignment.
//! - [`matching`]: the alignment of two networks, or of many.
//! - [`merge`] and [`repair`]: one network out of aligned ones, and its spread set right again.
//! - [`barrier`](mod@barrier) and [`report`]: what lies between two networks, and the record of it.
//! - [`error`](mod@error): what can go wrong. [`linalg`]: matrix products over slices.
//!
//! This crate opens no file, reads no clock, prints nothing. The same inputs and seed give the same bytes, whatever
//! the number of threads.

pub mod assignment;
pub mod barrier;
mod convert;
mod dtype;
pub mod error;
pub mod graph;
pub mod linalg;
pub mod matching;
pub mod merge;
mod params;
mod perm;
pub mod repair;
pub mod report;
pub mod stream;
mod structure;
pub mod symmetry;
mod tensor;

pub use convert::all_finite;
pub use dtype::DType;
pub use error::Error;
pub use params::{Params, nearest};
pub use perm::Perm;
pub use structure::StructureDiff;
pub use tensor::{Tensor, element_count};
