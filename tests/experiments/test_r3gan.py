"""R3GAN's step against the losses and schedules of the paper in plain loops; its nets at the start."""

import dataclasses
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import r3gan
from gan_jax.game import rng
from gan_jax.nets import r3gan as nets

CFG = dataclasses.replace(
    r3gan.PRESETS["default"], batch_size=2, width=8, depth=2, burn_in=2, lr=1e-2, gamma=2.0, gamma_end=0.1, ema=3.0
)


def net(params, x, slope):
    """A perceptron of the parameters of `nets.mlp` with leaky units, layer by layer: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, slope * x)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def burnt(t, first, last):
    """The burn-in of the paper's code: a base value that goes to a final one along half a cosine."""
    decay = 0.5 * (1 + math.cos(math.pi * min(t / CFG.burn_in, 1)))
    return first + (1 - decay) * (last - first)


def adam(player, grads, t):
    """(params, v) after one step of Adam downhill without momentum."""
    params, v = player
    lr, b2 = burnt(t, CFG.lr, CFG.lr * CFG.lr_end), burnt(t, CFG.b2, CFG.b2_end)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    return jax.tree.map(lambda p, g, v: p - lr * g / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8), params, grads, v), v


def paper(state, xs, r2):
    """Both players' losses pair by pair; r2: 1, or 0 for the planted deviation, R1 alone."""
    g, d = ((p.params, jax.tree.map(jnp.zeros_like, p.params)) for p in (state.g, state.d))
    average = state.g.params
    D = lambda w, x: net(w, x, 0.01)[0]
    for t, x in enumerate(xs):
        z = jax.random.normal(rng.at(state.key, t, "z"), (2, CFG.z_dim))
        gamma, old = burnt(t, CFG.gamma, CFG.gamma * CFG.gamma_end), g[0]

        def d_loss(w):
            total = 0.0
            for i in range(2):
                fake = net(old, z[i], 0.0)
                penalty = (jax.grad(D, 1)(w, x[i]) ** 2).sum() + r2 * (jax.grad(D, 1)(w, fake) ** 2).sum()
                total += -jnp.log(jax.nn.sigmoid(D(w, x[i]) - D(w, fake))) + gamma / 2 * penalty
            return total / 2

        g_loss = lambda theta: (
            -sum(jnp.log(jax.nn.sigmoid(D(d[0], net(theta, z[i], 0.0)) - D(d[0], x[i]))) for i in range(2)) / 2
        )
        g, d = adam(g, jax.grad(g_loss)(g[0]), t), adam(d, jax.grad(d_loss)(d[0]), t)
        half_life = burnt(t, 0.0, CFG.ema)
        keep = 0.5 ** (1 / half_life) if half_life else 0.0
        average = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, g[0])
    return g[0], d[0], average


def test_step_is_the_paper_s():
    """Three steps, through the burn-in to its end, equal the paper in float64; without R2 they would not."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(r3gan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(3, 2, 2)), state
        step = jax.jit(functools.partial(r3gan.step, CFG))
        for x in xs:
            now, _ = step(now, {"x": x})
        ours = now.g.params, now.d.params, now.g_ema[0]
        close = functools.partial(chex.assert_trees_all_close, ours, rtol=1e-9, atol=1e-12)
        theirs = jax.jit(paper)
        close(theirs(state, xs, 1.0))
        with pytest.raises(AssertionError):
            close(theirs(state, xs, 0.0))


def test_the_schedules_end_where_they_should():
    """First value at step 0, the middle half-way, the last one from the end of the burn-in on."""
    at = lambda step: float(r3gan.cosine(CFG, step, 2.0, 0.5))
    assert [at(s) for s in (0, 1, 2, 9)] == pytest.approx([2.0, 1.25, 0.5, 0.5])


def test_a_grouped_convolution_is_the_one_of_xla():
    """Slice by slice or by feature_group_count: the same."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 6, 8))
    layer = nets.GroupedConv(4, nets.he())
    variables = layer.init(jax.random.key(1), x)
    theirs = jax.lax.conv_general_dilated(
        x,
        variables["params"]["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    )
    np.testing.assert_allclose(layer.apply(variables, x), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 20, 3)])
def test_the_nets_take_any_size(shape):
    """z to an image, an image to a score."""
    both = lambda key: nets.D(4).init_with_output(key, nets.G(shape, 4).init_with_output(key, jnp.ones((2, 3)))[0])[0]
    assert jax.eval_shape(both, jax.random.key(0)).shape == (2,)


def test_a_block_begins_as_the_identity():
    """Fix-up: its last layer is zero, the others are not."""
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 8))
    y, variables = nets.Block(4, 8).init_with_output(jax.random.key(1), x)
    assert (x == y).all() and variables["params"]["Dense_0"]["kernel"].any()
