//! The methods of the command line, each a source and a schedule.

use anyhow::Result;
use onebasin_core::matching::activation::{ActivationKind, ActivationSimilarity};
use onebasin_core::matching::spectral::denoise;
use onebasin_core::matching::{
    Blend, Fixed, FrankWolfeOptions, Match, Origin, PortfolioOptions, Progress, Run, RunRecord, Source, StopReason,
    Sweep, Weights, ascend, best_of, diagnose, frank_wolfe, greedy, objective, trusts_spectral,
};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::report::{GroupCorrelation, Judged, MatchRecord};
use onebasin_core::symmetry::Alignment;
use onebasin_nn::data::Dataset;
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::{ActivationOptions, activation_similarity, evaluate_on, exec::Program, recompute_batch_norm};

use crate::args::Method;
use crate::pair::{Pair, start_of};
use crate::signals;
use crate::ste;

/// Samples on which methods are judged.
const JUDGED: usize = 10_000;

/// What a method found.
struct Found {
    compared: &'static str,
    alignment: Alignment,
    stop: StopReason,
    sweeps: Vec<Sweep>,
    runs: Vec<RunRecord>,
    judged: Vec<Judged>,
    seen: Option<ActivationSimilarity>,
}

/// Aligns B with A by a method.
pub fn run(pair: &Pair<'_>, method: Method) -> Result<(Alignment, MatchRecord)> {
    let (a, b) = (pair.a.params(), pair.b.params());
    let plain = pair.compare(a, b)?;
    let found = match method {
        Method::Auto => pair.auto(&plain)?,
        Method::Weight => pair.best("weights", &plain)?,
        Method::Spectral => pair.spectral()?,
        Method::FrankWolfe => pair.frank_wolfe(&plain)?,
        Method::Greedy => Found::once("incoming weights", greedy(&plain)?),
        Method::Activation => pair.activation(&plain)?,
        Method::Ste => {
            let start = match pair.args.start {
                Some(start) => start_of(start).alignment(&plain, pair.args.seed)?,
                None => pair.auto(&plain)?.alignment,
            };
            let state = ste::run(pair, &start)?;
            Found::once("loss", state.best)
        }
    };
    signals::check()?;
    let diagnosis =
        if pair.args.no_diagnosis { None } else { Some(diagnose(&plain, &found.alignment, pair.args.seed)?) };
    if let Some(diagnosis) = &diagnosis {
        pair.talk.say(&diagnosis.to_string());
    }
    let correlation = found.seen.map_or_else(Vec::new, |seen| {
        let named = |(id, correlation)| GroupCorrelation { group: pair.symmetry.group(id).name.clone(), correlation };
        seen.matched(pair.weights, &found.alignment).into_iter().map(named).collect()
    });
    let record = MatchRecord {
        method: method.name(),
        compared: found.compared.to_owned(),
        options: pair.options(),
        device: pair.device.map(|device| device.name.clone()),
        start_objective: objective(pair.weights, &Alignment::identity(pair.symmetry), a, b)?,
        objective: objective(pair.weights, &found.alignment, a, b)?,
        stop: found.stop,
        sweeps: found.sweeps,
        runs: found.runs,
        judged: found.judged,
        diagnosis,
        correlation,
    };
    Ok((found.alignment, record))
}

