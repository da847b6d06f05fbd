//! A model as a graph of the project's operators.
//!
//! Nodes are gone through in running order. One whose inputs are all known is computed ([`fold`]); any other becomes
//! operators of the graph ([`convert`]), or one that is unknown. Everything is done for two batches at once, that of the
//! inputs and one more, which tells the lengths that follow the batch from those that do not.

mod array;
mod attention;
mod bind;
mod call;
mod convert;
mod einsum;
mod fold;
mod images;
mod indexed;
mod inline;
mod known_picks;
mod layout;
mod linear;
mod norm;
mod over;
mod picks;
mod plan;
mod quantized;
mod recurrent;
mod slices;
mod strided;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use onebasin_core::DType;
use onebasin_core::graph::Graph;

use self::array::{Array, ElementKind};
use self::call::{NodeCall, Refusal};
use self::fold::Known;
use self::inline::{Inlined, PlacedNode, Step};
use self::over::Origins;
pub use self::over::{Derived, Evidence, GraphOver};
use self::plan::{Built, GraphPlan, PlanSlot};
use super::model::{Node, Value};
use super::wide::Seen;
use super::{OnnxModel, fail};
use crate::error::{Error, Result};

/// How many nodes that were computed may be turned back into operators within each other.
const DEPTH: usize = 64;

/// How many elements are computed for one model.
const BUDGET: usize = 1 << 24;

/// One thing for each of the two batches.
type PerBatch<T> = [T; 2];

