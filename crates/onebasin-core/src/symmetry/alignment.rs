//! One element of a symmetry: a permutation for every group, and how it acts on tensors.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::AlignmentError;
use super::group::{GroupId, GroupTable};
use super::layout::AxisLayout;
use super::resolve::Symmetry;
use super::saved::SavedAlignment;
use crate::error::Result;
use crate::perm::Perm;
use crate::stream::Stream;

/// A permutation of the units of every group; for a family, one for every unit of its parent.
///
/// Copies of a family are numbered by the units of its ancestors *in the result*, outermost first: result unit `i` of
/// the parent is source unit `σ(i)`, and its inner units are rearranged by copy `i` of the family.
///
/// With serde it is a map `groups` from names to `size`, `parent` (of a family) and `perms`, one index vector per copy.
/// What is read is checked like what is made: a vector that is no permutation, a size that is not the group's, or a
/// parent that is missing is an error.
///
/// ```
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Perm, Tensor};
/// let net = Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[2, 1], vec![5., 7.])?)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc1.weight", "h .")])?, &net)?;
/// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
/// assert_eq!(swap.apply(&symmetry, &net)?.require("fc1.weight")?.to_f32()?[..], [7., 5.]);
/// let text = serde_json::to_string(&swap)?;
/// assert_eq!(text, r#"{"groups":{"h":{"size":2,"perms":[[1,0]]}}}"#);
/// assert_eq!(serde_json::from_str::<Alignment>(&text)?, swap);
/// assert!(serde_json::from_str::<Alignment>(&text.replace("[1,0]", "[1,1]")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SavedAlignment", into = "SavedAlignment")]
pub struct Alignment {
    /// Those of the symmetry that it is an element of.
    groups: Arc<GroupTable>,
    /// By [`GroupId`], then by copy.
    perms: Vec<Vec<Perm>>,
}

