//! Loss and accuracy of a network on a data set, and along the line between two networks.

use onebasin::Params;
use onebasin::merge::{Interpolation, merge};
use onebasin::report::{Curve, Split};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::{Data, Dataset};
use crate::error::{Error, Result};
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

/// Evaluates the straight line between two networks at every λ, on both splits.
///
/// Cost: one merge and one pass over both splits per λ. `observe` is called after every λ; when it returns false the
/// curve is given up.
///
/// # Errors
/// If the networks differ in structure, λ does not run from 0 to 1, a loss is not finite, or [`Error::Stopped`].
pub fn curve(
    name: &str,
    program: &Program,
    ends: [&Params; 2],
    lambda: &[f64],
    data: &Data,
    observe: &mut dyn FnMut() -> bool,
) -> Result<Curve> {
    let mut values: [Vec<f64>; 4] = Default::default();
    for &l in lambda {
        let between = merge(ends[0], ends[1], l, Interpolation::Lerp)?;
        let (train, test) = (evaluate(program, &between, &data.train)?, evaluate(program, &between, &data.test)?);
        let found = [train.loss, train.accuracy, test.loss, test.accuracy];
        values.iter_mut().zip(found).for_each(|(v, x)| v.push(x));
        if !observe() {
            return Err(Error::Stopped);
        }
    }
    let [train_loss, train_accuracy, test_loss, test_accuracy] = values;
    Ok(Curve {
        name: name.to_owned(),
        lambda: lambda.to_vec(),
        train: Split::new(lambda, train_loss, train_accuracy)?,
        test: Split::new(lambda, test_loss, test_accuracy)?,
    })
}
