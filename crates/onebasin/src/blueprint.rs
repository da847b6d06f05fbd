//! What says how a network is built, where its file does not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What says how a network is built, where its file does not: the default is what the file itself says.
///
/// An ONNX file holds its graph, and a checkpoint that onebasin trained names its network. For any other checkpoint one of
/// the fields says it; a symmetry file wins over a graph.
///
/// ```
/// use onebasin::Blueprint;
/// let resnet = Blueprint { network: Some("resnet50".into()), ..Blueprint::default() };
/// let own = Blueprint { graph: Some("net.onnx".into()), ..Blueprint::default() };
/// assert_ne!(resnet, own);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blueprint {
    /// A built-in network: `mlp:512x3`, `resnet50`. An unknown name is an error that lists all.
    pub network: Option<String>,
    /// An ONNX file of the same network, whose graph the checkpoint follows.
    pub graph: Option<PathBuf>,
    /// Shapes of inputs of that ONNX file whose axes it leaves open, by name.
    pub input_shapes: BTreeMap<String, Vec<usize>>,
    /// A symmetry file (TOML) that says which units may be exchanged.
    pub symmetry: Option<PathBuf>,
    /// The part of a training checkpoint that is the network: `student`, `models.gen`; none takes the usual one.
    pub part: Option<String>,
    /// What stands before the names of the network's tensors; none finds it.
    pub prefix: Option<String>,
    /// Tensors that are none of the network's and are in no result: patterns of names, `*` for anything.
    pub ignore: Vec<String>,
    /// Tensors of which a result has A's: patterns of names, `*` for anything.
    pub carry: Vec<String>,
    /// Bytes of memory that running the network may take; what the machine has, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}
