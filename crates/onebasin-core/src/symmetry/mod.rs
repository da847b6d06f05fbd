//! Which units of a network may be exchanged, as a value with a notation a person can read.
//!
//! In reading order: [`Pattern`] (the notation of one tensor, parsed and printed) → [`SymmetrySpec`] (a whole file of
//! patterns, templates expanded) → [`AxisLayout`] (what an axis is made of, as boxes of digits) → [`Symmetry`] (sizes
//! inferred and checked against a network's tensors) → [`Alignment`] (one element: a permutation for every group) →
//! [`Gather`] (how it moves one tensor). [`discover`] finds a specification from a graph.
//!
//! A hidden layer of four units is a group of four. Its units are rows of the first weight, entries of its bias and
//! columns of the second weight; permuting all three alike changes no output:
//!
//! ```
//! use onebasin_core::stream::Stream;
//! use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
//! use onebasin_core::{Params, Tensor};
//! let zeros = |shape: &[usize]| Tensor::from_f32(shape, vec![0.; shape.iter().product()]);
//! let mut net = Params::new();
//! net.insert("fc1.weight", zeros(&[4, 3])?);
//! net.insert("fc1.bias", zeros(&[4])?);
//! net.insert("fc2.weight", zeros(&[2, 4])?);
//! net.insert("fc2.bias", zeros(&[2])?);
//! let spec = SymmetrySpec::from_toml(r#"
//!     [tensors]
//!     "fc1.weight" = "hidden ."
//!     "fc1.bias"   = "hidden"
//!     "fc2.weight" = ". hidden"
//!     "fc2.bias"   = "."
//! "#)?;
//! let symmetry = Symmetry::resolve(&spec, &net)?;
//! let any = Alignment::random(&symmetry, &mut Stream::new(0, "example"));
//! assert_eq!(any.apply(&symmetry, &net)?.names().count(), 4);
//! # Ok::<(), onebasin_core::Error>(())
//! ```

mod alignment;
mod discover;
mod error;
mod gather;
mod group;
mod joint;
mod layout;
mod pattern;
mod resolve;
mod saved;
mod sizes;
mod spec;
mod stack;
mod template;

pub use alignment::Alignment;
pub(crate) use alignment::copy_index;
pub use discover::{AxisRef, Discovery, Held, Tap, discover, discover_holding, discover_one_by_one};
pub use error::{AlignmentError, SymmetryError};
pub use gather::Gather;
pub use group::{Group, GroupId};
pub(crate) use joint::runs;
pub use layout::{AxisLayout, Digit, Occurrence, for_each_index};
pub use pattern::{Pattern, Term, TermKind};
pub use resolve::{Symmetry, TensorLayout};
pub use spec::SymmetrySpec;
pub use template::{Template, TemplateLine, TemplateTerm};
