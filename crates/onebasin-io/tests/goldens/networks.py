"""Exports the small networks of the tests from PyTorch.

    python networks.py FOLDER

Needs `torch` and `onnx`; the models here were made with torch 2.15 and onnx 1.23. The batch is left open; the outputs'
shapes are those for a batch of 1.
"""

import sys
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional as F


def conv_norm(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), act())


class Transformer(nn.Module):
    """Tokens, learned positions, a class token and layers of attention."""

    def __init__(self, layers, norm_first):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.position = nn.Parameter(0.1 * torch.randn(1, 5, 8))
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, 8))
        layer = lambda: nn.TransformerEncoderLayer(8, 2, 12, 0.0, F.gelu, batch_first=True, norm_first=norm_first)
        self.layers = nn.Sequential(*[layer() for _ in range(layers)])
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.layers(x))[:, 0])


class Recurrent(nn.Module):
    def __init__(self, cell, **options):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.cell = cell(6, 4, batch_first=True, **options)
        self.head = nn.Linear(8 if options.get("bidirectional") else 4, 3)

    def forward(self, x):
        return self.head(self.cell(self.embed(x))[0][:, -1])


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = conv_norm(3, 4), conv_norm(4, 8), conv_norm(8, 12)
        self.up2, self.join2 = nn.ConvTranspose2d(12, 8, 2, 2), conv_norm(16, 8)
        self.join1 = conv_norm(12, 4)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.middle(F.max_pool2d(b, 2))
        c = self.join2(torch.cat([b, self.up2(c)], 1))
        c = F.interpolate(c, size=a.shape[2:], mode="bilinear", align_corners=False)
        return self.out(self.join1(torch.cat([a, c], 1)))


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 1, 1)
        block = lambda n: nn.Sequential(nn.BatchNorm2d(n), nn.ReLU(), nn.Conv2d(n, 4, 3, 1, 1))
        self.first, self.second = nn.ModuleList([block(6), block(10)]), nn.ModuleList([block(7), block(11)])
        self.transition = nn.Sequential(nn.BatchNorm2d(14), nn.ReLU(), nn.Conv2d(14, 7, 1), nn.AvgPool2d(2))
        self.norm, self.head = nn.BatchNorm2d(15), nn.Linear(15, 3)

    def forward(self, x):
        x = self.stem(x)
        for block in self.first:
            x = torch.cat([x, block(x)], 1)
        x = self.transition(x)
        for block in self.second:
            x = torch.cat([x, block(x)], 1)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1), 1))


class Squeeze(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.expand = conv_norm(inputs, 12, 1, act=nn.Hardswish)
        self.depth = conv_norm(12, 12, 3, stride, 12, act=nn.Hardswish)
        self.squeeze = Squeeze(12)
        self.project = nn.Sequential(nn.Conv2d(12, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(self.squeeze(self.depth(self.expand(x))))
        return x + y if self.skip else y


def mobile_net():
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 3)]
    return nn.Sequential(conv_norm(3, 6, 3, 2, act=nn.ReLU6), Inverted(6, 8, 2), Inverted(8, 8, 1), *head)


class Shuffle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        depth = nn.Sequential(nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False), nn.BatchNorm2d(half))
        self.branch = nn.Sequential(conv_norm(half, half, 1), depth, conv_norm(half, half, 1))

    def forward(self, x):
        a, b = x.chunk(2, 1)
        x = torch.cat([a, self.branch(b)], 1)
        batch, channels, height, width = x.shape
        return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.blocks, self.head = conv_norm(3, 8), nn.Sequential(Shuffle(8), Shuffle(8)), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


class TimeFirst(nn.Module):
    """Rows are steps in time, which stand in front of the batch and are joined with it for the layers."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.embed(x.mean(1).transpose(0, 1)).relu().reshape(-1, 6)
        return self.head(self.mix(x).relu().reshape(8, -1, 6).amax(0))


class Expert(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(6, 5, bias), nn.Linear(6, 5, bias), nn.Linear(5, 6, bias)

    def forward(self, x):
        return self.down(F.silu(self.up(x)) * self.gate(x))


class Experts(nn.Module):
    """Experts one by one, each weighted by its entry of what the router gives."""

    def __init__(self):
        super().__init__()
        self.embed, self.router, self.head = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)
        self.experts = nn.ModuleList(Expert(True) for _ in range(3))

    def forward(self, x):
        x = self.embed(x.flatten(1)).relu()
        p = self.router(x).softmax(-1)
        return self.head(x + sum(expert(x) * p[:, e : e + 1] for e, expert in enumerate(self.experts)))


class Chosen(nn.Module):
    """Mixtral's layer: every expert takes the tokens that chose it, and adds to them what it gives."""

    def __init__(self):
        super().__init__()
        self.embed, self.router, self.head = nn.Embedding(11, 6), nn.Linear(6, 3, False), nn.Linear(6, 2)
        self.experts = nn.ModuleList(Expert(False) for _ in range(3))

    def forward(self, x):
        x = self.embed(x)
        tokens = x.view(-1, 6)
        weights, chosen = self.router(tokens).softmax(1).topk(2, -1)
        mask = F.one_hot(chosen, 3).permute(2, 1, 0)
        found = torch.zeros_like(tokens)
        for e, expert in enumerate(self.experts):
            which, token = torch.where(mask[e])
            found.index_add_(0, token, expert(tokens[token]) * weights[token, which, None])
        return self.head(x + found.view(x.shape)).mean(1)


def networks():
    """Name, network, input, and whether the exporter computes what follows from weights alone."""
    image, tokens = torch.randn(1, 3, 8, 8), torch.randint(11, (1, 4))
    yield "transformer", Transformer(1, False), tokens, False
    yield "transformer_folded", Transformer(2, True), tokens, True
    yield "lstm", Recurrent(nn.LSTM, num_layers=2), tokens, True
    yield "gru", Recurrent(nn.GRU, bidirectional=True), tokens, False
    yield "unet", UNet(), image, False
    yield "densenet", DenseNet(), image, False
    yield "mobilenet", mobile_net(), image, False
    yield "shufflenet", ShuffleNet(), image, False
    yield "time_first", TimeFirst(), image, False
    yield "experts", Experts(), torch.randn(1, 4), False
    yield "experts_chosen", Chosen(), tokens, True


def main(folder):
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)
    warnings.simplefilter("ignore")
    for name, network, x, fold in networks():
        # No two tensors alike: the exporter makes one of those that are.
        for parameter in network.parameters():
            if parameter.dim() == 1:
                nn.init.uniform_(parameter, 0.5, 1.5)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2), module.running_var.uniform_(0.5, 1.5)
        path = folder / f"{name}.onnx"
        # Dropout and BatchNorm as they are, neither folded into convolutions nor left in training.
        keep = torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(
            network.eval(), (x,), path, opset_version=17, dynamo=False, training=keep, do_constant_folding=fold,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
        made = onnx.load(path)
        for node in made.graph.node:
            node.ClearField("doc_string")
        onnx.checker.check_model(made, full_check=True)
        onnx.save(made, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
