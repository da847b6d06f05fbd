//! Weight matching: the inner product of A's weights with B's, as a source.

use std::collections::HashMap;

use super::accelerator::{Accelerator, RootProducts};
use super::ascent::{Match, MatchOptions, Sweep, ascend};
use super::cache::WeightCache;
use super::comparable::comparable;
use super::objective::{objective, squares, tensor_objective};
use super::similarity::{Gram, RootSites};
use super::source::{GramCache, Root, Source};
use super::unfold::is_quadratic;
use crate::dtype::DType;
use crate::error::Result;
use crate::params::Params;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// `⟨A, π(B)⟩` over the tensors of a symmetry.
///
/// Only tensors of the symmetry that can move count; [`Symmetry::restrict`] leaves out those that are no weights, such as
/// BatchNorm's running statistics. Networks with numbers beside which all others are lost are compared as [`comparable`]
/// gives them.
///
/// ```
/// use onebasin_core::matching::{Source, Weights};
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
/// let (weights, identity) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
/// assert_eq!(weights.objective(&identity)?, 82.0);
/// assert_eq!(weights.grams(symmetry.roots()[0], &identity)?[0].data, [41., 30., 61., 41.]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub struct Weights<'a> {
    symmetry: &'a Symmetry,
    a: &'a Params,
    b: &'a Params,
    roots: Vec<Root>,
    /// By root: the tensors it stands in.
    tensors: Vec<Vec<&'a str>>,
    /// By root: where it stands in them.
    sites: Vec<RootSites<'a>>,
    /// Both networks on the device that computes the Grams, if not this processor.
    device: Option<Box<dyn RootProducts>>,
}

impl<'a> Weights<'a> {
    /// Prepares two networks of one symmetry.
    ///
    /// Cost: two passes over both networks: whether values are finite, and norms, against which rounding is measured.
    ///
    /// # Errors
    /// [`Error::Structure`](crate::Error::Structure) if the networks differ in structure,
    /// [`Error::NotFinite`](crate::Error::NotFinite) if one holds a NaN or an infinity in a tensor that can move,
    /// [`Error::NoTensor`](crate::Error::NoTensor) if they lack a tensor of the symmetry.
    /// ```
    /// use onebasin_core::matching::Weights;
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
    /// let broken = net([f32::NAN, 4., 1., 2.], [6., 5.])?;
    /// assert!(Weights::new(&symmetry, &a, &b).is_ok() && Weights::new(&symmetry, &a, &broken).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(symmetry: &'a Symmetry, a: &'a Params, b: &'a Params) -> Result<Self> {
        a.check_same_structure(b)?;
        let norms = |params: &'a Params| -> Result<HashMap<&'a str, f64>> {
            let mut norms = HashMap::new();
            for (name, layout) in symmetry.tensors() {
                let tensor = params.require(name)?;
                if layout.moves() && tensor.dtype().is_float() {
                    tensor.check_finite(name)?;
                    norms.insert(name, squares(tensor));
                }
            }
            Ok(norms)
        };
        let (own, other) = (norms(a)?, norms(b)?);
        let (mut roots, mut tensors, mut sites) = (Vec::new(), Vec::new(), Vec::new());
        for id in symmetry.roots() {
            let (mut root, mut names) = (Root::new(id), Vec::new());
            for (name, layout) in symmetry.tensors() {
                let mut groups = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
                let Some(norm) = own.get(name).map(|norm| (norm * other[name]).sqrt()) else { continue };
                if groups.any(|d| d.group.is_some_and(|g| symmetry.root(g) == id)) {
                    root.tolerance += 64.0 * f64::EPSILON * norm;
                    let single = [a, b].iter().all(|net| net.get(name).is_some_and(|t| t.dtype() != DType::F64));
                    root.rounding += if single { 32.0 * f64::from(f32::EPSILON) * norm } else { 0.0 };
                    root.quadratic |= is_quadratic(symmetry, id, layout);
                    names.push(name);
                }
            }
            roots.push(root);
            tensors.push(names);
            sites.push(RootSites::new(symmetry, id, a, b)?);
        }
        let mut weights = Self { symmetry, a, b, roots, tensors, sites, device: None };
        weights.connect();
        Ok(weights)
    }

    /// The same with the roots in the order in which these tensors name them first, for
    /// [`Order::Forward`](super::Order::Forward); others follow.
    ///
    /// ```
    /// use onebasin_core::matching::{Source, Weights};
    /// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// use onebasin_core::{Params, Tensor};
    /// let bias = Tensor::from_f32(&[2], vec![1., 2.])?;
    /// let net = Params::from_iter(["v", "w"].map(|name| (name.to_owned(), bias.clone())));
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("v", "a"), ("w", "b")])?, &net)?;
    /// let weights = Weights::new(&symmetry, &net, &net)?.in_order(["w", "v"]);
    /// let order = weights.roots().iter().map(|root| &symmetry.group(root.id).name[..]);
    /// assert_eq!(order.collect::<Vec<_>>(), ["b", "a"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    #[must_use]
    pub fn in_order<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let place: HashMap<&str, usize> = names.into_iter().enumerate().map(|(k, name)| (name, k)).collect();
        let first = |names: &[&str]| names.iter().filter_map(|n| place.get(n)).min().copied().unwrap_or(usize::MAX);
        let mut order: Vec<usize> = (0..self.roots.len()).collect();
        order.sort_by_key(|&k| first(&self.tensors[k]));
        self.roots = order.iter().map(|&k| self.roots[k].clone()).collect();
        self.tensors = order.iter().map(|&k| std::mem::take(&mut self.tensors[k])).collect();
        self.sites = order.iter().map(|&k| std::mem::take(&mut self.sites[k])).collect();
        self.connect();
        self
    }

    /// The same with Grams computed on a device: products there, assignments and objectives here.
    ///
    /// Grams then differ by the rounding of single precision, to which a match is indifferent except where alignments are
    /// equally good. Grams that an f64 or an 8-bit tensor adds to stay here. See [`Accelerator`] for an example.
    #[must_use]
    pub fn on(mut self, device: &dyn Accelerator) -> Self {
        let pair = |(name, _)| [self.a, self.b].map(|net| net.get(name).expect("it was there for the norms"));
        self.device = Some(device.hold(&self.symmetry.tensors().map(pair).collect::<Vec<_>>()));
        self
    }

    fn connect(&mut self) {
        let shares = |i: usize, j: usize| self.tensors[i].iter().any(|t| self.tensors[j].contains(t));
        let near = |i: usize| -> Vec<usize> {
            (0..self.roots.len()).filter(|&j| if i == j { self.roots[i].quadratic } else { shares(i, j) }).collect()
        };
        let neighbours: Vec<Vec<usize>> = (0..self.roots.len()).map(near).collect();
        self.roots.iter_mut().zip(neighbours).for_each(|(root, n)| root.neighbours = n);
    }

    fn position(&self, root: GroupId) -> Option<usize> {
        self.roots.iter().position(|r| r.id == root)
    }

    /// A and B.
    ///
    /// ```
    /// use onebasin_core::matching::Weights;
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
    /// assert_eq!(Weights::new(&symmetry, &a, &b)?.networks(), [&a, &b]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn networks(&self) -> [&'a Params; 2] {
        [self.a, self.b]
    }
}

