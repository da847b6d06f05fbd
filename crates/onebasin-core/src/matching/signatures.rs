//! What can be told of a unit before its neighbours are aligned.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;

use super::panels::PANEL;
use super::similarity::Gram;
use super::source::{Root, Source};
use super::values::{At, Factor, Values};
use super::weight::Weights;
use crate::error::Result;
use crate::params::Params;
use crate::symmetry::{Alignment, AxisLayout, GroupId, Occurrence, Symmetry, TensorLayout, for_each_index};

/// Similarities that leave the alignment of groups that are not known out of it.
///
/// Formula: a unit's slice of a tensor falls into orbits, the entries that elements of the unknown groups can exchange;
/// `s_i` is the slice with every orbit sorted, known groups being aligned. The similarity of units i and j is
/// `Σ_sites ⟨s_i(A), s_j(B)⟩`, so that its best assignment minimises `Σ ‖s_i(A) − s_j(B)‖²`, which is zero for every
/// unit of a planted permutation. With all groups known it is the plain weight similarity.
///
/// Of an orbit of more than 32 entries, sorted, 32 stretches of about the same length count instead, each by its sum over the
/// root of its length: neighbours in a sorted list say much the same, and a planted unit's stretches stay the same bits.
///
/// Cost: a sort of every slice, and one product per site of 32 columns for every orbit.
///
/// ```
/// use onebasin_core::matching::{Signatures, Source, Weights};
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w: [f32; 4]| -> Result<Params, onebasin_core::Error> {
///     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2, 2], w.to_vec())?)]))
/// };
/// let (a, b) = (net([1., 2., 3., 5.])?, net([5., 3., 2., 1.])?); // both axes reversed
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "g h")])?, &a)?;
/// let weights = Weights::new(&symmetry, &a, &b)?;
/// let grams = Signatures::new(&weights, &[]).grams(symmetry.group_named("g")?, &Alignment::identity(&symmetry))?;
/// assert_eq!(grams[0].data, [13., 5., 34., 13.]); // of rows sorted: (1, 2), (3, 5) with (3, 5), (1, 2)
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub struct Signatures<'a> {
    symmetry: &'a Symmetry,
    networks: [&'a Params; 2],
    known: Vec<GroupId>,
    roots: Vec<Root>,
}

