//! Networks in a wider graph: where the units of A and of B stand in it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Widener, follow};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId, ValueSource};
use crate::params::Params;
use crate::symmetry::{
    AxisLayout, Digit, Group, GroupId, Occurrence, Symmetry, SymmetrySpec, TensorLayout, for_each_index,
};
use crate::tensor::{Tensor, element_count};

/// Which of two networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The reference.
    A,
    /// The network that was aligned with it.
    B,
}

/// A graph in which chosen pairs of units stand side by side.
///
/// A group of `n` units of which `k` pairs are kept apart has `n + k`: unit `i` below `n` is unit `i` of A, averaged with
/// unit `i` of B unless the pair is kept apart; those from `n` on are the units of B that have a place of their own, in
/// ascending order.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::widen::{End, Wide, Widener};
/// use onebasin_core::{Params, Tensor};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 1])?;
/// let h = g.linear("fc1", x, 2)?;
/// let y = g.linear("fc2", h, 1)?;
/// g.output(y);
/// let net = |w: [f32; 2], v: [f32; 2]| -> Result<Params, onebasin_core::Error> {
///     let mut net = Params::new();
///     net.insert("fc1.weight", Tensor::from_f32(&[2, 1], w.to_vec())?);
///     net.insert("fc1.bias", Tensor::from_f32(&[2], vec![0.0; 2])?);
///     net.insert("fc2.weight", Tensor::from_f32(&[1, 2], v.to_vec())?);
///     net.insert("fc2.bias", Tensor::from_f32(&[1], vec![0.0])?);
///     Ok(net)
/// };
/// let widener = Widener::new(&g)?;
/// let group = widener.symmetry().group_named("fc1")?;
/// let wide = Wide::new(&widener, [(group, vec![1])].into())?;
/// let a = wide.embed(&net([1., 2.], [3., 4.])?, End::A)?;
/// let b = wide.embed(&net([5., 6.], [7., 8.])?, End::B)?;
/// assert_eq!(a.require("fc1.weight")?.to_f32()?[..], [1., 2., 0.]);
/// assert_eq!(b.require("fc1.weight")?.to_f32()?[..], [5., 0., 6.]);
/// // The mix averages unit 0, and has unit 1 of A and of B; what reads them gives each network its half.
/// let mixed = wide.mix([&a, &b], 0.5)?;
/// assert_eq!(mixed.require("fc1.weight")?.to_f32()?[..], [3., 2., 6.]);
/// assert_eq!(mixed.require("fc2.weight")?.to_f32()?[..], [5., 2., 4.]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Wide<'w> {
    widener: &'w Widener,
    graph: Graph,
    symmetry: Symmetry,
    /// Units of every group whose pairs are kept apart, ascending.
    apart: BTreeMap<GroupId, Vec<usize>>,
    /// Running variances, which are 1 where nothing is.
    variances: BTreeSet<String>,
}

impl<'w> Wide<'w> {
    /// The graph in which these units of A and of B, by group, have places of their own.
    ///
    /// Cost: one inference of shapes per node.
    ///
    /// # Errors
    /// [`Error::Graph`] if a group keeps its width, or has no such unit.
    pub fn new(widener: &'w Widener, apart: BTreeMap<GroupId, Vec<usize>>) -> Result<Self> {
        let mut sizes = BTreeMap::new();
        let mut sorted = BTreeMap::new();
        for (group, units) in apart {
            let (name, size) = {
                let group = widener.symmetry.group(group);
                (group.name.clone(), group.size)
            };
            let units: Vec<usize> = units.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            if let Some(unit) = units.last().filter(|unit| **unit >= size) {
                return Err(Error::Graph { node: name, why: format!("a group of {size} units has no unit {unit}") });
            }
            if !units.is_empty() {
                sizes.insert(name, size + units.len());
                sorted.insert(group, units);
            }
        }
        let graph = widener.sized(&sizes)?;
        let size = |group: &Group| (group.name.clone(), sizes.get(&group.name).copied().unwrap_or(group.size));
        let patterns = widener.symmetry.tensors().map(|(name, layout)| (name.to_owned(), layout.pattern.clone()));
        let spec =
            SymmetrySpec { sizes: widener.symmetry.groups().iter().map(size).collect(), tensors: patterns.collect() };
        let symmetry = Symmetry::resolve(&spec, &super::shapes_of(&graph)?)?;
        let variances = graph.statistics().skip(1).step_by(2).map(|v| graph.value(v).name.clone()).collect();
        Ok(Self { widener, graph, symmetry, apart: sorted, variances })
    }

    /// The wide graph; its values have the numbers that they have in [`Widener::graph`].
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Number of units of every group that got more, by name.
    pub fn sizes(&self) -> BTreeMap<String, usize> {
        let group = |id: &GroupId| self.symmetry.group(*id);
        self.apart.keys().map(group).map(|group| (group.name.clone(), group.size)).collect()
    }

