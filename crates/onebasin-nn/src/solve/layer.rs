//! The weights of a site.

use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::graph::{Graph, Op, ValueId};
use onebasin_core::linalg::{Mat, Scalar};
use onebasin_core::matching::RowProducts;
use onebasin_core::solve::{Form, Layer, Normal, NormalSums, Rows, Site, Solution};
use rayon::prelude::*;

use super::gain::{Sums, line};
use super::levels::Measure;
use super::targets::{Aim, Targets, rectified};
use super::{Walk, Work, put};
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
    /// Where the weights are used.
    places: Vec<Place<'a>>,
    /// Rows of all places; more than any number where they are of other walks as well.
    rows: usize,
    groups: usize,
    /// Inputs of a group.
    inputs: usize,
    /// Units of a group.
    units: usize,
    /// Mixed gain and bias of a normalisation that follows, and the mean deviation in front of it.
    norm: Option<NormAim>,
}

/// A site that uses the weights.
struct Place<'a> {
    site: &'a Site,
    targets: &'a Targets,
    /// What the site should give, by shard and tile.
    aims: Vec<Vec<Aim>>,
    step: usize,
    /// How much each of its rows counts, where the weights are used at several places: one over the variance of
    /// all that is wanted there, so that what is minimised is the sum of `rows · (1 − R²)` over places.
    count: Option<f32>,
}

/// What turns an aim behind a normalisation into one in front of it.
struct NormAim {
    gain: Vec<f32>,
    bias: Vec<f32>,
    mean_deviation: f32,
}

/// Weights `[units, inputs]` of all groups, one after the other, and biases.
#[derive(Debug)]
struct Weights {
    weights: Vec<f64>,
    bias: Vec<f64>,
}

/// Solves for the weights of sites that share them, writes them to `params`, and gives what changed.
pub(super) fn solve(
    work: &Work<'_>,
    uses: &[(&Site, &Targets)],
    layer: &Layer,
    params: &mut Params,
) -> Result<Vec<ValueId>> {
    let graph = work.program.graph();
    let Some(&(site, _)) = uses.first() else { return Ok(Vec::new()) };
    let folded = site.norm.and_then(|norm| Some((norm, norm.statistics?)));
    let design = Design::new(work, uses, layer, params)?;
    let inputs = design.inputs;
    let intercept = layer.bias.is_some() || folded.is_some();
    let prior = design.prior(layer)?;

    // Units of one group cannot tell what a normalisation over all of them gives.
    let has_rounds =
        uses.iter().any(|(site, _)| site.rectified) && (design.norm.is_none() || design.is_measured_by_row());
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
    write(graph, site, layer, &solved, moments, design.rows as f64, params)
}

/// Fits the scale and shift of every unit of a layer, writes them to its weights and bias, and gives what changed.
pub(super) fn scale(
    work: &Work<'_>,
    site: &Site,
    layer: &Layer,
    targets: &Targets,
    params: &mut Params,
) -> Result<Vec<ValueId>> {
    let graph = work.program.graph();
    let design = Design::new(work, &[(site, targets)], layer, params)?;
    let mut own = Weights::of(graph, layer, params)?;
    let units = own.bias.len();
    // Of every unit: rows, sum and squares of what it gives.
    let given = design.lines(&own, None)?;
    let level = |sums: &Sums| {
        let mean = if layer.bias.is_some() { sums[1] / sums[0].max(1.0) } else { 0.0 };
        (mean, (sums[3] / sums[0].max(1.0) - mean * mean).max(0.0).sqrt())
    };
    let levels: Vec<(f64, f64)> = given.iter().map(level).collect();
    let mut fitted: Vec<(f64, f64)> = vec![(1.0, 0.0); units];
    let rounds = if site.rectified { work.options.rounds } else { 0 };
    for round in 0..=rounds {
        let sums = design.lines(&own, (round > 0).then_some(&fitted[..]))?;
        for (fitted, (sums, (mean, deviation))) in fitted.iter_mut().zip(sums.iter().zip(&levels)) {
            if *deviation <= 1e-6 * mean.abs() || *deviation == 0.0 {
                continue;
            }
            let [rows, y, wanted, squares, products] = *sums;
            let n = (y - mean * rows) / deviation;
            let squared = (squares - 2.0 * mean * y + mean * mean * rows) / (deviation * deviation);
            let product = (products - mean * wanted) / deviation;
            let line = line(&[rows, n, wanted, squared, product], (*deviation, *mean), [true, layer.bias.is_some()]);
            let factor = line.0 / deviation;
            *fitted = (factor, line.1 - factor * mean);
        }
    }
    for ((row, bias), (factor, shift)) in
        own.weights.chunks_exact_mut(design.inputs.max(1)).zip(&mut own.bias).zip(&fitted)
    {
        for weight in row {
            *weight *= factor;
        }
        *bias = factor * *bias + shift;
    }
    write(graph, site, layer, &own, None, 0.0, params)
}

