//! `onebasin reproduce`: killed at random moments it comes to the same bytes; what it says and refuses.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use onebasin_testkit::data_or_skip;

fn onebasin() -> Command {
    Command::new(env!("CARGO_BIN_EXE_onebasin"))
}

/// Trains, aligns by every method, and measures; a few seconds of work.
const EXPERIMENT: &str = "
title = 'Killed'
source = 'Nowhere'
kind = 'epochs'
[setting]
methods = ['weight', 'activation', 'straight-through', 'portfolio']
points = 5
at = [1, 6]
[setting.training]
network = 'mlp:96x2'
data = 'digits'
recipe = 'mnist-mlp'
seeds = [0, 1]
epochs = 6
batch = 20
samples = 3000
measure = [1000, 500]
[[claim]]
what = 'barrier'
paper = '0'
here = '6.weight.test.barrier'
";

/// Every file below a folder but locks and times, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if name != "lock" && name != "done.json" {
            all.insert(name, std::fs::read(&path).unwrap());
        }
    }
    all
}

fn run(folder: &Path, output: &str) -> Command {
    let mut command = onebasin();
    command
        .args(["reproduce", "killed.toml", "--save-every", "0.02", "--quiet", "--output", output])
        .current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
#[allow(clippy::print_stdout, reason = "docs/results quotes this line")]
fn killed_twenty_times_it_comes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("killed.toml"), EXPERIMENT).unwrap();
    assert!(run(folder.path(), "whole").status().unwrap().success());
    let (mut killed, mut ended) = (0, 0);
    let mut stream = onebasin_core::stream::Stream::new(0, "kill");
    while killed < 20 {
        let mut child = run(folder.path(), "killed").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + stream.below(400) as u64));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // It was done before it was killed: begin again.
            std::fs::remove_dir_all(folder.path().join("killed")).unwrap();
            ended += 1;
        } else {
            killed += 1;
        }
        assert!(ended < 20, "it is done before it can be killed");
    }
    assert!(run(folder.path(), "killed").status().unwrap().success());
    let (whole, after) = (files(&folder.path().join("whole")), files(&folder.path().join("killed")));
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&after));
    for (name, bytes) in &whole {
        assert!(after[name] == *bytes, "{name} differs");
    }
    println!("killed 20 times, ran to its end {ended} times before; {} files are the same bytes", whole.len());
}

#[test]
fn the_list_names_every_experiment_and_its_cost() {
    let output = onebasin().args(["reproduce", "--list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("fig3-mnist") && text.contains("quick: about"), "{text}");
    let output = onebasin().args(["reproduce", "--list", "--json"]).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows["experiments"].as_array().unwrap().len(), 18);
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |args: &[&str], part: &str| {
        let output = onebasin().arg("reproduce").args(args).current_dir(folder.path()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(part), "{args:?}: {text}");
    };
    fails(&["fig99"], "fig2-mnist");
    fails(&["nothing.toml"], "nothing.toml");
    fails(&["fig3-mnist", "--scale", "paper"], "data/mnist");
    fails(&["fig3-mnist", "--scale", "huge"], "paper");
    fails(&[], "EXPERIMENT");
}

/// Every experiment that is marked for these tests, at quick scale; they share networks, and a cache.
#[test]
fn quick_ones_hold() {
    let Some(data) = data_or_skip("quick_ones_hold") else { return };
    let folder = tempfile::tempdir().unwrap();
    let list = onebasin().args(["reproduce", "--list", "--json"]).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let list = list["experiments"].as_array().unwrap();
    let mut marked: Vec<&str> =
        list.iter().filter(|e| e["nightly"] == false).map(|e| e["experiment"].as_str().unwrap()).collect();
    assert!(marked.len() >= 10, "{marked:?}");
    // It keeps the weights of many epochs of networks that others need the last of.
    marked.sort_by_key(|name| *name != "fig3-mnist");
    // Two at a time, a thread each; those of one half share no stage with those of the other.
    let apart = ["fig5-split-cifar100", "fig13-merge-many", "a7-one-pass", "a5-timings", "fig6-counterexample"];
    let halves: (Vec<&str>, Vec<&str>) = marked.iter().partition(|name| apart.contains(name));
    std::thread::scope(|scope| {
        for half in [halves.0, halves.1] {
            scope.spawn(|| half.into_iter().for_each(|name| holds(name, folder.path(), &data)));
        }
    });
}

/// Runs an experiment on one thread, and fails if a claim does not hold.
#[allow(clippy::print_stdout, reason = "docs/results quotes these lines")]
fn holds(name: &str, folder: &Path, data: &Path) {
    let mut command = onebasin();
    command.args(["reproduce", name, "--json", "--threads", "1", "--output"]).arg(folder).arg("--data").arg(data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for claim in found["claims"].as_array().unwrap() {
        println!("{name}: {}: {} here, {} in the paper", claim["what"], claim["here"], claim["paper"]);
        assert!(claim["holds"] != false, "{name}: {claim}");
    }
    assert!(folder.join(format!("{name}-quick/index.html")).is_file());
}
