"""Two language models in folders, merged and solved on text without labels, or on random tokens.

    python benches/transformers/solve.py TEXT CHARS A B OUT [--tokens real|random] [--windows 250] [--length 64]    # needs the package onebasin

TEXT and CHARS as in midpoint.py; windows are drawn from the first nine tenths. OUT becomes a folder.
"""

import argparse, json, shutil, time
from pathlib import Path

import numpy as np

import onebasin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("text", "chars", "a", "b", "out"):
        parser.add_argument(name)
    parser.add_argument("--tokens", default="real", choices=["real", "random"])
    parser.add_argument("--windows", type=int, default=250)
    parser.add_argument("--length", type=int, default=64)
    options = parser.parse_args()
    length = options.length
    alphabet = json.loads(Path(options.chars).read_text())["chars"]
    place = {c: k for k, c in enumerate(alphabet)}
    tokens = np.array([place[c] for c in Path(options.text).read_text()])
    tokens = tokens[: len(tokens) * 9 // 10]
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(tokens) - length, options.windows)
    data = np.stack([tokens[at : at + length] for at in starts])
    if options.tokens == "random":
        data = rng.integers(0, len(alphabet), data.shape)
    began = time.process_time()
    symmetry = onebasin.symmetry(options.a, input_shapes={"input_ids": (1, length)})
    alignment = onebasin.match(options.a, options.b, symmetry, method="frank-wolfe")
    repaired = onebasin.repair(options.a, options.b, alignment, data=data, symmetry=symmetry)
    print(f"{time.process_time() - began:.1f} processor-seconds, R² at the output {repaired.solved['after']['outputs'][0]['explained']:.3f}")
    Path(options.out).mkdir(exist_ok=True)
    shutil.copy(Path(options.a) / "config.json", options.out)
    onebasin.save(Path(options.out) / "model.safetensors", repaired.params)


if __name__ == "__main__":
    main()
