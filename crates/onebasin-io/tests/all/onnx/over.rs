//! Graphs over the tensors of a checkpoint that an exporter renamed, reordered, joined or computed ahead.

use std::collections::BTreeMap;

use bytes::Bytes;
use onebasin_core::symmetry::discover;
use onebasin_core::{DType, Params, Tensor};
use onebasin_io::OnnxModel;
use onebasin_io::onnx::{Cause, Evidence, GraphOver};

use super::{delimited, golden, import, integer, node, tensor};

/// Numbers without a pattern, the same for the same seed.
fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn random(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_f32(shape, values(seed, shape.iter().product())).unwrap()
}

fn filled(shape: &[usize], value: f32) -> Tensor {
    Tensor::from_f32(shape, vec![value; shape.iter().product()]).unwrap()
}

fn exchanged(tensor: &Tensor) -> Tensor {
    let (v, [rows, columns]) = (tensor.to_f32().unwrap(), [tensor.shape()[0], tensor.shape()[1]]);
    let values = (0..rows * columns).map(|k| v[k % rows * columns + k / rows]).collect();
    Tensor::from_f32(&[columns, rows], values).unwrap()
}

fn joined(parts: &[&Tensor], shape: &[usize]) -> Tensor {
    let values = parts.iter().flat_map(|t| t.to_f32().unwrap().to_vec()).collect();
    Tensor::from_f32(shape, values).unwrap()
}

fn rows(tensor: &Tensor, start: usize, len: usize) -> Tensor {
    let inner = tensor.len() / tensor.shape()[0];
    let values = tensor.to_f32().unwrap()[start * inner..(start + len) * inner].to_vec();
    Tensor::from_f32(&[&[len], &tensor.shape()[1..]].concat(), values).unwrap()
}

fn named(name: &str, node: Vec<u8>) -> Vec<u8> {
    [node, delimited(3, name.as_bytes())].concat()
}

fn flag(node: Vec<u8>, name: &str, value: i64) -> Vec<u8> {
    [node, delimited(5, &[delimited(1, name.as_bytes()), integer(3, value), integer(20, 2)].concat())].concat()
}

/// What the exporter of torch says of the module that a node stands in.
fn scoped(node: Vec<u8>, module: &str) -> Vec<u8> {
    let entry =
        [delimited(1, b"pkg.torch.onnx.name_scopes"), delimited(2, format!("['', '{module}', 'node']").as_bytes())];
    [node, delimited(9, &entry.concat())].concat()
}

fn model(input: &[i64], nodes: &[Vec<u8>], tensors: &[(&str, &Tensor)], output: &str) -> OnnxModel {
    let dims = input.iter().flat_map(|d| delimited(1, &integer(1, *d))).collect::<Vec<u8>>();
    let kind = delimited(1, &[integer(1, 1), delimited(2, &dims)].concat());
    let x = delimited(11, &[delimited(1, b"x"), delimited(2, &kind)].concat());
    let tensors = tensors.iter().flat_map(|(name, t)| {
        let dims: Vec<i64> = t.shape().iter().map(|&n| n as i64).collect();
        delimited(5, &tensor(name, &dims, 1, t.bytes()))
    });
    let nodes = nodes.iter().flat_map(|node| delimited(1, node));
    let graph: Vec<u8> = nodes.chain(tensors).chain(x).chain(delimited(12, &delimited(1, output.as_bytes()))).collect();
    let bytes = [integer(1, 8), delimited(7, &graph), import(17)].concat();
    OnnxModel::parse(&Bytes::from(bytes), &golden("external")).unwrap()
}

fn params(tensors: &[(&str, &Tensor)]) -> Params {
    tensors.iter().map(|(name, tensor)| ((*name).to_owned(), (*tensor).clone())).collect()
}

