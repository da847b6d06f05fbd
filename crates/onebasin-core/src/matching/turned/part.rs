//! One part of two networks: its groups solved, and what it says of groups that stand everywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::pairing::best_with_families;
use super::parts::roots_of;
use super::{TurnedOptions, trace, with};
use crate::assignment::{Similarity, assign};
use crate::error::Result;
use crate::kinds::{Kind, Kinds, Motion, Turn};
use crate::matching::objective::tensor_objective;
use crate::matching::similarity::{Gram, add_weight_grams, weight_grams};
use crate::matching::unfold::is_quadratic;
use crate::params::Params;
use crate::perm::Perm;
use crate::symmetry::{Alignment, GroupId, Symmetry, TensorLayout};

/// Tensors of both networks, B as it is moved.
pub(super) struct PairPart<'k> {
    pub(super) kinds: &'k Kinds,
    /// Their layouts; of a table of which some rows are held, these.
    symmetry: Symmetry,
    still: Alignment,
    a: Params,
    moved: Params,
    /// `⟨A, B⟩` over tensors that move, before B is moved, and sums of squares, both of tensors that were to be measured.
    pub(super) start: f64,
    pub(super) squares: [f64; 2],
    /// Norms of all, multiplied: what a gain is measured against.
    size: f64,
}

/// A better element of a group, and what it gains.
pub(super) type Better = Option<(Motion, f64)>;

impl<'k> PairPart<'k> {
    /// Tensors of A and of B by their names in the symmetry, B to be moved; `measured` says of which products and squares are told.
    pub(super) fn new(
        kinds: &'k Kinds,
        symmetry: &Symmetry,
        motion: &Motion,
        [a, b]: [Params; 2],
        measured: &dyn Fn(&str) -> bool,
    ) -> Result<Self> {
        let still = Alignment::identity(symmetry);
        let (mut squares, mut all) = ([0.0; 2], [0.0; 2]);
        for name in symmetry.names() {
            for (k, net) in [&a, &b].into_iter().enumerate() {
                let own = net.require(name)?;
                let own = if own.dtype().is_float() { own.squares()? } else { 0.0 };
                all[k] += own;
                let standing = symmetry.standing(name);
                let counts = measured(standing) && symmetry.tensor(standing).is_ok_and(TensorLayout::moves);
                squares[k] += if counts { own } else { 0.0 };
            }
        }
        let a = symmetry.stacked(&a)?.into_owned();
        let moves = symmetry.tensors().filter(|(name, layout)| layout.moves() && measured(name));
        let moves: Vec<&str> = moves.map(|(name, _)| name).collect();
        let start = if moves.is_empty() {
            0.0
        } else {
            let b = symmetry.stacked(&b)?;
            tensor_objective(symmetry, &still, &a, &b, &moves)?
        };
        let moved = symmetry.names().map(|name| Ok((name.to_owned(), motion.moved_in(kinds, symmetry, &b, name)?)));
        let moved = moved.collect::<Result<Params>>()?;
        drop(b);
        let moved = symmetry.stacked(&moved)?.into_owned();
        let size = (all[0] * all[1]).sqrt();
        Ok(Self { kinds, symmetry: symmetry.clone(), still, a, moved, start, squares, size })
    }

