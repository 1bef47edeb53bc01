"""SimGAN's nets (Shrivastava et al. 2017, arXiv 1612.07828), for images of any size: neither has a norm.

With `width` 64 and 4 blocks they are those of the gaze experiment, of 296,129 and 75,906 parameters on grey images.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv


class R(nn.Module):
    """The refiner: x [b, h, w, c] -> [b, h, w, c] in [-1, 1]; no step of it makes the image smaller."""

    width: int = 64
    blocks: int = 4

    @nn.compact
    def __call__(self, x, train=True):
        channels = x.shape[-1]
        x = nn.relu(Conv(self.width, 3)(x))
        for _ in range(self.blocks):
            y = nn.relu(Conv(self.width, 3)(x))
            x = nn.relu(x + Conv(self.width, 3)(y))
        return jnp.tanh(Conv(channels, 1)(x))


class D(nn.Module):
    """x [b, h, w, c] -> the scores of its patches [b, patches]; each is log p(real) - log p(fake) of the softmax."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(Conv(3 * self.width // 2, 3, 2)(x))
        x = nn.relu(Conv(self.width, 3, 2)(x))
        x = nn.max_pool(x, (3, 3), (1, 1), "SAME")
        x = nn.relu(Conv(self.width // 2, 3)(x))
        x = nn.relu(Conv(self.width // 2, 1)(x))
        logits = Conv(2, 1)(x)  # [b, n, m, (fake, real)]
        return (logits[..., 1] - logits[..., 0]).reshape(x.shape[0], -1)
