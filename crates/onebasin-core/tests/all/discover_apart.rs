//! What discovery finds where entries of one axis are units of different kinds, and what hostile graphs cost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use onebasin_core::graph::op::{Binary, Cell, Conv, Dim, Direction, Op, Reduce, Unary};
use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, AxisRef, Symmetry, discover, discover_holding};
use onebasin_core::{Params, Tensor};

/// The patterns of a graph's parameters, which must fit tensors of their shapes; free units over all copies.
fn found(g: &Graph) -> (impl Fn(&str) -> String, usize) {
    let spec = discover(g).spec().clone();
    let tensor = |p: &onebasin_core::graph::Value| {
        (p.name.clone(), Tensor::from_f32(&p.shape, vec![0.0; p.shape.iter().product()]).unwrap())
    };
    let params: Params = g.params().map(tensor).collect();
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    Alignment::random(&symmetry, &mut Stream::new(0, "any")).apply(&symmetry, &params).unwrap();
    let free = (0..symmetry.groups().len()).map(onebasin_core::symmetry::GroupId);
    let free = free.map(|id| symmetry.group(id).size * symmetry.copies(id)).sum();
    (move |name: &str| spec.tensors[name].to_string(), free)
}

fn mul(g: &mut Graph, name: &str, a: ValueId, b: ValueId) -> ValueId {
    g.push(name, Op::Binary(Binary::Mul), &[a, b]).unwrap()
}

fn reshape(g: &mut Graph, name: &str, x: ValueId, dims: &[usize]) -> ValueId {
    g.push(name, Op::Reshape(dims.iter().map(|n| Dim::Size(*n)).collect()), &[x]).unwrap()
}

fn swap(g: &mut Graph, name: &str, x: ValueId, order: &[usize]) -> ValueId {
    g.push(name, Op::Transpose(order.to_vec()), &[x]).unwrap()
}

/// One entry of an axis, which then is gone.
fn entry(g: &mut Graph, name: &str, x: ValueId, axis: usize, at: i64) -> ValueId {
    let index = Tensor::from_f32(&[], vec![at as f32]).unwrap();
    let index = g.constant(&format!("{name}.at"), index).unwrap();
    g.push(name, Op::Gather { axis }, &[x, index]).unwrap()
}

/// `softmax(q kᵀ) v` of values `[heads, tokens, d]`, back to `[tokens, heads · d]`.
fn attend(g: &mut Graph, [q, k, v]: [ValueId; 3], width: usize) -> ValueId {
    let tokens = g.shape(q)[1];
    let k = swap(g, "turned", k, &[0, 2, 1]);
    let scores = g.push("scores", Op::MatMul, &[q, k]).unwrap();
    let scores = g.push("softmax", Op::Softmax { axis: 2, log: false }, &[scores]).unwrap();
    let y = g.push("mixed", Op::MatMul, &[scores, v]).unwrap();
    let y = swap(g, "back", y, &[1, 0, 2]);
    reshape(g, "joined", y, &[tokens, width])
}

#[test]
fn queries_keys_and_values_picked_from_an_axis_of_three_are_told_apart() {
    for order in [[3, 4, 6], [4, 3, 6]] {
        let mut g = Graph::new();
        let x = g.input("x", &[5, 8]).unwrap();
        let x = g.linear("stream", x, 16).unwrap();
        let qkv = g.linear("qkv", x, 72).unwrap();
        let split = reshape(&mut g, "split", qkv, &[5, order[0], order[1], order[2]]);
        let three = order.iter().position(|n| *n == 3).unwrap() + 1;
        let split = swap(&mut g, "swap", split, &[three, 3 - three, 0, 3]);
        let parts = [0, 1, -1].map(|k| entry(&mut g, &format!("part{k}"), split, 0, k));
        let y = attend(&mut g, parts, 24);
        let y = g.linear("o", y, 3).unwrap();
        g.output(y);
        let (text, free) = found(&g);
        let wanted = match three {
            1 => "(qkv qkv.2@qkv + qkv qkv.2@qkv + qkv qkv.3@qkv) stream",
            _ => "(qkv (qkv.2@qkv + qkv.2@qkv + qkv.3@qkv)) stream",
        };
        assert_eq!((text("qkv.weight").as_str(), free), (wanted, 16 + 4 + 2 * 24));
        assert_eq!(text("o.weight"), ". (qkv qkv.3@qkv)");
    }
}

