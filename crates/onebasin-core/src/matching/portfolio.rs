//! Several cheap matches instead of one, and the best of them.

use serde::{Deserialize, Serialize};

use super::ascent::{Match, MatchOptions, ascend};
use super::frank_wolfe::{FrankWolfeOptions, Origin, Progress, frank_wolfe};
use super::source::Source;
use super::spectral::Rank;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;

/// Which matches to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioOptions {
    /// Where coordinate ascent starts.
    pub starts: Vec<Start>,
    /// Orders tried from every start: run k has the seed of the options plus k.
    pub restarts: usize,
    /// Whether to climb jointly from the signature start as well.
    pub frank_wolfe: bool,
    /// How coordinate ascent goes.
    pub ascent: MatchOptions,
}

impl Default for PortfolioOptions {
    fn default() -> Self {
        let starts = vec![Start::Identity, Start::Signature, Start::Anchored];
        Self { starts, restarts: 2, frank_wolfe: true, ascent: MatchOptions::default() }
    }
}

/// How a run went about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Group after group.
    Ascent,
    /// All groups jointly, then group after group.
    FrankWolfe,
}

/// One match of several.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How it went about it.
    pub schedule: Schedule,
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
    /// How it went about it.
    pub schedule: Schedule,
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
        let Run { schedule, start, seed, found } = run;
        let (objective, sweeps) = (found.objective, found.sweeps.len());
        Self { schedule: *schedule, start: *start, seed: *seed, objective, sweeps }
    }
}

/// What is told while matching.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// How the run goes about it.
    pub schedule: Schedule,
    /// Where it started.
    pub start: Start,
    /// What happened.
    pub progress: Progress<'a>,
}

/// Several matches of one pair; the runs, best first.
///
/// Equal values keep the order of the runs. Values of runs on one source can be compared, those of different sources
/// cannot. When the observer returns false, the run in progress is the last.
///
/// Cost: `starts.len() · restarts` coordinate ascents and, if asked for, one joint climb.
pub fn best_of(
    weights: &Weights<'_>,
    options: &PortfolioOptions,
    observe: &mut dyn FnMut(Told<'_>) -> bool,
) -> Result<Vec<Run>> {
    let seeds = (0..options.restarts.max(1) as u64).map(|k| options.ascent.seed.wrapping_add(k));
    let runs = options.starts.iter().flat_map(|&start| seeds.clone().map(move |seed| (Schedule::Ascent, start, seed)));
    let joint = options.frank_wolfe.then_some((Schedule::FrankWolfe, Start::Signature, options.ascent.seed));
    let mut found = Vec::new();
    let mut go_on = true;
    for (schedule, start, seed) in runs.chain(joint) {
        if !go_on {
            break;
        }
        let begin = start.alignment(weights, seed)?;
        let ascent = MatchOptions { seed, ..options.ascent.clone() };
        let mut tell = |progress: Progress<'_>| {
            go_on = observe(Told { schedule, start, progress });
            go_on
        };
        let run = match schedule {
            Schedule::Ascent => ascend(weights, &begin, &ascent, &mut |sweep| tell(Progress::Sweep(sweep)))?,
            Schedule::FrankWolfe => {
                let how = FrankWolfeOptions { origin: Origin::Start, polish: ascent, ..FrankWolfeOptions::default() };
                frank_wolfe(weights, &begin, &how, &mut tell)?
            }
        };
        found.push(Run { schedule, start, seed, found: run });
    }
    found.sort_by(|x, y| y.found.objective.total_cmp(&x.found.objective));
    Ok(found)
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
