//! Where outputs go: through links, into pipes and devices, under names of any length; never over an input unasked, and never
//! from an input that changed.

use std::fs;
use std::path::{Path, PathBuf};

use onebasin_core::merge::MergeRule;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Tensor};
use onebasin_io::{
    Asked, Error, Metadata, Moving, OnnxModel, PROVENANCE, Target, differing_companions, merge_streamed, probe, read,
    spare, write, write_atomic,
};
use serde_json::json;

fn net(value: f32) -> Params {
    [("w".to_owned(), Tensor::from_f32(&[2], vec![value, 2.0]).unwrap())].into_iter().collect()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Merges two files, and gives back what was said.
fn merged(a: &Path, b: &Path, out: &Path, during: &(dyn Fn(&Path) + Sync)) -> Result<(), Error> {
    let (a, b) = (read(a)?, read(b)?);
    let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")]).unwrap(), &a.params).unwrap();
    let alignment = Alignment::identity(&symmetry);
    let moving = Moving { b: &b, symmetry: &symmetry, alignment: &alignment };
    let rule = MergeRule::lerp(0.5).unwrap();
    let check = |made: &Path| {
        during(made);
        Ok(())
    };
    let target = Target::like(out, &a)?;
    merge_streamed(
        &target,
        &a,
        &moving,
        &Params::new(),
        &rule,
        &|_| Metadata::default(),
        &Asked { check: &check, ..Asked::default() },
    )
}

#[test]
#[cfg(unix)]
fn links_stay_and_what_they_lead_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("real")).unwrap();
    for (link, end) in [("one", "real/file"), ("two", "one"), ("dangling", "real/new")] {
        std::os::unix::fs::symlink(end, at.join(link)).unwrap();
    }
    fs::write(at.join("real/file"), b"old").unwrap();
    for (link, end) in [("two", "real/file"), ("dangling", "real/new")] {
        write_atomic(&at.join(link), |out| out.write_all(b"new")).unwrap();
        assert!(at.join(link).is_symlink());
        assert_eq!(fs::read(at.join(end)).unwrap(), b"new");
    }
    assert_eq!(names(&at.join("real")), ["file", "new"]);
    std::os::unix::fs::symlink("circle", at.join("circle")).unwrap();
    std::os::unix::fs::symlink("nowhere/file", at.join("lost")).unwrap();
    assert!(probe(&at.join("circle")).is_err());
    assert!(matches!(probe(&at.join("lost")), Err(Error::NoFolder { .. })));
}

/// What a process has open lies in `/proc`, and so do folders that are like any other.
#[test]
#[cfg(target_os = "linux")]
fn folders_reached_through_proc_are_folders() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"old").unwrap();
    let around = Path::new("/proc/self/root").join(file.strip_prefix("/").unwrap());
    assert!(matches!(spare(&around, std::slice::from_ref(&file)), Err(Error::IsInput { .. })));
    write_atomic(&around, |out| out.write_all(b"new")).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    // A file that is open is written to as it stands, and is no less an input.
    let open = fs::File::options().append(true).open(&file).unwrap();
    let descriptor = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)));
    assert!(matches!(spare(&descriptor, std::slice::from_ref(&file)), Err(Error::IsInput { .. })));
    write_atomic(&descriptor, |out| out.write_all(b"er")).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"newer");
}

#[test]
#[cfg(target_os = "linux")]
fn devices_stay_what_they_are() {
    use std::os::unix::fs::FileTypeExt;
    for device in ["/dev/null", "/dev/full"] {
        let path = Path::new(device);
        probe(path).unwrap();
        let written = write(path, &net(1.0), &Metadata::default());
        assert_eq!(written.is_ok(), device == "/dev/null");
        assert!(written.is_ok() || matches!(written, Err(Error::DiskFull { .. })));
        assert!(fs::metadata(path).unwrap().file_type().is_char_device());
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(write(&socket, &net(1.0), &Metadata::default()), Err(Error::Unwritable { .. })));
}

#[test]
#[cfg(unix)]
fn a_pipe_is_written_to_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Nobody reads: looking at it does not wait, and a write can be given up.
    probe(&pipe).unwrap();
    let target = Target::file(&pipe);
    let begun = std::time::Instant::now();
    let go_on = || begun.elapsed() < std::time::Duration::from_millis(50);
    let stopped = target.write_while(&net(1.0), &Metadata::default(), &go_on, &|_| Ok(()));
    assert!(matches!(stopped, Err(Error::Interrupted { .. })));
    let large: Params =
        [("w".to_owned(), Tensor::from_f32(&[1 << 20], vec![0.5; 1 << 20]).unwrap())].into_iter().collect();
    let found = std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&pipe).unwrap());
        write(&pipe, &large, &Metadata::default()).unwrap();
        reader.join().unwrap()
    });
    let file = folder.path().join("file");
    write(&file, &large, &Metadata::default()).unwrap();
    assert!(found == fs::read(&file).unwrap());
    assert_eq!(names(folder.path()), ["file", "pipe"]);
    // A pipe to read from is refused without waiting.
    assert!(matches!(read(&pipe), Err(Error::NoFile { .. })));
}

