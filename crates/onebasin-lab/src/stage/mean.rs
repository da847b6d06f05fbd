//! The mean of many networks, aligned with each other or as they come.

use onebasin_core::Params;
use onebasin_core::matching::Start;
use onebasin_core::matching::{ManyOptions, UniverseOptions, match_cycle_consistent, merge_many, merge_tree};
use onebasin_core::merge::mean;
use onebasin_core::symmetry::Alignment;
use onebasin_io::{Metadata, write};
use onebasin_nn::Network;
use serde::{Deserialize, Serialize};

use super::net::{MEAN, symmetries};
use super::{Net, Room};
use crate::error::Result;

/// A [`Record`], if they were brought together.
pub const RECORD: &str = "record.json";

/// How many networks are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Together {
    /// Not at all.
    Naive,
    /// Each in turn with the mean of the others, from the identity: the paper's MergeMany (Algorithm 3).
    Rounds,
    /// Pairs, then pairs of pairs.
    Tree,
    /// All at once, so that alignments agree around every cycle.
    Universe,
}

impl Together {
    /// Its name in experiments and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Rounds => "rounds",
            Self::Tree => "tree",
            Self::Universe => "universe",
        }
    }
}

/// The mean of many networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mean {
    /// What all are.
    pub network: Network,
    /// The networks.
    pub nets: Vec<Net>,
    /// How they are brought together.
    pub together: Together,
    /// Decides the order of networks and groups.
    pub seed: u64,
}

/// How they were brought together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Rounds over the networks.
    pub rounds: usize,
    /// Similarity of all pairs before.
    pub start_objective: f64,
    /// And after.
    pub objective: f64,
}

impl Mean {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let nets = self.nets.iter().map(|net| net.load(room.store)).collect::<Result<Vec<Params>>>()?;
        let models: Vec<&Params> = nets.iter().collect();
        let [symmetry, weights] = symmetries(&self.network, models[0])?;
        let options = ManyOptions { seed: self.seed, start: Start::Identity, ..ManyOptions::default() };
        let go_on = |round: usize| (room.tell)(round as f64 / 30.0, &format!("round {round}"));
        let found = match self.together {
            Together::Naive => None,
            Together::Rounds => Some(merge_many(&weights, &models, &options, &mut |r| go_on(r.round))?),
            Together::Tree => Some(merge_tree(&weights, &models, &options, &mut |r| go_on(r.round))?),
            Together::Universe => {
                let options = UniverseOptions { polish: options, ..UniverseOptions::default() };
                let mut told = 0;
                Some(match_cycle_consistent(&weights, &models, &options, &mut |_| {
                    told += 1;
                    go_on(told)
                })?)
            }
        };
        room.at(0.95, "")?;
        let record = found.as_ref().map(|found| Record {
            rounds: found.rounds.len(),
            start_objective: found.start_objective,
            objective: found.objective,
        });
        let alignments = found.map_or_else(|| vec![Alignment::identity(&symmetry); models.len()], |f| f.alignments);
        let merged = mean(&symmetry, &models, &alignments, None)?;
        let mut metadata = Metadata::default();
        metadata.set_json(Network::HEADER, &serde_json::json!(self.network));
        write(&room.store.path(room.key, MEAN), &merged, &metadata)?;
        room.store.write_json(room.key, RECORD, &record)
    }
}
