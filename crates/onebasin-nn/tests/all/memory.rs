//! Memory is added up and refused before any of it is taken.

use onebasin_core::graph::op::{Dim, ResizeMode};
use onebasin_core::graph::{Graph, Op};
use onebasin_core::symmetry::{Symmetry, discover};
use onebasin_core::{Params, Tensor};
use onebasin_nn::exec::{Lanes, Program, Workspace};
use onebasin_nn::samples::synthetic;
use onebasin_nn::{CheckOptions, Error, Network, check, machine_memory};

/// Graphs of few words that ask for terabytes.
fn greedy() -> Vec<Graph> {
    let many = 1 << 20;
    let of = |shape: &[usize], op: Option<Op>| {
        let mut graph = Graph::new();
        let mut x = graph.input("x", shape).unwrap();
        if let Some(op) = op {
            x = graph.push("large", op, &[x]).unwrap();
        }
        let w = graph.param("w", &[1]).unwrap();
        let y = graph.push("y", Op::Binary(onebasin_core::graph::op::Binary::Mul), &[x, w]).unwrap();
        graph.output(y);
        graph
    };
    vec![
        of(&[1, many, many], None),
        of(&[1, 1, 1], Some(Op::Expand(vec![Dim::Same(0), Dim::Size(many), Dim::Size(many)]))),
        of(&[1, 1, 1, 1], Some(Op::Resize { size: vec![many, many], mode: ResizeMode::Nearest })),
    ]
}

#[test]
fn a_graph_that_asks_for_terabytes_is_refused() {
    for graph in greedy() {
        let symmetry = discover(&graph).spec().clone();
        let params = Params::from_iter([("w".to_owned(), Tensor::from_f32(&[1], vec![1.0]).unwrap())]);
        let symmetry = Symmetry::resolve(&symmetry, &params).unwrap();
        let huge = graph.shape(graph.inputs().next().unwrap()).iter().product::<usize>() > 1;
        let program = Program::<f32>::new(graph.clone()).unwrap();
        let refused = |error: Error| {
            let Error::Memory { needed, limit, .. } = error else { panic!("{error}") };
            assert!(needed > limit && needed >= 1 << 40, "{needed}, {limit}");
        };
        refused(Workspace::inference(&program, 1).err().unwrap());
        refused(Workspace::training(&program, 2).err().unwrap());
        refused(Lanes::new(&program, 8, true).err().unwrap());
        refused(check(&program, &params, &symmetry, &CheckOptions::default()).unwrap_err());
        if huge {
            refused(synthetic(&graph, 3, 0).unwrap_err());
        }
    }
}

#[test]
fn shapes_that_no_machine_can_count_are_errors() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 1 << 31, 1 << 31]).unwrap();
    graph.output(x);
    let program = Program::<f32>::new(graph).unwrap();
    assert!(matches!(
        Workspace::inference(&program, 4).err(),
        Some(Error::Core(onebasin_core::Error::TooLarge { .. }))
    ));
}

#[test]
fn all_workspaces_of_a_batch_count_together() {
    let network = Network::new("mlp:64x2", &[32], 10).unwrap();
    let program = || Program::<f32>::new(network.graph().unwrap()).unwrap();
    assert!(Lanes::new(&program(), 100, true).is_ok());
    // Weights, gradients of two lanes at least, and every value of 100 samples with its gradient.
    let needed = (3 * program().weight_count() * 4) as u64;
    assert!(matches!(Lanes::new(&program().within(needed), 100, true).err(), Some(Error::Memory { .. })));
    assert!(Workspace::inference(&program().within(needed), 1).is_ok());
    assert!(Workspace::inference(&program().within(needed), 10_000).is_err());
    assert!(machine_memory() > 1 << 28);
}
