"""F and D of the domain transfer network (Taigman et al. 2017, arXiv 1611.02200), for images of any size.

Its g is the G of DCGAN, which draws from F's features. With `width` 64 F has the paper's four convolutions of 64, 128,
256 and 128 channels on 32x32 digits. D has the convolutions of DCGAN's.
"""

import flax.linen as nn

from gan_jax.nets import vaegan
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import levels, normal


class F(nn.Module):
    """x [b, h, w, 1] -> (logits [b, classes], features [b, features] in [-1, 1]): a classifier."""

    classes: int
    features: int = 128
    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        for channels in levels(x.shape[1:], self.width)[1]:
            x = nn.max_pool(nn.relu(Conv(channels, 3)(x)), (2, 2), (2, 2), "SAME")
        features = nn.tanh(Conv(self.features, 3)(x).max((1, 2)))
        return nn.Dense(self.classes)(features), features


class D(nn.Module):
    """x [b, h, w, c] -> logits [b, 3]: made from the source, made from the target, of the target itself."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        return nn.Dense(3, kernel_init=normal)(vaegan.Trunk(self.width)(x, train))
