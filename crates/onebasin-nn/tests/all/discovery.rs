//! Laws 1 and 6: discovered symmetries equal the paper's, leave functions as they are, and wrong ones are caught.

use std::collections::{BTreeMap, BTreeSet};

use onebasin_core::graph::{Graph, Op};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Symmetry, SymmetrySpec, discover};
use onebasin_core::{Params, Tensor};
use onebasin_io::OnnxModel;
use onebasin_nn::exec::Program;
use onebasin_nn::{Check, CheckOptions, Network, check};
use onebasin_testkit::data_or_skip;

fn network(name: &str, input: &[usize]) -> Network {
    Network::new(name, input, 10).unwrap()
}

/// The places of every group, without its name.
fn sites(spec: &SymmetrySpec) -> BTreeSet<Vec<(String, usize)>> {
    let mut places: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for (tensor, pattern) in &spec.tensors {
        for (axis, term) in pattern.axes.iter().enumerate() {
            let text = term.to_string();
            if text != "." {
                places.entry(text).or_default().push((tensor.clone(), axis));
            }
        }
    }
    places.into_values().collect()
}

#[track_caller]
fn equals(name: &str, input: &[usize], groups: usize, by_hand: &[(String, String)]) {
    let found = network(name, input).symmetry().unwrap();
    let by_hand = SymmetrySpec::from_patterns(by_hand.iter().map(|(n, p)| (n.as_str(), p.as_str()))).unwrap();
    assert_eq!(found.tensors.keys().collect::<Vec<_>>(), by_hand.tensors.keys().collect::<Vec<_>>());
    assert_eq!(sites(&found), sites(&by_hand));
    assert_eq!(found.sizes.len(), groups);
}

/// The paper's helpers (`weight_matching.py`), in our layout: a convolution from `i` to `o`, and what normalises it.
fn conv(spec: &mut Vec<(String, String)>, name: &str, i: &str, o: &str) {
    spec.push((format!("{name}.weight"), format!("{o} {i} . .")));
}

fn norm(spec: &mut Vec<(String, String)>, name: &str, p: &str, statistics: bool) {
    let parts = if statistics { &["weight", "bias", "running_mean", "running_var"][..] } else { &["weight", "bias"] };
    for part in parts {
        spec.push((format!("{name}.{part}"), p.to_owned()));
    }
}

fn dense(spec: &mut Vec<(String, String)>, name: &str, i: &str, o: &str) {
    spec.push((format!("{name}.weight"), format!("{o} {i}")));
    spec.push((format!("{name}.bias"), o.to_owned()));
}

#[test]
fn an_mlp_has_one_group_a_hidden_layer() {
    let mut spec = Vec::new();
    for (name, i, o) in [("fc1", ".", "a"), ("fc2", "a", "b"), ("fc3", "b", "c"), ("fc4", "c", ".")] {
        dense(&mut spec, name, i, o);
    }
    equals("mlp:512x3", &[28, 28], 3, &spec);
}

#[test]
fn vgg16_has_15_groups() {
    let mut spec = Vec::new();
    let mut before = ".".to_owned();
    for k in 0..13 {
        let p = format!("p{k}");
        conv(&mut spec, &format!("conv{k}"), &before, &p);
        spec.push((format!("conv{k}.bias"), p.clone()));
        norm(&mut spec, &format!("norm{k}"), &p, false);
        before = p;
    }
    for (name, i, o) in [("fc1", before.as_str(), "d1"), ("fc2", "d1", "d2"), ("fc3", "d2", ".")] {
        dense(&mut spec, name, i, o);
    }
    equals("vgg16-ln:0.25", &[3, 32, 32], 15, &spec);
}

#[test]
fn resnet20_has_12_groups() {
    let mut spec = Vec::new();
    conv(&mut spec, "conv1", ".", "bg1");
    norm(&mut spec, "norm1", "bg1", false);
    for group in 1..=3 {
        for block in 0..3 {
            let name = format!("layer{group}.{block}");
            let shortcut = group > 1 && block == 0;
            let (i, o, inner) =
                (format!("bg{}", group - usize::from(shortcut)), format!("bg{group}"), format!("in{group}{block}"));
            conv(&mut spec, &format!("{name}.conv1"), &i, &inner);
            norm(&mut spec, &format!("{name}.norm1"), &inner, false);
            conv(&mut spec, &format!("{name}.conv2"), &inner, &o);
            norm(&mut spec, &format!("{name}.norm2"), &o, false);
            if shortcut {
                conv(&mut spec, &format!("{name}.shortcut.conv"), &i, &o);
                norm(&mut spec, &format!("{name}.shortcut.norm"), &o, false);
            }
        }
    }
    dense(&mut spec, "fc", "bg3", ".");
    equals("resnet20-ln:1", &[3, 32, 32], 12, &spec);
}

