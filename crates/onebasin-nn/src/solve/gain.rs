//! Gain and bias of a normalisation, unit by unit, in closed form.

use std::ops::Range;

use onebasin_core::graph::ValueId;
use onebasin_core::solve::{Norm, Site};
use onebasin_core::{Params, Tensor};
use rayon::prelude::*;

use super::Work;
use super::levels::{Level, Measure};
use super::targets::{Targets, rectified};
use crate::error::Result;
use crate::ops::batch_norm::Moments;

/// Rows that are looked at at a time.
const TILE: usize = 1024;

/// Sums of a unit: of what is normalised, of what is wanted, of their squares and products.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    given: f64,
    wanted: f64,
    given_squares: f64,
    products: f64,
}

/// Fits gain and bias to what the site should give: `g = cov(n, R) / var(n)`, `c = R̄ − g n̄`, where `n` is what the
/// normalisation gives without them. The merged network stands in front of it. A BatchNorm's statistics are set to those
/// of what reaches it. Gives what changed.
pub(super) fn fit(
    work: &Work<'_>,
    site: &Site,
    norm: &Norm,
    targets: &Targets,
    params: &mut Params,
) -> Result<Vec<ValueId>> {
    let graph = work.program.graph();
    let node = graph.node(norm.node);
    let value = node.inputs[0];
    let moments = norm.statistics.map(|_| measured(work, site, value)).transpose()?;
    let still: Option<Vec<Level>> = moments.as_ref().map(|moments| {
        let variances = moments.unbiased_variance();
        let level = |(mean, variance): (&f64, &f64)| Level {
            mean: *mean as f32,
            deviation: (variance + norm.epsilon).sqrt() as f32,
        };
        moments.mean.iter().zip(&variances).map(level).collect()
    });
    let rows = targets.rows() as f64;
    let line = |sums: &Sums| sums.line(rows, norm.gain.is_some(), norm.bias.is_some());
    let mut lines: Option<Vec<(f64, f64)>> = None;
    let rounds = if site.rectified { work.options.rounds } else { 0 };
    for _ in 0..=rounds {
        let sums = sums(work, site, norm, targets, still.as_deref(), lines.as_deref())?;
        lines = Some(sums.iter().map(line).collect());
    }
    let (gain, bias): (Vec<f64>, Vec<f64>) = lines.unwrap_or_default().into_iter().unzip();
    let mut changed = Vec::new();
    let mut put = |value: ValueId, numbers: &[f64]| -> Result<()> {
        let name = &graph.value(value).name;
        let tensor = params.require(name)?;
        params.insert(name.clone(), Tensor::from_f64_as(tensor.dtype(), tensor.shape(), numbers)?);
        changed.push(value);
        Ok(())
    };
    norm.gain.map(|value| put(value, &gain)).transpose()?;
    norm.bias.map(|value| put(value, &bias)).transpose()?;
    if let (Some(statistics), Some(moments)) = (norm.statistics, moments) {
        put(statistics[0], &moments.mean)?;
        put(statistics[1], &moments.unbiased_variance())?;
    }
    Ok(changed)
}

/// Sums over all chosen positions, unit by unit. Where lines are given, what is not positive is wanted where they put it.
fn sums(
    work: &Work<'_>,
    site: &Site,
    norm: &Norm,
    targets: &Targets,
    still: Option<&[Level]>,
    lines: Option<&[(f64, f64)]>,
) -> Result<Vec<Sums>> {
    let node = work.program.graph().node(norm.node);
    let value = node.inputs[0];
    let one = |(shard, run): (usize, &Range<usize>)| -> Result<Vec<Sums>> {
        let view = work.view(shard, work.merged(), value, site.axis)?;
        let units = view.units();
        let measure = Measure::of(&node.op);
        let levels = measure.map_or_else(Vec::new, |measure| measure.levels(&view, run.len()));
        let groups = measure.map_or(1, |measure| measure.groups);
        let size = (units / groups.max(1)).max(1);
        let mut sums = vec![Sums::default(); units];
        for tile in targets.positions[shard].chunks(TILE) {
            let aim = work.aim(site, targets, shard, tile)?;
            for (row, position) in tile.iter().enumerate() {
                for ((unit, x), sums) in view.row(*position as usize).enumerate().zip(&mut sums) {
                    let level = match &still {
                        Some(still) => still[unit],
                        None => levels[*position as usize * groups + unit / size],
                    };
                    let n = (x - level.mean) / level.deviation;
                    let (target, added) = aim.at(row * units + unit);
                    let target = match lines {
                        Some(lines) => rectified(target, lines[unit].0 as f32 * n + lines[unit].1 as f32 + added),
                        None => target,
                    };
                    let (n, r) = (f64::from(n), f64::from(target - added));
                    sums.given += n;
                    sums.wanted += r;
                    sums.given_squares += n * n;
                    sums.products += n * r;
                }
            }
        }
        Ok(sums)
    };
    let found: Vec<Result<Vec<Sums>>> = work.lockstep.shards().par_iter().enumerate().map(one).collect();
    let mut all: Vec<Sums> = Vec::new();
    for sums in found {
        let sums = sums?;
        all.resize(sums.len(), Sums::default());
        for (all, sums) in all.iter_mut().zip(sums) {
            all.given += sums.given;
            all.wanted += sums.wanted;
            all.given_squares += sums.given_squares;
            all.products += sums.products;
        }
    }
    Ok(all)
}

impl Sums {
    /// Gain and bias of the line through so many rows, where they may be chosen.
    fn line(self, rows: f64, has_gain: bool, has_bias: bool) -> (f64, f64) {
        /// Added to the variance of what is normalised, which is near 1 unless a unit is still.
        const STILL: f64 = 1e-6;
        let (given, wanted) = (self.given / rows, self.wanted / rows);
        let gain = match (has_gain, has_bias) {
            (false, _) => 1.0,
            (true, false) => self.products / (self.given_squares + STILL * rows),
            (true, true) => {
                (self.products / rows - given * wanted) / (self.given_squares / rows - given * given + STILL)
            }
        };
        (gain, if has_bias { wanted - gain * given } else { 0.0 })
    }
}

/// Mean and variance of every unit of a value of the merged network, over all its positions.
fn measured(work: &Work<'_>, site: &Site, value: ValueId) -> Result<Moments> {
    let one = |shard: usize| -> Result<Moments> {
        let view = work.view(shard, work.merged(), value, site.axis)?;
        let all: Vec<f32> = (0..view.positions()).flat_map(|position| view.row(position)).collect();
        Ok(Moments::of(&all, view.units()))
    };
    let found: Vec<Result<Moments>> = (0..work.lockstep.shards().len()).into_par_iter().map(one).collect();
    let mut all: Option<Moments> = None;
    for moments in found {
        let moments = moments?;
        all = Some(all.map_or_else(|| moments.clone(), |all| all.combine(&moments)));
    }
    Ok(all.unwrap_or_default())
}
