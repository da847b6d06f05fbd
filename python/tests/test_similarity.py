"""Similarities of the caller's own, recorded activations, and symmetries begun from shapes."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np

import onebasin

from .support import PATTERNS, needs, perceptron, renumbered


class Rows(onebasin.Source):
    """Units are alike where their incoming weights are; told of one group, given the others."""

    def __init__(self, a: dict[str, Any], b: dict[str, Any]) -> None:
        self.a, self.b, self.asked = a, b, 0

    def grams(self, group: str, alignment: onebasin.Alignment) -> Any:
        self.asked += 1
        assert isinstance(alignment, onebasin.Alignment)
        return self.a["up"] @ self.b["up"].T

    def objective(self, alignment: onebasin.Alignment) -> float:
        return float(np.sum(self.a["up"] * self.b["up"][alignment.perms["h"]]))


class Sources(unittest.TestCase):
    def setUp(self) -> None:
        self.a = perceptron(0)
        self.b, self.order = renumbered(self.a, 1)
        self.symmetry = onebasin.symmetry(PATTERNS, params=self.a)

    def test_a_similarity_of_ones_own_decides(self) -> None:
        source = Rows(self.a, self.b)
        alignment = onebasin.match(self.a, self.b, self.symmetry, method=source)
        np.testing.assert_array_equal(alignment.apply(self.b)["down"], self.a["down"])
        self.assertEqual((alignment.record or {})["compared"], "a similarity of the caller's own")
        self.assertGreater(source.asked, 0)

    def test_what_it_raises_comes_out_as_it_is(self) -> None:
        class Broken(Rows):
            def grams(self, group: str, alignment: onebasin.Alignment) -> Any:
                raise ZeroDivisionError(group)

        with self.assertRaisesRegex(ZeroDivisionError, "h"):
            onebasin.match(self.a, self.b, self.symmetry, method=Broken(self.a, self.b))

    def test_what_is_no_similarity_is_refused(self) -> None:
        for gram, error in [
            (np.zeros((3, 4)), "square"),
            (np.zeros((3, 3)), "16 × 16"),
            (np.full((16, 16), np.nan), "NaN"),
            ({("h", "k"): np.zeros((16, 16))}, "no group `k`"),
        ]:
            source = Rows(self.a, self.b)
            source.grams = lambda group, alignment, gram=gram: gram  # type: ignore[method-assign]
            with self.assertRaisesRegex(ValueError, error):
                onebasin.match(self.a, self.b, self.symmetry, method=source)

    def test_groups_that_depend_on_each_other_are_asked_until_none_gains(self) -> None:
        rng = np.random.default_rng(0)
        a = {"one": rng.normal(size=(12, 6)), "two": rng.normal(size=(10, 12)), "three": rng.normal(size=(2, 10))}
        p, q = rng.permutation(12), rng.permutation(10)
        b = {"one": a["one"][p], "two": a["two"][q][:, p], "three": a["three"][:, q]}
        symmetry = onebasin.symmetry({"one": "g .", "two": "h g", "three": ". h"}, params=a)

        class Whole(onebasin.Source):
            def grams(self, group: str, alignment: onebasin.Alignment) -> Any:
                if group == "g":
                    return a["one"] @ b["one"].T + a["two"].T @ b["two"][alignment.perms["h"]]
                return a["two"] @ b["two"][:, alignment.perms["g"]].T + a["three"].T @ b["three"]

            def objective(self, alignment: onebasin.Alignment) -> float:
                moved = alignment.apply(b)
                return float(sum(np.sum(a[name] * moved[name]) for name in a))

        found = onebasin.match(a, b, symmetry, method=Whole())
        same = onebasin.match(a, b, symmetry, method="weight", start="identity", restarts=1)
        self.assertGreater((found.record or {})["objective"], (found.record or {})["start_objective"])
        for group in ("g", "h"):
            np.testing.assert_array_equal(found.perms[group], same.perms[group])


class Recorded(unittest.TestCase):
    def test_batches_add_up_to_an_alignment(self) -> None:
        a = perceptron(0)
        b, _ = renumbered(a, 1)
        symmetry = onebasin.symmetry(PATTERNS, params=a)
        seen = onebasin.Activations(symmetry, {"hidden": ". h"})
        rng = np.random.default_rng(2)
        hidden = lambda net, x: {"hidden": np.maximum(x @ net["up"].T + net["bias"], 0)}  # noqa: E731
        for size in (40, 40, 13):
            x = rng.normal(size=(size, 8)).astype(np.float32)
            seen.update(hidden(a, x), hidden(b, x))
        alignment = onebasin.match(a, b, symmetry, method=seen)
        np.testing.assert_array_equal(alignment.apply(b)["up"], a["up"])
        self.assertGreater((alignment.record or {})["correlation"][0]["correlation"], 0.99)

    def test_what_does_not_fit_is_refused(self) -> None:
        a = perceptron(0)
        symmetry = onebasin.symmetry(PATTERNS, params=a)
        seen = onebasin.Activations(symmetry, {"hidden": ". h"})
        with self.assertRaisesRegex(onebasin.Error, "no sample of activations `hidden`"):
            onebasin.match(a, a | {"up": a["up"] + 1}, symmetry, method=seen)
        with self.assertRaisesRegex(KeyError, "no `hidden` of B"):
            seen.update({"hidden": np.zeros((2, 16))}, {})
        with self.assertRaisesRegex(ValueError, "same samples"):
            seen.update({"hidden": np.zeros((2, 16))}, {"hidden": np.zeros((3, 16))})
        with self.assertRaisesRegex(onebasin.Error, "hidden"):
            seen.update({"hidden": np.zeros((2, 15))}, {"hidden": np.zeros((2, 15))})
        with self.assertRaisesRegex(onebasin.Error, "hidden"):
            onebasin.Activations(symmetry, {"hidden": ". ("})

    def test_a_torch_network_is_recorded_by_its_submodules(self) -> None:
        torch = needs("torch")
        torch.manual_seed(0)
        make = lambda: torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))  # noqa: E731
        a, b = make(), make()
        order = torch.randperm(16)
        state = a.state_dict()
        b.load_state_dict(
            {"0.weight": state["0.weight"][order], "0.bias": state["0.bias"][order], "2.weight": state["2.weight"][:, order], "2.bias": state["2.bias"]}
        )
        symmetry = onebasin.symmetry({"0.weight": "h .", "0.bias": "h", "2.weight": ". h", "2.bias": "."}, params=state)
        seen = onebasin.Activations(symmetry, {"1": ". h"})
        seen.record(a, b, [(torch.randn(50, 8), torch.zeros(50)), torch.randn(20, 8)])
        moved = onebasin.match(a, b, symmetry, method=seen).apply(b.state_dict())
        self.assertTrue(torch.equal(moved["2.weight"], state["2.weight"]))
        self.assertTrue(a.training and b.training)

    def test_a_network_with_a_graph_has_taps(self) -> None:
        rng = np.random.default_rng(0)
        sizes = [("fc1", 8, 16), ("fc2", 16, 16), ("fc3", 16, 3)]
        params = {f"{name}.weight": rng.normal(size=(o, i)).astype(np.float32) for name, i, o in sizes}
        params |= {f"{name}.bias": np.zeros(o, dtype=np.float32) for name, _, o in sizes}
        symmetry = onebasin.symmetry("mlp:16x2", params=params)
        self.assertEqual(sorted(symmetry.taps.values()), [". fc1", ". fc2"])


class Templates(unittest.TestCase):
    def test_shapes_begin_a_symmetry_and_the_rest_is_said_to_be_open(self) -> None:
        params: dict[str, Any] = {"wte.weight": np.zeros((50, 8)), "head.weight": np.zeros((50, 8))}
        for layer in range(3):
            params |= {
                f"h.{layer}.up.weight": np.zeros((32, 8)),
                f"h.{layer}.up.bias": np.zeros(32),
                f"h.{layer}.down.weight": np.zeros((8, 32)),
                f"h.{layer}.norm.weight": np.zeros(8),
                f"h.{layer}.out.weight": np.zeros((8, 8)),
            }
        begun = onebasin.template(params)
        self.assertEqual(
            dict(begun),
            {
                "h.{l}.down.weight": "?8 ?h.{l}.up",
                "h.{l}.norm.weight": "?8",
                "h.{l}.out.weight": "?8 ?8",
                "h.{l}.up.bias": "?h.{l}.up",
                "h.{l}.up.weight": "?h.{l}.up ?8",
                "head.weight": "?50 ?8",
                "wte.weight": "?50 ?8",
            },
        )
        with self.assertRaisesRegex(onebasin.Error, "still open"):
            onebasin.symmetry(begun, params=params)
        with self.assertRaisesRegex(KeyError, r"\?8"):
            begun.fill({"?9": "stream"})
        symmetry = onebasin.symmetry(begun.fill({"?8": "stream", "?50": ".", "?h.{l}.up": "ffn{l}"}), params=params)
        self.assertEqual({group.name: group.size for group in symmetry.groups}, {"stream": 8, "ffn0": 32, "ffn1": 32, "ffn2": 32})
