//! Tensors unfolded along the axis of a group: a row for every unit, columns for everything else.

use std::ops::Range;

use super::accelerator::Table;
use super::values::{At, Factor, TAPS, Values};
use crate::symmetry::{Alignment, AxisLayout, GroupId, Occurrence, Symmetry, TensorLayout, for_each_index};

/// A place where a root and its families stand: an axis, an occurrence, and which of its digits are free.
#[derive(Debug)]
pub(super) struct AxisSite<'a> {
    /// The axis.
    pub(super) axis: usize,
    occurrence: &'a Occurrence,
    /// Indices of the free digits, in the order of their groups.
    moving: Vec<usize>,
}

/// All places of a root and its families in a tensor, axis by axis.
pub(super) fn sites<'a>(symmetry: &Symmetry, root: GroupId, layout: &'a TensorLayout) -> Vec<AxisSite<'a>> {
    let mut sites = Vec::new();
    for (axis, axis_layout) in layout.axes.iter().enumerate() {
        for occurrence in &axis_layout.occurrences {
            let digits = || occurrence.digits.iter().enumerate().filter_map(|(d, digit)| Some((d, digit.group?)));
            let families: Vec<usize> =
                digits().filter(|(_, g)| *g != root && symmetry.root(*g) == root).map(|(d, _)| d).collect();
            for (d, _) in digits().filter(|(_, g)| *g == root) {
                let mut site = AxisSite { axis, occurrence, moving: vec![d] };
                site.moving.extend(&families);
                site.moving.sort_by_key(|&d| occurrence.digits[d].group);
                sites.push(site);
            }
        }
    }
    sites
}

/// Whether the root stands in several places of one entry, so that its similarity depends on itself.
pub(super) fn is_quadratic(symmetry: &Symmetry, root: GroupId, layout: &TensorLayout) -> bool {
    let sites = sites(symmetry, root, layout);
    sites
        .iter()
        .enumerate()
        .any(|(i, s)| sites[..i].iter().any(|t| t.axis != s.axis || std::ptr::eq(t.occurrence, s.occurrence)))
}

impl AxisSite<'_> {
    /// The free groups, in the order of their ids.
    pub(super) fn digits(&self) -> Vec<GroupId> {
        let group = |d: &usize| self.occurrence.digits[*d].group.expect("free digits belong to groups");
        self.moving.iter().map(group).collect()
    }

    /// Positions along the axis, by free row and by context: what an alignment fetches there, free digits staying.
    fn positions(&self, symmetry: &Symmetry, alignment: Option<&Alignment>) -> (usize, Vec<u32>) {
        let digits = &self.occurrence.digits;
        let fixed: Vec<usize> = (0..digits.len()).filter(|d| !self.moving.contains(d)).collect();
        let lens = |which: &[usize]| which.iter().map(|&d| digits[d].len).collect::<Vec<_>>();
        let (moving_lens, fixed_lens) = (lens(&self.moving), lens(&fixed));
        let group = |d: usize| if self.moving.contains(&d) { None } else { digits[d].group };
        let aligned: Vec<Option<GroupId>> = (0..digits.len()).map(group).collect();
        let alignment = alignment.filter(|_| aligned.iter().any(Option::is_some));
        let mut positions = Vec::new();
        let mut values = vec![0; digits.len()];
        for_each_index(&moving_lens, |row| {
            self.moving.iter().zip(row).for_each(|(&d, &v)| values[d] = v);
            for_each_index(&fixed_lens, |context| {
                fixed.iter().zip(context).for_each(|(&d, &v)| values[d] = v);
                positions.push(match alignment {
                    Some(alignment) => {
                        self.occurrence.position(&alignment.source_digits(symmetry, &aligned, &values)) as u32
                    }
                    None => self.occurrence.position(&values) as u32,
                });
            });
        });
        (fixed_lens.iter().product(), positions)
    }
}

/// Where the rows and columns of an unfolded tensor lie in it.
///
/// Columns run over (context, outer axes, inner axes), the last fastest; contexts are the digits of the site's own
/// occurrence that are not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// Number of contexts.
    context: usize,
    /// Length of the unfolded axis.
    len: usize,
    /// Positions along that axis, by row, then by context.
    positions: Vec<u32>,
    /// Positions over the flattened axes before it.
    outer: Vec<u32>,
    /// Positions over the flattened axes after it.
    inner: Vec<u32>,
}

