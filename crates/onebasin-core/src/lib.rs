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
//! # The words
//! - A **unit** is a neuron, a channel, a head: what may change its number without changing what a network computes.
//! - A **group** is a set of units that move together in every tensor they stand in. A **family** is a group with a parent:
//!   one independent copy for every unit of that, such as the entries of each head.
//! - A **symmetry** says where the units of every group stand; an **alignment** is one element of it, a permutation for
//!   every group. `perm[i] = j` is a gather: unit i of the result is unit j of the source.
//! - To **match** is to find an alignment, to **apply** it is to act with it, to **merge** is to combine aligned networks.
//!   A is the reference that stays, and B moves; **λ** runs from A (0) to B (1).
//! - The **barrier** is how much the loss rises on the way.
//!
//! # From a graph
//! Where a network's graph is known, the symmetry need not be written:
//!
//! ```
//! use onebasin_core::graph::Graph;
//! use onebasin_core::matching::{MatchOptions, match_weights};
//! use onebasin_core::stream::Stream;
//! use onebasin_core::symmetry::{Alignment, Symmetry, discover};
//! use onebasin_core::{Params, Tensor};
//!
//! let mut graph = Graph::new();
//! let x = graph.input("x", &[1, 4])?;
//! let h = graph.linear("fc1", x, 8)?;
//! let h = graph.relu(h)?;
//! let y = graph.linear("fc2", h, 2)?;
//! graph.output(y);
//!
//! // Any network of this graph, and the same one with its hidden units in another order.
//! let mut stream = Stream::new(0, "network");
//! let mut a = Params::new();
//! for param in graph.params() {
//!     let values = (0..param.shape.iter().product::<usize>()).map(|_| stream.normal()).collect();
//!     a.insert(&param.name[..], Tensor::from_f64(&param.shape, values)?);
//! }
//! let symmetry = Symmetry::resolve(discover(&graph).spec(), &a)?;
//! let b = Alignment::random(&symmetry, &mut stream).apply(&symmetry, &a)?;
//!
//! let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
//! assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
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
pub mod canonical;
mod convert;
mod dtype;
pub mod error;
pub mod graph;
pub mod kinds;
pub mod linalg;
pub mod matching;
pub mod merge;
mod names;
mod params;
mod perm;
pub mod repair;
pub mod report;
pub mod solve;
mod statistics;
pub mod stream;
mod structure;
pub mod symmetry;
mod tensor;
pub mod widen;

pub use convert::all_finite;
pub use dtype::DType;
pub use error::Error;
pub use names::escaped;
pub use params::{Params, nearest};
pub use perm::Perm;
pub use statistics::running_statistics;
pub use structure::StructureDiff;
pub use tensor::{Storage, Tensor, element_count};
