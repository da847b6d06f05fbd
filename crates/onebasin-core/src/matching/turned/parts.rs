//! Two networks read part by part: tensors that have groups in common that stand nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::error::Result;
use crate::kinds::Kinds;
use crate::params::Params;
use crate::symmetry::{GroupId, Symmetry};

/// Where both networks are read: all of them need not be in memory at once.
pub trait Reading {
    /// Tensors that are read together, whatever groups they have.
    fn together(&self) -> Vec<Vec<String>>;

    /// The tensors of A and of B by these names, as they are to be compared; of those with so many rows as the longest, these rows
    /// alone, where rows are given.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&self, names: &[String], rows: Option<Range<usize>>) -> Result<[Params; 2]>;
}

/// Networks that are in memory.
pub(super) struct Held<'a>(pub(super) [&'a Params; 2]);

impl Reading for Held<'_> {
    fn together(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn read(&self, names: &[String], rows: Option<Range<usize>>) -> Result<[Params; 2]> {
        let [a, b] = self.0;
        Ok([named(a, names, rows.as_ref())?, named(b, names, rows.as_ref())?])
    }
}

/// Tensors by name, each read anew where it lies in a storage, so that nothing of it stays in memory; of tables with as many rows as
/// the longest, these rows.
///
/// # Errors
/// If one is missing, or rows are asked for of what lies in no order.
pub fn named(params: &Params, names: &[String], rows: Option<&Range<usize>>) -> Result<Params> {
    let longest = names.iter().filter_map(|name| params.get(name)?.shape().first().copied()).max();
    let own = |name: &String| {
        let tensor = params.require(name)?;
        let cut = rows.filter(|_| tensor.shape().len() > 1 && tensor.shape().first().copied() == longest);
        Ok((name.clone(), tensor.rows_anew(cut.cloned())?))
    };
    names.iter().map(own).collect()
}

/// Tensors that are read and solved together.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Their names in the symmetry.
    pub names: Vec<String>,
    /// Root groups that stand here and nowhere else.
    pub local: Vec<GroupId>,
    /// The runs of rows in which its longest table is read; one of nothing where it is read at once.
    pub rows: Vec<Option<Range<usize>>>,
    table: Option<String>,
}

impl Part {
    /// The table that is read in runs of rows, if one is.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }
}

/// Entries of a table that are held at a time.
const HELD: usize = if cfg!(test) { 1 << 6 } else { 1 << 26 };

/// Roots of a tensor.
pub(super) fn roots_of(symmetry: &Symmetry, name: &str) -> BTreeSet<GroupId> {
    let Ok(layout) = symmetry.tensor(name) else { return BTreeSet::new() };
    let digits = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
    digits.filter(|d| d.len > 1).filter_map(|d| d.group).map(|id| symmetry.root(id)).collect()
}

/// Roots without which the network falls into more than two pieces: more than what stands before and behind them. Pieces are tensors
/// that are joined by other roots; those that have none count as none.
pub(super) fn everywhere(symmetry: &Symmetry) -> BTreeSet<GroupId> {
    let all: Vec<BTreeSet<GroupId>> = symmetry.tensors().map(|(name, _)| roots_of(symmetry, name)).collect();
    let joins = |id: &GroupId| {
        let mut first: Vec<usize> = (0..all.len()).collect();
        let mut of_root: BTreeMap<GroupId, usize> = BTreeMap::new();
        for (at, roots) in all.iter().enumerate() {
            for other in roots.iter().filter(|other| *other != id) {
                let before = *of_root.entry(*other).or_insert(at);
                unite(&mut first, at, before);
            }
        }
        let stands = |(_, roots): &(usize, &BTreeSet<GroupId>)| roots.contains(id) && roots.len() > 1;
        let pieces: BTreeSet<usize> = all.iter().enumerate().filter(stands).map(|(at, _)| top(&first, at)).collect();
        pieces.len() > 2
    };
    symmetry.roots().into_iter().filter(joins).collect()
}

