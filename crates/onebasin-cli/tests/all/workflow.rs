//! The program from training to report, as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use onebasin_core::{DType, Params, Tensor};
use onebasin_io::{Metadata, read, write};
use serde_json::Value;
use tempfile::TempDir;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onebasin")).current_dir(folder).args(arguments).output().unwrap()
}

/// Runs the program, expects success, gives back standard output.
fn done(folder: &Path, line: &str) -> String {
    let output = run(folder, &line.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn params(folder: &Path, name: &str) -> Params {
    read(&folder.join(name)).unwrap().params
}

/// A folder with two small networks trained on digits.
fn trained() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for seed in [0, 1] {
        done(
            folder.path(),
            &format!("-q train mlp:24x2 --data digits --epochs 2 --seed {seed} -o {}.safetensors", ["a", "b"][seed]),
        );
    }
    folder
}

#[test]
fn every_method_gives_a_curve_and_repairs_an_average() {
    let folder = trained();
    let at = folder.path();
    let methods = "auto,weight,spectral,frank-wolfe,greedy,activation,ste";
    let line = format!(
        "barrier a.safetensors b.safetensors --data digits --samples 200 --points 3 --method {methods} --match-samples 500 \
         --ste-epochs 1 -o r.json --plot f.svg"
    );
    done(at, &line);
    let report: Value = serde_json::from_slice(&std::fs::read(at.join("r.json")).unwrap()).unwrap();
    let names: Vec<&str> = report["curves"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names.join(","), format!("naive,{methods}"));
    for record in report["matching"].as_array().unwrap() {
        assert!(record["diagnosis"]["kind"].is_string(), "{record}");
    }
    let published = "match a.safetensors b.safetensors -o w.safetensors --method weight --start identity --restarts 1";
    done(at, published);
    done(at, "merge a.safetensors b.safetensors -o m.safetensors --repair weights");
    done(at, "merge a.safetensors b.safetensors -o m.safetensors --data digits --repair data");
    // No group corresponds perfectly, so all follow A.
    done(
        at,
        "merge a.safetensors b.safetensors -o m.safetensors --data digits --method activation --min-correlation 1",
    );
    let (merged, a) = (params(at, "m.safetensors"), params(at, "a.safetensors"));
    assert!(["fc1.weight", "fc2.weight"].iter().all(|name| merged.get(name) == a.get(name)));
}

#[test]
fn images_are_changed_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |how: &str| {
        done(folder.path(), &format!("-q train mlp:8x1 --data digits --epochs 1 {how} -o a.safetensors"));
        params(folder.path(), "a.safetensors")
    };
    let [usual, none, moved] = ["", "--augment none", "--augment crop-flip"].map(trained);
    assert_eq!(usual, none);
    assert_ne!(usual, moved);
}

#[test]
fn straight_through_matching_goes_on_to_the_same_bits() {
    let folder = trained();
    let at = folder.path();
    let line = |epochs: usize, output: &str, more: &str| {
        let options = "--data digits --method ste --match-samples 500 --no-diagnosis";
        done(
            at,
            &format!(
                "match a.safetensors b.safetensors -o {output}.safetensors {options} --ste-epochs {epochs} {more}"
            ),
        );
    };
    line(2, "whole", "");
    line(2, "again", "");
    assert_eq!(params(at, "whole.safetensors"), params(at, "again.safetensors"));
    line(2, "again", "--resume");
    assert_eq!(params(at, "whole.safetensors"), params(at, "again.safetensors"));
}

