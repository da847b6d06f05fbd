//! How well units of A correspond to units of B, measured on the weights.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::accelerator::{Columns, Products};
use super::unfold::{Number, Panel, Places, Site, TAPS, Unfolded, Values, sites};
use crate::convert;
use crate::error::Result;
use crate::params::Params;
use crate::symmetry::{Alignment, Gather, GroupId, Symmetry, TensorLayout};
use crate::tensor::Tensor;

/// Inner products of slices of A and B, indexed by the units that are free to move.
///
/// For digits `d_1 … d_k` of lengths `n_1 … n_k`, `data` is square of side `∏ n`, row-major: entry `(x, y)` is the inner
/// product of the slice of A at units `x` with the slice of B at units `y`, everything else aligned.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    /// The free groups: a root, then the families below it, in the order of their ids.
    pub digits: Vec<GroupId>,
    /// Number of units of each.
    pub lens: Vec<usize>,
    /// The inner products.
    pub data: Vec<f64>,
}

/// Columns of the unfolded tensors multiplied at a time: sums of so many products are single precision.
const PANEL: usize = 128 * TAPS;

/// Rows of a product of this side computed by one task: enough tasks for many threads, and enough rows that preparing
/// the other factor for each costs little. They do not depend on the number of threads, so neither do results.
fn rows_of(side: usize) -> usize {
    (side / 4).next_multiple_of(16).clamp(64, 256)
}

/// The Grams of a root group and its families, given the alignment of all other groups.
///
/// Formula: for every site, `unfold(A) · unfold(π'(B))ᵀ`, where `π'` is the current alignment of everything but the
/// group at that site; sites with the same free digits are added. Products of 1152 columns are f32 and are added in f64;
/// where a tensor is f64, so are they.
/// Cost: `2 n · numel` flops for every tensor and axis where a group of `n` units stands; memory is the result and a panel
/// of 1152 columns.
/// Source: Ainsworth et al. 2023, Algorithm 1 and §3.2, generalised to any axis, product and family.
pub fn weight_grams(
    symmetry: &Symmetry,
    root: GroupId,
    current: &Alignment,
    a: &Params,
    b: &Params,
) -> Result<Vec<Gram>> {
    let sites = RootSites::new(symmetry, root, a, b)?;
    sites.grams(&sites.places(symmetry, current), None)
}

/// All places of a root and its families in both networks.
#[derive(Debug, Default)]
pub(super) struct RootSites<'a> {
    sites: Vec<PairSite<'a>>,
    /// Free groups and their sizes, of every Gram.
    grams: Vec<(Vec<GroupId>, Vec<usize>)>,
}

/// One place in both networks.
#[derive(Debug)]
struct PairSite<'a> {
    layout: &'a TensorLayout,
    site: Site<'a>,
    /// Place of the tensor in the symmetry.
    pair: usize,
    values: [Values<'a>; 2],
    /// Where entries of A lie.
    places: Places,
    /// Index of the Gram it adds to.
    gram: usize,
}

impl<'a> RootSites<'a> {
    /// Finds the places in floating-point tensors.
    ///
    /// # Errors
    /// If a tensor of the symmetry is missing.
    pub(super) fn new(symmetry: &'a Symmetry, root: GroupId, a: &'a Params, b: &'a Params) -> Result<Self> {
        let mut found = Self { sites: Vec::new(), grams: Vec::new() };
        for (pair, (name, layout)) in symmetry.tensors().enumerate() {
            let (a, b) = (a.require(name)?, b.require(name)?);
            if !a.dtype().is_float() {
                continue;
            }
            for site in sites(symmetry, root, layout) {
                let digits = site.digits();
                let gram = found.grams.iter().position(|(d, _)| *d == digits).unwrap_or_else(|| {
                    let lens = digits.iter().map(|g| symmetry.group(*g).size).collect();
                    found.grams.push((digits, lens));
                    found.grams.len() - 1
                });
                let values = [Values::of(a)?, Values::of(b)?];
                let places = Places::new(symmetry, None, layout, &site);
                found.sites.push(PairSite { layout, site, pair, values, places, gram });
            }
        }
        Ok(found)
    }

    /// Where an alignment finds the entries of B, site by site.
    pub(super) fn places(&self, symmetry: &Symmetry, alignment: &Alignment) -> Vec<Places> {
        self.sites.iter().map(|s| Places::new(symmetry, Some(alignment), s.layout, &s.site)).collect()
    }

    /// Number of columns of all sites.
    pub(super) fn columns(&self) -> usize {
        self.sites.iter().map(|s| s.places.columns()).sum()
    }

    /// Bytes of the Grams.
    pub(super) fn bytes(&self) -> usize {
        self.grams.iter().map(|(_, lens)| 8 * lens.iter().product::<usize>().pow(2)).sum()
    }

