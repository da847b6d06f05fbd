//! From a model to what is seen of it.

use std::collections::{BTreeMap, BTreeSet};

use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::symmetry::{AxisRef, Discovery, GroupId, Held, Pattern, Symmetry, Term, TermKind, discover};
use onebasin_core::{Tensor, escaped};

use super::order::layers;
use super::{AxisPart, Frozen, Overview, SeenAxis, SeenGroup, SeenTensor, Share};
use crate::error::Result;
use crate::model::Model;

/// Why an axis stays that a symmetry given by hand does not move.
const GIVEN: &str = "the symmetry that was given does not move it";
/// Why an axis stays whose only unit it is.
const ONE: &str = "one entry: there is nothing to permute";
/// Why an axis stays of which discovery keeps no reason.
const UNTOLD: &str = "what it shares units with stays";

/// What is known of the axes of tensors.
struct Known<'m> {
    symmetry: Symmetry,
    /// The graph that the symmetry was discovered from.
    graph: Option<&'m Graph>,
    held: BTreeMap<AxisRef, Held<'m>>,
}

pub(super) fn overview(model: &Model) -> Result<Overview> {
    let graph = model.graph().filter(|_| !model.symmetry_is_given());
    let found = graph.map(discover);
    let known = if graph.is_some() || model.symmetry_is_given() {
        let held = found.as_ref().map(Discovery::held).unwrap_or_default();
        Some(Known { symmetry: model.symmetry()?, graph, held })
    } else {
        None
    };
    let tensors =
        model.params().iter().map(|(name, t)| seen(name, t, known.as_ref())).collect::<Result<Vec<SeenTensor>>>()?;
    let groups = known.as_ref().map_or_else(Vec::new, |known| groups(&known.symmetry, &tensors));
    let mut values = Share::default();
    let mut places = Share::default();
    if known.is_some() {
        for tensor in &tensors {
            let all: usize = tensor.shape.iter().product();
            values.all = values.all.saturating_add(all);
            let stay: usize = tensor.axes.iter().map(|axis| axis.len - axis.free).product();
            values.free = values.free.saturating_add(all - stay);
            for axis in tensor.axes.iter().filter(|axis| axis.len > 1) {
                places.all = places.all.saturating_add(axis.len);
                places.free = places.free.saturating_add(axis.free);
            }
        }
    }
    Ok(Overview {
        known: known.is_some(),
        free_units: groups.iter().fold(0, |sum, group: &SeenGroup| sum.saturating_add(group.units)),
        places,
        values,
        frozen: frozen(&tensors),
        layers: layers(&tensors, model.graph()),
        groups,
        tensors,
    })
}

fn seen(name: &str, tensor: &Tensor, known: Option<&Known<'_>>) -> Result<SeenTensor> {
    let not_finite =
        if tensor.dtype().is_float() { tensor.to_f64()?.iter().filter(|value| !value.is_finite()).count() } else { 0 };
    let standing = known.map_or(name, |known| known.symmetry.standing(name));
    let layout = known.map(|known| known.symmetry.tensor(standing)).transpose()?;
    // The first axis of a stack is not one of its tensors'.
    let before = usize::from(known.is_some_and(|known| known.symmetry.stack_of(name).is_some()));
    let mut axes = Vec::new();
    if let (Some(known), Some(layout)) = (known, layout) {
        let value = known.graph.and_then(|graph| graph.param_named(name).ok());
        for (axis, (term, len)) in layout.pattern.axes[before..].iter().zip(tensor.shape()).enumerate() {
            axes.push(known.axis(term, *len, value.map(|value| AxisRef { value, axis })));
        }
    }
    Ok(SeenTensor {
        name: name.to_owned(),
        dtype: tensor.dtype().name(),
        shape: tensor.shape().to_vec(),
        pattern: layout.map(|layout| match layout.pattern.axes.split_first() {
            Some((unit, own)) if before > 0 => format!("{unit}: {}", Pattern { axes: own.to_vec() }),
            _ => layout.pattern.to_string(),
        }),
        not_finite,
        axes,
    })
}

