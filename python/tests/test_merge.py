"""Two networks, or many, become one; the way between them is measured."""

from __future__ import annotations

import unittest
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onebasin

from .support import PATTERNS, computed, needs, perceptron, renumbered


class Merge(unittest.TestCase):
    def setUp(self) -> None:
        self.a, self.b = perceptron(0), perceptron(1)
        self.symmetry = onebasin.symmetry(PATTERNS, params=self.a)
        self.found = onebasin.match(self.a, self.b, self.symmetry)

    def test_the_ends_are_the_networks(self) -> None:
        moved = self.found.apply(self.b)
        for lam, end in ((0.0, self.a), (1.0, moved)):
            merged = onebasin.merge(self.a, self.b, self.found, lam=lam, symmetry=self.symmetry)
            for name in end:
                np.testing.assert_array_equal(merged[name], end[name])
        middle = onebasin.merge(self.a, self.b, self.found, symmetry=self.symmetry)
        np.testing.assert_allclose(middle["up"], (self.a["up"] + moved["up"]) / 2, rtol=1e-6)

    def test_merging_finds_the_alignment_itself(self) -> None:
        one = onebasin.merge(self.a, self.b, self.symmetry, seed=0)
        two = onebasin.merge(self.a, self.b, self.found, symmetry=self.symmetry)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
        with self.assertRaisesRegex(TypeError, "options of a match"):
            onebasin.merge(self.a, self.b, self.found, symmetry=self.symmetry, method="weight")

    def test_files_and_arrays_give_the_same(self) -> None:
        with TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{name}.safetensors" for name in "ab"]
            onebasin.save(paths[0], self.a)
            onebasin.save(paths[1], self.b)
            output = Path(folder) / "merged.safetensors"
            self.assertEqual(onebasin.merge(*paths, self.symmetry, output=output), output)
            written, merged = onebasin.load(output), onebasin.merge(self.a, self.b, self.symmetry)
            self.assertEqual(set(written), set(merged))
            for name in merged:
                np.testing.assert_array_equal(written[name], merged[name])
            with self.assertRaises(onebasin.FormatError):
                onebasin.merge(*paths, self.symmetry, output=Path(folder) / "merged.npz")

    def test_notes_are_warnings(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            onebasin.merge(self.a, self.b, self.symmetry)
        self.assertTrue(all(issubclass(one.category, onebasin.Note) for one in caught), caught)
        self.assertIn("the symmetry was not tested", str(caught[0].message))

    def test_many_networks(self) -> None:
        networks = [self.a, *(renumbered(self.a, seed)[0] for seed in range(1, 4))]
        for method in ("rounds", "reference", "tree", "universe"):
            mean = onebasin.merge_many(networks, self.symmetry, method=method)
            np.testing.assert_allclose(mean.params["up"], self.a["up"], rtol=1e-6)
            self.assertEqual(len(mean.alignments), 4)
        first = onebasin.merge_many([self.a, self.b], self.symmetry, weights=[1, 0])
        np.testing.assert_array_equal(first.params["up"], self.a["up"])
        heavier = onebasin.merge_many([self.a, self.b], self.symmetry, weights=[3, 1], method="reference")
        moved = heavier.alignments[1].apply(self.b)
        np.testing.assert_allclose(heavier.params["up"], 0.75 * self.a["up"] + 0.25 * moved["up"], rtol=1e-5, atol=1e-6)
        again = onebasin.merge_many(networks, self.symmetry, start=mean.alignments)
        self.assertEqual(again.found["rounds"][0]["changed_models"], 0)
        for wrong, said in (([1.0], "one for every network"), ([-1, 1], "numbers from 0"), ([0, 0], "above 0")):
            with self.assertRaisesRegex(onebasin.Error, said):
                onebasin.merge_many([self.a, self.b], self.symmetry, weights=wrong)
        with self.assertRaisesRegex(onebasin.Error, "rounds or reference"):
            onebasin.merge_many(networks, self.symmetry, method="tree", start=mean.alignments)

    def test_a_barrier_by_a_function(self) -> None:
        x = np.random.default_rng(5).normal(size=(50, 8)).astype("f4")
        target = computed(self.a, x)
        copy, _ = renumbered(self.a, 9)
        found = onebasin.match(self.a, copy, self.symmetry)
        loss = lambda net: float(((computed(net, x) - target) ** 2).mean())  # noqa: E731
        way = onebasin.barrier(self.a, copy, found, evaluate=loss, points=5)
        self.assertEqual(list(way.curves), ["naive", "aligned"])
        self.assertGreater(way.barriers["naive"], 0.1)
        self.assertLess(way.barriers["aligned"], 1e-6)
        self.assertIsNone(way["naive"].accuracy)
        self.assertIn("barrier", str(way))
        with self.assertRaisesRegex(TypeError, "evaluate"):
            onebasin.barrier(self.a, copy, found)

    def test_a_barrier_on_data(self) -> None:
        rng = np.random.default_rng(0)
        shapes = {"fc1.weight": (32, 8), "fc1.bias": (32,), "fc2.weight": (3, 32), "fc2.bias": (3,)}
        a, b = ({name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()} for _ in range(2))
        x, y = rng.normal(size=(200, 8)).astype("f4"), rng.integers(0, 3, size=200)
        symmetry = onebasin.symmetry("mlp:32x1", params=a)
        found = onebasin.match(a, b, symmetry, data=(x, y), method="activation")
        batches = [(x[k : k + 50], y[k : k + 50]) for k in range(0, 200, 50)]
        whole = onebasin.barrier(a, b, found, data=(x, y), symmetry=symmetry, points=3)
        split = onebasin.barrier(a, b, found, data=batches, symmetry=symmetry, points=3)
        np.testing.assert_array_equal(whole["aligned"].loss, split["aligned"].loss)
        logits = np.maximum(x @ a["fc1.weight"].T + a["fc1.bias"], 0) @ a["fc2.weight"].T + a["fc2.bias"]
        self.assertAlmostEqual(float((logits.argmax(1) == y).mean()), float(whole["naive"].accuracy[0]), places=6)
        solved = onebasin.merge(a, b, found, data=x, symmetry=symmetry, repair="solve")
        self.assertEqual(list(solved), list(a))

    def test_curves_can_be_drawn(self) -> None:
        needs("matplotlib").use("agg")
        way = onebasin.barrier(self.a, self.b, self.found, evaluate=lambda net: float(net["up"].sum()), points=3)
        self.assertEqual(len(way.plot().lines), 2)
