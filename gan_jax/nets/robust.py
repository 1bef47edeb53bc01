"""Classifiers of Madry et al. (arXiv 1706.06083) and of Wong, Rice and Kolter (arXiv 2001.03994), and a detector."""

import flax.linen as nn

from gan_jax.nets.conv import Conv


class Classifier(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> logits [b, classes]; for MNIST 3,274,634 weights.

    With `strided`, a width of 16 and 100 hidden units it is Wong, Rice and Kolter's, of 166,406 weights.
    """

    classes: int
    width: int = 32  # channels of the first convolution, half those of the second
    hidden: int = 1024
    strided: bool = False  # convolutions of 4 x 4 at every second place, instead of 5 x 5 and maxima of 2 x 2

    @nn.compact
    def __call__(self, x, train=True):
        x = (x + 1) / 2
        for channels in (self.width, 2 * self.width):
            x = nn.relu(Conv(channels, 4, 2)(x) if self.strided else Conv(channels, 5)(x))
            x = x if self.strided else nn.max_pool(x, (2, 2), (2, 2), "SAME")
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(x)


class Detector(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> score [b], more where x looks untouched: the classifier's layers."""

    width: int = 32
    hidden: int = 1024
    strided: bool = False

    @nn.compact
    def __call__(self, x, train=True):
        return Classifier(1, self.width, self.hidden, self.strided)(x)[:, 0]
