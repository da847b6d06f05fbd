//! Finding the alignment of two networks.
//!
//! Every matcher is: where the similarity comes from × how a group is updated × in which order. [`similarity`] computes
//! the similarity of a group from the weights and [`activation`] from what its units do, [`nested`] turns it into the best
//! element (a linear assignment; families first, their parent on the values), [`weight`] is the schedule of the paper's
//! Algorithm 1.

pub mod activation;
pub mod nested;
pub mod similarity;
pub mod weight;

pub use similarity::objective;
pub use weight::{Match, MatchOptions, StopReason, Sweep, match_weights};
