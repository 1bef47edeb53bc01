"""StackGAN's two stages against the paper's losses row by row; its published nets, and its conditioning augmentation."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.text import stackgan
from gan_jax import UserError
from gan_jax.game import rng
from gan_jax.metrics import joint_embedding
from gan_jax.nets import mlp
from gan_jax.nets import stackgan as nets

CFG = dataclasses.replace(stackgan.PRESETS["tiny"], first=2, text_dim=2, text=2, lr=1e-2, divergence=1.5)
B, SHAPE, KEY = 3, (4, 2, 1), jax.random.key(0)


class Drawn(nn.Module):
    """(t, a key, perhaps pictures) -> pictures of these sides, the divergence: a perceptron of all."""

    shape: tuple

    @nn.compact
    def __call__(self, t, key, *small, train=True):
        c, divergence = nets.Augmented(2)(t, key)
        return mlp.G(self.shape, 5, 1)(jnp.concatenate([c, *(x.reshape(len(t), -1) for x in small)], 1)), divergence


class Scored(nn.Module):
    """(x, t) -> a score."""

    @nn.compact
    def __call__(self, x, t, train=True):
        return mlp.D(5, 1)(jnp.concatenate([x.reshape(len(t), -1), t], 1))


class Letters(nn.Module):
    """Captions -> a linear function of their numbers."""

    @nn.compact
    def __call__(self, text):
        return nn.Dense(2)(1.0 * text)


def condition(p, t, noise):
    """Section 3.2 with the code's leaky ReLU: the condition, and its divergence row by row."""
    said = oracle.dense(p["Dense_0"], t)
    said = jnp.where(said > 0, said, 0.2 * said)
    mean, std = said[:, :2], jnp.exp(said[:, 2:])
    apart = [
        sum((std[i, k] ** 2 + mean[i, k] ** 2 - 1) / 2 - jnp.log(std[i, k]) for k in range(2)) / 2 for i in range(B)
    ]
    return mean + std * noise, jnp.stack(apart)


def net_of(p, *others):
    (name,) = [name for name in p if name not in others]
    return p[name]


def pictures(shape):
    def of(p, t, noise, *small):
        c, divergence = condition(p["Augmented_0"], t, noise)
        x = oracle.mlp(net_of(p, "Augmented_0"), jnp.concatenate([c, *(x.reshape(B, -1) for x in small)], 1), 1)
        return jnp.tanh(x).reshape(B, *shape), divergence

    return oracle.with_norm(of)


SMALL = SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2]
GS = pictures(SMALL), pictures(SHAPE)
D = oracle.with_norm(lambda p, x, t: oracle.mlp(net_of(p), jnp.concatenate([x.reshape(B, -1), t], 1), 1)[:, 0])


@functools.partial(jax.jit, static_argnums=0)
def update(stage, g, d, x, text, t, noise, small, weight):
    """Equations 3 to 6 with wrong pictures: each player moves by its loss at the players as they were."""
    p, G = oracle.sigmoid, GS[stage]

    def l_g(params):
        (fake, divergence), stats = G(params, g.stats, t, noise, *small)
        said = p(D(d.params, d.stats, fake, t)[0])
        return sum(-jnp.log(said[i]) + weight * divergence[i] for i in range(B)) / B, stats

    (fake, _), _ = G(g.params, g.stats, t, noise, *small)

    def l_d(params):
        real, stats = D(params, d.stats, x, t)
        wrong, _ = D(params, d.stats, jnp.stack([x[i - 1] for i in range(B)]), t)
        made, _ = D(params, d.stats, fake, t)
        total = 0.0
        for i in range(B):
            mistaken = jnp.where((text[i] == text[i - 1]).all(), 0, jnp.log(1 - p(wrong[i])))
            total -= jnp.log(p(real[i])) + (mistaken + jnp.log(1 - p(made[i]))) / 2
        return total / B, stats

    return [oracle.moved(oracle.adam, player, loss, CFG.lr, 0.5) for player, loss in ((g, l_g), (d, l_d))]


