"""Trained nets that stay as they are, for games in which D, or a distance, looks at pictures through one of them.

They are convolutions, so pictures may have any size that they can halve, and gradients run to the pictures.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.metrics import classifier, vgg
from gan_jax.nets.conv import conv


class Frozen(NamedTuple):
    """The first convolutions of a trained net."""

    layers: Any  # (kernel [h, w, c, o], bias [o]) each
    halved: tuple[int, ...]  # before which of them pictures are halved, by the largest of four pixels
    depth: int  # through how many of them is looked: up to relu3_1 of VGG16, through both of a classifier
    mean: tuple[float, ...] = (0.0,)  # of the pictures that it was trained on, a channel
    std: tuple[float, ...] = (1.0,)

    @property
    def coarser(self) -> int:
        """Pixels of a picture, along a side, for one place of what is seen."""
        return 2 ** sum(i < self.depth for i in self.halved)


_LOADED = {}


def load(name: str, live=lambda steps: classifier.Silent()) -> Frozen:
    """Return "vgg16", or the convolutions of the classifier of the set of this name, trained first where it isn't yet.

    live: as `classifier.load` has it. Raises UserError where the weights of VGG16 are missing, or the set can't train a
    classifier.
    """
    if name not in _LOADED:
        _LOADED[name] = _load(name, live)
    return _LOADED[name]


def _load(name, live):
    if name == "vgg16":
        mean, std = 2 * np.float32(vgg.MEAN) - 1, 2 * np.float32(vgg.STD)  # of pictures in [-1, 1]
        return Frozen(vgg.load(), (2, 4, 7, 10), 5, tuple(mean), tuple(std))
    with jax.ensure_compile_time_eval():
        of = jax.tree.map(np.asarray, classifier.load(data.load(name), live).params["params"])
    return Frozen([(of[layer]["kernel"], of[layer]["bias"]) for layer in ("Conv_0", "Conv_1")], (1,), 2)


def seen(net: Frozen, x, depth=0):
    """Return what a net sees of pictures x [b, h, w, c] in [-1, 1]: [b, n, m, o], after a ReLU.

    Grey ones are seen as in colours. depth: through how many convolutions, by default as many as the net says, at most
    13 of VGG16. h and w are multiples of 8, from the 11th on of 16. Raises UserError where pictures in colours meet a
    net that knows grey ones alone.
    """
    channels, row = net.layers[0][0].shape[2], lambda a: jnp.asarray(a, x.dtype).reshape(1, 1, 1, -1)
    if x.shape[3] not in (1, channels):
        raise UserError(
            f"pictures of {x.shape[3]} channels meet features that were trained on {channels}: choose others."
        )
    x = (jnp.broadcast_to(x, (*x.shape[:3], channels)) - row(net.mean)) / row(net.std)
    for i, (kernel, bias) in enumerate(net.layers[: depth or net.depth]):
        if i in net.halved:
            b, h, w, c = x.shape
            x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))  # backwards it is faster than a maximum of windows
        x = nn.relu(conv(x, jnp.asarray(kernel, x.dtype)) + row(bias))
    return x


def gram(features) -> jax.Array:
    """Return the Gram matrix [c, c] of features [n, h, w, c]: their products, a mean over pictures and places."""
    return jnp.einsum("nhwc,nhwd->cd", features, features) / features[..., 0].size


def apart(net: Frozen, x, y) -> jax.Array:
    """Return the distance of the Gram matrices of what a net sees of pictures x and y, as a share of the norm of y's.

    These matrices are the statistics by which Gatys et al. 2015 (arXiv 1505.07376) tell textures.
    """
    x, y = (gram(seen(net, one)) for one in (x, y))
    return jnp.linalg.norm(x - y) / jnp.linalg.norm(y)
