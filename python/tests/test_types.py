"""The package and its examples are typed, and its docstrings run."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import unittest
import warnings
from pathlib import Path

import onebasin

from .support import needs


class Types(unittest.TestCase):
    def check(self, *what: str) -> None:
        needs("mypy")
        root = Path(__file__).parents[2]
        check = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), *what]
        env = {**os.environ, "MYPYPATH": str(root / "python")}
        found = subprocess.run(check, cwd=root, env=env, capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)

    def test_a_type_checker_finds_nothing(self) -> None:
        self.check("python/onebasin")

    def test_nor_in_the_examples(self) -> None:
        # Frameworks are not looked into, so their classes and decorators have no types.
        self.check("--allow-subclassing-any", "--allow-untyped-decorators", "python/examples")

    def test_docstrings_run(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", onebasin.Note)
            found = doctest.testmod(onebasin)
        self.assertGreater(found.attempted, 5)
        self.assertEqual(found.failed, 0)

    def test_every_name_is_documented(self) -> None:
        for name in onebasin.__all__:
            if not name.startswith("__"):
                self.assertTrue(getattr(onebasin, name).__doc__, name)
