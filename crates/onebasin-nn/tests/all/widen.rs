//! Wider networks: ends embedded in them compute what they did, at width 1 nothing changes, at width 2 they answer as both.

use std::collections::BTreeMap;

use onebasin_core::graph::op::{Conv, Pool, PoolKind};
use onebasin_core::graph::{Graph, Op};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::GroupId;
use onebasin_core::widen::{End, Wide, Widener};
use onebasin_core::{Params, Tensor};
use onebasin_nn::exec::{Program, Workspace};
use onebasin_nn::samples::synthetic;
use onebasin_nn::{CheckOptions, Ends, Network, SolveOptions, WidenOptions, compare_graphs, solve, widen};

/// Normal weights, gains near 1, positive variances: nothing is silent and nothing is neutral.
fn drawn(graph: &Graph, seed: u64) -> Params {
    let draw = |value: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(seed, &value.name);
        let fan_in = value.shape.iter().skip(1).product::<usize>().max(1) as f64;
        let mut number = || match value.name.rsplit('.').next() {
            Some("running_var") => 0.5 + stream.uniform(),
            Some("weight") if value.shape.len() == 1 => 1.0 + 0.3 * stream.normal(),
            Some("weight") => stream.normal() / fan_in.sqrt(),
            _ => 0.3 * stream.normal(),
        };
        let numbers = (0..value.shape.iter().product()).map(|_| number() as f32).collect();
        (value.name.clone(), Tensor::from_f32(&value.shape, numbers).unwrap())
    };
    graph.params().map(draw).collect()
}

/// Of every group that can be widened, each unit kept apart with a chance of its own.
fn random_apart(widener: &Widener, seed: u64) -> BTreeMap<GroupId, Vec<usize>> {
    let mut stream = Stream::new(seed, "apart");
    let choose = |group: GroupId| {
        let chance = stream.uniform();
        let units = (0..widener.symmetry().group(group).size).filter(|_| stream.uniform() < chance).collect();
        (group, units)
    };
    widener.free().map(choose).collect()
}

fn built_in(name: &str, input: &[usize]) -> Graph {
    Network::new(name, input, 5).unwrap().graph().unwrap()
}

/// Branches that are concatenated, cut apart again and multiplied; depthwise convolutions; a flattened image.
fn branches() -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", &[1, 3, 6, 6]).unwrap();
    let one = Conv::square(1, 1);
    let left = g.conv("left", x, 5, 3, one.clone(), true).unwrap();
    let left = g.relu(left).unwrap();
    let right = g.conv("right", x, 7, 3, one.clone(), false).unwrap();
    let right = g.batch_norm("right.bn", right).unwrap();
    let right = g.unary("sigmoid", onebasin_core::graph::op::Unary::Sigmoid, right).unwrap();
    let both = g.push("both", Op::Concat { axis: 1 }, &[left, right]).unwrap();
    let mixed = g.conv("mixed", both, 6, 1, Conv::square(1, 0), true).unwrap();
    let again = g.push("again", Op::Slice { axis: 1, start: 5, len: 7, step: 1 }, &[both]).unwrap();
    let deep = g.conv("deep", again, 7, 3, one.grouped(7), true).unwrap();
    let gated = g.push("gated", Op::Binary(onebasin_core::graph::op::Binary::Mul), &[deep, right]).unwrap();
    let all = g.push("all", Op::Concat { axis: 1 }, &[mixed, gated]).unwrap();
    let all = g.max_pool("pool", all, Pool::square(PoolKind::Max, 2, 2)).unwrap();
    let flat = g.flatten("flat", all).unwrap();
    let h = g.linear("fc1", flat, 8).unwrap();
    let h = g.relu(h).unwrap();
    let y = g.linear("fc2", h, 4).unwrap();
    g.output(y);
    g
}

#[test]
fn embedded_ends_compute_what_they_did() {
    let graphs = [
        ("mlp", built_in("mlp:9-7-5", &[6])),
        ("option A", built_in("resnet20-a", &[3, 8, 8])),
        ("projections", built_in("resnet20-bn:0.5", &[3, 8, 8])),
        ("flattened", built_in("vgg16-bn:0.0625", &[3, 32, 32])),
        ("branches", branches()),
    ];
    for (name, graph) in &graphs {
        let widener = Widener::new(graph).unwrap();
        assert!(widener.free().count() > 2, "{name}: {:?}", widener.kept());
        let program = Program::new(graph.clone()).unwrap();
        let params = drawn(graph, 1);
        let loosened = widener.loosened(&params).unwrap();
        for seed in 0..4 {
            let wide = Wide::new(&widener, random_apart(&widener, seed)).unwrap();
            let wider = Program::new(wide.graph().clone()).unwrap();
            for end in [End::A, End::B] {
                let embedded = wide.embed(&loosened, end).unwrap();
                let found = compare_graphs((&program, &params), (&wider, &embedded), &CheckOptions::default()).unwrap();
                assert!(found.passes(), "{name}, {end:?}, sets {seed}: {found}");
            }
        }
    }
}

