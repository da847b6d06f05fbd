"""A symmetry begun from names and shapes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import _arrays
from ._onebasin import template as _template


class Template(dict[str, str]):
    """Patterns by tensor, to be completed: a dict for :func:`symmetry` once no term begins with ``?``; printed it is a file."""

    def __init__(self, patterns: list[tuple[str, str]], text: str) -> None:
        super().__init__(patterns)
        self._text = text

    @property
    def open(self) -> list[str]:
        """Tensors of which a term is still open."""
        return [name for name, pattern in self.items() if "?" in pattern]

    def fill(self, terms: dict[str, str]) -> Template:
        """Puts terms in the place of open ones, wherever they stand: ``fill({"?768": "stream", "?h.{l}.up": "ffn{l}"})``."""
        unknown = [term for term in terms if not any(term in pattern.split() for pattern in self.values())]
        if unknown:
            raise KeyError(f"no term is `{unknown[0]}`; open are {', '.join(sorted(self._terms()))}")
        for name, pattern in self.items():
            self[name] = " ".join(terms.get(term, term) for term in pattern.split())
        return self

    def _terms(self) -> set[str]:
        return {term for pattern in self.values() for term in pattern.split() if term.startswith("?")}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as a symmetry file of the program, to be completed there."""
        Path(path).write_text(str(self), encoding="utf-8")

    def __str__(self) -> str:
        head = self._text.split("[tensors]\n", 1)[0]
        lines = [f'"{name}" = "{pattern}"\n' for name, pattern in self.items()]
        return head + "[tensors]\n" + "".join(lines)


def template(params: Any) -> Template:
    """Begins a symmetry for a network without a graph, from the names and shapes of its tensors.

    Layers that are all alike are told once (``h.{l}.mlp.up.weight``). An axis is ``.`` where shapes leave no choice; all else
    begins with ``?`` and is yours to decide: ``?fc1`` is likely the group that ``fc1`` writes, ``?768`` one of several groups of
    768 units, or none.

    >>> import numpy as np, onebasin
    >>> a = {"up.weight": np.zeros((16, 8)), "up.bias": np.zeros(16), "down.weight": np.zeros((3, 16)), "down.bias": np.zeros(3)}
    >>> begun = onebasin.template(a)
    >>> dict(begun)
    {'down.bias': '.', 'down.weight': '. ?up', 'up.bias': '?up', 'up.weight': '?up .'}
    >>> onebasin.symmetry(begun.fill({"?up": "hidden"}), params=a).groups[0].size
    16
    """
    items = _arrays.taken(params, "params").items
    patterns, text = _template([(name, list(shape)) for name, _, shape, _ in items])
    return Template(patterns, text)
