//! All networks at once, over doubly stochastic matrices into a common numbering.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::sweeps::improve;
use super::{ManyMatch, ManyOptions, Round, aligned, anchor, check, first, pairs_objective, stacked, starts};
use crate::error::Result;
use crate::matching::ascent::StopReason;
use crate::matching::frank_wolfe::{Iteration, Limits, Origin, Relaxed, climb, project};
use crate::matching::objective::dot;
use crate::matching::relaxed::{Matrices, Relaxation, SoftTensor};
use crate::params::Params;
use crate::perm::Perm;
use crate::symmetry::{Alignment, Symmetry};

/// How to match many at once.
///
/// ```
/// use onebasin_core::matching::{Origin, UniverseOptions};
/// let options = UniverseOptions { origin: Origin::Start, ..UniverseOptions::default() };
/// assert_eq!((options.max_iterations, options.tolerance), (100, 1e-4));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UniverseOptions {
    /// Where the matrices of all networks but the first start; the first's start at the identity.
    pub origin: Origin,
    /// Stop after this many iterations even if the value still rises.
    pub max_iterations: usize,
    /// Stop when the linearised gain is below this share of the value.
    pub tolerance: f64,
    /// Where [`Origin::Start`] is, and how the permutations nearest to the matrices are improved.
    pub polish: ManyOptions,
}

impl Default for UniverseOptions {
    fn default() -> Self {
        Self { origin: Origin::default(), max_iterations: 100, tolerance: 1e-4, polish: ManyOptions::default() }
    }
}

/// What is told while matching many at once: first iterations over matrices, then rounds over networks.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{ManyProgress, UniverseOptions, match_cycle_consistent};
/// let models = [net(&[1., 2., 3.])?, net(&[3., 1., 2.])?];
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let (mut iterations, mut rounds) = (0, 0);
/// match_cycle_consistent(&symmetry, &models, &UniverseOptions::default(), &mut |told| {
///     match told {
///         ManyProgress::Iteration(_) => iterations += 1,
///         ManyProgress::Round(_) => rounds += 1,
///     }
///     true
/// })?;
/// assert!(iterations > 0 && rounds > 0);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug)]
pub enum ManyProgress<'a> {
    /// An iteration over matrices.
    Iteration(&'a Iteration),
    /// A round over networks.
    Round(&'a Round),
}

/// Aligns many networks jointly: each has permutations into a common numbering, and the similarity of all pairs is raised
/// over all of them at once by Frank–Wolfe, then by rounds over the networks.
///
/// What carries one network into another's numbering is composed of theirs into the common one, so going around any cycle
/// of networks gives the identity. The common numbering is free; at the end it is made the first network's. From
/// [`Origin::Start`] at the identity the iterations treat all networks alike, whatever the order of the list.
///
/// The value is `½ (‖S‖² − Σ_p ‖x_p‖²)` with `x_p = P_p·θ_p` and `S = Σ_p x_p`, so the gradient of a network's matrices is
/// that of `⟨S − x_p, P_p·θ_p⟩` and no pair is ever formed. If the result falls short of the start, the start is improved
/// instead. Roots with families stay where the start has them until the rounds.
///
/// Cost: per iteration, per network, about five times the products of a sweep of coordinate ascent, in f64; memory is one
/// tensor of every network in f64 and three matrices per group and network.
///
/// # Errors
/// As [`merge_many`](super::sweeps::merge_many), or if the tolerance is not a number from 0.
///
/// Source: Crisostomi et al. 2024, *C²M³: cycle-consistent multi-model merging* (arXiv 2405.17897). We differ in the start,
/// in the exact line search, and in the rounds at the end.
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{UniverseOptions, match_cycle_consistent};
/// use onebasin_core::merge::mean;
/// let models = [net(&[1., 2., 3.])?, net(&[3., 1., 2.])?, net(&[2., 3., 1.])?]; // one network in three numberings
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let found = match_cycle_consistent(&symmetry, &models, &UniverseOptions::default(), &mut |_| true)?;
/// assert_eq!(&mean(&symmetry, &models, &found.alignments, None)?, models[0]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn match_cycle_consistent(
    symmetry: &Symmetry,
    models: &[&Params],
    options: &UniverseOptions,
    observe: &mut dyn FnMut(ManyProgress<'_>) -> bool,
) -> Result<ManyMatch> {
    let models = stacked(symmetry, models)?;
    let models: &[&Params] = &models.iter().map(|model| &**model).collect::<Vec<_>>();
    check(models)?;
    let start = starts(symmetry, models, &options.polish)?;
    let relaxation = Relaxation::new(symmetry, first(models)?)?;
    let held: Vec<Alignment> = start.iter().map(|a| relaxation.hold(a)).collect();
    let origin = |(p, alignment): (usize, &Alignment)| match options.origin {
        Origin::Barycentre if p > 0 => relaxation.barycentre(),
        _ => relaxation.matrices(alignment),
    };
    let point: Matrices = start.iter().enumerate().flat_map(origin).collect();
    let universe = Universe { relaxation: &relaxation, models, held };
    let limits = Limits { max_iterations: options.max_iterations, tolerance: options.tolerance };
    let (point, interrupted) = climb(&universe, point, limits, &mut |i| observe(ManyProgress::Iteration(i)))?;
    let projected = universe.elements(&project(&point)?);
    let start_objective = pairs_objective(symmetry, models, &start)?;
    if interrupted {
        let reached = pairs_objective(symmetry, models, &projected)?;
        let (best, objective) = if reached > start_objective { (projected, reached) } else { (start, start_objective) };
        let alignments = anchor(symmetry, &best);
        return Ok(ManyMatch {
            alignments,
            start_objective,
            objective,
            rounds: Vec::new(),
            stop: StopReason::Interrupted,
        });
    }
    let mut polish =
        |from: &[Alignment]| improve(symmetry, models, from, &options.polish, &mut |r| observe(ManyProgress::Round(r)));
    let mut found = polish(&projected)?;
    if found.objective < start_objective {
        found = polish(&start)?;
    }
    Ok(ManyMatch { start_objective, ..found })
}

/// The similarity of all pairs over the matrices of all networks, those of the first network first.
struct Universe<'a> {
    relaxation: &'a Relaxation<'a>,
    models: &'a [&'a Params],
    /// By network: where the roots with families stay.
    held: Vec<Alignment>,
}

