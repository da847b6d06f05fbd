//! Distillation: a merged network trained for a few steps to answer as its ends do together.

use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_core::stream::Stream;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::{BATCH, each_shard, recompute_batch_norm};
use crate::exec::{Batch, Lanes, Outcome, Program};
use crate::optim::{Optimizer, Schedule};
use crate::samples::{Feeds, Samples};
use crate::solve::Ends;
use crate::task::Task;

/// How to distil.
///
/// ```
/// use onebasin_nn::DistilOptions;
/// assert_eq!(DistilOptions { steps: 100, ..DistilOptions::default() }.batch, 100);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistilOptions {
    /// Steps of Adam.
    pub steps: usize,
    /// Samples in a step.
    pub batch: usize,
    /// Learning rate at the start; it falls to zero along a cosine.
    pub rate: f64,
    /// Decides the order of the samples.
    pub seed: u64,
}

impl Default for DistilOptions {
    fn default() -> Self {
        Self { steps: 300, batch: 100, rate: 5e-4, seed: 0 }
    }
}

/// Trains a network to answer as its ends do together, without labels. This is training: what comes out is no midpoint of
/// anything, and should be called distilled.
///
/// Formula: Adam on the mean over answers of `KL(softmax z* ‖ softmax z)`, with `z` the network's first output, over its last
/// axis, and `z* = Σ_e share_e z_e` that of its ends. BatchNorms use the statistics of the batch on the way, and those of
/// all samples, measured anew, at the end.
///
/// `observe` is called with the number of steps done, of all, and the loss; when it returns false the work is given up.
///
/// Cost: a forward pass of every end over `data`, and three of the network for every sample of a step.
///
/// # Errors
/// If a tensor is missing or does not fit, there are no samples or they do not fit, a loss is not finite, or
/// [`Error::Stopped`].
///
/// Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network, at temperature 1; the ends' mean output is
/// that of their ensemble in logits.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{DistilOptions, Ends, Network, distil, profile};
/// let network = Network::new("mlp:16x1", &[8], 3)?;
/// let (graph, a, b) = (network.graph()?, network.init(0)?, network.init(1)?);
/// let data = synthetic(&graph, 400, 0)?;
/// let (program, ends) = (Program::new(graph)?, Ends::pair([&a, &b], 0.5));
/// let options = DistilOptions { rate: 1e-2, ..DistilOptions::default() };
/// let found = distil(&program, &ends, &a, &data, &options, &mut |_, _, _| true)?;
/// let answers = |net| Ok::<_, onebasin_nn::Error>(profile(&program, &ends, net, &data)?.answered());
/// assert!(answers(&found)? > answers(&a)?);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn distil(
    program: &Program,
    ends: &Ends<'_>,
    start: &Params,
    data: &dyn Samples,
    options: &DistilOptions,
    observe: &mut dyn FnMut(usize, usize, f64) -> bool,
) -> Result<Params> {
    ends.check()?;
    if data.is_empty() || options.batch == 0 || options.rate.is_nan() || options.rate <= 0.0 {
        let why = "distilling needs samples, a batch of at least one, and a rate above zero";
        return Err(Error::Options(why.to_owned()));
    }
    let graph = program.graph();
    let feeds = Feeds::new(graph, data)?;
    let output = graph.outputs().first().map_or(&[][..], |v| graph.shape(*v));
    let (answers, classes) = (output.iter().skip(1).product::<usize>(), output.last().copied().unwrap_or(1));
    let wanted = mixed_outputs(program, ends, data, answers)?;
    let mut flat = program.flatten(start)?;
    let mut moments = vec![vec![0.0; flat.weights.len()]; Optimizer::Adam.moments()];
    let batch = options.batch.min(data.len());
    let mut lanes = Lanes::new(program, batch, true)?;
    let mut order = Vec::new();
    for step in 0..options.steps {
        if order.len() < batch {
            order = Stream::new(options.seed, &format!("distil/{step}")).permutation(data.len()).as_slice().to_vec();
        }
        let chosen = order.split_off(order.len() - batch);
        let feed = |shard: Range<usize>, inputs: &mut [&mut [f32]], targets: &mut [f32]| {
            let lens: Vec<usize> = inputs.iter().map(|input| input.len() / shard.len().max(1)).collect();
            for (at, sample) in chosen[shard.clone()].iter().map(|s| *s as usize).enumerate() {
                let mut one: Vec<&mut [f32]> =
                    inputs.iter_mut().zip(&lens).map(|(input, len)| &mut input[at * len..][..*len]).collect();
                feeds.fill(data, sample..sample + 1, &mut one)?;
                targets[at * answers..][..answers].copy_from_slice(&wanted[sample * answers..][..answers]);
            }
            Ok(())
        };
        let task = SoftAnswers { classes };
        let found = lanes.run(program, &flat, &Batch { samples: batch, target: answers, feed: &feed, task: &task })?;
        let loss = found.outcome.loss / found.outcome.count.max(1) as f64;
        let number = step as u64 + 1;
        if !loss.is_finite() {
            return Err(Error::Diverged { epoch: 1, step: number, loss });
        }
        let total = options.steps as u64;
        let rate = Schedule::Cosine { warmup_epochs: 0.0 }.rate(options.rate, step as u64, total, total);
        Optimizer::Adam.step(&mut flat.weights, &lanes.d_weights(batch), &mut moments, rate, number);
        if !observe(step + 1, options.steps, loss) {
            return Err(Error::Stopped);
        }
    }
    let found = program.unflatten(&flat)?;
    let mut params = start.clone();
    for (name, tensor) in found.iter() {
        let like = start.require(name)?;
        params.insert(name, onebasin_core::Tensor::from_f64_as(like.dtype(), like.shape(), &tensor.to_f64()?)?);
    }
    recompute_batch_norm(program, &params, data, BATCH)
}

