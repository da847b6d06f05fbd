//! The weights of a site.

use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::graph::{Op, ValueId};
use onebasin_core::linalg::{Mat, Scalar};
use onebasin_core::solve::{Form, Layer, Normal, NormalSums, Rows, Site, Solution};
use rayon::prelude::*;

use super::Work;
use super::levels::Measure;
use super::targets::{Aim, Targets, rectified};
use crate::error::{Error, Result};
use crate::ops::Patches;

/// Rows that are multiplied at a time.
const TILE: usize = 1024;
/// Bytes that the sums of all lanes may take together.
const SUMS: usize = 256 << 20;
/// Lanes at most: runs of shards whose sums are made side by side.
const LANES: usize = 8;

/// The weights of a unit's group, and what they are multiplied with.
struct Design<'a> {
    work: &'a Work<'a>,
    site: &'a Site,
    targets: &'a Targets,
    /// What the site should give, by shard and tile.
    aims: Vec<Vec<Aim>>,
    step: usize,
    groups: usize,
    /// Inputs of a group.
    inputs: usize,
    /// Units of a group.
    units: usize,
    /// Mixed gain and bias of a normalisation that follows, and the mean deviation in front of it.
    norm: Option<NormAim>,
}

/// What turns an aim behind a normalisation into one in front of it.
struct NormAim {
    gain: Vec<f32>,
    bias: Vec<f32>,
    mean_deviation: f32,
}

/// Weights `[units, inputs]` of all groups, one after the other, and biases.
struct Weights {
    weights: Vec<f64>,
    bias: Vec<f64>,
}

/// Solves for the weights of a site, writes them to `params`, and gives what changed.
pub(super) fn solve(
    work: &Work<'_>,
    site: &Site,
    layer: &Layer,
    targets: &Targets,
    params: &mut Params,
) -> Result<Vec<ValueId>> {
    let graph = work.program.graph();
    let shape = graph.shape(layer.weight);
    let [groups, inputs, all] = layer.form.sizes(shape);
    let folded = site.norm.and_then(|norm| Some((norm, norm.statistics?)));
    let norm = match (site.norm, &targets.levels) {
        (Some(norm), Some(levels)) => {
            let units = all;
            let of = |value: Option<ValueId>, usual: f32| -> Result<Vec<f32>> {
                let Some(value) = value else { return Ok(vec![usual; units]) };
                Ok(params.require(&graph.value(value).name)?.to_f32()?.into_owned())
            };
            let (gain, bias) = (of(norm.gain, 1.0)?, of(norm.bias, 0.0)?);
            let sums = levels.by_shard.iter().map(|l| l.iter().map(|l| f64::from(l.deviation)).sum::<f64>());
            let count = levels.by_shard.iter().map(Vec::len).sum::<usize>().max(1);
            Some(NormAim { gain, bias, mean_deviation: (sums.sum::<f64>() / count as f64) as f32 })
        }
        (None, _) | (_, None) => None,
    };
    let step = work.step(site.node)?;
    let aims = |(shard, positions): (usize, &Vec<u32>)| {
        positions.chunks(TILE).map(|tile| work.aim(site, targets, shard, tile)).collect::<Result<Vec<Aim>>>()
    };
    let aims = targets.positions.par_iter().enumerate().map(aims).collect::<Result<Vec<_>>>()?;
    let design = Design { work, site, targets, aims, step, groups, inputs, units: all / groups, norm };
    let intercept = layer.bias.is_some() || folded.is_some();
    let prior = design.prior(layer)?;

    // Units of one group cannot tell what a normalisation over all of them gives.
    let has_rounds = site.rectified && (design.norm.is_none() || design.is_measured_by_row());
    let lanes = design.lanes();
    let sums = design.sums(&lanes, None, None)?;
    let failed = || Error::Options(format!("node `{}`: its inputs are not finite", graph.node(site.node).name));
    let factor = |sums: &NormalSums| sums.normal(intercept, work.options.ridge).ok_or_else(failed);
    let normals = sums.par_iter().map(factor).collect::<Result<Vec<Normal>>>()?;
    let mut solved = design.solved(&normals, &sums, &prior);
    if has_rounds {
        for _ in 0..work.options.rounds {
            let again = design.sums(&lanes, Some(&solved), Some(&sums))?;
            solved = design.solved(&normals, &again, &prior);
        }
    }
    let moments = folded.map(|_| {
        let rows = solved.weights.chunks_exact((design.units * inputs).max(1));
        let of_group = |((normal, rows), sums): ((&Normal, &[f64]), &NormalSums)| normal.moments(sums, rows);
        normals.iter().zip(rows).zip(&sums).flat_map(of_group).collect::<Vec<(f64, f64)>>()
    });
    let rows = targets.rows() as f64;
    write(work, site, layer, &solved, moments, rows, params)
}

