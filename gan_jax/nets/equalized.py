"""Layers with equalised rates (PGGAN, Karras et al. 2018, arXiv 1710.10196): Adam moves all weights alike.

Weights are N(0, 1) at the start, and multiplied by gain / sqrt(inputs) whenever they are used. `rate` (StyleGAN's
lrmul, arXiv 1812.04948): the layer learns that much slower, since weights begin at N(0, 1 / rate) and they and the bias
are multiplied by it when used. Here too are pixel norm, the deviation of a minibatch, and the filters with which these
nets change their resolution.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from gan_jax.nets.conv import conv, conv_transpose

SQRT2 = math.sqrt(2)  # the gain in front of a (leaky) ReLU; 1 where nothing follows


def _weight(layer, shape, rate=1.0):
    """Return the layer's kernel as it is used; all axes but the last are inputs."""
    kernel = layer.param("kernel", nn.initializers.normal(1 / rate), shape, jnp.float32)
    return kernel * (layer.gain * rate / math.sqrt(math.prod(shape[:-1])))


def _bias(layer, ndim, rate=1.0):
    """Return the layer's bias as it is used, for an x of `ndim` axes."""
    bias = layer.param("bias", nn.initializers.constant(layer.bias / rate), (layer.features,), jnp.float32)
    return bias.reshape(*[1] * (ndim - 1), -1) * rate


class Dense(nn.Module):
    """x [..., c] -> [..., features]; `bias`: what is added at the start, None: never anything."""

    features: int
    gain: float = SQRT2
    rate: float = 1.0
    bias: float | None = 0.0

    @nn.compact
    def __call__(self, x):
        x = x @ _weight(self, (x.shape[-1], self.features), self.rate).astype(x.dtype)
        return x if self.bias is None else x + _bias(self, x.ndim, self.rate).astype(x.dtype)


class Conv(nn.Module):
    """x [b, h, w, c] -> [b, h, w, features]; `bias`: as above.

    up: twice as large, by a transposed convolution of stride 2 and the filter `taps`. down: half as large, by the
    filter and a convolution of stride 2.
    """

    features: int
    kernel_size: int = 3
    gain: float = SQRT2
    bias: float | None = 0.0
    up: bool = False
    down: bool = False
    taps: tuple[int, ...] = (1, 3, 3, 1)

    @nn.compact
    def __call__(self, x):
        k = self.kernel_size
        kernel = _weight(self, (k, k, x.shape[-1], self.features)).astype(x.dtype)
        if self.up:
            x = conv_up(x, kernel, self.taps)
        elif self.down:
            x = conv_down(x, kernel, self.taps)
        else:
            x = conv(x, kernel)
        return x if self.bias is None else x + _bias(self, x.ndim).astype(x.dtype)


def pixel_norm(x):
    """Return x [..., c] divided by the root of its mean square over c."""
    return x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-8)


def group_std(x, group=4):
    """Return x [b, h, w, c] with one more channel: the deviation over a group, on average (as PGGAN's code has it).

    A group is every (b / group)-th image of the batch; where `group` does not divide b, groups are smaller.
    """
    b, group = len(x), math.gcd(len(x), group)
    spread = jnp.sqrt(x.reshape(group, -1, *x.shape[1:]).var(0) + 1e-8).mean((1, 2, 3))  # [b / group]
    spread = jnp.tile(spread, group).reshape(b, 1, 1, 1)
    return jnp.concatenate([x, jnp.broadcast_to(spread, (*x.shape[:3], 1))], 3)


