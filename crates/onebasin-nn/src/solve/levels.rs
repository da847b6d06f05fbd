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
        if let Op::LayerNorm { epsilon, centred, .. } = op {
            return Some(Self { groups: 1, over_positions: false, centred: *centred, epsilon: *epsilon });
        }
        let Op::GroupNorm { groups, epsilon } = op else { return None };
        Some(Self { groups: *groups, over_positions: true, centred: true, epsilon: *epsilon })
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
        let together = if self.over_positions { view.positions() / samples.max(1) } else { 1 }.max(1);
        let size = (view.units() / self.groups.max(1)).max(1);
        let mut levels = Vec::with_capacity(view.positions() * self.groups);
        let mut numbers = vec![Vec::new(); self.groups];
        for first in (0..view.positions()).step_by(together) {
            numbers.iter_mut().for_each(Vec::clear);
            for position in first..first + together {
                view.row(position).enumerate().for_each(|(unit, x)| numbers[unit / size].push(x));
            }
            let found: Vec<Level> = numbers.iter().map(|numbers| self.level(numbers)).collect();
            (0..together).for_each(|_| levels.extend_from_slice(&found));
        }
        levels
    }
}

/// The levels in front of a site's normalisation, as much of each end's as its units are on average; the ends stand there.
pub(super) fn mixed(work: &Work<'_>, site: &Site, norm: &Norm, measure: Measure) -> Result<Levels> {
    let value = work.program.graph().node(norm.node).inputs[0];
    let shards = work.lockstep.shards().par_iter().enumerate();
    let one = |(shard, run): (usize, &std::ops::Range<usize>)| {
        let mut mixed: Vec<Level> = Vec::new();
        for end in 0..work.ends.networks.len() {
            let view = work.lockstep.view(shard, end, value, site.axis)?;
            let shares = work.ends.share(site.target, end, view.units())?;
            let share = (shares.iter().sum::<f64>() / shares.len().max(1) as f64) as f32;
            let found = measure.levels(&view, run.len());
            mixed.resize(found.len(), Level::default());
            for (mixed, found) in mixed.iter_mut().zip(found) {
                mixed.mean += share * found.mean;
                mixed.deviation += share * found.deviation;
            }
        }
        Ok(mixed)
    };
    Ok(Levels { groups: measure.groups, by_shard: shards.map(one).collect::<Result<_>>()? })
}
