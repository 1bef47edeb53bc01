"""The nets of the Introspective Adversarial Network (Brock et al. 2017, 1609.07093), as the authors' code has them.

D halves a picture, rounded up, until its larger side is at most 4; E reads a code off D's last features. G widens a
code again; between its transposed convolutions stand residual blocks of dilated ones. `width` is D's channels after its
first convolution, and G's at full resolution (128 in the code, for pictures of 64x64).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from gan_jax.nets.conv import Conv, ConvTranspose, conv
from gan_jax.nets.improved import MinibatchDiscrimination
from gan_jax.nets.layers import BatchNorm, leaky, levels, normal


def orthogonality(params):
    """Return the sum over all filters of convolutions of |W W^T - I|, all numbers of the matrix.

    W is one filter as a matrix: its rows, by its columns and channels. A transposed convolution has the filters of the
    convolution whose adjoint it is.
    """
    total = 0.0
    for path, kernel in jax.tree_util.tree_leaves_with_path(params):
        if kernel.ndim == 4:
            filters = kernel.swapaxes(2, 3) if "ConvTranspose" in jax.tree_util.keystr(path) else kernel
            products = jnp.einsum("hwco,kwco->ohk", filters, filters)
            total += jnp.abs(products - jnp.eye(len(kernel), dtype=kernel.dtype)[None]).sum()
    return total


def norm(x, train, scale=1.0, bias=0.0, use_bias=True):
    """Return x normalised over all axes but the last; `scale` and `bias`: where these begin."""
    begin = {"scale_init": nn.initializers.constant(scale), "bias_init": nn.initializers.constant(bias)}
    return BatchNorm(not train, momentum=0.9, epsilon=1e-4, use_bias=use_bias, **begin)(x)


class Multiscale(nn.Module):
    """x [b, h, w, c] -> [b, h, w, features] by one kernel of 3x3 at several scales, summed; without a bias.

    scales: at which it is dilated, beside 1; 0 is the mean of its taps, on single pixels. Each scale has a weight for
    every feature. All are taps of one larger kernel, 0 elsewhere, so this is one convolution.
    """

    features: int
    scales: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        scales = (1, *self.scales)
        kernel = self.param("kernel", normal, (3, 3, x.shape[3], self.features), jnp.float32)
        even = nn.initializers.constant(1 / len(scales))
        weights = self.param("weights", even, (len(scales), self.features), jnp.float32)
        reach, total = max(scales), 0.0
        for i, scale in enumerate(scales):
            taps = weights[i].reshape(1, 1, 1, -1) * (kernel if scale else kernel.mean((0, 1), keepdims=True))
            wide = [(reach - scale, reach - scale, max(scale - 1, 0))] * 2 + [(0, 0, 0)] * 2
            total += jax.lax.pad(taps, jnp.zeros((), taps.dtype), wide)
        return conv(*promote_dtype(x, total))


def block(x, scales, train):
    """Return x after a residual block of two multiscale convolutions; for compact modules."""
    y = x
    for _ in range(2):
        y = Multiscale(x.shape[3], scales)(leaky(norm(y, train)))
    return leaky(norm(x + y, train))


class Colours(nn.Module):
    """x [b, h, w, f] -> a picture [b, h, w, channels] in [-1, 1]: each colour is drawn in sight of those before it.

    A pixel's colour is the mean of a Beta distribution, whose two numbers are sigmoids.
    """

    channels: int

    @nn.compact
    def __call__(self, x):
        drawn = []
        for _ in range(self.channels):
            logits = Multiscale(2, (2, 3, 4))(x)
            logits = logits + Multiscale(2, (2, 3, 4))(jnp.concatenate(drawn, 3)) if drawn else logits
            drawn.append(nn.sigmoid(logits))
        pairs = jnp.stack(drawn, 3)  # [b, h, w, channels, 2]
        return 2 * pairs[..., 0] / (pairs.sum(4) + 1e-8) - 1


class Flow(nn.Module):
    """z [b, n] -> (z - m(z)) / exp(s(z)) [b, n], inverse autoregressive (Kingma et al. 2016, arXiv 1606.04934).

    m and s are masked perceptrons (Germain et al. 2015, arXiv 1502.03509): their i-th number sees those before the i-th
    of z alone. Their weights stay as they were drawn, as in the code of IAN.
    """

    @nn.compact
    def __call__(self, z):
        n = z.shape[1]
        place = np.arange(n)
        last = place % max(1, n - 1)  # that a hidden unit sees
        masks = {"first": place[:, None] <= last, "second": last[:, None] < place, "direct": place[:, None] < place}
        begin = nn.initializers.orthogonal(np.sqrt(2))

        def masked(name):
            found = {of: self.param(f"{name}_{of}", begin, (n, n), jnp.float32) * mask for of, mask in masks.items()}
            found = jax.lax.stop_gradient(found)
            return nn.relu(z @ found["first"]) @ found["second"] + z @ found["direct"]

        return (z - masked("mean")) * jnp.exp(-masked("log_std"))


class G(nn.Module):
    """Code [b, z] -> picture [b, *shape] in [-1, 1]; flow: through a random `Flow` first."""

    shape: tuple[int, int, int]
    width: int = 128
    flow: bool = False

    @nn.compact
    def __call__(self, z, train=True):
        z = Flow()(z) if self.flow else z
        sizes, _ = levels(self.shape, self.width)
        channels = [self.width * 2 ** min(max(i - 1, 0), 2) for i in range(len(sizes))]
        (h, w), c = sizes[-1], channels[-1]
        x = leaky(nn.Dense(h * w * c, kernel_init=normal)(z)).reshape(-1, h, w, c)
        for i in reversed(range(len(sizes) - 1)):
            up = {"padding": 2, "size": sizes[i], "use_bias": False, "kernel_init": normal}
            x = norm(ConvTranspose(channels[i], 5, 2, **up)(x), train, use_bias=not i)  # a block takes shifts out again
            x = block(x, (0, 2) if max(sizes[i]) <= 8 else (0, 2, 3), train) if i else leaky(x)
        return Colours(self.shape[2])(x)


class D(nn.Module):
    """x [b, h, w, c] -> logits of data, reconstructions and samples [b, 3], and the features of each level."""

    width: int = 128
    kernels: int = 500  # of minibatch discrimination

    @nn.compact
    def __call__(self, x, train=True):
        features = []
        for i, c in enumerate(levels(x.shape[1:], self.width)[1]):
            x = Conv(c, 5, 2, padding=2, use_bias=not i, kernel_init=normal)(x)
            x = leaky(norm(x, train) if i else x)
            features.append(x)
        return nn.Dense(3, kernel_init=normal)(MinibatchDiscrimination(self.kernels)(x.mean((1, 2)))), features


class E(nn.Module):
    """D's last features [b, ...] -> mean [b, z] and logarithm of the deviation [b, z] of the code."""

    z_dim: int
    hidden: int = 1000

    @nn.compact
    def __call__(self, f, train=True):
        linear = lambda n, init: nn.Dense(n, use_bias=False, kernel_init=init)
        x = nn.relu(norm(linear(self.hidden, normal)(f.reshape(f.shape[0], -1)), train))
        mean, log_std = (linear(self.z_dim, nn.initializers.glorot_uniform())(x) for _ in range(2))
        return norm(mean, train), norm(log_std, train, 0.1, -1.0)
