"""GLCIC: a net fills the holes of pictures, and D judges both the whole picture and a window around the hole.

Iizuka, Simo-Serra and Ishikawa 2017 (ACM Transactions on Graphics 36, 4; no arXiv id). C is handed a picture whose hole
has the mean colour of all, and the hole's mask. For T_C steps it descends the squared error of the hole alone; then D
learns alone for T_D steps; then both do, C down the squared error and alpha times -log D. Of a real picture D's window
is around a hole that is not cut. With `parsing` C also descends the cross-entropy of what a net that names pixels sees:
the parsing loss of generative face completion (Li, Liu, Yang and Yang 2017, arXiv 1704.05838).

`measure`: errors of test pictures' holes as C fills them, and blended in (Poisson), beside the mean colour ("hole") and
the smoothest surface; with `parsing`, how many of their pixels are named right.

Differences from the papers and the authors' code:
1. C descends -log D, as public training code does (the authors' is not public), in the paper log(1 - D).
2. A real picture's hole is that of the next row of the batch.
3. Squared errors are means over all pixels in [0, 1]; alpha and the weight of `parsing` were used with such.
4. Blending takes C's own gradients across the border; the authors' code inpaints first (Telea's fast marching).
5. Pictures are enlarged and cut anywhere, and mirrored; the paper cuts 256x256 out of larger ones.
6. `parsing`: no set here has labels of parts of faces. It has streets, whose segmenter learned on the same training
   photographs, and GLCIC's nets and phases instead of a decoder with un-pooling and its three stages.
7. D has fewer layers where pictures are smaller. The default is narrow, short, and without the rate of 16.

    python -m experiments completion      holes in facades, 64x64; of your own: --dataset my/folder --size 64
    python -m benchmarks completion       errors after the first phase and at the end
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import inpainting, poisson, segmenter
from gan_jax.nets import completion
from gan_jax.run import Count, Decay, Depth, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmp_facades,x=photo,size=64"  # pictures; with a label y for each pixel where they are parsed
    hole: Share = 0.5  # the largest part of a side that a hole takes, and the window around it
    least: Share = 0.375  # the smallest
    jitter: float = 286 / 256  # how much pictures are enlarged, to be cut anywhere and mirrored; 0: as they are
    steps: Count = 1500  # of all three phases
    t_c: int = 1000  # first steps: C alone learns
    t_d: int = 100  # next steps: D alone learns
    batch_size: Count = 8  # pictures a step
    alpha: float = 4e-4  # weight of -log D in C's loss
    parsing: float = 0.0  # weight of the cross-entropy of labels of pixels in C's loss
    unlabelled: int = 255  # the label of pixels that nobody labelled
    width: Count = 16  # channels of the first layers of C and of D
    features: Count = 256  # of the picture, and of the window, by which D judges
    layers: Depth = 2  # of C at a quarter of the size, before the dilated ones and after them
    rates: tuple[Count, ...] = (2, 4, 8)  # pixels between the taps of C's dilated convolutions
    lr: float = 1.0  # Adadelta's rate for both
    decay: Decay = 0.9  # of Adadelta's averages


_paper = {"steps": 500_000, "t_c": 90_000, "t_d": 10_000, "batch_size": 96, "width": 64, "features": 1024}
PRESETS = {
    "default": Config(),
    "faces": Config("cmu_faces,size=32"),
    "parsing": Config("camvid_small,x=image,y=label_map:label,size=64", parsing=0.005, unlabelled=11),
    "paper": Config("places365_small,size=256", rates=(2, 4, 8, 16), **_paper),
    "tiny": Config("digits16", 0.5, 0.25, 0, 6, 1, 1, 8, 0.1, width=2, features=4, layers=0, rates=(2,)),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # C
    d: Player


def pictures(cfg):
    """Return the source of pictures with holes."""
    source = data.load(cfg.dataset)
    return data.masked(data.jittered(source, cfg.jitter) if cfg.jitter else source, "box", cfg.hole, cfg.least)


def parser(cfg):
    """Return the set's segmenter, trained first where there is none yet: by `setup`, before a trace."""
    return segmenter.load(data.load(cfg.dataset), cfg.unlabelled)


def build(cfg):
    C, D = completion.C(cfg.width, cfg.layers, cfg.rates), completion.D(cfg.features, cfg.width, cfg.hole)
    return C, D, optax.adadelta(cfg.lr, cfg.decay)


