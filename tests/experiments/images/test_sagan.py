"""SAGAN's step against its formulas in plain loops: attention query by query, power iterations in both nets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import resnets

from experiments.images import sagan
from gan_jax import data
from gan_jax.game import rng

B, N, CLASSES, SHAPE = 3, 1, 3, (8, 8, 1)  # rows of an update, updates of D
CFG = dataclasses.replace(
    sagan.PRESETS["tiny"], dataset="small", batch_size=B, d_steps=N, width=1, g_lr=1e-2, d_lr=2e-2
)


@pytest.fixture
def small(monkeypatch):
    """A set of 8x8 images of three classes."""
    fields = {"x": data.Field(SHAPE, "image"), "y": data.label(CLASSES)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))


def G(p, stats, z, y):
    return resnets.G(p, stats, z, y, SHAPE, CLASSES, spectral=True, attentive=True)


def D(p, stats, x, y):
    return resnets.D(p, stats, x, y, CLASSES, 1, attentive=True)


@jax.jit
def paper(g, d, x, y, zs, asked, met):
    """N updates of D, then one of G; met: G's update meets the D after them, or, with 0, the one before."""
    first = d
    for i in range(N):
        fake, _ = G(g.params, g.stats, zs[i], asked[i])

        def d_loss(w, d=d, fake=fake, i=i):
            (real, stats), (made, _) = D(w, d.stats, x[i::N], y[i::N]), D(w, d.stats, fake, asked[i])
            return -sum(
                jnp.minimum(0, r - 1) + jnp.minimum(0, -1 - f) for r, f in zip(real, made, strict=True)
            ) / B, stats

        d = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1, b2=CFG.b2)
    other = jax.tree.map(lambda a, b: jnp.where(met, a, b), d, first)

    def g_loss(theta):
        fake, stats = G(theta, g.stats, zs[N], asked[N])
        return -sum(D(other.params, other.stats, fake, asked[N])[0]) / B, stats

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
    """Two steps equal the formulas in float64, singular vectors too; with G against the D of before they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, B * N, *SHAPE))
        ys = np.random.default_rng(1).integers(0, CLASSES, (2, B * N)).astype(np.int32)
        start, end, _ = oracle.played(sagan, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(met):
            players = oracle.started(start.g, start.d)
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                players = paper(*players, x, y, *drawn(start.key, t), met)
            return list(players)

        oracle.same([end.g, end.d], theirs(1), rtol=1e-7)
        oracle.differ([end.g, end.d], theirs(0), rtol=1e-7)


def test_the_preset_paper(monkeypatch):
    """StudioGAN's numbers, and the sizes of its nets; G's blocks lack its biases, three times c each."""
    cfg = sagan.PRESETS["paper"]
    assert (cfg.batch_size, cfg.d_steps, cfg.steps) == (64, 5, 100_000)
    assert (cfg.g_lr, cfg.d_lr, cfg.b1, cfg.b2) == (2e-4, 2e-4, 0.5, 0.999)
    g, d = resnets.sizes(sagan, monkeypatch, cfg.z_dim)
    assert g == resnets.g_size(256, 128, 10) + resnets.attention_size(256) == 4_386_308 - 9 * 256
    assert d == resnets.d_size(128, 10) + resnets.attention_size(128) == 1_075_586
