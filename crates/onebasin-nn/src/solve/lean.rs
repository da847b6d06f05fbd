//! Targets that lean to the first network: of all others, what tells its units best.

use onebasin_core::linalg::{Mat, Scalar};
use onebasin_core::solve::{NormalSums, Rows, Site, Solution};
use rayon::prelude::*;

use super::Work;
use crate::error::{Error, Result};

/// How strongly maps shrink, as a share of the mean square of a unit: what has no partner hardly counts.
const RIDGE: f64 = 0.1;
/// Rows that are added up at a time.
const TILE: usize = 1024;
/// Lanes whose sums are made side by side.
const LANES: usize = 8;

/// For every network but the first, the map of its units at a site to those of the first.
pub(super) struct Lean {
    maps: Vec<Map>,
}

struct Map {
    /// `[units, units]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Lean {
    /// The maps of a site at these positions of every shard, by least squares of the first network's units on another's; none
    /// where the units are the network's answers, which mean the same in all.
    pub(super) fn of(work: &Work<'_>, site: &Site, positions: &[Vec<u32>]) -> Result<Option<Self>> {
        if work.program.graph().outputs().contains(&site.target) {
            return Ok(None);
        }
        let maps = (1..work.ends.networks.len()).map(|end| Map::of(work, site, positions, end));
        Ok(Some(Self { maps: maps.collect::<Result<_>>()? }))
    }

    /// What rows `[positions, units]` of network `end` become.
    pub(super) fn mapped(&self, end: usize, rows: Vec<f32>) -> Vec<f32> {
        let Some(Map { weights, bias }) = end.checked_sub(1).and_then(|at| self.maps.get(at)) else { return rows };
        let units = bias.len();
        let count = rows.len() / units.max(1);
        let mut mapped = bias.repeat(count);
        f32::matmul(&mut mapped, Mat::new(&rows, count, units), Mat::new(weights, units, units).t(), true);
        mapped
    }
}

impl Map {
    fn of(work: &Work<'_>, site: &Site, positions: &[Vec<u32>], end: usize) -> Result<Self> {
        let units = work.program.graph().shape(site.target)[site.axis];
        let rows = positions.iter().map(Vec::len).sum();
        let lanes = positions.len().div_ceil(LANES).max(1);
        let lane = |(first, positions): (usize, &[Vec<u32>])| -> Result<NormalSums> {
            let mut sums = NormalSums::new(units, units, rows);
            for (shard, positions) in (first * lanes..).zip(positions) {
                for tile in positions.chunks(TILE) {
                    let of = |end| work.rows_of(site.target, site.axis, shard, end, tile);
                    sums.add(&Rows { inputs: &of(end)?, targets: &of(0)?, weights: None });
                }
            }
            Ok(sums)
        };
        let found: Vec<Result<NormalSums>> = positions.par_chunks(lanes).enumerate().map(lane).collect();
        let mut all = NormalSums::new(units, units, rows);
        for sums in found {
            all.absorb(sums?);
        }
        let name = || work.program.graph().node(site.node).name.clone();
        let lost = || Error::Options(format!("node `{}`: activations are not finite; nothing to solve for", name()));
        let normal = all.normal(true, RIDGE).ok_or_else(lost)?;
        let Solution { weights, bias } = normal.solve(&all, &vec![0.0; units * units]);
        let single = |numbers: Vec<f64>| numbers.into_iter().map(|x| x as f32).collect();
        Ok(Self { weights: single(weights), bias: single(bias) })
    }
}