fn over(model: &OnnxModel, checkpoint: &Params) -> GraphOver {
    model.graph_over(&BTreeMap::new(), &[checkpoint]).unwrap_or_else(|e| panic!("{e}"))
}

fn how(over: &GraphOver) -> Vec<String> {
    over.derived.iter().map(|d| format!("{}: {}", d.tensor, d.how)).collect()
}

/// Two layers with other names and their axes exchanged, with a constant between that no checkpoint holds.
fn layers(first: &Tensor, second: &Tensor) -> OnnxModel {
    let nodes = [
        named("/a/MatMul", node("MatMul", &["x", "val_0"], &["h"])),
        named("/Add", node("Add", &["h", "table"], &["p"])),
        named("/Relu", node("Relu", &["p"], &["r"])),
        named("/b/MatMul", node("MatMul", &["r", "val_1"], &["y"])),
    ];
    let (w, v) = (exchanged(first), exchanged(second));
    model(&[1, 5, 4], &nodes, &[("val_0", &w), ("val_1", &v), ("table", &random(9, &[5, 6]))], "y")
}

#[test]
fn exchanged_axes_are_found_by_value_and_what_no_checkpoint_holds_is_a_constant() {
    let (w, v) = (random(1, &[6, 4]), random(2, &[3, 6]));
    let over = over(&layers(&w, &v), &params(&[("a.weight", &w), ("b.weight", &v)]));
    assert_eq!(how(&over), ["val_0: `a.weight` with axes [1, 0]", "val_1: `b.weight` with axes [1, 0]"]);
    assert!(over.same_values && over.missing.is_empty() && over.derived.iter().all(|d| d.by == Evidence::Values));
    assert_eq!(over.constants, ["table"]);
    assert!(over.graph.to_string().contains("/a/MatMul: Linear (x, a.weight)"), "{}", over.graph);
}

#[test]
fn the_place_tells_where_the_values_are_those_of_another_state() {
    let model = layers(&random(1, &[6, 4]), &random(2, &[3, 6]));
    let (w, v) = (random(3, &[6, 4]), random(4, &[3, 6]));
    let over = over(&model, &params(&[("a.weight", &w), ("b.weight", &v)]));
    assert!(!over.same_values && over.missing.is_empty() && over.derived.iter().all(|d| d.by == Evidence::Place));
    assert_eq!(over.constants, ["table"]);
    let same = self::over(&model, &params(&[("a.weight", &random(1, &[6, 4])), ("b.weight", &random(2, &[3, 6]))]));
    assert_eq!(over.graph, same.graph, "the same graph serves both");
}

/// The checkpoint is the network that was exported with its hidden units in another order: rows of the first weight lie in
/// it one by one, but nothing was exported from them.
#[test]
fn units_in_another_order_are_another_state_and_no_recipe() {
    for order in [&[3, 0, 5, 1, 4, 2][..], &[1, 0, 2]] {
        let units = order.len();
        let (w, bias, v) = (random(1, &[units, 4]), random(5, &[units]), random(2, &[3, units]));
        let moved = |t: &Tensor| {
            joined(&order.iter().map(|&k| rows(t, k, 1)).collect::<Vec<_>>().iter().collect::<Vec<_>>(), t.shape())
        };
        let nodes = [
            scoped(node("MatMul", &["x", "val_0"], &["h"]), "a"),
            scoped(node("Add", &["h", "a.bias"], &["p"]), "a"),
            scoped(node("MatMul", &["p", "val_1"], &["y"]), "b"),
        ];
        let model =
            model(&[1, 5, 4], &nodes, &[("val_0", &exchanged(&w)), ("val_1", &exchanged(&v)), ("a.bias", &bias)], "y");
        let (w, v) = (moved(&w), exchanged(&moved(&exchanged(&v))));
        let over = over(&model, &params(&[("a.weight", &w), ("a.bias", &moved(&bias)), ("b.weight", &v)]));
        assert_eq!(how(&over), ["val_0: `a.weight` with axes [1, 0]", "val_1: `b.weight` with axes [1, 0]"]);
        assert!(!over.same_values && over.missing.is_empty());
    }
}