/// What is added up over the uses of tied weights of which some depend on others, in one walk of the graph.
#[derive(Debug)]
pub(super) struct TiedSums {
    sums: Vec<NormalSums>,
    /// Of the weights of A and B.
    prior: Weights,
}

impl Weights {
    /// Those of a layer.
    fn of(graph: &Graph, layer: &Layer, params: &Params) -> Result<Self> {
        let of = |value: ValueId| -> Result<Vec<f64>> {
            Ok(params.require(&graph.value(value).name)?.to_f64()?.into_owned())
        };
        let shape = graph.shape(layer.weight);
        let [_, _, units] = layer.form.sizes(shape);
        let bias = layer.bias.map(of).transpose()?.unwrap_or_else(|| vec![0.0; units]);
        Ok(Self { weights: rows(&of(layer.weight)?, shape, layer.form), bias })
    }
}

impl TiedSums {
    /// Adds a use, where the merged network stands with the weights that it has. What is not positive in front of a rectifier
    /// is wanted where these put it.
    pub(super) fn add(
        found: Option<Self>,
        work: &Work<'_>,
        site: &Site,
        layer: &Layer,
        targets: &Targets,
        params: &Params,
    ) -> Result<Self> {
        let graph = work.program.graph();
        let mut design = Design::new(work, &[(site, targets)], layer, params)?;
        design.rows = usize::MAX;
        let bytes = NormalSums::peak(design.inputs, design.units, design.rows).saturating_mul(design.groups);
        if bytes > work.options.memory.saturating_sub(work.lockstep.bytes()) {
            return Err(Error::Options(format!(
                "node `{}`: adding up all uses of its {} inputs takes {} MiB beside {} MiB of activations, and {} MiB may be taken in \
                 all; fewer samples take less",
                graph.node(site.node).name,
                design.inputs,
                bytes >> 20,
                work.lockstep.bytes() >> 20,
                work.options.memory >> 20
            )));
        }
        let now = Weights::of(graph, layer, params)?;
        let sums = design.sums(&design.lanes(), Some(&now), None)?;
        Ok(match found {
            None => Self { sums, prior: design.prior(layer)? },
            Some(mut all) => {
                all.sums.iter_mut().zip(sums).for_each(|(all, sums)| all.absorb(sums));
                all
            }
        })
    }

    /// How strongly every unit is held to the average where it is looked up so often: see [`Place::count`].
    pub(super) fn pull(&self, counts: &[f64]) -> Vec<f64> {
        let inputs = self.prior.weights.len() / counts.len().max(1);
        let (rows, mut spread) = (counts.iter().sum::<f64>().max(1.0), 0.0);
        for input in 0..inputs {
            let of_units = || self.prior.weights.iter().skip(input).step_by(inputs).zip(counts);
            let mean = of_units().map(|(w, n)| w * n).sum::<f64>() / rows;
            spread += of_units().map(|(w, n)| n * (w - mean) * (w - mean)).sum::<f64>();
        }
        let count = if spread > 0.0 { rows / spread } else { 1.0 };
        counts.iter().map(|n| n * count).collect()
    }

    /// Whether a network has the average of the weights, but for rounding.
    pub(super) fn is_average(&self, graph: &Graph, layer: &Layer, params: &Params) -> Result<bool> {
        let now = Weights::of(graph, layer, params)?;
        let largest = self.prior.weights.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
        let mut both = now.weights.iter().zip(&self.prior.weights);
        Ok(both.all(|(now, average)| (now - average).abs() <= 1e-6 * largest))
    }

