"""The nets of adversarial segmentation (Luc et al. 2016, arXiv 1611.08408), for pictures of any size.

S is Dilated-8 (Yu and Koltun 2016, arXiv 1511.07122): VGG16, of whose pools only the first are left (what comes after
the others looks farther around), two wide layers, and convolutions of the classes' maps, which see a wide context and
begin as the identity. D is LargeFOV: each of its scores is of 34x34 places of a map.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.completion import dilated
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import instance_norm


def identity(key, shape, dtype=jnp.float32):
    """Return the kernel [kh, kw, c, c] of a convolution that changes nothing."""
    return jnp.zeros(shape, dtype).at[shape[0] // 2, shape[1] // 2].set(jnp.eye(*shape[2:], dtype=dtype))


def halved(x):
    """Return the largest of 2x2 pixels: [b, h, w, c] -> [b, h / 2, w / 2, c], rounded up."""
    return nn.max_pool(x, (2, 2), (2, 2), "SAME")


class S(nn.Module):
    """x [b, h, w, c] -> logits [b, h / 2**pools, w / 2**pools, classes], rounded up."""

    classes: int
    layers: tuple[int, ...] = (2, 2, 3, 3, 3)  # of VGG, by stages
    pools: int = 3  # stages after which pictures are halved
    width: int = 64  # channels of the first stage; the next have 2, 4, then 8 times as many
    wide: int = 4096  # channels of the two layers after them
    kernel: int = 7  # of the first of these
    rates: tuple[int, ...] = (1, 1, 2, 4, 8, 16, 1)  # pixels between the taps of the context's convolutions

    @nn.compact
    def __call__(self, x, train=True):
        def act(channels, kernel, x, rate=1):
            return nn.relu(instance_norm(dilated(Conv(channels, kernel, use_bias=False), x, rate)))

        for i, layers in enumerate(self.layers):
            for _ in range(layers):
                x = act(self.width * 2 ** min(i, 3), 3, x, 2 ** max(0, i - self.pools))
            x = halved(x) if i < self.pools else x
        x = act(self.wide, self.kernel, x, 2 ** (len(self.layers) - self.pools))
        x = act(self.wide, 1, x)
        x = Conv(self.classes, 1)(x)
        for rate in self.rates:
            x = nn.relu(dilated(Conv(self.classes, 3, kernel_init=identity), x, rate))
        return Conv(self.classes, 1, kernel_init=identity)(x)


class D(nn.Module):
    """What it sees of a map [b, n, m, c] -> logits of its places [b, places]."""

    width: int = 32  # a third of the channels of the first layer

    @nn.compact
    def __call__(self, x, train=True):
        conv = lambda channels, x: Conv(channels, 3, kernel_init=nn.initializers.he_normal())(x)
        for stage in ((3, 4, 4), (8, 8)):
            for times in stage:
                x = nn.relu(conv(times * self.width, x))
            x = halved(x)
        return conv(1, nn.relu(conv(16 * self.width, x))).reshape(x.shape[0], -1)
