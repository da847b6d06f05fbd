"""Networks that answer different classes, and their merge, judged by NumPy alone.

`cut FROM TO FIRST END` writes a perceptron that answers only classes FIRST to END − 1 of FROM's.
`judge A B MERGED MNIST` prints the test accuracy of A's and B's answers side by side, and of MERGED; how much of the former the
latter explains (R²); and MERGED's accuracy class by class.
Needs NumPy and safetensors.
"""
import gzip
import json
import pathlib
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def layers(tensors):
    return max(int(name.split(".")[0][2:]) for name in tensors)


def cut(source, target, first, end):
    with safe_open(source, "np") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    network = json.loads(header["onebasin.network"])
    network["classes"] = end - first
    for kind in ("weight", "bias"):
        name = f"fc{layers(tensors)}.{kind}"
        tensors[name] = tensors[name][first:end].copy()
    save_file(tensors, target, header | {"onebasin.network": json.dumps(network)})


def answers(path, images):
    tensors = load_file(path)
    for layer in range(1, layers(tensors) + 1):
        images = images @ tensors[f"fc{layer}.weight"].T.astype(float) + tensors[f"fc{layer}.bias"]
        if layer < layers(tensors):
            images = np.maximum(images, 0)
    return images


def read(folder, name):
    path = next(pathlib.Path(folder).glob(name + "*"))
    return np.frombuffer((gzip.open(path) if path.suffix == ".gz" else path.open("rb")).read(), np.uint8)


def judge(a, b, merged, folder):
    images = read(folder, "t10k-images")[16:].reshape(-1, 784) / 255.0
    labels = read(folder, "t10k-labels")[8:]
    both, merged = np.concatenate([answers(a, images), answers(b, images)], 1), answers(merged, images)
    right = lambda found: found.argmax(1) == labels
    explained = 1 - ((merged - both) ** 2).sum() / ((both - both.mean(0)) ** 2).sum()
    by_class = " ".join(f"{100 * right(merged)[labels == c].mean():.1f}" for c in range(10))
    print(f"both side by side {100 * right(both).mean():.2f} %, merged {100 * right(merged).mean():.2f} %, R² {explained:.3f}")
    print(f"merged, by class: {by_class}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["cut", source, target, first, end]:
            cut(source, target, int(first), int(end))
        case ["judge", *files] if len(files) == 4:
            judge(*files)
        case _:
            sys.exit(__doc__)
