"""Seconds of a round of many clients: aligned with the network that was sent out, warm and cold, and averaged.

    python federated.py [CLIENTS ...]

Clients are perceptrons of a million weights, each a copy of the global one with noise and some units exchanged.
"""

import sys
import time

import numpy as np

import onebasin

rng = np.random.default_rng(0)
shapes = {"fc1.weight": (512, 784), "fc1.bias": (512,), "fc2.weight": (512, 512), "fc2.bias": (512,)}
shapes |= {"fc3.weight": (512, 512), "fc3.bias": (512,), "fc4.weight": (10, 512), "fc4.bias": (10,)}
model = {name: (0.05 * rng.standard_normal(shape)).astype("f4") for name, shape in shapes.items()}
symmetry = onebasin.symmetry("mlp:512x3", params=model)
for count in [int(word) for word in sys.argv[1:]] or [10, 100]:
    clients = []
    for _ in range(count):
        net = {name: tensor + (0.01 * rng.standard_normal(tensor.shape)).astype("f4") for name, tensor in model.items()}
        order = np.arange(512)
        order[:64] = rng.permutation(64)
        net["fc1.weight"], net["fc1.bias"] = net["fc1.weight"][order], net["fc1.bias"][order]
        net["fc2.weight"] = net["fc2.weight"][:, order]
        clients.append(net)
    told = f"{count} clients:"
    start = None
    for name in ("cold", "warm"):
        began = time.monotonic()
        mean = onebasin.merge_many(
            [model, *clients], symmetry, method="reference", weights=[0, *[1] * count], start=start, progress=False
        )
        told += f" {name} {time.monotonic() - began:.2f} s"
        start = mean.alignments
    error = max(float(np.abs(mean.params[name] - model[name]).max()) for name in model)
    print(told, f"largest distance of the mean from the network sent out {error:.4f}")
