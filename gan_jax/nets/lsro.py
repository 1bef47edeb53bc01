"""The net of LSRO (Zheng, Zheng and Yang 2017, arXiv 1701.07717) that says who is on a picture, at the size of ours."""

import flax.linen as nn

from gan_jax.nets import conditional
from gan_jax.nets.layers import dropout


class Identifier(nn.Module):
    """x [b, h, w, c], a key -> (logits [b, classes], the features before the last layer [b, f], none of them dropped).

    The convolutions of `conditional.trunk`, batch norm but on the first, then dropout and one dense layer.
    """

    classes: int
    width: int = 64
    drop: float = 0.75  # share of the features that a row loses in training

    @nn.compact
    def __call__(self, x, key=None, train=True):
        features, kernel_init = conditional.trunk(x, self.width, train)
        kept = dropout(key, features, self.drop) if train else features
        return nn.Dense(self.classes, kernel_init=kernel_init)(kept), features
