//! How well units of A correspond to units of B, measured on the weights.

use rayon::prelude::*;

use crate::dtype::DType;
use crate::error::Result;
use crate::linalg::{Mat, Scalar};
use crate::params::Params;
use crate::symmetry::layout::{AxisLayout, Occurrence, for_each_index};
use crate::symmetry::{Alignment, GroupId, Symmetry, TensorLayout};
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

/// Columns of the unfolded tensors held at a time.
pub(super) const PANEL: usize = 512;
/// Rows of the product computed by one task; fixed, so that results do not depend on the number of threads.
pub(super) const ROWS: usize = 64;

/// The Grams of a root group and its families, given the alignment of all other groups.
///
/// Formula: for every site, `unfold(A) · unfold(π'(B))ᵀ`, where `π'` is the current alignment of everything but the
/// group at that site; sites with the same free digits are added.
/// Cost: `2 n · numel` flops for every tensor and axis where a group of `n` units stands, in f64; memory is the result
/// and a panel of 512 columns of each tensor.
/// Source: Ainsworth et al. 2023, Algorithm 1 and §3.2, generalised to any axis, product and family.
pub fn weight_grams(
    symmetry: &Symmetry,
    root: GroupId,
    current: &Alignment,
    a: &Params,
    b: &Params,
) -> Result<Vec<Gram>> {
    let mut grams: Vec<Gram> = Vec::new();
    for (name, layout) in symmetry.tensors() {
        let (ta, tb) = (a.require(name)?, b.require(name)?);
        if !ta.dtype().is_float() {
            continue;
        }
        for site in sites(symmetry, root, layout) {
            let digits = site.digits();
            let at = grams.iter().position(|g| g.digits == digits).unwrap_or_else(|| {
                let lens: Vec<usize> = digits.iter().map(|g| symmetry.group(*g).size).collect();
                let side: usize = lens.iter().product();
                grams.push(Gram { digits, lens, data: vec![0.0; side * side] });
                grams.len() - 1
            });
            add_site(symmetry, current, layout, &site, ta, tb, &mut grams[at])?;
        }
    }
    Ok(grams)
}

/// A place where a root and its families stand: an axis, an occurrence, and which of its digits are free.
pub(super) struct Site<'a> {
    /// The axis.
    pub(super) axis: usize,
    occurrence: &'a Occurrence,
    /// Indices of the free digits, in the order of their groups.
    moving: Vec<usize>,
}

impl Site<'_> {
    fn group(&self, digit: usize) -> GroupId {
        self.occurrence.digits[digit].group.expect("free digits belong to groups")
    }

    /// The free groups, in the order of their ids.
    pub(super) fn digits(&self) -> Vec<GroupId> {
        self.moving.iter().map(|&d| self.group(d)).collect()
    }
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
pub fn is_quadratic(symmetry: &Symmetry, root: GroupId, layout: &TensorLayout) -> bool {
    let sites = sites(symmetry, root, layout);
    sites
        .iter()
        .enumerate()
        .any(|(i, s)| sites[..i].iter().any(|t| t.axis != s.axis || std::ptr::eq(t.occurrence, s.occurrence)))
}

/// Positions along the axis by free row and by context, for A (in place) and for B (context aligned).
struct Rows {
    context: usize,
    a: Vec<u32>,
    b: Vec<u32>,
}

fn rows(symmetry: &Symmetry, current: &Alignment, site: &Site<'_>) -> Rows {
    let digits = &site.occurrence.digits;
    let fixed: Vec<usize> = (0..digits.len()).filter(|d| !site.moving.contains(d)).collect();
    let lens = |which: &[usize]| which.iter().map(|&d| digits[d].len).collect::<Vec<_>>();
    let (moving_lens, fixed_lens) = (lens(&site.moving), lens(&fixed));
    let aligned: Vec<Option<GroupId>> =
        (0..digits.len()).map(|d| if site.moving.contains(&d) { None } else { digits[d].group }).collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut values = vec![0; digits.len()];
    for_each_index(&moving_lens, |row| {
        site.moving.iter().zip(row).for_each(|(&d, &v)| values[d] = v);
        for_each_index(&fixed_lens, |context| {
            fixed.iter().zip(context).for_each(|(&d, &v)| values[d] = v);
            a.push(site.occurrence.position(&values) as u32);
            b.push(site.occurrence.position(&current.source_digits(symmetry, &aligned, &values)) as u32);
        });
    });
    Rows { context: fixed_lens.iter().product(), a, b }
}

/// A tensor unfolded along one axis: rows are free units, columns run over (context, outer, inner).
pub(super) struct Unfolded<'a> {
    values: Values<'a>,
    positions: Vec<u32>,
    context: usize,
    len: usize,
    inner: usize,
    outer_source: Vec<u32>,
    inner_source: Option<Vec<u32>>,
}

