"""The loss with adversarial examples against its formula, with the CRF's mean field pixel by pixel; its net and Dice."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.vision import mass
from gan_jax import UserError
from gan_jax.nets import mass as nets

CFG = dataclasses.replace(mass.PRESETS["tiny"], batch_size=2, adversarial=0.7, eps=0.5, rounds=2, lr=1e-2)


def dense(p, x):
    return x @ p["kernel"] + p["bias"].reshape(1, -1)


def fcn(p, x, edges):
    """Of 8x8 pixels 7x7, 3x3, 2x2, 1x1; then all of it, all pixels, and CFG.rounds of the mean field."""
    for name in ("Conv_0", "Conv_1"):
        x = jax.lax.conv_general_dilated(
            x, p[name]["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jnp.tanh(x + p[name]["bias"].reshape(1, 1, 1, -1))
        n, m = (side // 2 for side in x.shape[1:3])
        x = x[:, : 2 * n, : 2 * m].reshape(len(x), n, 2, m, 2, -1).max((2, 4))
    logits = unary = dense(p["Dense_1"], jnp.tanh(dense(p["Dense_0"], x.reshape(len(x), -1)))).reshape(-1, 8, 8, 2)
    near = np.zeros((64, 64))
    for i, j in itertools.product(range(8), range(8)):
        for k, l in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= k < 8 and 0 <= l < 8:
                near[8 * i + j, 8 * k + l] = 1
    near = np.broadcast_to(near, (len(x), 64, 64))
    flat = edges.reshape(len(edges), 64, -1)
    alike = near * jnp.exp(-((flat[:, :, None] - flat[:, None]) ** 2).sum(3))
    for _ in range(CFG.rounds):
        q = (jnp.exp(logits) / jnp.exp(logits).sum(3, keepdims=True)).reshape(-1, 64, 2)
        said = [(near @ q)[..., c] * p["smooth"][c] + (alike @ q)[..., c] * p["contrast"][c] for c in (1, 0)]
        logits = unary - jnp.stack(said, 2).reshape(unary.shape)
    return logits


def paper(cfg, state, batches, through=False):
    """E(x) + lambda E(x + eps g / |g|), and the CRF's weights' squares; through: g isn't held fixed."""
    g = oracle.started(state.g)

    def energy(p, seen, x, y):
        logits = fcn(p, seen, x)
        own = jnp.where(y == 1, logits[..., 1], logits[..., 0])
        return (jnp.log(jnp.exp(logits).sum(3)) - own).mean()

    def loss(p, x, y):
        slope = jax.grad(energy, 1)(p, x, x, y)
        slope = slope if through else jax.lax.stop_gradient(slope)
        moved = jnp.stack([a + cfg.eps * s / jnp.sqrt((s**2).sum()) for a, s in zip(x, slope, strict=True)])
        squares = sum((p[name] ** 2).sum() for name in ("smooth", "contrast"))
        return energy(p, x, x, y) + cfg.adversarial * energy(p, moved, x, y) + cfg.decay * squares / 2

    grad = jax.jit(jax.grad(loss))
    for batch in batches:
        g = oracle.adam(g, grad(g.params, batch["source"], batch["y"]), cfg.lr)
    return g


def test_step_is_the_paper_s():
    """Three steps equal the paper in float64; with a gradient through the example they would not."""
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        xs, ys = draw.uniform(-1, 1, (3, 2, 8, 8, 1)), draw.integers(0, 2, (3, 2, 8, 8)).astype(np.int32)
        batches = [{"source": x, "y": y} for x, y in zip(xs, ys, strict=True)]
        start, end, _ = oracle.played(mass, CFG, batches)
        oracle.same(end.g, paper(CFG, start, batches))
        oracle.differ(end.g, paper(CFG, start, batches, through=True), rtol=1e-4)


def test_a_step_uphill_has_its_length():
    """Of each picture alone, along its gradient; where that is 0 it is none."""
    slope = jnp.stack([jnp.full((2, 2, 1), 3.0), jnp.zeros((2, 2, 1)), jnp.array([[0.0, 0], [0, -1e-3]])[..., None]])
    found = mass.uphill(slope, 0.2)
    np.testing.assert_allclose(found[0], np.full((2, 2, 1), 0.1), rtol=1e-6)
    assert not found[1].any() and found[2, 1, 1, 0] == pytest.approx(-0.2)


def test_the_published_net():
    """1,512,751 weights at 40x40 in grey: four of them the CRF's."""
    net, x = nets.FCN(mass.PRESETS["paper"].channels), jnp.zeros((1, 40, 40, 1))
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), x, x)
    table = (4 * 44 + 44) + (4 * 44 * 16 + 16) + (81 * 16 * 335 + 335) + (335 * 3200 + 3200) + 4
    assert out.shape == (1, 40, 40, 2)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables)) == table == 1_512_751


def test_regions_that_are_too_small():
    """Of which nothing is left after the convolutions: a line."""
    with pytest.raises(UserError, match="regions of 6 pixels are too small for these convolutions: 7 are needed"):
        mass.setup(dataclasses.replace(CFG, side=6))


def test_measure_knows_what_a_net_has_that_is_blind(monkeypatch):
    """Dice of the pixels that most training regions have, beside a net that says the truth, and one that says all."""
    cfg = dataclasses.replace(CFG, side=7, around=(1.5, 1.5))
    source = mass.maps(cfg)
    train, test = ({name: a[:256] for name, a in split.whole().items()} for split in (source, source.test))
    known, rows = (source.test.make(raw, jax.random.key(0), 0, 256) for raw in (train, test))
    y = np.asarray(rows["y"])
    usual = np.asarray(known["y"]).sum(0) > 128
    both = sum((usual & (one == 1)).sum() for one in y)
    for said, dice in ((lambda *_: rows["y"], 1), (lambda *_: jnp.ones_like(rows["y"]), 2 * y.mean() / (1 + y.mean()))):
        monkeypatch.setattr(mass, "said", said)
        found = mass.measure(cfg, None, jax.random.key(1), train, test)
        assert found["dice"] == pytest.approx(dice, rel=1e-5)
        assert found["dice_blind"] == pytest.approx(2 * both / (usual.sum() * len(y) + y.sum()), rel=1e-5)
