"""The nets of MoCoGAN (Tulyakov et al. 2018, arXiv 1707.04993), for clips of any size.

A gated recurrent unit makes a clip's motion, DCGAN's generator a frame of its content and its motion there. Of 16
frames of 64x64 pixels D_V leaves one number: each layer takes three frames off, since none are put around a clip, and
halves the sides.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.errors import UserError
from gan_jax.nets import dcgan
from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import batch_norm, leaky, levels, normal


class G(nn.Module):
    """(content [b, c], noise [b, 1 + t, m]) -> x [b, t, h, w, c] in [-1, 1]; content: with the action, if any.

    noise: first the state in which the motion begins, then its input in each frame.
    """

    shape: tuple[int, int, int, int]
    width: int = 64

    @nn.compact
    def __call__(self, content, noise, train=True):
        motion = nn.RNN(nn.GRUCell(noise.shape[2]))(noise[:, 1:], initial_carry=noise[:, 0])  # [b, t, m]
        content = jnp.broadcast_to(content[:, None], (*motion.shape[:2], content.shape[1]))
        z = jnp.concatenate([content, motion], 2)
        x = dcgan.G(self.shape[1:], self.width)(z.reshape(-1, z.shape[2]), train)  # [b t, h, w, c]
        return x.reshape(-1, *self.shape)


class DI(nn.Module):
    """Frames x [b, h, w, c] -> scores [b, n, m] of patches."""

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        down = lambda c: Conv(c, 4, 2, use_bias=False, kernel_init=normal)
        for i in range(3):
            x = down(self.width * 2**i)(x)
            x = leaky(batch_norm(x, train) if i else x)
        return down(1)(x)[..., 0]


class DV(nn.Module):
    """Clips x [b, t, h, w, c] -> (scores [b], logits of actions [b, actions]).

    Raises UserError where there are fewer frames than its layers take.
    """

    actions: int
    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        channels = levels(x.shape[2:4], self.width)[1]
        if x.shape[1] <= 3 * len(channels):
            raise UserError(f"clips of this size need more than {3 * len(channels)} frames, not {x.shape[1]}.")
        layer = lambda c, *of: Conv(c, *of, use_bias=False, kernel_init=normal)
        for i, c in enumerate(channels):
            x = layer(c, 4, (1, 2, 2), (0, 1, 1))(x)
            x = leaky(batch_norm(x, train) if i else x)
        said = layer(1 + self.actions, x.shape[1:4], 1, "VALID")(x)[:, 0, 0, 0]
        return said[:, 0], said[:, 1:]