/// All tensors of a symmetry in parts, in order of their first name: those that share a root group which stands in few places are in
/// one, and those of every set of `together`. Groups without which the network would fall into more than two pieces, as a stream is,
/// tie nothing.
///
/// Cost: one look at every tensor.
///
/// ```
/// use onebasin_core::kinds::Kinds;
/// use onebasin_core::matching::parts;
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let two = || Tensor::from_f32(&[2, 2], vec![1., 2., 3., 4.]);
/// # let net = Params::from_iter([("fc1".to_owned(), two()?), ("fc2".to_owned(), two()?), ("fc3".to_owned(), two()?)]);
/// let spec = SymmetrySpec::from_patterns([("fc1", "h ."), ("fc2", ". h"), ("fc3", ". .")])?;
/// let kinds = Kinds::permutations(&Symmetry::resolve(&spec, &net)?, Default::default());
/// let names: Vec<Vec<String>> = parts(&kinds, &[]).into_iter().map(|part| part.names).collect();
/// assert_eq!(names, [vec!["fc1", "fc2"], vec!["fc3"]]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn parts(kinds: &Kinds, together: &[Vec<String>]) -> Vec<Part> {
    in_parts(kinds, &everywhere(&kinds.symmetry), together)
}

/// The same, where it is known what stands everywhere.
pub(super) fn in_parts(kinds: &Kinds, everywhere: &BTreeSet<GroupId>, together: &[Vec<String>]) -> Vec<Part> {
    let symmetry = &kinds.symmetry;
    let names: Vec<&str> = symmetry.tensors().map(|(name, _)| name).collect();
    let roots: Vec<BTreeSet<GroupId>> = names.iter().map(|name| roots_of(symmetry, name)).collect();
    let mut first: Vec<usize> = (0..names.len()).collect();
    let mut of_root: BTreeMap<GroupId, usize> = BTreeMap::new();
    for (at, ids) in roots.iter().enumerate() {
        for id in ids.difference(everywhere) {
            let other = *of_root.entry(*id).or_insert(at);
            unite(&mut first, at, other);
        }
    }
    for set in together {
        let mut at = set.iter().filter_map(|name| names.binary_search(&symmetry.standing(name)).ok());
        if let Some(one) = at.next() {
            at.for_each(|other| unite(&mut first, one, other));
        }
    }
    let mut found: BTreeMap<usize, Part> = BTreeMap::new();
    for at in 0..names.len() {
        let part = found.entry(top(&first, at)).or_insert_with(|| Part {
            names: Vec::new(),
            local: Vec::new(),
            table: None,
            rows: vec![None],
        });
        part.names.push(names[at].to_owned());
        let local = roots[at].difference(everywhere).filter(|id| !part.local.contains(id)).copied().collect::<Vec<_>>();
        part.local.extend(local);
    }
    let mut found: Vec<Part> = found.into_values().collect();
    for part in &mut found {
        part.local.sort();
        if let Some((table, rows)) = table_of(symmetry, part) {
            (part.table, part.rows) = (Some(table), rows);
        }
    }
    found
}

/// The table of a part in which nothing but a stream stands, along its columns, where it is too long to be held, and its runs of rows.
fn table_of(symmetry: &Symmetry, part: &Part) -> Option<(String, Vec<Option<Range<usize>>>)> {
    let layout = |name: &str| symmetry.tensor(name).ok();
    let size = |name: &String| layout(name).map_or(0, |of| of.axes.iter().map(|axis| axis.len).product::<usize>());
    let large: Vec<&String> = part.names.iter().filter(|name| size(name) > HELD).collect();
    let ([name], true) = (&large[..], part.local.is_empty()) else { return None };
    let [rows, columns] = &layout(name)?.axes[..] else { return None };
    let stays = rows.occurrences.iter().flat_map(|o| &o.digits).all(|d| d.group.is_none());
    let others = part.names.iter().filter(|other| other != name);
    let mut lengths = others.filter_map(|other| Some((layout(other)?.axes.len(), layout(other)?.axes.first()?.len)));
    if !stays || symmetry.members(name).count() != 1 || lengths.any(|(axes, first)| axes > 1 && first >= rows.len) {
        return None;
    }
    let step = (HELD / columns.len.max(1)).max(1);
    let runs = (0..rows.len).step_by(step).map(|from| Some(from..rows.len.min(from + step)));
    Some(((*name).clone(), runs.collect()))
}

