"""Networks combined into one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import _arrays
from ._alignment import Alignment, paired
from ._data import samples
from ._onebasin import merge_many as _merge_many
from ._symmetry import Symmetry, model_of
from ._tell import Progress, Tell

#: Options of a merge; all others are those of a match.
_OF_MERGE = (
    "interpolation",
    "dtype",
    "width",
    "lean",
    "batch_norm_samples",
    "solve_samples",
    "min_correlation",
    "group_lambda",
    "force",
    "overwrite",
)


def merge(
    a: Any,
    b: Any,
    by: Symmetry | Alignment | None = None,
    *,
    lam: float = 0.5,
    repair: str = "none",
    data: Any = None,
    symmetry: Symmetry | None = None,
    output: str | os.PathLike[str] | None = None,
    check: bool = True,
    progress: Progress = None,
    **options: Any,
) -> Any:
    """Merges two networks: ``(1 − lam) A + lam π(B)``, after finding π where ``by`` is no :class:`Alignment`. ``symmetry`` is that of an
    alignment which does not bring its own.

    What comes in as A goes out: nesting, order of keys, framework, element types; so
    ``model.load_state_dict(onebasin.merge(a.state_dict(), b.state_dict(), onebasin.symmetry(a, x)))`` works. With ``output`` the
    result is a file, and its path is returned.

    ``repair`` gives units back what averaging takes from them: ``"none"``, ``"weights"``, or with ``data`` ``"data"``, ``"affine"``,
    ``"solve"`` (each layer solved in closed form, which is by far the best of those that train nothing; it also works on made-up
    inputs without ``data``) and ``"distil"`` (the same, then 300 steps of training).
    Statistics of BatchNorms are recomputed on ``data``; without, a :class:`Note` warns that they were interpolated.

    ``options`` are those of the program's ``merge`` (``interpolation``, ``dtype``, ``solve_samples``, ``group_lambda``, …) and
    ``match``.
    """
    of_merge = {name: options.pop(name) for name in _OF_MERGE if name in options}
    if isinstance(by, Alignment) and options:
        raise TypeError(f"these are options of a match, and an alignment is given: {', '.join(options)}")
    known = symmetry if isinstance(by, Alignment) or by is None else by
    if known is None and isinstance(by, Alignment) and not _arrays.is_path(a):  # files go from file to file, without being held
        known = by.symmetry
    how = {"lambda": lam, "repair": repair, "check": check, **of_merge}
    with Tell(progress, "merge") as tell:
        pair, tree, _ = paired(a, b, known, tell)
        train = samples(data)
        if isinstance(by, Alignment):
            aligned = by._aligned
        else:
            method = {"method": "auto", "seed": 0, **options}
            aligned = pair.align(json.dumps(method), train, check, tell)
        path = None if output is None else os.fspath(output)
        given, _solved = pair.merge(aligned, json.dumps(how), train, path, tell)
    if output is not None:
        return output
    return tree.like(given) if tree is not None else _arrays.Tree([], [], {}).like(given)


class Repaired(NamedTuple):
    """An average that was repaired, and how well it follows both networks."""

    #: The network, as what A came as.
    params: Any
    #: How it was solved: of every layer, the share of what both networks compute that is explained, ``before`` and ``after``; None
    #: where nothing was solved.
    solved: dict[str, Any] | None


def repair(
    a: Any,
    b: Any,
    alignment: Alignment,
    *,
    how: str = "solve",
    lam: float = 0.5,
    data: Any = None,
    symmetry: Symmetry | None = None,
    check: bool = True,
    progress: Progress = None,
    **options: Any,
) -> Repaired:
    """The average of A and π(B), repaired: what ``merge(…, repair=how)`` gives, with the record of it.

    ``repaired.solved["after"]["sites"]`` tells, layer by layer and without labels, where the merged network still follows both.
    """
    options = {"lambda": lam, "repair": how, "check": check, **options}
    with Tell(progress, "repair") as tell:
        pair, tree, _ = paired(a, b, symmetry, tell)
        given, solved = pair.merge(alignment._aligned, json.dumps(options), samples(data), None, tell)
    params = (tree or _arrays.Tree([], [], {})).like(given)
    return Repaired(params, None if solved is None else json.loads(solved))


class Mean(NamedTuple):
    """Many networks as one."""

    #: The mean, as what the first network came as.
    params: Any
    #: The alignment of every network with the first.
    alignments: list[Alignment]
    #: How they were found: objectives and rounds; None where nothing was aligned.
    found: dict[str, Any] | None


def merge_many(
    models: Sequence[Any],
    symmetry: Symmetry | None = None,
    *,
    method: str = "rounds",
    weights: Sequence[float] | None = None,
    start: Sequence[Alignment] | None = None,
    repair: str = "none",
    data: Any = None,
    seed: int = 0,
    output: str | os.PathLike[str] | None = None,
    check: bool = True,
    progress: Progress = None,
    **options: Any,
) -> Mean:
    """Aligns many networks with the first and averages them.

    ``method`` is ``"rounds"`` (each in turn with the mean of the others: the paper's MergeMany), ``"reference"`` (each with the first,
    which stays as it is and counts in the mean like the others), ``"tree"``, ``"universe"``, or ``"naive"`` (as they come).
    ``weights`` say how much each counts in the mean, such as the number of samples a client has; 0 leaves a network out.
    ``start`` are alignments to go on from, such as those of the last round of federated training.
    """
    how: dict[str, Any] = {"method": method, "seed": seed, "repair": repair, "check": check, **options}
    if weights is not None:
        how["weights"] = [float(weight) for weight in weights]
    with Tell(progress, "merge_many") as tell:
        opened = [model_of(model, symmetry, f"network {k}") for k, model in enumerate(models)]
        path = None if output is None else os.fspath(output)
        begin = None if start is None else [alignment._aligned for alignment in start]
        given, aligned, found = _merge_many([model for model, _ in opened], json.dumps(how), samples(data), begin, path, tell)
    tree = opened[0][1] if opened else None
    params: Any = output
    if output is None:
        params = (tree or _arrays.Tree([], [], {})).like(given)
    return Mean(params, [Alignment(one) for one in aligned], None if found is None else json.loads(found))

