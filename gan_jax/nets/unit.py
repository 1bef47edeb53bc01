"""UNIT's nets for digits (Liu, Breuel and Kautz 2017, arXiv 1703.00848), as their code has them, from 16x16 on.

G is two autoencoders: the first layer and the last two are a domain's own, all others, and so the code, are tied. Of D
the first layer is a domain's own. The authors' width is 64 for both, at 32x32; the code is 1x1 at any size.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.game import rng
from gan_jax.nets.cogan import biased, pooled
from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import BatchNorm, leaky, normal

tiny = nn.initializers.normal(0.002)


def normed(layer, x, train, *given, name=None, **more):
    """Return x through a layer, normalised over the batch, plus a bias, through leaky ReLU of slope 1/100."""
    x = layer(*given, use_bias=False, kernel_init=normal, name=name, **more)(x)
    how = {"momentum": 0.9, "epsilon": 1e-5, "use_scale": False}
    return leaky(BatchNorm(not train, name=name and f"{name}_norm", **how)(x), 0.01)


def first(layer, a, b):
    """Return images of both domains, a's first, each through its own layer; None stands for no images."""
    return jnp.concatenate([layer(x, f"first_{of}") for of, x in (("a", a), ("b", b)) if x is not None])


class G(nn.Module):
    """Images a [m, h, w, c], b [n, h, w, c] and noise [m + n, code] -> what both decoders make of both codes.

    Returns (as_a [m + n, h, w, c], as_b, mean [m + n, code], deviation), a's rows first: as_a[m:] are b's translations.
    None stands for no images of a domain. With own=False the translations alone are drawn: as_a [n, ...] of b, as_b
    [m, ...] of a. Batch norm of what is tied sees the rows of both together, as the authors'.
    """

    shape: tuple[int, int, int]
    width: int = 64

    @nn.compact
    def __call__(self, a, b, noise, own=True, train=True):
        (h, w), c, m = self.shape[:2], self.width, 0 if a is None else len(a)
        sizes = [(h, w), *((-(-h // k), -(-w // k)) for k in (2, 4, 8))]
        conv = lambda x, *of, **more: normed(Conv, x, train, *of, **more)
        up = lambda x, *of, **more: normed(ConvTranspose, x, train, *of, **more)
        x = first(lambda x, name: conv(x, c, 5, 2, padding=2, name=name), a, b)
        x = conv(x, 2 * c, 5, 2, padding=2)
        x = conv(x, 4 * c, sizes[2], padding="VALID")
        x = conv(x, 8 * c, 1)[:, 0, 0]
        mean, s = jnp.split(nn.Dense(16 * c, kernel_init=tiny)(x), 2, 1)
        deviation = jax.nn.softplus(s)
        x = (mean + deviation * noise)[:, None, None]
        x = up(x, 8 * c, sizes[3], padding="VALID")
        x = up(x, 4 * c, 4, 2, size=sizes[2])
        x = up(x, 2 * c, 4, 2, size=sizes[1])

        def last(of, x):
            x = up(x, c, 4, 2, size=sizes[0], name=f"last_{of}")
            return jnp.tanh(Conv(self.shape[2], 1, name=f"out_{of}")(x))

        return last("a", x if own else x[m:]), last("b", x if own else x[:m]), mean, deviation


class D(nn.Module):
    """Images a [m, h, w, c] and b [n, h, w, c] -> scores, logits of the classes and features, all [m + n, ...].

    None stands for no images of a domain. With a key the two heads see the layers through dropout, the features don't.
    """

    classes: int
    width: int = 64
    drop: float = 0.5  # of the last two layers; of the two before 0.2 and 0.6 of that

    @nn.compact
    def __call__(self, a, b, key=None, train=True):
        layer = lambda c, name=None: Conv(c, 5, name=name, **biased)
        shared = [layer(self.width * 2**i) for i in (1, 2, 3)]
        x = f = first(lambda x, name: pooled(nn.relu(layer(self.width, name)(x))), a, b)
        for conv in shared:
            f = pooled(nn.relu(conv(f)))
        for i, share in enumerate((0.2, 0.6, 1, 1) if self.drop and key is not None else ()):
            kept = rng.uniform(jax.random.fold_in(key, i), x.shape) >= share * self.drop
            x = jnp.where(kept, x / (1 - share * self.drop), 0)
            x = pooled(nn.relu(shared[i](x))) if i < len(shared) else x
        f = f.reshape(len(f), -1)
        seen = x.reshape(f.shape) if self.drop and key is not None else f
        fake, real = jnp.split(nn.Dense(2, **biased)(seen), 2, 1)
        return (real - fake)[:, 0], nn.Dense(self.classes, **biased)(seen), f
