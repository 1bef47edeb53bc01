"""The same game played in other ways: the original GAN under ten update rules.

G descends -log D(G(z)) or, with --loss minimax, what D ascends; D descends -log D(x) - log(1 - D(G(z))); `method` says
how they move: at once, in turn, with a look ahead, against the rotation of the game. The rules and their papers are in
`gan_jax/game/dynamics.py`; ExtraAdam, the default, is that of Gidel et al. 2019, arXiv 1802.10551.

Differences from the papers:
1. Adam wherever the rule takes an optimiser (`--b1 0` leaves out its momentum), and the nets of `vanilla.py` for all.
2. `negative_momentum` and `competitive` are plain descent, for which Adam's rates are too small.

    python -m experiments.dynamics --method extragradient
    python -m experiments.dynamics --method negative_momentum --g-lr 0.02 --d-lr 0.02
    python -m experiments.dynamics --method consensus --strength 1 --dataset digits
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, dynamics, forward, losses, rng
from gan_jax.nets import mlp
from gan_jax.run import Count, Decay, Depth, Setup, program

METHODS = {
    "simultaneous": lambda cfg, *txs: dynamics.simultaneous(*txs),
    "alternating": lambda cfg, *txs: dynamics.alternating(*txs),
    "negative_momentum": lambda cfg, *_: dynamics.negative_momentum(cfg.g_lr, cfg.d_lr, beta=-cfg.strength),
    "extragradient": lambda cfg, *txs: dynamics.extragradient(*txs),
    "optimistic": lambda cfg, *txs: dynamics.optimistic(*txs),
    "consensus": lambda cfg, *txs: dynamics.consensus(*txs, gamma=cfg.strength),
    "symplectic": lambda cfg, *txs: dynamics.symplectic(*txs),
    "competitive": lambda cfg, *_: dynamics.competitive(cfg.g_lr),
    "lookahead": lambda cfg, *txs: dynamics.lookahead_minmax(dynamics.simultaneous(*txs), cfg.period, cfg.strength),
    "lookahead_extragradient": lambda cfg, *txs: dynamics.lookahead_minmax(
        dynamics.extragradient(*txs), cfg.period, cfg.strength
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # a toy, or any TFDS image set by name
    method: Literal[tuple(METHODS)] = "extragradient"  # how the two move
    loss: Literal["non_saturating", "minimax"] = "non_saturating"  # with minimax the game is zero-sum
    steps: Count = 10_000  # moves of both
    batch_size: Count = 512  # rows of data, and of noise, a step
    strength: float = 0.5  # gamma of consensus, alpha of lookahead, the size of negative_momentum's momentum
    period: int = 5  # moves between two steps back, of lookahead
    z_dim: Count = 2  # the latent, standard normal
    width: Count = 128  # units of a hidden layer
    depth: Depth = 2  # hidden layers
    g_lr: float = 1e-3  # Adam's rate for G; of plain descent in negative_momentum and, for both players, competitive
    d_lr: float = 2e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config("digits", batch_size=128, z_dim=64, width=256, g_lr=2e-4, d_lr=2e-4),
    "tiny": Config(steps=6, batch_size=8, width=8, depth=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    memory: Any  # the rule's, with the optimisers' states


def build(cfg):
    G, D = mlp.G(data.load(cfg.dataset).shape, cfg.width, cfg.depth), mlp.D(cfg.width, cfg.depth)
    return G, D, METHODS[cfg.method](cfg, *(optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr)))


def init(cfg, key):
    G, D, rule = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = (create(net, optax.identity(), rng.at(key, 0, of), a) for net, of, a in ((G, "g", z), (D, "d", x)))
    return State(jnp.int32(0), key, g, d, rule.init((g.params, d.params)))


def step(cfg, state, batch):
    G, D, rule = build(cfg)
    loss = losses.PAIRS[cfg.loss]
    x = batch["x"]  # [b, ...]
    z = rng.normal(rng.at(state.key, state.step, "z"), (x.shape[0], cfg.z_dim))  # [b, z]

    def scores(g_params, d_params):
        fake, _ = forward(G, g_params, {}, z)
        return forward(D, d_params, {}, x)[0], forward(D, d_params, {}, fake)[0]  # [b], [b]

    def g_loss(g_params, d_params):
        return loss.g(*scores(g_params, d_params)).mean()

    def d_loss(g_params, d_params):
        return loss.d(*scores(g_params, d_params)).mean()

    players = state.g.params, state.d.params
    (g, d), memory = rule.update((g_loss, d_loss), players, state.memory)
    real_score, fake_score = scores(*players)
    metrics = {"loss/g": g_loss(*players), "loss/d": d_loss(*players)}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, state.g._replace(params=g), state.d._replace(params=d), memory), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, {}, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
