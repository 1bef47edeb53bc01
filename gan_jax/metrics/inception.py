"""Inception-v3 as FID, KID and Inception Score use it; its weights are a file that you have.

    python -m gan_jax.metrics.inception convert pt_inception-2015-12-05-6726825d.pth inception.npz

turns the public PyTorch file (github.com/mseitzer/pytorch-fid, release fid_weights; needs torch, once) into an .npz,
and `load("inception.npz")` gives the extractor. Nothing is fetched, and nothing stands in for weights that are missing.
Which weights they are is told by the SHA-256 of the PyTorch file: those of any other file make another extractor, whose
numbers aren't called FID (gan_jax.metrics.protocol).

The network is that of Szegedy et al. 2016, arXiv 1512.00567, in the variant of FID (Heusel et al. 2017, arXiv
1706.08500): average pools leave the padding out, the last block has a max pool. Images are rounded to 0 .. 255, resized
to 299x299 as TensorFlow 1 did it (pixel i is read at i * h / 299, without antialiasing; so does torch-fidelity, while
pytorch-fid aligns the pixels' centres, which gives slightly other numbers) and scaled by (v - 128) / 128.

The blocks are held against plain loops, the whole network with random weights against torch-fidelity's. The public
weights were not at hand: that these features equal published ones has NOT been checked.
"""

import dataclasses
import functools
import hashlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from gan_jax.errors import UserError
from gan_jax.metrics.protocol import INCEPTION

PUBLIC = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # SHA-256 of the PyTorch file
SIDE, FEATURES, CLASSES = 299, 2048, 1008
USAGE = "usage: python -m gan_jax.metrics.inception convert WEIGHTS.pth OUT.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Inception:
    """The network with its weights: call it on images."""

    params: dict
    name: str  # protocol.INCEPTION, if the weights are the public ones
    digest: str  # of the parameters

    def __call__(self, x, batch=64):
        """Return features [n, 2048] and class probabilities [n, 1008], float32 on the host, of x [n, h, w, c].

        x is in [-1, 1], grey (c = 1) or in colours (c = 3), of any size. The features, the last average pool, are those
        of FID and KID; the probabilities leave the last bias out, as those of the Inception Score do (1606.03498).
        """
        parts = [_jitted(self.params, x[i : i + batch]) for i in range(0, len(x), batch)]
        features, logits = (np.concatenate([np.asarray(p) for p in part]) for part in zip(*parts, strict=True))
        return features, np.asarray(nn.softmax(logits))


def load(file) -> Inception:
    """Return the extractor whose weights are in an .npz made by `convert`; UserError where there are none."""
    try:
        with np.load(file) as arrays:
            params = dict(arrays)
    except FileNotFoundError:
        raise UserError(
            f"{file} is missing: FID needs the weights of Inception-v3, which don't come with gan_jax.\n"
            f"Get pt_inception-2015-12-05-6726825d.pth of github.com/mseitzer/pytorch-fid and convert it. {USAGE}"
        ) from None
    except Exception as error:
        raise UserError(f"{file} can't be read: {error}. {USAGE}") from None
    source = str(params.pop("source", ""))
    _check(file, {name: a.shape for name, a in params.items()}, shapes())
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(params):
        digest.update(np.ascontiguousarray(params[name]).tobytes())
    return Inception(params, INCEPTION if source == PUBLIC else "inception-v3 of other weights", digest.hexdigest())


def convert(source, out) -> None:
    """Write the weights of a PyTorch file to an .npz: kernels as [kh, kw, c, o], all else as it is."""
    try:
        import torch
    except ImportError:
        raise UserError("PyTorch is needed to read its file, for this command alone: pip install torch") from None
    try:
        sha256 = hashlib.sha256(Path(source).read_bytes()).hexdigest()
        state = dict(torch.load(source, map_location="cpu", weights_only=True))
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
    except Exception as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{source} can't be read as PyTorch weights: {line}") from None
    unused = ("num_batches_tracked", "fc.bias")
    arrays = {k: a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for k, a in arrays.items() if not k.endswith(unused)}
    _check(source, {name: a.shape for name, a in arrays.items()}, shapes())
    try:
        with open(out, "wb") as file:
            np.savez(file, source=sha256, **arrays)
    except OSError as error:
        raise UserError(f"{out} can't be written: {error}.") from None


def _check(file, found, expected):
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise UserError(
                f"{file} doesn't hold the weights of FID's Inception-v3: {name} is {found.get(name, 'missing')}, "
                f"must be {expected.get(name, 'missing')}."
            )


@functools.cache
def shapes() -> dict[str, tuple[int, ...]]:
    """Return {name of a weight, as in the PyTorch file: its shape here}."""
    found = {"fc.weight": (CLASSES, FEATURES)}

    def conv(name, x, out, size=1, stride=1, valid=False):
        shape = (*((size, size) if isinstance(size, int) else size), x.shape[-1], out)
        found[f"{name}.conv.weight"] = shape
        found.update({f"{name}.bn.{k}": (out,) for k in ("weight", "bias", "running_mean", "running_var")})
        return _convolve(x, jnp.zeros(shape), stride, valid)

    jax.eval_shape(functools.partial(network, conv), jnp.zeros((1, SIDE, SIDE, 3)))
    return found


def apply(params, x):
    """Return features [b, 2048] and logits [b, 1008] without bias, of images x [b, h, w, c] in [-1, 1]."""
    x = jnp.round((jnp.asarray(x) + 1) * 127.5).clip(0, 255)
    x = (jnp.broadcast_to(resized(x, SIDE), (len(x), SIDE, SIDE, 3)) - 128) / 128
    features = network(functools.partial(conv_bn_relu, params), x)
    return features, jnp.dot(features, params["fc.weight"].T, precision="highest")


