"""MIX+GAN: T generators against T discriminators; each side is a mixture, and how much of it each one is, is learned.

Arora, Ge, Liang, Ma and Zhang 2017, arXiv 1703.00573. With shares v of the D_i and w of the G_j, both softmaxes of
logits, the payoff is sum_ij v_i w_j F(D_i, G_j), F that of a GAN. Each side adds `entropy` times the mean of -log of
its shares, which keeps them from 0. Logits are learned by backpropagation, or with `--eta 0.1` by multiplicative
weights: each share is multiplied by exp(-eta d loss / d share), and all are divided by their sum.

Differences from the paper and the authors' code (PrincetonML/MIX-plus-GANs):
1. No labels: their nets for CIFAR-10 see labels, name classes and reconstruct z, and E of a stacked GAN judges G.
2. Both sides are updated at once. In the code D is, where its loss is 0.3 or more, then G one to seven times.
3. G's F is the non-saturating one; in the code it is D's with the other sign (`--loss minimax`).
4. Nets, batches, rates and lengths are ours; the preset `paper` has theirs, but for the nets, which are DCGAN's.
5. D is not averaged (in the code it is, and the average is not used).

    python -m experiments.mixgan                              the ring of eight Gaussians, three of each
    python -m experiments.mixgan --learners 1 --width 96      one of each, three times as wide
    python -m experiments.mixgan --preset cifar10_subset
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, descend, forward, losses, mixture, rng
from gan_jax.nets import dcgan, mlp
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 5000  # updates of all nets
    batch_size: Count = 128  # rows of data, and of noise, a step
    learners: Count = 3  # T, generators and discriminators
    entropy: float = 0.1  # weight of -log of the shares
    eta: float = 0.0  # rate of multiplicative weights; 0: backpropagation
    loss: losses.Name = "non_saturating"  # the losses of a pair, F
    z_dim: Count = 16  # the latent, standard normal
    width: Count = 32  # units of a hidden layer (points); channels at full resolution (images)
    g_lr: float = 1e-3  # Adam's rate for all G and the logits of their shares
    d_lr: float = 2e-3  # the same for all D
    b1: Decay = 0.5  # Adam's decay of the first moment


_images = Config("usps", steps=1000, batch_size=64, z_dim=64, width=8, g_lr=5e-4, d_lr=5e-4)
PRESETS = {
    "default": Config(),
    "images": _images,
    "cifar10_subset": dataclasses.replace(_images, dataset="cifar10_subset", steps=2000, width=16),
    # 200 epochs of 50,000
    "paper": Config("cifar10", 204_000, 49, learners=5, z_dim=50, width=64, g_lr=1e-4, d_lr=1e-4),
    "tiny": Config("digits16", steps=6, batch_size=8, learners=2, z_dim=4, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # params: {"nets": of all T, [T, ...], "logits": of their shares [T]}
    d: Player  # the same


def build(cfg):
    shape = data.load(cfg.dataset).shape
    nets = mlp if len(shape) == 1 else dcgan
    return nets.G(shape, cfg.width), nets.D(cfg.width), *(optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))

    def side(net, tx, name, x):
        nets = mixture.create(net, tx, rng.at(key, 0, name), cfg.learners, x)
        params = {"nets": nets.params, "logits": jnp.zeros(cfg.learners, jnp.float32)}
        return Player(params, nets.stats, tx.init(params))

    return State(jnp.int32(0), key, side(G, g_tx, "g", z), side(D, d_tx, "d", x))


def shares(cfg, logits):
    """Return the softmax [T] of logits; by multiplicative weights, what moves a share moves its logit as it is."""
    share = jax.nn.softmax(logits)
    return jax.lax.stop_gradient(share - logits) + logits if cfg.eta else share


def payoff(loss, v, w, scores):
    """Return sum_ij v_i w_j loss(D_i, G_j)."""
    real, fake = scores  # [T, b], [T, T, b]
    return v @ loss(jnp.broadcast_to(real[:, None], fake.shape), fake).mean(-1) @ w


def apart(cfg, share):
    """Return what a side adds to its loss, so that none of its shares goes to 0."""
    return -cfg.entropy * jnp.log(share + 1e-6).mean()


def moved(cfg, player, grads, tx, stats):
    """Return a side after an update of its nets by Adam, of its logits by Adam or by multiplicative weights."""
    new = descend(player, grads, tx, stats)
    logits = player.params["logits"] - cfg.eta * grads["logits"]
    return new._replace(params=new.params | {"logits": logits}) if cfg.eta else new


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, x = losses.PAIRS[cfg.loss], batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z], the same for all G
    of = lambda player: jax.nn.softmax(player.params["logits"])

    def scores(nets, fakes):  # of each D: of data [T, b], of each G [T, T, b], new statistics
        def one(p, s):
            real, stats = forward(D, p, s, x)
            return (real, jax.vmap(lambda fake: forward(D, p, s, fake)[0])(fakes)), stats

        return mixture.each(one, nets, state.d.stats)

    def g_loss(params):
        fakes, stats = mixture.each(lambda p, s: forward(G, p, s, z), params["nets"], state.g.stats)  # [T, b, ...]
        said, _ = scores(state.d.params["nets"], fakes)
        w = shares(cfg, params["logits"])
        return payoff(loss.g, of(state.d), w, said) + apart(cfg, w), (fakes, stats)

    def d_loss(params, fakes):
        said, stats = scores(params["nets"], fakes)
        v = shares(cfg, params["logits"])
        return payoff(loss.d, v, of(state.g), said) + apart(cfg, v), (said, stats)

    (g_value, (fakes, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, ((real, fake), d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fakes)

    g, d = moved(cfg, state.g, g_grads, g_tx, g_stats), moved(cfg, state.d, d_grads, d_tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real.mean(), "score/fake": fake.mean()}
    metrics |= {"least/g": of(state.g).min(), "least/d": of(state.d).min()}  # the smallest share
    return State(state.step + 1, state.key, g, d), metrics


def latent(cfg, key, n):
    return mixture.latent(key, n, cfg.z_dim)


def made(cfg, g, z):
    """Return what each G makes of z [n, z]: [T, n, ...]."""
    G, *_ = build(cfg)
    return mixture.each(lambda p, s: forward(G, p, s, z, train=False)[0], g.params["nets"], g.stats)


def generate(cfg, state, z):
    return mixture.pick(made(cfg, state.g, z["z"]), jax.nn.softmax(state.g.params["logits"]), z["which"])


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return the share of each G, and samples of each."""
    n = 200 if data.load(cfg.dataset).kind == "points" else 8
    names, share = [f"G {i + 1}" for i in range(cfg.learners)], jax.nn.softmax(state.g.params["logits"])
    each = Picture(made(cfg, state.g, latent(cfg, key, n)["z"]), rows=tuple(names))
    return {f"share/{i + 1}": share[i] for i in range(cfg.learners)} | {"generators": each}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
