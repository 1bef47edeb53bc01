"""Autoencoder, the model beside GANs and the VAE: E writes a code, G reads it; both learn that x comes back, no more.

Hinton and Salakhutdinov 2006, Science 313: nets that narrow to a code of few numbers, held against PCA of as many. With
`hide` above 0 it is the denoising autoencoder: E sees x with each pixel black with that probability, and x itself must
come back (Vincent, Larochelle, Bengio and Manzagol 2008, ICML; arXiv 1305.6663 says of which distribution it learns).
Both descend the cross-entropy of pixels in [0, 1], in nats an image, as these papers do. Nothing asks of the codes that
they be of a known distribution, so there is nothing to sample from: `sample` decodes Gaussian codes of the mean and
covariance that the data's codes have, a running average. What comes of that, beside `vae`, is the contrast.

`measure` gives the sum of squared errors of an image, pixels in [0, 1], on the test split: of x' = G(E(x)), of G(E(x
with pixels hidden)), of the mean training image, and of PCA with as many numbers; and draws the codes of test images in
the plane of their first two principal components, a colour a label.

Differences from the papers:
1. Adam from random weights (there: restricted Boltzmann machines layer by layer, then conjugate gradients).
2. Except in the preset `paper` hidden layers are half as wide and of rectifiers (there: 1000-500-250, logistic units).
3. The denoising autoencoder has these nets too (there: layer by layer, to begin a classifier with).
4. The mean image and PCA are those of the first 10,000 training images.

    python -m experiments autoencoder                       MNIST, a code of 30 numbers
    python -m experiments autoencoder --preset denoising    a quarter of the pixels hidden
    python -m experiments autoencoder --z-dim 2             codes in the plane
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, rng
from gan_jax.nets import codes
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # any TFDS image set by name
    steps: Count = 5000  # joint updates of E and G
    batch_size: Count = 100  # images a step
    hide: Share = 0.0  # the probability that E sees a pixel as black
    test_hide: Share = 0.25  # the same, of the test images that `measure` hides pixels of
    z_dim: Count = 30  # numbers of a code
    widths: tuple[Count, ...] = (500, 250, 125)  # units of E's hidden layers; G's are the same, the other way round
    logistic: bool = False  # logistic hidden units, not rectifiers
    ema: Decay = 0.99  # decay of the running mean and covariance of codes
    lr: float = 1e-3  # Adam's rate for both


PRESETS = {
    "default": Config(),
    "images": Config(),
    "denoising": Config(hide=0.25),
    "paper": Config(steps=120_000, widths=(1000, 500, 250), logistic=True),
    "tiny": Config("digits", 6, 8, 0.25, z_dim=4, widths=(8,)),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player
    mean: jax.Array  # of codes, a running average [z]
    square: jax.Array  # of the products of their numbers, likewise [z, z]


def build(cfg):
    E = codes.E(cfg.z_dim, cfg.widths, cfg.logistic)
    return E, codes.G(data.load(cfg.dataset).shape, cfg.widths, cfg.logistic), optax.adam(cfg.lr)


def init(cfg, key):
    E, G, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    players = create(E, tx, rng.at(key, 0, "e"), x), create(G, tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, *players, jnp.zeros(cfg.z_dim, jnp.float32), jnp.eye(cfg.z_dim, dtype=jnp.float32))


def hidden(key, x, share):
    """Return x with each pixel black, -1, with the probability `share`."""
    return jnp.where(rng.uniform(key, x.shape) < share, -1, x)


def step(cfg, state, batch):
    E, G, tx = build(cfg)
    x = batch["x"]  # [b, h, w, c]
    seen = hidden(rng.at(state.key, state.step, "hide"), x, cfg.hide)

    def loss(params):
        z, _ = forward(E, params[0], {}, seen)  # [b, z]
        logits, _ = forward(G, params[1], {}, z)
        each = optax.sigmoid_binary_cross_entropy(logits, (x + 1) / 2)
        off = (jax.nn.sigmoid(logits) - (x + 1) / 2) ** 2
        return each.reshape(len(x), -1).sum(1).mean(), (z, off.reshape(len(x), -1).sum(1).mean())

    (value, (z, off)), (e_grads, g_grads) = jax.value_and_grad(loss, has_aux=True)((state.e.params, state.g.params))
    mean, square = ema((state.mean, state.square), (z.mean(0), z.T @ z / len(z)), cfg.ema)
    players = descend(state.e, e_grads, tx), descend(state.g, g_grads, tx)
    return State(state.step + 1, state.key, *players, mean, square), {"cross_entropy": value, "squared": off}


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z], to become Gaussian codes


def generate(cfg, state, z):
    _, G, _ = build(cfg)
    values, vectors = jnp.linalg.eigh(state.square - state.mean[:, None] * state.mean[None])
    code = state.mean[None] + (z * jnp.sqrt(jnp.maximum(values, 0))[None]) @ vectors.T
    return 2 * jax.nn.sigmoid(forward(G, state.g.params, {}, code)[0]) - 1


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def components(x, k):
    """Return the mean [c] of rows x [n, c] and their first k principal components [c, k]."""
    mean = x.mean(0)
    off = x - mean[None]
    return mean, jnp.linalg.eigh(off.T @ off)[1][:, ::-1][:, :k]


def measure(cfg, state, key, train, test):
    if not train or not test:
        return {}
    E, G, _ = build(cfg)
    x, known = (data.decode({"x": a["x"]})["x"] for a in (test, jax.tree.map(lambda a: a[:10_000], train)))
    coded = lambda x: jax.lax.map(lambda x: forward(E, state.e.params, {}, x[None])[0][0], x, batch_size=500)
    read = lambda z: jax.lax.map(
        lambda z: 2 * jax.nn.sigmoid(forward(G, state.g.params, {}, z[None])[0][0]) - 1, z, batch_size=500
    )
    off = lambda of: ((of - x) ** 2).sum((1, 2, 3)).mean() / 4  # of pixels in [0, 1]
    z, seen = coded(x), hidden(key, x, cfg.test_hide)
    again, clear = read(z), read(coded(seen))
    mean, axes = components(known.reshape(len(known), -1), cfg.z_dim)
    pca = (((x.reshape(len(x), -1) - mean[None]) @ axes) @ axes.T + mean[None]).reshape(x.shape)
    found = {"test/squared": off(again), "test/hidden": off(clear), "test/mean": off(mean.reshape(1, *x.shape[1:]))}
    rows = {"test": x, "again": again, "PCA": jnp.clip(pca, -1, 1), "hidden": seen, "again of hidden": clear}
    found |= {"test/pca": off(pca), "images": Picture(jnp.stack([a[:12] for a in rows.values()]), rows=tuple(rows))}
    centre, plane = components(z, 2)
    found["codes"] = by_label(cfg, (z - centre[None]) @ plane, test)
    return found


def by_label(cfg, points, test, n=100):
    """Return a picture of n points [rows, 2] of each label, of fewer some twice; without labels, of the first ones."""
    field = data.load(cfg.dataset).row.get("y")
    if field is None or "y" not in test or not field.classes:
        return Picture(points[None, :n], "points")
    first = jnp.stack([jnp.argsort(test["y"] != y, stable=True)[:n] for y in range(field.classes)])
    right = test["y"][first] == jnp.arange(field.classes)[:, None]
    of = points[jnp.where(right, first, first[:, :1])]
    of = jnp.where(right[:, :1, None], of, 0)  # of a label that no image has: the mean of all codes
    return Picture(of, "points", rows=field.names or tuple(map(str, range(field.classes))))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