#[test]
fn names_may_be_as_long_as_the_system_lets_them() {
    let folder = tempfile::tempdir().unwrap();
    let longest = format!("{}.safetensors", "n".repeat(255 - ".safetensors".len()));
    write(&folder.path().join(&longest), &net(1.0), &Metadata::default()).unwrap();
    assert_eq!(names(folder.path()), [longest.as_str()]);
    assert!(probe(&folder.path().join(format!("n{longest}"))).is_err());
    assert_eq!(names(folder.path()), [longest.as_str()]);
}

#[test]
fn what_was_written_is_looked_at_before_it_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let out = at.join("out.safetensors");
    write(&out, &net(1.0), &Metadata::default()).unwrap();
    let refuse = |made: &Path| {
        assert_eq!((made.file_name(), read(made)?.params), (out.file_name(), net(2.0)));
        Err("not believed".into())
    };
    let refused = Target::file(&out).write_while(&net(2.0), &Metadata::default(), &|| true, &refuse);
    assert!(matches!(&refused, Err(Error::Refused { .. })));
    assert!(refused.unwrap_err().to_string().contains("not believed"));
    assert_eq!((read(&out).unwrap().params, names(at).len()), (net(1.0), 1));

    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/external.onnx"));
    let model = OnnxModel::open(golden).unwrap();
    let refuse = |made: &Path| {
        assert_eq!(OnnxModel::open(made)?.params(), model.params());
        Err("not believed".into())
    };
    let refused = model.write_while(&at.join("m.onnx"), model.params(), None, &|| true, &refuse);
    assert!(matches!(refused, Err(Error::Refused { .. })));
    assert_eq!(names(at).len(), 1);
}

#[test]
fn an_input_that_changes_meanwhile_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let out = at("out.safetensors");
    let again = || {
        for (name, value) in [("a.safetensors", 1.0), ("b.safetensors", 2.0)] {
            write(&at(name), &net(value), &Metadata::default()).unwrap();
        }
    };
    for name in ["a.safetensors", "b.safetensors"] {
        again();
        let cut = |_: &Path| fs::File::options().write(true).open(at(name)).unwrap().set_len(9).unwrap();
        let said = merged(&at("a.safetensors"), &at("b.safetensors"), &out, &cut).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("is shorter now"), "{said}");
        assert!(!out.exists());
    }
    again();
    // Cut short before a tensor is looked at: an error of the read, and no fault.
    let file = read(&at("a.safetensors")).unwrap();
    fs::File::options().write(true).open(at("a.safetensors")).unwrap().set_len(9).unwrap();
    let said = file.params.check_finite().unwrap_err().to_string();
    assert!(said.contains("a.safetensors") && said.contains("is shorter now"), "{said}");
    assert!(matches!(file.unchanged(), Err(Error::Changed { .. })));
    assert!(Target::file(&out).write(&file.params, &Metadata::default()).is_err() && !out.exists());
    again();
    merged(&at("a.safetensors"), &at("b.safetensors"), &out, &|_| ()).unwrap();
}

#[test]
#[cfg(unix)]
fn inputs_are_spared_by_whatever_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let a = at("a.safetensors");
    write(&a, &net(1.0), &Metadata::default()).unwrap();
    std::os::unix::fs::symlink("a.safetensors", at("link.safetensors")).unwrap();
    fs::hard_link(&a, at("hard.safetensors")).unwrap();
    fs::create_dir(at("shards")).unwrap();
    fs::copy(&a, at("shards/model-1.safetensors")).unwrap();
    let index = json!({ "metadata": {}, "weight_map": { "w": "model-1.safetensors" } });
    fs::write(at("shards/model.safetensors.index.json"), index.to_string()).unwrap();
    std::os::unix::fs::symlink("shards", at("alias")).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/external.onnx");
    let model = OnnxModel::open(golden.as_ref()).unwrap();
    model.write(&at("m.onnx"), model.params(), None).unwrap();
    fs::hard_link(at("m.onnx.data"), at("other.onnx.data")).unwrap();

    let shards = read(&at("shards")).unwrap();
    let mut inputs: Vec<PathBuf> = vec![a.clone(), at("shards")];
    inputs.extend(shards.files());
    inputs.extend(OnnxModel::open(&at("m.onnx")).unwrap().files());
    for name in
        ["a.safetensors", "link.safetensors", "hard.safetensors", "shards/model-1.safetensors", "m.onnx", "m.onnx.data"]
    {
        assert!(matches!(spare(&at(name), &inputs), Err(Error::IsInput { .. })), "{name}");
    }
    for name in ["shards", "alias"] {
        let target = Target::like(&at(name), &shards).unwrap();
        assert!(matches!(target.spares(&inputs), Err(Error::IsInput { .. })), "{name}");
    }
    assert!(matches!(Target::file(&at("other.onnx")).spares(&inputs), Err(Error::IsInput { .. })));
    for name in ["new.safetensors", "m2.onnx"] {
        spare(&at(name), &inputs).unwrap();
    }
    Target::like(&at("fresh"), &shards).unwrap().spares(&inputs).unwrap();
}

