//! One element of a symmetry: a permutation for every group, and how it acts on tensors.

use super::group::GroupId;
use super::layout::AxisLayout;
use super::resolve::Symmetry;
use crate::error::{Error, Result};
use crate::perm::Perm;
use crate::stream::Stream;

/// A permutation of the units of every group; for a family, one for every unit of its parent.
///
/// Copies of a family are numbered by the units of its ancestors *in the result*, outermost first: result unit `i` of
/// the parent is source unit `σ(i)`, and its inner units are rearranged by copy `i` of the family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    /// By [`GroupId`], then by copy.
    perms: Vec<Vec<Perm>>,
}

impl Alignment {
    /// Takes permutations by group and copy.
    ///
    /// # Errors
    /// If a group has the wrong number of copies or units.
    pub fn new(symmetry: &Symmetry, perms: Vec<Vec<Perm>>) -> Result<Self> {
        if perms.len() != symmetry.groups().len() {
            let (expected, found) = (symmetry.groups().len(), perms.len());
            return Err(Error::Invalid(format!("the symmetry has {expected} groups, the alignment {found}")));
        }
        for (id, copies) in perms.iter().enumerate().map(|(i, c)| (GroupId(i), c)) {
            let group = symmetry.group(id);
            let expected = symmetry.copies(id);
            if copies.len() != expected || copies.iter().any(|p| p.len() != group.size) {
                let found: Vec<usize> = copies.iter().map(Perm::len).collect();
                return Err(Error::Invalid(format!(
                    "group `{}` needs {expected} permutation(s) of {} units, found {} of sizes {found:?}",
                    group.name,
                    group.size,
                    copies.len(),
                )));
            }
        }
        Ok(Self { perms })
    }

    /// The element that moves nothing.
    pub fn identity(symmetry: &Symmetry) -> Self {
        Self::from_fn(symmetry, |id, _| Perm::identity(symmetry.group(id).size))
    }

    /// A uniformly random element.
    pub fn random(symmetry: &Symmetry, stream: &mut Stream) -> Self {
        Self::from_fn(symmetry, |id, _| stream.permutation(symmetry.group(id).size))
    }

    fn from_fn(symmetry: &Symmetry, mut perm: impl FnMut(GroupId, usize) -> Perm) -> Self {
        let ids = (0..symmetry.groups().len()).map(GroupId);
        Self { perms: ids.map(|id| (0..symmetry.copies(id)).map(|copy| perm(id, copy)).collect()).collect() }
    }

    /// The permutations of a group, one per copy.
    pub fn copies(&self, id: GroupId) -> &[Perm] {
        &self.perms[id.0]
    }

    /// Replaces the permutations of a group.
    pub(crate) fn set(&mut self, id: GroupId, copies: Vec<Perm>) {
        self.perms[id.0] = copies;
    }

    /// Whether nothing moves.
    pub fn is_identity(&self) -> bool {
        self.perms.iter().flatten().all(Perm::is_identity)
    }

    /// The source unit of unit `value` of a group, `above` being the result units of its ancestors, outermost first.
    pub fn source(&self, symmetry: &Symmetry, id: GroupId, above: &[usize], value: usize) -> usize {
        self.perms[id.0][copy_index(symmetry, id, above)].at(value)
    }

    /// `self ∘ first`: acting with the result equals acting with `first`, then with `self`.
    #[must_use]
    pub fn compose(&self, symmetry: &Symmetry, first: &Self) -> Self {
        Self::from_fn(symmetry, |id, copy| {
            let source = self.source_copy(symmetry, id, copy);
            self.perms[id.0][copy].compose(&first.perms[id.0][source])
        })
    }

    /// The element that undoes this one.
    #[must_use]
    pub fn inverse(&self, symmetry: &Symmetry) -> Self {
        let mut inverse = Self::identity(symmetry);
        for id in (0..symmetry.groups().len()).map(GroupId) {
            let copies = (0..symmetry.copies(id)).map(|copy| {
                let source = inverse.source_copy(symmetry, id, copy);
                self.perms[id.0][source].inverse()
            });
            let copies = copies.collect();
            inverse.set(id, copies);
        }
        inverse
    }

    /// The copy of a family that copy `copy` of the result came from.
    fn source_copy(&self, symmetry: &Symmetry, id: GroupId, copy: usize) -> usize {
        let ancestors = symmetry.ancestors(id);
        let above = split_copy(symmetry, &ancestors, copy);
        let source: Vec<usize> =
            ancestors.iter().enumerate().map(|(k, &a)| self.source(symmetry, a, &above[..k], above[k])).collect();
        copy_index(symmetry, id, &source)
    }

    /// The gather of one axis: position `i` of the result is position `table[i]` of the source.
    pub fn axis_gather(&self, symmetry: &Symmetry, axis: &AxisLayout) -> Vec<u32> {
        let mut table: Vec<u32> = (0..axis.len as u32).collect();
        for occurrence in axis.occurrences.iter().filter(|o| o.digits.iter().any(|d| d.group.is_some())) {
            let groups: Vec<Option<GroupId>> = occurrence.digits.iter().map(|d| d.group).collect();
            if let [Some(id)] = groups[..]
                && symmetry.copies(id) == 1
            {
                let perm = &self.perms[id.0][0];
                for i in 0..perm.len() {
                    table[occurrence.position(&[i])] = occurrence.position(&[perm.at(i)]) as u32;
                }
                continue;
            }
            occurrence.for_each(|values| {
                let source = self.source_digits(symmetry, &groups, values);
                table[occurrence.position(values)] = occurrence.position(&source) as u32;
            });
        }
        table
    }

    /// The source digits of result digits `values`, digit by digit; fixed digits stay.
    pub fn source_digits(&self, symmetry: &Symmetry, groups: &[Option<GroupId>], values: &[usize]) -> Vec<usize> {
        let mut source = values.to_vec();
        for (digit, id) in groups.iter().enumerate() {
            let Some(id) = *id else { continue };
            let above: Vec<usize> = symmetry
                .ancestors(id)
                .iter()
                .map(|a| values[groups.iter().position(|g| *g == Some(*a)).expect("a family stands with its parent")])
                .collect();
            source[digit] = self.source(symmetry, id, &above, values[digit]);
        }
        source
    }
}

/// The number of the copy indexed by these units of the ancestors.
fn copy_index(symmetry: &Symmetry, id: GroupId, above: &[usize]) -> usize {
    symmetry.ancestors(id).iter().zip(above).fold(0, |copy, (a, v)| copy * symmetry.group(*a).size + v)
}

/// The units of the ancestors that index copy `copy`.
fn split_copy(symmetry: &Symmetry, ancestors: &[GroupId], copy: usize) -> Vec<usize> {
    let mut rest = copy;
    let mut above = vec![0; ancestors.len()];
    for (value, a) in above.iter_mut().zip(ancestors).rev() {
        let size = symmetry.group(*a).size;
        *value = rest % size;
        rest /= size;
    }
    above
}
