//! Law 6: what discovery finds, pattern by pattern.

use onebasin_core::graph::op::{
    Binary, Cell, Conv, Dim, Direction, Op, PadMode, Pool, PoolKind, Reduce, Scatter, Unary,
};
use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::symmetry::{Symmetry, discover};
use onebasin_core::{Params, Tensor};

/// Discovers a graph and compares every pattern; the symmetry must fit tensors of the graph's shapes.
#[track_caller]
fn check(graph: &Graph, expected: &[(&str, &str)]) {
    let found = discover(graph);
    let text: Vec<(String, String)> = found.spec().tensors.iter().map(|(n, p)| (n.clone(), p.to_string())).collect();
    let mut expected: Vec<(String, String)> =
        expected.iter().map(|(n, p)| ((*n).to_owned(), (*p).to_owned())).collect();
    expected.sort();
    assert_eq!(text, expected);
    resolve(graph);
}

fn resolve(graph: &Graph) -> Symmetry {
    let tensor = |p: &onebasin_core::graph::Value| {
        let zeros = vec![0.0; p.shape.iter().product()];
        (p.name.clone(), Tensor::from_f32(&p.shape, zeros).unwrap())
    };
    let params: Params = graph.params().map(tensor).collect();
    Symmetry::resolve(discover(graph).spec(), &params).unwrap()
}

fn conv(g: &mut Graph, name: &str, x: ValueId, out: usize, kernel: usize, stride: usize) -> ValueId {
    g.conv(name, x, out, kernel, Conv::square(stride, kernel / 2), false).unwrap()
}

fn image(g: &mut Graph) -> ValueId {
    g.input("image", &[1, 3, 8, 8]).unwrap()
}

/// Mean over pixels, then ten classes.
fn head(g: &mut Graph, x: ValueId) {
    let x = g.global_average("pool", x).unwrap();
    let y = g.linear("fc", x, 10).unwrap();
    g.output(y);
}

#[test]
fn a_residual_stream_is_one_group() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let stem = conv(&mut g, "stem", x, 16, 3, 1);
    let h = conv(&mut g, "a", stem, 24, 3, 1);
    let h = g.batch_norm("bn", h).unwrap();
    let h = g.relu(h).unwrap();
    let h = conv(&mut g, "b", h, 16, 3, 1);
    let y = g.add_values("add", stem, h).unwrap();
    head(&mut g, y);
    check(
        &g,
        &[
            ("stem.weight", "stem . . ."),
            ("a.weight", "a stem . ."),
            ("b.weight", "stem a . ."),
            ("bn.weight", "a"),
            ("bn.bias", "a"),
            ("bn.running_mean", "a"),
            ("bn.running_var", "a"),
            ("fc.weight", ". stem"),
            ("fc.bias", "."),
        ],
    );
}

#[test]
fn flattened_channels_are_a_product() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let x = conv(&mut g, "conv", x, 6, 3, 1);
    let x = g.max_pool("pool", x, Pool::square(PoolKind::Max, 2, 2)).unwrap();
    let x = g.flatten("flat", x).unwrap();
    let x = g.linear("fc1", x, 20).unwrap();
    let y = g.linear("fc2", x, 10).unwrap();
    g.output(y);
    check(
        &g,
        &[
            ("conv.weight", "conv . . ."),
            ("fc1.weight", "fc1 (conv 16)"),
            ("fc1.bias", "fc1"),
            ("fc2.weight", ". fc1"),
            ("fc2.bias", "."),
        ],
    );
}

#[test]
fn dense_blocks_are_concatenations() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let a = conv(&mut g, "a", x, 8, 3, 1);
    let b = conv(&mut g, "b", a, 4, 3, 1);
    let ab = g.push("ab", Op::Concat { axis: 1 }, &[a, b]).unwrap();
    let c = conv(&mut g, "c", ab, 4, 3, 1);
    let abc = g.push("abc", Op::Concat { axis: 1 }, &[ab, c]).unwrap();
    let abc = g.batch_norm("bn", abc).unwrap();
    head(&mut g, abc);
    let all = "(a + b + c)";
    check(
        &g,
        &[
            ("a.weight", "a . . ."),
            ("b.weight", "b a . ."),
            ("c.weight", "c (a + b) . ."),
            ("bn.weight", all),
            ("bn.bias", all),
            ("bn.running_mean", all),
            ("bn.running_var", all),
            ("fc.weight", ". (a + b + c)"),
            ("fc.bias", "."),
        ],
    );
}

