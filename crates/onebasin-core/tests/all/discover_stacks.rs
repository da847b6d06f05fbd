//! Experts in separate tensors: what is a stack, what is none, and what acting with one does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use onebasin_core::graph::op::{Binary, Dim, Op, Reduce, Scatter, Unary};
use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::matching::{ManyOptions, MatchOptions, Start, Weights, comparable, match_weights, merge_many};
use onebasin_core::merge::{Interpolation, MergeRule, mean, merge, merge_by_group};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec, discover};
use onebasin_core::{DType, Params, Tensor};

/// How an expert is made.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Gated,
}

fn zeros(g: &Graph) -> Params {
    let tensor = |p: &onebasin_core::graph::Value| {
        (p.name.clone(), Tensor::from_f32(&p.shape, vec![0.0; p.shape.iter().product()]).unwrap())
    };
    g.params().map(tensor).collect()
}

/// Free units over all copies, and the patterns.
fn found(g: &Graph) -> (usize, SymmetrySpec) {
    let spec = discover(g).spec().clone();
    let symmetry = Symmetry::resolve(&spec, &zeros(g)).unwrap();
    let free = (0..symmetry.groups().len()).map(GroupId);
    (free.map(|id| symmetry.group(id).size * symmetry.copies(id)).sum(), spec)
}

fn mul(g: &mut Graph, name: &str, a: ValueId, b: ValueId) -> ValueId {
    g.push(name, Op::Binary(Binary::Mul), &[a, b]).unwrap()
}

fn router(g: &mut Graph, name: &str, x: ValueId, experts: usize) -> ValueId {
    let scores = g.linear(name, x, experts).unwrap();
    g.push(&format!("{name}.softmax"), Op::Softmax { axis: 1, log: false }, &[scores]).unwrap()
}

fn expert(g: &mut Graph, name: &str, x: ValueId, kind: Kind, hidden: usize) -> ValueId {
    let width = g.shape(x)[1];
    let up = g.linear(&format!("{name}.up"), x, hidden).unwrap();
    let h = g.unary(&format!("{name}.act"), Unary::Silu, up).unwrap();
    let h = match kind {
        Kind::Plain => h,
        Kind::Gated => {
            let gate = g.linear(&format!("{name}.gate"), x, hidden).unwrap();
            mul(g, &format!("{name}.both"), h, gate)
        }
    };
    g.linear(&format!("{name}.down"), h, width).unwrap()
}

fn gate(g: &mut Graph, name: &str, p: ValueId, at: usize) -> ValueId {
    g.push(&format!("{name}.pick"), Op::Slice { axis: 1, start: at, len: 1, step: 1 }, &[p]).unwrap()
}

/// `Σ_e p_e f_e(x)`, experts in the order of `order`, expert `e` weighted by entry `order[e]`.
fn mixture(g: &mut Graph, name: &str, x: ValueId, kind: Kind, order: &[usize], hidden: usize) -> ValueId {
    let p = router(g, &format!("{name}.router"), x, order.len());
    let mut sum = None;
    for (e, at) in order.iter().enumerate() {
        let y = expert(g, &format!("{name}.{e}"), x, kind, hidden);
        let weight = gate(g, &format!("{name}.{e}"), p, *at);
        let y = mul(g, &format!("{name}.{e}.weighted"), y, weight);
        sum = Some(match sum {
            None => y,
            Some(sum) => g.add_values(&format!("{name}.{e}.sum"), sum, y).unwrap(),
        });
    }
    sum.unwrap()
}

/// A hidden layer of 6, then mixtures with a shortcut around each, then an answer.
fn network(build: impl FnOnce(&mut Graph, ValueId) -> ValueId) -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 5]).unwrap();
    let x = g.linear("in", x, 6).unwrap();
    let x = g.relu(x).unwrap();
    let y = build(&mut g, x);
    let y = g.add_values("residual", x, y).unwrap();
    let y = g.linear("out", y, 2).unwrap();
    g.output(y);
    g
}

