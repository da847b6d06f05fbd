//! Loss and accuracy of a network on samples, and along the line between two networks.

use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::report::{Curve, Split};
use onebasin_core::stream::Stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exec::{Batch, Lanes, Outcome, Program, Workspace};
use crate::runner::Runner;
use crate::samples::{Chosen, Feeds, Samples};
use crate::task::{Task, Unjudged};

/// Means over all answers to samples.
///
/// Formula: with `n` answers, `loss = 1/n Σ loss` and `accuracy = 1/n Σ [right]`; answers are samples, or for
/// [`Tokens`](crate::task::Tokens) their positions.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::Params;
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::task::Classes;
/// use onebasin_nn::{Arrays, Field, FieldKind, evaluate};
/// // A network that answers what it is given.
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[1, 2])?;
/// graph.output(x);
/// let x = Field { name: "x".to_owned(), shape: vec![2], kind: FieldKind::Real };
/// let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 2 } };
/// let data = Arrays::new("two", vec![(x, vec![3.0, 0.0, 3.0, 0.0])], Some((class, vec![0.0, 1.0])))?;
/// let found = evaluate(&Program::new(graph)?, &Params::new(), &data, &Classes)?;
/// assert_eq!(found.accuracy, Some(0.5));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss, as the task has it.
    pub loss: f64,
    /// Share of answers that are right, in [0, 1]; none where nothing is right or wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
}

/// Samples that run together at most; cut by sizes alone, so that results do not depend on the number of threads.
const SHARD: usize = 500;

impl Metrics {
    /// Means of what all samples add up to.
    fn of(total: Outcome) -> Self {
        let count = total.count as f64;
        Self { loss: total.loss / count, accuracy: total.correct.map(|correct| correct as f64 / count) }
    }
}

/// Samples in a batch of which BatchNorm statistics are taken.
pub const BATCH: usize = 500;

/// Evaluates a network. BatchNorms use their running statistics.
///
/// Formula: the means of [`Metrics`], of what [`Task::outcome`] finds.
///
/// Cost: one forward pass over the data, in shards side by side on threads; sums are f64 in a fixed order.
///
/// # Errors
/// If a tensor of the network is missing, its inputs or outputs do not fit samples and task, or samples cannot be read.
///
/// ```
/// # use onebasin_nn::{Arrays, Field, FieldKind};
/// # let image = Field { name: "image".to_owned(), shape: vec![4, 4], kind: FieldKind::Real };
/// # let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 3 } };
/// # let images = (0..160).map(|k| (k % 7) as f32 / 7.0).collect();
/// # let labels = (0..10).map(|k| (k % 3) as f32).collect();
/// # let data = Arrays::new("ten", vec![(image, images)], Some((class, labels)))?;
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::task::usual;
/// use onebasin_nn::{Network, evaluate};
/// let network = Network::new("mlp:8x1", &[4, 4], 3)?;
/// let found = evaluate(&Program::new(network.graph()?)?, &network.init(0)?, &data, usual(&data))?;
/// assert!(found.loss > 0.0 && found.accuracy.is_some());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn evaluate(program: &Program, params: &Params, data: &dyn Samples, task: &dyn Task) -> Result<Metrics> {
    task.check(program.graph(), data)?;
    let outcomes = each_shard(program, params, data, |space, samples| {
        let count = samples.len();
        Ok(task.outcome(&space.outputs(), &targets(data, samples)?, count))
    })?;
    Ok(Metrics::of(outcomes.into_iter().sum()))
}

/// The same on a device, batch after batch, if one is given. Results differ from the processor's by rounding.
///
/// Cost: the network goes over once, samples 500 at a time, and their outputs come back.
///
/// # Errors
/// As [`evaluate`], and those of the device.
pub fn evaluate_on(
    device: Option<&dyn Runner>,
    program: &Program,
    params: &Params,
    data: &dyn Samples,
    task: &dyn Task,
) -> Result<Metrics> {
    let Some(device) = device else { return evaluate(program, params, data, task) };
    task.check(program.graph(), data)?;
    let feeds = Feeds::new(program.graph(), data)?;
    let network = device.bring(program.graph(), params)?;
    let (mut total, mut inputs) = (Outcome::default(), vec![Vec::new(); feeds.fields().len()]);
    for start in (0..data.len()).step_by(SHARD) {
        let samples = start..data.len().min(start + SHARD);
        for (input, (field, len)) in inputs.iter_mut().zip(feeds.fields()) {
            input.resize(samples.len() * len, 0.0);
            let fill = |(s, out): (usize, &mut [f32])| data.fill(field, start + s..start + s + 1, out);
            let filled: Vec<Result<()>> = input.par_chunks_mut(len).enumerate().map(fill).collect();
            filled.into_iter().collect::<Result<()>>()?;
        }
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let outputs = network.forward(samples.len(), &inputs)?;
        let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        total = total + task.outcome(&outputs, &targets(data, samples.clone())?, samples.len());
    }
    Ok(Metrics::of(total))
}

/// The targets of a run of samples; nothing where there are none.
fn targets(data: &dyn Samples, samples: Range<usize>) -> Result<Vec<f32>> {
    let Some(target) = data.target() else { return Ok(Vec::new()) };
    let mut targets = vec![0.0; samples.len() * target.len()];
    data.fill_target(samples, &mut targets)?;
    Ok(targets)
}

