"""A network that no exporter takes: which units may be exchanged is written down, and tested by moving them."""

from __future__ import annotations

from typing import Any

import numpy as np

Net = dict[str, Any]


# ANCHOR: network
def computed(net: Net, x: Any) -> Any:
    """A residual network: three gated blocks that add to a stream."""
    stream = x @ net["stem.weight"].T
    for block in range(3):
        seen = stream / (1e-6 + np.abs(stream).mean(1, keepdims=True))
        gate = 1 / (1 + np.exp(-seen @ net[f"blocks.{block}.gate.weight"].T))
        up = seen @ net[f"blocks.{block}.up.weight"].T + net[f"blocks.{block}.up.bias"]
        hidden = gate * up
        stream = stream + hidden @ net[f"blocks.{block}.down.weight"].T
    return stream @ net["head.weight"].T + net["head.bias"]
# ANCHOR_END: network


def drawn(seed: int) -> Net:
    rng = np.random.default_rng(seed)

    def layer(outputs: int, inputs: int) -> Any:
        return rng.normal(size=(outputs, inputs)).astype("f4") / np.float32(inputs) ** 0.5

    net: Net = {"stem.weight": layer(24, 10)}
    for block in range(3):
        net[f"blocks.{block}.gate.weight"] = layer(48, 24)
        net[f"blocks.{block}.up.weight"] = layer(48, 24)
        net[f"blocks.{block}.up.bias"] = rng.normal(size=48).astype("f4")
        net[f"blocks.{block}.down.weight"] = layer(24, 48)
    return {**net, "head.weight": layer(4, 24), "head.bias": np.zeros(4, "f4")}


a, b = drawn(0), drawn(1)

# ANCHOR: patterns
import onebasin

patterns = {
    "stem.weight": "stream .",
    "blocks.{l}.gate.weight": "hidden{l} stream",
    "blocks.{l}.up.weight": "hidden{l} stream",
    "blocks.{l}.up.bias": "hidden{l}",
    "blocks.{l}.down.weight": "stream hidden{l}",
    "head.weight": ". stream",
    "head.bias": ".",
}
symmetry = onebasin.symmetry(patterns, params=a)
print([(group.name, group.size) for group in symmetry.groups])
# ANCHOR_END: patterns

# ANCHOR: template
begun = onebasin.template(a)
print(begun)
same = begun.fill({"?24": "stream", "?48": "hidden{l}"})
# ANCHOR_END: template
assert same == patterns

# ANCHOR: test
found = onebasin.match(a, b, symmetry)
x = np.random.default_rng(2).normal(size=(100, 10)).astype("f4")
before, after = computed(b, x), computed(found.apply(b), x)
assert np.allclose(before, after, rtol=1e-4, atol=1e-4), "these are no symmetry"
# ANCHOR_END: test

# ANCHOR: merge
merged = onebasin.merge(a, b, found, symmetry=symmetry)
symmetry.save("net.symmetry.toml")
onebasin.save("a.safetensors", a)
onebasin.save("b.safetensors", b)
# ANCHOR_END: merge

# ANCHOR: wrong
try:
    onebasin.symmetry({**patterns, "head.bias": ". ."}, params=a)
except onebasin.SymmetryError as error:
    print(error)
# ANCHOR_END: wrong

assert list(merged) == list(a) and len(symmetry.groups) == 4
