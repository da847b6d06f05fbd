//! A model as a graph over the tensors of a checkpoint, where the exporter renamed, reordered or joined them.
//!
//! What a tensor of the model is made of is found by its name, else by its values ([`search`]), else by where it is used
//! ([`scope`]). The model is then rewritten: every use of such a tensor reads a value of its own, and the graph makes that
//! value of parameters ([`recipe`]).

mod explain;
mod folded;
mod recipe;
mod scope;
mod search;
mod values;

use std::collections::{BTreeMap, HashMap, HashSet};

use onebasin_core::Params;
use onebasin_core::graph::Graph;

pub(super) use self::recipe::Recipe;
use crate::error::{Error, Result};
use crate::onnx::OnnxModel;
use crate::unexplained::Unexplained;

/// A model as a graph whose parameters are the tensors of a checkpoint; see [`OnnxModel::graph_over`].
#[derive(Debug, Clone)]
pub struct GraphOver {
    /// The graph. Its parameters have the names of the checkpoint; what is missing keeps that of the model.
    pub graph: Graph,
    /// Tensors of the model that are others of the checkpoint, or made of them.
    pub derived: Vec<Derived>,
    /// Tensors of floats in the model that no checkpoint holds: they are constants of the graph.
    pub constants: Vec<String>,
    /// Tensors of the checkpoint that hold the same values as one that the graph has in their place, in all networks that
    /// were given: their name, and that of the other one. Each has to move with it.
    pub tied: Vec<(String, String)>,
    /// Tensors of the model that the checkpoint does not explain.
    pub missing: Vec<Unexplained>,
    /// Whether the model was exported from this very checkpoint, as far as values were looked at.
    pub same_values: bool,
}

/// A tensor of a model that is made of tensors of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Its name in the model.
    pub tensor: String,
    /// The tensors of the checkpoint, each once.
    pub from: Vec<String>,
    /// How it is made of them, in words.
    pub how: String,
    /// What says so.
    pub by: Evidence,
    /// Other tensors of the checkpoint that hold the same values, and were not chosen.
    pub alike: Vec<String>,
}

/// What says that a tensor of a model is made of tensors of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Its values.
    Values,
    /// The module in which it is used, and its shape; the values are those of another state of the network.
    Place,
    /// It was zero when the model was exported, so the exporter left it out.
    LeftOut,
}

/// What the names of a model stand for, where that is not what they say.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// Tensors that are made of others.
    pub(super) recipes: HashMap<String, Recipe>,
    /// Tensors of floats that are no weights.
    pub(super) constants: HashSet<String>,
}

impl OnnxModel {
    /// The model as a graph over the tensors of a checkpoint, whatever an exporter did to their names.
    ///
    /// A tensor of the model is, in this order: the one of its name and shape; one or several that hold its values bit for
    /// bit, as they are, reshaped, with axes in another order, a slice, or several joined along an axis (gates of recurrent
    /// layers among them), compared in the shorter of the two element types; the one that its place in the network tells,
    /// where the model was exported from another state of the network. What is left and belongs to no unused tensor is a
    /// constant that no checkpoint holds, such as a table of positions; anything else is [`missing`](GraphOver::missing).
    ///
    /// `networks` are the tensors of networks of one structure: the first is compared with the model, and tensors are held
    /// to be tied that are equal in all of them. `shapes` is as in [`graph`](Self::graph).
    ///
    /// Cost: that of [`graph`](Self::graph) where names explain everything. Otherwise a few passes over the values of the
    /// first network and of the model, and a look into a map for each tensor.
    ///
    /// # Errors
    /// As [`graph`](Self::graph). What the checkpoint does not explain is no error here.
    ///
    /// Source: what `torch.onnx.export` of torch 2.15 writes, both exporters.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use onebasin_core::{Params, Tensor};
    /// # use onebasin_io::OnnxModel;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/raw.onnx");
    /// let model = OnnxModel::open(path.as_ref())?;
    /// let mut checkpoint = Params::new();
    /// checkpoint.insert("head.weight", model.params().require("fc.weight")?.clone());
    /// checkpoint.insert("head.bias", model.params().require("fc.bias")?.clone());
    /// let over = model.graph_over(&BTreeMap::new(), &[&checkpoint])?;
    /// let text = "input x [1, 4]\nfc: Linear (x, head.weight, head.bias) -> [1, 3]\noutput fc\n";
    /// assert_eq!(over.graph.to_string(), text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn graph_over(&self, shapes: &BTreeMap<String, Vec<usize>>, networks: &[&Params]) -> Result<GraphOver> {
        let explained = explain::explain(self, networks);
        let graph = explained.model.graph_of(shapes, explained.origins)?;
        let used = |name: &str| graph.param_named(name).is_ok();
        let tied = explained.tied.into_iter().filter(|(name, with)| !used(name) && used(with)).collect();
        Ok(GraphOver {
            derived: explained.derived,
            constants: explained.constants,
            tied,
            missing: explained.missing,
            same_values: explained.same_values,
            graph,
        })
    }
}

impl GraphOver {
    /// Passes only if nothing is missing.
    ///
    /// # Errors
    /// [`Error::Unexplained`] lists what is missing, and says how to export the network so that nothing is.
    pub fn complete(self, path: &std::path::Path) -> Result<Self> {
        if self.missing.is_empty() {
            return Ok(self);
        }
        Err(Error::Unexplained { path: path.to_owned(), missing: self.missing })
    }
}
