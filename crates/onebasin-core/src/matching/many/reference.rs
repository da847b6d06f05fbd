//! Every network with the first, which stays as it is.

use super::{ManyMatch, ManyOptions, Round, anchor, check, check_starts, pairs_objective, stacked, starts};
use crate::error::Result;
use crate::matching::ascent::{StopReason, ascend};
use crate::matching::weight::Weights;
use crate::params::Params;
use crate::symmetry::{Alignment, Symmetry};

/// Matches every network with the first alone: what one sends to many and gets back, as in federated training.
///
/// Formula: `max_π ⟨θ_1, π(θ_k)⟩` for every `k`, from `start` where alignments are given, else from [`ManyOptions::start`]. The
/// first stays as it is; the result does not depend on the order of the others. Objectives are those of
/// [`pairs_objective`]; there is one round. `go_on` is asked after every network.
///
/// Cost: `K − 1` matches of two networks; memory of one, beside the networks.
///
/// # Errors
/// If there is no network, they differ in structure, hold values that are not finite, or a start is none of the symmetry.
///
/// ```
/// use onebasin_core::matching::{ManyOptions, match_reference};
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w: &[f32]| Ok::<_, onebasin_core::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]));
/// let models = [net(&[1., 2.])?, net(&[2., 1.])?, net(&[1., 3.])?];
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let found = match_reference(&symmetry, &models, None, &ManyOptions::default(), &mut || true)?;
/// assert!(found.alignments[0].is_identity() && !found.alignments[1].is_identity());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn match_reference(
    symmetry: &Symmetry,
    models: &[&Params],
    start: Option<&[Alignment]>,
    options: &ManyOptions,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<ManyMatch> {
    check(models)?;
    let models = stacked(symmetry, models)?;
    let models: &[&Params] = &models.iter().map(|model| &**model).collect::<Vec<_>>();
    let mut alignments = match start {
        Some(start) => {
            check_starts(symmetry, models, start)?;
            anchor(symmetry, start)
        }
        None => starts(symmetry, models, options)?,
    };
    let start_objective = pairs_objective(symmetry, models, &alignments)?;
    let mut changed_models = 0;
    let mut stop = StopReason::Converged;
    for (k, model) in models.iter().enumerate().skip(1) {
        let weights = Weights::new(symmetry, models[0], model)?;
        let found = ascend(&weights, &alignments[k], &options.of(&format!("match/1/{k}")), &mut |_| true)?;
        changed_models += usize::from(found.alignment != alignments[k]);
        alignments[k] = found.alignment;
        if !go_on() {
            stop = StopReason::Interrupted;
            break;
        }
    }
    let objective = pairs_objective(symmetry, models, &alignments)?;
    let round = Round { round: 1, objective, gain: objective - start_objective, changed_models };
    Ok(ManyMatch { alignments, start_objective, objective, rounds: vec![round], stop })
}
