//! What is read of the small models in `tests/goldens`.

use onebasin_core::{DType, Tensor};
use onebasin_io::OnnxModel;
use onebasin_io::onnx::{Attribute, Dim};
use tempfile::TempDir;

use super::{names, open, ramp, zeros};

#[test]
fn a_model_is_read_as_plain_values() {
    let model = open("raw");
    assert_eq!(names(model.params()), ["fc.bias", "fc.weight"]);
    let weight = model.params().require("fc.weight").unwrap();
    assert_eq!((weight.dtype(), weight.shape()), (DType::F32, &[3, 4][..]));
    assert_eq!(*weight.to_f64().unwrap(), ramp(12));
    let [node] = model.nodes() else { panic!("expected one node") };
    assert_eq!((node.name.as_str(), node.op_type.as_str(), node.domain.as_str()), ("fc", "Gemm", ""));
    assert_eq!(node.inputs, ["x", "fc.weight", "fc.bias"]);
    assert_eq!(node.outputs, ["y"]);
    assert_eq!(node.attribute("transB"), Some(&Attribute::Int(1)));
    let [input] = model.inputs() else { panic!("expected one input") };
    assert_eq!((input.name.as_str(), input.dtype), ("x", Some(DType::F32)));
    assert_eq!(input.shape, Some(vec![Dim::Named("batch".to_owned()), Dim::Fixed(4)]));
    assert_eq!(model.outputs()[0].name, "y");
    assert_eq!(model.metadata().get("author"), Some("somebody"));
    assert_eq!((model.opset(), model.opsets().len()), (21, 1));
    assert_eq!(model.digest().len(), 64);
}

#[test]
fn typed_fields_hold_what_raw_ones_do() {
    let model = open("typed");
    let bytes = |name: &str, dtype: DType| {
        let tensor = model.params().require(name).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{name}");
        tensor.bytes().to_vec()
    };
    assert_eq!(bytes("i8", DType::I8), [0x80, 0x7f]);
    assert_eq!(bytes("u8", DType::U8), [0, 0xff]);
    assert_eq!(bytes("i16", DType::I16), [i16::MIN.to_le_bytes(), i16::MAX.to_le_bytes()].concat());
    assert_eq!(bytes("u16", DType::U16), [0, 0, 0xff, 0xff]);
    assert_eq!(bytes("i32", DType::I32), [i32::MIN.to_le_bytes(), i32::MAX.to_le_bytes()].concat());
    assert_eq!(bytes("u32", DType::U32), [0u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat());
    assert_eq!(bytes("i64", DType::I64), [i64::MIN.to_le_bytes(), i64::MAX.to_le_bytes()].concat());
    assert_eq!(bytes("u64", DType::U64), [0u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat());
    assert_eq!(bytes("bool", DType::Bool), [1, 0]);
    assert_eq!(bytes("f64", DType::F64), [(1.0f64 / 3.0).to_le_bytes(), (-2.0f64).to_le_bytes()].concat());
    assert_eq!(bytes("scalar", DType::F32), 0.25f32.to_le_bytes());
    assert!(bytes("empty", DType::F32).is_empty());
    for (name, dtype) in [("f16", DType::F16), ("bf16", DType::BF16)] {
        assert_eq!(*model.params().require(name).unwrap().to_f64().unwrap(), [1.5, -2.0]);
        assert_eq!(bytes(name, dtype).len(), 4);
    }
    assert_eq!(model.params(), &{
        let mut both = model.params().clone();
        for (name, tensor) in open("raw").params().iter() {
            both.insert(name, tensor.clone());
        }
        both
    });
    assert_eq!(model.carried(), ["words", "f8"]);
}

#[test]
fn initialisers_of_old_models_are_no_inputs() {
    let model = open("half");
    assert_eq!(model.opset(), 8);
    assert_eq!(model.inputs().iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert_eq!(model.params().require("w").unwrap().dtype(), DType::F16);
    assert_eq!(*model.params().require("b").unwrap().to_f64().unwrap(), ramp(3));
}

#[test]
fn constants_are_weights_and_nodes_come_in_running_order() {
    let model = open("constant");
    assert_eq!(names(model.params()), ["b", "w"]);
    let order: Vec<&str> = model.nodes().iter().map(|n| n.outputs[0].as_str()).collect();
    assert_eq!(order, ["w", "b", "scale", "h", "y"]);
    assert_eq!(model.nodes()[2].attribute("value_float"), Some(&Attribute::Float(2.0)));
    assert!(matches!(model.nodes()[0].attribute("value"), Some(Attribute::Tensor(t)) if t.shape() == [3, 4]));
}

#[test]
fn subgraphs_say_what_they_read_and_hold() {
    let model = open("subgraph");
    assert_eq!(names(model.params()), ["fc.bias", "fc.weight", "own", "spare"]);
    let node = &model.nodes()[0];
    let Some(Attribute::Graph(then)) = node.attribute("then_branch") else { panic!("expected a graph") };
    assert_eq!((&then.captures[..], &then.initializers[..]), (&["fc.bias".to_owned()][..], &["own".to_owned()][..]));
    assert_eq!(node.reads().collect::<Vec<_>>(), ["flag", "spare", "fc.bias"]);
}

#[test]
fn constant_shapes_become_weights() {
    let folder = TempDir::new().unwrap();
    let mut model = open("shapes");
    let fill = |_: &str, shape: &[usize]| Tensor::from_f64(shape, ramp(shape.iter().product()));
    assert_eq!(model.fill_constant_of_shape(fill).unwrap(), 2);
    assert_eq!(model.nodes().iter().map(|n| n.outputs[0].as_str()).collect::<Vec<_>>(), ["counts", "y"]);
    assert_eq!(model.params().require("w").unwrap().dtype(), DType::F32);
    let path = folder.path().join("filled.onnx");
    model.write(&path, model.params(), None).unwrap();
    let again = OnnxModel::open(&path).unwrap();
    assert_eq!((again.params(), again.nodes(), again.inputs()), (model.params(), model.nodes(), model.inputs()));
    assert_eq!(*again.params().require("w").unwrap().to_f64().unwrap(), ramp(12));
    let before = model.params().clone();
    let wrong = open("shapes").fill_constant_of_shape(|_, _| zeros(&[7])).unwrap_err().to_string();
    assert!(wrong.contains("makes `w`: needs a tensor of shape [4, 3], was given one of shape [7]"), "{wrong}");
    assert_eq!(model.params(), &before);
}

#[test]
fn external_data_is_read_where_the_model_says() {
    let (model, inline) = (open("external"), open("subgraph"));
    assert_eq!(model.params(), inline.params());
    assert_eq!(model.carried(), ["f8"]);
}