#[test]
fn a_checkpoint_of_another_network_leaves_everything_missing() {
    let model = layers(&random(1, &[6, 4]), &random(2, &[3, 6]));
    let over = over(&model, &params(&[("z", &random(3, &[7, 7]))]));
    let missing: Vec<&str> = over.missing.iter().map(|m| m.tensor.as_str()).collect();
    assert_eq!(missing, ["table", "val_0", "val_1"]);
    assert!(over.missing.iter().all(|m| m.cause == Cause::Absent));
    assert!(over.complete(model.path()).unwrap_err().to_string().contains("optimize=False"));
}

#[test]
fn shapes_with_more_axes_and_shorter_types_are_the_same_values() {
    let (w, slope) = (random(1, &[6, 4]), random(2, &[6]));
    let nodes = [node("MatMul", &["x", "w"], &["h"]), node("PRelu", &["h", "s"], &["y"])];
    let s = joined(&[&slope], &[1, 6]);
    let model = model(&[1, 4], &nodes, &[("w", &exchanged(&w)), ("s", &s)], "y");
    for dtype in [DType::F32, DType::F16, DType::F64, DType::BF16] {
        let [w, slope] = [&w, &slope].map(|t| t.cast(dtype).unwrap());
        let over = over(&model, &params(&[("fc.weight", &w), ("act.slope", &slope)]));
        assert_eq!(how(&over), ["w: `fc.weight` with axes [1, 0]", "s: `act.slope` as [1, 6]"], "{dtype}");
    }
}

#[test]
fn parts_of_one_tensor_and_several_tensors_in_one_are_found() {
    let qkv = random(1, &[12, 4]);
    let parts = [0, 4, 8].map(|start| rows(&qkv, start, 4));
    let product = |name: &str, y: &str| node("MatMul", &["x", name], &[y]);
    let sum = [product("q", "a"), product("k", "b"), node("Add", &["a", "b"], &["y"])];
    let split = model(&[1, 4], &sum, &[("q", &exchanged(&parts[0])), ("k", &exchanged(&parts[2]))], "y");
    let found = over(&split, &params(&[("qkv.weight", &qkv)]));
    let expected =
        ["q: `qkv.weight`[0..4 of axis 0] with axes [1, 0]", "k: `qkv.weight`[8..12 of axis 0] with axes [1, 0]"];
    assert_eq!(how(&found), expected);
    let fused = model(&[1, 4], &[product("w", "y")], &[("w", &exchanged(&qkv))], "y");
    let [q, k, v] = &parts;
    let found = over(&fused, &params(&[("q.weight", q), ("k.weight", k), ("v.weight", v)]));
    assert_eq!(how(&found), ["w: [`q.weight`, `k.weight`, `v.weight`] along axis 0 with axes [1, 0]"]);
}

/// Gates in the order of ONNX.
fn gates(tensor: &Tensor, order: &[usize]) -> Tensor {
    let hidden = tensor.shape()[0] / order.len();
    let parts: Vec<Tensor> = order.iter().map(|g| rows(tensor, g * hidden, hidden)).collect();
    joined(&parts.iter().collect::<Vec<_>>(), tensor.shape())
}