impl OnnxModel {
    /// The model as a graph: what its outputs are made of, with every shape.
    ///
    /// Inputs keep the lengths that the model gives. One that it names or leaves open is 1 on axis 0, the batch, and
    /// what `shapes` says, by the input's name, on any other; that of the batch, where an input whose axis 0 has a fixed
    /// length other than the batch's leaves just one open, as the state of a recurrent layer does. Weights are parameters
    /// of the names that they have in [`params`](Self::params), so what is done to them goes back by
    /// [`write`](Self::write); numbers and tensors that only say how to compute (axes, shapes, paddings) become
    /// attributes. A node becomes one operator or several, of its name or, where it has none, that of its output. Calls of the model's own functions are replaced by what they
    /// call, and an `If` whose condition is known by the branch that is taken, as is one of whose branches only the other can
    /// run on inputs of these shapes; of any other both run, and the condition chooses.
    ///
    /// Whole numbers that `DequantizeLinear` makes weights of are parameters too, which
    /// [`Graph::numbers`] tells apart.
    ///
    /// A node whose operator or combination of attributes is not known is [`Op::Unknown`](onebasin_core::graph::Op::Unknown)
    /// in the graph. Its outputs have the shapes that the model gives, or that `shapes` gives by the output's name.
    ///
    /// Cost: one pass over the nodes; no weight is copied.
    ///
    /// # Errors
    /// If a length is not given; names in `shapes` that are no value of the model, or shapes that contradict it; shapes
    /// of a node that do not fit; an unknown node whose output has no shape.
    ///
    /// Source: the operators of ONNX, versions 7 to 25, <https://onnx.ai/onnx/operators>.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use onebasin_io::OnnxModel;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/raw.onnx");
    /// let graph = OnnxModel::open(path.as_ref())?.graph(&BTreeMap::new())?;
    /// let text = "input x [1, 4]\nfc: Linear (x, fc.weight, fc.bias) -> [1, 3]\noutput fc\n";
    /// assert_eq!(graph.to_string(), text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn graph(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Graph> {
        self.graph_of(shapes, Origins { constants: self.fillings(), ..Origins::default() })
    }

    /// Tensors of one number all over that are no weights: vectors that several nodes read, and states that recurrent layers start
    /// from. Exporters write one for all the places that need it, such as the ones of every `InstanceNormalization` that is part of
    /// a group norm.
    fn fillings(&self) -> HashSet<String> {
        let mut read = HashSet::new();
        let mut shared = HashSet::new();
        for name in self.nodes.iter().flat_map(|node| node.inputs.iter().collect::<HashSet<_>>()) {
            if !read.insert(name) {
                shared.insert(name);
            }
        }
        let is_vector =
            |name: &str| self.params.get(name).is_some_and(|t| t.shape().iter().filter(|len| **len > 1).count() <= 1);
        let shared = shared.into_iter().filter(|name| is_vector(name));
        let uniform = |name: &&String| {
            let tensor = self.params.get(name).filter(|t| t.dtype().is_float() && !t.shape().is_empty());
            tensor.is_some_and(|t| (0..t.shape().len()).all(|axis| t.is_uniform(axis)))
        };
        shared.chain(self.states()).filter(uniform).cloned().collect()
    }

    /// What recurrent layers start from, and what is cut into such states.
    fn states(&self) -> HashSet<&String> {
        let recurrent = |node: &&Node| matches!(node.op_type.as_str(), "LSTM" | "GRU" | "RNN");
        let mut states: HashSet<&String> =
            self.nodes.iter().filter(recurrent).flat_map(|node| node.inputs.iter().skip(5).take(2)).collect();
        for node in self.nodes.iter().rev().filter(|node| node.op_type == "Slice") {
            if node.outputs.iter().any(|output| states.contains(output)) {
                states.extend(node.inputs.first());
            }
        }
        states
    }

    fn graph_of(&self, shapes: &BTreeMap<String, Vec<usize>>, origins: Origins) -> Result<Graph> {
        let inlined = Inlined::new(self);
        let mut importer = Importer::new(self, &inlined, shapes, origins);
        importer.check_names()?;
        importer.bind_inputs()?;
        importer.steps(&inlined.order)?;
        Ok(importer.build()?.0)
    }

    /// The graph, which value of it each value of the model is, and what whole numbers are known ahead.
    pub(super) fn seen(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Seen> {
        let inlined = Inlined::new(self);
        let origins = Origins { constants: self.fillings(), ..Origins::default() };
        let mut importer = Importer::new(self, &inlined, shapes, origins);
        importer.check_names()?;
        importer.bind_inputs()?;
        importer.steps(&inlined.order)?;
        let (graph, ids) = importer.build()?;
        let names = self.nodes.iter().flat_map(|node| &node.inputs).filter(|name| !name.is_empty());
        names.for_each(|name| drop(importer.binding(name)));
        let (mut values, mut known) = (HashMap::new(), HashMap::new());
        for (name, binding) in &importer.bindings {
            if let Some(id) = binding.slot.and_then(|slot| ids.of(slot)) {
                values.insert((*name).to_owned(), id);
            }
            if let Some(whole) = binding.known.as_ref().and_then(|pair| pair[0].whole()) {
                known.insert((*name).to_owned(), whole);
            }
        }
        Ok(Seen { graph, values, known })
    }
}

/// What a name of the model stands for.
#[derive(Debug, Clone, Default)]
struct Binding {
    /// The value in the graph, once it is needed there.
    slot: Option<PlanSlot>,
    /// Its elements for both batches, if they are known.
    known: Option<Rc<PerBatch<Array>>>,
    /// The node that computes it, where that has not become an operator.
    node: Option<usize>,
    /// Whether weights went into it, which must stay what they are in the graph.
    weight: bool,
    /// Its element type, where a tensor of the model says it.
    dtype: Option<DType>,
}

struct Importer<'a> {
    model: &'a OnnxModel,
    nodes: &'a [PlacedNode],
    shapes: &'a BTreeMap<String, Vec<usize>>,
    /// Tensors of the model that have no numbers here.
    carried: HashSet<&'a str>,
    /// What tensors are that are not what their names say.
    origins: Origins,
    /// Lengths of the axes that the model names.
    symbols: HashMap<&'a str, PerBatch<usize>>,
    /// Types that the model gives to values within it.
    declared: HashMap<&'a str, &'a Value>,
    /// Values that the outputs depend on.
    used: HashSet<&'a str>,
    bindings: HashMap<&'a str, Binding>,
    plan: GraphPlan,
    budget: usize,
    depth: usize,
    /// Whether a node did not fit its inputs.
    broken: bool,
}