impl Universe<'_> {
    fn groups(&self) -> usize {
        self.relaxation.groups().len()
    }

    /// The matrices of one network.
    fn of<'m>(&self, point: &'m [Vec<f64>], model: usize) -> &'m [Vec<f64>] {
        &point[model * self.groups()..][..self.groups()]
    }

    fn elements(&self, perms: &[Perm]) -> Vec<Alignment> {
        let element = |(p, held): (usize, &Alignment)| {
            self.relaxation.element(held, &perms[p * self.groups()..][..self.groups()])
        };
        self.held.iter().enumerate().map(element).collect()
    }

    /// One tensor of every network, held groups aligned.
    fn values(&self, name: &str) -> Result<Vec<Vec<f64>>> {
        let symmetry = self.relaxation.symmetry();
        self.models.iter().zip(&self.held).map(|(model, held)| aligned(symmetry, model, held, name)).collect()
    }

    /// One tensor of every network, softly aligned.
    fn soft(&self, tensor: &SoftTensor<'_>, values: &[Vec<f64>], point: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let apply = |(p, v): (usize, &Vec<f64>)| tensor.apply(self.of(point, p), v.clone());
        values.par_iter().enumerate().map(apply).collect()
    }
}

/// The sum of vectors of one length.
fn total(vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vectors[0].clone();
    vectors[1..].iter().for_each(|v| super::add(&mut sum, v, 1.0));
    sum
}

impl Relaxed for Universe<'_> {
    fn degree(&self) -> usize {
        2 * self.relaxation.degree()
    }

    fn value(&self, point: &Matrices) -> Result<f64> {
        let mut twice = 0.0;
        for tensor in self.relaxation.tensors() {
            let soft = self.soft(tensor, &self.values(tensor.name)?, point);
            let sum = total(&soft);
            twice += dot(&sum, &sum) - soft.iter().map(|x| dot(x, x)).sum::<f64>();
        }
        Ok(0.5 * twice)
    }

    fn vertex(&self, perms: &[Perm]) -> Result<f64> {
        pairs_objective(self.relaxation.symmetry(), self.models, &self.elements(perms))
    }

    fn gradient(&self, point: &Matrices) -> Result<Matrices> {
        let mut gradient: Matrices = point.iter().map(|m| vec![0.0; m.len()]).collect();
        for tensor in self.relaxation.tensors() {
            let values = self.values(tensor.name)?;
            let soft = self.soft(tensor, &values, point);
            let sum = total(&soft);
            gradient.par_chunks_mut(self.groups().max(1)).enumerate().for_each(|(p, own)| {
                let mut others = sum.clone();
                super::add(&mut others, &soft[p], -1.0);
                tensor.add_gradient(self.of(point, p), &others, &values[p], own);
            });
        }
        Ok(gradient)
    }
}
