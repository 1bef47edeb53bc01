"""CPPN GAN: G makes each pixel of its place and a latent: what learned from small pictures draws them at any size.

hardmaru 2016, "Generating Large Images from Latent Vectors, Part Two", an article with code; G is residual (He et al.
2016, arXiv 1512.03385). E makes a latent of a picture, G a picture of that; no pixels are compared. D tells the classes
and what is drawn. E and G descend -log D(label | drawn) + `kl` times E's KL divergence from the prior, a pixel; D
descends (classes * -log D(label | real) - log D(fake | drawn)) / (classes + 1). In each step E and G go on until D
reads enough of what they draw; where it does, and D catches too few, D goes on until it catches enough; else a D that
misreads data learns from these alone.

Differences from the paper, which is the author's code:
1. The test split is held out (there: part of what is trained on). No bias stands before a norm, which takes it away.
2. D's updates from data alone share its Adam. Except in `paper` G is wider and shallower; D and batches are smaller.

    python -m experiments cppn     MNIST at 26x26; its test digits drawn again so, and at 104x104
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import classifier
from gan_jax.nets import cppn
from gan_jax.run import Count, Decay, Depth, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # any TFDS image set with labels by name
    steps: Count = 400  # batches, each for several updates of E with G, and of D
    batch_size: Count = 32  # pictures a step
    margin: Count = 2  # pixels of both sides that a random cut takes off
    z_dim: Count = 32  # the latent, standard normal
    width: Count = 8  # units of G's layers
    depth: Depth = 5  # residual blocks of G, of five layers each
    drop: Share = 0.35  # E's units that rest in training
    d_width: Count = 16  # channels of D's first layer
    kl: float = 10.0  # weight of the KL divergence a pixel
    clip: float = 5.0  # the largest norm of a gradient
    g_lr: float = 1e-3  # Adam's rate for E and G
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.75  # Adam's decay of the first moment
    g_steps: Count = 8  # updates of E and G a step, at most
    g_enough: Share = 0.98  # drawings whose label D sees, above which E and G rest
    d_steps: Count = 4  # updates of D a step, at most
    g_able: Share = 0.6  # drawings whose label D sees, above which D may learn
    d_behind: Share = 0.7  # drawings that D catches, below which it learns ...
    d_enough: Share = 0.75  # ... until they are more than these
    real_poor: Share = 0.6  # data whose label D sees, below which it learns from data alone ...
    real_enough: Share = 0.7  # ... until they are more than these


PRESETS = {
    "default": Config(),
    "paper": Config("mnist", 210_000, 1000, width=6, depth=24, d_width=32, g_steps=16, d_steps=8),
    "tiny": Config("digits", 6, 8, z_dim=4, width=3, depth=1, d_width=2, g_steps=2, d_steps=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # with E
    d: Player


def cut(cfg):  # pictures that have lost their margins
    source = data.load(cfg.dataset)
    return data.cut(source, min(source.shape[:2]) - cfg.margin)


def build(cfg, times=1):  # G draws so many times as large
    (h, w, c), classes = cut(cfg).shape, cut(cfg).classes
    G = cppn.G((times * h, times * w, c), cfg.width, cfg.depth)
    A, D = cppn.Autoencoder(cppn.E(cfg.z_dim, drop=cfg.drop), G), cppn.D(classes, cfg.d_width)
    tx = lambda rate: optax.chain(optax.clip_by_global_norm(cfg.clip), optax.adam(rate, cfg.b1))
    return A, D, tx(cfg.g_lr), tx(cfg.d_lr)


def init(cfg, key):
    (A, D, g_tx, d_tx), x = build(cfg), jnp.zeros((1, *cut(cfg).shape))
    g, d = create(A, g_tx, rng.at(key, 0, "g"), x, key), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d)


def said(D, stats, params, x, y):
    """Return (cross-entropy, the share of x [b, h, w, c] of which D says y [b], D's new statistics)."""
    logits, stats = forward(D, params, stats, x)  # [b, classes + 1]
    right = (logits.argmax(1) == y).mean(dtype=jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), right, stats


def until(enough, steps, loss, player, tx, key):
    """Return (updates, player, share): moved until the share that the loss returns is above enough."""

    def again(carry):
        i, player, _ = carry
        grads, share = jax.grad(loss, has_aux=True)(player.params, jax.random.fold_in(key, i))
        return i + 1, descend(player, grads, tx), share

    more, start = lambda carry: (carry[0] < steps) & (carry[2] <= enough), (jnp.int32(0), player, jnp.float32(0))
    return jax.lax.while_loop(more, again, start)


def step(cfg, state, batch):
    (A, D, g_tx, d_tx), x, y = build(cfg), batch["x"], batch["y"]  # x [b, h, w, c], y [b]
    classes, pixels = cut(cfg).classes, x.shape[1] * x.shape[2]
    fake, says = jnp.full_like(y, classes), lambda *of: said(D, state.d.stats, *of)
    drawn = lambda params, key: forward(A, params, {}, x, key)[0]  # pictures [b, h, w, c], KL divergences [b]
    g_key, key, d_key = jax.random.split(rng.at(state.key, state.step, "z"), 3)

    def g_loss(params, key):
        made, kl = drawn(params, key)
        cost, able, _ = says(state.d.params, made, y)
        return cost + cfg.kl * kl.mean() / pixels, able

    def d_loss(params, key):
        cost, caught, _ = says(params, drawn(g.params, key)[0], fake)
        return (classes * says(params, x, y)[0] + cost) / (classes + 1), caught

    g_made, g, able = until(cfg.g_enough, cfg.g_steps, g_loss, state.g, g_tx, g_key)
    made, kl = drawn(g.params, key)
    d_value, read, stats = says(state.d.params, x, y)  # D keeps the statistics of data
    (g_value, *_), (_, caught, _) = says(state.d.params, made, y), says(state.d.params, made, fake)
    lags = (caught < cfg.d_behind) & (able > cfg.g_able)
    both, d, _ = until(cfg.d_enough, cfg.d_steps * lags, d_loss, state.d, d_tx, d_key)
    real_loss = lambda params, key: says(params, x, y)[:2]
    alone, d, _ = until(cfg.real_enough, cfg.d_steps * (~lags & (read < cfg.real_poor)), real_loss, d, d_tx, d_key)
    found = {"loss/g": g_value, "loss/d": d_value, "kl": kl.mean(), "updates/g": g_made, "updates/d": both}
    found |= {"updates/d alone": alone, "share/able": able, "share/caught": caught, "share/read": read}
    return State(state.step + 1, state.key, g, d._replace(stats=stats)), found


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    return forward(build(cfg)[0].g, state.g.params["g"], {}, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often a classifier reads the label of what is drawn, small and large, and how much that differs."""
    if "y" not in test:
        return {}
    source, y, (h, w, c), k = cut(cfg), test["y"], cut(cfg).shape, 4  # k: times as large as it learned
    x = source.test.make(test, key, 0, len(y))["x"]  # [n, h, w, c]

    def again(x, times):  # of the same latents, whatever their size
        one = lambda a: forward(build(cfg, times)[0], state.g.params, {}, a[0][None], a[1], train=False)[0][0][0]
        return jax.lax.map(one, (x, jax.random.split(key, len(y))[: len(x)]), batch_size=50)

    small, large = again(x, 1), again(x[:1000], k)
    found = {"variety/drawn": metrics.within(small, y, source.classes) / metrics.within(x, y, source.classes)}
    around = [((n - m) // 2, -((m - n) // 2)) for n, m in zip(data.load(cfg.dataset).shape, source.shape, strict=True)]
    shrunk, judge = large.reshape(-1, h, k, w, k, c).mean((2, 4)), classifier.load(data.load(cfg.dataset))
    for name, images in {"drawn": small, "drawn large": shrunk, "as it is": x}.items():
        labels = judge(jnp.pad(images, [(0, 0), *around], "edge")).argmax(1)
        found[f"agreement/{name}"] = metrics.agreement(labels, y[: len(images)])
    shown = [*(a[:12].repeat(k, 1).repeat(k, 2) for a in (x, small)), large[:12]]
    return found | {"sizes": Picture(jnp.stack(shown), rows=("test", f"{h}x{w}", f"{k * h}x{k * w}"))}


def setup(cfg):
    x, judged = data.labelled(cut(cfg)), (data.load(cfg.dataset),) if cut(cfg).test else ()
    return Setup(x, cfg.batch_size, cfg.steps, judged, ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