impl Design<'_> {
    /// Runs of shards, as many as their sums have memory for.
    fn lanes(&self) -> Vec<Range<usize>> {
        let shards = self.work.lockstep.shards().len();
        let bytes = NormalSums::bytes(self.inputs, self.units) * self.groups;
        let lanes = (SUMS / bytes.max(1)).clamp(1, LANES);
        let each = shards.div_ceil(lanes).max(1);
        (0..shards).step_by(each).map(|first| first..(first + each).min(shards)).collect()
    }

    /// Adds up what least squares needs, group by group; where weights are given, only what changes with the targets, of
    /// which what is not positive is left where these weights put it.
    fn sums(
        &self,
        lanes: &[Range<usize>],
        rectify: Option<&Weights>,
        before: Option<&[NormalSums]>,
    ) -> Result<Vec<NormalSums>> {
        let rows = self.targets.rows();
        let new = |group: usize| {
            let fresh = || NormalSums::new(self.inputs, self.units, rows);
            before.map_or_else(fresh, |before| before[group].again())
        };
        let lane = |shards: &Range<usize>| {
            let mut sums: Vec<NormalSums> = (0..self.groups).map(new).collect();
            let mut inputs = Vec::new();
            for shard in shards.clone() {
                self.shard(shard, rectify, &mut inputs, &mut sums)?;
            }
            Ok(sums)
        };
        let found: Vec<Result<Vec<NormalSums>>> = lanes.par_iter().map(lane).collect();
        let mut all: Option<Vec<NormalSums>> = None;
        for lane in found {
            match &mut all {
                Some(all) => all.iter_mut().zip(lane?).for_each(|(all, lane)| all.absorb(lane)),
                None => all = Some(lane?),
            }
        }
        Ok(all.unwrap_or_default())
    }

    /// Adds the rows of a shard.
    fn shard(&self, shard: usize, rectify: Option<&Weights>, x: &mut Vec<f32>, sums: &mut [NormalSums]) -> Result<()> {
        let Self { groups, inputs, units, .. } = self;
        let patches = self.patches(shard);
        for (tile, aim) in self.targets.positions[shard].chunks(TILE).zip(&self.aims[shard]) {
            let (own, mut wanted) = (aim.own(), Vec::new());
            let weights = self.weights(shard, tile);
            for (group, sums) in sums.iter_mut().enumerate() {
                x.resize(tile.len() * inputs, 0.0);
                self.inputs(patches.as_ref(), shard, group, tile, x)?;
                wanted.clone_from(&own);
                if let Some(solved) = rectify {
                    self.rectify(aim, group, x, solved, &mut wanted);
                }
                self.in_front(shard, tile, &mut wanted);
                if *groups == 1 {
                    sums.add(&Rows { inputs: x, targets: &wanted, weights: weights.as_deref() });
                } else {
                    let rows = wanted.chunks_exact(groups * units);
                    let of_group: Vec<f32> = rows.flat_map(|row| &row[group * units..][..*units]).copied().collect();
                    sums.add(&Rows { inputs: x, targets: &of_group, weights: weights.as_deref() });
                }
            }
        }
        Ok(())
    }

    /// Whether a normalisation measures all units of a position, and no other position.
    fn is_measured_by_row(&self) -> bool {
        let norm = self.site.norm.map(|norm| &self.work.program.graph().node(norm.node).op);
        let measure = norm.and_then(Measure::of);
        self.groups == 1 && measure.is_some_and(|m| m.groups == 1 && !m.over_positions)
    }

    /// Turns what should be given behind a normalisation into what should be given in front of it.
    fn in_front(&self, shard: usize, tile: &[u32], wanted: &mut [f32]) {
        let (Some(NormAim { gain, bias, .. }), Some(levels)) = (&self.norm, &self.targets.levels) else { return };
        let units = gain.len();
        let size = (units / levels.groups.max(1)).max(1);
        for (row, position) in wanted.chunks_exact_mut(units).zip(tile) {
            let level = levels.of(shard, *position);
            for (unit, r) in row.iter_mut().enumerate() {
                let level = level[unit / size];
                *r = (*r - bias[unit]) / gain[unit] * level.deviation + level.mean;
            }
            for (unit, normalised) in levels.faint_at(shard, *position) {
                let level = level[unit / size];
                row[unit] = normalised * level.deviation + level.mean;
            }
        }
    }

    /// How much each row counts: where a deviation multiplies what should be given, less the larger it is.
    fn weights(&self, shard: usize, tile: &[u32]) -> Option<Vec<f32>> {
        let (norm, levels) = (self.norm.as_ref()?, self.targets.levels.as_ref().filter(|levels| levels.groups == 1)?);
        let count = |position: &u32| (levels.of(shard, *position)[0].deviation + 0.1 * norm.mean_deviation).powi(-2);
        Some(tile.iter().map(count).collect())
    }

    /// Leaves what is not positive where the solved weights put it.
    fn rectify(&self, aim: &Aim, group: usize, x: &[f32], solved: &Weights, wanted: &mut [f32]) {
        let Self { groups, inputs, units, .. } = self;
        let rows = x.len() / inputs.max(&1);
        let of_group = &solved.weights[group * units * inputs..][..units * inputs];
        let weights: Vec<f32> = of_group.iter().map(|w| *w as f32).collect();
        let mut given = vec![0.0; rows * units];
        f32::matmul(&mut given, Mat::new(x, rows, *inputs), Mat::new(&weights, *units, *inputs).t(), false);
        let bias = &solved.bias[group * units..][..*units];
        let measure = self.site.norm.and_then(|norm| Measure::of(&self.work.program.graph().node(norm.node).op));
        for (row, given) in given.chunks_exact_mut(*units).enumerate() {
            let at = row * groups * units + group * units;
            given.iter_mut().zip(bias).for_each(|(y, b)| *y += *b as f32);
            if let (Some(measure), Some(norm)) = (measure, &self.norm) {
                let level = measure.level(given);
                for ((y, gain), bias) in given.iter_mut().zip(&norm.gain).zip(&norm.bias) {
                    *y = (*y - level.mean) / level.deviation * gain + bias;
                }
            }
            let (wanted, target) = (&mut wanted[at..at + units], &aim.target[at..at + units]);
            let both = wanted.iter_mut().zip(target).zip(given.iter());
            match aim.added.get(at..at + units) {
                Some(added) => both.zip(added).for_each(|(((w, t), y), a)| *w = rectified(*t, y + a) - a),
                None => both.for_each(|((w, t), y)| *w = rectified(*t, *y)),
            }
        }
    }

    /// Solves every group.
    fn solved(&self, normals: &[Normal], sums: &[NormalSums], prior: &Weights) -> Weights {
        let size = (self.units * self.inputs).max(1);
        let jobs = normals.par_iter().zip(sums).zip(prior.weights.par_chunks_exact(size));
        let solutions: Vec<Solution> = jobs.map(|((normal, sums), prior)| normal.solve(sums, prior)).collect();
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for solution in solutions {
            weights.extend(solution.weights);
            bias.extend(solution.bias);
        }
        Weights { weights, bias }
    }

    /// What a convolution multiplies its weights with; none for a linear layer.
    fn patches(&self, shard: usize) -> Option<Patches> {
        let Self { work, step, .. } = self;
        let graph = work.program.graph();
        let node = graph.node(self.site.node);
        let Op::Conv(conv) = &node.op else { return None };
        let weight = graph.shape(node.inputs[1]);
        let weight = [&weight[..1], &weight[2..], &weight[1..2]].concat();
        let (_, input) = work.lockstep.input(shard, work.merged(), *step, 0)?;
        Some(Patches::new(conv, [input, &weight, work.lockstep.output_shape(shard, *step)]))
    }

    /// What the merged network feeds a group at these positions, `[rows, inputs]`.
    fn inputs(&self, patches: Option<&Patches>, shard: usize, group: usize, tile: &[u32], x: &mut [f32]) -> Result<()> {
        let Self { work, site, inputs, step, .. } = self;
        let name = || work.program.graph().node(site.node).name.clone();
        let lost = || Error::Options(format!("node `{}`: its input is not computed", name()));
        let (numbers, _) = work.lockstep.input(shard, work.merged(), *step, 0).ok_or_else(lost)?;
        match patches {
            Some(patches) => patches.gather(numbers, group, tile, x),
            None => {
                for (row, position) in x.chunks_exact_mut((*inputs).max(1)).zip(tile) {
                    row.copy_from_slice(&numbers[*position as usize * inputs..][..*inputs]);
                }
            }
        }
        Ok(())
    }

    /// The mix of the ends' weights, a BatchNorm that follows folded in.
    fn prior(&self, layer: &Layer) -> Result<Weights> {
        let Self { work, site, inputs, .. } = self;
        let graph = work.program.graph();
        let all = self.units * self.groups;
        let (mut weights, mut bias) = (vec![0.0; all * inputs], vec![0.0; all]);
        for (end, params) in work.ends.networks.iter().enumerate() {
            let shares = work.ends.share(site.target, end, all)?;
            let of = |value: ValueId| -> Result<Vec<f64>> {
                let value = graph.value(value);
                Ok(params.require(&value.name)?.to_f64()?.into_owned())
            };
            let own = rows(&of(layer.weight)?, graph.shape(layer.weight), layer.form);
            let own_bias = layer.bias.map(of).transpose()?.unwrap_or_else(|| vec![0.0; all]);
            let (mut scale, mut shift) = (vec![1.0; all], own_bias);
            if let Some((norm, [mean, variance])) = site.norm.and_then(|norm| Some((norm, norm.statistics?))) {
                let gain = norm.gain.map(of).transpose()?.unwrap_or_else(|| vec![1.0; all]);
                let bias = norm.bias.map(of).transpose()?.unwrap_or_else(|| vec![0.0; all]);
                let (mean, variance) = (of(mean)?, of(variance)?);
                for unit in 0..all {
                    scale[unit] = gain[unit] / (variance[unit] + norm.epsilon).sqrt();
                    shift[unit] = bias[unit] + scale[unit] * (shift[unit] - mean[unit]);
                }
            }
            for unit in 0..all {
                let to = &mut weights[unit * inputs..][..*inputs];
                let factor = shares[unit] * scale[unit];
                to.iter_mut().zip(&own[unit * inputs..][..*inputs]).for_each(|(t, w)| *t += factor * w);
                bias[unit] += shares[unit] * shift[unit];
            }
        }
        Ok(Weights { weights, bias })
    }
}

