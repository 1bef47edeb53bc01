"""AlexNet without its head, in one column (Krizhevsky 2014, arXiv 1404.5997), for LPIPS; its weights are `packaged`."""

import jax
import numpy as np
from flax import linen as nn
from jax import lax

from gan_jax.metrics import packaged

PUBLIC = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"  # SHA-256 of the file of 0.1.0
LAYERS = (11, 64), (5, 192), (3, 384), (3, 256), (3, 256)  # sides of the kernels, and channels
POOLED = 1, 2  # before which of them the largest of 3x3 places is taken, at every second one
LEAST = 31  # pixels of the shorter side, at least: of fewer no place would be left


def shapes() -> list[tuple[int, ...]]:
    """Return the shapes of the weights, a kernel and a bias for each layer, in the order of the layers."""
    inputs = [3, *(c for _, c in LAYERS)]
    return [shape for c, (k, o) in zip(inputs, LAYERS, strict=False) for shape in ((k, k, c, o), (o,))]


def load(file=None) -> list[packaged.Layer]:
    """Return the layers of a file of weights, by default of the package; UserError where it is missing or another."""
    return packaged.layers("alexnet", PUBLIC, shapes(), file)


def heads(file=None) -> list[np.ndarray]:
    """Return the weights [c] that LPIPS gives to the channels of each layer, out of the same file (`lpips`)."""
    return packaged.heads("alexnet", PUBLIC, shapes(), file)


def blocks(layers, x) -> list[jax.Array]:
    """Return what each of the five layers says, after its ReLU, of pictures x [b, h, w, 3], scaled as `lpips` does."""
    found = []
    for i, (kernel, bias) in enumerate(layers):
        x = nn.max_pool(x, (3, 3), (2, 2)) if i in POOLED else x
        stride, padding = (4, 2) if i == 0 else (1, len(kernel) // 2)
        given = (stride, stride), ((padding, padding),) * 2
        x = lax.conv_general_dilated(x, kernel, *given, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = nn.relu(x + bias.reshape(1, 1, 1, -1))
        found.append(x)
    return found
