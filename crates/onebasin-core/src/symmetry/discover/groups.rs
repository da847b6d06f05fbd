//! From unknowns to a symmetry: names, families, slices.

use std::collections::{BTreeMap, BTreeSet};

use super::Discoverer;
use super::terms::{AtomId, TermForm, Terms};
use crate::graph::{NodeId, Op, ValueId, ValueSource};
use crate::symmetry::SymmetrySpec;
use crate::symmetry::pattern::{Pattern, Term, TermKind};

/// The symmetry of what is still free, and the pattern of every value in which a group of it stands.
pub(super) fn spec(d: &Discoverer<'_>) -> (SymmetrySpec, Vec<Option<Pattern>>) {
    let forms: Vec<Vec<TermForm>> = d.axes.iter().map(|axes| axes.iter().map(|a| d.terms.form(*a)).collect()).collect();
    let params: Vec<ValueId> = d.graph.ids().filter(|v| d.graph.value(*v).source == ValueSource::Param).collect();
    let mut names = Names { of: BTreeMap::new(), taken: BTreeSet::new(), numbers: BTreeMap::new() };
    for value in &params {
        let stem = stem(&d.graph.value(*value).name);
        forms[value.0].iter().for_each(|form| form.each_free(&mut |atom| names.give(atom, &stem)));
    }
    let pads = pads(d, &forms, &names);
    let parents = families(d, &forms, &params, &names);
    let write = Write { terms: &d.terms, names: &names.of, parents: &parents, pads: &pads };
    let pattern = |axes: &[TermForm]| Pattern { axes: axes.iter().map(|form| write.axis(form)).collect() };
    let mut spec = SymmetrySpec::default();
    for value in params {
        spec.tensors.insert(d.graph.value(value).name.clone(), pattern(&forms[value.0]));
    }
    for (atom, name) in &names.of {
        let size = match pads.get(atom) {
            Some(slice) if slice.start > 0 => continue,
            Some(slice) => slice.units,
            None => d.terms.len(*atom),
        };
        spec.sizes.insert(name.clone(), size);
    }
    let values = forms.iter().map(|axes| axes.iter().any(|form| write.moves(form)).then(|| pattern(axes))).collect();
    (spec, values)
}

/// A parameter's name without its last word, in the characters of group names.
fn stem(name: &str) -> String {
    const LAST: [&str; 6] = ["weight", "bias", "kernel", "scale", "W", "w"];
    let cut = name.rfind(['.', '/']).filter(|at| LAST.contains(&&name[at + 1..])).unwrap_or(name.len());
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_-./".contains(c) { c } else { '_' };
    let stem: String = name[..cut].chars().map(allowed).collect();
    if stem.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') { stem } else { format!("_{stem}") }
}

struct Names {
    of: BTreeMap<AtomId, String>,
    taken: BTreeSet<String>,
    /// The number that was last put behind a stem.
    numbers: BTreeMap<String, usize>,
}

impl Names {
    fn give(&mut self, atom: AtomId, stem: &str) {
        if self.of.contains_key(&atom) {
            return;
        }
        let mut name = stem.to_owned();
        if !self.taken.insert(name.clone()) {
            let number = self.numbers.entry(name).or_insert(1);
            loop {
                *number += 1;
                name = format!("{stem}.{number}");
                if self.taken.insert(name.clone()) {
                    break;
                }
            }
        }
        self.of.insert(atom, name);
    }
}

/// Where the entries of a pad stand in the group that both its ends make together.
struct PadSlice {
    start: usize,
    end: usize,
    units: usize,
    /// The end that gives the group its name.
    first: AtomId,
}

/// Both ends of a padded axis hold the same constant: where they always stand together they are one group in slices.
fn pads(d: &Discoverer<'_>, forms: &[Vec<TermForm>], names: &Names) -> BTreeMap<AtomId, PadSlice> {
    let mut pairs: Vec<(AtomId, AtomId)> =
        d.pads.iter().map(|(front, back)| (d.terms.find(*front), d.terms.find(*back))).collect();
    pairs.retain(|(f, b)| f != b && names.of.contains_key(f) && names.of.contains_key(b));
    if pairs.is_empty() {
        return BTreeMap::new();
    }
    let places = Places::new(d, forms);
    pairs.retain(|(f, b)| {
        places.of(*f).chain(places.of(*b)).all(|v| forms[v].iter().all(|form| together(form, *f, *b, false)))
    });
    let mut slices = BTreeMap::new();
    for (front, back) in pairs {
        let (p, q) = (d.terms.len(front), d.terms.len(back));
        slices.insert(front, PadSlice { start: 0, end: p, units: p + q, first: front });
        slices.insert(back, PadSlice { start: p, end: p + q, units: p + q, first: front });
    }
    slices
}

