"""The nets of PGGAN (Karras et al. 2018, arXiv 1710.10196), which grow from 4x4 pixels by doubling, and its small ones.

G draws, and D judges, squares of any side that the nets grow through. The newest level counts by `alpha` beside the one
below it. Parameters of all levels are there from the start. The level with squares of s pixels has width * side / s
channels, at most `most`, where `side` is that of the finest. The filters that resize are the nearest pixel and the mean
of 2x2, as one with the convolution beside them.

The small nets are those of the paper's test of 1000 modes, with equalised rates and pixel norm instead of batch norm.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.game import growing
from gan_jax.nets.equalized import SQRT2, Conv, Dense, group_std, pixel_norm
from gan_jax.nets.layers import leaky

NEAREST = MEAN = (1, 1)  # the filters' taps


def _begun(net, z, channels, slope):
    """Return z [b, z], normalised, as features [b, 4, 4, channels]; for compact modules."""
    x = Dense(16 * channels, gain=SQRT2 / 4, bias=None, name="begin")(pixel_norm(z)).reshape(-1, 4, 4, channels)
    bias = net.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
    return pixel_norm(leaky(x + bias.reshape(1, 1, 1, -1).astype(x.dtype), slope))


class G(nn.Module):
    """Latent [b, z] -> images [b, side, side, c], unbounded; shape: of those of the last level.

    first: the smallest side that there are images of. Without a side, the last level.
    """

    shape: tuple[int, int, int]
    width: int = 16
    most: int = 512
    first: int = 4

    @nn.compact
    def __call__(self, z, side=None, alpha=1.0, train=True):
        sides, image = growing.sizes(self.shape), None
        side = side or sides[-1]
        of = lambda s: min(self.width * sides[-1] // s, self.most)
        for s in sides[: sides.index(side) + 1]:
            if s == 4:
                x = _begun(self, z, of(s), 0.2)
            else:
                x = pixel_norm(leaky(Conv(of(s), up=True, taps=NEAREST, name=f"up_{s}")(x)))
            x = pixel_norm(leaky(Conv(of(s), name=f"conv_{s}")(x)))
            if s >= self.first and (2 * s >= side or self.is_initializing()):
                new = Conv(self.shape[-1], 1, gain=1.0, name=f"to_rgb_{s}")(x)
                image = new if image is None else growing.lerp(growing.doubled(image), new, alpha)
        return image


class D(nn.Module):
    """x [b, s, s, c] -> scores [b]; side: that of the last level.

    group: how many images the deviation is of that it sees; 0: it sees none.
    """

    side: int
    width: int = 16
    most: int = 512
    first: int = 4
    group: int = 4

    @nn.compact
    def __call__(self, x, alpha=1.0, train=True):
        of = lambda s: min(self.width * self.side // s, self.most)
        seen = lambda x: leaky(Conv(of(x.shape[1]), 1, name=f"from_rgb_{x.shape[1]}")(x))
        y, s = seen(x), x.shape[1]
        newest = s
        while s > 4:
            y = leaky(Conv(of(s), name=f"conv_{s}")(y))
            y = leaky(Conv(of(s // 2), down=True, taps=MEAN, name=f"down_{s}")(y))
            if s > self.first and (s == newest or self.is_initializing()):
                x = growing.halved(x)
                y = growing.lerp(seen(x), y, alpha)
            s //= 2
        y = group_std(y, self.group) if self.group else y
        y = leaky(Conv(of(4), name="conv_4")(y))
        y = leaky(Dense(of(2), name="dense")(y.reshape(len(y), -1)))
        return Dense(1, gain=1.0, name="score")(y)[:, 0]


class SmallG(nn.Module):
    """As G, images in [-1, 1], with one convolution a level and none at 4x4; colours are made by 3x3 pixels."""

    shape: tuple[int, int, int]
    width: int = 8
    most: int = 256
    first: int = 4

    @nn.compact
    def __call__(self, z, side=None, alpha=1.0, train=True):
        sides, image = growing.sizes(self.shape), None
        side = side or sides[-1]
        of = lambda s: min(self.width * sides[-1] // s, self.most)
        for s in sides[: sides.index(side) + 1]:
            if s == 4:
                x = _begun(self, z, of(s), 0.3)
            else:
                x = pixel_norm(leaky(Conv(of(s), up=True, taps=NEAREST, name=f"up_{s}")(x), 0.3))
            if s >= self.first and (2 * s >= side or self.is_initializing()):
                new = Conv(self.shape[-1], gain=1.0, name=f"to_rgb_{s}")(x)
                image = new if image is None else growing.lerp(growing.doubled(image), new, alpha)
        return jnp.tanh(image)


class SmallD(nn.Module):
    """As D, with one convolution a level, of which the mean follows the ReLU, and one layer at 4x4.

    The finest level's convolution sees the images themselves. The level with squares of s pixels ends with width * side
    / s channels.
    """

    side: int
    width: int = 2
    most: int = 256
    first: int = 4
    group: int = 4

    @nn.compact
    def __call__(self, x, alpha=1.0, train=True):
        of = lambda s: min(self.width * self.side // s, self.most)

        def seen(x):
            s = x.shape[1]
            return x if s == self.side else leaky(Conv(of(2 * s), 1, name=f"from_rgb_{s}")(x))

        y, s = seen(x), x.shape[1]
        newest = s
        while s > 4:
            y = growing.halved(leaky(Conv(of(s), name=f"conv_{s}")(y)))
            if s > self.first and (s == newest or self.is_initializing()):
                x = growing.halved(x)
                y = growing.lerp(seen(x), y, alpha)
            s //= 2
        y = group_std(y, self.group) if self.group else y
        return Dense(1, gain=1.0, name="score")(y.reshape(len(y), -1))[:, 0]
