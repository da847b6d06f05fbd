//! How long weight matching takes.

use std::time::Instant;

use onebasin::{Align, Context, Model, Pair};
use onebasin_nn::Network;
use serde::{Deserialize, Serialize};

use super::{Room, StageObserver};
use crate::error::Result;

/// A [`Seconds`].
pub const SECONDS: &str = "seconds.json";

/// Algorithm 1 on two networks drawn at random, whose matches are the longest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimingStage {
    /// The network.
    pub network: Network,
    /// Seeds of the two.
    pub seeds: [u64; 2],
    /// How often it is repeated.
    pub runs: usize,
}

/// Wall time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Of every run.
    pub runs: Vec<f64>,
    /// Sweeps of each.
    pub sweeps: usize,
    /// Parameters of one network.
    pub parameters: usize,
}

impl TimingStage {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let init = |seed: u64| Model::of(&self.network, self.network.init(seed)?);
        let pair = Pair::new(init(self.seeds[0])?, init(self.seeds[1])?)?;
        let told = StageObserver::new(room);
        let context = Context { observer: &told, ..Context::default() };
        let options = Align { diagnose: false, ..Align::published(0) };
        let (mut runs, mut sweeps) = (Vec::new(), 0);
        for run in 0..self.runs {
            let begun = Instant::now();
            let found = pair.align(&options, &context)?;
            runs.push(begun.elapsed().as_secs_f64());
            sweeps = found.record.map_or(0, |record| record.sweeps.len());
            room.at((run + 1) as f64 / self.runs as f64, "")?;
        }
        room.store.write_json(room.key, SECONDS, &Seconds { runs, sweeps, parameters: pair.a().weight_count() })
    }
}
