"""Trains LeNets on MNIST with PyTorch and writes them as ONNX: MNIST TO writes TO/KIND-SEED.onnx for seeds 0 to 3.

Kinds: `lenet`, `lenetbn` (BatchNorm behind convolutions, kept as such) and `lenet2` (twice the channels). MNIST is the folder of the
four IDX files, gzipped. Three epochs of Adam, batches of 128, one cycle up to 3e-3, pixels from 0 to 1. Needs torch and NumPy.
"""
import gzip
import pathlib
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

KINDS = {"lenet": (False, 1), "lenetbn": (True, 1), "lenet2": (False, 2)}


def read(folder, kind, header):
    with gzip.open(next(folder.glob(f"train-{kind}*"))) as file:
        return torch.from_numpy(np.frombuffer(file.read(), np.uint8)[header:].copy())


def network(norm, width):
    one, two = 6 * width, 16 * width
    between = nn.BatchNorm2d if norm else lambda _: nn.Identity()
    convolutions = [nn.Conv2d(1, one, 5, padding=2), between(one), nn.ReLU(), nn.MaxPool2d(2)]
    convolutions += [nn.Conv2d(one, two, 5), between(two), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*convolutions, nn.Linear(25 * two, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def main(source, target, epochs=3, batch=128):
    target.mkdir(parents=True, exist_ok=True)
    images = read(source, "images", 16).view(-1, 1, 28, 28).float() / 255
    labels = read(source, "labels", 8).long()
    for kind, how in KINDS.items():
        for seed in range(4):
            torch.manual_seed(seed)
            net, steps = network(*how), len(images) // batch
            optimizer = torch.optim.Adam(net.parameters(), 1e-3)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps)
            for _ in range(epochs):
                order = torch.randperm(len(images))
                for step in range(steps):
                    chosen = order[step * batch : (step + 1) * batch]
                    loss = F.cross_entropy(net(images[chosen]), labels[chosen])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
            print(kind, seed, loss.item(), flush=True)
            torch.onnx.export(
                net.eval(), (images[:2],), target / f"{kind}-{seed}.onnx", dynamo=False, input_names=["x"], output_names=["y"],
                dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
            )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))
