"""Samples: arrays, or batches of them, as what networks are fed and ought to answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._onebasin import Samples


def samples(data: Any, role: str = "data") -> Samples | None:
    """Samples of ``x``, ``(x, y)``, ``((x1, x2), y)``, or an iterable of such batches; None where there are none.

    Shapes: the first axis of every array counts the samples. Whole numbers are indices (tokens, labels), floats are values.
    """
    if data is None or isinstance(data, Samples):
        return data
    inputs, target = _arrays(data, role)
    fields = [_field(f"input {k}", array, role) for k, array in enumerate(inputs)]
    return Samples(role, fields, None if target is None else _field("target", target, role))


def _arrays(data: Any, role: str) -> tuple[list[Any], Any]:
    if _is_array(data):
        return [plain(data)], None
    if isinstance(data, tuple) and data and (_is_array(data[0]) or isinstance(data[0], (list, tuple, Mapping))):
        return _batch(data, role)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, Mapping)):
        batches = [_batch(batch, role) for batch in data]
        if not batches:
            raise ValueError(f"{role} holds no batches")
        inputs = [np.concatenate(parts) for parts in zip(*(inputs for inputs, _ in batches), strict=True)]
        targets = [target for _, target in batches if target is not None]
        return inputs, np.concatenate(targets) if len(targets) == len(batches) else None
    raise TypeError(
        f"{role} must be an array x, a pair (x, y), or an iterable of such batches (a DataLoader), found {type(data).__name__}"
    )


def _batch(batch: Any, role: str) -> tuple[list[Any], Any]:
    if _is_array(batch):
        return [plain(batch)], None
    if not isinstance(batch, (list, tuple)) or len(batch) not in (1, 2):
        raise TypeError(f"a batch of {role} must be an array x or a pair (x, y), found {type(batch).__name__}")
    x, y = batch[0], batch[1] if len(batch) == 2 else None
    inputs = list(x.values()) if isinstance(x, Mapping) else list(x) if isinstance(x, (list, tuple)) else [x]
    return [plain(part) for part in inputs], None if y is None else plain(y)


def _is_array(what: Any) -> bool:
    return hasattr(what, "shape") and hasattr(what, "dtype")


def plain(what: Any) -> Any:
    """An array of any framework as one of NumPy."""
    if hasattr(what, "detach"):
        what = what.detach().cpu()
        if str(what.dtype) == "torch.bfloat16":
            what = what.float()
        what = what.numpy()
    return np.asarray(what)


def _field(name: str, array: Any, role: str) -> tuple[str, list[int], int | None, Any]:
    if array.ndim == 0:
        raise ValueError(f"{name} of {role} is one number; the first axis counts the samples")
    below = None
    if array.dtype.kind in "iub":
        if array.size and int(array.min()) < 0:
            raise ValueError(f"{name} of {role} has the index {array.min()}; indices count from 0")
        below = int(array.max()) + 1 if array.size else 1
        if below > 1 << 24:
            raise ValueError(f"{name} of {role} has the index {below - 1}, beyond the 16,777,216 that are told apart")
    elif array.dtype.kind != "f":
        raise TypeError(f"{name} of {role} has elements of type {array.dtype}; numbers are needed")
    flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
    return name, list(array.shape[1:]), below, flat
