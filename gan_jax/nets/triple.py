"""Convolution, its input gradient (= transposed convolution) and its kernel gradient, fast on the CPU.

They are closed under differentiation: each is bilinear, and its two gradients are the other two. Each is lowered here
as ONE convolution NHWC x HWIO -> NHWC, which is what XLA runs fast on the CPU, in a loop body too; the gradients of
`lax.conv_general_dilated` are not of that form. With few pixels, or few channels out and no strides, products of
matrices are faster still. They are primitives of JAX, so forward mode (`jax.jvp`, `jacfwd`, `linearize`) and any mix of
both modes work, too.

x is everywhere the larger side of a convolution [b, h, w, c], y the smaller one [b, n, m, o], kernel
[kh, kw, c, o]; strides, pads ((low, high) per axis) and sizes are tuples with one entry per spatial axis. Shapes are
written for two of these.
"""

import inspect
import math
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.interpreters import ad, batching, mlir

FEW = 8, 64  # channels of x, pixels of y: with fewer, zeros cost a transposed convolution less than being several
CACHE = 2**20  # bytes that a core has near: of the batch no more than that is transposed at once


def plain(x, kernel, *args, **kwargs):
    axes = "DHW"[5 - x.ndim :]
    order = f"N{axes}C", f"{axes}IO", f"N{axes}C"
    return lax.conv_general_dilated(x, kernel, *args, **kwargs, dimension_numbers=order)


def ones(x):
    """Return a 1 for each spatial axis: steps of x [b, ..., c], and of a kernel of as many axes."""
    return (1,) * (x.ndim - 2)


def padded(x, pads, step):
    """Return x with step - 1 zeros between neighbours and `pads` around, cut where they are negative."""
    around = [(low, high, s - 1) for (low, high), s in zip(pads, step, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *around, (0, 0, 0)])


def _canonical(x, kernel, strides, pads, step=None, kernel_step=None):
    steps = strides, step or ones(x), kernel_step or ones(x)
    if max(map(max, steps)) == 1 and _narrows(kernel.shape):
        return _by_products(x, kernel, pads)
    # XLA swaps a kernel with an image that is smaller, which costs a factor of ten: give it the pads as pixels then.
    # The barrier, here and below, keeps it from turning them into pads again.
    strides, step, kernel_step = steps
    if math.prod(kernel.shape[:-2]) > math.prod(x.shape[1:-1]):
        x, pads, step = lax.optimization_barrier(padded(x, pads, step)), ((0, 0),) * len(pads), ones(x)
    return plain(x, kernel, strides, pads, lhs_dilation=step, rhs_dilation=kernel_step)


def _narrows(shape):
    """Return whether so few channels come out of a kernel that what each pixel adds to them is hardly more than it."""
    *size, c, o = shape
    return o < FEW[0] and math.prod(size) * o <= 5 * c


def _by_products(x, kernel, pads):
    """The same without strides: the product of each pixel and all of the kernel, whose parts are added to y."""
    *size, c, o = kernel.shape
    x = padded(x, pads, ones(x))
    y = x.reshape(-1, c) @ jnp.moveaxis(kernel, -2, 0).reshape(c, -1)
    y = y.reshape(*x.shape[:-1], *size, o)
    for axis, k in enumerate(size, 1):
        seen = lambda i, y=y, axis=axis, n=y.shape[axis] - k + 1: lax.slice_in_dim(y, i, i + n, 1, axis)
        y = sum(lax.index_in_dim(seen(i), i, x.ndim - 1, keepdims=False) for i in range(k))
    return y


def _at_few(y):
    """Return whether y has so few pixels that products of what they see of x and the kernel cost less."""
    return math.prod(y.shape[1:-1]) == 1 or 4 * math.prod(y.shape[:-1]) <= y.shape[-1]


def _seen(x, size, strides, pads, small):
    """Return what the pixels of y see of x through each tap of the kernel: [kh, kw, b n m, c]."""
    x = padded(x, pads, ones(x))
    for i, (k, s, n) in enumerate(zip(size, strides, small, strict=True)):
        axis = 2 * i + 1  # behind the taps so far, the batch, and the axes done
        x = jnp.stack([lax.slice_in_dim(x, j, j + (n - 1) * s + 1, s, axis) for j in range(k)], i)
    return x.reshape(*size, -1, x.shape[-1])


