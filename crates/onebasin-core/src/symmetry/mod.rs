//! Which units of a network may be exchanged, as a value with a notation a person can read.
//!
//! In reading order: [`pattern`] (the notation of one tensor, parsed and printed) → [`spec`] (a whole file of patterns,
//! templates expanded) → [`layout`] (what an axis is made of, as boxes of digits) → [`Symmetry`] (sizes inferred and
//! checked against a network's tensors) → [`Alignment`] (one element: a permutation for every group) →
//! [`Gather`] (how it moves one tensor).

pub mod alignment;
pub mod discover;
pub mod error;
mod gather;
pub mod group;
pub mod layout;
pub mod pattern;
pub mod resolve;
mod saved;
mod sizes;
pub mod spec;

pub use alignment::Alignment;
pub use discover::{AxisRef, Discovery, discover};
pub use error::{AlignmentError, SymmetryError};
pub use gather::Gather;
pub use group::{Group, GroupId};
pub use pattern::Pattern;
pub use resolve::{Symmetry, TensorLayout};
pub use spec::SymmetrySpec;
