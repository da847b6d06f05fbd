//! How much of what its ends compute a merged network still computes, site by site.

use onebasin_core::Params;
use onebasin_core::solve::{Site, shortcuts_first, sites};
use serde::{Deserialize, Serialize};

use super::targets::Targets;
use super::{Ends, SolveOptions, Work};
use crate::error::Result;
use crate::exec::Program;
use crate::samples::Samples;

/// Rows that are looked at at a time.
const TILE: usize = 1024;

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

/// Where a merge breaks: at every site, how much of what its ends compute there the merged network explains. Needs no
/// labels.
///
/// Formula: `R² = 1 − Σ |y − T|² / Σ |T − T̄|²` over samples, positions and units, with `y` what the merged network gives
/// at the site and `T` the mix of its ends, both rectified where nothing else of them is used; `T̄` is the mean of a unit.
/// 1 where both sums are zero.
///
/// Cost: a forward pass of all ends and of the merged network.
///
/// # Errors
/// If a tensor is missing or does not fit, there are no samples or they do not fit, or activations are not finite.
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
/// assert!(fit(0.0)?.iter().all(|site| site.explained > 0.999));
/// assert!(fit(0.5)?[0].explained < 0.9);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn profile(program: &Program, ends: &Ends<'_>, merged: &Params, data: &dyn Samples) -> Result<Vec<SiteFit>> {
    ends.check()?;
    let program = program.of(shortcuts_first(program.graph()))?;
    let (sites, _) = sites(program.graph());
    let options = SolveOptions::default();
    let mut work = Work::new(&program, ends, merged, data, &options)?;
    let mut found = Vec::new();
    for site in sites {
        let Some(end) = work.lockstep.step(site.end) else { continue };
        work.run_ends(end + 1);
        work.run_merged(end + 1);
        let node = program.graph().node(site.node).name.clone();
        found.push(SiteFit { node, explained: explained(&work, &site)? });
    }
    Ok(found)
}

/// R² at a site where all networks stand.
fn explained(work: &Work<'_>, site: &Site) -> Result<f64> {
    let bare = Site { added: Vec::new(), ..site.clone() };
    // Of every unit: the number of its rows, Σ T, Σ T² and Σ (y − T)².
    let all = work.lockstep.add_up(|shard| {
        let view = work.lockstep.view(shard, work.merged(), site.target, site.axis)?;
        let units = view.units();
        let positions: Vec<u32> = (0..view.positions() as u32).collect();
        let mut sums = vec![[0.0; 4]; units];
        for tile in positions.chunks(TILE) {
            let target = work.aim(&bare, &Targets::everywhere(), shard, tile)?.target;
            let mut given = vec![0.0; target.len()];
            view.add_rows(tile, &vec![1.0; units], &mut given);
            let seen = |x: f32| f64::from(if site.rectified { x.max(0.0) } else { x });
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
    let errors: f64 = all.iter().map(|[.., errors]| errors).sum();
    Ok(if errors == 0.0 { 1.0 } else { 1.0 - errors / spread.max(f64::MIN_POSITIVE) })
}
