//! Entries picked, replaced and counted in tensors that are known.

use super::array::{Array, ElementKind, Elements};
use super::fold::{Known, axis};

/// The index of a place in an array of this shape.
fn index(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (at, &len) in index.iter_mut().zip(shape).rev() {
        *at = place % len.max(1);
        place /= len.max(1);
    }
    index
}

fn place(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |place, (i, n)| place * n + i)
}

/// Replaces entries at these places, one after the other.
fn replaced(data: &Array, places: &[usize], updates: &Array) -> Option<Array> {
    let elements = match (&data.data, &updates.data) {
        (Elements::Float(old), Elements::Float(new)) => Elements::Float(put(old, places, new)?),
        (Elements::Int(old), Elements::Int(new)) => Elements::Int(put(old, places, new)?),
        (Elements::Bool(old), Elements::Bool(new)) => Elements::Bool(put(old, places, new)?),
        (Elements::Float(_) | Elements::Int(_) | Elements::Bool(_), _) => return None,
    };
    Array::new(&data.shape, elements)
}

fn put<T: Copy>(old: &[T], places: &[usize], new: &[T]) -> Option<Vec<T>> {
    let mut made = old.to_vec();
    for (&place, &value) in places.iter().zip(new) {
        *made.get_mut(place)? = value;
    }
    (places.len() == new.len()).then_some(made)
}

impl Known<'_> {
    /// The output of a node that picks, replaces or counts.
    pub(super) fn picked(&self) -> Option<Array> {
        let data = self.input(0)?;
        match self.node.op_type.as_str() {
            "GatherElements" => {
                let places = self.element_places(data)?;
                let shape = &self.input(1)?.shape;
                data.gathered(shape, |at, from| from.extend(index(places[place(at, shape)], &data.shape)))
            }
            "GatherND" if self.int("batch_dims", 0)? == 0 => {
                let (starts, depth) = self.starts(data)?;
                let table = &self.input(1)?.shape;
                let (head, rest) = (&table[..table.len() - 1], &data.shape[depth..]);
                data.gathered(&[head, rest].concat(), |at, from| {
                    from.extend(index(starts[place(&at[..head.len()], head)], &data.shape[..depth]));
                    from.extend_from_slice(&at[head.len()..]);
                })
            }
            "ScatterElements" | "Scatter" if self.sets()? => {
                replaced(data, &self.element_places(data)?, self.input(2)?)
            }
            "ScatterND" if self.sets()? => {
                let (starts, depth) = self.starts(data)?;
                let width: usize = data.shape[depth..].iter().product();
                if starts.len().checked_mul(width) != Some(self.input(2)?.data.len()) {
                    return None;
                }
                let places: Vec<usize> = starts.iter().flat_map(|s| s * width..(s + 1) * width).collect();
                replaced(data, &places, self.input(2)?)
            }
            "NonZero" => {
                let found: Vec<usize> =
                    data.floats().iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(k, _)| k).collect();
                let rank = data.shape.len();
                let axis = |a: usize| found.iter().map(move |&k| index(k, &data.shape)[a] as i64);
                Array::new(&[rank, found.len()], Elements::Int((0..rank).flat_map(axis).collect()))
            }
            "CumSum" => {
                let along = axis(self.input(1)?.floats().first().copied()? as i64, data.shape.len())?;
                let (exclusive, reverse) = (self.int("exclusive", 0)? != 0, self.int("reverse", 0)? != 0);
                let (len, inner) = (data.shape[along], data.shape[along + 1..].iter().product::<usize>());
                let mut sums = data.floats();
                for start in (0..sums.len()).filter(|k| k / inner.max(1) % len.max(1) == 0) {
                    let mut sum = 0.0;
                    for step in 0..len {
                        let at = start + if reverse { len - 1 - step } else { step } * inner;
                        let through = sum + sums[at];
                        sums[at] = if exclusive { sum } else { through };
                        sum = through;
                    }
                }
                let kind = if data.kind() == ElementKind::Float { ElementKind::Float } else { ElementKind::Int };
                Some(Array::new(&data.shape, Elements::Float(sums))?.cast(kind))
            }
            _ => None,
        }
    }

    /// Whether entries are replaced by their updates.
    fn sets(&self) -> Option<bool> {
        match self.node.attribute("reduction") {
            None => Some(true),
            Some(crate::onnx::model::Attribute::String(name)) => Some(name == "none"),
            Some(_) => None,
        }
    }

    /// The place in the data that every index means, entry by entry along an axis.
    fn element_places(&self, data: &Array) -> Option<Vec<usize>> {
        let along = axis(self.int("axis", 0)?, data.shape.len())?;
        let indices = self.input(1)?;
        if indices.shape.len() != data.shape.len() {
            return None;
        }
        let entry = |(k, value): (usize, i64)| {
            let mut at = index(k, &indices.shape);
            at[along] = axis(value, data.shape[along])?;
            at.iter().zip(&data.shape).all(|(i, n)| i < n).then(|| place(&at, &data.shape))
        };
        indices.whole()?.into_iter().enumerate().map(entry).collect()
    }

    /// The place, counted in slices, that every row of a table of indices means, and how many axes a row counts.
    fn starts(&self, data: &Array) -> Option<(Vec<usize>, usize)> {
        let table = self.input(1)?;
        let depth = table.shape.last().copied().filter(|d| (1..=data.shape.len()).contains(d))?;
        let row = |row: &[i64]| {
            let at = row.iter().zip(&data.shape).map(|(&i, &n)| axis(i, n)).collect::<Option<Vec<_>>>()?;
            Some(place(&at, &data.shape[..depth]))
        };
        Some((table.whole()?.chunks_exact(depth).map(row).collect::<Option<_>>()?, depth))
    }
}