#[test]
fn experts_are_units_of_a_group_and_own_what_is_hidden_in_them() {
    let g = network(|g, x| mixture(g, "moe", x, Kind::Plain, &[0, 1, 2, 3], 7));
    let (free, spec) = found(&g);
    assert_eq!(free, 6 + 4 + 4 * 7);
    let pattern = |name: &str| spec.tensors[name].to_string();
    assert_eq!(pattern("moe.router.weight"), "moe.router in");
    assert_eq!(pattern("moe.router.bias"), "moe.router");
    assert_eq!(pattern("moe.[0:4].up.weight"), "moe.router moe._.up@moe.router in");
    assert_eq!(pattern("moe.[0:4].up.bias"), "moe.router moe._.up@moe.router");
    assert_eq!(pattern("moe.[0:4].down.weight"), "moe.router in moe._.up@moe.router");
    assert_eq!(pattern("moe.[0:4].down.bias"), "moe.router in");
    assert!(!spec.tensors.contains_key("moe.0.up.weight"));
    let told = discover(&g).why("moe.2.up.weight", 1).unwrap();
    assert_eq!(
        told[0],
        "axis 1 of `moe.2.up.weight` is `in` in `moe.router moe._.up@moe.router in` of `moe.[0:4].up.weight`"
    );
    assert!(discover(&g).why("moe.2.up.weight", 2).is_err());
}

#[test]
fn gated_experts_and_other_orders_are_found() {
    let (free, spec) = found(&network(|g, x| mixture(g, "moe", x, Kind::Gated, &[2, 0, 1], 7)));
    assert_eq!(free, 6 + 3 + 3 * 7);
    assert!(spec.tensors.contains_key("moe.[1|2|0].gate.weight"));
    assert_eq!(found(&network(|g, x| mixture(g, "moe", x, Kind::Gated, &[0, 1], 7))).0, 6 + 2 + 2 * 7);
}

#[test]
fn layers_have_experts_of_their_own() {
    let g = network(|g, x| {
        let y = mixture(g, "first", x, Kind::Plain, &[0, 1, 2], 7);
        let y = g.add_values("between", x, y).unwrap();
        mixture(g, "second", y, Kind::Gated, &[0, 1], 4)
    });
    let (free, spec) = found(&g);
    assert_eq!(free, 6 + (3 + 3 * 7) + (2 + 2 * 4));
    assert_eq!(spec.tensors["second.[0:2].up.weight"].to_string(), "second.router second._.up@second.router in");
}

