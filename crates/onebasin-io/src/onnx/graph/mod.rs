//! A model as a graph of the project's operators.
//!
//! Nodes are gone through in running order. One whose inputs are all known is computed ([`fold`]); any other becomes
//! operators of the graph ([`convert`]), or one that is unknown. Everything is done for two batches at once, that of the
//! inputs and one more, which tells the lengths that follow the batch from those that do not.

mod array;
mod bind;
mod call;
mod convert;
mod fold;
mod images;
mod layout;
mod linear;
mod norm;
mod plan;
mod recurrent;
mod slices;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use onebasin_core::graph::Graph;

use self::array::{Array, ElementKind};
use self::call::{NodeCall, Refusal};
use self::fold::Known;
use self::plan::{GraphPlan, PlanSlot};
use super::model::{Node, Value};
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
    /// what `shapes` says, by the input's name, on any other. Weights are parameters of the names that they have in
    /// [`params`](Self::params), so what is done to them goes back by [`write`](Self::write); numbers and tensors that
    /// only say how to compute (axes, shapes, paddings) become attributes. A node becomes one operator or several, of
    /// its name or, where it has none, that of its output.
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
    /// Source: the operators of ONNX, versions 8 to 21, <https://onnx.ai/onnx/operators>.
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
        let mut importer = Importer::new(self, shapes);
        importer.check_names()?;
        importer.bind_inputs()?;
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if node.makes().any(|name| importer.used.contains(name)) && !importer.fold(index) {
                importer.convert(index)?;
            }
        }
        let outputs = self.outputs.iter().map(|v| Ok((v.name.as_str(), importer.slot(&v.name)?)));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        importer.plan.build(&outputs).map_err(|source| Error::Core { path: self.path.clone(), source })
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
}

struct Importer<'a> {
    model: &'a OnnxModel,
    shapes: &'a BTreeMap<String, Vec<usize>>,
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
}

impl<'a> Importer<'a> {
    fn new(model: &'a OnnxModel, shapes: &'a BTreeMap<String, Vec<usize>>) -> Self {
        let mut used: HashSet<&str> = model.outputs.iter().map(|v| v.name.as_str()).collect();
        for node in model.nodes.iter().rev() {
            if node.makes().any(|name| used.contains(name)) {
                used.extend(node.reads());
            }
        }
        let declared = model.values.iter().chain(&model.outputs).map(|v| (v.name.as_str(), v)).collect();
        Self {
            model,
            shapes,
            symbols: HashMap::new(),
            declared,
            used,
            bindings: HashMap::new(),
            plan: GraphPlan::default(),
            budget: BUDGET,
            depth: 0,
        }
    }

    /// Computes a node if all its inputs are known. Whether it did.
    fn fold(&mut self, index: usize) -> bool {
        let node = &self.model.nodes[index];
        let [output] = &node.outputs[..] else { return false };
        let (arrays, weight) = match node.op_type.as_str() {
            "Shape" | "Size" if node.domain.is_empty() => (self.shape_of(node), false),
            _ => self.fold_arrays(node),
        };
        let Some(arrays) = arrays else { return false };
        let count = arrays.iter().map(|a| a.data.len().max(1)).sum();
        let Some(rest) = self.budget.checked_sub(count) else { return false };
        self.budget = rest;
        let is_weight = node.is("Constant") && arrays[0].kind() == ElementKind::Float && !arrays[0].shape.is_empty();
        let is_weight = is_weight && self.model.params.get(output).is_some();
        let node = (!node.is("Constant")).then_some(index);
        let slot = None;
        self.bindings.insert(output, Binding { slot, known: Some(Rc::new(arrays)), node, weight: weight || is_weight });
        true
    }

    fn fold_arrays(&mut self, node: &'a Node) -> (Option<PerBatch<Array>>, bool) {
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
            fold::fold(&Known { node, inputs, opset: self.model.opset() })
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
        let model = self.model;
        let node = &model.nodes[index];
        let name = if node.name.is_empty() { node.makes().next().unwrap_or_default() } else { &node.name };
        let mark = self.plan.mark();
        let mut call = NodeCall::new(self, node);
        let made = convert::convert(&mut call).and_then(|made| call.finish(made));
        let made = match made {
            Ok(made) => made,
            Err(Refusal::Broken(why)) => return Err(fail(&model.path, node.label(), why)),
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
        let mut inputs = Vec::new();
        for input in node.reads() {
            if !self.model.carried.iter().any(|c| c == input) {
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
