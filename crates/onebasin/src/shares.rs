//! How much each end counts at the units of a solved layer, where groups have λ of their own.

use std::collections::BTreeMap;

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_core::solve::{sites, solving_order};
use onebasin_core::symmetry::{Symmetry, TermKind, discover};
use onebasin_nn::Ends;

use crate::error::{Error, Result};

/// Two ends at `lambda`, and at λ of its own at the units of every site that are of a group which has one.
pub(crate) fn ends_by_group<'a>(
    graph: &Graph,
    symmetry: &Symmetry,
    ends: [&'a Params; 2],
    lambda: f64,
    by_group: &BTreeMap<&str, f64>,
) -> Result<Ends<'a>> {
    let mut ends = Ends::pair(ends, lambda);
    if by_group.is_empty() {
        return Ok(ends);
    }
    let of = ByGroup { symmetry, usual: lambda, own: by_group };
    let graph = solving_order(graph);
    let found = discover(&graph);
    let known = &found.spec().tensors;
    let in_graph = |group: &str| known.values().flat_map(|pattern| &pattern.axes).any(|term| names(&term.kind, group));
    if let Some(group) = by_group.keys().find(|group| !in_graph(group)) {
        return Err(Error::Option {
            option: "group_lambda",
            expected: "groups that the network's graph has, where layers are solved",
            found: format!("`{group}` of the symmetry file"),
        });
    }
    // A layer of a stack is several sites, whose units stand for each other only together.
    let stacked = |group: &&&str| {
        let mut stacks = known.iter().filter(|(name, _)| graph.param_named(name).is_err());
        stacks.any(|(_, pattern)| {
            let unit = pattern.axes.first().map(ToString::to_string).unwrap_or_default();
            pattern.axes.iter().any(|term| is_of(&term.kind, &unit, group))
        })
    };
    if let Some(group) = by_group.keys().find(stacked) {
        return Err(Error::Option {
            option: "group_lambda",
            expected: "groups whose units are no sets of tensors, where layers are solved",
            found: format!("`{group}`"),
        });
    }
    for site in sites(&graph).0 {
        let Some(term) = found.value_pattern(site.target).and_then(|pattern| pattern.axes.get(site.axis)) else {
            continue;
        };
        if !by_group.keys().any(|group| names(&term.kind, group)) {
            continue;
        }
        let (units, node) = (graph.shape(site.target)[site.axis], &graph.node(site.node).name);
        let lambda = of.units(&term.kind).filter(|found| found.len() == units).ok_or_else(|| Error::Option {
            option: "group_lambda",
            expected: "groups that are no families, where layers are solved",
            found: format!("`{term}` at layer `{node}`"),
        })?;
        ends.by_unit.insert(site.target, vec![lambda.iter().map(|l| 1.0 - l).collect(), lambda]);
    }
    Ok(ends)
}

/// Whether `group` stands in a term and is `unit`, or a family over it.
fn is_of(term: &TermKind, unit: &str, group: &str) -> bool {
    match term {
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => false,
        TermKind::Group { name, parent, .. } => name == group && (name == unit || parent.as_deref() == Some(unit)),
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => {
            terms.iter().any(|term| is_of(&term.kind, unit, group))
        }
    }
}

/// Whether a term is of a group, or of a family over it.
fn names(term: &TermKind, group: &str) -> bool {
    match term {
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => false,
        TermKind::Group { name, parent, .. } => name == group || parent.as_deref() == Some(group),
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => {
            terms.iter().any(|term| names(&term.kind, group))
        }
    }
}

/// λ of single groups, as units of an axis have it.
struct ByGroup<'a> {
    symmetry: &'a Symmetry,
    /// λ of the others.
    usual: f64,
    own: &'a BTreeMap<&'a str, f64>,
}

impl ByGroup<'_> {
    /// λ of every unit of a term, the smaller one where it is of two groups; none where its units are not known here.
    fn units(&self, term: &TermKind) -> Option<Vec<f64>> {
        match term {
            TermKind::Fixed | TermKind::Group { parent: Some(_), .. } | TermKind::Chooser(_) | TermKind::Cases(_) => {
                None
            }
            TermKind::Number(count) => Some(vec![self.usual; *count]),
            TermKind::Group { name, parent: None, slice } => {
                let size = self.symmetry.groups().iter().find(|group| group.name == *name)?.size;
                let count = slice.map_or(size, |(start, end)| end - start);
                Some(vec![self.own.get(name.as_str()).copied().unwrap_or(self.usual); count])
            }
            TermKind::Sum(terms) => {
                Some(terms.iter().map(|term| self.units(&term.kind)).collect::<Option<Vec<_>>>()?.concat())
            }
            TermKind::Product(terms) => terms.iter().try_fold(vec![1.0], |outer, term| {
                let inner = match &term.kind {
                    TermKind::Number(count) => vec![1.0; *count],
                    other => self.units(other)?,
                };
                Some(outer.iter().flat_map(|o| inner.iter().map(move |i| f64::min(*o, *i))).collect())
            }),
        }
    }
}
