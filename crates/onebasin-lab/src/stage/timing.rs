//! How long weight matching takes.

use std::time::Instant;

use onebasin_core::matching::{MatchOptions, Weights, ascend};
use onebasin_core::symmetry::Alignment;
use onebasin_nn::Network;
use serde::{Deserialize, Serialize};

use super::Room;
use super::net::symmetries;
use crate::error::Result;

/// A [`Seconds`].
pub const SECONDS: &str = "seconds.json";

/// Algorithm 1 on two networks drawn at random, whose matches are the longest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
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

impl Timing {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let [a, b] = [self.network.init(self.seeds[0])?, self.network.init(self.seeds[1])?];
        let graph = self.network.graph()?;
        let [_, weights] = symmetries(&self.network, &a)?;
        let (mut runs, mut sweeps) = (Vec::new(), 0);
        for run in 0..self.runs {
            let begun = Instant::now();
            let source = Weights::new(&weights, &a, &b)?.in_order(graph.params().map(|p| p.name.as_str()));
            let identity = Alignment::identity(&weights);
            let found = ascend(&source, &identity, &MatchOptions::default(), &mut |_| (room.tell)(0.0, ""))?;
            runs.push(begun.elapsed().as_secs_f64());
            sweeps = found.sweeps.len();
            room.at((run + 1) as f64 / self.runs as f64, "")?;
        }
        room.store.write_json(room.key, SECONDS, &Seconds { runs, sweeps, parameters: a.element_count() })
    }
}
