"""Which units of a network may be exchanged."""

from __future__ import annotations

import html
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import _arrays
from ._onebasin import Model


class Group(NamedTuple):
    """Units that may be exchanged with each other wherever they stand."""

    name: str
    #: Units.
    size: int
    #: The group of whose every unit this is a copy; None where it stands for itself.
    parent: str | None
    #: How many of them there are: 1, or the units of all ancestors.
    copies: int


class Check(NamedTuple):
    """What a random element of the symmetry changes of what the network computes."""

    #: Largest difference of an output, in units of its largest entry.
    difference: float
    #: What of it rounding may make.
    tolerance: float
    #: Numbers of the outputs that were compared.
    compared: int
    #: Groups at fault, with the difference that each makes.
    faults: list[tuple[str, float]]
    text: str

    @property
    def passes(self) -> bool:
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        return self.text


class Symmetry:
    """Which units of a network may be exchanged; made by :func:`symmetry`.

    Printed it is a table of the network's groups, in a notebook too. It holds the network's graph where that is known, so that
    networks of the same structure can be tested and run.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def groups(self) -> list[Group]:
        """The groups."""
        return [Group(*group) for group in self._model.groups()]

    @property
    def patterns(self) -> dict[str, str]:
        """The axes of every tensor that moves, one term an axis: ``{"fc1.weight": "h .", "fc2.weight": ". h"}``."""
        return dict(self._model.patterns())

    @property
    def taps(self) -> dict[str, str]:
        """Values in which groups show while the network runs, with the patterns of their axes; what :class:`Activations` looks at.

        Raises :class:`Error` where no graph is known.
        """
        return dict(self._model.taps())

    @property
    def runs(self) -> bool:
        """Whether the network can be run here, so that the symmetry can be tested."""
        return self._model.runs

    @property
    def notes(self) -> list[str]:
        """What one should know of how the network was read."""
        return self._model.remarks

    def why(self, tensor: str, axis: int) -> list[str]:
        """Why an axis of a tensor may be permuted or not, line by line. Raises :class:`Error` where no graph is known."""
        return self._model.why(tensor, axis)

    def check(self, seed: int = 0) -> Check:
        """Runs the network with a random element of the symmetry and without, on random inputs."""
        return Check(*self._model.check(seed))

    def overview(self) -> dict[str, Any]:
        """What ``onebasin inspect --json`` tells: layers, groups, free units, frozen axes by reason."""
        seen: dict[str, Any] = json.loads(self._model.overview(100)[1])
        return seen

    def toml(self) -> str:
        """The symmetry as a file of the program (``--symmetry FILE``)."""
        return self._model.toml()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes :meth:`toml` to a file."""
        Path(path).write_text(self.toml(), encoding="utf-8")

    def __repr__(self) -> str:
        groups = self.groups
        units = sum(group.size * group.copies for group in groups)
        return f"<onebasin.Symmetry: {len(groups)} groups, {units} units, of {self._model.name}>"

    def __str__(self) -> str:
        return self._model.overview(100)[0]

    def _repr_html_(self) -> str:
        def cell(text: str, tag: str = "td") -> str:
            return f"<{tag} style='text-align:left'>{html.escape(text)}</{tag}>"

        patterns = self.patterns
        rows = []
        for group in self.groups:
            stands = [name for name, pattern in patterns.items() if _names(pattern, group.name)]
            stands.sort(key=lambda name: -len(patterns[name].split()))  # weights before the vectors that go with them
            shown = ", ".join(stands[:3]) + (f" and {len(stands) - 3} more" if len(stands) > 3 else "")
            of = f" of each of {group.copies} ({group.parent})" if group.parent else ""
            rows.append("<tr>" + cell(group.name) + cell(f"{group.size}{of}") + cell(shown) + "</tr>")
        head = "<tr>" + cell("group", "th") + cell("units", "th") + cell("stands in", "th") + "</tr>"
        return f"<table>{head}{''.join(rows)}</table>"


def _names(pattern: str, group: str) -> bool:
    words = pattern.replace("(", " ").replace(")", " ").replace("+", " ").replace("[", " ").replace("]", " ").split()
    return any(word.split("@")[0] == group for word in words)