/// A weight tensor as `[units, inputs]`, inputs in the order of [`Patches`].
fn rows(values: &[f64], shape: &[usize], form: Form) -> Vec<f64> {
    let mut found = vec![0.0; values.len()];
    each(shape, form, |at, row| found[row] = values[at]);
    found
}

/// Calls `f(position in the tensor, position in [units, inputs])` for every weight.
fn each(shape: &[usize], form: Form, mut f: impl FnMut(usize, usize)) {
    match form {
        Form::Rows => (0..shape.iter().product()).for_each(|at| f(at, at)),
        Form::Columns => {
            let (inputs, units) = (shape[0], shape[1]);
            (0..inputs * units).for_each(|at| f(at, at % units * inputs + at / units));
        }
        Form::Conv { .. } => {
            let (channels, taps) = (shape[1], shape[2..].iter().product::<usize>());
            for unit in 0..shape[0] {
                for channel in 0..channels {
                    for tap in 0..taps {
                        f((unit * channels + channel) * taps + tap, (unit * taps + tap) * channels + channel);
                    }
                }
            }
        }
    }
}

/// Writes what was solved to the tensors of a site; gives those that changed.
fn write(
    work: &Work<'_>,
    site: &Site,
    layer: &Layer,
    solved: &Weights,
    moments: Option<Vec<(f64, f64)>>,
    rows: f64,
    params: &mut Params,
) -> Result<Vec<ValueId>> {
    let shape = work.program.graph().shape(layer.weight);
    let mut weights = vec![0.0; solved.weights.len()];
    each(shape, layer.form, |at, row| weights[at] = solved.weights[row]);
    let mut all = vec![(layer.weight, weights)];
    if let (Some(moments), Some(norm)) = (moments, site.norm) {
        let unbiased = rows / (rows - 1.0).max(1.0);
        let (mean, variance): (Vec<f64>, Vec<f64>) = moments.iter().map(|(m, v)| (*m, v * unbiased)).unzip();
        let gain = variance.iter().map(|v| (v + norm.epsilon).sqrt()).collect();
        let bias = mean.iter().zip(&solved.bias).map(|(mean, b)| mean + b).collect();
        all.extend(layer.bias.map(|value| (value, vec![0.0; solved.bias.len()])));
        all.extend(norm.gain.map(|value| (value, gain)));
        all.extend(norm.bias.map(|value| (value, bias)));
        all.extend(norm.statistics.into_iter().flatten().zip([mean, variance]));
    } else {
        all.extend(layer.bias.map(|value| (value, solved.bias.clone())));
    }
    all.into_iter().map(|(value, numbers)| work.put(params, value, &numbers)).collect()
}