#[test]
fn keys_and_values_sliced_together_are_told_apart_later() {
    let mut g = Graph::new();
    let x = g.input("x", &[5, 8]).unwrap();
    let qkv = g.linear("qkv", x, 72).unwrap();
    let split = reshape(&mut g, "split", qkv, &[5, 3, 4, 6]);
    let split = swap(&mut g, "swap", split, &[1, 2, 0, 3]);
    // The query is picked; what makes its axis one of entries told apart are the picks of all three elsewhere.
    let [q, a, b] = [0, 1, 2].map(|k| entry(&mut g, &format!("part{k}"), split, 0, k));
    let kv = g.push("kv", Op::Slice { axis: 0, start: 1, len: 2, step: 1 }, &[split]).unwrap();
    let [k, v] = [0, 1].map(|k| entry(&mut g, &format!("of_kv{k}"), kv, 0, k));
    let (k, v) = (g.add_values("k", k, a).unwrap(), g.add_values("v", v, b).unwrap());
    let y = attend(&mut g, [q, k, v], 24);
    let y = g.linear("o", y, 3).unwrap();
    g.output(y);
    assert_eq!(found(&g).1, 4 + 2 * 24);
}

#[test]
fn a_channel_and_its_only_filter_are_one_unit() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 3, 8, 8]).unwrap();
    let x = g.conv("stem", x, 12, 1, Conv::square(1, 0), true).unwrap();
    let h = g.conv("depth", x, 12, 3, Conv::square(1, 1).grouped(12), true).unwrap();
    let gain = g.param("gain", &[12, 1, 1]).unwrap();
    let h = mul(&mut g, "scaled", h, gain);
    let x = g.add_values("add", x, h).unwrap();
    let x = g.global_average("pool", x).unwrap();
    let y = g.linear("fc", x, 2).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!((text("depth.weight"), text("gain"), free), ("stem . . .".to_owned(), "stem . .".to_owned(), 12));
}

#[test]
fn experts_of_one_tensor_have_units_of_their_own() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 8]).unwrap();
    let gate = g.linear("gate", x, 4).unwrap();
    let gate = g.push("softmax", Op::Softmax { axis: 1, log: false }, &[gate]).unwrap();
    let (up, down) = (g.param("up", &[4, 8, 12]).unwrap(), g.param("down", &[4, 12, 3]).unwrap());
    let h = g.push("h", Op::MatMul, &[x, up]).unwrap(); // [4, 1, 12]
    let h = g.relu(h).unwrap();
    let y = g.push("y", Op::MatMul, &[h, down]).unwrap(); // [4, 1, 3]
    let gate = swap(&mut g, "turned", gate, &[1, 0]);
    let gate = reshape(&mut g, "column", gate, &[4, 1, 1]);
    let y = mul(&mut g, "weighted", y, gate);
    let y = g.push("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![0], keep: false }, &[y]).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!((text("up"), text("down")), ("gate . up@gate".to_owned(), "gate up@gate .".to_owned()));
    assert_eq!(free, 4 + 4 * 12);
}

/// A softmax over the experts pairs the units of one with those of another.
#[test]
fn units_that_meet_over_their_parent_are_no_family() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 8]).unwrap();
    let (up, down) = (g.param("up", &[4, 8, 12]).unwrap(), g.param("down", &[4, 12, 3]).unwrap());
    let h = g.push("h", Op::MatMul, &[x, up]).unwrap();
    let h = g.push("over", Op::Softmax { axis: 0, log: false }, &[h]).unwrap();
    let y = g.push("y", Op::MatMul, &[h, down]).unwrap();
    let y = g.push("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![0], keep: false }, &[y]).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!((text("up"), free), ("up . up.2".to_owned(), 4 + 12));
}

/// Attention with a slope for every head: its parameter, and where they stand in it.
fn sloped(fused: bool) -> (Graph, ValueId) {
    let mut g = Graph::new();
    let x = g.input("x", &[5, 8]).unwrap();
    let parts = if fused {
        let y = g.linear("v", x, 72).unwrap();
        let y = reshape(&mut g, "split", y, &[5, 3, 4, 6]);
        let y = swap(&mut g, "swap", y, &[1, 2, 0, 3]);
        [0, 1, 2].map(|k| entry(&mut g, &format!("part{k}"), y, 0, k))
    } else {
        ["q", "k", "v"].map(|name| {
            let y = g.linear(name, x, 24).unwrap();
            let y = reshape(&mut g, &format!("{name}.split"), y, &[5, 4, 6]);
            swap(&mut g, &format!("{name}.swap"), y, &[1, 0, 2])
        })
    };
    let slopes = g.param("slopes", &[4, 1, 1]).unwrap();
    let q = mul(&mut g, "sloped", parts[0], slopes);
    let y = attend(&mut g, [q, parts[1], parts[2]], 24);
    let y = g.linear("o", y, 3).unwrap();
    g.output(y);
    (g, slopes)
}

