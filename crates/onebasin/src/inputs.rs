//! Inputs where there are no data: made up, of the networks alone, and called so.

use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_nn::exec::Program;
use onebasin_nn::samples::{dead_leaves, picked_from};
use onebasin_nn::{Arrays, RememberedOptions, remembered, remembers};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::observer::{Progress, Step};

/// Inputs that were made up.
#[derive(Debug)]
pub(crate) struct MadeUp {
    pub(crate) samples: Arrays,
    /// What they are, in words.
    pub(crate) how: String,
}

/// A seed and what was made up of it.
type OfSeed = (u64, Arc<MadeUp>);

/// What was made up last: matching and merging ask for the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<OfSeed>>>);

/// Dead leaves, where no BatchNorm remembers anything.
const LEAVES: usize = 1000;

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
        program: &Program,
        networks: &[&Params],
        seed: u64,
        context: &Context<'_>,
    ) -> Result<Arc<MadeUp>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, made)) = kept.as_ref().filter(|(of, _)| *of == seed) {
            return Ok(Arc::clone(made));
        }
        refuse_indices(program.graph())?;
        let made = if remembers(program.graph()) {
            let options = RememberedOptions { seed, ..RememberedOptions::default() };
            let observer = context.observer;
            let found = remembered(program, networks, &options, &mut |done, total| {
                let (done, total) = (done as u64, total as u64);
                observer.progress(&Progress { step: Step::Remembering, done, total, how: "" });
                !observer.stops()
            });
            context.go_on()?;
            let found = found?;
            let (before, after) = (found.before, found.after);
            context.detail(&format!("distance from what BatchNorms remember: {before:.3} → {after:.3}"));
            let how = "shaped until the networks' BatchNorms see in them what they remember";
            MadeUp { how: how.to_owned(), samples: found.samples }
        } else {
            let samples = dead_leaves(program.graph(), LEAVES, seed)?;
            let how = "dead leaves where inputs are images, and noise where they are not";
            MadeUp { how: how.to_owned(), samples }
        };
        let made = Arc::new(made);
        *kept = Some((seed, Arc::clone(&made)));
        Ok(made)
    }
}

/// Passes only if inputs can be made up: if they are any numbers.
///
/// # Errors
/// [`Error::NeedsIndices`] names one that picks.
fn refuse_indices(graph: &Graph) -> Result<()> {
    match graph.inputs().find(|v| picked_from(graph, *v).is_some()) {
        Some(input) => Err(Error::NeedsIndices { input: graph.value(input).name.clone() }),
        None => Ok(()),
    }
}