impl<'a> Importer<'a> {
    fn new(
        model: &'a OnnxModel,
        inlined: &'a Inlined,
        shapes: &'a BTreeMap<String, Vec<usize>>,
        origins: Origins,
    ) -> Self {
        let used = inlined.used(model.outputs.iter().map(|v| v.name.as_str()));
        let declared = model.values.iter().chain(&model.outputs).map(|v| (v.name.as_str(), v)).collect();
        Self {
            model,
            nodes: &inlined.nodes,
            shapes,
            carried: model.carried.iter().map(String::as_str).collect(),
            origins,
            symbols: HashMap::new(),
            declared,
            used,
            bindings: HashMap::new(),
            plan: GraphPlan::default(),
            budget: BUDGET,
            depth: 0,
            broken: false,
        }
    }

    /// The graph of what the outputs depend on, and where values are in it.
    fn build(&mut self) -> Result<(Graph, Built)> {
        let outputs = self.model.outputs.iter().map(|v| Ok((v.name.as_str(), self.slot(&v.name)?)));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        self.plan.build(&outputs).map_err(|source| Error::Core { path: self.model.path.clone(), source })
    }

    /// Goes through nodes in running order. Depth: that of branches within each other, which is bounded.
    fn steps(&mut self, steps: &'a [Step]) -> Result<()> {
        for step in steps {
            let (Step::Node(index) | Step::Choice { node: index, .. }) = *step;
            let nodes = self.nodes;
            let node = &nodes[index].node;
            if !node.makes().any(|name| self.used.contains(name)) {
                continue;
            }
            match step {
                Step::Choice { branches, .. } => match self.choice(node) {
                    Some(taken) => self.steps(&branches[taken])?,
                    None => self.either(index, branches)?,
                },
                Step::Node(_) if self.fold(index) => {}
                Step::Node(_) => self.convert(index)?,
            }
        }
        Ok(())
    }

    /// Which branch counts; none if that depends on the inputs, or on weights, which may become others.
    fn choice(&mut self, node: &'a Node) -> Option<usize> {
        if !node.is("If") {
            return Some(0);
        }
        let binding = self.binding(node.inputs.first()?);
        let condition = binding.known.filter(|_| !binding.weight)?;
        match [0, 1].map(|k| condition[k].whole()) {
            [Some(a), Some(b)] if a.len() == 1 && a == b => Some(usize::from(a[0] == 0)),
            _ => None,
        }
    }

    /// Runs both branches of an `If` and chooses between what they make. One that inputs of these shapes cannot run is
    /// never taken. Where one is not known, or their shapes differ, the node is unknown.
    fn either(&mut self, index: usize, branches: &'a [Vec<Step>; 2]) -> Result<()> {
        let node = &self.nodes[index].node;
        let name = if node.name.is_empty() { node.makes().next().unwrap_or_default() } else { &node.name };
        let refused = |why: String| format!("an If whose condition depends on the inputs is not known here: {why}");
        let before = self.bindings.clone();
        let mut made = Vec::with_capacity(2);
        for steps in branches {
            self.broken = false;
            let slots: Result<Vec<PlanSlot>> =
                self.steps(steps).and_then(|()| node.makes().map(|name| self.slot(name)).collect());
            self.bindings.clone_from(&before);
            made.push(match slots {
                Err(Error::Onnx { .. }) if self.broken => None,
                Err(Error::Onnx { place, why, .. }) => {
                    return self.unknown(node, name, &refused(format!("{place}: {why}")));
                }
                slots => Some(slots?),
            });
        }
        self.broken = false;
        let (first, second) = match (made.pop().flatten(), made.pop().flatten()) {
            (Some(second), Some(first)) => (first, second),
            (None, Some(_)) => return self.steps(&branches[0]),
            (Some(_) | None, None) => return self.steps(&branches[1]),
        };
        let pairs: Vec<(PlanSlot, PlanSlot)> = first.into_iter().zip(second).collect();
        for &(a, b) in &pairs {
            let [left, right] = [a, b].map(|slot| &self.plan.shape(slot)[0]);
            if self.plan.shape(a) != self.plan.shape(b) || self.plan.kind(a) != self.plan.kind(b) {
                let why = format!("its branches give shapes {left:?} and {right:?}, or other kinds of numbers");
                return self.unknown(node, name, &refused(why));
            }
        }
        let condition = self.slot(&node.inputs[0])?;
        let mark = self.plan.mark();
        let slots = self.plan.choose(condition, &pairs).map_err(|why| fail(&self.model.path, node.label(), why))?;
        let made: Vec<(&str, PlanSlot)> = node.makes().zip(slots).collect();
        self.plan.rename(mark, name, &made);
        for (output, slot) in made {
            self.bindings.insert(output, Binding { slot: Some(slot), ..Binding::default() });
        }
        Ok(())
    }

