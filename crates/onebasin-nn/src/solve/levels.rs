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
    /// Units of which little is seen behind the normalisation. What they give in front of it moves the levels of all others,
    /// so that is what they are aimed at.
    pub(super) faint: Vec<usize>,
    /// Of these, the mix of what the ends' normalisations make of them, less gain and bias: `[positions, faint]` of every
    /// shard.
    normalised: Vec<Vec<f32>>,
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

    /// What faint units normalise to at a position of a shard, with their numbers.
    pub(super) fn faint_at(&self, shard: usize, position: u32) -> impl Iterator<Item = (usize, f32)> {
        let at = position as usize * self.faint.len();
        self.faint.iter().copied().zip(self.normalised[shard][at..].iter().copied())
    }
}

/// Units whose gain is at most a fifth of the mean one.
fn faint(gain: &[f32]) -> Vec<usize> {
    const SHARE: f32 = 0.2;
    let least = SHARE * gain.iter().map(|g| g.abs()).sum::<f32>() / gain.len().max(1) as f32;
    (0..gain.len()).filter(|unit| gain[*unit].abs() <= least).collect()
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
/// `gain` is the mixed one.
pub(super) fn mixed(work: &Work<'_>, site: &Site, norm: &Norm, measure: Measure, gain: &[f32]) -> Result<Levels> {
    let value = work.program.graph().node(norm.node).inputs[0];
    let faint = faint(gain);
    let shards = work.lockstep.shards().par_iter().enumerate();
    let one = |(shard, run): (usize, &std::ops::Range<usize>)| {
        let (mut mixed, mut normalised) = (Vec::<Level>::new(), Vec::new());
        for end in 0..work.ends.networks.len() {
            let view = work.lockstep.view(shard, end, value, site.axis)?;
            let shares = work.ends.share(site.target, end, view.units())?;
            let share = (shares.iter().sum::<f64>() / shares.len().max(1) as f64) as f32;
            let found = measure.levels(&view, run.len());
            let size = (view.units() / measure.groups.max(1)).max(1);
            normalised.resize(view.positions() * faint.len(), 0.0);
            for (position, row) in normalised.chunks_exact_mut(faint.len().max(1)).enumerate() {
                let given: Vec<f32> = view.row(position).collect();
                for (to, &unit) in row.iter_mut().zip(&faint) {
                    let level = found[position * measure.groups + unit / size];
                    *to += shares[unit] as f32 * (given[unit] - level.mean) / level.deviation;
                }
            }
            mixed.resize(found.len(), Level::default());
            for (mixed, found) in mixed.iter_mut().zip(found) {
                mixed.mean += share * found.mean;
                mixed.deviation += share * found.deviation;
            }
        }
        Ok((mixed, normalised))
    };
    let found = shards.map(one).collect::<Result<Vec<_>>>()?;
    let (by_shard, normalised) = found.into_iter().unzip();
    Ok(Levels { groups: measure.groups, by_shard, faint, normalised })
}
