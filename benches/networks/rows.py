"""Networks in which values are put together as rows and then used in every way that could tell the rows apart or mix them, as ONNX
files by both of torch's exporters.

    python rows.py FOLDER
    ONEBASIN=target/release/onebasin python evaluate.py FOLDER/*.onnx

Needs torch, onnx and onnxscript.
"""

import logging
import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


class Rows(nn.Module):
    """Three layers as rows of one matrix; `use` is what is made of it, with `parts` to make it with."""

    def __init__(self, use, **parts):
        super().__init__()
        self.layers, self.out = nn.ModuleList([nn.Linear(6, 8) for _ in range(3)]), nn.Linear(8, 3)
        self.use = use
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.use(self, torch.stack([F.relu(layer(x)) for layer in self.layers], 1))


def tensor(*shape):
    return nn.Parameter(torch.randn(shape))


def networks():
    linear = nn.Linear
    yield "softsum", Rows(lambda s, z: s.out((z.softmax(1) * z).sum(1)))
    yield "norm", Rows(lambda s, z: s.out(s.n(z).sum(1)), n=nn.LayerNorm(8))
    yield "normall", Rows(lambda s, z: s.f(s.n(z).flatten(1)), n=nn.LayerNorm([3, 8]), f=linear(24, 3))
    yield "conv", Rows(lambda s, z: s.k(z.transpose(1, 2)).flatten(1), k=nn.Conv1d(8, 5, 2))
    yield "convrows", Rows(lambda s, z: s.out(s.k(z)).flatten(1), k=nn.Conv1d(3, 5, 1))
    yield "sum", Rows(lambda s, z: s.out(z.sum(1)))
    yield "max", Rows(lambda s, z: s.out(z.amax(1)))
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    yield "mha", Rows(lambda s, z: s.out(s.m(z, z, z, need_weights=False)[0]).flatten(1), m=attention)
    yield "gru", Rows(lambda s, z: s.out(s.g(z)[0][:, -1]), g=nn.GRU(8, 8, batch_first=True))
    yield "flat", Rows(lambda s, z: s.f(z.flatten(1)), f=linear(24, 3))
    yield "flatt", Rows(lambda s, z: s.f(z.transpose(1, 2).flatten(1)), f=linear(24, 3))
    yield "pick", Rows(lambda s, z: s.out(z[:, 0]) + s.f(z[:, 1]) * z[:, 2].mean(1, keepdim=True), f=linear(8, 3))
    yield "pair", Rows(lambda s, z: s.out(z[:, 0] * z[:, 2]) + s.out(z[:, 1]))
    yield "cum", Rows(lambda s, z: s.out(z.cumsum(1)).flatten(1))
    yield "cumf", Rows(lambda s, z: s.f(z.cumsum(1).flatten(1)), f=linear(24, 3))
    yield "fm", Rows(lambda s, z: (z.sum(1) ** 2 - (z**2).sum(1)).sum(1, keepdim=True) / 2)
    yield "bmm", Rows(lambda s, z: s.f((z @ z.transpose(1, 2)).flatten(1)), f=linear(9, 3))
    yield "cross", Rows(lambda s, z: s.f((z.transpose(1, 2) @ z).flatten(1)), f=linear(64, 3))
    yield "flip", Rows(lambda s, z: s.f((z * z.flip(1)).flatten(1)), f=linear(24, 3))
    yield "roll", Rows(lambda s, z: s.f((z + torch.roll(z, 1, 1)).flatten(1)), f=linear(24, 3))
    yield "padr", Rows(lambda s, z: s.f(F.pad(z, (0, 0, 1, 0)).flatten(1)), f=linear(32, 3))
    yield "pool", Rows(lambda s, z: s.f(F.max_pool1d(z.transpose(1, 2), 2, 1).flatten(1)), f=linear(16, 3))
    twice = lambda z: F.interpolate(z.transpose(1, 2), scale_factor=2, mode="nearest")  # noqa: E731
    yield "interp", Rows(lambda s, z: s.f(twice(z).flatten(1)), f=linear(48, 3))
    yield "scale", Rows(lambda s, z: s.f((z * s.w * s.v).flatten(1)), w=tensor(3, 1), v=tensor(1, 8), f=linear(24, 3))
    yield "scaler", Rows(lambda s, z: s.f((z * s.v).flatten(1)), v=tensor(3, 8), f=linear(24, 3))
    yield "ein", Rows(lambda s, z: torch.einsum("bid,ido->bo", z, s.v), v=tensor(3, 8, 5))
    yield "ein2", Rows(lambda s, z: s.f(torch.einsum("bid,ido->bio", z, s.v).flatten(1)), v=tensor(3, 8, 5), f=linear(15, 2))
    yield "sort", Rows(lambda s, z: s.f(z.topk(2, 1)[0].flatten(1)), f=linear(16, 3))


def main(folder):
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    traced = {"dynamo": False, "do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
    for name, network in networks():
        for short, how in (("l", traced), ("d", {"dynamo": True, "verbose": False})):
            path = Path(folder) / f"{name}.{short}.onnx"
            torch.onnx.export(network.eval(), (torch.randn(2, 6),), str(path), opset_version=18, **how)


if __name__ == "__main__":
    main(sys.argv[1])
