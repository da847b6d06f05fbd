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
use serde_json::json;

use crate::kinds::{every_form_computes_the_same, hidden_is_undone};

const LENGTH: usize = 12;

const NETWORKS: [&str; 21] = [
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
    "clip",
    "clip-text",
    "clip-text-plain",
    "clip-vision",
    "clip-vision-plain",
    "t5",
    "t5-gated",
    "t5-encoder",
    "whisper",
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
        // The stream; of every layer units of its feed-forward, heads, units of its values, and those of its queries and keys.
        ("vit", 1 + 2 * 4),
        ("deit", 1 + 2 * 4),
        // What stands in the stream is the output, and what stands in a pooler another one.
        ("vit-plain", 2 * 4),
        ("bert", 2 * 4),
        ("roberta", 2 * 4),
        ("distilbert", 2 * 4),
        // What a tied head reads are units of the embedding, and so of the stream.
        ("bert-fill", 1 + 2 * 4),
        ("roberta-fill", 1 + 2 * 4),
        ("distilbert-fill", 1 + 2 * 4),
        // The stream, and what stands between the two layers of the head.
        ("bert-classes", 2 + 2 * 4),
        ("roberta-classes", 2 + 2 * 4),
        ("distilbert-classes", 2 + 2 * 4),
        // Both streams, and what text and image are compared in.
        ("clip", 3 + 2 * 2 * 4),
        ("clip-text", 1 + 2 * 4),
        ("clip-vision", 1 + 2 * 4),
        ("clip-text-plain", 2 * 4),
        ("clip-vision-plain", 2 * 4),
        // One stream, since both texts are read by one embedding; of the encoder and of the decoder heads, which positions tie over
        // all layers; of every layer three kinds of units, and of those of a decoder heads and two kinds of units of what is seen.
        ("t5", 1 + (1 + 2 * 3) + (1 + 2 * 6)),
        ("t5-gated", 1 + (1 + 3) + (1 + 2 * 6)),
        ("t5-encoder", 1 + 2 * 3),
        // Both streams, and channels between the convolutions.
        ("whisper", 3 + 2 * 4 + 2 * 7),
    ] {
        let golden = Golden::read(name);
        let graph = golden.graph();
        let symmetry = Symmetry::resolve(discover(&graph).spec(), &golden.params).unwrap();
        let names: Vec<&str> = symmetry.groups().iter().map(|group| group.name.as_str()).collect();
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
    // Streams with LayerNorms, and RMSNorms, before what reads them turn, and units of values, and of queries and keys; linear gates
    // have a sign; heads, units behind a function, and streams that a gain or a function stands in, only change places.
    for (name, expected) in [
        ("vit", [1, 4, 0, 4]),
        ("deit", [1, 4, 0, 4]),
        ("vit-plain", [0, 4, 0, 4]),
        ("bert", [0, 4, 0, 4]),
        ("bert-classes", [0, 4, 0, 6]),
        // A head that is no longer tied has units of its own.
        ("bert-fill", [0, 4, 0, 6]),
        ("roberta-fill", [0, 4, 0, 6]),
        ("distilbert-fill", [0, 4, 0, 6]),
        ("clip", [1, 9, 0, 9]),
        ("clip-text", [1, 4, 0, 4]),
        ("clip-vision", [0, 4, 0, 5]),
        ("t5", [0, 13, 0, 8]),
        ("t5-gated", [0, 11, 3, 4]),
        ("t5-encoder", [0, 4, 0, 3]),
        ("whisper", [1, 12, 0, 12]),
    ] {
        let golden = Golden::read(name);
        let form = canonical(&golden.graph(), &golden.params).unwrap();
        let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
        let count = |kind| kinds.symmetry.groups().iter().filter(|g| kinds.named(&g.name) == Some(kind)).count();
        let found = [Kind::Centred, Kind::Orthogonal, Kind::Signed, Kind::Permutation].map(count);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_not_built_is_named() {
    let refused = |name: &str, key: &str, value: serde_json::Value, part: &str| {
        let config = Golden::read(name).config.with(key, value);
        let error = family(&config, LENGTH).unwrap_err().to_string();
        assert!(error.starts_with("config.json: ") && error.contains(part), "{name} {key}: {error}");
    };
    let heads = "heads do not share evenly";
    refused(
        "vit",
        "architectures",
        json!(["ViTForMaskedImageModeling"]),
        "built are ViTForImageClassification, ViTModel",
    );
    refused("vit", "image_size", json!(3), "patches of [4, 4] do not fit into");
    refused("vit", "image_size", json!([8, 8, 8]), "image_size should be one or two whole numbers");
    refused("vit", "num_attention_heads", json!(3), heads);
    refused("vit", "hidden_act", json!("sine"), "`sine`");
    refused("vit", "id2label", json!({}), "id2label should be names of classes");
    refused("bert", "position_embedding_type", json!("relative_key"), "relative_key");
    refused("bert", "is_decoder", json!(true), "is_decoder is true, and only false is built");
    refused("bert", "pruned_heads", json!({"0": [1]}), "pruned_heads");
    refused("bert", "architectures", json!(["BertForQuestionAnswering"]), "BertForQuestionAnswering");
    refused("bert-fill", "tie_word_embeddings", json!(false), "tie_word_embeddings is false");
    refused("roberta", "max_position_embeddings", json!(13), "it has 11 positions, and 12 are asked for");
    refused("distilbert", "n_heads", json!(3), heads);
    refused("clip", "text_config", json!(7), "text_config should be an object");
    refused("clip-text", "eos_token_id", json!([1, 2]), "eos_token_id");
    refused("t5", "relative_attention_num_buckets", json!(3), "relative_attention_num_buckets is 3");
    refused("t5", "relative_attention_max_distance", json!(2), "relative_attention_max_distance 2");
    refused("t5", "feed_forward_proj", json!("gated-sine"), "`sine`");
    refused("t5", "is_decoder", json!(true), "is_decoder");
    refused("whisper", "scale_embedding", json!(true), "scale_embedding");
    refused("whisper", "max_target_positions", json!(11), "has 11 rows");
    refused("whisper", "architectures", json!(["WhisperForAudioClassification"]), "WhisperForAudioClassification");
}
