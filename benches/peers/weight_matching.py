"""Whole weight matching: onebasin against NumPy and SciPy, on the same files in one session.

    python benches/peers/weight_matching.py [--networks mlp vgg16 ...] [--kinds unrelated noisy] [--runs 5]
    python benches/peers/weight_matching.py --pair A.safetensors B.safetensors

The peer is Algorithm 1 of Git Re-Basin written plainly with NumPy's products and SciPy's assignment, as the original does it;
its clock runs over the matching alone, once with one and once with all BLAS threads. onebasin's clock runs over the whole
command, from opening the files to writing the alignment. Needs NumPy and SciPy; prints a Markdown table.
"""

import argparse, json, os, statistics, struct, subprocess, sys, tempfile, time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/onebasin"
# Algorithm 1 as published.
PUBLISHED = ["--method", "weight", "--start", "identity", "--restarts", "1", "--no-diagnosis", "--quiet"]


# Networks: tensors with their shapes and the group of every axis.
def mlp(width=512, depth=3):
    sizes = [784] + [width] * depth + [10]
    for k, (i, o) in enumerate(zip(sizes, sizes[1:])):
        out = f"h{k}" if k < depth else None
        yield f"fc{k}.weight", (o, i), (out, f"h{k - 1}" if k else None)
        yield f"fc{k}.bias", (o,), (out,)


def norm(name, n, group):
    yield f"{name}.weight", (n,), (group,)
    yield f"{name}.bias", (n,), (group,)


def vgg16():
    last, width = None, 3
    for k, n in enumerate([64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]):
        yield f"conv{k}.weight", (n, width, 3, 3), (f"c{k}", last, None, None)
        yield from norm(f"norm{k}", n, f"c{k}")
        last, width = f"c{k}", n
    for k, n in enumerate([512, 512, 10]):
        group = f"f{k}" if k < 2 else None
        yield f"fc{k}.weight", (n, width), (group, last)
        yield f"fc{k}.bias", (n,), (group,)
        last, width = group, n


def resnet20(scale):
    stream, width = "stem", 16 * scale
    yield "stem.weight", (width, 3, 3, 3), (stream, None, None, None)
    yield from norm("stem.norm", width, stream)
    for stage, n in enumerate([16 * scale, 32 * scale, 64 * scale]):
        for block in range(3):
            name, inner = f"s{stage}.b{block}", f"s{stage}.b{block}"
            out = stream if n == width else f"s{stage}"
            yield f"{name}.conv1.weight", (n, width, 3, 3), (inner, stream, None, None)
            yield from norm(f"{name}.norm1", n, inner)
            yield f"{name}.conv2.weight", (n, n, 3, 3), (out, inner, None, None)
            yield from norm(f"{name}.norm2", n, out)
            if out != stream:
                yield f"{name}.short.weight", (n, width, 1, 1), (out, stream, None, None)
                yield from norm(f"{name}.short.norm", n, out)
            stream, width = out, n
    yield "fc.weight", (10, width), (None, stream)
    yield "fc.bias", (10,), (None,)


def resnet50():
    stream, width = "stem", 64
    yield "stem.weight", (64, 3, 7, 7), (stream, None, None, None)
    yield from norm("stem.norm", 64, stream)
    for stage, (blocks, n) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)]):
        for block in range(blocks):
            name, out = f"s{stage}.b{block}", f"s{stage}"
            shapes = [(n, width, 1, f"{name}.1", stream), (n, n, 3, f"{name}.2", f"{name}.1")]
            for k, (o, i, size, to, of) in enumerate([*shapes, (4 * n, n, 1, out, f"{name}.2")]):
                yield f"{name}.conv{k}.weight", (o, i, size, size), (to, of, None, None)
                yield from norm(f"{name}.norm{k}", o, to)
            if block == 0:
                yield f"{name}.short.weight", (4 * n, width, 1, 1), (out, stream, None, None)
                yield from norm(f"{name}.short.norm", 4 * n, out)
            stream, width = out, 4 * n
    yield "fc.weight", (1000, width), (None, stream)
    yield "fc.bias", (1000,), (None,)


NETWORKS = {"mlp": mlp, "vgg16": vgg16, "resnet20x8": lambda: resnet20(8), "resnet50": resnet50}
NETWORKS |= {"resnet20x32": lambda: resnet20(32)}


def draw(network, kind):
    """A random network, and either one that is unrelated or the same renumbered, with noise of half its own spread."""
    import numpy as np

    rng = np.random.default_rng(0)
    a, b, axes, perms = {}, {}, {}, {}
    for name, shape, groups in network:
        fan = np.prod(shape[1:]) if len(shape) > 1 else 100
        a[name] = rng.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
        axes[name] = groups
        b[name] = rng.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
        if kind == "noisy":
            moved = a[name]
            for axis, group in enumerate(groups):
                if group is not None:
                    perms.setdefault(group, rng.permutation(shape[axis]))
                    moved = moved.take(perms[group], axis)
            b[name] = moved + b[name] / 2
    return a, b, axes


def save(path, tensors):
    header, at = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(value.tobytes())


def save_symmetry(folder, axes):
    """The groups of every axis as a symmetry file; what says so to the program."""
    lines = (f'"{name}" = "{" ".join(g or "." for g in groups)}"' for name, groups in axes.items())
    path = folder / "symmetry.toml"
    path.write_text("[tensors]\n" + "\n".join(lines) + "\n")
    return ["--symmetry", str(path)]


