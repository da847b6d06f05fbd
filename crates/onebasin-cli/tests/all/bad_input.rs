//! Bad input: a clear error, exit code 1, nothing written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use onebasin_core::{Params, Tensor};
use onebasin_io::{Metadata, write};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// A network of one hidden layer of `hidden` units, all weights `value`.
    fn net(&self, name: &str, hidden: usize, value: f32) -> PathBuf {
        let mut params = Params::new();
        for (tensor, shape) in [
            ("fc1.weight", vec![hidden, 3]),
            ("fc1.bias", vec![hidden]),
            ("fc2.weight", vec![2, hidden]),
            ("fc2.bias", vec![2]),
        ] {
            let count = shape.iter().product();
            params.insert(tensor, Tensor::from_f32(&shape, vec![value; count]).unwrap());
        }
        write(&self.path(name), &params, &Metadata::default()).unwrap();
        self.path(name)
    }
}

fn onebasin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onebasin")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Merges two files of an MLP with one hidden layer; expects failure, the words, and no output.
fn refused(folder: &Folder, a: &Path, b: &Path, more: &[&str], words: &[&str]) {
    let out = folder.path("out.safetensors");
    let network = if more.contains(&"--symmetry") { vec![] } else { vec!["--network", "mlp:4"] };
    let mut arguments = vec!["merge", text(a), text(b), "-o", text(&out)];
    arguments.extend(network);
    arguments.extend(more);
    let output = onebasin(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(words.iter().all(|w| said.contains(w)), "expected {words:?} in:\n{said}");
    assert!(output.stdout.is_empty());
    assert!(!out.exists());
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| !n.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn broken_files() {
    let f = Folder::new();
    let a = f.net("a.safetensors", 4, 1.0);
    let whole = std::fs::read(&a).unwrap();
    refused(&f, &a, &f.bytes("cut", &whole[..whole.len() - 5]), &[], &["cut", "not a valid safetensors file"]);
    refused(&f, &a, &f.bytes("short", &whole[..5]), &[], &["short", "5 bytes"]);
    refused(
        &f,
        &a,
        &f.bytes("huge", &[&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()),
        &[],
        &["huge", "9223372036854775808"],
    );
    refused(&f, &a, &f.bytes("empty", b""), &[], &["empty", "the file is empty"]);
    let folder = f.path("folder");
    std::fs::create_dir(&folder).unwrap();
    refused(&f, &a, &folder, &[], &["folder", "model.safetensors"]);
    std::fs::remove_dir(&folder).unwrap();
    refused(&f, &a, &f.path("missing"), &[], &["missing: cannot open: No such file or directory (os error 2)\n"]);
}

#[test]
fn networks_that_do_not_fit() {
    let f = Folder::new();
    let a = f.net("a.safetensors", 4, 1.0);
    let nan = f.net("nan.safetensors", 4, f32::NAN);
    refused(&f, &a, &nan, &[], &["nan.safetensors", "`fc1.bias`", "NaN", "[0]"]);
    let seen = onebasin(&["inspect", text(&nan), "--network", "mlp:4"]);
    assert!(seen.status.success() && String::from_utf8_lossy(&seen.stdout).contains("12 values are not finite"));
    let wide = f.net("wide.safetensors", 5, 1.0);
    refused(&f, &a, &wide, &[], &["wide.safetensors", "`fc1.weight`", "[4, 3]", "[5, 3]"]);
    let right = b"[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = '. h'\n'fc2.bias' = '.'\n";
    let right = f.bytes("right.toml", right);
    let words = ["`fc1.weight`: shape [4, 3] in A, [5, 3] in B", "`fc1.bias`: shape [4] in A, [5] in B"];
    refused(&f, &a, &wide, &["--symmetry", text(&right)], &words);
    let wrong = f.bytes("wrong.toml", b"[tensors]\n\"fc1.weight\" = \"h (\"\n");
    refused(&f, &a, &a, &["--symmetry", text(&wrong)], &["wrong.toml", "`fc1.weight`", "column 4"]);
    let sizes = b"[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = 'h .'\n'fc2.bias' = '.'\n";
    let sizes = f.bytes("sizes.toml", sizes);
    refused(
        &f,
        &a,
        &a,
        &["--symmetry", text(&sizes)],
        &["`fc2.weight`, axis 0", "`h` is 4, the axis is 2", "`fc1.bias`"],
    );
    refused(&f, &a, &a, &["--lambda", "1.5"], &["--lambda", "1.5"]);
}

#[test]
fn a_gpu_that_is_not_there() {
    let f = Folder::new();
    let a = f.net("a.safetensors", 4, 1.0);
    let out = f.path("out.safetensors");
    let run = |verb: &[&str], device| {
        let rest = ["--network", "mlp:4", "--device", device, "-o", text(&out)];
        let output = onebasin(&[&[verb[0], text(&a), text(&a)], &verb[1..], &rest].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for verb in [&["match"][..], &["merge"], &["barrier", "--data", "digits"]] {
        let (code, said) = run(verb, "cuda:1000");
        assert_eq!(code, Some(1), "{said}");
        let (missing, number) = ("no NVIDIA GPU can be used", "there is no GPU 1000");
        assert!((said.contains(missing) && said.contains("--device cpu")) || said.contains(number), "{said}");
        let (code, said) = run(verb, "tpu");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("known: cpu, cuda, cuda:N") && !out.exists(), "{said}");
    }
    assert_eq!(run(&["match"], "cpu").0, Some(0));
}

#[test]
fn a_checkpoint_that_does_not_say_its_network() {
    let f = Folder::new();
    let a = f.net("a.safetensors", 4, 1.0);
    let out = f.path("out.safetensors");
    let output = onebasin(&["merge", text(&a), text(&a), "-o", text(&out)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("--network") && said.contains("--symmetry") && !out.exists(), "{said}");
}

#[test]
fn a_group_that_stands_in_one_place_is_told() {
    let f = Folder::new();
    let (a, b) = (f.net("a.safetensors", 4, 1.0), f.net("b.safetensors", 4, 2.0));
    let text_of = |bias| {
        format!("[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = '{bias}'\n'fc2.weight' = '. h'\n'fc2.bias' = '.'\n")
    };
    for (bias, told) in [("h", false), ("H", true)] {
        let symmetry = f.bytes("net.toml", text_of(bias).as_bytes());
        let out = f.path("out.safetensors");
        let output = onebasin(&["merge", text(&a), text(&b), "-o", text(&out), "--symmetry", text(&symmetry)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("group `H` stands on axis 0 of `fc1.bias` and nowhere else"), told, "{said}");
    }
}

#[test]
fn places_that_cannot_be_written() {
    let f = Folder::new();
    let a = f.net("a.safetensors", 4, 1.0);
    for (place, word) in [("nowhere/out.safetensors", "does not exist"), ("", "is a folder")] {
        let place = f.path(place);
        let output = onebasin(&["merge", text(&a), text(&a), "-o", text(&place), "--network", "mlp:4"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let f = Folder::new();
    let a = f.net("a.safetensors", 4000, 1.0);
    let out = f.bytes("out.safetensors", b"old");
    let run = format!(
        "ulimit -f 16; exec {} merge {a} {a} -o {} --network mlp:4000 --max-sweeps 1",
        env!("CARGO_BIN_EXE_onebasin"),
        text(&out),
        a = text(&a)
    );
    let output = Command::new("sh").args(["-c", &run]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("disk full"), "{said}");
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(f.0.path()).unwrap().count(), 2);
}

#[test]
fn unknown_data_and_networks() {
    let f = Folder::new();
    let out = f.path("out.safetensors");
    for (code, network, data, words) in [
        (2, "mlp:8", "minst:x", ["did you mean `mnist:x`", "mnist:DIR"]),
        (1, "mlp:8", "mnist", ["folder is missing", "mnist:DIR"]),
        (1, "mlp:8", "mnist:/nowhere", ["/nowhere", "train-images"]),
        (1, "mlp:0x3", "digits", ["mlp:0x3", "mlp:512x3"]),
        (2, "vgg", "digits", ["vgg", "mlp:512x3"]),
        (2, "resnet20-nl:4", "digits", ["did you mean `resnet20-ln:4`", "known are"]),
    ] {
        let output = onebasin(&["train", network, "--data", data, "-o", text(&out)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
        assert!(!out.exists());
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in
        [&["merge"][..], &["nonsense"], &["train", "mlp:8", "--data"], &["merge", "a", "b", "-o", "c", "--dtype", "f8"]]
    {
        assert_eq!(onebasin(arguments).status.code(), Some(2));
    }
}
