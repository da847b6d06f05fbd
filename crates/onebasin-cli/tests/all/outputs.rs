//! Where outputs go and what stands in their way: found before the work begins, said in words, never a panic.
#![cfg(unix)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use onebasin_core::{Params, Tensor};
use onebasin_io::{Metadata, read, write};
use tempfile::TempDir;

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onebasin"));
    command.current_dir(folder).args(line.split_whitespace());
    command
}

fn run(folder: &Path, line: &str) -> Output {
    command(folder, line).output().unwrap()
}

/// Fails with words on standard error, and without a panic.
fn refused(folder: &Path, line: &str, words: &[&str]) {
    let output = run(folder, line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{line}\n{said}");
    assert!(words.iter().all(|word| said.contains(word)) && !said.contains("panicked"), "{line}\n{said}");
}

fn net(path: &Path, hidden: usize, seed: f32) {
    let mut net = Params::new();
    let shapes: [(&str, &[usize]); 4] =
        [("fc1.weight", &[hidden, 784]), ("fc1.bias", &[hidden]), ("fc2.weight", &[10, hidden]), ("fc2.bias", &[10])];
    for (name, shape) in shapes {
        let values = (0..shape.iter().product::<usize>()).map(|k| ((k as f32 + 1.0) * seed).sin()).collect();
        net.insert(name, Tensor::from_f32(shape, values).unwrap());
    }
    write(path, &net, &Metadata::default()).unwrap();
}

/// Two networks of one hidden layer, and an alignment.
fn pair() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, seed) in [("a", 0.7), ("b", 1.3)] {
        net(&at.join(format!("{name}.safetensors")), 8, seed);
    }
    assert!(run(at, "-q match a.safetensors b.safetensors --network mlp:8 -o align.safetensors").status.success());
    folder
}

/// One line of every verb, without an output of its own.
const LINES: [&str; 10] = [
    "completions bash",
    "--help",
    "merge --help",
    "--version",
    "inspect a.safetensors",
    "check a.safetensors --network mlp:8",
    "match a.safetensors b.safetensors --network mlp:8 -o x.safetensors",
    "merge a.safetensors b.safetensors --network mlp:8 -o x.safetensors",
    "barrier a.safetensors b.safetensors --network mlp:8 --data digits --samples 100 --points 3",
    "reproduce --list",
];

#[test]
#[cfg(target_os = "linux")]
fn a_full_or_closed_standard_output_is_no_panic() {
    let folder = pair();
    for line in LINES {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(folder.path(), line).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}\n{said}");
        assert!(said.contains("No space left") && !said.contains("panicked"), "{line}\n{said}");
        let mut child = command(folder.path(), line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("panicked") && !said.contains("error"), "{line}\n{said}");
    }
}

