//! Weight matching over all kinds of groups: what is local under an anchor, before what everything touches.
//!
//! Coordinate ascent on `⟨A, g(B)⟩` where `g` permutes, turns, and changes signs. A group that stands nearly everywhere, as the
//! residual stream does, is not solved first: from an arbitrary start its best element fits the accidental pairing of all others, and
//! they then fit it. It begins with what stands beside fixed axes alone (embeddings, positions, the head), under which the others are
//! solved; then it is solved on everything, and so on.

mod pairing;
mod part;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::activation::{ActivationKind, ActivationSimilarity};
use super::ascent::{StopReason, Sweep};
use crate::error::Result;
use crate::kinds::{Kind, Kinds, Motion};
use crate::params::Params;
use crate::perm::Perm;
use crate::symmetry::{Alignment, GroupId, Symmetry};
pub use part::Everywhere;
use part::{PairPart, Pairs, Sums, best_alone, weight};
use parts::{Held, everywhere, in_parts, roots_of};
pub use parts::{Part, Reading, named, parts};

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
    /// `⟨A, B⟩` in the canonical form, over tensors that move.
    pub start: f64,
    /// The norms of both, multiplied: what makes a cosine of `⟨A, g(B)⟩`.
    pub size: f64,
    /// `⟨A, g(B)⟩` at the end.
    pub objective: f64,
    /// Every sweep, the anchor as number 0, whose value is that of the tables alone; what groups gained is as each is compared.
    pub sweeps: Vec<Sweep>,
    /// Why it ended.
    pub stop: StopReason,
}

/// How far a match has come: enough to go on from.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnedState {
    /// What moves B so far.
    pub motion: Motion,
    /// Sweeps that are done.
    pub sweeps: Vec<Sweep>,
    /// Parts of the next one that are done.
    pub parts: usize,
    /// What was found on the way.
    pub numbers: TurnedNumbers,
    /// What these parts say of groups that stand everywhere.
    pub sums: BTreeMap<GroupId, Everywhere>,
}

/// Numbers of a [`TurnedState`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TurnedNumbers {
    /// `⟨A, B⟩` over the parts of the first sweep.
    pub start: f64,
    /// Sums of squares over them.
    pub squares: [f64; 2],
    /// The value of tensors without groups that stand everywhere, of this sweep.
    pub value: f64,
    /// What groups gained in this sweep.
    pub gain: f64,
    /// Groups that changed in it.
    pub changed: usize,
}

