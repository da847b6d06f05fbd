//! Weight matching: the paper's Algorithm 1, coordinate ascent over the groups of any symmetry.

use serde::{Deserialize, Serialize};

use super::nested::{Element, best_element};
use super::similarity::{dot, is_quadratic, objective, tensor_objective, weight_grams};
use crate::error::Result;
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// How to match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchOptions {
    /// Decides the order of groups in every sweep.
    pub seed: u64,
    /// Stop after this many sweeps even if groups still change.
    pub max_sweeps: usize,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self { seed: 0, max_sweeps: 100 }
    }
}

/// Why matching stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// No group can be improved while the others stay.
    Converged,
    /// The limit of sweeps was reached.
    SweepLimit,
    /// The observer asked to stop.
    Interrupted,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Converged => "converged: no group can be improved while the others stay",
            Self::SweepLimit => "stopped at the limit of sweeps",
            Self::Interrupted => "interrupted",
        })
    }
}

/// What one sweep did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Number of the sweep, from 1.
    pub sweep: usize,
    /// `⟨A, π(B)⟩` after it.
    pub objective: f64,
    /// How much the objective rose.
    pub gain: f64,
    /// Groups (with their families) whose permutations changed.
    pub changed_groups: usize,
    /// Groups solved; the others were skipped because nothing they depend on had changed.
    pub solved_groups: usize,
}

/// An alignment, how it was found, and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The alignment that carries B into A's basin.
    pub alignment: Alignment,
    /// `⟨A, π(B)⟩` at the start.
    pub start_objective: f64,
    /// `⟨A, π(B)⟩` at the end; never below the start.
    pub objective: f64,
    /// One record per sweep.
    pub sweeps: Vec<Sweep>,
    /// Why it stopped.
    pub stop: StopReason,
}

/// Finds the alignment of B with A by coordinate ascent on `⟨A, π(B)⟩` (equivalently, descent on the L2 distance).
///
/// With all groups but one held, the objective is linear in that group's permutation, so its best value is a linear
/// assignment; sweeps over the groups in seeded random order go on until no group improves.
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
    a.check_same_structure(b)?;
    a.check_finite()?;
    b.check_finite()?;
    let start = start.cloned().unwrap_or_else(|| Alignment::identity(symmetry));
    let start_objective = objective(symmetry, &start, a, b)?;
    let roots = roots(symmetry, a, b)?;
    let mut alignment = start.clone();
    let mut stale = vec![true; roots.len()];
    let mut sweeps = Vec::new();
    let mut reached = start_objective;
    let mut stop = StopReason::SweepLimit;
    for sweep in 1..=options.max_sweeps {
        let order = Stream::new(options.seed, &format!("order/{sweep}")).permutation(roots.len());
        let (mut changed_groups, mut solved_groups) = (0, 0);
        for k in (0..roots.len()).map(|i| order.at(i)) {
            if !std::mem::replace(&mut stale[k], false) {
                continue;
            }
            solved_groups += 1;
            if update(symmetry, a, b, &roots[k], &mut alignment)? {
                changed_groups += 1;
                roots[k].neighbours.iter().for_each(|&other| stale[other] = true);
            }
        }
        let now = objective(symmetry, &alignment, a, b)?;
        let record = Sweep { sweep, objective: now, gain: now - reached, changed_groups, solved_groups };
        reached = now;
        let go_on = observe(&record);
        sweeps.push(record);
        if !stale.contains(&true) {
            stop = StopReason::Converged;
            break;
        }
        if !go_on {
            stop = StopReason::Interrupted;
            break;
        }
    }
    if reached < start_objective {
        (alignment, reached) = (start, start_objective);
    }
    Ok(Match { alignment, start_objective, objective: reached, sweeps, stop })
}

/// A root group as the schedule sees it.
struct Root<'a> {
    id: GroupId,
    /// Tensors it stands in.
    tensors: Vec<&'a str>,
    /// Roots whose similarity depends on this one (itself, if quadratic).
    neighbours: Vec<usize>,
    quadratic: bool,
    /// A gain below this is rounding.
    tolerance: f64,
}

fn roots<'a>(symmetry: &'a Symmetry, a: &Params, b: &Params) -> Result<Vec<Root<'a>>> {
    let mut roots = Vec::new();
    for id in symmetry.roots() {
        let mut root = Root { id, tensors: Vec::new(), neighbours: Vec::new(), quadratic: false, tolerance: 0.0 };
        for (name, layout) in symmetry.tensors() {
            let mut groups = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
            let float = a.require(name)?.dtype().is_float();
            if float && groups.any(|d| d.group.is_some_and(|g| symmetry.root(g) == id)) {
                let (va, vb) = (a.require(name)?.to_f64()?, b.require(name)?.to_f64()?);
                root.tolerance += 64.0 * f64::EPSILON * (dot(&va, &va) * dot(&vb, &vb)).sqrt();
                root.quadratic |= is_quadratic(symmetry, id, layout);
                root.tensors.push(name);
            }
        }
        roots.push(root);
    }
    let shares = |i: usize, j: usize| roots[i].tensors.iter().any(|t| roots[j].tensors.contains(t));
    let neighbours: Vec<Vec<usize>> = (0..roots.len())
        .map(|i| (0..roots.len()).filter(|&j| if i == j { roots[i].quadratic } else { shares(i, j) }).collect())
        .collect();
    roots.iter_mut().zip(neighbours).for_each(|(root, n)| root.neighbours = n);
    Ok(roots)
}

/// Solves one root with its families; whether it changed.
fn update(symmetry: &Symmetry, a: &Params, b: &Params, root: &Root<'_>, alignment: &mut Alignment) -> Result<bool> {
    let grams = weight_grams(symmetry, root.id, alignment, a, b)?;
    let current = Element::of(symmetry, alignment, root.id);
    let best = best_element(symmetry, root.id, &grams, &current)?;
    if best.element == current {
        return Ok(false);
    }
    let mut candidate = alignment.clone();
    best.element.store(&mut candidate, root.id);
    let gain = if root.quadratic {
        tensor_objective(symmetry, &candidate, a, b, &root.tensors)?
            - tensor_objective(symmetry, alignment, a, b, &root.tensors)?
    } else {
        best.value - best.current
    };
    let accepted = gain > root.tolerance;
    if accepted {
        *alignment = candidate;
    }
    Ok(accepted)
}
