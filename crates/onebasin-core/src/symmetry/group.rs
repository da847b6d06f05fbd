//! Groups: sets of units that move together.

/// Index of a group in [`Symmetry::groups`](super::Symmetry::groups).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub usize);

/// A set of units that move together everywhere they appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Number of units.
    pub size: usize,
    /// For a family, the group whose units index it; it comes earlier in [`Symmetry::groups`](super::Symmetry::groups).
    pub parent: Option<GroupId>,
}