def init(cfg, key):
    C, D, tx = build(cfg)
    h, w, c = pictures(cfg).shape
    x, mask = jnp.zeros((1, h, w, c)), jnp.ones((1, h, w, 1))
    g = create(C, tx, rng.at(key, 0, "g"), jnp.concatenate([x, mask], 3))
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), x, mask))


def emptied(cfg, x, mask):
    """Return pictures x [b, h, w, c] whose hole [b, h, w, 1] has the mean colour of up to 1000 training pictures."""
    with jax.ensure_compile_time_eval():
        colour = data.some(data.load(cfg.dataset), 1000)["x"].mean((0, 1, 2))
    return jnp.where(mask > 0, colour, x)


def made_by(cfg, params, stats, x, mask, train=True):
    """Return (what C makes of all of pictures x [b, h, w, c] but their hole [b, h, w, 1], its new statistics)."""
    return forward(build(cfg)[0], params, stats, jnp.concatenate([emptied(cfg, x, mask), mask], 3), train=train)


def step(cfg, state, batch):
    _, D, tx = build(cfg)
    loss, x, mask = losses.non_saturating, batch["x"], batch["mask"]
    squared = lambda made: (mask * ((made - x) / 2) ** 2).mean()

    def d_loss(params):
        real, stats = forward(D, params, state.d.stats, x, jnp.roll(mask, -1, 0))  # [b]; D keeps the statistics of data
        fake, _ = forward(D, params, state.d.stats, made, mask)
        return loss.d(real, fake).mean(), (stats, *(jax.nn.sigmoid(score).mean() for score in (real, fake)))

    def judge(d):
        (value, (stats, *p)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx, stats), (value, *p)

    def joint(made):
        fooling, value = loss.g(None, forward(D, d.params, d.stats, made, mask)[0]).mean(), squared(made)
        if cfg.parsing:
            seen = parser(cfg)
            logits = seen.net.apply(seen.params, made)
            value += cfg.parsing * segmenter.cross_entropy(logits, batch["y"], cfg.unlabelled)
        return value + cfg.alpha * fooling, fooling

    whole, back, stats = jax.vjp(lambda p: made_by(cfg, p, state.g.stats, x, mask), state.g.params, has_aux=True)
    made = jnp.where(mask > 0, whole, x)
    error, first, last = squared(made), state.step < cfg.t_c, state.step >= cfg.t_c + cfg.t_d
    d, (d_value, p_real, p_fake) = jax.lax.cond(first, lambda d: (d, (0 * error,) * 3), judge, state.d)
    alone = lambda made: (jax.grad(squared)(made), 0 * error)
    slope, fooling = jax.lax.cond(last, jax.grad(joint, has_aux=True), alone, made)
    g = jax.lax.cond(first | last, lambda g: descend(g, *back(mask * slope), tx, stats), lambda g: g, state.g)
    metrics = {"squared": error, "loss/g": fooling, "loss/d": d_value, "p/real": p_real, "p/fake": p_fake}
    return State(state.step + 1, state.key, g, d), metrics  # 0 is what D doesn't say yet


def sample(cfg, state, key, n):
    x, mask = (data.examples(pictures(cfg), key, n)[name] for name in ("x", "mask"))
    return jnp.where(mask > 0, made_by(cfg, *state.g[:2], x, mask, train=False)[0], x)


def measure(cfg, state, key, train, test):
    """Return PSNR, L1 and L2 of the holes of up to 256 test pictures, and the first of these."""
    if not test:
        return {}
    some = jax.tree.map(lambda a: a[:256], test)
    rows = pictures(cfg).test.make(some, key, 0, len(some["x"]))
    x, mask = rows["x"], rows["mask"]
    made, _ = made_by(cfg, *state.g[:2], x, mask, train=False)
    ways = {"hole": emptied(cfg, x, mask), "smooth": poisson.blended(x, 0 * x, mask)}
    ways |= {"ours": jnp.where(mask > 0, made, x), "blended": poisson.blended(x, made, mask)}
    found = {f"{n}/{way}": e for way, one in ways.items() for n, e in inpainting.errors(one, x, mask).items()}
    if cfg.parsing:
        cut = (mask[..., 0] > 0) & (rows["y"] != cfg.unlabelled)
        right = lambda x: ((parser(cfg)(x) == rows["y"]) & cut).sum() / cut.sum()
        found |= {f"named/{way}": right(one) for way, one in (ways | {"truth": x}).items()}
    drawn = jnp.stack([one[:8] for one in (*ways.values(), x)])
    return found | {"test": Picture(drawn, rows=(*ways, "truth"))}


def setup(cfg):
    if cfg.parsing:
        parser(cfg)
    return Setup(pictures(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