def paper(start, xs, texts, weight):
    """Both steps of stage I, then stage II, for which stage I draws, normalising by its batch, and stays."""
    g1, d1, g2, d2 = oracle.started(start.g1, start.d1, start.g2, start.d2)
    draws = jax.jit(lambda g, *given: GS[0](g.params, g.stats, *given))
    for i, (x, text) in enumerate(zip(xs, texts, strict=True)):
        t = oracle.dense(start.embedding["text"]["Dense_0"], text.astype(float))
        t = jnp.stack([row / jnp.sqrt((row**2).sum() / 2 + 1e-8) for row in t])
        one, two = (rng.truncated(key, (B, 2), 2.0) for key in jax.random.split(rng.at(start.key, i, "noise")))
        if i < CFG.first:
            means = [[[x[k, r : r + 2, s : s + 2].mean((0, 1)) for s in (0,)] for r in (0, 2)] for k in range(B)]
            g1, d1 = update(0, g1, d1, jnp.asarray(means), text, t, one, (), weight)
        else:
            (made, _), stats = draws(g1, t, one)
            g1 = g1._replace(stats=stats)
            g2, d2 = update(1, g2, d2, x, text, t, two, (made,), weight)
    return [g1, d1, g2, d2]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps of stage I and two of stage II in float64; with another weight of the divergence they differ."""
    tx, letters = stackgan.build(CFG)[-1], Letters()
    monkeypatch.setattr(stackgan, "build", lambda cfg: (Drawn(SMALL), Drawn(SHAPE), Scored(), tx))
    oracle.normed(stackgan, monkeypatch)
    fixed = {"text": letters.init(jax.random.key(3), jnp.zeros((1, 2), int))["params"]}
    monkeypatch.setattr(stackgan, "embedding", lambda cfg: type("Nets", (), {"text": letters}))
    monkeypatch.setattr(joint_embedding, "load", lambda *_: joint_embedding.Embedding(None, fixed))
    monkeypatch.setattr(stackgan.data, "load", lambda name: type("Set", (), {"shape": SHAPE}))
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        xs, texts = random.normal(size=(4, B, *SHAPE)), random.integers(0, 3, (4, B, 2))
        texts[:, 2] = texts[:, 1]  # a wrong picture that is none
        start, end, _ = oracle.played(stackgan, CFG, [{"x": x, "text": t} for x, t in zip(xs, texts, strict=True)])
        oracle.same(list(end[2:6]), paper(start, xs, texts, CFG.divergence))
        oracle.differ(list(end[2:6]), paper(start, xs, texts, 1.4))


def parameters(net, *given):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"]))


def test_the_published_nets():
    """64x64, then 256x256, counted by hand by the code's layers; a bias where no norm follows."""
    cfg, t = stackgan.PRESETS["paper"], jnp.zeros((2, 1024))
    x, large = jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 256, 256, 3))
    conv, of = lambda k, *c: sum(k * k * i * o for i, o in itertools.pairwise(c)), lambda *c: 2 * sum(c)
    block = lambda c: conv(1, c, c // 4) + conv(3, c // 4, c // 4, c) + of(c // 4, c // 4, c)
    condition, read = 1024 * 256 + 256, 1024 * 128 + 128
    first = 228 * 1024 * 16 + of(1024) + block(1024) + conv(3, 1024, 512) + of(512) + block(512)
    first += conv(3, 512, 256, 128, 3) + of(256, 128) + 3
    assert parameters(nets.First((64, 64, 3), cfg.z_dim, cfg.text, cfg.width), t, KEY) == condition + first
    second = conv(3, 3, 128) + 128 + conv(4, 128, 256, 512) + of(256, 512) + conv(3, 640, 512) + of(512)
    second += 4 * (conv(3, 512, 512, 512) + of(512, 512)) + conv(3, 512, 256, 128, 64, 32, 3) + of(256, 128, 64, 32) + 3
    assert parameters(nets.Second(4, cfg.text, cfg.width, cfg.blocks), t, KEY, x) == condition + second
    joined = read + conv(1, 640, 512) + of(512) + 16 * 512 + 1 + block(512)
    narrow = conv(4, 3, 64, 128, 256, 512) + 64 + of(128, 256, 512)
    assert parameters(nets.D(cfg.text, cfg.d_width), x, t) == joined + narrow
    wide = narrow + conv(4, 512, 1024, 2048) + conv(1, 2048, 1024, 512) + of(1024, 2048, 1024, 512)
    assert parameters(nets.D(cfg.text, cfg.d_width), large, t) == joined + wide


def test_both_stages_draw_pictures_of_the_set_s_sides():
    """48x48 in colours of 12x12; sides that can't be halved so often are refused."""
    t = jnp.zeros((2, 3))
    (x, _), _ = jax.eval_shape(nets.First((12, 12, 3), 5, 4, 2).init_with_output, KEY, t, KEY)
    assert x.shape == (2, 12, 12, 3)
    (x, divergence), _ = jax.eval_shape(nets.Second(4, 4, 2, 1).init_with_output, KEY, t, KEY, x)
    assert x.shape == (2, 48, 48, 3) and divergence.shape == (2,)
    with pytest.raises(UserError, match=r"named_digits8 is \(8, 8\): sides have to be multiples of 16"):
        stackgan.setup(dataclasses.replace(CFG, ratio=4))