#[test]
fn a_zero_padding_shortcut_is_slices() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let stem = conv(&mut g, "stem", x, 16, 3, 1);
    let h = conv(&mut g, "down", stem, 32, 3, 2);
    let mut short = stem;
    for (k, axis) in [2, 3].into_iter().enumerate() {
        short = g.push(&format!("every{k}"), Op::Slice { axis, start: 0, len: 4, step: 2 }, &[short]).unwrap();
    }
    let ends = vec![0, 8, 0, 0];
    let pad = Op::Pad { before: ends.clone(), after: ends, mode: PadMode::Constant(0.0) };
    let short = g.push("pad", pad, &[short]).unwrap();
    let y = g.add_values("add", short, h).unwrap();
    head(&mut g, y);
    check(
        &g,
        &[
            ("stem.weight", "stem . . ."),
            ("down.weight", "(down[0:8] + stem + down[8:16]) stem . ."),
            ("fc.weight", ". (down[0:8] + stem + down[8:16])"),
            ("fc.bias", "."),
        ],
    );
}

#[test]
fn depthwise_filters_move_with_their_channel_and_among_themselves() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let x = conv(&mut g, "expand", x, 12, 1, 1);
    let x = g.conv("depth", x, 12, 3, Conv::square(1, 1).grouped(12), true).unwrap();
    let x = g.conv("multi", x, 24, 3, Conv::square(1, 1).grouped(12), false).unwrap();
    head(&mut g, x);
    check(
        &g,
        &[
            ("expand.weight", "expand . . ."),
            ("depth.weight", "expand . . ."),
            ("depth.bias", "expand"),
            ("multi.weight", "(expand multi@expand) . . ."),
            ("fc.weight", ". (expand multi@expand)"),
            ("fc.bias", "."),
        ],
    );
}

#[test]
fn grouped_convolutions_and_a_channel_shuffle() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let x = conv(&mut g, "stem", x, 16, 1, 1);
    let x = g.conv("one", x, 16, 1, Conv::square(1, 0).grouped(4), false).unwrap();
    let x =
        g.push("split", Op::Reshape(vec![Dim::Same(0), Dim::Size(4), Dim::Size(4), Dim::Same(2), Dim::Same(3)]), &[x]);
    let x = g.push("swap", Op::Transpose(vec![0, 2, 1, 3, 4]), &[x.unwrap()]).unwrap();
    let x = g.push("join", Op::Reshape(vec![Dim::Same(0), Dim::Size(16), Dim::Same(3), Dim::Same(4)]), &[x]).unwrap();
    let x = g.conv("two", x, 16, 1, Conv::square(1, 0).grouped(4), false).unwrap();
    head(&mut g, x);
    let found = discover(&g);
    let text = |name: &str| found.spec().tensors[name].to_string();
    // Channels of `one` are (group, own); shuffled they are (own, group), which `two` cuts into groups again.
    // What a group reads may be permuted group by group; what it makes ends up in all groups of `two` alike.
    assert_eq!(text("stem.weight"), "(stem stem.2@stem) . . .");
    assert_eq!(text("one.weight"), "(stem one) stem.2@stem . .");
    assert_eq!(text("two.weight"), "(one two@one) stem . .");
    assert_eq!(text("fc.weight"), ". (one two@one)");
    resolve(&g);
}

#[test]
fn group_norm_keeps_its_groups() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let x = conv(&mut g, "conv", x, 12, 3, 1);
    let params: Vec<ValueId> = ["gn.weight", "gn.bias"].iter().map(|n| g.param(n, &[12]).unwrap()).collect();
    let x = g.push("gn", Op::GroupNorm { groups: 3, epsilon: 1e-5 }, &[x, params[0], params[1]]).unwrap();
    head(&mut g, x);
    let channels = "(conv conv.2@conv)";
    check(
        &g,
        &[
            ("conv.weight", "(conv conv.2@conv) . . ."),
            ("gn.weight", channels),
            ("gn.bias", channels),
            ("fc.weight", ". (conv conv.2@conv)"),
            ("fc.bias", "."),
        ],
    );
}

