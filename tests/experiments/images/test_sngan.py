"""SN-GAN's step against its formulas in plain loops: hinges, conditional batch norm, projection, power iterations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import resnets

from experiments.images import sngan
from gan_jax import UserError, data
from gan_jax.game import rng

B, N, CLASSES, SHAPE = 3, 2, 3, (8, 8, 1)  # rows of an update, updates of D
CFG = dataclasses.replace(
    sngan.PRESETS["tiny"], dataset="small", batch_size=B, d_steps=N, width=1, g_lr=1e-2, d_lr=2e-2
)


@pytest.fixture
def small(monkeypatch):
    """A set of 8x8 images of three classes."""
    fields = {"x": data.Field(SHAPE, "image"), "y": data.label(CLASSES)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))


def G(p, stats, z, y):
    return resnets.G(p, stats, z, y, SHAPE, CLASSES)


def D(p, stats, x, y):
    return resnets.D(p, stats, x, y, CLASSES, 1)


@jax.jit
def paper(g, d, x, y, zs, asked, carried):
    """N updates of D on data and noise of their own, then one of G; carried: 1, or 0 if u is always the first one."""
    first = d.stats
    for i in range(N):
        fake, _ = G(g.params, g.stats, zs[i], asked[i])

        def d_loss(w, d=d, fake=fake, i=i):
            (real, stats), (made, _) = D(w, d.stats, x[i::N], y[i::N]), D(w, d.stats, fake, asked[i])
            least = [jnp.minimum(0, r - 1) + jnp.minimum(0, -1 - f) for r, f in zip(real, made, strict=True)]
            return -sum(least) / B, jax.tree.map(lambda a, b: jnp.where(carried, a, b), stats, first)

        d = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1, b2=CFG.b2)

    def g_loss(theta):
        fake, stats = G(theta, g.stats, zs[N], asked[N])
        return -sum(D(d.params, d.stats, fake, asked[N])[0]) / B, stats

    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1, b2=CFG.b2), d


def drawn(key, t):
    """Return all noises and labels of step t."""
    zs, asked = [], []
    for i in range(N + 1):
        noise, which = jax.random.split(jax.random.fold_in(rng.at(key, t, "z"), i))
        zs.append(rng.normal(noise, (B, CFG.z_dim)))
        asked.append(jax.random.randint(which, (B,), 0, CLASSES, jnp.int32))
    return zs, asked


def test_step_is_the_paper_s(small):
    """Two steps equal the formulas in float64, singular vectors too; with those of the beginning they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, B * N, *SHAPE))
        ys = np.random.default_rng(1).integers(0, CLASSES, (2, B * N)).astype(np.int32)
        start, end, _ = oracle.played(sngan, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(carried):
            players = oracle.started(start.g, start.d)
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                players = paper(*players, x, y, *drawn(start.key, t), carried)
            return list(players)

        oracle.same([end.g, end.d], theirs(1), rtol=1e-7)
        oracle.differ([end.g, end.d], theirs(0), rtol=1e-7)


def test_the_preset_paper(monkeypatch):
    """StudioGAN's numbers, and the sizes of its nets; G's blocks lack its biases, three times c each."""
    cfg = sngan.PRESETS["paper"]
    assert (cfg.batch_size, cfg.d_steps, cfg.steps) == (64, 5, 100_000)
    assert (cfg.g_lr, cfg.d_lr, cfg.b1, cfg.b2) == (2e-4, 2e-4, 0.5, 0.999)
    found = resnets.sizes(sngan, monkeypatch, cfg.z_dim)
    assert found == (resnets.g_size(256, 128, 10), resnets.d_size(128, 10)) == (4_304_387 - 9 * 256, 1_055_105)


def test_measure_asks_for_every_label(monkeypatch):
    """With a G that writes its label and a judge that reads it all agree; a judge that is wrong about one says so."""
    cfg = sngan.PRESETS["tiny"]
    written = lambda cfg, state, z: jnp.broadcast_to(z["y"][:, None, None, None] / 10, (z["y"].size, 8, 8, 1))
    monkeypatch.setattr(sngan, "generate", written)
    read = lambda x: jax.nn.one_hot(jnp.round(x[:, 0, 0, 0] * 10).astype(int), 10)
    for judge, agreement in ((read, 1.0), (lambda x: read(x).at[:, 7].set(0), 0.9)):
        monkeypatch.setattr(sngan.classifier, "load", lambda name: judge)
        found = sngan.measure(cfg, None, jax.random.key(0), {}, {"y": jnp.arange(10)})
        np.testing.assert_allclose(found["agreement"], agreement, rtol=1e-6)
    rows = np.asarray(found["each_label"].x)[:, :, 0, 0, 0]
    np.testing.assert_allclose(rows * 10, np.arange(10)[:, None] * np.ones(10), rtol=1e-6)


def test_a_set_without_labels_is_refused(monkeypatch):
    """Main says so in one line."""
    source = data.load("digits")
    source = dataclasses.replace(source, fields={"x": source.fields["x"]})
    monkeypatch.setattr(data, "load", lambda name: source)
    with pytest.raises(UserError, match="no labels"):
        sngan.main(["--dataset=digits"])
