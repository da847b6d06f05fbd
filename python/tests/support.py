"""What tests share: small networks in NumPy, and skips that are said by name."""

from __future__ import annotations

import importlib
import unittest
from typing import Any

import numpy as np

PATTERNS = {"up": "h .", "bias": "h", "down": ". h"}


def needs(module: str) -> Any:
    """The module, or a test that is skipped by name."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise unittest.SkipTest(f"the package {module} is not installed") from None


def perceptron(seed: int, units: int = 16, inputs: int = 8, outputs: int = 3) -> dict[str, Any]:
    """Weights of a network with one hidden layer."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    return {"up": normal(units, inputs), "bias": normal(units), "down": normal(outputs, units)}


def computed(net: dict[str, Any], x: Any) -> Any:
    """What such a network computes."""
    return np.maximum(x @ net["up"].T + net["bias"], 0) @ net["down"].T


def renumbered(net: dict[str, Any], seed: int) -> tuple[dict[str, Any], Any]:
    """The same network with its units in another order, and the order."""
    order = np.random.default_rng(seed).permutation(len(net["bias"]))
    return {"up": net["up"][order], "bias": net["bias"][order], "down": net["down"][:, order]}, order
