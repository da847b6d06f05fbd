"""Two Flax networks: matched, merged, judged by JAX."""

from __future__ import annotations

from typing import Any

# ANCHOR: network
import jax
import jax.numpy as jnp
from flax import linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.relu(nn.Dense(64)(x))
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(5)(x)
# ANCHOR_END: network


def rings(count: int, seed: int) -> tuple[Any, Any]:
    """Points of the plane, and on which of five rings, wound up to spirals, they lie."""
    angle_key, radius_key = jax.random.split(jax.random.PRNGKey(seed))
    angle = jax.random.uniform(angle_key, (count,), maxval=2 * jnp.pi)
    radius = jax.random.uniform(radius_key, (count,), minval=0.1)
    label = (5 * (radius * 0.6 + angle / (2 * jnp.pi))).astype(int) % 5
    return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=1) * 3, label


def loss_of(params: Any, x: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(net.apply(params, x)), y[:, None], axis=1).mean()


@jax.jit
def step(params: Any, momentum: Any, x: Any, y: Any) -> tuple[Any, Any]:
    slope = jax.grad(loss_of)(params, x, y)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, slope)
    return jax.tree.map(lambda p, m: p - 0.1 * m, params, momentum), momentum


def trained(seed: int) -> Any:
    key = jax.random.PRNGKey(seed)
    params = net.init(key, x[:1])
    momentum = jax.tree.map(jnp.zeros_like, params)
    for _ in range(600):
        key, drawn = jax.random.split(key)
        batch = jax.random.randint(drawn, (100,), 0, len(x))
        params, momentum = step(params, momentum, x[batch], y[batch])
    return params


# ANCHOR: train
net = Net()
(x, y), (x_test, y_test) = rings(4000, seed=0), rings(2000, seed=1)
params_a, params_b = trained(0), trained(1)
# ANCHOR_END: train

# ANCHOR: match
import onebasin

symmetry = onebasin.symmetry(net, x[:1], params=params_a)
found = onebasin.match(params_a, params_b, symmetry, data=(x, y))
merged = onebasin.merge(
    params_a, params_b, found, symmetry=symmetry, data=x, repair="solve"
)
# ANCHOR_END: match

# ANCHOR: judge
def judged(params: Any) -> tuple[float, float]:
    right = net.apply(params, x_test).argmax(axis=1) == y_test
    return float(loss_of(params, x_test, y_test)), float(right.mean())


print(onebasin.barrier(params_a, params_b, found, evaluate=judged, points=11))
for name, params in [("A", params_a), ("B", params_b), ("merged", merged)]:
    print(f"{name:8} {judged(params)[1]:.1%}")
# ANCHOR_END: judge

# ANCHOR: names
print(symmetry.patterns)
onebasin.save("a.safetensors", params_a)
# ANCHOR_END: names

average = jax.tree.map(lambda one, other: (one + other) / 2, params_a, params_b)
print(f"average  {judged(average)[1]:.1%}")
