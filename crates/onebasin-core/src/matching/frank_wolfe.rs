//! Frank–Wolfe: all groups at once, over doubly stochastic matrices.

use std::borrow::Cow;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ascent::{Match, MatchOptions, StopReason, Sweep, ascend_again};
use super::line::best_step;
use super::objective::dot;
use super::relaxed::{Matrices, Relaxation, matrix};
use super::source::Source;
use super::weight::Weights;
use crate::assignment::{Similarity, assign};
use crate::error::{Error, Result};
use crate::perm::Perm;
use crate::symmetry::{Alignment, GroupId};
use crate::tensor::Tensor;

/// Where the matrices start.
///
/// ```
/// use onebasin_core::matching::Origin;
/// assert_eq!(serde_json::to_string(&Origin::default())?, r#""barycentre""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// At the mean of all permutations: no unit is preferred to another.
    #[default]
    Barycentre,
    /// At the alignment that is given.
    Start,
}

/// How to climb over doubly stochastic matrices.
///
/// ```
/// use onebasin_core::matching::{FrankWolfeOptions, Origin};
/// let options = FrankWolfeOptions { origin: Origin::Start, ..FrankWolfeOptions::default() };
/// assert_eq!((options.max_iterations, options.tolerance), (100, 1e-4));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrankWolfeOptions {
    /// Where the matrices start.
    pub origin: Origin,
    /// Stop after this many iterations even if the value still rises.
    pub max_iterations: usize,
    /// Stop when the linearised gain, which bounds what a concave value could still gain, is below this share of the value.
    pub tolerance: f64,
    /// How the permutations nearest to the matrices are improved.
    pub polish: MatchOptions,
}

impl Default for FrankWolfeOptions {
    fn default() -> Self {
        Self { origin: Origin::default(), max_iterations: 100, tolerance: 1e-4, polish: MatchOptions::default() }
    }
}

/// What one iteration did. Values are those of the matrices, which may lie above those of the permutations found at the
/// end.
///
/// ```
/// use onebasin_core::matching::{FrankWolfeOptions, Progress, Weights, frank_wolfe};
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
/// let (weights, start) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
/// let mut steps = Vec::new();
/// frank_wolfe(&weights, &start, &FrankWolfeOptions::default(), &mut |told| {
///     if let Progress::Iteration(i) = told {
///         steps.push((i.iteration, i.gap, i.step));
///     }
///     true
/// })?;
/// assert_eq!(steps, [(1, 4.5, 1.0)]); // from 86.5 at the barycentre all the way to 91
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Iteration {
    /// Number of the iteration, from 1.
    pub iteration: usize,
    /// The relaxed value after it.
    pub value: f64,
    /// The linearised gain before it.
    pub gap: f64,
    /// How far it went towards the best vertex: from 0 to 1.
    pub step: f64,
}

/// What is told while matching: first iterations over matrices, then sweeps over permutations.
///
/// ```
/// use onebasin_core::matching::{FrankWolfeOptions, Progress, Weights, frank_wolfe};
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
/// let (weights, start) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
/// let mut reached = Vec::new();
/// frank_wolfe(&weights, &start, &FrankWolfeOptions::default(), &mut |told| {
///     reached.push(match told {
///         Progress::Iteration(iteration) => iteration.value,
///         Progress::Sweep(sweep) => sweep.objective,
///     });
///     true
/// })?;
/// assert_eq!(reached, [91.0, 91.0]); // one step from the barycentre, and a sweep that confirms it
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// An iteration over matrices.
    Iteration(&'a Iteration),
    /// A sweep over permutations.
    Sweep(&'a Sweep),
}

/// A polynomial over the matrices of some groups, to be raised.
pub(super) trait Relaxed {
    /// Degree of the value as a polynomial along a segment.
    fn degree(&self) -> usize;
    /// The value.
    fn value(&self, point: &Matrices) -> Result<f64>;
    /// The value where every matrix is a permutation.
    fn vertex(&self, perms: &[Perm]) -> Result<f64>;
    /// The derivative by every entry.
    fn gradient(&self, point: &Matrices) -> Result<Matrices>;
    /// The derivative where every matrix is a permutation; asked for only where the degree is 2 at most.
    fn vertex_gradient(&self, perms: &[Perm]) -> Result<Matrices> {
        self.gradient(&perms.iter().map(matrix).collect())
    }
}

/// `⟨A, P·B⟩` over doubly stochastic matrices P, one for every root without families.
///
/// At permutations it is the weight objective. It is linear in each matrix (where a group stands once in a tensor's
/// entry), so among the maxima over all matrices there is one of permutations: nothing is lost at the top.
///
/// ```
/// use onebasin_core::matching::{RelaxedWeights, Weights};
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
/// let relaxed = RelaxedWeights::new(&weights, &identity)?;
/// assert_eq!(relaxed.value(&vec![vec![1., 0., 0., 1.]])?, 82.0); // the identity
/// assert_eq!(relaxed.value(&vec![vec![0.5; 4]])?, 86.5); // half of either: between 82 and 91
/// assert_eq!(relaxed.gradient(&vec![vec![0.5; 4]])?, [[41., 30., 61., 41.]]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub struct RelaxedWeights<'a> {
    relaxation: Relaxation<'a>,
    weights: &'a Weights<'a>,
    held: Alignment,
}

