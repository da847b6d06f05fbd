//! Which units of a network may be exchanged, as a value with a notation a person can read.
//!
//! In reading order: [`Pattern`] (the notation of one tensor, parsed and printed) → [`SymmetrySpec`] (a whole file of
//! patterns, templates expanded) → [`AxisLayout`] (what an axis is made of, as boxes of digits) → [`Symmetry`] (sizes
//! inferred and checked against a network's tensors) → [`Alignment`] (one element: a permutation for every group) →
//! [`Gather`] (how it moves one tensor).

mod alignment;
mod discover;
mod error;
mod gather;
mod group;
mod layout;
mod pattern;
mod resolve;
mod saved;
mod sizes;
mod spec;

pub use alignment::Alignment;
pub use discover::{AxisRef, Discovery, discover};
pub use error::{AlignmentError, SymmetryError};
pub use gather::Gather;
pub use group::{Group, GroupId};
pub use layout::{AxisLayout, Digit, Occurrence, for_each_index};
pub use pattern::{Pattern, Term, TermKind};
pub use resolve::{Symmetry, TensorLayout};
pub use spec::SymmetrySpec;
