//! A batch whose BatchNorms see all of it: every shard runs from BatchNorm to BatchNorm, and there they wait for each other.

use std::ops::Range;

use onebasin_core::graph::NodeId;
use rayon::prelude::*;

use super::batch::{self, BatchOutcome};
use super::outcome::Outcome;
use super::plan::BatchPlan;
use super::{Flat, Program, Workspace};
use crate::error::Result;
use crate::ops::Real;
use crate::ops::batch_norm::{Moments, Statistics, Sums};

/// A lane at work: a workspace and targets for every shard.
pub(super) struct LaneJob<'a, T: Real> {
    pub spaces: &'a mut [Workspace<T>],
    pub d_weights: &'a mut [T],
    pub shards: &'a [Range<usize>],
    pub targets: Vec<Vec<f32>>,
}

/// What all shards share.
struct SynchronisedBatch<'a, T: Real> {
    program: &'a Program<T>,
    flat: &'a Flat<T>,
    samples: &'a batch::Batch<'a, T>,
    statistics: Vec<Statistics<T>>,
    /// Steps that are BatchNorms.
    norms: Vec<usize>,
    /// Number of steps.
    end: usize,
}

/// Runs the batch forward, and backward if gradients are asked for.
///
/// # Errors
/// Those of [`feed`](batch::Batch::feed), of the first shard that has one.
pub(super) fn run<T: Real>(
    program: &Program<T>,
    flat: &Flat<T>,
    jobs: &mut [LaneJob<'_, T>],
    samples: &batch::Batch<'_, T>,
    gradients: bool,
) -> Result<BatchOutcome> {
    // All plans of a program have the same steps.
    let (norms, end, nodes) = {
        let plan: &BatchPlan<T> = jobs[0].spaces[0].plan();
        let nodes: Vec<NodeId> = plan.batch_norms.iter().filter_map(|k| plan.steps[*k].node).collect();
        (plan.batch_norms.clone(), plan.steps.len(), nodes)
    };
    let mut batch = SynchronisedBatch { program, flat, samples, statistics: Vec::new(), norms, end };
    let fed = |job: &mut LaneJob<'_, T>| {
        let mut shards = job.spaces.iter_mut().zip(job.shards).zip(&mut job.targets);
        shards.try_for_each(|((space, shard), targets)| (samples.feed)(shard.clone(), &mut space.inputs(), targets))
    };
    let fed: Vec<Result<()>> = jobs.par_iter_mut().map(fed).collect();
    fed.into_iter().collect::<Result<()>>()?;
    let moments = nodes.into_iter().enumerate().map(|(number, node)| (node, batch.run_to_norm(number, jobs))).collect();
    let outcome = batch.run_to_end(jobs, gradients);
    if gradients {
        batch.run_back(jobs);
    }
    Ok(BatchOutcome { outcome, moments })
}

impl<T: Real> SynchronisedBatch<'_, T> {
    /// The steps from BatchNorm `number − 1`, itself included, to BatchNorm `number` or the end.
    fn segment(&self, number: usize) -> Range<usize> {
        let start = number.checked_sub(1).map_or(0, |before| self.norms[before]);
        start..self.norms.get(number).copied().unwrap_or(self.end)
    }

    /// Runs up to a BatchNorm and finds its statistics.
    fn run_to_norm(&mut self, number: usize, jobs: &mut [LaneJob<'_, T>]) -> Moments {
        let (step, segment) = (self.norms[number], self.segment(number));
        let shard = |space: &mut Workspace<T>| {
            space.forward(self.program, self.flat, segment.clone(), Some(&self.statistics));
            space.moments(step, self.program, self.flat)
        };
        let lane = |job: &mut LaneJob<'_, T>| job.spaces.iter_mut().map(shard).collect();
        let found: Vec<Vec<Moments>> = jobs.par_iter_mut().map(lane).collect();
        let moments = found.into_iter().flatten().reduce(|a, b| a.combine(&b)).unwrap_or_default();
        let statistics = jobs[0].spaces[0].norm(step).map(|norm| norm.statistics(&moments));
        self.statistics.extend(statistics);
        moments
    }

    /// Runs from the last BatchNorm to the loss.
    fn run_to_end(&self, jobs: &mut [LaneJob<'_, T>], gradients: bool) -> Outcome {
        let segment = self.segment(self.norms.len());
        let task = self.samples.task;
        let shard = |(space, targets): (&mut Workspace<T>, &Vec<f32>)| {
            space.forward(self.program, self.flat, segment.clone(), Some(&self.statistics));
            let samples = space.batch();
            let outcome = task.outcome(&space.outputs(), targets, samples);
            if gradients {
                let scale = self.samples.scale(outcome, samples);
                space.seed(|outputs, seeds| task.gradient(outputs, targets, samples, scale, seeds));
            }
            outcome
        };
        let lane = |job: &mut LaneJob<'_, T>| job.spaces.iter_mut().zip(&job.targets).map(shard).sum();
        let found: Vec<Outcome> = jobs.par_iter_mut().map(lane).collect();
        found.into_iter().sum()
    }

    /// Runs backward, from BatchNorm to BatchNorm.
    fn run_back(&self, jobs: &mut [LaneJob<'_, T>]) {
        let mut above: Option<Sums> = None;
        for number in (0..=self.norms.len()).rev() {
            let end = self.segment(number).end;
            let below = number.checked_sub(1);
            let lane = |LaneJob { spaces, d_weights, .. }: &mut LaneJob<'_, T>| -> Vec<Sums> {
                let shard = |space: &mut Workspace<T>| {
                    if let Some(sums) = &above {
                        space.backward_norm(end, self.program, self.flat, &self.statistics[number], sums);
                    }
                    let start = below.map_or(0, |k| self.norms[k] + 1);
                    space.backward(self.program, self.flat, start..end, d_weights);
                    below.map(|k| space.norm_sums(self.norms[k], self.program, self.flat, &self.statistics[k]))
                };
                spaces.iter_mut().filter_map(shard).collect()
            };
            let found: Vec<Vec<Sums>> = jobs.par_iter_mut().map(lane).collect();
            above = found.into_iter().flatten().reduce(|a, b| a.combine(&b));
            if let (Some(sums), Some(k)) = (&above, below) {
                let LaneJob { spaces, d_weights, .. } = &mut jobs[0];
                spaces[0].plan().add_norm_gradients(self.norms[k], self.program, sums, d_weights);
            }
        }
    }
}