/// Heads that are held in place leave every head the order of its own entries.
#[test]
fn families_over_units_that_are_held_are_groups() {
    for fused in [false, true] {
        let (g, slopes) = sloped(fused);
        assert_eq!(found(&g).1, 4 + 2 * 24);
        let axis = AxisRef { value: slopes, axis: 0 };
        let held = discover_holding(&g, &BTreeMap::from([(axis, "the same everywhere".to_owned())]));
        let text = |name: &str| held.spec().tensors[name].to_string();
        assert_eq!(text("slopes"), ". . .");
        let own = "v + v.2 + v.3 + v.4";
        let all = format!("({own} + {own} + v.5 + v.6 + v.7 + v.8)");
        let wanted = if fused { all } else { format!("({own})") };
        assert_eq!((text("v.bias"), held.spec().sizes.values().sum()), (wanted, 2 * 24_usize));
        assert!(held.why("slopes", 0).unwrap()[1].ends_with("stays: the same everywhere"));
    }
}

#[test]
fn what_a_group_of_a_convolution_reads_is_its_own() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 3, 8, 8]).unwrap();
    let x = g.conv("a", x, 12, 3, Conv::square(1, 1), true).unwrap();
    let x = g.relu(x).unwrap();
    let x = g.conv("b", x, 16, 3, Conv::square(1, 1).grouped(4), true).unwrap();
    let x = g.global_average("pool", x).unwrap();
    let y = g.linear("fc", x, 3).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!(text("a.weight"), "(a a.2@a) . . .");
    assert_eq!(text("b.weight"), "(a b@a) a.2@a . .");
    assert_eq!(free, 4 + 12 + 16);
}

#[test]
fn both_directions_of_a_recurrent_layer_have_units_of_their_own() {
    let mut g = Graph::new();
    let x = g.input("x", &[9, 1, 5]).unwrap();
    let mut inputs = vec![x];
    for (name, shape) in [("W", vec![2, 18, 5]), ("R", vec![2, 18, 6]), ("B", vec![2, 36])] {
        inputs.push(g.param(&format!("gru.{name}"), &shape).unwrap());
    }
    let op = Op::Recurrent { cell: Cell::Gru { reset_after: true }, direction: Direction::Both };
    let y = g.push_many("gru", op, &inputs).unwrap()[0];
    let y = swap(&mut g, "swap", y, &[0, 2, 1, 3]);
    let y = reshape(&mut g, "flat", y, &[9, 12]);
    let y = g.linear("fc", y, 3).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!(text("gru.W"), "#2 (3 [gru | gru.2]) .");
    assert_eq!(text("gru.R"), "#2 (3 [gru | gru.2]) [gru | gru.2]");
    assert_eq!(text("fc.weight"), ". (gru + gru.2)");
    assert_eq!(free, 12);
}

/// Two layers of GRUs in both directions, whose weights are put together of one tensor a direction: the second reads both
/// directions of the first, and each of its own reads them alike.
#[test]
fn weights_put_together_of_those_of_each_direction() {
    let mut g = Graph::new();
    let mut x = g.input("x", &[9, 1, 5]).unwrap();
    for (layer, from) in [("one", 5), ("two", 12)] {
        let mut inputs = vec![x];
        for (name, shape) in [("W", vec![1, 18, from]), ("R", vec![1, 18, 6]), ("B", vec![1, 36])] {
            let both = ["forward", "back"].map(|way| g.param(&format!("{layer}.{way}.{name}"), &shape).unwrap());
            inputs.push(g.push(&format!("{layer}.{name}"), Op::Concat { axis: 0 }, &both).unwrap());
        }
        let op = Op::Recurrent { cell: Cell::Gru { reset_after: true }, direction: Direction::Both };
        let y = g.push_many(layer, op, &inputs).unwrap()[0];
        let y = swap(&mut g, &format!("{layer}.swap"), y, &[0, 2, 1, 3]);
        x = reshape(&mut g, &format!("{layer}.flat"), y, &[9, 1, 12]);
    }
    let y = g.linear("fc", x, 3).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!(text("one.back.R"), ". (3 one.back) one.back");
    assert_eq!(text("two.forward.W"), ". (3 two.forward) (one.forward + one.back)");
    assert_eq!(text("two.back.W"), ". (3 two.back) (one.forward + one.back)");
    assert_eq!(text("fc.weight"), ". (two.forward + two.back)");
    assert_eq!(free, 4 * 6);
}

