//! A model made wider: weights of other shapes, and every number of the file that says such a length rewritten.
//!
//! Which numbers these are is found by what nodes do with them ([`sizes`]), and believed by nobody: what was written is read
//! again, and has to be the graph that was wanted, operator by operator, before anybody sees it.

mod edit;
mod sizes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use onebasin_core::graph::{Graph, Node as Operator, Op, ValueId, ValueSource};
use onebasin_core::{Params, Tensor};

use super::{OnnxModel, fail};
use crate::error::Result;

/// What is known of a model's values: the graph, which value of it each name is, and whole numbers that are known ahead.
pub(super) struct Seen {
    pub(super) graph: Graph,
    pub(super) values: HashMap<String, ValueId>,
    pub(super) known: HashMap<String, Vec<i64>>,
}

/// What is changed in the bytes of a model.
#[derive(Debug, Default)]
struct Edits {
    /// Tensors of the model that become others.
    tensors: BTreeMap<String, Tensor>,
    /// Tensors that are added.
    added: BTreeMap<String, Tensor>,
    /// Nodes, by their number in running order.
    nodes: BTreeMap<usize, NodeEdit>,
    /// Shapes that the model gives to values; of those that are not here it keeps what it says.
    shapes: BTreeMap<String, Vec<usize>>,
    /// Values whose shape it is silent about from then on.
    silent: BTreeSet<String>,
}

/// What is changed of a node.
#[derive(Debug, Default)]
struct NodeEdit {
    /// Inputs that become other values.
    inputs: BTreeMap<usize, String>,
    /// Attributes that become other whole numbers.
    numbers: BTreeMap<String, Vec<i64>>,
    /// A convolution of one tap with these weights, in place of a padding of channels.
    convolution: Option<String>,
}

