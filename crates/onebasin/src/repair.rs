//! What becomes of an average before it is used: BatchNorm statistics recomputed, activations repaired, layers solved.

use std::time::{Duration, Instant};

use onebasin_core::Params;
use onebasin_core::repair::repair_weights;
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::samples::Chosen;
use onebasin_nn::{
    DistilOptions, Ends, RepairOptions, Samples, SolveOptions, SolveState, Solved, distil, profile,
    recompute_batch_norm, repair, solve_on,
};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kept::KeptSolve;
use crate::observer::{Progress, Step};
use crate::solving::Solving;

/// What is done to a merged network so that it computes what its ends do, as far as it can.
///
/// Source: `data` and `weights`: Jordan et al. 2022, REPAIR; `affine` and `solve`: [`onebasin_nn::solve`](onebasin_nn::solve()).
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
    /// Fit the scale and shift of every unit by least squares to what the ends compute, on what the merged network feeds itself,
    /// and leave its weights ([`SolveOptions::units_only`]); needs no labels, and where there are no samples inputs are made up.
    ///
    /// [`SolveOptions::units_only`]: onebasin_nn::SolveOptions::units_only
    Affine,
    /// Refit every layer to what the ends compute, on what the merged network feeds itself; needs no labels, and where there are
    /// no samples inputs are made up.
    Solve,
    /// The same, and then a few hundred steps of training it to answer as its ends do together; needs no labels, and is no
    /// longer a merge in closed form.
    Distil,
}

impl Repair {
    /// Its name in options and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Data => "data",
            Self::Weights => "weights",
            Self::Affine => "affine",
            Self::Solve => "solve",
            Self::Distil => "distil",
        }
    }

    /// Whether layers are solved.
    pub fn solves(self) -> bool {
        match self {
            Self::Affine | Self::Solve | Self::Distil => true,
            Self::None | Self::Data | Self::Weights => false,
        }
    }

    /// Passes only if there are the samples it needs: training samples, and some of them.
    pub(crate) fn check(self, train: Option<&dyn Samples>, used: Used) -> Result<()> {
        let (what, option, needs, count) = match self {
            Self::None | Self::Weights => return Ok(()),
            Self::Data => ("repair by data", "repair by data", "batch_norm_samples above 0", used.batch_norm),
            Self::Affine | Self::Solve => ("solving", "repair by solving", "solve_samples above 0", used.solve),
            Self::Distil => (
                "distilling",
                "repair by distilling",
                "solve_samples and batch_norm_samples above 0",
                used.solve.min(used.batch_norm),
            ),
        };
        match train {
            None => Err(Error::NeedsData { what }),
            Some(train) if train.is_empty() || count == 0 => Err(Error::Needs { option, needs }),
            Some(_) => Ok(()),
        }
    }
}

/// How many training samples are used, for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) batch_norm: usize,
    pub(crate) solve: usize,
}

/// How layers are solved in as much memory as was said.
pub(crate) fn solve_options(memory: Option<u64>, lean: bool, repair: Repair) -> SolveOptions {
    let usual = SolveOptions::default();
    let memory = memory.map_or(usual.memory, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    SolveOptions { memory, lean, units_only: repair == Repair::Affine, ..usual }
}

/// What is done to averages.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) program: &'a Program,
    /// Samples to measure on; none leaves BatchNorm statistics interpolated.
    pub(crate) train: Option<&'a dyn Samples>,
    pub(crate) used: Used,
    pub(crate) repair: Repair,
    /// Bytes that a solve may take, where that was said.
    pub(crate) memory: Option<u64>,
    /// Whether a solve leans to the first network.
    pub(crate) lean: bool,
    /// Where the state of a solve is kept.
    pub(crate) kept: Option<&'a KeptSolve<'a>>,
    pub(crate) context: &'a Context<'a>,
}

/// The state of a solve is kept at most this often, and as often as that takes a twentieth of the time.
const KEPT_EVERY: Duration = Duration::from_secs(1);
/// Operators that are not solved and are named, at most.
const NAMED: usize = 6;

