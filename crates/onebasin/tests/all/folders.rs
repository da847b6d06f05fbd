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

/// A pair of networks that have nothing in common: a golden one, and the same with other numbers.
fn strangers(room: &Path, name: &str) -> Pair {
    let a = folder(&room.join("a"), name);
    let mut stream = Stream::new(1, "stranger");
    let other = |(name, tensor): (&str, &onebasin::Tensor)| {
        let values: Vec<f64> = tensor.to_f64().unwrap().iter().map(|v| v + 0.3 * stream.normal()).collect();
        (name.to_owned(), onebasin::Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap())
    };
    let turned: Params = a.iter().map(other).collect();
    save(&room.join("b"), &turned, &fs::read_to_string(room.join("a/config.json")).unwrap());
    Pair::open(room.join("a"), room.join("b"), &Blueprint::default()).unwrap()
}

#[test]
fn strangers_are_turned_and_what_is_written_computes_what_they_did() {
    for name in ["gpt2", "llama", "qwen2", "qwen3"] {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let (pair, context) = (strangers(room.path(), name), Context::default());
        let options = Align { method: onebasin::Method::Orthogonal, ..Align::default() };
        let aligned = pair.align(&options, &context).unwrap();
        aligned.write(at("alignment.safetensors"), &pair).unwrap();
        let again = onebasin::Aligned::read(at("alignment.safetensors"), pair.b()).unwrap();
        assert_eq!(aligned.turned, again.turned, "{name}");
        // λ = 1 is B in A's frame: it computes what B does.
        let end = Merge { lambda: 1.0, ..Merge::default() };
        pair.merge(&again, &end, &context).unwrap().write(at("end")).unwrap();
        let (end, b) = (Model::open(at("end"), &Blueprint::default()).unwrap(), pair.b());
        let programs = [end.program().unwrap(), b.program().unwrap()];
        let of = [(&programs[0], end.params()), (&programs[1], b.params())];
        let found = onebasin::nn::compare_graphs(of[1], of[0], &onebasin::nn::CheckOptions::default()).unwrap();
        assert!(found.passes(), "{name}: {found}");
        let tied = fs::read_to_string(at("a/config.json")).unwrap().contains("\"tie_word_embeddings\": true");
        let config = fs::read_to_string(at("end/config.json")).unwrap();
        assert!(!tied || config.contains("\"tie_word_embeddings\": false"), "{name}: {config}");
        // What only understands permutations says so.
        assert!(matches!(aligned.apply(b.params()), Err(onebasin::Error::Turns { .. })), "{name}");
        let undone = onebasin::Apply { inverse: true, ..onebasin::Apply::default() };
        assert!(onebasin::apply(&again, b, at("undone"), &undone, &context).is_err());
        onebasin::apply(&again, b, at("moved"), &onebasin::Apply::default(), &context).unwrap();
        assert_eq!(read(&at("moved")).unwrap().params, read(&at("end")).unwrap().params, "{name}");
    }
}

#[test]
fn networks_that_cannot_be_held_are_merged_part_by_part_to_the_same_bits() {
    for name in ["gpt2", "llama", "qwen2"] {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let (held, context) = (strangers(room.path(), name), Context::default());
        let weights = held.a().params().element_count() as u64;
        let little = Blueprint { memory: Some(40 * weights - 1), ..Blueprint::default() };
        let pair = Pair::open(at("a"), at("b"), &little).unwrap();
        let by_weights = Align { method: onebasin::Method::Orthogonal, ..Align::default() };
        let state = at("state.safetensors");
        let parts = Align { state: Some(state.clone()), ..Align::default() };
        let aligned = pair.align(&parts, &context).unwrap();
        assert_eq!(aligned.turned, held.align(&by_weights, &context).unwrap().turned, "{name}");
        let options = Merge { lambda: 0.3, ..Merge::default() };
        held.merge(&aligned, &options, &context).unwrap().write(at("held")).unwrap();
        aligned.write(at("alignment.safetensors"), &pair).unwrap();
        let again = onebasin::Aligned::read(at("alignment.safetensors"), pair.b()).unwrap();
        pair.merge(&again, &options, &context).unwrap().write(at("merged")).unwrap();
        assert_eq!(read(&at("merged")).unwrap().params, read(&at("held")).unwrap().params, "{name}");
        let apply = onebasin::Apply::default();
        onebasin::apply(&again, held.b(), at("moved"), &apply, &context).unwrap();
        onebasin::apply(&again, pair.b(), at("by parts"), &apply, &context).unwrap();
        assert_eq!(read(&at("by parts")).unwrap().params, read(&at("moved")).unwrap().params, "{name}");
        let solved = Merge { repair: onebasin::Repair::Solve, ..options };
        let refused = pair.merge(&again, &solved, &context).unwrap_err().to_string();
        assert!(refused.contains("networks that fit into memory"), "{refused}");
        // A number that is none is named where it is met.
        let mut spoilt = read(&at("b")).unwrap().params;
        let (of, tensor) = spoilt.iter().max_by_key(|(_, t)| t.len()).map(|(n, t)| (n.to_owned(), t.clone())).unwrap();
        let mut values = tensor.to_f64().unwrap().into_owned();
        values[0] = f64::INFINITY;
        spoilt.insert(&of[..], onebasin::Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap());
        save(&at("spoilt"), &spoilt, &fs::read_to_string(at("a/config.json")).unwrap());
        let pair = Pair::open(at("a"), at("spoilt"), &little).unwrap();
        let forced = Merge { force: true, lambda: 0.3, ..Merge::default() };
        let merged = pair.merge(&again, &forced, &context).and_then(|merged| merged.write(at("spoilt merged")));
        assert!(merged.is_err() && !at("spoilt merged").exists(), "{name}");
    }
}

