//! Families that do not write token by token compute what transformers computes, and what is found of them leaves it as it is.

use std::path::Path;

use onebasin_core::Params;
use onebasin_core::canonical::canonical;
use onebasin_core::graph::Graph;
use onebasin_core::kinds::{Kind, Kinds};
use onebasin_core::symmetry::{Symmetry, discover};
use onebasin_nn::check::{CheckOptions, check};
use onebasin_nn::exec::{Program, Wants, Workspace};
use onebasin_nn::family::{Config, family, step, writes};

use crate::kinds::{every_form_computes_the_same, hidden_is_undone};

const LENGTH: usize = 12;

const NETWORKS: [&str; 12] = [
    "vit",
    "vit-plain",
    "deit",
    "bert",
    "bert-fill",
    "bert-classes",
    "roberta",
    "roberta-fill",
    "roberta-classes",
    "distilbert",
    "distilbert-fill",
    "distilbert-classes",
];

/// A network's tensors, what it reads, what transformers computes, and its configuration.
struct Golden {
    params: Params,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
    config: Config,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = Path::new("tests/goldens/families").join(format!("{name}.safetensors"));
        let read = onebasin_io::read(&path).unwrap();
        let config = Config::parse(read.metadata.get("config").unwrap()).unwrap();
        let numbered = |part: &str| -> Vec<Vec<f32>> {
            let found = (0..).map_while(|k| read.params.get(&format!("{part}.{k}")));
            found.map(|tensor| tensor.to_f64().unwrap().iter().map(|v| *v as f32).collect()).collect()
        };
        let is_weight = |name: &str| !name.starts_with("input.") && !name.starts_with("output.");
        let weights = read.params.iter().filter(|(name, _)| is_weight(name));
        let params = weights.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        Self { params, inputs: numbered("input"), outputs: numbered("output"), config }
    }

    fn graph(&self) -> Graph {
        family(&self.config, LENGTH).unwrap()
    }
}

#[test]
fn outputs_are_those_of_transformers() {
    for name in NETWORKS {
        let golden = Golden::read(name);
        let graph = golden.graph().with_batch(2).unwrap();
        let names: Vec<&str> = graph.params().map(|p| p.name.as_str()).collect();
        assert!(golden.params.names().all(|own| names.contains(&own)), "{name}: {names:?}");
        let program = Program::<f32>::new(graph).unwrap();
        let mut space = Workspace::new(&program, 2, Wants::default()).unwrap();
        for (input, given) in space.inputs().into_iter().zip(&golden.inputs) {
            input.copy_from_slice(given);
        }
        program.forward(&program.flatten(&golden.params).unwrap(), &mut space);
        let outputs = space.outputs();
        assert_eq!(outputs.len(), golden.outputs.len(), "{name}");
        for (found, expected) in outputs.iter().zip(&golden.outputs) {
            assert_eq!(found.len(), expected.len(), "{name}");
            let largest = expected.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            let far = found.iter().zip(expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(far <= 1e-5 * largest, "{name}: {far} of {largest}");
            println!("{name}: {:.1e}", far / largest);
        }
    }
}

#[test]
fn none_of_them_writes() {
    for name in NETWORKS {
        let Golden { config, .. } = Golden::read(name);
        let error = step(&config, 3).unwrap_err().to_string();
        assert!(!writes(&config) && error.contains("does not write token by token"), "{name}: {error}");
    }
}

#[test]
fn what_may_be_exchanged_leaves_the_function_as_it_is() {
    for (name, groups) in [
        // The stream; of every layer units of its feed-forward, heads, units of its values, and those of queries and keys.
        ("vit", 1 + 2 * 4),
        ("deit", 1 + 2 * 4),
        // What stands in the stream is the output; of a pooler as well.
        ("vit-plain", 2 * 4),
        ("bert", 2 * 4),
        ("roberta", 2 * 4),
        ("distilbert", 2 * 4),
        // The stream, and what is between the two layers of the head.
        ("bert-fill", 1 + 2 * 4),
        ("bert-classes", 2 + 2 * 4),
        ("roberta-fill", 1 + 2 * 4),
        ("roberta-classes", 2 + 2 * 4),
        ("distilbert-fill", 1 + 2 * 4),
        ("distilbert-classes", 2 + 2 * 4),
    ] {
        let golden = Golden::read(name);
        let graph = golden.graph();
        let symmetry = Symmetry::resolve(discover(&graph).spec(), &golden.params).unwrap();
        let names: Vec<&str> = symmetry.groups().iter().map(|group| group.name.as_str()).collect();
        println!("{name}: {} {names:?}", names.len());
        assert_eq!(names.len(), groups, "{name}: {names:?}");
        let program = Program::new(graph).unwrap();
        let found = check(&program, &golden.params, &symmetry, &CheckOptions::default()).unwrap();
        assert!(found.passes(), "{name}: {found}");
    }
}

#[test]
fn canonical_form_computes_the_same() {
    for name in NETWORKS {
        let golden = Golden::read(name);
        every_form_computes_the_same(name, &golden.graph(), &golden.params);
    }
}

#[test]
fn a_hidden_element_of_every_kind_is_undone() {
    for name in NETWORKS {
        let golden = Golden::read(name);
        hidden_is_undone(name, &golden.graph(), &golden.params);
    }
}

#[test]
fn kinds_are_those_of_the_operators() {
    for name in NETWORKS {
        let golden = Golden::read(name);
        let form = canonical(&golden.graph(), &golden.params).unwrap();
        let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
        let count = |kind| kinds.symmetry.groups().iter().filter(|g| kinds.named(&g.name) == Some(kind)).count();
        let found = [Kind::Centred, Kind::Orthogonal, Kind::Signed, Kind::Permutation].map(count);
        println!("{name}: {found:?}");
        for g in kinds.symmetry.groups() {
            println!("   {} {:?}", g.name, kinds.named(&g.name));
        }
    }
}