#[test]
fn a_solved_merge_says_and_draws_what_it_explains() {
    let folder = trained();
    let at = folder.path();
    let line = "merge a.safetensors b.safetensors -o m.safetensors --data digits --repair solve --solve-samples 500 --plot l.svg";
    let text = done(at, line);
    assert!(text.contains("3 layers solved on 500 samples of digits, without labels"), "{text}");
    assert!(std::fs::read_to_string(at.join("l.svg")).unwrap().contains("R²"));
    let found: Value = serde_json::from_str(&done(at, &format!("{line} --json"))).unwrap();
    let last = |which: &str| found["solved"][which]["outputs"][0]["explained"].as_f64().unwrap();
    assert!(last("after") > last("before"), "{found}");
    let refused = |line: &str| {
        let output = run(at, &line.split_whitespace().collect::<Vec<_>>());
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    };
    let plot = refused("merge a.safetensors b.safetensors -o m.safetensors --data digits --plot l.svg");
    assert!(plot.contains("--repair solve"), "{plot}");
    let none =
        refused("merge a.safetensors b.safetensors -o m.safetensors --data digits --repair solve --solve-samples 0");
    assert!(none.contains("solve_samples above 0"), "{none}");
    done(at, "barrier a.safetensors b.safetensors --data digits --samples 200 --points 3 --repair distil -o r.json");
    let report: Value = serde_json::from_slice(&std::fs::read(at.join("r.json")).unwrap()).unwrap();
    assert_eq!(report["repair"], "distil");
}

#[test]
fn many_networks_become_one() {
    let folder = trained();
    let at = folder.path();
    for method in ["tree", "rounds", "universe"] {
        let line = format!(
            "merge-many a.safetensors b.safetensors a.safetensors -o m.safetensors --method {method} --data digits --json"
        );
        let found: Value = serde_json::from_str(&done(at, &line)).unwrap();
        assert_eq!(found["measured"]["pairs"].as_array().unwrap().len(), 3, "{method}");
        let [mean, ensemble] = ["mean", "ensemble"].map(|who| {
            let scores = &found["measured"][who]["test"];
            ["loss", "accuracy", "calibration_error"].map(|what| scores[what].as_f64().unwrap())
        });
        assert!(mean.iter().chain(&ensemble).all(|x| x.is_finite() && *x >= 0.0), "{mean:?} {ensemble:?}");
        assert_ne!(mean, ensemble, "{method}");
    }
    let text = done(at, "merge-many a.safetensors b.safetensors -o m.safetensors --data digits");
    let table: Vec<&str> =
        text.lines().skip_while(|l| !l.starts_with("test accuracy by class")).skip(2).take(10).collect();
    for (class, row) in table.iter().enumerate() {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!((cells.len(), cells[0]), (6, class.to_string().as_str()), "{text}");
        let [least, most] = [1, 3].map(|at: usize| cells[at].parse::<f64>().unwrap());
        assert!(least <= most && most <= 100.0, "{row}");
    }
    let line = "merge-many a.safetensors b.safetensors -o m.safetensors --data digits --repair solve --json";
    let found: Value = serde_json::from_str(&done(at, line)).unwrap();
    assert_eq!(found["solved"]["after"]["sites"].as_array().unwrap().len(), 3);
    done(at, "merge-many a.safetensors a.safetensors a.safetensors -o m.safetensors");
    assert_eq!(params(at, "m.safetensors"), params(at, "a.safetensors"));
}

