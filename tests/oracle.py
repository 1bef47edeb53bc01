"""By hand, for all tests: optimisers, a perceptron, batch norm and its running statistics, a chi-square test.

Formulas of the papers, in jnp and plain loops, that share nothing with the library that they are held against.
"""

import functools
import math
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class Player(NamedTuple):
    """A player of an algorithm box: parameters, running statistics, the moments of its optimiser, steps so far."""

    params: Any
    stats: Any
    m: Any
    v: Any
    t: Any


def started(*players):
    """Return the players of a game that begin where these of a state are; one alone where one is given."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    of = [Player(p.params, p.stats, zeros(p), zeros(p), jnp.int32(0)) for p in players]
    return of if len(of) > 1 else of[0]


def adam(player, grads, lr, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, stats=None) -> Player:
    """Return the player after a step of Adam downhill (Kingma and Ba 2015, Algorithm 1), with these new statistics."""
    t = player.t + 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, player.m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, player.v, grads)
    move = lambda p, m, v: p - lr * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t) + eps_root) + eps)
    return Player(jax.tree.map(move, player.params, m, v), player.stats if stats is None else stats, m, v, t)


def rmsprop(player, grads, lr, decay=0.9, eps=1e-8, eps_root=0.0, stats=None) -> Player:
    """Return the player after a step of RMSProp downhill (Tieleman and Hinton 2012, lecture 6.5)."""
    v = jax.tree.map(lambda v, g: decay * v + (1 - decay) * g * g, player.v, grads)
    move = lambda p, v, g: p - lr * g / (jnp.sqrt(v + eps_root) + eps)
    params = jax.tree.map(move, player.params, v, grads)
    return Player(params, player.stats if stats is None else stats, player.m, v, player.t + 1)


def sgd(player, grads, lr, stats=None) -> Player:
    """Return the player after a step of gradient descent."""
    params = jax.tree.map(lambda p, g: p - lr * g, player.params, grads)
    return player._replace(params=params, stats=player.stats if stats is None else stats, t=player.t + 1)


def moved(update, player, loss, *rates, **more) -> Player:
    """Return the player after an `update` along the gradient of loss: params -> (value, the new statistics)."""
    grads, stats = jax.grad(loss, has_aux=True)(player.params)
    return update(player, grads, *rates, stats=stats, **more)


def averaged(average, new, decay):
    """Return the running average of parameters and statistics alike."""
    return jax.tree.map(lambda a, n: decay * a + (1 - decay) * n, average, new)


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def dense(p, x):
    """A linear layer: x [..., i] -> [..., o]."""
    return x @ p["kernel"] + p["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def perceptron(layers, x, slope=0.0, act=None):
    """Linear layers with ReLUs between them (leaky ones with a slope): x [..., i] -> [..., o]."""
    act = act or (lambda x: jnp.where(x > 0, x, slope * x))
    for layer in layers[:-1]:
        x = act(dense(layer, x))
    return dense(layers[-1], x)


def mlp(params, x, hidden=2, **of):
    """A perceptron of the parameters of `nets.mlp`, with so many hidden layers: x [..., i] -> [..., o]."""
    params = params.get("MLP_0", params)
    assert len(params) == hidden + 1
    return perceptron([params[f"Dense_{i}"] for i in range(hidden + 1)], x, **of)


def batch_norm(p, stats, x, momentum=0.9, eps=1e-5):
    """Return (x [b, ..., c] normalised over all axes but the last, then scaled and shifted; the new statistics)."""
    axes = tuple(range(x.ndim - 1))
    row = lambda a: a.reshape((1,) * (x.ndim - 1) + (-1,))
    mean = x.mean(axes)
    var = ((x - row(mean)) ** 2).mean(axes)
    y = (x - row(mean)) / jnp.sqrt(row(var) + eps)
    y = y * row(p["scale"]) if "scale" in p else y
    y = y + row(p["bias"]) if "bias" in p else y
    new = {"mean": mean, "var": var}
    return y, {name: momentum * stats[name] + (1 - momentum) * new[name] for name in new}


class Normed(nn.Module):
    """A net that sees x + the batch norm of x: whether a step keeps the right statistics shows on points too.

    Of the norm alone, a shift of all rows would have no gradient but rounding, which Adam makes as large as any.
    """

    net: nn.Module

    @nn.compact
    def __call__(self, x, *more, train=True):
        x = x + nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5)(x)
        return self.net(x, *more, train=train)


def normed(module, monkeypatch, *places):
    """Put `Normed` around nets of an experiment: all that its `build` returns, or those at these places there."""
    build = module.build

    def of(*given):
        parts = enumerate(build(*given))
        chosen = lambda i, part: isinstance(part, nn.Module) and (not places or i in places)
        return tuple(Normed(part) if chosen(i, part) else part for i, part in parts)

    monkeypatch.setattr(module, "build", of)


def with_norm(net):
    """Return (params, stats, x, ...) -> (what `Normed` makes of net(params, x, ...), its new statistics)."""

    def of(params, stats, x, *more):
        normal, new = batch_norm(params["BatchNorm_0"], stats["batch_stats"]["BatchNorm_0"], x)
        return net(params["net"], x + normal, *more), {"batch_stats": {"BatchNorm_0": new}}

    return of


def double(tree):
    """Return the tree with its floats in float64."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if a.dtype == jnp.float32 else a, tree)


def played(module, cfg, batches):
    """Return (first state, last state, last metrics) of the experiment's own step on each batch, in float64."""
    init, step = (jax.jit(functools.partial(f, cfg)) for f in (module.init, module.step))
    first = state = double(init(jax.random.key(0)))
    for batch in batches:
        state, metrics = step(state, batch)
    return first, state, metrics


def same(found, expected, rtol=1e-9, atol=1e-12):
    """Check that trees are equal, and finite, since NaN equals NaN here; of players, parameters and statistics."""
    is_player = lambda p: hasattr(p, "params") and hasattr(p, "stats")
    of = lambda tree: jax.tree.map(lambda p: (p.params, p.stats) if is_player(p) else p, tree, is_leaf=is_player)
    chex.assert_trees_all_close(of(found), of(expected), rtol=rtol, atol=atol)
    chex.assert_tree_all_finite(of(found))


def differ(found, expected, **tolerance):
    """Check that trees are not equal by far: a planted deviation shows."""
    try:
        same(found, expected, **tolerance)
    except AssertionError:
        return
    raise AssertionError("a planted deviation makes no difference")


def chi_square_is_small(counts, expected):
    """Return whether the statistic is below its 1 in 10,000 point (Wilson and Hilferty's approximation)."""
    free = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return statistic < free * (1 - 2 / (9 * free) + 3.72 * math.sqrt(2 / (9 * free))) ** 3


def random_weights(shapes, seed=0):
    """Return random weights of these shapes that keep activations at about one scale."""
    rng, made = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        x = rng.standard_normal(shape, np.float32)
        if name.endswith("conv.weight"):
            x *= np.sqrt(2 / np.prod(shape[:3]))
        elif name.startswith("fc"):
            x *= 0.03
        elif name.endswith("running_var"):
            x = 0.5 + x**2
        else:
            x = 0.1 * x + (1 if name.endswith("bn.weight") else 0)
        made[name] = x
    return made
