"""Writes the golden files beside it: what training scripts put into torch files around the weights, and kinds of tensors.

Run with torch, numpy and ml_dtypes installed: `python make.py`. Every network is `state()`: `fc1.weight`, `fc1.bias`, of
consecutive numbers from the number that is handed over.
"""

import argparse
import collections
import enum
import functools
import io
import pathlib
import pickle
import struct
import tarfile
import zipfile
from unittest import mock

import ml_dtypes
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent


def state(start=0.0):
    return {"fc1.weight": torch.arange(start, start + 6).reshape(2, 3), "fc1.bias": torch.arange(start + 6, start + 8)}


class Meter:
    def __init__(self):
        self.last = torch.ones(2)
        self.history = np.zeros(3)


class Colour(enum.Enum):
    RED = 1


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(3, 2)
        self.register_buffer("kept", torch.ones(1))
        self.register_buffer("cache", torch.zeros(1), persistent=False)
        self.act = torch.nn.ReLU()
        self.config = {"width": 2, "table": torch.zeros(5)}


def net():
    made = Net()
    made.fc1.load_state_dict({name[4:]: tensor for name, tensor in state().items()})
    return made


def optimizer():
    parameter = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    adam.step()
    return adam.state_dict()


def around():
    """What is no tensor of a network."""
    return {
        "default": collections.defaultdict(list, a=[1]),
        "meter": Meter(),
        "colour": Colour.RED,
        "function": torch.nn.functional.relu,
        "partial": functools.partial(print, 1),
        "namespace": argparse.Namespace(lr=0.1),
        "path": pathlib.PurePosixPath("/tmp/x"),
        "number": np.float64(0.5),
        "text": np.str_("x"),
        "random": np.random.RandomState(0).get_state(),
        "set": {1, 2},
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "complex": 1 + 2j,
        "large": 10**30,
        "long": list(range(300)),
        "bytes": b"abc",
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "optimizer": optimizer(),
    }


def kinds():
    ones = torch.ones(3)
    return {
        **state(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "f8.e4m3": torch.tensor([1.5, -448.0]).to(torch.float8_e4m3fn),
        "f8.e5m2": torch.tensor([1.5, -57344.0]).to(torch.float8_e5m2),
        "f8.e8m0": ones.to(torch.float8_e8m0fnu),
        "u16": torch.tensor([65535]).to(torch.uint16),
        "sparse": torch.eye(2).to_sparse(),
        "complex": ones.to(torch.complex64),
        "quantised": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "meta": torch.zeros(3, device="meta"),
        "numpy": np.arange(3.0),
        "negative": torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
        "strided": torch.arange(12.0).reshape(3, 4)[::2, 1:3],
    }


def old_tar():
    """A file as torch 0.1.9 wrote it: one storage, a view of it, two tensors."""

    class Key:
        def __init__(self, key):
            self.key = key

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.key if isinstance(value, Key) else None

    def dumped(value):
        out = io.BytesIO()
        Pickler(out, 2).dump(value)
        return out.getvalue()

    def tensor(key, storage, shape, strides, offset):
        axes = struct.pack("<q", len(shape)) + struct.pack(f"<{len(shape)}q", *shape) + struct.pack(f"<{len(shape)}q", *strides)
        return dumped((key, storage, torch.FloatTensor)) + axes + struct.pack("<q", offset)

    numbers = np.arange(8, dtype="<f4")
    storages = dumped(1) + dumped(("7", "cpu", torch.FloatStorage)) + struct.pack("<q", 8) + numbers.tobytes()
    storages += dumped([("8", "7", 6, 2)])
    tensors = dumped(2) + tensor("1", "7", [2, 3], [3, 1], 0) + tensor("2", "8", [2], [1], 0)
    root = dumped(collections.OrderedDict([("fc1.weight", Key("1")), ("fc1.bias", Key("2"))]))
    with tarfile.open(HERE / "old.tar", "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, data in [("sys_info", dumped({})), ("storages", storages), ("tensors", tensors), ("pickle", root)]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def main():
    # An archive whose root has 21 characters: the first entry's padding is an extra field without content.
    torch.save(state(), HERE / "checkpoint_epoch_0100.pt")
    torch.save({**state(), **around()}, HERE / "around.pt")
    torch.save({"state_dict": state(), **around()}, HERE / "beside.pt")
    torch.save(kinds(), HERE / "kinds.pt")
    torch.save(kinds(), HERE / "kinds_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 1, "model": net(), "ema": None, "optimizer": optimizer()}, HERE / "module.pt")
    # Each class with the file it comes from and its source, of which nothing is read.
    with mock.patch("inspect.getsourcefile", lambda c: f"{c.__name__}.py"), mock.patch("inspect.getsourcelines", lambda c: (["pass\n"], 1)):
        torch.save(net(), HERE / "module_legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Sequential(collections.OrderedDict(fc1=net().fc1))), HERE / "script.pt")
    torch.export.save(torch.export.export(net().fc1, (torch.ones(1, 3),)), HERE / "program.pt2")
    torch.save({"student": state(), "teacher": state(8.0), "epoch": 1}, HERE / "student.pt")
    torch.save({"models": {"gen": state(), "disc": state(8.0)}}, HERE / "models.pt")
    torch.save({"params_ema": state(8.0), "params": state()}, HERE / "params.pt")
    torch.save({"arch": "x", "state_dict_ema": state(8.0), "state_dict": state(), "optimizer": optimizer()}, HERE / "ema.pt")
    torch.save((state(), optimizer(), 3), HERE / "tuple.pt")
    torch.save(state(), HERE / "protocol5.pt", pickle_protocol=5)
    policy = io.BytesIO()
    torch.save(state(), policy)
    adam = io.BytesIO()
    torch.save(optimizer(), adam)
    with zipfile.ZipFile(HERE / "agent.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.optimizer.pth", adam.getvalue())
        archive.writestr("policy.pth", policy.getvalue())
    pickle.dump({"w": np.arange(3.0)}, open(HERE / "arrays.pkl", "wb"))
    old_tar()
    arrays = {name: tensor.numpy() for name, tensor in state().items()}
    np.savez(
        HERE / "kinds.npz",
        **arrays,
        half=np.array([1.5, -2.0], dtype=ml_dtypes.bfloat16),
        objects=np.array({"a": 1}, dtype=object),
        text=np.array("net"),
        wide=np.longdouble(1),
        __metadata__=np.zeros(2),
    )


if __name__ == "__main__":
    main()
