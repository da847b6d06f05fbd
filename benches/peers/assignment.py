"""Linear assignment: onebasin against scipy.optimize.linear_sum_assignment, on the same matrices in one session.

    python benches/peers/assignment.py [--sizes 512 1024 2048 4096 8192] [--kinds gauss uniform ...]

Needs NumPy and SciPy. Prints a Markdown table of seconds (medians of 5 for SciPy below 2048, else of 1 to 3) and ratios.
"""

import argparse, json, statistics, subprocess, tempfile, time
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

ROOT = Path(__file__).resolve().parents[2]


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


def main():
    kinds = ["uniform", "gauss", "planted", "lowrank", "spectrum", "ties", "dead", "dead-rows", "constant"]
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--kinds", nargs="+", default=kinds)
    options = parser.parse_args()
    subprocess.run(["cargo", "bench", "-q", "-p", "onebasin", "--bench", "assignment", "--no-run"], cwd=ROOT, check=True)
    print("| kind | n | SciPy s | onebasin s | faster | warm s |\n|---|---|---|---|---|---|", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            for n in options.sizes:
                m = np.ascontiguousarray(matrix(kind, n))
                path = Path(folder) / f"{kind}-{n}"
                m.tofile(path)
                peer, value = scipy_seconds(m)
                command = ["cargo", "bench", "-q", "-p", "onebasin", "--bench", "assignment", "--", str(path)]
                found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
                path.unlink()
                assert abs(found["value"] - value) <= 1e-9 * n * max(1.0, np.abs(m).max()), (kind, n, found, value)
                ratios.append(peer / found["cold"])
                print(f"| {kind} | {n} | {peer:.4f} | {found['cold']:.4f} | {ratios[-1]:.1f} × | {found['warm']:.4f} |", flush=True)
    print(f"\ngeometric mean {np.exp(np.mean(np.log(ratios))):.1f} ×, least {min(ratios):.1f} ×")


if __name__ == "__main__":
    main()
