"""Writes axes.onnx: two layers and a mean whose axis is a tensor of the file, as torch's exporter writes it."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

rng = np.random.default_rng(0)
tensors = {name: rng.standard_normal(shape).astype(np.float32)
           for name, shape in [("a.weight", (6, 4)), ("a.bias", (6,)), ("b.weight", (3, 6)), ("b.bias", (3,))]}
tensors["val_9"] = np.array([1], np.int64)
nodes = [
    helper.make_node("ReduceMean", ["x", "val_9"], ["mean"], keepdims=0),
    helper.make_node("Gemm", ["mean", "a.weight", "a.bias"], ["h"], transB=1),
    helper.make_node("Relu", ["h"], ["r"]),
    helper.make_node("Gemm", ["r", "b.weight", "b.bias"], ["y"], transB=1),
]
inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 4])]
outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]
graph = helper.make_graph(nodes, "axes", inputs, outputs, [numpy_helper.from_array(t, n) for n, t in tensors.items()])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
model.ir_version = 8
save(model, "axes.onnx")
