//! Weights that are used more than once: which of their uses are solved at once, and how often they are walked over.

use std::collections::BTreeMap;

use onebasin_core::Params;
use onebasin_core::graph::{NodeId, ValueId};
use onebasin_core::solve::{Layer, LeftOut, Site, lookups};

use super::layer::TiedSums;
use super::targets::Targets;
use super::{Walk, Work};
use crate::error::Result;

/// Walks of a graph in which uses of a weight depend on each other, besides the first.
pub(super) const ROUNDS: usize = 3;

/// How much of the way to what is solved for weights go once the graph was walked through so often: what reaches a use changes
/// with them, so that all of it may be too far.
pub(super) fn step(walked: usize) -> f64 {
    0.5_f64.powi(walked.saturating_sub(1) as i32)
}

/// What is solved at once: a site, or all uses of one weight.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) sites: Vec<Site>,
    /// Whether it is a use of a weight of which another use depends on this one, or this on it: it is added up, and the weight
    /// solved for behind the last one.
    pub(super) depends: bool,
}

impl Step {
    /// The weight that is solved for.
    pub(super) fn weight(&self) -> Option<ValueId> {
        Some(self.sites.first()?.layer?.weight)
    }
}

/// The steps of a solve, in running order; sites that are never run are none.
pub(super) fn steps(work: &Work<'_>, sites: Vec<Site>) -> Vec<Step> {
    let sites: Vec<Site> = sites.into_iter().filter(|site| work.lockstep.step(site.node).is_some()).collect();
    let mut steps: Vec<Step> = Vec::new();
    for site in &sites {
        let Some(layer) = site.layer.filter(|layer| layer.tied) else {
            steps.push(Step { sites: vec![site.clone()], depends: false });
            continue;
        };
        let uses = sites.iter().filter(|other| other.layer.is_some_and(|other| other.weight == layer.weight));
        let uses: Vec<Site> = uses.cloned().collect();
        if !are_known(work, &uses) || lookups(work.program.graph(), layer.weight).next().is_some() {
            steps.push(Step { sites: vec![site.clone()], depends: true });
        } else if uses[0].node == site.node {
            steps.push(Step { sites: uses, depends: false });
        }
    }
    steps
}

/// Whether all that reaches these sites is computed in front of the first.
fn are_known(work: &Work<'_>, uses: &[Site]) -> bool {
    let at = |site: &Site| work.lockstep.step(site.node);
    let Some(first) = uses.iter().filter_map(at).min() else { return false };
    uses.iter().filter_map(at).all(|step| work.lockstep.is_computed(step, first))
}

/// What was added up over the uses of weights of which some depend on others.
#[derive(Debug, Default)]
pub(super) struct Tied {
    by_weight: BTreeMap<ValueId, Uses>,
    /// Of weights whose units are looked up by number: how often each was.
    looked_up: BTreeMap<ValueId, Vec<f64>>,
}

#[derive(Debug)]
struct Uses {
    site: Site,
    layer: Layer,
    sums: TiedSums,
}

impl Tied {
    /// Adds a use, to whose target the ends run, and to whose operator the merged network.
    pub(super) fn add(&mut self, work: &mut Work<'_>, site: &Site, params: &Params) -> Result<()> {
        let Some(layer) = site.layer else { return Ok(()) };
        let (start, end) = (work.step(site.node)?, work.step(site.end)?);
        work.run_ends(end + 1);
        work.run_merged(start);
        let targets = Targets::new(work, site)?;
        let found = self.by_weight.remove(&layer.weight).map(|uses| uses.sums);
        let sums = TiedSums::add(found, work, site, &layer, &targets, params)?;
        self.by_weight.insert(layer.weight, Uses { site: site.clone(), layer, sums });
        Ok(())
    }

    /// Counts how often every unit of a weight is looked up by a node, to which the merged network runs.
    pub(super) fn count(&mut self, work: &mut Work<'_>, weight: ValueId, node: NodeId) -> Result<()> {
        let step = work.step(node)?;
        work.run_merged(step);
        let units = work.program.graph().shape(weight)[0];
        let counts = self.looked_up.entry(weight).or_insert_with(|| vec![0.0; units]);
        for shard in 0..work.lockstep.shards().len() {
            let Some((numbers, _)) = work.lockstep.input(shard, work.merged(), step, 1) else { continue };
            for number in numbers {
                let at = if *number < 0.0 { *number as f64 + units as f64 } else { f64::from(*number) };
                if let Some(count) = counts.get_mut(at as usize) {
                    *count += 1.0;
                }
            }
        }
        Ok(())
    }

    /// Solves for all weights and moves those of a network by a share of the way.
    pub(super) fn solve(&self, walk: &Walk<'_>, share: f64, params: &mut Params) -> Result<()> {
        for (weight, Uses { site, layer, sums }) in &self.by_weight {
            let pull = self.looked_up.get(weight).map(|counts| sums.pull(counts));
            sums.solve(walk, site, layer, (share, pull.as_deref()), params)?;
        }
        Ok(())
    }

    /// The weights that a network has from the average, which answered better.
    pub(super) fn left(&self, walk: &Walk<'_>, params: &Params) -> Result<Vec<LeftOut>> {
        let graph = walk.program.graph();
        let mut left = Vec::new();
        for Uses { site, layer, sums } in self.by_weight.values() {
            let why = format!(
                "its `{}` is used more than once, one use behind the other, and the average of it answers better than what all uses \
                 together are solved for",
                graph.value(layer.weight).name
            );
            if sums.is_average(graph, layer, params)? {
                left.push(LeftOut { node: graph.node(site.node).name.clone(), why });
            }
        }
        Ok(left)
    }
}
