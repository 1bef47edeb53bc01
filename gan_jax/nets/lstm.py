"""The nets of unrolled GAN's MNIST experiment (Metz et al. 2017, arXiv 1611.02163): a recurrent G, a convolutional D.

G, as we read the appendix, feeds a rectified linear layer of z into the initial state of an LSTM, which gets no other
input and emits one column of the image per step; its forget bias is 1, its weights are Xavier's. D has three
convolutions and leaks 0.3. The appendix does not say that both halves of the state start from that layer, that kernels
are 3x3, or that D's weights are Xavier's too: these are ours.
D does not normalise, unlike the paper's. With data and samples normalised each by themselves G drew stripes, blank
images or noise, whatever K (2,000 steps on 8x8 digits); without, it draws digits.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv
from gan_jax.nets.layers import leaky

xavier = nn.initializers.xavier_uniform()


class Cell(nn.Module):
    """One step of an LSTM without input: ((c, h), _) -> ((c, h), h), each [b, width]."""

    width: int

    @nn.compact
    def __call__(self, state, _):
        c, h = state
        i, f, g, o = jnp.split(nn.Dense(4 * self.width, kernel_init=xavier)(h), 4, axis=-1)
        c = nn.sigmoid(f + 1) * c + nn.sigmoid(i) * jnp.tanh(g)  # + 1: remember at first
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape] in [-1, 1], drawn column by column from the left."""

    shape: tuple[int, int, int]
    width: int = 256

    @nn.compact
    def __call__(self, z, train=True):
        h, w, c = self.shape
        start = nn.relu(nn.Dense(self.width, kernel_init=xavier)(z))
        lstm = nn.scan(Cell, variable_broadcast="params", split_rngs={"params": False}, length=w, out_axes=1)
        _, states = lstm(self.width)((start, start), None)  # [b, w, width]
        columns = jnp.tanh(nn.Dense(h * c, kernel_init=xavier)(states))  # [b, w, h * c]
        return columns.reshape(-1, w, h, c).swapaxes(1, 2)


class D(nn.Module):
    """x [b, h, w, c] -> score [b]."""

    @nn.compact
    def __call__(self, x, train=True):
        for features in (16, 32, 32):
            x = leaky(Conv(features, 3, 2, kernel_init=xavier)(x), 0.3)
        return nn.Dense(1, kernel_init=xavier)(x.reshape(x.shape[0], -1))[:, 0]
