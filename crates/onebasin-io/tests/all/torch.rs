//! What training scripts put into torch files: the network comes out, all else is passed over, and nothing is run.

use std::io::Write;
use std::path::{Path, PathBuf};

use onebasin_core::{DType, Params, Tensor};
use onebasin_io::{Checkpoint, Error, read, read_part};
use zip::write::SimpleFileOptions;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/torch").join(name)
}

/// The network of every file, made of consecutive numbers from `start`.
fn network(start: u8) -> Params {
    let values = |from: u8, count: u8| (0..count).map(|k| f32::from(start + from + k)).collect();
    Params::from_iter([
        ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 3], values(0, 6)).unwrap()),
        ("fc1.bias".to_owned(), Tensor::from_f32(&[2], values(6, 2)).unwrap()),
    ])
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.params.names().collect()
}

fn why<'a>(checkpoint: &'a Checkpoint, name: &str) -> &'a str {
    let found = checkpoint.passed_over.iter().find(|(found, _)| found == name);
    found.map_or_else(|| panic!("{name}: {:?}", checkpoint.passed_over), |(_, why)| why)
}

#[test]
fn what_lies_around_a_network_does_not_stop_it() {
    for name in ["checkpoint_epoch_0100.pt", "protocol5.pt", "old.tar", "script.pt", "agent.zip"] {
        let found = read(&golden(name)).unwrap();
        assert_eq!((&found.params, &found.part), (&network(0), &None), "{name}");
    }
    let found = read(&golden("beside.pt")).unwrap();
    assert_eq!((&found.params, found.part.as_deref()), (&network(0), Some("state_dict")));
    assert_eq!((found.parts, found.passed_over), (vec!["state_dict".to_owned()], vec![]));
    let found = read(&golden("around.pt")).unwrap();
    assert_eq!((&found.params, &found.part), (&network(0), &None));
    assert!(why(&found, "optimizer").contains("training"));
    assert!(why(&found, "meter").contains("__main__.Meter"));
    assert!(why(&found, "random.1").contains("NumPy"));
}

#[test]
fn parts_have_names() {
    for (name, part, parts) in [
        ("ema.pt", "state_dict", vec!["state_dict_ema", "state_dict"]),
        ("params.pt", "params", vec!["params_ema", "params"]),
        ("tuple.pt", "0", vec!["0"]),
    ] {
        let found = read(&golden(name)).unwrap();
        assert_eq!(
            (&found.params, found.part.as_deref(), found.parts),
            (&network(0), Some(part), parts.iter().map(|p| (*p).to_owned()).collect()),
            "{name}"
        );
        for other in parts {
            let start = if other.ends_with("ema") { 8 } else { 0 };
            let found = read_part(&golden(name), Some(other)).unwrap();
            assert_eq!((&found.params, found.part.as_deref()), (&network(start), Some(other)), "{name}");
        }
    }
    for (name, both) in [("student.pt", ["student", "teacher"]), ("models.pt", ["models.gen", "models.disc"])] {
        let error = read(&golden(name)).unwrap_err();
        assert!(error.to_string().ends_with(&format!("not said: {}", both.join(", "))), "{error}");
        let Error::SeveralParts { parts, .. } = error else { panic!("{error}") };
        assert_eq!(parts, both);
        for (k, part) in both.into_iter().enumerate() {
            assert_eq!(read_part(&golden(name), Some(part)).unwrap().params, network(8 * k as u8), "{name}");
        }
        let error = read_part(&golden(name), Some("critic")).unwrap_err().to_string();
        assert!(error.ends_with(&format!("no part `critic`; its parts: {}", both.join(", "))), "{error}");
    }
    let error = read_part(&golden("checkpoint_epoch_0100.pt"), Some("model")).unwrap_err().to_string();
    assert!(error.ends_with("no part `model`; its parts: none, it is one network"), "{error}");
}

#[test]
fn a_pickled_module_gives_its_state_dict() {
    let found = read(&golden("module.pt")).unwrap();
    assert_eq!((names(&found), found.part.as_deref()), (vec!["fc1.bias", "fc1.weight", "kept"], Some("model")));
    assert_eq!(*found.params.require("kept").unwrap().to_f64().unwrap(), [1.0]);
    let same = |name: &str| assert_eq!(found.params.get(name), network(0).get(name));
    ["fc1.weight", "fc1.bias"].into_iter().for_each(same);
    // Classes of modules are kept elsewhere, with their source, by the format before zip archives.
    assert_eq!(read(&golden("module_legacy.pt")).unwrap().params, found.params);
}