impl Pair<'_> {
    /// The best of all starts and orders on one source.
    fn best(&self, compared: &'static str, weights: &Weights<'_>) -> Result<Found> {
        let mut options =
            PortfolioOptions { restarts: self.args.restarts, ascent: self.options(), ..PortfolioOptions::default() };
        if let Some(start) = self.args.start {
            (options.starts, options.frank_wolfe) = (vec![start_of(start)], false);
        }
        let runs = best_of(weights, &options, &mut |told| {
            let what = format!("{compared}, {:?} from {:?}", told.schedule, told.start).to_lowercase();
            self.told(&what, told.progress)
        })?;
        signals::check()?;
        Ok(Found::of(compared, &runs))
    }

    fn spectral(&self) -> Result<Found> {
        let ((a, ranks), (b, _)) = (denoise(self.weights, self.a.params())?, denoise(self.weights, self.b.params())?);
        for rank in &ranks {
            self.talk.detail(&format!("`{}`: {} of {} directions above the noise", rank.tensor, rank.kept, rank.of));
        }
        self.best("denoised weights", &self.compare(&a, &b)?)
    }

    fn frank_wolfe(&self, plain: &Weights<'_>) -> Result<Found> {
        let (origin, start) = match self.args.start {
            Some(start) => (Origin::Start, start_of(start).alignment(plain, self.args.seed)?),
            None => (Origin::Barycentre, Alignment::identity(self.weights)),
        };
        let options = FrankWolfeOptions { origin, polish: self.options(), ..FrankWolfeOptions::default() };
        let found = frank_wolfe(plain, &start, &options, &mut |progress| self.told("weights", progress))?;
        Ok(Found { stop: found.stop, sweeps: found.sweeps, ..Found::once("weights", found.alignment) })
    }

    fn activation(&self, plain: &Weights<'_>) -> Result<Found> {
        let (program, samples) = self.samples()?;
        let kind = if self.args.uncentred { ActivationKind::Uncentred } else { ActivationKind::Pearson };
        let bar = self.talk.bar(samples.len() as u64, "activations {bar:24} {pos}/{len} samples, eta {eta}");
        let (a, b) = (self.a.params(), self.b.params());
        let options = ActivationOptions { kind };
        let seen = activation_similarity(&program, [a, b], self.weights, &samples, &options, &mut |done| {
            bar.set_position(done as u64);
            !signals::interrupted()
        });
        signals::check()?;
        let seen = seen?;
        bar.finish_and_clear();
        let roots = self.weights.roots().into_iter();
        let grams = roots.map(|r| (r, seen.grams(r).to_vec())).filter(|(_, grams)| !grams.is_empty());
        let fixed = Fixed::new(self.weights, grams);
        let identity = Alignment::identity(self.weights);
        let mut found =
            ascend(&fixed, &identity, &self.options(), &mut |s| self.told("activations", Progress::Sweep(s)))?;
        let mut compared = "activations";
        if let Some(beta) = self.args.blend {
            compared = "activations and weights";
            let by_weights = self.best("weights", plain)?.alignment;
            let scales = [plain.objective(&by_weights)?, fixed.objective(&found.alignment)?];
            let blend = Blend::new(plain, &fixed, beta, scales);
            found =
                ascend(&blend, &found.alignment, &self.options(), &mut |s| self.told(compared, Progress::Sweep(s)))?;
        }
        let Match { alignment, stop, sweeps, .. } = found;
        Ok(Found { stop, sweeps, seen: Some(seen), ..Found::once(compared, alignment) })
    }

    /// Spectral where it can be trusted, else weight; with data also activation, the one with the lower held-out loss.
    fn auto(&self, plain: &Weights<'_>) -> Result<Found> {
        let ((a, ranks_a), (b, ranks_b)) =
            (denoise(self.weights, self.a.params())?, denoise(self.weights, self.b.params())?);
        let trusted = trusts_spectral(plain, [&ranks_a, &ranks_b])?;
        let mut candidates = vec![if trusted {
            self.best("denoised weights", &self.compare(&a, &b)?)?
        } else {
            self.best("weights", plain)?
        }];
        let Some(data) = self.data.filter(|_| self.a.runs()) else { return Ok(candidates.remove(0)) };
        candidates.push(self.activation(plain)?);
        let program = self.a.program_for(data)?;
        let held: Vec<u32> = (0..data.train.len() as u32).rev().take(JUDGED).collect();
        let (held, norm) = (data.train.pick(&held), data.train.take(4 * BATCH));
        let mut judged = Vec::new();
        for candidate in &candidates {
            judged.push(self.judge(&program, candidate, &held, &norm)?);
        }
        let best = (0..judged.len()).fold(0, |best, k| if judged[k].loss < judged[best].loss { k } else { best });
        Ok(Found { judged, ..candidates.swap_remove(best) })
    }

    fn judge(&self, program: &Program, found: &Found, held: &Dataset, norm: &Dataset) -> Result<Judged> {
        let moved = found.alignment.apply(self.symmetry, self.b.params())?;
        let middle = merge(self.a.params(), &moved, 0.5, Interpolation::Lerp)?;
        let runner = self.device.map(|device| device.runner(program, &middle, self.talk)).transpose()?.flatten();
        let metrics = evaluate_on(runner, program, &recompute_batch_norm(program, &middle, norm, BATCH)?, held)?;
        let judged = Judged { compared: found.compared.to_owned(), loss: metrics.loss, accuracy: metrics.accuracy };
        let percent = 100.0 * judged.accuracy;
        self.talk.detail(&format!("{}: midpoint loss {:.4}, accuracy {percent:.2} %", judged.compared, judged.loss));
        Ok(judged)
    }
}

impl Found {
    fn of(compared: &'static str, runs: &[Run]) -> Self {
        let best = &runs[0].found;
        let runs = runs.iter().map(RunRecord::from).collect();
        let sweeps = best.sweeps.clone();
        Self { stop: best.stop, sweeps, runs, ..Self::once(compared, best.alignment.clone()) }
    }

    fn once(compared: &'static str, alignment: Alignment) -> Self {
        let stop = StopReason::Converged;
        Self { compared, alignment, stop, sweeps: Vec::new(), runs: Vec::new(), judged: Vec::new(), seen: None }
    }
}
