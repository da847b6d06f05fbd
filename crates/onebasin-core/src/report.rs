//! What was done and what came of it, as a value that can be saved, printed and compared.
//!
//! The JSON form is documented in `docs/report-schema.md`.

use serde::{Deserialize, Serialize};

use crate::barrier::{Barrier, barrier};
use crate::error::Result;
use crate::matching::{Diagnosis, MatchOptions, RunRecord, StopReason, Sweep};

/// Name and version of the JSON form.
pub const SCHEMA: &str = "onebasin.report/2";

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
    /// The device that networks were evaluated on, if not the processor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// How B was aligned with A, by method; empty where an alignment was given.
    pub matching: Vec<MatchRecord>,
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
    /// The method, as it was asked for.
    pub method: String,
    /// What was compared: `weights`, `denoised weights`, `activations`, `activations and weights`, `loss`.
    pub compared: String,
    /// Options of the sweeps.
    pub options: MatchOptions,
    /// The device that Grams of weights were computed on, if not the processor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// `⟨A, B⟩` as they came.
    pub start_objective: f64,
    /// `⟨A, π(B)⟩` at the end; methods that compare something else may lower it.
    pub objective: f64,
    /// Why it stopped.
    pub stop: StopReason,
    /// One record per sweep of the best run, in values of what was compared.
    pub sweeps: Vec<Sweep>,
    /// All runs, best first, in values of what was compared.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub runs: Vec<RunRecord>,
    /// What the methods tried reached on held-out samples, where there were data to judge by.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub judged: Vec<Judged>,
    /// What kind of pair the networks are.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub diagnosis: Option<Diagnosis>,
    /// Mean correlation of matched units by group, where activations were seen.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub correlation: Vec<GroupCorrelation>,
}

/// A method's midpoint on held-out samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What was compared.
    pub compared: String,
    /// Mean cross-entropy in nats of the midpoint, BatchNorm statistics recomputed.
    pub loss: f64,
    /// Its share of right answers, where answers are right or wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
}

/// How well the units of a group correspond.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupCorrelation {
    /// Name of the group.
    pub group: String,
    /// Mean correlation of matched units.
    pub correlation: f64,
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
    /// Mean loss, one per λ: cross-entropy in nats, where samples are classified.
    pub loss: Vec<f64>,
    /// Share of answers that are right, one per λ; empty where nothing is right or wrong.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
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
