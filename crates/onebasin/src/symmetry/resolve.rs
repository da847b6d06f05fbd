//! A symmetry fitted to a network: every group has a size, every tensor a layout.

use std::collections::BTreeMap;

use super::error::SymmetryError;
use super::layout::{AxisLayout, expand, join_slices};
use super::pattern::{Pattern, Term, TermKind};
use super::spec::SymmetrySpec;
use crate::params::{Params, nearest};

/// Index of a group in [`Symmetry::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub usize);

/// A set of units that move together everywhere they appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Number of units.
    pub size: usize,
    /// For a family, the group whose units index it; it comes earlier in [`Symmetry::groups`].
    pub parent: Option<GroupId>,
}

/// The layout of every axis of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayout {
    /// The pattern it came from.
    pub pattern: Pattern,
    /// One layout per axis.
    pub axes: Vec<AxisLayout>,
}

/// All groups of a network and, for every tensor, what its axes are made of.
///
/// ```
/// use onebasin::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin::{Params, Tensor};
/// let mut net = Params::new();
/// net.insert("fc1.weight", Tensor::from_f32(&[4, 3], vec![0.0; 12])?);
/// net.insert("fc2.weight", Tensor::from_f32(&[2, 4], vec![0.0; 8])?);
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h1 ."), ("fc2.weight", ". h1")])?;
/// let symmetry = Symmetry::resolve(&spec, &net)?;
/// assert_eq!(symmetry.groups()[0].size, 4);
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symmetry {
    groups: Vec<Group>,
    tensors: BTreeMap<String, TensorLayout>,
    spec: SymmetrySpec,
}

impl Symmetry {
    /// Fits `spec` to the tensors of a network: expands templates, infers sizes, checks every axis.
    ///
    /// Cost: linear in the number of axes and in the boxes of their patterns.
    ///
    /// # Errors
    /// [`SymmetryError`]: tensors not covered, names the network lacks, ranks or sizes that contradict each other,
    /// sizes that cannot be inferred, families away from their parent, slices that do not cover their group.
    pub fn resolve(spec: &SymmetrySpec, params: &Params) -> Result<Self, SymmetryError> {
        let spec = spec.expand(params.names())?;
        let patterns = cover(&spec, params)?;
        let parents = parents(&patterns)?;
        let sizes = Sizes::infer(&spec, &parents, &patterns)?;
        let groups = order(&parents, &sizes)?;
        let ids: BTreeMap<&str, GroupId> =
            groups.iter().enumerate().map(|(i, g)| (g.name.as_str(), GroupId(i))).collect();
        let group = |name: &str| (ids[name], sizes.known[name].0);

        let mut tensors = BTreeMap::new();
        for (name, pattern, shape) in &patterns {
            let mut axes = Vec::new();
            for (axis, (term, &len)) in pattern.axes.iter().zip(*shape).enumerate() {
                one_slice(term, name, pattern)?;
                let (extent, pieces) = expand(term, len, &group);
                if extent != len {
                    return Err(sizes.mismatch(name, axis, pattern, extent, len));
                }
                let layout = join_slices(len, pieces)
                    .map_err(|(g, why)| group_error(&groups[g.0].name, format!("in `{name}`, axis {axis}: {why}")))?;
                check_families(&layout, &groups, name, axis)?;
                axes.push(layout);
            }
            tensors.insert((*name).to_owned(), TensorLayout { pattern: (*pattern).clone(), axes });
        }
        let given = sizes.known.iter().map(|(name, (size, _))| (name.clone(), *size)).collect();
        let kept = tensors.iter().map(|(n, t): (&String, &TensorLayout)| (n.clone(), t.pattern.clone())).collect();
        Ok(Self { groups, tensors, spec: SymmetrySpec { sizes: given, tensors: kept } })
    }