#[test]
fn what_is_kept_apart_everywhere_answers_as_both() {
    for (name, input) in [("mlp:9-7", &[6][..]), ("resnet20-a", &[3, 8, 8])] {
        let graph = built_in(name, input);
        let widener = Widener::new(&graph).unwrap();
        assert_eq!(widener.kept(), [], "{name}");
        let all = widener.free().map(|g| (g, (0..widener.symmetry().group(g).size).collect())).collect();
        let wide = Wide::new(&widener, all).unwrap();
        let ends = [drawn(&graph, 1), drawn(&graph, 2)];
        let loosened = ends.each_ref().map(|end| widener.loosened(end).unwrap());
        let [a, b] = [wide.embed(&loosened[0], End::A).unwrap(), wide.embed(&loosened[1], End::B).unwrap()];
        let mixed = wide.mix([&a, &b], 0.25).unwrap();
        let answers = |graph: &Graph, params: &Params| {
            let program = Program::new(graph.clone()).unwrap();
            let mut space = Workspace::inference(&program, 6).unwrap();
            let mut stream = Stream::new(3, "input");
            space.inputs().into_iter().flatten().for_each(|x| *x = stream.normal() as f32);
            program.forward(&program.flatten(params).unwrap(), &mut space);
            space.outputs()[0].to_vec()
        };
        let (of_a, of_b, of_both) =
            (answers(&graph, &ends[0]), answers(&graph, &ends[1]), answers(wide.graph(), &mixed));
        for ((a, b), both) in of_a.iter().zip(&of_b).zip(&of_both) {
            let mean = 0.75 * a + 0.25 * b;
            assert!((mean - both).abs() < 1e-4 * (1.0 + mean.abs()), "{name}: {mean} and {both}");
        }
    }
}

#[test]
fn width_one_is_the_solve_to_the_bit() {
    let graph = built_in("resnet20-a", &[3, 8, 8]);
    let (a, b) = (drawn(&graph, 1), drawn(&graph, 2));
    let data = synthetic(&graph, 12, 0).unwrap();
    let program = Program::new(graph.clone()).unwrap();
    let average = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
    let options = SolveOptions::default();
    let solved = solve(&program, &Ends::pair([&a, &b], 0.5), &average, &data, &options, &mut |_, _| true).unwrap();
    let found = widen(&program, [&a, &b], &data, &WidenOptions::default(), &mut |_, _| true).unwrap();
    assert_eq!(found.params, solved.params);
    assert_eq!(found.graph, graph);
}

#[test]
fn hostile_widths_are_refused() {
    let graph = built_in("mlp:6x2", &[4]);
    let (a, b) = (drawn(&graph, 1), drawn(&graph, 2));
    let data = synthetic(&graph, 8, 0).unwrap();
    let program = Program::new(graph).unwrap();
    let refused = |width: f64, lambda: f64| {
        let options = WidenOptions { width, lambda, ..WidenOptions::default() };
        widen(&program, [&a, &b], &data, &options, &mut |_, _| true).unwrap_err().to_string()
    };
    for width in [f64::NAN, f64::INFINITY, -1.0, 0.0, 0.99, 2.01, 1e300] {
        assert!(refused(width, 0.5).contains("from 1"), "{width}");
    }
    for lambda in [0.0, 1.0, f64::NAN, -0.5] {
        assert!(refused(1.5, lambda).contains('λ'), "{lambda}");
    }
    assert!(refused(1.01, 0.5).contains("too small"));
}

#[test]
fn normalised_groups_keep_their_width_by_name() {
    let widener = Widener::new(&built_in("resnet20-ln:0.5", &[3, 8, 8])).unwrap();
    assert_eq!(widener.free().count(), 0);
    assert!(widener.kept().iter().any(|kept| kept.group == "conv1" && kept.why.contains("`norm1` averages over")));
}

#[test]
fn hostile_sizes_are_refused() {
    let network = Network::new("resnet20-a", &[3, 32, 32], 10).unwrap();
    let refused = |group: &str, size: usize| network.widened(&[(group.to_owned(), size)].into()).unwrap_err();
    assert!(refused("conv1", 15).to_string().contains("cannot become one of 15"));
    assert!(refused("conv1", usize::MAX).to_string().contains("more than"));
    assert!(refused("nothing", 15).to_string().contains("nothing"));
    let wide = network.widened(&[("conv1".to_owned(), 20), ("layer2.0.conv1".to_owned(), 40)].into()).unwrap();
    let text = serde_json::to_string(&wide).unwrap();
    assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), wide);
    let plain = serde_json::to_string(&network).unwrap();
    assert_eq!(plain, r#"{"name":"resnet20-a","input":[3,32,32],"classes":10}"#);
    let half = Network::new("resnet20-bn:1", &[3, 8, 8], 10).unwrap();
    let widener = Widener::new(&half.graph().unwrap()).unwrap();
    let more = |id: GroupId| {
        let group = widener.symmetry().group(id);
        (group.name.clone(), group.size + group.size / 4)
    };
    let all: BTreeMap<String, usize> = widener.free().map(more).collect();
    assert_eq!(half.widened(&all).unwrap().name, "resnet20-bn:1.25");
}