#[test]
fn gates_and_directions_of_recurrent_layers_are_found() {
    let (hidden, width) = (5, 3);
    for (op, order) in [("LSTM", &[0, 3, 1, 2][..]), ("GRU", &[1, 0, 2])] {
        let rows = hidden * order.len();
        let mut checkpoint = Params::new();
        let mut sides = [Vec::new(), Vec::new(), Vec::new()];
        for (k, end) in ["", "_reverse"].into_iter().enumerate() {
            let seed = 10 * k as u64;
            let names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
            let shapes: [&[usize]; 4] = [&[rows, width], &[rows, hidden], &[rows], &[rows]];
            let tensors: Vec<Tensor> = (0..4).map(|i| random(seed + 1 + i as u64, shapes[i])).collect();
            names.iter().zip(&tensors).for_each(|(n, t)| checkpoint.insert(format!("rnn.{n}_l0{end}"), t.clone()));
            sides[0].push(gates(&tensors[0], order));
            sides[1].push(gates(&tensors[1], order));
            sides[2].extend([gates(&tensors[2], order), gates(&tensors[3], order)]);
        }
        let all = |k: usize, shape: &[usize]| joined(&sides[k].iter().collect::<Vec<_>>(), shape);
        let (w, r, b) = (all(0, &[2, rows, width]), all(1, &[2, rows, hidden]), all(2, &[2, 2 * rows]));
        let both = [delimited(1, b"direction"), delimited(4, b"bidirectional"), integer(20, 3)].concat();
        let cell = |scope: bool| {
            let cell = [node(op, &["x", "w", "r", "b"], &["y"]), delimited(5, &both)].concat();
            if scope { scoped(cell, "rnn") } else { cell }
        };
        let specs = [false, true].map(|scope| {
            let nodes = [cell(scope), node("ReduceMean", &["y"], &["mean"])];
            let model = model(&[7, 1, 3], &nodes, &[("w", &w), ("r", &r), ("b", &b)], "mean");
            let found = over(&model, &checkpoint);
            assert!(found.same_values && found.missing.is_empty(), "{op}: {:?}", found.missing);
            assert_eq!(found.derived.iter().flat_map(|d| &d.from).count(), 8, "{op}");
            discover(&found.graph).spec().clone()
        });
        assert_eq!(specs[0], specs[1], "the place says of {op} what the values say");
        assert_eq!(specs[0].sizes["rnn.weight_ih_l0"], hidden, "{op}");
    }
}

