"""DiscoGAN's step against the objective of the paper, row by row."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import discogan
from gan_jax.nets import discogan as nets

CFG = dataclasses.replace(discogan.PRESETS["default"], batch_size=2, width=8, depth=1, lr=1e-2, reconstruction=3.0)


def net(p, x):
    return oracle.mlp(p, x, 1)


@jax.jit
def paper(players, a, b, both):
    """One update of all four; both: 1, or 0 for the planted deviation, a alone is to come back."""
    log = lambda d, x: jnp.log(oracle.sigmoid(net(d, x)[0]))
    log_not = lambda d, x: jnp.log(1 - oracle.sigmoid(net(d, x)[0]))
    ab, ba, d_a, d_b = (p.params for p in players)
    rows = list(zip(a, b, strict=True))

    def of_translators(ab, ba):
        value = 0.0
        for x, y in rows:
            value -= log(d_b, net(ab, x)) + log(d_a, net(ba, y))
            value += CFG.reconstruction * ((net(ba, net(ab, x)) - x) ** 2).mean()
            value += both * CFG.reconstruction * ((net(ab, net(ba, y)) - y) ** 2).mean()
        return value / 2

    ab_grads, ba_grads = jax.grad(of_translators, (0, 1))(ab, ba)
    a_grads = jax.grad(lambda d: -sum(log(d, x) + log_not(d, net(ba, y)) for x, y in rows) / 2)(d_a)
    b_grads = jax.grad(lambda d: -sum(log(d, y) + log_not(d, net(ab, x)) for x, y in rows) / 2)(d_b)
    grads = ab_grads, ba_grads, a_grads, b_grads
    return [oracle.adam(p, g, CFG.lr, CFG.b1) for p, g in zip(players, grads, strict=True)]


def test_step_is_the_paper_s():
    """Two steps equal the paper in float64; with one reconstruction of the two they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 2, 2, 2))
        start, end, _ = oracle.played(discogan, CFG, [{"x": {"x": b}, "source": {"x": a}} for a, b in xs])

        def theirs(both):
            players = oracle.started(*start[2:6])
            for a, b in xs:
                players = paper(players, a, b, both)
            return players

        oracle.same(list(end[2:6]), theirs(1.0))
        oracle.differ(list(end[2:6]), theirs(0.0))


@pytest.mark.parametrize("way", [1, -1])
def test_the_angles_of_cars(monkeypatch, way):
    """Correlated 1 where every translation is turned on by the same angle, -1 where the other way round, else neither."""
    monkeypatch.setattr(discogan, "forward", lambda G, params, stats, x: (x, stats))
    monkeypatch.setattr(discogan, "build", lambda cfg: (None,))
    pictures = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 1)).astype(np.uint8)
    angles = 15 * np.arange(24, dtype=np.int32)
    same = types.SimpleNamespace(params={})
    state = types.SimpleNamespace(g_ab=same, g_ba=same)
    test = {"source": {"x": jnp.asarray(pictures), "angle": jnp.asarray(angles)}}
    cfg = types.SimpleNamespace(dataset="digits")
    monkeypatch.setattr(discogan.data, "load", lambda name: types.SimpleNamespace(shape=(4, 4, 1)))
    seen = lambda of_b: discogan.measure(cfg, state, None, {"x": {"x": jnp.asarray(pictures), "angle": of_b}}, test)
    found = seen(jnp.asarray((40 + way * angles) % 360))
    for name in ("angle/translated", "axis/translated", "angle/as_it_is", "axis/as_it_is"):
        np.testing.assert_allclose(found[name], way, rtol=1e-5)
    turned = seen(jnp.asarray((way * angles + 180 * (np.arange(24) % 2)) % 360))  # every second one back to front
    assert abs(float(turned["angle/translated"])) < 1e-5
    np.testing.assert_allclose(turned["axis/translated"], way, rtol=1e-5)
    mixed = np.random.default_rng(1).permutation(angles)
    assert abs(float(seen(jnp.asarray(mixed))["angle/translated"])) < 0.5
    assert seen(jnp.full(24, 90))["angle/translated"] == 0  # one view of all, which is no number over no number
    assert seen(jnp.asarray(angles))["ab"].x.shape == (3, 12, 4, 4, 1)
    assert discogan.measure(cfg, state, None, {}, {}) == {}


def size(net, x):
    """Return (the shape of the net's output, how many parameters it has)."""
    out, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
    return out.shape, sum(p.size for p in jax.tree.leaves(variables))


def test_the_published_nets():
    """The authors' layers at 64x64 in colours, counted by hand: four down, a code of 100 numbers, five up; no biases."""
    x = jnp.zeros((2, 64, 64, 3))
    down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    up = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    assert size(nets.G((64, 64, 3)), x) == (x.shape, down + 16 * 512 * 100 + up)
    assert size(nets.D(), x) == ((2,), down + 16 * 512)


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 16, 1), (28, 19, 3)])
def test_pictures_of_any_size(shape):
    """A picture to a picture, and to one score."""
    x = jnp.zeros((2, *shape))
    assert size(nets.G(shape, 4), x)[0] == x.shape and size(nets.D(4), x)[0] == (2,)


def test_what_the_nets_see():
    """D's score depends on all pixels; G's picture moves in as many directions as its code has numbers."""
    x, D, G = jax.random.normal(jax.random.key(0), (1, 8, 8, 1)), nets.D(2), nets.G((8, 8, 1), 2, code=3)
    params = jax.jit(D.init)(jax.random.key(1), x)
    assert (jax.jit(jax.grad(lambda x: D.apply(params, x).sum()))(x) != 0).all()
    params = jax.jit(lambda key: jax.tree.map(lambda p: 20 * p, G.init(key, x)))(jax.random.key(2))
    moves = jax.jit(jax.jacobian(lambda x: G.apply(params, x).reshape(-1)))(x).reshape(64, 64)
    assert np.linalg.matrix_rank(np.asarray(moves), rtol=1e-4) == 3