    /// Computes a node if all its inputs are known. Whether it did.
    fn fold(&mut self, index: usize) -> bool {
        let nodes = self.nodes;
        let PlacedNode { node, opset, .. } = &nodes[index];
        let [output] = &node.outputs[..] else { return false };
        if self.is_large_constant(node) {
            // It is a tensor of the model, under the name of its output.
            return true;
        }
        if self.budget == 0 {
            return false;
        }
        let (arrays, weight) = match node.op_type.as_str() {
            "Shape" | "Size" if node.domain.is_empty() => (self.shape_of(node), false),
            "CastLike" if node.domain.is_empty() => self.cast_like(node),
            _ => self.fold_arrays(node, *opset),
        };
        let Some(arrays) = arrays else { return false };
        let count = arrays.iter().map(|a| a.data.len().max(1)).sum();
        if !self.spend(count) {
            return false;
        }
        let dtype = match node.attributes.get("value") {
            Some(super::Attribute::Tensor(tensor)) if node.is("Constant") => Some(tensor.dtype()),
            _ => None,
        };
        let is_weight = node.is("Constant") && arrays[0].kind() == ElementKind::Float && !arrays[0].shape.is_empty();
        let is_weight =
            is_weight && self.model.params.get(output).is_some() && !self.origins.constants.contains(output);
        let node = (!node.is("Constant")).then_some(index);
        let slot = None;
        let weight = weight || is_weight;
        self.bindings.insert(output, Binding { slot, known: Some(Rc::new(arrays)), node, weight, dtype });
        true
    }

    /// Whether a node holds a tensor of more elements than are followed.
    fn is_large_constant(&self, node: &Node) -> bool {
        let held = |name: &str| self.model.params.get(name).is_some_and(|tensor| Array::of(tensor).is_none());
        node.is("Constant") && node.attribute("value").is_some() && node.makes().any(held)
    }

    /// Takes elements from what may be computed. Once there are not enough, nothing more is.
    fn spend(&mut self, count: usize) -> bool {
        let rest = self.budget.checked_sub(count);
        self.budget = rest.unwrap_or(0);
        rest.is_some()
    }

    /// A known tensor in the kind of numbers of another value.
    fn cast_like(&mut self, node: &'a Node) -> (Option<PerBatch<Array>>, bool) {
        let [name, like] = &node.inputs[..] else { return (None, false) };
        let binding = self.binding(name);
        let Some((kind, pair)) = self.kind_of(like).zip(binding.known) else { return (None, false) };
        (Some([0, 1].map(|k| pair[k].cast(kind))), binding.weight)
    }

    /// What kind of numbers a value holds, if it has been reached.
    fn kind_of(&mut self, name: &'a str) -> Option<ElementKind> {
        let binding = self.binding(name);
        let tensor = || self.model.params.get(name).map(|t| ElementKind::of(t.dtype()));
        binding.slot.map(|slot| self.plan.kind(slot)).or_else(|| Some(binding.known?[0].kind())).or_else(tensor)
    }