impl<'a> RelaxedWeights<'a> {
    /// The relaxation of two networks. Roots with families are held where `start` has them.
    ///
    /// # Errors
    /// If a tensor of the symmetry is missing.
    pub fn new(weights: &'a Weights<'a>, start: &Alignment) -> Result<Self> {
        let relaxation = Relaxation::new(weights.symmetry(), weights.networks()[0])?;
        let held = relaxation.hold(start);
        Ok(Self { relaxation, weights, held })
    }

    /// The relaxed groups, and the matrices of alignments.
    ///
    /// ```
    /// use onebasin_core::matching::{RelaxedWeights, Weights};
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
    /// let relaxed = RelaxedWeights::new(&weights, &identity)?;
    /// assert_eq!(relaxed.relaxation().groups(), symmetry.roots());
    /// assert_eq!(relaxed.relaxation().barycentre(), [[0.5; 4]]);
    /// assert_eq!(relaxed.relaxation().matrices(&identity), [[1., 0., 0., 1.]]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn relaxation(&self) -> &Relaxation<'a> {
        &self.relaxation
    }

    /// The value. Cost: `2 n · numel` flops for every tensor and axis where a group of `n` units stands.
    ///
    /// # Errors
    /// If a tensor is missing, or does not fit the symmetry.
    ///
    /// # Panics
    /// If there is not one matrix of `n × n` for every relaxed group.
    pub fn value(&self, point: &Matrices) -> Result<f64> {
        let mut sum = 0.0;
        for tensor in self.relaxation.tensors() {
            let [a, b] = self.values(tensor.name)?;
            sum += dot(&a, &tensor.apply(point, b));
        }
        Ok(sum)
    }

    /// The derivative by every entry of every matrix: a weight Gram whose other groups are softly aligned.
    ///
    /// Shapes: one matrix per relaxed group, as the point. Cost: twice that of [`Self::value`] where two groups meet in
    /// a tensor.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn gradient(&self, point: &Matrices) -> Result<Matrices> {
        let mut gradient: Matrices = self.relaxation.sizes().map(|n| vec![0.0; n * n]).collect();
        for tensor in self.relaxation.tensors() {
            let [a, b] = self.values(tensor.name)?;
            tensor.add_gradient(point, &a, &b, &mut gradient);
        }
        Ok(gradient)
    }

    fn values(&self, name: &str) -> Result<[Vec<f64>; 2]> {
        let [a, b] = self.weights.networks();
        let moved = self.held.apply_tensor(self.relaxation.symmetry(), name, b.require(name)?)?;
        let values = |tensor: &Tensor| tensor.to_f64().map(Cow::into_owned).map_err(|e| e.named(name));
        Ok([values(a.require(name)?)?, values(&moved)?])
    }
}

impl Relaxed for RelaxedWeights<'_> {
    fn degree(&self) -> usize {
        self.relaxation.degree()
    }

    fn value(&self, point: &Matrices) -> Result<f64> {
        self.value(point)
    }

    fn vertex(&self, perms: &[Perm]) -> Result<f64> {
        self.weights.objective(&self.relaxation.element(&self.held, perms))
    }

    fn gradient(&self, point: &Matrices) -> Result<Matrices> {
        self.gradient(point)
    }

    fn vertex_gradient(&self, perms: &[Perm]) -> Result<Matrices> {
        let element = self.relaxation.element(&self.held, perms);
        let gram = |id: &GroupId| {
            let n = self.relaxation.symmetry().group(*id).size;
            let mut sum = vec![0.0; n * n];
            for gram in self.weights.grams(*id, &element)? {
                sum.iter_mut().zip(&gram.data).for_each(|(s, g)| *s += g);
            }
            Ok(sum)
        };
        self.relaxation.groups().iter().map(gram).collect()
    }
}

