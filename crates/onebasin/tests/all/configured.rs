//! What lies in a folder of Hugging Face and its configuration does not tell, or tells otherwise: said, refused, or done right.

use std::fs;
use std::path::Path;

use onebasin::{Align, Blueprint, Context, Error, Merge, Method, Model, Pair, Params, Tensor};
use onebasin_io::{Metadata, read, write};
use serde_json::{Value, json};

/// The tensors of a golden network, and its configuration.
fn golden(name: &str) -> (Params, Value) {
    let golden = Path::new("../onebasin-nn/tests/goldens/families").join(format!("{name}.safetensors"));
    let found = read(&golden).unwrap();
    let is_given = |name: &str| name.starts_with("input") || name.starts_with("output") || name == "logits";
    let weights = found.params.iter().filter(|(name, _)| !is_given(name));
    let params = weights.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    (params, serde_json::from_str(found.metadata.get("config").unwrap()).unwrap())
}

fn save(at: &Path, params: &Params, config: &Value) {
    fs::create_dir(at).unwrap();
    write(&at.join("model.safetensors"), params, &Metadata::default()).unwrap();
    fs::write(at.join("config.json"), config.to_string()).unwrap();
}

fn open(at: &Path) -> Result<Model, Error> {
    Model::open(at, &Blueprint::default())
}

/// The same numbers in another order, so that they are no copy.
fn reversed(tensor: &Tensor) -> Tensor {
    let values: Vec<f64> = tensor.to_f64().unwrap().iter().rev().copied().collect();
    Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap()
}

#[test]
fn what_graphs_of_few_positions_do_not_tell_is_said() {
    let room = tempfile::tempdir().unwrap();
    let (params, config) = golden("mistral");
    for (name, window) in [("a", json!(4096)), ("b", json!(null)), ("c", json!(8192))] {
        let mut config = config.clone();
        config["sliding_window"] = window;
        config["max_position_embeddings"] = json!(1 << 14);
        save(&room.path().join(name), &params, &config);
    }
    let said = |b: &str| {
        let pair = Pair::open(room.path().join("a"), room.path().join(b), &Blueprint::default()).unwrap();
        pair.a().remarks().iter().any(|text| text.contains("differ in `sliding_window` (4096, "))
    };
    assert!(said("b") && said("c") && !said("a"));
    // Entries that differ only where they are too long to be shown differ all the same.
    let factors = |last: f64| json!([vec![1.0; 40], vec![last]].concat());
    for (name, last) in [("d", 1.0), ("e", 2.0)] {
        let mut config = config.clone();
        config["some_factors"] = factors(last);
        save(&room.path().join(name), &params, &config);
    }
    let pair = Pair::open(room.path().join("d"), room.path().join("e"), &Blueprint::default()).unwrap();
    assert!(pair.a().remarks().iter().any(|text| text.contains("differ in `some_factors`")));
}

#[test]
fn classes_in_another_order_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let (params, config) = golden("llama");
    for (name, labels) in [("a", ["neg", "pos"]), ("b", ["pos", "neg"]), ("c", ["no", "yes"])] {
        let mut config = config.clone();
        config["id2label"] = json!({ "0": labels[0], "1": labels[1] });
        save(&room.path().join(name), &params, &config);
    }
    let pair = |b: &str| Pair::open(room.path().join("a"), room.path().join(b), &Blueprint::default());
    assert!(matches!(pair("b"), Err(Error::Labels { .. })));
    assert!(pair("c").unwrap().a().remarks().iter().any(|text| text.contains("`id2label`")));
}

