//! Grams of weights that are kept while an alignment changes, over all columns or a sample of them.

use std::borrow::Cow;
use std::ops::Range;

use super::accelerator::RootProducts;
use super::plan::KEPT;
use super::proof::Proof;
use super::similarity::{Gram, RootSites};
use super::source::GramCache;
use super::unfold::Places;
use crate::error::Result;
use crate::symmetry::{Alignment, Symmetry};

/// Grams that are brought up to date where their columns changed.
pub(super) struct WeightCache<'w> {
    symmetry: &'w Symmetry,
    sites: &'w [RootSites<'w>],
    device: Option<&'w dyn RootProducts>,
    /// By root.
    kept: Vec<Option<Kept>>,
}

struct Kept {
    grams: Vec<Gram>,
    /// Where entries of B lay, by site.
    places: Vec<Places>,
    /// How much of the columns they are over.
    level: usize,
    /// Whether they are from scratch.
    fresh: bool,
}

/// A sample is over one to seven of so many parts of the columns; Grams are over all of them.
pub(super) const LEVELS: usize = 8;
/// Columns of a sample at least.
const COLUMNS: usize = 256;
/// Units of a group below which a sample saves too little.
const UNITS: usize = 64;

impl<'w> WeightCache<'w> {
    /// Nothing is kept yet; `sites` are by root.
    pub(super) fn new(
        symmetry: &'w Symmetry,
        sites: &'w [RootSites<'w>],
        device: Option<&'w dyn RootProducts>,
    ) -> Self {
        Self { symmetry, sites, device, kept: sites.iter().map(|_| None).collect() }
    }

    fn has_room(&self, more: usize) -> bool {
        let kept = self.sites.iter().zip(&self.kept).filter(|(_, kept)| kept.is_some());
        kept.map(|(sites, _)| sites.bytes()).sum::<usize>() + more <= KEPT as usize
    }

    /// How much of a root's columns a sample is over; none where it is not worth it.
    fn level(&self, root: usize) -> Option<usize> {
        let sites = &self.sites[root];
        let level = (LEVELS * COLUMNS).div_ceil(sites.columns().max(1));
        let worth = self.device.is_none() && 2 * level <= LEVELS && sites.plain_side().is_some_and(|n| n >= UNITS);
        (worth && self.has_room(sites.bytes())).then_some(level)
    }

    /// The Grams of a root over this much of its columns at least, kept.
    fn at(&mut self, root: usize, places: Vec<Places>, level: usize) -> Result<&Kept> {
        let (sites, device) = (&self.sites[root], self.device);
        let kept = match self.kept[root].take() {
            None => {
                Kept { grams: sites.grams_of(&places, &sites.sample(0..level), device)?, places, level, fresh: true }
            }
            Some(mut kept) => {
                let sample = sites.sample(0..kept.level);
                let of_site =
                    |((old, new), sample): ((&Places, &Places), &Vec<Range<usize>>)| meet(&old.changed(new), sample);
                let columns: Vec<_> = kept.places.iter().zip(&places).zip(&sample).map(of_site).collect();
                let len =
                    |columns: &[Vec<Range<usize>>]| columns.iter().flatten().map(ExactSizeIterator::len).sum::<usize>();
                let changed = len(&columns);
                if 2 * changed > len(&sample) {
                    let grams = sites.grams_of(&places, &sites.sample(0..level), device)?;
                    Kept { grams, places, level, fresh: true }
                } else {
                    sites.update(&mut kept.grams, &kept.places, &places, &columns, device)?;
                    if kept.level < level {
                        sites.extend(&mut kept.grams, &places, &sites.sample(kept.level..level), device)?;
                    }
                    Kept { places, level: level.max(kept.level), fresh: kept.fresh && changed == 0, ..kept }
                }
            }
        };
        Ok(self.kept[root].insert(kept))
    }
}

/// The positions in both of two ascending lists of ranges.
fn meet(some: &[Range<usize>], others: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut met, mut i, mut j) = (Vec::new(), 0, 0);
    while let (Some(x), Some(y)) = (some.get(i), others.get(j)) {
        let both = x.start.max(y.start)..x.end.min(y.end);
        if !both.is_empty() {
            met.push(both);
        }
        if x.end < y.end { i += 1 } else { j += 1 }
    }
    met
}

impl GramCache for WeightCache<'_> {
    fn grams(&mut self, root: usize, current: &Alignment) -> Result<Cow<'_, [Gram]>> {
        let sites = &self.sites[root];
        let places = sites.places(self.symmetry, current);
        if self.kept[root].is_none() && !self.has_room(sites.bytes()) {
            return Ok(Cow::Owned(sites.grams(&places, self.device)?));
        }
        Ok(Cow::Borrowed(&self.at(root, places, LEVELS)?.grams))
    }

    fn sample(&mut self, root: usize, current: &Alignment) -> Result<Option<Cow<'_, [Gram]>>> {
        let Some(level) = self.level(root) else { return Ok(None) };
        let places = self.sites[root].places(self.symmetry, current);
        Ok(Some(Cow::Borrowed(&self.at(root, places, level)?.grams)))
    }

    fn samples(&self, root: usize) -> bool {
        self.level(root).is_some()
    }

    fn proves(&mut self, root: usize, current: &Alignment, units: &[usize]) -> Result<bool> {
        let sites = &self.sites[root];
        let Some(level) = self.kept[root].as_ref().map(|kept| kept.level).filter(|level| *level < LEVELS) else {
            return Ok(false);
        };
        let places = sites.places(self.symmetry, current);
        let fresh = self.at(root, places.clone(), level)?.fresh;
        let Some((proof, needed)) = Proof::new(sites, &places, units, level) else { return Ok(false) };
        if !fresh {
            self.kept[root] = None;
        }
        let grams = &self.at(root, places.clone(), needed)?.grams;
        Ok(proof.holds(&grams[0].data, needed))
    }

    fn forget_updated(&mut self) -> Vec<usize> {
        let updated = |k: &usize| self.kept[*k].as_ref().is_some_and(|kept| !kept.fresh);
        let forgotten: Vec<usize> = (0..self.kept.len()).filter(updated).collect();
        for &k in &forgotten {
            self.kept[k] = None;
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::meet;

    #[test]
    fn what_two_lists_of_ranges_share() {
        assert_eq!(meet(&[0..4, 6..9, 20..30], &[2..7, 8..22]), [2..4, 6..7, 8..9, 20..22]);
        assert!(meet(&[0..2, 5..6], &[2..4, 8..9]).is_empty() && meet(&[], &[0..1, 2..3]).is_empty());
    }
}
