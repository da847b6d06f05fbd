//! The methods, each a source of similarities and a schedule.

use std::borrow::Cow;

use onebasin_core::Params;
use onebasin_core::kinds::Kinds;
use onebasin_core::matching::{
    ActivationKind, ActivationSimilarity, Blend, Budget, Candidate, Fixed, FrankWolfeOptions, Match, Origin,
    PortfolioOptions, Progress as Told, Rank, Run, RunRecord, Source, Start, StopReason, Sweep, TurnedOptions, Weights,
    ascend, best_of, comparable, denoise, frank_wolfe, greedy, match_turned, plan,
};
use onebasin_core::report::Judged;
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_nn::exec::Program;
use onebasin_nn::samples::Chosen;
use onebasin_nn::{ActivationOptions, Samples, activation_similarity};

use super::{Align, DONE, Method};
use crate::context::Context;
use crate::error::Result;
use crate::observer::{Progress, Step};
use crate::pair::Pair;

/// Predicted seconds that matches of weights may take together where nobody says. Small networks then get a joint climb, which
/// raises their objective by up to a third; of a ResNet-18 it would take several times as long as the ascent.
pub(super) const FREE: f64 = 2.0;
/// The same of denoised weights, of which all runs end within a ten-thousandth of each other.
const FREE_DENOISED: f64 = 0.2;
/// A pair being matched.
pub(super) struct Matching<'a> {
    pub(super) pair: &'a Pair,
    /// Of all tensors.
    pub(super) symmetry: &'a Symmetry,
    /// Of the weights alone.
    pub(super) weights: &'a Symmetry,
    /// The weights of both, as they can be compared.
    ends: [Cow<'a, Params>; 2],
    pub(super) options: &'a Align,
    pub(super) context: &'a Context<'a>,
}

/// What a method found.
pub(super) struct Found {
    pub(super) compared: &'static str,
    pub(super) alignment: Alignment,
    pub(super) stop: StopReason,
    pub(super) sweeps: Vec<Sweep>,
    pub(super) runs: Vec<RunRecord>,
    pub(super) plan: Vec<Candidate>,
    pub(super) judged: Vec<Judged>,
    pub(super) seen: Option<ActivationSimilarity>,
}

impl Found {
    fn of(compared: &'static str, runs: &[Run], plan: Vec<Candidate>) -> Self {
        let best = &runs[0].found;
        let runs = runs.iter().map(RunRecord::from).collect();
        let sweeps = best.sweeps.clone();
        Self { stop: best.stop, sweeps, runs, plan, ..Self::once(compared, best.alignment.clone()) }
    }

    pub(super) fn once(compared: &'static str, alignment: Alignment) -> Self {
        let (sweeps, runs, plan, judged) = Default::default();
        Self { compared, alignment, stop: DONE, sweeps, runs, plan, judged, seen: None }
    }
}

impl<'a> Matching<'a> {
    pub(super) fn new(
        pair: &'a Pair,
        symmetry: &'a Symmetry,
        weights: &'a Symmetry,
        options: &'a Align,
        context: &'a Context<'a>,
    ) -> Result<Self> {
        let [a, b] = pair.ends();
        Ok(Self { pair, symmetry, weights, ends: comparable(weights, a, b)?, options, context })
    }
}