impl Places {
    /// The places that an alignment fetches, the free units staying; without one, every entry's own.
    pub(super) fn new(
        symmetry: &Symmetry,
        alignment: Option<&Alignment>,
        layout: &TensorLayout,
        site: &AxisSite<'_>,
    ) -> Self {
        let gather = |axis: &AxisLayout| match alignment {
            Some(alignment) => alignment.axis_gather(symmetry, axis),
            None => (0..axis.len as u32).collect(),
        };
        let flatten = |axes: &[AxisLayout]| {
            let gathers: Vec<Vec<u32>> = axes.iter().map(gather).collect();
            gathers.iter().fold(vec![0], |flat: Vec<u32>, axis| {
                flat.iter().flat_map(|&outer| axis.iter().map(move |&i| outer * axis.len() as u32 + i)).collect()
            })
        };
        let (context, positions) = site.positions(symmetry, alignment);
        let (before, after) = (&layout.axes[..site.axis], &layout.axes[site.axis + 1..]);
        let len = layout.axes[site.axis].len;
        Self { context, len, positions, outer: flatten(before), inner: flatten(after) }
    }

    /// Number of rows: of combinations of free units.
    pub(super) fn rows(&self) -> usize {
        self.positions.len() / self.context.max(1)
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.context * self.outer.len() * self.inner.len()
    }

    /// The columns that lie elsewhere in `other`, in ascending order.
    pub(super) fn changed(&self, other: &Self) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut add = |from: usize, to: usize| match found.last_mut() {
            Some(last) if last.end == from => last.end = to,
            _ => found.push(from..to),
        };
        let width = self.inner.len();
        let inner: Vec<usize> = (0..width).filter(|&i| self.inner[i] != other.inner[i]).collect();
        let moved = |c: usize| {
            (0..self.rows()).any(|r| {
                let at = r * self.context + c;
                self.positions[at] != other.positions[at]
            })
        };
        for c in 0..self.context {
            let all = moved(c);
            for (o, (x, y)) in self.outer.iter().zip(&other.outer).enumerate() {
                let start = (c * self.outer.len() + o) * width;
                if all || x != y {
                    add(start, start + width);
                } else {
                    for &i in &inner {
                        add(start + i, start + i + 1);
                    }
                }
            }
        }
        found
    }

    /// Where these columns lie.
    pub(super) fn panel(&self, columns: &[Range<usize>]) -> ColumnPanel {
        let (inner, outer) = (self.inner.len(), self.outer.len());
        let (mut offsets, mut contexts) = (Vec::new(), Vec::new());
        for column in columns.iter().cloned().flatten() {
            let (i, rest) = (column % inner, column / inner);
            offsets.push(self.outer[rest % outer] as usize * self.len * inner + self.inner[i] as usize);
            if self.context > 1 {
                contexts.push((rest / outer) as u32);
            }
        }
        let side_by_side = |run: &[usize]| run.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let order = if !contexts.is_empty() {
            PanelOrder::Contexts
        } else if side_by_side(&offsets) {
            PanelOrder::Contiguous
        } else if offsets.len().is_multiple_of(TAPS) && offsets.chunks(TAPS).all(side_by_side) {
            PanelOrder::Taps
        } else {
            PanelOrder::Any
        };
        ColumnPanel { offsets, contexts, order }
    }

    /// A panel of these places as a table.
    pub(super) fn table<'p>(&'p self, panel: &'p ColumnPanel) -> Table<'p> {
        let ColumnPanel { offsets, contexts, .. } = panel;
        Table { positions: &self.positions, context: self.context, stride: self.inner.len(), offsets, contexts }
    }
}

/// Some columns of an unfolded tensor.
#[derive(Debug)]
pub(super) struct ColumnPanel {
    /// Of every column: its offset in the tensor where the unfolded axis is at 0.
    offsets: Vec<usize>,
    /// Of every column: its context; none where there is only one.
    contexts: Vec<u32>,
    order: PanelOrder,
}

/// How the columns of a panel lie.
#[derive(Debug, Clone, Copy)]
enum PanelOrder {
    /// In several contexts.
    Contexts,
    /// All side by side.
    Contiguous,
    /// Every [`TAPS`] side by side.
    Taps,
    /// Anyhow.
    Any,
}

impl ColumnPanel {
    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.offsets.len()
    }
}

/// A tensor and how it is unfolded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unfolded<'a> {
    pub(super) values: Values<'a>,
    pub(super) places: &'a Places,
}

impl Unfolded<'_> {
    /// The entries of one row in these columns.
    pub(super) fn fill<T: Factor>(&self, row: usize, panel: &ColumnPanel, out: &mut [T]) {
        let places = self.places;
        let inner = places.inner.len();
        let positions = &places.positions[row * places.context..][..places.context];
        let base = || positions[0] as usize * inner;
        let offsets: Vec<usize>;
        let at = match panel.order {
            PanelOrder::Contiguous => At::From(base() + panel.offsets[0]),
            PanelOrder::Taps => At::Taps(base(), &panel.offsets),
            PanelOrder::Any => At::Any(base(), &panel.offsets),
            PanelOrder::Contexts => {
                let place = |(at, &c): (&usize, &u32)| at + positions[c as usize] as usize * inner;
                offsets = panel.offsets.iter().zip(&panel.contexts).map(place).collect();
                At::Any(0, &offsets)
            }
        };
        self.values.read(at, out);
    }
}
