"""Triangle GAN's step against the paper's objective row by row, and its nets against the authors' table of layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import triangle
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.nets import triangle as nets

CFG = dataclasses.replace(triangle.PRESETS["toy"], batch_size=3, width=8, d_steps=2, g_lr=1e-2, d_lr=2e-2, b1=0.5)


def net(p, *parts):
    return oracle.mlp(p, jnp.concatenate(parts), 3, slope=0.01)[0]


def yes(logit):
    return jnp.log(oracle.sigmoid(logit))


def no(logit):
    return jnp.log(1 - oracle.sigmoid(logit))


def d_1_loss(p, real, by_x, by_s):
    """Equation 1 of the paper: a pair of the data, and the two kinds that are made."""
    rows = [yes(net(p, *r)) + no(net(p, *a)) + no(net(p, *b)) for r, a, b in zip(real, by_x, by_s, strict=True)]
    return -sum(rows) / len(rows), {}


def d_2_loss(p, by_x, by_s):
    """Which of the two made it: 1 for x's own s-to-be, 0 for s's own x-to-be."""
    rows = [yes(net(p, *b)) + no(net(p, *a)) for a, b in zip(by_x, by_s, strict=True)]
    return -sum(rows) / len(rows), {}


def g_loss(p, z, given, d_1, d_2, of_x):
    """G fools D_1, and makes D_2 take its pairs for the other's."""
    value = 0.0
    for noise, one in zip(z, given, strict=True):
        made = net(p, noise, one)[None]
        pair = (made, one) if of_x else (one, made)
        value -= yes(net(d_1, *pair)) + (yes if of_x else no)(net(d_2, *pair))
    return value / len(given), {}


def paper(state, batches, d_steps):
    """Updates of the two Ds on one batch of fakes, then one of each translator."""
    g_x, g_s, d_1, d_2 = oracle.started(*state[2:6])
    adam, grad = (jax.jit(f, static_argnums=n) for f, n in ((oracle.adam, (2, 3)), (jax.grad(g_loss, has_aux=True), 5)))
    d_1_grad, d_2_grad = (jax.jit(jax.grad(loss, has_aux=True)) for loss in (d_1_loss, d_2_loss))
    for t, batch in enumerate(batches):
        x, s = batch["x"]["x"], batch["source"]["source"]
        z_x, z_s = (rng.normal(rng.at(state.key, t, name), (3, 2)) for name in ("g_x", "g_s"))
        real = list(zip(batch["pairs"]["x"], batch["pairs"]["source"], strict=True))
        by_x = [(net(g_x.params, z, one)[None], one) for z, one in zip(z_x, s, strict=True)]
        by_s = [(one, net(g_s.params, z, one)[None]) for z, one in zip(z_s, x, strict=True)]
        for _ in range(d_steps):
            of_1, of_2 = d_1_grad(d_1.params, real, by_x, by_s)[0], d_2_grad(d_2.params, by_x, by_s)[0]
            d_1, d_2 = adam(d_1, of_1, CFG.d_lr, CFG.b1), adam(d_2, of_2, CFG.d_lr, CFG.b1)
        of_x = grad(g_x.params, z_x, s, d_1.params, d_2.params, True)[0]
        of_s = grad(g_s.params, z_s, x, d_1.params, d_2.params, False)[0]
        g_x, g_s = adam(g_x, of_x, CFG.g_lr, CFG.b1), adam(g_s, of_s, CFG.g_lr, CFG.b1)
    return [g_x, g_s, d_1, d_2]


def test_step_is_the_paper_s():
    """Three steps equal the paper in float64; with another number of D's updates they would not."""
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        one = lambda: {name: jnp.asarray(draw.normal(size=(3, 1))) for name in ("x", "source")}
        batches = [{name: one() for name in ("pairs", "x", "source")} for _ in range(3)]
        start, end, _ = oracle.played(triangle, CFG, batches)
        oracle.same(list(end[2:6]), paper(start, batches, CFG.d_steps))
        oracle.differ(list(end[2:6]), paper(start, batches, CFG.d_steps + 1))


def test_unpaired_rows_are_of_no_common_record():
    """x and s come in orders of their own; pairs are few, always the same, and belong together."""
    cfg = dataclasses.replace(triangle.PRESETS["tiny"], pairs=20, batch_size=100)
    source = triangle.setup(cfg).source
    feed, key, seen = jax.tree.map(jnp.asarray, data.resident(source)), jax.random.key(3), set()
    batches = [data.batch(source, feed, key, i, 100) for i in range(4)]
    for batch in batches:
        np.testing.assert_array_equal(np.rot90(batch["pairs"]["x"], 1, (1, 2)), batch["pairs"]["source"])
        turned = np.rot90(batch["x"]["x"], 1, (1, 2))
        assert (turned == np.asarray(batch["source"]["source"])).all((1, 2, 3)).mean() < 0.1
        seen |= {picture.tobytes() for picture in np.asarray(batch["pairs"]["x"])}
        assert (np.bincount(batch["pairs"]["y"], minlength=10) == 10).all()
    assert len(seen) == 20


def test_the_nets_of_the_paper():
    """Parameters of 28x28: (25 + 1) 32, (800 + 1) 64, (1600 + 1) 128, then 512 to 784, or 1,280 to 1; any size fits."""
    x, key = jnp.zeros((2, 28, 28, 1)), jax.random.key(0)
    G, D, convs = nets.G((28, 28, 1)), nets.D(), 26 * 32 + 801 * 64 + 1601 * 128
    size = lambda net, *given: sum(a.size for a in jax.tree.leaves(jax.eval_shape(net.init, key, *given)))
    assert size(G, x, key) == convs + 513 * 784 and size(D, x, x, key) == convs + 1281
    for h, w, c in ((8, 8, 1), (16, 12, 3), (33, 33, 3)):
        made, _ = jax.eval_shape(nets.G((h, w, c), 4).init_with_output, key, jnp.zeros((2, h, w, c)), key)
        assert made.shape == (2, h, w, c)


def test_noise_that_is_not_there():
    """A tenth of the features is lost, afterwards too, and the rest is as large on average as all of it was."""
    key, x = jax.random.key(0), jnp.ones((40, 8, 8, 1))
    of = lambda rate: nets.Features(8, rate).init_with_output(key, x, jax.random.key(1))[0]
    whole, some = of(0.0), of(0.1)
    lost = (some == 0) & (whole > 0)
    assert 0.08 < lost.sum() / (whole > 0).sum() < 0.12
    np.testing.assert_allclose(some, np.where(lost, 0, whole / 0.9), rtol=1e-5)
    G = nets.PointG((1,), 8)
    params = G.init(key, x[:, 0, 0], key)
    one, other = (G.apply(params, x[:, 0, 0], jax.random.key(i), train=False) for i in (1, 2))
    assert not np.allclose(one, other) and one.std() > 0


def test_pictures_that_are_no_squares(monkeypatch):
    """A picture beside itself turned would fit nowhere: a line."""
    monkeypatch.setattr(data, "load", lambda name: data.Source("wide", {"x": data.Field((4, 8, 1), "image")}))
    with pytest.raises(UserError, match="wide has no squares, which could be turned by a quarter: say --size"):
        triangle.setup(triangle.PRESETS["tiny"])
