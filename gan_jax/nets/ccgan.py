"""The nets of CC-GAN (Denton, Gross and Fergus 2016, arXiv 1611.06430), for pictures of any size.

G is an encoder and a decoder with batch norm everywhere, D the narrower sides of VGG-A with batch norm: of its five
stages as many as leave a side of at least 2. What is left of a picture is scored and named.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, dropout, leaky, normal

plain = {"use_bias": False, "kernel_init": normal}
STAGES = (1, 1), (2, 1), (4, 2), (8, 2), (8, 2)  # channels, in widths, and convolutions before a pooling


class G(nn.Module):
    """x [b, h, w, c] with a hole -> the whole picture [b, h, w, c] in [-1, 1]."""

    width: int = 64
    levels: int = 4  # each half as large as the one before, with twice as many channels

    @nn.compact
    def __call__(self, x, train=True):
        channels, sizes = x.shape[3], []
        for i in range(self.levels):
            sizes.append(x.shape[1:3])
            x = nn.relu(batch_norm(Conv(self.width * 2**i, 4, 2, **plain)(x), train))
        for i in range(self.levels - 1, 0, -1):
            x = ConvTranspose(self.width * 2 ** (i - 1), 4, 2, size=sizes[i], **plain)(x)
            x = nn.relu(batch_norm(x, train))
        return jnp.tanh(ConvTranspose(channels, 4, 2, size=sizes[0], **plain)(x))


class D(nn.Module):
    """x [b, h, w, c] -> score [b], logits of the classes [b, classes].

    With a key half of the last features are dropped before the classes are named, each in all of its places.
    """

    classes: int
    width: int = 64

    @nn.compact
    def __call__(self, x, key=None, train=True):
        for widths, convolutions in STAGES:
            if min(x.shape[1:3]) < 4:
                break
            for _ in range(convolutions):
                x = leaky(batch_norm(Conv(self.width * widths, 3, **plain)(x), train))
            x = pooled(x)
        kept = x if key is None else x * dropout(key, jnp.ones((x.shape[0], 1, 1, x.shape[3]), x.dtype))
        score, logits = nn.Dense(1, **plain), nn.Dense(self.classes, kernel_init=normal)
        return score(x.reshape(x.shape[0], -1))[:, 0], logits(kept.reshape(x.shape[0], -1))


def pooled(x):
    """Return the largest of each 2x2 pixels of x [b, h, w, c]; an odd rest is left out."""
    _, h, w, _ = x.shape
    x = larger(x[:, : h - 1 : 2], x[:, 1::2])
    return larger(x[:, :, : w - 1 : 2], x[:, :, 1::2])


def larger(a, b):
    """Return the larger of a and b, with the slope of one of them.

    JAX's own maximum asks for its slope which of them equals the result; XLA may compute them twice, with another
    rounding each time, so that neither does, and the slope is lost.
    """
    return jnp.where(a > b, a, b)
