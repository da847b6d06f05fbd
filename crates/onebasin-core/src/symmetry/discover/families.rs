//! Families: groups of which there is an independent copy for every unit of another.
//!
//! A group that everywhere stands beside exactly one unit of another, in one product or on another axis, may be permuted
//! for each of those units on its own: nothing ever meets two of its copies.

use std::collections::{BTreeMap, BTreeSet};

use super::Discoverer;
use super::forms::{TermForm, variants};
use super::terms::{AtomId, State};
use crate::graph::{NodeId, ValueId};

/// The parent of every family.
pub(super) fn families(
    d: &Discoverer<'_>,
    params: &[Vec<TermForm>],
    named: impl Fn(AtomId) -> bool,
) -> BTreeMap<AtomId, AtomId> {
    let mut candidates: BTreeMap<AtomId, Vec<AtomId>> = BTreeMap::new();
    for axes in params {
        let Some(variants) = variants(axes) else { continue };
        for axes in variants {
            let mut found = Vec::new();
            for (k, form) in axes.iter().enumerate() {
                beside(form, &elsewhere(&axes, k), &mut found);
            }
            let mut times: BTreeMap<AtomId, usize> = BTreeMap::new();
            for (atom, _) in &found {
                *times.entry(*atom).or_default() += 1;
            }
            // Laid out with a parent on another axis, a family on two axes would stand twice in one product.
            for (atom, outer) in found.iter_mut().filter(|(atom, _)| times[atom] > 1) {
                outer.retain(|o| axes.iter().all(|f| f.count(*atom).1 == 0 || f.count(*o).1 > 0));
            }
            for (atom, outer) in found {
                candidates.entry(atom).and_modify(|c| c.retain(|o| outer.contains(o))).or_insert(outer);
            }
        }
    }
    candidates.retain(|atom, outer| {
        outer.retain(|o| o != atom && named(*o));
        !outer.is_empty() && named(*atom)
    });
    if candidates.is_empty() {
        return BTreeMap::new();
    }
    let places = Places::new(d);
    let mut parents = BTreeMap::new();
    for (inner, outers) in candidates {
        let nearest = outers.into_iter().rev().find(|o| !above(&parents, *o, inner) && places.indexed(inner, *o));
        parents.extend(nearest.map(|outer| (inner, outer)));
    }
    while let Some(widest) = widest(d, params, &parents) {
        parents.remove(&widest);
    }
    parents
}

/// Rows of the largest Gram of families that meet in one tensor, all copies together: 2 GiB of it in f64.
const MEETING: usize = 1 << 14;

/// Of families that meet in one tensor where comparing all their copies with each other takes too much, the one that does so
/// in most tensors. Its copies then move as one group.
///
/// Inputs and outputs of a grouped convolution are such families: of 6 groups of 128 channels they would make 98,304 rows.
fn widest(d: &Discoverer<'_>, params: &[Vec<TermForm>], parents: &BTreeMap<AtomId, AtomId>) -> Option<AtomId> {
    let root = |atom: AtomId| std::iter::successors(Some(atom), |a| parents.get(a).copied()).last().unwrap_or(atom);
    let mut times: BTreeMap<AtomId, usize> = BTreeMap::new();
    for axes in params.iter().filter(|_| !parents.is_empty()).filter_map(|axes| variants(axes)).flatten() {
        let mut tops = BTreeSet::new();
        let mut top = |atom: AtomId| tops.extend(parents.contains_key(&atom).then(|| root(atom)));
        for form in &axes {
            form.each_free(&mut top);
        }
        for top in tops {
            let of = |atom: &AtomId| parents.contains_key(atom) && root(*atom) == top;
            let (mut rows, mut families) = (d.terms.len(top), Vec::new());
            for form in &axes {
                let (more, found) = meeting(d, form, &of);
                rows = rows.saturating_mul(more);
                families.extend(found);
            }
            if families.len() > 1 && rows > MEETING {
                for family in families {
                    *times.entry(family).or_default() += 1;
                }
            }
        }
    }
    times.into_iter().max_by_key(|(family, times)| (*times, *family)).map(|(family, _)| family)
}

/// Families that stand in one place of a form, with the most units there.
fn meeting(d: &Discoverer<'_>, form: &TermForm, of: &dyn Fn(&AtomId) -> bool) -> (usize, Vec<AtomId>) {
    match form {
        TermForm::Free(atom) if of(atom) => (d.terms.len(*atom), vec![*atom]),
        TermForm::Free(_) | TermForm::Fixed(_) | TermForm::Chooser(..) => (1, Vec::new()),
        TermForm::Product(factors) => {
            factors.iter().map(|f| meeting(d, f, of)).fold((1, Vec::new()), |(n, mut all), (m, found)| {
                all.extend(found);
                (n.saturating_mul(m), all)
            })
        }
        TermForm::Sum(parts) | TermForm::Cases(_, parts) => {
            parts.iter().map(|p| meeting(d, p, of)).max_by_key(|(n, _)| *n).unwrap_or((1, Vec::new()))
        }
    }
}

/// Whether `atom` is `top` or, through its parents, a family below it.
fn above(parents: &BTreeMap<AtomId, AtomId>, atom: AtomId, top: AtomId) -> bool {
    std::iter::successors(Some(atom), |a| parents.get(a).copied()).any(|a| a == top)
}

/// The free atoms that stand on other axes than this, exactly once whatever part of them is looked at.
fn elsewhere(axes: &[TermForm], own: usize) -> Vec<AtomId> {
    let mut found = Vec::new();
    for form in axes.iter().enumerate().filter(|(k, _)| *k != own).map(|(_, form)| form) {
        match form {
            TermForm::Free(atom) => found.push(*atom),
            TermForm::Product(factors) => {
                found.extend(
                    factors.iter().filter_map(|f| if let TermForm::Free(atom) = f { Some(*atom) } else { None }),
                );
            }
            TermForm::Fixed(_) | TermForm::Chooser(..) | TermForm::Cases(..) | TermForm::Sum(_) => {}
        }
    }
    found
}