impl<'a> Signatures<'a> {
    /// Signatures given that these groups are aligned; with none of them, nothing depends on how B is numbered.
    /// ```
    /// use onebasin_core::matching::{Signatures, Source, Weights};
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
    /// let (weights, identity) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
    /// let h = symmetry.roots()[0];
    /// let source = Signatures::new(&weights, &[]); // no other group stands beside `h`: nothing is sorted
    /// assert_eq!(source.grams(h, &identity)?[0].data, weights.grams(h, &identity)?[0].data);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new<'w: 'a>(weights: &'a Weights<'w>, known: &[GroupId]) -> Self {
        let root = |r: &Root| Root { neighbours: Vec::new(), quadratic: false, rounding: 0.0, ..r.clone() };
        Self {
            symmetry: weights.symmetry(),
            networks: weights.networks(),
            known: known.to_vec(),
            roots: weights.roots().iter().map(root).collect(),
        }
    }

    fn tensors(
        &self,
        root: GroupId,
    ) -> impl Iterator<Item = (&'a str, &'a TensorLayout, usize, &'a Occurrence, usize)> {
        let symmetry = self.symmetry;
        symmetry.tensors().flat_map(move |(name, layout)| {
            layout.axes.iter().enumerate().flat_map(move |(axis, x)| {
                x.occurrences.iter().flat_map(move |o| {
                    let digits = (0..o.digits.len()).filter(move |&d| o.digits[d].group == Some(root));
                    digits.map(move |d| (name, layout, axis, o, d))
                })
            })
        })
    }

    fn unknown(&self, group: Option<GroupId>) -> bool {
        group.is_some_and(|g| !self.known.contains(&g))
    }

    /// The share of a root's squared weights (of A) that stand beside known groups only; `squared` are those of tensors.
    pub(super) fn known_share(&self, root: GroupId, squared: &HashMap<&str, f64>) -> f64 {
        let (mut beside_known, mut all) = (0.0, 0.0);
        for (name, layout, axis, occurrence, digit) in self.tensors(root) {
            let norm = squared.get(name).copied().unwrap_or_default();
            let others = layout.axes.iter().enumerate().flat_map(|(x, layout)| {
                layout.occurrences.iter().flat_map(move |o| {
                    let own = x == axis && std::ptr::eq(o, occurrence);
                    let counts = x != axis || own;
                    o.digits
                        .iter()
                        .enumerate()
                        .filter(move |(d, _)| counts && !(own && *d == digit))
                        .map(|(_, d)| d.group)
                })
            });
            all += norm;
            if !others.into_iter().any(|g| self.unknown(g)) {
                beside_known += norm;
            }
        }
        if all > 0.0 { beside_known / all } else { 0.0 }
    }

    /// For every position of an axis, the first position that the unknown groups can exchange it with.
    fn orbits(&self, axis: &AxisLayout) -> Vec<u32> {
        let mut orbit: Vec<u32> = (0..axis.len as u32).collect();
        for occurrence in &axis.occurrences {
            occurrence.for_each(|values| orbit[occurrence.position(values)] = self.orbit(occurrence, values, None));
        }
        orbit
    }

    /// The position where these digits stand with the unknown ones (and `row`, the unit itself) at zero.
    fn orbit(&self, occurrence: &Occurrence, values: &[usize], row: Option<usize>) -> u32 {
        let first: Vec<usize> = values
            .iter()
            .enumerate()
            .map(|(d, &v)| if Some(d) == row || self.unknown(occurrence.digits[d].group) { 0 } else { v })
            .collect();
        occurrence.position(&first) as u32
    }

    fn add_site(
        &self,
        gram: &mut Gram,
        current: &Alignment,
        (name, layout, axis, occurrence, digit): (&str, &TensorLayout, usize, &Occurrence, usize),
    ) -> Result<()> {
        let shape = layout.laid_out();
        let n = occurrence.digits[digit].len;
        let own = self.contexts(current, occurrence, digit);
        // Columns: (entry of the tensor with the unit's own axis at 0, context on the own axis), and their orbit.
        let (mut columns, mut contexts, mut labels) = ([vec![0_usize], vec![0_usize]], vec![0_u32], vec![0_u64]);
        for (x, axis_layout) in layout.axes.iter().enumerate() {
            let len = shape[x];
            let (positions, label) = if x == axis {
                let count = own.labels.len();
                contexts = contexts.iter().flat_map(|_| 0..count as u32).collect();
                ([vec![0; count], vec![0; count]], own.labels.clone())
            } else {
                contexts = contexts.iter().flat_map(|&c| std::iter::repeat_n(c, len)).collect();
                ([(0..len as u32).collect(), current.axis_gather(self.symmetry, axis_layout)], self.orbits(axis_layout))
            };
            for (columns, positions) in columns.iter_mut().zip(&positions) {
                *columns = columns.iter().flat_map(|&c| positions.iter().map(move |&p| c * len + p as usize)).collect();
            }
            labels = labels.iter().flat_map(|&l| label.iter().map(move |&a| l * len as u64 + u64::from(a))).collect();
        }
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&c| labels[c]);
        let columns = columns.map(|at| order.iter().map(|&c| at[c]).collect());
        let contexts: Vec<u32> = order.iter().map(|&c| contexts[c]).collect();
        let mut orbits: Vec<Range<usize>> = Vec::new();
        for orbit in order.chunk_by(|&x, &y| labels[x] == labels[y]) {
            let start = orbits.last().map_or(0, |last| last.end);
            orbits.push(start..start + orbit.len());
        }
        let inner: usize = shape[axis + 1..].iter().product();
        let slices = Slices { units: n, inner, columns, contexts, orbits, own };
        let values = |net: usize| Values::of(name, self.networks[net].require(name)?);
        let values = [values(0)?, values(1)?];
        if values.iter().any(Values::is_double) {
            slices.add::<f64>(&mut gram.data, values);
        } else {
            slices.add::<f32>(&mut gram.data, values);
        }
        Ok(())
    }

    /// Where a unit and the other digits of its occurrence stand: by unit, then by context.
    fn contexts(&self, current: &Alignment, occurrence: &Occurrence, digit: usize) -> Contexts {
        let groups: Vec<Option<GroupId>> =
            occurrence.digits.iter().map(|d| d.group.filter(|g| self.known.contains(g))).collect();
        let lens: Vec<usize> =
            occurrence.digits.iter().enumerate().map(|(d, x)| if d == digit { 1 } else { x.len }).collect();
        let mut found = Contexts { positions: [Vec::new(), Vec::new()], labels: Vec::new() };
        for unit in 0..occurrence.digits[digit].len {
            for_each_index(&lens, |context| {
                let mut values = context.to_vec();
                values[digit] = unit;
                let source = current.source_digits(self.symmetry, &groups, &values);
                found.positions[0].push(occurrence.position(&values) as u32);
                found.positions[1].push(occurrence.position(&source) as u32);
                if unit == 0 {
                    found.labels.push(self.orbit(occurrence, &values, Some(digit)));
                }
            });
        }
        found
    }
}

/// Positions on a unit's own axis, in A and (known groups aligned) in B, by unit and context; the orbit of every context.
struct Contexts {
    positions: [Vec<u32>; 2],
    labels: Vec<u32>,
}

/// The slices of one site in both networks, their entries orbit after orbit.
struct Slices {
    units: usize,
    /// How far apart neighbours on the units' own axis lie.
    inner: usize,
    /// Of every entry, where it lies in A and in B, the unit's own axis at 0.
    columns: [Vec<usize>; 2],
    /// Of every entry, its context on that axis.
    contexts: Vec<u32>,
    /// Entries that the unknown groups can exchange, together.
    orbits: Vec<Range<usize>>,
    own: Contexts,
}

/// Stretches of a sorted orbit that are told apart.
const STRETCHES: usize = 32;

