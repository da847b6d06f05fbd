"""Tensors in files."""

from __future__ import annotations

import os
from typing import Any

from . import _arrays
from ._onebasin import read, write


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tensors of a file of any format that is read, as NumPy arrays: safetensors, folders of shards, torch, ONNX, NumPy, Flax.

    Element types that NumPy lacks (bfloat16, 8-bit floats) come as those of the package ``ml_dtypes``, which they need.
    """
    return {name: _arrays._numpy(dtype, tuple(shape), data) for name, dtype, shape, data in read(os.fspath(path))}


def save(path: str | os.PathLike[str], tensors: Any) -> None:
    """Writes tensors as safetensors: the file appears whole or not at all. Nested names are joined with ``/``."""
    write(os.fspath(path), _arrays.taken(tensors, "tensors").items)