#[test]
fn the_number_of_threads_has_one_limit() {
    let folder = pair();
    let output = run(folder.path(), "--threads 999999 inspect a.safetensors");
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains("4096"));
    let output = command(folder.path(), "inspect a.safetensors").env("RAYON_NUM_THREADS", "999999").output().unwrap();
    assert!(output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("4096"));
    assert!(
        command(folder.path(), "inspect a.safetensors")
            .env("RAYON_NUM_THREADS", "2")
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_the_work() {
    let folder = pair();
    let at = folder.path();
    fs::create_dir(at.join("folder")).unwrap();
    let long = "n".repeat(300);
    let places = [("nowhere/x", "does not exist"), ("folder", "is a folder"), (&*long, "name too long")];
    // Each would take minutes.
    let big = "--data digits --network mlp:8";
    for (place, word) in places {
        for line in [
            format!("match a.safetensors b.safetensors {big} --method ste --ste-epochs 100000 -o {place}"),
            format!("match a.safetensors b.safetensors {big} --method ste --ste-epochs 100000 -o x --report {place}"),
            format!("barrier a.safetensors b.safetensors {big} --points 10001 -o {place}"),
            format!("train mlp:8 --data digits --epochs 100000 -o {place}"),
            format!("merge a.safetensors b.safetensors {big} --method ste --ste-epochs 100000 -o {place}"),
            format!("merge-many a.safetensors b.safetensors {big} -o {place}"),
            format!("apply align.safetensors b.safetensors -o {place}"),
        ] {
            let begun = Instant::now();
            let output = run(at, &line);
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert_eq!(output.status.code(), Some(1), "{line}\n{said}");
            assert!(said.contains(word) && !said.contains("panicked"), "{line}\n{said}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{line}");
        }
    }
    refused(at, "reproduce fig6-counterexample --output a.safetensors/x", &["a.safetensors/x"]);
    assert_eq!(fs::read_dir(at).unwrap().count(), 4);
}

#[test]
fn inputs_are_not_lost_unasked() {
    let folder = pair();
    let at = folder.path();
    std::os::unix::fs::symlink("a.safetensors", at.join("link")).unwrap();
    fs::write(at.join("net.toml"), "[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = '. h'\n")
        .unwrap();
    for line in [
        "merge a.safetensors b.safetensors --network mlp:8 -o b.safetensors",
        "merge a.safetensors b.safetensors --network mlp:8 -o link",
        "merge a.safetensors b.safetensors --network mlp:8 --align align.safetensors -o align.safetensors",
        "match a.safetensors b.safetensors --network mlp:8 -o a.safetensors",
        "match a.safetensors b.safetensors --symmetry net.toml -o net.toml",
        "match a.safetensors b.safetensors --network mlp:8 -o x --report b.safetensors",
        "apply align.safetensors b.safetensors -o b.safetensors",
        "apply align.safetensors b.safetensors -o align.safetensors",
        "merge-many a.safetensors b.safetensors --network mlp:8 -o b.safetensors",
        "barrier a.safetensors b.safetensors --network mlp:8 --data digits -o a.safetensors",
    ] {
        refused(at, line, &["is the input", "--overwrite"]);
    }
    for line in [
        "match a.safetensors b.safetensors --network mlp:8 -o x --report ./x",
        "barrier a.safetensors b.safetensors --network mlp:8 --data digits --plot x.svg --plot ./x.svg",
    ] {
        refused(at, line, &["two outputs"]);
    }
    let before = read(&at.join("b.safetensors")).unwrap().params.clone();
    before.check_finite().unwrap();
    let line = "-q apply align.safetensors b.safetensors -o b.safetensors --overwrite";
    assert!(run(at, line).status.success());
    let line = "-q apply align.safetensors b.safetensors --inverse -o back.safetensors";
    assert!(run(at, line).status.success());
    assert_eq!(read(&at.join("back.safetensors")).unwrap().params, before);
}

#[test]
#[cfg(target_os = "linux")]
fn standard_output_takes_a_file_and_the_result_goes_aside() {
    let folder = pair();
    let at = folder.path();
    let line = "merge a.safetensors b.safetensors --network mlp:8";
    assert!(run(at, &format!("-q {line} -o m.safetensors")).status.success());
    let file = fs::read(at.join("m.safetensors")).unwrap();
    let piped = run(at, &format!("--json {line} -o -"));
    assert!(piped.stdout == file && String::from_utf8_lossy(&piped.stderr).contains("\"output\""));
    let redirected = File::create(at.join("r.safetensors")).unwrap();
    assert!(command(at, &format!("{line} -o -")).stdout(redirected).output().unwrap().status.success());
    assert!(fs::read(at.join("r.safetensors")).unwrap() == file);
    assert!(run(at, &format!("-q {line} -o /dev/null")).status.success());
    assert!(!Path::new("/dev/null").is_file() && Path::new("/dev/null").exists());
    refused(
        at,
        "train mlp:8 --data digits --epochs 1 --checkpoint-every 1 -o /dev/null",
        &["/dev/null", "name a file"],
    );
}

/// Ends within a second of a signal.
fn ends(mut child: Child, signal: &str, line: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let begun = Instant::now();
    let status = child.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1500), "{line}: {:?}", begun.elapsed());
    assert_eq!(status.code(), Some(1), "{line}");
}