#[test]
fn resnet50_has_37_groups() {
    let mut spec = Vec::new();
    conv(&mut spec, "conv1", ".", "bg0");
    norm(&mut spec, "bn1", "bg0", true);
    for (group, blocks) in [(1, 3), (2, 4), (3, 6), (4, 3)] {
        for block in 0..blocks {
            let name = format!("layer{group}.{block}");
            let (i, o) = (format!("bg{}", group - usize::from(block == 0)), format!("bg{group}"));
            let (a, b) = (format!("a{group}{block}"), format!("b{group}{block}"));
            for (k, i, o) in [(1, &i, &a), (2, &a, &b), (3, &b, &o)] {
                conv(&mut spec, &format!("{name}.conv{k}"), i, o);
                norm(&mut spec, &format!("{name}.bn{k}"), o, true);
            }
            if block == 0 {
                conv(&mut spec, &format!("{name}.downsample.0"), &i, &o);
                norm(&mut spec, &format!("{name}.downsample.1"), &o, true);
            }
        }
    }
    dense(&mut spec, "fc", "bg4", ".");
    equals("resnet50-bn", &[3, 64, 64], 37, &spec);
}

fn checked(graph: &Graph, params: &Params, spec: &SymmetrySpec) -> Check {
    let symmetry = Symmetry::resolve(spec, params).unwrap();
    let options = CheckOptions { samples: 2, ..CheckOptions::default() };
    check(&Program::new(graph.clone()).unwrap(), params, &symmetry, &options).unwrap()
}

#[track_caller]
fn passes(what: &str, graph: &Graph, params: &Params) {
    let found = discover(graph);
    let result = checked(graph, params, found.spec());
    assert!(result.passes(), "{what}: {result:?}");
    assert!(!found.spec().sizes.is_empty(), "{what} has no group");
}

#[test]
fn built_in_networks_keep_their_function() {
    let small = [3, 32, 32];
    for name in ["vgg16-ln:0.25", "vgg16-bn:0.125", "resnet20-ln:1", "resnet32-bn:1", "resnet20-a", "resnet56-a"] {
        let net = network(name, &small);
        passes(name, &net.graph().unwrap(), &net.init(1).unwrap());
    }
    for name in ["resnet18", "resnet34", "resnet50", "resnet50-ln", "resnet50-bn"] {
        let net = network(name, &[3, 64, 64]);
        passes(name, &net.graph().unwrap(), &net.init(1).unwrap());
    }
    for (name, input) in [("mlp:512x3", vec![28, 28]), ("mlp:64-32", vec![3072])] {
        let net = network(name, &input);
        passes(name, &net.graph().unwrap(), &net.init(1).unwrap());
    }
}

#[test]
fn exported_networks_keep_their_function() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../onebasin-io/tests/goldens/networks");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let model = OnnxModel::open(&path).unwrap();
        let graph = model.graph(&BTreeMap::new()).unwrap();
        let used = graph.params().map(|p| (p.name.clone(), model.params().get(&p.name).unwrap().clone())).collect();
        passes(&path.display().to_string(), &graph, &used);
        seen += 1;
    }
    assert_eq!(seen, 11);
}

/// Units that may move, counted by hand from `goldens/networks.py`.
///
/// DenseNet: stem 6, two layers of 4, transition 7, two layers of 4. MobileNet: stem 6, twice 12 expanded and 4 squeezed,
/// stream 8. U-Net: 4 and 8 down, 12 in the middle, 8 up, 8 and 4 where they join. ShuffleNet: 4 in each branch; the stem's
/// first half in two halves of 2 (the second block cuts there), its second half of 4; between the former stand 2 and 2
/// units of the first branch's output, between the latter 4 of the second's, which move on their own. Experts: 3 of them,
/// 5 units hidden in each.
#[test]
fn exported_networks_have_the_units_counted_by_hand() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../onebasin-io/tests/goldens/networks");
    for (name, units) in [
        ("densenet", 6 + 4 + 4 + 7 + 4 + 4),
        ("mobilenet", 6 + 2 * (12 + 4) + 8),
        ("unet", 4 + 8 + 12 + 8 + 8 + 4),
        ("shufflenet", 4 + 4 + (2 + 2) + 4 + (2 + 2) + 4),
        ("time_first", 6 + 6),
        ("experts", 6 + 3 + 5),
        ("experts_chosen", 6 + 3 + 5),
    ] {
        let model = OnnxModel::open(&std::path::Path::new(folder).join(format!("{name}.onnx"))).unwrap();
        let graph = model.graph(&BTreeMap::new()).unwrap();
        assert_eq!(discover(&graph).spec().sizes.values().sum::<usize>(), units, "{name}");
    }
}

