//! Tables of positions that count in even steps: views of an axis, as `as_strided` makes them.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::Dim;

use super::call::{Made, NodeCall};
use super::plan::PlanSlot;
use super::slices::run;

/// Positions `offset + Σ_d i_d · stride_d` of an axis, as rows of rows that lie within each other.
///
/// A table is one if it can be cut out of the axis level by level: rows of a whole number of entries, of which some are
/// taken, and within each the same again.
#[derive(Debug)]
pub(super) struct Strided {
    /// Number of positions along each axis of the table.
    shape: Vec<usize>,
    /// The axes of the table of more than one position, the longest steps first, and those steps.
    levels: Vec<(usize, usize)>,
    offset: usize,
}

impl Strided {
    /// The view that takes the positions of a table from an axis of `len` entries, if it is one.
    ///
    /// Cost: one pass over the positions.
    pub(super) fn of(shape: &[usize], positions: &[usize], len: usize) -> Option<Self> {
        let &offset = positions.first()?;
        let mut inner = 1;
        let mut levels = Vec::new();
        for axis in (0..shape.len()).rev() {
            if shape[axis] > 1 {
                levels.push((axis, positions[inner].checked_sub(offset).filter(|step| *step > 0)?));
            }
            inner *= shape[axis];
        }
        levels.sort_by_key(|(axis, step)| (std::cmp::Reverse(*step), *axis));
        let view = Self { shape: shape.to_vec(), levels, offset };
        let expected = |at: usize| {
            let (mut rest, mut position) = (at, offset);
            for axis in (0..shape.len()).rev() {
                let step = view.levels.iter().find(|(a, _)| *a == axis).map_or(0, |(_, step)| *step);
                position += rest % shape[axis] * step;
                rest /= shape[axis];
            }
            position
        };
        let even = positions.iter().enumerate().all(|(at, position)| *position == expected(at));
        (even && view.fits(len)).then_some(view)
    }

    /// Whether every level is whole rows of the one around it.
    fn fits(&self, len: usize) -> bool {
        let (mut room, mut offset) = (len, self.offset);
        for (k, (axis, step)) in self.levels.iter().enumerate() {
            let last = k + 1 == self.levels.len();
            let rows = self.shape[*axis];
            let end = if last { offset + (rows - 1) * step + 1 } else { (offset / step + rows) * step };
            if end > room {
                return false;
            }
            (room, offset) = (*step, offset % step);
        }
        self.offset < len
    }

    /// The positions taken from one axis of a value: in place of that axis are those of the table.
    pub(super) fn take(&self, call: &mut NodeCall<'_, '_>, data: PlanSlot, axis: usize) -> Made<PlanSlot> {
        let (mut x, mut at, mut offset) = (data, axis, self.offset);
        for (k, (of, step)) in self.levels.iter().enumerate() {
            let rows = self.shape[*of];
            if k + 1 == self.levels.len() {
                x = run(call, x, at, (offset, rows, *step as isize))?;
                break;
            }
            x = run(call, x, at, (offset / step * step, rows * step, 1))?;
            let mut dims: Vec<Dim> = (0..call.rank(x)).map(Dim::Same).collect();
            dims.splice(at..=at, [Dim::Size(rows), Dim::Size(*step)]);
            x = call.reshape(x, dims)?;
            (at, offset) = (at + 1, offset % step);
        }
        if self.levels.is_empty() {
            x = run(call, x, axis, (offset, 1, 1))?;
        }
        // Now the axes of the table stand in the order of their steps, without those of one position.
        let rank = call.rank(x);
        let count = self.levels.len().max(1);
        let mut wanted: Vec<usize> = (0..self.levels.len()).collect();
        wanted.sort_by_key(|k| self.levels[*k].0);
        if !wanted.is_sorted() {
            let order = (0..axis).chain(wanted.iter().map(|k| axis + k)).chain(axis + count..rank).collect();
            x = call.push_as(call.kind(data), Op::Transpose(order), &[x])?;
        }
        if self.levels.len() == self.shape.len() {
            return Ok(x);
        }
        let own = self.shape.iter().map(|n| Dim::Size(*n));
        let dims = (0..axis).map(Dim::Same).chain(own).chain((axis + count..rank).map(Dim::Same)).collect();
        call.reshape(x, dims)
    }
}
