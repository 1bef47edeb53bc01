"""The step of the boundary-seeking GAN of grey against its formulas, row by row."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import bgan_continuous
from gan_jax import data
from gan_jax.game import rng
from gan_jax.nets import dcgan, mlp

B, Z = 3, 2
CFG = dataclasses.replace(
    bgan_continuous.PRESETS["tiny"], dataset="ring8", batch_size=B, z_dim=Z, gamma=0.7, g_lr=0.03, d_lr=0.02
)


@pytest.fixture
def small(monkeypatch):
    """Perceptrons with batch norm, for points."""
    build = bgan_continuous.build
    monkeypatch.setattr(bgan_continuous, "build", lambda cfg: (mlp.G((2,), 5), mlp.D(5), *build_tx(cfg)))

    def build_tx(cfg):
        return build(dataclasses.replace(cfg, dataset="digits"))[2:]

    oracle.normed(bgan_continuous, monkeypatch)


@jax.jit
def updated(g, d, log_z, x, z, border):
    """G, D and log Z after a step; border: 1 where G is drawn to log Z, 0 where to F = 0."""
    G, D = oracle.with_norm(oracle.mlp), oracle.with_norm(lambda *given: oracle.mlp(*given)[:, 0])
    fake, _ = G(g.params, g.stats, z)
    total = sum(jnp.exp(score) for score in D(d.params, d.stats, fake)[0])

    def g_loss(params):
        made, stats = G(params, g.stats, z)
        scores, _ = D(d.params, d.stats, made)
        return sum((score - border * log_z) ** 2 for score in scores) / B, stats

    def d_loss(params):
        real, stats = D(params, d.stats, x)
        made, _ = D(params, d.stats, fake)
        logs = [jnp.log(oracle.sigmoid(real[i])) + jnp.log(1 - oracle.sigmoid(made[i])) for i in range(B)]
        return -sum(logs) / B, stats

    adam = functools.partial(oracle.moved, oracle.adam, b1=CFG.b1)
    return adam(g, g_loss, CFG.g_lr), adam(d, d_loss, CFG.d_lr), 0.7 * log_z + 0.3 * jnp.log(total / B)


def paper(start, xs, border=1.0):
    (g, d), log_z = oracle.started(start.g, start.d), jnp.float64(0)
    for t, x in enumerate(xs):
        g, d, log_z = updated(g, d, log_z, x, rng.uniform(rng.at(start.key, t, "z"), (B, Z)), border)
    return g, d, log_z


def test_step_is_the_paper_s(small):
    """Four steps equal the formulas in float64; without log Z they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).standard_normal((4, B, 2))
        start, end, _ = oracle.played(bgan_continuous, CFG, [{"x": x} for x in xs])
        oracle.same((end.g, end.d, end.log_z), paper(start, xs))
        oracle.differ((end.g, end.d), paper(start, xs, 0.0)[:2], rtol=1e-4)


@pytest.mark.parametrize("units", [True, False])
def test_g_listens_to_what_latents_differ_in(units):
    """However much they have in common, where each unit of the first layer is normalised: not so in DCGAN's own G."""
    G, z = dcgan.G((16, 16, 1), 4, units=units), jax.random.normal(jax.random.key(0), (16, 4))
    values = G.init(jax.random.key(1), z)
    spread = lambda z: G.apply(values, z, mutable=["batch_stats"])[0].std(0).mean()
    kept = spread(z + 100) / spread(z)
    assert kept > 0.95 if units else kept < 0.2


def test_the_published_numbers(monkeypatch):
    """50 epochs of CelebA's 202,599 pictures in batches of 64, and nets of 128 channels: counted by hand."""
    cfg = bgan_continuous.PRESETS["paper"]
    assert abs(cfg.steps - 50 * 202_599 / 64) < 1
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field((64, 64, 3), "image")}))
    state = jax.eval_shape(functools.partial(bgan_continuous.init, cfg), jax.random.key(0))
    count = lambda player: sum(leaf.size for leaf in jax.tree.leaves(player.params))
    between = 16 * (128 * 256 + 256 * 512 + 512 * 1024)
    norms = 2 * (256 + 512 + 1024)
    assert count(state.d) == 16 * 3 * 128 + 128 + between + norms + 16 * 1024 + 1
    assert count(state.g) == 128 * 16 * 1024 + between + norms + 2 * 15 * 1024 + 2 * 128 + 16 * 128 * 3 + 3
