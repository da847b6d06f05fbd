"""Tools that align two torch networks, on the same networks in one run: does it run, is it right, what does it cost.

    python benches/python/peers.py --rebasin PYTHON --sinkhorn PYTHON [--networks WORD ...] [--json FILE]

`rebasin` and `sinkhorn-rebasin` bring a module of the same name, so each has an environment of its own, and PYTHON is its
interpreter; onebasin runs in the one that runs this. All need torch, torchvision and timm.

Each tool is used as its own documentation shows, in a process of its own for every network, on B of another seed than A:

- `rebasin`: `PermutationCoordinateDescent(a, b, inputs).rebasin()`. It does not move what BatchNorms remember, and its documentation
  says to compute that anew, so look at the column in which BatchNorms look at the batch.
- `sinkhorn-rebasin`: `RebasinNet(b)` trained for 50 steps towards A, with the loss and the rate of its examples for convolutions;
  where there are none also with those of its example for perceptrons, and what ends nearer to A is told, with only its own time. It
  draws its inputs itself, as floats, so networks of tokens are wrapped in a module that makes tokens of floats.
- `onebasin`: `symmetry(a, inputs)`, `match`, `apply`.

Torch is the judge: π(B) is loaded into the module and compared with B, as a share of B's largest output. What comes back: A is
renumbered, once by a random element of the symmetry that the tool itself finds, once by one of the whole symmetry (found by
onebasin, and tested here: it must not change what A computes), and the tool is to bring it back; a tensor is back if it is A's to the
bit. Memory is the peak of the process above what it held before the call.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = 50
MARK = "found: "


# The tools: what moves B towards A, and a random element of what the tool takes for the symmetry, of which A is moved.
class Rebasin:
    def __init__(self):
        import rebasin

        self.module = rebasin

    def ways(self, net):
        return {"": self.align}

    def align(self, a, b, example):
        found = self.module.PermutationCoordinateDescent(a, b, example)
        found.rebasin()
        return b.state_dict()

    def renumber(self, a, b, example):
        import torch

        moved = copy.deepcopy(a)
        found = self.module.PermutationCoordinateDescent(a, moved, example)
        for permutation, _ in found.pinit.model_graph.permutation_to_info:
            permutation.perm_indices = torch.randperm(len(permutation))
        found.apply_permutations()
        return moved.state_dict()


class Sinkhorn:
    def __init__(self):
        import rebasin
        import rebasin.loss
        import torch

        self.module, self.torch = rebasin, torch

    def net(self, module, example):
        torch = self.torch

        class Tokens(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = module

            def forward(self, x):
                return self.net((1000 * x.abs()).long() % 30)

        return self.module.RebasinNet(Tokens() if example.dtype == torch.long else module, input_shape=tuple(example.shape))

    def state(self, net):
        return {name.removeprefix("net."): tensor.clone() for name, tensor in net().state_dict().items()}

    def ways(self, net):
        near = self.module.loss
        ways = {"L1, rate 10": lambda a, b, example: self.align(a, b, example, near.DistL1Loss, 10.0)}
        if any(tensor.ndim == 4 for tensor in net.parameters()):
            return ways
        return ways | {"L2, rate 0.1": lambda a, b, example: self.align(a, b, example, near.DistL2Loss, 0.1)}

    def align(self, a, b, example, loss, rate):
        net = self.net(b, example)
        net.identity_init()
        near = loss(copy.deepcopy(a))
        optimizer = self.torch.optim.AdamW(net.p.parameters(), lr=rate)
        for _ in range(STEPS):
            net.train()
            found = near(net())
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            net.eval()
            if near(net()) == 0:
                break
        net.eval()
        return self.state(net)

    def renumber(self, a, b, example):
        net = self.net(copy.deepcopy(a), example)
        net.random_init()
        net.eval()
        return self.state(net)


class Onebasin:
    method = "auto"

    def __init__(self):
        import onebasin

        self.module = onebasin

    def ways(self, net):
        return {"": self.align}

    def align(self, a, b, example):
        symmetry = self.module.symmetry(a, example)
        return self.module.match(a, b, symmetry, method=self.method).apply(b.state_dict())

    def renumber(self, a, b, example):
        """Of an alignment with a network that has nothing to do with A."""
        symmetry = self.module.symmetry(a, example)
        return self.module.match(a, b, symmetry, method="greedy").apply(a.state_dict())


class OnebasinWeights(Onebasin):
    method = "weight"


TOOLS = {"rebasin": Rebasin, "sinkhorn-rebasin": Sinkhorn, "onebasin": Onebasin, "onebasin, weights only": OnebasinWeights}


# One tool on one network, in a process of its own.
def memory(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def error(what):
    line = (str(what).strip().splitlines() or [""])[0]
    return f"{type(what).__name__}: {line}"[:200]


def weights(state):
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def alike(one, two):
    import torch

    parts = [name for name, tensor in one.items() if tensor.ndim > 1]  # vectors of gains are alike however they are numbered
    dot = sum(float((one[name].double() * two[name].double()).sum()) for name in parts)
    norms = [sum(float((net[name].double() ** 2).sum()) for name in parts) for net in (one, two)]
    return dot / (norms[0] * norms[1]) ** 0.5


def computed(net, state, x, by_batch):
    import torch

    from peers_networks import normalising

    net = copy.deepcopy(net)
    net.load_state_dict(state)
    normalising(net, by_batch)
    with torch.no_grad():
        return net(x)


def difference(net, one, two, x, by_batch):
    found, expected = computed(net, one, x, by_batch), computed(net, two, x, by_batch)
    return float((found - expected).abs().max() / expected.abs().max())


def back(tool, way, a, moved, example):
    """How many tensors come back, how many there are, how many had moved."""
    import torch

    net = copy.deepcopy(a)
    net.load_state_dict(moved)
    want = weights(a.state_dict())
    away = [name for name in want if not torch.equal(moved[name], want[name])]
    found = way(copy.deepcopy(a), net, example)
    returned = sum(torch.equal(found[name], want[name]) for name in away)
    return {"moved": len(away), "back": returned, "of": len(want)}


def measure(tool_name, name, tell):
    """Tells all that is known after every stage, so that a tool that runs out of time keeps what it has shown."""
    import torch

    from peers_networks import ALL, inputs, made, normalising

    example = ALL[name][1]
    a, b = made(name, 0), made(name, 1)
    x = inputs(example, 7)
    kept = {key: tensor.clone() for key, tensor in b.state_dict().items()}
    batch_norms = normalising(copy.deepcopy(b), True)
    tool = TOOLS[tool_name]()
    out = {"parameters": sum(p.numel() for p in a.parameters())}
    for how, way in tool.ways(a).items():
        torch.manual_seed(0)
        pair = copy.deepcopy(a), copy.deepcopy(b)
        Path("/proc/self/clear_refs").write_text("5")
        before, began, used = memory("VmRSS"), time.perf_counter(), time.process_time()
        try:
            state = way(*pair, example)
        except Exception as what:
            out.setdefault("error", error(what))
            tell(out)
            continue
        spent = {"seconds": time.perf_counter() - began, "processor": time.process_time() - used, "memory": memory("VmHWM") - before}
        state = {key: tensor.detach().clone() for key, tensor in state.items()}
        similar = alike(a.state_dict(), state)
        if "similar" in out and similar <= out["similar"]:
            continue
        moved = [key for key, tensor in weights(state).items() if not torch.equal(tensor, kept[key])]
        out |= spent | {"way": how, "similar": similar, "similar_before": alike(a.state_dict(), kept)}
        out |= {"tensors": len(weights(kept)), "moved": len(moved), "entries": sum(int((state[key] != kept[key]).sum()) for key in moved)}
        out["changed"] = difference(b, state, kept, x, False)
        if batch_norms:
            out["changed_by_batch"] = difference(b, state, kept, x, True)
        out.pop("error", None)
        tell(out)
    if "way" not in out:
        return
    way = tool.ways(a)[out["way"]]
    other = made(name, 2)
    for what in ("own", "whole"):
        try:
            torch.manual_seed(1)
            moved = (tool if what == "own" else Onebasin()).renumber(copy.deepcopy(a), other, example)
            moved = {key: tensor.detach().clone() for key, tensor in moved.items()}
            if what == "whole" and difference(a, moved, a.state_dict(), x, False) > 1e-5:
                raise SystemExit("the renumbering is no symmetry")
            out[what] = back(tool, way, a, moved, example)
        except Exception as why:
            out[what] = {"error": error(why)}
        tell(out)


# All of them, and the tables.
def run(tool, name, python, limit):
    env = os.environ | {"PYTHONPATH": str(ROOT / "python"), "PYTHONWARNINGS": "ignore"}
    command = [python, __file__, "--one", tool, name]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            code = subprocess.run(command, env=env, stdout=out, stderr=err, timeout=limit).returncode
            ended = f"ended with {code}" if code else None
        except subprocess.TimeoutExpired:
            ended = f"not done within {limit:.0f} s"
        out.seek(0), err.seek(0)
        told = [line.removeprefix(MARK) for line in out if line.startswith(MARK)]
        found = json.loads(told[-1]) if told else {}
        if ended:
            said = err.read().strip().splitlines()
            found["ended"] = f"{ended}: {said[-1][:200]}" if said else ended
            found.setdefault("error", found["ended"])
    return found


def number(value):
    return f"{value:.0e}".replace("e-0", "e-") if 0 < value < 1e-4 else f"{value:.2g}"


def told_change(found):
    if "way" not in found:
        return "does not run"
    worst = found.get("changed_by_batch")
    text = number(found["changed"]) + (f"; {number(worst)}" if worst is not None else "")
    right = min(found["changed"], worst if worst is not None else found["changed"]) < 1e-4
    return f"{text if right else f'**{text}**'} ({found['moved']} of {found['tensors']})"


def told_back(found, what):
    one = found.get(what)
    if one is None or "error" in one:
        return "–"
    return f"{one['back']} of {one['moved']}" if one["moved"] else "nothing moves"


def told_similar(found):
    return f"{found['similar']:.3f}" if "way" in found else "–"


def told_cost(found):
    if "way" not in found:
        return "–"
    return f"{found['processor']:.1f} ({found['seconds']:.1f}), {found['memory']:.0f}"


def table(title, found, cell, names):
    print(f"\n{title}\n")
    print(f"| network | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for network, tools in found.items():
        print(f"| {network} | {' | '.join(cell(tools[name]) for name in names)} |")


def main():
    take = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take.add_argument("--rebasin", metavar="PYTHON")
    take.add_argument("--sinkhorn", metavar="PYTHON")
    take.add_argument("--networks", nargs="*", metavar="WORD", help="only those whose name holds one of these words")
    take.add_argument("--limit", type=float, default=900, help="seconds that one tool gets for one network")
    take.add_argument("--json", metavar="FILE")
    take.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = take.parse_args()
    if args.one:
        warnings.simplefilter("ignore")
        measure(*args.one, lambda out: print("\n" + MARK + json.dumps(out), flush=True))
        return
    from peers_networks import ALL

    pythons = {"rebasin": args.rebasin, "sinkhorn-rebasin": args.sinkhorn}
    tools = {name: pythons.get(name, sys.executable) for name in TOOLS}
    tools = {name: python for name, python in tools.items() if python}
    found = {}
    for network in ALL:
        if args.networks and not any(word.lower() in network.lower() for word in args.networks):
            continue
        found[network] = {}
        for tool, python in tools.items():
            found[network][tool] = run(tool, network, python, args.limit)
            print(f"{network}, {tool}: {found[network][tool]}", file=sys.stderr, flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps(found, indent=1))
    names = list(tools)
    title = "What π(B) computes: largest difference from B; the same with BatchNorms looking at the batch (tensors moved)"
    table(title, found, told_change, names)
    table("Renumbered by the tool's own symmetry: tensors that came back", found, lambda one: told_back(one, "own"), names)
    table("Renumbered by the whole symmetry: tensors that came back", found, lambda one: told_back(one, "whole"), names)
    table("Similarity (cosine) of A's and π(B)'s weights, without vectors", found, told_similar, names)
    table("Processor-seconds (seconds), new memory in MB", found, told_cost, names)
    print("\nDid not run:")
    for network, tools in found.items():
        for tool, one in tools.items():
            if "way" not in one:
                print(f"- {tool}, {network}: {one['error']}")


if __name__ == "__main__":
    main()
