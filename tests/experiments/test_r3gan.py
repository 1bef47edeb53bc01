"""R3GAN's step against the losses and schedules of the paper in plain loops; its nets at the start."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import r3gan
from gan_jax.game import rng
from gan_jax.nets import r3gan as nets

CFG = dataclasses.replace(
    r3gan.PRESETS["default"], batch_size=3, width=8, depth=2, burn_in=2, lr=1e-2, gamma=2.0, gamma_end=0.1, ema=3.0
)
G = oracle.with_norm(oracle.mlp)
D = lambda w, x: oracle.mlp(w, x, slope=0.01)[0]


def burnt(t, first, last):
    """The burn-in of the paper's code: a base value that goes to a final one along half a cosine."""
    decay = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(t / CFG.burn_in, 1)))
    return first + (1 - decay) * (last - first)


@jax.jit
def paper(g, d, average, z, x, t, r2):
    """Both players' losses pair by pair; r2: 1, or 0 for the planted deviation, R1 alone."""
    gamma, old = burnt(t, CFG.gamma, CFG.gamma * CFG.gamma_end), G(g.params, g.stats, z)[0]

    def d_loss(w):
        total = 0.0
        for real, fake in zip(x, old, strict=True):
            penalty = (jax.grad(D, 1)(w, real) ** 2).sum() + r2 * (jax.grad(D, 1)(w, fake) ** 2).sum()
            total += -jnp.log(oracle.sigmoid(D(w, real) - D(w, fake))) + gamma / 2 * penalty
        return total / 3, {}

    def g_loss(theta):
        fakes, stats = G(theta, g.stats, z)
        pairs = zip(x, fakes, strict=True)
        return -sum(jnp.log(oracle.sigmoid(D(d.params, fake) - D(d.params, real))) for real, fake in pairs) / 3, stats

    rates = burnt(t, CFG.lr, CFG.lr * CFG.lr_end), 0.0, burnt(t, CFG.b2, CFG.b2_end)
    new_g, new_d = (oracle.moved(oracle.adam, p, loss, *rates) for p, loss in ((g, g_loss), (d, d_loss)))
    half_life = burnt(t, 0.0, CFG.ema)
    keep = jnp.where(half_life > 0, 0.5 ** (1 / half_life), 0.0)
    return new_g, new_d, oracle.averaged(average, (new_g.params, new_g.stats), keep)


def test_step_is_the_paper_s(monkeypatch):
    """Three steps, through the burn-in to its end, equal the paper in float64; without R2 they would not."""
    oracle.normed(r3gan, monkeypatch, 0)  # a D with gradient penalties has none
    exact = types.SimpleNamespace(**vars(jnp) | {"float32": jnp.float64})  # of the schedules
    monkeypatch.setattr(r3gan, "jnp", exact)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(3, 3, 2))
        start, end, _ = oracle.played(r3gan, CFG, [{"x": x} for x in xs])

        def theirs(r2):
            players = *oracle.started(start.g, start.d), start.g_ema
            for t, x in enumerate(xs):
                z = rng.normal(rng.at(start.key, t, "z"), (3, CFG.z_dim))
                players = paper(*players, z, x, float(t), r2)
            return players

        oracle.same((end.g, end.d, end.g_ema), theirs(1.0))
        oracle.differ((end.g, end.d, end.g_ema), theirs(0.0))


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
