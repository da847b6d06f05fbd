//! Whole numbers are not averaged, and what rounds inside a network is no obstacle.

use std::path::PathBuf;

use onebasin::core::graph::Numbers;
use onebasin::nn::exec::Workspace;
use onebasin::{Align, Blueprint, Context, Error, Merge, Model, Pair};

fn golden(name: &str) -> PathBuf {
    let path = format!("{}/../onebasin-nn/tests/goldens/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    path.into()
}

#[test]
fn quantised_weights_open_and_run_but_are_not_merged() {
    let blueprint = Blueprint::default();
    let model = Model::open(golden("quantized"), &blueprint).unwrap();
    let graph = model.graph().unwrap();
    assert_eq!(graph.numbers(graph.param_named("q1").unwrap()), Numbers::Whole);
    assert!(model.ensure(&model.symmetry().unwrap(), &Context::default()).unwrap().unwrap().passes());
    let error = Pair::open(golden("quantized"), golden("quantized"), &blueprint).unwrap_err();
    assert!(matches!(&error, Error::Quantized { tensor, .. } if tensor == "q1"), "{error}");
    let text = error.to_string();
    assert!(text.contains("`q1` (i8)") && text.contains("merge the float networks and quantise the result"), "{text}");
}

#[test]
fn a_network_that_rounds_its_activations_merges_like_any_other() {
    let pair = Pair::open(golden("qdq"), golden("qdq"), &Blueprint::default()).unwrap();
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    let merged = pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().params().unwrap();
    assert_eq!(&merged, pair.a().params());
}

#[test]
fn a_network_takes_no_more_memory_than_was_said() {
    let open = |memory| Model::open(golden("qdq"), &Blueprint { memory, ..Blueprint::default() }).unwrap();
    let run = |model: Model| Workspace::inference(&model.program().unwrap(), 1000).map(drop);
    assert!(run(open(None)).is_ok());
    let error = run(open(Some(10_000))).unwrap_err().to_string();
    assert!(error.contains("running 1000 samples of the network takes"), "{error}");
}