    /// A network of [`Widener::graph`] in the wide graph: its units in their places, and units of nothing where only the
    /// other network has one, which are computed as zero, read by none, and have mean 0 and variance 1 where such are kept.
    /// It computes what it did before.
    ///
    /// Cost: one pass over the wide weights.
    ///
    /// # Errors
    /// If a tensor is missing, or has not the shape that the graph has.
    pub fn embed(&self, params: &Params, end: End) -> Result<Params> {
        let mut found = Params::new();
        for value in self.graph.params() {
            let tensor = params.require(&value.name)?;
            let (narrow, wide) = (self.widener.symmetry.tensor(&value.name)?, self.symmetry.tensor(&value.name)?);
            if tensor.shape() != narrow.shape {
                let (expected, found) = (narrow.shape.clone(), tensor.shape().to_vec());
                let tensor = value.name.clone();
                return Err(Error::Shape { tensor, expected, place: "the graph", found });
            }
            let tables: Vec<Vec<Option<usize>>> =
                narrow.axes.iter().zip(&wide.axes).map(|(narrow, wide)| self.places(narrow, wide, end)).collect();
            let nothing = if self.variances.contains(&value.name) { 1.0 } else { 0.0 };
            let tensor = tensor.shaped(&narrow.laid_out())?;
            let wide = scattered(&tensor, &wide.laid_out(), &tables, nothing)?;
            found.insert(&value.name, wide.shaped(&value.shape)?);
        }
        Ok(found)
    }

    /// Of every position of a wide axis, the one it comes from; none where this network has no unit.
    fn places(&self, narrow: &AxisLayout, wide: &AxisLayout, end: End) -> Vec<Option<usize>> {
        let mut table = vec![None; wide.len];
        for (from, to) in narrow.occurrences.iter().zip(&wide.occurrences) {
            for_each_digits(to, |digits| {
                let source = |(digit, unit): (&Digit, &usize)| match digit.group {
                    Some(group) => self.source(group, *unit, end),
                    None => Some(*unit),
                };
                let values: Option<Vec<usize>> = to.digits.iter().zip(digits).map(source).collect();
                table[to.position(digits)] = values.map(|values| from.position(&values));
            });
        }
        table
    }

    /// The unit of a network that has this place of a wide group.
    fn source(&self, group: GroupId, unit: usize, end: End) -> Option<usize> {
        let Some(apart) = self.apart.get(&group) else { return Some(unit) };
        let narrow = self.widener.symmetry.group(group).size;
        match end {
            End::A => (unit < narrow).then_some(unit),
            End::B if unit < narrow => apart.binary_search(&unit).is_err().then_some(unit),
            End::B => apart.get(unit - narrow).copied(),
        }
    }

    /// How much A and B count at the units of an axis of a value, `lambda` from A (0) to B (1): `[1 − λ, λ]` where both
    /// are averaged, `[1, 0]` and `[0, 1]` where one has a place of its own. None where all units are averaged.
    ///
    /// # Errors
    /// If the value has no layout.
    pub fn shares(&self, value: ValueId, axis: usize, lambda: f64) -> Result<Option<[Vec<f64>; 2]>> {
        let pattern = self.widener.pattern(value).filter(|_| self.widener.is_free_along(value, axis));
        let Some(pattern) = pattern else { return Ok(None) };
        let value = self.graph.value(value);
        let layout = self.symmetry.layout(&value.name, pattern, &value.shape)?;
        Ok(layout.axes.get(axis).and_then(|axis| self.axis_shares(axis, lambda)))
    }

    fn axis_shares(&self, axis: &AxisLayout, lambda: f64) -> Option<[Vec<f64>; 2]> {
        let mut shares = [vec![1.0 - lambda; axis.len], vec![lambda; axis.len]];
        let mut any = false;
        for occurrence in &axis.occurrences {
            for_each_digits(occurrence, |digits| {
                for (digit, unit) in occurrence.digits.iter().zip(digits) {
                    let Some(group) = digit.group else { continue };
                    let has = [End::A, End::B].map(|end| self.source(group, *unit, end).is_some());
                    if let [true, false] | [false, true] = has {
                        any = true;
                        let at = occurrence.position(digits);
                        shares[0][at] = f64::from(u8::from(has[0]));
                        shares[1][at] = f64::from(u8::from(has[1]));
                    }
                }
            });
        }
        any.then_some(shares)
    }