def load(path):
    import numpy as np

    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(body[slice(*x["data_offsets"])], np.float32).reshape(x["shape"])
        for name, x in header.items()
        if x["dtype"] == "F32"
    }


def peer(a, b, axes):
    """Algorithm 1: seconds, sweeps and the objective reached."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    places = defaultdict(list)
    for name, groups in axes.items():
        for axis, group in enumerate(groups):
            if group is not None:
                places[group].append((name, axis))
    perms = {group: np.arange(a[where[0][0]].shape[where[0][1]]) for group, where in places.items()}
    rng = np.random.default_rng(0)

    def moved(name, but=None):
        value = b[name]
        for axis, group in enumerate(axes[name]):
            if axis != but and group is not None:
                value = value.take(perms[group], axis)
        return value

    start, sweeps = time.perf_counter(), 0
    while sweeps < 100:
        sweeps, better = sweeps + 1, False
        for group in rng.permutation(list(perms)):
            n = len(perms[group])
            similarity = np.zeros((n, n), np.float32)
            for name, axis in places[group]:
                x = np.moveaxis(a[name], axis, 0).reshape(n, -1)
                similarity += x @ np.moveaxis(moved(name, axis), axis, 0).reshape(n, -1).T
            rows, columns = linear_sum_assignment(similarity, maximize=True)
            old = similarity[rows, perms[group]].sum(dtype=np.float64)
            better |= similarity[rows, columns].sum(dtype=np.float64) > old + 1e-12
            perms[group] = columns
        if not better:
            break
    seconds = time.perf_counter() - start
    value = sum(np.vdot(a[name].astype(np.float64), moved(name).astype(np.float64)) for name in axes)
    return {"seconds": seconds, "sweeps": sweeps, "objective": float(value)}


def measured(folder, arguments):
    """Runs the program: seconds, and peak memory in MB."""
    command = ["/usr/bin/env", "time", "-f", "%M", "-o", str(folder / "peak"), str(PROGRAM), *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start, int((folder / "peak").read_text()) / 1024


def onebasin(folder, extra, threads):
    files = [str(folder / "a.safetensors"), str(folder / "b.safetensors")]
    out = ["-o", folder / "alignment.safetensors", "--report", folder / "report.json"]
    seconds, peak = measured(folder, ["--threads", threads, "match", *files, *extra, *PUBLISHED, *out])
    return seconds, json.loads((folder / "report.json").read_text()), peak


def row(label, folder, extra, runs):
    threads = os.cpu_count()
    results = {}
    for count in (1, threads):
        env = {**os.environ, **{f"{x}_NUM_THREADS": str(count) for x in ("OPENBLAS", "MKL", "OMP")}}
        command = [sys.executable, __file__, "--peer", str(folder)]
        times = []
        for _ in range(runs):
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env).stdout)
            times.append(found["seconds"])
            if sum(times) > 60:
                break
        results[f"peer{count}"] = statistics.median(times)
    own, peak = {}, 0
    for count in (1, threads):
        seen = [onebasin(folder, extra, count) for _ in range(runs)]
        own[count] = statistics.median(s for s, _, _ in seen)
        peak, report = seen[0][2], seen[0][1]
    best = min(results["peer1"], results[f"peer{threads}"])
    print(
        f"| {label} | {results['peer1']:.3f} | {results[f'peer{threads}']:.3f} | {own[1]:.3f} | {own[threads]:.3f} | "
        f"**{best / own[threads]:.1f}** | {found['objective']:.4f} in {found['sweeps']} | "
        f"{report['objective']:.4f} in {len(report['sweeps'])} | {peak:.0f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["mlp", "vgg16", "resnet20x8", "resnet50"], choices=NETWORKS)
    parser.add_argument("--kinds", nargs="+", default=["unrelated", "noisy"], choices=["unrelated", "noisy"])
    parser.add_argument("--pair", nargs=2, metavar="FILE", help="two trained networks instead")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        folder = Path(options.peer)
        axes = json.loads((folder / "axes.json").read_text())
        print(json.dumps(peer(load(folder / "a.safetensors"), load(folder / "b.safetensors"), axes)))
        return
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "onebasin-cli"], check=True, cwd=ROOT)
    count = os.cpu_count()
    print(
        f"| | NumPy + SciPy, 1 thread | {count} threads | onebasin, 1 thread | {count} threads | × "
        "| objective of the peer, sweeps | of onebasin | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if options.pair:
            for path, name in zip(options.pair, "ab"):
                (folder / f"{name}.safetensors").write_bytes(Path(path).read_bytes())
            shown = subprocess.run([PROGRAM, "inspect", options.pair[0], "--json"], check=True, stdout=subprocess.PIPE)
            patterns = {t["name"]: t["pattern"].split() for t in json.loads(shown.stdout)["tensors"]}
            axes = {name: [None if x == "." else x for x in pattern] for name, pattern in patterns.items()}
            (folder / "axes.json").write_text(json.dumps(axes))
            row(Path(options.pair[0]).stem, folder, [], options.runs)
            return
        for network in options.networks:
            for kind in options.kinds:
                a, b, axes = draw(NETWORKS[network](), kind)
                save(folder / "a.safetensors", a)
                save(folder / "b.safetensors", b)
                (folder / "axes.json").write_text(json.dumps(axes))
                row(f"{network}, {kind}", folder, save_symmetry(folder, axes), options.runs)


if __name__ == "__main__":
    main()