/// Numbers of a tensor, one after the other as its shape says.
pub(super) enum Values<'a> {
    /// Single precision.
    F32(std::borrow::Cow<'a, [f32]>),
    /// Double precision.
    F64(std::borrow::Cow<'a, [f64]>),
}

impl<'a> Values<'a> {
    fn of(tensor: &'a Tensor) -> Result<Self> {
        Ok(if tensor.dtype() == DType::F64 { Self::F64(tensor.to_f64()?) } else { Self::F32(tensor.to_f32()?) })
    }

    fn copy(&self, out: &mut [f64], from: usize) {
        match self {
            Self::F32(v) => out.iter_mut().zip(&v[from..]).for_each(|(o, &v)| *o = f64::from(v)),
            Self::F64(v) => out.copy_from_slice(&v[from..from + out.len()]),
        }
    }

    fn pick(&self, out: &mut [f64], base: usize, at: &[u32]) {
        match self {
            Self::F32(v) => out.iter_mut().zip(at).for_each(|(o, &i)| *o = f64::from(v[base + i as usize])),
            Self::F64(v) => out.iter_mut().zip(at).for_each(|(o, &i)| *o = v[base + i as usize]),
        }
    }
}

impl<'a> Unfolded<'a> {
    /// A's tensor, and B's with everything but the free units aligned by `current`.
    pub(super) fn pair(
        symmetry: &Symmetry,
        current: &Alignment,
        layout: &TensorLayout,
        site: &Site<'_>,
        [a, b]: [Values<'a>; 2],
    ) -> [Self; 2] {
        let rows = rows(symmetry, current, site);
        let (before, after) = (&layout.axes[..site.axis], &layout.axes[site.axis + 1..]);
        let count = |axes: &[AxisLayout]| -> usize { axes.iter().map(|axis| axis.len).product() };
        let source = |axes: &[AxisLayout]| {
            flatten(&axes.iter().map(|axis| current.axis_gather(symmetry, axis)).collect::<Vec<_>>())
        };
        let unfold = |values, positions, outer_source, inner_source: Option<Vec<u32>>| Self {
            values,
            positions,
            context: rows.context,
            len: layout.axes[site.axis].len,
            inner: count(after),
            outer_source,
            inner_source: inner_source.filter(|s| s.iter().enumerate().any(|(i, &j)| i != j as usize)),
        };
        let in_place = (0..count(before) as u32).collect();
        [unfold(a, rows.a, in_place, None), unfold(b, rows.b, source(before), Some(source(after)))]
    }

    /// Number of rows: of combinations of free units.
    pub(super) fn rows(&self) -> usize {
        self.positions.len() / self.context.max(1)
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.context * self.outer_source.len() * self.inner
    }

    /// Columns `from ..` of one row.
    pub(super) fn fill(&self, row: usize, from: usize, out: &mut [f64]) {
        let outer = self.outer_source.len();
        let mut done = 0;
        while done < out.len() {
            let column = from + done;
            let (i, rest) = (column % self.inner, column / self.inner);
            let run = (self.inner - i).min(out.len() - done);
            let position = self.positions[row * self.context + rest / outer] as usize;
            let base = (self.outer_source[rest % outer] as usize * self.len + position) * self.inner;
            let out = &mut out[done..done + run];
            match &self.inner_source {
                None => self.values.copy(out, base + i),
                Some(source) => self.values.pick(out, base, &source[i..i + run]),
            }
            done += run;
        }
    }
}

fn add_site(
    symmetry: &Symmetry,
    current: &Alignment,
    layout: &TensorLayout,
    site: &Site<'_>,
    a: &Tensor,
    b: &Tensor,
    gram: &mut Gram,
) -> Result<()> {
    let [ua, ub] = Unfolded::pair(symmetry, current, layout, site, [Values::of(a)?, Values::of(b)?]);
    let (n, columns) = (ua.rows(), ua.columns());
    if n == 0 {
        return Ok(());
    }
    for from in (0..columns).step_by(PANEL) {
        let width = PANEL.min(columns - from);
        let mut panel = vec![0.0; n * width];
        panel.par_chunks_mut(width).enumerate().for_each(|(row, out)| ub.fill(row, from, out));
        gram.data.par_chunks_mut(ROWS * n).enumerate().for_each(|(block, out)| {
            let rows = out.len() / n;
            let mut slice = vec![0.0; rows * width];
            slice.chunks_mut(width).enumerate().for_each(|(r, s)| ua.fill(block * ROWS + r, from, s));
            f64::matmul(out, Mat::new(&slice, rows, width), Mat::new(&panel, n, width).t(), true);
        });
    }
    Ok(())
}

/// The gather of several axes flattened into one, the last running fastest.
fn flatten(gathers: &[Vec<u32>]) -> Vec<u32> {
    gathers.iter().fold(vec![0], |flat, axis| {
        flat.iter().flat_map(|&outer| axis.iter().map(move |&i| outer * axis.len() as u32 + i)).collect()
    })
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
        let (ta, tb) = (a.require(name)?, b.require(name)?);
        if ta.dtype().is_float() {
            let moved = alignment.apply_tensor(symmetry, name, tb)?;
            sum += dot(&ta.to_f64()?, &moved.to_f64()?);
        }
    }
    Ok(sum)
}

/// Inner product in blocks of 4096, so that rounding grows with the number of blocks, not of entries.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let block = |(x, y): (&[f64], &[f64])| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    a.par_chunks(4096).zip(b.par_chunks(4096)).map(block).collect::<Vec<f64>>().iter().sum()
}
