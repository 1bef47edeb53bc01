"""The nets of Perceptual GAN (Li et al. 2017, arXiv 1706.05274), of any width; features of boxes are [r, s, s, c]."""

import flax.linen as nn

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import instance_norm, leaky


class Features(nn.Module):
    """x [b, h, w, c] -> features [b, h / 2, w / 2, width], and those far above them [b, h / 8, w / 8, 2 width]."""

    width: int

    @nn.compact
    def __call__(self, x, train=True):
        kept = []
        for times, kernel, stride in ((1, 5, 2), (2, 3, 2), (2, 3, 2), (2, 3, 1)):
            x = nn.relu(instance_norm(Conv(times * self.width, kernel, stride, use_bias=False)(x)))
            kept.append(x)
        return kept[0], kept[-1]


class G(nn.Module):
    """Low features of boxes [r, s, s, c] -> what is to be added to their high ones [r, s, s, channels]; at first 0."""

    channels: int
    blocks: int = 6

    @nn.compact
    def __call__(self, low, train=True):
        x = nn.relu(Conv(self.channels, 3)(low))
        x = nn.relu(Conv(self.channels, 1)(x))
        for _ in range(self.blocks):
            y = nn.relu(Conv(self.channels, 3)(x))
            x = nn.relu(x + Conv(self.channels, 3)(y))
        return Conv(self.channels, 1, kernel_init=nn.initializers.zeros)(x)


class D(nn.Module):
    """The adversarial branch: high features [r, s, s, c] -> scores [r], more where they are more like large things'."""

    wide: int

    @nn.compact
    def __call__(self, f, train=True):
        f = f.reshape(f.shape[0], -1)
        for _ in range(2):
            f = leaky(nn.Dense(self.wide)(f))
        return nn.Dense(1)(f)[:, 0]
