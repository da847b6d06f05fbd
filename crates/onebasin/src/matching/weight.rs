//! Weight matching: the inner product of A's weights with B's, as a source.

use super::ascent::{Match, MatchOptions, Sweep, ascend};
use super::similarity::{Gram, dot, is_quadratic, objective, tensor_objective, weight_grams};
use super::source::{Root, Source};
use crate::error::Result;
use crate::params::Params;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// `⟨A, π(B)⟩` over the tensors of a symmetry.
///
/// Only tensors of the symmetry count; [`Symmetry::restrict`] leaves out those that are no weights, such as BatchNorm's
/// running statistics.
pub struct Weights<'a> {
    symmetry: &'a Symmetry,
    a: &'a Params,
    b: &'a Params,
    roots: Vec<Root>,
    /// By root: the tensors it stands in.
    tensors: Vec<Vec<&'a str>>,
}

impl<'a> Weights<'a> {
    /// Prepares two networks of one symmetry.
    ///
    /// # Errors
    /// If the networks differ in structure, hold a value that is not finite, or do not fit the symmetry.
    pub fn new(symmetry: &'a Symmetry, a: &'a Params, b: &'a Params) -> Result<Self> {
        a.check_same_structure(b)?;
        a.check_finite()?;
        b.check_finite()?;
        let (mut roots, mut tensors) = (Vec::new(), Vec::new());
        for id in symmetry.roots() {
            let (mut root, mut names) =
                (Root { id, neighbours: Vec::new(), quadratic: false, tolerance: 0.0 }, Vec::new());
            for (name, layout) in symmetry.tensors() {
                let mut groups = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
                let float = a.require(name)?.dtype().is_float();
                if float && groups.any(|d| d.group.is_some_and(|g| symmetry.root(g) == id)) {
                    let (va, vb) = (a.require(name)?.to_f64()?, b.require(name)?.to_f64()?);
                    root.tolerance += 64.0 * f64::EPSILON * (dot(&va, &va) * dot(&vb, &vb)).sqrt();
                    root.quadratic |= is_quadratic(symmetry, id, layout);
                    names.push(name);
                }
            }
            roots.push(root);
            tensors.push(names);
        }
        let mut weights = Self { symmetry, a, b, roots, tensors };
        weights.connect();
        Ok(weights)
    }

    /// The same with the roots in the order in which these tensors name them first, for
    /// [`Order::Forward`](super::Order::Forward); others follow.
    #[must_use]
    pub fn in_order<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let place: std::collections::HashMap<&str, usize> =
            names.into_iter().enumerate().map(|(k, name)| (name, k)).collect();
        let first = |names: &[&str]| names.iter().filter_map(|n| place.get(n)).min().copied().unwrap_or(usize::MAX);
        let mut order: Vec<usize> = (0..self.roots.len()).collect();
        order.sort_by_key(|&k| first(&self.tensors[k]));
        self.roots = order.iter().map(|&k| self.roots[k].clone()).collect();
        self.tensors = order.iter().map(|&k| self.tensors[k].clone()).collect();
        self.connect();
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

    /// A and B.
    pub fn networks(&self) -> [&'a Params; 2] {
        [self.a, self.b]
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
        weight_grams(self.symmetry, root, current, self.a, self.b)
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64> {
        objective(self.symmetry, alignment, self.a, self.b)
    }

    fn part(&self, root: GroupId, alignment: &Alignment) -> Result<f64> {
        let at = self.roots.iter().position(|r| r.id == root);
        let names = at.map_or(&[][..], |k| &self.tensors[k]);
        tensor_objective(self.symmetry, alignment, self.a, self.b, names)
    }
}

/// Finds the alignment of B with A by coordinate ascent on `⟨A, π(B)⟩` (equivalently, descent on the L2 distance).
///
/// Cost: per sweep `2 n · numel` flops for every tensor and axis where a group of `n` units stands, and one `O(n³)`
/// assignment per group. A group is solved again only if one it shares a tensor with has changed.
///
/// Only tensors of the symmetry count; [`Symmetry::restrict`] leaves out those that are no weights, such as BatchNorm's
/// running statistics.
///
/// # Errors
/// If the networks differ in structure, hold a value that is not finite, or do not fit the symmetry.
///
/// Source: Ainsworth et al. 2023, Algorithm 1. We differ in summing in f64, in accepting a change only if the gain
/// exceeds the objective's rounding error, in nested families, and in groups that stand on two axes of one tensor: there
/// the assignment is linearised around the current permutation and kept only if the true objective rises.
///
/// ```
/// use onebasin::matching::{MatchOptions, match_weights};
/// use onebasin::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin::{Params, Tensor};
/// let net = |w1: [f32; 4], w2: [f32; 2]| -> Result<Params, onebasin::Error> {
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
/// # Ok::<(), onebasin::Error>(())
/// ```
pub fn match_weights(
    symmetry: &Symmetry,
    a: &Params,
    b: &Params,
    start: Option<&Alignment>,
    options: &MatchOptions,
    observe: &mut dyn FnMut(&Sweep) -> bool,
) -> Result<Match> {
    let source = Weights::new(symmetry, a, b)?;
    ascend(&source, &start.cloned().unwrap_or_else(|| Alignment::identity(symmetry)), options, observe)
}
