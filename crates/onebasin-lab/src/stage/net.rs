//! Networks as stages name them: trained, moved by an alignment, between two others, or the mean of many.

use onebasin::Model;
use onebasin_core::Params;
use onebasin_core::merge::{Interpolation, merge};
use onebasin_io::{read, read_alignment};
use onebasin_nn::exec::Program;
use onebasin_nn::{Chosen, Network, recompute_batch_norm};
use serde::Serialize;

use super::training;
use crate::data::Data;
use crate::error::Result;
use crate::store::{Key, Store};

/// The file of an alignment.
pub(super) const ALIGNMENT: &str = "alignment.safetensors";
/// The file of a mean.
pub(super) const MEAN: &str = "mean.safetensors";

/// A network that stages make.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Net {
    /// A training run after some epochs.
    Trained {
        /// The run.
        stage: Key,
        /// Epochs done.
        epoch: usize,
    },
    /// Another one, its units renumbered.
    Moved {
        /// Which one.
        of: Box<Net>,
        /// The alignment.
        by: Key,
    },
    /// On the line between two others.
    Between {
        /// At λ = 0.
        a: Box<Net>,
        /// At λ = 1.
        b: Box<Net>,
        /// Where.
        lambda: f64,
    },
    /// The mean of many.
    Mean(Key),
}

/// Samples from which the statistics of BatchNorms are made, as in the paper.
const STATISTICS: usize = 100_000;

impl Net {
    /// The same moved by an alignment.
    #[must_use]
    pub fn moved(self, by: &Key) -> Self {
        Self::Moved { of: Box::new(self), by: by.clone() }
    }

    /// What lies between this one and another.
    #[must_use]
    pub fn between(&self, b: &Self, lambda: f64) -> Self {
        Self::Between { a: Box::new(self.clone()), b: Box::new(b.clone()), lambda }
    }

    /// Itself, as the library takes it.
    ///
    /// # Errors
    /// As [`Self::load`], and if its tensors are not those of the network.
    pub fn model(&self, network: &Network, store: &Store) -> Result<Model> {
        Ok(Model::of(network, self.load(store)?)?)
    }

    /// Its tensors.
    ///
    /// # Errors
    /// If a file is not there, or damaged.
    pub fn load(&self, store: &Store) -> Result<Params> {
        match self {
            Self::Trained { stage, epoch } => store.read_params(stage, &training::weights(*epoch)),
            Self::Moved { of, by } => {
                let params = of.load(store)?;
                let (symmetry, alignment) = read_alignment(&read(&store.path(by, ALIGNMENT))?, &params)?;
                Ok(alignment.apply(&symmetry, &params)?)
            }
            Self::Between { a, b, lambda } => {
                Ok(merge(&a.load(store)?, &b.load(store)?, *lambda, Interpolation::Lerp)?)
            }
            Self::Mean(stage) => store.read_params(stage, MEAN),
        }
    }
}

/// A network made ready to be measured: the statistics of its BatchNorms recomputed, if it has any.
pub(super) fn ready(program: &Program, params: Params, data: &Data) -> onebasin_nn::Result<Params> {
    if program.statistic_count() == 0 {
        return Ok(params);
    }
    recompute_batch_norm(program, &params, &Chosen::first(&data.train, STATISTICS), onebasin_nn::evaluate::BATCH)
}
