//! How well units of A correspond to units of B, measured on the weights.

use std::ops::Range;

use rayon::prelude::*;

use super::accelerator::RootProducts;
use super::cache::LEVELS;
use super::panels::{PANEL, PartColumns, SitePart, add_products, cut};
use super::unfold::{AxisSite, ColumnPanel, Places, Unfolded, sites};
use super::values::{Factor, TAPS, Values};
use crate::error::Result;
use crate::linalg::vectorized;
use crate::params::Params;
use crate::symmetry::{Alignment, GroupId, Symmetry, TensorLayout};

/// Inner products of slices of A and B, indexed by the units that are free to move.
///
/// For digits `d_1 … d_k` of lengths `n_1 … n_k`, `data` is square of side `∏ n`, row-major: entry `(x, y)` is the inner
/// product of the slice of A at units `x` with the slice of B at units `y`, everything else aligned.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{Fixed, Gram, MatchOptions, ascend};
/// use onebasin_core::symmetry::Alignment;
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
/// let h = symmetry.roots()[0];
/// let gram = Gram { digits: vec![h], lens: vec![2], data: vec![0., 1., 1., 0.] }; // crosswise, by hand
/// let source = Fixed::new(&symmetry, [(h, vec![gram])]);
/// let found = ascend(&source, &Alignment::identity(&symmetry), &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.copies(h)[0].as_slice(), [1, 0]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    /// The free groups: a root, then the families below it, in the order of their ids.
    pub digits: Vec<GroupId>,
    /// Number of units of each.
    pub lens: Vec<usize>,
    /// The inner products.
    pub data: Vec<f64>,
}

/// The Grams of a root group and its families, given the alignment of all other groups.
///
/// Formula: for every site, `unfold(A) · unfold(π'(B))ᵀ`, where `π'` is the current alignment of everything but the
/// group at that site; sites with the same free digits are added. Products of 1152 columns are f32 and are added in f64;
/// where a tensor is f64, so are they.
///
/// Cost: `2 n · numel` flops for every tensor and axis where a group of `n` units stands; memory is the result and a panel
/// of 1152 columns.
///
/// # Errors
/// If a tensor of the symmetry is missing.
///
/// Source: Ainsworth et al. 2023, Algorithm 1 and §3.2, generalised to any axis, product and family.
///
/// ```
/// use onebasin_core::matching::weight_grams;
/// use onebasin_core::symmetry::Alignment;
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let grams = weight_grams(&symmetry, symmetry.roots()[0], &Alignment::identity(&symmetry), &a, &b)?;
/// assert_eq!(grams[0].data, [41., 30., 61., 41.]); // 41 + 41 = 82 as they stand, 30 + 61 = 91 exchanged
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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

