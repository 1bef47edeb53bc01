"""The conditional GAN's step with each kind of D against its algorithm in plain loops, and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.labels import cgan
from gan_jax.errors import UserError
from gan_jax.game import rng

B = 3
CFG = dataclasses.replace(cgan.PRESETS["ring"], batch_size=B, width=8, z_dim=2, lr=1e-2)


def beside(x, y):
    """x [b, c] with the labels y [b] beside it, one-hot."""
    return jnp.concatenate([x, jnp.stack([jnp.where(jnp.arange(8) == label, 1.0, 0.0) for label in y])], 1)


@oracle.with_norm
def G(p, z, y):
    return oracle.mlp(p["net"], beside(z, y))


def D_of(kind):
    """Return D by hand: x, y -> ([b] probability that x is real, [b] log P(y | x))."""

    @oracle.with_norm
    def D(p, x, y):
        h = beside(x, y) if kind == "concat" else x
        for i in range(2):
            h = jnp.where((h := oracle.dense(p[f"Dense_{i}"], h)) > 0, h, 0.2 * h)
        score, log_p = oracle.dense(p["Dense_3" if kind == "acgan" else "Dense_2"], h)[:, 0], jnp.zeros(B)
        if kind == "projection":
            score += jnp.stack([row @ p["Embed_0"]["embedding"][label] for row, label in zip(h, y, strict=True)])
        if kind == "acgan":
            rows = zip(oracle.dense(p["Dense_2"], h), y, strict=True)
            log_p = jnp.stack([jnp.log(jnp.exp(row[label]) / jnp.exp(row).sum()) for row, label in rows])
        return oracle.sigmoid(score), log_p

    return D


@functools.partial(jax.jit, static_argnames="kind")
def paper(g, d, z, x, y, asked, kind):
    """D ascends log D(x, y) + log(1 - D(G(z, y), y)), with log P of both labels; G log D(G(z, y), y) with log P."""
    D = D_of(kind)

    def d_loss(w):
        (real, real_log_p), stats = D(w, d.stats, x, y)
        (fake, fake_log_p), _ = D(w, d.stats, G(g.params, g.stats, z, y + asked)[0], y)
        rows = zip(real, fake, real_log_p, fake_log_p, strict=True)
        return -sum(jnp.log(r) + jnp.log(1 - f) + a + b for r, f, a, b in rows) / B, stats

    def g_loss(theta):
        made, stats = G(theta, g.stats, z, y + asked)
        (fake, log_p), _ = D(d.params, d.stats, made, y)
        return -sum(jnp.log(f) + a for f, a in zip(fake, log_p, strict=True)) / B, stats

    return [oracle.moved(oracle.adam, p, loss, CFG.lr, CFG.b1) for p, loss in ((g, g_loss), (d, d_loss))]


@pytest.mark.parametrize("kind", ["concat", "projection", "acgan"])
def test_step_is_the_paper_s(kind, monkeypatch):
    """Two steps equal the loops in float64; with a G that is asked for the next label they would not."""
    oracle.normed(cgan, monkeypatch)
    cfg = dataclasses.replace(CFG, d_net=kind)
    with jax.enable_x64(True):
        xs, ys = np.random.default_rng(0).normal(size=(2, B, 2)), np.array([[0, 3, 2], [6, 3, 1]], np.int32)
        start, end, _ = oracle.played(cgan, cfg, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(asked):
            players = oracle.started(start.g, start.d)
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                z = rng.normal(rng.at(start.key, t, "z"), (B, cfg.z_dim))
                players = paper(*players, z, x, y, asked, kind)
            return players

        oracle.same([end.g, end.d], theirs(0))
        oracle.differ([end.g, end.d], theirs(1))


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


def test_the_labels_of_samples(monkeypatch):
    """`labels` gives what `sample` asked G for with the same key, all of them in the long run."""
    cfg = cgan.PRESETS["images"]
    monkeypatch.setattr(cgan, "generate", lambda cfg, state, z: z["y"])
    key = jax.random.key(3)
    y = cgan.labels(cfg, key, 200)
    np.testing.assert_array_equal(cgan.sample(cfg, None, key, 200), y)
    assert set(np.asarray(y).tolist()) == set(range(10))


def test_a_set_without_labels_is_refused(monkeypatch):
    """Main says so in one line."""
    source = cgan.data.load("digits")
    source = dataclasses.replace(source, fields={"x": source.fields["x"]})
    monkeypatch.setattr(cgan.data, "load", lambda name: source)
    with pytest.raises(UserError, match="no labels"):
        cgan.main(["--dataset=digits"])
