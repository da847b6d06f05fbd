//! Pairs of networks, then pairs of pairs.

use std::ops::Range;

use super::{ManyMatch, ManyOptions, Round, add, aligned, check, floats, pairs_objective, stacked};
use crate::error::Result;
use crate::matching::ascent::{StopReason, ascend};
use crate::matching::weight::Weights;
use crate::params::Params;
use crate::symmetry::{Alignment, Symmetry};
use crate::tensor::Tensor;

/// Aligns neighbours in the list in pairs, adds up each pair, and goes on with the sums until one is left.
///
/// A sum counts every network in it once, so at the end it is the number of networks times the mean of all. The first
/// network stays still. Every network is matched as part of a sum about log₂ of their number times, and never again: the
/// result depends on the order of the list, and the sum over all pairs may end below where it started.
///
/// Cost: one [`ascend`] per network but the first. Memory: a sum in f64 for every level of the tree.
///
/// # Errors
/// If there is no network, they differ in structure, hold a value that is not finite, or do not fit the symmetry.
///
/// Source: Hierarchical Re-Basin (arXiv 2510.09174). Where the number is no power of two, the last of a level waits.
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{ManyOptions, merge_tree};
/// use onebasin_core::merge::mean;
/// let models = [net(&[1., 2., 3.])?, net(&[3., 1., 2.])?, net(&[2., 3., 1.])?]; // one network in three numberings
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let found = merge_tree(&symmetry, &models, &ManyOptions::default(), &mut |_| true)?;
/// assert_eq!(found.rounds.len(), 2); // the first with the second, then their sum with the third
/// assert_eq!(&mean(&symmetry, &models, &found.alignments, None)?, models[0]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn merge_tree(
    symmetry: &Symmetry,
    models: &[&Params],
    options: &ManyOptions,
    observe: &mut dyn FnMut(&Round) -> bool,
) -> Result<ManyMatch> {
    let models = stacked(symmetry, models)?;
    let models: &[&Params] = &models.iter().map(|model| &**model).collect::<Vec<_>>();
    check(models)?;
    let identity = vec![Alignment::identity(symmetry); models.len()];
    let start_objective = pairs_objective(symmetry, models, &identity)?;
    let mut tree = Tree { symmetry, models, options, observe, alignments: identity, rounds: Vec::new(), stop: None };
    tree.merge(0..models.len())?;
    let Tree { alignments, rounds, stop, .. } = tree;
    let objective = pairs_objective(symmetry, models, &alignments)?;
    let stop = stop.unwrap_or(StopReason::Converged);
    Ok(ManyMatch { alignments, start_objective, objective, rounds, stop })
}

struct Tree<'a> {
    symmetry: &'a Symmetry,
    models: &'a [&'a Params],
    options: &'a ManyOptions,
    observe: &'a mut dyn FnMut(&Round) -> bool,
    alignments: Vec<Alignment>,
    rounds: Vec<Round>,
    /// What went otherwise than to convergence.
    stop: Option<StopReason>,
}

impl Tree<'_> {
    /// The sum of these networks in the numbering of the first of them; none once interrupted.
    ///
    /// The left half is the largest power of two, so halves are what pairing a level after the other gives, while only
    /// one sum per level is held.
    fn merge(&mut self, range: Range<usize>) -> Result<Option<Params>> {
        if range.len() == 1 {
            return Ok(Some(self.models[range.start].clone()));
        }
        let middle = range.start + range.len().next_power_of_two() / 2;
        let Some(left) = self.merge(range.start..middle)? else { return Ok(None) };
        let Some(right) = self.merge(middle..range.end)? else { return Ok(None) };
        let options = self.options.of(&format!("match/{}..{}", range.start, range.end));
        let found = {
            let weights = Weights::new(self.symmetry, &left, &right)?;
            let start = self.options.start.alignment(&weights, options.seed)?;
            ascend(&weights, &start, &options, &mut |_| true)?
        };
        for alignment in &mut self.alignments[middle..range.end] {
            *alignment = found.alignment.compose(self.symmetry, alignment);
        }
        let mut sum = left;
        for name in floats(self.symmetry, self.models)? {
            let mut values = sum.require(name)?.to_f64().map_err(|e| e.named(name))?.into_owned();
            add(&mut values, &aligned(self.symmetry, &right, &found.alignment, name)?, 1.0);
            let shape = self.models[0].require(name)?.shape();
            sum.insert(name, Tensor::from_f64(shape, values)?);
        }
        let record = Round {
            round: self.rounds.len() + 1,
            objective: found.objective,
            gain: found.objective - found.start_objective,
            changed_models: if found.alignment.is_identity() { 0 } else { range.end - middle },
        };
        let go_on = (self.observe)(&record);
        self.rounds.push(record);
        if found.stop == StopReason::SweepLimit {
            self.stop = Some(StopReason::SweepLimit);
        }
        let whole = range.len() == self.models.len();
        if !go_on && !whole {
            self.stop = Some(StopReason::Interrupted);
            return Ok(None);
        }
        Ok(Some(sum))
    }
}
