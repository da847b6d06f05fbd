//! How much of what its ends compute a merged network still computes, site by site.

use onebasin_core::Params;
use onebasin_core::graph::{ValueId, ValueSource};
use onebasin_core::solve::{sites, solving_order};
use serde::{Deserialize, Serialize};

use super::{Ends, SolveOptions, Work};
use crate::error::{Error, Result};
use crate::exec::Program;
use crate::samples::Samples;

/// Rows that are looked at at a time.
const TILE: usize = 1024;
/// What single precision makes of sums of a few thousand products, squared.
const ROUNDING: f64 = 1e-10;

/// How well a merged network follows its ends at a site.
///
/// ```
/// use onebasin_nn::SiteFit;
/// let fit = SiteFit { node: "layer3.2.conv2".to_owned(), explained: 0.6 };
/// assert_eq!(serde_json::to_string(&fit)?, r#"{"node":"layer3.2.conv2","explained":0.6}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteFit {
    /// Name of the site's operator.
    pub node: String,
    /// R²: share of the variance of the mixed ends that the merged network explains; 1 is all, and below 0 their mean
    /// would do better.
    pub explained: f64,
}

/// How well a merged network follows its ends, from its first site to what it answers.
///
/// ```
/// use onebasin_nn::{Profile, SiteFit};
/// let fit = |node: &str, explained| SiteFit { node: node.to_owned(), explained };
/// let profile = Profile { sites: vec![fit("conv1", 0.9)], outputs: vec![fit("logits", 0.8), fit("boxes", 0.4)] };
/// assert_eq!(profile.answered(), 0.4);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Sites in running order, by the name of their operator.
    pub sites: Vec<SiteFit>,
    /// Outputs of the graph, by name, but for single numbers: what is behind the last site, solved or not, shows here.
    pub outputs: Vec<SiteFit>,
}

impl Profile {
    /// R² of the output that is explained least; of the last site, where outputs are single numbers.
    pub fn answered(&self) -> f64 {
        let outputs =
            if self.outputs.is_empty() { &self.sites[self.sites.len().saturating_sub(1)..] } else { &self.outputs };
        outputs.iter().map(|fit| fit.explained).fold(f64::INFINITY, f64::min)
    }
}

/// Where a merge breaks: at every site and every output, how much of what its ends compute there the merged network explains.
/// Needs no labels.
///
/// Formula: `R² = 1 − Σ |y − T|² / Σ |T − T̄|²` over samples, positions and units, with `y` what the merged network gives
/// at the site and `T` the mix of its ends, both rectified where nothing else of them is used; `T̄` is the mean of a unit.
/// Where `T` does not vary by more than rounding (`1e−10 (Σ T² + Σ |y − T|²)`), that takes the place of the lower sum, so that
/// R² is never below `1 − 1e10`, which is also that of a merged network whose numbers are not finite.
///
/// Cost: a forward pass of all ends and of the merged network.
///
/// # Errors
/// If a tensor is missing or does not fit, there are no samples or they do not fit, or activations of the ends are not finite.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Ends, Network, profile};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let (graph, a, b) = (network.graph()?, network.init(0)?, network.init(1)?);
/// let data = synthetic(&graph, 50, 0)?;
/// let program = Program::new(graph)?;
/// // A explains all of itself at λ = 0, and less than that half-way to B.
/// let fit = |lambda| profile(&program, &Ends::pair([&a, &b], lambda), &a, &data);
/// assert!(fit(0.0)?.answered() > 0.999);
/// assert!(fit(0.5)?.sites[0].explained < 0.9);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn profile(program: &Program, ends: &Ends<'_>, merged: &Params, data: &dyn Samples) -> Result<Profile> {
    ends.check()?;
    let program = program.of(solving_order(program.graph()))?;
    let graph = program.graph();
    let (sites, _) = sites(graph);
    let options = SolveOptions::default();
    let mut work = Work::new(&program, ends, merged, data, &options)?;
    let mut found = Vec::new();
    for site in sites {
        let Some(end) = work.lockstep.step(site.end) else { continue };
        work.run_ends(end + 1);
        work.run_merged(end + 1);
        let node = graph.node(site.node).name.clone();
        let of = Place { value: site.target, axis: site.axis, rectified: site.rectified };
        found.push(SiteFit { node, explained: explained(&work, of)? });
    }
    let mut outputs = Vec::new();
    for &value in graph.outputs() {
        let ValueSource::Node(node, _) = graph.value(value).source else { continue };
        let (Some(step), rank) = (work.lockstep.step(node), graph.shape(value).len()) else { continue };
        if rank > 1 {
            work.run_ends(step + 1);
            work.run_merged(step + 1);
            // Classes and features stand on axis 1, or on the last where there are positions before them.
            let of = Place { value, axis: if rank == 3 { 2 } else { 1 }, rectified: false };
            outputs.push(SiteFit { node: graph.value(value).name.clone(), explained: explained(&work, of)? });
        }
    }
    Ok(Profile { sites: found, outputs })
}

/// A value that is looked at, its units along an axis.
#[derive(Clone, Copy)]
struct Place {
    value: ValueId,
    axis: usize,
    rectified: bool,
}

/// R² of a value that all networks have computed.
fn explained(work: &Work<'_>, Place { value, axis, rectified }: Place) -> Result<f64> {
    // Of every unit: the number of its rows, Σ T, Σ T² and Σ (y − T)².
    let all = work.lockstep.add_up(|shard| {
        let view = work.lockstep.view(shard, work.merged(), value, axis)?;
        let units = view.units();
        let positions: Vec<u32> = (0..view.positions() as u32).collect();
        let mut sums = vec![[0.0; 4]; units];
        for tile in positions.chunks(TILE) {
            let target = work.mixed(value, axis, shard, tile)?;
            let mut given = vec![0.0; target.len()];
            view.add_rows(tile, &vec![1.0; units], &mut given);
            let seen = |x: f32| f64::from(if rectified { x.max(0.0) } else { x });
            for (target, given) in target.chunks_exact(units.max(1)).zip(given.chunks_exact(units.max(1))) {
                for ((t, y), sums) in target.iter().zip(given).zip(&mut sums) {
                    let (t, y) = (seen(*t), seen(*y));
                    sums.iter_mut().zip([1.0, t, t * t, (y - t) * (y - t)]).for_each(|(sum, term)| *sum += term);
                }
            }
        }
        Ok(sums)
    })?;
    let spread: f64 = all.iter().map(|[rows, sum, squares, _]| (squares - sum * sum / rows).max(0.0)).sum();
    let squares: f64 = all.iter().map(|[_, _, squares, _]| squares).sum();
    let errors: f64 = all.iter().map(|[.., errors]| errors).sum();
    if !squares.is_finite() {
        let name = &work.program.graph().value(value).name;
        return Err(Error::Options(format!(
            "value `{name}`: what the ends give is not finite; nothing to compare with"
        )));
    }
    if !errors.is_finite() {
        return Ok(1.0 - 1.0 / ROUNDING);
    }
    let least = ROUNDING * (squares + errors);
    Ok(if errors <= least { 1.0 } else { 1.0 - errors / spread.max(least) })
}
