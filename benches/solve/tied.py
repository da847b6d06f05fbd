"""Pairs of MNIST networks whose weights are used more than once, and what ONNX Runtime makes of them.

    python tied.py train DATA FOLDER      DATA holds MNIST's four archives; FOLDER gets NAME-0.onnx and NAME-1.onnx
    python tied.py judge DATA FILES       accuracy and loss on the 10,000 test images

Needs torch, numpy and onnxruntime.
"""

import gzip
import sys
from pathlib import Path

import numpy as np


def images(data, name):
    with gzip.open(Path(data) / f"{name}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32) / 255


def labels(data, name):
    with gzip.open(Path(data) / f"{name}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)


def networks():
    from torch import nn
    from torch.nn import functional as F

    class Looped(nn.Module):
        """One hidden layer, three times."""

        def __init__(self):
            super().__init__()
            self.first, self.again, self.last = nn.Linear(784, 64), nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x):
            h = F.relu(self.first(x.flatten(1)))
            for _ in range(3):
                h = F.relu(self.again(h))
            return self.last(h)

    class Residual(nn.Module):
        """One residual block, four times, as encoders share layers."""

        def __init__(self):
            super().__init__()
            self.first, self.up = nn.Linear(784, 32), nn.Linear(32, 64)
            self.down, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, x):
            h = self.first(x.flatten(1))
            for _ in range(4):
                h = h + self.down(F.relu(self.up(h)))
            return self.last(F.relu(h))

    class Heads(nn.Module):
        """One head of two convolutions on three levels, as detectors have it."""

        def __init__(self):
            super().__init__()
            conv = lambda inputs, outputs, stride=1: nn.Conv2d(inputs, outputs, 3, stride, 1)  # noqa: E731
            self.stem, self.levels = conv(1, 12), nn.ModuleList([conv(12, 12, 2) for _ in range(3)])
            self.head, self.out = conv(12, 12), conv(12, 10)

        def forward(self, x):
            h, answers = F.relu(self.stem(x)), 0
            for level in self.levels:
                h = F.relu(level(h))
                answers = answers + self.out(F.relu(self.head(h))).mean((2, 3))
            return answers

    return {"looped": (Looped, 3, 2e-3), "residual": (Residual, 3, 2e-3), "heads": (Heads, 1, 4e-3)}


def train(data, folder):
    import torch

    x, y = torch.tensor(images(data, "train")), torch.tensor(labels(data, "train"))
    for name, (network, epochs, rate) in networks().items():
        for seed in (0, 1):
            torch.manual_seed(seed)
            net = network()
            optimiser = torch.optim.Adam(net.parameters(), rate)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * rate, total_steps=epochs * len(x) // 200)
            for _ in range(epochs):
                for batch in torch.randperm(len(x)).split(200):
                    loss = torch.nn.functional.cross_entropy(net(x[batch]), y[batch])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
            path, axes = Path(folder) / f"{name}-{seed}.onnx", {"x": {0: "batch"}, "y": {0: "batch"}}
            names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
            torch.onnx.export(net.eval(), (x[:2],), str(path), dynamo=False, opset_version=17, **names)
            print(path, float(loss))


def judge(data, *files):
    import onnxruntime

    x, y = images(data, "t10k"), labels(data, "t10k")
    for file in files:
        session = onnxruntime.InferenceSession(file)
        logits = np.concatenate([session.run(None, {"x": x[k : k + 500]})[0] for k in range(0, len(x), 500)]).astype(float)
        shifted = logits - logits.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        print(f"{file}: {100 * (logits.argmax(1) == y).mean():.2f} %, loss {-logs[np.arange(len(y)), y].mean():.4f}")


if __name__ == "__main__":
    {"train": train, "judge": judge}[sys.argv[1]](*sys.argv[2:])