/// The ends' first outputs, mixed: `[samples, answers]`.
fn mixed_outputs(program: &Program, ends: &Ends<'_>, data: &dyn Samples, answers: usize) -> Result<Vec<f32>> {
    let mut mixed = vec![0.0_f32; data.len() * answers];
    for (params, share) in ends.networks.iter().zip(&ends.shares) {
        let shards = each_shard(program, params, data, |space, _| Ok(space.output().to_vec()))?;
        mixed.iter_mut().zip(shards.iter().flatten()).for_each(|(m, y)| *m += *share as f32 * y);
    }
    Ok(mixed)
}

/// Answers judged by other answers: both are logits, over the last axis of the first output.
struct SoftAnswers {
    classes: usize,
}

impl SoftAnswers {
    /// Probabilities and their logarithms.
    fn softmax(logits: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let largest = logits.iter().fold(f64::NEG_INFINITY, |m, z| m.max(f64::from(*z)));
        let sum: f64 = logits.iter().map(|z| (f64::from(*z) - largest).exp()).sum();
        let logs: Vec<f64> = logits.iter().map(|z| f64::from(*z) - largest - sum.ln()).collect();
        (logs.iter().map(|l| l.exp()).collect(), logs)
    }
}

impl Task for SoftAnswers {
    fn check(&self, _graph: &Graph, _samples: &dyn Samples) -> Result<()> {
        Ok(())
    }

    fn outcome(&self, outputs: &[&[f32]], targets: &[f32], _samples: usize) -> Outcome {
        let answers = outputs[0].chunks_exact(self.classes).zip(targets.chunks_exact(self.classes));
        let loss = |(given, wanted): (&[f32], &[f32])| -> f64 {
            let ((_, given), (shares, wanted)) = (Self::softmax(given), Self::softmax(wanted));
            shares.iter().zip(wanted).zip(given).map(|((p, w), g)| p * (w - g)).sum()
        };
        let count = targets.len() / self.classes.max(1);
        Outcome { loss: answers.map(loss).sum(), correct: None, count }
    }

    fn gradient(&self, outputs: &[&[f32]], targets: &[f32], _samples: usize, scale: f32, gradients: &mut [&mut [f32]]) {
        let [gradient, others @ ..] = gradients else { return };
        for other in others {
            other.fill(0.0);
        }
        let answers = outputs[0].chunks_exact(self.classes).zip(targets.chunks_exact(self.classes));
        for (gradient, (given, wanted)) in gradient.chunks_exact_mut(self.classes).zip(answers) {
            let ((given, _), (wanted, _)) = (Self::softmax(given), Self::softmax(wanted));
            for ((d, g), w) in gradient.iter_mut().zip(given).zip(wanted) {
                *d = scale * (g - w) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_the_loss() {
        let (task, wanted) = (SoftAnswers { classes: 3 }, [0.5_f32, -1.0, 2.0, 0.0, 0.0, 1.0]);
        let given = [1.0_f32, 0.5, -0.5, 2.0, -2.0, 0.3];
        let mut found = [0.0_f32; 6];
        task.gradient(&[&given], &wanted, 2, 1.0, &mut [&mut found]);
        for at in 0..6 {
            let loss = |step: f32| {
                let mut moved = given;
                moved[at] += step;
                task.outcome(&[&moved], &wanted, 2).loss
            };
            let slope = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert!((slope - f64::from(found[at])).abs() < 1e-4, "{slope} {}", found[at]);
        }
        assert!(task.outcome(&[&wanted], &wanted, 2).loss.abs() < 1e-12);
    }
}
