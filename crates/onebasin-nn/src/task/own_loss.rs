//! Networks that compute their loss themselves.

use onebasin_core::graph::Graph;

use super::{Task, clear, first, misfit};
use crate::error::Result;
use crate::exec::Outcome;
use crate::ops::Real;
use crate::samples::Samples;

/// The network's first output is its loss: one number a sample, or one for the whole batch, which is then taken as the mean
/// of its samples.
///
/// What the loss is computed from are inputs like any other; a target is not looked at. A loss for the whole batch has to
/// be a mean over samples for results not to depend on how batches are cut. Nothing is right or wrong. Other outputs count
/// for nothing: their gradients are zero. The gradient of the first is 1, or the number of samples where it is their mean.
///
/// Errors of [`Task::check`]: a first output of any other number of numbers.
///
/// ```
/// use onebasin_nn::task::{OwnLoss, Task};
/// let of_batch = OwnLoss.outcome(&[&[0.25_f32]], &[], 4);
/// let of_each = OwnLoss.outcome(&[&[0.5_f32, 0.0, 0.25, 0.25]], &[], 4);
/// assert_eq!((of_batch.loss, of_each.loss), (1.0, 1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnLoss;

impl<T: Real> Task<T> for OwnLoss {
    fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()> {
        let (output, _) = first(graph)?;
        // With one sample both forms are the same; with two they are not.
        let two = graph.with_batch(2);
        let graph = two.as_ref().unwrap_or(graph);
        let batch = graph.inputs().next().and_then(|v| graph.shape(v).first().copied()).unwrap_or(1);
        let numbers = graph.shape(output).iter().product::<usize>();
        let needed = "without a target to judge by, the network's first output has to be its loss, one number a sample or \
                      one for the batch";
        if [1, batch].contains(&numbers) { Ok(()) } else { Err(misfit(graph, output, samples, needed)) }
    }

    fn outcome(&self, outputs: &[&[T]], _targets: &[f32], samples: usize) -> Outcome {
        let loss = match outputs[0] {
            [mean] => mean.wide() * samples as f64,
            each => each.iter().map(|v| v.wide()).sum(),
        };
        Outcome { loss, correct: None, count: samples }
    }

    fn gradient(&self, outputs: &[&[T]], _targets: &[f32], samples: usize, scale: T, gradients: &mut [&mut [T]]) {
        let [gradient, others @ ..] = gradients else { return };
        clear(others);
        gradient.fill(if outputs[0].len() == 1 { scale * T::of(samples as f64) } else { scale });
    }
}
