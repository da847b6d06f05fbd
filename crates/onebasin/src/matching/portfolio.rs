//! Several cheap matches instead of one, and the best of them.

use serde::{Deserialize, Serialize};

use super::ascent::{Match, MatchOptions, Sweep, ascend};
use super::source::Source;
use super::spectral::Rank;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;

/// One match of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Where it started.
    pub start: Start,
    /// The seed of its sweeps' order.
    pub seed: u64,
    /// What it found.
    pub found: Match,
}

/// A run, without its alignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Where it started.
    pub start: Start,
    /// The seed of its sweeps' order.
    pub seed: u64,
    /// The source's value at the end.
    pub objective: f64,
    /// Number of sweeps.
    pub sweeps: usize,
}

impl From<&Run> for RunRecord {
    fn from(run: &Run) -> Self {
        Self { start: run.start, seed: run.seed, objective: run.found.objective, sweeps: run.found.sweeps.len() }
    }
}

/// Coordinate ascent from every start, with `restarts` orders each; the runs, best first.
///
/// Run k from a start has seed `options.seed + k`; equal values keep the order of the starts. Values of runs on one source
/// can be compared, values of different sources cannot.
///
/// Cost: `starts.len() · restarts` matches.
pub fn best_of(
    weights: &Weights<'_>,
    starts: &[Start],
    restarts: usize,
    options: &MatchOptions,
    observe: &mut dyn FnMut(Start, &Sweep) -> bool,
) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut go_on = true;
    for &start in starts {
        for k in 0..restarts.max(1) as u64 {
            if !go_on {
                break;
            }
            let seed = options.seed.wrapping_add(k);
            let begin = start.alignment(weights, seed)?;
            let how = MatchOptions { seed, ..options.clone() };
            let found = ascend(weights, &begin, &how, &mut |sweep| {
                go_on = observe(start, sweep);
                go_on
            })?;
            runs.push(Run { start, seed, found });
        }
    }
    runs.sort_by(|x, y| y.found.objective.total_cmp(&x.found.objective));
    Ok(runs)
}

/// Whether denoised weights can be trusted to compare units: every denoised matrix keeps enough directions to tell its
/// units apart, and few enough that the rest is noise; and what was denoised is most of the network's weights.
///
/// # Errors
/// If a tensor is missing.
pub fn trusts_spectral(weights: &Weights<'_>, ranks: [&[Rank]; 2]) -> Result<bool> {
    const FEWEST: usize = 6;
    let apart = |r: &Rank| r.kept >= FEWEST && 2 * r.kept <= r.of;
    if ranks.iter().any(|r| r.is_empty() || !r.iter().all(apart)) {
        return Ok(false);
    }
    let [a, _] = weights.networks();
    let (mut denoised, mut all) = (0, 0);
    for (name, _) in weights.symmetry().tensors() {
        let len = a.require(name)?.len();
        all += len;
        denoised += if ranks[0].iter().any(|r| r.tensor == name) { len } else { 0 };
    }
    Ok(2 * denoised > all)
}