def _fir(x, *, taps, low, size, up, down):
    """Return sums of t * z[down i + j - low], over t = taps[j], along both sides; z[up n] is x[n], all between is 0.

    The phases of x are sliced out of one padded copy, those of the result are made one by one: no zeros are between.
    """
    at = [[(down * r + j - low, t) for j, t in enumerate(taps) if (down * r + j - low) % up == 0] for r in range(up)]
    reads = [[(divmod(i // up, down), t) for i, t in phase] for phase in at]  # x[down (m + step) + phase]
    steps = [step for phase in reads for (step, _), _ in phase]
    first, last, many = min(steps), max(steps), [-(-n // up) for n in size]
    around = [(-first * down, (m + last) * down - n, 0) for m, n in zip(many, x.shape[1:3], strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *around, (0, 0, 0)])
    x = lax.optimization_barrier(x)  # a loop that pads looks at each pixel whether it is there
    for axis, m, n in zip((1, 2), many, size, strict=True):
        x = x.reshape(*x.shape[:axis], -1, down, *x.shape[axis + 1 :])
        seen = lambda step, i, x=x, axis=axis, m=m: lax.index_in_dim(
            lax.slice_in_dim(x, step - first, step - first + m, axis=axis), i, axis + 1, keepdims=False
        )
        parts = [sum(seen(*where) * t for where, t in phase) for phase in reads]
        x = jnp.stack(parts, axis + 1).reshape(*x.shape[:axis], m * up, *x.shape[axis + 2 :])
        x = lax.slice_in_dim(x, 0, n, axis=axis)
    return x


def _transposed(y, x, *, taps, low, size, up, down):
    return [FIR.bind(y, taps=taps[::-1], low=len(taps) - 1 - low, size=x.aval.shape[1:3], up=down, down=up)]


def _batched(operands, axes, **static):
    x = jnp.moveaxis(operands[0], axes[0], 0)  # images that are vmapped are more images
    y = FIR.bind(x.reshape(-1, *x.shape[2:]), **static)
    return y.reshape(*x.shape[:2], *y.shape[1:]), 0


# Its gradient is such a filter again; JAX would make it a sum of padded arrays, which takes several times as long.
FIR = core.Primitive("gan_jax_fir")
FIR.def_impl(jax.jit(_fir, static_argnames=("taps", "low", "size", "up", "down")))
FIR.def_abstract_eval(lambda x, *, size, **_: x.update(shape=(x.shape[0], *size, x.shape[3])))
mlir.register_lowering(FIR, mlir.lower_fun(_fir, multiple_results=False))
ad.deflinear2(FIR, _transposed)
batching.primitive_batchers[FIR] = _batched


def fir(x, taps, pad, up=1, down=1):
    """Return x [b, h, w, c] filtered along both sides by `taps`, which sum to 1 then; pad: (zeros before, after).

    up: with up - 1 zeros between the pixels, before; down: only each such pixel of the result.
    """
    size = tuple(((n - 1) * up + sum(pad) + 1 - len(taps)) // down + 1 for n in x.shape[1:3])
    taps = tuple(t / sum(taps) for t in taps)
    return FIR.bind(x, taps=taps, low=pad[0], size=size, up=up, down=down)


def upsample(x, taps=(1, 3, 3, 1)):
    """Return x [b, h, w, c] twice as large: zeros between the pixels, then the filter; (1, 1): the nearest pixel."""
    k = len(taps)
    return 4 * fir(x, taps, ((k + 1) // 2, k // 2), up=2)


def conv_up(x, kernel, taps=(1, 3, 3, 1)):
    """Return x [b, h, w, c] twice as large: kernel [k, k, c, o] over pixels with zeros between, then the filter."""
    k, t = kernel.shape[0], len(taps)
    x = conv_transpose(x, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 2, "VALID")  # 2 n + k - 2 pixels
    before = (t - k + 2) // 2
    return 4 * fir(x, taps, (before, t - k + 1 - before))


def conv_down(x, kernel, taps=(1, 3, 3, 1)):
    """Return x [b, h, w, c] half as large: the filter, then kernel [k, k, c, o] at every second pixel."""
    k, t = kernel.shape[0], len(taps)
    pad = t - 1 + k - 2
    pad = (pad + 1) // 2, pad // 2
    if k == 1:  # no other pixel is seen
        return conv(fir(x, taps, pad, down=2), kernel)
    return conv(fir(x, taps, pad), kernel, 2, "VALID")