/// Adds the Grams of a root in the tensors of a symmetry to Grams of the same digits.
///
/// # Errors
/// Those of [`weight_grams`].
pub(super) fn add_weight_grams(
    symmetry: &Symmetry,
    root: GroupId,
    current: &Alignment,
    [a, b]: [&Params; 2],
    grams: &mut [Gram],
) -> Result<()> {
    let sites = RootSites::new(symmetry, root, a, b)?;
    let places = sites.places(symmetry, current);
    sites.add(grams, &places, None, false, |k| std::iter::once(0..places[k].columns()).collect(), None)
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
    site: AxisSite<'a>,
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
                let values = [Values::of(name, a)?, Values::of(name, b)?];
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

    /// Flops of the Grams, their entries, and entries of the slices they are of.
    pub(super) fn shape(&self) -> (f64, f64, f64) {
        let side = |gram: usize| self.grams[gram].1.iter().product::<usize>() as f64;
        let slices = |site: &PairSite<'_>| side(site.gram) * site.places.columns() as f64;
        let flops = self.sites.iter().map(|site| 2.0 * side(site.gram) * slices(site)).sum();
        (flops, self.bytes() as f64 / 8.0, self.sites.iter().map(slices).sum())
    }

    /// Bytes of the Grams.
    pub(super) fn bytes(&self) -> usize {
        self.grams.iter().map(|(_, lens)| 8 * lens.iter().product::<usize>().pow(2)).sum()
    }

    /// The Grams with B's entries at `places`, on the device that holds the networks, if one does.
    ///
    /// # Errors
    /// Of the device.
    pub(super) fn grams(&self, places: &[Places], device: Option<&dyn RootProducts>) -> Result<Vec<Gram>> {
        let mut grams = self.empty();
        let all = |k: usize| std::iter::once(0..self.sites[k].places.columns()).collect();
        self.add(&mut grams, places, None, true, all, device)?;
        Ok(grams)
    }

    /// The same over some columns of every site.
    ///
    /// # Errors
    /// Of the device.
    pub(super) fn grams_of(
        &self,
        places: &[Places],
        columns: &[Vec<Range<usize>>],
        device: Option<&dyn RootProducts>,
    ) -> Result<Vec<Gram>> {
        let mut grams = self.empty();
        self.add(&mut grams, places, None, true, |k| columns[k].clone(), device)?;
        Ok(grams)
    }

    /// Adds more columns.
    ///
    /// # Errors
    /// Of the device.
    pub(super) fn extend(
        &self,
        grams: &mut [Gram],
        places: &[Places],
        columns: &[Vec<Range<usize>>],
        device: Option<&dyn RootProducts>,
    ) -> Result<()> {
        self.add(grams, places, None, false, |k| columns[k].clone(), device)
    }

    fn empty(&self) -> Vec<Gram> {
        let empty = |(digits, lens): &(Vec<GroupId>, Vec<usize>)| {
            let side: usize = lens.iter().product();
            Gram { digits: digits.clone(), lens: lens.clone(), data: vec![0.0; side * side] }
        };
        self.grams.iter().map(empty).collect()
    }

    /// Units of a root without families whose Gram is single precision.
    pub(super) fn plain_side(&self) -> Option<usize> {
        match &self.grams[..] {
            [(_, lens)] if lens.len() == 1 && !self.sites.iter().any(PairSite::is_double) => Some(lens[0]),
            _ => None,
        }
    }

    /// Some of the columns of every site, in blocks that lie evenly among them, part after part; all of a site that is small.
    pub(super) fn sample(&self, parts: Range<usize>) -> Vec<Vec<Range<usize>>> {
        /// In which order parts of the columns are taken.
        const PARTS: [usize; LEVELS] = [0, 4, 2, 6, 1, 5, 3, 7];
        let of_site = |site: &PairSite<'_>| {
            let columns = site.places.columns();
            if columns < LEVELS * 2 * TAPS || parts == (0..LEVELS) {
                return if parts.start == 0 { std::iter::once(0..columns).collect() } else { Vec::new() };
            }
            // Four blocks a part, and whole filters where there are any.
            let block = (columns / (4 * LEVELS)).clamp(TAPS, 8 * TAPS);
            let block = if columns.is_multiple_of(TAPS) { block / TAPS * TAPS } else { block };
            let taken = |k: &usize| parts.clone().any(|part| PARTS[part] == k % LEVELS);
            let blocks = (0..columns.div_ceil(block)).filter(taken);
            blocks.map(|k| k * block..columns.min((k + 1) * block)).collect()
        };
        self.sites.iter().map(of_site).collect()
    }

    /// Inner products of these rows of A and of B over these columns, and the rows' own.
    pub(super) fn pairings(
        &self,
        places: &[Places],
        pairs: &[(usize, usize)],
        columns: &[Vec<Range<usize>>],
    ) -> Vec<Pairing> {
        if self.sites.iter().any(PairSite::is_double) {
            self.pair::<f64>(places, pairs, columns)
        } else {
            self.pair::<f32>(places, pairs, columns)
        }
    }

    fn pair<T: Factor + Into<f64>>(
        &self,
        places: &[Places],
        pairs: &[(usize, usize)],
        columns: &[Vec<Range<usize>>],
    ) -> Vec<Pairing> {
        let mut sums = vec![Pairing::default(); pairs.len()];
        for ((site, places), columns) in self.sites.iter().zip(places).zip(columns) {
            let [a, b] = site.values;
            let (a, b) = (Unfolded { values: a, places: &site.places }, Unfolded { values: b, places });
            let panels: Vec<[ColumnPanel; 2]> =
                in_panels(columns).iter().map(|c| [a.places.panel(c), b.places.panel(c)]).collect();
            let task = |[x, y]: &mut [Vec<T>; 2], (sums, pairs): (&mut [Pairing], &[(usize, usize)])| {
                for [own, other] in &panels {
                    x.resize(own.width(), T::default());
                    y.resize(own.width(), T::default());
                    for (sum, &(i, j)) in sums.iter_mut().zip(pairs) {
                        a.fill(i, own, x);
                        b.fill(j, other, y);
                        sum.add(x, y);
                    }
                }
            };
            let pairs = pairs.par_chunks(TASK);
            sums.par_chunks_mut(TASK).zip(pairs).for_each_init(|| [const { Vec::new() }; 2], task);
        }
        sums
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
        device: Option<&dyn RootProducts>,
    ) -> Result<()> {
        self.add(grams, places, Some(before), false, |k| columns[k].clone(), device)
    }

    fn add(
        &self,
        grams: &mut [Gram],
        places: &[Places],
        before: Option<&[Places]>,
        zero: bool,
        columns: impl Fn(usize) -> Vec<Range<usize>>,
        device: Option<&dyn RootProducts>,
    ) -> Result<()> {
        for (at, gram) in grams.iter_mut().enumerate() {
            let parts = self.sites.iter().enumerate().filter(|(_, site)| site.gram == at).map(|(k, site)| {
                let [a, b] = site.values;
                SitePart {
                    pair: site.pair,
                    a: Unfolded { values: a, places: &site.places },
                    b: Unfolded { values: b, places: &places[k] },
                    before: before.map(|before| Unfolded { values: b, places: &before[k] }),
                    columns: columns(k),
                }
            });
            let parts: Vec<SitePart<'_>> = parts.collect();
            let side = gram.lens.iter().product();
            if parts.iter().any(|p| p.a.values.is_double() || p.b.values.is_double()) {
                add_products::<f64>(&mut gram.data, side, &parts, zero);
            } else if let Some(device) = device
                && parts.iter().all(|p| !p.a.values.is_short() && !p.b.values.is_short())
            {
                let panels = cut(&parts);
                let panels = panels.iter().map(|segments| segments.iter().map(PartColumns::columns).collect());
                let products = device.products(side, &panels.collect::<Vec<_>>())?;
                gram.data.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
            } else {
                add_products::<f32>(&mut gram.data, side, &parts, zero);
            }
        }
        Ok(())
    }

    /// What the value changes by where row `i` of every site is paired with `to(i)` instead of `from(i)`, in f64.
    pub(super) fn gain(&self, places: &[Places], pairs: &[(usize, usize, usize)]) -> f64 {
        let all: Vec<Vec<Range<usize>>> = places.iter().map(|p| std::iter::once(0..p.columns()).collect()).collect();
        let with = |to: bool| -> Vec<Pairing> {
            let pairs = pairs.iter().map(|&(row, old, new)| (row, if to { new } else { old }));
            self.pairings(places, &pairs.collect::<Vec<_>>(), &all)
        };
        with(true).iter().zip(with(false)).map(|(to, from)| to.product - from.product).sum()
    }
}

