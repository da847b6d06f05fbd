//! What was done and what came of it, as a value that can be saved, printed and compared.
//!
//! The JSON form is documented in `docs/report-schema.md`.

use serde::{Deserialize, Serialize};

use crate::barrier::{Barrier, barrier};
use crate::error::Result;
use crate::matching::{Candidate, Diagnosis, MatchOptions, RunRecord, StopReason, Sweep};

/// Name and version of the JSON form. New fields keep the version; a field that goes, or changes its meaning, raises
/// it.
/// ```
/// assert!(onebasin_core::report::SCHEMA.starts_with("onebasin.report/"));
/// ```
pub const SCHEMA: &str = "onebasin.report/2";

/// The loss between two networks, before and after alignment: what went in, how B was aligned, and the curves.
///
/// With serde it is the JSON of `docs/report-schema.md`; numbers are read back to the bits that were written.
///
/// ```
/// use onebasin_core::report::{Curve, Report, SCHEMA, Split};
/// let lambda = vec![0.0, 0.5, 1.0];
/// let split = |middle: f64| Split::new(&[0.0, 0.5, 1.0], vec![0.1, middle, 0.1], vec![]);
/// let curve = |name: &str, middle: f64| -> Result<Curve, onebasin_core::Error> {
///     Ok(Curve { name: name.to_owned(), lambda: lambda.clone(), train: split(middle)?, test: split(middle)? })
/// };
/// let report = Report {
///     schema: SCHEMA.to_owned(),
///     version: "0.1.0".to_owned(),
///     inputs: vec![],
///     data: "mnist".to_owned(),
///     device: None,
///     repair: None,
///     matching: vec![],
///     curves: vec![curve("naive", 1.7)?, curve("weight", 0.1)?],
/// };
/// let text = serde_json::to_string(&report)?;
/// assert_eq!(serde_json::from_str::<Report>(&text)?, report);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// What was done to every average before it was measured: `data`, `weights`, `solve` or `distil`; none: nothing but its
    /// BatchNorm statistics.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repair: Option<String>,
    /// How B was aligned with A, by method; empty where an alignment was given.
    pub matching: Vec<MatchRecord>,
    /// One curve per method.
    pub curves: Vec<Curve>,
}

/// A file that went in, by name and digest: a report says what it is of, not where that lay.
///
/// ```
/// use onebasin_core::report::Input;
/// let input = Input { role: "a".to_owned(), name: "a.safetensors".to_owned(), sha256: "e3b0c442…".to_owned() };
/// assert!(serde_json::to_string(&input)?.starts_with(r#"{"role":"a","name":"a.safetensors""#));
/// # Ok::<(), serde_json::Error>(())
/// ```
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
///
/// Two scales stand side by side: `start_objective` and `objective` are inner products of the plain weights, `sweeps`
/// and `runs` are values of what was compared, which is something else for every method but weight matching.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, StopReason};
/// use onebasin_core::report::MatchRecord;
/// let record = MatchRecord {
///     method: "weight".to_owned(),
///     compared: "weights".to_owned(),
///     options: MatchOptions::default(),
///     device: None,
///     start_objective: 82.0,
///     objective: 91.0,
///     stop: StopReason::Converged,
///     sweeps: vec![],
///     runs: vec![],
///     plan: vec![],
///     judged: vec![],
///     diagnosis: None,
///     correlation: vec![],
/// };
/// let text = serde_json::to_string(&record)?; // what is empty is left out
/// assert!(text.ends_with(r#""objective":91.0,"stop":"converged","sweeps":[]}"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
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
    /// The runs that could be made, in their order, what each was predicted to cost, and whether that fits what they may cost
    /// together.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub plan: Vec<Candidate>,
    /// What the methods tried are worth on samples that they did not look at, where there were any, or images were made up.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub judged: Vec<Judged>,
    /// What kind of pair the networks are.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub diagnosis: Option<Diagnosis>,
    /// Mean correlation of matched units by group, where activations were seen.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub correlation: Vec<GroupCorrelation>,
}

