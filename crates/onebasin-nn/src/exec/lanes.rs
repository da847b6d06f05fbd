//! A batch on threads: lanes side by side, the shards of a lane one after the other.
//!
//! A batch is cut by sizes alone, never by the number of threads, and everything is added up in the order of the samples,
//! so results are the same bits on any machine size.

use std::ops::Range;

use rayon::prelude::*;

use super::batch::{Batch, BatchOutcome};
use super::outcome::Outcome;
use super::plan::Wants;
use super::synchronised::{self, LaneJob};
use super::{Flat, Program, Workspace};
use crate::error::Result;
use crate::ops::Real;

/// How a batch is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Samples of a lane.
    lane: usize,
    /// Samples of a shard, at most.
    shard: usize,
}

impl Cut {
    /// Lanes at most.
    const LANES: usize = 8;
    /// How often a weight is used before its gradient is written to memory, at least.
    const REUSE: f64 = 256.0;
    /// Samples after which a larger matrix no longer helps.
    const SAMPLES: f64 = 125.0;
    /// Samples of a shard at least: kernels are transformed and packed once for each.
    const FEWEST: usize = 13;
    /// Numbers in all values of a shard that still stay near the processor.
    const NUMBERS: f64 = (1 << 19) as f64;

    /// A lane has to be worth a gradient of its own, and there should be two of them; a shard has to be worth reading the
    /// weights, and should have few values.
    fn new<T: Real>(program: &Program<T>, batch: usize) -> Self {
        let worth = (Self::REUSE / program.work.reuse).min(Self::SAMPLES).ceil() as usize;
        let lane = worth.max(batch.div_ceil(Self::LANES)).min(batch.div_ceil(2)).max(1);
        let lane = batch.div_ceil(batch.div_ceil(lane).max(1)).max(1);
        let near = (Self::NUMBERS / program.work.numbers.max(1.0)).min(Self::SAMPLES) as usize;
        let shard = near.max(worth).max(Self::FEWEST);
        Self { lane, shard: lane.div_ceil(lane.div_ceil(shard)) }
    }

    /// The shards of every lane.
    fn shards(self, batch: usize) -> Vec<Vec<Range<usize>>> {
        let cut = |all: Range<usize>, size: usize| -> Vec<Range<usize>> {
            all.clone().step_by(size).map(|start| start..(start + size).min(all.end)).collect()
        };
        cut(0..batch, self.lane).into_iter().map(|lane| cut(lane, self.shard)).collect()
    }
}

/// One gradient of the weights, and workspaces.
struct Lane<T: Real> {
    spaces: Vec<Workspace<T>>,
    d_weights: Vec<T>,
}

/// The workspaces of a batch.
///
/// BatchNorms use the statistics of the whole batch: all shards run to a BatchNorm, their moments are combined (Chan et
/// al. 1979), and all go on; likewise backward. Then every shard keeps its own workspace. Without a BatchNorm a lane has
/// one workspace for all its shards.
///
/// Cost: a gradient of the weights for each of at most eight lanes, where gradients are asked for, and the workspaces.
///
/// ```
/// use onebasin_nn::exec::{Batch, Lanes, Program};
/// use onebasin_nn::samples::{Feeds, Samples, synthetic};
/// use onebasin_nn::task::OwnLoss;
/// use onebasin_nn::Network;
/// let network = Network::new("mlp:16x1", &[8], 1)?;
/// let (graph, params) = (network.graph()?, network.init(0)?);
/// let data = synthetic(&graph, 32, 0)?;
/// let feeds = Feeds::new(&graph, &data)?;
/// let program = Program::new(graph)?;
/// let flat = program.flatten(&params)?;
/// let mut lanes = Lanes::new(&program, 32, true)?;
/// let batch = Batch { samples: 32, target: feeds.target(), feed: &feeds.feed(&data, 0), task: &OwnLoss };
/// let found = lanes.run(&program, &flat, &batch)?;
/// assert_eq!((found.outcome.count, lanes.d_weights(32)[0].len()), (32, program.weight_count()));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub struct Lanes<T: Real = f32> {
    cut: Cut,
    all: Vec<Lane<T>>,
    gradients: bool,
    /// Whether there is a BatchNorm.
    synchronised: bool,
}

