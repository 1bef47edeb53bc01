"""Mode-regularised GAN: an encoder E shows G which codes the data would have, and G must make those data from them.

Che, Li, Jacob, Bengio and Li 2017, arXiv 1612.02136. With x' = G(E(x)), G descends -log D(G(z)) + lambda1 d(x, x') -
lambda2 log D(x'), E the last two terms, D descends -log D(x) - log(1 - D(G(z))). So each row of data pulls on G, where
no sample is near too, and x' must look real even of a mode that G misses.

d is the mean squared difference. The paper prints the last term with the other sign, by which G would make x' look
false; the text says what is meant. This is the paper's regularised GAN, not its MDGAN, which trains in two steps,
manifold and diffusion, with a D for each.

Differences from the paper:
1. All three nets are updated at once.
2. The nets, the rates and both lambdas are ours.

    python -m experiments.mrgan                             the ring of eight Gaussians
    python -m experiments.mrgan --lambda1 0 --lambda2 0     the plain GAN to set against it
    python -m experiments.mrgan --dataset mnist             with reconstructions of the test split
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import dcgan, inverse, mlp, small, vaegan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    steps: Count = 10_000  # joint updates of G, E and D
    batch_size: Count = 256  # rows of data, and of noise, a step
    lambda1: float = 1.0  # weight of the distance between x and G(E(x))
    lambda2: float = 0.2  # weight of -log D(G(E(x)))
    z_dim: Count = 16  # the latent, standard normal
    nets: Literal["auto", "mlp", "dcgan", "stacked"] = "auto"  # auto: mlp for points, dcgan for images
    width: Count = 128  # units of a hidden layer (mlp); channels of G at full resolution (dcgan, stacked)
    e_width: Count = 128  # the same of E: units, or channels of its first layer
    d_width: Count = 128  # the same of D
    g_lr: float = 5e-4  # Adam's rate for G
    e_lr: float = 1e-3  # Adam's rate for E
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment


# 1000 modes against a D of a quarter or half of G's width: the setting of experiments/unrolled.py. E is D's size.
_stacked = Config(
    "stacked_mnist", steps=20_000, batch_size=128, z_dim=256, nets="stacked", width=8, e_width=2, d_width=2, g_lr=1e-4,
    e_lr=1e-4, d_lr=2e-4, b2=0.99,
)  # fmt: skip
PRESETS = {
    "default": Config(),
    "stacked_quarter": _stacked,
    "stacked_half": dataclasses.replace(_stacked, e_width=4, d_width=4),
    "images": Config(
        "digits", steps=5000, batch_size=64, z_dim=64, width=32, e_width=32, d_width=32, g_lr=2e-4, e_lr=2e-4, d_lr=2e-4
    ),
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=4, e_width=4, d_width=4),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    e: Player
    d: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    auto = "mlp" if len(shape) == 1 else "dcgan"
    nets = {"mlp": mlp, "dcgan": dcgan, "stacked": small}[auto if cfg.nets == "auto" else cfg.nets]
    trunk = small.Trunk if nets is small else vaegan.Trunk
    G, E, D = nets.G(shape, cfg.width), inverse.E(trunk(cfg.e_width), cfg.z_dim), nets.D(cfg.d_width)
    return G, E, D, *(optax.adam(lr, cfg.b1, cfg.b2) for lr in (cfg.g_lr, cfg.e_lr, cfg.d_lr))


def init(cfg, key):
    G, E, D, g_tx, e_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, e = create(G, g_tx, rng.at(key, 0, "g"), z), create(E, e_tx, rng.at(key, 0, "e"), x)
    return State(jnp.int32(0), key, g, e, create(D, d_tx, rng.at(key, 0, "d"), x))


def step(cfg, state, batch):
    G, E, D, g_tx, e_tx, d_tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def score(d_params, x):
        return forward(D, d_params, state.d.stats, x)  # [b]

    def d_loss(d_params, fake):
        (real_score, stats), (fake_score, _) = score(d_params, x), score(d_params, fake)
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def ge_loss(params):  # E is in the regulariser alone: its gradient of the sum is that of its own loss
        fake, g_stats = forward(G, params[0], state.g.stats, z)
        code, e_stats = forward(E, params[1], state.e.stats, x)  # [b, z]
        again, _ = forward(G, params[0], state.g.stats, code)  # [b, ...]
        (fake_score, _), (again_score, _) = score(state.d.params, fake), score(state.d.params, again)
        g_value, distance = loss.g(None, fake_score).mean(), ((again - x) ** 2).mean()
        regulariser = cfg.lambda1 * distance + cfg.lambda2 * loss.g(None, again_score).mean()
        return g_value + regulariser, (g_value, distance, again_score, fake, g_stats, e_stats)

    (g_grads, e_grads), (g_value, distance, again_score, fake, g_stats, e_stats) = jax.grad(ge_loss, has_aux=True)(
        (state.g.params, state.e.params)
    )
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake
    )

    g, e = descend(state.g, g_grads, g_tx, g_stats), descend(state.e, e_grads, e_tx, e_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "distance/x": distance, "score/real": real_score.mean()}
    metrics |= {"score/fake": fake_score.mean(), "score/reconstruction": again_score.mean()}
    return State(state.step + 1, state.key, g, e, descend(state.d, d_grads, d_tx, d_stats)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return 16 test images above their G(E(x)), and the mean squared difference of all."""
    G, E, *_ = build(cfg)
    if not test:
        return {}

    def reconstruct(x):
        code, _ = forward(E, state.e.params, state.e.stats, x[None], train=False)
        return forward(G, state.g.params, state.g.stats, code, train=False)[0][0]

    x = data.decode(test)["x"]
    again = jax.lax.map(reconstruct, x, batch_size=500)
    pictures = Picture(jnp.stack([x[:16], again[:16]]), rows=("test", "again"))
    return {"test/distance": ((again - x) ** 2).mean(), "reconstructions": pictures}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
