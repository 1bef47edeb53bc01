"""LSRO: pictures that G makes of nobody are said to be everybody alike, which keeps a classifier of people general.

Zheng, Zheng and Yang 2017, arXiv 1701.07717. A DCGAN learns the training pictures; then a classifier C of the K people
sees real and made pictures in one batch. Label smoothing regularisation for outliers (LSRO): -log p_y of a real one,
-(1/K) sum_k log p_k of a made one. Beside it the paper's other `way`s: "all_in_one" has a class K + 1 for what is made,
"pseudo" takes the class that C finds likeliest, "baseline" sees real pictures alone. People who are re-identified were
never trained on: their pictures are ranked by C's features before the last layer.

Differences from the paper:
1. Faces of 20 people, tested on 20 others: each of their pictures is asked for among all others (there pedestrians,
   751 and 750, a query for each camera that sees somebody, among those of other cameras).
2. C is a small net, with batch norm over both kinds, from random weights, trained by Adam at a constant rate (there
   ResNet-50, pretrained on ImageNet, Nesterov momentum, a rate of a tenth at the end); pictures are not cropped or
   mirrored for it.
3. G and D learn on while C learns, which begins after `after` steps and sees G's newest pictures, as many as real
   ones; there DCGAN is finished first, and C sees 12,000 or 24,000 pictures beside 12,936 real ones, shuffled.
4. G and D are updated at once, from the same fakes (there G twice a step); 4x4 kernels, and 32x32 pixels.
5. A pseudo label is the likeliest class in the same pass. G's rate is higher in the default.

    python -m experiments lsro                    people of whom C never saw a picture: rank-1 and mAP
    python -m experiments lsro --way baseline     or all_in_one, or pseudo
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.losses import softmax_cross_entropy_with_integer_labels as cross_entropy

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import retrieval
from gan_jax.nets import dcgan, lsro
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "olivetti_faces,size=32"  # images with a label y that says who it is
    held_out: Count = 20  # people (classes), the last ones, that are re-identified and never trained on
    way: Literal["lsro", "all_in_one", "pseudo", "baseline"] = "lsro"  # what C is told of G's pictures
    steps: Count = 5000  # updates of G and D
    after: int = 4700  # steps that are made before C begins to learn; with no more in all it is not measured
    batch_size: Count = 32  # rows of data, and as many of noise, a step
    z_dim: Count = 64  # the latent, uniform in [-1, 1)
    width: Count = 16  # channels of G and D at half of the resolution
    c_width: Count = 16  # those of C
    drop: Share = 0.75  # share of C's features that a row loses in training
    g_lr: float = 5e-4  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for D
    c_lr: float = 1e-3  # Adam's rate for C
    b1: Decay = 0.5  # Adam's decay of the first moment, for G and D


PRESETS = {
    "default": Config(),
    "paper": Config(
        "olivetti_faces", steps=12_000, after=6000, batch_size=64, z_dim=100, width=64, c_width=64, g_lr=2e-4
    ),
    "tiny": Config("digits16", 2, steps=6, after=1, batch_size=8, z_dim=4, width=4, c_width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    c: Player


def people(cfg):
    """Return K, how many are trained on."""
    return data.load(cfg.dataset).classes - cfg.held_out


def build(cfg):
    C = lsro.Identifier(people(cfg) + (cfg.way == "all_in_one"), cfg.c_width, cfg.drop)
    G, D = dcgan.G(data.load(cfg.dataset).shape, cfg.width), dcgan.D(cfg.width)
    return G, D, C, optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1), optax.adam(cfg.c_lr)


def init(cfg, key):
    G, D, C, g_tx, d_tx, c_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, create(C, c_tx, rng.at(key, 0, "c"), x, key))


def of_made(cfg, logits):
    """Return C's loss [b] of G's pictures, from its logits [b, classes]."""
    if cfg.way == "lsro":
        return -jax.nn.log_softmax(logits).mean(1)
    return cross_entropy(logits, jnp.full(len(logits), people(cfg)) if cfg.way == "all_in_one" else logits.argmax(1))


def latent(cfg, key, n):
    return rng.uniform(key, (n, cfg.z_dim), minval=-1)  # [n, z]


def step(cfg, state, batch):
    G, D, C, g_tx, d_tx, c_tx = build(cfg)
    loss, b = losses.non_saturating, batch["x"].shape[0]
    x, y = batch["x"], batch["y"]  # [b, h, w, c], [b]
    z = latent(cfg, rng.at(state.key, state.step, "z"), b)
    generate = lambda g_params: forward(G, g_params, state.g.stats, z)
    fake, to_g, g_stats = jax.vjp(generate, state.g.params, has_aux=True)  # G runs once, for all players

    def d_loss(d_params):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b], over the reals alone; D keeps their stats
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b], over the fakes alone
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def g_loss(fake):
        fake_score, _ = forward(D, state.d.params, state.d.stats, fake)
        return loss.g(None, fake_score).mean()

    def c_loss(c_params):
        seen = x if cfg.way == "baseline" else jnp.concatenate([x, fake])
        (logits, _), stats = forward(C, c_params, state.c.stats, seen, rng.at(state.key, state.step, "drop"))
        of_rows = jnp.concatenate([cross_entropy(logits[:b], y), of_made(cfg, logits[b:])])
        return of_rows.mean(), stats

    def learned():
        (value, stats), grads = jax.value_and_grad(c_loss, has_aux=True)(state.c.params)
        return descend(state.c, grads, c_tx, stats), value

    (d_value, (real_score, fake_score, d_stats)), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, grads, d_tx, d_stats)
    g_value, fake_grad = jax.value_and_grad(g_loss)(fake)
    g = descend(state.g, *to_g(fake_grad), g_tx, g_stats)
    c, c_value = jax.lax.cond(state.step >= cfg.after, learned, lambda: (state.c, jnp.zeros((), x.dtype)))
    metrics = {"loss/g": g_value, "loss/d": d_value, "loss/c": c_value}
    metrics |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
    return State(state.step + 1, state.key, g, d, c), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def features(cfg, state, x):
    """Return C's features [n, f] of pictures x [n, h, w, c]."""
    _, _, C, *_ = build(cfg)
    one = lambda x: forward(C, state.c.params, state.c.stats, x[None], None, train=False)[0][1][0]
    return jax.lax.map(one, x, batch_size=100)


def measure(cfg, state, key, train, test):
    """Return rank-1 and mAP of people who were held out, by C's features and by pixels; what eight queries find."""
    if "y" not in test or cfg.steps <= cfg.after:  # C never learned
        return {}
    x, who, found = data.decode({"x": test["x"]})["x"], test["y"], {}
    seen = features(cfg, state, x)
    for name, of in {"": seen, "pixels/": x.reshape(len(x), -1)}.items():
        found |= {name + what: value for what, value in retrieval.among_others(of, who).items()}
    few = min(8, len(x))
    order = jnp.concatenate([jnp.arange(few)[:, None], retrieval.nearest(seen, few, few - 1)], 1)
    heads = ("query", *(f"{i + 1}." for i in range(few - 1)))
    return found | {"retrieved": Picture(x[order], columns=heads, about=who[order])}


def setup(cfg):
    source = data.unseen(data.labelled(data.load(cfg.dataset)), cfg.held_out)
    if not source.test:
        raise UserError(f"{cfg.dataset} has no records of which some people could be held out.")
    return Setup(source, cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
