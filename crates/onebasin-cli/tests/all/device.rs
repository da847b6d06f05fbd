//! `--device cuda` does what the processor does, with a driver that works on the processor in place of a GPU's.

use std::path::Path;
use std::process::{Command, Output};

use onebasin_io::{PROVENANCE, read};
use onebasin_testkit::cuda_stand_in_or_skip;
use serde_json::Value;

const SMALL: &str = "
title = 'Small'
source = 'Nowhere'
kind = 'curves'
[setting]
methods = ['weight']
points = 3
[setting.training]
network = 'mlp:24x2'
data = 'digits'
recipe = 'mnist-mlp'
seeds = [0, 1]
epochs = 2
samples = 500
[[claim]]
what = 'loss in the middle'
paper = '0'
here = 'weight.test.middle'
";

/// Runs a line in a folder that holds the driver.
fn run(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onebasin"));
    command.current_dir(folder).env("LD_LIBRARY_PATH", folder).args(line.split_whitespace()).output().unwrap()
}

/// The same; expects success, gives back standard error.
fn done(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}\n{said}");
    said
}

fn report(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn a_device_changes_nothing_but_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    if !cuda_stand_in_or_skip("a_device_changes_nothing_but_rounding", at) {
        return;
    }
    for (seed, name) in ["a", "b"].iter().enumerate() {
        done(at, &format!("-q train mlp:24x2 --data digits --epochs 2 --seed {seed} -o {name}.safetensors"));
    }
    for method in ["weight", "spectral", "frank-wolfe"] {
        let found = ["cpu", "cuda"].map(|device| {
            let line = "match a.safetensors b.safetensors --method";
            done(at, &format!("{line} {method} --device {device} -o {device}.safetensors --report {device}.json"));
            read(&at.join(format!("{device}.safetensors"))).unwrap().params
        });
        assert_eq!(found[0], found[1], "{method}");
        let records = ["cpu.json", "cuda.json"].map(|name| report(at, name));
        assert_eq!(records[0]["objective"], records[1]["objective"], "{method}");
        assert_eq!((&records[0]["device"], &records[1]["device"]), (&Value::Null, &"cuda:0, a processor".into()));
    }
    let reports = ["cpu", "cuda"].map(|device| {
        let line = "barrier a.safetensors b.safetensors --data digits --points 3 --batch-norm-samples 0";
        done(at, &format!("{line} --device {device} -o {device}.json"));
        report(at, &format!("{device}.json"))
    });
    assert_eq!(reports[1]["device"], "cuda:0, a processor");
    let loss = |report: &Value, curve: usize, k: usize| report["curves"][curve]["test"]["loss"][k].as_f64().unwrap();
    for (curve, k) in [0, 1].into_iter().flat_map(|curve| [0, 1, 2].map(|k| (curve, k))) {
        let [here, there] = [0, 1].map(|r| loss(&reports[r], curve, k));
        assert!((here - there).abs() <= 1e-5 * here, "{there} for {here}");
    }
    let trained = ["a", "there"].map(|name| {
        if name == "there" {
            let log =
                done(at, "-q train mlp:24x2 --data digits --epochs 2 --seed 0 -o there.safetensors --device cuda");
            assert!(log.is_empty(), "{log}");
        }
        let file = read(&at.join(format!("{name}.safetensors"))).unwrap();
        let provenance: Value = file.metadata.get_json(PROVENANCE).unwrap().unwrap();
        (file.params, provenance["options"]["device"].clone())
    });
    assert_eq!((&trained[0].1, &trained[1].1), (&Value::Null, &"cuda:0, a processor".into()));
    for (name, here) in trained[0].0.iter() {
        let (here, there) = (here.to_f32().unwrap(), trained[1].0.require(name).unwrap().to_f32().unwrap());
        let off = here.iter().zip(&*there).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(off < 1e-2, "{name}: {off}");
    }
    std::fs::write(at.join("small.toml"), SMALL).unwrap();
    let claims = ["cpu", "cuda"].map(|device| {
        done(at, &format!("reproduce small.toml --device {device} --cache cache --output {device}"));
        report(at, &format!("{device}/small-quick/result.json"))["claims"][0]["here"].as_f64().unwrap()
    });
    assert!((claims[0] - claims[1]).abs() <= 1e-2 * claims[0], "{claims:?}");
    let page = std::fs::read_to_string(at.join("cuda/small-quick/index.html")).unwrap();
    assert!(page.contains("cuda:0, a processor"));
    let output = run(at, "match a.safetensors b.safetensors -o x.safetensors --device cuda:1");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("there is no GPU 1: the driver knows 1"), "{said}");
}

#[test]
fn training_on_a_device_goes_on_and_takes_a_precision() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let line = "-q train mlp:12x2 --data digits --share 0.2 --checkpoint-every 1";
    let output = run(at, &format!("{line} --epochs 1 --precision bf16 -o x.safetensors"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("bf16 goes with --device cuda"), "{said}");
    if !cuda_stand_in_or_skip("training_on_a_device_goes_on_and_takes_a_precision", at) {
        return;
    }
    let params = |name: &str| read(&at.join(name)).unwrap().params;
    done(at, &format!("{line} --device cuda --epochs 2 -o whole.safetensors"));
    done(at, &format!("{line} --device cuda --epochs 1 -o halves.safetensors"));
    done(at, &format!("{line} --device cuda --epochs 2 -o halves.safetensors --resume"));
    assert_eq!(params("whole.safetensors"), params("halves.safetensors"));
    let output = run(at, &format!("{line} --epochs 3 -o halves.safetensors --resume"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("was trained with other options"), "{said}");
    done(at, &format!("{line} --device cuda --precision bf16 --epochs 2 -o brain.safetensors"));
    assert_ne!(params("whole.safetensors"), params("brain.safetensors"));
    let provenance: Value =
        read(&at.join("brain.safetensors")).unwrap().metadata.get_json(PROVENANCE).unwrap().unwrap();
    assert_eq!(provenance["options"]["device"], "cuda:0, a processor, bf16");
}
