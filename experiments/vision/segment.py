"""Adversarial segmentation: S names the pixels of a picture, and D tells its maps of labels from those of people.

Luc, Couprie, Chintala and Verbeek 2016, arXiv 1611.08408. S descends the cross-entropy of each pixel's label, which
knows of no neighbours, and `adversarial` times -log D of its map of probabilities. D scores places of maps, beside the
picture, and so S is told of shapes that no true map has. D sees one of three encodings: "basic", a map for each class
and the picture; "product", each map times each colour of the picture; "scaling", as basic, but a true label has only
the probability max(tau, that of S), and the others share the rest as S has it: else D would know truth by its 0 and 1.

`measure` names the pixels of held-out pictures: the share that is right (per_pixel), the mean share of each class
(per_class), the mean intersection over union of classes (iou). `--adversarial 0` is S without D.

Differences from the paper:
1. Its data, Stanford Background and PASCAL VOC, are not here; CamVid's streets are, 11 classes in 367 photographs.
2. S's front has no weights of a net that has learned ImageNet; its layers are normalised over each picture instead, and
   have no dropout. `default` has three stages, two pools, labels at a quarter of the size, few channels.
3. The cross-entropy is a mean over pixels, as the GAN's losses are over places; there it is a sum. `paper` has
   LargeFOV's weight of 1 divided by the 300 places that a map has.
4. Pixels that nobody labelled are 0 in all that D sees, of both kinds of maps, and cost nothing.
5. D has one score a place instead of a softmax of two, and losses are means over places. S and D learn in every step,
   from the beginning, D first, S by the D that this left, both by Adam with one rate.
6. Pictures are jittered, as pix2pix has it. Labels are shrunk to the nearest, logits enlarged bilinearly.

    python -m experiments segment                        streets, 64x64
    python -m experiments segment --adversarial 0        without D
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import segmenter
from gan_jax.nets import segment as nets
from gan_jax.run import Count, Decay, Depth, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "camvid_small,x=image,y=label_map:label,size=64"  # pictures with a label y for each pixel
    unlabelled: int = 11  # the label of pixels that nobody labelled; 255: all are labelled
    jitter: float = 286 / 256  # how much pictures are enlarged, to be cut anywhere and mirrored; 0: as they are
    steps: Count = 400  # joint updates of S and D
    batch_size: Count = 8  # pictures a step
    adversarial: float = 0.05  # weight of -log D in S's loss
    encoding: Literal["basic", "product", "scaling"] = "scaling"  # of maps of labels, for D
    tau: Share = 0.9  # the least probability of a true label under "scaling"
    layers: tuple[int, ...] = (2, 2, 2)  # convolutions of S, by stages
    pools: Depth = 2  # stages of S after which pictures are halved
    width: Count = 16  # channels of S's first stage; the next have 2, 4, then 8 times as many
    wide: Count = 64  # channels of the two layers after its stages
    kernel: Count = 3  # of the first of these
    rates: tuple[Count, ...] = (1, 2, 4, 1)  # pixels between the taps of S's context
    d_width: Count = 8  # a third of the channels of D's first layer
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


_vgg = {"layers": (2, 2, 3, 3, 3), "pools": 3, "width": 64, "wide": 4096, "kernel": 7, "d_width": 32}
_least = {"layers": (1, 1), "pools": 1, "width": 2, "wide": 2, "rates": (2,), "d_width": 1, "jitter": 0}
_paper = {"encoding": "product", "adversarial": 1 / 300, "rates": (1, 1, 2, 4, 8, 16, 1), "steps": 20_000, "lr": 1e-4}
PRESETS = {
    "default": Config(),
    "paper": Config("camvid_small,x=image,y=label_map:label", **_paper, **_vgg),
    "tiny": Config("labelled_digits", unlabelled=255, steps=6, **_least),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # S
    d: Player


def maps(cfg):
    """Return the source of maps: x in colours, the labels y, and the picture `source`."""
    source = data.load(cfg.dataset)
    return data.mapped(data.jittered(source, cfg.jitter) if cfg.jitter else source)


def build(cfg):
    classes = maps(cfg).fields["y"].classes
    S = nets.S(classes, cfg.layers, cfg.pools, cfg.width, cfg.wide, cfg.kernel, cfg.rates)
    return S, nets.D(cfg.d_width), optax.adam(cfg.lr, cfg.b1)


def truth(cfg, y, p):
    """Return true labels y [b, n, m] as a map [b, n, m, classes] as D sees it, beside probabilities p of S."""
    true = jax.nn.one_hot(y, p.shape[3], dtype=p.dtype)
    if cfg.encoding != "scaling":
        return true
    own = (true * p).sum(3, keepdims=True)
    scaled = jnp.maximum(cfg.tau, own)
    return jnp.where(true > 0, scaled, p * (1 - scaled) / jnp.maximum(1 - own, 1e-7))


def seen(cfg, p, x):
    """Return what D sees of a map p [b, n, m, classes] of a picture x [b, h, w, c]: [b, n, m, channels]."""
    x = jax.image.resize(x, (*p.shape[:3], x.shape[3]), "linear")
    if cfg.encoding == "product":
        return (p[..., None] * x[..., None, :]).reshape(*p.shape[:3], -1)
    return jnp.concatenate([p, x], 3)


def init(cfg, key):
    S, D, tx = build(cfg)
    x = jnp.zeros((1, *maps(cfg).fields["source"].shape))
    p = jnp.zeros((1, *(-(-side // 2**cfg.pools) for side in x.shape[1:3]), S.classes))
    d = create(D, tx, rng.at(key, 0, "d"), seen(cfg, p, x))
    return State(jnp.int32(0), key, create(S, tx, rng.at(key, 0, "g"), x), d)


def step(cfg, state, batch):
    S, D, tx = build(cfg)
    loss, x = losses.non_saturating, batch["source"]
    logits, back = jax.vjp(lambda params: forward(S, params, {}, x)[0], state.g.params)
    y = data.nearest(batch["y"], logits.shape[1:3])
    known = (y != cfg.unlabelled)[..., None]  # [b, n, m, 1]

    def score(d_params, p):
        return forward(D, d_params, {}, seen(cfg, p * known, x))[0]  # [b, places]

    def d_loss(d_params):
        scores = score(d_params, truth(cfg, y, jax.nn.softmax(logits))), score(d_params, jax.nn.softmax(logits))
        return loss.d(*scores).mean(), [jax.nn.sigmoid(one).mean() for one in scores]

    def g_loss(logits):
        fooling = loss.g(None, score(d.params, jax.nn.softmax(logits))).mean()
        each = segmenter.cross_entropy(logits, y, cfg.unlabelled)
        return each + cfg.adversarial * fooling, (each, fooling)

    (d_value, (p_real, p_fake)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, tx)
    slope, (each, fooling) = jax.grad(g_loss, has_aux=True)(logits)
    g = descend(state.g, *back(slope), tx)
    metrics = {"cross_entropy": each, "loss/g": fooling, "loss/d": d_value, "p/real": p_real, "p/fake": p_fake}
    return State(state.step + 1, state.key, g, d), metrics


def said(cfg, state, x):
    """Return the labels [n, h, w] that S gives the pixels of pictures x [n, h, w, c], a few at a time."""
    S, *_ = build(cfg)

    def one(x):
        logits = forward(S, state.g.params, {}, x[None], train=False)[0][0]
        return jax.image.resize(logits, (*x.shape[:2], logits.shape[2]), "linear").argmax(2).astype(jnp.int32)

    return jax.lax.map(one, x, batch_size=16)


def sample(cfg, state, key, n):
    x = data.examples(maps(cfg), key, n)["source"]
    return data.in_colours(said(cfg, state, x), maps(cfg).fields["y"].classes)


def measure(cfg, state, key, train, test):
    """Return how many pixels of up to 256 test pictures are named right, and the first of these."""
    if not test:
        return {}
    source, some = maps(cfg), jax.tree.map(lambda a: a[:256], test)
    rows = source.test.make(some, key, 0, len(some["y"]))
    x, y, classes = rows["source"], rows["y"], source.fields["y"].classes
    labels = said(cfg, state, x)
    drawn = jnp.broadcast_to(x[:8], rows["x"][:8].shape), rows["x"][:8], data.in_colours(labels[:8], classes)
    found = segmenter.of_counts(segmenter.counts(labels, y, classes, cfg.unlabelled))
    return found | {"test": Picture(jnp.stack(drawn), rows=("photo", "truth", "said"))}


def setup(cfg):
    return Setup(maps(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