#[test]
fn language_models_are_solved_on_text_that_they_write() {
    let room = tempfile::tempdir().unwrap();
    let (pair, context) = (strangers(room.path(), "llama"), Context::default());
    let aligned = pair.align(&Align { method: onebasin::Method::Activation, ..Align::default() }, &context).unwrap();
    let options = Merge { repair: onebasin::Repair::Solve, ..Merge::default() };
    let written = pair.merge(&aligned, &options, &context).unwrap().write(room.path().join("merged")).unwrap();
    let solved = written.solved.unwrap();
    assert_eq!((solved.samples, solved.name.as_str()), (256, "text that the networks wrote"));
    let explained = |profile: &onebasin::nn::Profile| profile.outputs[0].explained;
    assert!(explained(&solved.after) > explained(&solved.before), "{solved}");
}

#[test]
fn a_merge_of_tied_networks_goes_with_them() {
    let room = tempfile::tempdir().unwrap();
    let (pair, context) = (strangers(room.path(), "gpt2"), Context::default());
    let aligned = pair.align(&Align { method: onebasin::Method::Orthogonal, ..Align::default() }, &context).unwrap();
    pair.merge(&aligned, &Merge::default(), &context).unwrap().write(room.path().join("merged")).unwrap();
    let open = |name: &str| Model::open(room.path().join(name), &Blueprint::default()).unwrap();
    // Nothing was tuned, so what is carried to it is it, whatever its head is.
    for method in [onebasin::Method::Orthogonal, onebasin::Method::Weight] {
        let options = onebasin::Rebase { align: Align { method, ..Align::default() }, ..onebasin::Rebase::default() };
        let made = onebasin::rebase(open("a"), open("merged"), &[open("a")], &options, &context).unwrap();
        made.write(room.path().join(method.name()), &context).unwrap();
        let [new, carried] = ["merged", method.name()].map(open);
        let programs = [&new, &carried].map(|model| model.program().unwrap());
        let same = onebasin::nn::compare_graphs(
            (&programs[0], new.params()),
            (&programs[1], carried.params()),
            &onebasin::nn::CheckOptions::default(),
        );
        assert!(same.unwrap().passes(), "{method:?}");
    }
    for (one, other) in [("a", "merged"), ("merged", "b")] {
        let pair = Pair::open(room.path().join(one), room.path().join(other), &Blueprint::default()).unwrap();
        let still = Align { method: onebasin::Method::None, ..Align::default() };
        let aligned = pair.align(&still, &context).unwrap();
        let end = Merge { lambda: 0.0, ..Merge::default() };
        let at = room.path().join(format!("{one}-{other}"));
        pair.merge(&aligned, &end, &context).unwrap().write(&at).unwrap();
        let (found, first) =
            [&at, &room.path().join(one)].map(|path| Model::open(path, &Blueprint::default()).unwrap()).into();
        let programs = [first.program().unwrap(), found.program().unwrap()];
        let same = onebasin::nn::compare_graphs(
            (&programs[0], first.params()),
            (&programs[1], found.params()),
            &onebasin::nn::CheckOptions::default(),
        );
        assert!(same.unwrap().passes(), "{one} and {other}");
    }
}

#[test]
fn a_change_is_carried_to_another_base() {
    let room = tempfile::tempdir().unwrap();
    let (pair, context) = (strangers(room.path(), "llama"), Context::default());
    let open = |name: &str| Model::open(room.path().join(name), &Blueprint::default()).unwrap();
    // From a base to itself, all of a fine-tune arrives.
    let made = onebasin::rebase(open("a"), open("a"), &[open("b")], &onebasin::Rebase::default(), &context).unwrap();
    for (name, tensor) in made.params().iter() {
        let (found, tuned) = (tensor.to_f64().unwrap(), pair.b().params().require(name).unwrap().to_f64().unwrap());
        assert!(found.iter().zip(&*tuned).all(|(x, y)| (x - y).abs() < 1e-5), "{name}");
    }
    // To a stranger, something that runs.
    let carried = onebasin::Rebase { scale: 0.5, ..onebasin::Rebase::default() };
    let made = onebasin::rebase(open("a"), open("b"), &[open("a")], &carried, &context).unwrap();
    made.write(room.path().join("carried"), &context).unwrap();
    let found = Model::open(room.path().join("carried"), &Blueprint::default()).unwrap();
    // Nothing was tuned, so it is the new base.
    let programs = [found.program().unwrap(), pair.b().program().unwrap()];
    let same = onebasin::nn::compare_graphs(
        (&programs[1], pair.b().params()),
        (&programs[0], found.params()),
        &onebasin::nn::CheckOptions::default(),
    );
    assert!(same.unwrap().passes());
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
