"""Two convolutional networks of your own in torch: matched, measured, merged, repaired."""

from __future__ import annotations

from typing import Any

# ANCHOR: network
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.fc1, self.fc2 = nn.Linear(32, 64), nn.Linear(64, 8)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(x.mean((2, 3)))))
# ANCHOR_END: network


def waves(count: int, seed: int) -> tuple[Any, Any]:
    """Images of waves that run in one of eight directions, under noise, and the directions."""
    generator = torch.Generator().manual_seed(seed)
    wobble, pace, start = torch.rand(3, count, 1, 1, generator=generator)
    direction = torch.randint(0, 8, (count,), generator=generator)
    angle = (direction[:, None, None] + 0.4 * (wobble - 0.5)) * torch.pi / 8
    at = torch.arange(12.0)
    along = at[:, None] * angle.cos() + at[None, :] * angle.sin()
    clean = torch.sin((0.7 + 0.6 * pace) * along + 6.28 * start)
    return (clean + torch.randn(count, 12, 12, generator=generator))[:, None], direction


def trained(seed: int, x: Any, y: Any) -> Net:
    torch.manual_seed(seed)
    net = Net()
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(8):
        for batch in torch.randperm(len(x)).split(64):
            loss = F.cross_entropy(net(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval()
    return net


# ANCHOR: train
x, y = waves(1500, seed=0)
x_test, y_test = waves(2000, seed=1)
model_a, model_b = trained(0, x, y), trained(1, x, y)
# ANCHOR_END: train

# ANCHOR: judge
def judged(state: Any) -> tuple[float, float]:
    """Loss and accuracy of a state dict on test data."""
    net = Net()
    net.load_state_dict(state)
    with torch.no_grad():
        logits = net.eval()(x_test)
    right = logits.argmax(1) == y_test
    return float(F.cross_entropy(logits, y_test)), float(right.float().mean())
# ANCHOR_END: judge


# ANCHOR: symmetry
import onebasin

symmetry = onebasin.symmetry(model_a, x[:1])
print(symmetry)
# ANCHOR_END: symmetry

# ANCHOR: check
print(symmetry.check())
print(*symmetry.why("fc2.weight", 0), sep="\n")
# ANCHOR_END: check

# ANCHOR: match
found = onebasin.match(model_a, model_b, symmetry, data=(x, y))
print(found)
# ANCHOR_END: match

# ANCHOR: diagnose
print(onebasin.diagnose(model_a, model_b, found, symmetry=symmetry))
# ANCHOR_END: diagnose

# ANCHOR: moved
moved = found.apply(model_b.state_dict())
print(judged(model_b.state_dict()), judged(moved))
# ANCHOR_END: moved

# ANCHOR: merge
a, b = model_a.state_dict(), model_b.state_dict()
average = {name: (a[name] + b[name]) / 2 for name in a}
merged = onebasin.merge(a, b, found, symmetry=symmetry, data=x)
solved = onebasin.merge(a, b, found, symmetry=symmetry, data=x, repair="solve")

states = {"A": a, "B": b, "average": average, "merged": merged, "solved": solved}
for name, state in states.items():
    print(f"{name:8} {judged(state)[1]:.1%}")
# ANCHOR_END: merge

# ANCHOR: barrier
way = onebasin.barrier(model_a, model_b, found, evaluate=judged, points=11)
print(way)
# ANCHOR_END: barrier

# ANCHOR: save
torch.save(solved, "solved.pt")
found.save("alignment.safetensors")
# ANCHOR_END: save

# What the guide says of this pair.
accuracy = {name: judged(state)[1] for name, state in states.items()}
assert accuracy["average"] < 0.6 < 0.8 < accuracy["merged"] and accuracy["solved"] > 0.9, accuracy
assert abs(judged(moved)[0] - judged(b)[0]) < 1e-4
assert way.barriers["aligned"] < 0.5 * way.barriers["naive"]
