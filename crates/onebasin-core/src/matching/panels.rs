//! Products of unfolded tensors, panel of columns by panel.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::accelerator::Columns;
use super::unfold::{ColumnPanel, Unfolded};
use super::values::{Factor, TAPS};

/// Columns of the unfolded tensors multiplied at a time: sums of so many products are single precision.
pub(super) const PANEL: usize = 128 * TAPS;

/// Rows of a product of this side computed by one task: enough tasks for many threads, and enough rows that preparing
/// the other factor for each costs little. They do not depend on the number of threads, so neither do results.
fn rows_of(side: usize) -> usize {
    (side / 4).next_multiple_of(16).clamp(64, 256)
}

/// One site in A and in B, and the columns that count.
pub(super) struct SitePart<'a> {
    /// Place of the tensor in the symmetry.
    pub(super) pair: usize,
    pub(super) a: Unfolded<'a>,
    pub(super) b: Unfolded<'a>,
    /// What is taken off B.
    pub(super) before: Option<Unfolded<'a>>,
    pub(super) columns: Vec<Range<usize>>,
}

/// Columns of one part.
pub(super) struct PartColumns<'p> {
    part: &'p SitePart<'p>,
    a: ColumnPanel,
    b: ColumnPanel,
    before: Option<ColumnPanel>,
}

impl PartColumns<'_> {
    /// The same as tables, for devices.
    pub(super) fn columns(&self) -> Columns<'_> {
        let SitePart { pair, a, b, before, .. } = self.part;
        let before = before.zip(self.before.as_ref()).map(|(unfolded, panel)| unfolded.places.table(panel));
        Columns { pair: *pair, a: a.places.table(&self.a), b: b.places.table(&self.b), before }
    }

    fn fill_a<T: Factor>(&self, row: usize, out: &mut [T]) {
        self.part.a.fill(row, &self.a, out);
    }

    fn fill_b<T: Factor>(&self, row: usize, out: &mut [T], scratch: &mut Vec<T>) {
        self.part.b.fill(row, &self.b, out);
        if let (Some(unfolded), Some(panel)) = (&self.part.before, &self.before) {
            scratch.resize(out.len(), T::default());
            unfolded.fill(row, panel, scratch);
            out.iter_mut().zip(&*scratch).for_each(|(o, s)| *o -= *s);
        }
    }
}

/// The columns of all parts, side by side, in panels of at most [`PANEL`].
pub(super) fn cut<'p>(parts: &'p [SitePart<'p>]) -> Vec<Vec<PartColumns<'p>>> {
    let (mut panels, mut open, mut room) = (Vec::new(), Vec::new(), PANEL);
    for part in parts {
        let mut rest = part.columns.iter().filter(|range| !range.is_empty()).cloned();
        let mut next = rest.next();
        while next.is_some() {
            let mut taken = Vec::new();
            while let Some(range) = next.take() {
                let width = range.len().min(room);
                taken.push(range.start..range.start + width);
                room -= width;
                next = if width < range.len() { Some(range.start + width..range.end) } else { rest.next() };
                if room == 0 {
                    break;
                }
            }
            let before = part.before.map(|before| before.places.panel(&taken));
            open.push(PartColumns { part, a: part.a.places.panel(&taken), b: part.b.places.panel(&taken), before });
            if room == 0 {
                panels.push(std::mem::take(&mut open));
                room = PANEL;
            }
        }
    }
    panels.push(open);
    panels
}

/// Fills one row of a panel, segment by segment.
fn row_of<T>(segments: &[PartColumns<'_>], mut row: &mut [T], mut fill: impl FnMut(&PartColumns<'_>, &mut [T])) {
    for segment in segments {
        let (head, tail) = row.split_at_mut(segment.a.width());
        fill(segment, head);
        row = tail;
    }
}

/// Adds to `sum`, which is `side × side`, the products of all parts; where it is `zero`, it is written without being read,
/// so that memory fresh from the system is touched once.
pub(super) fn add_products<T: Factor>(sum: &mut [f64], side: usize, parts: &[SitePart<'_>], mut zero: bool) {
    let (mut panel, rows, scratch) = (Vec::new(), rows_of(side), PanelBuffers::default());
    for segments in cut(parts) {
        let width: usize = segments.iter().map(|s| s.a.width()).sum();
        if side == 0 || width == 0 {
            continue;
        }
        panel.resize(side * width, T::default());
        panel.par_chunks_mut(width).enumerate().with_min_len(16).for_each(|(row, out)| {
            scratch.lend(|[less, _]| row_of(&segments, out, |segment, out| segment.fill_b(row, out, less)));
        });
        sum.par_chunks_mut(rows * side).enumerate().for_each(|(block, out)| {
            scratch.lend(|[slice, products]| {
                slice.resize(out.len() / side * width, T::default());
                for (r, out) in slice.chunks_mut(width).enumerate() {
                    row_of(&segments, out, |segment, out| segment.fill_a(block * rows + r, out));
                }
                T::add_product(out, zero, slice, &panel, width, products);
            });
        });
        zero = false;
    }
}

/// Memory that tasks borrow and give back; as much as there are threads. Returning it to the system after every task would
/// have all cores forget its addresses.
#[derive(Default)]
struct PanelBuffers<T>(Mutex<Vec<[Vec<T>; 2]>>);

impl<T> PanelBuffers<T> {
    fn lend(&self, task: impl FnOnce(&mut [Vec<T>; 2])) {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = lock().pop().unwrap_or_default();
        task(&mut memory);
        lock().push(memory);
    }
}
