"""MidiNet's nets (Yang, Chou and Yang 2017, arXiv 1703.10847), as the authors' code has them, for a bar of 16 steps.

A bar is a roll [b, 16, pitches]. Every layer but the last spans one column of pitches, so that convolutions are along
time; the first ones of the conditioner and of D span all pitches, which are channels here. Layers with batch norm have
no bias of their own.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.nets.conv import Conv, ConvTranspose
from gan_jax.nets.layers import leaky, normal
from gan_jax.nets.layers import plain_batch_norm as norm

SEEN = 16  # channels of what is read of the bar before


def beside(x, chord):
    """Return x [b, ..., c] with the chord [b, y] as more channels everywhere."""
    chord = chord.reshape(len(x), *(1,) * (x.ndim - 2), -1)
    return jnp.concatenate([x, jnp.broadcast_to(chord, (*x.shape[:-1], chord.shape[-1]))], -1)


class G(nn.Module):
    """Latent [b, z], chord [b, y], the bar before [b, 16, pitches] -> probabilities [b, 16, pitches].

    everywhere: the bar before is told to every layer of transposed convolutions; else to the last one alone.
    """

    width: int = 64
    hidden: int = 1024
    everywhere: bool = True

    @nn.compact
    def __call__(self, z, chord, before, train=True):
        dense = lambda x, n: nn.relu(norm(nn.Dense(n, use_bias=False, kernel_init=normal)(x), train))
        read = lambda x, n: leaky(norm(Conv(SEEN, n, n, "VALID", use_bias=False, kernel_init=normal)(x), train))
        seen = [read(before, 1)]
        for _ in range(3):
            seen.append(read(seen[-1], 2))  # [b, 8, 16], [b, 4, 16], [b, 2, 16]
        x = dense(beside(dense(beside(z, chord), self.hidden), chord), 4 * self.width).reshape(len(z), 2, -1)
        for level in seen[:0:-1]:
            x = beside(x, chord)
            x = jnp.concatenate([x, level], -1) if self.everywhere else x
            x = ConvTranspose(2 * self.width, 2, 2, "VALID", use_bias=False, kernel_init=normal)(x)
            x = nn.relu(norm(x, train))
        x = jnp.concatenate([beside(x, chord), seen[0]], -1)
        x = ConvTranspose(before.shape[-1], 1, use_bias=False, kernel_init=normal)(x)
        return nn.sigmoid(x + self.param("bias", nn.initializers.zeros, (1, 1, 1), jnp.float32))


class D(nn.Module):
    """A bar x [b, 16, pitches], chord [b, y] -> (score [b], features of the first layer [b, 8, 1 + y])."""

    width: int = 64
    hidden: int = 1024

    @nn.compact
    def __call__(self, x, chord, train=True):
        x = beside(x[..., None], chord).reshape(*x.shape[:2], -1)  # the chord at every step and pitch
        features = leaky(Conv(1 + chord.shape[1], 2, 2, "VALID", kernel_init=normal)(x))
        x = Conv(self.width + chord.shape[1], 4, 2, "VALID", use_bias=False, kernel_init=normal)(
            beside(features, chord)
        )
        x = beside(leaky(norm(x, train)).reshape(len(x), -1), chord)
        x = leaky(norm(nn.Dense(self.hidden, use_bias=False, kernel_init=normal)(x), train))
        return nn.Dense(1, kernel_init=normal)(beside(x, chord))[:, 0], features
