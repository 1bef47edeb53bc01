"""AdaGAN: GANs are added one by one, each trained on the data that those before it cover least.

Tolstikhin, Gelly, Bousquet, Simon-Gabriel and Schoelkopf 2017, arXiv 1701.02386. Learner t enters the mixture with
weight beta = 1 / t. A classifier C tells data from samples of the mixture before; r = (1 - C) / C is the ratio of their
densities. The learner sees rows of data with the weights

    w = max(lambda - (1 - beta) r, 0) / (n beta),    lambda such that they sum to 1.

A learner is a plain GAN, or with `--unroll 5` an unrolled one. `--no-boosted` is bagging: T learners by themselves.

Differences from the paper and the authors' code (tolstikhin/adagan):
1. The rows that are weighed are new in each batch (there one set of 64,000), and a learner's may repeat.
2. G and D are updated at once (there D is first), and the unrolled learner's gradient flows through D's updates.
3. Samples of the mixture are new ones (the code keeps 5,000 of each learner); plain learners have tanh units, too.
4. Rates and lengths are the code's in the preset `paper` alone; nets for pictures, stacked digits of 8x8, are ours.

    python -m experiments.adagan                        ten Gaussians, ten learners
    python -m experiments.adagan --no-boosted           the same without weights
    python -m experiments.adagan --preset images        stacked digits: 1000 modes
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, descend, forward, losses, mixture, rng, unroll
from gan_jax.metrics import levels
from gan_jax.nets import mlp, small
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "gaussians10"  # a toy, or any TFDS image set by name
    steps: Count = 7000  # updates of all learners and classifiers together
    learners: Count = 10  # T, how many are added
    gan_steps: Count = 500  # updates of a learner
    c_steps: Count = 200  # updates of the classifier that follow
    pool: Count = 256  # n, rows of data that are weighed, a step
    batch_size: Count = 64  # rows drawn of them, and of noise
    boosted: bool = True  # a learner sees weighed data; without, all learners see the same data
    unroll: int = 0  # updates that D looks ahead; 0: the plain GAN
    z_dim: Count = 5  # the latent, standard normal
    width: Count = 16  # units of both hidden layers (points); channels of all nets at full resolution (images)
    sgd: bool = False  # plain descent in place of Adam
    g_lr: float = 5e-3  # the rate of G
    d_lr: float = 5e-3  # the rate of D
    c_lr: float = 1e-2  # the rate of C
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config(  # 64,000 points in batches of 64: 15 epochs a learner, 5 a classifier
        steps=200_000, gan_steps=15_000, c_steps=5000, unroll=5, sgd=True, g_lr=0.01, d_lr=4e-3, c_lr=8e-3
    ),
    "images": Config("stacked_digits", 20_000, 5, 3600, 400, z_dim=64, width=8, g_lr=1e-3, d_lr=1e-3, c_lr=1e-3),
    "tiny": Config("gaussians3", steps=6, learners=3, gan_steps=1, c_steps=1, pool=16, batch_size=8, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # of all learners, [T, ...], as d is
    d: Player
    c: Player  # c[t] tells data from the mixture of learners 0 .. t


def build(cfg):
    shape = data.load(cfg.dataset).shape
    nets, of = (mlp, (2, jnp.tanh, jax.nn.initializers.normal(0.8))) if len(shape) == 1 else (small, ())
    G, D = nets.G(shape, cfg.width, *of), nets.D(cfg.width, *of)
    adam = lambda lr: optax.adam(lr, cfg.b1, eps_root=1e-16)
    return G, D, *((optax.sgd if cfg.sgd else adam)(lr) for lr in (cfg.g_lr, cfg.d_lr, cfg.c_lr))


def init(cfg, key):
    G, D, *txs = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    of = zip("gdc", (G, D, D), txs, (z, x, x), strict=True)
    return State(jnp.int32(0), key, *(mixture.create(N, tx, rng.at(key, 0, n), cfg.learners, a) for n, N, tx, a in of))


def shares(cfg, t):
    """Return the weights [T] of the mixture of learners 0 .. t."""
    return jnp.where(jnp.arange(cfg.learners) <= t, jnp.float32(1) / (t + 1), 0)


def made(cfg, g, z):
    """Return what each learner makes of z [n, z]: [T, n, ...]."""
    G, *_ = build(cfg)
    return jax.lax.map(lambda g: forward(G, g.params, g.stats, z, train=False)[0], g)


def against(D, stats, params, real, fake):
    """Return (the mean loss of D or C, (the mean scores of real and of fake, new statistics))."""
    (real_score, new), (fake_score, _) = forward(D, params, stats, real), forward(D, params, stats, fake)
    return losses.non_saturating.d(real_score, fake_score).mean(), (real_score.mean(), fake_score.mean(), new)


def learn(cfg, state, t, x):
    """Return the state after an update of learner t on rows of x [n, ...], and what is said of it."""
    G, D, g_tx, d_tx, _ = build(cfg)
    g, d, c = (mixture.one_of(p, i) for p, i in ((state.g, t), (state.d, t), (state.c, jnp.maximum(t - 1, 0))))
    score, _ = forward(D, c.params, c.stats, x, train=False)  # [n]
    w = jnp.where((t > 0) & cfg.boosted, mixture.boosted(score, jnp.float32(1) / (t + 1)), 1 / len(x))
    real = x[jax.random.choice(rng.at(state.key, state.step, "rows"), len(x), (cfg.batch_size,), p=w)]
    z = rng.normal(rng.at(state.key, state.step, "z"), (cfg.batch_size, cfg.z_dim))

    def g_loss(params):
        fake, stats = forward(G, params, g.stats, z)
        ahead = unroll(lambda params, _: against(D, d.stats, params, real, fake)[0], d, d_tx, cfg.unroll)
        fake_score, _ = forward(D, ahead.params, d.stats, fake)
        return losses.non_saturating.g(None, fake_score).mean(), (fake, stats)

    (g_value, (fake, g_stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(g.params)
    d_loss = lambda params: against(D, d.stats, params, real, fake)
    (d_value, (*scores, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
    g, d = descend(g, g_grads, g_tx, g_stats), descend(d, d_grads, d_tx, d_stats)
    state = state._replace(g=mixture.put(state.g, t, g), d=mixture.put(state.d, t, d))
    return state, (g_value, d_value, *scores, (w > 0).astype(jnp.float32).mean())


def classify(cfg, state, t, x):
    """Return the state after an update of c[t] on x [n, ...] and the mixture, and what is said of it."""
    _, D, *_, tx = build(cfg)
    z = latent(cfg, rng.at(state.key, state.step, "mixture"), cfg.batch_size)
    c, fake = mixture.one_of(state.c, t), mixture.pick(made(cfg, state.g, z["z"]), shares(cfg, t), z["which"])
    loss = lambda params: against(D, c.stats, params, x[: cfg.batch_size], fake)
    (value, (*scores, stats)), grads = jax.value_and_grad(loss, has_aux=True)(c.params)
    state = state._replace(c=mixture.put(state.c, t, descend(c, grads, tx, stats)))
    return state, (0 * value, value, *scores, jnp.float32(1))


def step(cfg, state, batch):
    each = cfg.gan_steps + cfg.c_steps
    t = jnp.minimum(state.step // each, cfg.learners - 1)
    of = lambda part: lambda: part(cfg, state, t, batch["x"])
    state, said = jax.lax.cond((state.step - t * each) % each < cfg.gan_steps, of(learn), of(classify))
    names = "loss/g", "loss/d", "score/real", "score/fake", "weighed"  # of C while it learns, for which loss/g is 0
    return state._replace(step=state.step + 1), dict(zip(names, said, strict=True))


def latent(cfg, key, n):
    return mixture.latent(key, n, cfg.z_dim)


def generate(cfg, state, z):
    t = jnp.clip((state.step - 1) // (cfg.gan_steps + cfg.c_steps), 0, cfg.learners - 1)  # the last that has learned
    return mixture.pick(made(cfg, state.g, z["z"]), shares(cfg, t), z["which"])


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return samples of each learner; of points how much of the data is where the mixture is likely, too."""
    source = data.load(cfg.dataset)
    each = made(cfg, state.g, latent(cfg, key, 200 if source.kind == "points" else 8)["z"])
    found = {"learners": Picture(each, rows=tuple(f"learner {i + 1}" for i in range(cfg.learners)))}
    if source.kind != "points":
        return found
    fake, held = (sample(cfg, state, rng.at(key, 0, name), n) for name, n in (("fake", 1000), ("held", 500)))
    return found | {"covered": levels.mass_covered(data.draw(source, key, 500)["x"], fake, held)}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.pool, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
