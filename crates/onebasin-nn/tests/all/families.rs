//! Families of transformers compute what transformers computes, and what is found of them leaves it as it is.

use std::path::Path;

use onebasin_core::Params;
use onebasin_core::symmetry::{Symmetry, discover};
use onebasin_nn::check::{CheckOptions, check};
use onebasin_nn::exec::{Program, Wants, Workspace};
use onebasin_nn::family::{Config, family, step};
use onebasin_nn::{GenerateOptions, generate};

pub(crate) const NETWORKS: &[&str] = &[
    "gpt2",
    "gpt2-plain",
    "llama",
    "llama-bias",
    "mistral",
    "qwen2",
    "qwen3",
    "mistral-window",
    "qwen2-window",
    "llama-linear",
    "llama-dynamic",
    "llama-llama3",
    "llama-yarn",
    "llama-yarn-scaled",
    "gemma",
    "gemma2",
    "gemma2-plain",
    "gemma3_text",
    "phi3",
    "phi3-longrope",
    "phi3-long",
    "mixtral",
    "qwen2_moe",
    "qwen2_moe-mixed",
    "qwen3_moe",
    "qwen3_moe-mixed",
    "gpt_neox",
    "gpt_neox-serial",
    "opt",
    "opt-behind",
    "bloom",
    "bloom-three",
    "olmo2",
    "starcoder2",
    "starcoder2-plain",
    "phi",
    "phi-tied",
];

/// A network's tensors, tokens, what transformers computes, and its configuration.
pub(crate) fn golden(name: &str) -> (Params, Vec<f32>, Vec<f32>, Config) {
    let path = Path::new("tests/goldens/families").join(format!("{name}.safetensors"));
    let read = onebasin_io::read(&path).unwrap();
    let config = Config::parse(read.metadata.get("config").unwrap()).unwrap();
    let take = |name: &str| read.params.require(name).unwrap().to_f64().unwrap().iter().map(|v| *v as f32).collect();
    let (tokens, logits) = (take("input_ids"), take("logits"));
    let weights = read.params.iter().filter(|(name, _)| !["input_ids", "logits"].contains(name));
    (weights.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect(), tokens, logits, config)
}

#[test]
fn logits_are_those_of_transformers() {
    for name in NETWORKS {
        let (params, tokens, expected, config) = golden(name);
        let graph = family(&config, 16).unwrap().with_batch(2).unwrap();
        let names: Vec<&str> = graph.params().map(|p| p.name.as_str()).collect();
        assert!(params.names().all(|own| names.contains(&own)), "{name}: {names:?}");
        let program = Program::<f32>::new(graph).unwrap();
        let mut space = Workspace::new(&program, 2, Wants::default()).unwrap();
        space.input(0).copy_from_slice(&tokens);
        program.forward(&program.flatten(&params).unwrap(), &mut space);
        let largest = expected.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        assert_eq!(space.output().len(), expected.len(), "{name}");
        let far = space.output().iter().zip(&expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(far <= 1e-5 * largest, "{name}: {far} of {largest}");
    }
}

/// What a network answers at every position of one text, written step by step.
fn in_steps(config: &Config, params: &Params, tokens: &[f32]) -> Vec<f32> {
    let (mut past, mut all): (Vec<Vec<f32>>, Vec<f32>) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let program = Program::<f32>::new(step(config, at).unwrap()).unwrap();
        let mut space = Workspace::new(&program, 1, Wants::default()).unwrap();
        let mut inputs = space.inputs();
        inputs[0][0] = *token;
        inputs.iter_mut().skip(1).zip(&past).for_each(|(input, kept)| input.copy_from_slice(kept));
        program.forward(&program.flatten(params).unwrap(), &mut space);
        all.extend_from_slice(space.outputs()[0]);
        let shapes: Vec<&[usize]> = program.graph().outputs().iter().map(|v| program.graph().shape(*v)).collect();
        let outputs = space.outputs();
        let kept = outputs.iter().zip(&shapes).enumerate().skip(1).map(|(k, (own, shape))| {
            let (heads, units) = (shape[1], shape[3]);
            let before = past.get(k - 1).map_or(&[][..], |kept| &kept[..]);
            let row = |h: usize| [&before[h * at * units..][..at * units], &own[h * units..][..units]].concat();
            (0..heads).flat_map(row).collect()
        });
        past = kept.collect();
    }
    all
}

