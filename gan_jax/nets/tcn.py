"""Quant GANs' nets: temporal convolutional networks (Wiese et al. 2020, arXiv 1907.06673, appendix B).

Blocks of two causal convolutions, of kernel 2 and steps 1, 2, 4, ..., see 2 (1 + 2 + 4 + ...) numbers before each one:
with six of them 127 in all. A convolution of larger steps is one of step 1 over every step-th number: time is folded.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets import conv


def field(blocks: int) -> int:
    """Return how many numbers in a row one output depends on, of a net with so many blocks of kernel 2."""
    return 2 ** (blocks + 1) - 1


class Causal(nn.Module):
    """x [b, t, c] -> [b, t - step (kernel - 1), features]: each number of those 0, step, 2 step, ... before it."""

    features: int
    kernel: int = 2
    step: int = 1

    @nn.compact
    def __call__(self, x):
        b, t, c = x.shape
        n = -(-t // self.step)
        x = jnp.pad(x, ((0, 0), (n * self.step - t, 0), (0, 0)))
        x = x.reshape(b, n, self.step, c).swapaxes(1, 2).reshape(b * self.step, n, c)
        y = conv.Conv(self.features, self.kernel, padding="VALID")(x)
        y = y.reshape(b, self.step, -1, self.features).swapaxes(1, 2).reshape(b, -1, self.features)
        return y[:, y.shape[1] - (t - self.step * (self.kernel - 1)) :]


class Block(nn.Module):
    """Two causal convolutions, each with a PReLU behind it (definition B.1)."""

    features: int
    kernel: int = 2
    step: int = 1

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = Causal(self.features, self.kernel, self.step)(x)
            x = nn.PReLU(negative_slope_init=0.25)(x)
        return x


class Net(nn.Module):
    """x [b, t + field - 1, c] -> [b, t]: a block of kernel 1, then `blocks` of kernel 2; the output sees all."""

    width: int = 80
    blocks: int = 6

    @nn.compact
    def __call__(self, x):
        t, seen = x.shape[1] - field(self.blocks) + 1, 0.0
        for kernel, step in [(1, 1), *((2, 2**i) for i in range(self.blocks))]:
            x = Block(self.width, kernel, step)(x)
            seen += nn.Dense(self.width)(x[:, x.shape[1] - t :])  # the last ones, each of what it sees
        return nn.Dense(1)(seen)[..., 0]


class G(nn.Module):
    """Noise z [b, t + field - 1, c] and a condition [b, k] -> x [b, t, 1].

    The condition is beside the noise of the days before x and of its first one; behind it there are zeros, so that what
    it says fades away over the days. known: beside so many days' noise instead.
    """

    width: int = 80
    blocks: int = 6
    known: int = 0

    @nn.compact
    def __call__(self, z, condition, train=True):
        there = jnp.arange(z.shape[1]) < (self.known or field(self.blocks))
        said = jnp.concatenate([condition, jnp.ones_like(condition[:, :1])], 1)
        said = jnp.where(there[None, :, None], said[:, None], 0)
        return Net(self.width, self.blocks)(jnp.concatenate([z, said], 2))[..., None]


class D(nn.Module):
    """x [b, t, 1] and a condition [b, k], which is beside every day -> score [b].

    It is a mean over days t = 1, 2, ... of what the net says of a day and those before it, of which there are none
    before x: 0. Day t has a weight in proportion to 1 / t: of twice as many days the later half counts as the first.
    """

    width: int = 80
    blocks: int = 6

    @nn.compact
    def __call__(self, x, condition, train=True):
        said = jnp.broadcast_to(condition[:, None], (*x.shape[:2], condition.shape[1]))
        x = jnp.pad(jnp.concatenate([x, said], 2), ((0, 0), (field(self.blocks) - 1, 0), (0, 0)))
        scores = Net(self.width, self.blocks)(x)  # [b, t]
        weights = 1 / jnp.arange(1, scores.shape[1] + 1, dtype=scores.dtype)
        return scores @ (weights / weights.sum())
