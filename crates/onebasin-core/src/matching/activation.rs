//! How well units of A correspond to units of B, measured on what they do: activations on the same data.
//!
//! A value inside a network is a tensor with a pattern like any parameter, so the Gram of its unfolding is a similarity
//! of its units, with products, concatenations, slices and families. [`TapMoments`] streams the first two moments of one
//! axis of one value; [`ActivationSimilarity`] makes Grams of the moments of all taps.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::similarity::Gram;
use super::unfold::{AxisSite, Places, Unfolded, sites};
use super::values::Values;
use crate::error::Result;
use crate::linalg::{Mat, Scalar};
use crate::names::escaped;
use crate::symmetry::{Alignment, GroupId, Symmetry, TensorLayout, for_each_index};

/// Samples taken at a time.
const PANEL: usize = 512;
/// Rows of the product computed by one task; fixed, so that results do not depend on the number of threads.
const ROWS: usize = 64;

/// What keeps activations from giving a similarity.
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::TapMoments;
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
/// let layout = symmetry.layout("relu1", &". h".parse()?, &[3, 2])?;
/// let error = TapMoments::new(&symmetry, "relu1", &layout, 2).unwrap_err();
/// assert_eq!(error.to_string(), "`relu1` is `. h`; it has no axis 2");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// An axis that a value lacks.
    #[error("`{name}` is `{pattern}`; it has no axis {axis}", name = escaped(.name))]
    NoAxis {
        /// Name of the value.
        name: String,
        /// Its pattern.
        pattern: String,
        /// The axis asked for, counted from 0.
        axis: usize,
    },
    /// A batch that does not fill the layout of its value.
    #[error("`{name}` should have {expected} numbers, found {found:?}", name = escaped(.name))]
    Numbers {
        /// Name of the value.
        name: String,
        /// Numbers that the layout holds.
        expected: usize,
        /// Numbers that came, of A and of B.
        found: [usize; 2],
    },
    /// A batch in whose axis other groups stand than in the first one's.
    #[error("axis {axis} of `{name}`, now `{pattern}`, has other groups than before", name = escaped(.name))]
    Groups {
        /// Name of the value.
        name: String,
        /// The axis, counted from 0.
        axis: usize,
        /// Its pattern in this batch.
        pattern: String,
    },
    /// Activations that hold a NaN or an infinity.
    #[error(
        "similarity: activations `{name}` of network {network} are not finite (their moments hold {value})",
        name = escaped(.name)
    )]
    NotFinite {
        /// Name of the value.
        name: String,
        /// `A` or `B`.
        network: &'static str,
        /// The first moment that is not finite.
        value: f64,
    },
    /// A value of which no batch came.
    #[error("no sample of activations `{name}` was seen", name = escaped(.name))]
    NoSamples {
        /// Name of the value.
        name: String,
    },
}

/// How the activations of two units become one number.
///
/// ```
/// use onebasin_core::matching::ActivationKind;
/// assert_eq!(ActivationKind::default(), ActivationKind::Pearson);
/// assert_eq!(serde_json::to_string(&ActivationKind::Uncentred)?, r#""uncentred""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationKind {
    /// `E[a b]`: maximised by the permutation that regresses A's activations on B's.
    Uncentred,
    /// Pearson's correlation `(E[a b] − E[a] E[b]) / (σ_a σ_b)`; 0 where a unit never changes.
    #[default]
    Pearson,
}

/// Moments of one axis of one value of two networks, streamed over batches.
///
/// Formula: for the units of every group in the axis, and every sample `s` (of the batch, and of every other axis, such
/// as pixels): means `μ_a, μ_b`, variances `σ_a², σ_b²` and covariances `1/S Σ_s (a_s − μ_a)(b_s − μ_b)ᵀ`, over panels of
/// 512 samples each centred by its own mean and combined by Chan's formula in f64. Results depend on how the data are
/// cut into calls only up to rounding, and not on the number of threads.
///
/// Other groups in the value are taken as they stand in both networks.
///
/// Cost: `2 n S` multiply-adds per unit of the `n` units; memory is `n²` and two panels.
///
/// Source: Chan, Golub, LeVeque 1983; Ainsworth et al. 2023, §3.1.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{ActivationKind, ActivationSimilarity, TapMoments};
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
/// let layout = symmetry.layout("relu1", &". h".parse()?, &[2, 2])?; // two samples, two units
/// let mut tap = TapMoments::new(&symmetry, "relu1", &layout, 1)?;
/// tap.add(&symmetry, &layout, &[1., 0., 2., 0.], &[0., 1., 0., 2.])?;
/// tap.add(&symmetry, &layout, &[3., 1., 4., 5.], &[1., 3., 5., 4.])?;
/// let found = ActivationSimilarity::new(&symmetry, vec![tap], ActivationKind::Uncentred)?;
/// assert_eq!(found.grams(symmetry.roots()[0])[0].data[1], (1. + 4. + 9. + 16.) / 4.); // E[a₀ b₁]
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TapMoments {
    name: String,
    axis: usize,
    sites: Vec<SiteMoments>,
}

