"""LPIPS: how far two pictures are apart in what VGG16 or AlexNet sees of them (Zhang et al. 2018, arXiv 1801.03924).

Version 0.1, net "vgg" or "alex", of the authors' package: at each place of each of five layers the activations are
scaled to length 1, the squares of their differences are weighted by channel and summed; means over places are added up
over layers. The weights come with those of the net (`vgg`, `alexnet`). 0: the same picture.
"""

import jax
import jax.numpy as jnp

from gan_jax.errors import UserError
from gan_jax.metrics import vgg

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]


def distance(layers, heads, x, y, net=vgg) -> jax.Array:
    """Return the distances [b] of pictures x and y [b, h, w, c] in [-1, 1], grey (c = 1) or in colours (c = 3).

    layers, heads: what `load` and `heads` of the net, `vgg` or `alexnet`, return. Nothing is resized. Raises UserError
    where sides are below the net's LEAST, 16 or 31 pixels, of which its last layers would see nothing.
    """
    check_size(x.shape[1:], net)
    row = lambda a: jnp.asarray(a, jnp.float32).reshape(1, 1, 1, -1)

    def seen(x):
        colours = jnp.broadcast_to(x, (*x.shape[:3], 3))
        return [unit(block) for block in net.blocks(layers, (colours - row(SHIFT)) / row(SCALE))]

    apart = [((a - b) ** 2 * row(head)).sum(3) for a, b, head in zip(seen(x), seen(y), heads, strict=True)]
    return sum(one.mean((1, 2)) for one in apart)


def check_size(shape, net=vgg):
    """Raise UserError where pictures [h, w, c] are too small to be compared."""
    h, w, _ = shape
    if min(h, w) < net.LEAST:
        raise UserError(f"LPIPS compares pictures of {net.LEAST} pixels a side or more; these are {h}x{w}.")


def ready(shape):
    """Raise UserError where pictures [h, w, c] can't be compared by VGG16, or its weights are missing."""
    check_size(shape)
    vgg.load()


def unit(x):
    """Return x [..., c] with length 1 over its channels."""
    return x / (jnp.sqrt((x**2).sum(-1, keepdims=True)) + 1e-10)


def judge(net=vgg):
    """Return the function of pictures x, y [b, h, w, c] in [-1, 1] that is their mean distance, row by row.

    The weights are those of the package, which are read once; a shape is compiled once. A few rows are compared at a
    time. Raises UserError where the package is not installed.
    """
    weights = net.load(), net.heads()
    one = lambda weights, row: distance(*weights, row[0][None], row[1][None], net)[0]
    each = jax.jit(lambda weights, *rows: jax.lax.map(lambda row: one(weights, row), rows, batch_size=10))
    return lambda x, y: float(each(weights, jnp.asarray(x), jnp.asarray(y)).mean())
