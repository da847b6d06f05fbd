//! Weight matching over all kinds of groups: what is local under an anchor, before what everything touches.
//!
//! Coordinate ascent on `⟨A, g(B)⟩` where `g` permutes, turns, and changes signs. A group that stands nearly everywhere, as the
//! residual stream does, is not solved first: from an arbitrary start its best element fits the accidental pairing of all others, and
//! they then fit it. It begins with what stands beside fixed axes alone (embeddings, positions, the head), under which the others are
//! solved; then it is solved on everything, and so on.

mod pairing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::activation::{ActivationKind, ActivationSimilarity};
use super::ascent::{StopReason, Sweep};
use super::similarity::weight_grams;
use super::unfold::is_quadratic;
use crate::assignment::{Similarity, assign};
use crate::error::Result;
use crate::kinds::{Kind, Kinds, Motion, Turn};
use crate::params::Params;
use crate::perm::Perm;
use crate::symmetry::{Alignment, GroupId, Symmetry};
use crate::tensor::Tensor;
use pairing::best_with_families;

/// Which units are compared, and for how long.
///
/// ```
/// let usual = onebasin_core::matching::TurnedOptions::default();
/// assert_eq!((usual.max_sweeps, usual.anchor, usual.even), (30, 2.0, 1.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnedOptions {
    /// Sweeps over all groups at most.
    pub max_sweeps: usize,
    /// How much tensors count in which a group stands beside fixed axes alone, such as embeddings, where that group is solved.
    pub anchor: f64,
    /// How far tensors count alike where a stream is solved: at 0 by their sizes, at 1 all the same.
    pub even: f64,
}

impl Default for TurnedOptions {
    fn default() -> Self {
        Self { max_sweeps: 30, anchor: 2.0, even: 1.0 }
    }
}

/// What [`match_turned`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnedMatch {
    /// What brings B to A.
    pub motion: Motion,
    /// B, moved.
    pub moved: Params,
    /// `⟨A, B⟩` in the canonical form, over tensors that move.
    pub start: f64,
    /// The norms of both, multiplied: what makes a cosine of `⟨A, g(B)⟩`.
    pub size: f64,
    /// `⟨A, g(B)⟩` at the end.
    pub objective: f64,
    /// Every sweep, the anchor as number 0; what groups gained is as each is compared.
    pub sweeps: Vec<Sweep>,
    /// Why it ended.
    pub stop: StopReason,
}

/// A sweep that gains less than this share of everything is the last.
const LEAST_GAIN: f64 = 1e-7;

/// Finds what brings B nearest to A: `argmax ⟨A, g(B)⟩` over the elements `g` of all kinds, by coordinate ascent.
///
/// Both networks should be [`canonical`](mod@crate::canonical): where a gain is no 1, or a mean is left where nothing sees it, kinds
/// are smaller and products compare what does not count. `observe` is told every sweep; where it returns false, that sweep is the last.
///
/// Cost: per sweep one Gram for every group, `2 n · numel` flops for every tensor and axis where it stands, and for every group one
/// assignment or decomposition; for heads one decomposition for each pair of them.
///
/// # Errors
/// If the networks differ in structure, or lack a tensor of the symmetry.
///
/// Source: Ainsworth et al. 2023, Algorithm 1, generalised to kinds; the order is ours.
pub fn match_turned(
    kinds: &Kinds,
    a: &Params,
    b: &Params,
    options: &TurnedOptions,
    observe: &mut dyn FnMut(&Sweep) -> bool,
) -> Result<TurnedMatch> {
    a.check_same_structure(b)?;
    let mut state = State::new(kinds, a, b, options)?;
    let (everywhere, local): (Vec<GroupId>, Vec<GroupId>) =
        kinds.symmetry.roots().into_iter().partition(|id| state.is_everywhere(*id));
    let start = state.objective()?;
    let (mut sweeps, mut stop) = (Vec::new(), StopReason::SweepLimit);
    for sweep in 0..=options.max_sweeps {
        let mut told = Sweep { sweep, objective: 0.0, gain: 0.0, changed_groups: 0, solved_groups: 0 };
        let anchors = everywhere.iter().map(|id| (*id, sweep == 0));
        let order: Vec<(GroupId, bool)> =
            if sweep == 0 { anchors.collect() } else { local.iter().map(|id| (*id, false)).chain(anchors).collect() };
        told.solved_groups = order.len();
        for (id, anchored) in order {
            if let Some((motion, gain)) = state.better(id, anchored)? {
                state.act(&motion)?;
                told.gain += gain;
                told.changed_groups += 1;
            }
        }
        told.objective = state.objective()?;
        let (goes_on, settled) = (observe(&told), sweep > 0 && told.gain <= LEAST_GAIN * state.size);
        sweeps.push(told);
        if settled || !goes_on {
            stop = if settled { StopReason::Converged } else { StopReason::Interrupted };
            break;
        }
    }
    state.found(start, sweeps, stop)
}

