"""How the units of one network are renumbered to match another's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arrays
from ._data import samples
from ._onebasin import Aligned, Pair
from ._symmetry import Symmetry, model_of
from ._tell import Progress, Tell

if TYPE_CHECKING:
    from ._similarity import Activations, Source


class Perms(Mapping[str, "np.ndarray[Any, np.dtype[np.uint32]]"]):
    """The permutation of every group, by name. Entry ``i`` is the unit of B that becomes unit ``i``.

    Shapes: ``[units]``; of a group of which there is a copy for every unit of another, ``[units of the other, units]``.
    """

    def __init__(self, aligned: Aligned) -> None:
        self._aligned = aligned
        self._names = [group[0] for group in aligned.groups()]

    def __getitem__(self, group: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
        return self._aligned.perm(group)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<onebasin.Perms: {', '.join(self._names)}>"


class Alignment:
    """How the units of B are renumbered to match those of A; made by :func:`match`."""

    def __init__(self, aligned: Aligned, notes: list[str] | None = None, symmetry: Symmetry | None = None) -> None:
        self._aligned = aligned
        #: The symmetry that it is an element of, where one was given: what uses an alignment takes this one unless told otherwise. A
        #: pickle leaves it behind.
        self.symmetry = symmetry
        #: What one should know before trusting it.
        self.notes: list[str] = notes or []

    @property
    def perms(self) -> Perms:
        """The permutations, by group."""
        return Perms(self._aligned)

    @property
    def record(self) -> dict[str, Any] | None:
        """How it was found: method, objectives, sweeps, candidates, correlations; None where it was not found here."""
        text = self._aligned.record()
        return None if text is None else json.loads(text)

    @property
    def objective(self) -> float | None:
        """The inner product of A and the aligned B over all weights that were compared; None where it was not found here."""
        record = self.record
        return None if record is None else record["objective"]

    @property
    def moved(self) -> dict[str, tuple[int, int]]:
        """Of every group, how many units moved, and how many there are."""
        return {name: (moved, size * copies) for name, size, _, copies, moved in self._aligned.groups()}

    def apply(self, b: Any) -> Any:
        """π(B): the same network, its units renumbered; bits are moved, never computed with.

        What comes in goes out: nesting, order of keys, framework, element types. Tensors that the symmetry does not cover are as
        they were.
        """
        tree = _arrays.taken(b, "b")
        moved = {item[0]: item for item in self._aligned.apply(tree.items)}
        rest = [(name, dtype, shape, data.copy()) for name, dtype, shape, data in tree.items if name not in moved]
        return tree.like([*moved.values(), *rest])

    def inverse(self) -> Alignment:
        """The alignment that undoes this one."""
        return Alignment(self._aligned.inverse(), symmetry=self.symmetry)

    def compose(self, first: Alignment) -> Alignment:
        """The alignment that does ``first``, then this: ``a.compose(b).apply(x)`` is ``a.apply(b.apply(x))``."""
        return Alignment(self._aligned.compose(first._aligned), symmetry=self.symmetry)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self._aligned.is_identity()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as safetensors, one tensor of indices a group; the program reads it too (``onebasin apply``)."""
        self._aligned.save(os.fspath(path))

    @staticmethod
    def load(path: str | os.PathLike[str], b: Any, symmetry: Symmetry | None = None) -> Alignment:
        """Reads an alignment that was made for a network of B's structure. ``b`` is the network, or a :class:`Symmetry` of it."""
        if isinstance(b, Symmetry):
            return Alignment(Aligned.load(os.fspath(path), b._model), symmetry=b)
        return Alignment(Aligned.load(os.fspath(path), model_of(b, symmetry, "b")[0]), symmetry=symmetry)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._aligned.state(), self.notes)

    def __repr__(self) -> str:
        moved = self.moved.values()
        return f"<onebasin.Alignment: {sum(m for m, _ in moved)} of {sum(n for _, n in moved)} units in {len(moved)} groups moved>"

    def __str__(self) -> str:
        return self._aligned.text()


def _unpickled(state: str, notes: list[str]) -> Alignment:
    return Alignment(Aligned.of_state(state), notes)


def paired(a: Any, b: Any, known: Symmetry | None, tell: Tell) -> tuple[Pair, _arrays.Tree | None, _arrays.Tree | None]:
    """Two networks as a pair, and what they came as."""
    (model_a, tree_a), (model_b, tree_b) = model_of(a, known, "a"), model_of(b, known, "b")
    pair = Pair(model_a, model_b)
    for remark in pair.remarks:
        tell.remark("finding", remark)
    return pair, tree_a, tree_b


def match(
    a: Any,
    b: Any,
    symmetry: Symmetry | None = None,
    *,
    method: str | Source | Activations = "auto",
    data: Any = None,
    seed: int = 0,
    check: bool = True,
    progress: Progress = None,
    **options: Any,
) -> Alignment:
    """Finds how the units of B are renumbered to match those of A.

    ``a`` and ``b`` are mappings of arrays (state dicts of torch, NumPy or JAX; nested trees), torch modules, or paths of files;
    ``symmetry`` says which units may be exchanged, if the networks do not (built-in networks, ONNX files).

    ``method`` is ``"auto"``, ``"weight"``, ``"spectral"``, ``"frank-wolfe"``, ``"greedy"``, or with ``data`` ``"activation"`` and
    ``"ste"``; or a similarity of your own (:class:`Source`), or activations that you recorded (:class:`Activations`). ``data`` is ``x``, ``(x, y)`` or an iterable of such batches. ``options`` are those of the program's ``match``:
    ``max_sweeps``, ``start``, ``restarts``, ``budget``, ``match_samples``, ``blend``, ``uncentred``, …

    Cost: a second for ten million weights. Raises :class:`Error` if the networks differ in structure, hold values that are no
    numbers, or the symmetry is not known or wrong.
    """
    named = {"method": method} if isinstance(method, str) else {}
    how = json.dumps({**named, "seed": seed, **options})
    if not named and data is not None:
        raise TypeError("data belongs to methods by name; a similarity or activations of your own have seen theirs")
    with Tell(progress, "match") as tell:
        pair, _, _ = paired(a, b, symmetry, tell)
        if isinstance(method, str):
            aligned = pair.align(how, samples(data), check, tell)
        else:
            from ._similarity import Activations, Asked

            if isinstance(method, Activations):
                aligned = pair.align_on(method._seen, how, check, tell)
            else:
                aligned = pair.align_by(Asked(method), method.fixed, how, check, tell)
        return Alignment(aligned, tell.notes, symmetry)


class Diagnosis(dict[str, Any]):
    """What kind of pair two networks are; printed it is a sentence."""

    def __init__(self, text: str, facts: dict[str, Any]) -> None:
        super().__init__(facts)
        self.text = text

    def __str__(self) -> str:
        return self.text


def diagnose(a: Any, b: Any, alignment: Alignment, *, symmetry: Symmetry | None = None, seed: int = 0) -> Diagnosis:
    """Tells what kind of pair two networks are under an alignment: unrelated, trained on from one another, renumbered, alike."""
    with Tell(False, "diagnose") as tell:
        pair, _, _ = paired(a, b, alignment.symmetry if symmetry is None else symmetry, tell)
    text, facts = pair.diagnose(alignment._aligned, seed)
    return Diagnosis(text, json.loads(facts))
