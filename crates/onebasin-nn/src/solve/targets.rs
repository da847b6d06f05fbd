//! What a site should give: the mix of its ends, less what the merged network adds.

use onebasin_core::graph::ValueId;
use onebasin_core::solve::Site;
use onebasin_core::stream::Stream;
use rayon::prelude::*;

use super::Work;
use super::levels::Levels;
use crate::error::{Error, Result};

/// Which positions of every shard a site is solved from, and what it should give there.
pub(super) struct Targets {
    /// By shard.
    pub(super) positions: Vec<Vec<u32>>,
    /// Mixed mean and deviation in front of a normalisation, by shard, for the chosen positions.
    pub(super) levels: Option<Levels>,
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
        let shards = work.lockstep.shards().par_iter().enumerate();
        let chosen = |(shard, run): (usize, &std::ops::Range<usize>)| {
            let view = work.view(shard, 0, site.target, site.axis)?;
            let each = view.positions() / run.len().max(1);
            let wanted = work.options.rows.div_ceil(samples).clamp(1, each.max(1));
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
        Ok(Self { positions, levels: None })
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.positions.iter().map(Vec::len).sum()
    }
}

impl Work<'_> {
    /// A value of a shard of a network, which stands where it is there.
    pub(super) fn view(
        &self,
        shard: usize,
        network: usize,
        value: ValueId,
        axis: usize,
    ) -> Result<crate::exec::View<'_>> {
        self.lockstep.view(shard, network, value, axis).ok_or_else(|| {
            let name = &self.program.graph().value(value).name;
            Error::Options(format!("value `{name}` cannot be looked at where it is needed"))
        })
    }

    /// What a site should give at these positions of a shard.
    pub(super) fn aim(&self, site: &Site, shard: usize, positions: &[u32]) -> Result<Aim> {
        let mut target = Vec::new();
        for end in 0..self.ends.networks.len() {
            let view = self.view(shard, end, site.target, site.axis)?;
            target.resize(positions.len() * view.units(), 0.0);
            let shares = self.ends.share(site.target, end, view.units())?;
            view.add_rows(positions, &shares, &mut target);
        }
        let mut added = Vec::new();
        for value in &site.added {
            let view = self.view(shard, self.merged(), *value, site.axis)?;
            added.resize(positions.len() * view.units(), 0.0);
            view.add_rows(positions, &vec![1.0; view.units()], &mut added);
        }
        match target.iter().chain(&added).all(|t| t.is_finite()) {
            true => Ok(Aim { target, added }),
            false => Err(Error::Options(format!(
                "node `{}`: activations are not finite; nothing to solve for",
                self.program.graph().node(site.node).name
            ))),
        }
    }
}

impl Aim {
    /// What the operator itself should give.
    pub(super) fn own(&self) -> Vec<f32> {
        if self.added.is_empty() {
            return self.target.clone();
        }
        self.target.iter().zip(&self.added).map(|(t, a)| t - a).collect()
    }
}