#[test]
fn tensors_that_were_equal_are_parted_by_their_places() {
    let (one, zero) = (filled(&[4], 1.0), filled(&[4], 0.0));
    let norm =
        |x: &str, y: &str, module: &str| scoped(node("LayerNormalization", &[x, "n1.weight", "n1.bias"], &[y]), module);
    let model =
        model(&[1, 4], &[norm("x", "h", "n1"), norm("h", "y", "n2")], &[("n1.weight", &one), ("n1.bias", &zero)], "y");
    let names = ["n1.weight", "n1.bias", "n2.weight", "n2.bias"];
    for trained in [false, true] {
        let tensor = |k: usize| if trained { random(k as u64, &[4]) } else { [&one, &zero][k % 2].clone() };
        let checkpoint: Params = names.iter().enumerate().map(|(k, n)| ((*n).to_owned(), tensor(k))).collect();
        let over = over(&model, &checkpoint);
        assert_eq!(over.graph.params().map(|p| p.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(how(&over), ["n1.weight: `n2.weight`", "n1.bias: `n2.bias`"]);
    }
}

#[test]
fn one_tensor_under_two_names_is_one_parameter() {
    let w = random(1, &[6, 4]);
    let nodes = [node("MatMul", &["x", "val_0"], &["h"]), flag(node("Gemm", &["h", "e.weight"], &["y"]), "transB", 0)];
    let model = model(&[1, 4], &nodes, &[("val_0", &exchanged(&w)), ("e.weight", &w)], "y");
    let over = over(&model, &params(&[("e.weight", &w), ("head.weight", &w)]));
    assert_eq!(over.tied, [("head.weight".to_owned(), "e.weight".to_owned())]);
    assert_eq!(over.derived[0].alike, ["head.weight"]);
    assert_eq!(over.graph.params().count(), 1);
    // Where another network has two tensors they are two.
    let other = params(&[("e.weight", &random(2, &[6, 4])), ("head.weight", &random(3, &[6, 4]))]);
    let two = model.graph_over(&BTreeMap::new(), &[&params(&[("e.weight", &w), ("head.weight", &w)]), &other]).unwrap();
    assert!(two.tied.is_empty());
}

#[test]
fn a_bias_that_was_left_out_since_it_was_zero_comes_back() {
    let (w, zero) = (random(1, &[6, 4]), filled(&[6], 0.0));
    let layer = flag(node("Gemm", &["x", "fc.weight"], &["y"]), "transB", 1);
    let model = model(&[1, 4], &[layer], &[("fc.weight", &w)], "y");
    let over = |bias: &Tensor| self::over(&model, &params(&[("fc.weight", &w), ("fc.bias", bias)]));
    assert!(over(&zero).graph.to_string().contains("Linear (x, fc.weight, fc.bias)"));
    assert_eq!(over(&zero).derived[0].by, Evidence::LeftOut);
    assert!(over(&filled(&[6], 0.5)).graph.param_named("fc.bias").is_err(), "the model would have had it");
}

/// A convolution of one tap, and what is multiplied into it.
fn folded(weight: &Tensor, gain: &Tensor, variance: &Tensor) -> Tensor {
    let (g, v) = (gain.to_f32().unwrap(), variance.to_f32().unwrap());
    let inner = weight.len() / weight.shape()[0];
    let scaled = |(k, w): (usize, &f32)| w * g[k / inner] / (v[k / inner] + 1e-5).sqrt();
    Tensor::from_f32(weight.shape(), weight.to_f32().unwrap().iter().enumerate().map(scaled).collect()).unwrap()
}

#[test]
fn folded_batch_norms_and_weights_computed_ahead_are_named() {
    let (w, gain, mean) = (random(1, &[6, 4, 1, 1]), random(2, &[6]), random(3, &[6]));
    let variance = Tensor::from_f32(&[6], values(4, 6).iter().map(|v| v.abs() + 0.5).collect()).unwrap();
    let head = random(5, &[6, 6, 1, 1]);
    let norm = [("b1.weight", &gain), ("b1.bias", &mean), ("b1.running_mean", &mean), ("b1.running_var", &variance)];
    let checkpoint = params(&[&[("c1.weight", &w), ("c2.weight", &head)][..], &norm].concat());
    let other: Params = checkpoint.iter().map(|(n, t)| (n.to_owned(), random(77, t.shape()))).collect();
    for (name, path) in [("c1.weight", "/c1/Conv"), ("onnx::Conv_34", "/c1/Conv"), ("onnx::Conv_34", "")] {
        let first = [named(path, node("Conv", &["x", name], &["h"])), node("Conv", &["h", "c2.weight"], &["y"])];
        let model = model(&[1, 4, 2, 2], &first, &[(name, &folded(&w, &gain, &variance)), ("c2.weight", &head)], "y");
        let said = |checkpoint: &Params| over(&model, checkpoint).complete(model.path()).unwrap_err().to_string();
        let text = format!("BatchNorm `b1` was folded into `{name}`");
        assert!(said(&checkpoint).contains(&text), "{}", said(&checkpoint));
        if !path.is_empty() {
            assert!(said(&other).contains(&text), "another state: {}", said(&other));
        }
    }
    let layer = flag(scoped(node("Gemm", &["x", "mul", "a.bias"], &["y"]), "a"), "transB", 1);
    let (v, bias) = (random(8, &[6, 4]), random(9, &[6]));
    let model = model(&[1, 4], &[layer], &[("mul", &v), ("a.bias", &bias)], "y");
    for (g, v) in
        [("a.parametrizations.weight.original0", "a.parametrizations.weight.original1"), ("a.weight_g", "a.weight_v")]
    {
        // Right after it was made the weight is `v` itself, which it does not stay.
        let checkpoint = params(&[(g, &random(7, &[6, 1])), (v, &random(8, &[6, 4])), ("a.bias", &bias)]);
        let missing = over(&model, &checkpoint).missing;
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].cause, Cause::Parametrised { original: v.to_owned() });
    }
}