#[test]
fn experts_that_are_stacked_by_a_concatenation_are_found() {
    let g = network(|g, x| {
        let p = router(g, "router", x, 3);
        let p = g.push("p", Op::Reshape(vec![Dim::Size(1), Dim::Size(3), Dim::Size(1)]), &[p]).unwrap();
        let each = |g: &mut Graph, e: usize| {
            let y = expert(g, &format!("moe.{e}"), x, Kind::Plain, 7);
            g.push(&format!("moe.{e}.row"), Op::Reshape(vec![Dim::Size(1), Dim::Size(1), Dim::Size(6)]), &[y]).unwrap()
        };
        let rows: Vec<ValueId> = (0..3).map(|e| each(g, e)).collect();
        let all = g.push("stacked", Op::Concat { axis: 1 }, &rows).unwrap();
        let all = mul(g, "weighted", all, p);
        g.push("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![1], keep: false }, &[all]).unwrap()
    });
    assert_eq!(found(&g).0, 6 + 3 + 3 * 7);
}

#[test]
fn experts_that_top_k_chooses_by_number_are_found() {
    let picked = |scattered: bool| {
        network(|g, x| {
            let scores = g.linear("router", x, 4).unwrap();
            let top = g.push_many("top", Op::TopK { axis: 1, count: 2, largest: true }, &[scores]).unwrap();
            let zeros = g.constant("zeros", Tensor::from_f32(&[1, 4], vec![0.0; 4]).unwrap()).unwrap();
            let scatter = Op::ScatterElements { axis: 1, function: Scatter::Set };
            let all = g.push("spread", scatter, &[zeros, top[1], top[0]]).unwrap();
            let mut sum = None;
            for e in 0..4 {
                let name = format!("moe.{e}");
                let y = expert(g, &name, x, Kind::Gated, 7);
                let weight = if scattered {
                    gate(g, &name, all, e)
                } else {
                    let number = Tensor::from_f32(&[], vec![e as f32]).unwrap();
                    let number = g.constant(&format!("{name}.number"), number).unwrap();
                    let here = g.push(&format!("{name}.here"), Op::Binary(Binary::Equal), &[top[1], number]).unwrap();
                    let weights = mul(g, &format!("{name}.weights"), here, top[0]);
                    let sum = Op::Reduce { kind: Reduce::Sum, axes: vec![1], keep: true };
                    g.push(&format!("{name}.weight"), sum, &[weights]).unwrap()
                };
                let y = mul(g, &format!("{name}.weighted"), y, weight);
                sum = Some(sum.map_or(y, |sum| g.add_values(&format!("{name}.sum"), sum, y).unwrap()));
            }
            sum.unwrap()
        })
    };
    assert_eq!(found(&picked(true)).0, 6 + 4 + 4 * 7);
    assert_eq!(found(&picked(false)).0, 6 + 4 + 4 * 7);
}

/// The same with one thing changed: the experts are told apart, and keep the units that they have.
#[test]
fn experts_that_differ_are_no_group() {
    let apart = 6 + 3 * 7;
    let odd = |change: &dyn Fn(&mut Graph, ValueId, ValueId, usize) -> ValueId| {
        network(|g, x| {
            let p = router(g, "router", x, 3);
            let mut sum = None;
            for e in 0..3 {
                let name = format!("moe.{e}");
                let y = expert(g, &name, x, Kind::Plain, 7);
                let y = change(g, p, y, e);
                let weight = gate(g, &name, p, e);
                let y = mul(g, &format!("{name}.weighted"), y, weight);
                sum = Some(sum.map_or(y, |sum| g.add_values(&format!("{name}.sum"), sum, y).unwrap()));
            }
            sum.unwrap()
        })
    };
    assert_eq!(found(&odd(&|_, _, y, _| y)).0, apart + 3);
    let scaled = |g: &mut Graph, _, y, e: usize| {
        let by = Tensor::from_f32(&[], vec![if e == 1 { 0.5 } else { 1.0 }]).unwrap();
        let by = g.constant(&format!("by{e}"), by).unwrap();
        mul(g, &format!("scaled{e}"), y, by)
    };
    assert_eq!(found(&odd(&scaled)).0, apart);
    let longer = |g: &mut Graph, _, y, e: usize| if e == 1 { g.unary("more", Unary::Tanh, y).unwrap() } else { y };
    assert_eq!(found(&odd(&longer)).0, apart);
    // The first two are alike, and their entries follow each other.
    let last = |g: &mut Graph, _, y, e: usize| if e == 2 { g.unary("more", Unary::Tanh, y).unwrap() } else { y };
    assert_eq!(found(&odd(&last)).0, apart + 2);
    let looked_at = |g: &mut Graph, _, y, e: usize| {
        if e == 0 {
            g.output(y);
        }
        y
    };
    let free = found(&odd(&looked_at)).0;
    assert!(free <= apart, "{free}");
    // What one expert gives goes into another.
    let chained = std::cell::Cell::new(None);
    let chain = |g: &mut Graph, _, y, e: usize| {
        let y = chained.get().map_or(y, |before| g.add_values(&format!("chain{e}"), y, before).unwrap());
        chained.set(Some(y));
        y
    };
    assert_eq!(found(&odd(&chain)).0, apart);
}

/// What all of them pick, each by a node of its own, tells them apart no more than what they share.
#[test]
fn experts_that_pick_the_same_entry_are_found() {
    let picking = |once: bool| {
        network(|g, x| {
            let (p, side) = (router(g, "router", x, 3), g.linear("side", x, 4).unwrap());
            let shared = gate(g, "side", side, 1);
            let mut sum = None;
            for e in 0..3 {
                let name = format!("moe.{e}");
                let y = expert(g, &name, x, Kind::Plain, 7);
                let same = if once { shared } else { gate(g, &format!("{name}.side"), side, 1) };
                let y = mul(g, &format!("{name}.scaled"), y, same);
                let weight = gate(g, &name, p, e);
                let y = mul(g, &format!("{name}.weighted"), y, weight);
                sum = Some(sum.map_or(y, |sum| g.add_values(&format!("{name}.sum"), sum, y).unwrap()));
            }
            sum.unwrap()
        })
    };
    let [(once, spec), (each, other)] = [true, false].map(|once| found(&picking(once)));
    assert!(spec.tensors.contains_key("moe.[0:3].up.weight"));
    assert_eq!((once, spec), (each, other));
}

#[test]
fn experts_of_other_shapes_are_no_group() {
    let g = network(|g, x| {
        let p = router(g, "router", x, 2);
        let [a, b] = [0, 1].map(|e| {
            let y = expert(g, &format!("moe.{e}"), x, Kind::Plain, 7 + e);
            let weight = gate(g, &format!("moe.{e}"), p, e);
            mul(g, &format!("moe.{e}.weighted"), y, weight)
        });
        g.add_values("sum", a, b).unwrap()
    });
    assert_eq!(found(&g).0, 6 + 7 + 8);
    let told = discover(&g).why("router.weight", 0).unwrap().join("\n");
    assert!(told.contains("picked one by one, and go into parts of the network that differ"), "{told}");
}

#[test]
fn a_router_that_is_looked_at_elsewhere_holds_its_experts() {
    let shown = |how: &dyn Fn(&mut Graph, ValueId)| {
        network(|g, x| {
            let y = mixture(g, "moe", x, Kind::Plain, &[0, 1, 2], 7);
            let p = (0..g.values().len()).map(ValueId).find(|v| g.value(*v).name == "moe.router.softmax").unwrap();
            how(g, p);
            y
        })
    };
    assert_eq!(found(&shown(&|g, p| g.output(p))).0, 6 + 3 * 7);
    // An entry of it alone is one of those that are told apart.
    let first = |g: &mut Graph, p| {
        let p = gate(g, "other", p, 0);
        g.output(p);
    };
    assert_eq!(found(&shown(&first)).0, 6 + 3 * 7);
    // A sum over all of them is not.
    let load = |g: &mut Graph, p| {
        let kind = Reduce::SumSquare;
        let load = g.push("load", Op::Reduce { kind, axes: vec![1], keep: false }, &[p]).unwrap();
        g.output(load);
    };
    assert_eq!(found(&shown(&load)).0, 6 + 3 + 3 * 7);
}

#[test]
fn many_experts_take_time_in_proportion() {
    let seconds = |experts: usize| {
        let order: Vec<usize> = (0..experts).collect();
        let g = network(|g, x| mixture(g, "moe", x, Kind::Gated, &order, 3));
        let before = Instant::now();
        let (free, _) = found(&g);
        assert_eq!(free, 6 + experts + 3 * experts);
        before.elapsed()
    };
    assert!(seconds(64) < Duration::from_secs(2));
    assert!(seconds(2048) < Duration::from_secs(20));
}

fn random(g: &Graph, seed: u64) -> Params {
    let mut stream = Stream::new(seed, "weights");
    let tensor = |p: &onebasin_core::graph::Value| {
        let values = (0..p.shape.iter().product()).map(|_| stream.normal() as f32).collect();
        (p.name.clone(), Tensor::from_f32(&p.shape, values).unwrap())
    };
    g.params().map(tensor).collect()
}

/// Acting on tensors one by one is acting on the stacks that they make, the slow obvious way.
#[test]
fn tensors_of_a_stack_move_as_one_tensor_does() {
    for kind in [Kind::Plain, Kind::Gated] {
        let g = network(|g, x| mixture(g, "moe", x, kind, &[1, 3, 0, 2], 5));
        let net = random(&g, 1);
        let symmetry = Symmetry::resolve(discover(&g).spec(), &net).unwrap();
        let mut stream = Stream::new(2, "elements");
        let [first, then] = [(); 2].map(|()| Alignment::random(&symmetry, &mut stream));
        let moved = first.apply(&symmetry, &net).unwrap();
        assert_eq!(moved.names().collect::<Vec<_>>(), net.names().collect::<Vec<_>>());
        let (before, after) = (symmetry.stacked(&net).unwrap(), symmetry.stacked(&moved).unwrap());
        for (name, _) in symmetry.tensors() {
            let expected = first.apply_tensor(&symmetry, name, before.require(name).unwrap()).unwrap();
            assert_eq!(after.require(name).unwrap(), &expected, "{name}");
        }
        let both = then.compose(&symmetry, &first).apply(&symmetry, &net).unwrap();
        assert_eq!(both, then.apply(&symmetry, &moved).unwrap());
        assert_eq!(first.inverse(&symmetry).apply(&symmetry, &moved).unwrap(), net);
        let saved = serde_json::to_string(&symmetry).unwrap();
        assert_eq!(serde_json::from_str::<Symmetry>(&saved).unwrap(), symmetry);
        let text = symmetry.spec().to_toml();
        assert_eq!(Symmetry::resolve(&SymmetrySpec::from_toml(&text).unwrap(), &net).unwrap(), symmetry);
    }
}

/// What becomes of a tensor is what becomes of its part of the stack, whatever λ its groups have.
#[test]
fn tensors_of_a_stack_merge_as_one_tensor_does() {
    let g = network(|g, x| mixture(g, "moe", x, Kind::Gated, &[1, 3, 0, 2], 5));
    let (a, b) = (random(&g, 1), random(&g, 2));
    let symmetry = Symmetry::resolve(discover(&g).spec(), &a).unwrap();
    let stacked = |net: &Params| symmetry.stacked(net).unwrap().into_owned();
    for group in symmetry.roots() {
        let of_group = BTreeMap::from([(group, 0.75)]);
        let merged = merge_by_group(&symmetry, &a, &b, 0.25, &of_group).unwrap();
        let rule = MergeRule::by_group(&symmetry, 0.25, &of_group).unwrap();
        for (name, layout) in symmetry.tensors() {
            let [x, y] = [&a, &b].map(|net| stacked(net).require(name).unwrap().bytes().clone());
            let rule = rule.tensor(name, &layout.shape, DType::F32, DType::F32);
            let mut expected = vec![0; x.len()];
            rule.fill(0, &x, &y, &mut expected);
            let found = stacked(&merged);
            assert_eq!(found.require(name).unwrap().bytes()[..], expected[..], "{name}");
        }
    }
    let alignments = [1, 2].map(|seed| Alignment::random(&symmetry, &mut Stream::new(seed, "element")));
    let moved = |k: usize, net: &Params| alignments[k].apply(&symmetry, net).unwrap();
    let halfway = merge(&moved(0, &a), &moved(1, &b), 0.5, Interpolation::Lerp).unwrap();
    let mean = mean(&symmetry, &[&a, &b], &alignments, None).unwrap();
    for (name, tensor) in mean.iter() {
        let pairs = tensor
            .to_f64()
            .unwrap()
            .into_owned()
            .into_iter()
            .zip(halfway.require(name).unwrap().to_f64().unwrap().into_owned());
        assert!(pairs.into_iter().all(|(x, y)| (x - y).abs() < 1e-6), "{name}");
    }
}

/// A planted renumbering of experts, and of what is hidden in them, is found again, by every schedule over weights.
#[test]
fn planted_experts_are_recovered() {
    let g = network(|g, x| mixture(g, "moe", x, Kind::Gated, &[1, 3, 0, 2], 5));
    let a = random(&g, 1);
    let symmetry = Symmetry::resolve(discover(&g).spec(), &a).unwrap();
    let b = Alignment::random(&symmetry, &mut Stream::new(3, "planted")).apply(&symmetry, &a).unwrap();
    let pair = comparable(&symmetry, &a, &b).unwrap();
    let weights = Weights::new(&symmetry, &pair[0], &pair[1]).unwrap();
    let start = Start::Signature.alignment(&weights, 0).unwrap();
    let found = match_weights(&symmetry, &a, &b, Some(&start), &MatchOptions::default(), &mut |_| true).unwrap();
    assert_eq!(found.alignment.apply(&symmetry, &b).unwrap(), a);
    let found = merge_many(&symmetry, &[&a, &b], &ManyOptions::default(), &mut |_| true).unwrap();
    assert_eq!(found.between(&symmetry, 0, 1).apply(&symmetry, &b).unwrap(), a);
}

#[test]
fn stacks_are_text() {
    let tensor = |shape: &[usize]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]).unwrap();
    let net = |shapes: &[(&str, &[usize])]| -> Params {
        shapes.iter().map(|(name, shape)| ((*name).to_owned(), tensor(shape))).collect()
    };
    let two = net(&[
        ("h.0.x.0.w", &[3, 2]),
        ("h.0.x.1.w", &[3, 2]),
        ("h.0.g", &[2, 2]),
        ("h.1.x.0.w", &[4, 2]),
        ("h.1.x.1.w", &[4, 2]),
        ("h.1.g", &[2, 2]),
    ]);
    let templates = [("h.{l}.x.[0:2].w", "e{l} u{l}@e{l} s"), ("h.{l}.g", "e{l} s")];
    let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns(templates).unwrap(), &two).unwrap();
    assert_eq!(symmetry.tensor("h.1.x.[0:2].w").unwrap().pattern.to_string(), "e1 u1@e1 s");
    assert_eq!(symmetry.names().count(), 6);
    let refused = |patterns: &[(&str, &str)], net: &Params| {
        let spec = SymmetrySpec::from_patterns(patterns.iter().copied()).unwrap();
        Symmetry::resolve(&spec, net).unwrap_err().to_string()
    };
    let one = net(&[("x.0", &[3]), ("x.1", &[4])]);
    let error = refused(&[("x.[0:2]", "e .")], &one);
    assert!(error.contains("stack `x.[0:2]`: `x.0` is f32 of shape [3], `x.1` f32 of shape [4]"), "{error}");
    let one = net(&[("x.0", &[3]), ("x.1", &[3])]);
    assert!(refused(&[("x.[0:3]", "e .")], &one).contains("no tensor `x.2`"));
    assert!(refused(&[("x.[0:2]", "e ."), ("x.1", ".")], &one).contains("both fit tensor `x.1`"));
    assert!(refused(&[("x.[0:2]", "(e 1) .")], &one).contains("the tensors of a stack are the units of one group"));
    assert!(refused(&[("x.[0:2]", "e")], &one).contains("has 1 axes, the tensor has 2"));
    assert!(refused(&[("*x.[0:2]", "e .")], &one).contains("is a stack, whose name has no `*`"));
    // A tensor of that very name is a tensor.
    let plain = net(&[("x.[0:2]", &[3])]);
    let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("x.[0:2]", "h")]).unwrap(), &plain).unwrap();
    assert_eq!(symmetry.stack_of("x.0"), None);
}
