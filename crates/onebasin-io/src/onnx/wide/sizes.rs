//! Which numbers of a model say lengths that change: found by what nodes do with them.

use std::collections::{BTreeMap, HashMap};

use onebasin_core::graph::{Graph, NodeId, Op, ValueId, ValueSource};
use onebasin_core::{DType, Params, Tensor};

use super::{Edits, Seen, is_padding};
use crate::error::Result;
use crate::onnx::model::{Attribute, Node};
use crate::onnx::{OnnxModel, refused, unfit};

/// How many nodes a shape may be computed by, one within the other.
const DEPTH: usize = 32;

/// A model, and the graph that it should become.
pub(super) struct Sizes<'a> {
    model: &'a OnnxModel,
    seen: &'a Seen,
    wide: &'a Graph,
    /// Which value of the wide graph each of the narrow one is.
    places: &'a HashMap<ValueId, ValueId>,
    params: &'a Params,
    /// Which node makes a value.
    makers: HashMap<&'a str, usize>,
    /// How often a value is read.
    reads: HashMap<&'a str, usize>,
    edits: Edits,
}

/// How an entry of a list of sizes changes: its number, and what it is.
type Change<'c> = dyn Fn(usize, i64) -> i64 + 'c;

impl<'a> Sizes<'a> {
    pub(super) fn new(
        model: &'a OnnxModel,
        seen: &'a Seen,
        wide: &'a Graph,
        places: &'a HashMap<ValueId, ValueId>,
        params: &'a Params,
    ) -> Self {
        let (mut makers, mut reads) = (HashMap::new(), HashMap::new());
        for (at, node) in model.nodes.iter().enumerate() {
            makers.extend(node.makes().map(|name| (name, at)));
            node.reads().for_each(|name| *reads.entry(name).or_default() += 1);
        }
        model.outputs.iter().for_each(|value| *reads.entry(value.name.as_str()).or_default() += 1);
        Self { model, seen, wide, places, params, makers, reads, edits: Edits::default() }
    }

    /// Everything that is to be changed.
    pub(super) fn edits(mut self) -> Result<Edits> {
        self.tensors()?;
        for at in 0..self.model.nodes.len() {
            self.node(at)?;
        }
        self.shapes();
        Ok(self.edits)
    }

    /// The value of the wide graph that a name is.
    fn place(&self, name: &str) -> Option<ValueId> {
        self.places.get(self.seen.values.get(name)?).copied()
    }

    /// The shape of a value before and afterwards.
    fn shape(&self, name: &str) -> Option<(&'a [usize], &'a [usize])> {
        let before = self.seen.graph.shape(*self.seen.values.get(name)?);
        Some((before, self.wide.shape(self.place(name)?)))
    }

    /// Weights, and constants of the graph, in their new shapes and the element types that they have.
    fn tensors(&mut self) -> Result<()> {
        let mut found = BTreeMap::new();
        for (name, old) in self.model.params.iter() {
            let Some(place) = self.place(name) else { continue };
            let new = match &self.wide.value(place).source {
                ValueSource::Param => self.params.require(name).cloned(),
                ValueSource::Constant(new) if new.shape() != old.shape() => Ok(new.clone()),
                ValueSource::Constant(_) | ValueSource::Input | ValueSource::Node(..) => continue,
            };
            let place = format!("tensor `{name}`");
            let new = new.and_then(|new| new.cast(old.dtype()));
            let new = new.map_err(|why| unfit(&self.model.path, &place, why))?;
            found.insert(name.to_owned(), new);
        }
        self.edits.tensors = found;
        Ok(())
    }