/// Moments of the units at one place of an axis: a root group and its families.
#[derive(Debug, Clone)]
struct SiteMoments {
    digits: Vec<GroupId>,
    lens: Vec<usize>,
    count: f64,
    /// Of A and of B.
    mean: [Vec<f64>; 2],
    /// Sums of squared deviations of A and of B.
    squares: [Vec<f64>; 2],
    /// Sums of products of deviations.
    products: Vec<f64>,
}

impl TapMoments {
    /// No samples yet, of the groups in one axis of the value called `name`.
    ///
    /// # Errors
    /// [`ActivationError::NoAxis`] if the layout has no such axis.
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::matching::TapMoments;
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// let images = symmetry.layout("relu1", &". h . .".parse()?, &[8, 2, 4, 4])?; // every pixel is a sample
    /// assert!(TapMoments::new(&symmetry, "relu1", &images, 1).is_ok());
    /// assert!(TapMoments::new(&symmetry, "relu1", &images, 4).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(symmetry: &Symmetry, name: &str, layout: &TensorLayout, axis: usize) -> Result<Self> {
        if axis >= layout.axes.len() {
            return Err(
                ActivationError::NoAxis { name: name.to_owned(), pattern: layout.pattern.to_string(), axis }.into()
            );
        }
        let digits = places(symmetry, layout, axis).map(|site| site.digits());
        let sites = digits.map(|digits| SiteMoments::new(symmetry, digits)).collect();
        Ok(Self { name: name.to_owned(), axis, sites })
    }

    /// Takes a batch: the value as A and as B computes it on the same samples, laid out as `layout` says.
    ///
    /// # Errors
    /// [`ActivationError::Numbers`] if the numbers do not fill the layout, [`ActivationError::Groups`] if its groups are
    /// not those of the first layout.
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::matching::TapMoments;
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// let layout = |batch| symmetry.layout("relu1", &". h".parse()?, &[batch, 2]);
    /// let mut tap = TapMoments::new(&symmetry, "relu1", &layout(2)?, 1)?;
    /// tap.add(&symmetry, &layout(2)?, &[1., 0., 2., 0.], &[0., 1., 0., 2.])?;
    /// tap.add(&symmetry, &layout(1)?, &[3., 1.], &[1., 3.])?; // the last batch is shorter
    /// let error = tap.add(&symmetry, &layout(1)?, &[3.], &[1., 3.]).unwrap_err();
    /// assert_eq!(error.to_string(), "`relu1` should have 2 numbers, found [1, 2]");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn add(&mut self, symmetry: &Symmetry, layout: &TensorLayout, a: &[f32], b: &[f32]) -> Result<()> {
        let expected: usize = layout.axes.iter().map(|axis| axis.len).product();
        if a.len() != expected || b.len() != expected {
            let found = [a.len(), b.len()];
            return Err(ActivationError::Numbers { name: self.name.clone(), expected, found }.into());
        }
        let places: Vec<_> = places(symmetry, layout, self.axis).collect();
        if !places.iter().map(AxisSite::digits).eq(self.sites.iter().map(|s| s.digits.clone())) {
            let (name, pattern) = (self.name.clone(), layout.pattern.to_string());
            return Err(ActivationError::Groups { name, axis: self.axis, pattern }.into());
        }
        for (place, moments) in places.iter().zip(&mut self.sites) {
            let places = Places::new(symmetry, None, layout, place);
            moments.add([a, b].map(|values| Unfolded { values: Values::Plain(values), places: &places }));
        }
        Ok(())
    }

    /// Passes only if every activation seen was finite.
    fn check_finite(&self) -> Result<()> {
        for (network, k) in [("A", 0), ("B", 1)] {
            let numbers = self.sites.iter().flat_map(|s| s.mean[k].iter().chain(&s.squares[k]));
            if let Some(value) = numbers.copied().find(|v| !v.is_finite()) {
                return Err(ActivationError::NotFinite { name: self.name.clone(), network, value }.into());
            }
        }
        Ok(())
    }
}

/// The places of every root in one axis.
fn places<'a>(symmetry: &Symmetry, layout: &'a TensorLayout, axis: usize) -> impl Iterator<Item = AxisSite<'a>> {
    symmetry.roots().into_iter().flat_map(|root| sites(symmetry, root, layout)).filter(move |site| site.axis == axis)
}

