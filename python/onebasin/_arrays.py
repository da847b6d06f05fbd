"""Arrays of any framework as named bytes, and back as what they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Item = tuple[str, str, tuple[int, ...], "np.ndarray[Any, np.dtype[np.uint8]]"]

#: Element types by the names that NumPy, torch and JAX have for them.
DTYPES = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8_e4m3",
    "float8_e5m2": "f8_e5m2",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint64": "u64",
    "uint32": "u32",
    "uint16": "u16",
    "uint8": "u8",
    "bool": "bool",
}
NUMPY = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u64": "uint64",
    "u32": "uint32",
    "u16": "uint16",
    "u8": "uint8",
    "bool": "bool",
}
TORCH = {short: long for long, short in DTYPES.items()}


class Leaf(NamedTuple):
    """Where a tensor stood in what came in, and what made it."""

    path: tuple[Any, ...]
    name: str
    back: Callable[[str, tuple[int, ...], Any], Any]


class Tree(NamedTuple):
    """Tensors that came in: as bytes, and how results go back into the same nesting."""

    items: list[Item]
    leaves: list[Leaf]
    whole: Any

    def like(self, given: list[Any]) -> Any:
        """Results in the place of what came in: the same nesting, order of keys, framework and element types.

        Tensors that the result does not have are left out, and those that it has besides come last.
        """
        found = {name: (dtype, tuple(shape), data) for name, dtype, shape, data in given}
        values = {leaf.path: leaf.back(*found.pop(leaf.name)) for leaf in self.leaves if leaf.name in found}
        made = _rebuilt(self.whole, (), values)
        for name, (dtype, shape, data) in found.items():
            made[name] = self.leaves[0].back(dtype, shape, data) if self.leaves else _numpy(dtype, shape, data)
        return made


def is_path(what: Any) -> bool:
    """Whether it names a file."""
    return isinstance(what, (str, os.PathLike))


def is_nnx(what: Any) -> bool:
    """Whether it is a module of Flax NNX, which holds its parameters."""
    return any(kind.__module__.startswith("flax.nnx") and kind.__name__ == "Module" for kind in type(what).__mro__)


def taken(what: Any, role: str) -> Tree:
    """The tensors of a mapping, nested or not, or of a module; without a copy where they are contiguous."""
    if is_nnx(what):
        from flax import nnx

        what = nnx.state(what, nnx.Not(nnx.RngState))
    if hasattr(what, "state_dict") and not isinstance(what, Mapping):
        what = what.state_dict()
    if not isinstance(what, Mapping):
        raise TypeError(
            f"{role} must be a mapping of names to arrays (a state dict, a tree of Flax parameters), a torch module, or the "
            f"path of a file, found {type(what).__name__}"
        )
    items: list[Item] = []
    leaves: list[Leaf] = []
    seen: set[str] = set()
    for path, leaf in _leaves(what, ()):
        name = "/".join(str(part) for part in path)
        if name in seen:
            raise TypeError(f"two tensors of {role} are called `{name}`")
        seen.add(name)
        dtype, shape, data, back = _bytes(name, leaf, role)
        items.append((name, dtype, shape, data))
        leaves.append(Leaf(path, name, back))
    if not items:
        raise TypeError(f"{role} holds no tensors")
    return Tree(items, leaves, what)


def _leaves(tree: Any, path: tuple[Any, ...]) -> Any:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, (list, tuple)):
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, index))
    else:
        yield path, tree


def _rebuilt(tree: Any, path: tuple[Any, ...], values: dict[tuple[Any, ...], Any]) -> Any:
    if isinstance(tree, Mapping):
        parts = {key: _rebuilt(value, (*path, key), values) for key, value in tree.items()}
        parts = {key: value for key, value in parts.items() if value is not _MISSING}
        kind: Any = type(tree)
        try:
            return kind(parts)
        except Exception:  # a mapping of another kind of constructor
            return parts
    if isinstance(tree, (list, tuple)):
        parts_in_order = [_rebuilt(value, (*path, index), values) for index, value in enumerate(tree)]
        kept = [value for value in parts_in_order if value is not _MISSING]
        return kept if isinstance(tree, list) else tuple(kept)
    return values.get(path, _MISSING)


_MISSING = object()


def _bytes(name: str, leaf: Any, role: str) -> tuple[str, tuple[int, ...], Any, Any]:
    module = type(leaf).__module__.split(".")[0]
    if _is_torch(leaf):
        return _torch_bytes(name, leaf)
    if module in ("jax", "jaxlib"):
        return _jax_bytes(name, leaf)
    if hasattr(leaf, "value") and module == "flax":  # a variable of Flax NNX
        dtype, shape, data, back = _bytes(name, leaf.value, role)
        return dtype, shape, data, lambda d, s, b: leaf.replace(value=back(d, s, b))
    if isinstance(leaf, (np.ndarray, np.generic, bool, int, float)):
        return (*_numpy_bytes(name, np.asarray(leaf)), _numpy)
    raise TypeError(
        f"`{name}` of {role} is a {type(leaf).__name__}, which is no tensor; "
        "give the network's state dict, without optimisers, counters of epochs and other state"
    )


def _numpy_bytes(name: str, array: Any) -> tuple[str, tuple[int, ...], Any]:
    dtype = DTYPES.get(array.dtype.name)
    if dtype is None:
        raise TypeError(f"`{name}` has elements of type {array.dtype}, which are no numbers that networks are made of")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return dtype, array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _numpy(dtype: str, shape: tuple[int, ...], data: Any) -> Any:
    if dtype in NUMPY:
        return data.view(NUMPY[dtype]).reshape(shape)
    import ml_dtypes

    return data.view(getattr(ml_dtypes, TORCH[dtype])).reshape(shape)


def _is_torch(leaf: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "torch" and kind.__name__ == "Tensor" for kind in type(leaf).__mro__)


def _torch_bytes(name: str, tensor: Any) -> tuple[str, tuple[int, ...], Any, Any]:
    import torch

    if tensor.device.type != "cpu":
        raise TypeError(
            f"`{name}` lies on {tensor.device}; bring the network to the processor's memory: "
            "{name: tensor.cpu() for name, tensor in state.items()}"
        )
    dtype = DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None or tensor.layout != torch.strided:
        raise TypeError(f"`{name}` has elements of type {tensor.dtype} ({tensor.layout}), which are not read")
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)

    def back(dtype: str, shape: tuple[int, ...], data: Any) -> Any:
        return torch.from_numpy(data).view(getattr(torch, TORCH[dtype])).reshape(shape)

    return dtype, tuple(tensor.shape), flat.view(torch.uint8).numpy(), back


def _jax_bytes(name: str, array: Any) -> tuple[str, tuple[int, ...], Any, Any]:
    if not hasattr(array, "devices"):
        raise TypeError(f"`{name}` is a {type(array).__name__}, which holds no numbers")
    elsewhere = [device for device in array.devices() if device.platform != "cpu"]
    if elsewhere:
        raise TypeError(f"`{name}` lies on {elsewhere[0]}; bring the network to the processor's memory: jax.device_get(params)")

    def back(dtype: str, shape: tuple[int, ...], data: Any) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(_numpy(dtype, shape, data))

    return (*_numpy_bytes(name, np.asarray(array)), back)