impl Matching<'_> {
    pub(super) fn run(&self) -> Result<Found> {
        let [a, b] = self.pair.ends();
        if a == b {
            let seen = if self.options.method == Method::Activation {
                self.activation(self.options.match_samples)?.seen
            } else {
                None
            };
            return Ok(Found { seen, ..Found::once("bits", Alignment::identity(self.symmetry)) });
        }
        match self.options.method {
            Method::Auto => self.auto(),
            Method::Anchored => self.anchored(),
            Method::None | Method::Orthogonal => Ok(Found::once("nothing", Alignment::identity(self.symmetry))),
            Method::Weight => self.by_weights(&self.plain()?),
            Method::Spectral => self.spectral(),
            Method::FrankWolfe => self.frank_wolfe(),
            Method::Greedy => Ok(Found::once("incoming weights", greedy(&self.plain()?)?)),
            Method::Activation => self.activation(self.options.match_samples),
            Method::Ste => {
                let start = match self.options.start {
                    Some(start) => start.alignment(&self.plain()?, self.options.seed)?,
                    None => self.auto()?.alignment,
                };
                self.straight_through(&start)
            }
        }
    }

    /// The weights as they are, to be compared.
    pub(super) fn plain(&self) -> Result<Weights<'_>> {
        self.pair.a.compare(self.weights, self.compared(), self.context)
    }

    fn compared(&self) -> [&Params; 2] {
        let [a, b] = &self.ends;
        [a, b]
    }

    /// Says how a match goes; false where it is to stop.
    /// Permutations, local groups before the ones that stand everywhere.
    pub(super) fn anchored(&self) -> Result<Found> {
        let uses = self.pair.a.graph().map(onebasin_core::graph::Graph::uses).unwrap_or_default();
        let kinds = Kinds::permutations(self.weights, uses);
        let [a, b] = self.compared();
        let max_sweeps = self.options.max_sweeps.min(TurnedOptions::default().max_sweeps);
        let options = TurnedOptions { max_sweeps, anchor: 1.0, even: 0.0 };
        let told = &mut |sweep: &Sweep| self.told("anchored", Told::Sweep(sweep));
        let found = match_turned(&kinds, a, b, &options, told)?;
        Ok(Found { stop: found.stop, sweeps: found.sweeps, ..Found::once("weights", found.motion.alignment) })
    }

    pub(super) fn told(&self, what: &str, told: Told<'_>) -> bool {
        self.context.detail(&match told {
            Told::Iteration(i) => {
                format!("{what}, iteration {}: {:.6}, gap {:.3e}, step {:.3}", i.iteration, i.value, i.gap, i.step)
            }
            Told::Sweep(s) => format!(
                "{what}, sweep {}: {:.6} (+{:.3e}), {} of {} solved groups changed",
                s.sweep, s.objective, s.gain, s.changed_groups, s.solved_groups
            ),
        });
        !self.context.observer.stops()
    }

    /// The best of the starts, orders and schedules that fit the budget, on one source; `free` seconds where none was named.
    fn best(&self, compared: &'static str, weights: &Weights<'_>, free: f64) -> Result<Found> {
        let (restarts, ascent) = (self.options.restarts, self.options.ascent());
        let mut options = PortfolioOptions { restarts, ascent, ..PortfolioOptions::default() };
        let seconds = if let Some(start) = self.options.start {
            (options.starts, options.frank_wolfe) = (vec![start], false);
            self.options.budget
        } else {
            options.starts = vec![Start::Signature, Start::Identity, Start::Anchored];
            Some(self.options.budget.unwrap_or(free))
        };
        let memory = self.options.memory.unwrap_or(Budget::default().memory);
        options.budget = seconds.map(|seconds| Budget { seconds, memory });
        let plan = plan(weights, &options)?;
        for candidate in &plan {
            let Candidate { schedule, start, seed, cost, fits } = candidate;
            let fits = if *fits { "" } else { "; does not fit the budget" };
            let what = format!("{compared}, {schedule:?} from {start:?}, seed {seed}").to_lowercase();
            self.context.detail(&format!("{what}: {cost} predicted{fits}"));
        }
        let runs = best_of(weights, &options, &mut |told| {
            let what = format!("{compared}, {:?} from {:?}", told.schedule, told.start).to_lowercase();
            self.told(&what, told.progress)
        })?;
        self.context.go_on()?;
        Ok(Found::of(compared, &runs, plan))
    }

    /// The best by weights as they are.
    pub(super) fn by_weights(&self, plain: &Weights<'_>) -> Result<Found> {
        self.best("weights", plain, FREE)
    }

    /// The best by denoised weights.
    pub(super) fn by_denoised(&self, [a, b]: [&Params; 2], ranks: &[Rank]) -> Result<Found> {
        for rank in ranks {
            let text = format!("`{}`: {} of {} directions above the noise", rank.tensor, rank.kept, rank.of);
            self.context.detail(&text);
        }
        self.best("denoised weights", &self.pair.a.compare(self.weights, [a, b], self.context)?, FREE_DENOISED)
    }

    fn spectral(&self) -> Result<Found> {
        let [a, b] = self.compared();
        let ((a, ranks), (b, _)) = (denoise(self.weights, a)?, denoise(self.weights, b)?);
        self.by_denoised([&a, &b], &ranks)
    }

    fn frank_wolfe(&self) -> Result<Found> {
        let plain = self.plain()?;
        let (origin, start) = match self.options.start {
            Some(start) => (Origin::Start, start.alignment(&plain, self.options.seed)?),
            None => (Origin::Barycentre, Alignment::identity(self.weights)),
        };
        let options = FrankWolfeOptions { origin, polish: self.options.ascent(), ..FrankWolfeOptions::default() };
        let found = frank_wolfe(&plain, &start, &options, &mut |told| self.told("weights", told))?;
        Ok(Found { stop: found.stop, sweeps: found.sweeps, ..Found::once("weights", found.alignment) })
    }

    /// By activations on so many training samples at most, or on inputs that are made up where there are none.
    fn activation(&self, most: usize) -> Result<Found> {
        if self.context.train.is_some() {
            let (program, samples) = self.pair.a.running(self.context, "matching activations")?;
            return self.activation_on(&program, &Chosen::first(samples, most));
        }
        let program = self.pair.a.program()?;
        let made = self.pair.made_up(self.options.seed, self.context)?;
        let (count, how) = (made.samples.len(), &made.how);
        self.context.note(&format!("no data, so activations are compared on {count} made-up inputs, {how}"));
        self.activation_on(&program, &made.samples)
    }

    /// By activations on these samples.
    pub(super) fn activation_on(&self, program: &Program, samples: &dyn Samples) -> Result<Found> {
        let kind = if self.options.uncentred { ActivationKind::Uncentred } else { ActivationKind::Pearson };
        let (ends, total) = (self.pair.ends(), samples.len() as u64);
        let options = ActivationOptions { kind };
        let observer = self.context.observer;
        let seen = activation_similarity(program, ends, self.weights, samples, &options, &mut |done| {
            observer.progress(&Progress { step: Step::Activations, done: done as u64, total, how: "" });
            !observer.stops()
        });
        self.context.go_on()?;
        self.by_seen(seen?, self.context.train.is_none())
    }

    /// By activations that were seen, on made-up inputs or others.
    pub(super) fn by_seen(&self, seen: ActivationSimilarity, made_up: bool) -> Result<Found> {
        let roots = self.weights.roots().into_iter();
        let grams = roots.map(|r| (r, seen.grams(r).to_vec())).filter(|(_, grams)| !grams.is_empty());
        let fixed = Fixed::new(self.weights, grams);
        let (identity, ascent) = (Alignment::identity(self.weights), self.options.ascent());
        let mut found = ascend(&fixed, &identity, &ascent, &mut |s| self.told("activations", Told::Sweep(s)))?;
        let uncentred = self.options.uncentred;
        let mut compared = match (uncentred, made_up) {
            (false, false) => "activations",
            (true, false) => "uncentred activations",
            (false, true) => "activations on made-up inputs",
            (true, true) => "uncentred activations on made-up inputs",
        };
        if let Some(beta) = self.options.blend {
            compared = match (uncentred, made_up) {
                (false, false) => "activations and weights",
                (true, false) => "uncentred activations and weights",
                (false, true) => "activations on made-up inputs, and weights",
                (true, true) => "uncentred activations on made-up inputs, and weights",
            };
            let plain = self.plain()?;
            let by_weights = self.by_weights(&plain)?.alignment;
            let scales = [plain.objective(&by_weights)?, fixed.objective(&found.alignment)?];
            let blend = Blend::new(&plain, &fixed, beta, scales);
            found = ascend(&blend, &found.alignment, &ascent, &mut |s| self.told(compared, Told::Sweep(s)))?;
        }
        let Match { alignment, stop, sweeps, .. } = found;
        Ok(Found { stop, sweeps, seen: Some(seen), ..Found::once(compared, alignment) })
    }
}
