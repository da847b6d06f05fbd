//! Nodes within nodes: what is laid out, what stays unknown, and that neither takes long.

use std::collections::BTreeMap;

use onebasin_core::Tensor;
use onebasin_core::graph::Graph;
use onebasin_io::OnnxModel;

use super::{delimited, integer, model, node, tensor};

fn attribute(name: &str, kind: i64, value: Vec<u8>) -> Vec<u8> {
    delimited(5, &[delimited(1, name.as_bytes()), value, integer(20, kind)].concat())
}

fn graph_attribute(name: &str, nodes: &[Vec<u8>], tensors: &[Vec<u8>], output: &str) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|n| delimited(1, n));
    let tensors = tensors.iter().flat_map(|t| delimited(5, t));
    let graph: Vec<u8> = nodes.chain(tensors).chain(delimited(12, &delimited(1, output.as_bytes()))).collect();
    attribute(name, 5, delimited(6, &graph))
}

/// An `If` that chooses between two operators on `w`.
fn choice(condition: &str, output: &str) -> Vec<u8> {
    let branch = |name: &str, op: &str| graph_attribute(name, &[node(op, &["w"], &["t"])], &[], "t");
    [node("If", &[condition], &[output]), branch("then_branch", "Relu"), branch("else_branch", "Tanh")].concat()
}

fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|n| delimited(7, n));
    let ends = [delimited(1, name.as_bytes()), delimited(4, b"a"), delimited(5, b"b"), delimited(10, b"pkg")].concat();
    delimited(25, &[ends, nodes.collect(), delimited(9, &integer(2, 17))].concat())
}

fn call(name: &str, input: &str, output: &str) -> Vec<u8> {
    [node(name, &[input], &[output]), delimited(7, b"pkg")].concat()
}

fn weight() -> Vec<u8> {
    tensor("w", &[3], 1, &[0; 12])
}

fn graph(bytes: Vec<u8>) -> Result<Graph, String> {
    let model = OnnxModel::parse(&bytes.into(), "inlined.onnx".as_ref()).map_err(|e| e.to_string())?;
    model.graph(&BTreeMap::new()).map_err(|e| e.to_string())
}

#[test]
fn a_branch_is_taken_where_its_condition_is_known() {
    for (value, expected) in [(1, "Relu"), (0, "Tanh")] {
        let nodes = [choice("c", "h"), choice("c", "g"), node("Add", &["h", "g"], &["y"])];
        let text = graph(model(&nodes, &[weight(), tensor("c", &[], 9, &[value])], &["y"], 17)).unwrap().to_string();
        // All four are called `t` in their branches, and no value has the name of another.
        let names = if value == 1 { ["t", "t.3"] } else { ["t.2", "t.4"] };
        let [first, second] = names;
        let lines = names.map(|name| format!("{name}: {expected} (w) -> [3]\n")).concat();
        assert_eq!(text, format!("{lines}y: Add ({first}, {second}) -> [3]\noutput y\n"));
    }
    let then = graph_attribute("then_branch", &[node("Relu", &["w"], &["t"])], &[], "t");
    let other = graph_attribute("else_branch", &[node("ReduceSum", &["w"], &["t"])], &[], "t");
    let test = [node("ReduceMax", &["w"], &["m"]), node("IsNaN", &["m"], &["c"])];
    let either = [test[0].clone(), test[1].clone(), choice("c", "y")];
    let text = graph(model(&either, &[weight()], &["y"], 17)).unwrap().to_string();
    assert!(text.ends_with("y/1: Reshape[] (c) -> []\ny: Where (y/1, t, t.2) -> [3]\noutput y\n"), "{text}");
    let uneven = [&test[..], &[[node("If", &["c"], &["y"]), then, other].concat()]].concat();
    let error = graph(model(&uneven, &[weight()], &["y"], 17)).unwrap_err();
    assert!(error.contains("its branches give shapes [3] and [1]"), "{error}");
    let computed = [node("ReduceMax", &["w"], &["m"]), node("Cast", &["m"], &["c"]), choice("c", "y")];
    let error = graph(model(&computed, &[weight()], &["y"], 17)).unwrap_err();
    assert!(error.contains("Cast"), "{error}");
}