/// A tensor without entries, whose other axes are longer than there are numbers, is the same all along each.
#[test]
fn what_has_no_entries_is_uniform() {
    let empty = Tensor::from_f32(&[0, usize::MAX, 2], Vec::new()).unwrap();
    assert!((0..3).all(|axis| empty.is_uniform(axis)));
}

/// Features of several kinds as rows of one matrix, each multiplied with each, as recommenders do: their units are the same ones.
#[test]
fn rows_that_meet_each_other_have_the_same_units() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let rows: Vec<ValueId> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            let h = g.linear(name, x, 6).unwrap();
            reshape(&mut g, &format!("{name}.row"), h, &[1, 1, 6])
        })
        .collect();
    let z = g.push("rows", Op::Concat { axis: 1 }, &rows).unwrap();
    let turned = swap(&mut g, "turned", z, &[0, 2, 1]);
    let y = g.push("products", Op::MatMul, &[z, turned]).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!((text("b.weight"), text("c.bias"), free), ("a .".to_owned(), "a".to_owned(), 6));
}

#[test]
fn a_constant_that_is_the_same_all_along_ties_nothing() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let ones = g.constant("ones", Tensor::from_f32(&[8], vec![1.0; 8]).unwrap()).unwrap();
    let twice = g.push("twice", Op::Binary(Binary::Add), &[ones, ones]).unwrap();
    let mut h = x;
    for name in ["a", "b", "c"] {
        h = g.linear(name, h, 8).unwrap();
        h = mul(&mut g, &format!("{name}.mul"), h, twice);
    }
    let y = g.linear("y", h, 2).unwrap();
    g.output(y);
    let (text, free) = found(&g);
    assert_eq!((text("b.weight"), text("y.weight"), free), ("b a".to_owned(), ". c".to_owned(), 24));
}

/// `concat(left, right)` with the channels of both in turn, in two halves.
fn shuffled(g: &mut Graph, name: &str, left: ValueId, right: ValueId) -> [ValueId; 2] {
    let n = g.shape(left)[1];
    let x = g.push(&format!("{name}.both"), Op::Concat { axis: 1 }, &[left, right]).unwrap();
    let x = reshape(g, &format!("{name}.split"), x, &[1, 2, n]);
    let x = swap(g, &format!("{name}.swap"), x, &[0, 2, 1]);
    let x = reshape(g, &format!("{name}.join"), x, &[1, 2 * n]);
    [0, n].map(|start| {
        g.push(&format!("{name}.half{start}"), Op::Slice { axis: 1, start, len: n, step: 1 }, &[x]).unwrap()
    })
}

/// Units of one layer are exchangeable where the same layers read them, however they are shuffled.
#[test]
fn channel_shuffles_are_cut_down_to_units() {
    let (n, blocks) = (10, 4);
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let [a, b] = ["a", "b"].map(|name| g.linear(name, x, n).unwrap());
    let label = |name: &str| (0..n).map(|i| (name.to_owned(), i)).collect::<Vec<_>>();
    let mut wiring: Vec<(String, usize)> =
        (0..n).flat_map(|i| [label("a")[i].clone(), label("b")[i].clone()]).collect();
    let mut readers: BTreeMap<(String, usize), Vec<usize>> = BTreeMap::new();
    let mut halves = shuffled(&mut g, "s", a, b);
    for k in 0..blocks {
        let name = format!("l{k}");
        let made = g.linear(&name, halves[1], n).unwrap();
        for unit in &wiring[n..] {
            readers.entry(unit.clone()).or_default().push(k);
        }
        let own = label(&name);
        wiring = (0..n).flat_map(|i| [wiring[i].clone(), own[i].clone()]).collect();
        halves = shuffled(&mut g, &format!("s{k}"), halves[0], made);
    }
    let x = g.push("all", Op::Concat { axis: 1 }, &halves).unwrap();
    let y = g.linear("y", x, 2).unwrap();
    for unit in wiring {
        readers.entry(unit).or_default().push(blocks);
    }
    g.output(y);
    let mut classes: BTreeMap<(String, Vec<usize>), usize> = BTreeMap::new();
    for ((layer, _), by) in readers {
        *classes.entry((layer, by)).or_default() += 1;
    }
    let expected: usize = classes.values().filter(|count| **count > 1).sum();
    assert_eq!(found(&g).1, expected);
}

