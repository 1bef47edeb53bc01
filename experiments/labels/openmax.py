"""G-OpenMax: pictures between the classes, made by a conditional G, teach a classifier what none of them is like.

Ge, Demyanov and Garnavi 2017, arXiv 1707.07418. A conditional GAN and a classifier C learn K classes. G is asked for
mixtures of labels; what C takes for another class than the largest part is a picture of class K + 1, and a new
classifier learns all. Its logits are recalibrated by OpenMax (Bendale and Boult 2016, arXiv 1511.06233). Beside it
OpenMax without G, and softmax: AUROC of known and unknown test pictures, and F over openness.

Differences from the paper, of which no code of the authors is known:
1. USPS, six digits known and four not (there MNIST, and HASYv2); small nets.
2. All learn at once, the second classifier from step `after` on, with G's newest pictures (there one by one).
3. Mixtures are uniform over the simplex, a batch of them a step. Batch norm sees those that are not kept, too.
4. F is the best over thresholds, of each openness by itself (there one threshold, of validation records); the K + 1
   logits have no further one for none, as in a public re-implementation.

    python -m experiments openmax      USPS, 0 to 5 known; --preset paper: MNIST
    python -m experiments openmax --dataset mnist --held-out 0 --unknown cmaterdb/bangla
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.losses import softmax_cross_entropy_with_integer_labels as cross_entropy

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import openmax, openset
from gan_jax.nets import conditional, dcgan, lsro
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # images with a label y
    held_out: int = 4  # classes, the last ones, that are unknown
    unknown: str = ""  # another set of images with a label, all of whose classes are unknown, too
    steps: Count = 1000  # updates of G, D and C
    after: int = 300  # steps that are made before the second classifier begins to learn; with no more it isn't measured
    batch_size: Count = 64  # rows of data, of noise and of mixtures, a step
    z_dim: Count = 64  # the latent beside the label, standard normal
    width: Count = 8  # channels of G and D at half of the resolution
    c_width: Count = 8  # those of both classifiers
    drop: Share = 0.5  # share of a classifier's features that a row loses in training
    tail: Count = 20  # training records of each class, the farthest from its mean, to which Weibull tails are fitted
    alpha: Count = 10  # classes, the likeliest ones, that are recalibrated
    g_lr: float = 5e-4  # Adam's rate for G
    d_lr: float = 5e-4  # Adam's rate for D
    c_lr: float = 1e-3  # Adam's rate for both classifiers
    b1: Decay = 0.5  # Adam's decay of the first moment, for G and D


PRESETS = {
    "default": Config(),
    "paper": Config("mnist", steps=40_000, after=20_000, z_dim=100, width=64, c_width=32, g_lr=2e-4, d_lr=2e-4),
    "tiny": Config("digits16", steps=6, after=1, batch_size=8, z_dim=4, width=4, c_width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    c: Player
    c_open: Player  # the classifier of K + 1 classes


def known(cfg):
    """Return K."""
    return data.load(cfg.dataset).classes - cfg.held_out


def build(cfg):
    G = conditional.G(dcgan.G(data.load(cfg.dataset).shape, cfg.width), known(cfg))
    D = conditional.Concat(known(cfg), cfg.width)
    C, C_open = (lsro.Identifier(known(cfg) + n, cfg.c_width, cfg.drop) for n in range(2))
    return G, D, C, C_open, optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1), optax.adam(cfg.c_lr)


def init(cfg, key):
    G, D, C, C_open, g_tx, d_tx, c_tx = build(cfg)
    z, x, y = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.zeros(1, int)
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z, y), create(D, d_tx, rng.at(key, 0, "d"), x, y)
    c, c_open = (create(net, c_tx, rng.at(key, 0, name), x, key) for net, name in ((C, "c"), (C_open, "c_open")))
    return State(jnp.int32(0), key, g, d, c, c_open)


def unknown(cfg, state, key, n):
    """Return n pictures of mixtures and labels [n]: K where C sees another class than the largest part, else -1."""
    G, _, C, *_ = build(cfg)
    of_z, of_mix = jax.random.split(key)
    z, parts = rng.normal(of_z, (n, cfg.z_dim)), -jnp.log(rng.uniform(of_mix, (n, known(cfg)), minval=1e-6))
    x, _ = forward(G, state.g.params, state.g.stats, z, parts / parts.sum(1, keepdims=True), train=False)
    (logits, _), _ = forward(C, state.c.params, state.c.stats, x, None, train=False)
    return x, jnp.where(logits.argmax(1) != parts.argmax(1), known(cfg), -1)


def taught(C, tx, c, key, x, y):
    """Return (the classifier after an update on those rows that have a label, its loss)."""

    def loss(params):
        (logits, _), stats = forward(C, params, c.stats, x, key)
        return ((y >= 0) * cross_entropy(logits, y)).sum() / (y >= 0).sum(), stats

    (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(c.params)
    return descend(c, grads, tx, stats), value


def step(cfg, state, batch):
    G, D, C, C_open, g_tx, d_tx, c_tx = build(cfg)
    loss, key = losses.non_saturating, lambda name: rng.at(state.key, state.step, name)
    x, y, z = batch["x"], batch["y"], rng.normal(key("z"), (len(batch["y"]), cfg.z_dim))  # G is asked for the same y
    fake, to_g, g_stats = jax.vjp(lambda p: forward(G, p, state.g.stats, z, y), state.g.params, has_aux=True)

    def d_loss(d_params):
        (real_score, _), stats = forward(D, d_params, state.d.stats, x, y)  # [b], over the reals alone
        (fake_score, _), _ = forward(D, d_params, state.d.stats, fake, y)  # [b], over the fakes alone
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    def opened():
        made, of_made = unknown(cfg, state, key("mixtures"), x.shape[0])
        seen, labels = jnp.concatenate([x, made]), jnp.concatenate([y, of_made.astype(y.dtype)])
        return taught(C_open, c_tx, state.c_open, key("drop again"), seen, labels)

    (d_value, (real, made, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    g_loss = lambda fake: loss.g(None, forward(D, state.d.params, state.d.stats, fake, y)[0][0]).mean()
    g_value, fake_grad = jax.value_and_grad(g_loss)(fake)
    c, c_value = taught(C, c_tx, state.c, key("drop"), x, y)
    c_open, open_value = jax.lax.cond(state.step >= cfg.after, opened, lambda: (state.c_open, jnp.zeros((), x.dtype)))
    g, d = descend(state.g, *to_g(fake_grad), g_tx, g_stats), descend(state.d, d_grads, d_tx, d_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real.mean(), "score/fake": made.mean()}
    metrics |= {"loss/c": c_value, "loss/c open": open_value}
    return State(state.step + 1, state.key, g, d, c, c_open), metrics


def latent(cfg, key, n):
    return {"z": rng.normal(key, (n, cfg.z_dim)), "y": jax.random.randint(rng.at(key, 0, "y"), (n,), 0, known(cfg))}


def generate(cfg, state, z):
    return forward(build(cfg)[0], state.g.params, state.g.stats, z["z"], z["y"], train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return what softmax, OpenMax and G-OpenMax know of the test split, and mixtures that were kept, or were not."""
    if not train or "y" not in test:
        return {}
    _, _, C, C_open, *_ = build(cfg)
    one = lambda net, p, x: forward(net, p.params, p.stats, x[None], None, train=False)[0][0][0]
    logits = lambda net, p, x: jax.lax.map(lambda x: one(net, p, x), x, batch_size=500)
    (x, y), (asked_x, asked_y) = ((data.decode({"x": part["x"]})["x"], part["y"]) for part in (train, test))
    made, of_made = unknown(cfg, state, key, min(1000, len(x)))
    plain, second, k = logits(C, state.c, asked_x), logits(C_open, state.c_open, asked_x), known(cfg)
    found, ways = {"kept": (of_made > 0).mean()}, {"softmax": jax.nn.softmax(plain)}
    ways["openmax"] = openmax.probabilities(logits(C, state.c, x), y, plain, cfg.tail, cfg.alpha)
    seen = logits(C_open, state.c_open, jnp.concatenate([x, made]))
    ways["g-openmax"] = openmax.probabilities(seen, jnp.concatenate([y, of_made]), second, cfg.tail, cfg.alpha, False)
    for name, p in list(ways.items())[: 3 if cfg.steps > cfg.after else 2]:  # C_open has learned, or never did
        told = openset.told(p[:, :k], asked_y, k, setup(cfg).source.test.classes)
        found |= {f"{name}/{what}": value for what, value in told.items()}
    rows = made[jnp.argsort(of_made)[jnp.array([range(-10, 0), range(10)])]]
    return found | {"mixtures": Picture(rows, rows=("unknown", "left out"))}


def setup(cfg):
    known = data.load(cfg.dataset)
    other = data.load(data.settled(cfg.unknown, size=str(known.shape[0]))) if cfg.unknown else None
    return Setup(data.open_set(known, cfg.held_out, other), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
