"""Linear assignment: onebasin against scipy.optimize.linear_sum_assignment, on the same matrices in one session.

    python benches/peers/assignment.py [--sizes 512 1024 2048 4096 8192] [--kinds gauss uniform ...]
    python benches/peers/assignment.py --trained A.safetensors B.safetensors
    python benches/peers/assignment.py --changed [--sizes ...] [--kinds ...]

Needs NumPy and SciPy. Prints a Markdown table of seconds (medians of 5 for SciPy below 2048, else of 1 to 3) and ratios.
`--trained` compares on the similarities of two trained perceptrons' hidden layers instead; `--changed` times, without SciPy,
warm starts from the prices of the matrix before a change small enough to move few indices, as late sweeps make them.
"""

import argparse, json, statistics, subprocess, tempfile, time
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from weight_matching import ROOT, load


def matrix(kind, n):
    """The kinds that matching meets, and the ones that are hard."""
    rng = np.random.default_rng(n)
    normal = rng.standard_normal
    if kind == "uniform":
        return rng.random((n, n))
    if kind == "gauss":
        return normal((n, n))
    if kind == "planted":  # Gram of units with their noisy, permuted copies
        a = normal((n, 16))
        return a @ (a + 0.5 * normal((n, 16)))[rng.permutation(n)].T
    if kind == "lowrank":
        return normal((n, 8)) @ normal((8, n))
    if kind == "spectrum":  # Gram of unrelated units whose directions fall off like 1/k
        scale = 1 / np.arange(1, n + 1)
        return (normal((n, n)) * scale) @ (normal((n, n)) * scale).T
    if kind == "ties":
        return rng.integers(0, 10, (n, n)).astype(float)
    if kind == "dead":  # a third of the units of both networks is dead
        m = normal((n, n))
        m[rng.random(n) < 1 / 3] = 0
        m[:, rng.random(n) < 1 / 3] = 0
        return m
    if kind == "dead-rows":
        m = normal((n, n))
        m[rng.random(n) < 1 / 2] = 0
        return m
    if kind == "constant":
        return np.ones((n, n))
    raise SystemExit(f"unknown kind {kind}")


def scipy_seconds(m):
    times, value = [], None
    for _ in range(5):
        start = time.perf_counter()
        rows, columns = linear_sum_assignment(m, maximize=True)
        times.append(time.perf_counter() - start)
        value = m[rows, columns].sum()
        if sum(times) > 4:
            break
    return statistics.median(times), value


def bench(argument):
    command = ["cargo", "bench", "-q", "-p", "onebasin", "--bench", "assignment", "--", str(argument)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def layers(a, b):
    """Similarities of two perceptrons' hidden layers: incoming weights, the layer before aligned by its own best."""
    a, b = load(a), load(b)
    order = None
    for name in [name for name in a if name.endswith(".weight")][:-1]:
        x, y = (net[name].astype(np.float64) for net in (a, b))
        bias = name.replace("weight", "bias")
        m = x @ (y if order is None else y[:, order]).T + np.outer(a[bias], b[bias])
        order = linear_sum_assignment(m, maximize=True)[1]
        yield f"trained, {name}", len(m), lambda m=m: m


def warm_starts(options):
    """Late sweeps change few columns of a similarity: here by a direction small enough to move about 1 % of the indices."""
    print("| kind | n | indices changed | cold s | warm s | faster |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path, earlier = Path(folder) / "matrix", Path(folder) / "earlier"
        for kind in options.kinds:
            for n in options.sizes:
                m = np.ascontiguousarray(matrix(kind, n), np.float64)
                m.tofile(earlier)
                rng = np.random.default_rng(n + 1)
                change = np.outer(rng.standard_normal(n), rng.standard_normal(n)) * m.std()
                size, found = 0.1, None
                while found is None or found["changed"] > n / 100:
                    (m + size * change).tofile(path)
                    found, size = bench(f"{path},{earlier}"), size / 4
                share, ratio = found["changed"] / n, found["cold"] / found["warm"]
                print(f"| {kind} | {n} | {share:.2%} | {found['cold']:.4f} | {found['warm']:.4f} | {ratio:.1f} × |", flush=True)


def main():
    kinds = ["uniform", "gauss", "planted", "lowrank", "spectrum", "ties", "dead", "dead-rows", "constant"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--kinds", nargs="+", default=kinds)
    parser.add_argument("--trained", nargs=2, metavar="FILE")
    parser.add_argument("--changed", action="store_true")
    options = parser.parse_args()
    subprocess.run(["cargo", "bench", "-q", "-p", "onebasin", "--bench", "assignment", "--no-run"], cwd=ROOT, check=True)
    if options.changed:
        return warm_starts(options)
    print("| kind | n | SciPy s | onebasin s | faster | warm s |\n|---|---|---|---|---|---|", flush=True)
    ratios = []
    made = ((kind, n, lambda kind=kind, n=n: matrix(kind, n)) for kind in options.kinds for n in options.sizes)
    with tempfile.TemporaryDirectory() as folder:
        for kind, n, make in layers(*options.trained) if options.trained else made:
            m = np.ascontiguousarray(make(), np.float64)
            path = Path(folder) / "matrix"
            m.tofile(path)
            peer, value = scipy_seconds(m)
            found = bench(path)
            assert abs(found["value"] - value) <= 1e-9 * n * max(1.0, np.abs(m).max()), (kind, n, found, value)
            ratios.append(peer / found["cold"])
            print(f"| {kind} | {n} | {peer:.4f} | {found['cold']:.4f} | {ratios[-1]:.1f} × | {found['warm']:.4f} |", flush=True)
    print(f"\ngeometric mean {np.exp(np.mean(np.log(ratios))):.1f} ×, least {min(ratios):.1f} ×")


if __name__ == "__main__":
    main()
