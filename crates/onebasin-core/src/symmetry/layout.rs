//! What an axis is made of, once sizes are known: boxes of digits.
//!
//! An axis is a disjoint union of *occurrences*. An occurrence is a product of digits, each running over the units of a
//! group or over fixed entries, and says at which position of the axis every combination of digits stands. A group that
//! stands in slices gives one occurrence of several *boxes*, each an affine map from digits to positions.

use super::group::GroupId;
use super::pattern::{Term, TermKind};

/// One axis: its length and what stands in it.
///
/// ```
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = Params::from_iter([("fc.weight".to_owned(), Tensor::from_f32(&[1, 6], vec![0.; 6])?)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc.weight", ". (c 2)")])?, &net)?;
/// let axis = &symmetry.tensor("fc.weight")?.axes[1];
/// let occurrence = &axis.occurrences[0];
/// assert_eq!((axis.len, occurrence.digits[0].len, occurrence.digits[1].len), (6, 3, 2));
/// assert_eq!(occurrence.position(&[2, 1]), 5); // unit 2 of c, entry 1
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisLayout {
    /// Number of entries.
    pub len: usize,
    /// What stands in it; together the occurrences cover every position once.
    pub occurrences: Vec<Occurrence>,
}

/// A product of digits standing somewhere in an axis: `(c 2)` is one of two digits, `(c1 + c2)` two of one digit each.
/// ```
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = Params::from_iter([("w".to_owned(), Tensor::from_f32(&[5], vec![0.; 5])?)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "(3 + h)")])?, &net)?;
/// let [fixed, units] = &symmetry.tensor("w")?.axes[0].occurrences[..] else { panic!("two parts") };
/// assert_eq!((fixed.digits[0].group, units.digits[0].len), (None, 2));
/// assert_eq!((fixed.position(&[1]), units.position(&[1])), (1, 4));
/// let mut positions = Vec::new();
/// units.for_each(|values| positions.push(units.position(values)));
/// assert_eq!(positions, [3, 4]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The digits, outermost first.
    pub digits: Vec<Digit>,
    boxes: Vec<AxisBox>,
    sliced: Option<usize>,
}

/// One digit of an occurrence: it runs over the units of a group, or over entries that stay.
/// ```
/// use onebasin_core::symmetry::Digit;
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
/// let digit = symmetry.tensor("fc1.weight")?.axes[0].occurrences[0].digits[0];
/// assert_eq!(digit, Digit { group: Some(symmetry.group_named("h")?), len: 2 });
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// The group it runs over; fixed structure if there is none.
    pub group: Option<GroupId>,
    /// Number of values.
    pub len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AxisBox {
    offset: usize,
    strides: Vec<usize>,
    slice: std::ops::Range<usize>,
}

impl AxisLayout {
    /// An axis of entries that all stay.
    pub(super) fn fixed(len: usize) -> Self {
        let whole = AxisBox { offset: 0, strides: vec![1], slice: 0..0 };
        let digits = vec![Digit { group: None, len }];
        Self { len, occurrences: vec![Occurrence { digits, boxes: vec![whole], sliced: None }] }
    }
}

impl Occurrence {
    /// The position in the axis where these digits stand.
    ///
    /// Formula: `offset + Σ_d values[d] · stride_d` of the box that holds them.
    ///
    /// # Panics
    /// If a digit of a sliced group is not below its length.
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "(3 h)")])?, &net(&[0.; 6])?)?;
    /// let occurrence = &symmetry.tensor("w")?.axes[0].occurrences[0];
    /// assert_eq!(occurrence.position(&[2, 1]), 5); // entry 2, unit 1: 2 · 2 + 1
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn position(&self, values: &[usize]) -> usize {
        let (part, shift) = match self.sliced {
            None => (&self.boxes[0], 0),
            Some(digit) => {
                let inside = |b: &&AxisBox| b.slice.contains(&values[digit]);
                let part = self.boxes.iter().find(inside).expect("slices tile the group");
                (part, part.slice.start * part.strides[digit])
            }
        };
        part.offset + values.iter().zip(&part.strides).map(|(v, s)| v * s).sum::<usize>() - shift
    }

    /// Calls `visit` with every combination of digits, the last running fastest; see [`Occurrence`] for an example.
    pub fn for_each(&self, visit: impl FnMut(&[usize])) {
        for_each_index(&self.digits.iter().map(|d| d.len).collect::<Vec<_>>(), visit);
    }
}

