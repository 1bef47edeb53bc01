"""Adversarial deep structural networks: a net names the pixels of a mass, and of the same picture one step uphill too.

Zhu and Xie 2016, arXiv 1612.05970, for masses in mammograms. No GAN: adversarial are examples. The
net, fully connected over the picture, with the mean field of a CRF behind it whose weights it learns, descends E(x) +
`adversarial` E(x + eps g / |g|_2): E is the cross-entropy of pixels, g its gradient by the picture x, held fixed.

`measure`: Dice of the masses over all held-out pixels, and the share of pixels that is right; `dice_blind` is Dice of
the pixels that are of a mass in most training regions, the same for all: what a net has that doesn't look.
`--adversarial 0` is the same net without such examples, `--rounds 0` without the CRF.

Differences from the paper and the authors' code:
1. Nuclei under a microscope (Data Science Bowl 2018) instead of masses in the mammograms of INbreast and DDSM, which
   are not here. A region is a square around one nucleus, 1.5 to 2.5 times as long; others in it are no mass. The code
   has the mass's own box, or one wider by a factor, stretched to a square. 40x40 as there, but in three channels, and
   not enhanced.
2. The mean field begins with, and keeps as its unary term, the logits; the code subtracts messages from probabilities.
3. Weights begin as usual, and those of the CRF at 0; in the code all are N(0, 1).
4. Pictures are jittered and mirrored; in the code they are turned to four sides. Its two other rates are left out.
5. One net; the paper also has four with other kernels as one ("multi-FCN").
6. The last step is measured; the code keeps the one that is best on the test pictures.

    python -m experiments mass                      regions of nuclei, 40x40
    python -m experiments mass --adversarial 0
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import segmenter
from gan_jax.nets import mass as nets
from gan_jax.run import Count, Depth, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "dsb2018_nuclei,x=image,y=instances:label"  # pictures, and y: which thing each pixel is of, or 0
    side: Count = 40  # pixels of a region's side
    around: tuple[float, float] = (1.5, 2.5)  # a region's side, by the longer one of its thing: drawn in between
    jitter: float = 286 / 256  # how much regions are enlarged, to be cut anywhere and mirrored; 0: as they are
    steps: Count = 600  # updates of the net
    batch_size: Count = 29  # regions a step
    adversarial: float = 1.0  # weight of the examples one step uphill
    eps: float = 0.2  # length of that step, of pictures in [-1, 1]: 0.1 of such in [0, 1]
    decay: float = 0.5  # weight of half the squares of the CRF's weights
    channels: tuple[Count, ...] = (44, 16, 335)  # of the convolutions, and of the layer of all that they see
    rounds: Depth = 5  # of the mean field in training, twice as many afterwards; 0: no CRF
    lr: float = 1e-3  # Adam's rate


PRESETS = {
    "default": Config(),
    "paper": Config(steps=800, lr=3e-3),
    "tiny": Config("labelled_digits", 8, (1, 1.5), 0, 6, 8, channels=(2, 2, 4), rounds=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player


def maps(cfg):
    """Return the source of maps: x in colours, the labels y, 1 where the region's thing is, and the region `source`."""
    source = data.regions(data.load(cfg.dataset), cfg.side, *cfg.around)
    return data.mapped(data.jittered(source, cfg.jitter) if cfg.jitter else source)


def build(cfg):
    return nets.FCN(cfg.channels, cfg.rounds), optax.adam(cfg.lr)


def init(cfg, key):
    x = jnp.zeros((1, *maps(cfg).fields["source"].shape))
    net, tx = build(cfg)
    return State(jnp.int32(0), key, create(net, tx, rng.at(key, 0, "g"), x, x))


def uphill(slope, eps):
    """Return the step of length `eps` along the gradient [b, h, w, c] of each picture."""
    return eps * slope / jnp.maximum(jnp.sqrt((slope**2).sum((1, 2, 3), keepdims=True)), 1e-12)


def step(cfg, state, batch):
    net, tx = build(cfg)
    x, y = batch["source"], batch["y"]

    def energy(params, seen):
        return segmenter.cross_entropy(forward(net, params, {}, seen, x)[0], y)  # the CRF sees x's own edges

    def loss(params):
        clean, slope = jax.value_and_grad(energy, 1)(params, x)
        attacked = energy(params, x + jax.lax.stop_gradient(uphill(slope, cfg.eps)))
        weights = (params["smooth"] ** 2).sum() + (params["contrast"] ** 2).sum()
        return clean + cfg.adversarial * attacked + cfg.decay * weights / 2, (clean, attacked)

    grads, (clean, attacked) = jax.grad(loss, has_aux=True)(state.g.params)
    g = descend(state.g, grads, tx)
    return State(state.step + 1, state.key, g), {"cross_entropy": clean, "attacked": attacked}


def said(cfg, state, x):
    """Return which pixels of pictures x [n, h, w, c] are said to be of a mass, 0 or 1: [n, h, w]."""
    net, _ = build(cfg)
    return forward(net, state.g.params, {}, x, x, train=False)[0].argmax(3).astype(jnp.int32)


def sample(cfg, state, key, n):
    return data.in_colours(said(cfg, state, data.examples(maps(cfg), key, n)["source"]), 2)


def measure(cfg, state, key, train, test):
    """Return Dice and right pixels of up to 256 test regions, the Dice of a blind net, and the first regions."""
    if not test:
        return {}
    regions = lambda raw: maps(cfg).test.make(jax.tree.map(lambda a: a[:256], raw), key, 0, min(256, len(raw["y"])))
    rows = regions(test)
    labels, dice = said(cfg, state, rows["source"]), lambda table: segmenter.dice(table)[1]
    table = segmenter.counts(labels, rows["y"], 2)
    x = jnp.broadcast_to(rows["source"][:8], rows["x"][:8].shape)
    drawn = Picture(jnp.stack([x, rows["x"][:8], data.in_colours(labels[:8], 2)]), rows=("picture", "truth", "said"))
    found = {"dice": dice(table), "per_pixel": segmenter.of_counts(table)["per_pixel"], "test": drawn}
    if train:  # regions as the test's are: not jittered
        usual = (regions(train)["y"].mean(0) > 0.5).astype(jnp.int32)
        found["dice_blind"] = dice(segmenter.counts(jnp.broadcast_to(usual, labels.shape), rows["y"], 2))
    return found


def setup(cfg):
    least = 2 ** len(cfg.channels) - 1
    if cfg.side < least:
        raise UserError(f"regions of {cfg.side} pixels are too small for these convolutions: {least} are needed.")
    return Setup(maps(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
