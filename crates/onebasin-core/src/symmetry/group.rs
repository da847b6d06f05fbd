//! Groups: sets of units that move together.

use std::collections::BTreeMap;

use super::error::SymmetryError;
use super::sizes::group_error;

/// Index of a group in [`Symmetry::groups`](super::Symmetry::groups), and in the permutations of
/// [`Alignment::new`](super::Alignment::new).
/// ```
/// use onebasin_core::symmetry::GroupId;
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// assert_eq!(symmetry.group_named("h")?, GroupId(0));
/// assert_eq!(symmetry.groups()[GroupId(0).0].size, 2);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub usize);

/// A set of units that move together everywhere they appear.
///
/// A family is a group with a parent: one independent copy for every unit of the parent, such as the entries of a head.
///
/// ```
/// use onebasin_core::symmetry::{GroupId, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = Params::from_iter([("q".to_owned(), Tensor::from_f32(&[12, 5], vec![0.; 60])?)]);
/// let mut spec = SymmetrySpec::from_patterns([("q", "(heads qk@heads) .")])?;
/// spec.sizes.insert("heads".to_owned(), 4);
/// let symmetry = Symmetry::resolve(&spec, &net)?;
/// let family = &symmetry.groups()[1];
/// assert_eq!((&family.name[..], family.size, family.parent), ("qk", 3, Some(GroupId(0))));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Number of units.
    pub size: usize,
    /// For a family, the group whose units index it; it comes earlier in [`Symmetry::groups`](super::Symmetry::groups).
    pub parent: Option<GroupId>,
}

/// All groups of a symmetry: by depth of nesting, then by name, so that a parent precedes its families.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GroupTable {
    list: Vec<Group>,
    ids: BTreeMap<String, GroupId>,
}

impl GroupTable {
    /// Puts groups in order, given their sizes and their parents' names.
    ///
    /// # Errors
    /// The group whose parent is missing, that is a family over itself, or whose units no machine can count.
    pub(super) fn new(members: &BTreeMap<String, (usize, Option<String>)>) -> Result<Self, SymmetryError> {
        let mut by_depth = Vec::new();
        for (name, (size, parent)) in members {
            let mut units = Some(*size.max(&1));
            let mut depth = 0;
            let mut above = parent.as_ref();
            while let Some(parent) = above {
                let Some((size, next)) = members.get(parent) else {
                    return Err(group_error(name, format!("there is no group `{parent}` that could index it")));
                };
                if depth == members.len() {
                    return Err(group_error(name, "is, through its parents, a family over itself"));
                }
                units = units.and_then(|units| units.checked_mul(*size.max(&1)));
                depth += 1;
                above = next.as_ref();
            }
            if units.is_none() {
                return Err(group_error(name, "has more units, over all its copies, than this machine can count"));
            }
            by_depth.push((depth, name));
        }
        by_depth.sort();
        let mut groups = Self { list: Vec::new(), ids: BTreeMap::new() };
        for (_, name) in by_depth {
            let (size, parent) = &members[name];
            let parent = parent.as_ref().map(|parent| groups.ids[parent]);
            groups.ids.insert(name.clone(), GroupId(groups.list.len()));
            groups.list.push(Group { name: name.clone(), size: *size, parent });
        }
        Ok(groups)
    }

    pub(super) fn list(&self) -> &[Group] {
        &self.list
    }

    pub(super) fn group(&self, id: GroupId) -> &Group {
        &self.list[id.0]
    }

    pub(super) fn id(&self, name: &str) -> Option<GroupId> {
        self.ids.get(name).copied()
    }

    /// Whether there is a group of the same name, size and place of its parent.
    pub(super) fn holds(&self, group: &Group) -> bool {
        self.id(&group.name).is_some_and(|id| self.group(id) == group)
    }

    /// The name of the group whose units index a family.
    pub(super) fn parent_name(&self, group: &Group) -> Option<&str> {
        group.parent.map(|parent| self.group(parent).name.as_str())
    }

    /// The chain of groups that index a family, outermost first.
    pub(super) fn ancestors(&self, id: GroupId) -> Vec<GroupId> {
        let mut chain: Vec<GroupId> = std::iter::successors(self.group(id).parent, |p| self.group(*p).parent).collect();
        chain.reverse();
        chain
    }

    /// The product of the ancestors' sizes.
    pub(super) fn copies(&self, id: GroupId) -> usize {
        self.ancestors(id).iter().map(|g| self.group(*g).size).product()
    }
}
