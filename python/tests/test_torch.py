"""Networks of torch modules: what is merged loads, and what is moved computes what it did; torch is the judge."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
import warnings
from typing import Any

import onebasin

from .support import needs


class Torch(unittest.TestCase):
    def setUp(self) -> None:
        self.torch = needs("torch")
        warnings.simplefilter("ignore", onebasin.Note)

    def each(self, kind: Any) -> None:
        from . import networks

        torch = self.torch
        a, b = networks.trained(kind, 0), networks.trained(kind, 1)
        a.train()
        before = {name: tensor.clone() for name, tensor in a.state_dict().items()}
        symmetry = onebasin.symmetry(a, kind.example)
        self.assertTrue(a.training, "the flags of the module are as they were")
        for name, tensor in a.state_dict().items():
            self.assertTrue(torch.equal(tensor, before[name]), name)
        self.assertEqual(sum(group.size * group.copies for group in symmetry.groups), kind.units, symmetry.patterns)
        self.assertTrue(symmetry.check().passes, symmetry.check())

        found = onebasin.match(a.state_dict(), b.state_dict(), symmetry)
        moved = networks.trained(kind, 2)
        moved.load_state_dict(found.apply(b.state_dict()))
        with torch.no_grad():
            expected, computed = b(networks.inputs(kind, 3)), moved(networks.inputs(kind, 3))
        self.assertLess(float((expected - computed).abs().max() / expected.abs().max()), 1e-5)
        self.assertFalse(found.is_identity)

        merged = onebasin.merge(a.state_dict(), b.state_dict(), symmetry)
        self.assertEqual(list(merged), list(a.state_dict()))
        moved.load_state_dict(merged)

        # The same network under another numbering comes back to the bit.
        hidden = onebasin.match(a.state_dict(), b.state_dict(), symmetry, method="greedy").apply(a.state_dict())
        again = onebasin.match(a.state_dict(), hidden, symmetry).apply(hidden)
        for name, tensor in a.state_dict().items():
            self.assertTrue(torch.equal(again[name], tensor), name)

    def test_resnet(self) -> None:
        from . import networks

        self.each(networks.ResNet)

    def test_unet(self) -> None:
        from . import networks

        self.each(networks.UNet)

    def test_vit(self) -> None:
        from . import networks

        self.each(networks.ViT)

    def test_gpt(self) -> None:
        from . import networks

        self.each(networks.GPT)

    def test_encoder(self) -> None:
        from . import networks

        self.each(networks.Encoder)
        self.assertTrue(self.torch.backends.mha.get_fastpath_enabled(), "as it was")

    def test_an_export_prints_nothing_where_tracing_fails(self) -> None:
        program = (
            "import torch, onebasin\n"
            "class Odd(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.one, self.two = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)\n"
            "    def forward(self, x):\n"
            "        return self.two(torch._softmax_backward_data(self.one(x), self.one(x), -1, torch.float32))\n"
            "print('before')\n"
            "try: onebasin.symmetry(Odd(), torch.zeros(1, 4))\n"
            "except ValueError: pass\n"
            "print('after')\n"
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], env=env, capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("before\nafter\n", ""))

    def test_lstm(self) -> None:
        from . import networks

        self.each(networks.LSTM)

    def test_modules_and_loaders_are_taken_as_they_are(self) -> None:
        from . import networks

        torch = self.torch
        a, b = networks.trained(networks.ResNet, 0), networks.trained(networks.ResNet, 1)
        symmetry = onebasin.symmetry(a, networks.ResNet.example)
        x, y = networks.inputs(networks.ResNet, 5, 64), torch.randint(0, 10, (64,))
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
        found = onebasin.match(a, b, symmetry, method="activation", data=loader)
        way = onebasin.barrier(a, b, found, data=loader, points=3, batch_norm_samples=0)
        with torch.no_grad():
            loss = float(torch.nn.functional.cross_entropy(a(x), y))
        self.assertAlmostEqual(float(way["naive"].loss[0]), loss, places=4)

        def evaluate(state: Any) -> tuple[float, float]:
            net = networks.ResNet()
            net.load_state_dict(state)
            with torch.no_grad():
                logits = net.eval()(x)
            return float(torch.nn.functional.cross_entropy(logits, y)), float((logits.argmax(1) == y).float().mean())

        called = onebasin.barrier(a, b, found, evaluate=evaluate, points=3)
        self.assertAlmostEqual(float(called["naive"].loss[0]), loss, places=5)
        solved = onebasin.merge(a, b, found, data=loader, repair="solve")
        self.assertLess(evaluate(solved)[0], 100.0)

    def test_a_module_needs_an_example(self) -> None:
        with self.assertRaisesRegex(TypeError, "example inputs"):
            onebasin.symmetry(self.torch.nn.Linear(2, 2))
        with self.assertRaisesRegex(ValueError, "could not be exported"):
            onebasin.symmetry(self.torch.nn.Linear(2, 2), self.torch.zeros(1, 3))
