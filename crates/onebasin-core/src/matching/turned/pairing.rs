//! The best element of a group whose families are turned: heads, and what is inside them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::super::nested::{Element, best_element, restrict};
use super::super::similarity::Gram;
use crate::assignment::{Similarity, assign};
use crate::error::Result;
use crate::kinds::{Kind, Kinds, Motion, Turn};
use crate::perm::Perm;
use crate::symmetry::GroupId;

/// Orders of a permuted family that are all tried; of more, a start by what no turn changes is improved in turns.
const ORDERS: usize = 24;
const ROUNDS: usize = 20;

/// What is inside one pair of units.
#[derive(Debug, Clone, Default)]
struct Inside {
    perms: BTreeMap<GroupId, Perm>,
    turns: BTreeMap<GroupId, Turn>,
    value: f64,
}

/// The best element of a root and its families, and its value; none where families have families of their own.
///
/// Formula: pairing unit i of A with unit j of B is worth the best of their families, `max Σ ⟨perms ⊗ turns, Gram_ij⟩`; one assignment
/// over all pairs. Turns are closed forms given the order of permuted families; all orders are tried where there are at most 24.
pub(super) fn best_with_families(kinds: &Kinds, root: GroupId, grams: &[Gram]) -> Result<Option<(Motion, f64)>> {
    let symmetry = &kinds.symmetry;
    let (n, children) = (symmetry.group(root).size, symmetry.children(root));
    let is_turned = |id: &GroupId| kinds.kind(*id).turns();
    let below = symmetry.descendants(root);
    if below.iter().all(|id| kinds.kind(*id) == Kind::Permutation) {
        let still = Element::identity(symmetry, root);
        let best = best_element(symmetry, root, grams, &still, None)?;
        let mut motion = Motion::identity(kinds);
        best.element.store(&mut motion.alignment, root);
        return Ok(Some((motion, best.value)));
    }
    let deep = children.iter().any(|child| !symmetry.children(*child).is_empty());
    let twice = grams.iter().any(|g| g.digits.iter().filter(|d| **d != root && is_turned(d)).count() > 1);
    if deep || twice || !kinds.kind(root).permutes() {
        return Ok(None);
    }
    let inside = Families {
        kinds,
        turned: children.iter().copied().filter(is_turned).collect(),
        permuted: children.iter().copied().filter(|id| !is_turned(id) && kinds.kind(*id).permutes()).collect(),
    };
    let pairs = (0..n * n).into_par_iter().map(|at| {
        let blocks: Vec<Gram> = grams.iter().map(|gram| restrict(gram, at / n, at % n)).collect();
        inside.best(&blocks)
    });
    let pairs: Vec<Inside> = pairs.collect::<Result<_>>()?;
    let found = assign(&Similarity::new(n, pairs.iter().map(|pair| pair.value).collect())?, None)?;
    let chosen: Vec<&Inside> = (0..n).map(|i| &pairs[i * n + found.perm.at(i)]).collect();
    let of = |id: &GroupId| (*id, chosen.iter().map(|pair| pair.perms[id].clone()).collect());
    let perms = inside.permuted.iter().map(of).chain([(root, vec![found.perm.clone()])]);
    let alignment = super::with(symmetry, perms.collect::<Vec<_>>())?;
    let turns = inside.turned.iter().map(|id| (*id, chosen.iter().map(|pair| pair.turns[id].clone()).collect()));
    Ok(Some((Motion { alignment, turns: turns.collect() }, found.value)))
}

struct Families<'k> {
    kinds: &'k Kinds,
    turned: Vec<GroupId>,
    permuted: Vec<GroupId>,
}