impl PairSite<'_> {
    /// Whether single precision would lose digits.
    fn is_double(&self) -> bool {
        self.values.iter().any(Values::is_double)
    }
}

/// Rows that are paired by one task.
const TASK: usize = 16;

/// A row of A beside one of B.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairing {
    /// Their inner product.
    pub(super) product: f64,
    /// Those with themselves.
    pub(super) squares: [f64; 2],
}

impl Pairing {
    /// The product of their norms.
    pub(super) fn norms(&self) -> f64 {
        (self.squares[0] * self.squares[1]).sqrt()
    }

    /// Adds more columns, in f64; sums run side by side, which processors do several times as quickly.
    fn add<T: Copy + Into<f64>>(&mut self, x: &[T], y: &[T]) {
        const LANES: usize = 8;
        let sums = vectorized(
            #[inline(always)]
            || {
                let (mut sums, mut a, mut b) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
                for (x, y) in x.iter().zip(y) {
                    for k in 0..LANES {
                        let (x, y): (f64, f64) = (x[k].into(), y[k].into());
                        sums[k] += x * y;
                        a[k] += x * x;
                        b[k] += y * y;
                    }
                }
                for (k, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
                    let (x, y): (f64, f64) = (x.into(), y.into());
                    sums[k] += x * y;
                    a[k] += x * x;
                    b[k] += y * y;
                }
                [sums, a, b].map(|lanes| lanes.iter().sum::<f64>())
            },
        );
        self.product += sums[0];
        self.squares[0] += sums[1];
        self.squares[1] += sums[2];
    }
}

/// Ranges of columns, cut and put together to panels.
fn in_panels(columns: &[Range<usize>]) -> Vec<Vec<Range<usize>>> {
    let (mut panels, mut open, mut room) = (Vec::new(), Vec::new(), PANEL);
    for range in columns {
        let mut rest = range.clone();
        while !rest.is_empty() {
            let width = rest.len().min(room);
            open.push(rest.start..rest.start + width);
            (rest.start, room) = (rest.start + width, room - width);
            if room == 0 {
                panels.push(std::mem::take(&mut open));
                room = PANEL;
            }
        }
    }
    if !open.is_empty() {
        panels.push(open);
    }
    panels
}
