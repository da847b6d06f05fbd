"""What matching costs: time and memory as functions of width, depth and the number of networks, plotted.

    python benches/costs.py [--out docs/results/costs.svg]

Perceptrons of 784 inputs and 10 outputs with random weights, which share nothing: the longest matches. Weight matching as
published (`--start identity --restarts 1`), and the mean of many by rounds. Whole commands, medians of 3. Needs NumPy and
Matplotlib; prints a Markdown table.
"""

import argparse, os, statistics, subprocess, sys, tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from weight_matching import PUBLISHED, ROOT, measured, mlp, save, save_symmetry  # noqa: E402

AXES = {"width": [64, 128, 256, 512, 1024, 2048, 4096], "depth": [1, 2, 4, 8, 16, 32], "networks": [2, 4, 8, 16, 32]}


def draw(folder, width, depth, count):
    files, axes = [], {}
    for seed in range(count):
        rng, tensors = np.random.default_rng(seed), {}
        for name, shape, groups in mlp(width, depth):
            fan = shape[-1] if len(shape) > 1 else 100
            tensors[name] = rng.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
            axes[name] = groups
        files.append(folder / f"{seed}.safetensors")
        save(files[-1], tensors)
    return files, save_symmetry(folder, axes)


def measure(width, depth, count):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files, symmetry = draw(folder, width, depth, count)
        verb, how = ("match", PUBLISHED) if count == 2 else ("merge-many", ["--no-check", "--quiet"])
        arguments = [verb, *files, *symmetry, *how, "-o", folder / "out.safetensors"]
        seconds, peaks = zip(*(measured(folder, arguments) for _ in range(3)))
        return statistics.median(seconds), statistics.median(peaks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=str(ROOT / "docs/results/costs.svg"))
    options = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "onebasin-cli"], check=True, cwd=ROOT)
    print(f"{os.cpu_count()} cores\n\n| | | s | peak MB |\n|---|---|---|---|")
    found = {}
    for axis, values in AXES.items():
        for value in values:
            width, depth, count = {"width": (value, 3, 2), "depth": (512, value, 2), "networks": (256, 3, value)}[axis]
            found[axis, value] = measure(width, depth, count)
            print(f"| {axis} | {value} | {found[axis, value][0]:.3f} | {found[axis, value][1]:.0f} |", flush=True)
    plot(found, options.out)


def plot(found, out):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    matplotlib.rcParams.update({"svg.hashsalt": "costs", "font.size": 9})
    figure, axes = pyplot.subplots(1, 3, figsize=(9, 3), layout="constrained")
    titles = {
        "width": "Width\n(3 hidden layers, 2 networks)",
        "depth": "Depth\n(512 wide, 2 networks)",
        "networks": "Networks\n(256 wide, 3 hidden layers)",
    }
    for panel, (axis, values) in zip(axes, AXES.items()):
        beside = panel.twinx()
        seconds, memory = zip(*(found[axis, value] for value in values))
        panel.loglog(values, seconds, "o-", color="#1b6ca8", label="time")
        beside.loglog(values, memory, "s--", color="#c2571a", label="peak memory")
        panel.set_xticks(values, [str(value) for value in values])
        panel.minorticks_off()
        for scale in (panel.yaxis, beside.yaxis):
            scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            scale.set_minor_formatter(NullFormatter())
        panel.set_xlabel(titles[axis])
        panel.set_ylabel("seconds", color="#1b6ca8")
        beside.set_ylabel("MB", color="#c2571a")
        panel.tick_params(axis="x", labelrotation=45)
        panel.grid(alpha=0.3)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
