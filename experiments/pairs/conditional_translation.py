"""Conditional translation: one G draws both sets from one latent, and an encoder finds the latent of a picture.

Dong, Neekhara, Wu and Guo 2017, arXiv 1701.02676. An AC-GAN is asked for a set c instead of a class: D descends
-log D(x) - log(1 - D(G(z, c))) - log P(c | x), G descends -log D(G(z, c)) - log P(c | G(z, c)), with two updates for
each one of D. The encoder E descends |E(G(z, c)) - z|^2, a mean: it sees nothing but what G draws. A picture x is then
translated to the other set, c', as G(E(x), c').

c is 0 for the set `source`, 1 for the set `dataset`, which gives the size, and which `sample` draws. `measure`
translates test pictures both ways; classifiers, trained on the target, say whether it is still the same digit.

Differences from the paper, by the authors' code (zsdonghao/Unsup-Im2Im; E's loss there was once that of rebuilt data):
1. E learns beside D and G from the first step on, and goes on alone after `game` steps (there: it begins then).
2. E sees the game's z, and as many pictures of each set (there: z of its own, c drawn for each row).
3. c is one-hot (there: five learned numbers), kernels are 4x4 (5x5), E's last layer is orthogonal at first.
4. D keeps the statistics of data alone. Pictures are not turned, mirrored or cut (there: those of faces are).
5. Except in the preset `paper` nets are half as wide, rates larger, pictures 16x16, and steps fewer.

    python -m experiments conditional_translation                       MNIST's digits in the hand of USPS, and back
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier
from gan_jax.nets import conditional, dcgan, inverse, vaegan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # the set 1, which `sample` draws: any TFDS image set by name
    source: str = "mnist"  # the set 0
    steps: Count = 5000  # updates of E
    game: int = 2500  # in the first so many steps D and G learn, too
    g_steps: Count = 2  # updates of G for each one of D, all of the same noise
    batch_size: Count = 32  # pictures of each set a step, and samples
    z_dim: Count = 100  # the latent, standard normal
    width: Count = 32  # channels at half resolution
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    e_lr: float = 1e-3  # Adam's rate for E
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config(
        *("celeb_a,y=Male,only=0,size=64", "celeb_a,y=Male,only=1,size=64", 325_000, 295_000),
        **{"width": 64, "g_lr": 2e-4, "d_lr": 2e-4, "e_lr": 1e-4},
    ),
    "tiny": Config("digits16", "digits16", steps=6, game=200, g_steps=1, batch_size=4, z_dim=16, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    e: Player


def build(cfg):
    G = conditional.G(dcgan.G(data.load(cfg.dataset).shape, cfg.width), 2)
    D, E = conditional.Classifier(2, cfg.width), inverse.E(vaegan.Trunk(cfg.width), cfg.z_dim)
    return G, D, E, *(optax.adam(lr, cfg.b1) for lr in (cfg.g_lr, cfg.d_lr, cfg.e_lr))


def init(cfg, key):
    G, D, E, *txs = build(cfg)
    z, x, c = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.zeros(1, int)
    nets = {"g": (G, z, c), "d": (D, x, c), "e": (E, x)}
    of = zip(txs, nets.items(), strict=True)
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, name), *x) for tx, (name, (net, *x)) in of))


def step(cfg, state, batch):
    G, D, E, g_tx, d_tx, e_tx = build(cfg)
    loss, shape = losses.non_saturating, data.load(cfg.dataset).shape
    x = jnp.concatenate([data.resized(batch[name]["x"], shape) for name in ("source", "x")])  # [2 b, h, w, c]
    c = jnp.repeat(jnp.arange(2), len(x) // 2)  # [2 b], of x and of what is drawn
    z = rng.normal(rng.at(state.key, state.step, "z"), (len(x), cfg.z_dim))

    def d_update(d, fake):
        def d_loss(params):
            (real_score, log_p), stats = forward(D, params, d.stats, x, c)  # D keeps the statistics of data
            fake_score = forward(D, params, d.stats, fake, c)[0][0]
            means = jax.nn.sigmoid(real_score).mean(), jax.nn.sigmoid(fake_score).mean(), log_p.mean()
            return (loss.d(real_score, fake_score) - log_p).mean(), (stats, means)

        (value, (stats, means)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, d_tx, stats), (value, *means)

    def fooling(fake, d):
        score, log_p = forward(D, d.params, d.stats, fake, c)[0]
        return (loss.g(None, score) - log_p).mean()

    def play(g, d):
        for i in range(cfg.g_steps):
            draw = lambda params, stats=g.stats: forward(G, params, stats, z, c)
            fake, pull, stats = jax.vjp(draw, g.params, has_aux=True)
            if i == 0:
                d, found = d_update(d, fake)
            value, grad = jax.value_and_grad(fooling)(fake, d)
            g = descend(g, *pull(grad), g_tx, stats)
        return g, d, (value, *found)

    def stay(g, d):
        return g, d, (jnp.zeros((), z.dtype),) * 5

    def e_loss(params, drawn):
        said, stats = forward(E, params, state.e.stats, drawn)  # [2 b, z]
        return ((said - z) ** 2).mean(), stats

    g, d, found = jax.lax.cond(state.step < cfg.game, play, stay, state.g, state.d)
    drawn = forward(G, g.params, g.stats, z, c, train=False)[0]
    (e_value, e_stats), e_grads = jax.value_and_grad(e_loss, has_aux=True)(state.e.params, drawn)
    e = descend(state.e, e_grads, e_tx, e_stats)
    names = "loss/g", "loss/d", "p/real", "p/fake", "log_p/real"  # 0 where the game is over
    return State(state.step + 1, state.key, g, d, e), {"loss/e": e_value} | dict(zip(names, found, strict=True))


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z, c=1):
    """Return G(z, c) [n, h, w, c] of latents z [n, z], all as pictures of the set c, 0 or 1."""
    return forward(build(cfg)[0], state.g.params, state.g.stats, z, jnp.full(len(z), c), train=False)[0]


def translated(cfg, state, x, c):
    """Return G(E(x), c) [n, h, w, c] of pictures x [n, h, w, c] of either set."""
    code = lambda x: forward(build(cfg)[2], state.e.params, state.e.stats, x[None], train=False)[0]
    return jax.lax.map(lambda x: generate(cfg, state, code(x), c)[0], x, batch_size=500)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def judged(cfg):
    """Return the two sets, where both have classifiers for the same labels."""
    sets = data.load(cfg.source), data.load(cfg.dataset)
    return sets if all(s.test for s in sets) and data.same_labels(*sets) else ()


def measure(cfg, state, key, train, test):
    """Return pictures of both ways, and what share of digits, translated, a classifier of the target reads right.

    Beside them stand digits as they are, and rebuilt, G(E(x), c) of their own c, for the classifier of their own set.
    """
    found, shape = {}, data.load(cfg.dataset).shape
    for way, part, a, b in (("ab", "source", 0, 1), ("ba", "x", 1, 0)) if test else ():
        x = data.resized(data.decode(test[part])["x"], shape)
        again, new = (translated(cfg, state, x, c) for c in (a, b))
        found[way] = Picture(jnp.stack([x[:12], again[:12], new[:12]]), rows=("test", "rebuilt", "translated"))
        for name, images, c in (("as_it_is", x, b), ("rebuilt", again, a), ("translated", new, b)):
            if judged(cfg) and "y" in test[part]:
                judge = classifier.load(judged(cfg)[c])
                said = judge(data.resized(images, judged(cfg)[c].shape)).argmax(1)
                found[f"accuracy/{way}_{name}"] = metrics.agreement(said, test[part]["y"])
    return found


def setup(cfg):
    sets = data.join(x=data.load(cfg.dataset), source=data.load(cfg.source))
    return Setup(sets, cfg.batch_size, cfg.steps, judged(cfg), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
