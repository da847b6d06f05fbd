//! ONNX models that hold functions, branches and quantised numbers, run and held against ONNX Runtime.

use std::collections::BTreeMap;
use std::path::Path;

use onebasin_core::graph::{Graph, Numbers, Op, ValueSource};
use onebasin_core::symmetry::{Symmetry, discover};
use onebasin_core::{Params, Tensor};
use onebasin_io::OnnxModel;
use onebasin_nn::exec::{Program, Workspace};
use onebasin_nn::{CheckOptions, check};

const MODELS: [&str; 47] = [
    "argmax",
    "argmin",
    "attention",
    "attention_bool",
    "attention_causal",
    "attention_float",
    "attention_grouped",
    "cast",
    "castlike",
    "cumsum",
    "dynamic",
    "dynamic_images",
    "einsum_ellipsis",
    "einsum_implicit",
    "einsum_one",
    "einsum_sum",
    "einsum_three",
    "functions",
    "gathernd",
    "gathernd_batch",
    "gathernd_rows",
    "gathernd_run",
    "if_either",
    "if_false",
    "if_in_if",
    "if_or",
    "if_true",
    "nonzero",
    "odd",
    "onehot",
    "opset7",
    "qdq",
    "qdq_axis",
    "qdq_halves",
    "qdq_images",
    "qdq_signed",
    "qlinear",
    "qlinear_images",
    "quantized",
    "scatternd_add",
    "scatternd_rows",
    "scatternd_some",
    "swish",
    "tile",
    "topk",
    "trilu",
    "whole",
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/models")
}

fn open(name: &str) -> (Graph, Params) {
    let model = OnnxModel::open(&folder().join(format!("{name}.onnx"))).unwrap();
    let graph = model.graph(&BTreeMap::new()).unwrap();
    let used = graph.params().map(|p| (p.name.clone(), model.params().get(&p.name).unwrap().clone()));
    let params = used.collect();
    (graph, params)
}

fn answers() -> Params {
    let [x, y] = ["x", "y"];
    let file = onebasin_io::read(&folder().join("answers.safetensors")).unwrap().params;
    assert!(MODELS.iter().all(|n| [x, y].iter().all(|v| file.get(&format!("{n}.{v}")).is_some())));
    file
}

#[test]
fn what_stands_within_nodes_computes_what_onnx_runtime_computes() {
    let answers = answers();
    for name in MODELS {
        let (graph, params) = open(name);
        let unknown = graph.nodes().iter().find(|n| matches!(n.op, Op::Unknown(_)));
        assert!(unknown.is_none(), "{name}: {unknown:?}");
        let program = Program::<f32>::new(graph).unwrap();
        let mut space = Workspace::inference(&program, 3).unwrap();
        space.input(0).copy_from_slice(&answers.require(&format!("{name}.x")).unwrap().to_f32().unwrap());
        program.forward(&program.flatten(&params).unwrap(), &mut space);
        let expected: &Tensor = answers.require(&format!("{name}.y")).unwrap();
        let expected = expected.to_f32().unwrap();
        let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (found, expected) in space.output().iter().zip(expected.iter()) {
            assert!((found - expected).abs() <= 1e-6 * scale, "{name}: {found}, expected {expected}");
        }
    }
}

#[test]
fn units_pass_through_functions_branches_and_quantisation() {
    for (name, groups) in [
        ("argmax", 1),
        ("argmin", 0),
        ("attention", 3),
        ("attention_bool", 2),
        ("attention_causal", 2),
        ("attention_float", 3),
        ("attention_grouped", 2),
        ("cast", 1),
        ("castlike", 1),
        ("cumsum", 0),
        ("dynamic", 2),
        ("einsum_ellipsis", 1),
        ("einsum_implicit", 1),
        ("einsum_one", 0),
        ("einsum_sum", 1),
        ("einsum_three", 1),
        ("functions", 1),
        ("gathernd", 0),
        ("gathernd_batch", 1),
        ("gathernd_rows", 0),
        ("gathernd_run", 1),
        ("if_either", 1),
        ("if_false", 1),
        ("if_in_if", 1),
        ("if_or", 1),
        ("if_true", 1),
        ("nonzero", 0),
        ("odd", 1),
        ("onehot", 1),
        ("opset7", 0),
        ("qdq", 1),
        ("qlinear", 2),
        ("scatternd_add", 0),
        ("scatternd_rows", 0),
        ("scatternd_some", 0),
        ("tile", 1),
        ("topk", 1),
        ("trilu", 0),
        ("whole", 1),
        // Zero points of their own hold every unit where it is.
        ("qdq_axis", 0),
        ("qdq_images", 0),
        ("quantized", 0),
    ] {
        let (graph, params) = open(name);
        let symmetry = Symmetry::resolve(discover(&graph).spec(), &params).unwrap();
        assert_eq!(symmetry.groups().len(), groups, "{name}");
        let found = check(&Program::new(graph).unwrap(), &params, &symmetry, &CheckOptions::default()).unwrap();
        assert!(found.passes(), "{name}: {found}");
    }
}

#[test]
fn quantised_weights_are_parameters_of_whole_numbers() {
    let (graph, params) = open("quantized");
    assert_eq!(graph.quantized().collect::<Vec<_>>(), [("q1", "w1/2"), ("q2", "b1")]);
    let whole: Vec<_> = graph.ids().filter(|v| graph.numbers(*v) == Numbers::Whole).map(|v| graph.value(v)).collect();
    assert_eq!(whole.len(), 2);
    for value in whole {
        assert_eq!(value.source, ValueSource::Param);
        assert!(!params.require(&value.name).unwrap().dtype().is_float());
    }
    assert_eq!(open("qdq").0.quantized().count(), 0);
}