/// What a method's midpoint is worth on samples that the method did not look at: by this the methods of a portfolio are
/// compared.
///
/// ```
/// use onebasin_core::report::Judged;
/// let weights = Judged::by_explained("weights", 0.31);
/// assert_eq!(serde_json::to_string(&weights)?, r#"{"compared":"weights","explained":0.31}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What was compared.
    pub compared: String,
    /// Where there are data: mean cross-entropy in nats of the midpoint, BatchNorm statistics recomputed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss: Option<f64>,
    /// Its share of right answers, where answers are right or wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// Where inputs are made up: share of what both networks answer there that the midpoint explains, R².
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub explained: Option<f64>,
}

impl Judged {
    /// By the loss on data.
    pub fn by_loss(compared: &str, loss: f64, accuracy: Option<f64>) -> Self {
        Self { compared: compared.to_owned(), loss: Some(loss), accuracy, explained: None }
    }

    /// By what is explained of both networks, without labels.
    pub fn by_explained(compared: &str, explained: f64) -> Self {
        Self { compared: compared.to_owned(), loss: None, accuracy: None, explained: Some(explained) }
    }
}

impl std::fmt::Display for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.compared)?;
        if let Some(loss) = self.loss {
            write!(f, " midpoint loss {loss:.4}")?;
        }
        if let Some(accuracy) = self.accuracy {
            write!(f, ", accuracy {:.2} %", 100.0 * accuracy)?;
        }
        if let Some(explained) = self.explained {
            write!(f, " the midpoint explains {explained:.3} of what both networks answer (R²)")?;
        }
        Ok(())
    }
}

/// How well the units of a group correspond: 1 where every matched pair does the same up to scale and shift, 0 where
/// pairs have nothing in common.
///
/// ```
/// use onebasin_core::report::GroupCorrelation;
/// let found = GroupCorrelation { group: "fc1".to_owned(), correlation: 0.75 };
/// assert_eq!(serde_json::to_string(&found)?, r#"{"group":"fc1","correlation":0.75}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupCorrelation {
    /// Name of the group.
    pub group: String,
    /// Mean correlation of matched units.
    pub correlation: f64,
}

/// Loss and accuracy along λ, on both splits of the data.
///
/// Shapes: every list has one number per λ.
///
/// ```
/// use onebasin_core::report::{Curve, Split};
/// let lambda = vec![0.0, 0.5, 1.0];
/// let train = Split::new(&lambda, vec![0.1, 0.9, 0.1], vec![1.0, 0.6, 1.0])?;
/// let test = Split::new(&lambda, vec![0.2, 1.0, 0.2], vec![0.9, 0.5, 0.9])?;
/// let curve = Curve { name: "naive".to_owned(), lambda, train, test };
/// assert_eq!(curve.test.barrier.mean_ends, 0.8);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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

/// One split of the data along λ: losses, accuracies, and the barrier of the losses.
///
/// ```
/// use onebasin_core::report::Split;
/// let split = Split::new(&[0.0, 1.0], vec![0.5, 0.25], vec![0.8, 0.9])?;
/// assert_eq!((split.barrier.mean_ends, split.barrier.chord), (0.125, 0.0));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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
    /// A split with its barrier. `accuracy` is empty, or as long as `loss`; it is not checked.
    ///
    /// # Errors
    /// Those of [`barrier`](fn@crate::barrier::barrier).
    ///
    /// ```
    /// use onebasin_core::report::Split;
    /// assert!(Split::new(&[0.0, 0.5, 1.0], vec![0.1, 0.2], vec![]).is_err());
    /// ```
    pub fn new(lambda: &[f64], loss: Vec<f64>, accuracy: Vec<f64>) -> Result<Self> {
        Ok(Self { barrier: barrier(lambda, &loss)?, loss, accuracy })
    }

    /// The value at λ = ½ of a list along [`lambda_grid`](crate::barrier::lambda_grid). Of a list of even length, which lacks
    /// it, the nearest; of two that are as near, the one nearer to B.
    ///
    /// # Panics
    /// If the list is empty.
    ///
    /// ```
    /// use onebasin_core::report::Split;
    /// assert_eq!(Split::midpoint(&[0.1, 0.7, 0.3]), 0.7);
    /// assert_eq!(Split::midpoint(&[0.1, 0.5, 0.6, 0.3]), 0.6);
    /// ```
    pub fn midpoint(values: &[f64]) -> f64 {
        values[values.len() / 2]
    }
}
