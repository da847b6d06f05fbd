//! More than two networks: one alignment each, all into the numbering of the first.
//!
//! What is raised is `Σ_{p<q} ⟨π_p(θ_p), π_q(θ_q)⟩ = ½ (‖Σ_p π_p(θ_p)‖² − Σ_p ‖θ_p‖²)`: the pairwise similarity of the
//! aligned networks, and up to constants the squared length of their mean. [`sweeps`] aligns one network at a time with
//! the sum of all others (the paper's MergeMany), [`reference`] with the first alone, [`universe`] all at once over doubly stochastic matrices (C2M3), and
//! [`tree`] pairs, then pairs of pairs. None needs memory that grows with the number of networks, beyond their own, by more
//! than is said there.

pub(super) mod reference;
pub(super) mod sweeps;
pub(super) mod tree;
pub(super) mod universe;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ascent::{MatchOptions, Order, StopReason};
use super::objective::dot;
use super::start::Start;
use super::weight::Weights;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, Symmetry};
use crate::tensor::Tensor;

/// How to match many.
///
/// ```
/// use onebasin_core::matching::{ManyOptions, Start};
/// let options = ManyOptions { start: Start::Identity, ..ManyOptions::default() }; // the paper's
/// assert_eq!((options.max_rounds, options.max_sweeps), (100, 100));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManyOptions {
    /// Decides the order of networks in every round, and of groups in every match.
    pub seed: u64,
    /// What every match starts from.
    pub start: Start,
    /// Stop after this many rounds over the networks even if some still change.
    pub max_rounds: usize,
    /// Limit of sweeps in every match of one network.
    pub max_sweeps: usize,
    /// In which order a sweep visits the groups.
    pub order: Order,
}

impl Default for ManyOptions {
    fn default() -> Self {
        Self { seed: 0, start: Start::default(), max_rounds: 100, max_sweeps: 100, order: Order::default() }
    }
}

impl ManyOptions {
    /// Options of the match called `name`.
    fn of(&self, name: &str) -> MatchOptions {
        let seed = Stream::new(self.seed, name).bits();
        MatchOptions { seed, max_sweeps: self.max_sweeps, order: self.order }
    }
}

/// What one round did: a pass over all networks, or in [`merge_tree`](super::merge_tree) one match.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{ManyOptions, merge_many};
/// let models = [net(&[1., 2., 3.])?, net(&[3., 1., 2.])?]; // one network in two numberings
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let mut told = Vec::new();
/// let found = merge_many(&symmetry, &models, &ManyOptions::default(), &mut |round| {
///     told.push(round.clone());
///     true
/// })?;
/// assert_eq!(told, found.rounds);
/// assert_eq!(told[0].changed_models, 0); // the signature start had found it already
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Number of the round, from 1.
    pub round: usize,
    /// The sum over pairs after it; in [`merge_tree`](super::merge_tree), over the pairs of networks merged in this
    /// round.
    pub objective: f64,
    /// How much it rose.
    pub gain: f64,
    /// Networks whose alignment changed.
    pub changed_models: usize,
}

/// One alignment per network, how they were found, and how good they are.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{ManyOptions, merge_many};
/// let models = [net(&[1., 2., 3.])?, net(&[3., 1., 2.])?]; // one network in two numberings
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let found = merge_many(&symmetry, &models, &ManyOptions::default(), &mut |_| true)?;
/// assert!(found.alignments[0].is_identity());
/// assert_eq!(&found.alignments[1].apply(&symmetry, models[1])?, models[0]);
/// assert_eq!(found.objective, 14.0); // ⟨A, A⟩, of the one pair there is
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ManyMatch {
    /// The alignment that carries each network into the numbering of the first, whose own is the identity.
    pub alignments: Vec<Alignment>,
    /// `Σ_{p<q} ⟨π_p(θ_p), π_q(θ_q)⟩` at the start.
    pub start_objective: f64,
    /// The same at the end.
    pub objective: f64,
    /// One record per round.
    pub rounds: Vec<Round>,
    /// Why it stopped.
    pub stop: StopReason,
}

impl ManyMatch {
    /// The alignment that carries network `from` into the numbering of network `to`: `π_to⁻¹ ∘ π_from`.
    ///
    /// Composed around a cycle of networks these give the identity.
    ///
    /// # Panics
    /// If there is no such network.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::matching::{ManyOptions, merge_many};
    /// let models = [net(&[1., 2., 3.])?, net(&[3., 1., 2.])?, net(&[2., 3., 1.])?];
    /// let models: Vec<&Params> = models.iter().collect();
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
    /// let found = merge_many(&symmetry, &models, &ManyOptions::default(), &mut |_| true)?;
    /// assert_eq!(&found.between(&symmetry, 1, 2).apply(&symmetry, models[2])?, models[1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn between(&self, symmetry: &Symmetry, to: usize, from: usize) -> Alignment {
        self.alignments[to].inverse(symmetry).compose(symmetry, &self.alignments[from])
    }
}

