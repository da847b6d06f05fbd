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

/// Grams of a root that are brought up to date where their columns changed.
pub(super) struct WeightCache<'w> {
    symmetry: &'w Symmetry,
    sites: &'w RootSites<'w>,
    device: Option<&'w dyn RootProducts>,
    /// Whether there is room for them.
    keeps: bool,
    kept: Option<Kept>,
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
    /// For every root, nothing kept yet; room is given to roots in their order, as long as there is any.
    pub(super) fn of_all(
        symmetry: &'w Symmetry,
        sites: &'w [RootSites<'w>],
        device: Option<&'w dyn RootProducts>,
    ) -> Vec<Box<dyn GramCache + 'w>> {
        let mut room = KEPT as usize;
        let one = |sites: &'w RootSites<'w>| -> Box<dyn GramCache + 'w> {
            let keeps = sites.bytes() <= room;
            room -= if keeps { sites.bytes() } else { 0 };
            Box::new(Self { symmetry, sites, device, keeps, kept: None })
        };
        sites.iter().map(one).collect()
    }

    /// How much of the columns a sample is over; none where it is not worth it.
    fn level(&self) -> Option<usize> {
        let level = (LEVELS * COLUMNS).div_ceil(self.sites.columns().max(1));
        let large = self.sites.plain_side().is_some_and(|n| n >= UNITS);
        (self.keeps && self.device.is_none() && 2 * level <= LEVELS && large).then_some(level)
    }

    /// The Grams over this much of the columns at least, kept.
    fn at(&mut self, places: Vec<Places>, level: usize) -> Result<&Kept> {
        let (sites, device) = (self.sites, self.device);
        let kept = match self.kept.take() {
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
        Ok(self.kept.insert(kept))
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
    fn grams(&mut self, current: &Alignment) -> Result<Cow<'_, [Gram]>> {
        let places = self.sites.places(self.symmetry, current);
        if !self.keeps {
            return Ok(Cow::Owned(self.sites.grams(&places, self.device)?));
        }
        Ok(Cow::Borrowed(&self.at(places, LEVELS)?.grams))
    }

    fn keeps(&self) -> bool {
        self.keeps
    }

    fn sample(&mut self, current: &Alignment) -> Result<Option<Cow<'_, [Gram]>>> {
        let Some(level) = self.level() else { return Ok(None) };
        let places = self.sites.places(self.symmetry, current);
        Ok(Some(Cow::Borrowed(&self.at(places, level)?.grams)))
    }

    fn samples(&self) -> bool {
        self.level().is_some()
    }

    fn proves(&mut self, current: &Alignment, units: &[usize]) -> Result<bool> {
        let sites = self.sites;
        let Some(level) = self.kept.as_ref().map(|kept| kept.level).filter(|level| *level < LEVELS) else {
            return Ok(false);
        };
        let places = sites.places(self.symmetry, current);
        let fresh = self.at(places.clone(), level)?.fresh;
        let Some((proof, needed)) = Proof::new(sites, &places, units, level) else { return Ok(false) };
        if !fresh {
            self.kept = None;
        }
        let grams = &self.at(places.clone(), needed)?.grams;
        Ok(proof.holds(&grams[0].data, needed))
    }

    fn forget_if_updated(&mut self) -> bool {
        let updated = self.kept.as_ref().is_some_and(|kept| !kept.fresh);
        if updated {
            self.kept = None;
        }
        updated
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
