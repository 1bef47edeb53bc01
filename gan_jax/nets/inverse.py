"""Nets for games with a way back from data to latents: E, x -> z, and a D of pairs (x, z).

Both stand on the `trunk` of other nets, (x [b, ...], train) -> features [b, ...]: `vaegan.Trunk`, `small.Trunk`.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets import mlp


class E(nn.Module):
    """x [b, ...] -> z [b, z]: a linear layer on the features."""

    trunk: nn.Module
    z_dim: int

    @nn.compact
    def __call__(self, x, train=True):
        return mlp.MLP(self.z_dim, depth=0)(self.trunk(x, train))


class D(nn.Module):
    """x [b, ...], z [b, z] -> score [b]: a hidden layer of `width` units sees the features and z side by side."""

    trunk: nn.Module
    width: int = 128

    @nn.compact
    def __call__(self, x, z, train=True):
        features = self.trunk(x, train)
        pair = jnp.concatenate([features.reshape(features.shape[0], -1), z], 1)
        return mlp.MLP(1, self.width, depth=1)(pair)[:, 0]