    /// The names of its tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.symmetry.tensors().map(|(name, _)| name)
    }

    /// `⟨A, B⟩` as B is moved now, over tensors that move and that `keep` says.
    pub(super) fn value(&self, keep: impl Fn(&str) -> bool) -> Result<f64> {
        let tensors = self.symmetry.tensors().filter(|(name, layout)| layout.moves() && keep(name));
        let names: Vec<&str> = tensors.map(|(name, _)| name).collect();
        tensor_objective(&self.symmetry, &self.still, &self.a, &self.moved, &names)
    }

    /// Moves B on.
    pub(super) fn act(&mut self, motion: &Motion) -> Result<()> {
        let groups: BTreeSet<GroupId> = (0..self.symmetry.groups().len())
            .map(GroupId)
            .filter(|id| motion.turns.contains_key(id) || !motion.alignment.copies(*id).iter().all(Perm::is_identity))
            .map(|id| self.symmetry.root(id))
            .collect();
        let names: Vec<&str> = self.symmetry.tensors().map(|(name, _)| name).collect();
        for name in names.into_iter().filter(|name| !roots_of(&self.symmetry, name).is_disjoint(&groups)) {
            let tensor = motion.moved_as_one(self.kinds, &self.symmetry, name, self.moved.require(name)?)?;
            self.moved.insert(name, tensor);
        }
        Ok(())
    }

    /// A better element of a group that stands nowhere else.
    pub(super) fn better(&self, id: GroupId) -> Result<Better> {
        let turned = |name: &str| self.kinds.side(id, name).is_some();
        if !self.symmetry.children(id).is_empty() {
            return better_with_families(self.kinds, id, &self.grams(id, |_| true)?, self.size);
        }
        let kind = self.kinds.kind(id);
        if kind == Kind::Still {
            return Ok(None);
        }
        let n = self.symmetry.group(id).size;
        let sum = |keep: &dyn Fn(&str) -> bool| -> Result<_> { Ok(summed(self.grams(id, keep)?)) };
        let pairs = match kind {
            Kind::Still => return Ok(None),
            Kind::Permutation => sum(&|_| true)?.map(|all| Pairs::of(n, all)),
            Kind::Signed => match sum(&turned)? {
                Some(free) => Some(Pairs::signed(n, free, |pairs| self.add_grams(id, |name| !turned(name), pairs))?),
                None => sum(&|_| true)?.map(|all| Pairs::of(n, all)),
            },
            Kind::Orthogonal | Kind::Centred | Kind::Phases => sum(&turned)?.map(|free| Pairs::of(n, free)),
        };
        let found = better_alone(self.kinds, id, pairs, self.size)?;
        let quadratic = || self.symmetry.tensors().any(|(_, layout)| is_quadratic(&self.symmetry, id, layout));
        match found {
            Some((motion, _)) if kind.permutes() && quadratic() && !self.gains(id, &motion)? => Ok(None),
            found => Ok(found),
        }
    }

    /// Whether the value of a part grows where a group stands several times in one entry, so that its Gram depends on itself.
    fn gains(&self, id: GroupId, motion: &Motion) -> Result<bool> {
        let names = self.symmetry.tensors().map(|(name, _)| name);
        let names: Vec<&str> = names.filter(|name| roots_of(&self.symmetry, name).contains(&id)).collect();
        let of = |moved: &Params| tensor_objective(&self.symmetry, &self.still, &self.a, moved, &names);
        let moved = |name: &&str| {
            let tensor = motion.moved_as_one(self.kinds, &self.symmetry, name, self.moved.require(name)?)?;
            Ok(((*name).to_owned(), tensor))
        };
        Ok(of(&names.iter().map(moved).collect::<Result<_>>()?)? > of(&self.moved)?)
    }

    /// The Grams of a group in one tensor.
    pub(super) fn grams_in(&self, id: GroupId, name: &str) -> Result<Vec<Gram>> {
        self.grams(id, |other| other == name)
    }

    /// Sums of squares of a tensor in A and as B is moved, and how many numbers it has.
    pub(super) fn sizes(&self, name: &str) -> Result<([f64; 2], usize)> {
        let (a, b) = (self.a.require(name)?, self.moved.require(name)?);
        Ok(([a.squares()?, b.squares()?], a.len()))
    }

    /// Whether a tensor is of floating-point numbers.
    pub(super) fn is_float(&self, name: &str) -> bool {
        self.a.get(name).is_some_and(|tensor| tensor.dtype().is_float())
    }

    fn grams(&self, id: GroupId, keep: impl Fn(&str) -> bool) -> Result<Vec<Gram>> {
        weight_grams(&self.on(id, keep), id, &self.still, &self.a, &self.moved)
    }

    /// Adds what more tensors say of a group without families.
    fn add_grams(&self, id: GroupId, keep: impl Fn(&str) -> bool, values: &mut Vec<f64>) -> Result<()> {
        let lens = vec![self.symmetry.group(id).size];
        let mut sum = Gram { digits: vec![id], lens, data: std::mem::take(values) };
        add_weight_grams(&self.on(id, keep), id, &self.still, [&self.a, &self.moved], std::slice::from_mut(&mut sum))?;
        *values = sum.data;
        Ok(())
    }

    /// The symmetry of the tensors in which a group stands.
    fn on(&self, id: GroupId, keep: impl Fn(&str) -> bool) -> Symmetry {
        let stands: BTreeSet<String> = self
            .symmetry
            .tensors()
            .map(|(name, _)| name)
            .filter(|name| keep(name) && roots_of(&self.symmetry, name).contains(&id))
            .map(str::to_owned)
            .collect();
        self.symmetry.restrict(|name| stands.contains(self.symmetry.standing(name)))
    }
}

