"""The conditional GAN's step with each kind of D against its algorithm in plain loops, and what it measures."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.labels import cgan
from gan_jax.errors import UserError
from gan_jax.game import rng

CFG = dataclasses.replace(cgan.PRESETS["ring"], batch_size=2, width=8, z_dim=2, lr=1e-2)


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def label(y):
    return jnp.where(jnp.arange(8) == y, 1.0, 0.0)


def G(params, z, y):
    a, b, c = (params["net"]["MLP_0"][f"Dense_{i}"] for i in range(3))
    return dense(c, jnp.maximum(dense(b, jnp.maximum(dense(a, jnp.concatenate([z, label(y)])), 0)), 0))


def D(params, x, y, kind):
    """D's probability that x is real, and its log P(y | x)."""
    h = jnp.concatenate([x, label(y)]) if kind == "concat" else x
    for i in range(2):
        h = jnp.where((h := dense(params[f"Dense_{i}"], h)) > 0, h, 0.2 * h)
    score, log_p = dense(params["Dense_3" if kind == "acgan" else "Dense_2"], h)[0], 0.0
    if kind == "projection":
        score += h @ params["Embed_0"]["embedding"][y]
    if kind == "acgan":
        logits = dense(params["Dense_2"], h)
        log_p = jnp.log(jnp.exp(logits[y]) / jnp.exp(logits).sum())
    return 1 / (1 + jnp.exp(-score)), log_p


def adam(player, grads, b1=CFG.b1, b2=0.999):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    move = lambda p, m, v: p - CFG.lr * m / (1 - b1 ** (t + 1)) / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


def paper(state, batches, kind, asked):
    """D ascends log D(x, y) + log(1 - D(G(z, y), y)), with log P of both labels; G log D(G(z, y), y) with log P."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d))
    for t, (x, y) in enumerate(batches):
        zs = jax.random.normal(rng.at(state.key, t, "z"), (2, CFG.z_dim))

        def d_loss(w, x=x, y=y, zs=zs, g=g):
            total = 0.0
            for row in range(2):
                real, real_log_p = D(w, x[row], y[row], kind)
                fake, fake_log_p = D(w, G(g[0], zs[row], y[row] + asked), y[row], kind)
                total -= jnp.log(real) + jnp.log(1 - fake) + real_log_p + fake_log_p
            return total / 2

        def g_loss(theta, y=y, zs=zs, d=d):
            total = 0.0
            for row in range(2):
                fake, log_p = D(d[0], G(theta, zs[row], y[row] + asked), y[row], kind)
                total -= jnp.log(fake) + log_p
            return total / 2

        g, d = adam(g, jax.grad(g_loss)(g[0])), adam(d, jax.grad(d_loss)(d[0]))
    return g[0], d[0]


@pytest.mark.parametrize("kind", ["concat", "projection", "acgan"])
def test_step_is_the_paper_s(kind):
    """Two steps equal the loops in float64; with a G that is asked for the next label they would not."""
    cfg = dataclasses.replace(CFG, d_net=kind)
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(cgan.init, cfg))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, ys = np.random.default_rng(0).normal(size=(2, 2, 2)), np.array([[0, 3], [6, 3]], np.int32)
        now, step = state, jax.jit(functools.partial(cgan.step, cfg))
        for x, y in zip(xs, ys, strict=True):
            now, _ = step(now, {"x": x, "y": y})
        close = functools.partial(chex.assert_trees_all_close, (now.g.params, now.d.params), rtol=1e-9, atol=1e-12)
        loops = jax.jit(functools.partial(paper, kind=kind))
        batches = list(zip(xs, ys, strict=True))
        close(loops(state, batches, asked=0))
        with pytest.raises(AssertionError):
            close(loops(state, batches, asked=1))


@pytest.mark.parametrize("kind", ["concat", "projection", "acgan"])
def test_d_on_images_and_labels(kind):
    """Scores depend on the label unless D only classifies, and log P is one distribution over the labels, or 0."""
    net = cgan.conditional.D[kind](3, width=4)
    x, y = jax.random.normal(jax.random.key(0), (6, 8, 8, 1)), jnp.arange(6) % 3
    variables = jax.jit(net.init)(jax.random.key(1), x, y)
    said = [net.apply(variables, x, jnp.full(6, label), train=False) for label in range(3)]
    scores, log_p = np.stack([s for s, _ in said]), np.stack([p for _, p in said])
    assert scores.shape == log_p.shape == (3, 6)
    assert (np.ptp(scores, axis=0) == 0).all() if kind == "acgan" else (np.ptp(scores, axis=0) > 0).all()
    np.testing.assert_allclose(np.exp(log_p).sum(0), 1 if kind == "acgan" else 3, rtol=1e-5)


def test_measure_asks_for_every_label(monkeypatch):
    """With a G that writes its label and a judge that reads it all agree; a judge that is wrong about one label says so."""
    cfg = cgan.PRESETS["images"]
    written = lambda cfg, state, key, y: jnp.broadcast_to(y[:, None, None, None] / 10, (y.size, 8, 8, 1))
    monkeypatch.setattr(cgan, "draw", written)
    y = jnp.arange(10)
    read = lambda x: jax.nn.one_hot(jnp.round(x[:, 0, 0, 0] * 10).astype(int), 10)
    for judge, agreement in ((read, 1.0), (lambda x: read(x).at[:, 7].set(0), 0.9)):
        monkeypatch.setattr(cgan.classifier, "load", lambda name: judge)
        found = cgan.measure(cfg, None, jax.random.key(0), {}, {"y": y})
        np.testing.assert_allclose(found["agreement"], agreement, rtol=1e-6)
    assert found["each_label"].x.shape == (10, 10, 8, 8, 1)
    np.testing.assert_allclose(
        found["each_label"].x[:, :, 0, 0, 0] * 10, np.arange(10)[:, None] * np.ones(10), rtol=1e-6
    )


def test_a_set_without_labels_is_refused(monkeypatch):
    """Main says so in one line."""
    source = dataclasses.replace(cgan.data.load("digits"), classes=0)
    monkeypatch.setattr(cgan.data, "load", lambda name: source)
    with pytest.raises(UserError, match="no labels"):
        cgan.main(["--dataset=digits"])
