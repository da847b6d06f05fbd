//! Foreign checkpoints: the same tensors from every format, and hostile bytes refused.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use onebasin_core::{DType, Params};
use onebasin_io::{Checkpoint, Error, Format, read};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;

const FORMATS: [(&str, Format); 9] = [
    ("zip.pt", Format::Torch),
    ("legacy.pth", Format::Torch),
    ("model.bin", Format::Torch),
    ("stored.npz", Format::Npz),
    ("compressed.npz", Format::Npz),
    ("swapped.npz", Format::Npz),
    ("flax.msgpack", Format::Flax),
    ("chunked.flax", Format::Flax),
    ("expected.safetensors", Format::Safetensors),
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn refused(path: &Path, words: &[&str]) {
    let said = read(path).expect_err(&path.display().to_string()).to_string();
    assert!(said.contains(&path.display().to_string()), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "expected {words:?} in: {said}");
}

/// A file of these bytes, in a folder that lives as long as the returned value.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn every_format_gives_the_same_tensors() {
    let expected = read(&golden("expected.safetensors")).unwrap().params;
    assert_eq!(expected.len(), 16);
    for (name, format) in FORMATS {
        let found = read(&golden(name)).unwrap();
        // Both were saved from a network in data parallel, whose names begin so.
        let prefix = if matches!(name, "zip.pt" | "legacy.pth") { "module." } else { "" };
        let dotted = found
            .params
            .iter()
            .map(|(name, t)| (name.replace('/', ".").strip_prefix(prefix).unwrap().to_owned(), t.clone()));
        let dotted: Params = dotted.collect();
        // NumPy has no bfloat16.
        let kept = |dtype: DType| format != Format::Npz || dtype != DType::BF16;
        let expected: Params =
            expected.iter().filter(|(_, t)| kept(t.dtype())).map(|(n, t)| (n.to_owned(), t.clone())).collect();
        assert_eq!(dotted, expected, "{name}");
    }
    assert!(read(&golden("flax.msgpack")).unwrap().params.get("conv/weight").is_some());
}

#[test]
fn content_decides_before_the_extension() {
    for (name, format) in FORMATS.into_iter().filter(|(_, format)| *format != Format::Flax) {
        let bytes = std::fs::read(golden(name)).unwrap();
        assert_eq!(Format::of(&bytes, Path::new("weights")), format, "{name}");
        assert_eq!(Format::of(&bytes, Path::new("weights.msgpack")), format, "{name}");
        let (_folder, path) = file("weights.npz", &bytes);
        let (found, expected) = (read(&path).unwrap(), read(&golden(name)).unwrap());
        assert_eq!((&found.params, found.digest()), (&expected.params, expected.digest()), "{name}");
    }
}

#[test]
fn a_submodule_called_model_is_not_the_whole_network() {
    let names: Vec<String> = read(&golden("module.pt")).unwrap().params.names().map(str::to_owned).collect();
    assert_eq!(names, ["head.bias", "head.weight", "model.bias", "model.weight"]);
}

#[test]
fn pickled_calls_are_not_made() {
    let found = read(&golden("call.pt")).unwrap().params;
    assert_eq!(found.names().collect::<Vec<_>>(), ["weight"]);
    refused(&golden("call_only.pt"), &["not a valid torch file", "no tensors", "posix.system"]);
    assert!(!Path::new("pickle-was-run").exists());
    let nested = [b"\x80\x02".to_vec(), vec![b']'; 100_000], vec![b'a'; 99_999], b".".to_vec()].concat();
    let (_folder, path) = file("deep.pt", &nested);
    refused(&path, &["not a valid torch file", "nesting"]);
}

#[test]
fn files_that_are_something_else() {
    refused(&golden("lone.npy"), &["not a valid NumPy .npz file", "numpy.savez"]);
    refused(&golden("objects.npz"), &["`weight`", "element type `|O`", "known: f8, f4"]);
    for (name, words) in [
        ("a.pt", "not a valid torch file"),
        ("a.npz", "not a valid NumPy .npz file"),
        ("a.msgpack", "not a valid Flax msgpack file"),
        ("a.flax", "a map of names was expected at its root, found an integer"),
        ("a.safetensors", "not a valid safetensors file"),
        ("a", "not a valid safetensors file"),
    ] {
        let (_folder, path) = file(name, &[7]);
        refused(&path, &[words]);
    }
    let (_folder, path) = file("empty.pt", &[]);
    refused(&path, &["not a valid torch file: the file is empty"]);
}