/// `Σ_{p<q} ⟨π_p(θ_p), π_q(θ_q)⟩` over the floating-point tensors of a symmetry.
///
/// Formula: `½ (‖S‖² − Σ_p ‖θ_p‖²)` with `S = Σ_p π_p(θ_p)`, so no pair is formed.
///
/// Cost: one pass over all networks; memory is two copies of one tensor, in f64.
///
/// # Errors
/// If there is no network, a tensor is missing, or an alignment is none of the symmetry.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::pairs_objective;
/// use onebasin_core::symmetry::Alignment;
/// let models = [net(&[1., 2.])?, net(&[2., 1.])?, net(&[1., 1.])?];
/// let models: Vec<&Params> = models.iter().collect();
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, models[0])?;
/// let still = vec![Alignment::identity(&symmetry); 3];
/// assert_eq!(pairs_objective(&symmetry, &models, &still)?, 4. + 3. + 3.);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn pairs_objective(symmetry: &Symmetry, models: &[&Params], alignments: &[Alignment]) -> Result<f64> {
    let models = stacked(symmetry, models)?;
    let models: &[&Params] = &models.iter().map(|model| &**model).collect::<Vec<_>>();
    let mut twice = 0.0;
    for name in floats(symmetry, models)? {
        let mut sum = Vec::new();
        for (model, alignment) in models.iter().zip(alignments) {
            let values = aligned(symmetry, model, alignment, name)?;
            twice -= dot(&values, &values);
            if sum.is_empty() {
                sum = values;
            } else {
                add(&mut sum, &values, 1.0);
            }
        }
        twice += dot(&sum, &sum);
    }
    Ok(0.5 * twice)
}

/// The floating-point tensors of a symmetry.
fn floats<'a>(symmetry: &'a Symmetry, models: &[&Params]) -> Result<Vec<&'a str>> {
    let mut names = Vec::new();
    for (name, layout) in symmetry.tensors() {
        if layout.moves() && first(models)?.require(name)?.dtype().is_float() {
            names.push(name);
        }
    }
    Ok(names)
}

/// The values of one tensor of an aligned network.
fn aligned(symmetry: &Symmetry, model: &Params, alignment: &Alignment, name: &str) -> Result<Vec<f64>> {
    let moved = alignment.apply_tensor(symmetry, name, model.require(name)?)?;
    Ok(moved.to_f64().map_err(|e| e.named(name))?.into_owned())
}

fn add(sum: &mut [f64], values: &[f64], factor: f64) {
    sum.iter_mut().zip(values).for_each(|(s, v)| *s += factor * v);
}

fn stacked<'a>(symmetry: &Symmetry, models: &[&'a Params]) -> Result<Vec<Cow<'a, Params>>> {
    models.iter().map(|model| symmetry.stacked(model)).collect()
}

fn first<'a>(models: &[&'a Params]) -> Result<&'a Params> {
    models.first().copied().ok_or(Error::NoNetworks)
}

/// Passes only if there is an alignment of this symmetry for every network.
fn check_starts(symmetry: &Symmetry, models: &[&Params], starts: &[Alignment]) -> Result<()> {
    if starts.len() != models.len() {
        let (networks, alignments) = (models.len(), starts.len());
        return Err(Error::Networks { networks, alignments, weights: networks });
    }
    starts.iter().try_for_each(|start| start.check(symmetry))
}

/// Passes only if there is a network, and all have one structure and finite values.
fn check(models: &[&Params]) -> Result<()> {
    let first = first(models)?;
    for model in models {
        first.check_same_structure(model)?;
        model.check_finite_beside(first)?;
    }
    Ok(())
}

/// Where every network starts, relative to the first.
fn starts(symmetry: &Symmetry, models: &[&Params], options: &ManyOptions) -> Result<Vec<Alignment>> {
    let mut starts = vec![Alignment::identity(symmetry)];
    for (k, model) in models.iter().enumerate().skip(1) {
        starts.push(match options.start {
            Start::Identity => Alignment::identity(symmetry),
            start => {
                start.alignment(&Weights::new(symmetry, models[0], model)?, options.of(&format!("start/{k}")).seed)?
            }
        });
    }
    Ok(starts)
}

/// The same alignments relative to the first, which stays still. No similarity of two networks changes.
fn anchor(symmetry: &Symmetry, alignments: &[Alignment]) -> Vec<Alignment> {
    let back = alignments[0].inverse(symmetry);
    alignments.iter().map(|a| back.compose(symmetry, a)).collect()
}

/// The sum of aligned networks, in f64.
///
/// It is made anew every round, so that what is added to it and taken from it again leaves at most one rounding per
/// network, far below what counts as a gain.
struct Sum<'a> {
    symmetry: &'a Symmetry,
    values: BTreeMap<&'a str, Vec<f64>>,
}

impl<'a> Sum<'a> {
    fn new(symmetry: &'a Symmetry, models: &[&Params], alignments: &[Alignment]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for name in floats(symmetry, models)? {
            let mut sum = vec![0.0; models[0].require(name)?.len()];
            for (model, alignment) in models.iter().zip(alignments) {
                add(&mut sum, &aligned(symmetry, model, alignment, name)?, 1.0);
            }
            values.insert(name, sum);
        }
        Ok(Self { symmetry, values })
    }

    /// Exchanges a network's alignment for another.
    fn realign(&mut self, model: &Params, from: &Alignment, to: &Alignment) -> Result<()> {
        for (name, sum) in &mut self.values {
            add(sum, &aligned(self.symmetry, model, from, name)?, -1.0);
            add(sum, &aligned(self.symmetry, model, to, name)?, 1.0);
        }
        Ok(())
    }

    /// The sum of all others as a network: what `model` has besides weights of the symmetry comes along.
    fn without(&self, model: &Params, alignment: &Alignment) -> Result<Params> {
        let mut others = model.clone();
        for (name, sum) in &self.values {
            let mut rest = sum.clone();
            add(&mut rest, &aligned(self.symmetry, model, alignment, name)?, -1.0);
            others.insert(*name, Tensor::from_f64(model.require(name)?.shape(), rest)?);
        }
        Ok(others)
    }
}