impl<T: Real> Lanes<T> {
    /// Workspaces for at most `batch` samples, with or without gradients.
    ///
    /// # Errors
    /// If the network's shapes do not allow a shard's number of samples, or all workspaces together take more memory than
    /// there may be.
    pub fn new(program: &Program<T>, batch: usize, gradients: bool) -> Result<Self> {
        let cut = Cut::new(program, batch);
        let wants = Wants { gradients, ..Wants::default() };
        let synchronised = !program.plan(cut.shard.min(batch), &wants)?.batch_norms.is_empty();
        let shards = cut.shards(batch);
        let lanes = if synchronised { shards.iter().map(Vec::len).sum() } else { shards.len() };
        program.afford(cut.shard.min(batch), &wants, lanes)?;
        let lane = |shards: &Vec<Range<usize>>| {
            let kept = if synchronised { &shards[..] } else { &shards[..1] };
            let spaces = kept.iter().map(|s| Workspace::of_lane(program, s.len(), wants.clone()));
            let len = if gradients { program.weight_count() } else { 0 };
            Ok(Lane { spaces: spaces.collect::<Result<_>>()?, d_weights: vec![T::default(); len] })
        };
        let all = shards.iter().map(lane).collect::<Result<_>>()?;
        Ok(Self { cut, all, gradients, synchronised })
    }

    /// Runs a batch forward and, if these lanes have gradients, backward from the mean loss over its answers.
    ///
    /// # Errors
    /// If the network's shapes do not allow a shard's number of samples, it does not answer every sample though there are
    /// targets, and those of [`Batch::feed`].
    pub fn run(&mut self, program: &Program<T>, flat: &Flat<T>, batch: &Batch<'_, T>) -> Result<BatchOutcome> {
        if batch.target > 0 {
            self.all[0].spaces[0].plan().answers_every_sample(program.graph())?;
        }
        let shards = self.cut.shards(batch.samples);
        let gradients = self.gradients;
        let lanes = &mut self.all[..shards.len()];
        lanes.par_iter_mut().for_each(|lane| lane.d_weights.fill(T::default()));
        if self.synchronised {
            let mut jobs = Vec::new();
            for (Lane { spaces, d_weights }, shards) in lanes.iter_mut().zip(&shards) {
                for (space, shard) in spaces.iter_mut().zip(shards) {
                    space.resize(program, shard.len())?;
                }
                let targets = shards.iter().map(|s| batch.targets(s.len())).collect();
                jobs.push(LaneJob { spaces: &mut spaces[..shards.len()], d_weights, shards, targets });
            }
            return synchronised::run(program, flat, &mut jobs, batch, gradients);
        }
        let run = |(lane, shards): (&mut Lane<T>, &Vec<Range<usize>>)| {
            let Lane { spaces, d_weights } = lane;
            let space = &mut spaces[0];
            let shard = |shard: &Range<usize>| {
                space.resize(program, shard.len())?;
                let mut targets = batch.targets(shard.len());
                (batch.feed)(shard.clone(), &mut space.inputs(), &mut targets)?;
                let steps = 0..space.plan().steps.len();
                space.forward(program, flat, steps.clone(), None);
                let outcome = batch.task.outcome(&space.outputs(), &targets, shard.len());
                if gradients {
                    let scale = batch.scale(outcome, shard.len());
                    space.seed(|outputs, seeds| batch.task.gradient(outputs, &targets, shard.len(), scale, seeds));
                    space.backward(program, flat, steps, d_weights);
                }
                Ok(outcome)
            };
            shards.iter().map(shard).sum::<Result<Outcome>>()
        };
        let outcomes: Vec<Result<Outcome>> = lanes.par_iter_mut().zip(&shards).map(run).collect();
        let outcome = outcomes.into_iter().sum::<Result<Outcome>>()?;
        Ok(BatchOutcome { outcome, moments: Vec::new() })
    }

    /// Gradients of the lanes that `batch` samples ran in; their sum, in this order, is the gradient of the mean loss.
    pub fn d_weights(&self, batch: usize) -> Vec<&[T]> {
        self.all[..batch.div_ceil(self.cut.lane)].iter().map(|l| l.d_weights.as_slice()).collect()
    }
}
