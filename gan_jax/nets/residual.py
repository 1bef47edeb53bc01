"""The nets of Shen and Liu 2016 (arXiv 1612.05363), for images of any size: a translator and a D of three kinds.

The authors published no code: layers are those that public re-implementations agree on, at `width` 64 of images of 128.
"""

import flax.linen as nn

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import batch_norm, leaky, levels, normal

normed = {"use_bias": False, "kernel_init": normal}


class G(nn.Module):
    """x [b, h, w, c] -> what is to be added to it [b, h, w, c]; narrowed twice on the way."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        act, size, c = lambda x: leaky(batch_norm(x, train)), x.shape[1:3], x.shape[3]
        x = act(Conv(self.width, 5, **normed)(x))
        x = act(Conv(2 * self.width, 4, 2, **normed)(x))
        half = x.shape[1:3]
        x = act(Conv(4 * self.width, 4, 2, **normed)(x))
        x = act(ConvTranspose(2 * self.width, 3, 2, size=half, **normed)(x))
        x = act(ConvTranspose(self.width, 3, 2, size=size, **normed)(x))
        return Conv(c, 4, kernel_init=normal)(x)


class D(nn.Module):
    """x [b, h, w, c] -> logits [b, 3] and features [b, n, m, f], those after the third convolution, or the last.

    A convolution a level of `layers.levels`, each with twice the channels of the one before.
    """

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        features = x
        for i in range(len(levels(x.shape[1:], self.width)[1])):
            x = Conv(self.width * 2**i, 4, 2, use_bias=i == 0, kernel_init=normal)(x)
            x = leaky(batch_norm(x, train) if i else x)
            features = x if i < 3 else features
        return nn.Dense(3, kernel_init=normal)(x.reshape(x.shape[0], -1)), features
