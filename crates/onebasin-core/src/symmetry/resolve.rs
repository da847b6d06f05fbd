//! A symmetry fitted to a network: every group has a size, every tensor a layout.

use std::collections::BTreeMap;

use super::error::SymmetryError;
use super::group::{Group, GroupId};
use super::layout::{AxisLayout, expand, join_slices};
use super::pattern::{Pattern, Term, TermKind};
use super::sizes::{Covered, Sizes, group_error, visit_groups};
use super::spec::SymmetrySpec;
use crate::params::{Params, nearest};

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
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let mut net = Params::new();
/// net.insert("fc1.weight", Tensor::from_f32(&[4, 3], vec![0.0; 12])?);
/// net.insert("fc2.weight", Tensor::from_f32(&[2, 4], vec![0.0; 8])?);
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h1 ."), ("fc2.weight", ". h1")])?;
/// let symmetry = Symmetry::resolve(&spec, &net)?;
/// assert_eq!(symmetry.groups()[0].size, 4);
/// # Ok::<(), onebasin_core::Error>(())
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
        let mut tensors = BTreeMap::new();
        for (name, pattern, shape) in &patterns {
            tensors.insert((*name).to_owned(), lay_out(name, pattern, shape, &groups, &sizes)?);
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

    /// The same groups standing only in the tensors that `keep` names. Its alignments are alignments of this symmetry: a
    /// match on it looks at those tensors alone.
    #[must_use]
    pub fn restrict(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut restricted = self.clone();
        restricted.tensors.retain(|name, _| keep(name));
        restricted.spec.tensors.retain(|name, _| keep(name));
        restricted
    }

    /// The layout of one tensor.
    ///
    /// # Errors
    /// If the symmetry does not know the tensor.
    pub fn tensor(&self, name: &str) -> crate::error::Result<&TensorLayout> {
        self.tensors.get(name).ok_or_else(|| crate::Error::Invalid(format!("the symmetry has no tensor `{name}`")))
    }

    /// The layout of a tensor that is no parameter, such as a value inside the network, from its pattern.
    ///
    /// # Errors
    /// [`SymmetryError`]: groups the symmetry lacks, a rank or a length that does not fit, families away from their
    /// parent, slices that do not cover their group.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[4, 3], vec![0.0; 12])?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc1.weight", "h1 .")])?, &net)?;
    /// assert_eq!(symmetry.layout("relu1", &". h1".parse()?, &[100, 4])?.axes.len(), 2);
    /// assert!(symmetry.layout("relu1", &". h2".parse()?, &[100, 4]).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn layout(&self, name: &str, pattern: &Pattern, shape: &[usize]) -> Result<TensorLayout, SymmetryError> {
        check_rank(name, pattern, shape)?;
        let mut unknown = None;
        for term in &pattern.axes {
            visit_groups(term, &mut |group, parent, _| {
                let known = self.groups.iter().find(|g| g.name == group);
                if known.is_none_or(|g| g.parent.map(|p| self.group(p).name.as_str()) != parent) {
                    let why = format!("the symmetry has no group as `{pattern}`, the pattern of `{name}`, has it");
                    unknown.get_or_insert_with(|| group_error(group, why));
                }
            });
        }
        if let Some(error) = unknown {
            return Err(error);
        }
        let known = self.groups.iter().map(|g| (g.name.clone(), (g.size, "in the symmetry".to_owned())));
        lay_out(name, pattern, shape, &self.groups, &Sizes { known: known.collect() })
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

    /// All families below a group.
    pub fn descendants(&self, id: GroupId) -> Vec<GroupId> {
        (0..self.groups.len()).map(GroupId).filter(|g| *g != id && self.ancestors(*g).contains(&id)).collect()
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

/// The layout of a tensor whose groups are all known.
fn lay_out(
    name: &str,
    pattern: &Pattern,
    shape: &[usize],
    groups: &[Group],
    sizes: &Sizes,
) -> Result<TensorLayout, SymmetryError> {
    let ids: BTreeMap<&str, GroupId> = groups.iter().enumerate().map(|(i, g)| (g.name.as_str(), GroupId(i))).collect();
    let mut axes = Vec::new();
    for (axis, (term, &len)) in pattern.axes.iter().zip(shape).enumerate() {
        one_slice(term, name, pattern)?;
        let (extent, pieces) = expand(term, len, &|group| (ids[group], sizes.known[group].0));
        if extent != len {
            return Err(sizes.mismatch(name, axis, pattern, extent, len));
        }
        let layout = join_slices(len, pieces)
            .map_err(|(g, why)| group_error(&groups[g.0].name, format!("in `{name}`, axis {axis}: {why}")))?;
        check_families(&layout, groups, name, axis)?;
        axes.push(layout);
    }
    Ok(TensorLayout { pattern: pattern.clone(), axes })
}

fn check_rank(name: &str, pattern: &Pattern, shape: &[usize]) -> Result<(), SymmetryError> {
    if pattern.axes.len() == shape.len() {
        return Ok(());
    }
    Err(SymmetryError::Rank {
        tensor: name.to_owned(),
        pattern: pattern.to_string(),
        expected: pattern.axes.len(),
        found: shape.len(),
        shape: shape.to_vec(),
    })
}

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
        check_rank(name, pattern, tensor.shape())?;
        covered.push((name, pattern, tensor.shape()));
    }
    Ok(covered)
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
