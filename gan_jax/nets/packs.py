"""A D that judges several rows together, as PacGAN's (Lin et al. 2018, arXiv 1712.04086)."""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.errors import UserError


class Packed(nn.Module):
    """x [b, ...] -> scores [b / m] of `net`, which sees m rows at once, joined along the last axis.

    A D of samples in packs tells a collapsed G by their likeness.
    """

    net: nn.Module
    m: int

    @nn.compact
    def __call__(self, x, train=True):
        packs = jnp.moveaxis(x.reshape(-1, self.m, *x.shape[1:]), 1, -2)  # [b / m, ..., m, c]
        return self.net(packs.reshape(*packs.shape[:-2], -1), train)


def check(b: int, m: int):
    """Raise UserError where a batch of b rows can't be cut into packs of m."""
    if b % m:
        raise UserError(f"a batch of {b} can't be cut into packs of {m}: choose a --batch-size that is a multiple.")
