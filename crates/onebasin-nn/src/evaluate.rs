//! Loss and accuracy of a network on a data set, and along the line between two networks.

use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::graph::ValueId;
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::report::{Curve, Split};
use onebasin_core::stream::Stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::{Data, Dataset};
use crate::error::{Error, Result};
use crate::exec::{Lanes, Outcome, Program, Workspace, cross_entropy};
use crate::runner::Runner;

/// Means over a data set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples classified right, in [0, 1].
    pub accuracy: f64,
}

/// Samples one task runs at most; cut by sizes alone, so that results do not depend on the number of threads.
const SHARD: usize = 500;

impl Metrics {
    fn of(total: Outcome, samples: usize) -> Self {
        let count = samples as f64;
        Self { loss: total.loss / count, accuracy: total.correct as f64 / count }
    }
}

/// Samples in a batch of which BatchNorm statistics are taken.
pub const BATCH: usize = 500;

/// Evaluates a network. BatchNorms use their running statistics.
///
/// Cost: one forward pass over the data, in shards side by side on threads; sums are f64 in a fixed order.
///
/// # Errors
/// If a tensor of the network is missing, or its first input or output does not fit the data.
pub fn evaluate(program: &Program, params: &Params, data: &Dataset) -> Result<Metrics> {
    let outcomes = each_shard(program, params, data, |space, labels| program.outcome(labels, space))?;
    Ok(Metrics::of(outcomes.into_iter().sum(), data.len()))
}

/// The same on a device, batch after batch, if one is given.
///
/// # Errors
/// As [`evaluate`], and those of the device.
pub fn evaluate_on(device: Option<&dyn Runner>, program: &Program, params: &Params, data: &Dataset) -> Result<Metrics> {
    let Some(device) = device else { return evaluate(program, params, data) };
    check_fits(program, data)?;
    let network = device.bring(program.graph(), params)?;
    let (mut total, mut input) = (Outcome::default(), Vec::new());
    for start in (0..data.len()).step_by(SHARD) {
        let samples = start..data.len().min(start + SHARD);
        input.resize(samples.len() * data.input_len(), 0.0);
        let fill = |(s, out): (usize, &mut [f32])| data.fill(start + s..start + s + 1, out);
        let filled: Vec<Result<()>> = input.par_chunks_mut(data.input_len()).enumerate().map(fill).collect();
        filled.into_iter().collect::<Result<()>>()?;
        total = total + cross_entropy(&network.forward(samples.len(), &input)?, &data.labels()[samples]);
    }
    Ok(Metrics::of(total, data.len()))
}

/// Runs the network on all samples, in shards side by side on threads, and gives what `look` makes of each shard's outputs
/// and labels, in order.
pub(crate) fn each_shard<T: Send>(
    program: &Program,
    params: &Params,
    data: &Dataset,
    look: impl Fn(&Workspace, &[u16]) -> T + Sync,
) -> Result<Vec<T>> {
    check_fits(program, data)?;
    let flat = program.flatten(params)?;
    let size = program.shard(SHARD);
    let starts: Vec<usize> = (0..data.len()).step_by(size).collect();
    let shard = |space: &mut Option<Workspace>, &start: &usize| {
        let batch = size.min(data.len() - start);
        let space = match space {
            Some(space) => space,
            None => space.insert(Workspace::inference(program, batch)?),
        };
        space.resize(program, batch)?;
        data.fill(start..start + batch, space.input(0))?;
        program.forward(&flat, space);
        Ok(look(space, &data.labels()[start..start + batch]))
    };
    let found: Vec<Result<T>> = starts.par_iter().map_init(|| None, shard).collect();
    found.into_iter().collect()
}

/// Passes only if the first input takes the images and the first output is one number per class.
fn check_fits(program: &Program, data: &Dataset) -> Result<()> {
    let graph = program.graph();
    let per_sample = |v: ValueId| graph.shape(v).iter().skip(1).product::<usize>();
    let (input, output) = (graph.inputs().next().map(per_sample), graph.outputs().first().map(|v| per_sample(*v)));
    if input == Some(data.input_len()) && output == Some(data.classes()) {
        return Ok(());
    }
    let why = format!(
        "its images have {} numbers and {} classes, the network takes {} and answers {}",
        data.input_len(),
        data.classes(),
        input.unwrap_or(0),
        output.unwrap_or(0)
    );
    Err(Error::Data { spec: format!("{:?} images", data.shape()), why })
}

/// Recomputes BatchNorm's running statistics, as merged networks need.
///
/// The data are run through in training mode, in batches of `batch` samples in an order that is always the same, and the
/// statistics are set to the plain averages of the batches' (PyTorch's `momentum=None` after a reset):
/// `mean = 1/K Σ_k mean_k`, `variance = 1/K Σ_k variance_k`, the latter with divisor `n − 1`. Samples beyond the last whole
/// batch are left out. Networks without BatchNorm come back as they are.
///
/// Cost: one forward pass over the data.
///
/// # Errors
/// If a tensor of the network is missing, or its first input or output does not fit the data.
pub fn recompute_batch_norm(program: &Program, params: &Params, data: &Dataset, batch: usize) -> Result<Params> {
    check_fits(program, data)?;
    let batch = batch.min(data.len());
    if batch == 0 {
        return Err(Error::Options("statistics need at least one sample and a batch of at least one".to_owned()));
    }
    let mut flat = program.flatten(params)?;
    if flat.statistics.is_empty() {
        return Ok(params.clone());
    }
    let mut lanes = Lanes::new(program, batch, false)?;
    let order = Stream::new(0, "batch-norm").permutation(data.len());
    for (k, samples) in order.as_slice().chunks_exact(batch).enumerate() {
        let feed =
            |shard: Range<usize>, input: &mut [f32], labels: &mut [u16]| data.gather(&samples[shard], input, labels);
        let found = lanes.run(program, &flat, batch, &feed)?;
        program.update_statistics(&mut flat.statistics, &found.moments, 1.0 / (k + 1) as f64);
    }
    program.unflatten(&flat)
}

/// Evaluates the straight line between two networks at every λ, on both splits; on a device, if one is given.
///
/// `finish` makes the network at λ what it is to be measured as: BatchNorm statistics recomputed, as the paper does at the
/// ends too, activations repaired, or left as it is.
///
/// Cost: one merge, what `finish` costs, and one pass over both splits per λ. `observe` is called after every λ; when it
/// returns false the curve is given up.
///
/// # Errors
/// If the networks differ in structure, λ does not run from 0 to 1, a loss is not finite, or [`Error::Stopped`].
#[allow(clippy::too_many_arguments, reason = "what is measured, on what, where, and how it is told")]
pub fn curve(
    name: &str,
    program: &Program,
    ends: [&Params; 2],
    lambda: &[f64],
    data: &Data,
    device: Option<&dyn Runner>,
    finish: &dyn Fn(f64, Params) -> Result<Params>,
    observe: &mut dyn FnMut() -> bool,
) -> Result<Curve> {
    let mut values: [Vec<f64>; 4] = Default::default();
    for &l in lambda {
        let between = finish(l, merge(ends[0], ends[1], l, Interpolation::Lerp)?)?;
        let (train, test) =
            (evaluate_on(device, program, &between, &data.train)?, evaluate_on(device, program, &between, &data.test)?);
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
