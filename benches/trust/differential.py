"""Random small networks merged with a renumbered partner, judged by ONNX Runtime.

    python benches/trust/differential.py PROGRAM [COUNT] [SEED]

Each network is grown from blocks whose units can be renumbered by hand: dense layers, convolutions, BatchNorms, residual
additions, gates, tied layers, concatenations, layer normalisation, a second input, a second output. Half of the time B is A
renumbered, so a merge at any λ must compute what A computes; else its weights are its own, and λ = 0 must give A's function
and λ = 1 B's. Pairs are two ONNX files, or two checkpoints with `--graph`, and most have something wrong or odd about them
(FAULTS). What a merge writes is loaded into the network as it was grown and run by ONNX Runtime. A merge may be refused; it
may never be wrong without a word.

Prints a table: what was done to the files, how many merges agreed with A, how many were refused, how many were wrong.
Needs numpy, onnx, onnxruntime, safetensors.
"""
import collections, os, subprocess, sys, tempfile
import numpy as np, onnx
from onnx import helper as H, numpy_helper as N, TensorProto as T
import onnxruntime as R
from safetensors.numpy import load_file, save_file

R.set_default_logger_severity(3)
# What is done to the files, and whether an honest program may refuse it.
FAULTS = {
    "none": False, "alias": False, "alias in A only": False, "equal buffer": False, "counter in A only": False,
    "prefix on B": False, "prefix on both": False, "renamed and transposed in the graph": True,
    "moving average in A": True, "adapter on B": True, "buffer that differs": True, "missing tensor": True,
    "BatchNorm folded in the graph": True, "moving average ignored": False, "another shape": True,
    "another operator in B": True, "other names in B": False, "hidden layer is an output": False,
    "another attribute in B": True, "shared initialiser stored twice in B": True,
}
ONNX_ONLY = {"another operator in B", "other names in B", "hidden layer is an output", "another attribute in B", "shared initialiser stored twice in B"}