    /// Solves for the weights, of which every unit is held to the average by `pull` besides, and moves those of `params` by a
    /// share of the way.
    pub(super) fn solve(
        &self,
        walk: &Walk<'_>,
        site: &Site,
        layer: &Layer,
        (share, pull): (f64, Option<&[f64]>),
        params: &mut Params,
    ) -> Result<()> {
        let graph = walk.program.graph();
        let now = Weights::of(graph, layer, params)?;
        let failed = || Error::Options(format!("node `{}`: its inputs are not finite", graph.node(site.node).name));
        let (intercept, ridge) = (layer.bias.is_some(), walk.options.ridge);
        let size = self.prior.weights.len() / self.sums.len().max(1);
        let mut solved = Weights { weights: Vec::new(), bias: Vec::new() };
        for (sums, prior) in self.sums.iter().zip(self.prior.weights.chunks_exact(size.max(1))) {
            let found = match pull {
                Some(pull) => sums.pulled(intercept, ridge, prior, pull).ok_or_else(failed)?,
                None => sums.normal(intercept, ridge).ok_or_else(failed)?.solve(sums, prior),
            };
            solved.weights.extend(found.weights);
            solved.bias.extend(found.bias);
        }
        let both = solved.weights.iter_mut().zip(&now.weights).chain(solved.bias.iter_mut().zip(&now.bias));
        both.for_each(|(solved, now)| *solved = now + share * (*solved - now));
        write(graph, site, layer, &solved, None, 0.0, params).map(drop)
    }
}

impl<'a> Design<'a> {
    /// The sites that use the weights of `layer`, whose inputs the merged network has computed.
    fn new(work: &'a Work<'a>, uses: &[(&'a Site, &'a Targets)], layer: &Layer, params: &Params) -> Result<Self> {
        let graph = work.program.graph();
        let [groups, inputs, all] = layer.form.sizes(graph.shape(layer.weight));
        let mut places = Vec::with_capacity(uses.len());
        for &(site, targets) in uses {
            let aims = |(shard, positions): (usize, &Vec<u32>)| {
                positions.chunks(TILE).map(|tile| work.aim(site, targets, shard, tile)).collect::<Result<Vec<Aim>>>()
            };
            let aims = targets.positions.par_iter().enumerate().map(aims).collect::<Result<Vec<_>>>()?;
            let count = layer.tied.then(|| count(&aims, all));
            places.push(Place { site, targets, aims, step: work.step(site.node)?, count });
        }
        let rows = uses.iter().map(|(_, targets)| targets.rows()).sum();
        let norm = match uses {
            [(site, targets)] => NormAim::of(work, site, targets, params)?,
            _ => None,
        };
        Ok(Self { work, places, rows, groups, inputs, units: all / groups, norm })
    }
}

/// How much a row counts of all that is wanted at a place, `[rows, units]`: see [`Place::count`].
fn count(aims: &[Vec<Aim>], units: usize) -> f32 {
    let mut sums = vec![[0.0_f64; 2]; units];
    let mut rows = 0.0;
    for aim in aims.iter().flatten() {
        for row in aim.own().chunks_exact(units.max(1)) {
            rows += 1.0;
            sums.iter_mut().zip(row).for_each(|(sum, r)| {
                sum[0] += f64::from(*r);
                sum[1] += f64::from(*r) * f64::from(*r);
            });
        }
    }
    let spread: f64 = sums.iter().map(|[sum, squares]| (squares - sum * sum / f64::max(rows, 1.0)).max(0.0)).sum();
    let squares: f64 = sums.iter().map(|[_, squares]| squares).sum();
    // Where nothing varies by more than rounding, rows count as those of a place that does.
    let spread = if spread > 1e-9 * squares { spread } else { squares };
    if spread > 0.0 { (rows / spread) as f32 } else { 1.0 }
}

impl NormAim {
    /// Of a normalisation that follows the weights of a site.
    fn of(work: &Work<'_>, site: &Site, targets: &Targets, params: &Params) -> Result<Option<Self>> {
        let graph = work.program.graph();
        let (Some(norm), Some(levels)) = (site.norm, &targets.levels) else { return Ok(None) };
        let units = graph.shape(site.target)[site.axis];
        let of = |value: Option<ValueId>, usual: f32| -> Result<Vec<f32>> {
            let Some(value) = value else { return Ok(vec![usual; units]) };
            Ok(params.require(&graph.value(value).name)?.to_f32()?.into_owned())
        };
        let (gain, bias) = (of(norm.gain, 1.0)?, of(norm.bias, 0.0)?);
        let sums = levels.by_shard.iter().map(|l| l.iter().map(|l| f64::from(l.deviation)).sum::<f64>());
        let count = levels.by_shard.iter().map(Vec::len).sum::<usize>().max(1);
        Ok(Some(Self { gain, bias, mean_deviation: (sums.sum::<f64>() / count as f64) as f32 }))
    }
}

