//! Kinds of experiments: what each plans, and what it makes of the results.

mod counterexample;
mod curves;
mod epochs;
mod found;
mod lines;
mod many;
mod plane;
mod split;
mod timings;
mod widths;
mod worths;

use serde::Deserialize;
use toml::Table;

use crate::error::Result;
use crate::plan::Plan;
use crate::setting::TrainingSetting;
pub use found::{Findings, Reading};

/// What an experiment does.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Curves from A to B, one for every method.
    Curves(curves::Curves),
    /// The plane through A, B and π(B).
    Plane(plane::PlaneOf),
    /// The barrier while networks are trained.
    Epochs(epochs::Epochs),
    /// The barrier by the width of the network.
    Widths(widths::Widths),
    /// Networks trained on different parts of the data.
    Split(split::SplitData),
    /// Many networks and their mean.
    Many(many::Many),
    /// How long matching takes.
    Timings(timings::Timings),
    /// Two networks that no permutation joins.
    Counterexample(counterexample::CounterexampleGrid),
}

impl Kind {
    /// The kind of this name with its setting.
    pub(crate) fn read(kind: &str, setting: Table) -> std::result::Result<Self, String> {
        fn of<T: for<'a> Deserialize<'a>>(setting: Table) -> std::result::Result<T, String> {
            setting.try_into().map_err(|why: toml::de::Error| format!("in its setting: {}", why.message()))
        }
        Ok(match kind {
            "curves" => Self::Curves(of(setting)?),
            "plane" => Self::Plane(of(setting)?),
            "epochs" => Self::Epochs(of(setting)?),
            "widths" => Self::Widths(of(setting)?),
            "split" => Self::Split(of(setting)?),
            "many" => Self::Many(of(setting)?),
            "timings" => Self::Timings(of(setting)?),
            "counterexample" => Self::Counterexample(of(setting)?),
            _ => {
                return Err(format!(
                    "there is no kind `{kind}`; known: curves, plane, epochs, widths, split, many, timings, counterexample"
                ));
            }
        })
    }

    /// How its networks are trained, if it trains any.
    pub fn training(&self) -> Option<&TrainingSetting> {
        match self {
            Self::Curves(k) => Some(&k.training),
            Self::Plane(k) => Some(&k.training),
            Self::Epochs(k) => Some(&k.training),
            Self::Widths(k) => Some(&k.training),
            Self::Split(k) => Some(&k.training),
            Self::Many(k) => Some(&k.training),
            Self::Timings(_) | Self::Counterexample(_) => None,
        }
    }

    /// Plans its stages, and says how to read what they leave.
    ///
    /// # Errors
    /// If there is no such network or data set.
    pub fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        match self {
            Self::Curves(k) => k.plan(plan),
            Self::Plane(k) => k.plan(plan),
            Self::Epochs(k) => k.plan(plan),
            Self::Widths(k) => k.plan(plan),
            Self::Split(k) => k.plan(plan),
            Self::Many(k) => k.plan(plan),
            Self::Timings(k) => k.plan(plan),
            Self::Counterexample(k) => k.plan(plan),
        }
    }
}