/// `[N, S, heads · d]` to `[N, heads, S, d]`.
fn heads(g: &mut Graph, name: &str, x: ValueId, heads: usize) -> ValueId {
    let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Size(heads), Dim::Rest];
    let x = g.push(&format!("{name}.split"), Op::Reshape(dims), &[x]).unwrap();
    g.push(&format!("{name}.swap"), Op::Transpose(vec![0, 2, 1, 3]), &[x]).unwrap()
}

/// Attention over `kv` heads of keys and values, each shared by `heads / kv` heads of queries.
fn attention(g: &mut Graph, x: ValueId, count: usize, kv: usize, d: usize, size: usize) -> ValueId {
    let q = g.linear("q", x, count * d).unwrap();
    let k = g.linear("k", x, kv * d).unwrap();
    let v = g.linear("v", x, kv * d).unwrap();
    let q = heads(g, "q", q, count);
    let [k, v] = [("k", k), ("v", v)].map(|(name, x)| {
        let x = heads(g, name, x, kv);
        if kv == count {
            return x;
        }
        let dims = vec![Dim::Same(0), Dim::Same(1), Dim::Size(1), Dim::Same(2), Dim::Same(3)];
        let x = g.push(&format!("{name}.one"), Op::Reshape(dims), &[x]).unwrap();
        let mut shape: Vec<Dim> = (0..5).map(Dim::Same).collect();
        shape[2] = Dim::Size(count / kv);
        let x = g.push(&format!("{name}.repeat"), Op::Expand(shape), &[x]).unwrap();
        let dims = vec![Dim::Same(0), Dim::Size(count), Dim::Same(3), Dim::Same(4)];
        g.push(&format!("{name}.join"), Op::Reshape(dims), &[x]).unwrap()
    });
    let k = g.push("k.turn", Op::Transpose(vec![0, 1, 3, 2]), &[k]).unwrap();
    let s = g.push("scores", Op::MatMul, &[q, k]).unwrap();
    let s = g.push("softmax", Op::Softmax { axis: 3, log: false }, &[s]).unwrap();
    let y = g.push("mix", Op::MatMul, &[s, v]).unwrap();
    let y = g.push("back", Op::Transpose(vec![0, 2, 1, 3]), &[y]).unwrap();
    let y = g.push("merge", Op::Reshape(vec![Dim::Same(0), Dim::Same(1), Dim::Rest]), &[y]).unwrap();
    g.linear("o", y, size).unwrap()
}

fn transformer(count: usize, kv: usize) -> Graph {
    let mut g = Graph::new();
    let ids = g.input("ids", &[1, 7]).unwrap();
    let table = g.param("embedding.weight", &[50, 24]).unwrap();
    let x = g.push("embed", Op::Gather { axis: 0 }, &[table, ids]).unwrap();
    let norm = Op::LayerNorm { axes: vec![2], epsilon: 1e-5, centred: true };
    let gain = g.param("norm.weight", &[24]).unwrap();
    let n = g.push("norm", norm, &[x, gain]).unwrap();
    let a = attention(&mut g, n, count, kv, 5, 24);
    let x = g.add_values("add1", x, a).unwrap();
    let h = g.linear("up", x, 40).unwrap();
    let h = g.unary("gelu", Unary::Gelu, h).unwrap();
    let h = g.linear("down", h, 24).unwrap();
    let x = g.add_values("add2", x, h).unwrap();
    let bias = g.param("logits.bias", &[50]).unwrap();
    let y = g.push("logits", Op::Linear, &[x, table, bias]).unwrap();
    g.output(y);
    g
}

#[test]
fn attention_heads_are_found_and_their_coordinates_are_families() {
    let g = transformer(4, 4);
    let found = discover(&g);
    let text = |name: &str| found.spec().tensors[name].to_string();
    assert_eq!(text("embedding.weight"), ". embedding");
    assert_eq!(text("norm.weight"), "embedding");
    assert_eq!(text("q.weight"), "(q q.2@q) embedding");
    assert_eq!(text("k.weight"), "(q q.2@q) embedding");
    assert_eq!(text("v.weight"), "(q v@q) embedding");
    assert_eq!(text("o.weight"), "embedding (q v@q)");
    assert_eq!(text("up.weight"), "up embedding");
    assert_eq!(text("down.weight"), "embedding up");
    assert_eq!(text("logits.bias"), ".");
    resolve(&g);
}

