//! One sweep: roots each to their best element, those that do not depend on each other side by side.

use std::borrow::Cow;

use rayon::prelude::*;

use super::nested::{Element, best_element};
use super::similarity::Gram;
use super::source::{GramCache, Root, Source};
use crate::assignment::Duals;
use crate::error::Result;
use crate::symmetry::Alignment;

/// What is kept of one root along an ascent.
pub(super) struct Seat<'s> {
    pub(super) cache: Option<Box<dyn GramCache + 's>>,
    /// Those of the last assignment.
    pub(super) duals: Option<Duals>,
}

/// A better element of a root, and what it gains.
pub(super) type Better = Option<(Element, f64)>;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Swept {
    pub(super) solved: usize,
    pub(super) changed: usize,
    pub(super) gain: f64,
}

/// Visits the stale roots as if one after another in `order`, and marks as stale those whose Grams a change makes so.
///
/// Roots that no chain of dependence orders are visited side by side; one that keeps no Grams, alone. What is found is what
/// one visit after another finds, to the bit.
pub(super) fn sweep<'s>(
    roots: &[Root],
    order: &[usize],
    stale: &mut [bool],
    seats: &mut [Seat<'s>],
    alignment: &mut Alignment,
    visit: impl Fn(&Root, &mut Seat<'s>, &Alignment) -> Result<Better> + Sync,
) -> Result<Swept> {
    let mut gains = vec![None; roots.len()];
    let mut swept = Swept::default();
    for wave in waves(roots, order) {
        let mut due = vec![false; roots.len()];
        for &k in &wave {
            due[k] = std::mem::replace(&mut stale[k], false);
        }
        let due: Vec<(usize, &mut Seat<'s>)> = seats.iter_mut().enumerate().filter(|(k, _)| due[*k]).collect();
        swept.solved += due.len();
        let (beside, alone): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(_, seat)| seat.cache.as_ref().is_none_or(|cache| cache.keeps()));
        let one = |(k, seat): (usize, &mut Seat<'s>)| Ok((k, visit(&roots[k], seat, alignment)?));
        let mut found = beside.into_par_iter().map(one).collect::<Result<Vec<_>>>()?;
        found.extend(alone.into_iter().map(one).collect::<Result<Vec<_>>>()?);
        for (k, better) in found {
            let Some((element, gain)) = better else { continue };
            element.store(alignment, roots[k].id);
            gains[k] = Some(gain);
            roots[k].neighbours.iter().for_each(|&other| stale[other] = true);
        }
    }
    for gain in order.iter().filter_map(|&k| gains[k]) {
        swept.changed += 1;
        swept.gain += gain;
    }
    Ok(swept)
}

/// The visits of a sweep in waves: a root comes a wave after the last of those before it in `order` that it depends on or that
/// depend on it, so that none of a wave depends on another.
fn waves(roots: &[Root], order: &[usize]) -> Vec<Vec<usize>> {
    let mut near: Vec<Vec<usize>> = roots.iter().map(|root| root.neighbours.clone()).collect();
    for (k, root) in roots.iter().enumerate() {
        root.neighbours.iter().for_each(|&other| near[other].push(k));
    }
    let mut at = vec![None; roots.len()];
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for &k in order {
        let after = near[k].iter().filter_map(|&other| at[other]).max();
        let wave = after.map_or(0, |wave: usize| wave + 1);
        at[k] = Some(wave);
        if wave == waves.len() {
            waves.push(Vec::new());
        }
        waves[wave].push(k);
    }
    waves
}

/// The Grams of a root: those kept, or new ones.
pub(super) fn grams_of<'c>(
    source: &dyn Source,
    root: &Root,
    cache: &'c mut Option<Box<dyn GramCache + '_>>,
    alignment: &Alignment,
) -> Result<Cow<'c, [Gram]>> {
    match cache {
        Some(cache) => cache.grams(alignment),
        None => Ok(Cow::Owned(source.grams(root.id, alignment)?)),
    }
}

/// The best element of a root and its families on its Grams, if it is better than the current one beyond rounding. `duals` are
/// those of the last time.
pub(super) fn better(
    source: &dyn Source,
    root: &Root,
    grams: &[Gram],
    alignment: &Alignment,
    duals: &mut Option<Duals>,
) -> Result<Better> {
    let symmetry = source.symmetry();
    let current = Element::of(symmetry, alignment, root.id);
    let best = best_element(symmetry, root.id, grams, &current, duals.as_ref())?;
    *duals = Some(best.duals);
    let mut gain = best.value - best.current;
    if best.element == current || (gain <= root.tolerance && !root.quadratic) {
        return Ok(None);
    }
    if root.quadratic || gain <= root.rounding {
        let mut candidate = alignment.clone();
        best.element.store(&mut candidate, root.id);
        gain = source.gain(root.id, alignment, &candidate)?;
    }
    Ok((gain > root.tolerance).then_some((best.element, gain)))
}

#[cfg(test)]
mod tests {
    use super::waves;
    use crate::matching::Root;
    use crate::symmetry::GroupId;

    fn roots(neighbours: &[&[usize]]) -> Vec<Root> {
        let root = |(k, near): (usize, &&[usize])| Root { neighbours: near.to_vec(), ..Root::new(GroupId(k)) };
        neighbours.iter().enumerate().map(root).collect()
    }

    #[test]
    fn a_wave_holds_what_does_not_depend_on_each_other() {
        // A stream (0) beside which three blocks stand; the last has two groups in a row.
        let roots = roots(&[&[1, 2, 3, 4], &[0], &[0], &[0, 4], &[0, 3]]);
        assert_eq!(waves(&roots, &[0, 1, 2, 3, 4]), [vec![0], vec![1, 2, 3], vec![4]]);
        assert_eq!(waves(&roots, &[4, 1, 0, 3, 2]), [vec![4, 1], vec![0], vec![3, 2]]);
    }

    #[test]
    fn dependence_counts_whichever_side_tells_of_it_and_a_root_does_not_wait_for_itself() {
        let roots = roots(&[&[0, 1], &[], &[]]);
        assert_eq!(waves(&roots, &[1, 0, 2]), [vec![1, 2], vec![0]]);
    }
}
