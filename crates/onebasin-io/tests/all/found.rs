//! Which file a folder stands for, and what files are that are no checkpoints.

use std::path::{Path, PathBuf};

use onebasin_core::{Params, Tensor};
use onebasin_io::{Error, Metadata, Target, is_onnx, read, write};
use serde_json::json;

fn net(seed: u8) -> Params {
    let tensor = |k: u8| Tensor::from_f32(&[2], vec![f32::from(seed), f32::from(k)]).unwrap();
    ["a", "b", "c"].iter().zip(0..).map(|(name, k)| ((*name).to_owned(), tensor(k))).collect()
}

fn some(net: &Params, names: &[&str]) -> Params {
    net.iter().filter(|(name, _)| names.contains(name)).map(|(name, t)| (name.to_owned(), t.clone())).collect()
}

/// A folder with these files, each a network or a text.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with(self, name: &str, params: &Params) -> Self {
        write(&self.path().join(name), params, &Metadata::default()).unwrap();
        self
    }

    fn text(self, name: &str, text: &[u8]) -> Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    /// An index over two shards of the network, the second with `c` alone.
    fn index(self, name: &str, shards: [&str; 2]) -> Self {
        let map = json!({ "weight_map": { "a": shards[0], "b": shards[0], "c": shards[1] } });
        self.text(name, map.to_string().as_bytes())
    }

    fn refused(&self, words: &[&str]) {
        let error = read(self.path()).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "expected {words:?} in: {error}");
    }
}

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

fn sharded(params: &Params, names: [&str; 2]) -> Folder {
    Folder::new().with(names[0], &some(params, &["a", "b"])).with(names[1], &some(params, &["c"]))
}

#[test]
fn a_folder_is_what_libraries_open() {
    let (good, other) = (net(1), net(2));
    for name in [
        "model.safetensors",
        "diffusion_pytorch_model.safetensors",
        "adapter_model.safetensors",
        "model.fp16.safetensors",
        "any name.safetensors",
        "pytorch_model.bin",
        "weights.pt",
    ] {
        assert_eq!(read(Folder::new().with(name, &good).path()).unwrap().params, good, "{name}");
    }
    for (first, second) in [
        ("model.safetensors", "adapter_model.safetensors"),
        ("model.safetensors", "model.fp16.safetensors"),
        ("model.safetensors", "pytorch_model.bin"),
        ("model.safetensors", "notes.safetensors"),
        ("pytorch_model.bin", "training_args.bin"),
        ("best.pt", "optimizer.pt"),
    ] {
        assert_eq!(read(Folder::new().with(first, &good).with(second, &other).path()).unwrap().params, good, "{first}");
    }
    for both in [
        ["a.safetensors", "b.safetensors"],
        ["best.pt", "last.pt"],
        ["model.fp16.safetensors", "model.ema.safetensors"],
    ] {
        Folder::new().with(both[0], &good).with(both[1], &good).refused(&[
            "several",
            both[0],
            both[1],
            "name the file",
        ]);
    }
    Folder::new().refused(&["is a folder", "model.safetensors", "found none"]);
    let pipeline = Folder::new();
    std::fs::create_dir(pipeline.path().join("unet")).unwrap();
    write(&pipeline.path().join("unet/model.safetensors"), &good, &Metadata::default()).unwrap();
    pipeline.refused(&["found unet/"]);
    for (name, words) in [
        ("saved_model.pb", "a TensorFlow SavedModel"),
        ("model.ckpt.index", "a TensorFlow checkpoint"),
        ("__0_0.distcp", "dcp_to_torch_save"),
        ("manifest.ocdbt", "Orbax"),
        ("data.pkl", "unpacked"),
    ] {
        Folder::new().text(name, b"").refused(&[words]);
    }
    let named = Folder::new();
    let path = named.path().join("x.safetensors");
    std::fs::create_dir(&path).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("is a folder without one checkpoint"));
}

#[test]
fn shards_with_every_index_and_without() {
    let good = net(1);
    let bins = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
    let halves = ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"];
    for (index, shards) in [
        ("model.safetensors.index.json", SHARDS),
        ("model.safetensors.index.fp16.json", SHARDS),
        ("model.safetensors.index.fp16.json", halves),
        ("pytorch_model.bin.index.json", bins),
        ("", SHARDS),
        ("", bins),
        ("", halves),
    ] {
        let folder = sharded(&good, shards);
        let folder = if index.is_empty() { folder } else { folder.index(index, shards) };
        let found = read(folder.path()).unwrap();
        assert_eq!(found.params, good, "{index} {shards:?}");
        if !index.is_empty() {
            assert_eq!(read(&folder.path().join(index)).unwrap().params, good, "{index}");
        }
        // What is written like it is safetensors under names that say so, and opens again.
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("net");
        Target::like(&out, &found).unwrap().write(&good, &Metadata::default()).unwrap();
        assert_eq!(read(&out).unwrap().params, good);
        assert!(std::fs::read_dir(&out).unwrap().all(|e| e.unwrap().path().to_string_lossy().contains(".safetensors")));
    }
    let folder = sharded(&good, SHARDS);
    std::fs::remove_file(folder.path().join(SHARDS[1])).unwrap();
    folder.refused(&["no index, and shard 2 of 2 is missing", SHARDS[0]]);
    sharded(&good, SHARDS).with(SHARDS[1], &some(&good, &["b", "c"])).refused(&["`b`", SHARDS[1], "no index says"]);
}