/// Calls `visit` with every multi-index below `lens`, the last running fastest.
/// ```
/// use onebasin_core::symmetry::for_each_index;
/// let mut seen = Vec::new();
/// for_each_index(&[2, 2], |index| seen.push(index.to_vec()));
/// assert_eq!(seen, [[0, 0], [0, 1], [1, 0], [1, 1]]);
/// ```
pub fn for_each_index(lens: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut index = vec![0; lens.len()];
    for _ in 0..lens.iter().product::<usize>() {
        visit(&index);
        for (digit, &len) in index.iter_mut().zip(lens).rev() {
            *digit += 1;
            if *digit < len {
                break;
            }
            *digit = 0;
        }
    }
}

/// A box while it is being built: one product of a term, slices not yet joined.
#[derive(Debug, Clone)]
pub(super) struct BoxPiece {
    offset: usize,
    digits: Vec<(Digit, usize)>,
    slice: Option<(usize, std::ops::Range<usize>)>,
}

/// The extent of a term and its boxes; groups are looked up by name. Extents saturate instead of overflowing.
pub(super) fn expand(term: &Term, axis_len: usize, group: &dyn Fn(&str) -> (GroupId, usize)) -> (usize, Vec<BoxPiece>) {
    expand_at(term, axis_len, group, None)
}

/// The same at one entry of what chooses; where nothing does, the first case stands for all.
fn expand_at(
    term: &Term,
    axis_len: usize,
    group: &dyn Fn(&str) -> (GroupId, usize),
    entry: Option<usize>,
) -> (usize, Vec<BoxPiece>) {
    let fixed =
        |len: usize| (len, vec![BoxPiece { offset: 0, digits: vec![(Digit { group: None, len }, 1)], slice: None }]);
    match &term.kind {
        TermKind::Fixed => fixed(axis_len),
        TermKind::Number(n) => fixed(*n),
        TermKind::Group { name, slice, .. } => {
            let (id, len) = group(name);
            let digits = vec![(Digit { group: Some(id), len }, 1)];
            let slice = slice.map(|(start, end)| (0, start..end));
            let extent = slice.as_ref().map_or(len, |(_, s)| s.len());
            (extent, vec![BoxPiece { offset: 0, digits, slice }])
        }
        TermKind::Sum(parts) => {
            let mut extent = 0_usize;
            let mut pieces = Vec::new();
            for part in parts {
                let (len, inner) = expand_at(part, axis_len, group, entry);
                pieces.extend(inner.into_iter().map(|p| BoxPiece { offset: p.offset.saturating_add(extent), ..p }));
                extent = extent.saturating_add(len);
            }
            (extent, pieces)
        }
        TermKind::Chooser(n) => match entry {
            Some(entry) => (*n, vec![BoxPiece { offset: entry, digits: Vec::new(), slice: None }]),
            None => fixed(*n),
        },
        TermKind::Cases(cases) => expand_at(&cases[entry.unwrap_or(0).min(cases.len() - 1)], axis_len, group, entry),
        TermKind::Product(factors) => {
            let own = factors.iter().find_map(|f| if let TermKind::Chooser(n) = f.kind { Some(n) } else { None });
            let Some(count) = own.filter(|_| factors.iter().any(open_cases)) else {
                return product(factors, axis_len, group, entry);
            };
            let each = (0..count).map(|entry| product(factors, axis_len, group, Some(entry)));
            each.reduce(|(n, mut all), (m, pieces)| {
                all.extend(pieces);
                (n.max(m), all)
            })
            .unwrap_or_default()
        }
    }
}

