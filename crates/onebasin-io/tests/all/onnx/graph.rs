//! Models as graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use onebasin_core::graph::{Graph, Op};
use onebasin_io::OnnxModel;
use onebasin_io::onnx::Dim;
use onebasin_testkit::data_or_skip;
use tempfile::TempDir;

use super::{doubled, model, node, tensor, zeros};

const NETWORKS: [&str; 11] = [
    "densenet",
    "experts",
    "experts_chosen",
    "gru",
    "lstm",
    "mobilenet",
    "shufflenet",
    "time_first",
    "transformer",
    "transformer_folded",
    "unet",
];

fn network(name: &str) -> OnnxModel {
    OnnxModel::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/networks/{name}.onnx"))).unwrap()
}

fn graph(model: &OnnxModel) -> Graph {
    model.graph(&BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"))
}

fn shapes(name: &str, shape: &[usize]) -> BTreeMap<String, Vec<usize>> {
    BTreeMap::from([(name.to_owned(), shape.to_vec())])
}

fn case(name: &str) -> OnnxModel {
    OnnxModel::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/graphs/{name}.onnx"))).unwrap()
}

fn unknown(graph: &Graph) -> Vec<&str> {
    let unknown = graph.nodes().iter().filter(|n| matches!(n.op, Op::Unknown(_)));
    unknown.map(|n| n.name.as_str()).collect()
}

/// Outputs have the shapes that the model gives them, with its batch as it is or made another.
fn check_outputs(model: &OnnxModel, graph: &Graph, batch: Option<usize>) {
    for (value, id) in model.outputs().iter().zip(graph.outputs()) {
        let Some(dims) = &value.shape else { continue };
        let place = format!("{} of {}", value.name, model.path().display());
        assert_eq!(graph.shape(*id).len(), dims.len(), "{place}");
        for (axis, (dim, &len)) in dims.iter().zip(graph.shape(*id)).enumerate() {
            let expected = match (dim, batch) {
                (_, Some(batch)) if axis == 0 => batch,
                (Dim::Fixed(n), _) => *n,
                (Dim::Named(name), _) if name == "batch" => 1,
                _ => continue,
            };
            assert_eq!(len, expected, "axis {axis} of {place}");
        }
    }
}

#[test]
fn networks_become_graphs_of_known_operators() {
    for name in NETWORKS {
        let model = network(name);
        let graph = graph(&model);
        assert!(unknown(&graph).is_empty(), "{name}: {:?}", unknown(&graph));
        check_outputs(&model, &graph, None);
        check_outputs(&model, &graph.with_batch(4).unwrap(), Some(4));
    }
}

#[test]
fn graphs_of_the_zoo_become_graphs_of_known_operators() {
    let Some(data) = data_or_skip("graphs_of_the_zoo_become_graphs_of_known_operators") else { return };
    for name in ["light_bvlc_alexnet", "light_resnet50", "light_squeezenet", "light_vgg19", "wonnx_opt-mnist"] {
        let mut model = OnnxModel::open(&data.join(format!("onnx/{name}.onnx"))).unwrap();
        for filled in [false, true] {
            if filled {
                model.fill_constant_of_shape(|_, shape| zeros(shape)).unwrap();
            }
            let graph = graph(&model);
            assert!(unknown(&graph).is_empty(), "{name}: {:?}", unknown(&graph));
            check_outputs(&model, &graph, None);
            check_outputs(&model, &graph.with_batch(4).unwrap(), Some(4));
            let read: BTreeSet<&str> = model.nodes().iter().flat_map(onebasin_io::onnx::Node::reads).collect();
            let weights = model.params().iter().filter(|(n, t)| t.dtype().is_float() && read.contains(n));
            assert_eq!(graph.params().count(), weights.count(), "{name}");
        }
    }
}

/// The models of `graphs.py`, by name, as text.
#[test]
fn operators_of_every_version_become_the_expected_nodes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/graphs");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    names.sort();
    let mut found = String::new();
    for path in &names {
        let model = OnnxModel::open(path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let shapes = if name == "open_axes" { shapes("x", &[2, 4, 5, 7]) } else { BTreeMap::new() };
        let graph = model.graph(&shapes).unwrap_or_else(|e| panic!("{e}"));
        if shapes.is_empty() {
            check_outputs(&model, &graph, None);
        }
        writeln!(found, "== {name}\n{graph}").unwrap();
    }
    let expected = std::fs::read_to_string(folder.join("expected.txt")).unwrap();
    for (found, expected) in found.split("== ").zip(expected.split("== ")) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn what_is_not_said_is_asked_for() {
    let model = case("open_axes");
    let error = |shapes: &BTreeMap<String, Vec<usize>>| model.graph(shapes).unwrap_err().to_string();
    let asked = error(&BTreeMap::new());
    let expected = "input `x`: axis 2 is `height`, of no fixed length; pass its whole shape, as in \
                    `--input-shape x=1x3x224x224`";
    assert!(asked.ends_with(expected), "{asked}");
    let short = error(&shapes("x", &[1, 4]));
    assert!(short.ends_with("shape [1, 4] of input `x`: the model gives it 4 axes"), "{short}");
    let other = error(&shapes("x", &[1, 5, 6, 6]));
    assert!(other.ends_with("shape [1, 5, 6, 6] of input `x`: the model has 4 on axis 1"), "{other}");
    let misspelt = error(&shapes("input", &[1]));
    assert!(misspelt.ends_with("shape of `input`: the model has no such value, its inputs are `x`, `z`"), "{misspelt}");
    let both = [shapes("x", &[1, 4, 6, 6]), shapes("z", &[1, 3, 5, 1])].into_iter().flatten().collect();
    let apart = error(&both);
    assert!(apart.ends_with("shape [1, 3, 5, 1] of input `z`: axis 2 is `height`, which is 6 elsewhere"), "{apart}");
}

#[test]
fn unknown_nodes_are_named_and_need_a_shape() {
    let nodes = [node("Sorcery", &["w"], &["h"]), node("Relu", &["h"], &["y"])];
    let weights = [tensor("w", &[3], 1, &[0; 12])];
    let bytes = model(&nodes, &weights, &["y"], 17).into();
    let model = OnnxModel::parse(&bytes, "sorcery.onnx".as_ref()).unwrap();
    let error = model.graph(&BTreeMap::new()).unwrap_err().to_string();
    let expected = "node Sorcery that makes `h`: operator Sorcery is not known, and the model does not say what shape \
                    `h` has; give it";
    assert!(error.contains(expected), "{error}");
    let graph = model.graph(&shapes("h", &[5])).unwrap();
    assert_eq!(graph.to_string(), "h: Unknown(Sorcery) (w) -> [5]\ny: Relu (h) -> [5]\noutput y\n");
    assert_eq!(unknown(&graph), ["h"]);
}

/// ONNX pads a mask that is shorter than the keys with what hides them, which is no broadcast.
#[test]
fn a_mask_that_is_shorter_than_the_keys_is_refused() {
    let masked = |columns: i64| {
        let nodes = [node("Attention", &["w", "w", "w", "m"], &["y"])];
        let weights =
            [tensor("w", &[1, 2, 3, 4], 1, &[0; 96]), tensor("m", &[3, columns], 1, &vec![0; 12 * columns as usize])];
        let bytes = model(&nodes, &weights, &["y"], 23).into();
        OnnxModel::parse(&bytes, "masked.onnx".as_ref()).unwrap().graph(&BTreeMap::new())
    };
    assert!(masked(3).is_ok());
    let error = masked(1).unwrap_err().to_string();
    assert!(error.contains("a mask of shape [3, 1] over 3 keys is not known"), "{error}");
}

#[test]
fn parameters_of_a_graph_are_the_weights_that_are_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("written.onnx");
    for name in NETWORKS {
        let model = network(name);
        let before = graph(&model);
        for param in before.params() {
            assert_eq!(model.params().require(&param.name).unwrap().shape(), param.shape, "{name}");
        }
        let doubled = doubled(model.params());
        model.write(&path, &doubled, None).unwrap();
        let after = OnnxModel::open(&path).unwrap();
        assert_eq!(after.params(), &doubled, "{name}");
        let params = |g: &Graph| g.params().cloned().collect::<Vec<_>>();
        assert_eq!(params(&graph(&after)), params(&before), "{name}");
    }
}

#[test]
fn a_tied_weight_is_one_parameter() {
    let nodes = [node("MatMul", &["w", "w"], &["h"]), node("MatMul", &["h", "w"], &["y"])];
    let bytes = model(&nodes, &[tensor("w", &[2, 2], 1, &[0; 16])], &["y"], 17).into();
    let graph = graph(&OnnxModel::parse(&bytes, "tied.onnx".as_ref()).unwrap());
    assert_eq!(graph.params().count(), 1);
}

#[test]
fn shapes_from_outside_are_checked_before_memory_is_asked_for() {
    let many = |count: i64| [count.to_le_bytes(); 3].concat();
    for lengths in [many(1 << 40), many(-1), many(i64::MAX)] {
        let shape = tensor("s", &[3], 7, &lengths);
        let nodes = [node("ConstantOfShape", &["s"], &["h"]), node("Relu", &["h"], &["y"])];
        let bytes = model(&nodes, &[shape], &["y"], 17).into();
        let error = OnnxModel::parse(&bytes, "large.onnx".as_ref()).unwrap().graph(&BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("ConstantOfShape") || error.to_string().contains("too large"), "{error}");
    }
    let mut nodes: Vec<Vec<u8>> =
        (0..200).map(|k| node("Neg", &[&format!("w{k}")], &[&format!("w{}", k + 1)])).collect();
    nodes.push(node("Relu", &["w200"], &["y"]));
    let bytes = model(&nodes, &[tensor("w0", &[3], 1, &[0; 12])], &["y"], 17).into();
    let error = OnnxModel::parse(&bytes, "deep.onnx".as_ref()).unwrap().graph(&BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("one within the other"), "{error}");
}
