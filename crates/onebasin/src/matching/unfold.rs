//! Tensors unfolded along the axis of a group: a row for every unit, columns for everything else.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::accelerator::Table;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::linalg::{Mat, Scalar};
use crate::symmetry::layout::{AxisLayout, Occurrence, for_each_index};
use crate::symmetry::{Alignment, GroupId, Symmetry, TensorLayout};
use crate::tensor::Tensor;

/// A place where a root and its families stand: an axis, an occurrence, and which of its digits are free.
#[derive(Debug)]
pub(super) struct Site<'a> {
    /// The axis.
    pub(super) axis: usize,
    occurrence: &'a Occurrence,
    /// Indices of the free digits, in the order of their groups.
    moving: Vec<usize>,
}

/// All places of a root and its families in a tensor, axis by axis.
pub(super) fn sites<'a>(symmetry: &Symmetry, root: GroupId, layout: &'a TensorLayout) -> Vec<Site<'a>> {
    let mut sites = Vec::new();
    for (axis, axis_layout) in layout.axes.iter().enumerate() {
        for occurrence in &axis_layout.occurrences {
            let digits = || occurrence.digits.iter().enumerate().filter_map(|(d, digit)| Some((d, digit.group?)));
            let families: Vec<usize> =
                digits().filter(|(_, g)| *g != root && symmetry.root(*g) == root).map(|(d, _)| d).collect();
            for (d, _) in digits().filter(|(_, g)| *g == root) {
                let mut site = Site { axis, occurrence, moving: vec![d] };
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

impl Site<'_> {
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
        site: &Site<'_>,
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
    pub(super) fn panel(&self, columns: &[Range<usize>]) -> Panel {
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
        Panel { offsets, contexts, order }
    }

    /// A panel of these places as a table.
    pub(super) fn table<'p>(&'p self, panel: &'p Panel) -> Table<'p> {
        let Panel { offsets, contexts, .. } = panel;
        Table { positions: &self.positions, context: self.context, stride: self.inner.len(), offsets, contexts }
    }
}

/// Some columns of an unfolded tensor.
#[derive(Debug)]
pub(super) struct Panel {
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

/// Weights of a 3 × 3 filter, the runs in which most convolutions are permuted.
pub(super) const TAPS: usize = 9;

impl Panel {
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
    pub(super) fn fill<T: Number>(&self, row: usize, panel: &Panel, out: &mut [T]) {
        let places = self.places;
        let inner = places.inner.len();
        let positions = &places.positions[row * places.context..][..places.context];
        match panel.order {
            PanelOrder::Contiguous => self.values.copy(positions[0] as usize * inner + panel.offsets[0], out),
            PanelOrder::Taps => self.values.runs(positions[0] as usize * inner, &panel.offsets, out),
            PanelOrder::Any => self.values.pick(positions[0] as usize * inner, &panel.offsets, out),
            PanelOrder::Contexts => {
                let place = |(at, &c): (&usize, &u32)| at + positions[c as usize] as usize * inner;
                let offsets: Vec<usize> = panel.offsets.iter().zip(&panel.contexts).map(place).collect();
                self.values.pick(0, &offsets, out);
            }
        }
    }
}

/// Numbers of a tensor, one after the other as its shape says, read where they lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values<'a> {
    /// Single precision, in memory.
    Plain(&'a [f32]),
    /// Single precision.
    F32(&'a [[u8; 4]]),
    /// Double precision.
    F64(&'a [[u8; 8]]),
    /// Half precision.
    F16(&'a [[u8; 2]]),
    /// Half precision with the range of f32.
    BF16(&'a [[u8; 2]]),
}

impl<'a> Values<'a> {
    /// The values of a floating-point tensor.
    pub(super) fn of(tensor: &'a Tensor) -> Result<Self> {
        let bytes = tensor.bytes();
        Ok(match tensor.dtype() {
            DType::F32 => Self::F32(bytes.as_chunks().0),
            DType::F64 => Self::F64(bytes.as_chunks().0),
            DType::F16 => Self::F16(bytes.as_chunks().0),
            DType::BF16 => Self::BF16(bytes.as_chunks().0),
            dtype => return Err(Error::NotFloat { tensor: String::new(), dtype, what: "similarities" }),
        })
    }

    /// Whether single precision would lose digits.
    pub(super) fn is_double(&self) -> bool {
        matches!(self, Self::F64(_))
    }

    fn copy<T: Number>(&self, from: usize, out: &mut [T]) {
        match *self {
            Self::Plain(v) => each(&v[from..], out, T::of_f32),
            Self::F32(v) => each(&v[from..], out, |b| T::of_f32(f32::from_le_bytes(b))),
            Self::F64(v) => each(&v[from..], out, |b| T::of_f64(f64::from_le_bytes(b))),
            Self::BF16(v) => each(&v[from..], out, |b| T::of_f32(widen(b))),
            Self::F16(v) => halves(v[from..].iter().copied(), out),
        }
    }

    fn runs<T: Number>(&self, base: usize, offsets: &[usize], out: &mut [T]) {
        match *self {
            Self::Plain(v) => run_by_run(&v[base..], offsets, out, T::of_f32),
            Self::F32(v) => run_by_run(&v[base..], offsets, out, |b| T::of_f32(f32::from_le_bytes(b))),
            Self::F64(v) => run_by_run(&v[base..], offsets, out, |b| T::of_f64(f64::from_le_bytes(b))),
            Self::BF16(v) => run_by_run(&v[base..], offsets, out, |b| T::of_f32(widen(b))),
            Self::F16(_) => self.pick(base, offsets, out),
        }
    }

    fn pick<T: Number>(&self, base: usize, offsets: &[usize], out: &mut [T]) {
        match *self {
            Self::Plain(v) => picked(&v[base..], offsets, out, T::of_f32),
            Self::F32(v) => picked(&v[base..], offsets, out, |b| T::of_f32(f32::from_le_bytes(b))),
            Self::F64(v) => picked(&v[base..], offsets, out, |b| T::of_f64(f64::from_le_bytes(b))),
            Self::BF16(v) => picked(&v[base..], offsets, out, |b| T::of_f32(widen(b))),
            Self::F16(v) => halves(offsets.iter().map(|at| v[base + at]), out),
        }
    }
}

fn each<S: Copy, T>(source: &[S], out: &mut [T], convert: impl Fn(S) -> T) {
    out.iter_mut().zip(source).for_each(|(o, s)| *o = convert(*s));
}

fn run_by_run<S: Copy, T>(source: &[S], offsets: &[usize], out: &mut [T], convert: impl Fn(S) -> T) {
    for (out, at) in out.as_chunks_mut::<TAPS>().0.iter_mut().zip(offsets.iter().step_by(TAPS)) {
        let run: &[S; TAPS] = source[*at..][..TAPS].try_into().expect("as long as a run");
        out.iter_mut().zip(run).for_each(|(o, s)| *o = convert(*s));
    }
}

fn picked<S: Copy, T>(source: &[S], offsets: &[usize], out: &mut [T], convert: impl Fn(S) -> T) {
    out.iter_mut().zip(offsets).for_each(|(o, at)| *o = convert(source[*at]));
}

fn widen(bf16: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bf16)) << 16)
}

/// Half precision is converted many at a time, which processors have instructions for.
fn halves<T: Number>(mut source: impl Iterator<Item = [u8; 2]>, out: &mut [T]) {
    let (mut bits, mut single) = ([f16::ZERO; 128], [0.0; 128]);
    for out in out.chunks_mut(128) {
        bits.iter_mut().zip(source.by_ref().take(out.len())).for_each(|(b, s)| *b = f16::from_le_bytes(s));
        bits[..out.len()].convert_to_f32_slice(&mut single[..out.len()]);
        each(&single, out, T::of_f32);
    }
}

/// What tensors are unfolded to.
pub(super) trait Number: Scalar + std::ops::SubAssign {
    /// From single precision, exactly.
    fn of_f32(value: f32) -> Self;
    /// From double precision, rounded.
    fn of_f64(value: f64) -> Self;
    /// `sum += a · bᵀ`, rows of `width` numbers each; the product in this precision, the sum in double. `zero` says that the
    /// sum is, so that it need not be read.
    fn add_product(sum: &mut [f64], zero: bool, a: &[Self], b: &[Self], width: usize, scratch: &mut Vec<Self>);
}

impl Number for f32 {
    fn of_f32(value: f32) -> Self {
        value
    }

    fn of_f64(value: f64) -> Self {
        value as Self
    }

    fn add_product(sum: &mut [f64], zero: bool, a: &[Self], b: &[Self], width: usize, scratch: &mut Vec<Self>) {
        // A few columns at a time, so that their products are added before they leave the cache.
        const COLUMNS: usize = 512;
        let (rows, side) = (a.len() / width, b.len() / width);
        for (k, b) in b.chunks(COLUMNS * width).enumerate() {
            let columns = b.len() / width;
            scratch.resize(rows * columns, 0.0);
            Self::matmul(scratch, Mat::new(a, rows, width), Mat::new(b, columns, width).t(), false);
            for (sum, products) in sum.chunks_exact_mut(side).zip(scratch.chunks_exact(columns)) {
                let sum = sum[k * COLUMNS..].iter_mut().zip(products);
                if zero {
                    sum.for_each(|(s, p)| *s = f64::from(*p));
                } else {
                    sum.for_each(|(s, p)| *s += f64::from(*p));
                }
            }
        }
    }
}

impl Number for f64 {
    fn of_f32(value: f32) -> Self {
        Self::from(value)
    }

    fn of_f64(value: f64) -> Self {
        value
    }

    fn add_product(sum: &mut [f64], zero: bool, a: &[Self], b: &[Self], width: usize, _: &mut Vec<Self>) {
        let (rows, side) = (a.len() / width, b.len() / width);
        Self::matmul(sum, Mat::new(a, rows, width), Mat::new(b, side, width).t(), !zero);
    }
}
