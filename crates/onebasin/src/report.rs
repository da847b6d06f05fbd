//! What was done and what came of it, as a value that can be saved, printed and compared.
//!
//! The JSON form is documented in `docs/report-schema.md`.

use serde::{Deserialize, Serialize};

use crate::barrier::{Barrier, barrier};
use crate::error::Result;
use crate::matching::{Match, MatchOptions, StopReason, Sweep};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "onebasin.report/1";

/// The loss between two networks, before and after alignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// The files that went in.
    pub inputs: Vec<Input>,
    /// Name of the data set.
    pub data: String,
    /// How B was aligned with A, where it was done here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub matching: Option<MatchRecord>,
    /// One curve per method.
    pub curves: Vec<Curve>,
}

/// A file that went in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// `a`, `b`, `alignment` or `symmetry`.
    pub role: String,
    /// File name, without its folder.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// How an alignment was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchRecord {
    /// The method: `weight`.
    pub method: String,
    /// Its options.
    pub options: MatchOptions,
    /// `⟨A, π(B)⟩` at the start.
    pub start_objective: f64,
    /// `⟨A, π(B)⟩` at the end.
    pub objective: f64,
    /// Why it stopped.
    pub stop: StopReason,
    /// One record per sweep.
    pub sweeps: Vec<Sweep>,
}

impl MatchRecord {
    /// The record of a match.
    pub fn of(found: &Match, options: &MatchOptions) -> Self {
        Self {
            method: "weight".to_owned(),
            options: options.clone(),
            start_objective: found.start_objective,
            objective: found.objective,
            stop: found.stop,
            sweeps: found.sweeps.clone(),
        }
    }
}

/// Loss and accuracy along λ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// `naive`, or the method that aligned B.
    pub name: String,
    /// λ, from 0 (A) to 1 (B).
    pub lambda: Vec<f64>,
    /// On the training data.
    pub train: Split,
    /// On the test data.
    pub test: Split,
}

/// One split of the data along λ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Mean cross-entropy in nats, one per λ.
    pub loss: Vec<f64>,
    /// Share classified right, one per λ.
    pub accuracy: Vec<f64>,
    /// The barrier of the loss.
    pub barrier: Barrier,
}

impl Split {
    /// A split with its barrier.
    pub fn new(lambda: &[f64], loss: Vec<f64>, accuracy: Vec<f64>) -> Result<Self> {
        Ok(Self { barrier: barrier(lambda, &loss)?, loss, accuracy })
    }

    /// The value nearest λ = ½.
    pub fn midpoint(values: &[f64]) -> f64 {
        values[values.len() / 2]
    }
}
