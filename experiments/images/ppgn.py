"""PPGN: no G is asked for a class: codes h of a trained G climb until a classifier of what G draws of them sees it.

Nguyen, Clune, Bengio, Dosovitskiy and Yosinski 2017, arXiv 1612.00005, the noiseless joint PPGN-h; without its prior it
is DGN-AM (Nguyen et al. 2016, arXiv 1605.09304). E is a classifier that learns first and then stays. G draws pictures
x of E's features h of them; it descends the squared distance of pictures, that of E's last maps, and -log D(G(h)). A
code begins as normal noise, then moves again and again by `rate` d / mean |d|, and is clipped to [0, most], where
d = prior (E(G(h)) - h) + condition grad log p(y | G(h)) + noise n, n ~ N(0, 1). `measure` also leaves out prior, noise
and both; the judge is a classifier that no code has climbed.

Differences from the paper and the authors' code (Evolving-AI-Lab/ppgn), which has the sampler and no training:
1. E is a player, too, trained by the first `pretrain` steps (there: AlexNet, on ImageNet), and is itself the classifier
   that is climbed (there often another net). The default's nets are small, its sampler's numbers ours.
2. The gradient is that of log p(y | x), as in the paper; the code has that of y's logit alone, times 1 - p(y | x). The
   code of DGN-AM climbs the logit, shrinks h and clips it unit by unit.
3. Where d is 0 a code stays; there the chain ends. What is drawn is of the last code, there of the one before it.
4. G and D move at once, from the same h; one that wins by far rests, at the paper's ratios of their losses. Weights of
   G's losses are ours, for means, as are rates, batch and steps in `paper`: the paper's appendix was not at hand.
5. G ends in tanh, there in no function, around the mean picture. D is DCGAN's without a norm and sees pictures alone.

    python -m experiments ppgn     handwritten digits, class by class; or --dataset mnist
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier
from gan_jax.nets import dcgan, ppgn
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program

REST_D, REST_G = 0.1, 10  # D rests where its loss is less than so many times G's, G where it is more
WAYS = {"ppgn": (1, 1), "no prior": (0, 1), "no noise": (1, 0), "neither": (0, 0)}  # factors of prior and noise


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # any TFDS image set with labels by name
    steps: Count = 2500  # updates, those of E first, then joint ones of G and D
    pretrain: int = 500  # updates of E
    batch_size: Count = 32  # pictures a step
    pixel: float = 1.0  # weight of the squared distance of pictures
    feature: float = 1.0  # weight of the squared distance of E's last maps
    adversarial: float = 0.01  # weight of -log D
    features: Count = 128  # numbers of a code h
    width: Count = 16  # channels of all three at half resolution
    blocks: Depth = 1  # convolutions of G between its transposed ones
    iterations: Count = 100  # moves of a code
    rate: float = 0.1  # the mean size of a move, over the features
    prior: float = 0.03  # epsilon 1
    condition: float = 1.0  # epsilon 2
    noise: float = 0.03  # epsilon 3
    most: float = 10.0  # the largest number of a code
    lr: float = 1e-3  # Adam's rate for all three
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("imagenet2012,size=256", 10**6, 10**5, 64, features=4096, width=32, blocks=3, iterations=200,
                    rate=1.0, prior=1e-5, noise=1e-17, most=30.0, lr=2e-4),
    "tiny": Config("digits", steps=6, pretrain=1, batch_size=4, features=6, width=2, iterations=2),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player
    d: Player


def build(cfg):
    source = data.load(cfg.dataset)
    E = ppgn.E(source.classes, cfg.features, cfg.width)
    G = ppgn.G(source.shape, cfg.features, cfg.width, cfg.blocks)
    return E, G, dcgan.D(cfg.width, norm=False), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    E, G, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    nets = {"e": (E, x), "g": (G, jnp.zeros((1, cfg.features))), "d": (D, x)}
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, of), x) for of, (net, x) in nets.items()))


def step(cfg, state, batch):
    E, G, D, tx = build(cfg)
    loss, x, y = losses.non_saturating, batch["x"], batch["y"]  # [b, h, w, c], [b]

    def learn(state):
        cost, logits = optax.softmax_cross_entropy_with_integer_labels, lambda params: forward(E, params, {}, x)[0][2]
        value, grads = jax.value_and_grad(lambda params: cost(logits(params), y).mean())(state.e.params)
        return state._replace(e=descend(state.e, grads, tx)), (value, *[0 * value] * 7)

    def draw(state):
        e, g, d = state.e, state.g, state.d
        maps, h, _ = forward(E, e.params, {}, x)[0]
        fake, back = jax.vjp(lambda params: forward(G, params, {}, h)[0], g.params)

        def d_loss(params):
            real, made = (forward(D, params, {}, a)[0] for a in (x, fake))
            return loss.d(real, made).mean(), [jax.nn.sigmoid(score).mean() for score in (real, made)]

        def g_loss(fake):
            again, code, _ = forward(E, e.params, {}, fake)[0]
            found = [((a - b) ** 2).mean() for a, b in ((fake, x), (again, maps), (code, h))]
            fooling = loss.g(None, forward(D, d.params, {}, fake)[0]).mean()
            return cfg.pixel * found[0] + cfg.feature * found[1] + cfg.adversarial * fooling, (fooling, found)

        (d_value, chances), d_grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        slopes, (fooling, found) = jax.grad(g_loss, has_aux=True)(fake)
        unless = lambda rests, old, new: jax.tree.map(lambda a, b: jnp.where(rests, a, b), old, new)
        g = unless(d_value > REST_G * fooling, g, descend(g, *back(slopes), tx))
        d = unless(d_value < REST_D * fooling, d, descend(d, d_grads, tx))
        return state._replace(g=g, d=d), (0 * d_value, fooling, d_value, *found, *chances)

    state, found = jax.lax.cond(state.step < cfg.pretrain, learn, draw, state)
    names = "loss/e", "loss/g", "loss/d", "pixel", "feature", "code", "p/real", "p/fake"  # 0 where that is not learned
    return state._replace(step=state.step + 1), dict(zip(names, found, strict=True))


def asked(cfg, state, key, y, factors=(1, 1)):
    """Return pictures [n, h, w, c] of codes that have climbed towards labels y [n]; factors: of prior and noise."""
    E, G, *_ = build(cfg)
    drawn = lambda h: forward(G, state.g.params, {}, h)[0]

    def log_p(h):
        _, code, logits = forward(E, state.e.params, {}, drawn(h))[0]
        return jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).sum(), code

    def move(h, key):
        slope, code = jax.grad(log_p, has_aux=True)(h)
        d = factors[0] * cfg.prior * (code - h) + cfg.condition * slope  # [n, features]
        d += factors[1] * cfg.noise * rng.normal(key, h.shape)
        return jnp.clip(h + cfg.rate * d / jnp.maximum(jnp.abs(d).mean(1, keepdims=True), 1e-30), 0, cfg.most), None

    keys = jax.random.split(key, cfg.iterations + 1)
    return drawn(jax.lax.scan(move, rng.normal(keys[0], (len(y), cfg.features)), keys[1:])[0])


def sample(cfg, state, key, n):
    return asked(cfg, state, key, jax.random.randint(rng.at(key, 0, "y"), (n,), 0, data.load(cfg.dataset).classes))


def measure(cfg, state, key, train, test):
    """Return how often judge and E see the label asked for, and how much samples of it differ, each way; pictures."""
    if "y" not in test:
        return {}
    source, E, G = data.load(cfg.dataset), *build(cfg)[:2]
    each, judge = max(10, 200 // source.classes), classifier.load(source)
    real, known, y = data.decode(test)["x"][:2000], test["y"][:2000], jnp.repeat(jnp.arange(source.classes), each)
    see = lambda x: forward(E, state.e.params, {}, x)[0]
    made = jax.lax.map(lambda factors: asked(cfg, state, key, y, factors), jnp.array(list(WAYS.values()), jnp.float32))
    spread = metrics.within(real, known, source.classes) * (each - 1) / each  # as of so many of each
    _, h, logits = see(real)
    found = {f"{who}/real": metrics.agreement(a.argmax(1), known) for who, a in (("judge", judge(real)), ("e", logits))}
    for way, x in zip(WAYS, made, strict=True):
        found |= {f"judge/{way}": (judge(x).argmax(1) == y).mean(), f"e/{way}": (see(x)[2].argmax(1) == y).mean()}
        found[f"variety/{way}"] = metrics.within(x, y, source.classes) / spread
    rows, pair = made.reshape(-1, source.classes, each, *source.shape), (real, forward(G, state.g.params, {}, h)[0])
    found["each_label"] = Picture(rows[0, :, :10], rows=source.row["y"].names or tuple(map(str, range(source.classes))))
    found["ways"] = Picture(rows[:, :10, 0], rows=tuple(WAYS))
    return found | {"drawn_again": Picture(jnp.stack([a[:10] for a in pair]), rows=("test", "G(E(x))"))}


def setup(cfg):
    source = data.load(cfg.dataset)
    return Setup(data.labelled(source), cfg.batch_size, cfg.steps, (source,) if source.test else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