    /// The sizes that a node holds.
    fn node(&mut self, at: usize) -> Result<()> {
        let model = self.model;
        let node = &model.nodes[at];
        let Some(output) = node.makes().next() else { return Ok(()) };
        if let Some(weight) = self.padding(output) {
            let tensor = self.params.require(&weight).map_err(|why| unfit(&model.path, node.label(), why))?;
            self.edits.added.insert(weight.clone(), tensor.clone());
            self.edits.nodes.entry(at).or_default().convolution = Some(weight);
            return Ok(());
        }
        let Some((before, after)) = self.shape(output) else { return Ok(()) };
        let from_left = |k: usize, size: i64| match (before.get(k), after.get(k)) {
            (Some(old), Some(new)) if old != new && size == *old as i64 => *new as i64,
            _ => size,
        };
        match node.op_type.as_str() {
            "Reshape" | "ConstantOfShape" => {
                let input = usize::from(node.is("Reshape"));
                self.list(at, input, &from_left)?;
                self.attribute(at, "shape", &from_left);
            }
            "Expand" => {
                let ahead = before.len() - self.count(node, 1).unwrap_or(before.len()).min(before.len());
                self.list(at, 1, &|k, size| from_left(k + ahead, size))?;
            }
            "Resize" => self.list(at, 3, &from_left)?,
            "Split" => {
                let Some(axis) = axis(node, before.len()) else { return Ok(()) };
                let sizes: Vec<Option<(usize, usize)>> =
                    node.outputs.iter().map(|name| self.shape(name).map(|(old, new)| (old[axis], new[axis]))).collect();
                let part = |k: usize, size: i64| match sizes.get(k) {
                    Some(Some((old, new))) if *old as i64 == size => *new as i64,
                    Some(_) | None => size,
                };
                self.list(at, 1, &part)?;
                self.attribute(at, "split", &part);
            }
            "Slice" => self.slice(at)?,
            "Conv" | "ConvTranspose" | "ConvInteger" | "QLinearConv" => {
                self.number(at, "group", |op| {
                    let (Op::Conv(conv) | Op::ConvTranspose { conv, .. }) = op else { return None };
                    Some(conv.groups)
                });
            }
            "GroupNormalization" => {
                self.number(at, "num_groups", |op| {
                    let Op::GroupNorm { groups, .. } = op else { return None };
                    Some(*groups)
                });
            }
            "LSTM" | "GRU" | "RNN" => {
                let sizes = node.inputs.get(2).and_then(|name| self.edits.tensors.get(name));
                if let Some(size) = sizes.and_then(|tensor| tensor.shape().last()) {
                    let size = vec![*size as i64];
                    self.edits.nodes.entry(at).or_default().numbers.insert("hidden_size".to_owned(), size);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The parameter of a convolution that stands for the padding that makes a value.
    fn padding(&self, output: &str) -> Option<String> {
        let ValueSource::Node(narrow, _) = self.seen.graph.value(*self.seen.values.get(output)?).source else {
            return None;
        };
        let (narrow, wide) = (self.seen.graph.node(narrow), self.wide.node(NodeId(narrow.0)));
        is_padding(narrow, wide).then(|| self.wide.value(wide.inputs[1]).name.clone())
    }

    /// An attribute that is a number of the operator that makes a node's output, where that changes.
    fn number(&mut self, at: usize, name: &str, of: impl Fn(&Op) -> Option<usize>) {
        let Some(output) = self.model.nodes[at].makes().next() else { return };
        let Some(ValueSource::Node(made, _)) =
            self.seen.values.get(output).map(|value| &self.seen.graph.value(*value).source)
        else {
            return;
        };
        let (before, after) = (of(&self.seen.graph.node(*made).op), of(&self.wide.node(*made).op));
        if let (true, Some(after)) = (before != after, after) {
            self.edits.nodes.entry(at).or_default().numbers.insert(name.to_owned(), vec![after as i64]);
        }
    }

    /// An attribute that is a list of sizes.
    fn attribute(&mut self, at: usize, name: &str, change: &Change<'_>) {
        let Some(Attribute::Ints(sizes)) = self.model.nodes[at].attribute(name) else { return };
        let new: Vec<i64> = sizes.iter().enumerate().map(|(k, size)| change(k, *size)).collect();
        if new != *sizes {
            self.edits.nodes.entry(at).or_default().numbers.insert(name.to_owned(), new);
        }
    }

    /// Number of entries of a list that a node reads.
    fn count(&self, node: &Node, input: usize) -> Option<usize> {
        self.entries(node.inputs.get(input)?)
    }

    /// Number of entries of a list.
    fn entries(&self, name: &str) -> Option<usize> {
        let known = self.seen.known.get(name).map(Vec::len);
        let tensor = || self.model.params.get(name).map(Tensor::len);
        known.or_else(tensor).or_else(|| {
            let (before, _) = self.shape(name)?;
            Some(before.iter().product())
        })
    }

    /// A list of sizes that a node reads: known ahead, or put together of parts of which some are.
    fn list(&mut self, at: usize, input: usize, change: &Change<'_>) -> Result<()> {
        self.part(at, input, 0, change, 0)
    }

    /// The part of a list of sizes from entry `first` on.
    fn part(&mut self, at: usize, input: usize, first: usize, change: &Change<'_>, depth: usize) -> Result<()> {
        let model = self.model;
        let Some(name) = model.nodes[at].inputs.get(input).filter(|name| !name.is_empty()) else { return Ok(()) };
        let maker = self.makers.get(name.as_str()).copied();
        let is_written = maker.is_none_or(|maker| model.nodes[maker].is("Constant"));
        if is_written {
            let Some(sizes) = self.seen.known.get(name) else { return Ok(()) };
            let new: Vec<i64> = sizes.iter().enumerate().map(|(k, size)| change(first + k, *size)).collect();
            return if new == *sizes { Ok(()) } else { self.exchange(at, input, name, &new) };
        }
        let Some(maker) = maker.filter(|_| depth < DEPTH) else { return Ok(()) };
        let node = &model.nodes[maker];
        match node.op_type.as_str() {
            "Concat" => {
                let mut first = first;
                for (input, part) in node.inputs.iter().enumerate() {
                    let Some(count) = self.entries(part) else { return Ok(()) };
                    self.part(maker, input, first, change, depth + 1)?;
                    first += count;
                }
                Ok(())
            }
            "Unsqueeze" | "Squeeze" | "Cast" | "Identity" | "Reshape" => self.part(maker, 0, first, change, depth + 1),
            _ => Ok(()),
        }
    }

    /// Lets a node read other whole numbers than `name`: the tensor itself becomes these where nobody else reads it.
    fn exchange(&mut self, at: usize, input: usize, name: &str, new: &[i64]) -> Result<()> {
        let model = self.model;
        let old = model.params.get(name);
        let dtype = old.map_or(DType::I64, Tensor::dtype);
        let shape = old.map_or_else(|| vec![new.len()], |old| old.shape().to_vec());
        let bytes: Vec<u8> = match dtype {
            DType::I64 => new.iter().flat_map(|size| size.to_le_bytes()).collect(),
            DType::I32 => new.iter().filter_map(|size| i32::try_from(*size).ok()).flat_map(i32::to_le_bytes).collect(),
            other => return Err(unfit(&model.path, format!("tensor `{name}`"), format!("holds sizes as {other}"))),
        };
        let tensor = Tensor::new(dtype, &shape, bytes.into()).map_err(|why| refused(&model.path, name, &why))?;
        if old.is_some() && self.reads.get(name) == Some(&1) {
            self.edits.tensors.insert(name.to_owned(), tensor);
            return Ok(());
        }
        let taken = |name: &str, edits: &Edits| {
            let other = edits.added.get(name).is_some_and(|other| *other != tensor);
            other
                || self.makers.contains_key(name)
                || model.params.get(name).is_some()
                || self.seen.values.contains_key(name)
        };
        let names = (1..).map(|k| format!("{name}/wide{k}"));
        let Some(fresh) = names.into_iter().find(|name| !taken(name, &self.edits)) else { return Ok(()) };
        self.edits.added.insert(fresh.clone(), tensor);
        self.edits.nodes.entry(at).or_default().inputs.insert(input, fresh);
        Ok(())
    }

    /// Where a slice begins and ends, on every axis that changes.
    fn slice(&mut self, at: usize) -> Result<()> {
        let node = &self.model.nodes[at];
        let Some((input, output)) = node.inputs.first().zip(node.makes().next()) else { return Ok(()) };
        let Some((before, after)) = self.shape(input) else { return Ok(()) };
        let axes: Option<Vec<i64>> = match (node.attribute("axes"), node.inputs.get(3).filter(|name| !name.is_empty()))
        {
            (Some(Attribute::Ints(axes)), _) => Some(axes.clone()),
            (_, Some(name)) => self.seen.known.get(name).cloned(),
            (_, None) => None,
        };
        let rank = before.len();
        let axis = |k: usize| match &axes {
            Some(axes) => {
                axes.get(k).and_then(|axis| usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).ok())
            }
            None => Some(k),
        };
        let cuts = self.cuts(input, output);
        let bound = |k: usize, position: i64, is_end: bool| {
            let Some(axis) = axis(k).filter(|axis| *axis < rank && before[*axis] != after[*axis]) else {
                return position;
            };
            let len = before[axis] as i64;
            let clipped = (if position < 0 { position + len } else { position }).clamp(0, len);
            match cuts.get(&axis) {
                // What reaches to the end, or from the front, does so still.
                _ if is_end && position >= len => position,
                _ if !is_end && position == 0 => position,
                Some([(from, to), (start, end)]) => match is_end {
                    true if clipped == *to as i64 => *end as i64,
                    false if clipped == *from as i64 => *start as i64,
                    _ => position,
                },
                None => position,
            }
        };
        self.list(at, 1, &|k, position| bound(k, position, false))?;
        self.list(at, 2, &|k, position| bound(k, position, true))?;
        self.attribute(at, "starts", &|k, position| bound(k, position, false));
        self.attribute(at, "ends", &|k, position| bound(k, position, true));
        Ok(())
    }

    /// What slices on the way from one value to another leave of every axis, before and afterwards.
    fn cuts(&self, input: &str, output: &str) -> BTreeMap<usize, [(usize, usize); 2]> {
        let mut cuts = BTreeMap::new();
        let (Some(source), Some(mut at)) = (self.seen.values.get(input), self.seen.values.get(output).copied()) else {
            return cuts;
        };
        while at != *source {
            let ValueSource::Node(node, _) = self.seen.graph.value(at).source else { break };
            let range = |graph: &Graph| {
                let Op::Slice { axis, start, len, .. } = &graph.node(node).op else { return None };
                Some((*axis, (*start, start + len)))
            };
            if let (Some((axis, before)), Some((_, after))) = (range(&self.seen.graph), range(self.wide)) {
                cuts.insert(axis, [before, after]);
            }
            let Some(next) = self.seen.graph.node(node).inputs.first() else { break };
            at = *next;
        }
        cuts
    }

    /// Shapes that the model gives to its values.
    fn shapes(&mut self) {
        let said = self.model.values.iter().chain(&self.model.outputs).chain(&self.model.inputs);
        let names = said.map(|value| value.name.as_str()).chain(self.model.params.names());
        for name in names.collect::<Vec<_>>() {
            let tensor = self.edits.tensors.get(name).map(|tensor| tensor.shape().to_vec());
            let shape = tensor.or_else(|| self.shape(name).filter(|(a, b)| a != b).map(|(_, after)| after.to_vec()));
            match shape {
                Some(shape) => drop(self.edits.shapes.insert(name.to_owned(), shape)),
                // What no value of the graph is may have become longer as well.
                None if self.shape(name).is_none()
                    && self.makers.contains_key(name)
                    && !self.seen.known.contains_key(name) =>
                {
                    self.edits.silent.insert(name.to_owned());
                }
                None => {}
            }
        }
    }
}

/// The axis that a node names, of a value with so many.
fn axis(node: &Node, rank: usize) -> Option<usize> {
    let axis = match node.attribute("axis") {
        Some(Attribute::Int(axis)) => *axis,
        Some(_) => return None,
        None => 0,
    };
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|axis| *axis < rank)
}
