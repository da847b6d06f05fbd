//! What goes into a batch, and what comes out.

use std::ops::Range;

use onebasin_core::graph::NodeId;

use super::outcome::Outcome;
use crate::error::Result;
use crate::ops::Real;
use crate::ops::batch_norm::Moments;
use crate::task::Task;

/// Writes all inputs of a range of samples of the batch, in the order of the graph's, and their targets; an error ends the
/// batch.
pub type Feed<'a, T> = dyn Fn(Range<usize>, &mut [&mut [T]], &mut [f32]) -> Result<()> + Sync + 'a;

/// Samples to be run together, and how they are judged. [`Feeds::feed`](crate::samples::Feeds::feed) makes a feed of samples.
pub struct Batch<'a, T: Real = f32> {
    /// Number of samples.
    pub samples: usize,
    /// Numbers in the target of a sample.
    pub target: usize,
    /// Writes them.
    pub feed: &'a Feed<'a, T>,
    /// Judges what the network makes of them.
    pub task: &'a dyn Task<T>,
}

/// What a batch gave.
#[derive(Debug, Clone)]
pub struct BatchOutcome {
    /// Loss and right answers.
    pub outcome: Outcome,
    /// Moments of the input of every BatchNorm over the whole batch, in running order.
    pub moments: Vec<(NodeId, Moments)>,
}

impl<T: Real> Batch<'_, T> {
    /// Room for the targets of so many samples.
    pub(super) fn targets(&self, samples: usize) -> Vec<f32> {
        vec![0.0; samples * self.target]
    }

    /// What the summed loss is multiplied by to be the mean over the batch's answers, given what some of its samples gave;
    /// all samples have as many answers.
    pub(super) fn scale(&self, outcome: Outcome, samples: usize) -> T {
        T::one() / T::of((self.samples * outcome.count / samples.max(1)) as f64)
    }
}
