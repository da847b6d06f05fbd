"""python wide.py: networks in whose ONNX files sizes stand, as torch's two exporters write them.

`vgg` (default exporter) has a Reshape, `chunk` splits channels, `gn` has group norms of four and of all channels, `optiona` pads
the channels of its shortcut, `mobile` has depthwise convolutions; the last four by the exporter before. Written with torch 2.15.
"""

import pathlib

import torch
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent


class Chunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1), nn.Linear(12, 10)

    def forward(self, x):
        u, v = self.a(x).chunk(2, 1)
        return self.c(F.relu(self.b(F.relu(u) * torch.sigmoid(v))).mean((2, 3)))


class GroupNorms(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.g = nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(4, 8)
        self.b, self.h = nn.Conv2d(8, 12, 3, 2, 1), nn.GroupNorm(12, 12)
        self.d, self.c = nn.Conv2d(12, 10, 3, 2, 1), nn.Linear(10, 10)

    def forward(self, x):
        x = F.relu(self.h(self.b(F.relu(self.g(self.a(x))))))
        return self.c(F.relu(self.d(x)).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.b2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.stride, self.pad = stride, (o - i) // 2

    def forward(self, x):
        y = x if self.stride == 1 else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))) + y)


class OptionA(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.b = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.l, self.f = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 1)), nn.Linear(16, 10)

    def forward(self, x):
        return self.f(self.l(F.relu(self.b(self.c(x)))).mean((2, 3)))


class Vgg(nn.Module):
    def __init__(self):
        super().__init__()
        convs, i = [], 3
        for o in (8, 12, 16):
            convs += [nn.Conv2d(i, o, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)]
            i = o
        self.f, self.p = nn.Sequential(*convs), nn.AdaptiveAvgPool2d(2)
        self.c = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 10))

    def forward(self, x):
        x = self.p(self.f(x))
        return self.c(x.view(x.size(0), -1))


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()

        def conv(i, o, k, stride, groups=1):
            return [nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o), nn.ReLU6()]

        layers = conv(3, 8, 3, 2) + conv(8, 8, 3, 1, 8) + conv(8, 12, 1, 1) + conv(12, 12, 3, 2, 12) + conv(12, 14, 1, 1)
        self.f, self.c = nn.Sequential(*layers), nn.Linear(14, 10)

    def forward(self, x):
        return self.c(self.f(x).mean((2, 3)))


for name, make in {"chunk": Chunk, "gn": GroupNorms, "optiona": OptionA, "vgg": Vgg, "mobile": Mobile}.items():
    torch.manual_seed(0)
    net, x = make(), torch.randn(2, 3, 32, 32)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.3), norm.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5), nn.init.normal_(norm.bias, 0, 0.3)
    path, names = str(HERE / f"{name}.onnx"), {"input_names": ["x"], "output_names": ["y"]}
    if name == "vgg":
        options = {"dynamo": True, "opset_version": 18, "dynamic_shapes": ({0: "b"},), "external_data": False}
    else:
        options = {"dynamo": False, "opset_version": 17, "dynamic_axes": {"x": {0: "b"}, "y": {0: "b"}}}
    torch.onnx.export(net.eval(), (x,), path, **names, **options)
