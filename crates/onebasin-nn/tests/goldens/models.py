"""Makes small ONNX models of what an importer has to see through, and what ONNX Runtime answers for them.

    python models.py FOLDER

Needs `onnx`, `onnxruntime`, `safetensors` and `numpy`; the files here were made with onnx 1.23 and onnxruntime 1.32.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

F32, I64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def floats(seed, *shape):
    return (np.random.default_rng(seed).standard_normal(shape) / 2).astype(np.float32)


def info(name, shape, kind=F32):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, tensors, opset=17, shape=("n", 6), out=("n", 3), functions=(), domains=()):
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in tensors.items()]
    graph = helper.make_graph(nodes, "main", [info("x", shape)], [info("y", out)], tensors)
    opsets = [helper.make_opsetid("", opset), *[helper.make_opsetid(d, 1) for d in domains]]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def layers(middle, **rest):
    """Two layers, with these nodes between `h` and `r`."""
    nodes = [node("Gemm", ["x", "w1", "b1"], ["h"], transB=1), *middle, node("Gemm", ["r", "w2"], ["y"], transB=1)]
    tensors = {"w1": floats(1, 8, 6), "b1": floats(2, 8), "w2": floats(3, 3, 8)}
    tensors.update(rest.pop("tensors", {}))
    return model(nodes, tensors, **rest)


def pair(**attributes):
    return [
        node("QuantizeLinear", ["h", "s", "z"], ["q"], **attributes),
        node("DequantizeLinear", ["q", "s", "z"], ["r"], **attributes),
    ]


def branch(name, op, value="t"):
    return helper.make_graph([node(op, ["h"], [value])], name, [], [info(value, ["n", 8])])


def refer(made, attribute, to):
    made.attribute.add(name=attribute, ref_attr_name=to, type=onnx.AttributeProto.FLOAT)


def cases():
    yield "qdq", layers(pair(), tensors={"s": np.float32(0.02), "z": np.uint8(31)})
    yield "qdq_signed", layers(pair(), tensors={"s": np.float32(0.02), "z": np.int8(0)})
    eighths = {"w1": np.round(floats(1, 8, 6) * 8).astype(np.float32) / 8, "b1": np.zeros(8, np.float32)}
    yield "qdq_halves", layers(pair(), tensors={"s": np.float32(0.25), "z": np.int8(-3), **eighths})
    axis = {"s": np.linspace(0.01, 0.03, 8).astype(np.float32), "z": np.arange(8, dtype=np.int8) - np.int8(4)}
    yield "qdq_axis", layers(pair(axis=1), tensors=axis)
    images = [node("Conv", ["x", "w"], ["h"]), *pair(axis=1), node("GlobalAveragePool", ["r"], ["y"])]
    yield "qdq_images", model(images, {"w": floats(4, 8, 2, 3, 3), **axis}, shape=("n", 2, 5, 5), out=("n", 8, 1, 1))
    nodes = [
        node("DequantizeLinear", ["q1", "s1", "z1"], ["w1"], axis=0),
        node("DequantizeLinear", ["q2", "s2"], ["b1"]),
        node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        node("Relu", ["h"], ["y"]),
    ]
    whole = {"q1": (floats(5, 8, 6) * 80).astype(np.int8), "q2": np.arange(8, dtype=np.int32) * np.int32(50)}
    scales = {"s1": axis["s"], "z1": np.arange(8, dtype=np.int8), "s2": np.float32(0.01)}
    yield "quantized", model(nodes, {**whole, **scales}, out=("n", 8))

    onnx17, own = helper.make_opsetid("", 17), helper.make_opsetid("pkg", 1)
    inner = helper.make_function("pkg", "Leaky", ["a"], ["b"], [node("LeakyRelu", ["a"], ["b"])], [onnx17], ["alpha"])
    refer(inner.node[0], "alpha", "alpha")
    body = [
        node("Leaky", ["a"], ["t"], domain="pkg"),
        node("Leaky", ["t"], ["b"], domain="pkg", alpha=0.5),
        node("Neg", ["t"], ["c"]),
    ]
    default = [helper.make_attribute("slope", 0.25)]
    outer = helper.make_function("pkg", "Twice", ["a"], ["b", "c"], body, [onnx17, own], [], default)
    refer(outer.node[0], "alpha", "slope")
    calls = [
        node("Twice", ["h"], ["t", "u"], "one", domain="pkg", slope=0.125),
        node("Twice", ["t"], ["v", "w"], "two", domain="pkg"),
        node("Sum", ["u", "v", "w"], ["r"]),
    ]
    yield "functions", layers(calls, functions=[inner, outer], domains=["pkg"])

    choice = [node("If", ["c"], ["r"], then_branch=branch("then", "Relu"), else_branch=branch("else", "Tanh"))]
    yield "if_true", layers(choice, tensors={"c": np.bool_(True)})
    yield "if_false", layers(choice, tensors={"c": np.bool_(False)})
    both = {"then_branch": branch("then", "Relu", "i"), "else_branch": branch("else", "Neg", "v")}
    nodes = [node("Sigmoid", ["h"], ["t"]), node("If", ["c"], ["u"], **both), node("Add", ["t", "u"], ["w"])]
    deep = helper.make_graph(nodes, "deep", [], [info("w", ["n", 8])])
    rank = [
        node("Shape", ["h"], ["s"]),
        node("Size", ["s"], ["k"]),
        node("Equal", ["k", "two"], ["e"]),
        node("Not", ["e"], ["c"]),
        node("If", ["e"], ["r"], then_branch=deep, else_branch=branch("else", "Tanh", "o")),
    ]
    yield "if_in_if", layers(rank, tensors={"two": np.int64(2)})

    like = [node("CastLike", ["i", "h"], ["f"]), node("Min", ["h", "f"], ["r"])]
    yield "castlike", layers(like, tensors={"i": np.int64(1)})
    cut = [node("Mul", ["h", "four"], ["f"]), node("Cast", ["f"], ["i"], to=I64), node("Cast", ["i"], ["r"], to=F32)]
    yield "cast", layers(cut, tensors={"four": np.float32(4)})
    yield "swish", layers([node("Swish", ["h"], ["r"], alpha=1.5)], opset=24)
    norm = {n: floats(k, 4) for k, n in enumerate("gbm", 7)} | {"v": np.abs(floats(10, 4)) + 1}
    old = [
        node("BatchNormalization", ["x", *"gbmv"], ["n"]),
        node("Dropout", ["n"], ["d"]),
        node("Upsample", ["d"], ["y"], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
    ]
    yield "opset7", model(old, norm, opset=7, shape=("n", 4, 3, 3), out=("n", 4, 6, 6))


def main(folder):
    folder.mkdir(exist_ok=True)
    arrays = {}
    for name, made in cases():
        shape = [3] + [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim][1:]
        x = floats(20, *shape) * 2
        if name == "qdq_halves":
            x = np.round(x * 4) / 4
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        (folder / f"{name}.onnx").write_bytes(made.SerializeToString())
        arrays[f"{name}.x"], arrays[f"{name}.y"] = x, session.run(None, {"x": x})[0]
    save_file({n: np.ascontiguousarray(a) for n, a in arrays.items()}, folder / "answers.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
