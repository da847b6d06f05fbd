//! Exact linear assignment: which unit of B each unit of A corresponds to.
//!
//! Given a square [`Similarity`], [`assign`] finds the permutation of the largest sum, with prices ([`Duals`]) that
//! prove it; [`certificate`] checks that proof without solving anything.
//!
//! ```
//! use onebasin_core::assignment::{Similarity, assign, certificate};
//! // Unit 0 of A is most like unit 1 of B, and so is unit 1; together they do best crosswise.
//! let similarity = Similarity::new(2, vec![1., 5., 4., 6.])?;
//! let best = assign(&similarity, None)?;
//! assert_eq!(best.perm.as_slice(), [1, 0]);
//! assert!(certificate(&similarity, &best).proves_optimal());
//! # Ok::<(), onebasin_core::Error>(())
//! ```
#![allow(clippy::inline_always, reason = "vector instructions reach only what is inlined")]

mod bids;
mod certificate;
mod dense;
mod error;
mod lists;
mod search;
mod similarity;
mod solve;
mod sparse;

pub use certificate::{Assignment, Certificate, Duals, certificate};
pub use error::AssignmentError;
pub use similarity::Similarity;
pub use solve::{assign, assign_dense};

/// No row, or no column.
const FREE: u32 = u32::MAX;

/// In place of a column: one of the constant ones.
const POOL: u32 = u32::MAX - 1;

/// What a solver gives back: the column of every row, and the prices that prove it.
struct Solved {
    of_row: Vec<u32>,
    prices: Vec<f64>,
}
