"""StyleGAN: a constant grows into a picture, and a net of its own tells every layer in which style.

Karras, Laine and Aila 2019, arXiv 1812.04948. A mapping net makes w of z. After each convolution of G noise is added,
each channel is normalised, then scaled and shifted as w says; in training the layers behind a random cut follow another
w. D is PGGAN's, behind filters, with R1 at every step. The nets grow from 8x8. D moves first, then G against the new D.
`python -m gan_jax.explore RUN` mixes coarse styles of one with fine ones of another, and pulls w towards the mean.

Differences from the paper and the authors' code:
1. Batches are as large at every level (there: 256 at 8x8 down to 32 from 64x64 on); coarse reals are not rounded.
2. The default is narrower and shorter; its mapping net is less deep and learns faster; its R1 is lighter.
3. Samples are what the level in use makes, enlarged, and cut off at -1 and 1.

    python -m experiments stylegan                                              faces at 32x32
    python -m experiments stylegan --dataset path/to/folder,size=64 --psi 0.7   your own pictures
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, growing, losses, penalties, rng
from gan_jax.nets import stylegan
from gan_jax.run import Count, Decay, Depth, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmu_faces,size=32"  # squares of 8, 16, 32, ... pixels
    mirror: bool = True  # whether every second picture is mirrored
    steps: Count = 5000  # updates of D, and of G
    batch_size: Count = 16  # pictures a step
    first: Literal[4, 8, 16, 32, 64, 128, 256, 512, 1024] = 8  # side of the first level
    stable: Count = 10_000  # pictures for which a level learns by itself
    fade: Count = 6400  # pictures for which the next level is faded in
    z_dim: Count = 64  # the latent, standard normal; w has as many
    depth: Depth = 4  # layers of the mapping net
    map_rate: Share = 0.1  # of lr, at which it learns
    width: Count = 16  # channels of G and D at the last level, twice as many at each one below
    most: Count = 64  # channels of any level, at most
    mixing: Share = 0.9  # how often styles are mixed
    gamma: float = 2.0  # weight of R1, halved
    lr: float = 2e-3  # Adam's rate for all, up to 64x64; more is made of it at larger levels
    b2: Decay = 0.99  # Adam's decay of the second moment (that of the first is 0)
    eps: float = 1e-8  # of Adam; in `tiny` so large that gradients that are but rounding move nothing
    half_life: Count = 2000  # of the averaged G, in pictures
    w_decay: Decay = 0.995  # of the average w
    psi: float = 1.0  # how far from the average w samples are; 0.7 in the paper's pictures, 1 in its scores


PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a_hq/1024", steps=781_250, batch_size=32, stable=600_000, fade=600_000, z_dim=512, depth=8,
                    map_rate=0.01, width=16, most=512, gamma=10.0, lr=1e-3, half_life=10_000),
    "tiny": Config("digits", False, 6, 8, 4, stable=4, fade=16, z_dim=4, depth=1, width=2, most=4, lr=0.01, eps=1.0),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: dict  # the averaged parameters of G
    w_mean: jax.Array  # the average w


def build(cfg, level=0):
    """Return (G, D, the optimiser at a level, the sides of all levels)."""
    shape = data.load(cfg.dataset).shape
    sides, channels = growing.sizes(shape, cfg.first), (cfg.width * shape[0], cfg.most)
    M, S = stylegan.Mapping(cfg.z_dim, cfg.depth, cfg.map_rate), stylegan.Synthesis(shape[-1], *channels)
    faster = [{128: 1.5, 256: 2.0, 512: 3.0, 1024: 3.0}.get(side, 1.0) for side in sides]
    tx = optax.adam(cfg.lr * jnp.array(faster, jnp.float32)[level], 0.0, cfg.b2, cfg.eps)
    return stylegan.G(M, S, cfg.mixing), stylegan.D(*channels), tx, sides


def init(cfg, key):
    G, D, tx, sides = build(cfg)
    g = create(G, tx, rng.at(key, 0, "g"), jnp.zeros((2, 1, cfg.z_dim)), jnp.zeros(2), key, sides[-1])
    d = create(D, tx, rng.at(key, 0, "d"), jnp.zeros((1, *data.load(cfg.dataset).shape)))
    return State(jnp.int32(0), key, g, d, g.params, jnp.zeros(cfg.z_dim, jnp.float32))


def stage(cfg, step):  # (the level in use, counted from 0; how much of it counts)
    return growing.stage(step * cfg.batch_size, cfg.stable, cfg.fade, len(build(cfg)[-1]))


def d_grads(cfg, side, alpha, d_params, x, g_params, *noise):
    """Return (the gradient of D's loss at the level of `side` pixels, (metrics, the mean w))."""
    G, D, _, sides = build(cfg)
    real, ((fake, w), _) = growing.reals(x, side, alpha), forward(G, g_params, {}, *noise, side, alpha)
    weight = cfg.gamma / 2 * (side / sides[-1]) ** 2  # R1 is by pixels of full size at every level, as in their code

    def loss(params):
        critic = lambda x: forward(D, params, {}, x, alpha)[0]  # [b]
        real_score, fake_score, flat = critic(real), critic(fake), penalties.r1(critic, real, fake, None)
        value = (losses.non_saturating.d(real_score, fake_score) + weight * flat).mean()
        seen = {"loss/d": value, "score/real": real_score.mean(), "score/fake": fake_score.mean(), "r1": flat.mean()}
        return value, (seen, w)

    return jax.grad(loss, has_aux=True)(d_params)


def g_grads(cfg, side, alpha, g_params, d_params, *noise):
    """Return (the gradient of G's loss at the level of `side` pixels, (its value, the mean w))."""
    G, D, *_ = build(cfg)

    def loss(params):
        (fake, w), _ = forward(G, params, {}, *noise, side, alpha)
        value = losses.non_saturating.g(None, forward(D, d_params, {}, fake, alpha)[0]).mean()
        return value, (value, w)

    return jax.grad(loss, has_aux=True)(g_params)


def step(cfg, state, batch):
    x, (level, alpha) = batch["x"], stage(cfg, state.step)
    *_, tx, sides = build(cfg, level)
    anew = growing.changed((level, alpha), stage(cfg, state.step - 1))
    g, d = growing.restarted(state.g, tx, anew), growing.restarted(state.d, tx, anew)
    at_level = lambda f, *of: jax.lax.switch(level, [functools.partial(f, cfg, side) for side in sides], alpha, *of)
    z = rng.normal(rng.at(state.key, state.step, "z"), (2, 2, len(x), cfg.z_dim))  # of D's fakes, and of G's
    chance = rng.uniform(rng.at(state.key, state.step, "mixing"), (2, 2))
    keys = jax.random.split(rng.at(state.key, state.step, "noise"))
    grads, (metrics, w) = at_level(d_grads, d.params, x, g.params, z[0], chance[0], keys[0])
    d, w_mean = descend(d, grads, tx), ema(state.w_mean, w, cfg.w_decay)
    g_ema = ema(state.g_ema, g.params, 0.5 ** (len(x) / cfg.half_life))  # before G moves
    grads, (value, w) = at_level(g_grads, g.params, d.params, z[1], chance[1], keys[1])  # of the new D
    g, w_mean = descend(g, grads, tx), ema(w_mean, w, cfg.w_decay)
    return State(state.step + 1, state.key, g, d, g_ema, w_mean), metrics | {"loss/g": value, "level": level + alpha}


def latent(cfg, key, n):
    return {"z": rng.normal(rng.at(key, 0, "z"), (n, cfg.z_dim)), "noise": key}


def styles(cfg, state, z, psi):
    """Return styles [n, layers, w] of latents, by the averaged mapping net, psi times as far from the average w."""
    G, *_, sides = build(cfg)
    w, _ = forward(G.mapping, state.g_ema["mapping"], {}, z["z"], train=False)
    return stylegan.truncated(w, state.w_mean, psi, stylegan.layers(sides[-1]))


def synthesise(cfg, state, w, z):
    """Return pictures [n, h, w, c] of styles w [n, layers, w] and the latents' noise, by the averaged G."""
    (G, *_, sides), (level, alpha) = build(cfg), stage(cfg, state.step)

    def at(side):
        x, _ = forward(G.synthesis, state.g_ema["synthesis"], {}, w, z["noise"], side, alpha, train=False)
        return jnp.clip(x.repeat(sides[-1] // side, 1).repeat(sides[-1] // side, 2), -1, 1)

    return jax.lax.switch(level, [functools.partial(at, side) for side in sides])


def generate(cfg, state, z):
    return synthesise(cfg, state, styles(cfg, state, z, cfg.psi), z)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    source = data.cut(data.load(cfg.dataset), data.load(cfg.dataset).shape[0], cfg.mirror)
    return Setup(source, cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