#[test]
fn one_signal_ends_any_verb() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, seed) in [("a", 0.7), ("b", 1.3)] {
        net(&at.join(format!("{name}.safetensors")), 3000, seed);
    }
    let pipe: PathBuf = at.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let two = "a.safetensors b.safetensors --network mlp:3000";
    for (line, signal) in [
        (format!("merge {two} --symmetry pipe -o x"), "-INT"),
        (format!("match {two} --method frank-wolfe -o x"), "-TERM"),
        (format!("match {two} --method spectral -o x"), "-INT"),
        (format!("match {two} --restarts 64 -o x"), "-INT"),
        (format!("merge-many {two} --method universe -o x"), "-TERM"),
        (format!("barrier {two} --data digits --points 10001"), "-INT"),
        ("train mlp:512x3 --data digits --epochs 100000 -o x".to_owned(), "-TERM"),
        ("reproduce fig3-mnist --output r --data pipe".to_owned(), "-INT"),
    ] {
        let child = command(at, &line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(250));
        let mut child = child;
        if child.try_wait().unwrap().is_none() {
            ends(child, signal, &line);
        }
    }
    assert!(!at.join("x").exists());
}

/// The same network in two shards with an index.
fn shards(at: &Path, name: &str, seed: f32) {
    let file = at.join("whole.safetensors");
    net(&file, 512, seed);
    let whole = read(&file).unwrap().params;
    fs::create_dir(at.join(name)).unwrap();
    let of = |tensor: &str| format!("model-{}.safetensors", 1 + usize::from(tensor.starts_with("fc2")));
    for layer in ["fc1", "fc2"] {
        let part = whole.iter().filter(|(n, _)| n.starts_with(layer)).map(|(n, t)| (n.to_owned(), t.clone())).collect();
        write(&at.join(name).join(of(layer)), &part, &Metadata::default()).unwrap();
    }
    let map: serde_json::Map<String, serde_json::Value> = whole.names().map(|n| (n.to_owned(), of(n).into())).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(at.join(name).join("model.safetensors.index.json"), index).unwrap();
    fs::write(at.join(name).join("config.json"), "{}").unwrap();
    fs::remove_file(file).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_merge_into_its_own_input_is_killed_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    shards(at, "a", 0.7);
    shards(at, "b", 1.3);
    let spec = "[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = '. h'\n'fc2.bias' = '.'\n";
    fs::write(at.join("net.toml"), spec).unwrap();
    let line = "-q match a b --symmetry net.toml --method greedy --no-diagnosis -o align.safetensors";
    assert!(run(at, line).status.success());
    refused(at, "merge a b --align align.safetensors -o a", &["is the input"]);
    let line = "-q merge a b --align align.safetensors --no-check --force --overwrite -o a";
    let mut stream = onebasin_core::stream::Stream::new(0, "kill");
    for _ in 0..20 {
        let mut child = command(at, line).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(stream.below(120) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = read(&at.join("a")).unwrap();
        found.params.check_finite().unwrap();
        assert_eq!((found.params.len(), fs::read(at.join("a/config.json")).unwrap()), (4, b"{}".to_vec()));
    }
    assert!(run(at, line).status.success());
    let names = |folder: &Path| fs::read_dir(folder).unwrap().count();
    // Shards, index, configuration, and the model card.
    assert_eq!((names(at), names(&at.join("a"))), (4, 5));
}

#[test]
fn an_input_cut_short_meanwhile_is_named() {
    let folder = pair();
    let at = folder.path();
    let pipe = at.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let line = "merge a.safetensors b.safetensors --symmetry pipe --method weight -o m.safetensors";
    let child = command(at, line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has opened A, and waits for the symmetry.
    let mut symmetry = File::options().write(true).open(&pipe).unwrap();
    File::options().write(true).open(at.join("a.safetensors")).unwrap().set_len(1000).unwrap();
    let spec = b"[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = '. h'\n'fc2.bias' = '.'\n";
    std::io::Write::write_all(&mut symmetry, spec).unwrap();
    drop(symmetry);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a.safetensors") && said.contains("is shorter now"), "{said}");
    assert!(!at.join("m.safetensors").exists());
}
