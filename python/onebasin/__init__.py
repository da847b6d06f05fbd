"""Two neural networks trained from different seeds compute much the same function with their units numbered differently; average
their weights and the result is ruined. onebasin finds the renumbering that brings one network into the other's basin of the loss
landscape, so that the two can be averaged (*Git Re-Basin*, Ainsworth, Hayase, Srinivasa, ICLR 2023).

>>> import numpy as np, onebasin
>>> rng = np.random.default_rng(0)
>>> a = {"up": rng.normal(size=(16, 8)), "down": rng.normal(size=(3, 16))}
>>> order = rng.permutation(16)
>>> b = {"up": a["up"][order], "down": a["down"][:, order]}      # the same network, its units numbered differently
>>> symmetry = onebasin.symmetry({"up": "h .", "down": ". h"}, params=a)
>>> alignment = onebasin.match(a, b, symmetry)
>>> bool((alignment.apply(b)["up"] == a["up"]).all())
True

With torch: ``model.load_state_dict(onebasin.merge(a.state_dict(), b.state_dict(), onebasin.symmetry(a, example)))``.

Arrays are read where they lie: do not write to them from another thread while a call runs. Threads are those of the variable
``RAYON_NUM_THREADS``; results are the same bytes for any number of them.
"""

from ._alignment import Alignment, Diagnosis, Perms, diagnose, match
from ._barrier import Barrier, Curve, barrier
from ._files import load, save
from ._merge import Mean, Repaired, merge, merge_many, repair
from ._onebasin import Error, FormatError, SymmetryError, __version__
from ._similarity import Activations, Source
from ._symmetry import Check, Group, Symmetry, symmetry
from ._tell import Note
from ._template import Template, template

__all__ = [
    "Activations",
    "Alignment",
    "Barrier",
    "Check",
    "Curve",
    "Diagnosis",
    "Error",
    "FormatError",
    "Group",
    "Mean",
    "Note",
    "Perms",
    "Repaired",
    "Source",
    "Symmetry",
    "SymmetryError",
    "Template",
    "__version__",
    "barrier",
    "diagnose",
    "load",
    "match",
    "merge",
    "merge_many",
    "repair",
    "save",
    "symmetry",
    "template",
]
