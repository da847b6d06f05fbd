//! A network that onebasin has never heard of: its graph is built by hand, its symmetry discovered and tested.
#![allow(clippy::print_stdout, reason = "it shows what it finds")]

use onebasin::core::graph::{Op, Value, op::Binary};
use onebasin::core::stream::Stream;
use onebasin::{Align, Context, Graph, Merge, Model, Pair, Params, Tensor};

/// Two branches over the same input, multiplied: `y = out(relu(left x) · right x)`.
fn gated() -> Result<Graph, onebasin::core::Error> {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 6])?;
    let left = graph.linear("left", x, 12)?;
    let left = graph.relu(left)?;
    let right = graph.linear("right", x, 12)?;
    let gate = graph.push("gate", Op::Binary(Binary::Mul), &[left, right])?;
    let y = graph.linear("out", gate, 3)?;
    graph.output(y);
    Ok(graph)
}

/// Weights drawn at random, in the shapes of the graph.
fn weights(graph: &Graph, seed: u64) -> Result<Params, onebasin::core::Error> {
    let mut stream = Stream::new(seed, "example");
    let draw = |p: &Value| {
        let values = (0..p.shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Ok((p.name.clone(), Tensor::from_f32(&p.shape, values)?))
    };
    graph.params().map(draw).collect()
}

/// Builds two such networks, tests their symmetry, merges them.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = gated()?;
    let [a, b] = [0, 1].map(|seed| weights(&graph, seed));
    let model = |params| Model::with_graph("gated", params, graph.clone());
    let pair = Pair::new(model(a?)?, model(b?)?)?;

    let symmetry = pair.a().symmetry()?;
    let check = pair.ensure(&symmetry, &Context::default())?.expect("the network runs here");
    println!("{} groups: {check}", symmetry.groups().len());
    assert!(symmetry.groups().iter().any(|g| g.size == 12), "both branches share one numbering of 12 units");

    let aligned = pair.align(&Align::default(), &Context::default())?;
    let merged = pair.merge(&aligned, &Merge::default(), &Context::default())?.params()?;
    println!("{} tensors merged", merged.len());
    Ok(())
}