/// Aligns B with A by Frank–Wolfe over all groups jointly, then coordinate ascent.
///
/// Every iteration linearises `⟨A, P·B⟩` at the matrices, finds the permutations that maximise that (one linear
/// assignment per group), and goes towards them as far as is best: along a segment the value is a polynomial of known
/// degree (usually 2), found exactly from its values and its slope. At the end every matrix is replaced by the permutation
/// that has most of its mass, and [`ascend`](super::ascend) improves those; if that falls short of what `start` is worth, `start` is
/// improved instead, so the result is never worth less.
///
/// Where coordinate ascent decides about a group while its neighbours stand wherever they started, here all groups stay
/// undecided until their neighbours say something about them. Roots with families stay where `start` has them until the
/// ascent.
///
/// Cost: per iteration the products of a full sweep of [`ascend`](super::ascend) and one `O(n³)` assignment per group; about twice the
/// products where three groups or more meet in one entry of a tensor. Memory is four matrices per group and three copies
/// of one tensor, in f64.
///
/// # Errors
/// If the tolerance is not a number from 0, or as [`ascend`](super::ascend).
///
/// Source: Frank and Wolfe 1956; for weights of networks Crisostomi et al. 2024 (C2M3). We differ in the start at the
/// barycentre, the exact line search, and the ascent at the end.
///
/// ```
/// use onebasin_core::matching::{FrankWolfeOptions, Weights, frank_wolfe};
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
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
/// let weights = Weights::new(&symmetry, &a, &b)?;
/// let start = Alignment::identity(&symmetry);
/// let found = frank_wolfe(&weights, &start, &FrankWolfeOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn frank_wolfe(
    weights: &Weights<'_>,
    start: &Alignment,
    options: &FrankWolfeOptions,
    observe: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Result<Match> {
    let relaxed = RelaxedWeights::new(weights, start)?;
    let point = match options.origin {
        Origin::Barycentre => relaxed.relaxation.barycentre(),
        Origin::Start => relaxed.relaxation.matrices(start),
    };
    let limits = Limits { max_iterations: options.max_iterations, tolerance: options.tolerance };
    let (point, interrupted) = climb(&relaxed, point, limits, &mut |i| observe(Progress::Iteration(i)))?;
    let projected = relaxed.relaxation.element(start, &project(&point)?);

    let start_objective = weights.objective(start)?;
    if interrupted {
        let reached = weights.objective(&projected)?;
        let (alignment, objective) =
            if reached > start_objective { (projected, reached) } else { (start.clone(), start_objective) };
        return Ok(Match { alignment, start_objective, objective, sweeps: Vec::new(), stop: StopReason::Interrupted });
    }
    // What is nearly the best already is not to be looked at through samples.
    let mut polish = |from: &Alignment| {
        ascend_again(weights, from, &options.polish, &mut Vec::new(), &mut |s| observe(Progress::Sweep(s)))
    };
    let mut found = polish(&projected)?;
    if found.objective < start_objective {
        found = polish(start)?;
    }
    Ok(Match { start_objective, ..found })
}

/// When to stop climbing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_iterations: usize,
    pub(super) tolerance: f64,
}

/// Climbs from `point` until the linearised gain or the step vanishes; the matrices, and whether the observer stopped it.
///
/// The value rises at every iteration; it is carried along from the polynomials, not summed anew. The gradient of a
/// quadratic is affine, so it is carried along too: between two points it is the mean of theirs, and at permutations it
/// costs no product with a matrix.
pub(super) fn climb(
    problem: &dyn Relaxed,
    mut point: Matrices,
    limits: Limits,
    observe: &mut dyn FnMut(&Iteration) -> bool,
) -> Result<(Matrices, bool)> {
    if limits.tolerance.is_nan() || limits.tolerance < 0.0 {
        let found = limits.tolerance.to_string();
        return Err(Error::Option { option: "the tolerance", expected: "be a number from 0", found });
    }
    let mut value = problem.value(&point)?;
    let mut gradient = problem.gradient(&point)?;
    for iteration in 1..=limits.max_iterations {
        let perms = project(&gradient)?;
        let gap = perms.iter().zip(&gradient).zip(&point).map(|((perm, g), p)| along(perm, g) - dot(g, p)).sum();
        if gap <= limits.tolerance * value.abs() {
            break;
        }
        let mut between = |step| problem.value(&towards(&point, &perms, step));
        let (step, reached) = best_step(problem.degree(), value, gap, problem.vertex(&perms)?, &mut between)?;
        if reached <= value {
            break;
        }
        (point, value) = (towards(&point, &perms, step), reached);
        if !observe(&Iteration { iteration, value, gap, step }) {
            return Ok((point, true));
        }
        if problem.degree() > 2 {
            gradient = problem.gradient(&point)?;
        } else {
            let vertex = problem.vertex_gradient(&perms)?;
            let pairs = gradient.iter_mut().flatten().zip(vertex.iter().flatten());
            pairs.for_each(|(g, v)| *g = (1.0 - step) * *g + step * v);
        }
    }
    Ok((point, false))
}

/// The inner product of a permutation with a matrix.
fn along(perm: &Perm, matrix: &[f64]) -> f64 {
    (0..perm.len()).map(|i| matrix[i * perm.len() + perm.at(i)]).sum()
}

/// The point at `step` on the segment from `point` (0) to these permutations (1).
fn towards(point: &Matrices, perms: &[Perm], step: f64) -> Matrices {
    let moved = |(matrix, perm): (&Vec<f64>, &Perm)| {
        let mut moved: Vec<f64> = matrix.iter().map(|p| (1.0 - step) * p).collect();
        (0..perm.len()).for_each(|i| moved[i * perm.len() + perm.at(i)] += step);
        moved
    };
    point.iter().zip(perms).map(moved).collect()
}

/// The permutations that have most of the matrices' mass.
pub(super) fn project(matrices: &Matrices) -> Result<Vec<Perm>> {
    let nearest = |matrix: &Vec<f64>| Ok(assign(&Similarity::new(matrix.len().isqrt(), matrix.clone())?, None)?.perm);
    matrices.par_iter().map(nearest).collect()
}
