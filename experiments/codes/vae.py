"""The variational autoencoder, the likelihood model beside the GANs: E and G are no opponents, they share one loss.

Kingma and Welling 2014, arXiv 1312.6114. E gives q(z|x), a Gaussian of diagonal covariance; both ascend the lower bound
E_q log p(x|z) - KL(q(z|x) || N(0, 1)) of log p(x): the first term by one reparametrised draw of z, the second exactly.

Differences from the paper:
1. Adam instead of Adagrad.
2. No prior on the weights.
3. The points' p(x|z) is a Gaussian of a fixed deviation (there: one that G gives).

The pixels are not binarised: p(x|z) is a Bernoulli with x in [0, 1], as there. That bound is linear in x, so it is also
the mean bound of images whose pixels are drawn, black or white, with the probabilities x. The paper has no table; its
figure 2 ends near -100 nats an image.

    python -m experiments vae                       MNIST: the test split's bound, in nats an image
    python -m experiments vae --dataset ring8
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.nets import vae
from gan_jax.run import Count, Depth, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # a toy, or any TFDS image set by name
    steps: Count = 30_000  # joint updates of E and G
    batch_size: Count = 100  # rows of data a step
    z_dim: Count = 20  # the code
    width: Count = 500  # units of a hidden layer
    depth: Depth = 1  # hidden layers of E, and of G
    x_std: float = 0.05  # deviation of p(x|z) (points)
    lr: float = 1e-3  # Adam's rate for both


PRESETS = {
    "default": Config(),
    "images": Config(),
    "ring": Config("ring8", steps=10_000, batch_size=256, z_dim=2, width=128, depth=2),
    "tiny": Config("digits", steps=6, batch_size=8, z_dim=4, width=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    return vae.E(cfg.z_dim, cfg.width, cfg.depth), vae.G(shape, cfg.width, cfg.depth), optax.adam(cfg.lr)


def init(cfg, key):
    E, G, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(E, tx, rng.at(key, 0, "e"), x), create(G, tx, rng.at(key, 0, "g"), z))


def log_likelihood(cfg, out, x):
    """Return log p(x|z) [b], where G made `out` of z."""
    if x.ndim > 2:
        each = -optax.sigmoid_binary_cross_entropy(out, (x + 1) / 2)
    else:
        each = jax.scipy.stats.norm.logpdf(x, out, cfg.x_std)
    return each.reshape(x.shape[0], -1).sum(1)


def expected(out):
    """Return E p(x|z), the image or the point itself, where G made `out` of z."""
    return 2 * jax.nn.sigmoid(out) - 1 if out.ndim > 2 else out


def bound(cfg, e_params, g_params, x, key):
    """Return minus the lower bound of log p(x), its part KL(q(z|x) || p(z)) [b], and what G made of z."""
    E, G, _ = build(cfg)
    (mean, log_var), _ = forward(E, e_params, {}, x)  # [b, z]
    z = mean + jnp.exp(log_var / 2) * rng.normal(key, mean.shape)  # [b, z]
    out, _ = forward(G, g_params, {}, z)  # [b, ...]
    kl = 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(1)  # [b]
    return kl - log_likelihood(cfg, out, x), kl, out


def step(cfg, state, batch):
    *_, tx = build(cfg)

    def loss(params):
        minus_elbo, kl, _ = bound(cfg, *params, batch["x"], rng.at(state.key, state.step, "z"))
        return minus_elbo.mean(), kl.mean()

    (value, kl), (e_grads, g_grads) = jax.value_and_grad(loss, has_aux=True)((state.e.params, state.g.params))
    metrics = {"elbo": -value, "kl": kl, "log_likelihood": kl - value}
    return State(state.step + 1, state.key, descend(state.e, e_grads, tx), descend(state.g, g_grads, tx)), metrics


def latent(cfg, key, n):
    """Return the codes z [n, z], and the noise of points, which images do without."""
    z_key, x_key = jax.random.split(key)
    return {"z": rng.normal(z_key, (n, cfg.z_dim)), "x": rng.normal(x_key, (n, *data.load(cfg.dataset).shape))}


def generate(cfg, state, z):
    _, G, _ = build(cfg)
    x = expected(forward(G, state.g.params, {}, z["z"])[0])
    return x if x.ndim > 2 else x + cfg.x_std * z["x"]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    if not test:
        return {}
    x = data.decode(test)["x"]

    def of_one(row):
        x, key = row
        minus_elbo, kl, out = bound(cfg, state.e.params, state.g.params, x[None], key)
        return -minus_elbo[0], kl[0], expected(out)[0]

    elbo, kl, again = jax.lax.map(of_one, (x, jax.random.split(key, len(x))), batch_size=500)
    pictures = Picture(jnp.stack([x[:16], again[:16]]), rows=("test", "again"))
    pixels = ((again - x) ** 2).mean()
    return {"test/elbo": elbo.mean(), "test/kl": kl.mean(), "test/pixels": pixels, "reconstructions": pictures}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