/// What is told of a match on its way.
pub enum TurnedTold<'a> {
    /// So many parts of the sweep of this number, of all, are done.
    Part(usize, usize, usize, &'a TurnedState),
    /// A sweep is done.
    Sweep(&'a Sweep),
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
    match_by_parts(kinds, &Held([a, b]), options, None, &mut |told| match told {
        TurnedTold::Part(..) => Ok(true),
        TurnedTold::Sweep(sweep) => Ok(observe(sweep)),
    })
}

/// The same, of networks that are read part by part: tensors with a group that stands nowhere else are one part, such as the
/// feed-forward of a layer. A sweep reads every part once; what one stream or another needs of it is summed on the way.
///
/// Goes on from a state that it told of. Where `observe` returns false it stops, and what it found so far is the result.
///
/// Cost: as [`match_turned`]; memory is that of the largest part, moved, with its Grams, and four Grams of every group that stands
/// everywhere.
///
/// # Errors
/// Those of reading, and of `observe`.
pub fn match_by_parts(
    kinds: &Kinds,
    reading: &dyn Reading,
    options: &TurnedOptions,
    from: Option<TurnedState>,
    observe: &mut dyn FnMut(TurnedTold<'_>) -> Result<bool>,
) -> Result<TurnedMatch> {
    let everywhere = everywhere(&kinds.symmetry);
    let ascent = Ascent { kinds, options, reading, batches: batches(kinds, &everywhere), everywhere };
    let all = in_parts(kinds, &ascent.everywhere, &reading.together());
    let fresh = || TurnedState {
        motion: Motion::identity(kinds),
        sweeps: Vec::new(),
        parts: 0,
        numbers: TurnedNumbers::default(),
        sums: Sums::new(),
    };
    let mut state = from.unwrap_or_else(fresh);
    let mut stop = StopReason::SweepLimit;
    'sweeps: while state.sweeps.len() <= options.max_sweeps {
        let sweep = state.sweeps.len();
        for (k, part) in all.iter().enumerate().skip(state.parts) {
            ascent.part(&mut state, part)?;
            state.parts = k + 1;
            if !observe(TurnedTold::Part(k + 1, all.len(), sweep, &state))? {
                stop = StopReason::Interrupted;
                break 'sweeps;
            }
        }
        let told = ascent.streams(&mut state, &all)?;
        let settled = sweep > 0 && told.gain <= LEAST_GAIN * size(&state);
        let goes_on = observe(TurnedTold::Sweep(&told))?;
        state.sweeps.push(told);
        if settled || !goes_on {
            stop = if settled { StopReason::Converged } else { StopReason::Interrupted };
            break;
        }
    }
    let objective = state.sweeps.last().map_or(0.0, |sweep| sweep.objective);
    let (start, size) = (state.numbers.start, size(&state));
    Ok(TurnedMatch { motion: state.motion, start, size, objective, sweeps: state.sweeps, stop })
}

/// Finds what brings B to A by what their units do: streams and units of hidden layers by activations, heads by weights under them.
///
/// `seen` is of `of`, the symmetry of the graph that ran; groups are found there by their names.
///
/// Formula: a stream by the products `E[y_A y_Bᵀ]` of what its norms give, hidden units by correlations, where units have signs by
/// their size; then each group with families as [`match_turned`] does, once.
///
/// Cost: one decomposition or assignment for every group, one Gram of weights for every group with families, or that stands everywhere.
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
    let has_families = |id: &GroupId| !symmetry.children(*id).is_empty();
    let mut motion = Motion::identity(kinds);
    let mut changed = 0;
    for id in symmetry.roots().into_iter().filter(|id| !has_families(id)) {
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
        let is_signed = kinds.kind(id) == Kind::Signed;
        let pairs = if is_signed { Pairs::signed(n, gram, |_| Ok(()))? } else { Pairs::of(n, gram) };
        if let Some((best, _)) = best_alone(kinds, id, pairs)? {
            motion = best.after(kinds, &motion);
            changed += 1;
        }
    }
    let everywhere = everywhere(symmetry);
    let held = Held([a, b]);
    let ascent = Ascent { kinds, options, reading: &held, batches: batches(kinds, &everywhere), everywhere };
    let first = ascent.batches.first().cloned().unwrap_or_default();
    let (mut sums, mut numbers) = (Sums::new(), TurnedNumbers::default());
    for part in in_parts(kinds, &ascent.everywhere, &[]) {
        let before = motion.clone();
        let found = ascent.gather(&before, &part, &first, (false, true), &mut sums, |held| {
            for id in part.local.iter().filter(|id| has_families(id)) {
                if let Some((better, _)) = held.better(*id)? {
                    held.act(&better)?;
                    motion = better.after(kinds, &motion);
                    changed += 1;
                }
            }
            Ok(())
        })?;
        numbers.value += found.value;
        numbers.start += found.start;
        (0..2).for_each(|k| numbers.squares[k] += found.squares[k]);
    }
    let still = Motion::identity(kinds);
    let mut objective = numbers.value;
    for (id, own) in &sums {
        let better = if has_families(id) { own.better(kinds, *id, own.size())? } else { None };
        objective += own.value(*id, better.as_ref().map_or(&still, |(better, _)| better));
        if let Some((better, _)) = better {
            motion = better.after(kinds, &motion);
            changed += 1;
        }
    }
    let (start, size) = (numbers.start, (numbers.squares[0] * numbers.squares[1]).sqrt());
    let solved_groups = symmetry.roots().len();
    let sweep = Sweep { sweep: 1, objective, gain: objective - start, changed_groups: changed, solved_groups };
    Ok(TurnedMatch { motion, start, size, objective, sweeps: vec![sweep], stop: StopReason::Converged })
}

