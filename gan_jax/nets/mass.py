"""The net of adversarial deep structural networks (Zhu and Xie 2016, arXiv 1612.05970)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.nets.conv import Conv


def messages(q, x):
    """Return what the four neighbours of each pixel say: the sum of their q, and that of e^-|x - x'|^2 times their q.

    q [b, h, w, k], x [b, h, w, c] -> two of [b, h, w, k]; what lies outside of the picture says nothing.
    """
    h, w = x.shape[1:3]
    around = lambda a: jnp.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
    plain, alike = jnp.zeros_like(q), jnp.zeros_like(q)
    for i, j in ((0, 1), (2, 1), (1, 0), (1, 2)):
        near, other = (around(a)[:, i : i + h, j : j + w] for a in (q, x))
        plain += near
        alike += jnp.exp(-((x - other) ** 2).sum(3, keepdims=True)) * near
    return plain, alike


class FCN(nn.Module):
    """Pictures x, and those whose edges the CRF sees, [b, h, w, c] -> logits [b, h, w, 2].

    Two convolutions with pools, a layer of all they see, and one that draws all pixels; then a CRF's mean field.
    """

    channels: tuple[int, ...] = (44, 16, 335)  # of the convolutions and of the layer of all
    rounds: int = 5  # of the mean field in training, twice as many afterwards; 0: no CRF

    @nn.compact
    def __call__(self, x, edges, train=True):
        b, h, w, _ = x.shape
        for c in self.channels[:-1]:
            x = nn.max_pool(nn.tanh(Conv(c, 2, padding="VALID")(x)), (2, 2), (2, 2))
        x = nn.tanh(nn.Dense(self.channels[-1])(x.reshape(b, -1)))
        unary = logits = nn.Dense(h * w * 2)(x).reshape(b, h, w, 2)
        weight = lambda name: self.param(name, nn.initializers.zeros, (2,), jnp.float32).reshape(1, 1, 1, 2)
        weights = weight("smooth"), weight("contrast")
        for _ in range(self.rounds if train else 2 * self.rounds):
            said = sum(w * m for w, m in zip(weights, messages(jax.nn.softmax(logits), edges), strict=True))
            logits = unary - said[..., ::-1]  # Potts: what speaks for one label speaks against the other
        return logits