    /// What two embedded networks give together: every unit that both have is averaged, `lambda` from A (0) to B (1), and the
    /// others are those of the network that has them.
    ///
    /// Formula: `Cᴬ W_A Rᴬ + Cᴮ W_B Rᴮ` for every weight, where rows of `C` are the units of the result, each with its share,
    /// and `R` reads the unit of the result that stands for one of A or of B.
    ///
    /// Cost: one pass over the wide weights.
    ///
    /// # Errors
    /// If a tensor is missing, has not the shape that the wide graph has, or is none of floats.
    pub fn mix(&self, ends: [&Params; 2], lambda: f64) -> Result<Params> {
        let rows = self.rows();
        let mut found = Params::new();
        for (id, value) in self.graph.ids().map(|id| (id, self.graph.value(id))) {
            if value.source != ValueSource::Param {
                continue;
            }
            let [a, b] = [ends[0].require(&value.name)?, ends[1].require(&value.name)?];
            let layout = self.symmetry.tensor(&value.name)?;
            let rows = rows.get(&id).copied().flatten().map(|axis| layout.axis_of(axis));
            let axis = rows.or_else(|| self.last_axis(layout));
            let shares = axis.and_then(|axis| self.axis_shares(&layout.axes[axis], lambda));
            let laid_out = layout.laid_out();
            let [a, b] = [a.shaped(&laid_out)?, b.shaped(&laid_out)?];
            let made = mixed(&value.name, [&a, &b], &laid_out, axis.zip(shares), lambda)?;
            found.insert(&value.name, made.shaped(&value.shape)?);
        }
        Ok(found)
    }

    /// The axis of every parameter that counts what an operator computes, as the first one that reads it says.
    fn rows(&self) -> BTreeMap<ValueId, Option<usize>> {
        let mut found = BTreeMap::new();
        for node in self.graph.nodes() {
            for (input, value) in node.inputs.iter().enumerate() {
                let rank = self.graph.shape(*value).len();
                found.entry(*value).or_insert_with(|| follow::rows(&node.op, input, rank));
            }
        }
        found
    }

    /// The last axis in which a unit has a place of its own.
    fn last_axis(&self, layout: &TensorLayout) -> Option<usize> {
        layout.axes.iter().rposition(|axis| self.axis_shares(axis, 0.5).is_some())
    }
}

fn for_each_digits(occurrence: &Occurrence, visit: impl FnMut(&[usize])) {
    for_each_index(&occurrence.digits.iter().map(|d| d.len).collect::<Vec<_>>(), visit);
}

/// A tensor in a larger shape: entries by the tables of its axes, `nothing` where one has none.
fn scattered(tensor: &Tensor, shape: &[usize], tables: &[Vec<Option<usize>>], nothing: f64) -> Result<Tensor> {
    let still = |(table, len): (&Vec<Option<usize>>, &usize)| {
        table.len() == *len && table.iter().enumerate().all(|(at, from)| *from == Some(at))
    };
    if tables.iter().zip(tensor.shape()).all(still) {
        return Ok(tensor.clone());
    }
    let fill = Tensor::from_f64_as(tensor.dtype(), &[1], &[nothing])?;
    let (size, bytes) = (tensor.dtype().size(), tensor.read()?);
    let mut out = Vec::with_capacity(element_count(shape)? * size);
    for_each_index(shape, |index| {
        let from = index
            .iter()
            .zip(tables)
            .zip(tensor.shape())
            .try_fold(0, |at, ((i, table), len)| table[*i].map(|from| at * len + from));
        match from {
            Some(at) => out.extend_from_slice(&bytes[at * size..][..size]),
            None => out.extend_from_slice(fill.bytes()),
        }
    });
    Tensor::new(tensor.dtype(), shape, Bytes::from(out))
}

/// Two tensors of one shape, each entry by the shares of its unit along an axis, or all at `lambda`.
fn mixed(
    name: &str,
    [a, b]: [&Tensor; 2],
    shape: &[usize],
    by_unit: Option<(usize, [Vec<f64>; 2])>,
    lambda: f64,
) -> Result<Tensor> {
    for tensor in [a, b] {
        if tensor.shape() != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape().to_vec());
            return Err(Error::Shape { tensor: name.to_owned(), expected, place: "the graph", found });
        }
    }
    if a == b {
        return Ok(a.clone());
    }
    let (x, y) = (a.to_f64()?, b.to_f64()?);
    let (axis, [of_a, of_b]) = by_unit.unwrap_or((0, [vec![1.0 - lambda], vec![lambda]]));
    let inner: usize = shape.get(axis + 1..).map_or(1, |rest| rest.iter().product());
    let units = of_a.len();
    let one = |(at, (x, y)): (usize, (&f64, &f64))| {
        let unit = at / inner.max(1) % units;
        match (of_a[unit], of_b[unit]) {
            (_, 0.0) => *x,
            (0.0, _) => *y,
            _ if x == y => *x,
            (share, other) => share * x + other * y,
        }
    };
    let values: Vec<f64> = x.iter().zip(y.iter()).enumerate().map(one).collect();
    Tensor::from_f64_as(a.dtype(), shape, &values)
}
