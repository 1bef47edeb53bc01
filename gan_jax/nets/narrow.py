"""Convolutions for a handful of channels, on x [c, h, w, b]: the batch comes last, and fills the vector registers.

Most of a register stays empty where two or four channels come last, as in `nets.conv`; this order is several times as
fast on the CPU, in batch norm too. Each is a matrix product and a copy of slices, and so are all its derivatives.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax


def patches(x, kernel_size: int, stride: int):
    """Return what a square kernel sees of x [c, h, w, b], padded as "SAME": [kernel_size^2 * c, n, m, b]."""
    pads = lax.padtype_to_pads(x.shape[1:3], 2 * (kernel_size,), 2 * (stride,), "SAME")
    n, m = (-(-size // stride) for size in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    ends = (n - 1) * stride + 1, (m - 1) * stride + 1
    places = [(i, j) for i in range(kernel_size) for j in range(kernel_size)]
    return jnp.concatenate([x[:, i : i + ends[0] : stride, j : j + ends[1] : stride] for i, j in places])


def conv(x, kernel, stride=1):
    """Return the convolution of x [c, h, w, b] with kernel [k, k, c, o], "SAME": [o, n, m, b]."""
    columns = patches(x, kernel.shape[0], stride)
    y = kernel.reshape(-1, kernel.shape[3]).T @ columns.reshape(len(columns), -1)
    return y.reshape(-1, *columns.shape[1:])


def conv_transpose(y, kernel, stride, size):
    """Return the adjoint of `conv` with this kernel [k, k, c, o]: y [o, n, m, b] -> [c, *size, b]."""
    columns = kernel.reshape(-1, kernel.shape[3]) @ y.reshape(len(y), -1)  # [k * k * c, n * m * b]
    x = jax.ShapeDtypeStruct((kernel.shape[2], *size, y.shape[3]), columns.dtype)
    see = partial(patches, kernel_size=kernel.shape[0], stride=stride)
    (x,) = jax.linear_transpose(see, x)(columns.reshape(-1, *y.shape[1:]))
    return x


class Conv(nn.Module):
    """x [c, h, w, b] -> [features, n, m, b]; its parameters are those of `nets.conv.Conv`."""

    features: int
    kernel_size: int
    stride: int = 1
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        shape = *2 * (self.kernel_size,), x.shape[0], self.features
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias)
        return conv(x, kernel, self.stride) + bias[:, None, None, None]


class ConvTranspose(nn.Module):
    """y [c, n, m, b] -> [features, *size, b]; its parameters are those of `nets.conv.ConvTranspose`."""

    features: int
    kernel_size: int
    stride: int
    size: tuple[int, int]
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, y):
        shape = *2 * (self.kernel_size,), y.shape[0], self.features
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        y, kernel, bias = promote_dtype(y, kernel, bias)
        return conv_transpose(y, kernel.swapaxes(2, 3), self.stride, self.size) + bias[:, None, None, None]
