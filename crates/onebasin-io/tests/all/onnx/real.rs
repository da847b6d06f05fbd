//! Graphs that others published.

use onebasin_core::Tensor;
use onebasin_io::OnnxModel;
use onebasin_testkit::data_or_skip;
use tempfile::TempDir;

use super::{ramp, zeros};

#[test]
fn graphs_of_the_zoo_open_and_come_back_the_same() {
    let Some(data) = data_or_skip("graphs_of_the_zoo_open_and_come_back_the_same") else { return };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("same.onnx");
    for (name, opset, nodes, tensors, shape, filled) in [
        ("light_bvlc_alexnet", 9, 40, 17, ("conv1_w_0__SHAPE", &[4][..]), 16),
        ("light_resnet50", 9, 415, 269, ("gpu_0/conv1_w_0__SHAPE", &[4]), 239),
        ("light_squeezenet", 9, 105, 52, ("conv1_b_0", &[64]), 39),
        ("light_vgg19", 9, 82, 39, ("conv1_1_b_0", &[64]), 36),
        ("wonnx_opt-mnist", 8, 8, 7, ("Parameter87", &[16, 8, 5, 5]), 0),
    ] {
        let source = data.join(format!("onnx/{name}.onnx"));
        let mut model = OnnxModel::open(&source).unwrap();
        assert_eq!((model.opset(), model.nodes().len(), model.params().len()), (opset, nodes, tensors), "{name}");
        assert_eq!(model.params().require(shape.0).unwrap().shape(), shape.1, "{name}");
        assert_eq!((model.inputs().len(), model.outputs().len()), (1, 1), "{name}");
        model.write(&path, model.params(), None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&source).unwrap(), "{name}");
        assert_eq!(model.fill_constant_of_shape(|_, shape| zeros(shape)).unwrap(), filled, "{name}");
        assert_eq!((model.nodes().len(), model.params().len()), (nodes - filled, tensors + filled), "{name}");
    }
}

#[test]
fn a_filled_graph_is_a_model_with_weights() {
    let Some(data) = data_or_skip("a_filled_graph_is_a_model_with_weights") else { return };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("squeezenet.onnx");
    let mut model = OnnxModel::open(&data.join("onnx/light_squeezenet.onnx")).unwrap();
    model.fill_constant_of_shape(|_, shape| Tensor::from_f64(shape, ramp(shape.iter().product()))).unwrap();
    model.write(&path, model.params(), None).unwrap();
    let again = OnnxModel::open(&path).unwrap();
    assert_eq!((again.params(), again.nodes(), again.inputs()), (model.params(), model.nodes(), model.inputs()));
    assert_eq!(again.params().require("conv1_w_0").unwrap().shape(), [64, 3, 3, 3]);
    assert_eq!(again.inputs()[0].name, "data_0");
}
