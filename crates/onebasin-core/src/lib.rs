//! Git Re-Basin: bring independently trained neural networks into one basin of the loss landscape, and merge them.
//!
//! Read in this order: [`convert`] → [`tensor`] → [`params`] → [`perm`] → [`graph`] → [`symmetry`] → [`assignment`] →
//! [`matching`] → [`merge`] → [`repair`] → [`barrier`].
//!
//! This crate opens no file, reads no clock, prints nothing. The same inputs and seed give the same bytes, whatever
//! the number of threads.

pub mod assignment;
pub mod barrier;
pub mod convert;
pub mod dtype;
pub mod error;
pub mod graph;
pub mod linalg;
pub mod matching;
pub mod merge;
pub mod params;
pub mod perm;
pub mod repair;
pub mod report;
pub mod stream;
pub mod structure;
pub mod symmetry;
pub mod tensor;

pub use dtype::DType;
pub use error::Error;
pub use params::Params;
pub use perm::Perm;
pub use tensor::Tensor;