/// The norms of both networks, multiplied.
fn size(state: &TurnedState) -> f64 {
    (state.numbers.squares[0] * state.numbers.squares[1]).sqrt()
}

/// Groups that stand everywhere, those together that no tensor has both of: each is solved as the others stand.
fn batches(kinds: &Kinds, everywhere: &BTreeSet<GroupId>) -> Vec<BTreeSet<GroupId>> {
    let symmetry = &kinds.symmetry;
    let met: Vec<BTreeSet<GroupId>> = symmetry.tensors().map(|(name, _)| roots_of(symmetry, name)).collect();
    let mut found: Vec<BTreeSet<GroupId>> = Vec::new();
    for id in everywhere {
        let meets = |batch: &BTreeSet<GroupId>| met.iter().any(|r| r.contains(id) && !r.is_disjoint(batch));
        match found.iter_mut().find(|batch| !meets(batch)) {
            Some(batch) => {
                batch.insert(*id);
            }
            None => found.push(BTreeSet::from([*id])),
        }
    }
    found
}

/// What does not change on the way.
struct Ascent<'a> {
    kinds: &'a Kinds,
    options: &'a TurnedOptions,
    reading: &'a dyn Reading,
    everywhere: BTreeSet<GroupId>,
    batches: Vec<BTreeSet<GroupId>>,
}

