//! Many samples through a network step by step: all of them reach a node, its units are measured over all, weights may
//! change, and all go on.

use std::ops::Range;

use onebasin_core::graph::NodeId;
use rayon::prelude::*;

use super::plan::Wants;
use super::{Flat, Program, Workspace};
use crate::error::Result;
use crate::ops::Real;
use crate::ops::batch_norm::Moments;

/// Where to measure: what comes out of a step, or goes into a BatchNorm, with the axes that count units.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    step: usize,
    axes: Range<usize>,
}

/// Writes all inputs of a range of samples, in the order of the graph's.
type Fill<'a, T> = dyn Fn(Range<usize>, &mut [&mut [T]]) -> Result<()> + Sync + 'a;

/// The samples in shards. The first ones keep their workspaces from stage to stage, as many as there is memory for; the
/// others begin at the input every time. Shards are cut by sizes alone and combined in their order.
pub(crate) struct Stages<'a, T: Real = f32> {
    program: &'a Program<T>,
    fill: &'a Fill<'a, T>,
    shards: Vec<Range<usize>>,
    held: Vec<Workspace<T>>,
    /// Steps that the kept workspaces have done.
    done: usize,
}

impl<'a, T: Real> Stages<'a, T> {
    /// Samples of a shard, at most.
    const SHARD: usize = 500;

    /// Prepares `samples` samples; kept workspaces take at most `memory` bytes.
    pub(crate) fn new(program: &'a Program<T>, samples: usize, memory: usize, fill: &'a Fill<'a, T>) -> Result<Self> {
        let size = program.shard(Self::SHARD);
        let shards: Vec<Range<usize>> =
            (0..samples).step_by(size).map(|start| start..(start + size).min(samples)).collect();
        let mut held = Vec::new();
        if let Some(first) = shards.first() {
            let numbers: usize = program.plan(first.len(), &Wants::default())?.value_slots.iter().sum();
            let kept = memory / (numbers * size_of::<T>()).max(1);
            for shard in shards.iter().take(kept) {
                let mut space = Workspace::inference(program, shard.len())?;
                fill(shard.clone(), &mut space.inputs())?;
                held.push(space);
            }
        }
        Ok(Self { program, fill, shards, held, done: 0 })
    }

    /// Where to measure at a node, given the axes of its output that count units; none if no output depends on it.
    pub(crate) fn tap(&self, node: NodeId, axes: Range<usize>) -> Result<Option<Tap>> {
        // Plans of one program have the same steps for any number of samples.
        let samples = self.shards.first().map_or(1, ExactSizeIterator::len);
        let plan = self.program.plan(samples, &Wants::default())?;
        Ok(plan.steps.iter().position(|s| s.node == Some(node)).map(|step| Tap { step, axes }))
    }

    /// Moments at one node over all samples. The node itself runs again in the next stage, so that its weights may change.
    pub(crate) fn moments(&mut self, flat: &Flat<T>, tap: &Tap) -> Result<Moments> {
        let found = self.each_shard(|space, program, from| space.tap(program, flat, from..tap.step, &tap.axes))?;
        self.done = tap.step;
        Ok(combine(found))
    }

    /// Moments at many nodes, in running order, over all samples, in one pass.
    pub(crate) fn all_moments(mut self, flat: &Flat<T>, taps: &[Tap]) -> Result<Vec<Moments>> {
        let run = |space: &mut Workspace<T>, program: &Program<T>, mut from: usize| -> Vec<Moments> {
            let one = |tap: &Tap| {
                let moments = space.tap(program, flat, from..tap.step, &tap.axes);
                from = if space.norm(tap.step).is_some() { tap.step } else { tap.step + 1 };
                moments
            };
            taps.iter().map(one).collect()
        };
        let mut by_tap: Vec<Vec<Moments>> = taps.iter().map(|_| Vec::new()).collect();
        for shard in self.each_shard(run)? {
            by_tap.iter_mut().zip(shard).for_each(|(all, moments)| all.push(moments));
        }
        Ok(by_tap.into_iter().map(combine).collect())
    }

    /// Runs something on every shard, given the workspace and the first step it has not done.
    fn each_shard<R: Send>(
        &mut self,
        run: impl Fn(&mut Workspace<T>, &Program<T>, usize) -> R + Sync,
    ) -> Result<Vec<R>> {
        let (program, fill, done) = (self.program, self.fill, self.done);
        let kept = |scratch: &mut Vec<Vec<T>>, space: &mut Workspace<T>| {
            space.exchange_scratch(scratch);
            let found = run(space, program, done);
            space.exchange_scratch(scratch);
            Ok(found)
        };
        let fresh = |space: &mut Option<Workspace<T>>, shard: &Range<usize>| {
            let space = match space {
                Some(space) => space,
                None => space.insert(Workspace::inference(program, shard.len())?),
            };
            space.resize(program, shard.len())?;
            fill(shard.clone(), &mut space.inputs())?;
            Ok(run(space, program, 0))
        };
        let rest = &self.shards[self.held.len()..];
        if let Some(first) = rest.first() {
            let spaces = self.held.len() + rest.len().min(rayon::current_num_threads());
            program.afford(first.len(), &Wants::default(), spaces)?;
        }
        let mut found: Vec<Result<R>> = self.held.par_iter_mut().map_init(Vec::new, kept).collect();
        found.extend(rest.par_iter().map_init(|| None, fresh).collect::<Vec<_>>());
        found.into_iter().collect()
    }
}

/// The moments of all shards, in their order.
fn combine(shards: Vec<Moments>) -> Moments {
    shards.into_iter().reduce(|a, b| a.combine(&b)).unwrap_or_default()
}
