"""A torch or Flax module as an ONNX graph: with the names of its parameters, or with their values."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import inspect
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

OPSET = 18
OPSET_FLAX = 23


def exported(module: Any, example: Any, path: Path) -> None:
    """Writes the graph of a module that is run on example inputs: a tensor, a tuple of them, or a mapping of keywords.

    The module runs as it does in evaluation, without a gradient; its flags are as before afterwards. Both of torch's exporters are
    tried, first the one that needs no further package.
    """
    args, kwargs = _arguments(example)
    why = []
    for how in (_traced, _captured):
        try:
            with _evaluating(module), _quiet():
                how(module, args, kwargs, path)
            return
        except Exception as error:  # an exporter refuses in any way it likes
            why.append(f"{how.__doc__}: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}")
    raise ValueError(
        f"{type(module).__name__} could not be exported to ONNX:\n  " + "\n  ".join(why) + "\nExport it yourself "
        "(torch.onnx.export), and give the file; or give patterns of its tensors"
    )


def exported_flax(module: Any, params: Any, example: Any, path: Path) -> None:
    """Writes the graph of a Flax module that is applied with these parameters to example inputs: an array or a tuple of them."""
    variables = params if isinstance(params, Mapping) and "params" in params else {"params": params}
    _exported_jax(type(module).__name__, lambda *x: module.apply(variables, *x), example, path)


def exported_nnx(module: Any, example: Any, path: Path) -> None:
    """The same of a module of Flax NNX, which holds its parameters; it is run as in evaluation, and left as it is."""
    from flax import nnx

    copy = nnx.clone(module)
    copy.eval()
    _exported_jax(type(module).__name__, copy, example, path)


def _exported_jax(name: str, call: Any, example: Any, path: Path) -> None:
    """Writes the graph of a function of arrays.

    It is traced by JAX itself and written by the package ``jax2onnx``. Parameters become constants, which are found again by their
    values.
    """
    try:
        import jax
        import jax2onnx
        from jax.extend.core import jaxpr_as_fun
    except ImportError as error:
        raise ImportError(f"a Flax module is exported by the package jax2onnx: pip install jax2onnx ({error})") from None
    inputs = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    traced = jax.make_jaxpr(call)(*inputs)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
    try:
        with _quiet():
            jax2onnx.to_onnx(
                lambda *x: tuple(jaxpr_as_fun(traced)(*x)), shapes, return_mode="file", output_path=str(path), opset=OPSET_FLAX
            )
    except Exception as error:  # an exporter refuses in any way it likes
        raise ValueError(
            f"{name} could not be exported to ONNX by jax2onnx: {type(error).__name__}: {error}\nGive patterns of its "
            "tensors, or an ONNX file"
        ) from error


def _traced(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: Path) -> None:
    """by tracing"""
    import torch

    names = _names(module, args, kwargs)
    tensors = [value for value in (*args, *kwargs.values()) if hasattr(value, "shape")]
    axes = {name: {0: "batch"} for name, tensor in zip(names, tensors, strict=False) if tensor.ndim > 1}
    with _without_onnx():
        torch.onnx.export(
            module,
            (*args, kwargs) if kwargs else args,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            dynamic_axes=axes,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )


@contextlib.contextmanager
def _without_onnx() -> Iterator[None]:
    """Lets torch export by tracing where the package ``onnx`` is not installed.

    Torch reads what it has written once more with that package, to add the functions of operators that the caller has registered
    with it; where it is not installed there are none.
    """
    if importlib.util.find_spec("onnx") is not None:
        yield
        return
    for place in ("torch.onnx._internal.torchscript_exporter.onnx_proto_utils", "torch.onnx._internal.onnx_proto_utils"):
        try:
            utils: Any = importlib.import_module(place)
        except ImportError:
            continue
        own = utils._add_onnxscript_fn
        utils._add_onnxscript_fn = lambda written, _opsets: written
        try:
            yield
        finally:
            utils._add_onnxscript_fn = own
        return
    yield


def _captured(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: Path) -> None:
    """by capturing"""
    import torch

    torch.onnx.export(module, args, str(path), kwargs=kwargs, dynamo=True, opset_version=OPSET, verbose=False)


def _names(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    parameters = [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    first = [parameters[k] if k < len(parameters) else f"input_{k}" for k in range(len(args))]
    return first + list(kwargs)


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    import torch

    flags = {part: part.training for part in module.modules()}
    # In evaluation attention runs as one operator of torch's own, which no exporter by tracing knows.
    attention: Any = getattr(torch.backends, "mha", None)
    fast = attention.get_fastpath_enabled() if attention else None
    module.eval()
    try:
        if attention:
            attention.set_fastpath_enabled(False)
        with torch.no_grad():
            yield
    finally:
        for part, flag in flags.items():
            part.training = flag
        if attention:
            attention.set_fastpath_enabled(fast)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What exporters say of themselves is nothing the caller asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with _hushed(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Of a trace that fails torch prints the whole graph, from C++ and past ``sys.stdout``."""
    try:
        own = os.dup(1)
    except OSError:  # a process without standard output
        yield
        return
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, TypeError, AttributeError):  # what C++ has not written yet
            ctypes.CDLL(None).fflush(None)
        os.dup2(own, 1)
        os.close(own)
        os.close(nowhere)