/// Whether every concatenation that holds one of two parts holds the other, each once, and they stand nowhere else.
fn together(form: &TermForm, a: AtomId, b: AtomId, inside: bool) -> bool {
    match form {
        TermForm::Free(atom) => inside || (*atom != a && *atom != b),
        TermForm::Fixed(_) => true,
        TermForm::Product(factors) => factors.iter().all(|f| together(f, a, b, false)),
        TermForm::Sum(parts) => {
            let count = |atom: AtomId| parts.iter().filter(|p| **p == TermForm::Free(atom)).count();
            let both = count(a) == count(b) && count(a) <= 1;
            both && parts.iter().all(|p| together(p, a, b, matches!(p, TermForm::Free(_))))
        }
    }
}

/// The families: a group that everywhere stands beside exactly one unit of another may be permuted for each of those
/// units on its own.
fn families(
    d: &Discoverer<'_>,
    forms: &[Vec<TermForm>],
    params: &[ValueId],
    names: &Names,
) -> BTreeMap<AtomId, AtomId> {
    // In parameters, parent and family must stand in one product, the parent outside.
    let mut candidates: BTreeMap<AtomId, Vec<AtomId>> = BTreeMap::new();
    for form in params.iter().flat_map(|v| &forms[v.0]) {
        let mut found = Vec::new();
        outer_factors(form, &[], &mut found);
        for (atom, outer) in found {
            candidates.entry(atom).and_modify(|c| c.retain(|o| outer.contains(o))).or_insert(outer);
        }
    }
    candidates.retain(|atom, outer| !outer.is_empty() && names.of.contains_key(atom));
    if candidates.is_empty() {
        return BTreeMap::new();
    }
    let places = Places::new(d, forms);
    let fails = |inner: AtomId, outer: AtomId| {
        let mut holding = places.of(inner);
        !holding.all(|v| indexed(&forms[v], inner, outer)) || crossed(d, forms, &places, inner, outer)
    };
    let nearest =
        |(inner, outer): (AtomId, Vec<AtomId>)| outer.into_iter().rev().find(|o| !fails(inner, *o)).map(|o| (inner, o));
    candidates.into_iter().filter_map(nearest).collect()
}

/// Every free atom of a form with the free factors that stand outside it in its product.
fn outer_factors(form: &TermForm, outer: &[AtomId], found: &mut Vec<(AtomId, Vec<AtomId>)>) {
    match form {
        TermForm::Free(atom) => found.push((*atom, outer.to_vec())),
        TermForm::Fixed(_) => {}
        TermForm::Sum(parts) => parts.iter().for_each(|p| outer_factors(p, outer, found)),
        TermForm::Product(factors) => {
            let mut outer = outer.to_vec();
            for factor in factors {
                outer_factors(factor, &outer, found);
                if let TermForm::Free(atom) = factor {
                    outer.push(*atom);
                }
            }
        }
    }
}

/// How often an atom stands in a form, at most once per alternative of a concatenation.
fn count(form: &TermForm, atom: AtomId) -> usize {
    match form {
        TermForm::Free(a) => usize::from(*a == atom),
        TermForm::Fixed(_) => 0,
        TermForm::Product(factors) => factors.iter().map(|f| count(f, atom)).sum(),
        TermForm::Sum(parts) => parts.iter().map(|p| count(p, atom)).max().unwrap_or(0),
    }
}

/// Whether every `inner` of a value stands beside exactly one `outer`: in its own product, or on another axis.
fn indexed(axes: &[TermForm], inner: AtomId, outer: AtomId) -> bool {
    fn beside(form: &TermForm, inner: AtomId, outer: AtomId, elsewhere: usize) -> bool {
        match form {
            TermForm::Free(a) => *a != inner || elsewhere == 1,
            TermForm::Fixed(_) => true,
            TermForm::Sum(parts) => parts.iter().all(|p| beside(p, inner, outer, elsewhere)),
            TermForm::Product(factors) => {
                let total = elsewhere + factors.iter().map(|f| count(f, outer)).sum::<usize>();
                factors.iter().all(|f| beside(f, inner, outer, total - count(f, outer)))
            }
        }
    }
    let total: usize = axes.iter().map(|f| count(f, outer)).sum();
    axes.iter().all(|f| beside(f, inner, outer, total - count(f, outer)))
}