/// Sums of one lane, products on a device where there is one.
struct Summed {
    sums: NormalSums,
    products: Option<Box<dyn RowProducts>>,
}

impl Summed {
    fn new(sums: NormalSums, design: &Design<'_>) -> Result<Self> {
        let device = design.work.device.filter(|_| sums.sums_products());
        let products = device.map(|device| device.rows(design.inputs, design.units)).transpose()?.flatten();
        Ok(Self { sums, products })
    }

    fn add(&mut self, rows: &Rows<'_>) -> Result<()> {
        if let Some(products) = &mut self.products {
            return Ok(self.sums.add_on(rows, &mut **products)?);
        }
        self.sums.add(rows);
        Ok(())
    }

    fn finish(mut self) -> Result<NormalSums> {
        if let Some(products) = self.products.take() {
            self.sums.take(&*products)?;
        }
        Ok(self.sums)
    }
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
        let new = |group: usize| {
            let fresh = || NormalSums::new(self.inputs, self.units, self.rows);
            before.map_or_else(fresh, |before| before[group].again())
        };
        let lane = |shards: &Range<usize>| {
            let mut sums = (0..self.groups).map(|group| Summed::new(new(group), self)).collect::<Result<Vec<_>>>()?;
            let mut inputs = Vec::new();
            for shard in shards.clone() {
                for place in &self.places {
                    self.shard(place, shard, rectify, &mut inputs, &mut sums)?;
                }
            }
            sums.into_iter().map(Summed::finish).collect()
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

    /// Adds the rows of a shard of a place.
    fn shard(
        &self,
        place: &Place<'_>,
        shard: usize,
        rectify: Option<&Weights>,
        x: &mut Vec<f32>,
        sums: &mut [Summed],
    ) -> Result<()> {
        let Self { groups, inputs, units, .. } = self;
        let patches = self.patches(place, shard);
        let rectify = rectify.filter(|_| place.site.rectified);
        for (tile, aim) in place.targets.positions[shard].chunks(TILE).zip(&place.aims[shard]) {
            let (own, mut wanted) = (aim.own(), Vec::new());
            let weights = self.weights(place, shard, tile);
            for (group, sums) in sums.iter_mut().enumerate() {
                x.resize(tile.len() * inputs, 0.0);
                self.inputs(place, patches.as_ref(), shard, group, tile, x)?;
                wanted.clone_from(&own);
                if let Some(solved) = rectify {
                    self.rectify(aim, group, x, solved, &mut wanted);
                }
                self.in_front(place, shard, tile, &mut wanted);
                if *groups == 1 {
                    sums.add(&Rows { inputs: x, targets: &wanted, weights: weights.as_deref() })?;
                } else {
                    let rows = wanted.chunks_exact(groups * units);
                    let of_group: Vec<f32> = rows.flat_map(|row| &row[group * units..][..*units]).copied().collect();
                    sums.add(&Rows { inputs: x, targets: &of_group, weights: weights.as_deref() })?;
                }
            }
        }
        Ok(())
    }

    /// Of every unit, sums over all rows of what these weights give, of what is wanted, of the squares of the first and of the
    /// products of both. Where lines are given, what is not positive is wanted where they put it.
    fn lines(&self, own: &Weights, lines: Option<&[(f64, f64)]>) -> Result<Vec<Sums>> {
        let Self { groups, inputs, units, work, .. } = self;
        let place = &self.places[0];
        work.lockstep.add_up(|shard| {
            let (patches, mut x) = (self.patches(place, shard), Vec::new());
            let mut sums: Vec<Sums> = vec![[0.0; 5]; groups * units];
            for (tile, aim) in place.targets.positions[shard].chunks(TILE).zip(&place.aims[shard]) {
                for group in 0..*groups {
                    x.resize(tile.len() * inputs, 0.0);
                    self.inputs(place, patches.as_ref(), shard, group, tile, &mut x)?;
                    let given = self.given(group, &x, own);
                    for (row, given) in given.chunks_exact((*units).max(1)).enumerate() {
                        for (unit, y) in given.iter().enumerate() {
                            let unit = group * units + unit;
                            let (target, added) = aim.at(row * groups * units + unit);
                            let target = match lines {
                                Some(lines) => {
                                    rectified(target, lines[unit].0 as f32 * y + lines[unit].1 as f32 + added)
                                }
                                None => target,
                            };
                            let (y, r) = (f64::from(*y), f64::from(target - added));
                            sums[unit].iter_mut().zip([1.0, y, r, y * y, y * r]).for_each(|(sum, term)| *sum += term);
                        }
                    }
                }
            }
            Ok(sums)
        })
    }

    /// What weights give of the inputs of a group, `[rows, units]`.
    fn given(&self, group: usize, x: &[f32], own: &Weights) -> Vec<f32> {
        let Self { inputs, units, .. } = self;
        let rows = x.len() / inputs.max(&1);
        let of_group = &own.weights[group * units * inputs..][..units * inputs];
        let weights: Vec<f32> = of_group.iter().map(|w| *w as f32).collect();
        let mut given = vec![0.0; rows * units];
        f32::matmul(&mut given, Mat::new(x, rows, *inputs), Mat::new(&weights, *units, *inputs).t(), false);
        let bias = &own.bias[group * units..][..*units];
        for row in given.chunks_exact_mut((*units).max(1)) {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += *b as f32);
        }
        given
    }

