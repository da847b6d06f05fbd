"""The way from one network to another: loss and accuracy along the line between them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._alignment import Alignment, paired
from ._data import samples
from ._symmetry import Symmetry
from ._tell import Progress, Tell

Array = Any


@dataclass(frozen=True)
class Curve:
    """Loss, and accuracy where there is one, at every λ of the way from A (0) to B (1)."""

    name: str
    lam: Array
    loss: Array
    accuracy: Array | None = None

    @property
    def barrier(self) -> float:
        """How far the loss at its highest rises above the straight line between the losses of both ends (Definition 2.1 of the
        paper takes the mean of the ends; for ends alike both are the same)."""
        between = (1 - self.lam) * self.loss[0] + self.lam * self.loss[-1]
        return float(np.max(self.loss - between))


@dataclass(frozen=True)
class Barrier:
    """What the way from A to B costs, naive and aligned."""

    curves: dict[str, Curve]
    #: On the data that networks were fitted to, where that was measured too.
    train: dict[str, Curve] = field(default_factory=dict)
    #: All that was measured, as the program's ``report.json``; None where a function of the caller's measured.
    report: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Curve:
        return self.curves[name]

    @property
    def barriers(self) -> dict[str, float]:
        """The barrier of every curve."""
        return {name: curve.barrier for name, curve in self.curves.items()}

    def plot(self, ax: Any = None, what: str = "loss") -> Any:
        """Draws the curves with Matplotlib, on the axes given or on new ones, which it returns. ``what``: loss or accuracy."""
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        for name, curve in self.curves.items():
            values = curve.loss if what == "loss" else curve.accuracy
            if values is None:
                raise ValueError(f"no {what} was measured")
            ax.plot(curve.lam, values, marker="o", markersize=3, label=name)
        ax.set_xlabel("λ: from A to B")
        ax.set_ylabel(what)
        ax.legend()
        return ax

    def __str__(self) -> str:
        lines = [f"{'':12} {'A':>10} {'middle':>10} {'B':>10} {'barrier':>10}"]
        for name, curve in self.curves.items():
            middle = float(np.interp(0.5, curve.lam, curve.loss))
            lines.append(f"{name:12} {curve.loss[0]:10.4f} {middle:10.4f} {curve.loss[-1]:10.4f} {curve.barrier:10.4f}")
        return "\n".join(lines)


def barrier(
    a: Any,
    b: Any,
    alignment: Alignment | Mapping[str, Alignment] | None = None,
    *,
    evaluate: Callable[[Any], float | tuple[float, float]] | None = None,
    data: Any = None,
    test: Any = None,
    symmetry: Symmetry | None = None,
    points: int = 25,
    repair: str = "none",
    progress: Progress = None,
    **options: Any,
) -> Barrier:
    """Measures loss and accuracy on the straight line from A to B as it came (``naive``) and to every aligned B (``aligned``, or the
    names of a mapping).

    ``evaluate`` is called on every network on the way, in the form of ``a``, and returns a loss, or a loss and an accuracy. Without
    it the networks run here, on ``data`` (what BatchNorms and repair see) and ``test`` (what is measured; ``data`` if nothing is
    given), both as ``(x, y)`` or iterables of batches; ``symmetry`` says how they run, if no alignment brings its own. ``points`` are
    the λ, both ends included.
    """
    named = {} if alignment is None else {"aligned": alignment} if isinstance(alignment, Alignment) else dict(alignment)
    if points < 2:
        raise ValueError(f"points must be at least 2, found {points}")
    with Tell(progress, "barrier") as tell:
        if evaluate is not None:
            return _called(a, b, named, evaluate, points, tell)
        train = samples(data)
        if train is None:
            raise TypeError("a barrier is measured by a function (evaluate=) or on data (data=)")
        tested = samples(test, "test") or train
        known = [symmetry, *(found.symmetry for found in named.values())]
        pair, _, _ = paired(a, b, next((one for one in known if one is not None), None), tell)
        how = {"points": points, "repair": repair, **options}
        aligned = [(name, found._aligned) for name, found in named.items()]
        report = json.loads(pair.barrier(aligned, json.dumps(how), train, tested, tell))

    def curve(found: dict[str, Any], split: str) -> Curve:
        accuracy = found[split]["accuracy"]
        lam, loss = np.asarray(found["lambda"]), np.asarray(found[split]["loss"])
        return Curve(found["name"], lam, loss, np.asarray(accuracy) if accuracy else None)

    curves = {found["name"]: curve(found, "test") for found in report["curves"]}
    fitted = {found["name"]: curve(found, "train") for found in report["curves"]}
    return Barrier(curves, fitted, report)


def _called(
    a: Any, b: Any, named: Mapping[str, Alignment], evaluate: Callable[[Any], Any], points: int, tell: Tell
) -> Barrier:
    from . import _arrays

    tree_a, tree_b = _arrays.taken(a, "a"), _arrays.taken(b, "b")
    ends: dict[str, Any] = {"naive": b} | {name: found.apply(b) for name, found in named.items()}
    lam = np.linspace(0.0, 1.0, points)
    done, total, curves = 0, points * len(ends), {}
    for name, end in ends.items():
        tree = tree_b if name == "naive" else _arrays.taken(end, "b")
        measured = []
        for at in lam:
            found = evaluate(_between(tree_a, tree, float(at)))
            loss, accuracy = found if isinstance(found, tuple) else (found, math.nan)
            measured.append((float(loss), float(accuracy)))
            done += 1
            tell.progress("evaluating", done, total, name)
        loss, accuracy = np.array(measured).T
        curves[name] = Curve(name, lam, loss, None if np.isnan(accuracy).all() else accuracy)
    return Barrier(curves)


def _between(a: Any, b: Any, at: float) -> Any:
    """The network at λ between two in the same numbering, in the form of A."""
    from ._onebasin import between

    return a.like(between(a.items, b.items, at))