impl Ascent<'_> {
    /// Reads a part, or some rows of it.
    fn read(
        &self,
        motion: &Motion,
        part: &Part,
        rows: Option<&Range<usize>>,
        measured: &dyn Fn(&str) -> bool,
    ) -> Result<PairPart<'_>> {
        let symmetry = &self.kinds.symmetry;
        let on = symmetry.restrict(|name| part.names.iter().any(|own| own == symmetry.standing(name)));
        let members: Vec<String> = on.names().map(str::to_owned).collect();
        let ends = self.reading.read(&members, rows.cloned())?;
        let on = match (rows, part.table()) {
            (Some(rows), Some(table)) => on.with_rows(table, rows.len()),
            (None, _) | (Some(_), None) => on,
        };
        PairPart::new(self.kinds, &on, motion, ends, measured)
    }

    /// Whether a tensor is a table in which a stream stands and nothing else: what it is anchored on.
    fn is_anchor(&self, name: &str) -> bool {
        let roots = roots_of(&self.kinds.symmetry, name);
        let is_table = self.kinds.symmetry.tensor(name).is_ok_and(|layout| layout.axes.len() > 1);
        is_table && roots.len() == 1 && roots.is_subset(&self.everywhere)
    }

    /// Solves what is local to a part, and adds what it says of the first groups that stand everywhere. The first sweep, which looks for
    /// the anchor, looks at tables alone.
    fn part(&self, state: &mut TurnedState, part: &Part) -> Result<()> {
        let TurnedState { motion, sweeps, numbers, sums, .. } = state;
        let first = self.batches.first().cloned().unwrap_or_default();
        let (measured, start) = (sweeps.len() == 1, motion.clone());
        let local = |held: &mut PairPart<'_>| {
            for id in part.local.iter().filter(|_| !sweeps.is_empty()) {
                if let Some((better, gain)) = held.better(*id)? {
                    held.act(&better)?;
                    *motion = better.after(self.kinds, motion);
                    numbers.gain += gain;
                    numbers.changed += 1;
                }
            }
            Ok(())
        };
        let seen = self.gather(&start, part, &first, (sweeps.is_empty(), measured), sums, local)?;
        numbers.value += seen.value;
        numbers.start += seen.start;
        (0..2).for_each(|k| numbers.squares[k] += seen.squares[k]);
        Ok(())
    }

    /// Reads a part, does something to it, and adds its Grams of some groups that stand everywhere.
    fn gather(
        &self,
        motion: &Motion,
        part: &Part,
        groups: &BTreeSet<GroupId>,
        (anchors, measured): (bool, bool),
        sums: &mut Sums,
        mut local: impl FnMut(&mut PairPart<'_>) -> Result<()>,
    ) -> Result<TurnedNumbers> {
        let mut seen = TurnedNumbers::default();
        if anchors && !part.names.iter().any(|name| self.is_anchor(name)) {
            return Ok(seen);
        }
        let (mut table, mut table_sizes) = (Sums::new(), ([0.0; 2], 0));
        for (run, rows) in part.rows.iter().enumerate() {
            let in_runs = |name: &str| rows.is_some() && part.table() == Some(name);
            let counts = |name: &str| (run == 0 || in_runs(name)) && (!anchors || self.is_anchor(name));
            let mut held = self.read(motion, part, rows.as_ref(), &|name| measured && counts(name))?;
            local(&mut held)?;
            seen.start += held.start;
            (0..2).for_each(|k| seen.squares[k] += held.squares[k]);
            let roots = |name: &str| roots_of(&self.kinds.symmetry, name);
            seen.value += held.value(|name| counts(name) && roots(name).is_disjoint(groups))?;
            for name in held.names().filter(|name| counts(name) && held.is_float(name)) {
                for id in roots(name).intersection(groups) {
                    let (grams, (squares, len)) = (held.grams_in(*id, name)?, held.sizes(name)?);
                    let is_turned = self.kinds.side(*id, name).is_some();
                    if in_runs(name) {
                        (0..2).for_each(|k| table_sizes.0[k] += squares[k]);
                        table_sizes.1 += len;
                        table.entry(*id).or_default().add(&grams, 1.0, is_turned);
                    } else {
                        let weight = weight(self.kinds, self.options, name, squares, len);
                        sums.entry(*id).or_default().add(&grams, weight, is_turned);
                    }
                }
            }
        }
        if let Some(name) = part.table() {
            let weight = weight(self.kinds, self.options, name, table_sizes.0, table_sizes.1);
            for (id, own) in &table {
                sums.entry(*id).or_default().include(own, weight);
            }
        }
        Ok(seen)
    }

    /// Solves the groups that stand everywhere, and ends the sweep.
    fn streams(&self, state: &mut TurnedState, all: &[Part]) -> Result<Sweep> {
        let (sweep, anchors) = (state.sweeps.len(), state.sweeps.is_empty());
        let TurnedNumbers { mut value, mut gain, mut changed, .. } = state.numbers;
        let mut sums = std::mem::take(&mut state.sums);
        for (k, batch) in self.batches.iter().enumerate() {
            if k > 0 {
                sums = Sums::new();
                for part in all {
                    self.gather(&state.motion, part, batch, (anchors, false), &mut sums, |_| Ok(()))?;
                }
            }
            for (id, own) in batch.iter().filter_map(|id| Some((*id, sums.get(id)?))) {
                let size = own.size();
                let better = own.better(self.kinds, id, size)?;
                let still = Motion::identity(self.kinds);
                if k == 0 {
                    value += own.value(id, better.as_ref().map_or(&still, |(motion, _)| motion));
                }
                if let Some((motion, more)) = better {
                    state.motion = motion.after(self.kinds, &state.motion);
                    gain += more;
                    changed += 1;
                }
            }
        }
        let local: usize = if anchors { 0 } else { all.iter().map(|part| part.local.len()).sum() };
        state.parts = 0;
        (state.numbers.value, state.numbers.gain, state.numbers.changed) = (0.0, 0.0, 0);
        let solved_groups = local + self.everywhere.len();
        Ok(Sweep { sweep, objective: value, gain, changed_groups: changed, solved_groups })
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