#[test]
fn grouped_query_attention() {
    let g = transformer(6, 2);
    let found = discover(&g);
    let text = |name: &str| found.spec().tensors[name].to_string();
    assert_eq!(text("q.weight"), "(q q.2@q q.3@q) embedding");
    assert_eq!(text("k.weight"), "(q q.3@q) embedding");
    assert_eq!(text("v.weight"), "(q v@q) embedding");
    assert_eq!(text("o.weight"), "embedding (q q.2@q v@q)");
    resolve(&g);
}

#[test]
fn recurrent_cells() {
    let mut g = Graph::new();
    let x = g.input("x", &[9, 1, 5]).unwrap();
    let gates = Cell::Lstm.gates() * 8;
    let mut inputs = vec![x];
    for (name, shape) in [("W", vec![1, gates, 5]), ("R", vec![1, gates, 8]), ("B", vec![1, 2 * gates])] {
        inputs.push(g.param(&format!("lstm.{name}"), &shape).unwrap());
    }
    let op = Op::Recurrent { cell: Cell::Lstm, direction: Direction::Forward };
    let outputs = g.push_many("lstm", op, &inputs).unwrap();
    let last = g.push("last", Op::Reshape(vec![Dim::Size(1), Dim::Rest]), &[outputs[1]]).unwrap();
    let y = g.linear("fc", last, 3).unwrap();
    g.output(y);
    check(
        &g,
        &[
            ("lstm.W", ". (4 lstm) ."),
            ("lstm.R", ". (4 lstm) lstm"),
            ("lstm.B", ". (8 lstm)"),
            ("fc.weight", ". lstm"),
            ("fc.bias", "."),
        ],
    );
}

#[test]
fn unknown_operators_and_constants_freeze_what_they_touch() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let a = g.linear("a", x, 8).unwrap();
    let b = g.linear("b", a, 8).unwrap();
    let odd = g.push_unknown("odd", "Whirl", &[b], &[vec![1, 8]]).unwrap()[0];
    let mask = Tensor::from_f32(&[8], (0..8_u8).map(f32::from).collect()).unwrap();
    let mask = g.constant("mask", mask).unwrap();
    let c = g.linear("c", odd, 8).unwrap();
    let c = g.push("masked", Op::Binary(Binary::Mul), &[c, mask]).unwrap();
    let half = g.constant("half", Tensor::from_f32(&[8], vec![0.5; 8]).unwrap()).unwrap();
    let d = g.linear("d", c, 8).unwrap();
    let d = g.push("halved", Op::Binary(Binary::Mul), &[d, half]).unwrap();
    let y = g.linear("y", d, 2).unwrap();
    g.output(y);
    check(
        &g,
        &[
            ("a.weight", "a ."),
            ("a.bias", "a"),
            ("b.weight", ". a"),
            ("b.bias", "."),
            ("c.weight", ". ."),
            ("c.bias", "."),
            ("d.weight", "d ."),
            ("d.bias", "d"),
            ("y.weight", ". d"),
            ("y.bias", "."),
        ],
    );
    let found = discover(&g);
    assert_eq!(found.unknown().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["odd"]);
    let why = found.why("b.weight", 0).unwrap().join("\n");
    assert!(why.contains("`odd`") && why.contains("operator `Whirl` is not known"), "{why}");
    let why = found.why("c.weight", 0).unwrap().join("\n");
    assert!(why.contains("a constant of the graph"), "{why}");
    let why = found.why("a.weight", 0).unwrap().join("\n");
    assert!(why.contains("`a`, 8 units, may be permuted") && why.contains("b.weight, axis 1"), "{why}");
    let why = found.why("a.weight", 1).unwrap().join("\n");
    assert!(why.contains("an input of the network"), "{why}");
    assert!(found.why("a.wieght", 1).unwrap_err().to_string().contains("did you mean `a.weight`"));
    assert!(found.why("a.weight", 2).unwrap_err().to_string().contains("axes 0 to 1"));
}

