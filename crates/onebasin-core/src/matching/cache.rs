//! Grams of weights that are kept while an alignment changes.

use std::borrow::Cow;

use super::accelerator::RootProducts;
use super::plan::KEPT;
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
    /// Whether they are from scratch.
    fresh: bool,
}

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
}

impl GramCache for WeightCache<'_> {
    fn grams(&mut self, root: usize, current: &Alignment) -> Result<Cow<'_, [Gram]>> {
        let (sites, device) = (&self.sites[root], self.device);
        let places = sites.places(self.symmetry, current);
        let kept = match self.kept[root].take() {
            None if !self.has_room(sites.bytes()) => return Ok(Cow::Owned(sites.grams(&places, device)?)),
            None => Kept { grams: sites.grams(&places, device)?, places, fresh: true },
            Some(mut kept) => {
                let columns: Vec<_> = kept.places.iter().zip(&places).map(|(old, new)| old.changed(new)).collect();
                let changed: usize = columns.iter().flatten().map(ExactSizeIterator::len).sum();
                if 2 * changed > sites.columns() {
                    Kept { grams: sites.grams(&places, device)?, places, fresh: true }
                } else {
                    sites.update(&mut kept.grams, &kept.places, &places, &columns, device)?;
                    Kept { grams: kept.grams, places, fresh: kept.fresh && changed == 0 }
                }
            }
        };
        Ok(Cow::Borrowed(&self.kept[root].insert(kept).grams))
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