def symmetry(
    source: Any,
    example: Any = None,
    *,
    params: Any = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Symmetry:
    """Finds which units of a network may be exchanged.

    ``source`` is one of

    - a ``torch.nn.Module``, with example inputs (a tensor, a tuple of them, or a dict of keywords): it is exported to ONNX on the
      side, its own weights and flags left as they are;
    - a Flax module, with example inputs, and of ``flax.linen`` with ``params`` (one of ``flax.nnx`` has its own): it is traced, and
      exported by the package jax2onnx;
    - the path or the bytes of an ONNX model; ``params`` are then the tensors that follow its graph, if they are others than its own;
    - the name of a built-in network (``"mlp:512x3"``, ``"resnet50"``), with ``params``;
    - the path of a checkpoint that says what network it is;
    - a dict of patterns (``{"fc1.weight": "h .", "fc2.weight": ". h"}``) or of such TOML, with ``params``: what stands under the same
      name is exchanged together. Nothing runs then, so it is believed.

    Raises :class:`SymmetryError` or :class:`Error` if the network cannot be read.
    """
    shapes = {name: list(shape) for name, shape in (input_shapes or {}).items()}
    if hasattr(source, "state_dict") and hasattr(source, "forward"):
        if example is None:
            raise TypeError("a torch module is run once to see what it does: give example inputs, such as torch.zeros(1, 3, 32, 32)")
        return _of_module(source, example)
    if _arrays.is_nnx(source):
        if example is None:
            raise TypeError("a Flax module is called once to see what it does: give an example input")
        return _of_nnx(source, example)
    if hasattr(source, "apply") and hasattr(source, "init") and not isinstance(source, Mapping):
        if example is None or params is None:
            raise TypeError("a Flax module is applied once to see what it does: give an example input and params=")
        return _of_flax(source, example, params)
    if isinstance(source, (bytes, bytearray, memoryview)):
        with tempfile.TemporaryDirectory(prefix="onebasin-") as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(bytes(source))
            return symmetry(path, params=params, input_shapes=input_shapes)
    if isinstance(source, Mapping):
        if params is None:
            raise TypeError("patterns belong to tensors: give params, such as a.state_dict()")
        patterns = [(str(name), str(pattern)) for name, pattern in source.items()]
        model = Model.hold("the network", _arrays.taken(params, "params").items, "{}")
        return Symmetry(model.given(patterns))
    if not _arrays.is_path(source):
        raise TypeError(
            f"a network is a torch module, an ONNX file, a built-in name, a checkpoint or patterns, found {type(source).__name__}"
        )
    text = os.fspath(source)
    if Path(text).exists():
        if params is None:
            return Symmetry(Model.open(text, json.dumps({"input_shapes": shapes})))
        tensors = _arrays.taken(params, "params").items
        return Symmetry(Model.hold("the network", tensors, json.dumps({"graph": text, "input_shapes": shapes})))
    if "/" in text or Path(text).suffix in (".onnx", ".safetensors", ".pt", ".pth", ".bin", ".npz", ".msgpack"):
        raise FileNotFoundError(f"there is no file {text}")
    if params is None:
        raise TypeError(f"`{text}` is taken for a built-in network, of which tensors show the sizes: give params")
    return Symmetry(Model.hold("the network", _arrays.taken(params, "params").items, json.dumps({"network": text})))


def _of_module(module: Any, example: Any) -> Symmetry:
    from ._export import exported

    tensors = _arrays.taken(module.state_dict(), type(module).__name__).items
    with tempfile.TemporaryDirectory(prefix="onebasin-") as folder:
        path = Path(folder) / "model.onnx"
        exported(module, example, path)
        return Symmetry(Model.hold(type(module).__name__, tensors, json.dumps({"graph": str(path)})))


def _of_flax(module: Any, example: Any, params: Any) -> Symmetry:
    from ._export import exported_flax

    tensors = _arrays.taken(params, "params").items
    with tempfile.TemporaryDirectory(prefix="onebasin-") as folder:
        path = Path(folder) / "model.onnx"
        exported_flax(module, params, example, path)
        return Symmetry(Model.hold(type(module).__name__, tensors, json.dumps({"graph": str(path)})))


def _of_nnx(module: Any, example: Any) -> Symmetry:
    from ._export import exported_nnx

    tensors = _arrays.taken(module, type(module).__name__).items
    with tempfile.TemporaryDirectory(prefix="onebasin-") as folder:
        path = Path(folder) / "model.onnx"
        exported_nnx(module, example, path)
        return Symmetry(Model.hold(type(module).__name__, tensors, json.dumps({"graph": str(path)})))


def model_of(what: Any, known: Symmetry | None, role: str) -> tuple[Model, _arrays.Tree | None]:
    """A network of what the caller gave: tensors or a file, of a known structure or of the one that it says itself."""
    if _arrays.is_path(what):
        if known is None:
            return Model.open(os.fspath(what), "{}"), None
        from ._onebasin import read

        return known._model.like(os.fspath(what), read(os.fspath(what))), None
    tree = _arrays.taken(what, role)
    if known is None:
        return Model.hold(role, tree.items, "{}"), tree
    return known._model.like(role, tree.items), tree