#[test]
fn a_u_net_joins_what_it_kept() {
    let mut g = Graph::new();
    let x = image(&mut g);
    let high = conv(&mut g, "high", x, 8, 3, 1);
    let low = conv(&mut g, "low", high, 12, 3, 2);
    let up = g.param("up.weight", &[12, 6, 2, 2]).unwrap();
    let transposed = Op::ConvTranspose { conv: Conv::square(2, 0), output_padding: vec![0, 0] };
    let up = g.push("up", transposed, &[low, up]).unwrap();
    let both = g.push("both", Op::Concat { axis: 1 }, &[high, up]).unwrap();
    let y = conv(&mut g, "out", both, 2, 1, 1);
    g.output(y);
    check(
        &g,
        &[
            ("high.weight", "high . . ."),
            ("low.weight", "low high . ."),
            ("up.weight", "low up . ."),
            ("out.weight", ". (high + up) . ."),
        ],
    );
}

#[test]
fn reductions_free_what_they_sum_over_and_unused_parameters_stay() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 4]).unwrap();
    g.param("unused", &[9]).unwrap();
    let h = g.linear("fc", x, 6).unwrap();
    let y = g.push("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![1], keep: true }, &[h]).unwrap();
    g.output(y);
    check(&g, &[("fc.weight", "fc ."), ("fc.bias", "fc"), ("unused", ".")]);
}

/// The best two of four units of a layer, put back in their places among zeros, if `moved` leaves their positions what they
/// are; then a layer of each unit's own.
fn best_two(moved: impl Fn(&mut Graph, ValueId) -> ValueId) -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", &[3, 5]).unwrap();
    let gate = g.linear("gate", x, 4).unwrap();
    let best = g.push_many("best", Op::TopK { axis: 1, count: 2, largest: true }, &[gate]).unwrap();
    let places = moved(&mut g, best[1]);
    let zeros = g.constant("zeros", Tensor::from_f32(&[3, 4], vec![0.0; 12]).unwrap()).unwrap();
    let scatter = Op::ScatterElements { axis: 1, function: Scatter::Set };
    let shares = g.push("shares", scatter, &[zeros, places, best[0]]).unwrap();
    let y = g.linear("fc", shares, 2).unwrap();
    g.output(y);
    g
}

#[test]
fn positions_that_are_only_moved_about_free_what_they_are_positions_of() {
    let tied = [("gate.weight", "gate ."), ("gate.bias", "gate"), ("fc.weight", ". gate"), ("fc.bias", ".")];
    let held = tied.map(|(name, pattern)| (name, if pattern.len() > 5 { ". ." } else { "." }));
    check(&best_two(|_, places| places), &tied);
    let reshaped = |g: &mut Graph, places| {
        let flat = g.push("flat", Op::Reshape(vec![Dim::Rest]), &[places]).unwrap();
        g.push("back", Op::Reshape(vec![Dim::Rest, Dim::Size(2)]), &[flat]).unwrap()
    };
    check(&best_two(reshaped), &tied);
    // Places that are looked at as numbers, or leave the network, have an order.
    check(&best_two(|g, places| g.push("other", Op::Unary(Unary::Abs), &[places]).unwrap()), &held);
    let told = |g: &mut Graph, places| {
        g.output(places);
        places
    };
    check(&best_two(told), &held);
}