    /// All groups: by depth of nesting, then by name, so that a parent precedes its families.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group with this index.
    pub fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.0]
    }

    /// Tensors and their layouts, in order of name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorLayout)> {
        self.tensors.iter().map(|(n, t)| (n.as_str(), t))
    }

    /// The layout of one tensor.
    ///
    /// # Errors
    /// If the symmetry does not know the tensor.
    pub fn tensor(&self, name: &str) -> crate::error::Result<&TensorLayout> {
        self.tensors.get(name).ok_or_else(|| crate::Error::Invalid(format!("the symmetry has no tensor `{name}`")))
    }

    /// The text this symmetry is made of: templates expanded, every size given.
    pub fn spec(&self) -> &SymmetrySpec {
        &self.spec
    }

    /// The chain of groups that index a family, outermost first; empty for a group that is no family.
    pub fn ancestors(&self, id: GroupId) -> Vec<GroupId> {
        let mut chain: Vec<GroupId> = std::iter::successors(self.group(id).parent, |p| self.group(*p).parent).collect();
        chain.reverse();
        chain
    }

    /// The families directly indexed by a group.
    pub fn children(&self, id: GroupId) -> Vec<GroupId> {
        (0..self.groups.len()).map(GroupId).filter(|g| self.group(*g).parent == Some(id)).collect()
    }

    /// Groups that are no family.
    pub fn roots(&self) -> Vec<GroupId> {
        (0..self.groups.len()).map(GroupId).filter(|g| self.group(*g).parent.is_none()).collect()
    }

    /// The outermost group above `id` (itself if it is no family).
    pub fn root(&self, id: GroupId) -> GroupId {
        self.ancestors(id).first().copied().unwrap_or(id)
    }

    /// Number of independent copies of a group: the product of its ancestors' sizes.
    pub fn copies(&self, id: GroupId) -> usize {
        self.ancestors(id).iter().map(|g| self.group(*g).size).product()
    }
}

type Covered<'a> = Vec<(&'a str, &'a Pattern, &'a [usize])>;

fn cover<'a>(spec: &'a SymmetrySpec, params: &'a Params) -> Result<Covered<'a>, SymmetryError> {
    let unknown: Vec<_> = spec
        .tensors
        .keys()
        .filter(|name| params.get(name).is_none())
        .map(|name| (name.clone(), nearest(name, params.names()).map(str::to_owned)))
        .collect();
    if !unknown.is_empty() {
        return Err(SymmetryError::UnknownTensors { tensors: unknown });
    }
    let uncovered: Vec<_> = params.names().filter(|n| !spec.tensors.contains_key(*n)).map(str::to_owned).collect();
    if !uncovered.is_empty() {
        return Err(SymmetryError::Uncovered { tensors: uncovered });
    }
    let mut covered = Vec::new();
    for (name, tensor) in params.iter() {
        let pattern = &spec.tensors[name];
        if pattern.axes.len() != tensor.shape().len() {
            return Err(SymmetryError::Rank {
                tensor: name.to_owned(),
                pattern: pattern.to_string(),
                expected: pattern.axes.len(),
                found: tensor.shape().len(),
                shape: tensor.shape().to_vec(),
            });
        }
        covered.push((name, pattern, tensor.shape()));
    }
    Ok(covered)
}

fn group_error(group: &str, why: impl Into<String>) -> SymmetryError {
    SymmetryError::Group { group: group.to_owned(), why: why.into() }
}

/// Calls `visit` with every group mentioned in a term: name, parent, slice.
fn visit_groups<'a>(term: &'a Term, visit: &mut dyn FnMut(&'a str, Option<&'a str>, Option<(usize, usize)>)) {
    match &term.kind {
        TermKind::Group { name, parent, slice } => visit(name, parent.as_deref(), *slice),
        TermKind::Product(terms) | TermKind::Sum(terms) => terms.iter().for_each(|t| visit_groups(t, visit)),
        TermKind::Fixed | TermKind::Number(_) => {}
    }
}