impl SiteMoments {
    fn new(symmetry: &Symmetry, digits: Vec<GroupId>) -> Self {
        let lens: Vec<usize> = digits.iter().map(|g| symmetry.group(*g).size).collect();
        let n = lens.iter().product();
        let zeros = || [vec![0.0; n], vec![0.0; n]];
        Self { digits, lens, count: 0.0, mean: zeros(), squares: zeros(), products: vec![0.0; n * n] }
    }

    fn add(&mut self, unfolded: [Unfolded<'_>; 2]) {
        let places = unfolded[0].places;
        let (n, columns) = (places.rows(), places.columns());
        if n == 0 {
            return;
        }
        for from in (0..columns).step_by(PANEL) {
            let width = PANEL.min(columns - from);
            let columns = places.panel(std::slice::from_ref(&(from..from + width)));
            let share = self.count * width as f64 / (self.count + width as f64);
            let weight = width as f64 / (self.count + width as f64);
            let mut panels = [vec![0.0; n * width], vec![0.0; n * width]];
            let mut apart = [vec![0.0; n], vec![0.0; n]];
            for k in 0..2 {
                let rows = panels[k].par_chunks_mut(width).zip(&mut apart[k]);
                let units = rows.zip(&mut self.mean[k]).zip(&mut self.squares[k]).enumerate();
                units.with_min_len(ROWS).for_each(|(row, (((panel, apart), mean), squares))| {
                    unfolded[k].fill(row, &columns, panel);
                    let own = sum(panel, |v| v) / width as f64;
                    for v in panel.iter_mut() {
                        *v -= own;
                    }
                    *apart = own - *mean;
                    *squares += sum(panel, |v| v * v) + *apart * *apart * share;
                    *mean += *apart * weight;
                });
            }
            let [a, b] = &panels;
            self.products.par_chunks_mut(ROWS * n).enumerate().for_each(|(block, out)| {
                let (rows, start) = (out.len() / n, block * ROWS);
                let a = &a[start * width..][..rows * width];
                f64::matmul(out, Mat::new(a, rows, width), Mat::new(b, n, width).t(), true);
                for (out, a) in out.chunks_exact_mut(n).zip(&apart[0][start..]) {
                    out.iter_mut().zip(&apart[1]).for_each(|(o, b)| *o += a * b * share);
                }
            });
            self.count += width as f64;
        }
    }

    fn side(&self) -> usize {
        self.mean[0].len()
    }

    /// The similarity of unit `x` of A with unit `y` of B.
    fn at(&self, kind: ActivationKind, x: usize, y: usize) -> f64 {
        let product = self.products[x * self.side() + y];
        let value = match kind {
            ActivationKind::Uncentred => product / self.count + self.mean[0][x] * self.mean[1][y],
            ActivationKind::Pearson => product / (self.squares[0][x].sqrt() * self.squares[1][y].sqrt()),
        };
        let dead = kind == ActivationKind::Pearson && (self.squares[0][x] == 0.0 || self.squares[1][y] == 0.0);
        if dead { 0.0 } else { value }
    }
}

/// A sum in eight interleaved parts.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut parts = [0.0; 8];
    let (whole, rest) = values.as_chunks::<8>();
    for chunk in whole {
        parts.iter_mut().zip(chunk).for_each(|(p, v)| *p += of(*v));
    }
    parts.iter().sum::<f64>() + rest.iter().map(|v| of(*v)).sum::<f64>()
}

/// Grams of every root group, summed over its taps; each tap counts by its own number of samples.
///
/// They do not depend on the alignment, so [`Fixed`](super::Fixed) makes a source of them and one sweep finds the best
/// alignment:
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::matching::{ActivationKind, ActivationSimilarity, Fixed, MatchOptions, TapMoments, ascend};
/// use onebasin_core::symmetry::Alignment;
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
/// let layout = symmetry.layout("relu1", &". h".parse()?, &[3, 2])?;
/// let mut tap = TapMoments::new(&symmetry, "relu1", &layout, 1)?;
/// tap.add(&symmetry, &layout, &[1., 0., 2., 0., 3., 1.], &[0., 1., 0., 2., 1., 3.])?; // B: units exchanged
/// let similarity = ActivationSimilarity::new(&symmetry, vec![tap], ActivationKind::Pearson)?;
/// let source = Fixed::new(&symmetry, symmetry.roots().into_iter().map(|r| (r, similarity.grams(r).to_vec())));
/// let found = ascend(&source, &Alignment::identity(&symmetry), &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.copies(symmetry.roots()[0])[0].as_slice(), [1, 0]);
/// let (_, correlation) = similarity.matched(&symmetry, &found.alignment)[0];
/// assert!((correlation - 1.0).abs() < 1e-12);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ActivationSimilarity {
    grams: BTreeMap<GroupId, Vec<Gram>>,
    taps: Vec<TapMoments>,
}