#[test]
fn entries_picked_one_by_one_tie_the_other_axes() {
    let mut g = Graph::new();
    let x = g.input("x", &[6, 5]).unwrap();
    let index = g.input("index", &[4, 8]).unwrap();
    let h = g.linear("fc1", x, 8).unwrap();
    let wide = g.push("picked", Op::GatherElements { axis: 0 }, &[h, index]).unwrap();
    let y = g.linear("fc2", wide, 3).unwrap();
    g.output(y);
    // The input says of every unit which sample is picked.
    let held = [("fc1.weight", ". ."), ("fc1.bias", "."), ("fc2.weight", ". ."), ("fc2.bias", ".")];
    check(&g, &held);
    let with = |op: Op, places: &[f32]| {
        let mut g = Graph::new();
        let x = g.input("x", &[6, 5]).unwrap();
        let h = g.linear("fc1", x, 8).unwrap();
        let rows = places.len() / 8;
        let index = g.constant("index", Tensor::from_f32(&[rows, 8], places.to_vec()).unwrap()).unwrap();
        let mut inputs = vec![h, index];
        if matches!(op, Op::ScatterElements { .. }) {
            let part = Op::Slice { axis: 0, start: 0, len: rows, step: 1 };
            let updates = g.push("updates", part, &[h]).unwrap();
            inputs.push(updates);
        }
        let y = g.push("picked", op, &inputs).unwrap();
        let y = g.linear("fc2", y, 3).unwrap();
        g.output(y);
        g
    };
    let free = [("fc1.weight", "fc1 ."), ("fc1.bias", "fc1"), ("fc2.weight", ". fc1"), ("fc2.bias", ".")];
    let same: Vec<f32> = [2.0, 5.0].iter().flat_map(|p| [*p; 8]).collect();
    let (gather, scatter) = (Op::GatherElements { axis: 0 }, Op::ScatterElements { axis: 0, function: Scatter::Add });
    check(&with(gather.clone(), &same), &free);
    check(&with(scatter.clone(), &same), &free);
    // Another sample for every unit.
    let own: Vec<f32> = (0..16_u8).map(|p| f32::from(p % 6)).collect();
    check(&with(gather, &own), &held);
    check(&with(scatter, &own), &held);
}

#[test]
fn what_goes_by_order_freezes_its_axis_and_no_other() {
    let after = |op: Op| {
        let mut g = Graph::new();
        let x = g.input("x", &[4, 5]).unwrap();
        let h = g.linear("fc1", x, 8).unwrap();
        let h = g.push("ordered", op, &[h]).unwrap();
        let h = g.push("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![0], keep: true }, &[h]).unwrap();
        let width = g.shape(h)[1];
        let w = g.param("w", &[2, width]).unwrap();
        let y = g.push("fc2", Op::Linear, &[h, w]).unwrap();
        g.output(y);
        g
    };
    let free = [("fc1.weight", "fc1 ."), ("fc1.bias", "fc1"), ("w", ". fc1")];
    let held = [("fc1.weight", ". ."), ("fc1.bias", "."), ("w", ". .")];
    let sums = |axis| Op::CumSum { axis, exclusive: false, reverse: false };
    check(&after(sums(0)), &free);
    check(&after(sums(1)), &held);
    check(&after(Op::TopK { axis: 0, count: 2, largest: false }), &free);
    // The largest units, by size: which is which does not matter.
    let sorted = [("fc1.weight", "fc1 ."), ("fc1.bias", "fc1"), ("w", ". .")];
    check(&after(Op::TopK { axis: 1, count: 3, largest: true }), &sorted);
    check(&after(Op::NonZero), &held);
    check(&after(Op::Unary(Unary::IsNan)), &free);
}

#[test]
fn ten_thousand_nodes_take_no_time() {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 8]).unwrap();
    let mut h = g.linear("stem", x, 16).unwrap();
    for k in 0..3333 {
        let inner = g.linear(&format!("l{k}"), h, 16).unwrap();
        let inner = g.relu(inner).unwrap();
        h = g.add_values(&format!("add{k}"), h, inner).unwrap();
    }
    g.output(h);
    let found = discover(&g);
    assert_eq!(found.spec().tensors["l3332.weight"].to_string(), ". .");
    let why = found.why("stem.weight", 0).unwrap();
    assert_eq!(why.len(), 3 + 3333);
}

/// Slices of one axis, each a group of its own: structures that grow with every node.
#[test]
fn a_network_made_to_be_slow_ends_the_search() {
    let count = 20_000;
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 3]).unwrap();
    let mut rest = graph.param("w", &[2 * count]).unwrap();
    for k in 1..count {
        let op = Op::Slice { axis: 0, start: 2, len: 2 * (count - k), step: 1 };
        rest = graph.push(&format!("s{k}"), op, &[rest]).unwrap();
    }
    let sum = graph.push("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![0], keep: false }, &[rest]).unwrap();
    let y = graph.push("y", Op::Binary(Binary::Add), &[x, sum]).unwrap();
    graph.output(y);
    let found = discover(&graph);
    assert!(found.spec().sizes.is_empty());
    let why = found.why("w", 0).unwrap().join("\n");
    assert!(why.contains("too large, or nested too deep, to look through"), "{why}");
}