fn timed(g: &Graph) -> Duration {
    let start = Instant::now();
    discover(g);
    start.elapsed()
}

/// Inputs of a grouped convolution are families as long as comparing all copies with each other stays within bounds.
#[test]
fn wide_groups_of_channels_share_their_inputs() {
    let pattern = |inputs: usize, outputs: usize| {
        let groups = 4;
        let mut g = Graph::new();
        let x = g.input("x", &[1, 3, 2, 2]).unwrap();
        let h = g.conv("in", x, groups * inputs, 1, Conv::square(1, 0), true).unwrap();
        let h = g.relu(h).unwrap();
        let grouped = Conv { groups, ..Conv::square(1, 0) };
        let h = g.conv("grouped", h, groups * outputs, 1, grouped, true).unwrap();
        let h = g.relu(h).unwrap();
        let y = g.conv("out", h, 2, 1, Conv::square(1, 0), true).unwrap();
        g.output(y);
        let (pattern, free) = found(&g);
        (pattern("grouped.weight"), free)
    };
    let (narrow, free) = pattern(64, 64);
    assert!(narrow.contains("@in) in.2@in"), "{narrow}");
    assert_eq!(free, 4 + 4 * 64 + 4 * 64);
    let (wide, free) = pattern(64, 128);
    assert!(wide.matches('@').count() == 1, "{wide}");
    assert!(free == 4 + 64 + 4 * 128 || free == 4 + 4 * 64 + 128, "{free} in {wide}");
}

/// Two entries of three units each, which an operator mixes or not before they are read one by one.
#[test]
fn entries_that_are_mixed_before_they_are_picked_have_the_same_units() {
    let units = |op: Op| {
        let mut g = Graph::new();
        let x = g.input("x", &[1, 5]).unwrap();
        let h = g.linear("w", x, 6).unwrap();
        let h = reshape(&mut g, "entries", h, &[1, 2, 3]);
        let h = g.push("op", op, &[h]).unwrap();
        let h = g.push("bent", Op::Unary(Unary::Tanh), &[h]).unwrap();
        let read = [0, 1].map(|at| {
            let one = entry(&mut g, &format!("entry{at}"), h, 1, at);
            g.linear(&format!("read{at}"), one, 2).unwrap()
        });
        let y = g.push("sum", Op::Binary(Binary::Add), &read).unwrap();
        g.output(y);
        found(&g).1
    };
    // The two entries change places too, with the tensors that read them.
    assert_eq!(units(Op::Unary(Unary::Tanh)), 2 + 6);
    assert_eq!(units(Op::Softmax { axis: 1, log: false }), 2 + 3);
    for (exclusive, reverse) in [(false, false), (true, true)] {
        assert_eq!(units(Op::CumSum { axis: 1, exclusive, reverse }), 3);
    }
    // Softmax over the units of each entry leaves the entries apart.
    assert_eq!(units(Op::Softmax { axis: 2, log: false }), 2 + 6);
}

#[test]
fn a_value_joined_with_itself_over_and_over_ends_the_search() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 4]).unwrap();
    let mut x = g.linear("a", x, 2).unwrap();
    for k in 0..38 {
        x = g.push(&format!("twice{k}"), Op::Concat { axis: 1 }, &[x, x]).unwrap();
    }
    g.output(x);
    assert!(timed(&g) < Duration::from_secs(20));
    assert_eq!(discover(&g).spec().tensors["a.weight"].to_string(), ". .");
}

#[test]
fn long_chains_and_many_nodes_take_little_time() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 4]).unwrap();
    let start = g.linear("start", x, 2).unwrap();
    let mut all = start;
    let links = 2000;
    for k in 0..links {
        let more = g.linear(&format!("l{k}"), start, 2).unwrap();
        all = g.push(&format!("c{k}"), Op::Concat { axis: 1 }, &[all, more]).unwrap();
    }
    let y = g.linear("y", all, 2).unwrap();
    g.output(y);
    assert!(timed(&g) < Duration::from_secs(20));
    assert_eq!(found(&g).1, 2 * (links + 1));
    let mut g = Graph::new();
    let x = g.input("x", &[1, 4]).unwrap();
    let mut x = g.linear("start", x, 8).unwrap();
    for k in 0..100_000 {
        x = g.push(&format!("n{k}"), Op::Unary(Unary::Neg), &[x]).unwrap();
    }
    let y = g.linear("y", x, 2).unwrap();
    g.output(y);
    assert!(timed(&g) < Duration::from_secs(20));
}
