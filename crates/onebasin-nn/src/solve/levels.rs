//! The mean and deviation that a normalisation measures, position by position.

use onebasin_core::graph::Op;
use onebasin_core::solve::{Norm, Site};
use rayon::prelude::*;

use super::Work;
use crate::error::Result;
use crate::exec::View;

/// Means and deviations of every position of every shard, `[positions, groups]`, with so many units to a group.
pub(super) struct Levels {
    pub(super) groups: usize,
    pub(super) by_shard: Vec<Vec<Level>>,
}

/// What a normalisation subtracts and divides by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    pub(super) mean: f32,
    pub(super) deviation: f32,
}

impl Levels {
    /// Those of a position of a shard, `[groups]`.
    pub(super) fn of(&self, shard: usize, position: u32) -> &[Level] {
        &self.by_shard[shard][position as usize * self.groups..][..self.groups]
    }
}

/// How a normalisation gathers its numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    /// Groups of units.
    pub(super) groups: usize,
    /// Whether all positions of a sample are measured together.
    pub(super) over_positions: bool,
    pub(super) centred: bool,
    pub(super) epsilon: f64,
}

impl Measure {
    /// Of a normalisation that measures every sample.
    pub(super) fn of(op: &Op) -> Option<Self> {
        match op {
            Op::LayerNorm { epsilon, centred, .. } => {
                Some(Self { groups: 1, over_positions: false, centred: *centred, epsilon: *epsilon })
            }
            Op::GroupNorm { groups, epsilon } => {
                Some(Self { groups: *groups, over_positions: true, centred: true, epsilon: *epsilon })
            }
            _ => None,
        }
    }

    /// The level of numbers that are measured together.
    pub(super) fn level(self, numbers: &[f32]) -> Level {
        let count = numbers.len().max(1) as f64;
        let mean = if self.centred { numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / count } else { 0.0 };
        let squares: f64 = numbers.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
        Level { mean: mean as f32, deviation: (squares / count + self.epsilon).sqrt() as f32 }
    }

    /// The levels of all positions of a value with so many samples: `[positions, groups]`.
    pub(super) fn levels(self, view: &View<'_>, samples: usize) -> Vec<Level> {
        let together = if self.over_positions { view.positions() / samples.max(1) } else { 1 };
        let size = view.units() / self.groups.max(1);
        let mut levels = Vec::with_capacity(view.positions() * self.groups);
        for first in (0..view.positions()).step_by(together.max(1)) {
            let (mut sums, mut squares) = (vec![0.0_f64; self.groups], vec![0.0_f64; self.groups]);
            let count = (together * size).max(1) as f64;
            let each = |f: &mut dyn FnMut(usize, f64)| {
                for position in first..first + together {
                    view.row(position).enumerate().for_each(|(unit, x)| f(unit / size.max(1), f64::from(x)));
                }
            };
            if self.centred {
                each(&mut |group, x| sums[group] += x);
            }
            for sum in &mut sums {
                *sum /= count;
            }
            each(&mut |group, x| squares[group] += (x - sums[group]).powi(2));
            let level = |(mean, squares): (&f64, &f64)| Level {
                mean: *mean as f32,
                deviation: (squares / count + self.epsilon).sqrt() as f32,
            };
            for _ in 0..together {
                levels.extend(sums.iter().zip(&squares).map(level));
            }
        }
        levels
    }
}

/// The mixed levels in front of a site's normalisation; the ends have just run its operator.
pub(super) fn mixed(work: &Work<'_>, site: &Site, norm: &Norm) -> Result<Levels> {
    let graph = work.program.graph();
    let measure = Measure::of(&graph.node(norm.node).op).unwrap_or(Measure {
        groups: 1,
        over_positions: false,
        centred: true,
        epsilon: norm.epsilon,
    });
    let value = graph.node(norm.node).inputs[0];
    let shards = work.lockstep.shards().par_iter().enumerate();
    let one = |(shard, run): (usize, &std::ops::Range<usize>)| {
        let mut mixed: Vec<Level> = Vec::new();
        for (end, share) in work.ends.shares.iter().enumerate() {
            let view = work.view(shard, end, value, site.axis)?;
            let found = measure.levels(&view, run.len());
            mixed.resize(found.len(), Level::default());
            for (mixed, found) in mixed.iter_mut().zip(found) {
                mixed.mean += *share as f32 * found.mean;
                mixed.deviation += *share as f32 * found.deviation;
            }
        }
        Ok(mixed)
    };
    Ok(Levels { groups: measure.groups, by_shard: shards.map(one).collect::<Result<_>>()? })
}
