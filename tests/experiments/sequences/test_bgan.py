"""The step of the boundary-seeking GAN of bits against its formulas, draw by draw; its nets and its samples."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import bgan
from gan_jax.game import rng
from gan_jax.nets import bgan as nets
from gan_jax.nets import mlp

B, M, Z, SHAPE = 3, 4, 2, (2, 2, 1)
CFG = dataclasses.replace(bgan.PRESETS["tiny"], batch_size=B, samples=M, z_dim=Z, g_lr=0.03, d_lr=0.02)


class Logits(nn.Module):
    """Latent [b, z] -> logits [b, *SHAPE], by a perceptron."""

    @nn.compact
    def __call__(self, z, train=True):
        return mlp.MLP(4, 5)(z).reshape(-1, *SHAPE)


def logits(params, z):
    return oracle.mlp(params, z).reshape(-1, *SHAPE)


def odds(params, x):
    """F of one picture."""
    return oracle.mlp(params, x.reshape(1, -1))[0, 0]


@pytest.fixture
def small(monkeypatch):
    """Perceptrons, G's with batch norm, for pictures of four pixels."""
    build = bgan.build

    def of(cfg):
        return oracle.Normed(Logits()), mlp.D(5), *build(cfg)[2:]

    monkeypatch.setattr(bgan, "build", of)
    monkeypatch.setattr(bgan, "bits", lambda cfg: bgan.data.Source("four", {"x": bgan.data.Field(SHAPE, "image")}))


@jax.jit
def updated(g, d, x, z, u, of_batch, baseline):
    """G and D after a step; of_batch: weights are over the batch (MaliGAN's), not over the draws of a latent."""
    p, _ = oracle.with_norm(lambda *given: oracle.sigmoid(logits(*given)))(g.params, g.stats, z)
    draws = [[jnp.where(u[m, b] < p[b], 1.0, -1.0) for m in range(M)] for b in range(B)]
    w = jnp.exp(jnp.array([[odds(d.params, draws[b][m]) for m in range(M)] for b in range(B)]))  # [b, m]
    w = jnp.where(of_batch, w / w.sum() * B - baseline / M, w / w.sum(1).reshape(B, 1))

    def g_loss(params):
        p, stats = oracle.with_norm(lambda *given: oracle.sigmoid(logits(*given)))(params, g.stats, z)
        total = 0.0
        for b in range(B):
            for m in range(M):
                total -= w[b, m] * jnp.log(jnp.where(draws[b][m] > 0, p[b], 1 - p[b])).sum() / B
        return total, stats

    def d_loss(params):
        chance = lambda x: oracle.sigmoid(odds(params, x))
        real = sum(jnp.log(chance(one)) for one in x) / B
        return -real - sum(jnp.log(1 - chance(one)) for of in draws for one in of) / (B * M), {}

    adam = functools.partial(oracle.moved, oracle.adam, b1=CFG.b1)
    return adam(g, g_loss, CFG.g_lr), adam(d, d_loss, CFG.d_lr)


def paper(start, xs, of_batch=False):
    g, d = oracle.started(start.g, start.d)
    for t, x in enumerate(xs):
        z, u = rng.uniform(rng.at(start.key, t, "z"), (B, Z)), rng.uniform(rng.at(start.key, t, "u"), (M, B, *SHAPE))
        g, d = updated(g, d, x, z, u, of_batch, np.float32(t / CFG.steps))
    return g, d


def test_step_is_the_paper_s(small):
    """Three steps equal the formulas in float64; weights over the whole batch would make other nets."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).choice([-1.0, 1.0], (3, B, *SHAPE))
        start, end, found = oracle.played(bgan, CFG, [{"x": x} for x in xs])
        oracle.same((end.g, end.d), paper(start, xs))
        oracle.differ((end.g, end.d), paper(start, xs, True), rtol=1e-4)
        assert 1 < found["effective"] < M


def test_maligan_s_weights(small):
    """Over all draws of the batch, less a baseline that grows with the steps; those of BGAN make other nets."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).choice([-1.0, 1.0], (3, B, *SHAPE))
        start, end, _ = oracle.played(bgan, dataclasses.replace(CFG, over="batch"), [{"x": x} for x in xs])
        oracle.same((end.g, end.d), paper(start, xs, True))
        oracle.differ((end.g, end.d), paper(start, xs), rtol=1e-4)


def test_the_published_nets():
    """Of the authors' code for 28x28: counted by hand."""
    cfg = bgan.PRESETS["paper"]
    assert (cfg.samples, cfg.batch_size, cfg.g_lr, cfg.d_lr, cfg.b1) == (20, 64, 1e-4, 1e-4, 0.5)
    given = ((nets.G((28, 28, 1), cfg.width, cfg.hidden), (1, 64)), (nets.D(cfg.width, cfg.hidden), (1, 28, 28, 1)))
    trees = [jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))["params"] for net, shape in given]
    g, d = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in trees)
    assert g == 64 * 1024 + 2 * 1024 + 1024 * 6272 + 2 * 6272 + 25 * 128 * 64 + 2 * 64 + 25 * 64 + 1
    assert d == 25 * 64 + 64 + 25 * 64 * 128 + 128 + 6272 * 1024 + 1024 + 1024 + 1


def test_bits_are_drawn_by_their_probabilities():
    """Of even noise: a pixel is white as often as its logit says, and -1 or 1."""
    u = (np.arange(1000) + 0.5) / 1000
    for p in (0.0001, 0.3, 0.9):
        x = np.asarray(bgan.drawn(jnp.full((1000, 1, 1, 1), np.log(p / (1 - p))), jnp.float32(u).reshape(-1, 1, 1, 1)))
        assert set(np.unique(x)) <= {-1.0, 1.0} and abs((x > 0).mean() - p) < 1e-3