    /// The Grams with B's entries at `places`, on the device that holds the networks, if one does.
    ///
    /// # Errors
    /// Of the device.
    pub(super) fn grams(&self, places: &[Places], device: Option<&dyn Products>) -> Result<Vec<Gram>> {
        let empty = |(digits, lens): &(Vec<GroupId>, Vec<usize>)| {
            let side: usize = lens.iter().product();
            Gram { digits: digits.clone(), lens: lens.clone(), data: vec![0.0; side * side] }
        };
        let mut grams: Vec<Gram> = self.grams.iter().map(empty).collect();
        let all = |k: usize| std::iter::once(0..self.sites[k].places.columns()).collect();
        self.add(&mut grams, places, None, all, device)?;
        Ok(grams)
    }

    /// Brings Grams of B's entries at `before` to those at `places`; only these columns, by site, differ.
    ///
    /// Formula: `C += A_S · (B_S − B'_S)ᵀ`, S being the columns and B' what they were.
    ///
    /// # Errors
    /// Of the device.
    pub(super) fn update(
        &self,
        grams: &mut [Gram],
        before: &[Places],
        places: &[Places],
        columns: &[Vec<Range<usize>>],
        device: Option<&dyn Products>,
    ) -> Result<()> {
        self.add(grams, places, Some(before), |k| columns[k].clone(), device)
    }

    fn add(
        &self,
        grams: &mut [Gram],
        places: &[Places],
        before: Option<&[Places]>,
        columns: impl Fn(usize) -> Vec<Range<usize>>,
        device: Option<&dyn Products>,
    ) -> Result<()> {
        for (at, gram) in grams.iter_mut().enumerate() {
            let parts = self.sites.iter().enumerate().filter(|(_, site)| site.gram == at).map(|(k, site)| {
                let [a, b] = site.values;
                Part {
                    pair: site.pair,
                    a: Unfolded { values: a, places: &site.places },
                    b: Unfolded { values: b, places: &places[k] },
                    before: before.map(|before| Unfolded { values: b, places: &before[k] }),
                    columns: columns(k),
                }
            });
            let parts: Vec<Part<'_>> = parts.collect();
            let side = gram.lens.iter().product();
            if parts.iter().any(|p| p.a.values.is_double() || p.b.values.is_double()) {
                add_products::<f64>(&mut gram.data, side, &parts, before.is_none());
            } else if let Some(device) = device {
                let panels = cut(&parts);
                let panels = panels.iter().map(|segments| segments.iter().map(Segment::columns).collect());
                let products = device.products(side, &panels.collect::<Vec<_>>())?;
                gram.data.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
            } else {
                add_products::<f32>(&mut gram.data, side, &parts, before.is_none());
            }
        }
        Ok(())
    }

    /// What the value changes by where row `i` of every site is paired with `to(i)` instead of `from(i)`, in f64.
    pub(super) fn gain(&self, places: &[Places], pairs: &[(usize, usize, usize)]) -> f64 {
        let gain = |&(row, from, to): &(usize, usize, usize)| {
            let mut sum = 0.0;
            for (site, places) in self.sites.iter().zip(places) {
                let [a, b] = site.values;
                let (a, b) = (Unfolded { values: a, places: &site.places }, Unfolded { values: b, places });
                let columns = places.columns();
                let [mut x, mut y, mut z] = [(); 3].map(|()| vec![0.0; PANEL.min(columns)]);
                for start in (0..columns).step_by(PANEL) {
                    let range = start..columns.min(start + PANEL);
                    let range = std::slice::from_ref(&range);
                    let (own, other) = (site.places.panel(range), places.panel(range));
                    let width = own.width();
                    a.fill(row, &own, &mut x[..width]);
                    b.fill(from, &other, &mut y[..width]);
                    b.fill(to, &other, &mut z[..width]);
                    sum += (0..width).map(|k| x[k] * (z[k] - y[k])).sum::<f64>();
                }
            }
            sum
        };
        pairs.par_iter().map(gain).collect::<Vec<f64>>().iter().sum()
    }
}

/// One site in A and in B, and the columns that count.
struct Part<'a> {
    /// Place of the tensor in the symmetry.
    pair: usize,
    a: Unfolded<'a>,
    b: Unfolded<'a>,
    /// What is taken off B.
    before: Option<Unfolded<'a>>,
    columns: Vec<Range<usize>>,
}

/// Columns of one part.
struct Segment<'p> {
    part: &'p Part<'p>,
    a: Panel,
    b: Panel,
    before: Option<Panel>,
}

