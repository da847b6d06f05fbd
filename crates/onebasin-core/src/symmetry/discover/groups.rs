//! From unknowns to a symmetry: names, families, slices.

use std::collections::{BTreeMap, BTreeSet};

use super::alike::{Slice, slices};
use super::families::families;
use super::forms::TermForm;
use super::terms::{AtomId, CHOICES, Terms};
use super::{AxisRef, Discoverer};
use crate::graph::{Op, ValueId, ValueSource};
use crate::symmetry::SymmetrySpec;
use crate::symmetry::pattern::{Pattern, Term, TermKind};
use crate::symmetry::stack;

/// The symmetry of what is still free, and how to write the pattern of any value.
pub(super) fn spec(d: &mut Discoverer<'_>) -> (SymmetrySpec, Writer) {
    let Free { params, forms, slices, parents } = free(d);
    let mut names = Names { of: BTreeMap::new(), taken: BTreeSet::new(), numbers: BTreeMap::new() };
    for (value, forms) in params.iter().zip(&forms) {
        let name = d.param_name(*value).unwrap_or_default();
        let stem = stem(&if d.stacked.contains_key(value) { stack::without_entries(name) } else { name.to_owned() });
        let mut give = |atom: AtomId| match slices.get(&atom) {
            Some(slice) => names.give(slice.first, &stem),
            None if d.terms.len(atom) > 1 => names.give(atom, &stem),
            None => {}
        };
        for form in forms {
            form.each_free(&mut give);
        }
    }
    let mut spec = SymmetrySpec::default();
    for (atom, name) in &names.of {
        let size = slices.get(atom).map_or(d.terms.len(*atom), |slice| slice.units);
        spec.sizes.insert(name.clone(), size);
    }
    let writer = Writer { names: names.of, parents, slices };
    for (value, forms) in params.into_iter().zip(&forms) {
        spec.tensors.extend(d.param_name(value).map(|name| (name.to_owned(), writer.pattern(&d.terms, forms))));
    }
    (spec, writer)
}

/// What is free in the parameters.
struct Free {
    params: Vec<ValueId>,
    forms: Vec<Vec<TermForm>>,
    slices: BTreeMap<AtomId, Slice>,
    parents: BTreeMap<AtomId, AtomId>,
}

fn free(d: &mut Discoverer<'_>) -> Free {
    // Where entries that are told apart are mixed, or each meets each, what stands beside them is the same for all.
    let beside = |value: ValueId, passed: &dyn Fn(usize) -> bool| -> Vec<AtomId> {
        d.axes[value.0].iter().enumerate().filter(|(axis, _)| !passed(*axis)).map(|(_, atom)| *atom).collect()
    };
    let mixed = d.mixed.iter().map(|(value, mixed)| beside(*value, &|axis| mixed.contains(&axis)));
    let crossed = d.crossed.iter().map(|at| beside(at.value, &|axis| axis == at.axis));
    let seen: Vec<Vec<AtomId>> = d.axes.iter().cloned().chain(mixed).chain(crossed).collect();
    let graph = d.graph;
    let written =
        |value: usize| value < graph.values().len() && graph.value(ValueId(value)).source == ValueSource::Param;
    d.terms.settle(&seen, &written);
    let params: Vec<ValueId> = d.params().collect();
    // The virtual axis of a stack is the first of its pattern.
    let form = |v: &ValueId| {
        let mut forms = d.terms.forms(&d.axes[v.0]);
        forms.rotate_right(d.axes[v.0].len() - d.rank(*v));
        forms
    };
    let forms: Vec<Vec<TermForm>> = params.iter().map(form).collect();
    let mut order = Vec::new();
    forms.iter().flatten().for_each(|form| form.each_free(&mut |atom| order.push(atom)));
    let slices = slices(&d.terms, &looked_at(d), &order);
    let parents = families(d, &forms, |atom| d.terms.len(atom) > 1 && !slices.contains_key(&atom));
    Free { params, forms, slices, parents }
}

/// Holds axes in their places. Of a family over units that stay there is a group for each of them.
pub(super) fn hold(d: &mut Discoverer<'_>, held: &BTreeMap<AxisRef, String>) {
    let parents = free(d).parents;
    let below = |top: AtomId| -> Vec<AtomId> {
        let under = |atom: &AtomId| std::iter::successors(Some(*atom), |a| parents.get(a).copied()).any(|a| a == top);
        parents.keys().copied().filter(under).collect()
    };
    for (axis, why) in held {
        let mut atoms = Vec::new();
        d.terms.forms(&d.axes[axis.value.0])[axis.axis].each_free(&mut |atom| atoms.push(atom));
        for atom in atoms {
            let families = below(atom);
            if families.is_empty() || parents.contains_key(&atom) || d.terms.len(atom) > CHOICES {
                d.terms.fix(atom);
                continue;
            }
            let chooser = d.terms.chooser(d.terms.len(atom));
            for family in families {
                d.terms.select(family, chooser, 0);
            }
            d.terms.link(atom, chooser);
        }
        d.because(*axis, why);
    }
}

