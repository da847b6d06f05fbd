"""Optimal assignment values from SciPy, for `tests/all/assignment.rs`.

    pip install scipy && python assignment.py > assignment.json

Matrices are not stored: both sides draw them from SplitMix64, entry by entry in row-major order.
"""

import json

import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment

MASK = (1 << 64) - 1


def splitmix64(seed):
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def uniform(bits):
    return (next(bits) >> 11) / (1 << 53) - 0.5


def matrix(kind, n, seed):
    bits = splitmix64(seed)
    if kind == "random":
        entries = [uniform(bits) for _ in range(n * n)]
    elif kind == "tied":
        entries = [float(next(bits) % 4) for _ in range(n * n)]
    elif kind == "low-rank":
        u = [uniform(bits) for _ in range(3 * n)]
        v = [uniform(bits) for _ in range(3 * n)]
        entries = [sum(u[3 * i + r] * v[3 * j + r] for r in range(3)) for i in range(n) for j in range(n)]
    elif kind == "dead":
        rows = [next(bits) % 3 == 0 for _ in range(n)]
        cols = [next(bits) % 3 == 0 for _ in range(n)]
        entries = [0.0 if rows[i] or cols[j] else uniform(bits) for i in range(n) for j in range(n)]
    else:
        entries = [7.25] * (n * n)
    return np.array(entries).reshape(n, n)


cases = []
for kind in ["random", "tied", "low-rank", "dead", "constant"]:
    for n in [1, 2, 3, 8, 33, 128, 300]:
        s = matrix(kind, n, seed=1000 + n)
        rows, cols = linear_sum_assignment(s, maximize=True)
        cases.append({
            "kind": kind,
            "n": n,
            "seed": 1000 + n,
            "value": float(s[rows, cols].sum()),
            # Only where entries are drawn from a continuum is the optimum unique.
            "perm": cols.tolist() if kind == "random" and n <= 33 else None,
        })
print(json.dumps({"scipy": scipy.__version__, "cases": cases}, indent=1))