#[test]
fn weights_within_a_branch_or_function_are_never_dropped() {
    let inner = [node("Mul", &["w", "v"], &["t"])];
    let then = graph_attribute("then_branch", &inner, &[tensor("v", &[3], 1, &[0; 12])], "t");
    let other = graph_attribute("else_branch", &[node("Relu", &["w"], &["t"])], &[], "t");
    let nodes = [[node("If", &["c"], &["y"]), then, other].concat()];
    let branched = model(&nodes, &[weight(), tensor("c", &[], 9, &[1])], &["y"], 17);
    let text = graph(branched.clone()).unwrap().to_string();
    assert_eq!(text, "t: Mul (w, v) -> [3]\noutput t\n");
    let opened = OnnxModel::parse(&branched.into(), "branched.onnx".as_ref()).unwrap();
    let (mut params, folder) = (opened.params().clone(), tempfile::tempdir().unwrap());
    params.insert("v", Tensor::from_f32(&[3], vec![1.0, 2.0, 3.0]).unwrap());
    opened.write(&folder.path().join("written.onnx"), &params, None).unwrap();
    assert_eq!(OnnxModel::open(&folder.path().join("written.onnx")).unwrap().params(), &params);
    // A name that another value has too is nobody's in particular.
    let then = graph_attribute("then_branch", &inner, &[tensor("v", &[3], 1, &[0; 12])], "t");
    let other = graph_attribute("else_branch", &inner, &[tensor("v", &[3], 1, &[0; 12])], "t");
    let nodes = [[node("If", &["c"], &["y"]), then, other].concat()];
    let error = graph(model(&nodes, &[weight(), tensor("c", &[], 9, &[1])], &["y"], 17)).unwrap_err();
    assert!(error.contains("an If that holds weights of its own, as `v`, is not known"), "{error}");
    let constant = [node("Constant", &[], &["v"]), attribute("value", 4, delimited(5, &tensor("", &[3], 1, &[0; 12])))];
    let body = [constant.concat(), node("Mul", &["a", "v"], &["b"])];
    let bytes = [model(&[call("F", "w", "y")], &[weight()], &["y"], 17), function("F", &body)].concat();
    let error = graph(bytes).unwrap_err();
    assert!(error.contains("a call of function `F` that holds weights of its own, as `v`, is not known"), "{error}");
}

#[test]
fn functions_that_call_each_other_without_end_are_refused_soon() {
    let recursive = function("F", &[call("F", "a", "b")]);
    let error = graph([model(&[call("F", "w", "y")], &[weight()], &["y"], 17), recursive].concat()).unwrap_err();
    assert!(error.contains("within more than 32 others is not known"), "{error}");
    // Every function calls the one before it twice: 2^30 nodes, were they all laid out.
    let mut bytes = model(&[call("F30", "w", "y")], &[weight()], &["y"], 17);
    bytes.extend(function("F0", &[node("Relu", &["a"], &["b"])]));
    for k in 1..=30 {
        let inner = format!("F{}", k - 1);
        bytes.extend(function(&format!("F{k}"), &[call(&inner, "a", "t"), call(&inner, "t", "b")]));
    }
    let error = graph(bytes).unwrap_err();
    assert!(error.contains("that makes the model too large is not known"), "{error}");
}

#[test]
fn what_a_function_is_not_given_it_does_not_see() {
    let outside = function("F", &[node("Mul", &["a", "w"], &["b"])]);
    let error = graph([model(&[call("F", "w", "y")], &[weight()], &["y"], 17), outside].concat()).unwrap_err();
    assert!(error.contains("reads `w`, which nothing within or around it makes"), "{error}");
    let twice = function("F", &[node("Relu", &["a"], &["b"]), node("Tanh", &["a"], &["b"])]);
    let error = graph([model(&[call("F", "w", "y")], &[weight()], &["y"], 17), twice].concat()).unwrap_err();
    assert!(error.contains("makes `b` twice"), "{error}");
    let two = [function("F", &[node("Relu", &["a"], &["b"])]), function("F", &[node("Tanh", &["a"], &["b"])])].concat();
    let error = graph([model(&[call("F", "w", "y")], &[weight()], &["y"], 17), two].concat()).unwrap_err();
    assert!(error.contains("of which the model has more than one"), "{error}");
}

#[test]
fn weights_given_to_a_function_stay_weights_of_the_model() {
    let body = [node("Relu", &["a"], &["t"]), node("Neg", &["t"], &["b"])];
    let nodes = [call("F", "w", "h"), call("F", "h", "y")];
    let bytes = [model(&nodes, &[weight()], &["y"], 17), function("F", &body)].concat();
    let found = graph(bytes).unwrap();
    assert_eq!(found.params().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["w"]);
    let text =
        "h/t: Relu (w) -> [3]\nh/b: Neg (h/t) -> [3]\ny/t: Relu (h/b) -> [3]\ny/b: Neg (y/t) -> [3]\noutput y/b\n";
    assert_eq!(found.to_string(), text);
}

