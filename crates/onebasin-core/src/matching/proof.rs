//! Whether a group's permutation is proven the best by a part of the columns.
//!
//! With `a` and `b` cut into a part that was multiplied and a rest, `⟨a_i, b_j⟩ ≤ R_ij + ‖rest a_i‖ ‖rest b_j‖`, where `R` is the
//! Gram over the part. With `d_i` the similarity of unit i and its partner, over all columns, prices `d_i / 2` for both prove
//! the permutation the best if no pair is worth more than its two prices. Networks of one origin are proven by a quarter of
//! the products, or less.

use rayon::prelude::*;

use super::cache::LEVELS;
use super::panels::PANEL;
use super::similarity::{Pairing, RootSites};
use super::unfold::Places;

/// What is known of a root's rows, paired as they are.
pub(super) struct Proof<'p> {
    sites: &'p RootSites<'p>,
    places: &'p [Places],
    /// The partner of every row.
    units: &'p [usize],
    /// Over all columns.
    all: Vec<Pairing>,
}

/// What is left for chance of a pair's cosine, once the rest of the columns is taken off.
const MARGIN: f64 = 0.08;
/// Of so many pairs one may be less alike.
const WEAK: usize = 50;
/// Pairs, by unit, that are looked at one by one.
const DOUBTS: usize = 8;
/// Cosine of the pairs below which nothing is tried.
const ALIKE: f64 = 0.5;

impl<'p> Proof<'p> {
    /// What can be proven where units have these partners, and how much of the columns that would take, given the Gram over
    /// some; none if too much.
    pub(super) fn new(
        sites: &'p RootSites<'p>,
        places: &'p [Places],
        units: &'p [usize],
        level: usize,
    ) -> Option<(Self, usize)> {
        let pairs: Vec<(usize, usize)> = units.iter().copied().enumerate().collect();
        let part = sites.pairings(places, &pairs, &sites.sample(0..level));
        let alike: f64 = part.iter().map(|p| p.product).sum();
        if alike < ALIKE * part.iter().map(Pairing::norms).sum::<f64>() {
            return None;
        }
        let all = sites.pairings(places, &pairs, &sites.sample(0..LEVELS));
        let cosine = |p: &Pairing| if p.norms() > 0.0 { p.product / p.norms() } else { 1.0 };
        let mut cosines: Vec<f64> = all.iter().map(cosine).collect();
        cosines.sort_by(f64::total_cmp);
        let needed = ((1.0 - cosines[units.len() / WEAK] + MARGIN) * LEVELS as f64).ceil().max(1.0) as usize;
        (2 * needed <= LEVELS + 2).then_some((Self { sites, places, units, all }, needed.max(level)))
    }

    /// Whether the Gram over this much of the columns proves it.
    pub(super) fn holds(&self, gram: &[f64], level: usize) -> bool {
        let (n, sites) = (self.units.len(), self.sites);
        let pairs: Vec<(usize, usize)> = self.units.iter().copied().enumerate().collect();
        let part = sites.pairings(self.places, &pairs, &sites.sample(0..level));
        // What the rest is at most, and what rounding of sums of so many products in single precision is at worst, of each.
        let rounding = PANEL as f64 * f64::from(f32::EPSILON);
        let rest = |all: f64, part: f64| [(all * (1.0 + 1e-12) - part).max(0.0).sqrt(), (rounding * part).sqrt()];
        let (mut a, mut b, mut price) = (vec![[0.0; 2]; n], vec![[0.0; 2]; n], vec![0.0; n]);
        for ((i, &j), (all, part)) in self.units.iter().enumerate().zip(self.all.iter().zip(&part)) {
            a[i] = rest(all.squares[0], part.squares[0]);
            b[j] = rest(all.squares[1], part.squares[1]);
            price[j] = 0.5 * all.product;
        }
        let doubtful = |i: usize| -> Vec<(usize, usize)> {
            let worth = |j: usize| gram[i * n + j] + a[i][0] * b[j][0] + a[i][1] * b[j][1];
            let own = 0.5 * self.all[i].product;
            (0..n).filter(|&j| j != self.units[i] && worth(j) > own + price[j]).map(|j| (i, j)).collect()
        };
        let doubts = (0..n).into_par_iter().with_min_len(32).map(doubtful).collect::<Vec<_>>().concat();
        if doubts.len() > DOUBTS * n {
            return false;
        }
        let worth = sites.pairings(self.places, &doubts, &sites.sample(0..LEVELS));
        doubts.iter().zip(worth).all(|(&(i, j), worth)| worth.product <= 0.5 * self.all[i].product + price[j])
    }
}
