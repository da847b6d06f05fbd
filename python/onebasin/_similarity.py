"""Similarities of the caller's own, and activations that the caller records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._alignment import Alignment
from ._data import plain
from ._onebasin import Activations as _Activations
from ._onebasin import Aligned
from ._symmetry import Symmetry


class Source:
    """What a match is to raise: a similarity of your own. Subclass it, and give an object to :func:`match` as ``method``.

    With the other groups held, the value is linear in the permutation of one: :meth:`grams` says what each pair of units adds.

    >>> import numpy as np, onebasin
    >>> class ByLength(onebasin.Source):
    ...     fixed = True        # what is told of a group does not depend on how others are aligned
    ...
    ...     def __init__(self, a, b):
    ...         self.lengths = [np.linalg.norm(net["up"], axis=1) for net in (a, b)]
    ...
    ...     def grams(self, group, alignment):
    ...         return -np.subtract.outer(*self.lengths) ** 2
    ...
    ...     def objective(self, alignment):
    ...         a, b = self.lengths
    ...         return -np.sum((a - b[alignment.perms["h"]]) ** 2)
    >>> rng = np.random.default_rng(0)
    >>> a = {"up": rng.normal(size=(16, 8)), "down": rng.normal(size=(3, 16))}
    >>> order = rng.permutation(16)
    >>> b = {"up": a["up"][order], "down": a["down"][:, order]}
    >>> symmetry = onebasin.symmetry({"up": "h .", "down": ". h"}, params=a)
    >>> alignment = onebasin.match(a, b, symmetry, method=ByLength(a, b))
    >>> bool((alignment.apply(b)["down"] == a["down"]).all())
    True
    """

    #: Whether what :meth:`grams` tells of a group is the same however other groups are aligned; each is then asked once.
    fixed = False

    def grams(self, group: str, alignment: Alignment) -> Any:
        """Entry ``[i, j]``: what it adds to the value if unit ``j`` of B becomes unit ``i``, other groups as ``alignment`` has them.

        Shapes: ``[units, units]``. Of a group with groups of its own (attention heads), a dict from names, the group's first, to
        such arrays over the units of all of them, the last varying fastest.
        """
        raise NotImplementedError

    def objective(self, alignment: Alignment) -> float:
        """The value of an alignment; it changes with a group by what :meth:`grams` tells."""
        raise NotImplementedError


class Asked:
    """A similarity as Rust asks it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def grams(self, group: str, aligned: Aligned) -> list[tuple[list[str], Any]]:
        told = self._source.grams(group, Alignment(aligned))
        parts = told.items() if isinstance(told, Mapping) else [((group,), told)]
        return [([names] if isinstance(names, str) else list(names), _square(group, gram)) for names, gram in parts]

    def objective(self, aligned: Aligned) -> float:
        return float(self._source.objective(Alignment(aligned)))


def _square(group: str, gram: Any) -> Any:
    array = plain(gram)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"the similarity of group `{group}` must be a square array, found one of shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float64).reshape(-1)


class Activations:
    """What two networks compute inside, batch by batch: a match of networks that only your framework runs.

    ``taps`` are the values to look at and what their axes are: ``{"relu1": ". h1"}``, ``{"conv2": ". c2 . ."}``; by default those
    that the network's graph has (:attr:`Symmetry.taps`).

    >>> import numpy as np, onebasin
    >>> rng = np.random.default_rng(0)
    >>> a = {"up": rng.normal(size=(16, 8)), "down": rng.normal(size=(3, 16))}
    >>> order = rng.permutation(16)
    >>> b = {"up": a["up"][order], "down": a["down"][:, order]}
    >>> symmetry = onebasin.symmetry({"up": "h .", "down": ". h"}, params=a)
    >>> seen = onebasin.Activations(symmetry, {"hidden": ". h"})
    >>> for _ in range(4):
    ...     x = rng.normal(size=(32, 8))
    ...     seen.update({"hidden": np.maximum(x @ a["up"].T, 0)}, {"hidden": np.maximum(x @ b["up"].T, 0)})
    >>> alignment = onebasin.match(a, b, symmetry, method=seen)
    >>> bool((alignment.apply(b)["up"] == a["up"]).all())
    True
    """

    def __init__(self, symmetry: Symmetry, taps: Mapping[str, str] | None = None) -> None:
        #: The values that are looked at, and their patterns.
        self.taps: dict[str, str] = dict(symmetry.taps if taps is None else taps)
        self._seen = _Activations(symmetry._model, list(self.taps.items()))

    def update(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        """Takes a batch: of every tap the value as A and as B compute it on the same samples.

        Shapes: as the pattern says; every fixed axis (samples, pixels, positions) counts as samples. Memory: nothing is kept but sums,
        the square of the number of units for every tap.
        """
        for place, tap in enumerate(self.taps):
            missing = [role for role, values in (("A", a), ("B", b)) if tap not in values]
            if missing:
                raise KeyError(f"there is no `{tap}` of {missing[0]}; taps are {', '.join(self.taps)}")
            values = [plain(values[tap]) for values in (a, b)]
            if values[0].shape != values[1].shape:
                raise ValueError(f"`{tap}` has shape {values[0].shape} in A and {values[1].shape} in B; both must see the same samples")
            flat = [np.ascontiguousarray(value, dtype=np.float32).reshape(-1) for value in values]
            self._seen.add(place, list(values[0].shape), *flat)

    def record(self, a: Any, b: Any, batches: Iterable[Any]) -> None:
        """Runs two torch modules on batches of inputs, and takes what the submodules put out that the taps are named after.

        A batch is an input, or a tuple whose first is the input (as loaders with labels give).
        """
        import torch

        outputs: list[dict[str, Any]] = [{}, {}]
        hooks = []
        for module, seen in zip((a, b), outputs, strict=True):
            for tap in self.taps:
                keep = lambda _module, _inputs, output, seen=seen, tap=tap: seen.__setitem__(tap, output)  # noqa: E731
                hooks.append(module.get_submodule(tap).register_forward_hook(keep))
        training = [module.training for module in (a, b)]
        try:
            with torch.no_grad():
                for batch in batches:
                    x = batch[0] if isinstance(batch, (tuple, list)) else batch
                    for module in (a, b):
                        module.eval()
                        module(x)
                    self.update(*outputs)
        finally:
            for hook in hooks:
                hook.remove()
            for module, was in zip((a, b), training, strict=True):
                module.train(was)

    def __repr__(self) -> str:
        return f"<onebasin.Activations: {', '.join(f'{tap} ({pattern})' for tap, pattern in self.taps.items())}>"
