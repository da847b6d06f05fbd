//! Parts of axes that are alike: everywhere they stand in the same concatenations, so they are one group in slices.
//!
//! An axis is cut by what looks at a part of it. Two parts at which nothing ever looks apart hold units that may change
//! places: both ends of a padded axis, what a slice leaves before and behind it, and the channels that odd cuts of a
//! channel shuffle leave one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::terms::{AtomId, State, Terms};

/// Where the units of a part stand in the group that it makes with those that are like it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Units of the group.
    pub(super) units: usize,
    /// The part that gives the group its name.
    pub(super) first: AtomId,
}

/// Places of an unknown, as a sum of numbers drawn for each: equal where the places are.
type Mark = u128;

/// A number for a place: its bits mixed (Steele et al. 2014, SplitMix64), twice.
fn draw(place: usize, slot: usize) -> Mark {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let (place, slot) = (place as u64, slot as u64);
    let first = mix(mix(place) ^ slot);
    let second = mix(mix(place ^ 0x5851_f42d_4c95_7f2d).wrapping_add(mix(slot)));
    (u128::from(first) << 64) | u128::from(second)
}

/// The slices of all parts that are alike, `order` saying which come first.
///
/// Cost: linear in the unknowns that the axes are made of.
pub(super) fn slices(terms: &Terms, values: &[Vec<AtomId>], order: &[AtomId]) -> BTreeMap<AtomId, Slice> {
    let (own, within) = marks(terms, values);
    let mut classes: BTreeMap<Mark, Vec<AtomId>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for atom in order {
        if seen.insert(*atom) && own[atom.0] == 0 && within[atom.0] != 0 {
            classes.entry(within[atom.0]).or_default().push(*atom);
        }
    }
    let mut slices = BTreeMap::new();
    for parts in classes.into_values().filter(|parts| parts.len() > 1) {
        let units = parts.iter().map(|p| terms.len(*p)).sum();
        let mut start = 0;
        for part in &parts {
            let end = start + terms.len(*part);
            slices.insert(*part, Slice { start, end, units, first: parts[0] });
            start = end;
        }
    }
    slices
}

/// Of every unknown: where it stands as itself, and in which concatenations, however deep, it is a part.
fn marks(terms: &Terms, values: &[Vec<AtomId>]) -> (Vec<Mark>, Vec<Mark>) {
    let order = downwards(terms, values);
    let mut own: Vec<Mark> = vec![0; terms.count()];
    let mut within: Vec<Mark> = vec![0; terms.count()];
    for axis in values.iter().flatten() {
        let axis = terms.find(*axis);
        own[axis.0] = draw(axis.0, usize::MAX);
    }
    for atom in order {
        let here = own[atom.0].wrapping_add(within[atom.0]);
        match &terms.states[atom.0] {
            State::Sum(parts) => {
                for part in parts {
                    let part = terms.find(*part);
                    within[part.0] = within[part.0].wrapping_add(here);
                }
            }
            // Interleaved parts are as good as parts one after the other.
            State::Product(factors) => match woven(terms, factors) {
                Some(parts) => {
                    for part in parts {
                        let part = terms.find(*part);
                        within[part.0] = within[part.0].wrapping_add(here);
                    }
                }
                None => {
                    for (slot, factor) in factors.iter().enumerate() {
                        let factor = terms.find(*factor);
                        own[factor.0] = own[factor.0].wrapping_add(draw(atom.0, slot));
                    }
                }
            },
            State::Cases(_, cases) => {
                // Reached through a product that weaves them, its cases have their places already.
                if here != 0 {
                    for (slot, case) in cases.iter().enumerate() {
                        let case = terms.find(*case);
                        own[case.0] = own[case.0].wrapping_add(draw(atom.0, slot));
                    }
                }
            }
            State::Free | State::Fixed | State::Chooser | State::Same(_) => {}
        }
    }
    (own, within)
}

/// The cases of a product that interleaves them: `([a | b] |)`.
fn woven<'t>(terms: &'t Terms, factors: &[AtomId]) -> Option<&'t [AtomId]> {
    let [first, second] = factors else { return None };
    let (first, second) = (terms.find(*first), terms.find(*second));
    match (&terms.states[first.0], &terms.states[second.0]) {
        (State::Cases(chooser, cases), State::Chooser) if terms.find(*chooser) == second => Some(cases),
        _ => None,
    }
}

/// Every unknown that an axis is made of, what is made of it before it.
fn downwards(terms: &Terms, values: &[Vec<AtomId>]) -> Vec<AtomId> {
    let mut state = vec![0_u8; terms.count()];
    let mut order = Vec::new();
    let mut stack: Vec<(AtomId, bool)> = values.iter().flatten().map(|a| (terms.find(*a), false)).collect();
    while let Some((atom, done)) = stack.pop() {
        if done {
            order.push(atom);
            continue;
        }
        if std::mem::replace(&mut state[atom.0], 1) != 0 {
            continue;
        }
        terms.spend(1);
        stack.push((atom, true));
        match &terms.states[atom.0] {
            State::Sum(children) | State::Product(children) | State::Cases(_, children) => {
                stack.extend(children.iter().map(|c| (terms.find(*c), false)));
            }
            State::Free | State::Fixed | State::Chooser | State::Same(_) => {}
        }
    }
    order.reverse();
    order
}
