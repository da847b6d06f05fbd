"""What ONNX Runtime computes for every operator, for `tests/kernels/onnxruntime.rs`.

    pip install numpy onnx onnxruntime safetensors && python operators.py

Writes `operators.safetensors` (inputs and outputs, all as f32) and `operators.json` (the cases) beside itself.
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(20)
CASES, TENSORS = [], {}


def rand(*shape, low=-1.0, high=1.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def case(name, op, node, inputs, outputs=1, order=None, constants=None, opset=21, **attributes):
    """One case: `op` as the test reads it, and the ONNX node (or list of nodes) that computes the same.

    `inputs` are the operator's, by name and in its order. `order` are the node's input names where they differ;
    `constants` those of them that the operator holds as attributes.
    """
    constants = constants or {}
    names = [f"y{k}" for k in range(outputs)]
    if isinstance(node, str):
        order = order or [*inputs, *constants]
        node = [helper.make_node(node, order, names, **attributes)]
    elements = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64, np.dtype(bool): TensorProto.BOOL}
    graph = helper.make_graph(
        node,
        name,
        [helper.make_tensor_value_info(n, elements[a.dtype], a.shape) for n, a in inputs.items()],
        [helper.make_empty_tensor_value_info(n) for n in names],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(names, inputs)
    index = len(CASES)
    tensors = {**inputs, **dict(zip(names, results))}
    TENSORS.update({f"{index}.{n}": np.array(a, dtype=np.float32, order="C") for n, a in tensors.items()})
    CASES.append(
        {
            "name": name,
            "op": op,
            "inputs": [f"{index}.{n}" for n in inputs],
            "outputs": [f"{index}.{n}" for n in names],
        }
    )


def unary():
    x = np.concatenate([np.linspace(-7, 7, 29), [-0.5, 0.5, 1.5, 2.5, -1.5, -2.5, 20.0, -20.0]]).astype(np.float32)

    def one(name, node=None, x=x, op=None, **kwargs):
        case(name, {"op": "Unary", "unary": name, **(op or {})}, node or name, {"x": x}, **kwargs)

    for name in ["Identity", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Neg", "Abs", "Sign", "Floor", "Ceil"]:
        one(name)
    for name in ["Round", "Sin", "Cos", "Mish", "HardSwish"]:
        one(name)
    one("Exp", x=rand(9, low=-4, high=4))
    for name in ["Log", "Sqrt", "Reciprocal"]:
        one(name, x=rand(9, low=0.1, high=4))
    one("LeakyRelu", op={"slope": 0.1}, alpha=0.1)
    one("Elu", op={"alpha": 0.7}, alpha=0.7)
    one("Selu", op={"alpha": 1.6, "gamma": 1.1}, alpha=1.6, gamma=1.1)
    one("HardSigmoid", op={"alpha": 0.3, "beta": 0.4}, alpha=0.3, beta=0.4)
    one("Gelu")
    one("GeluTanh", "Gelu", approximate="tanh")
    one("Silu", [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y0"])])
    bounds = {"low": np.float32(-1.5), "high": np.float32(6)}
    one("Clip", op={"low": -1.5, "high": 6.0}, constants={k: np.array(v) for k, v in bounds.items()})
    one("Not", x=np.array([True, False, True]))


def binary():
    def one(name, a, b, node=None, title=None):
        case(title or name, {"op": "Binary", "binary": name}, node or name, {"a": a, "b": b})

    for name in ["Add", "Sub", "Mul", "Div"]:
        one(name, rand(2, 3, 4), rand(3, 1))
    one("Add", rand(3), rand(2, 1, 1), title="Add, both repeated")
    one("Mul", rand(), rand(2, 3), title="Mul by a number")
    one("Pow", rand(2, 5), np.array(2, dtype=np.float32), title="Pow 2")
    one("Pow", rand(2, 5, low=0.1, high=3), rand(5, low=-2, high=2))
    one("PRelu", rand(2, 3, 4), rand(3, 1), node="PRelu")
    one("Min", rand(2, 3), rand(3))
    one("Max", rand(2, 3), rand(3))
    a, b = (RNG.integers(0, 3, shape).astype(np.float32) for shape in [(3, 4), (4,)])
    for name in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
        one(name, a, b)
    for name in ["And", "Or"]:
        one(name, a > 0, b > 0)
    case("Where", {"op": "Where"}, "Where", {"c": a > 0, "a": rand(4), "b": rand(2, 3, 1)})


def products():
    x, w, b = rand(3, 5), rand(4, 5), rand(4)
    case("Linear", {"op": "Linear"}, "Gemm", {"x": x, "w": w, "b": b}, transB=1)
    case("Linear without bias", {"op": "Linear"}, "Gemm", {"x": x, "w": w}, transB=1)
    for a, b in [((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((2, 2, 3), (3, 4)), ((2, 1, 2, 3), (3, 3, 2)), ((3,), (2, 3, 4))]:
        case(f"MatMul {a} {b}", {"op": "MatMul"}, "MatMul", {"a": rand(*a), "b": rand(*b)})


def conv(name, x, w, bias=True, node="Conv", output_padding=None, auto_pad=None, **given):
    spatial = len(w) - 2
    a = {"strides": [1] * spatial, "dilations": [1] * spatial, "pads": [0] * 2 * spatial, "group": 1, **given}
    op = {"op": node, "strides": a["strides"], "dilations": a["dilations"], "groups": a["group"]}
    attributes = dict(a)
    if auto_pad:
        total = [max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n) for n, s, d, k in zip(x[2:], a["strides"], a["dilations"], w[2:])]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        a["pads"] = small + large if auto_pad == "SAME_UPPER" else large + small
        del attributes["pads"]
        attributes["auto_pad"] = auto_pad
    op |= {"before": a["pads"][:spatial], "after": a["pads"][spatial:]}
    channels = w[0] if node == "Conv" else w[1] * a["group"]
    if node == "ConvTranspose":
        op["output_padding"] = attributes["output_padding"] = output_padding or [0] * spatial
    inputs = {"x": rand(*x), "w": rand(*w)} | ({"b": rand(channels)} if bias else {})
    case(f"{node} {name}", op, node, inputs, **attributes)


def convolutions():
    conv("3x3", (2, 3, 5, 6), (4, 3, 3, 3), pads=[1, 1, 1, 1])
    conv("without bias", (1, 2, 5, 5), (3, 2, 3, 3), bias=False)
    conv("1x1 strided", (1, 3, 5, 4), (4, 3, 1, 1), strides=[2, 2])
    conv("strided, padded unevenly", (1, 2, 6, 5), (3, 2, 3, 2), strides=[2, 1], pads=[0, 1, 1, 0])
    conv("dilated", (1, 2, 7, 6), (2, 2, 3, 3), dilations=[2, 1], pads=[2, 1, 2, 1])
    conv("grouped", (1, 4, 4, 4), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1])
    conv("depthwise", (2, 4, 5, 5), (4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1])
    conv("depthwise, two a channel", (1, 3, 4, 4), (6, 1, 3, 3), group=3, pads=[1, 1, 1, 1])
    conv("same upper", (1, 2, 5, 6), (2, 2, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    conv("same lower", (1, 2, 6, 5), (2, 2, 2, 3), strides=[1, 2], auto_pad="SAME_LOWER")
    conv("1-d", (2, 3, 9), (4, 3, 4), strides=[2], pads=[1, 2])
    conv("3-d", (1, 2, 3, 4, 3), (2, 2, 2, 3, 2), pads=[1, 0, 1, 0, 1, 0])
    for name, x, w, given in [
        ("plain", (1, 3, 3, 4), (3, 2, 3, 3), {}),
        ("strided", (2, 2, 3, 3), (2, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0]}),
        ("grouped, dilated", (1, 4, 3, 3), (4, 2, 2, 3), {"group": 2, "dilations": [2, 1], "strides": [1, 2]}),
        ("1-d", (2, 2, 4), (2, 3, 4), {"strides": [2], "pads": [1, 1]}),
        ("3-d", (1, 2, 2, 2, 2), (2, 1, 2, 2, 3), {"strides": [2, 1, 2]}),
        ("without bias", (1, 2, 3, 3), (2, 2, 2, 2), {"bias": False}),
    ]:
        conv(name, x, w, node="ConvTranspose", **given)


def pools():
    def one(name, kind, x, kernel, strides, pads=None, ceil=0):
        spatial = len(kernel)
        pads = pads or [0] * 2 * spatial
        node = "MaxPool" if kind == "Max" else "AveragePool"
        op = {"op": "Pool", "kind": kind, "kernel": kernel, "strides": strides, "ceil": bool(ceil)}
        op |= {"before": pads[:spatial], "after": pads[spatial:]}
        attributes = {"count_include_pad": int(kind == "AverageWithPadding")} if kind != "Max" else {}
        attributes |= {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": ceil}
        case(f"Pool {kind}, {name}", op, node, {"x": rand(*x)}, **attributes)

    for kind in ["Max", "Average", "AverageWithPadding"]:
        one("2x2", kind, (2, 3, 4, 6), [2, 2], [2, 2])
        one("overlapping, padded", kind, (1, 2, 6, 5), [3, 3], [2, 2], [1, 1, 1, 1])
        one("uneven", kind, (1, 2, 5, 6), [2, 3], [1, 2], [0, 1, 1, 0])
        one("ceil", kind, (1, 2, 6, 7), [3, 2], [2, 2], ceil=1)
        one("ceil, padded", kind, (1, 2, 6, 5), [3, 3], [2, 3], [1, 1, 1, 1], ceil=1)
        one("ceil, last window dropped", kind, (1, 1, 5, 5), [2, 2], [3, 3], [1, 1, 1, 1], ceil=1)
        one("1-d", kind, (2, 2, 7), [3], [2])
        one("3-d", kind, (1, 2, 3, 4, 3), [2, 2, 2], [1, 2, 1])
    case("GlobalAveragePool", {"op": "Reduce", "kind": "Mean", "axes": [2, 3], "keep": True}, "GlobalAveragePool", {"x": rand(2, 3, 4, 5)})
    case("GlobalMaxPool", {"op": "Reduce", "kind": "Max", "axes": [2, 3], "keep": True}, "GlobalMaxPool", {"x": rand(2, 3, 4, 5)})


def norms():
    for shape in [(3, 4), (2, 4, 3, 2), (2, 4, 5)]:
        inputs = {"x": rand(*shape), "g": rand(4), "b": rand(4), "m": rand(4), "v": rand(4, low=0.2, high=2)}
        case(f"BatchNorm {shape}", {"op": "BatchNorm", "epsilon": 1e-3}, "BatchNormalization", inputs, epsilon=1e-3)
    for shape, axis, bias in [((2, 3, 8), 2, True), ((2, 3, 4), 1, True), ((2, 7), 1, False)]:
        inputs = {"x": rand(*shape), "g": rand(*shape[axis:])} | ({"b": rand(*shape[axis:])} if bias else {})
        op = {"op": "LayerNorm", "axes": list(range(axis, len(shape))), "epsilon": 1e-4, "centred": True}
        case(f"LayerNorm {shape} from {axis}", op, "LayerNormalization", inputs, axis=axis, epsilon=1e-4)
    op = {"op": "LayerNorm", "axes": [2], "epsilon": 1e-4, "centred": False}
    case("RMSNorm", op, "RMSNormalization", {"x": rand(2, 3, 8), "g": rand(8)}, opset=23, axis=-1, epsilon=1e-4)
    op = {"op": "GroupNorm", "groups": 2, "epsilon": 1e-3}
    inputs = {"x": rand(2, 4, 3, 2), "g": rand(4), "b": rand(4)}
    case("GroupNorm", op, "GroupNormalization", inputs, num_groups=2, epsilon=1e-3)
    case("InstanceNorm", op | {"groups": 4}, "InstanceNormalization", inputs, epsilon=1e-3)
    for size in [3, 5]:
        op = {"op": "LocalResponseNorm", "size": size, "alpha": 0.2, "beta": 0.7, "bias": 1.5}
        case(f"LRN {size}", op, "LRN", {"x": rand(2, 5, 3, 2)}, size=size, alpha=0.2, beta=0.7, bias=1.5)


def reductions():
    for axis in [0, 1, 2]:
        x = rand(2, 4, 3, low=-6, high=6)
        case(f"Softmax {axis}", {"op": "Softmax", "axis": axis, "log": False}, "Softmax", {"x": x}, axis=axis)
        case(f"LogSoftmax {axis}", {"op": "Softmax", "axis": axis, "log": True}, "LogSoftmax", {"x": x}, axis=axis)
    for kind in ["Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L2"]:
        for axes, keep in [([1], False), ([0, 2], True), ([2], True)]:
            op = {"op": "Reduce", "kind": kind, "axes": axes, "keep": keep}
            constants = {"axes": ints(*axes)}
            case(f"Reduce{kind} {axes}", op, f"Reduce{kind}", {"x": rand(2, 3, 4)}, constants=constants, keepdims=int(keep))


def shapes():
    x = rand(2, 3, 4)
    op = {"op": "Reshape", "dims": ["same 0", "rest"]}
    case("Reshape", op, "Reshape", {"x": x}, constants={"shape": ints(0, -1)})
    op = {"op": "Reshape", "dims": [4, "rest", 2]}
    case("Reshape to sizes", op, "Reshape", {"x": x}, constants={"shape": ints(4, -1, 2)})
    for order in [[2, 0, 1], [0, 2, 1], [1, 0, 2]]:
        case(f"Transpose {order}", {"op": "Transpose", "order": order}, "Transpose", {"x": x}, perm=order)
    case("Concat", {"op": "Concat", "axis": 1}, "Concat", {"a": x, "b": rand(2, 1, 4), "c": rand(2, 2, 4)}, axis=1)
    for start, end, step, length in [(1, 4, 1, 3), (4, -9, -1, 5), (3, 0, -2, 2), (0, 5, 2, 3)]:
        op = {"op": "Slice", "axis": 1, "start": start, "len": length, "step": step}
        constants = {"starts": ints(start), "ends": ints(end), "axes": ints(1), "steps": ints(step)}
        case(f"Slice {start} by {step}", op, "Slice", {"x": rand(2, 5, 2)}, constants=constants)
    for mode in ["constant", "reflect", "edge"]:
        op = {"op": "Pad", "before": [0, 2, 1], "after": [1, 1, 3], "mode": mode, "value": 0.5}
        constants = {"pads": ints(0, 2, 1, 1, 1, 3), "value": np.array(0.5, dtype=np.float32)}
        case(f"Pad {mode}", op, "Pad", {"x": x}, constants=constants, mode=mode)
    case("Expand", {"op": "Expand", "shape": [2, 3, 4]}, "Expand", {"x": rand(3, 1)}, constants={"shape": ints(2, 3, 4)})
    case("Gather", {"op": "Gather", "axis": 0}, "Gather", {"x": rand(5, 3), "i": np.array([[0, 4], [-1, -5]])}, axis=0)
    case("Gather axis 1", {"op": "Gather", "axis": 1}, "Gather", {"x": rand(2, 4, 2), "i": np.array(-2)}, axis=1)
    for mode, attributes in [
        ("Nearest", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
        ("LinearHalfPixel", {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
        ("LinearAlignCorners", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
        ("LinearAsymmetric", {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}),
    ]:
        for x, size in [((2, 2, 3, 4), (6, 8)), ((1, 2, 3, 5), (4, 7)), ((1, 2, 6, 5), (3, 4)), ((1, 1, 3, 4), (1, 4)), ((1, 1, 2, 3, 2), (3, 4, 4))]:
            op = {"op": "Resize", "size": size, "mode": mode}
            constants = {"sizes": ints(*x[:2], *size)}
            case(f"Resize {mode} {x[2:]} to {size}", op, "Resize", {"x": rand(*x)}, order=["x", "", "", "sizes"], constants=constants, **attributes)


def recurrent():
    time, batch, features, hidden = 4, 2, 3, 5
    for cell, gates, attributes in [("Rnn", 1, {}), ("Lstm", 4, {}), ("Gru", 3, {"linear_before_reset": 0}), ("GruResetAfter", 3, {"linear_before_reset": 1})]:
        for direction in ["forward", "reverse", "bidirectional"]:
            d = 2 if direction == "bidirectional" else 1
            node = {"Rnn": "RNN", "Lstm": "LSTM"}.get(cell, "GRU")
            every = {
                "x": rand(time, batch, features),
                "w": rand(d, gates * hidden, features),
                "r": rand(d, gates * hidden, hidden),
                "b": rand(d, 2 * gates * hidden),
                "h": rand(d, batch, hidden),
                "c": rand(d, batch, hidden),
            }
            for given in [3, 4, 6 if cell == "Lstm" else 5]:
                inputs = dict(list(every.items())[:given])
                order = list(inputs)[:4] + ([""] + list(inputs)[4:] if given > 4 else [])
                op = {"op": "Recurrent", "cell": cell, "direction": direction}
                outputs = 3 if cell == "Lstm" else 2
                title = f"{cell} {direction}, {given} inputs"
                case(title, op, node, inputs, outputs, order, hidden_size=hidden, direction=direction, **attributes)


def angles():
    def one(name, x, **op):
        given = op.pop("given", {})
        case(name, {"op": "Unary", "unary": name, **op}, name, {"x": x}, **given)

    for name in ["Tan", "Asin", "Acos", "Atanh"]:
        one(name, rand(9, low=-0.95, high=0.95))
    for name in ["Atan", "Sinh", "Cosh", "Asinh"]:
        one(name, rand(9, low=-4, high=4))
    one("Acosh", rand(9, low=1, high=4))
    odd = np.array([np.nan, np.inf, -np.inf, 0, 1, -3e38], dtype=np.float32)
    one("IsNaN", odd)
    for negative, positive in [(1, 1), (0, 1), (1, 0)]:
        given = {"detect_negative": negative, "detect_positive": positive}
        one("IsInf", odd, given=given, negative=bool(negative), positive=bool(positive))


def picks():
    x = rand(3, 5, 4)
    for axis in [0, 1, 2]:
        for exclusive, reverse in [(0, 0), (1, 0), (0, 1), (1, 1)]:
            op = {"op": "CumSum", "axis": axis, "exclusive": bool(exclusive), "reverse": bool(reverse)}
            constants = {"axis": np.array(axis)}
            title = f"CumSum {axis}{' exclusive' * exclusive}{' reverse' * reverse}"
            case(title, op, "CumSum", {"x": x}, constants=constants, exclusive=exclusive, reverse=reverse)
        for count, largest in [(1, 1), (2, 1), (3, 0)]:
            op = {"op": "TopK", "axis": axis, "count": count, "largest": bool(largest)}
            constants = {"k": ints(count)}
            case(f"TopK {axis}, {count}", op, "TopK", {"x": x}, outputs=2, constants=constants, axis=axis, largest=largest)
    equal = np.array([[1, 2, 2, 0, 2, 1], [0, 0, 0, 0, 0, 0]], dtype=np.float32)
    for largest in [1, 0]:
        op = {"op": "TopK", "axis": 1, "count": 4, "largest": bool(largest)}
        case("TopK of equal ones", op, "TopK", {"x": equal}, outputs=2, constants={"k": ints(4)}, axis=1, largest=largest)
    for axis, shape in [(0, (4, 5, 4)), (1, (3, 2, 4)), (2, (2, 3, 6))]:
        n = x.shape[axis]
        i = RNG.integers(-n, n, shape)
        case(f"GatherElements {axis}", {"op": "GatherElements", "axis": axis}, "GatherElements", {"x": x, "i": i}, axis=axis)
    for axis, shape in [(0, (2, 5, 4)), (1, (3, 2, 4)), (2, (2, 3, 3))]:
        for kind in ["none", "add", "mul", "min", "max"]:
            n = x.shape[axis]
            order = np.argsort(RNG.random(x.shape), axis=axis)  # no position twice
            i = order[tuple(slice(0, k) for k in shape)]
            if kind != "none":
                i = RNG.integers(-n, n, shape)
            op = {"op": "ScatterElements", "axis": axis, "function": kind}
            title = f"ScatterElements {axis} {kind}"
            case(title, op, "ScatterElements", {"x": x, "i": i, "u": rand(*shape)}, axis=axis, reduction=kind)
    x = np.array([[0, 3, 0], [-1, 0, 2]], dtype=np.float32)
    case("NonZero", {"op": "NonZero"}, "NonZero", {"x": x})


for family in [unary, binary, products, convolutions, pools, norms, reductions, shapes, recurrent, angles, picks]:
    family()
save_file(TENSORS, HERE / "operators.safetensors")
lines = ",\n".join(json.dumps(c) for c in CASES)
(HERE / "operators.json").write_text(
    f'{{"onnxruntime": "{onnxruntime.__version__}", "onnx": "{onnx.__version__}", "cases": [\n{lines}\n]}}\n'
)
