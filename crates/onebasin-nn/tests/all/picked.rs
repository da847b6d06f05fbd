//! Which inputs hold whole numbers, and up to where, whatever stands between them and what they pick from.

use onebasin_core::Tensor;
use onebasin_core::graph::op::{Binary, Dim, Reduce, Unary};
use onebasin_core::graph::{Graph, Numbers, Op, ValueId};
use onebasin_nn::samples::picked_from;

/// An input of eleven rows to pick from, and what is made of it before it picks.
fn picks(numbers: Numbers, between: impl Fn(&mut Graph, ValueId) -> ValueId) -> (Graph, ValueId) {
    let mut graph = Graph::new();
    let ids = graph.input("ids", &[1, 4]).unwrap();
    graph.set_numbers(ids, numbers);
    let index = between(&mut graph, ids);
    let table = graph.param("table", &[11, 8]).unwrap();
    let y = graph.push("embed", Op::Gather { axis: 0 }, &[table, index]).unwrap();
    graph.output(y);
    (graph, ids)
}

fn constant(graph: &mut Graph, shape: &[usize], values: &[f32]) -> ValueId {
    graph.constant("c", Tensor::from_f32(shape, values.to_vec()).unwrap()).unwrap()
}

#[test]
fn indices_are_found_through_whatever_keeps_them_whole() {
    type Between = fn(&mut Graph, ValueId) -> ValueId;
    let cases: [(&str, Between, usize); 9] = [
        ("nothing", |_, x| x, 11),
        (
            "reshapes",
            |g, x| {
                let flat = g.push("flat", Op::Reshape(vec![Dim::Rest]), &[x]).unwrap();
                g.push("back", Op::Reshape(vec![Dim::Rest, Dim::Size(4)]), &[flat]).unwrap()
            },
            11,
        ),
        (
            "cut towards zero",
            |g, x| {
                let sign = g.unary("sign", Unary::Sign, x).unwrap();
                let size = g.unary("abs", Unary::Abs, x).unwrap();
                let size = g.unary("floor", Unary::Floor, size).unwrap();
                g.push("whole", Op::Binary(Binary::Mul), &[sign, size]).unwrap()
            },
            11,
        ),
        (
            "an offset",
            |g, x| {
                let two = constant(g, &[], &[2.0]);
                g.push("moved", Op::Binary(Binary::Add), &[x, two]).unwrap()
            },
            9,
        ),
        (
            "a distance",
            |g, x| {
                let three = constant(g, &[], &[3.0]);
                let times = g.push("times", Op::Binary(Binary::Mul), &[x, three]).unwrap();
                let ends = constant(g, &[4], &[0.0, 1.0, 2.0, 1.0]);
                g.push("places", Op::Binary(Binary::Add), &[times, ends]).unwrap()
            },
            3,
        ),
        (
            "counted from the end",
            |g, x| {
                let one = constant(g, &[], &[1.0]);
                let more = g.push("more", Op::Binary(Binary::Add), &[x, one]).unwrap();
                g.unary("neg", Unary::Neg, more).unwrap()
            },
            11,
        ),
        ("a sum", |g, x| g.push("sum", Op::Reduce { kind: Reduce::Sum, axes: vec![1], keep: true }, &[x]).unwrap(), 3),
        (
            "a choice",
            |g, x| {
                let pad = constant(g, &[], &[0.0]);
                let is_pad = g.push("is", Op::Binary(Binary::Equal), &[x, pad]).unwrap();
                let last = constant(g, &[], &[10.0]);
                g.push("where", Op::Where, &[is_pad, last, x]).unwrap()
            },
            11,
        ),
        (
            "parts",
            |g, x| {
                let start = constant(g, &[1, 1], &[1.0]);
                let joined = g.push("joined", Op::Concat { axis: 1 }, &[start, x]).unwrap();
                g.push("cut", Op::Slice { axis: 1, start: 0, len: 4, step: 1 }, &[joined]).unwrap()
            },
            11,
        ),
    ];
    for (name, between, expected) in cases {
        for numbers in [Numbers::Real, Numbers::Whole] {
            let (graph, ids) = picks(numbers, between);
            assert_eq!(picked_from(&graph, ids), Some(expected), "{name}");
        }
    }
    let (graph, ids) = picks(Numbers::Truth, |_, x| x);
    assert_eq!(picked_from(&graph, ids), Some(2));
}

#[test]
fn what_nothing_picks_by_is_a_mask_or_any_number() {
    let graph = |numbers: Numbers, binary: Binary, with: f32| {
        let mut graph = Graph::new();
        let x = graph.input("x", &[1, 4]).unwrap();
        graph.set_numbers(x, numbers);
        let other = constant(&mut graph, &[], &[with]);
        let y = graph.push("y", Op::Binary(binary), &[x, other]).unwrap();
        graph.output(y);
        picked_from(&graph, x)
    };
    assert_eq!(graph(Numbers::Real, Binary::Mul, 2.0), None);
    assert_eq!(graph(Numbers::Real, Binary::Equal, 7.0), None);
    assert_eq!(graph(Numbers::Truth, Binary::Mul, 2.0), Some(2));
    assert_eq!(graph(Numbers::Whole, Binary::Mul, 2.0), Some(2));
    assert_eq!(graph(Numbers::Whole, Binary::Equal, 7.0), Some(8));
    assert_eq!(graph(Numbers::Whole, Binary::Less, -7.0), Some(2));
}

#[test]
fn every_input_is_looked_at() {
    let mut graph = Graph::new();
    let [words, kinds] = ["words", "kinds"].map(|name| graph.input(name, &[1, 4]).unwrap());
    let image = graph.input("image", &[1, 8]).unwrap();
    let [table, few] = [("table", 30), ("few", 2)].map(|(name, n)| graph.param(name, &[n, 8]).unwrap());
    let a = graph.push("a", Op::Gather { axis: 0 }, &[table, words]).unwrap();
    let b = graph.push("b", Op::Gather { axis: 0 }, &[few, kinds]).unwrap();
    let both = graph.add_values("sum", a, b).unwrap();
    let y = graph.add_values("y", both, image).unwrap();
    graph.output(y);
    assert_eq!([words, kinds, image].map(|v| picked_from(&graph, v)), [Some(30), Some(2), None]);
}