/// Runs the network on all samples, in shards side by side on threads, and gives what `look` makes of each shard's outputs,
/// in order.
pub(crate) fn each_shard<R: Send>(
    program: &Program,
    params: &Params,
    data: &dyn Samples,
    look: impl Fn(&Workspace, Range<usize>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let feeds = Feeds::new(program.graph(), data)?;
    let flat = program.flatten(params)?;
    let size = program.shard(SHARD);
    let starts: Vec<usize> = (0..data.len()).step_by(size).collect();
    program.ensure_threads(size.min(data.len()), starts.len())?;
    let shard = |space: &mut Option<Workspace>, &start: &usize| {
        let batch = size.min(data.len() - start);
        let space = match space {
            Some(space) => space,
            None => space.insert(Workspace::inference(program, batch)?),
        };
        space.resize(program, batch)?;
        feeds.fill(data, start..start + batch, &mut space.inputs())?;
        program.forward(&flat, space);
        look(space, start..start + batch)
    };
    let found: Vec<Result<R>> = starts.par_iter().map_init(|| None, shard).collect();
    found.into_iter().collect()
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
/// If a tensor of the network is missing, its inputs do not fit the samples, or there are none.
///
/// Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", for averages.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, recompute_batch_norm};
/// let network = Network::new("resnet20-bn:0.25", &[3, 32, 32], 10)?;
/// let (graph, params) = (network.graph()?, network.init(0)?);
/// let images = synthetic(&graph, 8, 0)?;
/// let found = recompute_batch_norm(&Program::new(graph)?, &params, &images, 4)?;
/// assert_ne!(found.get("norm1.running_mean"), params.get("norm1.running_mean"));
/// assert_eq!(found.get("conv1.weight"), params.get("conv1.weight"));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn recompute_batch_norm(program: &Program, params: &Params, data: &dyn Samples, batch: usize) -> Result<Params> {
    let feeds = Feeds::new(program.graph(), data)?;
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
    let order = Chosen::new(data, order.as_slice().to_vec())?;
    for k in 0..order.len() / batch {
        let feed = feeds.feed(&order, k * batch);
        let found = lanes.run(program, &flat, &Batch { samples: batch, target: 0, feed: &feed, task: &Unjudged })?;
        program.update_statistics(&mut flat.statistics, &found.moments, 1.0 / (k + 1) as f64);
    }
    program.unflatten(&flat)
}

/// Evaluates the straight line between two networks at every λ, on training and on test samples; on
/// a device, if one is given.
///
/// `finish` makes the network at λ what it is to be measured as: BatchNorm statistics recomputed, as the paper does at the
/// ends too, activations repaired, or left as it is.
///
/// Cost: one merge, what `finish` costs, and one pass over both splits per λ. `observe` is called after every λ; when it
/// returns false the curve is given up.
///
/// # Errors
/// If the networks differ in structure, λ does not run from 0 to 1, a loss is not finite, or [`Error::Stopped`].
///
/// ```
/// # use onebasin_nn::{Arrays, Field, FieldKind};
/// # let x = Field { name: "x".to_owned(), shape: vec![4], kind: FieldKind::Real };
/// # let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 3 } };
/// # let numbers = (0..40).map(|k| (k % 7) as f32 / 7.0).collect();
/// # let labels = (0..10).map(|k| (k % 3) as f32).collect();
/// # let data = Arrays::new("ten", vec![(x, numbers)], Some((class, labels)))?;
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::task::Classes;
/// use onebasin_nn::{Network, curve};
/// let network = Network::new("mlp:8x1", &[4], 3)?;
/// let (program, a, b) = (Program::new(network.graph()?)?, network.init(0)?, network.init(1)?);
/// let as_it_is = |_lambda: f64, between| Ok(between);
/// let splits: [&dyn onebasin_nn::Samples; 2] = [&data, &data];
/// let found =
///     curve("naive", &program, [&a, &b], &[0.0, 0.5, 1.0], splits, &Classes, None, &as_it_is, &mut || true)?;
/// assert_eq!(found.test.loss.len(), 3);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[allow(clippy::too_many_arguments, reason = "what is measured, on what, where, and how it is told")]
pub fn curve(
    name: &str,
    program: &Program,
    ends: [&Params; 2],
    lambda: &[f64],
    splits: [&dyn Samples; 2],
    task: &dyn Task,
    device: Option<&dyn Runner>,
    finish: &dyn Fn(f64, Params) -> Result<Params>,
    observe: &mut dyn FnMut() -> bool,
) -> Result<Curve> {
    let mut values: [[Vec<f64>; 2]; 2] = Default::default();
    for &l in lambda {
        let between = finish(l, merge(ends[0], ends[1], l, Interpolation::Lerp)?)?;
        for (data, [loss, accuracy]) in splits.into_iter().zip(&mut values) {
            let found = evaluate_on(device, program, &between, data, task)?;
            loss.push(found.loss);
            accuracy.extend(found.accuracy);
        }
        if !observe() {
            return Err(Error::Stopped);
        }
    }
    let [train, test] = values.map(|[loss, accuracy]| Split::new(lambda, loss, accuracy));
    Ok(Curve { name: name.to_owned(), lambda: lambda.to_vec(), train: train?, test: test? })
}