fn parents(patterns: &Covered<'_>) -> Result<BTreeMap<String, Option<String>>, SymmetryError> {
    let mut parents: BTreeMap<String, (Option<String>, String)> = BTreeMap::new();
    let mut conflict = None;
    for (tensor, pattern, _) in patterns {
        for term in &pattern.axes {
            visit_groups(term, &mut |name, parent, _| {
                let written = parent.map(str::to_owned);
                let (first, place) = parents.entry(name.to_owned()).or_insert((written.clone(), (*tensor).to_owned()));
                if *first != written {
                    let form = |p: &Option<String>| p.as_ref().map_or(name.to_owned(), |p| format!("{name}@{p}"));
                    let why = format!("written `{}` in `{place}` but `{}` in `{tensor}`", form(first), form(&written));
                    conflict.get_or_insert(group_error(name, why));
                }
            });
        }
    }
    if let Some(error) = conflict {
        return Err(error);
    }
    for (name, (parent, place)) in &parents {
        if let Some(parent) = parent
            && !parents.contains_key(parent)
        {
            return Err(group_error(name, format!("`{name}@{parent}` in `{place}`: there is no group `{parent}`")));
        }
    }
    Ok(parents.into_iter().map(|(name, (parent, _))| (name, parent)).collect())
}

/// Groups by depth of nesting, then by name.
fn order(parents: &BTreeMap<String, Option<String>>, sizes: &Sizes) -> Result<Vec<Group>, SymmetryError> {
    let mut by_depth = Vec::new();
    for name in parents.keys() {
        let chain = std::iter::successors(parents[name].as_ref(), |p| parents[*p].as_ref());
        let depth = chain.take(parents.len() + 1).count();
        if depth > parents.len() {
            return Err(group_error(name, "is, through its parents, a family over itself"));
        }
        by_depth.push((depth, name));
    }
    by_depth.sort();
    let index = |name: &String| by_depth.iter().position(|(_, n)| *n == name).map(GroupId);
    let group = |(_, name): &(usize, &String)| Group {
        name: (*name).clone(),
        size: sizes.known[*name].0,
        parent: parents[*name].as_ref().and_then(index),
    };
    Ok(by_depth.iter().map(group).collect())
}

/// Sizes of groups, each with the place it came from.
struct Sizes {
    known: BTreeMap<String, (usize, String)>,
}

impl Sizes {
    fn infer(
        spec: &SymmetrySpec,
        parents: &BTreeMap<String, Option<String>>,
        patterns: &Covered<'_>,
    ) -> Result<Self, SymmetryError> {
        let mut sizes = Self { known: BTreeMap::new() };
        for (name, &size) in &spec.sizes {
            if !parents.contains_key(name) {
                return Err(group_error(name, "a size is given, but no pattern mentions it"));
            }
            sizes.known.insert(name.clone(), (size, "given".to_owned()));
        }
        let mut progress = true;
        while progress {
            progress = false;
            for (tensor, pattern, shape) in patterns {
                for (axis, (term, &len)) in pattern.axes.iter().zip(*shape).enumerate() {
                    progress |= sizes.solve_axis(tensor, axis, pattern, term, len)?;
                }
            }
        }
        for name in parents.keys() {
            if !sizes.known.contains_key(name) {
                let mut end = None;
                let mut look = |n: &str, _: Option<&str>, slice: Option<(usize, usize)>| {
                    if n == name {
                        end = end.max(slice.map(|s| s.1));
                    }
                };
                patterns.iter().flat_map(|(_, p, _)| &p.axes).for_each(|term| visit_groups(term, &mut look));
                let Some(end) = end else {
                    let why = format!("the tensors do not determine its size; give it: [sizes] {name} = …");
                    return Err(group_error(name, why));
                };
                sizes.known.insert(name.clone(), (end, "the end of its last slice".to_owned()));
            }
        }
        Ok(sizes)
    }