#[test]
fn what_libraries_read_beside_weights_goes_along_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("a")).unwrap();
    write(&at("a/model-1.safetensors"), &net(1.0), &Metadata::default()).unwrap();
    let index = json!({ "metadata": {}, "weight_map": { "w": "model-1.safetensors" } }).to_string();
    fs::write(at("a/model.safetensors.index.json"), &index).unwrap();
    let config = r#"{"model_type": "gpt2", "torch_dtype": "float32"}"#;
    for (name, text) in [
        ("config.json", config),
        ("tokenizer.json", "{}"),
        ("modeling_own.py", "pass"),
        ("chat_template.jinja", "{{ x }}"),
        ("notes.txt", "mine"),
        ("optimizer.pt", "none"),
        ("README.md", "about A"),
    ] {
        fs::write(at("a").join(name), text).unwrap();
    }
    let a = read(&at("a")).unwrap();
    let mut metadata = Metadata::default();
    let made = json!({ "verb": "merge", "inputs": [{ "role": "a", "name": "a|b", "sha256": "00" }], "options": { "lambda": 0.5 } });
    metadata.set_json(PROVENANCE, &made);
    let halved: Params =
        [("w".to_owned(), a.params.require("w").unwrap().cast(DType::BF16).unwrap())].into_iter().collect();
    Target::like(&at("out"), &a).unwrap().write(&halved, &metadata).unwrap();
    let expected = [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "model-1.safetensors",
        "model.safetensors.index.json",
        "modeling_own.py",
        "tokenizer.json",
    ];
    assert_eq!(names(&at("out")), expected);
    let text = |name: &str| fs::read_to_string(at("out").join(name)).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text("config.json")).unwrap();
    assert_eq!(config, json!({ "model_type": "gpt2", "torch_dtype": "bfloat16" }));
    let index: serde_json::Value = serde_json::from_str(&text("model.safetensors.index.json")).unwrap();
    assert_eq!(index["metadata"], json!({ "total_size": 4, "total_parameters": 2 }));
    let card = text("README.md");
    assert!(card.starts_with("---\nlibrary_name: transformers") && card.contains(r"| a | a\|b | `00` |"), "{card}");
    assert!(card.contains(r#""lambda": 0.5"#), "{card}");
    // Written once more over itself, and where the element type stays nothing of the configuration changes.
    let out = read(&at("out")).unwrap();
    Target::like(&at("again"), &a).unwrap().write(&a.params, &metadata).unwrap();
    assert_eq!(
        fs::read_to_string(at("again/config.json")).unwrap(),
        r#"{"model_type": "gpt2", "torch_dtype": "float32"}"#
    );
    Target::like(&at("out"), &out).unwrap().write(&out.params, &metadata).unwrap();
    assert_eq!(names(&at("out")), expected);
    // One file takes nothing along.
    Target::like(&at("one.safetensors"), &a).unwrap().write(&a.params, &metadata).unwrap();
    assert_eq!(names(folder.path()), ["a", "again", "one.safetensors", "out"]);
    assert_eq!(differing_companions(&at("a"), &at("out")).unwrap(), ["config.json"]);
}

#[test]
fn a_folder_of_shards_keeps_what_is_not_of_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let index = json!({ "metadata": {}, "weight_map": { "w": "model-1.safetensors" } }).to_string();
    for name in ["a", "b"] {
        fs::create_dir(at(name)).unwrap();
        write(&at(name).join("model-1.safetensors"), &net(1.0), &Metadata::default()).unwrap();
        fs::write(at(name).join("model.safetensors.index.json"), &index).unwrap();
    }
    fs::create_dir_all(at("a/onnx/more")).unwrap();
    for name in ["a/config.json", "a/onnx/more/tokenizer.json"] {
        fs::write(at(name), b"{}").unwrap();
    }
    // Over one of its own inputs, which stays open while it is replaced.
    merged(&at("a"), &at("b"), &at("a"), &|made| assert_eq!(names(made).len(), 3)).unwrap();
    assert_eq!(names(&at("a")), ["config.json", "model-1.safetensors", "model.safetensors.index.json", "onnx"]);
    assert_eq!(fs::read(at("a/onnx/more/tokenizer.json")).unwrap(), b"{}");
    assert_eq!((read(&at("a")).unwrap().params, names(folder.path())), (net(1.0), vec!["a".into(), "b".into()]));
    // A folder in the place of a shard is somebody's.
    fs::remove_file(at("a/model-1.safetensors")).unwrap();
    fs::create_dir(at("a/model-1.safetensors")).unwrap();
    let b = read(&at("b")).unwrap();
    assert!(matches!(Target::like(&at("a"), &b), Err(Error::IsFolder { .. })));
    fs::write(at("file"), b"mine").unwrap();
    assert!(matches!(Target::like(&at("file"), &b), Err(Error::NoFolderThere { .. })));
}