impl Known<'_> {
    fn axis(&self, term: &Term, len: usize, at: Option<AxisRef>) -> SeenAxis {
        let (free, inner) = (self.free(term), has_number(term));
        let mut why = None;
        let mut through = None;
        if len <= 1 && free == 0 {
            why = Some(ONE.to_owned());
        } else if free < len || inner {
            let held = at.and_then(|at| self.held.get(&at));
            why = Some(held.map_or(if self.graph.is_some() { UNTOLD } else { GIVEN }, |held| held.why).to_owned());
            through = held.and_then(|held| self.through(held, at));
        }
        SeenAxis { len, free, term: term.to_string(), parts: self.parts(term, len), why, through }
    }

    /// Entries of a term in which units that may move stand.
    fn free(&self, term: &Term) -> usize {
        let moves = |term: &Term| self.free(term) > 0;
        match &term.kind {
            TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => 0,
            TermKind::Group { name, .. } => {
                let size = self.symmetry.group_named(name).map_or(0, |id| self.symmetry.group(id).size);
                if size > 1 { self.extent(term, 0) } else { 0 }
            }
            TermKind::Product(factors) => {
                if factors.iter().any(moves) {
                    self.extent(term, 0)
                } else {
                    0
                }
            }
            TermKind::Sum(parts) => parts.iter().map(|part| self.free(part)).sum(),
            TermKind::Cases(cases) => cases.iter().map(|case| self.free(case)).max().unwrap_or(0),
        }
    }

    /// Where a reason comes from, if that is not the axis itself.
    fn through(&self, held: &Held<'_>, at: Option<AxisRef>) -> Option<String> {
        let graph = self.graph?;
        let ValueId(value) = held.at.value;
        let axis = (Some(held.at) != at)
            .then(|| format!("axis {} of `{}`", held.at.axis, escaped(&graph.values()[value].name)));
        let node = held.node.map(|node| graph.node(node));
        let node = node.map(|node| format!("node `{}` ({})", escaped(&node.name), escaped(node.op.name())));
        let through: Vec<String> = axis.into_iter().chain(node).collect();
        if through.is_empty() { None } else { Some(through.join(", ")) }
    }

    fn parts(&self, term: &Term, len: usize) -> Vec<AxisPart> {
        let terms = match &term.kind {
            TermKind::Sum(parts) => &parts[..],
            TermKind::Fixed
            | TermKind::Number(_)
            | TermKind::Group { .. }
            | TermKind::Product(_)
            | TermKind::Chooser(_)
            | TermKind::Cases(_) => std::slice::from_ref(term),
        };
        let part = |term: &Term| {
            let mut groups = Vec::new();
            self.collect(term, &mut groups);
            AxisPart { len: self.extent(term, len), groups, term: term.to_string() }
        };
        terms.iter().map(part).collect()
    }

    fn collect(&self, term: &Term, groups: &mut Vec<usize>) {
        match &term.kind {
            TermKind::Group { name, .. } => {
                if let Ok(GroupId(id)) = self.symmetry.group_named(name)
                    && !groups.contains(&id)
                {
                    groups.push(id);
                }
            }
            TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => {
                for term in terms {
                    self.collect(term, groups);
                }
            }
            TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => {}
        }
    }

    fn extent(&self, term: &Term, axis: usize) -> usize {
        match &term.kind {
            TermKind::Fixed => axis,
            TermKind::Number(n) | TermKind::Chooser(n) => *n,
            TermKind::Cases(cases) => cases.first().map_or(0, |case| self.extent(case, axis)),
            TermKind::Group { slice: Some((start, end)), .. } => end - start,
            TermKind::Group { name, slice: None, .. } => {
                self.symmetry.group_named(name).map_or(0, |id| self.symmetry.group(id).size)
            }
            TermKind::Product(terms) => terms.iter().map(|t| self.extent(t, axis)).product(),
            TermKind::Sum(terms) => terms.iter().map(|t| self.extent(t, axis)).sum(),
        }
    }
}

fn has_number(term: &Term) -> bool {
    match &term.kind {
        TermKind::Number(n) | TermKind::Chooser(n) => *n > 1,
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => terms.iter().any(has_number),
        TermKind::Fixed => true,
        TermKind::Group { .. } => false,
    }
}

fn groups(symmetry: &Symmetry, tensors: &[SeenTensor]) -> Vec<SeenGroup> {
    let mut stands = vec![(0, 0); symmetry.groups().len()];
    for tensor in tensors {
        let mut here = BTreeSet::new();
        for axis in &tensor.axes {
            let along: BTreeSet<usize> = axis.parts.iter().flat_map(|part| part.groups.iter().copied()).collect();
            for group in &along {
                stands[*group].0 += 1;
            }
            here.extend(along);
        }
        for group in here {
            stands[group].1 += 1;
        }
    }
    let group = |(id, (axes, tensors)): (usize, (usize, usize))| {
        let group = symmetry.group(GroupId(id));
        let copies = symmetry.copies(GroupId(id));
        SeenGroup {
            name: group.name.clone(),
            size: group.size,
            parent: group.parent.map(|parent| symmetry.group(parent).name.clone()),
            copies,
            units: copies * group.size,
            axes,
            tensors,
        }
    };
    stands.into_iter().enumerate().map(group).collect()
}

fn frozen(tensors: &[SeenTensor]) -> Vec<Frozen> {
    let mut sums: BTreeMap<&str, Frozen> = BTreeMap::new();
    for tensor in tensors {
        let mut here = BTreeSet::new();
        for axis in tensor.axes.iter().filter(|axis| axis.len > 1 && axis.free < axis.len) {
            let Some(why) = axis.why.as_deref() else { continue };
            let none = || Frozen { why: why.to_owned(), axes: 0, places: 0, tensors: 0 };
            let sum = sums.entry(why).or_insert_with(none);
            sum.axes += 1;
            sum.places = sum.places.saturating_add(axis.len - axis.free);
            here.insert(why);
        }
        for why in here {
            sums.get_mut(why).expect("it was added").tensors += 1;
        }
    }
    let mut frozen: Vec<Frozen> = sums.into_values().collect();
    frozen.sort_by(|a, b| (b.places, &a.why).cmp(&(a.places, &b.why)));
    frozen
}
