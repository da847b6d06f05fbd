//! Symmetries and alignments as serde sees them; what is read passes through the same checks as what is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alignment::Alignment;
use super::group::{Group, GroupId, GroupTable};
use super::resolve::Symmetry;
use super::spec::SymmetrySpec;
use crate::error::Error;
use crate::perm::Perm;
use crate::tensor::element_count;

/// A symmetry: groups by name, and the pattern and shape of every tensor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedSymmetry {
    groups: BTreeMap<String, SavedGroup>,
    tensors: BTreeMap<String, SavedTensor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedGroup {
    size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTensor {
    pattern: String,
    shape: Vec<usize>,
}

/// An alignment: the permutations of every group by its name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedAlignment {
    groups: BTreeMap<String, SavedPerms>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedPerms {
    size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    perms: Vec<Perm>,
}

impl From<Symmetry> for SavedSymmetry {
    fn from(symmetry: Symmetry) -> Self {
        let name = |id: GroupId| symmetry.group(id).name.clone();
        let group = |g: &Group| (g.name.clone(), SavedGroup { size: g.size, parent: g.parent.map(name) });
        let tensors = symmetry.tensors().map(|(name, layout)| {
            (name.to_owned(), SavedTensor { pattern: layout.pattern.to_string(), shape: layout.shape.clone() })
        });
        Self { groups: symmetry.groups().iter().map(group).collect(), tensors: tensors.collect() }
    }
}

impl TryFrom<SavedSymmetry> for Symmetry {
    type Error = Error;

    fn try_from(saved: SavedSymmetry) -> Result<Self, Error> {
        let members = saved.groups.into_iter().map(|(name, g)| (name, (g.size, g.parent))).collect();
        let spec = SymmetrySpec::from_patterns(saved.tensors.iter().map(|(n, t)| (n.as_str(), t.pattern.as_str())))?;
        let mut symmetry = Self::of_groups(GroupTable::new(&members)?);
        for (name, pattern) in spec.tensors {
            let shape = &saved.tensors[&name].shape;
            if element_count(shape)? == usize::MAX || shape.contains(&usize::MAX) {
                return Err(Error::TooLarge { shape: shape.clone() });
            }
            symmetry.add(&name, pattern, shape)?;
        }
        Ok(symmetry)
    }
}

impl From<Alignment> for SavedAlignment {
    fn from(alignment: Alignment) -> Self {
        let (groups, perms) = alignment.into_parts();
        let saved = groups.list().iter().zip(perms).map(|(group, perms)| {
            let parent = groups.parent_name(group).map(str::to_owned);
            (group.name.clone(), SavedPerms { size: group.size, parent, perms })
        });
        Self { groups: saved.collect() }
    }
}

impl TryFrom<SavedAlignment> for Alignment {
    type Error = Error;

    fn try_from(mut saved: SavedAlignment) -> Result<Self, Error> {
        let members = saved.groups.iter().map(|(name, g)| (name.clone(), (g.size, g.parent.clone()))).collect();
        let groups = GroupTable::new(&members)?;
        let perms = groups.list().iter().filter_map(|g| saved.groups.remove(&g.name)).map(|g| g.perms).collect();
        Self::of_groups(Arc::new(groups), perms)
    }
}
