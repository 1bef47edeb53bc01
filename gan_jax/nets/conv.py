"""Convolution and its transpose, as functions and as layers, fast on the CPU too (`triple`).

x is the larger side of a convolution [b, h, w, c], y the smaller one [b, n, m, o], kernel [kh, kw, c, o]. Solids
[b, d, h, w, c], and lines [b, w, c] where there are strides, XLA convolves several times slower than images: they are
convolved as images.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from gan_jax.nets import triple

TRIPLE: bool | None = None  # None: on the CPU alone. Read while tracing: what is already compiled stays as it is.
FAST = 17  # channels of x or of y: where both have fewer, XLA has no fast convolution of the images of a solid


# The two as functions.


def _each(n, axes):
    return (n,) * axes if isinstance(n, int) else tuple(n)


def _pads(size, kernel_size, strides, padding):
    """Return padding ("SAME", "VALID", an int, or an int or a pair per axis) as pads for an x of `size`."""
    if isinstance(padding, str):
        return tuple(lax.padtype_to_pads(size, kernel_size, strides, padding))
    return tuple(_each(p, 2) for p in _each(padding, len(size)))


def _triple():
    return jax.default_backend() == "cpu" if TRIPLE is None else TRIPLE


def _by_images(kernel, strides, pads, small):
    """Return the function x [b, ..., c] -> its convolution [b, *small, o] by the triple, as images where it is a solid.

    So is a line that is convolved with strides.
    """
    if len(small) == 2 or strides == (1,):
        return lambda x: triple.forward(x, kernel, strides=strides, pads=pads)
    if len(small) == 1:
        of_image = _by_images(kernel[None], (1, *strides), ((0, 0), *pads), (1, *small))
        return lambda x: of_image(x[:, None])[:, 0]
    if kernel.shape[-2] == 1 and strides[2] > 1:
        return _by_lines(kernel, strides, pads, small)
    return _by_slabs(kernel, strides, pads, small)


def _whole(kernel, axis, step):
    """Return (the kernel with zeros behind it on this axis, up to whole steps, how many steps those are)."""
    n = -(-kernel.shape[axis] // step)
    return jnp.pad(kernel, [(0, n * step - k if i == axis else 0) for i, k in enumerate(kernel.shape)]), n


def _by_lines(kernel, strides, pads, small):
    """Return what `_by_images` does for solids [b, d, h, w, 1] with strides along their lines.

    The voxels that a step goes over become the channels of one; as there is one channel, they lie that way already.
    """
    (*strides, step), (*pads, (low, _)) = strides, pads
    kernel, k = _whole(kernel, 2, step)
    kernel = kernel.reshape(*kernel.shape[:2], k, step, -1)
    of_folded = _by_images(kernel, (*strides, 1), (*pads, (0, 0)), small)

    def of_solid(x):
        x = triple.padded(x, [(0, 0), (0, 0), (low, (small[2] + k - 1) * step - x.shape[3] - low)], (1, 1, 1))
        return of_folded(x.reshape(*x.shape[:3], -1, step))

    return of_solid


def _by_slabs(kernel, strides, pads, small):
    """Return what `_by_images` does for solids [b, d, h, w, c].

    The planes that a step of the first axis goes over, a slab, become one image, with all their channels. A plane of
    the result is a sum over k slabs: each slab is convolved once, to k o channels, o for each plane that it adds to.
    """
    n, low, (o,) = small[0], pads[0][0], kernel.shape[-1:]
    step = strides[0] if n > 1 else kernel.shape[0]
    kernel, k = _whole(kernel, 0, step)
    m = n + k - 1  # slabs of x
    kernel = kernel.reshape(k, step, *kernel.shape[1:]).transpose(2, 3, 1, 4, 0, 5)  # [kh, kw, step, c, k, o]
    kernel = kernel.reshape(*kernel.shape[:2], -1, k * o)
    zeros = FAST - k * o if max(kernel.shape[-2:]) < FAST else 0
    kernel = jnp.pad(kernel, [(0, 0), (0, 0), (0, 0), (0, zeros)])
    of_slabs = _by_images(kernel, strides[1:], pads[1:], small[1:])

    def of_solid(x):
        x = triple.padded(x, [(low, m * step - x.shape[1] - low), (0, 0), (0, 0)], (1, 1, 1))
        x = x.reshape(-1, step, *x.shape[2:]).transpose(0, 2, 3, 1, 4)  # [b m, h, w, step, c]
        y = of_slabs(x.reshape(*x.shape[:3], -1)).reshape(-1, m, *small[1:], k * o + zeros)
        return sum(of[:, i : i + n] for i, of in enumerate(lax.split(y, [*(o,) * k, zeros], 4)[:k]))

    return of_solid


def conv(x, kernel, strides=1, padding="SAME"):
    """Return the convolution of x [b, h, w, c] with kernel [kh, kw, c, o]: [b, n, m, o]."""
    strides = _each(strides, x.ndim - 2)
    pads = _pads(x.shape[1:-1], kernel.shape[:-2], strides, padding)
    if not _triple():
        return triple.plain(x, kernel, strides, pads)
    return _by_images(kernel, strides, pads, triple.small_size(x.shape[1:-1], kernel.shape[:-2], strides, pads))(x)


def conv_transpose(y, kernel, strides=1, padding="SAME", size=None):
    """Return the adjoint of `conv` with this kernel, these strides and this padding: y [b, n, m, o] -> [b, *size, c].

    kernel: [kh, kw, c, o], as `conv` has it.
    size: any from which `conv` leads to y's size; by default n * stride for "SAME", else the smallest.
    """
    axes, kernel_size = y.ndim - 2, kernel.shape[:-2]
    strides = _each(strides, axes)
    if size is None:
        pads = _pads(y.shape[1:-1], kernel_size, strides, padding)  # "SAME" alone looks at the size
        same = isinstance(padding, str) and padding.upper() != "VALID"
        size = tuple(
            n * s if same else (n - 1) * s + k - sum(p)
            for n, s, k, p in zip(y.shape[1:-1], strides, kernel_size, pads, strict=True)
        )
    size = _each(size, axes)
    pads = _pads(size, kernel_size, strides, padding)
    small = triple.small_size(size, kernel_size, strides, pads)
    if small != y.shape[1:-1]:
        raise ValueError(f"size {size} can't be had from {y.shape[1:-1]}: the convolution leads from it to {small}.")
    if not _triple():
        pads = triple.mirror_pads(y, kernel_size, strides, pads, size)
        return triple.plain(y, triple.mirror(kernel), triple.ones(y), pads, lhs_dilation=strides)
    x = jax.ShapeDtypeStruct((len(y), *size, kernel.shape[-2]), y.dtype)
    return jax.linear_transpose(_by_images(kernel, strides, pads, small), x)(y)[0]


# The two as layers.

Padding = str | int | Sequence[int | tuple[int, int]]


def _parameters(layer, x):
    """Return x, the layer's kernel and its bias [1, ..., 1, features], or a plain 0, in one dtype."""
    shape = (*_each(layer.kernel_size, x.ndim - 2), x.shape[-1], layer.features)
    kernel = layer.param("kernel", layer.kernel_init, shape, jnp.float32)
    if not layer.use_bias:
        return *promote_dtype(x, kernel), 0
    bias = layer.param("bias", layer.bias_init, (layer.features,), jnp.float32)
    return promote_dtype(x, kernel, bias.reshape((1,) * (x.ndim - 1) + (-1,)))


class Conv(nn.Module):
    """x [b, h, w, c] -> [b, n, m, features], as nn.Conv; its kernel is [kh, kw, c, features]."""

    features: int
    kernel_size: int | tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    bias_init: Callable = nn.initializers.zeros

    @nn.compact
    def __call__(self, x):
        x, kernel, bias = _parameters(self, x)
        return conv(x, kernel, self.strides, self.padding) + bias


class ConvTranspose(nn.Module):
    """y [b, n, m, c] -> [b, *size, features], the adjoint of the convolution with these strides and this padding.

    Its kernel is [kh, kw, c, features], so that initialisers see c as the inputs; with the last two swapped it is the
    convolution's. nn.ConvTranspose has the same up to mirroring: its kernel is this one, flipped along all others.
    size: any from which the convolution leads to y's size; by default n * stride for "SAME", else the smallest.
    """

    features: int
    kernel_size: int | tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: Padding = "SAME"
    size: int | tuple[int, ...] | None = None
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    bias_init: Callable = nn.initializers.zeros

    @nn.compact
    def __call__(self, y):
        y, kernel, bias = _parameters(self, y)
        return conv_transpose(y, kernel.swapaxes(-2, -1), self.strides, self.padding, self.size) + bias