fn top(first: &[usize], mut at: usize) -> usize {
    while first[at] != at {
        at = first[at];
    }
    at
}

/// Unites two sets under the one that comes first.
fn unite(first: &mut [usize], one: usize, other: usize) {
    let (one, other) = (top(first, one), top(first, other));
    first[one.max(other)] = one.min(other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::graph::op::{Binary, Op, Unary};
    use crate::graph::{Graph, ValueId};
    use crate::kinds::{Kind, Motion};
    use crate::matching::{StopReason, TurnedOptions, match_turned};
    use crate::stream::Stream;
    use crate::tensor::Tensor;

    /// A stream that a table writes, three blocks change, and a longer table reads.
    fn network() -> Result<(Graph, Params)> {
        let mut graph = Graph::new();
        let tokens = graph.input("tokens", &[1, 5])?;
        let table = graph.param("embedding", &[40, 6])?;
        let mut stream = graph.push("embed", Op::Gather { axis: 0 }, &[table, tokens])?;
        let norm = |graph: &mut Graph, name: &str, x: ValueId| -> Result<ValueId> {
            let gain = graph.param(&format!("{name}.gain"), &[6])?;
            let rms = Op::LayerNorm { axes: vec![2], epsilon: 1e-6, centred: false };
            graph.push(name, rms, &[x, gain])
        };
        for block in 0..3 {
            let x = norm(&mut graph, &format!("norm{block}"), stream)?;
            let x = graph.linear(&format!("up{block}"), x, 8)?;
            let x = graph.push(&format!("relu{block}"), Op::Unary(Unary::Relu), &[x])?;
            let x = graph.linear(&format!("down{block}"), x, 6)?;
            stream = graph.push(&format!("sum{block}"), Op::Binary(Binary::Add), &[stream, x])?;
        }
        let x = norm(&mut graph, "last", stream)?;
        let head = graph.param("head", &[50, 6])?;
        let y = graph.push("answer", Op::Linear, &[x, head])?;
        graph.output(y);
        let mut draws = Stream::new(0, "network");
        let mut params = Params::new();
        for param in graph.params() {
            let count = param.shape.iter().product();
            let values = (0..count).map(|_| if param.name.ends_with("gain") { 1.0 } else { draws.normal() as f32 });
            params.insert(&param.name[..], Tensor::from_f32(&param.shape, values.collect())?);
        }
        Ok((graph, params))
    }

    #[test]
    fn long_tables_are_read_in_runs_of_rows() -> Result<()> {
        let (graph, params) = network()?;
        let kinds = Kinds::discover(&graph, [&params, &params])?;
        let stream = kinds.symmetry.group_named("embedding")?;
        assert_eq!((kinds.kind(stream), everywhere(&kinds.symmetry)), (Kind::Orthogonal, BTreeSet::from([stream])));
        let together = vec![vec!["last.gain".to_owned(), "head".to_owned()]];
        let all = parts(&kinds, &together);
        let runs =
            |name: &str| all.iter().find(|part| part.names.iter().any(|own| own == name)).map(|part| part.rows.len());
        assert_eq!((runs("embedding"), runs("head"), runs("up1.weight")), (Some(4), Some(5), Some(1)));
        let hidden = Motion::random(&kinds, &mut Stream::new(1, "hidden")).apply(&kinds, &params)?;
        let found = match_turned(&kinds, &params, &hidden, &TurnedOptions::default(), &mut |_| true)?;
        assert!(found.stop == StopReason::Converged && found.objective >= 0.99999 * found.size, "{found:?}");
        let moved = found.motion.apply(&kinds, &hidden)?;
        for name in ["embedding", "head", "down2.weight"] {
            let (x, y) = (params.require(name)?.to_f64()?, moved.require(name)?.to_f64()?);
            assert!(x.iter().zip(&*y).all(|(x, y)| (x - y).abs() < 1e-4), "{name}");
            let all = params.require(name)?.shape()[0];
            let rows = hidden.require(name)?.rows_anew(Some(1..all - 1))?;
            if name != "down2.weight" {
                let some = found.motion.moved_rows(&kinds, &rows, name)?;
                assert_eq!(some, moved.require(name)?.rows_anew(Some(1..all - 1))?, "{name}");
            }
        }
        Ok(())
    }
}
