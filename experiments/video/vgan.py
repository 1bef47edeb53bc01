"""VGAN: a clip is a moving foreground, laid by a mask over a background that stands still; D looks at it in space-time.

Vondrick, Pirsiavash and Torralba 2016, arXiv 1609.02612. G has two streams of transposed convolutions from one latent:
one in three dimensions makes the foreground and the mask, one in two the background. A penalty on the mask makes G take
from the background what does not move. D convolves in space and time, and its features are those of a video net that
never saw a label.

`python -m benchmarks vgan_features` has a linear SVM on D's features tell actions.

Differences from the paper, whose details are those of the authors' code:
1. Weizmann's clips of four actions, 114 of 16 frames, instead of stabilised videos of Flickr, of one kind of scene.
2. 16 frames of 32x32 instead of 32 of 64x64, so three doublings of four, from 2x4x4 as there; nets a quarter as wide,
   batches of 16. `paper` has the nets, of 64x64 pixels, but 16 frames: no set of colour here has more.
3. Both nets are updated at once. In the authors' code D moves first, and G's gradient goes back through D's new weights
   from what its old ones had seen.
4. Layers before a batch norm have no bias. D's statistics are those of data.

    python -m experiments vgan                                          people who wave, jump and bend
    python -m experiments vgan --dataset moving_digits                  two digits that bounce
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import vgan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "weizmann_actions,size=32"  # clips, a TFDS set by name or moving digits
    steps: Count = 1600  # joint updates of G and D
    batch_size: Count = 16  # rows of data, and of noise, a step
    z_dim: Count = 100  # the latent, standard normal
    width: Count = 16  # channels at half of the resolution
    sparsity: float = 0.1  # weight of the mask's mean in G's loss
    lr: float = 2e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("weizmann_actions", 95_000, batch_size=64, width=64),
    "tiny": Config("moving_digits8", steps=6, batch_size=8, z_dim=4, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    return vgan.G(data.load(cfg.dataset).shape, cfg.width), vgan.D(cfg.width), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x))


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, t, h, w, c]
    z = latent(cfg, rng.at(state.key, state.step, "z"), x.shape[0])  # [b, z]

    def g_loss(g_params):
        fake, stats = forward(G, g_params, state.g.stats, z)
        score, _ = forward(D, state.d.params, state.d.stats, fake.x)  # [b]
        return loss.g(None, score).mean() + cfg.sparsity * fake.mask.mean(), (fake, stats)

    def d_loss(d_params, fake):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b], over the reals alone; D keeps their stats
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b]
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real_score, fake_score, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(
        state.d.params, fake.x
    )
    g, d = descend(state.g, g_grads, tx, g_stats), descend(state.d, d_grads, tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "mask": fake.mask.mean()}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d), metrics


def layers(cfg, state, z):
    """Return the `nets.vgan.Clip` of latents z [n, z]: clips, and what they are made of."""
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def generate(cfg, state, z):
    return layers(cfg, state, z).x


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def discriminate(cfg, state, x):
    """Return D's score [b] of x [b, t, h, w, c], by the running statistics."""
    _, D, *_ = build(cfg)
    return forward(D, state.d.params, state.d.stats, x, train=False)[0]


def measure(cfg, state, key, train, test):
    """Return how much of samples is foreground, how much they move beside held-out clips, and their layers."""
    source = data.load(cfg.dataset)
    made = layers(cfg, state, latent(cfg, key, 64))
    moves = lambda x: jnp.abs(x[:, 1:] - x[:, :-1]).mean()
    found = {"mask/mean": made.mask.mean(), "mask/over_half": (made.mask > 0.5).mean(), "moves": moves(made.x)}
    if test:
        rows = jax.tree.map(lambda a: a[:64], test)
        found["test/moves"] = moves(source.test.make(rows, key, 0, len(jax.tree.leaves(rows)[0]))["x"])
    shown = (made.x, made.foreground, 2 * made.mask - 1, made.background)
    shown = jnp.stack([jnp.broadcast_to(of[:8], made.x[:8].shape) for of in shown])
    return found | {"layers": Picture(shown, rows=("samples", "foreground", "mask", "background"))}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("video",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
