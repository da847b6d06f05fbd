//! Gain and bias of a normalisation, unit by unit, in closed form.

use onebasin_core::Params;
use onebasin_core::graph::ValueId;
use onebasin_core::solve::{Norm, Site};
use rayon::prelude::*;

use super::levels::{Level, Measure};
use super::targets::{Targets, rectified};
use super::{Work, put};
use crate::error::Result;
use crate::ops::batch_norm::Moments;

/// Rows that are looked at at a time.
const TILE: usize = 1024;

/// Rows that the gain and bias of the average count as.
const HELD: f64 = 10.0;

/// Of a unit: the number of its rows, and sums over them of what is normalised, of what is wanted, of the squares of the
/// first and of the products of both.
pub(super) type Sums = [f64; 5];

/// Fits gain and bias to what the site should give: the least squares of `g n + c − R`, where `n` is what the normalisation
/// gives without them. The merged network stands in front of it. A BatchNorm's statistics are set to those
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
    let of = |value: Option<ValueId>| -> Result<Option<Vec<f64>>> {
        let Some(value) = value else { return Ok(None) };
        Ok(Some(params.require(&graph.value(value).name)?.to_f64()?.into_owned()))
    };
    let had = [of(norm.gain)?, of(norm.bias)?];
    let line = |(unit, sums): (usize, &Sums)| {
        let at = |had: &Option<Vec<f64>>, usual: f64| had.as_ref().map_or(usual, |had| had[unit]);
        line(sums, (at(&had[0], 1.0), at(&had[1], 0.0)), had.each_ref().map(Option::is_some))
    };
    let mut lines: Option<Vec<(f64, f64)>> = None;
    let rounds = if site.rectified { work.options.rounds } else { 0 };
    for _ in 0..=rounds {
        let sums = sums(work, site, norm, targets, still.as_deref(), lines.as_deref())?;
        lines = Some(sums.iter().enumerate().map(line).collect());
    }
    let (gain, bias): (Vec<f64>, Vec<f64>) = lines.unwrap_or_default().into_iter().unzip();
    let gain = norm.gain.map(|value| (value, gain));
    let bias = norm.bias.map(|value| (value, bias));
    let statistics = norm.statistics.zip(moments).map(|([mean, variance], moments)| {
        let unbiased = moments.unbiased_variance();
        [(mean, moments.mean), (variance, unbiased)]
    });
    let all = [gain, bias].into_iter().flatten().chain(statistics.into_iter().flatten());
    all.map(|(value, numbers)| put(graph, params, value, &numbers)).collect()
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
    work.lockstep.add_up(|shard| {
        let view = work.lockstep.view(shard, work.merged(), value, site.axis)?;
        let units = view.units();
        let measure = Measure::of(&node.op);
        let samples = work.lockstep.shards()[shard].len();
        let levels = measure.map_or_else(Vec::new, |measure| measure.levels(&view, samples));
        let groups = measure.map_or(1, |measure| measure.groups);
        let size = (units / groups.max(1)).max(1);
        let mut sums: Vec<Sums> = vec![[0.0; 5]; units];
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
                    sums.iter_mut().zip([1.0, n, r, n * n, n * r]).for_each(|(sum, term)| *sum += term);
                }
            }
        }
        Ok(sums)
    })
}

/// Gain and bias of the line through the rows of a unit, where they may be chosen: those that it had count as [`HELD`] rows.
pub(super) fn line([rows, given, wanted, squares, products]: &Sums, had: (f64, f64), has: [bool; 2]) -> (f64, f64) {
    // Held rows have what is normalised at mean 0 and variance 1, and are wanted where they were.
    let count = rows + HELD;
    let (squares, products) = (squares + HELD, products + HELD * had.0);
    let wanted = wanted + HELD * had.1;
    match has {
        [false, false] => (1.0, 0.0),
        [true, false] => (products / squares, 0.0),
        [false, true] => (1.0, (wanted - given) / count),
        [true, true] => {
            let gain = (products - given * wanted / count) / (squares - given * given / count);
            (gain, (wanted - gain * given) / count)
        }
    }
}

/// Mean and variance of every unit of a value of the merged network, over all its positions.
fn measured(work: &Work<'_>, site: &Site, value: ValueId) -> Result<Moments> {
    let one = |shard: usize| -> Result<Moments> {
        let view = work.lockstep.view(shard, work.merged(), value, site.axis)?;
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