impl Segment<'_> {
    /// The same as tables, for devices.
    fn columns(&self) -> Columns<'_> {
        let Part { pair, a, b, before, .. } = self.part;
        let before = before.zip(self.before.as_ref()).map(|(unfolded, panel)| unfolded.places.table(panel));
        Columns { pair: *pair, a: a.places.table(&self.a), b: b.places.table(&self.b), before }
    }

    fn fill_a<T: Number>(&self, row: usize, out: &mut [T]) {
        self.part.a.fill(row, &self.a, out);
    }

    fn fill_b<T: Number>(&self, row: usize, out: &mut [T], scratch: &mut Vec<T>) {
        self.part.b.fill(row, &self.b, out);
        if let (Some(unfolded), Some(panel)) = (&self.part.before, &self.before) {
            scratch.resize(out.len(), T::default());
            unfolded.fill(row, panel, scratch);
            out.iter_mut().zip(&*scratch).for_each(|(o, s)| *o -= *s);
        }
    }
}

/// The columns of all parts, side by side, in panels of at most [`PANEL`].
fn cut<'p>(parts: &'p [Part<'p>]) -> Vec<Vec<Segment<'p>>> {
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
            open.push(Segment { part, a: part.a.places.panel(&taken), b: part.b.places.panel(&taken), before });
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
fn row_of<T>(segments: &[Segment<'_>], mut row: &mut [T], mut fill: impl FnMut(&Segment<'_>, &mut [T])) {
    for segment in segments {
        let (head, tail) = row.split_at_mut(segment.a.width());
        fill(segment, head);
        row = tail;
    }
}

/// Adds to `sum`, which is `side × side`, the products of all parts; where it is `zero`, it is written without being read,
/// so that memory fresh from the system is touched once.
fn add_products<T: Number>(sum: &mut [f64], side: usize, parts: &[Part<'_>], mut zero: bool) {
    let (mut panel, rows, scratch) = (Vec::new(), rows_of(side), Pool::default());
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
struct Pool<T>(Mutex<Vec<[Vec<T>; 2]>>);

impl<T> Pool<T> {
    fn lend(&self, task: impl FnOnce(&mut [Vec<T>; 2])) {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = lock().pop().unwrap_or_default();
        task(&mut memory);
        lock().push(memory);
    }
}

/// `⟨A, π(B)⟩`: the sum over all floating-point tensors of the products of corresponding weights.
///
/// Maximising it is minimising the L2 distance between A and π(B). Cost: one pass over both networks.
/// Sums are f64, over fixed blocks, so the value does not depend on the number of threads.
pub fn objective(symmetry: &Symmetry, alignment: &Alignment, a: &Params, b: &Params) -> Result<f64> {
    let names: Vec<&str> = symmetry.tensors().map(|(name, _)| name).collect();
    tensor_objective(symmetry, alignment, a, b, &names)
}

/// The part of [`objective`] that the named tensors contribute.
pub(crate) fn tensor_objective(
    symmetry: &Symmetry,
    alignment: &Alignment,
    a: &Params,
    b: &Params,
    names: &[&str],
) -> Result<f64> {
    let mut sum = 0.0;
    for name in names {
        let (a, b) = (a.require(name)?, b.require(name)?);
        if a.dtype().is_float() {
            let gather = Gather::new(symmetry, alignment, name, b)?;
            let sizes = [a.dtype().size(), b.dtype().size()];
            sum += blocks(a.len(), |start, x, y| {
                let mut moved = [0; 8 * BLOCK];
                let moved = &mut moved[..y.len() * sizes[1]];
                gather.fill(b.bytes(), start, moved);
                convert::decode(a.dtype(), &a.bytes()[start * sizes[0]..][..x.len() * sizes[0]], x);
                convert::decode(b.dtype(), moved, y);
            });
        }
    }
    Ok(sum)
}

/// The sum of squares of a floating-point tensor.
pub(super) fn squares(tensor: &Tensor) -> f64 {
    let size = tensor.dtype().size();
    blocks(tensor.len(), |start, x, y| {
        convert::decode(tensor.dtype(), &tensor.bytes()[start * size..][..x.len() * size], x);
        y.copy_from_slice(x);
    })
}

const BLOCK: usize = 2048;

/// Inner product of two lists of `len` numbers, which `read` gives from a start on; in blocks, so that rounding grows with
/// the number of blocks, not of entries.
fn blocks(len: usize, read: impl Fn(usize, &mut [f64], &mut [f64]) + Sync) -> f64 {
    let block = |k: usize| {
        let (mut x, mut y) = ([0.0; BLOCK], [0.0; BLOCK]);
        let width = BLOCK.min(len - k * BLOCK);
        let (x, y) = (&mut x[..width], &mut y[..width]);
        read(k * BLOCK, x, y);
        x.iter().zip(y).map(|(x, y)| *x * *y).sum::<f64>()
    };
    (0..len.div_ceil(BLOCK)).into_par_iter().map(block).collect::<Vec<f64>>().iter().sum()
}

/// Inner product in blocks of 2048, so that rounding grows with the number of blocks, not of entries.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    blocks(a.len(), |start, x, y| {
        x.copy_from_slice(&a[start..][..x.len()]);
        y.copy_from_slice(&b[start..][..y.len()]);
    })
}