def _tapped(y, kernel_size):
    """Return the pixels of y for each tap of the kernel: [kh, kw, b n m, o].

    Products, a tap each, read a kernel of which the last two axes were swapped, and write one, without a copy.
    """
    y = y.reshape(-1, y.shape[-1])
    return jnp.broadcast_to(y, (*kernel_size, *y.shape))


def mirror(kernel):
    return jnp.flip(kernel, tuple(range(kernel.ndim - 2))).swapaxes(-2, -1)


def mirror_pads(y, kernel_size, strides, pads, size):
    """Return the pads that make the convolution of y, `strides` - 1 zeros between, with the mirrored kernel `size`."""
    mirrored = []
    for n, k, s, (low, _), m in zip(y.shape[1:-1], kernel_size, strides, pads, size, strict=True):
        low = k - 1 - low
        mirrored.append((low, m + k - 1 - low - ((n - 1) * s + 1)))
    return tuple(mirrored)


def small_size(size, kernel_size, strides, pads):
    """Return the size to which a convolution leads."""
    return tuple((m + sum(p) - k) // s + 1 for m, p, k, s in zip(size, pads, kernel_size, strides, strict=True))


def _forward(x, kernel, *, strides, pads):
    small = small_size(x.shape[1:-1], kernel.shape[:-2], strides, pads)
    y = jax.ShapeDtypeStruct((len(x), *small, kernel.shape[-1]), x.dtype)
    if _at_few(y):
        seen = _seen(x, kernel.shape[:-2], strides, pads, small)
        return (seen @ kernel).sum(tuple(range(len(small)))).reshape(y.shape)
    return _canonical(x, kernel, strides, pads)


def _input_grad(y, kernel, *, strides, pads, size):  # size: of x
    if _at_few(y):
        seen = partial(_seen, size=kernel.shape[:-2], strides=strides, pads=pads, small=y.shape[1:-1])
        x = jax.ShapeDtypeStruct((len(y), *size, kernel.shape[-2]), y.dtype)
        of_taps = _tapped(y, kernel.shape[:-2]) @ kernel.swapaxes(-2, -1)
        return jax.linear_transpose(seen, x)(of_taps)[0]
    pixels = math.prod(y.shape[1:-1])
    few = kernel.shape[-2] < FEW[0] or pixels < FEW[1]
    larger = math.prod(kernel.shape[:-2]) > pixels  # several are faster then, whatever there is
    if math.prod(strides) == 1 or (few and not larger):
        pads = mirror_pads(y, kernel.shape[:-2], strides, pads, size)
        return _canonical(y, mirror(kernel), ones(y), pads, step=strides)
    return _interleaved(y, kernel, strides, pads, size)


def _interleaved(y, kernel, strides, pads, size):
    """The same without zeros: x[s p + i] is a convolution of y with every s-th row of the kernel, for each i < s."""
    (s, t), (n, m) = strides, (-(-of // step) for of, step in zip(size, strides, strict=True))

    def part(*at):
        steps = zip(at, strides, pads, strict=True)
        first, start = zip(*(divmod(i + low, step) for i, step, (low, _) in steps), strict=True)
        start = (min(i, k) for i, k in zip(start, kernel.shape[:2], strict=True))
        taps = lax.slice(kernel, (*start, 0, 0), kernel.shape, (s, t, 1, 1))
        if not taps.size:  # steps longer than the kernel
            return jnp.zeros((len(y), n, m, kernel.shape[2]), y.dtype)
        ends = zip(first, taps.shape[:2], (n, m), y.shape[1:3], strict=True)
        around = [(k - 1 - f, out + f - of) for f, k, out, of in ends]  # x[at] is made of y[first] and the k - 1 before
        return _canonical(y, mirror(taps), (1, 1), around)

    rows = [jnp.stack([part(i, j) for j in range(t)], 3).reshape(len(y), n, 1, t * m, -1) for i in range(s)]
    return jnp.concatenate(rows, 2).reshape(len(y), s * n, t * m, -1)[:, : size[0], : size[1]]


def _kernel_grad(x, y, *, strides, pads, size):  # size: of the kernel
    if _at_few(y):
        seen = _seen(x, size, strides, pads, y.shape[1:-1])
        return seen.swapaxes(-2, -1) @ _tapped(y, size)
    if max(strides) == 1 and _narrows((*size, x.shape[-1], y.shape[-1])):
        seen = _seen(y, size, strides, mirror_pads(y, size, strides, pads, x.shape[1:-1]), x.shape[1:-1])
        kernel = seen.swapaxes(-2, -1) @ x.reshape(-1, x.shape[-1])
        return mirror(kernel)
    n = _parts(x, y)
    if n == 1:
        return _kernel_grad_of_part(x, y, strides, pads, size)
    x, y = (a.reshape(-1, n, *a.shape[1:]) for a in (x, y))  # part i is [:, i]: it has rows of every device's
    part = lambda i: (lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in (x, y))
    add = lambda i, total: total + _kernel_grad_of_part(*part(i), strides, pads, size)
    return lax.fori_loop(0, n, add, jnp.zeros((*size, x.shape[-1], y.shape[-1]), x.dtype))


def _parts(x, y):
    """Return into how many parts the batch goes so that each, transposed, stays in a core's own cache.

    Parts have 8 rows at least, and a multiple of 4, so that each of up to four devices has as many of them.
    """
    even = [n for n in range(1, len(x) // 8 + 1) if len(x) % (4 * n) == 0] or [1]
    return next((n for n in even if x.nbytes + y.nbytes <= n * CACHE), even[-1])


def _kernel_grad_of_part(x, y, strides, pads, size):
    # x is padded, or cut, to what the kernel sees of it: cut here, padded by the convolution.
    seen = [(n - 1) * s + k for n, s, k in zip(y.shape[1:-1], strides, size, strict=True)]
    around = [(low, m - h - low) for m, h, (low, _) in zip(seen, x.shape[1:-1], pads, strict=True)]
    x = padded(x, [(min(low, 0), min(high, 0)) for low, high in around], ones(x))
    axes = range(1, x.ndim - 1)
    x = lax.optimization_barrier(x.transpose(-1, *axes, 0))
    y = y.transpose(*axes, 0, -1)  # the batch is summed over
    around = [(max(low, 0), max(high, 0)) for low, high in around]
    return _canonical(x, y, ones(x), around, kernel_step=strides).transpose(*axes, 0, -1)


def _bilinear(f, of_a, of_b):
    """Return (a, b, **static) -> f(a, b, **static) as a primitive of JAX.

    of_a, of_b: (gradient of f, a, b, **static) -> gradient of that operand; the operand itself is known by its `aval`
    alone. In forward mode f is applied to the tangents.
    """

    @lru_cache(256)
    def shape(*of, **static):
        found = jax.eval_shape(partial(f, **static), *(jax.ShapeDtypeStruct(*one) for one in of))
        return found.shape, found.dtype

    def batched(operands, axes, **static):
        a, b = operands
        if axes[1] is not None or f is _kernel_grad:
            return jax.vmap(partial(f, **static), axes)(a, b), 0
        a = jnp.moveaxis(a, axes[0], 0)  # images that are vmapped are more images
        found = primitive.bind(a.reshape(-1, *a.shape[2:]), b, **static)
        return found.reshape(*a.shape[:2], *found.shape[1:]), 0

    primitive = core.Primitive(f"gan_jax{f.__name__}")
    primitive.def_impl(jax.jit(f, static_argnames=list(inspect.signature(f).parameters)[2:]))
    of = lambda a: (a.shape, a.dtype)
    primitive.def_abstract_eval(lambda a, b, **static: jax.core.ShapedArray(*shape(of(a), of(b), **static)))
    mlir.register_lowering(primitive, mlir.lower_fun(f, multiple_results=False))
    ad.defbilinear(primitive, of_a, of_b)
    batching.primitive_batchers[primitive] = batched
    return primitive.bind


forward = _bilinear(
    _forward,
    lambda y, x, kernel, **static: input_grad(y, kernel, size=x.aval.shape[1:-1], **static),
    lambda y, x, kernel, **static: kernel_grad(x, y, size=kernel.aval.shape[:-2], **static),
)
input_grad = _bilinear(
    _input_grad,
    lambda x, y, kernel, size, **static: forward(x, kernel, **static),
    lambda x, y, kernel, size, **static: kernel_grad(x, y, size=kernel.aval.shape[:-2], **static),
)
kernel_grad = _bilinear(
    _kernel_grad,
    lambda kernel, x, y, size, **static: input_grad(y, kernel, size=x.aval.shape[1:-1], **static),
    lambda kernel, x, y, size, **static: forward(x, kernel, **static),
)
