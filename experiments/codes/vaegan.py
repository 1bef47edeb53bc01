"""VAE/GAN: a variational autoencoder whose reconstructions are compared in a hidden layer of D, which learns with it.

Larsen, Sønderby, Larochelle and Winther 2016, arXiv 1512.09300. With x' = G(z), z of E's q(z|x), and f a layer of D: E
descends KL(q(z|x) || N(0, 1)) + |f(x) - f(x')|^2 / 2; G descends gamma times that distance, and the loss of a GAN on x'
and on draws from the prior; D descends -log D(x) - log(1 - D(x')) - log(1 - D(G(prior))).

Differences from the paper:
1. G's GAN loss is the non-saturating one.
2. F is the last hidden layer (there the third of four convolutions).
3. The nets are DCGAN's at the size of the data set.
4. The authors' code also rests D or G when one is ahead.

    python -m experiments vaegan                        Fashion-MNIST: reconstructions, and their errors
    python -m experiments vaegan --preset vae           the same E and G by squared pixels: the VAE to set against it
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier
from gan_jax.nets import dcgan, mlp, vaegan
from gan_jax.run import Count, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "fashion_mnist"  # a toy, or any TFDS image set by name
    steps: Count = 5000  # joint updates of E, G and D
    batch_size: Count = 64  # rows of data, and of noise, a step
    z_dim: Count = 64  # the code
    width: Count = 16  # channels at full resolution (images); units of a hidden layer (toys)
    compare: Literal["features", "pixels"] = "features"  # where reconstructions are: D's layer, or the data itself
    gamma: float = 0.01  # weight of the reconstruction in G's loss
    gan: float = 1.0  # weight of the GAN in G's loss
    lr: float = 3e-4  # RMSProp's rate for all three


PRESETS = {
    "default": Config(),
    "images": Config(),
    "vae": Config(compare="pixels", gamma=1.0, gan=0.0),
    "ring": Config("ring8", steps=10_000, batch_size=256, z_dim=2, width=128),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    G = dcgan.G(shape, cfg.width) if len(shape) > 1 else mlp.G(shape, cfg.width)
    return vaegan.E(cfg.z_dim, cfg.width), G, vaegan.D(cfg.width), optax.rmsprop(cfg.lr)


def init(cfg, key):
    E, G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    players = (create(net, tx, rng.at(key, 0, of), a) for net, of, a in ((E, "e", x), (G, "g", z), (D, "d", x)))
    return State(jnp.int32(0), key, *players)


def step(cfg, state, batch):
    (E, G, D, tx), x = build(cfg), batch["x"]  # [b, ...]
    noise, prior = rng.normal(rng.at(state.key, state.step, "z"), (2, x.shape[0], cfg.z_dim))  # [b, z] each

    def encode(e_params):
        (mean, log_var), stats = forward(E, e_params, state.e.stats, x)  # [b, z]
        kl = 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(1)  # [b]
        return mean + jnp.exp(log_var / 2) * noise, kl, stats

    def decode(g_params, z):
        again, stats = forward(G, g_params, state.g.stats, z)  # [b, ...]
        made, stats = forward(G, g_params, stats, prior)  # [b, ...]
        return again, made, stats

    def judge(d_params, again, made):
        (real_score, f), stats = forward(D, d_params, state.d.stats, x)  # [b], [b, f]
        (again_score, again_f), _ = forward(D, d_params, state.d.stats, again)
        (made_score, _), _ = forward(D, d_params, state.d.stats, made)
        off = again_f - f if cfg.compare == "features" else (again - x).reshape(x.shape[0], -1)
        return (real_score, again_score, made_score), 0.5 * (off**2).sum(1), stats

    def e_loss(e_params):
        z, kl, stats = encode(e_params)
        _, distance, _ = judge(state.d.params, *decode(state.g.params, z)[:2])
        return (kl + distance).mean(), (z, kl, distance, stats)

    def g_loss(g_params, z):
        again, made, stats = decode(g_params, z)
        (_, *scores), distance, _ = judge(state.d.params, again, made)
        gan = sum(losses.non_saturating.g(None, score) for score in scores)
        return (cfg.gamma * distance + cfg.gan * gan).mean(), (again, made, stats)

    def d_loss(d_params, again, made):
        (real_score, again_score, made_score), _, stats = judge(d_params, again, made)
        value = losses.non_saturating.d(real_score, again_score) + jax.nn.softplus(made_score)
        return value.mean(), ({"real": real_score, "reconstruction": again_score, "sample": made_score}, stats)

    # What the three share is the same numbers: the compiler computes it once.
    e_grads, (z, kl, distance, e_stats) = jax.grad(e_loss, has_aux=True)(state.e.params)
    g_grads, (again, made, g_stats) = jax.grad(g_loss, has_aux=True)(state.g.params, z)
    d_grads, (scores, d_stats) = jax.grad(d_loss, has_aux=True)(state.d.params, again, made)
    metrics = {"kl": kl.mean(), "distance/x": distance.mean()} | {f"score/{k}": v.mean() for k, v in scores.items()}
    metrics |= {"p/real": jax.nn.sigmoid(scores["real"]).mean(), "p/fake": jax.nn.sigmoid(scores["sample"]).mean()}
    e, g = descend(state.e, e_grads, tx, e_stats), descend(state.g, g_grads, tx, g_stats)
    return State(state.step + 1, state.key, e, g, descend(state.d, d_grads, tx, d_stats)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    _, G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return the errors of reconstructions from a draw of q(z|x): in pixels, and as a classifier sees them."""
    E, G, *_ = build(cfg)
    if not test:
        return {}
    x = data.decode(test)["x"]

    def of_one(row):
        x, key = row
        (mean, log_var), _ = forward(E, state.e.params, state.e.stats, x[None], train=False)
        z = mean + jnp.exp(log_var / 2) * rng.normal(key, mean.shape)
        return forward(G, state.g.params, state.g.stats, z, train=False)[0][0]

    again = jax.lax.map(of_one, (x, jax.random.split(key, len(x))), batch_size=500)
    pictures = Picture(jnp.stack([x[:16], again[:16]]), rows=("test", "again"))
    found = {"test/pixels": ((again - x) ** 2).mean(), "reconstructions": pictures}
    if data.load(cfg.dataset).classes and "y" in test:
        judge = classifier.load(data.load(cfg.dataset))
        f, again_f = judge.features(x), judge.features(again)
        spread = ((f - f.mean(0, keepdims=True)) ** 2).mean()
        found["test/features"] = ((again_f - f) ** 2).mean() / spread  # 0: all there; 1: as far off as the mean
        found["test/class kept"] = (judge(x).argmax(1) == judge(again).argmax(1)).mean()
    return found


def setup(cfg):
    source = data.load(cfg.dataset)
    return Setup(source, cfg.batch_size, cfg.steps, (source,) if source.test and source.classes else ())


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
