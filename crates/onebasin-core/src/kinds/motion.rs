//! One element of a symmetry whose groups have kinds: a permutation of every group, and then a turn.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Kinds;
use super::fibres::fibres;
use super::turn::Turn;
use crate::error::Result;
use crate::linalg::{Mat, Scalar};
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, GroupId};
use crate::tensor::Tensor;

/// What moves a network: units change places, and then the units of every copy are turned.
///
/// Copies of a family are numbered as in an [`Alignment`], by the units of its ancestors in the result. [`Kinds`] has an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// Which unit comes from where.
    pub alignment: Alignment,
    /// How they are turned there, by group and copy; groups that are only permuted have none.
    pub turns: BTreeMap<GroupId, Vec<Turn>>,
}

impl Motion {
    /// The element that moves nothing.
    pub fn identity(kinds: &Kinds) -> Self {
        Self { alignment: Alignment::identity(&kinds.symmetry), turns: BTreeMap::new() }
    }

    /// A random element, every kind of every group taken: what a check by function acts with.
    pub fn random(kinds: &Kinds, stream: &mut Stream) -> Self {
        let symmetry = &kinds.symmetry;
        let ids = || (0..symmetry.groups().len()).map(GroupId);
        let perms = ids().map(|id| {
            let size = symmetry.group(id).size;
            let copies = 0..symmetry.copies(id);
            copies.map(|_| kinds.kind(id).permutes().then(|| stream.permutation(size))).collect::<Vec<_>>()
        });
        let perms: Vec<Vec<_>> = perms.collect();
        let mut alignment = Alignment::identity(symmetry);
        for (id, copies) in ids().zip(perms) {
            if let Some(copies) = copies.into_iter().collect::<Option<Vec<_>>>() {
                alignment.set(id, copies);
            }
        }
        let mut turns = BTreeMap::new();
        for id in ids() {
            let size = symmetry.group(id).size;
            let drawn = (0..symmetry.copies(id)).map(|_| kinds.kind(id).random(size, stream));
            if let Some(copies) = drawn.collect::<Option<Vec<_>>>() {
                turns.insert(id, copies);
            }
        }
        Self { alignment, turns }
    }

    /// `self ∘ first`: acting with the result equals acting with `first`, then with `self`.
    #[must_use]
    pub fn after(&self, kinds: &Kinds, first: &Self) -> Self {
        let symmetry = &kinds.symmetry;
        let alignment = self.alignment.compose(symmetry, &first.alignment);
        let ids: std::collections::BTreeSet<GroupId> = self.turns.keys().chain(first.turns.keys()).copied().collect();
        let both = |id: GroupId| {
            let still = kinds.kind(id).identity(symmetry.group(id).size).expect("only turned groups have turns");
            let of = |turns: &BTreeMap<GroupId, Vec<Turn>>, copy: usize| {
                turns.get(&id).map_or_else(|| still.clone(), |all| all[copy].clone())
            };
            let copy = |copy: usize| {
                let source = self.alignment.source_copy(symmetry, id, copy);
                of(&self.turns, copy).after(&self.alignment.copies(id)[copy], &of(&first.turns, source))
            };
            (id, (0..symmetry.copies(id)).map(copy).collect())
        };
        Self { turns: ids.into_iter().map(both).collect(), alignment }
    }

    /// The element that undoes this one.
    #[must_use]
    pub fn inverse(&self, kinds: &Kinds) -> Self {
        let symmetry = &kinds.symmetry;
        let undone = |(id, copies): (&GroupId, &Vec<Turn>)| {
            let mut back: Vec<(usize, Turn)> = copies
                .iter()
                .enumerate()
                .map(|(copy, turn)| {
                    let source = self.alignment.source_copy(symmetry, *id, copy);
                    (source, turn.undone(&self.alignment.copies(*id)[copy]))
                })
                .collect();
            back.sort_by_key(|(copy, _)| *copy);
            (*id, back.into_iter().map(|(_, turn)| turn).collect())
        };
        Self { alignment: self.alignment.inverse(symmetry), turns: self.turns.iter().map(undone).collect() }
    }

    /// Acts on a network. Tensors that the symmetry does not know are left out of the result; what is only permuted keeps its bits.
    ///
    /// Cost: `2 n · numel` flops for every tensor and axis where a group of n units is turned by matrices.
    ///
    /// # Errors
    /// Those of [`Alignment::apply`].
    pub fn apply(&self, kinds: &Kinds, params: &Params) -> Result<Params> {
        let names: Vec<&str> = kinds.symmetry.names().collect();
        let moved = names.into_par_iter().map(|name| Ok((name.to_owned(), self.moved(kinds, params, name)?)));
        Ok(moved.collect::<Result<Vec<_>>>()?.into_iter().collect())
    }

    /// One tensor of the network that [`apply`](Self::apply) makes.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn moved(&self, kinds: &Kinds, params: &Params, name: &str) -> Result<Tensor> {
        let symmetry = &kinds.symmetry;
        let tensor = self.alignment.moved(symmetry, params, name)?;
        let Ok(layout) = symmetry.tensor(name) else { return Ok(tensor) };
        let mut values = None;
        let shape = layout.laid_out();
        for (k, axis) in layout.axes.iter().enumerate() {
            for (id, copies) in &self.turns {
                let Some(side) = kinds.side(*id, name) else { continue };
                let maps: Vec<Vec<f64>> = copies.iter().map(|turn| turn.matrix(side)).collect();
                for fibre in fibres(symmetry, axis, *id) {
                    let values = match &mut values {
                        Some(values) => values,
                        None => values.insert(tensor.to_f64()?.into_owned()),
                    };
                    act(values, &shape, k, &fibre.positions, &maps[fibre.copy]);
                }
            }
        }
        match values {
            Some(values) => Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values),
            None => Ok(tensor),
        }
    }
}

/// Multiplies the entries at these positions of an axis by a matrix.
fn act(values: &mut [f64], shape: &[usize], axis: usize, positions: &[usize], map: &[f64]) {
    let (n, len) = (positions.len(), shape[axis]);
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let at = |o: usize, p: usize| (o * len + p) * inner;
    let (mut rows, mut turned) = (vec![0.0; n * inner], vec![0.0; n * inner]);
    if inner == 1 {
        let mut rows: Vec<f64> =
            (0..outer).flat_map(|o| positions.iter().map(move |p| at(o, *p))).map(|from| values[from]).collect();
        let mut turned = vec![0.0; outer * n];
        f64::matmul(&mut turned, Mat::new(&rows, outer, n), Mat::new(map, n, n).t(), false);
        std::mem::swap(&mut rows, &mut turned);
        for o in 0..outer {
            positions.iter().zip(&rows[o * n..]).for_each(|(p, value)| values[at(o, *p)] = *value);
        }
        return;
    }
    for o in 0..outer {
        for (row, p) in rows.chunks_mut(inner).zip(positions) {
            row.copy_from_slice(&values[at(o, *p)..][..inner]);
        }
        f64::matmul(&mut turned, Mat::new(map, n, n), Mat::new(&rows, n, inner), false);
        for (row, p) in turned.chunks(inner).zip(positions) {
            values[at(o, *p)..][..inner].copy_from_slice(row);
        }
    }
}