    fn fold_arrays(&mut self, node: &'a Node, opset: i64) -> (Option<PerBatch<Array>>, bool) {
        let mut known = Vec::with_capacity(node.inputs.len());
        let mut weight = false;
        for name in &node.inputs {
            if name.is_empty() {
                known.push(None);
                continue;
            }
            let binding = self.binding(name);
            let Some(arrays) = binding.known else { return (None, false) };
            weight |= binding.weight;
            known.push(Some(arrays));
        }
        let probe = |k: usize| {
            let inputs = known.iter().map(|i| i.as_ref().map(|pair| &pair[k])).collect();
            fold::fold(&Known { node, inputs, opset })
        };
        let arrays = probe(0).and_then(|first| Some([first, probe(1)?]));
        (arrays, weight)
    }

    fn shape_of(&mut self, node: &'a Node) -> Option<PerBatch<Array>> {
        let shapes = self.shape(node.inputs.first()?)?;
        let end = |name: &str, usual: i64| match node.attribute(name) {
            None => Some(usual),
            Some(super::Attribute::Int(value)) => Some(*value),
            Some(_) => None,
        };
        let (start, stop) = (end("start", 0)?, end("end", i64::MAX)?);
        let [first, second] = shapes.map(|shape| {
            let lengths: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            if node.is("Size") {
                return Array::new(&[], array::Elements::Int(vec![lengths.iter().product()]));
            }
            let (start, len, _) = fold::slice(lengths.len(), start, stop, 1)?;
            Array::ints(lengths[start..start + len].to_vec())
        });
        Some([first?, second?])
    }

    /// Turns a node into operators, or into one that is unknown.
    fn convert(&mut self, index: usize) -> Result<()> {
        let (model, nodes) = (self.model, self.nodes);
        let PlacedNode { node, opset, why } = &nodes[index];
        let name = if node.name.is_empty() { node.makes().next().unwrap_or_default() } else { &node.name };
        let mark = self.plan.mark();
        let mut call = NodeCall::new(self, node, *opset);
        let made = match why {
            Some(why) => Err(Refusal::Unknown(why.clone())),
            None => convert::convert(&mut call).and_then(|made| call.finish(made)),
        };
        let made = match made {
            Ok(made) => made,
            Err(Refusal::Broken(why)) => {
                self.broken = true;
                return Err(fail(&model.path, node.label(), why));
            }
            Err(Refusal::Error(error)) => return Err(*error),
            Err(Refusal::Unknown(why)) => {
                self.plan.back_to(mark);
                return self.unknown(node, name, &why);
            }
        };
        let outputs: Vec<(&str, PlanSlot)> = node.outputs.iter().map(String::as_str).zip(made).collect();
        self.plan.rename(mark, name, &outputs);
        for (output, slot) in outputs {
            self.bindings.entry(output).or_default().slot = Some(slot);
        }
        Ok(())
    }

    /// Adds a node that is not known; the model or the caller has to say what shapes it makes.
    fn unknown(&mut self, node: &'a Node, name: &str, why: &str) -> Result<()> {
        self.broken = false;
        let mut inputs = Vec::new();
        for input in node.reads() {
            if !self.carried.contains(input) {
                inputs.push(self.slot(input)?);
            }
        }
        let makes: Vec<&str> = node.makes().filter(|name| self.used.contains(name)).collect();
        let mut shapes = Vec::new();
        for &output in &makes {
            let shape = self.shape_given(output)?.ok_or_else(|| {
                let why = format!(
                    "{why}, and the model does not say what shape `{output}` has; give it, as for an input: \
                     `{output}` and its lengths, or run ONNX's shape inference on the model"
                );
                fail(&self.model.path, node.label(), why)
            })?;
            let kind = self.declared.get(output).and_then(|v| v.dtype).map_or(ElementKind::Float, ElementKind::of);
            shapes.push((kind, shape));
        }
        let operator =
            if node.domain.is_empty() { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) };
        let slots = self.plan.unknown(name, &operator, inputs, &shapes);
        for (output, slot) in makes.into_iter().zip(slots) {
            self.bindings.entry(output).or_default().slot = Some(slot);
        }
        Ok(())
    }
}
