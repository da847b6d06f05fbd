//! What a network, or an ensemble of some, is worth.

use onebasin_nn::exec::Program;
use onebasin_nn::samples::labels;
use onebasin_nn::{Bin, Network, Samples, Scores, predict_ensemble};
use serde::{Deserialize, Serialize};

use super::net::ready;
use super::{Net, Room};
use crate::error::Result;
use crate::shelf::DataPart;

/// A [`Worth`].
pub const SCORES: &str = "scores.json";

/// Measures a network, or an ensemble of some.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreStage {
    /// What all are.
    pub network: Network,
    /// One network, or more whose probabilities are averaged.
    pub nets: Vec<Net>,
    /// What it is measured on.
    pub data: DataPart,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// On the training data.
    pub train: Scores,
    /// On the test data.
    pub test: Scores,
    /// How often it is right on the test data, by its confidence.
    pub reliability: Vec<Bin>,
}

impl ScoreStage {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let data = room.shelf.open(&self.data)?;
        let program = Program::new(self.network.graph()?)?;
        let made = |net: &Net| {
            let params = net.load(room.store)?;
            // A trained network's statistics are its own.
            Ok(if matches!(net, Net::Trained { .. }) { params } else { ready(&program, params, &data)? })
        };
        let nets = self.nets.iter().map(made).collect::<Result<Vec<_>>>()?;
        let predict =
            |split: &dyn Samples| predict_ensemble(&program, &mut nets.iter().map(|params| Ok(params.clone())), split);
        let train = predict(&data.train)?.scores(&labels(&data.train)?);
        room.at(data.train.len() as f64 / (data.train.len() + data.test.len()) as f64, "")?;
        let test = predict(&data.test)?;
        let labels = labels(&data.test)?;
        let worth = Worth { train, test: test.scores(&labels), reliability: test.reliability(&labels) };
        room.store.write_json(room.key, SCORES, &worth)
    }
}
