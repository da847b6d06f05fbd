//! Loss and accuracy of a network on a data set.

use onebasin::Params;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::Result;
use crate::exec::{Outcome, Program, Workspace};

/// Means over a data set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples classified right, in [0, 1].
    pub accuracy: f64,
}

/// Samples one task runs; fixed, so that results do not depend on the number of threads.
const SHARD: usize = 500;

/// Evaluates a network.
///
/// Cost: one forward pass over the data, in shards side by side on threads; sums are f64 in a fixed order.
///
/// # Errors
/// If a tensor of the network is missing.
pub fn evaluate(program: &Program, params: &Params, data: &Dataset) -> Result<Metrics> {
    let weights = program.flatten(params)?;
    let starts: Vec<usize> = (0..data.len()).step_by(SHARD).collect();
    let space = || Workspace::inference(program, SHARD);
    let shard = |space: &mut Workspace, &start: &usize| {
        let batch = SHARD.min(data.len() - start);
        data.fill(start..start + batch, space.input(batch * data.input_len()));
        program.forward(&weights, batch, space);
        program.outcome(&data.labels()[start..start + batch], space)
    };
    let outcomes: Vec<Outcome> = starts.par_iter().map_init(space, shard).collect();
    let total = outcomes.into_iter().fold(Outcome::default(), |a, b| a + b);
    let count = data.len() as f64;
    Ok(Metrics { loss: total.loss / count, accuracy: total.correct as f64 / count })
}
