//! Straight-through matching: shown, saved, gone on with.

use onebasin_core::symmetry::Alignment;
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::{SteOptions, SteState, straight_through};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::methods::{Found, Matching};
use super::state::StateFile;
use crate::error::{Error, Result};
use crate::observer::{Progress, Step};

/// How straight-through matching goes: by gradients of the loss at the midpoint, towards a target that moves.
///
/// ```
/// use onebasin::{Align, Method, StraightThrough};
/// let straight_through = StraightThrough { epochs: 5, ..StraightThrough::default() };
/// let options = Align { method: Method::Ste, straight_through, state: Some("ste.safetensors".into()), ..Align::default() };
/// assert!(!options.resume);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StraightThrough {
    /// Passes over the training samples at most.
    pub epochs: usize,
    /// Where the target starts, from π(B) as it was found at 0 to A at 1.
    pub pull: f64,
    /// Learning rate at the start.
    pub rate: f64,
    /// How the rate goes on: a cosine settles, a constant rate keeps searching, for networks that align badly.
    pub schedule: Schedule,
    /// Comparisons without a better alignment after which to stop.
    pub patience: usize,
    /// How gradients move the target.
    pub optimizer: Optimizer,
    /// Samples that take no step, on which alignments are compared; none is a tenth, 5,000 at most.
    pub held_out: Option<usize>,
}

impl Default for StraightThrough {
    fn default() -> Self {
        let SteOptions { epochs, pull, rate, schedule, patience, optimizer, .. } = SteOptions::default();
        Self { epochs, pull, rate, schedule, patience, optimizer, held_out: None }
    }
}

impl StraightThrough {
    pub(super) fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.pull) {
            let (option, expected) = ("pull", "a number from 0 to 1");
            return Err(Error::Option { option, expected, found: self.pull.to_string() });
        }
        Ok(())
    }

    fn options(&self, seed: u64, samples: usize) -> SteOptions {
        SteOptions {
            seed,
            epochs: self.epochs,
            rate: self.rate,
            schedule: self.schedule,
            pull: self.pull,
            patience: self.patience,
            optimizer: self.optimizer,
            held_out: self.held_out.unwrap_or_else(|| SteOptions::usually_held_out(samples)),
            ..SteOptions::default()
        }
    }
}

impl Matching<'_> {
    /// Finds the alignment with the lowest loss at the midpoint, from `start`.
    pub(super) fn straight_through(&self, start: &Alignment) -> Result<Found> {
        let (pair, how, context) = (self.pair, &self.options.straight_through, self.context);
        let (program, samples) = pair.a.running(context, "straight-through matching")?;
        let (ends, task) = (pair.ends(), context.judge(samples));
        let options = how.options(self.options.seed, samples.len());
        let inputs = json!([options, pair.a.checkpoint().digest(), pair.b.checkpoint().digest(), samples.name()]);
        let file =
            self.options.state.as_deref().map(|path| StateFile { path, symmetry: self.symmetry, inputs: &inputs });
        let state = match file.as_ref().filter(|_| self.options.resume) {
            Some(file) => file.load(options.optimizer)?,
            None => SteState::fresh(self.symmetry, ends, start, options.pull)?,
        };
        let per_epoch = samples.len().saturating_sub(options.held_out).div_ceil(options.batch);
        let total = per_epoch as u64 * options.epochs as u64;
        let mut failed = None;
        let state = straight_through(&program, self.symmetry, ends, samples, task, state, &options, &mut |c| {
            let best = format!("best {:.4}", c.state.best_loss);
            let (step, done) = (Step::StraightThrough, c.state.step);
            context.observer.progress(&Progress { step, done, total, how: &best });
            let accuracy = c.accuracy.map_or(String::new(), |a| format!(", accuracy {:.2} %", 100.0 * a));
            context.detail(&format!("step {done}: held-out loss of the midpoint {:.4}{accuracy}, {best}", c.loss));
            failed = file.as_ref().and_then(|file| file.save(c.state).err());
            failed.is_none() && !context.observer.stops()
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let state = state?;
        if context.observer.stops() {
            return Err(Error::Interrupted { steps: Some(state.step), resumable: file.is_some() });
        }
        context.observer.progress(&Progress { step: Step::StraightThrough, done: total, total, how: "" });
        Ok(Found::once("loss", state.best))
    }
}
