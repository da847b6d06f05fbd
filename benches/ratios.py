#!/usr/bin/env python3
"""Seconds of two builds of the program side by side, and their ratio: `benches/ratios.py OLD NEW [--runs 5]`.

The two take turns, so that what else the machine does meets both; given are the medians of the wall time, and the ratio
NEW / OLD of the medians and of the minima. Needs nothing but Python.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
VGG = [str(HERE / f"data/trained/vgg16-ln-0.25-seed{seed}.safetensors") for seed in (0, 1)]


def big(program: str, folder: pathlib.Path) -> list[str]:
    """Two networks of a billion bytes in all, drawn and not trained, and a symmetry for them."""
    names = []
    for seed in (0, 1):
        name = folder / f"big{seed}.safetensors"
        run([program, "-q", "train", "mlp:8192x3", "--data", "digits", "--epochs", "0", "--seed", str(seed), "-o", str(name)])
        names.append(str(name))
    return names


def run(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("old")
    options.add_argument("new")
    options.add_argument("--runs", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        out = str(folder / "out.safetensors")
        align = str(folder / "align.safetensors")
        large = big(given.old, folder)
        # An alignment that moves every unit costs as much to apply as any.
        run([given.old, "-q", "match", *large, "-o", align, "--method", "greedy", "--no-diagnosis"])
        rows = {
            "match": ["-q", "match", *VGG, "-o", out],
            "train": ["-q", "train", "mlp:512x3", "--data", "digits", "--epochs", "4", "-o", out],
            "stream": ["-q", "merge", *large, "--align", align, "--no-check", "-o", out],
        }
        print(f"{'':8} {'old s':>8} {'new s':>8} {'medians':>8} {'minima':>8}")
        for row, arguments in rows.items():
            times = {given.old: [], given.new: []}
            for _ in range(given.runs):
                for program, found in times.items():
                    found.append(run([program, *arguments]))
            old, new = times[given.old], times[given.new]
            median = statistics.median
            ratios = f"{median(new) / median(old):8.3f} {min(new) / min(old):8.3f}"
            print(f"{row:8} {median(old):8.3f} {median(new):8.3f} {ratios}", flush=True)


if __name__ == "__main__":
    main()