class Grown:
    """A network, its weights, and the same weights renumbered."""

    def __init__(self, rng):
        self.rng, self.nodes, self.a, self.b, self.count = rng, [], {}, {}, 0
        self.inputs, self.outputs, self.norms, self.constants = [], [], [], {}

    def name(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def weight(self, name, value, *perms):
        value = np.ascontiguousarray(value, np.float32)
        moved = value
        for axis, perm in enumerate(perms):
            if perm is not None:
                moved = np.take(moved, perm, axis)
        self.a[name], self.b[name] = value, np.ascontiguousarray(moved)
        return name

    def node(self, op, inputs, **attributes):
        out = self.name("v")
        self.nodes.append(H.make_node(op, inputs, [out], f"{op.lower()}_{out}", **attributes))
        return out

    def perm(self, n):
        return self.rng.permutation(n)

    def normal(self, *shape):
        fan = max(1, int(np.prod(shape[1:])))
        return self.rng.standard_normal(shape) / np.sqrt(fan)

    def dense(self, x, p, width, q, bias=True):
        n = self.name("fc")
        inputs = [x, self.weight(n + ".weight", self.normal(width, len(p)), q, p)]
        if bias:
            inputs.append(self.weight(n + ".bias", .3 * self.rng.standard_normal(width), q))
        return self.node("Gemm", inputs, transB=1)

    def conv(self, x, p, width, q, groups=1):
        n = self.name("conv")
        taps = (width, 1 if groups > 1 else len(p), 3, 3)
        inputs = [x, self.weight(n + ".weight", self.normal(*taps), q, None if groups > 1 else p)]
        inputs.append(self.weight(n + ".bias", .3 * self.rng.standard_normal(width), q))
        return self.node("Conv", inputs, pads=[1] * 4, group=groups, kernel_shape=[3, 3])

    def norm(self, x, p):
        n, r, w = self.name("bn"), self.rng, len(p)
        parts = [("weight", r.uniform(.5, 2, w)), ("bias", r.standard_normal(w)), ("running_mean", r.standard_normal(w)), ("running_var", r.uniform(.3, 3, w))]
        self.norms.append((n, x))
        return self.node("BatchNormalization", [x] + [self.weight(f"{n}.{k}", v, p) for k, v in parts])

    def act(self, x):
        return self.node(self.rng.choice(["Relu", "Tanh", "Sigmoid", "LeakyRelu"]), [x])

    def scaled(self, x):
        c = self.name("c")
        self.constants[c] = np.float32(self.rng.uniform(.5, 2))
        return self.node("Mul", [x, c])

    def block(self, x, p):
        """One more block behind x, whose units are numbered by p."""
        kind = self.rng.choice(["dense", "residual", "gate", "tied", "concat", "norm", "layer norm", "scale", "bottleneck"])
        width = int(self.rng.integers(5, 17))
        if kind == "residual":
            q = self.perm(width)
            return self.node("Add", [x, self.dense(self.act(self.dense(x, p, width, q)), q, len(p), p)]), p
        if kind == "gate":
            return self.node("Mul", [x, self.node("Sigmoid", [self.dense(x, p, len(p), p)])]), p
        if kind == "tied":
            n = self.name("tied")
            w = self.weight(n + ".weight", self.normal(len(p), len(p)), p, p)
            for _ in range(2):
                x = self.act(self.node("Gemm", [x, w], transB=1))
            return x, p
        if kind == "concat":
            q = self.perm(width)
            y = self.act(self.dense(x, p, width, q))
            return self.node("Concat", [x, y], axis=1), np.concatenate([p, len(p) + q])
        if kind == "norm":
            return self.act(self.norm(x, p)), p
        if kind == "layer norm":
            n = self.name("ln")
            parts = [self.weight(f"{n}.{k}", self.rng.uniform(.5, 1.5, len(p)), p) for k in ("weight", "bias")]
            return self.node("LayerNormalization", [x, *parts], axis=-1), p
        if kind == "scale":
            return self.scaled(x), p
        q = self.perm(width)
        x = self.act(self.dense(x, p, width, q, bias=kind == "dense"))
        return x, q

    def grow(self):
        r = self.rng
        images = r.random() < .4
        if images:
            self.inputs.append(("x", ["n", 3, 5, 5]))
            x, p = "x", np.arange(3)
            for _ in range(r.integers(1, 4)):
                width = int(r.integers(5, 13))
                if r.random() < .25 and len(p) > 3:
                    x = self.act(self.conv(x, p, len(p), p, groups=len(p)))
                    continue
                q = self.perm(width)
                x = self.conv(x, p, width, q)
                if r.random() < .6:
                    x = self.norm(x, q)
                x, p = self.act(x), q
            x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        else:
            width = int(r.integers(5, 13))
            self.inputs.append(("x", ["n", 6]))
            p = self.perm(width)
            x = self.dense("x", np.arange(6), width, p)
            if r.random() < .3:
                self.inputs.append(("u", ["n", 4]))
                x = self.node("Add", [x, self.dense("u", np.arange(4), width, p)])
            x = self.act(x)
        for _ in range(r.integers(1, 5)):
            x, p = self.block(x, p)
        self.hidden = x
        self.outputs.append((self.dense(x, p, 3, np.arange(3)), 3))
        if r.random() < .3:
            self.outputs.append((self.dense(x, p, 2, np.arange(2)), 2))
        return self

    def model(self, weights, nodes=None, rename=lambda n: n, extra_outputs=()):
        copied = []
        for n in nodes or self.nodes:
            m = onnx.NodeProto(); m.CopyFrom(n)
            m.input[:] = [rename(i) for i in m.input]
            copied.append(m)
        tensors = [N.from_array(v, rename(k)) for k, v in weights.items()] + [N.from_array(np.asarray(v), k) for k, v in self.constants.items()]
        outs = [H.make_tensor_value_info(o, T.FLOAT, ["n", w]) for o, w in self.outputs] + [H.make_tensor_value_info(o, T.FLOAT, None) for o in extra_outputs]
        graph = H.make_graph(copied, "g", [H.make_tensor_value_info(n, T.FLOAT, s) for n, s in self.inputs], outs, tensors)
        m = H.make_model(graph, opset_imports=[H.make_opsetid("", 17)]); m.ir_version = 8
        return m

    def part(self):
        """Gives B weights of its own."""
        for k, v in self.a.items():
            own = self.rng.uniform(.3, 3, v.shape) if k.endswith("running_var") else v.mean() + (v.std() + .1) * self.rng.standard_normal(v.shape)
            self.b[k] = own.astype(np.float32)

    def feeds(self):
        r = np.random.default_rng(1)
        return {n: r.standard_normal([4 if d == "n" else d for d in s]).astype(np.float32) for n, s in self.inputs}

    def run(self, weights, model=None):
        options = R.SessionOptions(); options.intra_op_num_threads = 1
        options.graph_optimization_level = R.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = R.InferenceSession((model or self.model(weights)).SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, self.feeds())


def apart(x, y):
    return max(float(np.max(np.abs(a - b)) / (np.max(np.abs(a)) + 1e-30)) for a, b in zip(x, y))


def folded(net):
    """The network's graph with one BatchNorm folded into the layer before it, under the same names."""
    for norm, x in net.norms:
        before = next((n for n in net.nodes if n.output[0] == x and n.op_type in ("Conv", "Gemm") and len(n.input) == 3), None)
        users = [n for n in net.nodes if x in n.input]
        if before is None or len(users) != 1:
            continue
        w, b = before.input[1], before.input[2]
        if sum(w in n.input for n in net.nodes) != 1:
            continue
        a = net.a
        gain = a[norm + ".weight"] / np.sqrt(a[norm + ".running_var"] + 1e-5)
        weights = {k: v for k, v in a.items() if not k.startswith(norm + ".")}
        weights[w] = (a[w] * gain.reshape([-1] + [1] * (a[w].ndim - 1))).astype(np.float32)
        weights[b] = ((a[b] - a[norm + ".running_mean"]) * gain + a[norm + ".bias"]).astype(np.float32)
        out = users[0].output[0]
        nodes = []
        for n in net.nodes:
            if n is users[0]:
                continue
            m = onnx.NodeProto(); m.CopyFrom(n)
            m.input[:] = [x if i == out else i for i in m.input]
            nodes.append(m)
        return net.model(weights, nodes)
    return None


def case(program, folder, net, fault):
    """Merges at three λ; gives the outcome of each."""
    path = lambda n: os.path.join(folder, n)
    [os.remove(path(n)) for n in os.listdir(folder)]
    rng = net.rng
    apart_ = bool(rng.random() < .5)
    if apart_:
        net.part()
    a, b = dict(net.a), dict(net.b)
    names = sorted(a)
    pick = lambda: names[rng.integers(len(names))]
    back, extra, truth = (lambda n: n), [], None
    as_onnx = fault in ONNX_ONLY or (fault == "none" and rng.random() < .5)
    if as_onnx:
        rename, model_b, outs = (lambda n: n), None, ()
        if fault == "another operator in B":
            swap = {"Relu": "Tanh", "Tanh": "Sigmoid", "Sigmoid": "Relu", "LeakyRelu": "Relu"}
            at = [i for i, n in enumerate(net.nodes) if n.op_type in swap]
            if not at:
                return None
            nodes = list(net.nodes); n = onnx.NodeProto(); n.CopyFrom(nodes[at[0]]); n.op_type = swap[n.op_type]; del n.attribute[:]; nodes[at[0]] = n
            model_b = net.model(b, nodes)
        if fault == "another attribute in B":
            at = [i for i, n in enumerate(net.nodes) if n.op_type == "Gemm"]
            nodes = list(net.nodes); n = onnx.NodeProto(); n.CopyFrom(nodes[at[0]]); n.attribute.append(H.make_attribute("alpha", 2.0)); nodes[at[0]] = n
            model_b = net.model(b, nodes)
        if fault == "shared initialiser stored twice in B":
            tied = [k for k in names if k.startswith("tied")]
            if not tied:
                return None
            nodes, seen = [], 0
            for n in net.nodes:
                m = onnx.NodeProto(); m.CopyFrom(n)
                if tied[0] in m.input:
                    seen += 1
                    if seen == 2: m.input[:] = [tied[0] + ".copy" if i == tied[0] else i for i in m.input]
                nodes.append(m)
            model_b = net.model({**b, tied[0] + ".copy": b[tied[0]]}, nodes)
        if fault == "other names in B":
            other = {k: f"onnx::Gemm_{i}" for i, k in enumerate(names)}
            model_b = net.model(b, rename=lambda n: other.get(n, n))
        if fault == "hidden layer is an output":
            outs = (net.hidden,)
        onnx.save(net.model(a, extra_outputs=outs), path("a.onnx"))
        onnx.save(model_b or net.model(b, extra_outputs=outs), path("b.onnx"))
        argv = [path("a.onnx"), path("b.onnx")]
        out = path("m.onnx")
        if outs:
            truth = net.model(a, extra_outputs=outs)
    else:
        graph = net.model(a)
        w = pick()
        if fault in ("alias", "alias in A only"):
            w = next((n for n in names if a[n].ndim == 2), w)
            a["copy." + w] = a[w].copy()
            if fault == "alias": b["copy." + w] = b[w].copy()
        if fault == "equal buffer": a["mask"] = b["mask"] = rng.standard_normal(4).astype(np.float32)
        if fault == "counter in A only": a["bn.num_batches_tracked"] = np.int64(7)
        if fault.startswith("moving average"):
            a |= {"model_ema." + k: v * np.float32(.9) for k, v in net.a.items()}
            if fault.endswith("ignored"): extra = ["--ignore", "model_ema.*"]
        if fault == "adapter on B": b |= {w + ".lora_A": np.ones((2, 3), np.float32), w + ".lora_B": np.ones((3, 2), np.float32)}
        if fault == "buffer that differs": a["scale"], b["scale"] = np.float32([1, 2]), np.float32([1, 3])
        if fault == "missing tensor": del b[w]
        if fault == "another shape": b[w] = np.concatenate([b[w], b[w][:1]])
        if fault == "BatchNorm folded in the graph":
            graph = folded(net)
            if graph is None:
                return None
        if fault == "renamed and transposed in the graph":
            gemm = next((n for n in net.nodes if n.op_type == "Gemm" and sum(n.input[1] in m.input for m in net.nodes) == 1), None)
            if gemm is None:
                return None
            nodes = []
            for n in net.nodes:
                m = onnx.NodeProto(); m.CopyFrom(n)
                if n is gemm:
                    del m.attribute[:]; m.input[1] = "val_1"
                nodes.append(m)
            weights = {k: v for k, v in net.a.items() if k != gemm.input[1]}
            graph = net.model({**weights, "val_1": np.ascontiguousarray(net.a[gemm.input[1]].T)}, nodes)
        if fault == "prefix on B": b = {"module." + k: v for k, v in b.items()}
        if fault == "prefix on both":
            a, b = {"model." + k: v for k, v in a.items()}, {"module.net." + k: v for k, v in b.items()}
            back = lambda n: n.removeprefix("model.")
        onnx.save(graph, path("net.onnx"))
        save_file({k: np.asarray(v) for k, v in a.items()}, path("a.safetensors")); save_file({k: np.asarray(v) for k, v in b.items()}, path("b.safetensors"))
        argv = [path("a.safetensors"), path("b.safetensors"), "--graph", path("net.onnx")]
        out = path("m.safetensors")
    want = {"0": net.run(net.a, truth), "0.5": net.run(net.a, truth), "1": net.run(net.b)}
    found = {}
    for l in ("0", "0.5", "1"):
        p = subprocess.run([program, "merge", *argv, "-o", out, "--lambda", l, "--threads", "1", *extra], capture_output=True, text=True)
        if p.returncode not in (0, 1):
            found[l] = f"crashed ({p.returncode})"
        elif p.returncode:
            found[l] = "refused"; found["why"] = p.stderr.strip().splitlines()[-1][:200]
        else:
            if as_onnx:
                m = {t.name: N.to_array(t) for t in onnx.load(out).graph.initializer}
                got = net.run(None, onnx.load(out))
            else:
                m = {back(k): v for k, v in load_file(out).items()}
                got = net.run({k: m[k] for k in net.a})
                copies = [k for k in m if k.startswith("copy.") and not np.array_equal(m[k], m[k[5:]])]
                if copies: found[l] = "wrong: copies differ"; continue
            if truth is not None and l != "0":
                found[l] = "agrees"; continue
            if apart_ and l == "0.5":
                found[l] = "agrees"; continue
            d = apart(want[l], got)
            # At ½ a partner that was not found gives another network; that is no lie, but it is counted.
            found[l] = "agrees" if d < 2e-4 else ("not found" if l == "0.5" else f"wrong by {d:.1e}")
        if os.path.exists(out): os.remove(out)
    return found


def main():
    program, count, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000, int(sys.argv[3]) if len(sys.argv) > 3 else 0
    table, done, k = collections.defaultdict(collections.Counter), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while done < count:
            rng = np.random.default_rng([seed, k]); k += 1
            fault = list(FAULTS)[k % len(FAULTS)]
            net = Grown(rng).grow()
            found = case(program, folder, net, fault)
            if found is None:
                continue
            done += 1
            why = found.pop("why", "")
            for l, outcome in found.items():
                kind = outcome.split(" by ")[0].split(" (")[0]
                table[fault][kind] += 1
                bad = kind not in ("agrees", "refused", "not found") or (kind == "refused" and not FAULTS[fault]) or (kind != "refused" and fault in ("missing tensor", "another shape", "another operator in B", "another attribute in B"))
                if bad or (kind == "not found" and "-v" in sys.argv):
                    print(f"network {k - 1} of seed {seed}, {fault}, λ = {l}: {outcome} {why if kind == 'refused' else ''}", file=sys.stderr, flush=True)
    columns = ["agrees", "not found", "refused", "wrong", "wrong: copies differ", "crashed"]
    print(f"| {done} networks, three λ | may refuse | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    for fault in FAULTS:
        print(f"| {fault} | {'yes' if FAULTS[fault] else ''} | " + " | ".join(str(table[fault][c]) for c in columns) + " |")
    print("| all | | " + " | ".join(str(sum(t[c] for t in table.values())) for c in columns) + " |")


main()