#[test]
fn tensors_of_every_kind() {
    for name in ["kinds.pt", "kinds_legacy.pt"] {
        let found = read(&golden(name)).unwrap();
        let expected = ["f8.e4m3", "f8.e5m2", "fc1.bias", "fc1.weight", "negative", "parameter", "strided", "u16"];
        assert_eq!(names(&found), expected, "{name}");
        let values = |name: &str| found.params.require(name).unwrap().to_f64().unwrap().into_owned();
        assert_eq!(values("f8.e4m3"), [1.5, -448.0]);
        assert_eq!(values("f8.e5m2"), [1.5, -57344.0]);
        assert_eq!(values("negative"), [-2.0, 4.0]);
        assert_eq!(values("strided"), [1.0, 2.0, 9.0, 10.0]);
        assert_eq!(found.params.require("u16").unwrap().bytes()[..], [255, 255]);
        for (name, words) in [
            ("f8.e8m0", "element type `float8_e8m0fnu`"),
            ("sparse", "a sparse tensor"),
            ("complex", "element type `ComplexFloat`"),
            ("quantised", "a quantised tensor"),
            ("meta", "of the device `meta`"),
            ("numpy", "a NumPy array; save it as a tensor"),
        ] {
            assert!(why(&found, name).contains(words), "{name}: {}", why(&found, name));
        }
    }
}

#[test]
fn npz_of_every_kind() {
    let found = read(&golden("kinds.npz")).unwrap();
    assert_eq!(names(&found), ["fc1.bias", "fc1.weight", "half"]);
    assert_eq!(found.params.require("half").unwrap().dtype(), DType::BF16);
    assert_eq!(*found.params.require("half").unwrap().to_f64().unwrap(), [1.5, -2.0]);
    assert!(why(&found, "objects").contains("Python objects"));
    assert!(why(&found, "text").contains("`<U3`"));
    assert!(why(&found, "wide").contains("f16"));
    assert!(why(&found, "__metadata__").contains("rename it"));
}

#[test]
fn other_pickles_and_programs_are_told() {
    let refused = |name: &str, words: &[&str]| {
        let error = read(&golden(name)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{name}: {error}");
    };
    refused("program.pt2", &["is a program of torch.export", "state_dict"]);
    refused("arrays.pkl", &["no tensors that can be used", "`w`", "NumPy array"]);
}

/// A file of torch around this pickle, with one storage of `bytes` bytes.
fn archive(pickle: &[u8], bytes: usize) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, data) in [("x/data.pkl", pickle), ("x/data/0", &vec![0; bytes][..]), ("x/byteorder", b"little")] {
        writer
            .start_file(name, SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored))
            .unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn opened(bytes: &[u8]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    std::fs::write(&path, bytes).unwrap();
    read(&path)
}

/// Opcodes of a float tensor of storage 0.
fn tensor(offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let int = |n: i32| [&b"J"[..], &n.to_le_bytes()].concat();
    let ints = |ns: &[i32]| [b"(".to_vec(), ns.iter().flat_map(|n| int(*n)).collect(), b"t".to_vec()].concat();
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ";
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    [&call[..], storage, &int(offset), &ints(shape), &ints(strides), b"\x89NtR"].concat()
}

/// A pickle of a dictionary with one entry `w`.
fn dict(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}X\x01\0\0\0w", value, b"s."].concat()
}

#[test]
fn views_stay_inside_their_storage() {
    let found = opened(&archive(&dict(&tensor(1, &[3], &[1])), 16)).unwrap();
    assert_eq!(found.params.require("w").unwrap().shape(), [3]);
    for (offset, shape, strides) in [
        (2, vec![3], vec![1]),
        (i32::MAX, vec![3], vec![1]),
        (0, vec![3], vec![i32::MAX]),
        (0, vec![2, 2, 2], vec![i32::MAX; 3]),
        (0, vec![5], vec![1]),
    ] {
        let error = opened(&archive(&dict(&tensor(offset, &shape, &strides)), 16)).unwrap_err().to_string();
        assert!(error.contains("`w`") && error.contains("beyond the 16 bytes"), "{error}");
    }
    // An axis of one entry is never walked along, an axis of none holds nothing.
    for (shape, strides) in [(vec![1, 4], vec![i32::MAX, 1]), (vec![0, 9], vec![1, i32::MAX])] {
        assert!(opened(&archive(&dict(&tensor(0, &shape, &strides)), 16)).is_ok());
    }
    for (offset, shape) in [(-1, vec![3]), (0, vec![-3])] {
        let error = opened(&archive(&dict(&tensor(offset, &shape, &[1])), 16)).unwrap_err().to_string();
        assert!(error.contains("no tensors that can be used"), "{error}");
    }
    let error = opened(&archive(&dict(&tensor(0, &[1; 65], &[1; 65])), 16)).unwrap_err().to_string();
    assert!(error.contains("65 lengths"), "{error}");
    let error = opened(&archive(&dict(&tensor(0, &[1 << 28], &[0])), 16)).unwrap_err().to_string();
    assert!(error.contains("its tensors claim 1073741824 bytes"), "{error}");
}