    /// Whether a normalisation measures all units of a position, and no other position.
    fn is_measured_by_row(&self) -> bool {
        self.groups == 1 && self.measure().is_some_and(|m| m.groups == 1 && !m.over_positions)
    }

    /// How the normalisation that follows gathers its numbers.
    fn measure(&self) -> Option<Measure> {
        let [Place { site, .. }] = &self.places[..] else { return None };
        site.norm.and_then(|norm| Measure::of(&self.work.program.graph().node(norm.node).op))
    }

    /// Turns what should be given behind a normalisation into what should be given in front of it.
    fn in_front(&self, place: &Place<'_>, shard: usize, tile: &[u32], wanted: &mut [f32]) {
        let (Some(NormAim { gain, bias, .. }), Some(levels)) = (&self.norm, &place.targets.levels) else { return };
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

    /// How much each row counts: where a deviation multiplies what should be given, less the larger it is; where weights are used
    /// at several places, as their place says.
    fn weights(&self, place: &Place<'_>, shard: usize, tile: &[u32]) -> Option<Vec<f32>> {
        if let Some(count) = place.count {
            return Some(vec![count; tile.len()]);
        }
        let (norm, levels) = (self.norm.as_ref()?, place.targets.levels.as_ref().filter(|levels| levels.groups == 1)?);
        let count = |position: &u32| (levels.of(shard, *position)[0].deviation + 0.1 * norm.mean_deviation).powi(-2);
        Some(tile.iter().map(count).collect())
    }

    /// Leaves what is not positive where the solved weights put it.
    fn rectify(&self, aim: &Aim, group: usize, x: &[f32], solved: &Weights, wanted: &mut [f32]) {
        let Self { groups, units, .. } = self;
        let mut given = self.given(group, x, solved);
        let measure = self.measure();
        for (row, given) in given.chunks_exact_mut(*units).enumerate() {
            let at = row * groups * units + group * units;
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
    fn patches(&self, place: &Place<'_>, shard: usize) -> Option<Patches> {
        let (work, step) = (self.work, place.step);
        let graph = work.program.graph();
        let node = graph.node(place.site.node);
        let Op::Conv(conv) = &node.op else { return None };
        let weight = graph.shape(node.inputs[1]);
        let weight = [&weight[..1], &weight[2..], &weight[1..2]].concat();
        let (_, input) = work.lockstep.input(shard, work.merged(), step, 0)?;
        Some(Patches::new(conv, [input, &weight, work.lockstep.output_shape(shard, step)]))
    }

    /// What the merged network feeds a group at these positions, `[rows, inputs]`.
    fn inputs(
        &self,
        place: &Place<'_>,
        patches: Option<&Patches>,
        shard: usize,
        group: usize,
        tile: &[u32],
        x: &mut [f32],
    ) -> Result<()> {
        let Self { work, inputs, .. } = self;
        let Place { site, step, .. } = place;
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
        let Self { work, places, inputs, .. } = self;
        let site = places[0].site;
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
    graph: &Graph,
    site: &Site,
    layer: &Layer,
    solved: &Weights,
    moments: Option<Vec<(f64, f64)>>,
    rows: f64,
    params: &mut Params,
) -> Result<Vec<ValueId>> {
    let shape = graph.shape(layer.weight);
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
    all.into_iter().map(|(value, numbers)| put(graph, params, value, &numbers)).collect()
}
