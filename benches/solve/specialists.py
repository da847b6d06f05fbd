"""Parts of MNIST by class, as the four IDX files each: FROM TO writes TO/low (digits 0 to 4) and TO/high (5 to 9).

The training split has only those digits, the test split all of them, so a network trained on a part is tested on everything.
Needs NumPy.
"""
import gzip
import pathlib
import shutil
import sys

import numpy as np


def read(path):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8)


def write(path, shape, numbers):
    header = (0x800 + len(shape)).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in shape)
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as file:
        file.write(header + numbers.tobytes())


def main(source, target):
    names = {kind: next(source.glob(f"train-{kind}*")) for kind in ("images", "labels")}
    images, labels = read(names["images"])[16:].reshape(-1, 28, 28), read(names["labels"])[8:]
    for part, chosen in (("low", labels < 5), ("high", labels >= 5)):
        folder = target / part
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / names["images"].name, (int(chosen.sum()), 28, 28), images[chosen])
        write(folder / names["labels"].name, (int(chosen.sum()),), labels[chosen])
        for path in source.glob("t10k-*"):
            shutil.copyfile(path, folder / path.name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))