/// Whether a product of matrices pairs `inner` of one `outer` with `inner` of another.
fn crossed(d: &Discoverer<'_>, forms: &[Vec<TermForm>], places: &Places<'_, '_>, inner: AtomId, outer: AtomId) -> bool {
    let holds = |v: &ValueId, atom: AtomId| forms[v.0].iter().map(|f| count(f, atom)).sum::<usize>();
    places
        .of(inner)
        .flat_map(|v| places.readers.get(&ValueId(v)).into_iter().flatten())
        .any(|node| d.graph.node(*node).outputs.iter().any(|v| holds(v, outer) > 1))
}

/// Where every free atom stands, so that not all values need to be looked at for each.
struct Places<'d, 'g> {
    d: &'d Discoverer<'g>,
    /// Indices of the values that hold it, ascending, and how much looking at them is.
    values: BTreeMap<AtomId, (Vec<usize>, usize)>,
    /// Matrix products that read a value.
    readers: BTreeMap<ValueId, Vec<NodeId>>,
}

impl<'d, 'g> Places<'d, 'g> {
    fn new(d: &'d Discoverer<'g>, forms: &[Vec<TermForm>]) -> Self {
        let mut values: BTreeMap<AtomId, (Vec<usize>, usize)> = BTreeMap::new();
        for (value, axes) in forms.iter().enumerate() {
            let mut atoms = Vec::new();
            for form in axes {
                form.each_free(&mut |atom| atoms.push(atom));
            }
            let size = 1 + atoms.len();
            d.terms.spend(size);
            atoms.sort_unstable();
            atoms.dedup();
            for atom in atoms {
                let (held, cost) = values.entry(atom).or_default();
                held.push(value);
                *cost += size;
            }
        }
        let mut readers: BTreeMap<ValueId, Vec<NodeId>> = BTreeMap::new();
        for (k, node) in d.graph.nodes().iter().enumerate().filter(|(_, n)| matches!(n.op, Op::MatMul)) {
            node.inputs.iter().for_each(|v| readers.entry(*v).or_default().push(NodeId(k)));
        }
        Self { d, values, readers }
    }

    /// Values that hold an atom; none if the search has gone on for too long.
    fn of(&self, atom: AtomId) -> impl Iterator<Item = usize> {
        let found = self.values.get(&atom).filter(|(_, cost)| {
            self.d.terms.spend(*cost);
            !self.d.terms.gave_up()
        });
        found.into_iter().flat_map(|(values, _)| values.iter().copied())
    }
}

struct Write<'a> {
    terms: &'a Terms,
    names: &'a BTreeMap<AtomId, String>,
    parents: &'a BTreeMap<AtomId, AtomId>,
    pads: &'a BTreeMap<AtomId, PadSlice>,
}

impl Write<'_> {
    /// Whether units of a group stand in a form; what is free but in no parameter belongs to none.
    fn moves(&self, form: &TermForm) -> bool {
        let mut named = false;
        form.each_free(&mut |atom| named |= self.names.contains_key(&atom));
        named
    }

    fn axis(&self, form: &TermForm) -> Term {
        if self.moves(form) { self.term(form) } else { Term { kind: TermKind::Fixed, column: 1 } }
    }

    fn term(&self, form: &TermForm) -> Term {
        let all = |children: &[TermForm]| children.iter().map(|c| self.term(c)).collect();
        let kind = match form {
            TermForm::Fixed(n) => TermKind::Number(*n),
            TermForm::Free(atom) if !self.names.contains_key(atom) => TermKind::Number(self.terms.len(*atom)),
            TermForm::Free(atom) => {
                let slice = self.pads.get(atom);
                let name = slice.map_or(atom, |s| &s.first);
                let (name, parent) = (self.names[name].clone(), self.parents.get(atom).map(|p| self.names[p].clone()));
                TermKind::Group { name, parent, slice: slice.map(|s| (s.start, s.end)) }
            }
            TermForm::Product(factors) => TermKind::Product(all(factors)),
            TermForm::Sum(parts) => TermKind::Sum(all(parts)),
        };
        Term { kind, column: 1 }
    }
}
