"""StyleGAN2 with ADA: styles scale G's convolutions, and D sees all pictures augmented, as often as it would overfit.

Karras et al. 2020, arXiv 1912.04958. At every 4th step G descends the spread of its path lengths |J^T y|, y noise, too,
at every 16th D descends R1; Adam is corrected for both. ADA (arXiv 2006.06676): p rises while most reals score above 0.

Differences from the papers and the authors' code:
1. The default is narrower, its R1 heavier; p moves 50 times as fast in a short run. All is float32, without clipping.
2. G cuts off, and D pads, sides that are no powers of two. The controller counts D's main update (code: R1's, too).
3. There are no labels; pictures are not mirrored (code: FFHQ's); `paper` has another set; samples are cut to [-1, 1].

    python -m experiments stylegan2      400 photographs of facades; --no-ada; --begin RUN: with the nets of another run
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, augment, create, descend, ema, forward, losses, penalties, rng
from gan_jax.nets import stylegan2
from gan_jax.run import Count, Depth, Setup, Share, program, transferred


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmp_facades,x=photo,size=32"  # pictures
    steps: Count = 4000  # main updates of G, and of D
    batch_size: Count = 16  # pictures a step
    z_dim: Count = 64  # the latent, normal, and the style
    depth: Depth = 2  # layers of the mapping net
    width: Count = 16  # channels of the finest level; each coarser one has twice as many
    most: Count = 64  # up to so many
    residual: bool = True  # D with skips
    group: Count = 4  # pictures whose deviation D sees
    lr: float = 2.5e-3  # Adam's rate for both; its decays are 0 and 0.99
    gamma: float = 5.0  # weight of R1; by ADA's rule, 0.0002 pixels / batch, nets as narrow as these collapse
    d_every: Count = 16  # steps between two updates along R1
    path: float = 2.0  # weight of the path lengths; 0: none
    g_every: Count = 4  # steps between two updates along them
    mixing: Share = 0.9  # of the batches: those with a second style from some layer on
    ema: float = 5000.0  # half-life of the averaged G, in pictures
    ramp: Share = 0.05  # ... at most this share of the pictures so far; 0: without such a bound
    ada: bool = True  # augment what D sees
    target: float = 0.6  # mean sign of D's scores of reals above which p rises
    ada_images: Count = 10_000  # pictures in which p would go from 0 to 1; ADA's code: 500,000, to begin with 100,000
    begin: str = ""  # the folder of a run whose nets, and averaged G, this one begins with
    truncation: float = 1.0  # of samples: the share of their distance from the mean style that styles keep


PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a_hq/1024", 781_250, 32, z_dim=512, depth=8, width=32, most=512, lr=2e-3, gamma=10.0,
                    ema=10_000.0, ramp=0.0, ada=False, ada_images=500_000),  # StyleGAN2's config F
    "cifar": Config("cifar10", 1_562_500, 64, z_dim=512, width=512, most=512, residual=False, group=32, gamma=0.01,
                    path=0.0, mixing=0.0, ema=500_000.0, ada_images=500_000),  # ADA's, without labels
    "tiny": Config("digits,size=4", 6, 8, z_dim=4, depth=1, width=2, most=4, lr=1e-4, d_every=2, g_every=2, mixing=0.0),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (averaged params, stats as they are) of G
    path: jax.Array  # the running mean of G's path lengths
    ada: tuple  # (the probability p of each augmentation, the sum of D's mean signs of reals since p was last moved)


def build(cfg):
    G = stylegan2.G(data.load(cfg.dataset).shape, cfg.width, cfg.most, cfg.z_dim, cfg.depth, cfg.mixing)
    lazy = lambda k: optax.adam(cfg.lr * (k / (k + 1)), 0.0, 0.99 ** (k / (k + 1)))  # of k + 1 updates in k steps
    return G, stylegan2.D(cfg.width, cfg.most, cfg.group, cfg.residual), lazy(cfg.g_every), lazy(cfg.d_every)


def init(cfg, key):
    (G, D, g_tx, d_tx), z = build(cfg), jnp.zeros((1, cfg.z_dim))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z, key), create(D, d_tx, rng.at(key, 0, "d"), jnp.zeros((1, *G.shape)))
    return State(jnp.int32(0), key, g, d, (g.params, g.stats), jnp.float32(0), (jnp.float32(0),) * 2)


def drawn(cfg, state, params, name, n, shift=0.0):  # (n pictures, G's new statistics); shift: added to the styles
    of = latent(cfg, rng.at(state.key, state.step, name), n)
    return forward(build(cfg)[0], params, state.g.stats, of["z"], of["noise"], shift)


def seen(cfg, state, x, name):  # pictures as D sees them
    return augment.ada(rng.at(state.key, state.step, name), x, state.ada[0]) if cfg.ada else x


def g_regular(cfg, state):  # after G's update along (path length - its mean)^2, from half as many latents
    (G, _, tx, _), n, key = build(cfg), max(cfg.batch_size // 2, 1), rng.at(state.key, state.step, "path y")

    def penalty(params):
        length, stats = stylegan2.path_lengths(G, lambda shift: drawn(cfg, state, params, "path", n, shift), n, key)
        mean = state.path + 0.01 * (length.mean() - state.path)  # differentiated, too, as in the authors' code
        return cfg.g_every * cfg.path * jnp.square(length - mean).mean(), (stats, mean)

    grads, (stats, mean) = jax.grad(penalty, has_aux=True)(state.g.params)
    return state._replace(g=descend(state.g, grads, tx, stats), path=mean)


def d_regular(cfg, state, x):  # after D's update along R1, at x before augmentation; rows of a group share their scores
    _, D, _, tx = build(cfg)
    r1 = lambda params: penalties.r1(lambda x: forward(D, params, {}, seen(cfg, state, x, "r1 ada"))[0], x, None, None)
    grads = jax.grad(lambda params: cfg.d_every * cfg.gamma / 2 * r1(params).mean())(state.d.params)
    return state._replace(d=descend(state.d, grads, tx))


def step(cfg, state, batch):
    x, n, t, (_, D, g_tx, d_tx) = batch["x"], len(batch["x"]), state.step, build(cfg)

    def g_loss(params):
        fake, stats = drawn(cfg, state, params, "g", n)
        score, _ = forward(D, state.d.params, {}, seen(cfg, state, fake, "g ada"))
        return losses.non_saturating.g(None, score).mean(), stats

    (g_value, stats), grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    state = state._replace(g=descend(state.g, grads, g_tx, stats))
    state = jax.lax.cond((t % cfg.g_every == 0) & (cfg.path > 0), lambda s: g_regular(cfg, s), lambda s: s, state)

    def d_loss(params, pictures):
        scores = [forward(D, params, {}, x)[0] for x in jnp.split(pictures, 2)]
        return losses.non_saturating.d(*scores).mean(), scores

    fake, stats = drawn(cfg, state, state.g.params, "d", n)
    both = seen(cfg, state, jnp.concatenate([x, fake]), "d ada")
    (d_value, (real, made)), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, both)
    state = state._replace(g=state.g._replace(stats=stats), d=descend(state.d, grads, d_tx))
    state = jax.lax.cond(t % cfg.d_every == 0, lambda s: d_regular(cfg, s, x), lambda s: s, state)  # one branch runs
    half_life = jnp.minimum(cfg.ema, cfg.ramp * n * jnp.float32(t)) if cfg.ramp else cfg.ema
    average = ema(state.g_ema[0], state.g.params, 0.5 ** (n / jnp.maximum(half_life, 1e-8))), state.g.stats
    ada = augment.controller(*state.ada, real, t, cfg.target, images=cfg.ada_images) if cfg.ada else state.ada
    found = {"loss/g": g_value, "loss/d": d_value, "score/real": real.mean(), "score/fake": made.mean(), "p": ada[0]}
    return state._replace(step=t + 1, g_ema=average, ada=ada), found | {"path": state.path}


def latent(cfg, key, n):
    return {"z": rng.normal(jax.random.split(key)[0], (n, cfg.z_dim)), "noise": jax.random.split(key)[1]}


def styles(cfg, state, z, psi):  # [n, layers, w], psi times as far from their mean
    return stylegan2.styles(build(cfg)[0], *state.g_ema, z["z"], psi)


def synthesise(cfg, state, w, z):
    return jnp.clip(stylegan2.synthesised(build(cfg)[0], state.g_ema[0], w, z["noise"]), -1, 1)


def generate(cfg, state, z):
    return synthesise(cfg, state, styles(cfg, state, z, cfg.truncation), z)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    n, b = min(len(train["x"]), len(test["x"]), 500) // cfg.batch_size if test and train else 0, cfg.batch_size
    if not n:
        return {}
    x = jnp.concatenate([*(data.decode(raw)["x"][: n * b] for raw in (train, test)), sample(cfg, state, key, n * b)])
    rekeyed = lambda key: state._replace(key=key)
    one = lambda of: forward(build(cfg)[1], state.d.params, {}, seen(cfg, rekeyed(of[0]), of[1], "measure"))[0]
    scores = jax.lax.map(one, (jax.random.split(rng.at(key, 0, "ada"), 3 * n), x.reshape(3 * n, -1, *x.shape[1:])))
    return dict(zip(("sign/train", "sign/test", "sign/fake"), jnp.sign(scores).reshape(3, -1).mean(1), strict=True))


def setup(cfg):
    begin = (lambda state: transferred(cfg.begin, state, ("g", "d", "g_ema"))) if cfg.begin else None
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("image",), begin=begin)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
