"""The segmenter of a set whose pixels have labels: it reads pictures that were made of such labels.

What the paper of pix2pix calls the FCN score (Isola et al. 2017, arXiv 1611.07004, section 3.2): where translations of
label maps are right, a net that learned on real photographs finds the labels in them again. Ours is a small U-Net,
trained once on the set's train split, jittered, and kept in the cache by the fingerprint of the data.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from gan_jax import data
from gan_jax.data import cache
from gan_jax.errors import UserError
from gan_jax.metrics import classifier
from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import instance_norm

VERSION = 1  # to be raised with every change of what is trained
BATCH, STEPS = 8, 1500
WIDTH = 16  # channels at full resolution


class Net(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> logits [b, h, w, classes]."""

    classes: int
    width: int

    @nn.compact
    def __call__(self, x):
        act = lambda x: nn.relu(instance_norm(x))
        down = [act(Conv(self.width, 3, use_bias=False)(x))]
        for i in (1, 2, 3):
            down.append(act(Conv(self.width * 2**i, 4, 2, use_bias=False)(down[-1])))
        x = down.pop()
        for beside in reversed(down):
            x = ConvTranspose(beside.shape[-1], 4, 2, size=beside.shape[1:3], use_bias=False)(x)
            x = jnp.concatenate([act(x), beside], 3)
        return Conv(self.classes, 3)(x)


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained segmenter: call it for the labels that it sees."""

    net: Net
    params: Any
    digest: str  # names the parameters: part of the protocol of every number that it measured

    def __call__(self, x):
        """Return labels [n, h, w] for x [n, h, w, c] in [-1, 1], in chunks of 50."""
        one = lambda one: self.net.apply(self.params, one[None])[0].argmax(-1)
        return jax.lax.map(one, x, batch_size=50)


def load(source: data.Source, unlabelled: int = -1, live=lambda steps: classifier.Silent()) -> Segmenter:
    """Return the segmenter of a set with a label y for each pixel, trained first where there is none yet; not in jit.

    unlabelled: the label of pixels that nobody labelled, which are left out. live: as `classifier.load` has it. Raises
    UserError where x is no image, or y no map of labels.
    """
    y = source.fields.get("y")
    if source.kind != "image" or y is None or y.shape != source.shape[:2]:
        raise UserError(f"{source.name} can't train a segmenter: it needs images and a label for each of their pixels.")
    net = Net(y.classes, WIDTH)
    name = source.fingerprint and f"classifiers/{source.fingerprint}-pixels{unlabelled}-{VERSION}"
    trained = lambda: traverse_util.flatten_dict(
        jax.tree.map(np.asarray, _train(net, data.jittered(source), unlabelled, live, name)), sep="/"
    )
    params = traverse_util.unflatten_dict(cache.arrays(name, trained), sep="/")
    return Segmenter(net, params, classifier.digest(params))


def _train(net, source, unlabelled, live, name=""):
    """Return the averaged parameters of a net that learned the labels of pixels."""

    def loss(params, batch, key, i):
        return cross_entropy(net.apply(params, batch["x"]), batch["y"], unlabelled)

    return classifier.averaged(loss, net, source, min(BATCH, source.n), STEPS, live, name)


def cross_entropy(logits, y, unlabelled: int = -1):
    """Return the cross-entropy of logits [b, h, w, classes] with labels y [b, h, w], over pixels that are labelled."""
    each, known = optax.softmax_cross_entropy_with_integer_labels(logits, y), y != unlabelled
    return (each * known).sum() / jnp.maximum(known.sum(), 1)


def scores(said: np.ndarray, y: np.ndarray, classes: int, unlabelled: int = -1) -> dict[str, float]:
    """Return how well labels `said` [n, h, w] agree with y, over all pixels together but for those that are unlabelled.

    per_pixel: the share of pixels that is right; per_class: the mean, over the classes that y has, of the share that is
    right of each; iou: the mean over these of intersection over union, of the pixels that are of a class and that are
    said to be.
    """
    found = np.asarray(counts(jnp.asarray(said), jnp.asarray(y), classes, unlabelled), np.int64)
    return {name: float(value) for name, value in of_counts(found).items()}


def counts(said: jax.Array, y: jax.Array, classes: int, unlabelled: int = -1) -> jax.Array:
    """Return how many pixels of each label y are said to be of which one, int32 [classes, classes]; for use in jit."""
    known = (y != unlabelled).astype(jnp.int32)
    return jnp.zeros((classes, classes), jnp.int32).at[y, said].add(known, mode="drop")


def dice(table):
    """Return of each label 2 |A and B| / (|A| + |B|), of its pixels A and of those said to be, of counts [true, said].

    A label that is nowhere and never said has 0. Dice 1945, Ecology 26, 297-302.
    """
    both = table.sum(0) + table.sum(1)
    return 2 * table.diagonal() / (both + (both == 0))


def of_counts(table) -> dict:
    """Return the scores, as `scores` has them, of the counts of pixels [true, said]."""
    right, true, claimed = table.diagonal(), table.sum(1), table.sum(0)
    of_some = lambda n: n + (n == 0)  # a class that is nowhere has no share
    mean = lambda shares: shares.sum() / (true > 0).sum()
    return {
        "per_pixel": right.sum() / table.sum(),
        "per_class": mean(right / of_some(true)),
        "iou": mean(right / of_some(true + claimed - right)),
    }
