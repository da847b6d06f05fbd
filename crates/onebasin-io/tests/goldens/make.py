"""Writes the golden files beside it: one set of tensors in every format, and files that must be refused.

Run with torch, numpy, flax, ml_dtypes and safetensors installed: `python make.py`. `expected.safetensors` holds the
tensors as every other file must give them, names joined by `.`. All files but `legacy.pth`, which holds addresses, come
out the same every time.
"""

import os
from pathlib import Path
from unittest import mock

import ml_dtypes
import numpy as np
import torch
from flax import serialization
from flax.traverse_util import unflatten_dict
from safetensors.torch import save_file

HERE = Path(__file__).parent
torch.manual_seed(0)


class Call:
    """Pickles as a call of `os.system`."""

    def __reduce__(self):
        return os.system, ("touch pickle-was-run",)


class Split(torch.nn.Module):
    """A module one child of which is called `model`."""

    def __init__(self):
        super().__init__()
        self.model = torch.nn.Linear(3, 2)
        self.head = torch.nn.Linear(2, 2)


def tensors():
    """Views of every kind, and every element type."""
    base = torch.randn(4, 6)
    weight = torch.randn(3, 4)
    return {
        "conv.weight": torch.randn(2, 3, 2, 2),
        "tied.a": weight,
        "tied.b": weight,
        "view.transposed": base.t(),
        "view.offset": base[1:3, 2:5],
        "view.step": base[::2, ::3],
        "type.f64": torch.randn(3, dtype=torch.float64),
        "type.f16": torch.randn(3).half(),
        "type.bf16": torch.randn(2, 2).bfloat16(),
        "type.i64": torch.tensor(-(2**40)),
        "type.i32": torch.tensor([-1, 2**30], dtype=torch.int32),
        "type.i16": torch.tensor([-300], dtype=torch.int16),
        "type.i8": torch.tensor([-3, 4], dtype=torch.int8),
        "type.u8": torch.tensor([200], dtype=torch.uint8),
        "type.bool": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 3),
    }


def to_numpy(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def torch_files(state):
    wrapped = {"module." + name: tensor for name, tensor in state.items()}
    optimiser = {"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint = {"epoch": 3, "state_dict": wrapped, "optimizer": optimiser}
    torch.save(checkpoint, HERE / "zip.pt")
    torch.save(checkpoint, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"model": state, "optimizer": optimiser}, HERE / "model.bin")
    torch.save(Split(), HERE / "module.pt")
    torch.save({"weight": torch.ones(2), "call": Call()}, HERE / "call.pt")
    torch.save({"call": Call()}, HERE / "call_only.pt")
    torch.save({"weight": torch.ones(1).expand(1 << 14, 1 << 14)}, HERE / "expanded.pt")


def numpy_files(arrays):
    typed = {name: array for name, array in arrays.items() if array.dtype != ml_dtypes.bfloat16}
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in typed.items()}
    fortran = {name: np.asarray(array, order="F") for name, array in typed.items()}
    np.savez(HERE / "stored.npz", **typed)
    np.savez_compressed(HERE / "compressed.npz", **fortran)
    np.savez_compressed(HERE / "swapped.npz", **swapped)
    np.savez(HERE / "objects.npz", weight=np.array([{"a": 1}], dtype=object))
    np.save(HERE / "lone.npy", np.arange(3.0))


def flax_files(arrays):
    nested = unflatten_dict(arrays, sep=".")
    state = {**nested, "step": 7, "note": "text", "opt": {}}
    (HERE / "flax.msgpack").write_bytes(serialization.msgpack_serialize(state))
    # As for arrays beyond 1 GiB: every array of more than one element in pieces.
    with mock.patch.object(serialization, "MAX_CHUNK_SIZE", 16):
        (HERE / "chunked.flax").write_bytes(serialization.msgpack_serialize(state))


def main():
    state = tensors()
    arrays = {name: to_numpy(tensor) for name, tensor in state.items()}
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, HERE / "expected.safetensors")
    torch_files(state)
    numpy_files(arrays)
    flax_files(arrays)


if __name__ == "__main__":
    main()
