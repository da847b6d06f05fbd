//! What training needs to go on, and the same as tensors and a header entry.

use onebasin_core::Params;
use onebasin_nn::Network;
use onebasin_nn::exec::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// Everything training needs to go on: weights, the optimiser's moments, and how far it got.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    /// The weights, and BatchNorm's running statistics.
    pub params: Params,
    /// Epochs done.
    pub epoch: usize,
    /// What has been done of the next one.
    pub begun: Begun,
    /// The optimiser's state vectors, each as tensors named like what is trained; empty before the first step.
    pub moments: Vec<Params>,
}

/// The part of an epoch that is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// Steps taken.
    pub steps: usize,
    /// Samples seen in them.
    pub samples: usize,
    /// What was asked in them: one answer a sample, or one for every token.
    pub answers: usize,
    /// Sum of the losses of all answers, each before its step's update.
    pub loss: f64,
    /// How many of them were right.
    pub correct: usize,
}

impl TrainState {
    /// Weights freshly drawn, nothing done.
    pub fn fresh(network: &Network, seed: u64) -> Result<Self> {
        Ok(Self::from(network.init(seed)?))
    }

    /// The state as tensors and a header entry: weights by their names, moments as `moment0/NAME`.
    pub fn pack(&self) -> (Params, Value) {
        let mut all = self.params.clone();
        for (k, moments) in self.moments.iter().enumerate() {
            moments.iter().for_each(|(name, t)| all.insert(format!("moment{k}/{name}"), t.clone()));
        }
        (all, json!({ "epoch": self.epoch, "begun": self.begun, "moments": self.moments.len() }))
    }

    /// The state that was packed.
    ///
    /// # Errors
    /// If the entry is not one that [`Self::pack`] makes.
    pub fn unpack(all: &Params, entry: &Value) -> Result<Self> {
        #[derive(Deserialize)]
        struct Entry {
            epoch: usize,
            begun: Begun,
            moments: usize,
        }
        let entry: Entry = Entry::deserialize(entry)
            .map_err(|why| Error::Options(format!("the header entry is no state of a training run: {why}")))?;
        let part = |prefix: &str| -> Params {
            let inside =
                |(name, t): (&str, &onebasin_core::Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
            all.iter().filter_map(inside).filter(|(name, _)| !name.contains('/')).collect()
        };
        let moments = (0..entry.moments.min(2)).map(|k| part(&format!("moment{k}/"))).collect();
        Ok(Self { params: part(""), epoch: entry.epoch, begun: entry.begun, moments })
    }
}

impl From<Params> for TrainState {
    /// Initial weights, nothing done.
    fn from(params: Params) -> Self {
        Self { params, epoch: 0, begun: Begun::default(), moments: Vec::new() }
    }
}

impl Begun {
    /// One step further.
    pub(super) fn after(self, outcome: Outcome, samples: usize) -> Self {
        Self {
            steps: self.steps + 1,
            samples: self.samples + samples,
            answers: self.answers + outcome.count,
            loss: self.loss + outcome.loss,
            correct: self.correct + outcome.correct.unwrap_or(0),
        }
    }

    /// Mean loss and accuracy.
    pub(super) fn means(self) -> (f64, f64) {
        (self.loss / self.answers as f64, self.correct as f64 / self.answers as f64)
    }
}