#[test]
fn an_index_decides_and_what_it_leaves_out_is_said() {
    let good = net(1);
    let mut more = some(&net(2), &["b"]);
    more.insert("extra", good.require("a").unwrap().clone());
    more.insert("c", good.require("c").unwrap().clone());
    let folder = sharded(&good, SHARDS).with(SHARDS[1], &more).index("model.safetensors.index.json", SHARDS);
    let found = read(folder.path()).unwrap();
    assert_eq!(found.params, good);
    let [(b, copy), (extra, unlisted)] = &found.passed_over[..] else { panic!("{:?}", found.passed_over) };
    assert_eq!((b.as_str(), extra.as_str()), ("b", "extra"));
    assert!(copy.contains(SHARDS[1]) && copy.contains(SHARDS[0]), "{copy}");
    assert!(unlisted.contains("does not list it"), "{unlisted}");
    // Beside a whole file: the same, or nobody knows which is meant.
    let folder = folder.with("model.safetensors", &good);
    assert_eq!(read(folder.path()).unwrap().params, good);
    folder.with("model.safetensors", &net(3)).refused(&["different tensors", "model.safetensors.index.json"]);
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn other_files_are_told_for_what_they_are() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let sstable = [vec![0; 40], b"\x57\xfb\x80\x8b\x24\x75\x47\xdb".to_vec()].concat();
    for (name, bytes, words) in [
        ("x.safetensors", &pointer[..], "Git LFS"),
        ("x.bin", pointer, "git lfs pull"),
        ("x.onnx", pointer, "Git LFS"),
        ("x.index.json", pointer, "Git LFS"),
        ("x.gguf", b"GGUF\x03\0\0\0", "GGUF"),
        ("x.h5", b"\x89HDF\r\n\x1a\n\0\0", "Keras"),
        ("x.pt", b"<!DOCTYPE html><html>404</html>", "page of the web"),
        ("x.pt", b"\n<?xml version=\"1.0\"?><Error>", "page of the web"),
        ("x.bin", b"{\"error\": \"not found\"}", "is JSON"),
        ("x.json", b"{\"error\": \"not found\"}", "no index"),
        ("x.ort", b"\x08\0\0\0ORTM", ".ort"),
        ("x.tflite", b"\x08\0\0\0TFL3", "Lite"),
        ("x.pt.gz", b"\x1f\x8b\x08\0", "gzip"),
        ("x.ckpt.index", &sstable, "TensorFlow"),
        ("x.ckpt.data-00000-of-00001", b"\0\0\0\0\0\0\0\0", "TensorFlow"),
        ("x.zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "it holds nothing"),
        ("x.safetensors", b"", "is empty"),
    ] {
        let (_folder, path) = file(name, bytes);
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(name), "expected {words}: {error}");
    }
}

#[test]
fn onnx_is_known_by_its_content() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    for entry in [goldens.join("graphs"), goldens.join("networks"), goldens.clone()]
        .iter()
        .flat_map(|f| std::fs::read_dir(f).unwrap())
    {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(is_onnx(&bytes), path.extension().is_some_and(|e| e == "onnx"), "{}", path.display());
        }
    }
    let bytes = std::fs::read(goldens.join("raw.onnx")).unwrap();
    for name in ["x.pb", "x.ONNX", "x.safetensors", "x"] {
        let (_folder, path) = file(name, &bytes);
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, Error::Foreign { what, .. } if what == "an ONNX model"), "{error}");
    }
    // Cut short, it is still one.
    assert!(is_onnx(&bytes[..bytes.len() - 9]));
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let header = b"{\"a\\nb\\u001b[31m\":{\"dtype\":\"F8_E8M0\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    let (_folder, path) = file("x.safetensors", &[&(header.len() as u64).to_le_bytes()[..], header, b"\0\0"].concat());
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains(r"`a\nb\u{1b}[31m`") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn eight_bit_floats_are_moved_and_written() {
    let (_folder, path) = file("x.safetensors", b"");
    let bits: Vec<u8> = (0..=255).collect();
    let header =
        b"{\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[256],\"data_offsets\":[0,256]},\"y\":{\"dtype\":\"F8_E5M2\",\
                   \"shape\":[256],\"data_offsets\":[256,512]},\"z\":{\"dtype\":\"F8_E4M3FNUZ\",\"shape\":[1],\
                   \"data_offsets\":[512,513]}}";
    let file = [&(header.len() as u64).to_le_bytes()[..], header, &bits, &bits, b"\0"].concat();
    std::fs::write(&path, file).unwrap();
    let found = read(&path).unwrap();
    assert_eq!(
        found.params.iter().map(|(name, t)| (name, t.dtype().name())).collect::<Vec<_>>(),
        [("x", "f8_e4m3"), ("y", "f8_e5m2")]
    );
    let [(z, why)] = &found.passed_over[..] else { panic!("{:?}", found.passed_over) };
    assert!(z == "z" && why.contains("F8_E4M3FNUZ"), "{why}");
    write(&path, &found.params, &Metadata::default()).unwrap();
    assert_eq!(read(&path).unwrap().params.require("x").unwrap().bytes()[..], bits);
}