#[test]
fn hostile_pickles_take_no_more_than_their_length() {
    let repeated = |start: &[u8], part: &[u8], count: usize, end: &[u8]| [start, &part.repeat(count), end].concat();
    let small = tensor(0, &[4], &[1]);
    // A dictionary that holds itself, beside a tensor.
    let own = [b"\x80\x02}q\x00X\x01\0\0\0ah\x00sX\x01\0\0\0w", &small[..], b"s."].concat();
    assert_eq!(names(&opened(&archive(&own, 16)).unwrap()), ["w"]);
    // Thirty levels, each of which holds the one below twice.
    let twice = repeated(&[b"\x80\x02", &small[..]].concat(), b"q\x01]q\x02h\x01ah\x01a", 30, b".");
    let error = opened(&archive(&twice, 16)).unwrap_err().to_string();
    assert!(error.contains("shared over and over"), "{error}");
    // A tensor below more levels than are looked into.
    let deep = repeated(b"\x80\x02", b"]", 5000, &[&small[..], &b"a".repeat(5000), b"."].concat());
    assert!(opened(&archive(&deep, 16)).unwrap_err().to_string().contains("nesting"));
    // Long names, one inside the other.
    let key = [b"X\0\0\x10\0".to_vec(), vec![b'n'; 1 << 20], b"q\x05".to_vec()].concat();
    let long = [b"\x80\x02}", &key[..], &b"}h\x05".repeat(100), &small, &b"s".repeat(101), b"."].concat();
    let error = opened(&archive(&long, 16)).unwrap_err().to_string();
    assert!(error.contains("names are too long"), "{error}");
    for (pickle, words) in [
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec(), "more bytes are expected"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.".to_vec(), "more bytes are expected"),
        (b"\x80\x02(.".to_vec(), "a value is missing"),
        (b"\x80\x02t.".to_vec(), "no mark"),
        (b"\x80\x02h\x07.".to_vec(), "nothing was kept as 7"),
        (b"\x80\x02K\x01K\x02s.".to_vec(), "a value is missing"),
        (b"\x80\x02N(K\x01u.".to_vec(), "a key without a value"),
        (b"\x80\x02\xff.".to_vec(), "no opcode 0xff"),
        (b"\x80\x02}".to_vec(), "more bytes are expected"),
        (repeated(b"\x80\x02K\x01", b"2", 2 << 20, b"."), "no tensors"),
    ] {
        let error = opened(&archive(&pickle, 16)).unwrap_err().to_string();
        assert!(error.contains(words), "expected {words}: {error}");
    }
}

#[test]
fn storages_and_sums_are_checked() {
    let whole = archive(&dict(&tensor(0, &[4], &[1])), 16);
    // The sum of the storage, in the directory: its entry is the second.
    let entry = whole.windows(4).enumerate().filter(|(_, w)| w == b"PK\x01\x02").nth(1).unwrap().0;
    let mut wrong = whole.clone();
    wrong[entry + 16] ^= 1;
    let error = opened(&wrong).unwrap_err().to_string();
    assert!(error.contains("`w`") && error.contains("checksum"), "{error}");
    // torch.serialization.set_crc32_options(False) writes no sums.
    wrong[entry + 16..entry + 20].fill(0);
    assert_eq!(opened(&wrong).unwrap().params, opened(&whole).unwrap().params);
    let mut gone = whole;
    let name = entry + 46;
    assert_eq!(gone[name..name + 8], *b"x/data/0");
    gone[name + 7] = b'9';
    let error = opened(&gone).unwrap_err().to_string();
    assert!(error.contains("`w`") && error.contains("data/0 is not in the archive"), "{error}");
}