/// What all tensors together say of a group that stands everywhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Everywhere {
    /// Grams of tensors in which its units are only permuted, and of those in which they are turned, as tensors count where the group
    /// is solved.
    pub counted: [Vec<Gram>; 2],
    /// The same as tensors are.
    pub plain: [Vec<Gram>; 2],
}

impl Everywhere {
    /// Adds the Grams of a tensor, in which units are turned or not, and which counts so much.
    pub(super) fn add(&mut self, grams: &[Gram], weight: f64, is_turned: bool) {
        let at = usize::from(is_turned);
        add(&mut self.counted[at], grams, weight);
        add(&mut self.plain[at], grams, 1.0);
    }

    /// Adds those of a tensor that was gathered in runs.
    pub(super) fn include(&mut self, table: &Self, weight: f64) {
        for at in 0..2 {
            add(&mut self.counted[at], &table.plain[at], weight);
            add(&mut self.plain[at], &table.plain[at], 1.0);
        }
    }

    /// What a gain is measured against: the size of what is counted.
    pub(super) fn size(&self) -> f64 {
        let grams = self.counted.iter().flatten();
        grams.map(|gram| gram.data.iter().map(|g| g * g).sum::<f64>()).sum::<f64>().sqrt()
    }

    /// A better element of its group, and what it gains.
    pub(super) fn better(&self, kinds: &Kinds, id: GroupId, size: f64) -> Result<Better> {
        let [plain, free] = &self.counted;
        if !kinds.symmetry.children(id).is_empty() {
            return better_with_families(kinds, id, &[&plain[..], &free[..]].concat(), size);
        }
        let n = kinds.symmetry.group(id).size;
        let [plain, free] = [plain, free].map(|grams| summed(grams.clone()));
        let pairs = match kinds.kind(id) {
            Kind::Still => return Ok(None),
            Kind::Permutation | Kind::Signed => match free {
                Some(free) => {
                    let add = |sum: &mut Vec<f64>| {
                        sum.iter_mut().zip(plain.iter().flatten()).for_each(|(s, p)| *s += p);
                        Ok(())
                    };
                    Some(Pairs::signed(n, free, add)?)
                }
                None => plain.map(|plain| Pairs::of(n, plain)),
            },
            Kind::Orthogonal | Kind::Centred | Kind::Phases => free.map(|free| Pairs::of(n, free)),
        };
        better_alone(kinds, id, pairs, size)
    }

    /// The value of these tensors where the group is moved by an element.
    pub(super) fn value(&self, id: GroupId, motion: &Motion) -> f64 {
        let perm = &motion.alignment.copies(id)[0];
        let turn = motion.turns.get(&id).and_then(|copies| copies.first());
        let of = |gram: &Gram, is_turned: bool| -> f64 {
            let side: usize = gram.lens.iter().product();
            match turn.filter(|_| is_turned) {
                _ if gram.digits.len() > 1 => trace(gram),
                None => (0..side).map(|i| gram.data[i * side + perm.at(i)]).sum(),
                Some(Turn::Scales(scales)) => (0..side).map(|i| scales[i] * gram.data[i * side + perm.at(i)]).sum(),
                Some(turn @ (Turn::Phases(_) | Turn::Matrix { .. })) => {
                    turn.matrix(crate::kinds::Side::Along).iter().zip(&gram.data).map(|(t, g)| t * g).sum()
                }
            }
        };
        let [plain, turned] = &self.plain;
        plain.iter().map(|gram| of(gram, false)).sum::<f64>() + turned.iter().map(|gram| of(gram, true)).sum::<f64>()
    }
}

fn add(sums: &mut Vec<Gram>, grams: &[Gram], weight: f64) {
    for gram in grams {
        match sums.iter_mut().find(|sum| sum.digits == gram.digits) {
            Some(sum) => sum.data.iter_mut().zip(&gram.data).for_each(|(s, g)| *s += weight * g),
            None => sums.push(Gram { data: gram.data.iter().map(|g| weight * g).collect(), ..gram.clone() }),
        }
    }
}

/// The sum of Grams over the same units; none where there are none.
fn summed(grams: Vec<Gram>) -> Option<Vec<f64>> {
    let mut all = grams.into_iter();
    let mut first = all.next()?.data;
    for gram in all {
        first.iter_mut().zip(&gram.data).for_each(|(s, g)| *s += g);
    }
    Some(first)
}

