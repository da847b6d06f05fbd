"""Arrays go in and come out as what they were."""

from __future__ import annotations

import unittest
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onebasin
from onebasin import _arrays

from .support import PATTERNS, needs, perceptron, renumbered


class Arrays(unittest.TestCase):
    def test_what_comes_in_goes_out(self) -> None:
        a = OrderedDict(perceptron(0))
        moved = onebasin.match(a, perceptron(1), onebasin.symmetry(PATTERNS, params=a)).apply(a)
        self.assertIs(type(moved), OrderedDict)
        self.assertEqual(list(moved), list(a))
        for name in a:
            self.assertEqual((moved[name].dtype, moved[name].shape), (a[name].dtype, a[name].shape))
            self.assertTrue(moved[name].flags.writeable)
            self.assertFalse(np.shares_memory(moved[name], a[name]))

    def test_nested_trees_keep_their_nesting(self) -> None:
        flat = perceptron(0)
        tree = {"params": {"first": {"kernel": flat["up"].T, "bias": flat["bias"]}, "last": [{"kernel": flat["down"].T}]}}
        patterns = {"params/first/kernel": ". h", "params/first/bias": "h", "params/last/0/kernel": "h ."}
        symmetry = onebasin.symmetry(patterns, params=tree)
        self.assertEqual([tuple(group) for group in symmetry.groups], [("h", 16, None, 1)])
        other, order = renumbered(flat, 5)
        b = {"params": {"first": {"kernel": other["up"].T, "bias": other["bias"]}, "last": [{"kernel": other["down"].T}]}}
        merged = onebasin.merge(tree, b, symmetry)
        np.testing.assert_array_equal(merged["params"]["first"]["kernel"], flat["up"].T)
        np.testing.assert_array_equal(merged["params"]["last"][0]["kernel"], flat["down"].T)

    def test_nothing_is_copied_on_the_way_in(self) -> None:
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        (_, dtype, shape, data), = _arrays.taken({"w": array}, "a").items
        self.assertEqual((dtype, shape), ("f32", (3, 4)))
        self.assertEqual(data.ctypes.data, array.ctypes.data)
        strided = _arrays.taken({"w": array.T}, "a").items[0]
        np.testing.assert_array_equal(strided[3].view(np.float32).reshape(4, 3), array.T)

    def test_every_element_type_keeps_its_bits(self) -> None:
        rng = np.random.default_rng(0)
        for name, short in _arrays.DTYPES.items():
            if short not in _arrays.NUMPY:
                continue
            array = rng.integers(0, 2, size=6).astype(name)
            item = _arrays.taken({"w": array}, "a")
            with TemporaryDirectory() as folder:
                onebasin.save(Path(folder) / "w.safetensors", {"w": array, "one": array[:1].reshape(())})
                read = onebasin.load(Path(folder) / "w.safetensors")
            self.assertEqual(read["w"].dtype, array.dtype)
            np.testing.assert_array_equal(read["w"], array)
            self.assertEqual((item.items[0][1], read["one"].shape), (short, ()))
        big = np.arange(4, dtype=">f4")
        np.testing.assert_array_equal(_arrays.taken({"w": big}, "a").items[0][3].view("<f4"), big)

    def test_what_is_no_tensor_is_named(self) -> None:
        a = perceptron(0)
        for wrong, said in [
            ({**a, "epoch": "three"}, "`epoch` of a is a str"),
            ({**a, "w": np.array([object()])}, "`w` has elements of type object"),
            ({**a, "w": np.zeros(2, dtype=complex)}, "complex"),
            ({}, "a holds no tensors"),
            (3, "a must be a mapping"),
        ]:
            with self.subTest(said=said), self.assertRaisesRegex(TypeError, said):
                onebasin.match(wrong, a, onebasin.symmetry(PATTERNS, params=a))

    def test_torch_tensors(self) -> None:
        torch = needs("torch")
        state = {
            "plain": torch.arange(6.0).reshape(2, 3),
            "view": torch.arange(6.0).reshape(2, 3).T,
            "half": torch.arange(4.0).to(torch.bfloat16),
            "parameter": torch.nn.Parameter(torch.ones(3, dtype=torch.float16)),
            "steps": torch.tensor(5),
            "mask": torch.tensor([True, False]),
        }
        tree = _arrays.taken(state, "a")
        self.assertEqual(tree.items[0][3].ctypes.data, state["plain"].data_ptr())
        self.assertEqual([item[1] for item in tree.items], ["f32", "f32", "bf16", "f16", "i64", "bool"])
        back = tree.like([(name, dtype, shape, data.copy()) for name, dtype, shape, data in tree.items])
        for name, tensor in state.items():
            self.assertEqual(back[name].dtype, tensor.dtype)
            self.assertTrue(torch.equal(back[name], tensor.detach()))
        with self.assertRaisesRegex(TypeError, r"lies on meta; bring the network .*tensor.cpu\(\)"):
            _arrays.taken({"w": torch.zeros(2, device="meta")}, "a")
        with self.assertRaisesRegex(TypeError, "sparse"):
            _arrays.taken({"w": torch.eye(2).to_sparse()}, "a")

    def test_jax_arrays(self) -> None:
        jax = needs("jax")
        state = {"w": jax.numpy.arange(6.0).reshape(2, 3), "half": jax.numpy.ones(3, dtype="bfloat16")}
        tree = _arrays.taken(state, "a")
        back = tree.like([(name, dtype, shape, data.copy()) for name, dtype, shape, data in tree.items])
        for name, array in state.items():
            self.assertEqual((type(back[name]), back[name].dtype), (type(array), array.dtype))
            np.testing.assert_array_equal(np.asarray(back[name], dtype="f4"), np.asarray(array, dtype="f4"))