/// Finds what brings B to A by what their units do: streams and units of hidden layers by activations, heads by weights under them.
///
/// `seen` is of `of`, the symmetry of the graph that ran; groups are found there by their names.
///
/// Formula: a stream by the products `E[y_A y_Bᵀ]` of what its norms give, hidden units by correlations, where units have signs by
/// their size; then each group with families as [`match_turned`] does, once.
///
/// Cost: one decomposition or assignment for every group, one Gram of weights for every group with families.
///
/// # Errors
/// Those of [`match_turned`], and of [`ActivationSimilarity::compared`].
pub fn match_turned_on(
    kinds: &Kinds,
    a: &Params,
    b: &Params,
    (of, seen): (&Symmetry, &ActivationSimilarity),
    options: &TurnedOptions,
) -> Result<TurnedMatch> {
    a.check_same_structure(b)?;
    let symmetry = &kinds.symmetry;
    let [products, correlations] =
        [ActivationKind::Uncentred, ActivationKind::Pearson].map(|kind| seen.compared(of, kind));
    let (products, correlations) = (products?, correlations?);
    let mut state = State::new(kinds, a, b, options)?;
    let start = state.objective()?;
    let (nested, leaves): (Vec<GroupId>, Vec<GroupId>) =
        symmetry.roots().into_iter().partition(|id| !symmetry.children(*id).is_empty());
    let mut changed = 0;
    for id in leaves {
        let compared = if kinds.kind(id).permutes() { &correlations } else { &products };
        let (n, name) = (symmetry.group(id).size, &symmetry.group(id).name);
        let Ok(own) = of.group_named(name) else { continue };
        let mut gram = vec![0.0; n * n];
        for part in compared.grams(own).iter().filter(|gram| gram.digits[..] == [own] && gram.lens[..] == [n]) {
            gram.iter_mut().zip(&part.data).for_each(|(sum, value)| *sum += value);
        }
        if gram.iter().all(|value| *value == 0.0) {
            continue;
        }
        let (plain, free) =
            if kinds.kind(id) == Kind::Signed { (vec![0.0; n * n], gram) } else { (gram, vec![0.0; n * n]) };
        if let Some((motion, _)) = state.best(id, &plain, &free)? {
            state.act(&motion)?;
            changed += 1;
        }
    }
    for id in nested {
        if let Some((motion, _)) = state.better(id, false)? {
            state.act(&motion)?;
            changed += 1;
        }
    }
    let objective = state.objective()?;
    let solved_groups = symmetry.roots().len();
    let sweep = Sweep { sweep: 1, objective, gain: objective - start, changed_groups: changed, solved_groups };
    state.found(start, vec![sweep], StopReason::Converged)
}

struct State<'a> {
    kinds: &'a Kinds,
    a: &'a Params,
    b: &'a Params,
    anchor: f64,
    /// A as it counts for streams: tensors divided by what both networks have there.
    even: Params,
    motion: Motion,
    moved: Params,
    /// Norms of both networks, multiplied: what a gain is measured against.
    size: f64,
}

