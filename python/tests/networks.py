"""Networks as their users write them in torch: nothing of onebasin in them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A ResNet with BatchNorm."""

    example = torch.zeros(2, 3, 16, 16)
    units = 16 + 16 + 24 + 24

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 24, 2))
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Any) -> Any:
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class UNet(nn.Module):
    """A U-Net with GroupNorm: groups of channels, and channels within them."""

    example = torch.zeros(2, 3, 16, 16)
    units = (4 + 16) + (4 + 32) + (4 + 32) + 16 + (4 + 16)

    def __init__(self) -> None:
        super().__init__()

        def stage(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU())

        self.down1, self.down2, self.middle = stage(3, 16), stage(16, 32), stage(32, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.up1, self.out = stage(32, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Any) -> Any:
        first = self.down1(x)
        middle = self.middle(self.down2(F.max_pool2d(first, 2)))
        return self.out(self.up1(torch.cat([self.up(middle), first], 1)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        batch, steps, width = x.shape
        q, k, v = self.qkv(x).view(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(y.transpose(1, 2).reshape(batch, steps, width))


class Layer(nn.Module):
    #: Heads; queries with keys, and values, of each; the hidden layer.
    units = 4 + 32 + 32 + 128

    def __init__(self, width: int = 32, heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer."""

    example = torch.zeros(2, 3, 16, 16)
    units = 32 + 2 * Layer.units

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.cls = nn.Parameter(0.1 * torch.randn(1, 1, 32))
        self.position = nn.Parameter(0.1 * torch.randn(1, 17, 32))
        self.layers = nn.ModuleList([Layer() for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


class GPT(nn.Module):
    """A language model whose output matrix is its embedding."""

    example = torch.zeros(2, 16, dtype=torch.long)
    units = 32 + 2 * Layer.units

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(50, 32), nn.Embedding(16, 32)
        self.layers = nn.ModuleList([Layer(causal=True) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 50, bias=False)
        self.head.weight = self.token.weight

    def forward(self, tokens: Any) -> Any:
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Encoder(nn.Module):
    """torch's own layer of an encoder, which runs as one operator where nothing is trained."""

    example = torch.zeros(2, 5, 8)
    units = 16 + 2 + 2 * 8 + 2 * 8 + 32

    def __init__(self) -> None:
        super().__init__()
        self.up, self.layer, self.out = nn.Linear(8, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(self.up(x)))


class LSTM(nn.Module):
    """Two layers of a two-way LSTM."""

    example = torch.zeros(2, 7, dtype=torch.long)
    units = 12 + 2 * 2 * 16

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 12)
        self.lstm = nn.LSTM(12, 16, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(32, 5)

    def forward(self, tokens: Any) -> Any:
        return self.out(self.lstm(self.embedding(tokens))[0])


ALL: list[Any] = [ResNet, UNet, ViT, GPT, Encoder, LSTM]


def trained(kind: Any, seed: int) -> Any:
    """A network whose statistics have seen data, ready to be evaluated."""
    torch.manual_seed(seed)
    net = kind()
    for _ in range(2):
        net(inputs(kind, seed))
    return net.eval()


def inputs(kind: Any, seed: int, samples: int = 6) -> Any:
    """Random inputs of the network's kind."""
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, *kind.example.shape[1:])
    if kind.example.dtype == torch.long:
        return torch.randint(0, 30, shape, generator=generator)
    return torch.randn(shape, generator=generator)
