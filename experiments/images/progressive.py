"""PGGAN: nets that grow: both begin with 4x4 pixels, and each doubling fades in once the level below has learnt.

Karras, Aila, Laine and Lehtinen 2018, arXiv 1710.10196. The newest level counts by alpha, which rises from 0 to 1 while
`fade` images are shown, beside the enlarged image of the level below; reals are blurred alike. The optimisers begin
anew when a fade begins or ends. Weights are scaled when used, G's features normalised pixel by pixel, and D sees how
much four images differ. D descends D(G(z)) - D(x) + 10 (|grad D| - t)^2 / t^2 + 0.001 D(x)^2, then G, from new noise,
-D(G(z)). Samples are those of an averaged G. A level is a branch of the one compiled step.

Differences from the paper and the authors' code:
1. Batches are of one size at all levels (there: 16 down to 3 at 1024x1024), rates constant (there: raised over 40,000
   images). On CIFAR-10, they update both nets at once. The default is small and short.
2. The level and alpha change at every step (in their second code: every fourth).
3. Images of other sides are padded with -1 up to the next of 4, 8, 16, ...; samples are cut to size. Coarse reals are
   means of pixels in float (there: of rounded levels). No image is mirrored.
4. D's deviation is of groups of four, as in their second code (paper: the whole batch). G's average follows each step.
5. `mnist1k_*` are its test of 1000 modes, not grown. Images are three new digits each time (there: of a million drawn).

    python -m experiments progressive       16x16 digits, in three levels; --dataset path/to/folder --size 64: in five
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, growing, losses, penalties, rng
from gan_jax.nets import progressive as nets
from gan_jax.run import Count, Decay, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # any image set by name, or a folder
    steps: Count = 5000  # updates of G
    batch_size: Count = 16  # images, and rows of noise, an update
    d_steps: Count = 1  # updates of D for each one of G
    first: Literal[4, 8, 16, 32, 64, 128, 256, 512, 1024] = 4  # the side of images at the start
    stable: Count = 4800  # images shown at each level, once it is there
    fade: Count = 4800  # images shown while it is faded in
    nets: Literal["paper", "mnist1k"] = "paper"  # mnist1k: the small ones
    z_dim: Count = 64  # the latent, standard normal; G normalises it
    width: Count = 16  # channels of G at the last level
    d_width: Count = 16  # channels of D there
    most: Count = 512  # channels of any level, at most
    group: int = 4  # images of which D sees the deviation; 0: it does not
    penalty: float = 10.0  # weight of the gradient penalty
    target: float = 1.0  # t, the norm of D's gradient; on CIFAR-10 750
    drift: float = 0.001  # weight of the squared scores of reals
    lr: float = 2e-3  # Adam's rate for both (its decay of the first moment is 0)
    b2: Decay = 0.99  # Adam's decay of the second moment
    ema: Decay = 0.995  # decay of the averaged G


_mnist1k = Config(
    "stacked_mnist", steps=31_250, batch_size=64, d_steps=5, first=32, stable=500_000, fade=2_000_000, nets="mnist1k",
    width=8, d_width=2, group=64, drift=0.0, lr=1e-3, ema=0.999,
)  # fmt: skip
PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a_hq/1024", steps=1_187_500, stable=800_000, fade=800_000, z_dim=512, lr=1e-3, ema=0.999),
    "mnist1k_quarter": _mnist1k,  # 1000 modes against a D of a quarter, or half, of G's width; not grown
    "mnist1k_half": dataclasses.replace(_mnist1k, d_width=4),
    "tiny": Config(
        "digits", steps=6, batch_size=8, stable=4, fade=12, nets="mnist1k", z_dim=4, width=4, d_width=4, ema=0.5
    ),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def sides(cfg):
    """Return the sides of the levels' images."""
    h, w, c = data.load(cfg.dataset).shape
    last = max(4, 2 ** (max(h, w) - 1).bit_length())
    return growing.sizes((last, last, c), cfg.first)


