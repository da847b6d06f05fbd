"""Networks that were renumbered are found, moved, saved; work can be watched and stopped."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import unittest
import unittest.mock
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import onebasin

from .support import PATTERNS, computed, perceptron, renumbered


class Match(unittest.TestCase):
    def setUp(self) -> None:
        self.a = perceptron(0)
        self.b, self.order = renumbered(self.a, 1)
        self.symmetry = onebasin.symmetry(PATTERNS, params=self.a)

    def test_a_planted_order_is_found(self) -> None:
        found = onebasin.match(self.a, self.b, self.symmetry)
        np.testing.assert_array_equal(self.order[found.perms["h"]], np.arange(16))
        for name, tensor in found.apply(self.b).items():
            np.testing.assert_array_equal(tensor, self.a[name])
        self.assertEqual(list(found.perms), ["h"])
        self.assertGreater(found.objective, found.record["start_objective"])
        with self.assertRaises(KeyError):
            found.perms["g"]

    def test_an_alignment_keeps_the_function(self) -> None:
        b, x = perceptron(7), np.random.default_rng(3).normal(size=(20, 8)).astype(np.float32)
        found = onebasin.match(self.a, b, self.symmetry)
        np.testing.assert_allclose(computed(found.apply(b), x), computed(b, x), rtol=1e-5, atol=1e-5)

    def test_alignments_are_a_group(self) -> None:
        found = onebasin.match(self.a, perceptron(7), self.symmetry)
        back = found.inverse()
        self.assertTrue(back.compose(found).is_identity)
        twice = found.compose(found).apply(self.b)
        for name, tensor in found.apply(found.apply(self.b)).items():
            np.testing.assert_array_equal(tensor, twice[name])

    def test_it_is_kept_in_a_file_and_in_a_pickle(self) -> None:
        found = onebasin.match(self.a, self.b, self.symmetry)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "alignment.safetensors"
            found.save(path)
            for b in (self.b, self.symmetry):
                read = onebasin.Alignment.load(path, b) if b is self.symmetry else onebasin.Alignment.load(path, b, self.symmetry)
                np.testing.assert_array_equal(read.perms["h"], found.perms["h"])
                self.assertIs(read.symmetry, self.symmetry)
        self.assertIs(found.inverse().symmetry, self.symmetry)
        copied = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(copied.perms["h"], found.perms["h"])
        self.assertEqual(copied.objective, found.objective)

    def test_the_same_bytes_for_any_number_of_threads(self) -> None:
        program = (
            "import onebasin, numpy as np, hashlib; from tests.support import *; a, b = perceptron(0, 300), perceptron(1, 300);"
            "s = onebasin.symmetry(PATTERNS, params=a);"
            "print(hashlib.sha256(onebasin.merge(a, b, s)['up'].tobytes()).hexdigest())"
        )
        found = set()
        for threads in ("1", "3"):
            env = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
            found.add(subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True).stdout)
        self.assertEqual(len(found), 1)

    def test_nothing_is_printed(self) -> None:
        rng = np.random.default_rng(0)
        mlp = {"fc1.weight": (16, 8), "fc1.bias": (16,), "fc2.weight": (3, 16), "fc2.bias": (3,)}
        a, b = ({name: rng.normal(size=shape).astype("f4") for name, shape in mlp.items()} for _ in range(2))
        symmetry, x = onebasin.symmetry("mlp:16x1", params=a), rng.normal(size=(64, 8)).astype("f4")

        def told(shell: Any) -> tuple[str, str]:
            """What is written of a match that has steps to tell of, where IPython is loaded and this is what it runs in."""
            ipython = ModuleType("IPython")
            ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("ignore", onebasin.Note)
                with unittest.mock.patch.dict(sys.modules, {"IPython": ipython, "ipykernel": ModuleType("ipykernel")}):
                    onebasin.match(a, b, symmetry, method="activation", data=x)
            return out.getvalue(), err.getvalue()

        self.assertEqual(told(None), ("", ""))
        try:
            import tqdm  # noqa: F401
        except ImportError:
            return
        self.assertIn("activations", told(SimpleNamespace(kernel=object()))[1])

    def test_errors_have_classes_and_say_what_to_do(self) -> None:
        with self.assertRaisesRegex(onebasin.SymmetryError, r"onebasin\.symmetry\(module, example\)"):
            onebasin.match(self.a, self.b)
        with self.assertRaisesRegex(onebasin.Error, r"`up`.*\[8, 8\]|\[8, 8\].*`up`") as caught:
            onebasin.match(self.a, perceptron(1, 8), self.symmetry)
        self.assertIsInstance(caught.exception, ValueError)
        self.assertEqual(caught.exception.kind, "Structure")
        broken = {**self.b, "up": np.full_like(self.b["up"], np.nan)}
        with self.assertRaisesRegex(onebasin.Error, "`up`"):
            onebasin.match(self.a, broken, self.symmetry)
        with self.assertRaisesRegex(ValueError, "unknown variant `magic`"):
            onebasin.match(self.a, self.b, self.symmetry, method="magic")
        with self.assertRaisesRegex(ValueError, "unknown field `sweps`"):
            onebasin.match(self.a, self.b, self.symmetry, sweps=3)
        with self.assertRaises(onebasin.FormatError):
            onebasin.match("nowhere.safetensors", "nowhere.safetensors")
        with self.assertRaisesRegex(onebasin.SymmetryError, "`dwon`"):
            onebasin.symmetry({**PATTERNS, "dwon": ". h"}, params=self.a)

    def test_a_wrong_symmetry_is_refused_where_the_network_runs(self) -> None:
        mlp = {"fc1.weight": (16, 8), "fc1.bias": (16,), "fc2.weight": (16, 16), "fc2.bias": (16,), "fc3.weight": (3, 16), "fc3.bias": (3,)}
        rng = np.random.default_rng(0)
        a, b = ({name: rng.normal(size=shape).astype("f4") for name, shape in mlp.items()} for _ in range(2))
        right = onebasin.symmetry("mlp:16x2", params=a)
        self.assertTrue(right.check().passes)
        self.assertEqual([group.name for group in right.groups], ["fc1", "fc2"])
        self.assertTrue(any("fc1" in line for line in right.why("fc1.weight", 0)))
        self.assertIn("<table>", right._repr_html_())
        self.assertIn(">fc1.weight, fc2.weight, fc1.bias<", right._repr_html_())
        merged = onebasin.merge(a, b, right)
        self.assertEqual(list(merged), list(a))

    def test_progress_is_heard_and_what_it_raises_comes_out(self) -> None:
        class Enough(Exception):
            pass

        x = np.random.default_rng(0).normal(size=(4000, 8)).astype("f4")
        rng = np.random.default_rng(0)
        shapes = {"fc1.weight": (64, 8), "fc1.bias": (64,), "fc2.weight": (64, 64), "fc2.bias": (64,), "fc3.weight": (3, 64), "fc3.bias": (3,)}
        a, b = ({name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()} for _ in range(2))
        symmetry = onebasin.symmetry("mlp:64x2", params=a)
        heard: list[str] = []
        onebasin.match(a, b, symmetry, method="activation", data=x, progress=lambda step, *_: heard.append(step))
        self.assertIn("activations", heard)

        def stop(*_: object) -> None:
            raise Enough

        with self.assertRaises(Enough):
            onebasin.match(a, b, symmetry, method="activation", data=x, progress=stop)

    def test_other_threads_run_meanwhile_and_a_signal_stops_it(self) -> None:
        rng = np.random.default_rng(0)
        a, b = ({"up": rng.normal(size=(6000, 400)), "down": rng.normal(size=(400, 6000))} for _ in range(2))
        symmetry = onebasin.symmetry({"up": "h .", "down": ". h"}, params=a)
        steps, goes_on = [0], [True]

        def count() -> None:
            while goes_on[0]:
                steps[0] += 1
                time.sleep(0.001)

        thread = threading.Thread(target=count)
        thread.start()
        sent: list[float] = []

        def interrupt() -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(0.5, interrupt)
        timer.start()
        try:
            with self.assertRaises(KeyboardInterrupt):
                onebasin.match(a, b, symmetry)
                time.sleep(2)  # a machine so fast that the match is over hears of the signal here
        finally:
            took = time.monotonic() - sent[0]
            goes_on[0] = False
            thread.join()
        self.assertGreater(steps[0], 20)
        self.assertLess(took, 1.0)
