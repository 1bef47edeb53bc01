"""GP-GAN: a net says which colours a pasted picture should have, small; gradients of both pictures fill in the rest.

Wu, Zheng, Zhang and Huang 2019, arXiv 1703.07195. The Blending GAN maps a composite, a picture with a box out of
another one of the same place, to the picture without the box: an encoder and a decoder with a bottleneck, which descend
0.999 |G(a) - x|^2 - 0.001 D(G(a)) against a critic D, clipped as in WGAN. At full size the Gaussian-Poisson equation
has the picture with both pictures' gradients whose blurred colours are those of G, level by level, in closed form.

`sample` blends held-out composites. `measure` blends test composites, of which the truth is known, and gives the errors
in the box of colours (means of 8x8) and of gradients, of four ways: pasted, blended by the Poisson equation, what G
makes alone, enlarged, and GP-GAN.

Differences from the paper:
1. The pasted box is the same picture in another light, drawn (`data.pasted`); there, another photograph of the place.
2. The critic makes `critic_steps` updates, clipped after each; the authors' code makes 100 the first 25 times and every
   500th time, and clips before each.
3. The normal equations of the paper's objective are solved; the authors' code has one blur less on both sides.
4. Levels are means of 2x2 (there: smoothed by a Gaussian, then shrunk), enlarged by Keys' cubic (there: a spline).
5. The unsupervised way, which searches the latent of a GAN, is left out.
6. `default` is smaller: 128x128 instead of 640x480 and more, G at 32x32, narrow nets, two updates of the critic (there:
   5). `paper` has places of another set: 25 epochs of 150,000 composites, there of Transient Attributes.

    python -m experiments blending
    python -m experiments blending --dataset path/to/folder --size 128
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import poisson
from gan_jax.nets import blending
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmp_facades,x=photo,size=128"  # pictures, their sides a multiple of `factor`
    steps: Count = 1500  # updates of G
    batch_size: Count = 8  # composites of each update
    critic_steps: Count = 2  # updates of the critic for each one of G
    clip: float = 0.01  # the largest size of a weight of the critic
    l2: Share = 0.999  # the weight of |G(a) - x|^2; the critic's is the rest
    part: Share = 0.5  # of each side that the pasted box takes
    light: Share = 0.4  # how far its contrast and brightness may be from the picture's
    factor: Count = 4  # how much smaller pictures are for G, a power of 2
    weight: float = 1.0  # beta, of the colours beside the gradients
    sigma: float = 0.5  # pixels, of the blur through which colours are compared
    bottleneck: Count = 256  # numbers of G's code
    width: Count = 16  # channels of G and of the critic at half of G's resolution
    g_lr: float = 2e-3  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for the critic
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("places365_small", 58_000, 64, 5, bottleneck=4000, width=64),
    "tiny": Config("digits16", 6, 4, 1, factor=2, bottleneck=8, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def composites(cfg):
    source = data.pasted(data.load(cfg.dataset), cfg.part, cfg.light)
    if cfg.factor & (cfg.factor - 1) or any(n % cfg.factor or n // cfg.factor < 8 for n in source.shape[:2]):
        h, w = source.shape[:2]
        raise UserError(
            f"--factor is {cfg.factor}: it must be a power of 2 that divides {h}x{w}, and leaves 8 pixels or more.\n"
            "--size cuts pictures to squares of one size."
        )
    return source


def small(cfg, x):
    """Return pictures [b, h, w, c] as G sees them: [b, h / factor, w / factor, c]."""
    return poisson.means(x, cfg.factor)


def build(cfg):
    G, D = blending.G(cfg.width, cfg.bottleneck), blending.D(cfg.width)
    return G, D, optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1)


def clipped(cfg, d):
    return d._replace(params=jax.tree.map(lambda w: jnp.clip(w, -cfg.clip, cfg.clip), d.params))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    x = small(cfg, jnp.zeros((1, *composites(cfg).shape)))
    d = clipped(cfg, create(D, d_tx, rng.at(key, 0, "d"), x))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), x), d)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, n = losses.wasserstein, cfg.critic_steps + 1
    apart = lambda x: small(cfg, x).reshape(cfg.batch_size, n, *small(cfg, x).shape[1:]).swapaxes(0, 1)
    a, x = apart(batch["source"]), apart(batch["x"])  # [updates, b, h, w, c]

    def critic_update(d, ax):
        a, x = ax
        fake, _ = forward(G, state.g.params, state.g.stats, a)

        def d_loss(d_params):
            real_score, stats = forward(D, d_params, d.stats, x)  # [b]
            fake_score, _ = forward(D, d_params, d.stats, fake)  # [b]
            return loss.d(real_score, fake_score).mean(), (stats, real_score.mean(), fake_score.mean())

        grads, (stats, *means) = jax.grad(d_loss, has_aux=True)(d.params)
        return clipped(cfg, descend(d, grads, d_tx, stats)), means

    def g_loss(g_params, d):
        made, stats = forward(G, g_params, state.g.stats, a[-1])
        fake_score, _ = forward(D, d.params, d.stats, made)
        adversarial, l2 = loss.g(None, fake_score).mean(), ((made - x[-1]) ** 2).mean()
        return (1 - cfg.l2) * adversarial + cfg.l2 * l2, (stats, l2)

    d, (real, fake) = jax.lax.scan(critic_update, state.d, (a[:-1], x[:-1]))
    (g_value, (g_stats, l2)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    metrics = {"loss/g": g_value, "l2": l2, "mean/real": real[-1], "mean/fake": fake[-1]}
    return State(state.step + 1, state.key, descend(state.g, g_grads, g_tx, g_stats), d), metrics


def blended(cfg, state, batch):
    """Return (what G makes of composites, small; these blended in its colours, at full size)."""
    G, *_ = build(cfg)
    made, _ = forward(G, state.g.params, state.g.stats, small(cfg, batch["source"]), train=False)
    return made, poisson.over_pyramid(batch["other"], batch["x"], batch["mask"], made, cfg.weight, cfg.sigma)


def sample(cfg, state, key, n):
    return blended(cfg, state, data.examples(composites(cfg), key, n))[1]


def errors(a, x, mask):
    """Return the mean distances of pictures a from x in the mask: of colours (means of 8x8), and of gradients."""
    inside = lambda d, m: (jnp.abs(d) * m).sum() / (m.sum() * d.shape[-1])
    ends = lambda i: (jax.lax.slice_in_dim(mask, k, mask.shape[i] - 1 + k, axis=i) for k in (0, 1))
    slopes = (inside(jnp.diff(a - x, axis=i), jnp.maximum(*ends(i))) for i in (1, 2))
    return {"colour": inside(poisson.means(a - x, 8), poisson.means(mask, 8)), "gradient": sum(slopes) / 2}


def measure(cfg, state, key, train, test):
    """Return the errors of four ways over up to 32 test composites, and the first of these."""
    if not test:
        return {}
    raw = jax.tree.map(lambda rows: rows[:32], test)
    batch = composites(cfg).test.make(raw, key, 0, len(raw["x"]))
    made, ours = blended(cfg, state, batch)
    x, mask = batch["x"], batch["mask"]
    ways = {"pasted": batch["source"], "poisson": jnp.clip(poisson.blended(x, batch["other"], mask), -1, 1)}
    ways |= {"g": jax.image.resize(made, x.shape, "cubic"), "ours": ours}
    found = {f"{what}/{way}": error for way, a in ways.items() for what, error in errors(a, x, mask).items()}
    rows = jnp.stack([a[:8] for a in (*ways.values(), x)])
    return found | {"test": Picture(rows, rows=("pasted", "Poisson", "G, enlarged", "GP-GAN", "truth"))}


def setup(cfg):
    return Setup(composites(cfg), cfg.batch_size * (cfg.critic_steps + 1), cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
