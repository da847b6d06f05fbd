//! Folders of Hugging Face: their configuration says what network they hold, and goes along when one is written.

use std::fs;
use std::path::Path;

use onebasin::core::stream::Stream;
use onebasin::{Align, Alignment, Blueprint, Context, Merge, Model, Pair, Params};
use onebasin_io::{Metadata, read, write};

/// A golden network of `onebasin-nn` in a folder, as `save_pretrained` leaves one; its tensors.
fn folder(at: &Path, name: &str) -> Params {
    let golden = Path::new("../onebasin-nn/tests/goldens/families").join(format!("{name}.safetensors"));
    let found = read(&golden).unwrap();
    let weights = found.params.iter().filter(|(name, _)| !["input_ids", "logits"].contains(name));
    let params: Params = weights.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    save(at, &params, found.metadata.get("config").unwrap());
    params
}

fn save(at: &Path, params: &Params, config: &str) {
    fs::create_dir(at).unwrap();
    write(&at.join("model.safetensors"), params, &Metadata::default()).unwrap();
    fs::write(at.join("config.json"), config).unwrap();
    fs::write(at.join("tokenizer.json"), "{}").unwrap();
}

#[test]
fn two_folders_merge_into_a_third_that_libraries_open() {
    for name in ["gpt2", "llama", "qwen3"] {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let a = folder(&at("a"), name);
        let model = Model::open(at("a"), &Blueprint::default()).unwrap();
        assert!(model.runs() && model.remarks()[0].contains("config.json"), "{:?}", model.remarks());
        let symmetry = model.symmetry().unwrap();
        let planted = Alignment::random(&symmetry, &mut Stream::new(0, "planted"));
        let config = fs::read_to_string(at("a/config.json")).unwrap();
        save(&at("b"), &planted.apply(&symmetry, &a).unwrap(), &config);

        let pair = Pair::open(at("a"), at("b"), &Blueprint::default()).unwrap();
        let aligned = pair.align(&Align::default(), &Context::default()).unwrap();
        pair.merge(&aligned, &Merge::default(), &Context::default()).unwrap().write(at("merged")).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(at("merged")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["README.md", "config.json", "model.safetensors", "tokenizer.json"], "{name}");
        assert_eq!(fs::read_to_string(at("merged/config.json")).unwrap(), config);
        let merged = read(&at("merged")).unwrap();
        assert_eq!(merged.params, a, "{name}");
        assert_eq!(merged.metadata.get("format"), Some("pt"));
    }
}

#[test]
fn a_family_that_is_not_known_and_one_that_does_not_fit_are_said() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let a = folder(&at("a"), "gpt2");
    save(&at("mamba"), &a, r#"{"model_type": "mamba"}"#);
    let model = Model::open(at("mamba"), &Blueprint::default()).unwrap();
    assert!(!model.runs() && model.remarks()[0].contains("`mamba`"), "{:?}", model.remarks());
    let config = fs::read_to_string(at("a/config.json")).unwrap();
    save(&at("larger"), &a, &config.replace("\"n_embd\": 12", "\"n_embd\": 24"));
    let error = Model::open(at("larger"), &Blueprint::default()).unwrap_err().to_string();
    assert!(error.contains("larger") && error.contains("wte"), "{error}");
    save(&at("strange"), &a, r#"{"model_type": "gpt2", "n_embd": "wide"}"#);
    let error = Model::open(at("strange"), &Blueprint::default()).unwrap_err().to_string();
    assert!(error.contains("strange: config.json: n_embd should be"), "{error}");
}
