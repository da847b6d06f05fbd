//! What a site should give: the mix of its ends, less what the merged network adds.

use onebasin_core::graph::ValueId;
use onebasin_core::solve::{NormalSums, Site};
use onebasin_core::stream::Stream;
use rayon::prelude::*;

use super::Work;
use super::lean::Lean;
use super::levels::Levels;
use crate::error::{Error, Result};
use crate::ops::batch_norm::Moments;

/// Which positions of every shard a site is solved from, and what it should give there.
pub(super) struct Targets {
    /// By shard.
    pub(super) positions: Vec<Vec<u32>>,
    /// Mixed mean and deviation in front of a normalisation, where one follows the weights.
    pub(super) levels: Option<Levels>,
    /// What gives the mix the spread of its ends, unit by unit: a mean and a factor; none where it keeps its own.
    spread: Option<Vec<(f32, f32)>>,
    /// Maps to the units of the first network, where targets lean to it.
    lean: Option<Lean>,
}

/// What a site should give at some positions.
pub(super) struct Aim {
    /// The mix of the ends, `[rows, units]`.
    pub(super) target: Vec<f32>,
    /// What the merged network adds, `[rows, units]`; empty where it adds nothing.
    pub(super) added: Vec<f32>,
}

impl Targets {
    /// The positions of a site, whose ends stand at its target.
    pub(super) fn new(work: &Work<'_>, site: &Site) -> Result<Self> {
        let samples = work.lockstep.shards().last().map_or(0, |shard| shard.end);
        let name = &work.program.graph().node(site.node).name;
        let rows = work.rows(site)?;
        let shards = work.lockstep.shards().par_iter().enumerate();
        let chosen = |(shard, run): (usize, &std::ops::Range<usize>)| {
            let view = work.lockstep.view(shard, 0, site.target, site.axis)?;
            let each = view.positions() / run.len().max(1);
            let wanted = rows.div_ceil(samples).clamp(1, each.max(1));
            if wanted >= each {
                return Ok((0..view.positions() as u32).collect());
            }
            let of_sample = |(at, sample): (usize, usize)| {
                let mut stream = Stream::new(work.options.seed, &format!("solve/{name}/{sample}"));
                let mut all: Vec<u32> = (0..each as u32).collect();
                for k in 0..wanted {
                    let other = k + (stream.uniform() * (each - k) as f64) as usize;
                    all.swap(k, other.min(each - 1));
                }
                all.truncate(wanted);
                all.sort_unstable();
                all.into_iter().map(move |p| p + (at * each) as u32)
            };
            Ok(run.clone().enumerate().flat_map(of_sample).collect())
        };
        let positions = shards.map(chosen).collect::<Result<Vec<_>>>()?;
        let lean = if work.options.lean { Lean::of(work, site, &positions)? } else { None };
        let mut targets = Self { positions, levels: None, spread: None, lean };
        if work.options.spread > 0.0 {
            targets.spread = Some(targets.spread_of_ends(work, site)?);
        }
        Ok(targets)
    }

    /// Mean of the mix, and `1 + spread · (Σ share_e σ_e / σ − 1)`, of every unit over the chosen positions.
    fn spread_of_ends(&self, work: &Work<'_>, site: &Site) -> Result<Vec<(f32, f32)>> {
        let ends = work.ends.networks.len();
        let one = |(shard, positions): (usize, &Vec<u32>)| -> Result<Vec<Moments>> {
            let mut found = Vec::new();
            let units = work.lockstep.view(shard, 0, site.target, site.axis)?.units();
            for end in 0..ends {
                let rows = work.rows_of(site.target, site.axis, shard, end, positions)?;
                found.push(Moments::of(&rows, units));
            }
            found.push(Moments::of(&self.mixed(work, site, shard, positions)?, units));
            Ok(found)
        };
        let shards: Vec<Result<Vec<Moments>>> = self.positions.par_iter().enumerate().map(one).collect();
        let mut all: Vec<Moments> = Vec::new();
        for shard in shards {
            let shard = shard?;
            all = if all.is_empty() {
                shard
            } else {
                all.into_iter().zip(&shard).map(|(all, shard)| all.combine(shard)).collect()
            };
        }
        let Some(mixed) = all.pop() else { return Ok(Vec::new()) };
        let units = mixed.mean.len();
        let shares = (0..ends).map(|end| work.ends.share(site.target, end, units)).collect::<Result<Vec<_>>>()?;
        let factor = |unit: usize| {
            let wanted: f64 = all.iter().zip(&shares).map(|(m, s)| s[unit] * m.squares[unit].sqrt()).sum();
            let found = mixed.squares[unit].sqrt();
            // Units that hardly move in the mix would be nothing but what was rounded.
            let ratio = if found > 0.1 * wanted { wanted / found } else { 1.0 };
            (mixed.mean[unit] as f32, (1.0 + work.options.spread * (ratio - 1.0)) as f32)
        };
        Ok((0..units).map(factor).collect())
    }

