"""New memory of matching and merging a state dict in place: the peak above what both networks take, in units of one of them.

    python memory.py [LAYERS]

Two perceptrons of LAYERS layers of 2048 units (120: 2.0 GB each), the second a renumbered copy with noise.
"""

import resource
import sys
import time

import numpy as np

import onebasin

width, layers = 2048, int(sys.argv[1]) if len(sys.argv) > 1 else 120
rng = np.random.default_rng(0)
patterns, a, b = {}, {}, {}
order = None
for layer in range(layers):
    last = layer == layers - 1
    rows, columns = (64 if last else width), (64 if layer == 0 else width)
    weight = rng.standard_normal((rows, columns), dtype=np.float32)
    moved = weight if order is None else weight[:, order]
    order = None if last else rng.permutation(rows)
    moved = moved if order is None else moved[order]
    a[f"{layer}.weight"] = weight
    b[f"{layer}.weight"] = np.ascontiguousarray(moved) + np.float32(0.1) * rng.standard_normal(moved.shape, dtype=np.float32)
    patterns[f"{layer}.weight"] = f"{'.' if last else f'h{layer}'} {'.' if layer == 0 else f'h{layer - 1}'}"
    del weight, moved


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def now():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


size = sum(tensor.nbytes for tensor in a.values())
symmetry = onebasin.symmetry(patterns, params=a)
before, began = now(), time.monotonic()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
alignment = onebasin.match(a, b, symmetry, method="weight")
matched, took = peak() - before, time.monotonic() - began
merged = onebasin.merge(a, b, alignment, symmetry=symmetry)
whole = peak() - before
print(f"{size / 1e9:.2f} GB; match {matched / size:.2f} x in {took:.1f} s; match and merge {whole / size:.2f} x")
assert all(np.abs(merged[name] - a[name]).max() < 1 for name in a)