impl Families<'_> {
    fn size(&self, id: GroupId) -> usize {
        self.kinds.symmetry.group(id).size
    }

    fn best(&self, blocks: &[Gram]) -> Result<Inside> {
        let still: BTreeMap<GroupId, Perm> =
            self.permuted.iter().map(|id| (*id, Perm::identity(self.size(*id)))).collect();
        match self.permuted[..] {
            [] => Ok(self.turns(blocks, &still)),
            [id] if (1..=self.size(id)).product::<usize>() <= ORDERS => {
                let all =
                    orders(self.size(id)).into_iter().map(|order| self.turns(blocks, &BTreeMap::from([(id, order)])));
                Ok(all.reduce(|best, other| if other.value > best.value { other } else { best }).unwrap_or_default())
            }
            _ => self.in_turns(blocks, still),
        }
    }

    /// The best turns under given permutations.
    fn turns(&self, blocks: &[Gram], perms: &BTreeMap<GroupId, Perm>) -> Inside {
        let mut found = Inside { perms: perms.clone(), ..Inside::default() };
        let plain = blocks.iter().filter(|b| !b.digits.iter().any(|d| self.turned.contains(d)));
        found.value = plain.map(|block| summed(block, perms, None)[0]).sum();
        for id in &self.turned {
            let n = self.size(*id);
            let mut sum = vec![0.0; n * n];
            for block in blocks.iter().filter(|b| b.digits.contains(id)) {
                sum.iter_mut().zip(summed(block, perms, Some(*id))).for_each(|(s, g)| *s += g);
            }
            let kind = self.kinds.kind(*id);
            let still = || kind.identity(n).map(|turn| (turn, (0..n).map(|k| sum[k * n + k]).sum()));
            if let Some((turn, value)) = kind.best(&sum, n).or_else(still) {
                found.value += value;
                found.turns.insert(*id, turn);
            }
        }
        found
    }

    /// Permutations and turns, each best given the others, from a start by values that no turn changes.
    fn in_turns(&self, blocks: &[Gram], mut perms: BTreeMap<GroupId, Perm>) -> Result<Inside> {
        for id in &self.permuted {
            let worth = |part: &Gram| match part.digits[..] {
                [t] if self.turned.contains(&t) => {
                    self.kinds.kind(t).best(&part.data, part.lens[0]).map_or(0.0, |best| best.1)
                }
                _ => summed(part, &perms, None)[0],
            };
            let order = self.order(*id, blocks, &worth)?;
            perms.insert(*id, order);
        }
        let mut best = self.turns(blocks, &perms);
        for _ in 0..ROUNDS {
            let mut perms = best.perms.clone();
            for id in &self.permuted {
                let worth = |part: &Gram| match part.digits.iter().find_map(|d| Some((*d, best.turns.get(d)?))) {
                    Some((t, turn)) => {
                        let matrix = turn.matrix(crate::kinds::Side::Along);
                        summed(part, &perms, Some(t)).iter().zip(&matrix).map(|(g, m)| g * m).sum()
                    }
                    None => summed(part, &perms, None)[0],
                };
                let order = self.order(*id, blocks, &worth)?;
                perms.insert(*id, order);
            }
            let next = self.turns(blocks, &perms);
            if next.value <= best.value {
                break;
            }
            best = next;
        }
        Ok(best)
    }

    /// The best order of a family, pairs of its units being worth what `worth` says of their part of a block.
    fn order(&self, id: GroupId, blocks: &[Gram], worth: &dyn Fn(&Gram) -> f64) -> Result<Perm> {
        let n = self.size(id);
        let mut similarity = vec![0.0; n * n];
        for block in blocks.iter().filter(|b| b.digits.contains(&id)) {
            let first = brought_first(block, id);
            for (at, sum) in similarity.iter_mut().enumerate() {
                *sum += worth(&restrict(&first, at / n, at % n));
            }
        }
        Ok(assign(&Similarity::new(n, similarity)?, None)?.perm)
    }
}

/// A block with the digit of a family before all others.
fn brought_first(block: &Gram, id: GroupId) -> Gram {
    let at = block.digits.iter().position(|d| *d == id).expect("the block holds the family");
    let mut order: Vec<usize> = (0..block.digits.len()).collect();
    order.remove(at);
    order.insert(0, at);
    let strides: Vec<usize> = (0..block.lens.len()).map(|d| block.lens[d + 1..].iter().product()).collect();
    let lens: Vec<usize> = order.iter().map(|d| block.lens[*d]).collect();
    let mut places = Vec::new();
    crate::symmetry::for_each_index(&lens, |values| {
        places.push(values.iter().zip(&order).map(|(v, d)| v * strides[*d]).sum::<usize>());
    });
    let side = places.len();
    let data = places.iter().flat_map(|x| places.iter().map(move |y| x * side + y)).map(|at| block.data[at]).collect();
    Gram { digits: order.iter().map(|d| block.digits[*d]).collect(), lens, data }
}

/// A block summed over all digits but one, units of A against those that permutations bring there.
fn summed(block: &Gram, perms: &BTreeMap<GroupId, Perm>, keep: Option<GroupId>) -> Vec<f64> {
    let side: usize = block.lens.iter().product();
    let kept = keep.and_then(|id| block.digits.iter().position(|d| *d == id));
    let strides: Vec<usize> = (0..block.lens.len()).map(|d| block.lens[d + 1..].iter().product()).collect();
    let (n, stride) = kept.map_or((1, 0), |d| (block.lens[d], strides[d]));
    let lens: Vec<usize> = (0..block.lens.len()).map(|d| if Some(d) == kept { 1 } else { block.lens[d] }).collect();
    let mut sum = vec![0.0; n * n];
    crate::symmetry::for_each_index(&lens, |values| {
        let source = |d: usize| perms.get(&block.digits[d]).map_or(values[d], |perm| perm.at(values[d]));
        let row: usize = values.iter().zip(&strides).map(|(v, s)| v * s).sum();
        let column: usize = (0..values.len()).map(|d| if Some(d) == kept { 0 } else { source(d) * strides[d] }).sum();
        for (at, sum) in sum.iter_mut().enumerate() {
            *sum += block.data[(row + at / n * stride) * side + column + at % n * stride];
        }
    });
    sum
}

/// All permutations of so few units, the identity first.
fn orders(n: usize) -> Vec<Perm> {
    let mut all: Vec<Vec<u32>> = vec![Vec::new()];
    for unit in 0..n as u32 {
        let with = |order: &Vec<u32>| {
            (0..=order.len())
                .rev()
                .map(|at| {
                    let mut order = order.clone();
                    order.insert(at, unit);
                    order
                })
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    all.into_iter().filter_map(|order| Perm::new(order).ok()).collect()
}
