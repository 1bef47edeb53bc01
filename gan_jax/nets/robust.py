"""The classifier of Madry et al. (arXiv 1706.06083; github.com/MadryLab/mnist_challenge, model.py), and a detector."""

import flax.linen as nn

from gan_jax.nets.conv import Conv


class Classifier(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> logits [b, classes]; for MNIST 3,274,634 weights."""

    classes: int
    width: int = 32  # channels of the first convolution, half those of the second
    hidden: int = 1024

    @nn.compact
    def __call__(self, x, train=True):
        x = (x + 1) / 2
        for channels in (self.width, 2 * self.width):
            x = nn.max_pool(nn.relu(Conv(channels, 5)(x)), (2, 2), (2, 2), "SAME")
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(x)


class Detector(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> score [b], more where x looks untouched: the classifier's layers."""

    width: int = 32
    hidden: int = 1024

    @nn.compact
    def __call__(self, x, train=True):
        return Classifier(1, self.width, self.hidden)(x)[:, 0]