#[test]
fn steps_write_what_the_whole_graph_answers() {
    // One answers no logits; of another, what is written first turns as short texts do, and the whole as a long one.
    let left_out = ["gpt2-plain", "gemma2-plain", "bloom-three", "phi3-long"];
    for name in NETWORKS.iter().filter(|name| !left_out.contains(name)) {
        let (params, tokens, expected, config) = golden(name);
        let found = in_steps(&config, &params, &tokens[..tokens.len() / 2]);
        let expected = &expected[..expected.len() / 2];
        let largest = expected.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        assert_eq!(found.len(), expected.len(), "{name}");
        let far = found.iter().zip(expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(far <= 1e-5 * largest, "{name}: {far} of {largest}");
    }
}

#[test]
fn a_text_is_the_same_whatever_is_written_beside_it() {
    let (params, _, _, config) = golden("llama");
    let write = |samples| {
        let options = GenerateOptions { samples, length: 9, ..GenerateOptions::default() };
        generate(&|past| step(&config, past), &params, &options, &mut |_| true).unwrap()
    };
    let (few, many) = (write(3), write(70));
    assert_eq!((few.len(), many.len()), (27, 630));
    assert_eq!(few, many[..27]);
    let mut seen = many;
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn what_may_be_exchanged_leaves_the_function_as_it_is() {
    let stream = 1;
    for (names, groups) in [
        // Of every layer units of its feed-forward, heads (of keys, and of the queries that share one), units of its values, and where
        // positions do not turn them, of queries and keys.
        (&["gpt2", "opt", "opt-behind"][..], stream + 2 * 4),
        (&["llama", "qwen2", "qwen2-window", "qwen3", "gemma2", "gemma3_text", "olmo2", "starcoder2"], stream + 2 * 4),
        // As many heads of queries as of keys, or one of keys.
        (
            &["llama-bias", "llama-linear", "llama-dynamic", "llama-llama3", "llama-yarn", "llama-yarn-scaled"],
            stream + 2 * 3,
        ),
        (&["mistral", "mistral-window", "gemma", "phi3-longrope", "phi3-long", "gpt_neox-serial"], stream + 2 * 3),
        (&["starcoder2-plain", "phi-tied"], stream + 2 * 3),
        // Positions turn a part of the units of queries and keys, and the others are free.
        (&["phi", "phi3", "gpt_neox"], stream + 2 * 4),
        // Heads are told apart by how fast their scores fall, and have the same order of units.
        (&["bloom"], stream + 2 * 3),
        // What is read is the stream.
        (&["gpt2-plain"], 4),
        (&["gemma2-plain"], 2 * 4),
        (&["bloom-three"], 2 * 3),
        // Experts and units of each beside that.
        (&["mixtral", "qwen3_moe"], stream + 2 * 5),
        // And units of the expert that is always there.
        (&["qwen2_moe"], stream + 2 * 6),
        // One layer of two has experts.
        (&["qwen2_moe-mixed"], stream + 6 + 4),
        (&["qwen3_moe-mixed"], stream + 5 + 4),
    ] {
        for name in names {
            let (params, _, _, config) = golden(name);
            let graph = family(&config, 16).unwrap();
            let symmetry = Symmetry::resolve(discover(&graph).spec(), &params).unwrap();
            let found: Vec<&str> = symmetry.groups().iter().map(|group| group.name.as_str()).collect();
            assert_eq!(found.len(), groups, "{name}: {found:?}");
            let program = Program::new(graph).unwrap();
            let found = check(&program, &params, &symmetry, &CheckOptions::default()).unwrap();
            assert!(found.passes(), "{name}: {found}");
        }
    }
}

/// What was written before there were `rope_parameters` says the same.
#[test]
fn rotary_positions_are_read_where_they_are_said() {
    let same = |name: &str, before: &str, after: &str| {
        let (_, _, _, config) = golden(name);
        let with = |config: Config, entries: &str| {
            let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(entries).unwrap();
            entries.into_iter().fold(config, |config, (key, value)| config.with(&key, value))
        };
        let graph = |entries| family(&with(config.clone(), entries), 8).unwrap();
        assert_eq!(graph(before), graph(after), "{name}");
        assert_ne!(graph(before), family(&config, 8).unwrap(), "{name}");
    };
    same(
        "llama",
        r#"{"rope_parameters": null, "rope_theta": 77.0, "rope_scaling": {"type": "linear", "factor": 3.0}}"#,
        r#"{"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 77.0}}"#,
    );
    same(
        "gemma3_text",
        r#"{"rope_parameters": null, "rope_theta": 77.0, "rope_local_base_freq": 5.0, "rope_scaling": {"rope_type": "linear", "factor": 3.0}}"#,
        r#"{"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 3.0, "rope_theta": 77.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 5.0}}}"#,
    );
    same(
        "gpt_neox",
        r#"{"rope_parameters": null, "rotary_emb_base": 77, "rotary_pct": 0.25}"#,
        r#"{"rope_parameters": {"rope_theta": 77.0, "partial_rotary_factor": 0.25}}"#,
    );
    let longrope = |kind: &str| {
        format!(
            r#"{{"rope_parameters": {{"rope_type": "{kind}", "short_factor": [1, 2, 3, 4], "long_factor": [5, 6, 7, 8], "rope_theta": 7.0}}}}"#
        )
    };
    same("phi3-longrope", &longrope("su"), &longrope("longrope"));
}

#[test]
fn what_is_not_built_is_named() {
    let refused = |config: &str, part: &str| {
        let error = Config::parse(config).and_then(|config| family(&config, 8)).unwrap_err().to_string();
        assert!(error.starts_with("config.json: ") && error.contains(part), "{error}");
    };
    refused("[]", "no object");
    refused("{", "no JSON");
    refused("{}", "model_type");
    refused(r#"{"model_type": "mamba"}"#, "known are gpt2, llama");
    let gpt2 = |more: &str| {
        format!(r#"{{"model_type": "gpt2", "vocab_size": 5, "n_embd": 8, "n_positions": 9, "n_layer": 1{more}}}"#)
    };
    refused(&gpt2(""), "n_head should be a whole number above 0, found nothing");
    refused(&gpt2(r#", "n_head": 0"#), "found `0`");
    refused(&gpt2(r#", "n_head": 3, "activation_function": "relu""#), "3 heads");
    refused(&gpt2(r#", "n_head": 2, "activation_function": "sine""#), "`sine`");
    refused(&gpt2(r#", "n_head": 2, "scale_attn_by_inverse_layer_idx": true"#), "only false is built");
    refused(&gpt2(r#", "n_head": 2"#).replace("\"n_layer\": 1", "\"n_layer\": 9999999"), "1024 are built at most");
    let head = r#", "n_head": 2, "activation_function": "relu", "architectures": ["GPT2ForSequenceClassification"]"#;
    refused(&gpt2(head), "GPT2ForSequenceClassification");
    let llama = r#"{"model_type": "llama", "vocab_size": 5, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8,
        "num_attention_heads": 2, "rope_scaling": {"rope_type": "spiral"}}"#;
    refused(llama, "`spiral`");
    let more = |entry: &str| llama.replace(r#""rope_scaling": {"rope_type": "spiral"}"#, entry);
    refused(&more(r#""partial_rotary_factor": 0.5"#), "only a part of its units");
    refused(&more(r#""rope_parameters": {"partial_rotary_factor": 0.5}"#), "only a part of its units");
    let wide = llama.replace(r#""rope_scaling": {"rope_type": "spiral"}"#, r#""head_dim": 9999998"#);
    refused(&wide, "of 9999998 units each, do not fit");
    let of = |kind: &str, more: &str| {
        llama.replace("llama", kind).replace(r#""rope_scaling": {"rope_type": "spiral"}"#, more)
    };
    refused(
        &of("llama", r#""rope_scaling": {"rope_type": "linear", "factor": 0}"#),
        "factor should be a number above 0",
    );
    refused(&of("llama", r#""rope_scaling": 3"#), "rope_scaling should be an object, found `3`");
    let llama3 = r#""rope_scaling": {"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 8}"#;
    refused(&of("llama", llama3), "low_freq_factor should be a number above 0, found nothing");
    let longrope =
        r#""rope_scaling": {"type": "longrope", "factor": 2, "short_factor": [1]}, "max_position_embeddings": 99"#;
    refused(&of("phi3", longrope), "short_factor should be a list of 2 numbers above 0");
    refused(&of("phi3", r#""rope_scaling": {"type": "linear", "factor": 2}"#), "type is `linear`");
    refused(&of("gemma", r#""use_bidirectional_attention": true"#), "use_bidirectional_attention is true");
    refused(&of("gemma2", r#""layer_types": ["full_attention", "full_attention"]"#), "layer_types are 2, and layers 1");
    refused(&of("gemma3_text", r#""layer_types": ["chunked"]"#), "\"chunked\"");
    refused(&of("gemma2", r#""head_dim": 4"#), "sliding_window should be");
    let experts = r#""num_experts": 2, "num_experts_per_tok": 3, "moe_intermediate_size": 4"#;
    refused(&of("qwen3_moe", experts), "3 of 2 experts");
    let experts = r#""num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 4, "mlp_only_layers": [-1]"#;
    refused(&of("qwen3_moe", experts), "mlp_only_layers should be a list of whole numbers");
    let opt = |more: &str| of("opt", &format!(r#""ffn_dim": 8, "max_position_embeddings": 9, {more}"#));
    refused(&opt(r#""word_embed_proj_dim": 4"#), "word_embed_proj_dim is 4, and only 8 is built");
    refused(&opt(r#""layer_norm_elementwise_affine": false"#), "layer_norm_elementwise_affine is false");
    refused(&of("phi", r#""qk_layernorm": true"#), "qk_layernorm is true");
    let few = |length| family(&Config::parse(&gpt2(r#", "n_head": 2"#)).unwrap(), length);
    assert!(few(9).is_ok() && few(10).unwrap_err().to_string().contains("9 positions, and 10 are asked for"));
}
