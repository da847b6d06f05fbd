//! What writing changes, and what it leaves alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use onebasin_core::{DType, Tensor};
use onebasin_io::{Error, OnnxModel, PROVENANCE};
use serde_json::json;
use tempfile::TempDir;

use super::{GOLDENS, doubled, golden, model, node, open, ramp, tensor, zeros};

#[test]
fn unchanged_weights_give_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    for name in GOLDENS.into_iter().filter(|name| *name != "external") {
        let (model, path) = (open(name), folder.path().join(name));
        model.write(&path, model.params(), None).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), std::fs::read(golden(name)).unwrap(), "{name}");
    }
}

#[test]
fn changed_weights_are_all_that_changes() {
    let folder = TempDir::new().unwrap();
    for name in GOLDENS {
        let (model, path) = (open(name), folder.path().join("changed.onnx"));
        let params = doubled(model.params());
        model.write(&path, &params, None).unwrap();
        let again = OnnxModel::open(&path).unwrap();
        assert_eq!(again.params(), &params, "{name}");
        assert_eq!((again.inputs(), again.outputs()), (model.inputs(), model.outputs()), "{name}");
        assert_eq!((again.opsets(), again.carried()), (model.opsets(), model.carried()), "{name}");
        assert_eq!(again.metadata(), model.metadata(), "{name}");
        again.write(&path, model.params(), None).unwrap();
        assert_eq!(OnnxModel::open(&path).unwrap().nodes(), model.nodes(), "{name}");
    }
    let unknown = b"\xc2\x3e\x03abc";
    let model = open("raw");
    model.write(&folder.path().join("raw"), &doubled(model.params()), None).unwrap();
    assert!(std::fs::read(folder.path().join("raw")).unwrap().ends_with(unknown));
}

#[test]
fn external_data_moves_into_one_file_beside_the_model() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("moved.onnx");
    let model = open("external");
    model.write(&path, model.params(), None).unwrap();
    let again = OnnxModel::open(&path).unwrap();
    assert_eq!((again.params(), again.nodes()), (model.params(), model.nodes()));
    let mut files: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["moved.onnx", "moved.onnx.data"]);
    // Over itself: the data that is read is the data that is replaced.
    let params = doubled(again.params());
    again.write(&path, &params, None).unwrap();
    assert_eq!(OnnxModel::open(&path).unwrap().params(), &params);
    assert_eq!(again.params(), model.params());
    let name: &OsStr = OsStrExt::from_bytes(b"\xff.onnx");
    let error = model.write(&folder.path().join(name), model.params(), None).unwrap_err();
    assert!(error.to_string().contains("no UTF-8"), "{error}");
}

#[test]
fn provenance_takes_the_place_of_an_older_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("merged.onnx");
    for name in ["raw", "typed"] {
        let model = open(name);
        let mut expected = model.metadata().clone();
        expected.set_json(PROVENANCE, &json!({ "from": name }));
        model.write(&path, model.params(), Some(&json!({ "from": name }))).unwrap();
        let again = OnnxModel::open(&path).unwrap();
        assert_eq!((again.metadata(), again.params()), (&expected, model.params()));
    }
}

#[test]
fn the_element_type_of_the_model_is_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("kept.onnx");
    let model = open("half");
    let mut params = model.params().clone();
    params.insert("w", Tensor::from_f64(&[4, 3], ramp(12)).unwrap());
    model.write(&path, &params, None).unwrap();
    assert_eq!(OnnxModel::open(&path).unwrap().params(), model.params());
    let shapes = open("shapes");
    let mut params = shapes.params().clone();
    params.insert("b__SHAPE", Tensor::from_f32(&[1], vec![3.0]).unwrap());
    let error = shapes.write(&path, &params, None).unwrap_err().to_string();
    assert!(error.contains("tensor `b__SHAPE`: is i64 in the model and was given as f32"), "{error}");
}

#[test]
fn other_names_or_shapes_are_refused_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("refused.onnx");
    let model = open("raw");
    let mut params = model.params().clone();
    params.insert("fc.bias", zeros(&[4]).unwrap());
    params.insert("fc.weigth", zeros(&[3, 4]).unwrap());
    let error = model.write(&path, &params, None).unwrap_err().to_string();
    assert!(error.contains("fc.weigth") && error.contains("fc.bias"), "{error}");
    assert!(!path.exists());
}

#[test]
fn more_than_one_message_can_hold_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("large.onnx");
    let shape = tensor("shape", &[2], 7, &[8192i64.to_le_bytes(), 8192i64.to_le_bytes()].concat());
    let nodes: Vec<Vec<u8>> = (0..9).map(|i| node("ConstantOfShape", &["shape"], &[&format!("w{i}")])).collect();
    let bytes = model(&nodes, &[shape], &["w0"], 21);
    let mut model = OnnxModel::parse(&bytes.into(), &path).unwrap();
    let shared = zeros(&[8192, 8192]).unwrap();
    model.fill_constant_of_shape(|_, _| Ok(shared.clone())).unwrap();
    let error = model.write(&path, model.params(), None).unwrap_err();
    assert!(matches!(error, Error::OnnxTooLarge { bytes, .. } if bytes > 9 << 28), "{error}");
    assert!(error.to_string().contains("external data"), "{error}");
    assert!(!path.exists());
}

/// Compares with ONNX's own reader, where `$ONEBASIN_PYTHON` is a Python that has it.
#[test]
#[allow(clippy::print_stdout, reason = "the test task collects this line")]
fn onnx_itself_agrees_field_by_field() {
    let Some(python) = std::env::var_os("ONEBASIN_PYTHON") else {
        println!("SKIPPED onnx_itself_agrees_field_by_field: set ONEBASIN_PYTHON to a Python that has onnx");
        return;
    };
    let check = |old: &Path, new: &Path, doubled: &[&str]| {
        let script = golden("_models").with_file_name("onnx_models.py");
        let mut command = Command::new(&python);
        let found = command.arg(script).arg("check").arg(old).arg(new).args(doubled).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    };
    let folder = TempDir::new().unwrap();
    for name in GOLDENS {
        let (model, path) = (open(name), folder.path().join("written.onnx"));
        model.write(&path, model.params(), None).unwrap();
        check(&golden(name), &path, &[]);
        let mut params = model.params().clone();
        let f32s = |(_, t): &(&str, &Tensor)| t.dtype() == DType::F32 && !t.is_empty();
        let changed: Vec<&str> = model.params().iter().filter(f32s).map(|(n, _)| n).collect();
        for (name, tensor) in doubled(model.params()).iter().filter(|(name, _)| changed.contains(name)) {
            params.insert(name, tensor.clone());
        }
        model.write(&path, &params, None).unwrap();
        check(&golden(name), &path, &changed);
    }
}
