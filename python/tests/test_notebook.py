"""The notebook of the examples runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import importlib.util
import json
import unittest
import warnings
from pathlib import Path
from typing import Any

import onebasin

from .support import needs

PYTHON = Path(__file__).resolve().parents[1]
NOTEBOOK = PYTHON / "examples" / "two_networks.ipynb"

#: What the notebook tells of its networks, run as its last cell.
SHOWN = """
got = {name: score(state)[1] for name, state in networks.items()}
assert min(got["A"], got["B"]) > 0.95, got
assert got["average"] < 0.85, got
assert got["aligned average"] > got["average"] + 0.1, got
assert got["aligned, solved"] > got["aligned average"], got
assert way["aligned"].barrier < 0.2 * way["naive"].barrier, way.barriers
assert "<td style='text-align:left'>second</td>" in symmetry._repr_html_()
"""


class Notebook(unittest.TestCase):
    def setUp(self) -> None:
        needs("torch")
        needs("matplotlib")
        self.notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))

    def test_it_is_kept_without_what_it_prints(self) -> None:
        code = [cell for cell in self.notebook["cells"] if cell["cell_type"] == "code"]
        self.assertTrue(all(not cell["outputs"] and cell["execution_count"] is None for cell in code))
        self.assertLess(NOTEBOOK.stat().st_size, 40_000)

    def test_it_runs(self) -> None:
        if all(importlib.util.find_spec(module) for module in ("nbclient", "nbformat", "ipykernel")):
            self.in_a_kernel()
        else:
            self.in_a_namespace()

    def in_a_kernel(self) -> None:
        import nbclient
        import nbformat

        notebook = nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
        notebook.cells.append(nbformat.v4.new_code_cell(SHOWN))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(PYTHON)}}).execute()
        shown = [set(output.get("data", {})) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        self.assertEqual(sum("text/html" in kinds for kinds in shown), 1, "the table of the symmetry")
        self.assertEqual(sum("image/png" in kinds for kinds in shown), 3, "points, barrier, plane")

    def in_a_namespace(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        plt.close("all")  # those of other tests
        namespace: dict[str, Any] = {"__name__": "notebook"}
        cells = ["".join(cell["source"]) for cell in self.notebook["cells"] if cell["cell_type"] == "code"]
        with warnings.catch_warnings():
            warnings.simplefilter("error", onebasin.Note)
            for number, cell in enumerate([*cells, SHOWN]):
                exec(compile(cell, f"{NOTEBOOK.name}, cell {number} of code", "exec"), namespace)
        self.assertEqual(len(plt.get_fignums()), 3, "points, barrier, plane")
        plt.close("all")
