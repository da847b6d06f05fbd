//! One network at a time against the sum of all others.

use super::{ManyMatch, ManyOptions, Round, Sum, anchor, check, check_starts, pairs_objective, stacked, starts};
use crate::error::Result;
use crate::matching::ascent::{StopReason, ascend};
use crate::matching::weight::Weights;
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, Symmetry};

/// Aligns many networks by rounds over them in random order, each matched with the sum of the others as they stand.
///
/// No network is a reference; at the end all alignments are taken relative to the first. A match starts from the current
/// alignment, so the sum over pairs never falls, and it stops when a whole round changes nothing.
///
/// Cost: per round one [`ascend`] per network. Memory: two networks in f64, however many there are.
///
/// # Errors
/// If there is no network, they differ in structure, hold a value that is not finite, or do not fit the symmetry.
///
/// Source: Ainsworth et al. 2023, Algorithm 3 (MergeMany). We differ in using the sum of the others, which has the same
/// best alignment as their mean, and in the start: theirs is the identity.
///
/// ```
/// use onebasin_core::matching::{ManyOptions, merge_many};
/// use onebasin_core::merge::mean;
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w: [f32; 3]| Ok::<_, onebasin_core::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[3], w.to_vec())?)]));
/// let models = [net([1., 2., 3.])?, net([3., 1., 2.])?, net([2., 3., 1.])?]; // one network in three numberings
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let found = merge_many(&symmetry, &models, &ManyOptions::default(), &mut |_| true)?;
/// assert_eq!(&mean(&symmetry, &models, &found.alignments, None)?, models[0]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn merge_many(
    symmetry: &Symmetry,
    models: &[&Params],
    options: &ManyOptions,
    observe: &mut dyn FnMut(&Round) -> bool,
) -> Result<ManyMatch> {
    let models = stacked(symmetry, models)?;
    let models: &[&Params] = &models.iter().map(|model| &**model).collect::<Vec<_>>();
    check(models)?;
    let start = starts(symmetry, models, options)?;
    improve(symmetry, models, &start, options, observe)
}

/// The same from given alignments, such as those of the networks before they were trained on.
///
/// # Errors
/// As [`merge_many`], and if there is not one alignment of this symmetry for every network.
///
/// ```
/// use onebasin_core::matching::{ManyOptions, merge_many, merge_many_from};
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w: &[f32]| Ok::<_, onebasin_core::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]));
/// let models = [net(&[1., 2.])?, net(&[2., 1.])?];
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let found = merge_many(&symmetry, &models, &ManyOptions::default(), &mut |_| true)?;
/// let again = merge_many_from(&symmetry, &models, &found.alignments, &ManyOptions::default(), &mut |_| true)?;
/// assert_eq!(again.rounds[0].changed_models, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge_many_from(
    symmetry: &Symmetry,
    models: &[&Params],
    start: &[Alignment],
    options: &ManyOptions,
    observe: &mut dyn FnMut(&Round) -> bool,
) -> Result<ManyMatch> {
    check(models)?;
    check_starts(symmetry, models, start)?;
    let models = stacked(symmetry, models)?;
    let models: &[&Params] = &models.iter().map(|model| &**model).collect::<Vec<_>>();
    improve(symmetry, models, start, options, observe)
}

/// Rounds over the networks from given alignments.
pub(super) fn improve(
    symmetry: &Symmetry,
    models: &[&Params],
    start: &[Alignment],
    options: &ManyOptions,
    observe: &mut dyn FnMut(&Round) -> bool,
) -> Result<ManyMatch> {
    let start_objective = pairs_objective(symmetry, models, start)?;
    let mut alignments = start.to_vec();
    let mut rounds: Vec<Round> = Vec::new();
    let mut reached = start_objective;
    let mut stop = StopReason::SweepLimit;
    for round in 1..=options.max_rounds {
        let mut sum = Sum::new(symmetry, models, &alignments)?;
        let mut changed_models = 0;
        for &k in Stream::new(options.seed, &format!("models/{round}")).permutation(models.len()).as_slice() {
            let (model, current) = (models[k as usize], &mut alignments[k as usize]);
            let others = sum.without(model, current)?;
            let weights = Weights::new(symmetry, &others, model)?;
            let found = ascend(&weights, current, &options.of(&format!("match/{round}/{k}")), &mut |_| true)?;
            if found.alignment != *current {
                sum.realign(model, current, &found.alignment)?;
                *current = found.alignment;
                changed_models += 1;
            }
        }
        let objective = pairs_objective(symmetry, models, &alignments)?;
        let record = Round { round, objective, gain: objective - reached, changed_models };
        reached = objective;
        let go_on = observe(&record);
        rounds.push(record);
        if changed_models == 0 {
            stop = StopReason::Converged;
            break;
        }
        if !go_on {
            stop = StopReason::Interrupted;
            break;
        }
    }
    if reached < start_objective {
        (alignments, reached) = (start.to_vec(), start_objective);
    }
    let alignments = anchor(symmetry, &alignments);
    Ok(ManyMatch { alignments, start_objective, objective: reached, rounds, stop })
}