/// A graph of the ONNX zoo, its weights filled with random values that keep activations in range.
fn zoo(folder: &std::path::Path, name: &str) -> (Graph, Params) {
    let mut model = OnnxModel::open(&folder.join("onnx").join(name)).unwrap();
    let fill = |name: &str, shape: &[usize]| {
        let mut stream = Stream::new(0, name);
        let fan_in: usize = shape[1..].iter().product();
        let scale = (2.0 / fan_in as f64).sqrt();
        let draw = |_| if shape.len() == 1 { stream.range(0.5, 1.5) } else { scale * stream.normal() } as f32;
        Tensor::from_f32(shape, (0..shape.iter().product()).map(draw).collect())
    };
    model.fill_constant_of_shape(fill).unwrap();
    let graph = model.graph(&BTreeMap::new()).unwrap();
    let used = graph.params().map(|p| (p.name.clone(), model.params().get(&p.name).unwrap().clone())).collect();
    (graph, used)
}

#[test]
fn graphs_of_the_onnx_zoo_keep_their_function() {
    let Some(folder) = data_or_skip("graphs_of_the_onnx_zoo_keep_their_function") else { return };
    for name in ["light_squeezenet.onnx", "light_resnet50.onnx", "wonnx_opt-mnist.onnx"] {
        let (graph, params) = zoo(&folder, name);
        passes(name, &graph, &params);
    }
}

#[test]
#[ignore = "gigabytes of weights: cargo test -p onebasin-nn --test all discovery -- --ignored"]
fn large_graphs_of_the_onnx_zoo_keep_their_function() {
    let Some(folder) = data_or_skip("large_graphs_of_the_onnx_zoo_keep_their_function") else { return };
    for name in ["light_vgg19.onnx", "light_bvlc_alexnet.onnx"] {
        let (graph, params) = zoo(&folder, name);
        passes(name, &graph, &params);
    }
}

#[test]
fn wrong_symmetries_are_caught_and_the_group_is_named() {
    let net = network("resnet20-bn:1", &[3, 32, 32]);
    let (graph, mut params) = (net.graph().unwrap(), net.init(1).unwrap());
    // Statistics as after training: all channels differ.
    for name in params.names().filter(|n| n.contains("running")).map(str::to_owned).collect::<Vec<_>>() {
        let mut stream = Stream::new(2, &name);
        let len = params.get(&name).unwrap().len();
        let low = if name.ends_with("var") { 0.5 } else { -0.5 };
        let values = (0..len).map(|_| (low + stream.uniform()) as f32).collect();
        params.insert(name, Tensor::from_f32(&[len], values).unwrap());
    }
    let right = discover(&graph).spec().clone();
    assert!(checked(&graph, &params, &right).passes());

    let mut still = right.clone();
    still.tensors.insert("layer1.0.norm1.running_var".to_owned(), ".".parse().unwrap());
    let result = checked(&graph, &params, &still);
    assert!(!result.passes(), "{result:?}");
    assert_eq!(result.faults.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["layer1.0.conv1"]);

    let mut untied = right.clone();
    untied.tensors.insert("layer1.1.conv2.weight".to_owned(), "loose layer1.1.conv1 . .".parse().unwrap());
    let result = checked(&graph, &params, &untied);
    assert!(!result.passes() && result.faults.iter().any(|f| f.0 == "loose"), "{result:?}");
}

#[test]
fn group_norm_taken_for_layer_norm_is_caught() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 3, 8, 8]).unwrap();
    let x = graph.conv("conv", x, 12, 3, onebasin_core::graph::op::Conv::square(1, 1), true).unwrap();
    let affine = ["weight", "bias"].map(|part| graph.param(&format!("norm.{part}"), &[12]).unwrap());
    let x = graph.push("norm", Op::GroupNorm { groups: 3, epsilon: 1e-5 }, &[x, affine[0], affine[1]]).unwrap();
    let x = graph.relu(x).unwrap();
    let x = graph.global_average("pool", x).unwrap();
    let y = graph.linear("fc", x, 4).unwrap();
    graph.output(y);
    let draw = |p: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(0, &p.name);
        let values = (0..p.shape.iter().product()).map(|_| stream.normal() as f32).collect();
        (p.name.clone(), Tensor::from_f32(&p.shape, values).unwrap())
    };
    let params: Params = graph.params().map(draw).collect();
    passes("GroupNorm", &graph, &params);
    let patterns = [
        ("conv.weight", "c . . ."),
        ("conv.bias", "c"),
        ("norm.weight", "c"),
        ("norm.bias", "c"),
        ("fc.weight", ". c"),
        ("fc.bias", "."),
    ];
    let result = checked(&graph, &params, &SymmetrySpec::from_patterns(patterns).unwrap());
    assert!(!result.passes());
    assert_eq!(result.faults.len(), 1);
    assert_eq!(result.faults[0].0, "c");
}
