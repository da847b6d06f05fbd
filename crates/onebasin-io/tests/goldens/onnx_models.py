"""Makes the small ONNX models of the tests, and compares models field by field.

    python onnx_models.py make FOLDER
    python onnx_models.py check ORIGINAL WRITTEN [NAME ...]

`check` passes if WRITTEN is ORIGINAL but for the elements of the tensors NAME, which must be doubled, and for where
external data lies. Needs `onnx` and `numpy`; the models here were made with onnx 1.23.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32, F64, F16, BF16 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16


def raw(name, array):
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def ramp(*shape):
    return (np.arange(np.prod(shape), dtype=np.float32) / 8 - 1).reshape(shape)


def value(name, shape, kind=F32):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, tensors, *, opset=21, ir=10, inputs=None, outputs=None, **extra):
    inputs = inputs or [value("x", ["batch", 4])]
    outputs = outputs or [value("y", ["batch", 3])]
    graph = helper.make_graph(nodes, "main", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="goldens", **extra)


def gemm(weight="fc.weight", bias="fc.bias", x="x", y="y"):
    return helper.make_node("Gemm", [x, weight, bias], [y], name="fc", transB=1)


def weights():
    return [raw("fc.weight", ramp(3, 4)), raw("fc.bias", ramp(3))]


def make_raw():
    made = model([gemm()], weights(), doc_string="a layer")
    helper.set_model_props(made, {"author": "somebody", "onebasin.provenance": '"older"'})
    # A field that no version of the schema has: 1000, a string of three bytes.
    return made.SerializeToString() + b"\xc2\x3e\x03abc"


def make_typed():
    ints = {
        "i8": (TensorProto.INT8, [-128, 127]),
        "u8": (TensorProto.UINT8, [0, 255]),
        "i16": (TensorProto.INT16, [-32768, 32767]),
        "u16": (TensorProto.UINT16, [0, 65535]),
        "i32": (TensorProto.INT32, [-(2**31), 2**31 - 1]),
        "u32": (TensorProto.UINT32, [0, 2**32 - 1]),
        "i64": (TensorProto.INT64, [-(2**63), 2**63 - 1]),
        "u64": (TensorProto.UINT64, [0, 2**64 - 1]),
        "bool": (TensorProto.BOOL, [True, False]),
    }
    tensors = [helper.make_tensor(name, kind, [2], values) for name, (kind, values) in ints.items()]
    tensors += [
        helper.make_tensor("fc.weight", F32, [3, 4], ramp(3, 4).ravel()),
        helper.make_tensor("fc.bias", F32, [3], ramp(3)),
        helper.make_tensor("f64", F64, [2], [1 / 3, -2.0]),
        helper.make_tensor("f16", F16, [2], [1.5, -2.0]),
        helper.make_tensor("bf16", BF16, [2], [1.5, -2.0]),
        helper.make_tensor("scalar", F32, [], [0.25]),
        helper.make_tensor("empty", F32, [0, 7], []),
        helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"]),
        helper.make_tensor("f8", TensorProto.FLOAT8E4M3FN, [2], [1.0, 2.0]),
    ]
    return model([gemm()], tensors)


def make_half():
    """Raw f16 and bf16, opset 8, whose initialisers are inputs as well."""
    w, b = raw("w", ramp(4, 3).astype(np.float16)), TensorProto(name="b", dims=[3], data_type=BF16)
    b.raw_data = (ramp(3).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    inputs = [value("x", [1, 4], F16), value("w", [4, 3], F16), value("b", [3], BF16)]
    return model([node], [w, b], opset=8, ir=3, inputs=inputs, outputs=[value("y", [1, 3], F16)])


def make_constant():
    """Weights in Constant nodes, and a node that stands before what it reads."""
    constant = lambda name, array: helper.make_node("Constant", [], [name], value=raw("", array))
    scale = helper.make_node("Constant", [], ["scale"], value_float=2.0)
    scaled = helper.make_node("Mul", ["h", "scale"], ["y"], name="scaled")
    return model([scaled, constant("w", ramp(3, 4)), constant("b", ramp(3)), scale, gemm("w", "b", y="h")], [])


def make_subgraph():
    """Branches that hold tensors of their own and read a weight from outside."""
    flag = value("flag", [], TensorProto.BOOL)
    branch = lambda name, node, tensors: helper.make_graph([node], name, [], [value("b_" + name, [3])], tensors)
    then = branch("then", helper.make_node("Add", ["fc.bias", "own"], ["b_then"]), [raw("own", ramp(3))])
    other = branch("else", helper.make_node("Identity", ["spare"], ["b_else"]), [])
    choose = helper.make_node("If", ["flag"], ["bias"], name="choose", then_branch=then, else_branch=other)
    inputs = [value("x", ["batch", 4]), flag]
    return model([choose, gemm(bias="bias")], [*weights(), raw("spare", ramp(3))], inputs=inputs)


def make_shapes():
    """Weights replaced by ConstantOfShape, opset 9, whose initialisers are inputs as well."""
    shapes = {"w": [4, 3], "b": [3]}
    fill = lambda n: helper.make_node("ConstantOfShape", [n + "__SHAPE"], [n], value=raw("", np.float32([0.02])))
    counts = helper.make_node("ConstantOfShape", ["b__SHAPE"], ["counts"], value=raw("", np.int64([1])))
    tensors = [raw(n + "__SHAPE", np.int64(s)) for n, s in shapes.items()]
    inputs = [value("x", [1, 4])] + [value(t.name, list(t.dims), TensorProto.INT64) for t in tensors]
    last = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc")
    nodes = [*map(fill, shapes), counts, last]
    return model(nodes, tensors, opset=9, ir=3, inputs=inputs, outputs=[value("y", [1, 3])])


def make_external(folder):
    """Two tensors in one file at odd offsets, one of an unknown element type, one in a branch, one inline."""
    made = onnx.load_from_string(make_subgraph().SerializeToString())
    f8 = helper.make_tensor("f8", TensorProto.FLOAT8E4M3FN, [3], b"\x01\x02\x03", raw=True)
    made.graph.initializer.append(f8)
    tensors = {t.name: t for t in made.graph.initializer}
    branches = [attribute.g for attribute in made.graph.node[0].attribute]
    tensors |= {t.name: t for branch in branches for t in branch.initializer}
    data = b"head"
    for name in ["fc.bias", "own", "f8", "fc.weight"]:
        tensor = tensors[name]
        content, offset = tensor.raw_data, len(data)
        data += content + b"\xff"
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": "external.bin", "offset": offset, "length": len(content), "note": "kept"}
        for key, entry in entries.items():
            tensor.external_data.add(key=key, value=str(entry))
    (folder / "external.bin").write_bytes(data)
    return made


def make(folder):
    makers = [make_raw, make_typed, make_half, make_constant, make_subgraph, make_shapes]
    made = {m.__name__.removeprefix("make_"): m() for m in makers} | {"external": make_external(folder)}
    for name, content in made.items():
        content = content if isinstance(content, bytes) else content.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(content)
        onnx.load(folder / f"{name}.onnx")


def tensors_of(graph):
    """Names and tensors; that of a Constant node has the name of the node's output."""
    yield from ((t.name, t) for t in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from [(node.output[0], attribute.t)] if attribute.HasField("t") else []
            yield from tensors_of(attribute.g) if attribute.HasField("g") else []


def comparable(path, doubled=()):
    """A model with the elements of every external or doubled tensor taken out, and those elements."""
    found = onnx.load(path, load_external_data=False)
    taken = []
    for name, tensor in tensors_of(found.graph):
        external = tensor.data_location == TensorProto.EXTERNAL
        if external:
            entry = {e.key: e for e in tensor.external_data}
            location, offset, length = (entry[key].value for key in ["location", "offset", "length"])
            for key in ["location", "offset", "length"]:
                tensor.external_data.remove(entry[key])
            taken.append((name, (Path(path).parent / location).read_bytes()[int(offset) :][: int(length)]))
        if name in doubled:
            if not external:
                taken.append((name, numpy_helper.to_array(tensor).tobytes()))
            for field in ["raw_data", "float_data", "int32_data", "double_data"]:
                tensor.ClearField(field)
    return found, taken


def check(original, written, *doubled):
    (old, before), (new, after) = comparable(original, doubled), comparable(written, doubled)
    assert old == new, f"{written} differs from {original}"
    assert [n for n, _ in before] == [n for n, _ in after], (before, after)
    assert not set(doubled) - {n for n, _ in after}, after
    for (name, a), (_, b) in zip(before, after):
        if name in doubled:
            a = (2 * np.frombuffer(a, np.float32)).tobytes()
        assert a == b, f"{name} differs"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        check(*sys.argv[2:])