#[test]
fn a_parameter_that_the_checkpoint_lacks_is_no_constant() {
    let (w, v) = (random(1, &[6, 4]), random(2, &[3, 6]));
    for (name, missing) in [("b.weight", true), ("b.running_mean", true), ("b.table", false)] {
        let nodes = [
            flag(node("Gemm", &["x", "a.weight"], &["h"]), "transB", 1),
            flag(node("Gemm", &["h", name], &["y"]), "transB", 1),
        ];
        let over = over(&model(&[2, 4], &nodes, &[("a.weight", &w), (name, &v)], "y"), &params(&[("a.weight", &w)]));
        let told: Vec<_> = over.missing.iter().map(|m| (m.tensor.as_str(), &m.cause)).collect();
        assert_eq!(told, if missing { vec![(name, &Cause::Absent)] } else { vec![] });
        assert_eq!(over.constants.is_empty(), missing);
    }
}

#[test]
fn masks_and_single_numbers_are_constants() {
    let (w, inf) = (random(1, &[6, 4]), f32::NEG_INFINITY);
    let mask = Tensor::from_f32(&[2, 6], vec![0.0, inf, inf, 0.0, 0.0, inf, 0.0, 0.0, inf, 0.0, 0.0, 0.0]).unwrap();
    let nodes = [
        flag(node("Gemm", &["x", "w"], &["h"]), "transB", 1),
        node("Mul", &["h", "scale"], &["s"]),
        node("Add", &["s", "mask"], &["y"]),
    ];
    let scale = filled(&[], 0.5);
    let model = model(&[2, 4], &nodes, &[("w", &w), ("mask", &mask), ("scale", &scale)], "y");
    for name in ["w", "fc.weight"] {
        let over = over(&model, &params(&[(name, &w), ("mask", &mask)]));
        assert_eq!(over.constants, ["mask", "scale"]);
        assert_eq!(over.graph.params().count(), 1);
    }
}

#[test]
fn many_equal_tensors_and_many_candidates_take_no_time() {
    let count = 500;
    let name = |k: usize| format!("m{k}.weight");
    let mut checkpoint: Params = (0..count).map(|k| (name(k), filled(&[8, 8], 1.0))).collect();
    let alike = random(1, &[8, 8]);
    (0..count).for_each(|k| checkpoint.insert(format!("n{k}.weight"), alike.clone()));
    // The same numbers in orders of their own, which no order of axes brings together.
    let mut numbers = values(2, 64);
    for k in 0..count {
        numbers.rotate_left(1);
        numbers.swap(k % 64, (7 * k + 3) % 64);
        checkpoint.insert(format!("o{k}.weight"), Tensor::from_f32(&[8, 8], numbers.clone()).unwrap());
    }
    let mut tensors: Vec<(String, Tensor)> = (0..count).map(|k| (format!("u{k}"), filled(&[8, 8], 1.0))).collect();
    numbers.reverse();
    let other = Tensor::from_f32(&[8, 8], numbers).unwrap();
    tensors.extend((0..count).map(|k| (format!("v{k}"), if k % 2 == 0 { alike.clone() } else { other.clone() })));
    let value = |k: usize| if k == 0 { "x".to_owned() } else { format!("h{k}") };
    let nodes: Vec<Vec<u8>> =
        tensors.iter().enumerate().map(|(k, (name, _))| node("MatMul", &[&value(k), name], &[&value(k + 1)])).collect();
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let model = model(&[1, 8], &nodes, &named, &value(tensors.len()));
    let found = over(&model, &checkpoint);
    assert!(found.derived.iter().any(|d| d.tensor == "u0") && found.derived.iter().any(|d| d.tensor == "v0"));
}