impl Finish<'_> {
    /// The average of a pair at `lambda`, made ready.
    pub(crate) fn apply(&self, ends: [&Params; 2], average: &Params, lambda: f64) -> Result<Params> {
        Ok(match self.repair {
            Repair::Data => {
                let options = RepairOptions { lambda, ..RepairOptions::default() };
                match self.first(self.used.batch_norm) {
                    Some(samples) => repair(self.program, ends, average, &samples, &options)?.params,
                    None => average.clone(),
                }
            }
            Repair::Weights => self.measured(&repair_weights(self.program.graph(), ends, average, lambda)?.params)?,
            Repair::Affine | Repair::Solve | Repair::Distil => {
                self.solved(&Ends::pair(ends, lambda), average)?.map_or_else(|| average.clone(), |solved| solved.params)
            }
            Repair::None => self.measured(average)?,
        })
    }

    /// The first training samples, if there are any.
    fn first(&self, count: usize) -> Option<Chosen<'_>> {
        let chosen = self.train.map(|train| Chosen::first(train, count));
        chosen.filter(|chosen| !chosen.is_empty())
    }

    /// A network with its BatchNorm statistics recomputed.
    pub(crate) fn measured(&self, params: &Params) -> Result<Params> {
        let samples = self.first(self.used.batch_norm);
        Ok(match samples {
            Some(samples) => recompute_batch_norm(self.program, params, &samples, BATCH)?,
            None => params.clone(),
        })
    }

    /// The average of ends, solved, and trained to answer as they do together where that is asked for; none where it is an end
    /// already, or there are no samples.
    fn solved(&self, ends: &Ends<'_>, average: &Params) -> Result<Option<Solved>> {
        let is_end = ends.by_unit.is_empty() && ends.shares.contains(&1.0);
        let Some(samples) = self.first(self.used.solve).filter(|_| !is_end) else { return Ok(None) };
        let observer = self.context.observer;
        let options = solve_options(self.memory, self.lean, self.repair);
        let state = self.kept.map(KeptSolve::load).transpose()?.flatten();
        let state = state.unwrap_or_else(|| SolveState::fresh(average.clone()));
        let (mut next, mut done, mut failed) = (Instant::now() + KEPT_EVERY, 0, None);
        let device = self.context.device.map(Device::accelerator);
        let solved = solve_on(self.program, ends, state, &samples, &options, device, &mut |state, all| {
            let progress = Progress { step: Step::Solving, done: state.done as u64, total: all as u64, how: "" };
            observer.progress(&progress);
            done = state.done;
            let stops = observer.stops();
            if let Some(kept) = self.kept.filter(|_| stops || (Instant::now() > next && state.done < all)) {
                let began = Instant::now();
                failed = kept.save(state).err();
                next = Instant::now() + KEPT_EVERY.max(20 * began.elapsed());
            }
            !stops && failed.is_none()
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let mut solved = match solved {
            Err(onebasin_nn::Error::Stopped) if self.kept.is_some() => {
                return Err(Error::Interrupted { steps: Some(done as u64), resumable: true });
            }
            solved => solved?,
        };
        if let (Repair::Distil, Some(samples)) = (self.repair, self.first(self.used.batch_norm)) {
            let options = self.distilling();
            solved.params = distil(self.program, ends, &solved.params, &samples, &options, &mut |done, all, loss| {
                let (done, total, how) = (done as u64, all as u64, format!("KL {loss:.4}"));
                observer.progress(&Progress { step: Step::Distilling, done, total, how: &how });
                !observer.stops()
            })?;
        }
        Ok(Some(solved))
    }

    /// How a merged network is trained: of texts, which answer at every position, fewer are a step.
    fn distilling(&self) -> DistilOptions {
        let (graph, usual) = (self.program.graph(), DistilOptions::default());
        let shape = graph.outputs().first().map_or(&[][..], |v| graph.shape(*v));
        let positions: usize = shape.iter().rev().skip(1).rev().skip(1).product();
        if positions > 1 { DistilOptions { steps: 350, batch: 16, rate: 7e-4, ..usual } } else { usual }
    }

    /// Solves an average, and measures what that brought.
    pub(crate) fn solve_and_tell(&self, ends: &Ends<'_>, average: &Params) -> Result<(Params, Option<Solving>)> {
        let (Some(train), Some(Solved { params, left, .. })) = (self.train, self.solved(ends, average)?) else {
            return Ok((average.clone(), None));
        };
        if !left.is_empty() {
            let named: Vec<String> = left.iter().take(NAMED).map(ToString::to_string).collect();
            let more = left.len() - named.len();
            let more = if more > 0 { format!("; and {more} more, which the record names") } else { String::new() };
            let named = named.join("; ");
            self.context.note(&format!("not solved, and averaged like everything without a solve: {named}{more}"));
        }
        self.context.go_on()?;
        let samples = self.used.solve.min(train.len());
        let held_out = Self::HELD_OUT.min(train.len() - samples);
        let seen = if held_out > 0 { samples..samples + held_out } else { 0..samples.min(Self::HELD_OUT) };
        let seen = Chosen::new(train, seen.map(|sample| sample as u32).collect())?;
        let average = recompute_batch_norm(self.program, average, &seen, BATCH)?;
        let before = profile(self.program, ends, &average, &seen)?;
        let after = profile(self.program, ends, &params, &seen)?;
        let distilled = if self.repair == Repair::Distil { self.distilling().steps } else { 0 };
        let (name, lean) = (train.name().to_owned(), self.lean);
        let units_only = self.repair == Repair::Affine;
        let record = Solving { name, samples, held_out, before, after, left, distilled, units_only, lean };
        if let Some(warning) = record.warning() {
            self.context.note(&warning);
        }
        Ok((params, Some(record)))
    }

    /// Samples on which is measured what solving brought.
    const HELD_OUT: usize = 64;
}
