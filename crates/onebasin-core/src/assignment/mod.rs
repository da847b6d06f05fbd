//! Exact linear assignment: which unit of B each unit of A corresponds to.
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