#[test]
fn errors_of_flax_name_the_tensor() {
    // {"a": {"w": ext 1 of `array`}}
    let with = |array: &[u8]| [b"\x81\xa1a\x81\xa1w\xc7".as_slice(), &[array.len() as u8, 1], array].concat();
    for (array, words) in [
        (b"\x93\x91\x03\xa8float8e4\xc4\x03abc".as_slice(), ["`a/w`", "`float8e4`"]),
        (b"\x93\x91\x02\xa5uint8\xc4\x03abc", ["`a/w`", "needs 2 bytes, found 3"]),
        (b"\x93\x91\xff\xa5uint8\xc4\x03abc", ["`a/w`", "found an integer"]),
        (b"\x92\x91\x03\xa5uint8", ["`a/w`", "found (a list, a text)"]),
    ] {
        let (_folder, path) = file("a.msgpack", &with(array));
        refused(&path, &words);
    }
    let (_folder, path) = file("deep.msgpack", &[b"\x81\xa1a".to_vec(), vec![0x91; 100_000]].concat());
    refused(&path, &["not a valid Flax msgpack file", "depth limit"]);
}

/// A broken file is refused, or what is broken is no part of the result.
fn whole_or_refused(found: Result<Checkpoint, Error>, whole: &Params, what: &str) {
    match found {
        Ok(found) => assert_eq!(&found.params, whole, "{what}"),
        Err(Error::Format { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn truncated_at_every_length() {
    for (name, _) in FORMATS {
        let bytes = std::fs::read(golden(name)).unwrap();
        let whole = read(&golden(name)).unwrap().params;
        let (_folder, path) = file(name, &bytes);
        let open = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for length in (0..bytes.len()).rev() {
            open.set_len(length as u64).unwrap();
            whole_or_refused(read(&path), &whole, &format!("{name} cut to {length} bytes"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_flipped_byte_never_panics(which in 0..FORMATS.len(), at: prop::sample::Index, mask in 1..=u8::MAX) {
        let (name, _) = FORMATS[which];
        let mut bytes = std::fs::read(golden(name)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        let (_folder, path) = file(name, &bytes);
        if let Err(error) = read(&path) {
            prop_assert!(error.to_string().contains(name));
        }
    }
}

/// Zeros that deflate a thousandfold.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer
        .start_file("w.npy", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated))
        .unwrap();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}", mebibytes << 20);
    writer.write_all(&[b"\x93NUMPY\x01\0".as_slice(), &(header.len() as u16).to_le_bytes()].concat()).unwrap();
    writer.write_all(header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take((mebibytes as u64) << 20), &mut writer).unwrap();
    writer.finish().unwrap().into_inner()
}

/// The most memory this process has held, in bytes.
fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
}

#[test]
fn zip_bombs_are_refused() {
    let honest = bomb(96);
    assert!(honest.len() < 1 << 18);
    // The size as the directory states it, 24 bytes into its only entry: a claim of 1 kB, and one of 4 GB.
    let directory = honest.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let claiming = |claim: u32| {
        let mut bytes = honest.clone();
        bytes[directory + 24..][..4].copy_from_slice(&claim.to_le_bytes());
        bytes
    };
    let before = peak();
    let start = Instant::now();
    for (bytes, words) in [
        (honest.clone(), ["its tensors claim 100663", "at most"]),
        (claiming(1000), ["`w`", "declared uncompressed size"]),
        (claiming(u32::MAX - 1), ["its tensors claim 4294967294 bytes", "at most"]),
    ] {
        let (_folder, path) = file("bomb.npz", &bytes);
        refused(&path, &words);
    }
    refused(&golden("expanded.pt"), &["its tensors claim 1073741824 bytes", "the file has 1584"]);
    assert!(start.elapsed() < Duration::from_secs(2));
    if let (Some(before), Some(after)) = (before, peak()) {
        assert!(after - before < 32 << 20, "{} bytes more", after - before);
    }
}

#[test]
fn resnets_equal_their_safetensors() {
    let Some(data) = onebasin_testkit::data_or_skip("resnets_equal_their_safetensors") else { return };
    for letter in ["a", "b"] {
        let path = |extension| data.join(format!("checkpoints/cifar10_resnet20/resnet20_{letter}.{extension}"));
        let (torch, safe) = (read(&path("th")).unwrap().params, read(&path("safetensors")).unwrap().params);
        // The torch files were saved from networks in data parallel.
        let names = torch.names().map(|name| name.strip_prefix("module.").unwrap());
        assert_eq!(names.collect::<Vec<_>>(), safe.names().collect::<Vec<_>>(), "{letter}");
        for ((name, found), (_, expected)) in torch.iter().zip(safe.iter()) {
            assert_eq!((found.dtype(), found.bytes()), (expected.dtype(), expected.bytes()), "{letter}: {name}");
            // The safetensors files hold the scalar counters of batches as vectors of one.
            let counter = name.ends_with(".num_batches_tracked");
            assert_eq!(found.shape(), if counter { &[] } else { expected.shape() }, "{letter}: {name}");
        }
    }
}
