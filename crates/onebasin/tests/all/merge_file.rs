//! Merges that files of mergekit's describe.

use std::fs;
use std::path::Path;

use onebasin::core::stream::Stream;
use onebasin::nn::{CheckOptions, compare_graphs};
use onebasin::{Align, Blueprint, Context, MergeFile, Method, Model, Params, Tensor};
use onebasin_io::{Metadata, read, write};

fn save(at: &Path, params: &Params, config: &str) {
    fs::create_dir(at).unwrap();
    write(&at.join("model.safetensors"), params, &Metadata::default()).unwrap();
    fs::write(at.join("config.json"), config).unwrap();
}

/// Three networks: a golden one, and others beside it.
fn three(room: &Path, name: &str) -> [Params; 3] {
    let golden = Path::new("../onebasin-nn/tests/goldens/families").join(format!("{name}.safetensors"));
    let found = read(&golden).unwrap();
    let weights = found.params.iter().filter(|(name, _)| !["input_ids", "logits"].contains(name));
    let first: Params = weights.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let other = |seed: u64| -> Params {
        let mut stream = Stream::new(seed, "other");
        let moved = |(name, tensor): (&str, &Tensor)| {
            let values: Vec<f64> = tensor.to_f64().unwrap().iter().map(|v| v + 0.3 * stream.normal()).collect();
            (name.to_owned(), Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap())
        };
        first.iter().map(moved).collect()
    };
    let all = [first.clone(), other(1), other(2)];
    for (name, params) in ["a", "b", "c"].into_iter().zip(&all) {
        save(&room.join(name), params, found.metadata.get("config").unwrap());
    }
    all
}

fn file(room: &Path, text: &str) -> MergeFile {
    let text = ["a", "b", "c"]
        .into_iter()
        .fold(text.to_owned(), |text, name| text.replace(&format!("${name}"), &room.join(name).display().to_string()));
    MergeFile::parse("merge.yml".as_ref(), &text).unwrap()
}

fn combined(room: &Path, text: &str) -> Params {
    let file = file(room, text);
    let combined = file.combine(&Align::default(), &Blueprint::default(), &Context::default()).unwrap();
    combined.write(room.join("out"), true, &Context::default()).unwrap();
    read(&room.join("out")).unwrap().params
}

/// The same by hand, number by number.
fn by_hand(all: [&Params; 3], of: impl Fn(&[Vec<f64>; 3]) -> Vec<f64>) -> Params {
    let made = |(name, tensor): (&str, &Tensor)| {
        let values = all.map(|params| params.require(name).unwrap().to_f64().unwrap().into_owned());
        (name.to_owned(), Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &of(&values)).unwrap())
    };
    all[0].iter().map(made).collect()
}

#[test]
fn methods_are_what_mergekit_means_by_them() {
    let room = tempfile::tempdir().unwrap();
    let [a, b, c] = &three(room.path(), "llama");
    let models = "models:
  - {model: $a, parameters: {weight: 1.0}}
  - {model: $b, parameters: {weight: 0.5}}
  - {model: $c, parameters: {weight: 0.5}}
";
    let near = |found: &Params, expected: &Params| {
        for (name, tensor) in expected.iter() {
            let (found, expected) = (found.require(name).unwrap().to_f64().unwrap(), tensor.to_f64().unwrap());
            let far = found.iter().zip(expected.iter()).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
            assert!(far < 1e-6, "{name}: {far}");
        }
    };
    let sum = |shares: [f64; 3]| {
        by_hand([a, b, c], move |[a, b, c]| {
            a.iter().zip(b).zip(c).map(|((a, b), c)| shares[0] * a + shares[1] * b + shares[2] * c).collect()
        })
    };
    near(&combined(room.path(), &format!("merge_method: linear\n{models}")), &sum([0.5, 0.25, 0.25]));
    let plain = format!("merge_method: linear\nparameters: {{normalize: false}}\n{models}");
    near(&combined(room.path(), &plain), &sum([1.0, 0.5, 0.5]));
    let tasks = format!("merge_method: task_arithmetic\nbase_model: $a\nparameters: {{lambda: 0.6}}\n{models}");
    near(&combined(room.path(), &tasks), &sum([0.4, 0.3, 0.3]));
    // Slerp with a slice that is the whole model, as mergekit's examples have it.
    let slerp = "merge_method: slerp
base_model: $a
slices:
  - sources:
      - {model: $a, layer_range: [0, 2]}
      - {model: $b, layer_range: [0, 2]}
parameters: {t: 0.25}
";
    let expected = by_hand([a, b, c], |[a, b, _]| {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let angle = cosine.acos();
        let [x, y] = if cosine.abs() > 0.9995 {
            [0.75, 0.25]
        } else {
            [(0.75 * angle).sin() / angle.sin(), (0.25 * angle).sin() / angle.sin()]
        };
        a.iter().zip(b).map(|(a, b)| x * a + y * b).collect()
    });
    near(&combined(room.path(), slerp), &expected);
    let half = combined(room.path(), &format!("merge_method: linear\ndtype: bfloat16\n{models}"));
    assert!(half.iter().all(|(_, tensor)| tensor.dtype() == onebasin::DType::BF16));
}

