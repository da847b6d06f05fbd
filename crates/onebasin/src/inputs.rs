//! Inputs where there are no data: made up, of the networks alone, and called so.

use std::sync::{Arc, Mutex, PoisonError};

use onebasin_nn::samples::{dead_leaves, picked_from};
use onebasin_nn::{Arrays, RememberedOptions, Samples as _, remembered, remembers};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::observer::{Progress, Step};

/// Inputs that were made up.
#[derive(Debug)]
pub(crate) struct MadeUp {
    pub(crate) samples: Arrays,
    /// What they are, in words.
    pub(crate) how: String,
    /// How many of them layers are solved on: more gain nothing.
    pub(crate) solved: usize,
}

/// A seed and what was made up of it.
type OfSeed = (u64, Arc<MadeUp>);

/// What was made up last: matching and merging ask for the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<OfSeed>>>);

/// Dead leaves, where no BatchNorm remembers anything.
const LEAVES: usize = 1000;
/// Texts that two language models write: as many tokens as a solve gains from.
pub(crate) const TEXTS: usize = 256;
/// The same where the result is trained on them.
pub(crate) const MANY_TEXTS: usize = 1024;

impl Kept {
    /// What was made up of this seed, if it was.
    pub(crate) fn was_made_up(&self, seed: u64) -> Option<Arc<MadeUp>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(of, _)| *of == seed).map(|(_, made)| Arc::clone(made))
    }

    /// Inputs made up of these networks of one graph: remembered where BatchNorms remember, else dead leaves and noise.
    ///
    /// # Errors
    /// [`Error::NeedsIndices`], those of [`remembered`], or the observer stops it.
    pub(crate) fn made_up(
        &self,
        [a, b]: [&Model; 2],
        texts: usize,
        seed: u64,
        context: &Context<'_>,
    ) -> Result<Arc<MadeUp>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = |made: &MadeUp| made.solved > TEXTS || made.samples.len() >= texts;
        if let Some((_, made)) = kept.as_ref().filter(|(of, made)| *of == seed && enough(made)) {
            return Ok(Arc::clone(made));
        }
        let (program, networks) = (a.program()?, [a.params(), b.params()]);
        let made = if let Some(samples) = written([a, b], texts, seed, context)? {
            MadeUp { how: "text that both networks wrote".to_owned(), samples, solved: TEXTS }
        } else if let Some(input) = program.graph().inputs().find(|v| picked_from(program.graph(), *v).is_some()) {
            return Err(Error::NeedsIndices { input: program.graph().value(input).name.clone() });
        } else if remembers(program.graph()) {
            let options = RememberedOptions { seed, ..RememberedOptions::default() };
            let observer = context.observer;
            let found = remembered(&program, &networks, &options, &mut |done, total| {
                let (done, total) = (done as u64, total as u64);
                observer.progress(&Progress { step: Step::Remembering, done, total, how: "" });
                !observer.stops()
            });
            context.go_on()?;
            let found = found?;
            let (before, after) = (found.before, found.after);
            context.detail(&format!("distance from what BatchNorms remember: {before:.3} → {after:.3}"));
            let how = "shaped until the networks' BatchNorms see in them what they remember";
            MadeUp { how: how.to_owned(), samples: found.samples, solved: usize::MAX }
        } else {
            let samples = dead_leaves(program.graph(), LEAVES, seed)?;
            let how = "dead leaves where inputs are images, and noise where they are not";
            MadeUp { how: how.to_owned(), samples, solved: usize::MAX }
        };
        let made = Arc::new(made);
        *kept = Some((seed, Arc::clone(&made)));
        Ok(made)
    }
}

/// Texts that both networks write, half each in turn, where they are language models.
fn written([a, b]: [&Model; 2], texts: usize, seed: u64, context: &Context<'_>) -> Result<Option<Arrays>> {
    let mut done = 0;
    let mut half = |model: &Model, seed: u64| {
        let found = model.writes(texts / 2, seed, &mut |_| {
            done += 1;
            let total = a.graph().and_then(|g| Some(2 * (g.shape(g.inputs().next()?)[1] as u64).saturating_sub(1)));
            let total = total.unwrap_or(done);
            context.observer.progress(&Progress { step: Step::Writing, done, total, how: "" });
            !context.observer.stops()
        });
        context.go_on()?;
        found
    };
    let (Some(one), Some(other)) = (half(a, seed.wrapping_mul(2))?, half(b, seed.wrapping_mul(2).wrapping_add(1))?)
    else {
        return Ok(None);
    };
    Ok(Some(one.and(&other)?))
}