impl OnnxModel {
    /// The same model with longer axes: `wide` is its graph with other lengths (and, where channels were padded, with
    /// convolutions of one tap in place of the paddings), `params` the tensors of that graph.
    ///
    /// Weights get their new shapes; sizes in the inputs and attributes of nodes, in constants that shapes are computed from, and
    /// in shapes that the model gives to its values follow. Everything else is the bytes that were read. The result is one file,
    /// without external data.
    ///
    /// Cost: one pass over the model and its weights, and two imports.
    ///
    /// # Errors
    /// If `wide` is the graph of another model; or if the model, read again, is not `wide`: then a size stands somewhere where it
    /// cannot be told from another number, and the first node that does not follow is named.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use onebasin_core::Tensor;
    /// # use onebasin_io::OnnxModel;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/raw.onnx");
    /// let model = OnnxModel::open(path.as_ref())?;
    /// let graph = model.graph(&BTreeMap::new())?;
    /// // With the lengths it has, it is the model that it was.
    /// let same = model.widened(&graph, model.params())?;
    /// assert_eq!(same.graph(&BTreeMap::new())?.to_string(), graph.to_string());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn widened(&self, wide: &Graph, params: &Params) -> Result<Self> {
        if let Some(name) = self.filled.values().next() {
            let why = "was made a weight after the model was read; write the model, and open it again";
            return Err(fail(&self.path, format!("tensor `{name}`"), why));
        }
        let shapes: BTreeMap<String, Vec<usize>> =
            wide.inputs().map(|id| (wide.value(id).name.clone(), wide.shape(id).to_vec())).collect();
        let seen = self.seen(&shapes)?;
        let places = self.places(&seen.graph, wide)?;
        let edits = sizes::Sizes::new(self, &seen, wide, &places, params).edits()?;
        let bytes = edit::edited(self, &edits)?;
        let made = Self::parse(&bytes, &self.path)?;
        let again = made.graph(&shapes).map_err(|error| {
            let why = format!(
                "with wider weights it does not fit any more ({error}); a size stands in it that cannot be told from another number"
            );
            fail(&self.path, "the model", why)
        })?;
        self.compare(&again, wide)?;
        for value in wide.params() {
            let of = |tensors: &Params| tensors.require(&value.name).cloned();
            let unfit = |why| super::unfit(&self.path, format!("tensor `{}`", value.name), why);
            let found = of(&made.params).map_err(unfit)?;
            if of(params).and_then(|wanted| wanted.cast(found.dtype())).map_err(unfit)? != found {
                let why = "has other numbers in the wider model than it should";
                return Err(fail(&self.path, format!("tensor `{}`", value.name), why));
            }
        }
        Ok(Self { file: self.file.as_ref().map(Arc::clone), ..made })
    }

    /// Which value of the wide graph each of the narrow one is: nodes are the same, one for one.
    fn places(&self, narrow: &Graph, wide: &Graph) -> Result<HashMap<ValueId, ValueId>> {
        let other = |place: String| fail(&self.path, place, "is not what the wider graph was made of");
        if narrow.nodes().len() != wide.nodes().len() || narrow.outputs().len() != wide.outputs().len() {
            return Err(other("the model".to_owned()));
        }
        let mut places: HashMap<ValueId, ValueId> = HashMap::new();
        let pairs = |a: &Operator, b: &Operator| {
            let inputs = a.inputs.iter().copied().zip(b.inputs.iter().copied());
            inputs.chain(a.outputs.iter().copied().zip(b.outputs.iter().copied())).collect::<Vec<_>>()
        };
        for (a, b) in narrow.nodes().iter().zip(wide.nodes()) {
            let is_same = a.op.name() == b.op.name() && a.inputs.len() == b.inputs.len();
            let is_padding = is_padding(a, b);
            if a.name != b.name || !(is_same || is_padding) || a.outputs.len() != b.outputs.len() {
                return Err(other(format!("node `{}`", a.name)));
            }
            for (from, to) in pairs(a, b) {
                if *places.entry(from).or_insert(to) != to {
                    return Err(other(format!("node `{}`", a.name)));
                }
            }
        }
        Ok(places)
    }

    /// Passes only if a graph is the one that was wanted, but for the names of constants.
    fn compare(&self, found: &Graph, wanted: &Graph) -> Result<()> {
        let differs = |place: String, what: &str| {
            let why = format!(
                "{what} when the wider model is read again: a size stands here that cannot be told from another number; merge at width \
                 1, or widen fewer groups"
            );
            fail(&self.path, place, why)
        };
        for (a, b) in found.nodes().iter().zip(wanted.nodes()) {
            let shape = |graph: &Graph, node: &Operator| {
                node.outputs.iter().map(|v| graph.shape(*v).to_vec()).collect::<Vec<_>>()
            };
            let (found_shape, wanted_shape) = (shape(found, a), shape(wanted, b));
            if a.name != b.name || a.op != b.op || found_shape != wanted_shape {
                let what = format!("is {:?} -> {found_shape:?} and should be {:?} -> {wanted_shape:?}", a.op, b.op);
                return Err(differs(format!("node `{}`", b.name), &what));
            }
            let is_same = |(x, y): (&ValueId, &ValueId)| {
                let (x, y) = (found.value(*x), wanted.value(*y));
                x.shape == y.shape
                    && match (&x.source, &y.source) {
                        (ValueSource::Param, ValueSource::Param) | (ValueSource::Input, ValueSource::Input) => {
                            x.name == y.name
                        }
                        (ValueSource::Constant(x), ValueSource::Constant(y)) => x == y,
                        (ValueSource::Node(x, k), ValueSource::Node(y, l)) => (x, k) == (y, l),
                        (
                            ValueSource::Param | ValueSource::Input | ValueSource::Constant(_) | ValueSource::Node(..),
                            _,
                        ) => false,
                    }
            };
            if a.inputs.len() != b.inputs.len() || !a.inputs.iter().zip(&b.inputs).all(is_same) {
                return Err(differs(format!("node `{}`", b.name), "reads something else"));
            }
        }
        if found.nodes().len() != wanted.nodes().len() || found.outputs().len() != wanted.outputs().len() {
            return Err(differs("the model".to_owned(), "has other nodes"));
        }
        Ok(())
    }
}

/// Whether a node pads channels, and a convolution stands in its place.
fn is_padding(narrow: &Operator, wide: &Operator) -> bool {
    matches!((&narrow.op, &wide.op), (Op::Pad { .. }, Op::Conv(_)))
}
