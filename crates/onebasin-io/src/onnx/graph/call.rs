//! One node while it is converted: its attributes and inputs, each of which has to be looked at.

use std::cell::RefCell;
use std::collections::BTreeSet;

use onebasin_core::Tensor;
use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Unary};

use super::array::{Array, ElementKind};
use super::plan::PlanSlot;
use super::{Importer, PerBatch, fold};
use crate::error::Error;
use crate::onnx::model::{Attribute, Node};

/// What to do about a network that was exported while it was being trained.
pub(super) const EVALUATION: &str = "export the network in evaluation mode, as by model.eval()";

/// Why a node did not become operators.
pub(super) enum Refusal {
    /// The operator, or what is asked of it, is not known: why.
    Unknown(String),
    /// The node does not fit its inputs: why.
    Broken(String),
    /// Something around the node is wrong.
    Error(Box<Error>),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

pub(super) type Made<T> = Result<T, Refusal>;

/// What is not known, in words.
pub(super) fn unknown<T>(why: impl Into<String>) -> Made<T> {
    Err(Refusal::Unknown(why.into()))
}

pub(super) fn broken<T>(why: impl Into<String>) -> Made<T> {
    Err(Refusal::Broken(why.into()))
}

/// The axis that a number counts from either end of `rank` axes.
pub(super) fn axis_of(number: i64, rank: usize) -> Made<usize> {
    fold::axis(number, rank).map_or_else(|| broken(format!("there is no axis {number} of {rank}")), Ok)
}

/// Several axes, ascending and each once.
pub(super) fn axes_of(numbers: &[i64], rank: usize) -> Made<Vec<usize>> {
    let axes = fold::axes(numbers, rank);
    axes.map_or_else(|| broken(format!("{numbers:?} are not different axes of {rank}")), Ok)
}

/// Largest window, stride, padding and number of groups.
pub(super) const LONGEST: usize = 1 << 20;

pub(super) struct NodeCall<'i, 'a> {
    importer: &'i mut Importer<'a>,
    pub(super) node: &'a Node,
    opset: i64,
    seen: RefCell<BTreeSet<String>>,
    read: BTreeSet<usize>,
}

impl<'i, 'a> NodeCall<'i, 'a> {
    pub(super) fn new(importer: &'i mut Importer<'a>, node: &'a Node, opset: i64) -> Self {
        Self { importer, node, opset, seen: RefCell::default(), read: BTreeSet::new() }
    }

    /// Passes if nothing that the node says was passed over, and all outputs that are needed were made.
    pub(super) fn finish(self, made: Vec<PlanSlot>) -> Made<Vec<PlanSlot>> {
        let node = self.node;
        let op = &node.op_type;
        if let Some(name) = node.attributes.keys().find(|name| !self.seen.borrow().contains(*name)) {
            return unknown(format!("attribute `{name}` of {op} is not known"));
        }
        let unread = |(k, name): &(usize, &String)| !name.is_empty() && !self.read.contains(k);
        if let Some((k, _)) = node.inputs.iter().enumerate().find(unread) {
            return unknown(format!("input {k} of {op} is not known"));
        }
        let needed = |name: &&String| self.importer.used.contains(name.as_str());
        if let Some(name) = node.outputs.iter().skip(made.len()).find(needed) {
            return unknown(format!("output `{name}` of {op} is not known"));
        }
        Ok(made)
    }

    pub(super) fn opset(&self) -> i64 {
        self.opset
    }

    /// An attribute, which has now been looked at.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.seen.borrow_mut().insert(name.to_owned());
        self.node.attribute(name)
    }

    /// Attributes that change nothing here.
    pub(super) fn ignore(&self, names: &[&str]) {
        self.seen.borrow_mut().extend(names.iter().map(|&n| n.to_owned()));
    }

    fn wrong<T>(&self, name: &str) -> Made<T> {
        broken(format!("attribute `{name}` is of another kind than {} has", self.node.op_type))
    }

    pub(super) fn int(&self, name: &str, usual: i64) -> Made<i64> {
        match self.attribute(name) {
            None => Ok(usual),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => self.wrong(name),
        }
    }

    pub(super) fn flag(&self, name: &str, usual: bool) -> Made<bool> {
        Ok(self.int(name, i64::from(usual))? != 0)
    }

    pub(super) fn float(&self, name: &str, usual: f64) -> Made<f64> {
        match self.attribute(name) {
            None => Ok(usual),
            Some(Attribute::Float(value)) => Ok(decimal(*value)),
            Some(_) => self.wrong(name),
        }
    }

