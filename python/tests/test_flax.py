"""Networks of Flax modules; JAX is the judge."""

from __future__ import annotations

import unittest
import warnings
from typing import Any

import onebasin

from .support import needs


class Flax(unittest.TestCase):
    def setUp(self) -> None:
        self.jax, self.nn = needs("jax"), needs("flax.linen")
        needs("jax2onnx")
        warnings.simplefilter("ignore", onebasin.Note)

    def each(self, module: Any, example: Any, units: int) -> None:
        jax = self.jax
        key = jax.random.PRNGKey
        a, b = (module.init(key(seed), example) for seed in range(2))
        symmetry = onebasin.symmetry(module, example, params=a)
        self.assertEqual(sum(group.size * group.copies for group in symmetry.groups), units, symmetry.patterns)
        self.assertTrue(symmetry.check().passes, symmetry.check())
        found = onebasin.match(a, b, symmetry)
        moved = found.apply(b)
        x = jax.random.normal(key(2), (6, *example.shape[1:]))
        expected, computed = module.apply(b, x), module.apply(moved, x)
        self.assertLess(float(abs(expected - computed).max() / abs(expected).max()), 1e-5)
        merged = onebasin.merge(a, b, symmetry)
        self.assertEqual(jax.tree_util.tree_structure(merged), jax.tree_util.tree_structure(a))
        self.assertEqual(module.apply(merged, x).shape, expected.shape)

    def test_perceptron(self) -> None:
        nn = self.nn

        class MLP(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                x = nn.relu(nn.Dense(16)(x))
                return nn.Dense(3)(nn.relu(nn.Dense(24)(x)))

        self.each(MLP(), self.jax.numpy.zeros((2, 8)), 16 + 24)

    def test_convolutions(self) -> None:
        nn = self.nn

        class CNN(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                x = nn.max_pool(nn.relu(nn.Conv(8, (3, 3))(x)), (2, 2), strides=(2, 2))
                x = nn.relu(nn.Conv(12, (3, 3))(x))
                x = nn.relu(nn.Dense(20)(x.reshape((x.shape[0], -1))))
                return nn.Dense(5)(x)

        self.each(CNN(), self.jax.numpy.zeros((2, 8, 8, 3)), 8 + 12 + 20)

    def test_modules_that_hold_their_parameters(self) -> None:
        nnx = needs("flax.nnx")
        jax = self.jax

        class Net(nnx.Module):
            def __init__(self, seed: int) -> None:
                rngs = nnx.Rngs(seed)
                self.up, self.norm = nnx.Linear(8, 16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs)
                self.drop, self.down = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)

            def __call__(self, x: Any) -> Any:
                return self.down(self.drop(jax.nn.relu(self.norm(self.up(x)))))

        a, b, x = Net(0), Net(1), jax.random.normal(jax.random.PRNGKey(2), (6, 8))
        symmetry = onebasin.symmetry(a, x)
        self.assertEqual([group.size for group in symmetry.groups], [16])
        b.eval()
        expected = b(x)
        nnx.update(b, onebasin.match(a, b, symmetry).apply(b))
        self.assertLess(float(abs(expected - b(x)).max() / abs(expected).max()), 1e-5)
        nnx.update(a, onebasin.merge(a, b, symmetry))
        self.assertEqual(a(x).shape, (6, 3))

    def test_a_module_needs_an_example_and_parameters(self) -> None:
        with self.assertRaisesRegex(TypeError, "params="):
            onebasin.symmetry(self.nn.Dense(3), self.jax.numpy.zeros((1, 2)))