impl<'a> State<'a> {
    fn new(kinds: &'a Kinds, a: &'a Params, b: &'a Params, options: &TurnedOptions) -> Result<Self> {
        let (mut even, mut sizes) = (a.clone(), [0.0; 2]);
        for name in kinds.symmetry.names() {
            let squares =
                |net: &Params| -> Result<f64> { Ok(net.require(name)?.to_f64()?.iter().map(|v| v * v).sum()) };
            let (own, other, tensor) = (squares(a)?, squares(b)?, a.require(name)?);
            sizes = [sizes[0] + own, sizes[1] + other];
            let size = (own * other).sqrt() / tensor.len().max(1) as f64;
            let uses = kinds.uses(name) as f64;
            if size > 0.0 {
                let values: Vec<f64> = tensor.to_f64()?.iter().map(|v| v * uses * size.powf(-options.even)).collect();
                even.insert(name, Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values)?);
            }
        }
        let (motion, moved, size) = (Motion::identity(kinds), b.clone(), (sizes[0] * sizes[1]).sqrt());
        Ok(Self { kinds, a, b, anchor: options.anchor, even, motion, moved, size })
    }

    fn found(self, start: f64, sweeps: Vec<Sweep>, stop: StopReason) -> Result<TurnedMatch> {
        let objective = self.objective()?;
        Ok(TurnedMatch { motion: self.motion, moved: self.moved, start, size: self.size, objective, sweeps, stop })
    }

    fn symmetry(&self) -> &'a Symmetry {
        &self.kinds.symmetry
    }

    /// Roots of a tensor.
    fn roots_of(&self, name: &str) -> BTreeSet<GroupId> {
        let Ok(layout) = self.symmetry().tensor(self.symmetry().standing(name)) else { return BTreeSet::new() };
        let digits = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
        digits.filter(|d| d.len > 1).filter_map(|d| d.group).map(|id| self.symmetry().root(id)).collect()
    }

    /// Whether a root shares tensors with more than two others: with more than what stands before and behind it.
    fn is_everywhere(&self, id: GroupId) -> bool {
        let all = self.symmetry().tensors().map(|(name, _)| self.roots_of(name)).filter(|roots| roots.contains(&id));
        all.flatten().collect::<BTreeSet<_>>().len() > 3
    }

    /// The tensors of a root that are kept; `keep` hears of each whether it is a table in which no other group stands.
    fn names(&self, id: GroupId, keep: impl Fn(&str, bool) -> bool) -> Symmetry {
        self.symmetry().restrict(|name| {
            let roots = self.roots_of(name);
            let table = self.symmetry().tensor(name).is_ok_and(|layout| layout.axes.len() > 1);
            roots.contains(&id) && keep(name, table && roots.len() == 1)
        })
    }

    fn grams(&self, id: GroupId, on: &Symmetry) -> Result<Vec<super::Gram>> {
        let a = if self.is_everywhere(id) { &self.even } else { self.a };
        let (a, moved) = (on.stacked(a)?, on.stacked(&self.moved)?);
        weight_grams(on, id, &Alignment::identity(self.symmetry()), &a, &moved)
    }

    /// The sum of the Grams of a root without families, tensors where it stands alone weighed.
    fn gram(&self, id: GroupId, n: usize, keep: impl Fn(&str) -> bool, anchored: bool) -> Result<Vec<f64>> {
        let mut sum = vec![0.0; n * n];
        for (alone, weight) in [(true, self.anchor), (false, 1.0)] {
            if anchored && !alone {
                continue;
            }
            for gram in self.grams(id, &self.names(id, |name, is_alone| keep(name) && is_alone == alone))? {
                sum.iter_mut().zip(&gram.data).for_each(|(s, g)| *s += weight * g);
            }
        }
        Ok(sum)
    }

    /// A better element of a root, and what it gains.
    fn better(&self, id: GroupId, anchored: bool) -> Result<Option<(Motion, f64)>> {
        let (symmetry, kind) = (self.symmetry(), self.kinds.kind(id));
        if !symmetry.children(id).is_empty() {
            let grams = self.grams(id, &self.names(id, |_, _| true))?;
            let current: f64 = grams.iter().map(trace).sum();
            let Some((motion, value)) = best_with_families(self.kinds, id, &grams)? else { return Ok(None) };
            return Ok(self.worth(motion, value - current));
        }
        let n = symmetry.group(id).size;
        let turned = |name: &str| self.kinds.side(id, name).is_some();
        let none = || vec![0.0; n * n];
        let (plain, free) = match kind {
            Kind::Still => return Ok(None),
            Kind::Permutation => (self.gram(id, n, |_| true, anchored)?, none()),
            Kind::Signed => (self.gram(id, n, |name| !turned(name), anchored)?, self.gram(id, n, turned, anchored)?),
            Kind::Orthogonal | Kind::Centred | Kind::Phases => (self.gram(id, n, turned, anchored)?, none()),
        };
        let Some((motion, value)) = self.best(id, &plain, &free)? else { return Ok(None) };
        let current: f64 = (0..n).map(|i| plain[i * n + i] + free[i * n + i]).sum();
        if kind.permutes() && self.is_quadratic(id) && self.value_with(&motion)? <= self.objective()? {
            return Ok(None);
        }
        Ok(self.worth(motion, value - current))
    }

    /// The best element of a group without families, and its value: `free` is the Gram of what changes its sign with a unit.
    fn best(&self, id: GroupId, plain: &[f64], free: &[f64]) -> Result<Option<(Motion, f64)>> {
        let (symmetry, kind) = (self.symmetry(), self.kinds.kind(id));
        let (n, mut motion) = (symmetry.group(id).size, Motion::identity(self.kinds));
        match kind {
            Kind::Still => Ok(None),
            Kind::Permutation | Kind::Signed => {
                let similarity = plain.iter().zip(free).map(|(p, f)| p + f.abs()).collect();
                let found = assign(&Similarity::new(n, similarity)?, None)?;
                if kind == Kind::Signed {
                    let sign = |i: usize| if free[i * n + found.perm.at(i)] < 0.0 { -1.0 } else { 1.0 };
                    motion.turns.insert(id, vec![Turn::Scales((0..n).map(sign).collect())]);
                }
                motion.alignment = with(symmetry, [(id, vec![found.perm])])?;
                Ok(Some((motion, found.value)))
            }
            Kind::Orthogonal | Kind::Centred | Kind::Phases => {
                let Some((turn, value)) = kind.best(plain, n) else { return Ok(None) };
                motion.turns.insert(id, vec![turn]);
                Ok(Some((motion, value)))
            }
        }
    }

    fn worth(&self, motion: Motion, gain: f64) -> Option<(Motion, f64)> {
        (gain > 1e-12 * self.size).then_some((motion, gain))
    }

    fn objective(&self) -> Result<f64> {
        self.value_of(&self.moved)
    }

    fn is_quadratic(&self, id: GroupId) -> bool {
        self.symmetry().tensors().any(|(_, layout)| is_quadratic(self.symmetry(), id, layout))
    }

    fn value_with(&self, motion: &Motion) -> Result<f64> {
        self.value_of(&motion.apply(self.kinds, &self.moved)?)
    }

    fn value_of(&self, moved: &Params) -> Result<f64> {
        let (a, moved) = (self.symmetry().stacked(self.a)?, self.symmetry().stacked(moved)?);
        super::objective(self.symmetry(), &Alignment::identity(self.symmetry()), &a, &moved)
    }

    /// Moves B on: always from where it was at first, so that rounding does not gather.
    fn act(&mut self, motion: &Motion) -> Result<()> {
        self.motion = motion.after(self.kinds, &self.motion);
        let groups: BTreeSet<GroupId> = (0..self.symmetry().groups().len())
            .map(GroupId)
            .filter(|id| motion.turns.contains_key(id) || !motion.alignment.copies(*id).iter().all(Perm::is_identity))
            .map(|id| self.symmetry().root(id))
            .collect();
        let touched: Vec<&str> =
            self.symmetry().names().filter(|name| !self.roots_of(name).is_disjoint(&groups)).collect();
        let mut moved = self.moved.clone();
        for name in touched {
            moved.insert(name, self.motion.moved(self.kinds, self.b, name)?);
        }
        self.moved = moved;
        Ok(())
    }
}

fn trace(gram: &super::Gram) -> f64 {
    let side: usize = gram.lens.iter().product();
    (0..side).map(|i| gram.data[i * side + i]).sum()
}

/// An alignment with these permutations, everything else staying.
fn with(symmetry: &Symmetry, perms: impl IntoIterator<Item = (GroupId, Vec<Perm>)>) -> Result<Alignment> {
    let mut alignment = Alignment::identity(symmetry);
    for (id, copies) in perms {
        alignment.set(id, copies);
    }
    alignment.check(symmetry)?;
    Ok(alignment)
}
