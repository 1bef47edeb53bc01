"""CoGAN's nets for digits (Liu and Tuzel 2016, arXiv 1606.07536), as their code has them, for images from 16x16 on.

What is tied is one set of weights: of G all layers but the last, of D all but the first. The numbers of the authors are
width 128 for G and 20 for D, at 28x28.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import BatchNorm

xavier = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # Xavier's with gain sqrt(2)
biased = {"kernel_init": xavier, "bias_init": nn.initializers.constant(0.1)}


def prelu(x):
    """Return x where it is positive, elsewhere x times a slope that is learned, 1/4 at first; for compact modules."""
    return nn.PReLU(negative_slope_init=0.25)(x)


def pooled(x):
    """Return the maxima of x [b, h, w, c] over squares of 2x2; an odd row or column at the end is left out."""
    b, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


class G(nn.Module):
    """Latent [b, z] -> an image of each domain, [b, *shape] in [-1, 1] both; batch norm sees the latents alone."""

    shape: tuple[int, int, int]
    width: int = 128

    @nn.compact
    def __call__(self, z, train=True):
        normed = lambda x: BatchNorm(not train, momentum=0.9, epsilon=1e-5, use_scale=False, use_bias=False)(x)
        tied = {"use_bias": False, "kernel_init": xavier}  # batch norm takes a bias away
        sizes = [tuple(n - 3 for n in self.shape[:2])]  # 25, 13, 7, 4 of 28
        while max(sizes[-1]) > 4:
            sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
        channels = [self.width * 2 ** min(i, 3) for i in range(len(sizes))]
        x = ConvTranspose(channels[-1], sizes[-1], padding="VALID", **tied)(z[:, None, None])
        x = prelu(normed(x))
        for size, c in zip(sizes[-2::-1], channels[-2::-1], strict=True):
            x = prelu(normed(ConvTranspose(c, 3, 2, padding=1, size=size, **tied)(x)))
        both = ConvTranspose(2 * self.shape[-1], 6, padding=1, **biased)(x)  # two layers side by side: faster
        return tuple(jnp.split(2 * jax.nn.sigmoid(both) - 1, 2, 3))


class D(nn.Module):
    """Images a [m, h, w, c] and b [n, h, w, c] -> scores, logits of the classes and features, all [m + n, ...].

    None stands for no images of a domain. Nothing is normalised: a row does not depend on the others.
    """

    classes: int
    width: int = 20

    @nn.compact
    def __call__(self, a, b, train=True):
        first = lambda x, name: pooled(Conv(self.width, 5, padding="VALID", name=name, **biased)((x + 1) / 2))
        x = jnp.concatenate([first(x, f"first_{of}") for of, x in (("a", a), ("b", b)) if x is not None])
        x = pooled(Conv(self.width * 5 // 2, 5, padding="VALID", **biased)(x))
        f = prelu(Conv(self.width * 25, x.shape[1:3], padding="VALID", **biased)(x)[:, 0, 0])  # [m + n, features]
        fake, real = jnp.split(nn.Dense(2, **biased)(f), 2, 1)
        return (real - fake)[:, 0], nn.Dense(self.classes, **biased)(f), f