fn worth(motion: Motion, gain: f64, size: f64) -> Better {
    (gain > 1e-12 * size).then_some((motion, gain))
}

fn better_with_families(kinds: &Kinds, id: GroupId, grams: &[Gram], size: f64) -> Result<Better> {
    let current: f64 = grams.iter().map(trace).sum();
    let Some((motion, value)) = best_with_families(kinds, id, grams)? else { return Ok(None) };
    Ok(worth(motion, value - current, size))
}

/// Inner products of pairs of units of a group without families, `[n, n]`.
///
/// There is one square of them whatever the kind: of many units, a second would not fit beside it.
pub(super) struct Pairs {
    values: Vec<f64>,
    /// Where units change their signs: of which pairs one does, the values being of that.
    flipped: Option<Vec<bool>>,
    /// The value of the units as they stand.
    still: f64,
}

impl Pairs {
    /// Of units without signs.
    pub(super) fn of(n: usize, values: Vec<f64>) -> Self {
        let still = diagonal(n, &values);
        Self { values, flipped: None, still }
    }

    /// Of units with signs: `free` is of what changes its sign with a unit, and `add` adds what does not.
    ///
    /// # Errors
    /// Those of `add`.
    pub(super) fn signed(n: usize, mut free: Vec<f64>, add: impl FnOnce(&mut Vec<f64>) -> Result<()>) -> Result<Self> {
        let still = diagonal(n, &free);
        let flipped = free.iter().map(|f| *f < 0.0).collect();
        for value in &mut free {
            *value = value.abs();
        }
        let turned = diagonal(n, &free);
        add(&mut free)?;
        let still = still + diagonal(n, &free) - turned;
        Ok(Self { values: free, flipped: Some(flipped), still })
    }
}

fn diagonal(n: usize, values: &[f64]) -> f64 {
    (0..n).map(|i| values[i * n + i]).sum()
}

/// A better element of a group without families.
fn better_alone(kinds: &Kinds, id: GroupId, pairs: Option<Pairs>, size: f64) -> Result<Better> {
    let Some(pairs) = pairs else { return Ok(None) };
    let still = pairs.still;
    let Some((motion, value)) = best_alone(kinds, id, pairs)? else { return Ok(None) };
    Ok(worth(motion, value - still, size))
}

/// The best element of a group without families, and its value; none where nothing was compared.
pub(super) fn best_alone(kinds: &Kinds, id: GroupId, pairs: Pairs) -> Result<Option<(Motion, f64)>> {
    let (kind, n, mut motion) = (kinds.kind(id), kinds.symmetry.group(id).size, Motion::identity(kinds));
    let Pairs { values, flipped, .. } = pairs;
    match kind {
        Kind::Still => Ok(None),
        Kind::Permutation | Kind::Signed => {
            let found = assign(&Similarity::new(n, values)?, None)?;
            if let (Kind::Signed, Some(flipped)) = (kind, flipped) {
                let sign = |i: usize| if flipped[i * n + found.perm.at(i)] { -1.0 } else { 1.0 };
                motion.turns.insert(id, vec![Turn::Scales((0..n).map(sign).collect())]);
            }
            motion.alignment = with(&kinds.symmetry, [(id, vec![found.perm])])?;
            Ok(Some((motion, found.value)))
        }
        Kind::Orthogonal | Kind::Centred | Kind::Phases => {
            let Some((turn, value)) = kind.best(&values, n) else { return Ok(None) };
            motion.turns.insert(id, vec![turn]);
            Ok(Some((motion, value)))
        }
    }
}

/// How much a tensor counts where a group that stands everywhere is solved.
pub(super) fn weight(kinds: &Kinds, options: &TurnedOptions, name: &str, squares: [f64; 2], len: usize) -> f64 {
    let size = (squares[0] * squares[1]).sqrt() / len.max(1) as f64;
    let roots = roots_of(&kinds.symmetry, name);
    let is_table = kinds.symmetry.tensor(name).is_ok_and(|layout| layout.axes.len() > 1);
    let anchor = if is_table && roots.len() == 1 { options.anchor } else { 1.0 };
    if size > 0.0 { anchor * kinds.uses(name) as f64 * size.powf(-options.even) } else { 0.0 }
}

/// Sums over parts by group.
pub(super) type Sums = BTreeMap<GroupId, Everywhere>;