impl Alignment {
    /// Takes permutations by group and copy: `perms[id][copy]`, groups in the order of
    /// [`Symmetry::groups`](super::Symmetry::groups).
    ///
    /// # Errors
    /// [`AlignmentError`] names the group with the wrong number of copies or units.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::Alignment;
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
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// assert_eq!(swap.apply(&symmetry, &b)?, a);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(symmetry: &Symmetry, perms: Vec<Vec<Perm>>) -> Result<Self> {
        Self::of_groups(symmetry.shared(), perms)
    }

    /// The same for the groups of a symmetry that is not at hand.
    pub(super) fn of_groups(groups: Arc<GroupTable>, perms: Vec<Vec<Perm>>) -> Result<Self> {
        if perms.len() != groups.list().len() {
            return Err(AlignmentError::Groups { expected: groups.list().len(), found: perms.len() }.into());
        }
        for (id, copies) in perms.iter().enumerate().map(|(i, c)| (GroupId(i), c)) {
            let group = groups.group(id);
            let expected = groups.copies(id);
            if copies.len() != expected || copies.iter().any(|p| p.len() != group.size) {
                let (group, units, found) = (group.name.clone(), group.size, copies.iter().map(Perm::len).collect());
                return Err(AlignmentError::Permutations { group, copies: expected, units, found }.into());
            }
        }
        Ok(Self { groups, perms })
    }

    pub(super) fn into_parts(self) -> (Arc<GroupTable>, Vec<Vec<Perm>>) {
        (self.groups, self.perms)
    }

    /// Passes only if it is an element of `symmetry`: if it was made for the same groups, of the same sizes.
    ///
    /// Cost: nothing for the symmetry it was made with, else one comparison per group.
    ///
    /// # Errors
    /// [`AlignmentError::Other`] names the first group that differs.
    ///
    /// ```
    /// use onebasin_core::symmetry::Alignment;
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let spec = SymmetrySpec::from_patterns([("w", "h")])?;
    /// let two = Symmetry::resolve(&spec, &net(&[1., 2.])?)?;
    /// let three = Symmetry::resolve(&spec, &net(&[1., 2., 3.])?)?;
    /// assert!(Alignment::identity(&two).check(&two).is_ok());
    /// assert!(Alignment::identity(&two).check(&three).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn check(&self, symmetry: &Symmetry) -> Result<()> {
        let (own, wanted) = (&self.groups, symmetry.shared());
        if Arc::ptr_eq(own, &wanted) {
            return Ok(());
        }
        let missing = wanted.list().iter().filter(|g| !own.holds(g));
        match missing.chain(own.list().iter().filter(|g| !wanted.holds(g))).next() {
            Some(group) => Err(AlignmentError::Other { group: group.name.clone() }.into()),
            None => Ok(()),
        }
    }

    /// The element that moves nothing.
    ///
    /// ```
    /// use onebasin_core::symmetry::Alignment;
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
    /// assert_eq!(Alignment::identity(&symmetry).apply(&symmetry, &b)?, b);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn identity(symmetry: &Symmetry) -> Self {
        Self::from_fn(symmetry, |id, _| Perm::identity(symmetry.group(id).size))
    }

    /// A uniformly random element: every group and copy has a random permutation of its own.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// use onebasin_core::symmetry::Alignment;
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
    /// let found = Alignment::random(&symmetry, &mut Stream::new(7, "planted"));
    /// let back = found.inverse(&symmetry).apply(&symmetry, &found.apply(&symmetry, &a)?)?;
    /// assert_eq!(back, a);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn random(symmetry: &Symmetry, stream: &mut Stream) -> Self {
        Self::from_fn(symmetry, |id, _| stream.permutation(symmetry.group(id).size))
    }

    fn from_fn(symmetry: &Symmetry, mut perm: impl FnMut(GroupId, usize) -> Perm) -> Self {
        let ids = (0..symmetry.groups().len()).map(GroupId);
        let groups = symmetry.shared();
        Self { groups, perms: ids.map(|id| (0..symmetry.copies(id)).map(|copy| perm(id, copy)).collect()).collect() }
    }

    /// The permutations of a group, one per copy; of a root there is one.
    ///
    /// # Panics
    /// If there is no such group.
    ///
    /// ```
    /// use onebasin_core::symmetry::Alignment;
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
    /// let still = Alignment::identity(&symmetry);
    /// assert_eq!(still.copies(symmetry.group_named("h")?)[0].as_slice(), [0, 1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn copies(&self, id: GroupId) -> &[Perm] {
        &self.perms[id.0]
    }

    /// Replaces the permutations of a group.
    pub(crate) fn set(&mut self, id: GroupId, copies: Vec<Perm>) {
        self.perms[id.0] = copies;
    }

    /// Whether nothing moves, in any group.
    ///
    /// ```
    /// use onebasin_core::symmetry::Alignment;
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
    /// assert!(Alignment::identity(&symmetry).is_identity());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn is_identity(&self) -> bool {
        self.perms.iter().flatten().all(Perm::is_identity)
    }

    /// The source unit of unit `value` of a group, `above` being the result units of its ancestors, outermost first.
    ///
    /// # Panics
    /// If a unit is not below the size of its group.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::Alignment;
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
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// assert_eq!(swap.source(&symmetry, symmetry.group_named("h")?, &[], 0), 1);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn source(&self, symmetry: &Symmetry, id: GroupId, above: &[usize], value: usize) -> usize {
        self.perms[id.0][copy_index(symmetry, id, above)].at(value)
    }

    /// `self ∘ first`: acting with the result equals acting with `first`, then with `self`.
    ///
    /// Formula: [`Perm::compose`] in every group; a copy of a family composes with the copy that it came from.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// use onebasin_core::symmetry::Alignment;
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
    /// let mut stream = Stream::new(0, "example");
    /// let [first, then] = [(); 2].map(|()| Alignment::random(&symmetry, &mut stream));
    /// let both = then.compose(&symmetry, &first);
    /// assert_eq!(both.apply(&symmetry, &a)?, then.apply(&symmetry, &first.apply(&symmetry, &a)?)?);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    #[must_use]
    pub fn compose(&self, symmetry: &Symmetry, first: &Self) -> Self {
        Self::from_fn(symmetry, |id, copy| {
            let source = self.source_copy(symmetry, id, copy);
            self.perms[id.0][copy].compose(&first.perms[id.0][source])
        })
    }

    /// The element that undoes this one: `inverse ∘ self` is the identity.
    ///
    /// ```
    /// use onebasin_core::stream::Stream;
    /// use onebasin_core::symmetry::Alignment;
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
    /// let found = Alignment::random(&symmetry, &mut Stream::new(0, "example"));
    /// assert!(found.inverse(&symmetry).compose(&symmetry, &found).is_identity());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
    pub(crate) fn source_copy(&self, symmetry: &Symmetry, id: GroupId, copy: usize) -> usize {
        let ancestors = symmetry.ancestors(id);
        let above = split_copy(symmetry, &ancestors, copy);
        let source: Vec<usize> =
            ancestors.iter().enumerate().map(|(k, &a)| self.source(symmetry, a, &above[..k], above[k])).collect();
        copy_index(symmetry, id, &source)
    }

    /// The gather of one axis: position `i` of the result is position `table[i]` of the source.
    ///
    /// Shapes: as many entries as the axis is long.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::Alignment;
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let spec = SymmetrySpec::from_patterns([("w", "(h 2)")])?;
    /// let symmetry = Symmetry::resolve(&spec, &net(&[0., 1., 2., 3.])?)?;
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// assert_eq!(swap.axis_gather(&symmetry, &symmetry.tensor("w")?.axes[0]), [2, 3, 0, 1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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

    /// The source digits of result digits `values`, digit by digit; those of no group stay.
    ///
    /// # Panics
    /// If a family stands among `groups` without its ancestors.
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::Alignment;
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
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// let h = symmetry.group_named("h")?;
    /// assert_eq!(swap.source_digits(&symmetry, &[Some(h), None], &[0, 1]), [1, 1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
pub(crate) fn copy_index(symmetry: &Symmetry, id: GroupId, above: &[usize]) -> usize {
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