    /// Finds the one unknown size of an axis, if exactly one is unknown and the length determines it.
    fn solve_axis(
        &mut self,
        tensor: &str,
        axis: usize,
        pattern: &Pattern,
        term: &Term,
        len: usize,
    ) -> Result<bool, SymmetryError> {
        let mut unknown: Vec<&str> = Vec::new();
        visit_groups(term, &mut |name, _, slice| {
            if slice.is_none() && !self.known.contains_key(name) && !unknown.contains(&name) {
                unknown.push(name);
            }
        });
        let [name] = unknown[..] else { return Ok(false) };
        let extent =
            |size: usize| expand(term, len, &|n| (GroupId(0), self.known.get(n).map_or(size, |known| known.0))).0;
        // The extent grows with the size, so the smallest size that reaches the length is the only candidate.
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low + (high - low) / 2;
            if extent(middle) < len { low = middle + 1 } else { high = middle }
        }
        if extent(low) != len {
            return Err(SymmetryError::Axis {
                tensor: tensor.to_owned(),
                axis,
                pattern: pattern.to_string(),
                column: term.column,
                term: term.to_string(),
                expected: format!("{} or {}", extent(low.saturating_sub(1)), extent(low)),
                found: len,
                why: format!(": no size of `{name}` fits{}", self.sources(term)),
            });
        }
        if extent(low + 1) == len {
            return Ok(false);
        }
        self.known.insert(name.to_owned(), (low, format!("from `{tensor}`, axis {axis}")));
        Ok(true)
    }

    fn sources(&self, term: &Term) -> String {
        let mut text = String::new();
        visit_groups(term, &mut |name, _, _| {
            if let Some((size, source)) = self.known.get(name) {
                let part = format!("; `{name}` = {size} ({source})");
                if !text.contains(&part) {
                    text.push_str(&part);
                }
            }
        });
        text
    }

    fn mismatch(&self, tensor: &str, axis: usize, pattern: &Pattern, expected: usize, found: usize) -> SymmetryError {
        let term = &pattern.axes[axis];
        SymmetryError::Axis {
            tensor: tensor.to_owned(),
            axis,
            pattern: pattern.to_string(),
            column: term.column,
            term: term.to_string(),
            expected: expected.to_string(),
            found,
            why: self.sources(term),
        }
    }
}

/// Refuses a product in which two factors are slices: which entries belong together would be ambiguous.
fn one_slice(term: &Term, tensor: &str, pattern: &Pattern) -> Result<usize, SymmetryError> {
    let slices = |terms: &[Term]| terms.iter().map(|t| one_slice(t, tensor, pattern)).collect::<Result<Vec<_>, _>>();
    match &term.kind {
        TermKind::Group { slice, .. } => Ok(usize::from(slice.is_some())),
        TermKind::Sum(parts) => Ok(slices(parts)?.into_iter().max().unwrap_or(0)),
        TermKind::Product(factors) => {
            let sum = slices(factors)?.into_iter().sum();
            if sum > 1 {
                return Err(SymmetryError::Pattern {
                    tensor: tensor.to_owned(),
                    pattern: pattern.to_string(),
                    column: term.column,
                    why: "at most one factor of a product may be a slice".to_owned(),
                });
            }
            Ok(sum)
        }
        TermKind::Fixed | TermKind::Number(_) => Ok(0),
    }
}

/// Every family must stand in one product with its parent, once.
fn check_families(layout: &AxisLayout, groups: &[Group], tensor: &str, axis: usize) -> Result<(), SymmetryError> {
    for occurrence in &layout.occurrences {
        let present: Vec<GroupId> = occurrence.digits.iter().filter_map(|d| d.group).collect();
        for id in &present {
            let group = &groups[id.0];
            let Some(parent) = group.parent else { continue };
            let count = |g: GroupId| present.iter().filter(|p| **p == g).count();
            if count(parent) != 1 || count(*id) != 1 {
                let parent = &groups[parent.0].name;
                let why = format!(
                    "in `{tensor}`, axis {axis}: `{}@{parent}` must stand once, in one product with `{parent}`, which must stand there once",
                    group.name
                );
                return Err(group_error(&group.name, why));
            }
        }
    }
    Ok(())
}