/// The axes of all values but those that only move entries to where others look at them.
fn looked_at(d: &Discoverer<'_>) -> Vec<Vec<AtomId>> {
    let moves = |op: &Op| matches!(op, Op::Concat { .. } | Op::Slice { .. } | Op::Reshape(_) | Op::Transpose(_));
    let mut looks = vec![false; d.axes.len()];
    for node in d.graph.nodes().iter().filter(|node| !moves(&node.op)) {
        node.inputs.iter().chain(&node.outputs).for_each(|v| looks[v.0] = true);
    }
    d.graph.outputs().iter().for_each(|v| looks[v.0] = true);
    let axes = d.graph.ids().filter(|v| looks[v.0] || !matches!(d.graph.value(*v).source, ValueSource::Node(..)));
    axes.map(|v| d.axes[v.0].clone()).collect()
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

/// Writes patterns.
#[derive(Debug)]
pub(super) struct Writer {
    names: BTreeMap<AtomId, String>,
    parents: BTreeMap<AtomId, AtomId>,
    slices: BTreeMap<AtomId, Slice>,
}

impl Writer {
    /// The parent of every family.
    pub(super) fn parents(&self) -> &BTreeMap<AtomId, AtomId> {
        &self.parents
    }

    /// Whether units of a group that `top` indexes stand on these axes.
    pub(super) fn is_below(&self, terms: &Terms, axes: &[AtomId], top: AtomId) -> bool {
        let mut found = false;
        let above =
            |atom: AtomId| std::iter::successors(Some(atom), |a| self.parents.get(a).copied()).any(|a| a == top);
        terms.forms(axes).iter().for_each(|form| form.each_free(&mut |atom| found |= above(atom)));
        found
    }

    /// The pattern of a value, if a group stands in it.
    pub(super) fn value(&self, terms: &Terms, axes: &[AtomId]) -> Option<Pattern> {
        let forms = terms.forms(axes);
        let moves = forms.iter().any(|form| self.moves(form));
        moves.then(|| self.pattern(terms, &forms))
    }

    /// The pattern of axes of which one stands in a product with another one outside it.
    pub(super) fn beside(&self, terms: &Terms, axes: &[AtomId], (axis, outer): (usize, AtomId)) -> Pattern {
        let mut forms = terms.forms(&[axes, &[outer]].concat());
        if let Some(outer) = forms.pop() {
            let inner = std::mem::replace(&mut forms[axis], TermForm::Fixed(1));
            forms[axis] = TermForm::Product(vec![outer, inner]);
        }
        self.pattern(terms, &forms)
    }

    fn pattern(&self, terms: &Terms, forms: &[TermForm]) -> Pattern {
        Pattern { axes: forms.iter().map(|form| self.axis(terms, form)).collect() }
    }

    /// The name under which units are written; what is free but in no parameter belongs to no group.
    fn name(&self, atom: AtomId) -> Option<&String> {
        self.names.get(&self.slices.get(&atom).map_or(atom, |slice| slice.first))
    }

    /// Whether units of a group stand in a form.
    fn moves(&self, form: &TermForm) -> bool {
        let mut named = false;
        form.each_free(&mut |atom| named |= self.name(atom).is_some());
        named
    }

    fn axis(&self, terms: &Terms, form: &TermForm) -> Term {
        let stays = Term { kind: TermKind::Fixed, column: 1 };
        match form {
            TermForm::Chooser(_, len) => Term { kind: TermKind::Chooser(*len), column: 1 },
            TermForm::Product(factors) if factors.iter().any(|f| matches!(f, TermForm::Chooser(..))) => {
                self.term(terms, form)
            }
            form if self.moves(form) => self.term(terms, form),
            _ => stays,
        }
    }

    fn term(&self, terms: &Terms, form: &TermForm) -> Term {
        let all = |children: &[TermForm]| children.iter().map(|c| self.term(terms, c)).collect::<Vec<_>>();
        let kind = match form {
            TermForm::Fixed(n) => TermKind::Number(*n),
            TermForm::Chooser(_, len) => TermKind::Chooser(*len),
            TermForm::Cases(_, cases) => TermKind::Cases(all(cases)),
            TermForm::Free(atom) => match self.name(*atom) {
                None => TermKind::Number(terms.len(*atom)),
                Some(name) => TermKind::Group {
                    name: name.clone(),
                    parent: self.parents.get(atom).map(|p| self.names[p].clone()),
                    slice: self.slices.get(atom).map(|s| (s.start, s.end)),
                },
            },
            TermForm::Product(factors) => return joined(all(factors), 1, TermKind::Product, |n, m| n * m),
            TermForm::Sum(parts) => return joined(all(parts), 0, TermKind::Sum, |n, m| n + m),
        };
        Term { kind, column: 1 }
    }
}

/// Neighbouring numbers made one, and what is as good as nothing left out.
fn joined(terms: Vec<Term>, nothing: usize, kind: fn(Vec<Term>) -> TermKind, join: fn(usize, usize) -> usize) -> Term {
    let mut found: Vec<Term> = Vec::new();
    for term in terms {
        match (found.last_mut().map(|t| &mut t.kind), term.kind) {
            (_, TermKind::Number(n)) if n == nothing => {}
            (Some(TermKind::Number(n)), TermKind::Number(m)) => *n = join(*n, m),
            (_, kind) => found.push(Term { kind, column: 1 }),
        }
    }
    match found.len() {
        0 => Term { kind: TermKind::Number(nothing), column: 1 },
        1 => found.remove(0),
        _ => Term { kind: kind(found), column: 1 },
    }
}
