//! Networks that run: built-in networks, samples, tasks, evaluation.
//!
//! Read in this order: [`network`] → [`ops`] → [`samples`] → [`task`] → [`exec`] → [`runner`] → [`optim`] →
//! [`mod@evaluate`] → [`mod@gradient`] → [`mod@predict`] → [`activations`] → [`mod@remembered`] → [`mod@straight_through`] → [`mod@repair`] →
//! [`mod@solve`] → [`mod@distil`] → [`mod@check`] → [`mod@widen`].

pub mod activations;
pub mod check;
pub mod distil;
pub mod error;
pub mod evaluate;
pub mod exec;
pub mod family;
pub mod generate;
pub mod gradient;
mod memory;
pub mod network;
pub mod ops;
pub mod optim;
pub mod predict;
pub mod remembered;
pub mod repair;
pub mod runner;
pub mod samples;
pub mod solve;
pub mod straight_through;
pub mod task;
pub mod widen;

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use activations::{ActivationOptions, activation_similarity};
pub use check::{Check, CheckOptions, check, compare, compare_graphs};
pub use distil::{DistilOptions, distil};
pub use error::{Error, Result};
pub use evaluate::{Metrics, curve, evaluate, evaluate_on, recompute_batch_norm};
pub use generate::{GenerateOptions, generate};
pub use gradient::gradient;
pub use memory::machine_memory;
pub use network::Network;
pub use predict::{Bin, Predictions, Scores, predict, predict_ensemble};
pub use remembered::{Remembered, RememberedOptions, recollection, remembered, remembers};
pub use repair::{RepairOptions, repair};
pub use runner::{Runner, Running, Training};
pub use samples::{Arrays, Chosen, Field, FieldKind, Samples};
pub use solve::{Ends, Profile, SiteFit, SolveOptions, SolveState, Solved, profile, solve, solve_on};
pub use straight_through::{Comparison, SteOptions, SteState, straight_through};
pub use task::Task;
pub use widen::{WidenOptions, Widened, unit_correlations, widen};