#[test]
fn a_head_that_is_not_the_embedding_is_the_head_whatever_is_configured() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let (mut params, mut config) = golden("gpt2");
    config["tie_word_embeddings"] = json!(true);
    params.insert("lm_head.weight", reversed(params.require("transformer.wte.weight").unwrap()));
    save(&at("a"), &params, &config);
    let model = open(&at("a")).unwrap();
    assert!(model.params().get("lm_head.weight").is_some() && model.rest().is_empty());
    // It counts: without it the network computes something else.
    let mut tied = params.clone();
    tied.insert("lm_head.weight", params.require("transformer.wte.weight").unwrap().clone());
    save(&at("b"), &tied, &config);
    let copy = open(&at("b")).unwrap();
    assert!(copy.params().get("lm_head.weight").is_none() && copy.rest().is_empty());
    assert!(copy.remarks().iter().any(|text| text.contains("stored twice")), "{:?}", copy.remarks());
    let pair = Pair::open(at("a"), at("a"), &Blueprint::default()).unwrap();
    let none = Align { method: Method::None, ..Align::default() };
    let aligned = pair.align(&none, &Context::default()).unwrap();
    pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().write(at("out")).unwrap();
    assert_eq!(read(&at("out")).unwrap().params, params);
    assert!(fs::read_to_string(at("out/config.json")).unwrap().contains("\"tie_word_embeddings\": false"));
}

#[test]
fn a_t5_whose_head_becomes_its_own_keeps_what_it_computes() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let (mut params, mut config) = golden("t5");
    let map = config.as_object_mut().unwrap();
    map.remove("tie_word_embeddings");
    map.remove("scale_decoder_outputs");
    params =
        params.iter().filter(|(name, _)| *name != "lm_head.weight").map(|(n, t)| (n.to_owned(), t.clone())).collect();
    // Older files store the table three times.
    let table = params.require("shared.weight").unwrap().clone();
    let mut thrice = params.clone();
    thrice.insert("encoder.embed_tokens.weight", table.clone());
    thrice.insert("decoder.embed_tokens.weight", table);
    save(&at("a"), &thrice, &config);
    let other = params.iter().map(|(name, tensor)| {
        let values: Vec<f64> = tensor.to_f64().unwrap().iter().map(|v| v * 1.25).collect();
        (name.to_owned(), Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap())
    });
    save(&at("b"), &other.collect(), &config);
    let pair = Pair::open(at("a"), at("b"), &Blueprint::default()).unwrap();
    let orthogonal = Align { method: Method::Orthogonal, ..Align::default() };
    let aligned = pair.align(&orthogonal, &Context::default()).unwrap();
    pair.merge(&aligned, &Merge { lambda: 1.0, ..Merge::default() }, &Context::default())
        .unwrap()
        .write(at("out"))
        .unwrap();
    let written: Value = serde_json::from_str(&fs::read_to_string(at("out/config.json")).unwrap()).unwrap();
    let (out, b) = (open(&at("out")).unwrap(), open(&at("b")).unwrap());
    let own = out.params().get("lm_head.weight").is_some();
    assert_eq!(own, written["tie_word_embeddings"] == json!(false));
    assert_eq!(own, written["scale_decoder_outputs"] == json!(true));
    assert!(own, "{:?}", out.params().names().collect::<Vec<_>>());
    let programs = [b.program().unwrap(), out.program().unwrap()];
    let ends = [(&programs[0], b.params()), (&programs[1], out.params())];
    let same = onebasin::nn::compare_graphs(ends[0], ends[1], &onebasin::nn::CheckOptions::default()).unwrap();
    assert!(same.passes(), "{same}");
}

#[test]
fn norms_may_have_their_old_names_and_keep_them() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let (params, config) = golden("bert");
    let old =
        |name: &str| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    let params: Params = params.iter().map(|(name, tensor)| (old(name), tensor.clone())).collect();
    save(&at("a"), &params, &config);
    let pair = Pair::open(at("a"), at("a"), &Blueprint::default()).unwrap();
    assert!(pair.a().runs());
    let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
    pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().write(at("out")).unwrap();
    assert_eq!(read(&at("out")).unwrap().params, params);
}

#[test]
fn an_adapter_is_no_network() {
    let room = tempfile::tempdir().unwrap();
    fs::write(room.path().join("adapter_config.json"), "{}").unwrap();
    let (params, _) = golden("gpt2");
    write(&room.path().join("adapter_model.safetensors"), &params, &Metadata::default()).unwrap();
    let found = open(room.path());
    let said = found.map_err(|error| error.to_string()).unwrap_err();
    assert!(said.contains("it is an adapter"), "{said}");
}
