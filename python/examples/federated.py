"""Rounds of federated training: clients of different sizes, aligned with the global network before they are averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

import onebasin

Net = dict[str, Any]
WIDTH, CLASSES = 64, 4


def drawn(seed: int) -> Net:
    """A network with two hidden layers, before training."""
    rng = np.random.default_rng(seed)

    def layer(outputs: int, inputs: int) -> Any:
        return rng.normal(scale=(2 / inputs) ** 0.5, size=(outputs, inputs)).astype("f4")

    return {
        "fc1.weight": layer(WIDTH, 2), "fc1.bias": np.zeros(WIDTH, "f4"),
        "fc2.weight": layer(WIDTH, WIDTH), "fc2.bias": np.zeros(WIDTH, "f4"),
        "fc3.weight": layer(CLASSES, WIDTH), "fc3.bias": np.zeros(CLASSES, "f4"),
    }


def passed(net: Net, x: Any) -> tuple[Any, Any, Any]:
    one = np.maximum(x @ net["fc1.weight"].T + net["fc1.bias"], 0)
    two = np.maximum(one @ net["fc2.weight"].T + net["fc2.bias"], 0)
    return one, two, two @ net["fc3.weight"].T + net["fc3.bias"]


def fitted(net: Net, x: Any, y: Any, steps: int, seed: int) -> Net:
    """The network after some steps of gradient descent with momentum on a client's samples."""
    net, rng = dict(net), np.random.default_rng(seed)
    speed = {name: np.zeros_like(tensor) for name, tensor in net.items()}
    for _ in range(steps):
        batch = rng.integers(0, len(x), 100)
        one, two, logits = passed(net, x[batch])
        answer = np.exp(logits - logits.max(1, keepdims=True))
        answer /= answer.sum(1, keepdims=True)
        answer[np.arange(100), y[batch]] -= 1
        back_two = answer @ net["fc3.weight"] * (two > 0)
        back_one = back_two @ net["fc2.weight"] * (one > 0)
        for layer, back, into in (("fc3", answer, two), ("fc2", back_two, one), ("fc1", back_one, x[batch])):
            for name, slope in ((f"{layer}.weight", back.T @ into / 100), (f"{layer}.bias", back.mean(0))):
                speed[name] = 0.9 * speed[name] - 0.05 * slope
                net[name] = net[name] + speed[name]
    return net


def points(count: int, seed: int) -> tuple[Any, Any]:
    """Points of the plane, and on which of four arms of a spiral they lie."""
    rng = np.random.default_rng(seed)
    radius, angle = rng.uniform(0.2, 1, count), rng.uniform(0, 2 * np.pi, count)
    arm = np.floor((angle / (2 * np.pi) + 0.7 * radius) * CLASSES).astype(int) % CLASSES
    return 2 * np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype("f4"), arm


def accuracy(net: Net) -> float:
    x, y = points(4000, seed=99)
    return float((passed(net, x)[2].argmax(1) == y).mean())


# ANCHOR: clients
sizes = [2000, 1200, 600, 200]
data = [points(size, seed) for seed, size in enumerate(sizes)]
clients = [fitted(drawn(k), *data[k], steps=800, seed=k) for k in range(4)]
symmetry = onebasin.symmetry(f"mlp:{WIDTH}x2", params=clients[0])
# ANCHOR_END: clients

# ANCHOR: first
average = onebasin.merge_many(clients, symmetry, method="naive", weights=sizes)
mean = onebasin.merge_many(clients, symmetry, method="rounds", weights=sizes)
print([f"{accuracy(client):.1%}" for client in clients])
print(f"averaged as they come {accuracy(average.params):.1%}")
print(f"aligned {accuracy(mean.params):.1%}")
# ANCHOR_END: first

# ANCHOR: rounds
now, alignments = mean.params, None
for turn in range(3):
    clients = [fitted(now, *data[k], steps=200, seed=10 * turn + k) for k in range(4)]
    mean = onebasin.merge_many(
        [now, *clients],
        symmetry,
        method="reference",
        weights=[0, *sizes],
        start=alignments,
    )
    now, alignments = mean.params, mean.alignments
    print(f"round {turn + 1}: {accuracy(now):.1%}")
# ANCHOR_END: rounds

assert accuracy(average.params) < 0.75 < 0.85 < accuracy(mean.params), (accuracy(average.params), accuracy(mean.params))