#[test]
fn networks_are_aligned_where_the_file_asks_for_it() {
    for name in ["gpt2", "llama"] {
        let room = tempfile::tempdir().unwrap();
        let [a, ..] = &three(room.path(), name);
        let text = "merge_method: task_arithmetic
align: orthogonal
base_model: $a
models:
  - {model: $b, parameters: {weight: 1.0}}
  - {model: $c, parameters: {weight: 0.0}}
";
        let read_again = |text: &str| {
            combined(room.path(), text);
            Model::open(room.path().join("out"), &Blueprint::default()).unwrap()
        };
        // All of one model, aligned, computes what that model does.
        let (out, b) = (read_again(text), Model::open(room.path().join("b"), &Blueprint::default()).unwrap());
        assert_eq!(file(room.path(), text).align, Method::Orthogonal);
        let programs = [b.program().unwrap(), out.program().unwrap()];
        let ends = [(&programs[0], b.params()), (&programs[1], out.params())];
        let same = compare_graphs(ends[0], ends[1], &CheckOptions::default()).unwrap();
        assert!(same.passes(), "{name}: {same}");
        assert!(b.params() != out.params() && a != out.params());
    }
}

#[test]
fn what_is_not_done_is_refused_by_line_and_column() {
    let refused = |text: &str| MergeFile::parse("merge.yml".as_ref(), text).unwrap_err().to_string();
    let models = "models:\n  - model: a\n    parameters: {weight: 1}\n  - model: b\n    parameters: {weight: [0, 1]}\n";
    for (text, said) in [
        ("merge_method: ties\nmodels: [{model: a}]\n".to_owned(), "merge.yml:1:15: `ties` is not done here"),
        (format!("merge_method: linear\n{models}"), "merge.yml:6:26: `weight` must be one finite number"),
        ("merge_method: linear\nmodels:\n  - model: a\n".to_owned(), "merge.yml:3:12: `a` has no weight"),
        ("merge_method: linear\nmodels: [{model: a}]\ndensity: 1\n".to_owned(), "merge.yml:3:1: unknown"),
        ("merge_method: slerp\nmodels: [{model: a}, {model: b}]\n".to_owned(), "merge.yml:1:15: slerp needs `t`"),
        ("merge_method: linear\nmodels: [\n".to_owned(), "merge.yml:"),
        ("merge_method: linear\nbase_model: z\nmodels: [{model: a, parameters: {weight: 1}}]\n".to_owned(), "merge.yml:1:15: the base model `z`"),
        ("merge_method: linear\ntokenizer_source: union\nmodels: [{model: a, parameters: {weight: 1}}]\n".to_owned(), "merge.yml:2:19: the tokenizer"),
        ("merge_method: linear\ndtype: int8\nmodels: [{model: a, parameters: {weight: 1}}]\n".to_owned(), "merge.yml:2:8: `int8`"),
        ("merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 4]}]}, {sources: [{model: b, layer_range: [4, 8]}]}]\n".to_owned(), "merge.yml:2:9: layers of several"),
    ] {
        let found = refused(&text);
        assert!(found.starts_with(said), "{found}\nfor\n{text}");
    }
}