impl ActivationSimilarity {
    /// Makes Grams of the moments of all taps.
    ///
    /// Shapes: as [`Gram`], rows are units of A. Cost: linear in the sizes of the moments.
    ///
    /// # Errors
    /// [`ActivationError::NotFinite`] names a tap whose activations are not finite; [`ActivationError::NoSamples`] one
    /// without samples.
    ///
    /// ```
    /// use onebasin_core::matching::{ActivationKind, ActivationSimilarity, TapMoments};
    /// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[2, 3], vec![0.0; 6])?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc1.weight", "h .")])?, &net)?;
    /// let layout = symmetry.layout("relu1", &". h".parse()?, &[3, 2])?;
    /// let mut tap = TapMoments::new(&symmetry, "relu1", &layout, 1)?;
    /// tap.add(&symmetry, &layout, &[1., 0., 2., 0., 3., 1.], &[0., 1., 0., 2., 1., 3.])?; // B: units exchanged
    /// let found = ActivationSimilarity::new(&symmetry, vec![tap], ActivationKind::Pearson)?;
    /// let gram = &found.grams(symmetry.roots()[0])[0];
    /// assert!((gram.data[1] - 1.0).abs() < 1e-12 && gram.data[0] < 1.0);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(symmetry: &Symmetry, taps: Vec<TapMoments>, kind: ActivationKind) -> Result<Self> {
        let mut grams: BTreeMap<GroupId, Vec<Gram>> = symmetry.roots().into_iter().map(|r| (r, Vec::new())).collect();
        for tap in &taps {
            tap.check_finite()?;
            for site in &tap.sites {
                if site.count == 0.0 {
                    return Err(ActivationError::NoSamples { name: tap.name.clone() }.into());
                }
                let n = site.side();
                let of_root = grams.entry(symmetry.root(site.digits[0])).or_default();
                let at = of_root.iter().position(|g| g.digits == site.digits).unwrap_or_else(|| {
                    let (digits, lens) = (site.digits.clone(), site.lens.clone());
                    of_root.push(Gram { digits, lens, data: vec![0.0; n * n] });
                    of_root.len() - 1
                });
                of_root[at].data.par_chunks_mut(n).enumerate().for_each(|(x, row)| {
                    row.iter_mut().enumerate().for_each(|(y, g)| *g += site.at(kind, x, y));
                });
            }
        }
        Ok(Self { grams, taps })
    }

    /// The same activations, compared otherwise.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn compared(&self, symmetry: &Symmetry, kind: ActivationKind) -> Result<Self> {
        Self::new(symmetry, self.taps.clone(), kind)
    }

    /// The Grams of a root group and its families, one for every set of digits that its taps show; none if it has no
    /// tap. The type has an example.
    pub fn grams(&self, root: GroupId) -> &[Gram] {
        self.grams.get(&root).map_or(&[], Vec::as_slice)
    }

    /// Mean correlation of matched units under an alignment of B: for every root group with a tap, the mean over its taps
    /// and over its units (of its families, where they show) of the correlation of unit `i` of A with the unit of B that
    /// the alignment puts at `i`.
    ///
    /// Cost: one number per unit and tap.
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::matching::{ActivationKind, ActivationSimilarity, TapMoments};
    /// use onebasin_core::symmetry::Alignment;
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// let layout = symmetry.layout("relu1", &". h".parse()?, &[3, 2])?;
    /// let mut tap = TapMoments::new(&symmetry, "relu1", &layout, 1)?;
    /// tap.add(&symmetry, &layout, &[1., 1., 2., 0., 3., 1.], &[2., 5., 4., 3., 6., 5.])?; // scaled and shifted
    /// let similarity = ActivationSimilarity::new(&symmetry, vec![tap], ActivationKind::Pearson)?;
    /// let (_, correlation) = similarity.matched(&symmetry, &Alignment::identity(&symmetry))[0];
    /// assert!((correlation - 1.0).abs() < 1e-12);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn matched(&self, symmetry: &Symmetry, alignment: &Alignment) -> Vec<(GroupId, f64)> {
        let mut means: BTreeMap<GroupId, (f64, f64)> = BTreeMap::new();
        for site in self.taps.iter().flat_map(|tap| &tap.sites) {
            let digits: Vec<Option<GroupId>> = site.digits.iter().copied().map(Some).collect();
            let flat = |values: &[usize]| values.iter().zip(&site.lens).fold(0, |at, (v, len)| at * len + v);
            let mut total = 0.0;
            for_each_index(&site.lens, |values| {
                let source = alignment.source_digits(symmetry, &digits, values);
                total += site.at(ActivationKind::Pearson, flat(values), flat(&source));
            });
            let (sum, count) = means.entry(symmetry.root(site.digits[0])).or_default();
            *sum += total / site.side() as f64;
            *count += 1.0;
        }
        means.into_iter().map(|(root, (sum, count))| (root, sum / count)).collect()
    }
}
