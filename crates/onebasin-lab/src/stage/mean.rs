//! The mean of many networks, aligned with each other or as they come.

use onebasin::{Context, Many, MergeMany, Model, Start, Together};
use onebasin_io::{Metadata, write};
use onebasin_nn::Network;
use serde::{Deserialize, Serialize};

use super::net::MEAN;
use super::{Net, Room, StageObserver};
use crate::error::Result;

/// A [`MeanRecord`], if they were brought together.
pub const RECORD: &str = "record.json";

/// The mean of many networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeanStage {
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
pub struct MeanRecord {
    /// Rounds over the networks.
    pub rounds: usize,
    /// Similarity of all pairs before.
    pub start_objective: f64,
    /// And after.
    pub objective: f64,
}

impl MeanStage {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let load = |net: &Net| net.model(&self.network, room.store);
        let models = self.nets.iter().map(load).collect::<Result<Vec<Model>>>()?;
        let options = MergeMany {
            method: self.together,
            seed: self.seed,
            start: Start::Identity,
            check: false,
            ..MergeMany::default()
        };
        let told = StageObserver::new(room);
        let mean = options.run(&Many::new(models)?, &Context { observer: &told, ..Context::default() })?;
        room.at(0.95, "")?;
        let record = mean.found.as_ref().map(|found| MeanRecord {
            rounds: found.rounds.len(),
            start_objective: found.start_objective,
            objective: found.objective,
        });
        let mut metadata = Metadata::default();
        metadata.set_json(Network::HEADER, &serde_json::json!(self.network));
        write(&room.store.path(room.key, MEAN), &mean.params, &metadata)?;
        room.store.write_json(room.key, RECORD, &record)
    }
}