impl Slices {
    /// Adds the inner products of all pairs of signatures.
    fn add<T: Sorted>(&self, gram: &mut [f64], values: [Values<'_>; 2]) {
        let n = self.units;
        let length = |orbit: &Range<usize>| orbit.len().min(STRETCHES);
        let mut rest = &self.orbits[..];
        let [mut a, mut b] = [const { Vec::new() }; 2];
        while !rest.is_empty() && n > 0 {
            let (mut count, mut width) = (0, 0);
            while count < rest.len() && (count == 0 || width + length(&rest[count]) <= PANEL) {
                width += length(&rest[count]);
                count += 1;
            }
            let orbits = &rest[..count];
            rest = &rest[count..];
            for (net, rows) in [&mut a, &mut b].into_iter().enumerate() {
                rows.resize(n * width, T::default());
                rows.par_chunks_mut(width).enumerate().with_min_len(8).for_each_init(
                    Default::default,
                    |scratch, (u, row)| {
                        self.fill(net, u, orbits, values[net], row, scratch);
                    },
                );
            }
            gram.par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * width)).for_each_init(
                Vec::new,
                |scratch, (gram, a)| {
                    T::add_product(gram, false, a, &b, width, scratch);
                },
            );
        }
    }

    /// The signature of one unit over some orbits.
    fn fill<T: Sorted>(
        &self,
        net: usize,
        unit: usize,
        orbits: &[Range<usize>],
        values: Values<'_>,
        out: &mut [T],
        (entries, keys, offsets): &mut (Vec<T>, Vec<T::Key>, Vec<usize>),
    ) {
        let contexts = self.own.labels.len();
        let own = &self.own.positions[net][unit * contexts..][..contexts];
        let all = orbits[0].start..orbits[orbits.len() - 1].end;
        let columns = &self.columns[net][all.clone()];
        entries.resize(columns.len(), T::default());
        if contexts == 1 {
            values.read(At::Any(own[0] as usize * self.inner, columns), entries);
        } else {
            let at = |(&c, &x): (&usize, &u32)| c + own[x as usize] as usize * self.inner;
            offsets.clear();
            offsets.extend(columns.iter().zip(&self.contexts[all.clone()]).map(at));
            values.read(At::Any(0, offsets), entries);
        }
        let mut out = out.iter_mut();
        for orbit in orbits {
            let entries = &mut entries[orbit.start - all.start..orbit.end - all.start];
            let len = entries.len();
            if len > 1 {
                T::sort(entries, keys);
            }
            let stretches = len.min(STRETCHES);
            for (k, out) in out.by_ref().take(stretches).enumerate() {
                let stretch = &entries[k * len / stretches..(k + 1) * len / stretches];
                *out = match stretch {
                    [one] => *one,
                    many => T::of_f64(many.iter().map(|v| (*v).into()).sum::<f64>() / (many.len() as f64).sqrt()),
                };
            }
        }
    }
}

/// Rows of a product that one task computes.
const ROWS: usize = 64;

/// Numbers that are sorted as whole numbers, which is several times as quick.
trait Sorted: Factor + Into<f64> {
    type Key: Copy + Send;
    /// Sorts by IEEE's total order.
    fn sort(values: &mut [Self], keys: &mut Vec<Self::Key>);
}

impl Sorted for f32 {
    type Key = i32;

    fn sort(values: &mut [Self], keys: &mut Vec<i32>) {
        // The magnitude of what is negative the other way round; done twice, it is undone.
        let turned = |bits: i32| bits ^ ((bits >> 31) & i32::MAX);
        keys.clear();
        keys.extend(values.iter().map(|v| turned(v.to_bits() as i32)));
        keys.sort_unstable();
        values.iter_mut().zip(keys).for_each(|(v, key)| *v = Self::from_bits(turned(*key) as u32));
    }
}

impl Sorted for f64 {
    type Key = i64;

    fn sort(values: &mut [Self], keys: &mut Vec<i64>) {
        let turned = |bits: i64| bits ^ ((bits >> 63) & i64::MAX);
        keys.clear();
        keys.extend(values.iter().map(|v| turned(v.to_bits() as i64)));
        keys.sort_unstable();
        values.iter_mut().zip(keys).for_each(|(v, key)| *v = Self::from_bits(turned(*key) as u64));
    }
}

impl Source for Signatures<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.symmetry
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>> {
        let n = self.symmetry.group(root).size;
        let mut gram = Gram { digits: vec![root], lens: vec![n], data: vec![0.0; n * n] };
        for site in self.tensors(root) {
            if self.networks[0].require(site.0)?.dtype().is_float() {
                self.add_site(&mut gram, current, site)?;
            }
        }
        Ok(vec![gram])
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64> {
        let value = |root: &Root| -> Result<f64> {
            let grams = self.grams(root.id, alignment)?;
            let perm = &alignment.copies(root.id)[0];
            let n = grams[0].lens[0];
            Ok((0..n).map(|i| grams[0].data[i * n + perm.at(i)]).sum())
        };
        self.roots.iter().map(value).sum()
    }
}