def build(cfg):
    last, c = sides(cfg)[-1], data.load(cfg.dataset).shape[-1]
    G, D = (nets.SmallG, nets.SmallD) if cfg.nets == "mnist1k" else (nets.G, nets.D)
    G, D = G((last, last, c), cfg.width, cfg.most, cfg.first), D(last, cfg.d_width, cfg.most, cfg.first, cfg.group)
    return G, D, optax.adam(cfg.lr, 0.0, cfg.b2)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *G.shape))
    g = create(G, tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), x), (g.params, g.stats))


def stage(cfg, step):  # (the level in use, counted from 0; alpha)
    return growing.stage(step * cfg.batch_size * cfg.d_steps, cfg.stable, cfg.fade, len(sides(cfg)))


def updated(cfg, side, state, xs, alpha):
    """Return (g, d, metrics) after the updates of D and that of G, on images of `side` pixels; xs [d_steps, b, ...]."""
    G, D, tx = build(cfg)
    loss, slope = losses.wasserstein, cfg.target * D.side / side  # the penalty is of images enlarged to the last level

    def drawn(g_params, i):
        key = jax.random.fold_in(rng.at(state.key, state.step, "z"), i)
        return forward(G, g_params, state.g.stats, rng.normal(key, (cfg.batch_size, cfg.z_dim)), side, alpha)

    score = lambda d_params, x: forward(D, d_params, state.d.stats, x, alpha)[0]  # [b]

    def d_update(d, ix):
        i, x = ix
        x, fake = growing.reals(x, side, alpha), drawn(state.g.params, i)[0]
        key = jax.random.fold_in(rng.at(state.key, state.step, "penalty"), i)

        def d_loss(d_params):
            real_score, fake_score = score(d_params, x), score(d_params, fake)
            penalty = penalties.wgan_gp(lambda x: score(d_params, x) / slope, x, fake, key)  # [b]
            game = loss.d(real_score, fake_score)
            return (game + cfg.penalty * penalty + cfg.drift * real_score**2).mean(), (-game.mean(), penalty.mean())

        grads, found = jax.grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx), found

    def g_loss(g_params, d):
        fake, stats = drawn(g_params, cfg.d_steps)
        return loss.g(None, score(d.params, fake)).mean(), stats

    d, (distance, penalty) = jax.lax.scan(d_update, state.d, (jnp.arange(cfg.d_steps), xs))
    (g_value, stats), grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    metrics = {"wasserstein": distance[-1], "loss/g": g_value, "penalty": penalty[-1], "side": jnp.int32(side)}
    return descend(state.g, grads, tx, stats), d, metrics


def step(cfg, state, batch):
    *_, tx = build(cfg)
    level, alpha = now = stage(cfg, state.step)
    anew = growing.changed(now, stage(cfg, jnp.maximum(state.step - 1, 0)))
    old = state._replace(g=growing.restarted(state.g, tx, anew), d=growing.restarted(state.d, tx, anew))
    x = growing.padded(batch["x"], sides(cfg)[-1])
    xs = x.reshape(cfg.batch_size, cfg.d_steps, *x.shape[1:]).swapaxes(0, 1)  # [d_steps, b, side, side, c]
    g, d, found = jax.lax.switch(level, [functools.partial(updated, cfg, side) for side in sides(cfg)], old, xs, alpha)
    average = ema(state.g_ema, (g.params, g.stats), cfg.ema)
    return State(state.step + 1, state.key, g, d, average), found | {"alpha": alpha}


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    (G, *_), (level, alpha) = build(cfg), stage(cfg, jnp.maximum(state.step - 1, 0))  # of the last update

    def drawn(side):
        x, times = forward(G, *state.g_ema, z, side, alpha, train=False)[0], G.shape[0] // side
        return x.repeat(times, 1).repeat(times, 2)

    x = jax.lax.switch(level, [functools.partial(drawn, side) for side in sides(cfg)])
    return growing.cropped(jnp.clip(x, -1, 1), data.load(cfg.dataset).shape)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    sides(cfg)  # raises UserError where images are smaller than `first`
    return Setup(data.load(cfg.dataset), cfg.batch_size * cfg.d_steps, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