_jitted = jax.jit(apply)


def resized(x, side):
    """Return x [b, h, w, c] at side x side, bilinearly as TensorFlow 1: pixel i is read at i * h / side."""
    for axis in (1, 2):
        n = x.shape[axis]
        at = np.arange(side) * n / side
        low = at.astype(int)
        weights = np.zeros((side, n))
        np.add.at(weights, (np.arange(side), low), 1 - (at - low))
        np.add.at(weights, (np.arange(side), np.minimum(low + 1, n - 1)), at - low)
        x = jnp.moveaxis(jnp.tensordot(jnp.asarray(weights, x.dtype), x, (1, axis), precision="highest"), 0, axis)
    return x


# The network: `conv(name, x, channels, size=1, stride=1, valid=False)` gives its convolutions.


def network(conv, x):
    """Return the last average pool [b, 2048] of x [b, 299, 299, 3]."""
    x = conv("Conv2d_1a_3x3", x, 32, 3, 2)
    x = conv("Conv2d_2a_3x3", x, 32, 3, valid=True)
    x = conv("Conv2d_2b_3x3", x, 64, 3)
    x = nn.max_pool(x, (3, 3), (2, 2))
    x = conv("Conv2d_3b_1x1", x, 80)
    x = conv("Conv2d_4a_3x3", x, 192, 3, valid=True)
    x = nn.max_pool(x, (3, 3), (2, 2))  # [b, 35, 35, 192]
    of = lambda block: lambda branch, *a, **k: conv(f"Mixed_{block}.{branch}", *a, **k)
    for block, pool in ("5b", 32), ("5c", 64), ("5d", 64):
        x = block_a(of(block), x, pool)
    x = block_b(of("6a"), x)  # [b, 17, 17, 768]
    for block, channels in ("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192):
        x = block_c(of(block), x, channels)
    x = block_d(of("7a"), x)  # [b, 8, 8, 1280]
    x = block_e(of("7b"), x, _average)
    x = block_e(of("7c"), x, _largest)  # [b, 8, 8, 2048]
    return x.mean((1, 2))


def block_a(conv, x, pool):
    five = conv("branch5x5_2", conv("branch5x5_1", x, 48), 64, 5)
    three = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 64), 96, 3)
    three = conv("branch3x3dbl_3", three, 96, 3)
    return _join(conv("branch1x1", x, 64), five, three, conv("branch_pool", _average(x), pool))


def block_b(conv, x):
    double = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 64), 96, 3)
    double = conv("branch3x3dbl_3", double, 96, 3, 2)
    return _join(conv("branch3x3", x, 384, 3, 2), double, nn.max_pool(x, (3, 3), (2, 2)))


def block_c(conv, x, channels):
    seven = conv("branch7x7_2", conv("branch7x7_1", x, channels), channels, (1, 7))
    seven = conv("branch7x7_3", seven, 192, (7, 1))
    double = conv("branch7x7dbl_2", conv("branch7x7dbl_1", x, channels), channels, (7, 1))
    double = conv("branch7x7dbl_3", double, channels, (1, 7))
    double = conv("branch7x7dbl_4", double, channels, (7, 1))
    double = conv("branch7x7dbl_5", double, 192, (1, 7))
    return _join(conv("branch1x1", x, 192), seven, double, conv("branch_pool", _average(x), 192))


def block_d(conv, x):
    three = conv("branch3x3_2", conv("branch3x3_1", x, 192), 320, 3, 2)
    seven = conv("branch7x7x3_2", conv("branch7x7x3_1", x, 192), 192, (1, 7))
    seven = conv("branch7x7x3_4", conv("branch7x7x3_3", seven, 192, (7, 1)), 192, 3, 2)
    return _join(three, seven, nn.max_pool(x, (3, 3), (2, 2)))


def block_e(conv, x, pool):
    both = lambda name, x: _join(conv(f"{name}a", x, 384, (1, 3)), conv(f"{name}b", x, 384, (3, 1)))
    three = both("branch3x3_2", conv("branch3x3_1", x, 384))
    double = both("branch3x3dbl_3", conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 448), 384, 3))
    return _join(conv("branch1x1", x, 320), three, double, conv("branch_pool", pool(x), 192))


def conv_bn_relu(params, name, x, out, size=1, stride=1, valid=False):
    """Return relu(batch norm(convolution)) of x [b, h, w, c], with the norm's running statistics: [b, n, m, out]."""
    weight, bias, mean, var = (params[f"{name}.bn.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
    scale = weight / jnp.sqrt(var + 0.001)
    x = _convolve(x, params[f"{name}.conv.weight"], stride, valid)
    return nn.relu(x * scale.reshape(1, 1, 1, out) + (bias - mean * scale).reshape(1, 1, 1, out))


def _convolve(x, kernel, stride, valid):
    padding = "VALID" if valid or stride > 1 else "SAME"
    form = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=form, precision="highest")


def _average(x):
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _largest(x):
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def _join(*branches):
    return jnp.concatenate(branches, axis=-1)


def main(argv=None):
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 3 or words[0] != "convert":
        print(USAGE + "\n\n" + __doc__, file=sys.stderr)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    try:
        convert(*words[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    extractor = load(words[2])
    print(f"{words[2]} holds {extractor.name}, digest {extractor.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
