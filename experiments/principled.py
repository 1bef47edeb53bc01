"""Principled methods: against a D that is trained to its end the gradients of G vanish or blow up; noise heals both.

Arjovsky and Bottou 2017, arXiv 1701.04862. A DCGAN plays for `g_steps` updates; then G stands still, D begins anew and
is trained against it. Samples and data lie on thin sets that hardly meet, so D becomes perfect (theorems 2.1 and 2.2),
the gradient in G's weights of E log(1 - D(G(z))) vanishes (theorem 2.4), and that of E -log D(G(z)), by which G would
move in practice, grows and varies (theorem 2.6). If D sees data and samples under Gaussian noise (section 3) both
distributions have densities everywhere, and neither happens. There is a D for each deviation in `sigmas`; all begin
alike, see the same rows, and G moves against the first one. The norms of both gradients are in the rows of a run, as
"minimax/SIGMA" and "non_saturating/SIGMA", beside each D's loss ("cross_entropy") and accuracy on the batch.

Differences from the paper (its section on experiments is quoted from memory, and there is no code of the authors'):
1. Noise of one deviation all along, the same for all numbers of x (there it is annealed, in theory).
2. The D that stood against G before is a D of the same kind, with the same noise: one D for each sigma from the start.
3. G's batch statistics are averaged on while its weights stand still, so that samples are drawn by those that it has.
4. Except in the preset `paper` nets are a quarter as wide; its pictures are those of CIFAR-10 that are here.

    python -m experiments principled                       USPS: ten epochs of a DCGAN, then D alone
    python -m experiments principled --preset ring         a G on a line, so samples lie on a curve in the plane
    python -m benchmarks principled                        figures 1 to 3: after 1, 10 and 25 epochs, noise beside
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, regularisers, rng
from gan_jax.nets import dcgan, mlp
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # a toy, or any TFDS image set by name
    steps: Count = 2640  # updates of every D
    g_steps: int = 1140  # updates in which G moves, too; after them all Ds begin anew
    sigmas: tuple[float, ...] = (0.0, 0.5)  # of each D, the deviation of the noise on what it sees
    batch_size: Count = 64  # rows of data, and of noise, a step
    z_dim: Count = 100  # the latent, standard normal
    width: Count = 16  # channels at full resolution (images), units of a hidden layer (points)
    g_lr: float = 2e-4  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for the Ds
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config("cifar10_subset,size=64", 1570 + 4000, 1570, (0.0, 0.5), width=64),
    "ring": Config("ring8", 6000, 4000, (0.0, 0.2), 256, z_dim=1, width=128, g_lr=1e-3, d_lr=1e-3),
    "tiny": Config("digits16", 6, 2, batch_size=8, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player  # all Ds: each leaf has an axis in front, along `sigmas`


def build(cfg):
    shape = data.load(cfg.dataset).shape
    nets = dcgan if len(shape) > 1 else mlp
    adam = functools.partial(optax.adam, b1=cfg.b1)
    return nets.G(shape, cfg.width), nets.D(cfg.width), adam(cfg.g_lr), adam(cfg.d_lr)


def anew(cfg, key):
    """Return the Ds as they begin, all alike."""
    _, D, _, d_tx = build(cfg)
    d = create(D, d_tx, key, jnp.zeros((1, *data.load(cfg.dataset).shape), jnp.float32))
    return jax.tree.map(lambda a: jnp.stack([a] * len(cfg.sigmas)), d)


def init(cfg, key):
    G, _, g_tx, _ = build(cfg)
    g = create(G, g_tx, rng.at(key, 0, "g"), jnp.zeros((1, cfg.z_dim)))
    return State(jnp.int32(0), key, g, anew(cfg, rng.at(key, 0, "d")))


def judged(cfg, state, x, fake, to_g, d, sigma):
    """Return the D of this sigma after an update, the gradients in G's weights of -log D, and what it says.

    to_g: the way back from a gradient in the samples to one in G's weights. Both of G's are against D as it was.
    """
    _, D, _, d_tx = build(cfg)
    seen = lambda name, x: regularisers.instance_noise(rng.at(state.key, state.step, name), x, sigma)

    def scores(params, fake):
        real_score, stats = forward(D, params, d.stats, seen("real", x))  # [b]
        fake_score, _ = forward(D, params, d.stats, seen("fake", fake))  # [b]
        return (real_score, fake_score), stats

    (real, made), back, stats = jax.vjp(scores, d.params, fake, has_aux=True)
    value, slopes = jax.value_and_grad(lambda *of: losses.non_saturating.d(*of).mean(), (0, 1))(real, made)
    right = jnp.concatenate([real > 0, made < 0]).mean(dtype=jnp.float32)
    found = {"cross_entropy": value, "accuracy": right, "real": real.mean(), "fake": made.mean()}
    for name in ("minimax", "non_saturating"):
        loss = losses.PAIRS[name].g
        found[f"loss/{name}"], slope = jax.value_and_grad(lambda made, loss=loss: loss(real, made).mean())(made)
        (grads,) = to_g(back((jnp.zeros_like(real), slope))[1])
        found[name] = optax.tree.norm(grads)
    return descend(d, back(slopes)[0], d_tx, stats), grads, found


def step(cfg, state, batch):
    G, _, g_tx, _ = build(cfg)
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]
    made = lambda params: forward(G, params, state.g.stats, z)
    fake, to_g, g_stats = jax.vjp(made, state.g.params, has_aux=True)

    def first():  # in the precision of the state
        new = anew(cfg, rng.at(state.key, state.step, "d"))
        return jax.tree.map(lambda new, old: new.astype(old.dtype), new, state.d)

    d = jax.lax.cond(state.step == cfg.g_steps, first, lambda: state.d)
    sigmas = jnp.asarray(cfg.sigmas, jnp.float32)
    d, grads, found = jax.lax.map(lambda of: judged(cfg, state, x, fake, to_g, *of), (d, sigmas))
    g = descend(state.g, jax.tree.map(lambda a: a[0], grads), g_tx, g_stats)
    still = state.g._replace(stats=g_stats)
    g = jax.tree.map(lambda new, old: jnp.where(state.step < cfg.g_steps, new, old), g, still)
    metrics = {"loss/g": found["loss/non_saturating"][0], "loss/d": found["cross_entropy"][0]}
    metrics |= {"score/real": found["real"][0], "score/fake": found["fake"][0]}
    for name in ("cross_entropy", "accuracy", "minimax", "non_saturating"):
        metrics |= {f"{name}/{sigma:g}": value for sigma, value in zip(cfg.sigmas, found[name], strict=True)}
    return State(state.step + 1, state.key, g, d), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