fn product(
    factors: &[Term],
    axis_len: usize,
    group: &dyn Fn(&str) -> (GroupId, usize),
    entry: Option<usize>,
) -> (usize, Vec<BoxPiece>) {
    let mut product = (1_usize, vec![BoxPiece { offset: 0, digits: Vec::new(), slice: None }]);
    for factor in factors {
        let (len, inner) = expand_at(factor, axis_len, group, entry);
        let pieces = product.1.iter().flat_map(|outer| inner.iter().map(|p| outer.times(p, len))).collect();
        product = (product.0.saturating_mul(len), pieces);
    }
    product
}

/// Whether cases stand in a term that nothing in it chooses.
pub(super) fn open_cases(term: &Term) -> bool {
    match &term.kind {
        TermKind::Cases(_) => true,
        TermKind::Product(factors) => {
            !factors.iter().any(|f| matches!(f.kind, TermKind::Chooser(_))) && factors.iter().any(open_cases)
        }
        TermKind::Sum(parts) => parts.iter().any(open_cases),
        TermKind::Fixed | TermKind::Number(_) | TermKind::Group { .. } | TermKind::Chooser(_) => false,
    }
}

impl BoxPiece {
    /// This piece as the outer factor of `inner`, whose whole term has extent `len`.
    fn times(&self, inner: &Self, len: usize) -> Self {
        let outer = self.digits.iter().map(|&(d, s)| (d, s.saturating_mul(len)));
        let depth = self.digits.len();
        Self {
            offset: self.offset.saturating_mul(len).saturating_add(inner.offset),
            digits: outer.chain(inner.digits.iter().copied()).collect(),
            slice: self.slice.clone().or_else(|| inner.slice.clone().map(|(d, s)| (d + depth, s))),
        }
    }
}

/// Joins the slices of one group into one occurrence.
///
/// # Errors
/// The group whose slices do not cover all its units once, and why.
pub(super) fn join_slices(len: usize, pieces: Vec<BoxPiece>) -> Result<AxisLayout, (GroupId, String)> {
    let mut occurrences: Vec<Occurrence> = Vec::new();
    for piece in pieces {
        let digits: Vec<Digit> = piece.digits.iter().map(|d| d.0).collect();
        let sliced = piece.slice.as_ref().map(|(digit, _)| *digit);
        let slice = piece.slice.map_or(0..0, |(_, range)| range);
        let part = AxisBox { offset: piece.offset, strides: piece.digits.iter().map(|d| d.1).collect(), slice };
        let open = occurrences.iter_mut().find(|o| {
            let overlaps = |b: &AxisBox| b.slice.start < part.slice.end && part.slice.start < b.slice.end;
            sliced.is_some() && o.sliced == sliced && o.digits == digits && !o.boxes.iter().any(overlaps)
        });
        match open {
            Some(occurrence) => occurrence.boxes.push(part),
            None => occurrences.push(Occurrence { digits, boxes: vec![part], sliced }),
        }
    }
    for occurrence in &mut occurrences {
        let Some(digit) = occurrence.sliced else { continue };
        occurrence.boxes.sort_by_key(|b| b.slice.start);
        let Digit { group: Some(group), len: units } = occurrence.digits[digit] else { continue };
        let covered = occurrence.boxes.iter().fold(0, |at, b| if b.slice.start == at { b.slice.end } else { at });
        let count: usize = occurrence.boxes.iter().map(|b| b.slice.len()).sum();
        if covered != units || count != units {
            let slices: Vec<String> =
                occurrence.boxes.iter().map(|b| format!("[{}:{}]", b.slice.start, b.slice.end)).collect();
            let why = format!("its slices {} do not cover its {units} units once", slices.join(", "));
            return Err((group, why));
        }
    }
    Ok(AxisLayout { len, occurrences })
}
