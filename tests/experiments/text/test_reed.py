"""Reed's step against Algorithm 1 row by row, with interpolated captions and the style's encoder; its published nets."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.text import reed
from gan_jax.game import rng
from gan_jax.metrics import joint_embedding
from gan_jax.nets import mlp
from gan_jax.nets import reed as nets

CFG = dataclasses.replace(reed.PRESETS["tiny"], z_dim=3, text_dim=2, wrong=0.3, between=0.6, lr=1e-2, halve=2)
B, X = 5, 4


class Joined(nn.Module):
    """A perceptron of both of its inputs."""

    out: int

    @nn.compact
    def __call__(self, a, b, train=True):
        return mlp.G((self.out,), 6, 1)(jnp.concatenate([a, b], 1))


class Scored(Joined):
    """Likewise, one score."""

    @nn.compact
    def __call__(self, a, b, train=True):
        return mlp.D(6, 1)(jnp.concatenate([a, b], 1))


class Letters(nn.Module):
    """Captions -> a linear function of their numbers."""

    @nn.compact
    def __call__(self, text):
        return nn.Dense(2)(1.0 * text)


def joined(p, a, b):
    """A perceptron of both, whatever it is called."""
    (net,) = p.values()
    return oracle.mlp(net, jnp.concatenate([a, b], 1), 1)


G = oracle.with_norm(joined)
D = oracle.with_norm(lambda p, x, t: joined(p, x, t)[:, 0])
S = oracle.with_norm(lambda p, x: oracle.mlp(p, x, 1))


@jax.jit
def paper(g, d, s, x, text, t, z, lr, wrong_weight):
    """The losses of one update, row by row, at the players as they were."""
    half = [(t[i] + t[i + B // 2]) / 2 for i in range(B // 2)]
    both = jnp.stack([*t, *half])
    p = lambda score: oracle.sigmoid(score)

    def l_g(params):
        fake, stats = G(params, g.stats, z, both)
        said = p(D(d.params, d.stats, fake, both)[0])
        rows = [-jnp.log(said[i]) * (1 if i < B else CFG.between) for i in range(B + B // 2)]
        return sum(rows) / (B + B // 2), stats

    fake, _ = G(g.params, g.stats, z, both)

    def l_d(params):
        real, stats = D(params, d.stats, x, t)
        mistaken, _ = D(params, d.stats, jnp.stack([x[i - 1] for i in range(B)]), t)
        made, _ = D(params, d.stats, fake[:B], t)
        total = 0.0
        for i in range(B):
            total += -jnp.log(p(real[i])) - (1 - CFG.wrong) * jnp.log(1 - p(made[i]))
            total -= wrong_weight * jnp.where((text[i] == text[i - 1]).all(), 0, jnp.log(1 - p(mistaken[i])))
        return total / B, stats

    def l_s(params):
        found, stats = S(params, s.stats, fake)
        return sum(((z[i] - found[i]) ** 2).sum() for i in range(len(z))) / len(z), stats

    rate = dict(g=(g, l_g), d=(d, l_d), s=(s, l_s))
    return [oracle.moved(oracle.adam, player, loss, lr, CFG.b1) for player, loss in rate.values()]


def test_step_is_the_paper_s(monkeypatch):
    """Three steps in float64, rate halved after two; an odd batch; with wrong captions at another weight they differ."""
    tx = reed.build(CFG)[-1]
    monkeypatch.setattr(reed, "build", lambda cfg: (Joined(X), Scored(1), mlp.G((3,), 6, 1), tx))
    oracle.normed(reed, monkeypatch)
    letters = Letters()
    fixed = {"text": letters.init(jax.random.key(3), jnp.zeros((1, 2), int))["params"]}
    monkeypatch.setattr(reed, "embedding", lambda cfg: type("Nets", (), {"text": letters}))
    monkeypatch.setattr(joint_embedding, "load", lambda *_: joint_embedding.Embedding(None, fixed))
    monkeypatch.setattr(reed.data, "load", lambda name: type("Set", (), {"shape": (X,)}))
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        xs, texts = random.normal(size=(3, B, X)), random.integers(0, 3, (3, B, 2))
        texts[:, 2] = texts[:, 1]  # a wrong picture that is none
        start, end, _ = oracle.played(reed, CFG, [{"x": x, "text": t} for x, t in zip(xs, texts, strict=True)])

        def theirs(wrong):
            players = oracle.started(start.g, start.d, start.s)
            for i, (x, text) in enumerate(zip(xs, texts, strict=True)):
                t = oracle.dense(start.embedding["text"]["Dense_0"], text.astype(float))
                t = jnp.stack([row / jnp.sqrt((row**2).sum() / 2 + 1e-8) for row in t])
                z = rng.normal(rng.at(start.key, i, "z"), (B + B // 2, CFG.z_dim))
                players = paper(*players, x, text, t, z, CFG.lr * 0.5 ** (i // 2), wrong)
            return players

        oracle.same([end.g, end.d, end.s], theirs(CFG.wrong))
        oracle.differ([end.g, end.d, end.s], theirs(0.4))
        jax.tree.map(np.testing.assert_array_equal, end.embedding, start.embedding)


def parameters(net, *given):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"]))


def test_the_published_nets():
    """Of 64x64 in colours, counted by hand: no convolution has a bias, two numbers a channel that is normalised."""
    cfg = reed.PRESETS["paper"]
    x, z, t = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, cfg.z_dim)), jnp.zeros((2, cfg.text_dim))
    block = lambda c: c * c // 4 + 9 * (c // 4) ** 2 + 9 * c * c // 4 + 2 * (c // 4 + c // 4 + c)
    text = 1024 * 128 + 128
    up = 16 * (228 * 1024 + 1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * (1024 + 512 + 256 + 128)
    assert parameters(nets.G((64, 64, 3), cfg.text, cfg.width), z, t) == text + up + block(1024) + block(512)
    down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (128 + 256 + 512)
    joined = (512 + 128) * 512 + 2 * 512 + 16 * 512
    assert parameters(nets.D(cfg.text, cfg.d_width), x, t) == down + text + 128 + joined
    other = nets.D(cfg.text, cfg.d_width, residual=True, norm=False)
    assert parameters(other, x, t) == down + text + joined + block(512)


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_pictures_of_any_size(shape):
    """Pictures of the size that was asked for, a score and a style of each."""
    key, z, t = jax.random.key(0), jnp.zeros((2, 3)), jnp.zeros((2, 4))
    x, _ = jax.eval_shape(nets.G(shape, 5, 2).init_with_output, key, z, t)
    assert x.shape == (2, *shape)
    assert jax.eval_shape(nets.D(5, 2).init_with_output, key, x, t)[0].shape == (2,)
    assert jax.eval_shape(nets.S(3, 2).init_with_output, key, x)[0].shape == (2, 3)
