//! Exact linear assignment: which unit of B each unit of A corresponds to.

pub mod certificate;
pub mod shortest_path;
pub mod similarity;

pub use certificate::{Assignment, Certificate, Duals, certificate};
pub use shortest_path::assign;
pub use similarity::Similarity;