    /// The mix that is aimed at, `[positions, units]`.
    fn mixed(&self, work: &Work<'_>, site: &Site, shard: usize, positions: &[u32]) -> Result<Vec<f32>> {
        let Some(lean) = &self.lean else { return work.mixed(site.target, site.axis, shard, positions) };
        let mut mixed = Vec::new();
        for end in 0..work.ends.networks.len() {
            let rows = lean.mapped(end, work.rows_of(site.target, site.axis, shard, end, positions)?);
            let units = rows.len() / positions.len().max(1);
            let shares = work.ends.share(site.target, end, units)?;
            mixed.resize(rows.len(), 0.0);
            for (mixed, rows) in mixed.chunks_exact_mut(units.max(1)).zip(rows.chunks_exact(units.max(1))) {
                mixed.iter_mut().zip(rows).zip(&shares).for_each(|((m, r), share)| *m += *share as f32 * r);
            }
        }
        Ok(mixed)
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.positions.iter().map(Vec::len).sum()
    }
}

impl Work<'_> {
    /// Rows that a site is solved from: as many as are wanted or, where the Gram of its inputs takes more memory than there is,
    /// as many as the dual problem has memory for.
    fn rows(&self, site: &Site) -> Result<usize> {
        let wanted = self.options.rows;
        let Some(layer) = site.layer else { return Ok(wanted) };
        let graph = self.program.graph();
        let [groups, inputs, units] = layer.form.sizes(graph.shape(layer.weight));
        let samples = self.lockstep.shards().last().map_or(0, |shard| shard.end);
        let left = self.options.memory.saturating_sub(self.lockstep.bytes());
        let bytes = |rows: usize| {
            let aims = 2 * rows * units * size_of::<f32>();
            groups.saturating_mul(NormalSums::peak(inputs, units / groups, rows)).saturating_add(aims)
        };
        // A sample gives at least one row, and rows are whole multiples of samples.
        let most = |rows: usize| rows.max(samples).next_multiple_of(samples.max(1));
        if bytes(most(wanted)) <= left {
            return Ok(wanted);
        }
        let (mut fits, mut too_many) = (0, (inputs / samples.max(1)).max(1) + 1);
        while too_many - fits > 1 {
            let each = usize::midpoint(fits, too_many);
            if bytes(each * samples) <= left { fits = each } else { too_many = each }
        }
        if fits > 0 {
            return Ok((fits * samples).min(wanted));
        }
        Err(Error::Options(format!(
            "node `{}`: solving its {inputs} inputs on {samples} samples takes {} MiB beside {} MiB of activations, and {} MiB may be \
             taken in all; fewer samples take less",
            graph.node(site.node).name,
            bytes(samples) >> 20,
            self.lockstep.bytes() >> 20,
            self.options.memory >> 20
        )))
    }

    /// What a site should give at these positions of a shard.
    pub(super) fn aim(&self, site: &Site, targets: &Targets, shard: usize, positions: &[u32]) -> Result<Aim> {
        let mut target = targets.mixed(self, site, shard, positions)?;
        if let Some(spread) = &targets.spread {
            for row in target.chunks_exact_mut(spread.len().max(1)) {
                row.iter_mut().zip(spread).for_each(|(t, (mean, factor))| *t = mean + factor * (*t - mean));
            }
        }
        let mut added = Vec::new();
        for value in &site.added {
            let view = self.lockstep.view(shard, self.merged(), *value, site.axis)?;
            added.resize(positions.len() * view.units(), 0.0);
            view.add_rows(positions, &vec![1.0; view.units()], &mut added);
        }
        if target.iter().chain(&added).all(|t| t.is_finite()) {
            return Ok(Aim { target, added });
        }
        let name = &self.program.graph().node(site.node).name;
        Err(Error::Options(format!("node `{name}`: activations are not finite; nothing to solve for")))
    }

    /// What an end gives of a value at these positions of a shard, `[positions, units]`.
    pub(super) fn rows_of(
        &self,
        value: ValueId,
        axis: usize,
        shard: usize,
        end: usize,
        positions: &[u32],
    ) -> Result<Vec<f32>> {
        let view = self.lockstep.view(shard, end, value, axis)?;
        let mut rows = vec![0.0; positions.len() * view.units()];
        view.add_rows(positions, &vec![1.0; view.units()], &mut rows);
        Ok(rows)
    }

    /// The mix of what the ends give of a value at these positions of a shard, `[positions, units]`.
    pub(super) fn mixed(&self, value: ValueId, axis: usize, shard: usize, positions: &[u32]) -> Result<Vec<f32>> {
        let mut mixed = Vec::new();
        for end in 0..self.ends.networks.len() {
            let view = self.lockstep.view(shard, end, value, axis)?;
            mixed.resize(positions.len() * view.units(), 0.0);
            let shares = self.ends.share(value, end, view.units())?;
            view.add_rows(positions, &shares, &mut mixed);
        }
        Ok(mixed)
    }
}

/// What a rectified target becomes where something else is given: itself, if it is positive, and what is given otherwise, as
/// long as that is not.
pub(super) fn rectified(target: f32, given: f32) -> f32 {
    if target > 0.0 { target } else { given.min(0.0) }
}

impl Aim {
    /// The target and what is added, of one number.
    pub(super) fn at(&self, at: usize) -> (f32, f32) {
        (self.target[at], self.added.get(at).copied().unwrap_or(0.0))
    }

    /// What the operator itself should give.
    pub(super) fn own(&self) -> Vec<f32> {
        if self.added.is_empty() {
            return self.target.clone();
        }
        self.target.iter().zip(&self.added).map(|(t, a)| t - a).collect()
    }
}
