"""Tiny archives in the forms that CIFAR-10 and CIFAR-100 come in, for `tests/cifar.rs`.

    pip install numpy && python cifar.py

Writes beside itself `cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz` (as Python 2 pickled, like the official one),
`cifar-10-python3.tar.gz` (pickled by this Python in protocol 2, alternately in protocol 4), and the same of CIFAR-100.
All of one data set hold the same labels and pixels.
"""

import gzip
import io
import pathlib
import pickle
import struct
import tarfile

import numpy as np

HERE = pathlib.Path(__file__).parent


def pixels(file, records):
    """Pixel k of record r of a file."""
    r, k = np.ogrid[:records, :3072]
    return ((11 * file + 5 * r + 7 * k + 31 * (k // 1024) + k // 32) % 256).astype(np.uint8)


def string(text):
    text = text if isinstance(text, bytes) else text.encode()
    return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text


def number(n):
    return b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n)


class Python2:
    """Python 2's `cPickle.dumps(…, 2)` of a dictionary of strings, lists and one array."""

    def __init__(self):
        self.kept = 0

    def keep(self):
        self.kept += 1
        return b"q" + bytes([self.kept]) if self.kept < 256 else b"r" + struct.pack("<i", self.kept)

    def list(self, items):
        return b"]" + self.keep() + b"(" + b"".join(items) + b"e"

    def array(self, array, fortran):
        out = b"cnumpy.core.multiarray\n_reconstruct\n" + self.keep()
        out += b"cnumpy\nndarray\n" + self.keep() + b"K\0\x85U\x01b\x87" + b"R" + self.keep()
        out += b"(K\x01" + b"".join(map(number, array.shape)) + b"\x86" + b"cnumpy\ndtype\n" + self.keep()
        out += b"U\x02u1K\0K\x01\x87R" + self.keep() + b"(K\x03U\x01|NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\0tb"
        return out + (b"\x88" if fortran else b"\x89") + string(array.tobytes("F" if fortran else "C")) + b"tb"

    def dump(self, entries, fortran=False):
        out = b"\x80\x02}" + self.keep() + b"("
        for key, value in entries.items():
            out += string(key) + self.keep()
            if isinstance(value, np.ndarray):
                out += self.array(value, fortran)
            elif isinstance(value, list):
                out += self.list([number(v) if isinstance(v, int) else string(v) + self.keep() for v in value])
            else:
                out += string(value) + self.keep()
        return out + b"u."


def python3(entries, protocol):
    """What a Python 3 writes, in protocol 2 with bytes as keys, as when the official files are read and written again."""
    if protocol > 2:
        return pickle.dumps(entries, protocol)
    as_bytes = lambda v: v.encode() if isinstance(v, str) else [as_bytes(i) for i in v] if isinstance(v, list) else v
    return pickle.dumps({key.encode(): as_bytes(value) for key, value in entries.items()}, protocol)


def archive(name, folder, files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(folder)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        # Not in order, as in the official archives.
        for file, content in sorted(files.items(), key=lambda item: item[0][::-1]):
            info = tarfile.TarInfo(f"{folder}/{file}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (HERE / name).write_bytes(gzip.compress(raw.getvalue(), mtime=0))


def data_set(number, bin_folder, py_folder, names, key, classes):
    binary, python, again = {"batches.meta.txt": b"names\n"}, {"readme.html": b"<p>"}, {}
    for f, (name, records) in enumerate(names):
        data = pixels(f, records)
        labels = [(3 * f + 7 * r) % classes for r in range(records)]
        coarse = [label // 5 for label in labels]
        entries = {"batch_label": f"batch {f}", key: labels, "data": data, "filenames": [f"{f}_{r}.png" for r in range(records)]}
        before = lambda r: [labels[r]]
        if classes == 100:
            entries["coarse_labels"] = coarse
            before = lambda r: [coarse[r], labels[r]]
        suffix = ".bin"
        binary[name + suffix] = b"".join(bytes(before(r)) + data[r].tobytes() for r in range(records))
        python[name] = Python2().dump(entries, fortran=f == 1)
        entries["data"] = np.asfortranarray(data) if f == 0 else data
        again[name] = python3(entries, 2 + 2 * (f % 2))
    archive(f"cifar-{number}-binary.tar.gz", bin_folder, binary)
    archive(f"cifar-{number}-python.tar.gz", py_folder, python)
    archive(f"cifar-{number}-python3.tar.gz", py_folder, again)


batches = [(f"data_batch_{k}", k) for k in range(1, 6)] + [("test_batch", 2)]
data_set(10, "cifar-10-batches-bin", "cifar-10-batches-py", batches, "labels", 10)
data_set(100, "cifar-100-binary", "cifar-100-python", [("train", 300), ("test", 4)], "fine_labels", 100)