    pub(super) fn text(&self, name: &str, usual: &'a str) -> Made<&'a str> {
        match self.attribute(name) {
            None => Ok(usual),
            Some(Attribute::String(value)) => Ok(value),
            Some(_) => self.wrong(name),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Made<Option<Vec<i64>>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values.clone())),
            Some(_) => self.wrong(name),
        }
    }

    /// Lengths, one for each of `count` axes.
    pub(super) fn lengths(&self, name: &str, count: usize, usual: usize) -> Made<Vec<usize>> {
        let Some(values) = self.ints(name)? else { return Ok(vec![usual; count]) };
        match values.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<Vec<_>>>() {
            Some(lengths) if lengths.iter().any(|n| *n > LONGEST) => {
                broken(format!("attribute `{name}` is {values:?}, expected numbers up to {LONGEST}"))
            }
            Some(lengths) if lengths.len() == count => Ok(lengths),
            Some(_) => broken(format!("attribute `{name}` is {values:?}, expected {count} numbers")),
            None => unknown(format!("negative `{name}` {values:?} of {} are not known", self.node.op_type)),
        }
    }

    /// Whether input `k` is there.
    pub(super) fn has(&self, k: usize) -> bool {
        self.node.inputs.get(k).is_some_and(|name| !name.is_empty())
    }

    fn name(&mut self, k: usize) -> Made<&'a str> {
        self.read.insert(k);
        match self.node.inputs.get(k) {
            Some(name) if !name.is_empty() => Ok(name),
            _ => broken(format!("input {k} is missing")),
        }
    }

    /// Passes over an input that changes nothing here.
    pub(super) fn skip(&mut self, k: usize) {
        self.read.insert(k);
    }

    /// Input `k` as a value of the graph.
    pub(super) fn input(&mut self, k: usize) -> Made<PlanSlot> {
        let name = self.name(k)?;
        if self.importer.carried.contains(name) {
            return unknown(format!("`{name}`, a tensor of an element type without numbers here, is an input"));
        }
        Ok(self.importer.slot(name)?)
    }

    /// Input `k` as a value of the graph; whole numbers of the model are a parameter.
    pub(super) fn quantized(&mut self, k: usize) -> Made<PlanSlot> {
        let name = self.name(k)?;
        let tensor = self.importer.model.params.get(name).filter(|t| !t.dtype().is_float() && t.len() > 1);
        let Some(tensor) = tensor else { return self.input(k) };
        Ok(self.importer.plan.param(name, ElementKind::Int, tensor.shape()))
    }

    /// The element type of input `k`, where a tensor of the model says it.
    pub(super) fn dtype(&mut self, k: usize) -> Made<Option<onebasin_core::DType>> {
        let name = self.name(k)?;
        Ok(self.importer.binding(name).dtype)
    }

    /// The kind of numbers that input `k` holds.
    pub(super) fn kind_of(&mut self, k: usize) -> Made<ElementKind> {
        let name = self.name(k)?;
        self.importer.kind_of(name).map_or_else(|| unknown(format!("what numbers `{name}` holds is not known")), Ok)
    }

    /// All inputs as values of the graph.
    pub(super) fn inputs(&mut self) -> Made<Vec<PlanSlot>> {
        (0..self.node.inputs.len()).map(|k| self.input(k)).collect()
    }

    /// The elements of input `k` for both batches; none if it is not there.
    pub(super) fn known(&mut self, k: usize) -> Made<Option<std::rc::Rc<PerBatch<Array>>>> {
        if !self.has(k) {
            return Ok(None);
        }
        let name = self.name(k)?;
        match self.importer.binding(name).known {
            Some(known) => Ok(Some(known)),
            None => unknown(format!("`{name}`, which has to be known beforehand, is computed")),
        }
    }

    /// The elements of input `k`, the same for every batch.
    pub(super) fn fixed(&mut self, k: usize) -> Made<Option<Array>> {
        match self.known(k)? {
            Some(pair) if pair[0] == pair[1] => Ok(Some(pair[0].clone())),
            Some(_) => unknown(format!("`{}` changes with the batch", self.node.inputs[k])),
            None => Ok(None),
        }
    }

    /// Whether input `k` is known to be zero, and no weight.
    pub(super) fn is_zero(&mut self, k: usize) -> Made<bool> {
        let name = self.name(k)?;
        let binding = self.importer.binding(name);
        let zero = |pair: &PerBatch<Array>| pair.iter().all(|a| a.floats().iter().all(|v| *v == 0.0));
        Ok(!binding.weight && binding.known.is_some_and(|pair| zero(&pair)))
    }

    /// Whole numbers that are an attribute in some versions and input `k` in others.
    pub(super) fn whole(&mut self, name: &str, k: usize) -> Made<Option<Vec<i64>>> {
        if let Some(values) = self.ints(name)? {
            return Ok(Some(values));
        }
        let Some(array) = self.fixed(k)? else { return Ok(None) };
        array.whole().map_or_else(|| broken(format!("input {k} holds no whole numbers")), |v| Ok(Some(v)))
    }

    /// One number that is input `k`; none if it is not there.
    pub(super) fn number(&mut self, k: usize) -> Made<Option<f64>> {
        match self.fixed(k)?.map(|a| a.floats()).as_deref() {
            None => Ok(None),
            Some([value]) => Ok(Some(*value)),
            Some(values) => broken(format!("input {k} holds {} numbers, expected one", values.len())),
        }
    }

    /// Shape for the first batch.
    pub(super) fn shape(&self, slot: PlanSlot) -> Vec<usize> {
        self.pair(slot)[0].clone()
    }

    /// Shapes for both batches.
    pub(super) fn pair(&self, slot: PlanSlot) -> &PerBatch<Vec<usize>> {
        self.importer.plan.shape(slot)
    }

    pub(super) fn rank(&self, slot: PlanSlot) -> usize {
        self.pair(slot)[0].len()
    }

    pub(super) fn kind(&self, slot: PlanSlot) -> ElementKind {
        self.importer.plan.kind(slot)
    }

    pub(super) fn set_kind(&mut self, slot: PlanSlot, kind: ElementKind) {
        self.importer.plan.set_kind(slot, kind);
    }

    /// Whether a value is a tensor of the graph's own.
    pub(super) fn is_constant(&self, slot: PlanSlot) -> bool {
        self.importer.plan.is_constant(slot)
    }

    /// Lengths of the node's first output, where its numbers are known beforehand.
    pub(super) fn output_lengths(&mut self) -> Option<PerBatch<Vec<usize>>> {
        let known = self.importer.binding(self.node.outputs.first()?).known?;
        Some([known[0].shape.clone(), known[1].shape.clone()])
    }

    /// An input of the graph whose batch has these lengths.
    pub(super) fn batch(&self, lengths: PerBatch<usize>) -> Option<PlanSlot> {
        self.importer.plan.batch(lengths)
    }

    /// An input of the graph whose batch has these lengths divided by a number, and that number.
    pub(super) fn multiple(&self, lengths: PerBatch<usize>) -> Option<(PlanSlot, usize)> {
        self.importer.plan.multiple(lengths)
    }

    /// The matrix that a value is the transpose of.
    pub(super) fn transposed(&self, slot: PlanSlot) -> Option<PlanSlot> {
        self.importer.plan.transposed(slot)
    }

    /// Adds an operator of one output, of the kind of its first input.
    pub(super) fn push(&mut self, op: Op, inputs: &[PlanSlot]) -> Made<PlanSlot> {
        let kind = inputs.first().map_or(ElementKind::Float, |s| self.kind(*s));
        self.push_as(kind, op, inputs)
    }

    pub(super) fn push_as(&mut self, kind: ElementKind, op: Op, inputs: &[PlanSlot]) -> Made<PlanSlot> {
        Ok(self.push_many(kind, op, inputs)?[0])
    }

    pub(super) fn push_many(&mut self, kind: ElementKind, op: Op, inputs: &[PlanSlot]) -> Made<Vec<PlanSlot>> {
        self.importer.plan.push(op, inputs, kind).map_err(Refusal::Broken)
    }

    pub(super) fn unary(&mut self, unary: Unary, x: PlanSlot) -> Made<PlanSlot> {
        self.push(Op::Unary(unary), &[x])
    }

    pub(super) fn binary(&mut self, binary: Binary, a: PlanSlot, b: PlanSlot) -> Made<PlanSlot> {
        self.push(Op::Binary(binary), &[a, b])
    }

    pub(super) fn reshape(&mut self, x: PlanSlot, dims: Vec<Dim>) -> Made<PlanSlot> {
        let same = dims.iter().enumerate().all(|(a, d)| *d == Dim::Same(a)) && dims.len() == self.rank(x);
        if same { Ok(x) } else { self.push(Op::Reshape(dims), &[x]) }
    }

    /// Reorders axes, if the order is another.
    pub(super) fn transpose(&mut self, x: PlanSlot, order: Vec<usize>) -> Made<PlanSlot> {
        if order.iter().enumerate().all(|(a, &o)| a == o) && order.len() == self.rank(x) {
            return Ok(x);
        }
        self.push(Op::Transpose(order), &[x])
    }

    /// A number as a constant.
    pub(super) fn scalar(&mut self, value: f64) -> Made<PlanSlot> {
        self.filled(&[], value)
    }

    /// A constant of one value.
    pub(super) fn filled(&mut self, shape: &[usize], value: f64) -> Made<PlanSlot> {
        let count = onebasin_core::element_count(shape).ok().filter(|n| self.importer.spend(*n));
        let Some(count) = count else { return broken(format!("a constant of shape {shape:?} is too large")) };
        let tensor = Tensor::from_f64_as(onebasin_core::DType::F32, shape, &vec![value; count]);
        let tensor = tensor.map_err(|e| Refusal::Broken(e.to_string()))?;
        let name = format!("{}/constant", self.node.makes().next().unwrap_or_default());
        Ok(self.importer.plan.constant(&name, tensor, ElementKind::Float))
    }

    /// Small whole numbers or floats as a constant.
    pub(super) fn constant(&mut self, array: &Array) -> Made<PlanSlot> {
        if !self.importer.spend(array.data.len()) {
            return broken(format!("the model holds more than {} numbers that are computed beforehand", super::BUDGET));
        }
        let tensor = array.tensor().map_err(|e| Refusal::Broken(e.to_string()))?;
        let name = format!("{}/constant", self.node.makes().next().unwrap_or_default());
        Ok(self.importer.plan.constant(&name, tensor, array.kind()))
    }
}

/// The decimal number that an attribute of 32 bits was written as.
pub(super) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
