//! Mean squared error.

use onebasin_core::graph::Graph;

use super::{Task, clear, first, misfit, no_target};
use crate::error::Result;
use crate::exec::Outcome;
use crate::ops::Real;
use crate::samples::Samples;

/// Real numbers to be predicted: the mean squared error of the first output, which has as many numbers a sample as the
/// target.
///
/// Formula: `Σ_s 1/m Σ_k (y_sk − t_sk)²` with `m` numbers a sample, in f64. Nothing is right or wrong. Other outputs count
/// for nothing: their gradients are zero. The gradient of the first is `2/m (y − t)`.
///
/// Errors of [`Task::check`]: samples without a target, and an output of another number of numbers.
///
/// ```
/// use onebasin_nn::task::{Task, Values};
/// let found = Values.outcome(&[&[1.0_f32, 3.0]], &[0.0, 0.0], 1);
/// assert_eq!((found.loss, found.correct), (5.0, None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values;

impl<T: Real> Task<T> for Values {
    fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()> {
        let (output, answers) = first(graph)?;
        let Some(target) = samples.target() else { return Err(no_target(samples, "values are judged by one")) };
        let needed = || format!("its target of shape {:?} needs an output of as many numbers a sample", target.shape);
        if answers == target.len() { Ok(()) } else { Err(misfit(graph, output, samples, &needed())) }
    }

    fn outcome(&self, outputs: &[&[T]], targets: &[f32], samples: usize) -> Outcome {
        let numbers = (targets.len() / samples.max(1)).max(1);
        let square = |(y, t): (&T, &f32)| (y.wide() - f64::from(*t)).powi(2);
        let sample = |(y, t): (&[T], &[f32])| y.iter().zip(t).map(square).sum::<f64>() / numbers as f64;
        let loss = outputs[0].chunks_exact(numbers).zip(targets.chunks_exact(numbers)).map(sample).sum();
        Outcome { loss, correct: None, count: samples }
    }

    fn gradient(&self, outputs: &[&[T]], targets: &[f32], samples: usize, scale: T, gradients: &mut [&mut [T]]) {
        let [gradient, others @ ..] = gradients else { return };
        clear(others);
        let share = T::of(2.0 * scale.wide() / (targets.len() / samples.max(1)).max(1) as f64);
        for ((d, y), t) in gradient.iter_mut().zip(outputs[0]).zip(targets) {
            *d = share * (*y - T::of(f64::from(*t)));
        }
    }
}