impl<'a> Weights<'a> {
    pub(super) fn symmetry_of(&self) -> &'a Symmetry {
        self.symmetry
    }

    /// By root: flops of its Grams, their entries, and entries of the slices they are of.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        self.sites.iter().map(RootSites::shape)
    }
}

impl Source for Weights<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.symmetry
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>> {
        let Some(k) = self.position(root) else { return Ok(Vec::new()) };
        self.sites[k].grams(&self.sites[k].places(self.symmetry, current), self.device.as_deref())
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64> {
        objective(self.symmetry, alignment, self.a, self.b)
    }

    fn gain(&self, root: GroupId, from: &Alignment, to: &Alignment) -> Result<f64> {
        let Some(k) = self.position(root) else { return Ok(0.0) };
        if self.roots[k].quadratic || !self.symmetry.children(root).is_empty() {
            let value = |alignment| tensor_objective(self.symmetry, alignment, self.a, self.b, &self.tensors[k]);
            return Ok(value(to)? - value(from)?);
        }
        let (old, new) = (&from.copies(root)[0], &to.copies(root)[0]);
        let moved = (0..old.len()).map(|i| (i, old.at(i), new.at(i))).filter(|(_, old, new)| old != new);
        Ok(self.sites[k].gain(&self.sites[k].places(self.symmetry, from), &moved.collect::<Vec<_>>()))
    }

    fn caches(&self) -> Option<Vec<Box<dyn GramCache + '_>>> {
        Some(WeightCache::of_all(self.symmetry, &self.sites, self.device.as_deref()))
    }
}

/// Finds the alignment of B with A by coordinate ascent on `⟨A, π(B)⟩` (equivalently, descent on the L2 distance).
///
/// It begins at `start`, or at the identity where none is given. `observe` is told every sweep; where it returns false, that
/// sweep is the last. It is [`ascend`] on [`Weights`].
///
/// Cost: per sweep `2 n · numel` flops for every tensor and axis where a group of `n` units stands, and one `O(n³)`
/// assignment per group. A group is solved again only if one it shares a tensor with has changed.
///
/// Only tensors of the symmetry that can move count, compared as [`comparable`] gives them; [`Symmetry::restrict`] leaves
/// out those that are no weights, such as BatchNorm's running statistics.
///
/// # Errors
/// If the networks differ in structure, hold a value that is not finite where it moves, or do not fit the symmetry.
///
/// Source: Ainsworth et al. 2023, Algorithm 1. We differ in summing in f64, in accepting a change only if the gain
/// exceeds the objective's rounding error, in first sweeps over samples of large groups' columns, in nested families, and in groups that stand on two axes of one tensor: there
/// the assignment is linearised around the current permutation and kept only if the true objective rises.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, match_weights};
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w1: [f32; 4], w2: [f32; 2]| -> Result<Params, onebasin_core::Error> {
///     let mut net = Params::new();
///     net.insert("fc1.weight", Tensor::from_f32(&[2, 2], w1.to_vec())?);
///     net.insert("fc2.weight", Tensor::from_f32(&[1, 2], w2.to_vec())?);
///     Ok(net)
/// };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn match_weights(
    symmetry: &Symmetry,
    a: &Params,
    b: &Params,
    start: Option<&Alignment>,
    options: &MatchOptions,
    observe: &mut dyn FnMut(&Sweep) -> bool,
) -> Result<Match> {
    let [a, b] = comparable(symmetry, a, b)?;
    let source = Weights::new(symmetry, &a, &b)?;
    ascend(&source, &start.cloned().unwrap_or_else(|| Alignment::identity(symmetry)), options, observe)
}
