//! Bytes that nobody should trust.

use std::path::Path;

use bytes::Bytes;
use onebasin_io::onnx::OPSETS;
use onebasin_io::{Error, OnnxModel};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{GOLDENS, delimited, doubled, golden, import, integer, model, node, open, tensor};

fn parse(bytes: Vec<u8>) -> Result<OnnxModel, Error> {
    OnnxModel::parse(&Bytes::from(bytes), &golden("external"))
}

fn refusal(bytes: Vec<u8>) -> String {
    let error = parse(bytes).unwrap_err().to_string();
    assert!(error.contains("external.onnx"), "{error}");
    error
}

/// Passes if the error has every one of these texts in it.
fn says(error: &str, texts: &[&str]) {
    for text in texts {
        assert!(error.contains(text), "`{text}` is not in: {error}");
    }
}

#[test]
fn a_model_cut_short_is_an_error_or_the_same() {
    for name in GOLDENS {
        let (whole, bytes) = (open(name), std::fs::read(golden(name)).unwrap());
        for length in 0..bytes.len() {
            if let Ok(cut) = parse(bytes[..length].to_vec()) {
                assert_eq!((cut.params(), cut.nodes()), (whole.params(), whole.nodes()), "{name} at {length}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_and_what_is_read_can_be_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("flipped.onnx");
    for name in GOLDENS {
        let bytes = std::fs::read(golden(name)).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(model) = parse(flipped) else { continue };
            if bit % 16 == 0 {
                let params = doubled(model.params());
                model.write(&path, &params, None).unwrap();
                assert_eq!(OnnxModel::open(&path).unwrap().params(), &params);
            }
        }
    }
}

proptest! {
    #[test]
    fn scattered_bytes_never_panic(
        which in 0..GOLDENS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = std::fs::read(golden(GOLDENS[which])).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(parse(bytes));
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(parse(bytes));
    }
}

#[test]
fn what_is_no_model_says_so() {
    says(&refusal(Vec::new()), &["the file: is empty"]);
    says(&refusal(b"hello, world".to_vec()), &["is it an ONNX model"]);
    says(&refusal(import(13)), &["expected one graph, found 0"]);
    let graph = delimited(7, &[]);
    says(&refusal([import(13), graph.clone(), graph.clone()].concat()), &["expected one graph, found 2"]);
    says(&refusal(graph), &["version of ONNX's operators, found none"]);
    let missing = OnnxModel::open(Path::new("no/such.onnx")).unwrap_err().to_string();
    says(&missing, &["no/such.onnx", "cannot open"]);
}

#[test]
fn unknown_operator_sets_are_named_with_the_known() {
    for found in [-1, 0, 6, 26, i64::MAX] {
        let error = parse(model(&[], &[], &[], found)).unwrap_err();
        assert!(matches!(error, Error::OnnxOpset { found: f, .. } if f == found));
        says(&error.to_string(), &[&format!("operator set {found} of ONNX"), "7 to 25"]);
    }
    for found in OPSETS {
        assert_eq!(parse(model(&[], &[], &[], found)).unwrap().opset(), found);
    }
}

#[test]
fn cycles_and_what_nothing_makes_are_named() {
    let chain = [node("Relu", &["x"], &["a"]), node("Add", &["a", "c"], &["b"]), node("Relu", &["b"], &["c"])];
    says(&refusal(model(&chain, &[tensor("x", &[], 1, &[0; 4])], &["c"], 13)), &["makes `c`: reads `b`", "cycle"]);
    let missing = [node("MatMul", &["x", "fc.weigth"], &["y"])];
    let x = || [tensor("x", &[], 1, &[0; 4]), tensor("fc.weight", &[], 1, &[0; 4])];
    let error = refusal(model(&missing, &x(), &["y"], 13));
    says(&error, &["node MatMul that makes `y`: reads `fc.weigth`", "did you mean `fc.weight`?"]);
    says(&refusal(model(&[], &x(), &["y"], 13)), &["the list of outputs: reads `y`"]);
    let twice = [node("Relu", &["x"], &["y"]), node("Relu", &["x"], &["y"])];
    says(&refusal(model(&twice, &x(), &["y"], 13)), &["makes `y`, which is already made by node Relu"]);
    says(&refusal(model(&[node("Relu", &["x"], &["x"])], &x(), &[], 13)), &["already made by an input or tensor"]);
    let same = [x(), x()].concat();
    says(&refusal(model(&[], &same, &[], 13)), &["tensor `x`: needs a name of its own"]);
}

#[test]
fn shapes_and_data_that_do_not_fit_are_refused_before_memory_is_asked_for() {
    let refused = |tensor: Vec<u8>| refusal(model(&[], &[tensor], &[], 13));
    let huge = [i64::MAX, i64::MAX];
    says(&refused(tensor("w", &huge, 1, &[0; 4])), &["tensor `w`", "too large"]);
    says(&refused(tensor("w", &[1 << 60], 1, &[0; 4])), &["tensor `w`", "4611686018427387904 bytes, found 4"]);
    says(&refused(tensor("w", &[1 << 62], 1, &[0; 4])), &["tensor `w`", "too large"]);
    says(&refused(tensor("w", &[-1], 1, &[0; 4])), &["tensor `w`", "negative"]);
    says(&refused(tensor("w", &[3], 1, &[0; 11])), &["needs 12 bytes, found 11"]);
    says(&refused(tensor("w", &[3], 1, &[])), &["needs 12 bytes, found 0"]);
    says(&refused(tensor("w", &[1], 0, &[0; 4])), &["has no element type"]);
    let with = |extra: Vec<u8>| [delimited(8, b"w"), integer(2, 1), integer(1, 1), extra].concat();
    says(&refused(with(delimited(3, &[]))), &["stored in segments"]);
    let both = [delimited(4, &[0; 4]), delimited(9, &[0; 4])].concat();
    says(&refused(with(both)), &["both in float_data and in raw_data"]);
    says(&refused(with(delimited(5, &[1]))), &["is f32", "found them in int32_data"]);
    says(&refused(with(delimited(4, &[0; 8]))), &["needs 1 elements, found 2 in float_data"]);
    let wide = [delimited(8, b"w"), integer(2, 2), integer(1, 1), integer(5, 256)].concat();
    says(&refused(wide), &["element 0 is 256, which is no u8"]);
}

#[test]
fn shapes_of_constants_are_checked_before_they_are_filled() {
    for lengths in [[-1i64, 4], [1 << 40, 1 << 40], [1 << 20, 1 << 20]] {
        let shape = tensor("s", &[2], 7, &lengths.map(i64::to_le_bytes).concat());
        let bytes = model(&[node("ConstantOfShape", &["s"], &["w"])], &[shape], &["w"], 13);
        let mut model = parse(bytes).unwrap();
        let error = model.fill_constant_of_shape(|_, _| panic!("asked for a tensor of that shape")).unwrap_err();
        says(&error.to_string(), &["makes `w`", "is negative or larger"]);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut graph = Vec::new();
    for _ in 0..10_000 {
        graph = delimited(1, &delimited(5, &delimited(6, &graph)));
    }
    let training = [delimited(7, &[]), delimited(20, &delimited(1, &graph))].concat();
    for bytes in [delimited(7, &graph), training] {
        says(&refusal([import(13), bytes].concat()), &["messages are nested more than 100 deep"]);
    }
}

#[test]
fn external_data_stays_within_the_folder_and_the_file() {
    let folder = TempDir::new().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(inside.join("deeper")).unwrap();
    for file in ["x", "inside/x", "inside/deeper/x"] {
        std::fs::write(folder.path().join(file), [0; 16]).unwrap();
    }
    std::os::unix::fs::symlink(folder.path().join("x"), inside.join("link")).unwrap();
    std::os::unix::fs::symlink(inside.join("deeper/x"), inside.join("near")).unwrap();
    std::os::unix::fs::symlink(folder.path(), inside.join("up")).unwrap();
    let open = |location: &str, entries: &[(&str, &str)]| {
        let mut tensor = [delimited(8, b"w"), integer(2, 1), integer(1, 2), integer(14, 1)].concat();
        for (key, value) in [("location", location)].iter().chain(entries) {
            tensor.extend(delimited(13, &[delimited(1, key.as_bytes()), delimited(2, value.as_bytes())].concat()));
        }
        OnnxModel::parse(&model(&[], &[tensor], &[], 13).into(), &inside.join("model.onnx"))
    };
    for location in ["x", "./x", "deeper/x", "near"] {
        open(location, &[("offset", "8"), ("length", "8")]).unwrap();
        open(location, &[("offset", "8")]).unwrap();
        open(location, &[]).unwrap();
    }
    let refused = |location: &str, entries: &[(&str, &str)], texts: &[&str]| {
        let error = open(location, entries).unwrap_err();
        assert!(matches!(&error, Error::ExternalData { tensor, .. } if tensor == "w"), "{error}");
        says(&error.to_string(), &["model.onnx: tensor `w`: external data", &format!("`{location}`")]);
        says(&error.to_string(), texts);
    };
    let absolute = inside.join("x").into_os_string().into_string().unwrap();
    for location in ["../x", "deeper/../../x", "..", "/etc/passwd", &absolute] {
        refused(location, &[], &["below the model's folder"]);
    }
    refused("link", &[], &["symbolic link leads out"]);
    refused("up/x", &[], &["symbolic link leads out"]);
    refused("deeper", &[], &["not a regular file"]);
    refused("gone", &[], &["cannot open", "must lie beside the model"]);
    refused("", &[], &["no location is given"]);
    refused("x", &[("offset", "9")], &["needs 8 bytes from byte 9 on, the file has 16"]);
    refused("x", &[("offset", "17")], &["the file has 16"]);
    refused("x", &[("offset", "0"), ("length", "99")], &["needs 99 bytes", "the file has 16"]);
    refused("x", &[("length", "4")], &["needs 8 bytes", "has a length of 4"]);
    refused("x", &[("offset", "18446744073709551615"), ("length", "8")], &["the file has 16"]);
    refused("x", &[("offset", "-1")], &["its offset is no number of bytes"]);
}
