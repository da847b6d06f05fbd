//! Axes that are laid out as one: a family and its parent on another axis, cases and what chooses among them.
//!
//! Neighbouring axes of a tensor lie in memory as one axis that is their product, so `g stream u@g` is the one axis
//! `(g stream u@g)`, in which the family stands beside its parent.

use std::ops::Range;

use super::error::SymmetryError;
use super::group::GroupId;
use super::layout::{expand, open_cases};
use super::pattern::{Pattern, Term, TermKind, visit_groups};

/// The axes of a pattern in runs, each of which is laid out as one axis.
pub(crate) fn runs(pattern: &Pattern) -> Vec<Range<usize>> {
    let axes = &pattern.axes;
    let mut joined: Vec<Range<usize>> = (0..axes.len()).map(|axis| axis..axis + 1).collect();
    let mut join = |a: usize, b: usize| joined.push(a.min(b)..a.max(b) + 1);
    for axis in (0..axes.len()).filter(|axis| open_cases(&axes[*axis])) {
        (0..axes.len()).filter(|a| chooses(&axes[*a])).for_each(|a| join(a, axis));
    }
    let mentions = |term: &Term, wanted: &str| {
        let mut found = false;
        visit_groups(term, &mut |name, _, _| found |= name == wanted);
        found
    };
    for (axis, term) in axes.iter().enumerate() {
        visit_groups(term, &mut |_, parent, _| {
            let Some(parent) = parent.filter(|p| !mentions(term, p)) else { return };
            (0..axes.len()).filter(|a| mentions(&axes[*a], parent)).for_each(|a| join(a, axis));
        });
    }
    joined.sort_by_key(|run| (run.start, run.end));
    let mut runs: Vec<Range<usize>> = Vec::new();
    for run in joined {
        match runs.last_mut() {
            Some(last) if run.start < last.end => last.end = last.end.max(run.end),
            _ => runs.push(run),
        }
    }
    runs
}

/// Whether an axis as a whole has entries that choose.
fn chooses(term: &Term) -> bool {
    match &term.kind {
        TermKind::Chooser(_) => true,
        TermKind::Product(factors) => factors.iter().any(|f| matches!(f.kind, TermKind::Chooser(_))),
        TermKind::Fixed | TermKind::Number(_) | TermKind::Group { .. } | TermKind::Sum(_) | TermKind::Cases(_) => false,
    }
}

/// The term of a run of axes as one axis, and its length.
pub(super) fn whole(pattern: &Pattern, shape: &[usize], run: Range<usize>) -> (Term, usize) {
    let len = shape[run.clone()].iter().product();
    if run.len() == 1 {
        return (pattern.axes[run.start].clone(), len);
    }
    let (column, open) = (pattern.axes[run.start].column, pattern.axes.iter().any(open_cases));
    let mut factors = Vec::new();
    for axis in run {
        let term = &pattern.axes[axis];
        match &term.kind {
            TermKind::Fixed => factors.push(Term { kind: TermKind::Number(shape[axis]), column: term.column }),
            TermKind::Product(inner) if open && chooses(term) => factors.extend(inner.iter().cloned()),
            TermKind::Number(_)
            | TermKind::Group { .. }
            | TermKind::Product(_)
            | TermKind::Sum(_)
            | TermKind::Chooser(_)
            | TermKind::Cases(_) => factors.push(term.clone()),
        }
    }
    (Term { kind: TermKind::Product(factors), column }, len)
}

/// Refuses cases that nothing chooses, or two things do, or whose number or lengths do not fit.
pub(super) fn check_choices(
    tensor: &str,
    pattern: &Pattern,
    group: &dyn Fn(&str) -> (GroupId, usize),
) -> Result<(), SymmetryError> {
    let refuse = |column: usize, why: &str| SymmetryError::Pattern {
        tensor: Some(tensor.to_owned()),
        pattern: pattern.to_string(),
        column,
        why: why.to_owned(),
    };
    let open = pattern.axes.iter().find(|term| open_cases(term));
    let counts: Vec<usize> = pattern.axes.iter().filter(|t| chooses(t)).flat_map(choosers_of).collect();
    let entries = match (open, &counts[..]) {
        (None, _) => None,
        (Some(_), [count]) => Some(*count),
        (Some(term), _) => return Err(refuse(term.column, "one axis must have the entries that choose (`#2`)")),
    };
    pattern.axes.iter().try_for_each(|term| check_term(term, entries, group, &refuse))
}

fn choosers_of(term: &Term) -> Vec<usize> {
    match &term.kind {
        TermKind::Chooser(n) => vec![*n],
        TermKind::Product(factors) => {
            factors.iter().filter_map(|f| if let TermKind::Chooser(n) = f.kind { Some(n) } else { None }).collect()
        }
        TermKind::Fixed | TermKind::Number(_) | TermKind::Group { .. } | TermKind::Sum(_) | TermKind::Cases(_) => {
            Vec::new()
        }
    }
}

fn check_term(
    term: &Term,
    entries: Option<usize>,
    group: &dyn Fn(&str) -> (GroupId, usize),
    refuse: &dyn Fn(usize, &str) -> SymmetryError,
) -> Result<(), SymmetryError> {
    match &term.kind {
        TermKind::Fixed | TermKind::Number(_) | TermKind::Group { .. } | TermKind::Chooser(_) => Ok(()),
        TermKind::Sum(parts) => parts.iter().try_for_each(|p| check_term(p, entries, group, refuse)),
        TermKind::Product(factors) => {
            let own = match choosers_of(term)[..] {
                [] => entries,
                [count] => Some(count),
                _ => return Err(refuse(term.column, "a product has entries that choose (`#2`) at most once")),
            };
            factors.iter().try_for_each(|f| check_term(f, own, group, refuse))
        }
        TermKind::Cases(cases) => {
            if entries != Some(cases.len()) {
                return Err(refuse(term.column, "there must be as many cases as entries that choose (`#2`)"));
            }
            let lens: Vec<usize> = cases.iter().map(|c| expand(c, 0, group).0).collect();
            if lens.iter().any(|len| *len != lens[0]) {
                return Err(refuse(term.column, "all cases must have one length"));
            }
            cases.iter().try_for_each(|c| check_term(c, entries, group, refuse))
        }
    }
}