/// Rounds of federated training from a shell: clients beside the network that was sent out, weighted, each round starting where the
/// one before it ended.
#[test]
fn rounds_go_on_from_the_alignments_of_the_last_one() {
    let folder = trained();
    let at = folder.path();
    std::fs::copy(at.join("b.safetensors"), at.join("client.safetensors")).unwrap();
    let round = |more: &str| {
        let line =
            format!("merge-many a.safetensors client.safetensors -o m.safetensors --method reference --json {more}");
        serde_json::from_str::<Value>(&done(at, &line)).unwrap()
    };
    let first = round("--weights 0,120 --alignments one");
    assert_eq!(first["alignments"][1], "one/client.alignment.safetensors");
    let alone = params(at, "m.safetensors");
    done(at, "apply one/client.alignment.safetensors client.safetensors -o moved.safetensors");
    assert_eq!(alone, params(at, "moved.safetensors"), "all of the weight is the client's");
    let second = round("--weights 0,120 --start-from one --alignments two");
    let changed = |found: &Value| found["options"]["rounds"][0]["changed_models"].as_u64();
    assert_eq!((changed(&first), changed(&second)), (Some(1), Some(0)));
    assert_eq!(params(at, "two/client.alignment.safetensors"), params(at, "one/client.alignment.safetensors"));
    std::fs::rename(at.join("client.safetensors"), at.join("new.safetensors")).unwrap();
    let line = "merge-many a.safetensors new.safetensors -o m.safetensors --start-from one";
    let found = run(at, &line.split(' ').collect::<Vec<_>>());
    assert!(found.status.success() && String::from_utf8_lossy(&found.stderr).contains("starts as it comes"));
    for (wrong, said) in
        [("--weights 1", "one for every network"), ("--weights 0,0", "above 0"), ("--weights 1,-2", "from 0")]
    {
        let line = format!("merge-many a.safetensors new.safetensors -o m.safetensors {wrong}");
        let found = run(at, &line.split(' ').collect::<Vec<_>>());
        assert!(String::from_utf8_lossy(&found.stderr).contains(said), "{found:?}");
        assert!(!found.status.success());
    }
}

#[test]
fn a_share_of_the_samples_is_drawn_by_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (file, share, seed) in [("a", "0.1", 0), ("same", "0.1", 0), ("more", "0.2", 0)] {
        done(
            at,
            &format!("-q train mlp:8 --data digits --epochs 1 --share {share} --seed {seed} -o {file}.safetensors"),
        );
    }
    assert_eq!(params(at, "a.safetensors"), params(at, "same.safetensors"));
    assert_ne!(params(at, "a.safetensors"), params(at, "more.safetensors"));
    let none = run(at, &"train mlp:8 --data digits --share 0 -o b.safetensors".split(' ').collect::<Vec<_>>());
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("share"));
}

