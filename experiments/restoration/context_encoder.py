"""Context encoders: G sees a picture with a hole and draws what lies there; D judges that it looks like pictures do.

Pathak, Krahenbuhl, Donahue, Darrell and Efros 2016, arXiv 1604.07379. G, an encoder and a decoder between which all of
the context meets, descends 0.999 times the squared error plus 0.001 times -log D; D sees what was drawn and what was
there, without the context. The hole is a box in the middle (`centre`): G draws it with a rim that it also sees, in
which errors count ten times; or blobs anywhere (`random`): G draws the whole picture. L2 alone is `--adversarial 0`.

`measure` fills the holes of held-out pictures and compares the hidden pixels with the truth, pixels being in [0, 1].

Differences from the paper and the authors' code (pathak22/context-encoder):
1. `bottleneck` 0 is the paper's channel-wise fully connected layer, which it has between other nets (AlexNet's) and for
   features; its in-painting nets, and the preset `paper`, meet in 4000 numbers.
2. G's loss is scored by the D of after its update; the authors' code sends it back through the activations of before.
3. Holes are mid-grey (there: the mean colour of ImageNet).
4. The authors' biases of convolutions are set to 0 before every use, so there are none.
5. Blobs are the lowest 20 to 30 % of a landscape of noise, eight hills a side at any size, interpolated linearly, in
   each picture others (there: windows of one bicubic pattern, below a height, one window for all pictures of a batch).
6. `random` counts errors of the whole picture, as the code does; the paper's formula has the hole alone.
7. The default is smaller and shorter, and so are `facades`, `faces` and `random`.

    python -m experiments context_encoder                      the middle of CIFAR-10's subset
    python -m experiments context_encoder --adversarial 0      the same by L2 alone
    python -m experiments context_encoder --preset facades     photographs of facades, 64x64
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import inpainting
from gan_jax.nets import context_encoder
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cifar10_subset"  # pictures
    crop: Count = 32  # side of the squares that are cut out of them anywhere, and mirrored by chance
    hole: Literal["centre", "random"] = "centre"  # half of each side in the middle, or 20 to 30 % of pixels anywhere
    overlap: int = 1  # width of the rim of a hole in the middle that G draws and sees, too
    border: float = 10.0  # weight of errors in what G sees, beside 1 in what is hidden
    adversarial: Share = 0.001  # weight of -log D in G's loss, that of the squared error being the rest
    steps: Count = 2000  # updates of D, each followed by one of G
    batch_size: Count = 64  # pictures a step
    width: Count = 32  # channels of the finest level
    bottleneck: int = 0  # numbers between encoder and decoder; 0: a channel-wise fully connected layer
    g_lr: float = 2e-3  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PAPER = Config("cmp_facades,x=photo,size=350", 128, overlap=4, steps=100_000, width=64, bottleneck=4000)
PRESETS = {
    "default": Config(),
    "facades": Config("cmp_facades,x=photo,size=80", 64, overlap=2, steps=1000, batch_size=32),
    "faces": Config("cmu_faces,size=32", steps=1500, batch_size=32),
    "random": Config(hole="random", border=1.0, steps=1500),
    "paper": PAPER,
    "tiny": Config("digits16", 16, "random", steps=6, batch_size=8, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def pictures(cfg):
    """Return the source of squares with holes."""
    source = data.cut(data.load(cfg.dataset), cfg.crop, flip=True)
    if cfg.hole == "random":
        return data.masked(source, "region", 0.3, 0.2)
    hidden = cfg.crop // 2 - 2 * cfg.overlap
    if hidden < 1:
        raise UserError(f"--overlap is {cfg.overlap}: of a hole of {cfg.crop // 2} pixels nothing would be hidden.")
    return data.masked(source, "centre", hidden / cfg.crop)


def box(cfg):
    """Return the first row and column of what G draws, and its side."""
    side = cfg.crop if cfg.hole == "random" else cfg.crop // 2
    return (cfg.crop - side) // 2, side


def part(cfg, x):
    """Return that part of x [b, h, w, c] which G draws."""
    at, side = box(cfg)
    return x[:, at : at + side, at : at + side]


def build(cfg):
    _, side = box(cfg)
    G = context_encoder.G((side, side, pictures(cfg).shape[-1]), cfg.width, cfg.bottleneck)
    return G, context_encoder.D(cfg.width), optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    x = jnp.zeros((1, *pictures(cfg).shape))
    g = create(G, g_tx, rng.at(key, 0, "g"), x)
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), part(cfg, x)))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, truth, hidden = losses.non_saturating, part(cfg, batch["x"]), part(cfg, batch["mask"])  # [b, side, side, c]
    weight = hidden + cfg.border * (1 - hidden)  # [b, side, side, 1]

    def draw(params):
        return forward(G, params, state.g.stats, batch["source"])

    def d_loss(params):
        real, stats = forward(D, params, state.d.stats, truth)  # [b]; D keeps the statistics of data
        fake, _ = forward(D, params, state.d.stats, drawn)
        says = {"p/real": jax.nn.sigmoid(real).mean(), "p/fake": jax.nn.sigmoid(fake).mean()}
        value = loss.d(real, fake).mean()
        return value, (stats, {"loss/d": value} | says)

    def g_loss(drawn):
        fooling = loss.g(None, forward(D, d.params, state.d.stats, drawn)[0]).mean()
        l2 = (weight * (drawn - truth) ** 2).mean()
        return (1 - cfg.adversarial) * l2 + cfg.adversarial * fooling, {"loss/g": fooling, "l2": l2}

    drawn, back, g_stats = jax.vjp(draw, state.g.params, has_aux=True)
    d_grads, (d_stats, of_d) = jax.grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, d_tx, d_stats)
    slope, of_g = jax.grad(g_loss, has_aux=True)(drawn)
    g = descend(state.g, *back(slope), g_tx, g_stats)
    return State(state.step + 1, state.key, g, d), of_g | of_d


def filled(cfg, state, batch):
    """Return the pictures of a batch with what G draws in their holes, [b, h, w, c]."""
    G, *_ = build(cfg)
    drawn, _ = forward(G, state.g.params, state.g.stats, batch["source"], train=False)
    at, side = box(cfg)
    around = (at, cfg.crop - at - side)
    return jnp.where(batch["mask"] > 0, jnp.pad(drawn, ((0, 0), around, around, (0, 0))), batch["source"])


def sample(cfg, state, key, n):
    return filled(cfg, state, data.examples(pictures(cfg), key, n))


def measure(cfg, state, key, train, test):
    """Return the errors of up to 1000 test pictures' holes, beside those of one colour, the mean of what is seen."""
    if not test:
        return {}
    some = jax.tree.map(lambda rows: rows[:1000], test)
    batch = pictures(cfg).test.make(some, key, 0, len(some["x"]))
    x, mask, seen = batch["x"], batch["mask"], batch["source"]
    mean = lambda values, where: (values * where).sum((1, 2), keepdims=True) / where.sum((1, 2), keepdims=True)
    made = {"ours": filled(cfg, state, batch), "mean_colour": mean(seen, 1 - mask) * mask + seen}
    found = {}
    for name, y in made.items():
        found |= {f"{what}/{name}": error for what, error in inpainting.errors(y, x, mask).items()}
    rows = {"with a hole": seen, "L2 and D" if cfg.adversarial else "L2 alone": made["ours"], "truth": x}
    return found | {"holes": Picture(jnp.stack([row[:12] for row in rows.values()]), "image", tuple(rows))}


def setup(cfg):
    return Setup(pictures(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
