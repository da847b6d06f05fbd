"""The package brings the program."""

from __future__ import annotations

import subprocess
import sys
import unittest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "onebasin", *arguments], capture_output=True, text=True)


class Program(unittest.TestCase):
    def test_it_is_the_program(self) -> None:
        import onebasin

        self.assertEqual(run("--version").stdout.strip(), f"onebasin {onebasin.__version__}")
        self.assertIn("merge-many", run("--help").stdout)

    def test_it_ends_with_the_code_of_the_program(self) -> None:
        self.assertEqual(run("nonsense").returncode, 2)
        failed = run("inspect", "nowhere.safetensors")
        self.assertEqual((failed.returncode, failed.stdout), (1, ""))
        self.assertIn("nowhere.safetensors", failed.stderr)