#[test]
fn from_two_networks_to_one() {
    let folder = trained();
    let at = folder.path();

    let merged: Value =
        serde_json::from_str(&done(at, "--json merge a.safetensors b.safetensors -o m.safetensors")).unwrap();
    assert_eq!(merged["options"]["matching"]["stop"], "converged");

    done(at, "match a.safetensors b.safetensors -o align.safetensors");
    done(at, "apply align.safetensors b.safetensors -o moved.safetensors");
    done(at, "merge a.safetensors b.safetensors --align align.safetensors -o again.safetensors");
    assert_eq!(params(at, "again.safetensors"), params(at, "m.safetensors"));
    for (lambda, end) in [("0", "a.safetensors"), ("1", "moved.safetensors")] {
        for how in ["lerp", "slerp"] {
            let line = format!(
                "merge a.safetensors b.safetensors --align align.safetensors --lambda {lambda} --interpolation {how} -o end.safetensors"
            );
            done(at, &line);
            assert_eq!(params(at, "end.safetensors"), params(at, end), "λ = {lambda}, {how}");
        }
    }
    done(at, "apply align.safetensors moved.safetensors --inverse -o back.safetensors");
    assert_eq!(params(at, "back.safetensors"), params(at, "b.safetensors"));

    let inspected: Value = serde_json::from_str(&done(at, "inspect --json m.safetensors")).unwrap();
    assert_eq!(inspected["tensors"][3]["pattern"], "fc2 fc1");
    assert_eq!(inspected["groups"][1]["size"], 24);
    assert!(inspected["metadata"]["onebasin.provenance"].as_str().unwrap().contains("\"verb\":\"merge\""));

    let printed = done(
        at,
        "barrier a.safetensors b.safetensors --data digits --samples 300 --points 5 -o r.json --plot f.svg --plot f.png",
    );
    assert!(printed.contains("naive") && printed.contains("auto") && printed.contains("barrier"), "{printed}");
    let report: Value = serde_json::from_slice(&std::fs::read(at.join("r.json")).unwrap()).unwrap();
    assert_eq!(report["schema"], "onebasin.report/2");
    assert_eq!((&report["curves"][0]["name"], &report["curves"][1]["name"]), (&"naive".into(), &"auto".into()));
    for curve in report["curves"].as_array().unwrap() {
        assert_eq!(curve["lambda"].as_array().unwrap().len(), 5);
        for split in ["train", "test"] {
            let at = |key: &str| {
                curve[split][key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>()
            };
            let (loss, accuracy) = (at("loss"), at("accuracy"));
            assert_eq!((loss.len(), accuracy.len()), (5, 5));
            let highest = loss.iter().fold(0.0, |m: f64, l| m.max(*l));
            let barrier = &curve[split]["barrier"];
            assert_eq!(barrier["mean_ends"].as_f64().unwrap(), highest - 0.5 * (loss[0] + loss[4]));
            assert!(barrier["chord"].as_f64().unwrap() >= 0.0);
        }
    }
    assert!(std::fs::read_to_string(at.join("f.svg")).unwrap().starts_with("<svg"));
    assert!(std::fs::read(at.join("f.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn the_same_command_gives_the_same_bytes_and_resuming_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let bytes = |name: &str| std::fs::read(at.join(name)).unwrap();
    let train = "-q train mlp:24 --data digits --seed 5";
    done(at, &format!("{train} --epochs 3 --threads 1 -o whole.safetensors"));
    done(at, &format!("{train} --epochs 3 --threads 3 -o threads.safetensors"));
    done(at, &format!("{train} --epochs 1 --checkpoint-every 1 -o parts.safetensors"));
    done(at, &format!("{train} --epochs 3 --checkpoint-every 1 --resume -o parts.safetensors"));
    assert_eq!(bytes("threads.safetensors"), bytes("whole.safetensors"));
    assert_eq!(bytes("parts.safetensors"), bytes("whole.safetensors"));
    assert_eq!(params(at, "parts.epoch-003.safetensors"), params(at, "whole.safetensors"));
    let other = run(
        at,
        &"train mlp:24 --data digits --seed 6 --epochs 3 --resume -o parts.safetensors".split(' ').collect::<Vec<_>>(),
    );
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("other options"));
}

/// A network of one hidden layer whose weights differ with `seed`.
fn net(path: &Path, hidden: usize, input: usize, seed: f32, dtype: DType) {
    let mut net = Params::new();
    for (name, shape) in [
        ("fc1.weight", vec![hidden, input]),
        ("fc1.bias", vec![hidden]),
        ("fc2.weight", vec![2, hidden]),
        ("fc2.bias", vec![2]),
    ] {
        let values = (0..shape.iter().product::<usize>()).map(|k| ((k as f32 + 1.0) * seed).sin()).collect();
        net.insert(name, Tensor::from_f32(&shape, values).unwrap().cast(dtype).unwrap());
    }
    write(path, &net, &Metadata::default()).unwrap();
}

#[test]
fn element_types_are_kept_or_changed_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for dtype in [DType::F16, DType::BF16, DType::F64, DType::F32] {
        net(&at.join("a.safetensors"), 8, 3, 0.7, dtype);
        net(&at.join("b.safetensors"), 8, 3, 1.3, dtype);
        done(at, "merge a.safetensors b.safetensors -o m.safetensors --network mlp:8");
        assert!(params(at, "m.safetensors").iter().all(|(_, t)| t.dtype() == dtype));
        done(at, "merge a.safetensors b.safetensors -o m.safetensors --network mlp:8 --dtype bf16");
        assert!(params(at, "m.safetensors").iter().all(|(_, t)| t.dtype() == DType::BF16));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    net(&folder.path().join("a.safetensors"), 8, 3, 0.7, DType::F32);
    let mut child = Command::new(env!("CARGO_BIN_EXE_onebasin"))
        .current_dir(folder.path())
        .args(["inspect", "a.safetensors"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ctrl-C while the merged network is being written: exit code 1, the old file untouched, nothing left behind.
#[test]
fn an_interrupted_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    net(&at.join("a.safetensors"), 8, 4 << 20, 0.7, DType::F32);
    let out: PathBuf = at.join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("m.safetensors"), b"old").unwrap();
    let line = "merge a.safetensors a.safetensors --network mlp:8 --max-sweeps 1 --method weight --start identity --restarts 1 \
                --no-diagnosis -o out/m.safetensors";
    let child = Command::new(env!("CARGO_BIN_EXE_onebasin"))
        .current_dir(at)
        .args(line.split(' '))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = || std::fs::read_dir(&out).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    let limit = Instant::now() + Duration::from_mins(1);
    while !began() {
        assert!(Instant::now() < limit, "the write never began");
        std::thread::sleep(Duration::from_micros(200));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted while writing"), "{said}");
    assert_eq!(std::fs::read(out.join("m.safetensors")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
}

/// The network of a golden file, written by PyTorch.
fn golden(name: &str) -> String {
    format!("{}/../onebasin-io/tests/goldens/networks/{name}.onnx", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn onnx_files_are_checked_explained_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let net = golden("mobilenet");
    let checked: Value = serde_json::from_str(&done(at, &format!("--json check {net}"))).unwrap();
    assert_eq!(checked["passes"], true);
    assert!(checked["groups"].as_u64().unwrap() > 0);

    let inspected: Value = serde_json::from_str(&done(at, &format!("--json inspect {net}"))).unwrap();
    let tensors = inspected["tensors"].as_array().unwrap();
    let moving = tensors
        .iter()
        .find(|t| t["pattern"].as_str().is_some_and(|p| p.starts_with(|c: char| c == '_' || c.is_alphabetic())))
        .unwrap();
    let name = moving["name"].as_str().unwrap();
    assert!(done(at, &format!("inspect {net} --why {name}:0")).contains("may be permuted"));
    let units = inspected["groups"].as_array().unwrap().iter().map(|group| group["units"].as_u64().unwrap());
    assert_eq!(inspected["free_units"].as_u64().unwrap(), units.sum::<u64>());
    let text = done(at, &format!("inspect {net} --html net.html"));
    assert!(text.contains("free values: ") && text.contains("frozen, by reason:"), "{text}");
    let html = std::fs::read_to_string(at.join("net.html")).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<h1>mobilenet.onnx</h1>"), "{html}");
    assert_eq!(run(at, &["inspect", &net, "--html", "x.html", "--why", "a:0"]).status.code(), Some(2));
    std::fs::copy(&net, at.join("own.onnx")).unwrap();
    assert_eq!(run(at, &["inspect", "own.onnx", "--html", "own.onnx"]).status.code(), Some(1));
    assert_eq!(std::fs::read(at.join("own.onnx")).unwrap(), std::fs::read(&net).unwrap());

    done(at, &format!("merge {net} {net} -o merged.onnx"));
    let (before, after) = (onebasin_io::OnnxModel::open(net.as_ref()).unwrap(), at.join("merged.onnx"));
    let after = onebasin_io::OnnxModel::open(&after).unwrap();
    assert_eq!(before.params(), after.params());
    assert!(after.metadata().get("onebasin.provenance").unwrap().contains("merge"));

    // The same weights as a checkpoint, with the graph from the ONNX file.
    write(&at.join("net.safetensors"), before.params(), &Metadata::default()).unwrap();
    done(at, &format!("merge net.safetensors net.safetensors --graph {net} -o again.safetensors"));
    assert_eq!(&params(at, "again.safetensors"), before.params());
}

/// The same network in two shards with an index, as Hugging Face writes it.
fn shard(at: &Path, file: &str, folder: &str) {
    let net = params(at, file);
    std::fs::create_dir(at.join(folder)).unwrap();
    let of = |name: &str| format!("model-{}.safetensors", 1 + usize::from(name.starts_with("fc2")));
    for name in ["fc1", "fc2"] {
        let part = net.iter().filter(|(n, _)| n.starts_with(name)).map(|(n, t)| (n.to_owned(), t.clone())).collect();
        write(&at.join(folder).join(of(name)), &part, &Metadata::default()).unwrap();
    }
    let map: serde_json::Map<String, Value> = net.names().map(|n| (n.to_owned(), of(n).into())).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(at.join(folder).join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn folders_of_shards_are_networks() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, seed) in [("a", 0.7), ("b", 1.3)] {
        net(&at.join(format!("{name}.safetensors")), 24, 5, seed, DType::BF16);
        shard(at, &format!("{name}.safetensors"), name);
    }
    let spec = "[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = '. h'\n'fc2.bias' = '.'\n";
    std::fs::write(at.join("net.toml"), spec).unwrap();
    done(at, "match a b --symmetry net.toml -o align.safetensors");
    for (more, name) in
        [("", "plain"), ("--interpolation slerp", "slerp"), ("--dtype f32 --group-lambda h=0.2", "group")]
    {
        done(at, &format!("merge a.safetensors b.safetensors --align align.safetensors {more} -o {name}.safetensors"));
        for threads in [1, 3] {
            let line = format!("merge a b --align align.safetensors {more} --threads {threads} -o {name}{threads}");
            let printed: Value = serde_json::from_str(&done(at, &format!("--json {line}"))).unwrap();
            let found = read(&at.join(format!("{name}{threads}"))).unwrap();
            assert_eq!(found.params, params(at, &format!("{name}.safetensors")));
            let made: Value = found.metadata.get_json("onebasin.provenance").unwrap().unwrap();
            assert_eq!(made["inputs"], printed["inputs"]);
            assert_eq!(made["inputs"][1]["sha256"], read(&at.join("b")).unwrap().digest());
        }
    }
    done(at, "apply align.safetensors b/model.safetensors.index.json -o moved/");
    done(at, "apply align.safetensors moved --inverse -o back.safetensors");
    assert_eq!(params(at, "back.safetensors"), params(at, "b.safetensors"));
    done(at, "merge a b --symmetry net.toml -o plain1");
    assert_eq!(params(at, "plain1"), params(at, "plain.safetensors"));
    assert_eq!(std::fs::read_dir(at.join("plain1")).unwrap().count(), 3);
    let output = run(at, &"merge a b --align align.safetensors -o out/index.json".split(' ').collect::<Vec<_>>());
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("name the folder"));
}

#[test]
fn a_wrong_symmetry_is_refused() {
    let folder = trained();
    let at = folder.path();
    let wrong = "[tensors]\n'fc1.weight' = 'h .'\n'fc1.bias' = 'h'\n'fc2.weight' = 'g .'\n'fc2.bias' = 'g'\n\
                 'fc3.weight' = '. g'\n'fc3.bias' = '.'\n";
    std::fs::write(at.join("wrong.toml"), wrong).unwrap();
    for line in [
        "check a.safetensors --symmetry wrong.toml",
        "merge a.safetensors b.safetensors --symmetry wrong.toml -o m.safetensors",
    ] {
        let output = run(at, &line.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("`h`") && !said.contains("`g`"), "{said}");
        assert!(!at.join("m.safetensors").exists());
    }
    done(at, "merge a.safetensors b.safetensors --symmetry wrong.toml --no-check -o m.safetensors");
}

#[test]
fn every_help_shows_an_example() {
    for verb in ["demo", "train", "inspect", "check", "match", "apply", "merge", "barrier", "completions"] {
        let help = done(Path::new("."), &format!("{verb} --help"));
        assert!(help.contains("Example") && help.contains(&format!("onebasin {verb}")), "{help}");
    }
    assert!(done(Path::new("."), "completions bash").contains("_onebasin"));
}
