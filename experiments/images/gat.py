"""GAT: G and D are plain transformers, and G is judged by the pictures of all its stages, under less and less noise.

Hyun, Lee and Heo 2025, arXiv 2509.24935. G draws a picture after each quarter of its blocks, on top of the one before.
D sees the four at once, the first under most noise, the last under almost none, and a real picture likewise. A real is
scored against a fake of its label, as in R3GAN, and D's scores may not change where pictures do a little (aR1, aR2).
Adam's rate falls as 1 / width. D moves first, then G against the new D. `python -m benchmarks widths` tries the rates.

Nets, formulas and numbers are the authors' code's (hse1032/GAT at efea1ce, script of GAT-B/2). Of the paper, said to
have a x + sqrt(1 - a^2) noise for (1 - t) x + t noise, only the abstract was read; batch and rate of XL are not known.

Differences from the paper and the authors' code:
1. Pixels in the place of Stable Diffusion's latents (32x32x4, patches of 2): `paper` cuts 64x64 into patches of 4.
2. D does not learn DINOv2's features (REPA); their code has this way too, as `--enc-type None`.
3. Colours change about each picture's own mean (there: that of the last stage, and before aR1's noise).
4. No input that G multiplies by 0; single precision; samples cut off. The default is narrow, not augmented, has other
   rates, gamma and average of G: by the rule of widths, 3.2e-3 for 48 channels, D leaves G behind.

    python -m experiments gat     handwritten digits of 16x16, each label in a row
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng, staged
from gan_jax.metrics import classifier, labels
from gan_jax.nets import gat
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # images with labels
    steps: Count = 1600  # updates of D, and of G
    batch_size: Count = 32  # pictures a step
    patch: Count = 4  # side of a token in pixels
    width: Count = 48  # channels of a token, in both nets
    depth: Depth = 4  # blocks of each net
    heads: Count = 4  # of attention
    stages: Count = 4  # pictures that G draws; depth is a multiple of it
    features: Count = 64  # of a picture, that D compares with the label's
    z_dim: Count = 64  # the latent, standard normal
    lr: float = 5e-4  # Adam's rate for both at `lr_width`; less in wider nets, more in narrower ones
    lr_width: int = 48  # 0: `lr` at every width
    b2: Decay = 0.99  # Adam's decay of the second moment (that of the first is 0)
    clip: float = 1.0  # norm of a gradient, at most
    gamma: float = 1.0  # weight of aR1 and aR2, halved
    near: float = 0.01  # deviation of the noise by which they move pictures
    augment: bool = False  # whether D sees pictures in other colours, moved, with a hole, mirrored
    ema: Decay = 0.99  # of the averaged G
    w_decay: Decay = 0.995  # of each label's average style
    psi: float = 1.0  # how far from it samples are; 0.7 in the authors' script for samples


_xl = Config("imagenet_resized/64x64", 150_000, 512, 4, 1152, 28, 16, 4, 2048, 64, 2e-4, 768,
             gamma=0.1, augment=True, ema=0.999)  # fmt: skip
PRESETS = {
    "default": Config(),
    "paper": _xl,
    "l": dataclasses.replace(_xl, width=1024, depth=24),
    "b": dataclasses.replace(_xl, width=768, depth=12, heads=12),
    "s": dataclasses.replace(_xl, width=384, depth=12, heads=6),
    "tiny": Config("digits", 6, 8, width=8, depth=2, heads=2, stages=2, features=4, z_dim=4, lr=1e-6),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: dict  # the averaged parameters of G
    w_mean: jax.Array  # the average style of each label


def build(cfg):
    source = data.load(cfg.dataset)
    synthesis = gat.Synthesis(source.shape, cfg.patch, cfg.depth, cfg.heads, cfg.stages)
    D = gat.D(source.classes, cfg.patch, cfg.width, cfg.depth, cfg.heads, cfg.features)
    rate = cfg.lr * cfg.lr_width / cfg.width if cfg.lr_width else cfg.lr
    tx = optax.chain(optax.clip_by_global_norm(cfg.clip), optax.adam(rate, 0.0, cfg.b2))
    return gat.G(gat.Mapping(source.classes, cfg.width), synthesis), D, tx


def init(cfg, key):
    (G, D, tx), source = build(cfg), data.load(cfg.dataset)
    z, y, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros(1, jnp.int32), jnp.zeros((1, cfg.stages, *source.shape))
    g, d = create(G, tx, rng.at(key, 0, "g"), z, y), create(D, tx, rng.at(key, 0, "d"), x, y)
    return State(jnp.int32(0), key, g, d, g.params, jnp.zeros((source.classes, cfg.width), jnp.float32))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    x, y, loss = batch["x"], batch["y"], losses.relativistic_paired
    key = lambda name: rng.at(state.key, state.step, name)
    z = rng.normal(key("z"), (2, len(x), cfg.z_dim))  # of D's fakes, and of G's
    repeated = lambda x: jnp.repeat(x[:, None], cfg.stages, 1)
    near = lambda name, x: x + cfg.near * rng.normal(key(name), x.shape)

    def seen(name, x):  # [b, stages, h, w, c]; of the same name under the same changes and noise
        x = staged.changed(key(f"change of {name}"), x) if cfg.augment else x
        return staged.noised(key(f"noise of {name}"), x)

    def scores(d_params, *seen):  # [n, b]; a row's pictures stay together
        rows = jnp.stack(seen, 1).reshape(-1, *seen[0].shape[1:])
        return forward(D, d_params, {}, rows, jnp.repeat(y, len(seen)))[0].reshape(len(x), -1).T

    (fake, _), _ = forward(G, state.g.params, {}, z[0], y)
    pictures = seen("reals", repeated(x)), seen("fakes", fake)
    pictures += seen("reals", repeated(near("near reals", x))), seen("fakes", near("near fakes", fake))

    def d_loss(params):
        real, made, near_real, near_made = scores(params, *pictures)
        r1, r2 = ((real - near_real) / cfg.near) ** 2, ((made - near_made) / cfg.near) ** 2
        value = (loss.d(real, made) + cfg.gamma / 2 * (r1 + r2)).mean()
        return value, {"loss/d": value, "margin": (real - made).mean(), "r1": r1.mean(), "r2": r2.mean()}

    d_grads, said = jax.grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, tx)
    (real,) = scores(d.params, seen("g's reals", repeated(x)))

    def g_loss(params):
        (fake, w), _ = forward(G, params, {}, z[1], y)
        return loss.g(real, scores(d.params, seen("g's fakes", fake))[0]).mean(), w

    (value, w), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    g = descend(state.g, g_grads, tx)
    of = jax.nn.one_hot(y, len(state.w_mean), dtype=jnp.float32).T  # [classes, b]
    off = of @ (w - state.w_mean[y]) / jnp.maximum(of.sum(1, keepdims=True), 1)  # 0 for labels that the batch lacks
    w_mean = state.w_mean + (1 - cfg.w_decay) * off
    return State(state.step + 1, state.key, g, d, ema(state.g_ema, g.params, cfg.ema), w_mean), said | {"loss/g": value}


def latent(cfg, key, n):
    noise, which = jax.random.split(key)
    y = jax.random.randint(which, (n,), 0, data.load(cfg.dataset).classes, jnp.int32)
    return {"z": rng.normal(noise, (n, cfg.z_dim)), "y": y}


def drawn(cfg, state, z):  # the pictures of all stages [n, stages, h, w, c]
    G, *_ = build(cfg)
    mean, (w, _) = state.w_mean[z["y"]], forward(G.mapping, state.g_ema["mapping"], {}, z["z"], z["y"], train=False)
    x, _ = forward(G.synthesis, state.g_ema["synthesis"], {}, mean + cfg.psi * (w - mean), train=False)
    return jnp.clip(x, -1, 1)


def generate(cfg, state, z):
    return drawn(cfg, state, z)[:, -1]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often the classifier sees the label that was asked for, samples of each label, and of each stage."""
    source = data.load(cfg.dataset)
    of = lambda key, y: generate(cfg, state, {"z": rng.normal(key, (y.size, cfg.z_dim)), "y": y})
    x = labels.asked(of, key, source.classes)  # [classes, n, h, w, c]
    found = {"each_label": Picture(x[:, :10], rows=source.row["y"].names or tuple(map(str, range(source.classes))))}
    found["stages"] = Picture(drawn(cfg, state, latent(cfg, key, 12)).swapaxes(0, 1))  # a row each
    if test:
        said = classifier.load(source)(x.reshape(-1, *x.shape[2:])).argmax(1)
        found["agreement"] = labels.agreement(said, jnp.repeat(jnp.arange(source.classes), x.shape[1]))
    return found


def setup(cfg):
    source = data.load(cfg.dataset)
    return Setup(data.labelled(source), cfg.batch_size, cfg.steps, (source,) if source.test else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
