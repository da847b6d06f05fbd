"""Makes the small ONNX models whose graphs the tests read: an operator each, in the version that is in its name.

    python graphs.py FOLDER

Every output has the shape that ONNX infers. Needs `onnx` and `numpy`; the models here were made with onnx 1.23.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
IMAGE = ["batch", 4, 6, 6]


def node(op, inputs, outputs="y", **attributes):
    return helper.make_node(op, inputs.split(","), outputs.split(","), name=op.lower(), **attributes)


def model(opset, nodes, inputs, outputs=("y",), domains=(), **tensors):
    """Tensors are floats of a shape, or lists of whole numbers."""
    tensors = {n: np.full(v, 0.5, np.float32) if isinstance(v, tuple) else np.array(v) for n, v in tensors.items()}
    tensors = [numpy_helper.from_array(v, n) for n, v in tensors.items()]
    kind = lambda v: (F32, v) if isinstance(v, list) else v
    inputs = [helper.make_tensor_value_info(n, *kind(v)) for n, v in inputs.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "main", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), *[helper.make_opsetid(d, 1) for d in domains]]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if domains:
        return made
    made = shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True)
    made.graph.ClearField("value_info")
    return made


def one(op, opset, inputs, names=None, outputs="y", **rest):
    names = names or ",".join(inputs)
    attributes = rest.pop("a", {})
    return model(opset, [node(op, names, outputs, **attributes)], inputs, outputs.split(","), **rest)


def image(op, opset, names="x", shape=IMAGE, **rest):
    return one(op, opset, {"x": shape}, names, **rest)


def cases():
    xy = {"x": ["batch", 4], "z": ["batch", 4]}
    yield "gemm_8", image("Gemm", 8, "x,w,b", ["batch", 4], w=(4, 3), b=(3,), a={"alpha": 0.5, "beta": 2.0})
    yield "gemm_13", image("Gemm", 13, "x,w,b", ["batch", 4], w=(3, 4), b=(3,), a={"transB": 1})
    yield "gemm_row", image("Gemm", 11, "x,w,b", ["batch", 4], w=(3, 4), b=(1, 3), a={"transB": 1})
    yield "matmul_9", image("MatMul", 9, "x,w", ["batch", 5, 4], w=(4, 3))
    heads = {"q": ["batch", 2, 5, 4], "k": ["batch", 2, 5, 4]}
    yield "einsum_12", one("Einsum", 12, heads, a={"equation": "bhqd,bhkd->bhqk"})
    yield "einsum_merge", image("Einsum", 12, "x,w", ["batch", 5, 6], w=(2, 3, 6), a={"equation": "btd,hkd->bhtk"})
    yield "conv_11", image("Conv", 11, "x,w,b", w=(6, 2, 3, 3), b=(6,), a={"group": 2, "pads": [1, 0, 1, 2], "dilations": [1, 2]})
    yield "conv_same_upper", image("Conv", 8, "x,w", w=(3, 4, 4, 4), a={"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    yield "conv_same_lower", image("Conv", 11, "x,w", w=(3, 4, 4, 4), a={"auto_pad": "SAME_LOWER", "strides": [1, 1]})
    yield "conv_valid", image("Conv", 11, "x,w", w=(3, 4, 3, 3), a={"auto_pad": "VALID", "kernel_shape": [3, 3]})
    up = {"strides": [2, 2]}
    yield "convtranspose_8", image("ConvTranspose", 8, "x,w", w=(4, 3, 3, 3), a=up | {"pads": [1, 1, 1, 1], "output_padding": [1, 1]})
    yield "convtranspose_shape", image("ConvTranspose", 11, "x,w", w=(4, 3, 3, 3), a=up | {"output_shape": [12, 12]})
    yield "convtranspose_same", image("ConvTranspose", 11, "x,w", w=(4, 3, 3, 3), a=up | {"auto_pad": "SAME_UPPER"})
    yield "maxpool_8", image("MaxPool", 8, a={"kernel_shape": [3, 3], "strides": [2, 2], "storage_order": 0})
    yield "maxpool_ceil", image("MaxPool", 12, a={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})
    last = [node("Unsqueeze", "x,ends", "h"), node("MaxPool", "h", "p", kernel_shape=[1, 2, 3, 1], strides=[1, 2, 1, 1])]
    last.append(node("Squeeze", "p,ends"))
    yield "maxpool_last", model(13, last, {"x": ["batch", 6, 6, 4]}, ends=[0, 1])
    yield "maxpool_dilated", image("MaxPool", 12, a={"kernel_shape": [2, 2], "dilations": [2, 2]})
    yield "averagepool_7", image("AveragePool", 8, a={"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"})
    yield "averagepool_counted", image("AveragePool", 19, a={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})
    yield "globalpool", image("GlobalMaxPool", 8)
    norm = {"s": (4,), "b": (4,)}
    yield "batchnorm_8", image("BatchNormalization", 8, "x,s,b,m,v", m=(4,), v=(4,), a={"momentum": 0.9}, **norm)
    yield "batchnorm_15", image("BatchNormalization", 15, "x,s,b,m,v", m=(4,), v=(4,), a={"epsilon": 1e-3}, **norm)
    yield "layernorm_17", image("LayerNormalization", 17, "x,s,b", ["batch", 3, 4], a={"epsilon": 1e-6}, **norm)
    yield "layernorm_two", image("LayerNormalization", 17, "x,s", ["batch", 3, 4], s=(3, 4), a={"axis": 1})
    yield "groupnorm_18", image("GroupNormalization", 18, "x,s,b", s=(2,), b=(2,), a={"num_groups": 2})
    yield "groupnorm_21", image("GroupNormalization", 21, "x,s,b", a={"num_groups": 2}, **norm)
    yield "instancenorm", image("InstanceNormalization", 8, "x,s,b", **norm)
    yield "lrn", image("LRN", 8, a={"size": 3})
    yield "lpnormalization", image("LpNormalization", 8, a={"axis": 1})
    yield "softmax_11", image("Softmax", 11)
    yield "softmax_13", image("Softmax", 13)
    yield "logsoftmax_last", image("LogSoftmax", 11, a={"axis": -1})
    yield "reducesum_11", image("ReduceSum", 11, a={"axes": [-1, 1], "keepdims": 0})
    yield "reducesum_13", image("ReduceSum", 13, "x,axes", axes=[2, 3])
    yield "reducemean_13", image("ReduceMean", 13, a={"axes": [1]})
    yield "reducemean_18", image("ReduceMean", 18, "x,axes", axes=[1])
    yield "reducel1_all", image("ReduceL1", 18)
    yield "clip_8", image("Clip", 8, a={"min": 0.0, "max": 6.0})
    ends = [node("Constant", ",", "low", value_float=-1.0), node("Clip", "x,low")]
    ends[0].ClearField("input")
    yield "clip_12", model(12, ends, {"x": IMAGE})
    yield "gelu_20", image("Gelu", 20, a={"approximate": "tanh"})
    yield "hardswish_14", image("HardSwish", 14)
    yield "mish_18", image("Mish", 18)
    yield "prelu_9", image("PRelu", 9, "x,s", s=(4, 1, 1))
    yield "selu_6", image("Selu", 8)
    yield "sum_of_three", one("Sum", 8, xy, "x,z,x")
    yield "mean_of_two", one("Mean", 8, xy)
    yield "where_9", model(9, [node("Greater", "x,z", "c"), node("Where", "c,x,z")], xy)
    yield "cast", model(13, [node("Cast", "i", "f", to=F32), node("Mul", "f,w")], {"i": (I64, ["batch", 4])}, w=(4,))
    yield "reshape_zero", image("Reshape", 8, "x,s", s=[0, -1])
    yield "reshape_one", image("Reshape", 13, "x,s", [1, 4, 6, 6], s=[1, 2, 72])
    yield "reshape_allowzero", image("Reshape", 14, "x,s", [0, 4], s=[4, 0], a={"allowzero": 1})
    yield "flatten_2", image("Flatten", 9, a={"axis": 2})
    yield "flatten_0", image("Flatten", 13, a={"axis": 0})
    yield "squeeze_11", image("Squeeze", 11, shape=["batch", 4, 1, 1], a={"axes": [2, -1]})
    yield "squeeze_13", image("Squeeze", 13, "x,axes", ["batch", 4, 1, 1], axes=[3])
    yield "unsqueeze_8", image("Unsqueeze", 8, shape=["batch", 4], a={"axes": [1, 3]})
    yield "unsqueeze_13", image("Unsqueeze", 13, "x,axes", ["batch", 4], axes=[-1])
    yield "transpose", image("Transpose", 8, shape=["batch", 3, 4])
    yield "split_8", image("Split", 8, outputs="y,z", a={"axis": 1, "split": [1, 3]})
    yield "split_13", image("Split", 13, "x,s", outputs="y,z", s=[3, 1], a={"axis": 1})
    yield "split_18", image("Split", 18, outputs="y,z,v", shape=["batch", 7], a={"axis": 1, "num_outputs": 3})
    yield "slice_9", image("Slice", 9, a={"starts": [1, -3], "ends": [3, 100], "axes": [1, 3]})
    yield "slice_backwards", model(13, [node("Slice", "x,s,e,axes,t")], {"x": IMAGE}, s=[-1, 0], e=[-100, 6], axes=[1, 2], t=[-1, 2])
    yield "pad_8", image("Pad", 8, a={"pads": [0, 0, 1, 2, 0, 0, 1, 2], "mode": "reflect"})
    yield "pad_11", image("Pad", 11, "x,p", p=[0, 0, 1, -1, 0, 0, 0, 2])
    yield "pad_18", model(18, [node("Pad", "x,p,,axes", mode="edge")], {"x": IMAGE}, p=[1, 1], axes=[-1])
    yield "expand", image("Expand", 8, "x,s", ["batch", 1, 4], s=[1, 5, 4])
    yield "tile", image("Tile", 8, "x,r", ["batch", 1, 4], r=[1, 5, 2])
    yield "gather_run", image("Gather", 11, "x,i", ["batch", 4], i=[1, 2], a={"axis": 1})
    yield "gather_some", image("Gather", 11, "x,i", ["batch", 4], i=[3, 0, -2], a={"axis": -1})
    yield "embedding", one("Gather", 8, {"x": (I64, ["batch", 5])}, "w,x", w=(11, 4))
    f = lambda *v: np.float32(v)
    yield "upsample_8", image("Upsample", 8, a={"scales": [1.0, 1.0, 2.0, 2.0]})
    yield "upsample_9", image("Upsample", 9, "x,s", s=f(1, 1, 2, 3), a={"mode": "linear"})
    yield "resize_10", image("Resize", 10, "x,s", s=f(1, 1, 1.5, 2))
    yield "resize_11", image("Resize", 11, "x,r,s", r=f(), s=f(1, 1, 2, 2), a={"mode": "linear"})
    yield "resize_sizes", image("Resize", 13, "x,,,s", s=[1, 4, 9, 12], shape=[1, 4, 6, 6], a={"mode": "linear", "coordinate_transformation_mode": "align_corners"})
    yield "resize_nearest", image("Resize", 13, "x,,s", s=f(1, 1, 2, 2))
    yield "resize_axes", image("Resize", 18, "x,,s", s=f(2, 2), a={"axes": [2, 3], "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"})
    yield "resize_cubic", image("Resize", 13, "x,,s", [1, 4, 6, 6], s=f(1, 1, 2, 2), a={"mode": "cubic"})
    yield "depthtospace_8", image("DepthToSpace", 8, a={"blocksize": 2})
    yield "depthtospace_crd", image("DepthToSpace", 13, a={"blocksize": 2, "mode": "CRD"})
    yield "spacetodepth", image("SpaceToDepth", 13, a={"blocksize": 2})
    steps = ["time", "batch", 3]
    cell = {"w": (1, 16, 3), "r": (1, 16, 4)}
    yield "lstm_7", image("LSTM", 8, "x,w,r,,,h,c", [5, 2, 3], outputs="y,h_last", h=(1, 2, 4), c=(1, 2, 4), a={"hidden_size": 4}, **cell)
    yield "lstm_layout", image("LSTM", 14, "x,w,r", ["batch", 5, 3], a={"hidden_size": 4, "layout": 1}, **cell)
    yield "lstm_clipped", image("LSTM", 14, "x,w,r", ["batch", 5, 3], a={"hidden_size": 4, "clip": 1.0, "layout": 1}, **cell)
    yield "gru_7", image("GRU", 8, "x,w,r,b", [5, 2, 3], w=(2, 12, 3), r=(2, 12, 4), b=(2, 24), a={"hidden_size": 4, "direction": "bidirectional"})
    yield "rnn_7", image("RNN", 8, "x,w,r", [5, 2, 3], w=(1, 4, 3), r=(1, 4, 4), a={"hidden_size": 4})
    yield "dropout_8", image("Dropout", 8, a={"ratio": 0.3})
    yield "dropout_12", model(12, [node("Dropout", "x,ratio"), node("Relu", "y", "z")], {"x": IMAGE}, ["z"], ratio=np.float32(0.3))
    shape = [
        node("Shape", "x", "shape"), node("Slice", "shape,two,four", "end"), node("Cast", "end", "floats", to=F32),
        node("Mul", "floats,by", "more"), node("Floor", "more", "less"), node("Cast", "less", "whole", to=I64),
        node("Slice", "shape,zero,two", "front"), node("Concat", "front,whole", "sizes", axis=0),
        node("Resize", "x,,,sizes", mode="linear"),
    ]
    yield "computed_sizes", model(13, shape, {"x": IMAGE}, zero=[0], two=[2], four=[4], by=f(2, 2))
    batch = [
        node("Shape", "x", "shape"), node("Slice", "shape,zero,one", "front"), node("Concat", "front,rest", "to", axis=0), node("ConstantOfShape", "to", "zeros"), node("Concat", "zeros,x", axis=1),
    ]
    yield "zeros_of_the_batch", model(13, batch, {"x": ["batch", 3, 4]}, zero=[0], one=[1], rest=[2, 4])
    loose = [node("Transpose", "w", "v", perm=[1, 0]), node("Mul", "v,w", "u"), node("MatMul", "x,u")]
    yield "weights_stay", model(13, loose, {"x": ["batch", 3]}, w=(3, 3))
    then = helper.make_graph([node("Add", "x,w", "a")], "then", [], [helper.make_tensor_value_info("a", F32, [1, 4])])
    other = helper.make_graph([node("Relu", "x", "b")], "else", [], [helper.make_tensor_value_info("b", F32, [1, 4])])
    branch = node("If", "flag", "c", then_branch=then, else_branch=other)
    yield "branches", model(13, [branch, node("Relu", "c")], {"x": [1, 4], "flag": (BOOL, [])}, w=(1, 4))
    loose = [node("Conv", "x,w", "h", pads=[1, 1, 1, 1]), node("Add", "h,z")]
    yield "open_axes", model(13, loose, {"x": ["batch", 4, "height", None], "z": ["batch", 3, "height", 1]}, w=(3, 4, 3, 3))
    fused = helper.make_node("FusedGelu", ["x"], ["y"], domain="com.microsoft", name="fused")
    yield "another_domain", model(13, [fused], {"x": ["batch", 4]}, domains=["com.microsoft"])


def main(folder):
    for name, made in cases():
        for output in made.graph.output if name == "another_domain" else []:
            output.CopyFrom(helper.make_tensor_value_info(output.name, F32, ["batch", 4]))
        if name in ["branches", "maxpool_dilated", "resize_cubic", "lstm_clipped"]:
            made = shape_inference.infer_shapes(made)
        (folder / f"{name}.onnx").write_bytes(made.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
