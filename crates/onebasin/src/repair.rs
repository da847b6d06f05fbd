//! What becomes of an average before it is used: BatchNorm statistics recomputed, activations repaired.

use onebasin_core::Params;
use onebasin_core::repair::repair_weights;
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::{Ends, RepairOptions, Samples, SolveOptions, recompute_batch_norm, repair, solve};
use serde::{Deserialize, Serialize};

/// How units get back the spread that averaging takes from them.
///
/// Source: Jordan et al. 2022, REPAIR.
///
/// ```
/// use onebasin::{Merge, Repair};
/// assert_eq!(Merge::default().repair, Repair::None);
/// assert_eq!(Repair::Weights.name(), "weights");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Leave the average as it is.
    #[default]
    None,
    /// Give every unit the mean and spread between the ends', measured on samples.
    Data,
    /// Give every unit's weights the length between the ends'; needs no samples.
    Weights,
    /// Refit every layer to what the ends compute, on what the merged network feeds itself; without samples, of inputs that
    /// are made up of the networks.
    Solve,
}

impl Repair {
    /// Its name in options and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Data => "data",
            Self::Weights => "weights",
            Self::Solve => "solve",
        }
    }
}

/// What is done to averages.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) program: &'a Program,
    /// Samples to measure on; none leaves BatchNorm statistics interpolated.
    pub(crate) samples: Option<&'a dyn Samples>,
    pub(crate) repair: Repair,
}

impl Finish<'_> {
    /// The average of `ends` at `lambda`, made ready.
    pub(crate) fn apply(&self, ends: [&Params; 2], average: &Params, lambda: f64) -> onebasin_nn::Result<Params> {
        match (self.repair, self.samples) {
            (Repair::Data, Some(samples)) => {
                let options = RepairOptions { lambda, ..RepairOptions::default() };
                Ok(repair(self.program, ends, average, samples, &options)?.params)
            }
            (Repair::Weights, samples) => {
                let repaired = repair_weights(self.program.graph(), ends, average, lambda)?.params;
                samples.map_or(Ok(repaired.clone()), |s| recompute_batch_norm(self.program, &repaired, s, BATCH))
            }
            (Repair::Solve, _) if lambda == 0.0 || lambda == 1.0 => Ok(average.clone()),
            (Repair::Solve, Some(samples)) => {
                let ends = Ends::pair(ends, lambda);
                Ok(solve(self.program, &ends, average, samples, &SolveOptions::default(), &mut |_, _| true)?.params)
            }
            (Repair::None | Repair::Data | Repair::Solve, None) => Ok(average.clone()),
            (Repair::None, Some(samples)) => recompute_batch_norm(self.program, average, samples, BATCH),
        }
    }
}