#[test]
fn what_draws_random_numbers_or_trains_says_what_to_do() {
    let training = [tensor("r", &[], 1, &0.5_f32.to_le_bytes()), tensor("t", &[], 9, &[1]), weight()];
    let channels: Vec<Vec<u8>> = ["g", "b", "m", "v"].map(|n| tensor(n, &[3], 1, &[0; 12])).into();
    let image = [channels, vec![tensor("x", &[2, 3], 1, &[0; 24])]].concat();
    let norm =
        [node("BatchNormalization", &["x", "g", "b", "m", "v"], &["y"]), attribute("training_mode", 2, integer(3, 1))];
    let cases = [
        model(&[node("Dropout", &["w", "r", "t"], &["y"])], &training, &["y"], 17),
        model(&[node("RandomNormalLike", &["w"], &["y"])], &[weight()], &["y"], 17),
        model(&[norm.concat()], &image, &["y"], 17),
        // Up to version 13 statistics that are outputs say that it trains.
        model(&[node("BatchNormalization", &["x", "g", "b", "m", "v"], &["y", "m2", "v2"])], &image, &["y"], 9),
    ];
    for bytes in cases {
        let error = graph(bytes).unwrap_err();
        assert!(error.contains("export the network in evaluation mode"), "{error}");
    }
}

#[test]
fn a_weight_is_standardised_by_a_batch_norm_in_training() {
    let channels: Vec<Vec<u8>> = ["g", "b", "m", "v"].map(|n| tensor(n, &[3], 1, &[0; 12])).into();
    let tensors = [channels, vec![tensor("x", &[1, 3, 2], 1, &[0; 24])]].concat();
    let norm =
        [node("BatchNormalization", &["x", "g", "b", "m", "v"], &["y"]), attribute("training_mode", 2, integer(3, 1))];
    let text = graph(model(&[norm.concat()], &tensors, &["y"], 17)).unwrap().to_string();
    assert_eq!(text, "y: GroupNorm { groups: 3, epsilon: 1e-5 } (x, g, b) -> [1, 3, 2]\noutput y\n");
}

#[test]
fn later_attributes_that_are_not_looked_at_keep_a_node_unknown() {
    let scale = || tensor("s", &[], 1, &0.5_f32.to_le_bytes());
    let shaped = |bytes: Vec<u8>| OnnxModel::parse(&bytes.into(), "later.onnx".as_ref()).unwrap();
    let shapes = BTreeMap::from([("y".to_owned(), vec![3])]);
    for (op, name, version) in
        [("Cast", "round_mode", 24), ("DequantizeLinear", "block_size", 21), ("QuantizeLinear", "later", 25)]
    {
        let inputs: &[&str] = if op == "Cast" { &["w"] } else { &["w", "s"] };
        let to = attribute("to", 2, integer(3, 1));
        let plain = if op == "Cast" { [node(op, inputs, &["y"]), to].concat() } else { node(op, inputs, &["y"]) };
        let later = [plain.clone(), attribute(name, 2, integer(3, 2))].concat();
        let text = |n: Vec<u8>| {
            let found = shaped(model(&[n], &[weight(), scale()], &["y"], version)).graph(&shapes).unwrap();
            found.to_string()
        };
        assert!(!text(plain).contains("Unknown"), "{op}");
        assert!(text(later).contains(&format!("Unknown({op})")), "{op}");
    }
}

#[test]
fn indices_that_many_nodes_share_do_not_fill_memory() {
    let count = 1 << 16;
    let indices: Vec<u8> = (0..count).flat_map(|k: i64| (k * k % 3).to_le_bytes()).collect();
    let nodes: Vec<Vec<u8>> = (0..2000).map(|k| node("Gather", &["w", "i"], &[&format!("g{k}")])).collect();
    let sums = (0..2000).map(|k| node("ReduceSum", &[&format!("g{k}")], &[&format!("s{k}")]));
    let mut all: Vec<Vec<u8>> = nodes.into_iter().chain(sums).collect();
    let names: Vec<String> = (0..2000).map(|k| format!("s{k}")).collect();
    all.push(node("Sum", &names.iter().map(String::as_str).collect::<Vec<_>>(), &["y"]));
    let bytes = model(&all, &[weight(), tensor("i", &[count], 7, &indices)], &["y"], 11);
    let error = graph(bytes).unwrap_err();
    assert!(error.contains("numbers that are computed beforehand"), "{error}");
}

#[test]
fn axes_beyond_counting_are_refused_soon() {
    let count = 1 << 16;
    let axes: Vec<u8> = (0..count).flat_map(i64::to_le_bytes).collect();
    let nodes: Vec<Vec<u8>> = (0..500).map(|k| node("Unsqueeze", &["w", "a"], &[&format!("u{k}")])).collect();
    let outputs: Vec<String> = (0..500).map(|k| format!("u{k}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let bytes = model(&nodes, &[weight(), tensor("a", &[count], 7, &axes)], &outputs, 13);
    let error = graph(bytes).unwrap_err();
    assert!(error.contains("are not different axes"), "{}", &error[..error.len().min(300)]);
    let many = model(&[node("Relu", &["w"], &["y"])], &[tensor("w", &[1; 100], 1, &[0; 4])], &["y"], 13);
    assert!(graph(many).unwrap_err().contains("too large"));
}

#[test]
fn an_unknown_function_is_named() {
    let text = graph(model(&[call("F", "w", "y")], &[weight()], &["y"], 17)).unwrap_err();
    assert!(text.contains("operators of `pkg` are not known"), "{text}");
}