/// Every free atom of a form with those that stand beside it; factors outside it in its own product come last.
fn beside(form: &TermForm, others: &[AtomId], found: &mut Vec<(AtomId, Vec<AtomId>)>) {
    match form {
        TermForm::Free(atom) => found.push((*atom, others.to_vec())),
        TermForm::Fixed(_) | TermForm::Chooser(..) => {}
        TermForm::Sum(parts) | TermForm::Cases(_, parts) => parts.iter().for_each(|p| beside(p, others, found)),
        TermForm::Product(factors) => {
            let mut others = others.to_vec();
            for factor in factors {
                beside(factor, &others, found);
                if let TermForm::Free(atom) = factor {
                    others.push(*atom);
                }
            }
        }
    }
}

/// Whether every `inner` of a value stands beside exactly one `outer`: in its own product, or on another axis.
fn stands_beside(axes: &[TermForm], inner: AtomId, outer: AtomId) -> bool {
    fn within(form: &TermForm, inner: AtomId, outer: AtomId, (least, most): (usize, usize)) -> bool {
        match form {
            TermForm::Free(a) => *a != inner || (least == 1 && most == 1),
            TermForm::Fixed(_) | TermForm::Chooser(..) => true,
            TermForm::Sum(parts) | TermForm::Cases(_, parts) => {
                parts.iter().all(|p| within(p, inner, outer, (least, most)))
            }
            TermForm::Product(factors) => factors.iter().enumerate().all(|(k, factor)| {
                let others = factors.iter().enumerate().filter(|(l, _)| *l != k).map(|(_, f)| f.count(outer));
                within(factor, inner, outer, others.fold((least, most), |(a, b), (c, d)| (a + c, b + d)))
            }),
        }
    }
    axes.iter().enumerate().all(|(k, form)| {
        let others = axes.iter().enumerate().filter(|(l, _)| *l != k).map(|(_, f)| f.count(outer));
        within(form, inner, outer, others.fold((0, 0), |(a, b), (c, d)| (a + c, b + d)))
    })
}

/// Where every unknown stands, so that not all values need to be looked at for each.
struct Places<'d, 'g> {
    d: &'d Discoverer<'g>,
    /// What an unknown is a part of.
    wholes: Vec<Vec<AtomId>>,
    /// The values that have it as an axis.
    values: Vec<Vec<usize>>,
    /// Nodes that read a value.
    readers: Vec<Vec<NodeId>>,
}

impl<'d, 'g> Places<'d, 'g> {
    fn new(d: &'d Discoverer<'g>) -> Self {
        let count = d.terms.count();
        let mut wholes = vec![Vec::new(); count];
        for (k, state) in d.terms.states.iter().enumerate() {
            match state {
                State::Sum(children) | State::Product(children) | State::Cases(_, children) => {
                    d.terms.spend(children.len());
                    for child in children {
                        wholes[d.terms.find(*child).0].push(AtomId(k));
                    }
                }
                State::Free | State::Fixed | State::Chooser | State::Same(_) => {}
            }
        }
        let mut values = vec![Vec::new(); count];
        for (value, axes) in d.axes.iter().enumerate() {
            for axis in axes {
                values[d.terms.find(*axis).0].push(value);
            }
        }
        let mut readers = vec![Vec::new(); d.graph.values().len()];
        for (k, node) in d.graph.nodes().iter().enumerate() {
            node.inputs.iter().for_each(|v| readers[v.0].push(NodeId(k)));
        }
        Self { d, wholes, values, readers }
    }

    /// Values that hold an atom, each once; none if the search has gone on for too long.
    fn of(&self, atom: AtomId) -> Vec<usize> {
        let (mut seen, mut found, mut stack) = (BTreeSet::new(), Vec::new(), vec![atom]);
        while let Some(at) = stack.pop() {
            if !seen.insert(at) {
                continue;
            }
            self.d.terms.spend(1 + self.values[at.0].len() + self.wholes[at.0].len());
            if self.d.terms.gave_up() {
                return Vec::new();
            }
            found.extend(&self.values[at.0]);
            stack.extend(&self.wholes[at.0]);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether `inner` stands beside exactly one unit of `outer` wherever it stands, and nothing meets two of its copies.
    fn indexed(&self, inner: AtomId, outer: AtomId) -> bool {
        let terms = &self.d.terms;
        self.of(inner).into_iter().all(|value| {
            let Some(variants) = variants(&terms.forms(&self.d.axes[value])) else { return false };
            variants.iter().all(|axes| {
                let mixed = self.d.mixed.get(&ValueId(value)).is_some_and(|mixed| {
                    let holds = |atom, inside: bool| {
                        let axes = axes.iter().enumerate().filter(|(k, _)| mixed.contains(k) == inside);
                        axes.map(|(_, form)| form.count(atom).1).sum::<usize>() > 0
                    };
                    holds(outer, true) && holds(inner, false)
                });
                !mixed && stands_beside(axes, inner, outer)
            }) && !self.crossed(ValueId(value), outer)
        })
    }

    /// Whether a node that reads a value pairs what stands in one unit of `outer` with what stands in another.
    fn crossed(&self, value: ValueId, outer: AtomId) -> bool {
        let d = self.d;
        let outputs = self.readers[value.0].iter().flat_map(|node| &d.graph.node(*node).outputs);
        outputs.into_iter().any(|v| d.terms.forms(&d.axes[v.0]).iter().map(|f| f.count(outer).1).sum::<usize>() > 1)
    }
}
