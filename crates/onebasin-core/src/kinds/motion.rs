//! One element of a symmetry whose groups have kinds: a permutation of every group, and then a turn.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Kinds;
use super::fibres::{Fibre, fibres};
use super::turn::{Side, Turn};
use crate::dtype::DType;
use crate::error::Result;
use crate::linalg::{Mat, Scalar};
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, GroupId, Symmetry};
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
            let still = || kinds.kind(id).identity(symmetry.group(id).size).expect("only turned groups have turns");
            let copy = |copy: usize| {
                let source = self.alignment.source_copy(symmetry, id, copy);
                let perm = &self.alignment.copies(id)[copy];
                let of =
                    |turns: &BTreeMap<GroupId, Vec<Turn>>, copy: usize| turns.get(&id).map(|all| all[copy].clone());
                match (of(&self.turns, copy), of(&first.turns, source)) {
                    (Some(then), Some(first)) => then.after(perm, &first),
                    (Some(then), None) => then,
                    (None, Some(first)) if perm.is_identity() => first,
                    (None, first) => still().after(perm, &first.unwrap_or_else(still)),
                }
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
        self.moved_in(kinds, &kinds.symmetry, params, name)
    }

    /// Some rows of a table of the network that [`apply`](Self::apply) makes, of those of the network; rows must all stay.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn moved_rows(&self, kinds: &Kinds, rows: &Tensor, name: &str) -> Result<Tensor> {
        let count = rows.shape().first().copied().unwrap_or(1);
        self.moved_as_one(kinds, &kinds.symmetry.with_rows(name, count), name, rows)
    }

    /// The same where tensors lie as another symmetry of the same groups says.
    pub(crate) fn moved_in(&self, kinds: &Kinds, symmetry: &Symmetry, params: &Params, name: &str) -> Result<Tensor> {
        self.turned(kinds, symmetry, name, self.alignment.moved(symmetry, params, name)?)
    }

    /// The same of a tensor as it stands in the symmetry, a stack as one.
    pub(crate) fn moved_as_one(
        &self,
        kinds: &Kinds,
        symmetry: &Symmetry,
        name: &str,
        tensor: &Tensor,
    ) -> Result<Tensor> {
        self.turned(kinds, symmetry, name, self.alignment.apply_tensor(symmetry, name, tensor)?)
    }

    fn turned(&self, kinds: &Kinds, symmetry: &Symmetry, name: &str, tensor: Tensor) -> Result<Tensor> {
        let Ok(layout) = symmetry.tensor(name) else { return Ok(tensor) };
        let mut acts = Vec::new();
        for (k, axis) in layout.axes.iter().enumerate() {
            for (id, copies) in &self.turns {
                let Some(side) = kinds.side(*id, name) else { continue };
                for Fibre { copy, positions } in fibres(symmetry, axis, *id) {
                    acts.push(Act { axis: k, positions, turn: &copies[copy], side });
                }
            }
        }
        if acts.is_empty() {
            return Ok(tensor);
        }
        let shape = layout.laid_out();
        if tensor.dtype() == DType::F64 {
            let mut values = tensor.to_f64()?.into_owned();
            for act in &acts {
                act.on(&mut values, &shape, |v| v);
            }
            return Tensor::from_f64(tensor.shape(), values);
        }
        let mut values = tensor.to_f32()?.into_owned();
        for act in &acts {
            act.on(&mut values, &shape, |v| v as f32);
        }
        Tensor::from_f32(tensor.shape(), values)?.cast(tensor.dtype())
    }
}

/// What acts on the entries at some positions of an axis.
struct Act<'t> {
    axis: usize,
    positions: Vec<usize>,
    turn: &'t Turn,
    side: Side,
}

/// Rows of a product that one task computes.
const TASK: usize = 128;

impl Act<'_> {
    fn on<T: Scalar>(&self, values: &mut [T], shape: &[usize], of: impl Fn(f64) -> T) {
        let (n, len) = (self.positions.len(), shape[self.axis]);
        let inner: usize = shape[self.axis + 1..].iter().product();
        let map: Vec<T> = match self.turn {
            Turn::Scales(scales) => {
                let one = |s: &f64| of(if self.side == Side::Along { *s } else { 1.0 / s });
                return self.scale(values, len, inner, &scales.iter().map(one).collect::<Vec<_>>());
            }
            Turn::Phases(_) | Turn::Matrix { .. } => self.turn.matrix(self.side).into_iter().map(of).collect(),
        };
        if inner == 1 {
            values.par_chunks_mut(len * TASK).for_each(|block| {
                let count = block.len() / len;
                let of_row = |o: usize| self.positions.iter().map(move |p| o * len + p);
                let rows: Vec<T> = (0..count).flat_map(of_row).map(|from| block[from]).collect();
                let mut turned = vec![T::default(); count * n];
                T::matmul(&mut turned, Mat::new(&rows, count, n), Mat::new(&map, n, n).t(), false);
                for (o, turned) in turned.chunks(n).enumerate() {
                    self.positions.iter().zip(turned).for_each(|(p, value)| block[o * len + p] = *value);
                }
            });
            return;
        }
        let (mut rows, mut turned) = (vec![T::default(); n * inner], vec![T::default(); n * inner]);
        for block in values.chunks_mut(len * inner) {
            for (row, p) in rows.chunks_mut(inner).zip(&self.positions) {
                row.copy_from_slice(&block[p * inner..][..inner]);
            }
            turned.par_chunks_mut(TASK * inner).enumerate().for_each(|(k, out)| {
                let count = out.len() / inner;
                let some = Mat::new(&map[k * TASK * n..][..count * n], count, n);
                T::matmul(out, some, Mat::new(&rows, n, inner), false);
            });
            for (row, p) in turned.chunks(inner).zip(&self.positions) {
                block[p * inner..][..inner].copy_from_slice(row);
            }
        }
    }

    /// Every unit times a number of its own.
    fn scale<T: Scalar>(&self, values: &mut [T], len: usize, inner: usize, scales: &[T]) {
        values.par_chunks_mut(len * inner).for_each(|block| {
            for (p, scale) in self.positions.iter().zip(scales) {
                block[p * inner..][..inner].iter_mut().for_each(|value| *value *= *scale);
            }
        });
    }
}
