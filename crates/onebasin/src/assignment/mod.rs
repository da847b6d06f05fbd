//! Exact linear assignment: which unit of B each unit of A corresponds to.

pub mod certificate;
pub mod shortest_path;
pub mod similarity;

pub use certificate::{Certificate, certificate};
pub use shortest_path::{Assignment, Duals, assign};
pub use similarity::Similarity;
