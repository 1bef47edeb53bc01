"""Nets of an adversarial autoencoder of SMILES with a property y [b, 1]; characters are rows in which one number is 1.

Those of the AAE of MOSES (Polykovskiy et al. 2018, arXiv 1811.12823) with vectors of 32 numbers for characters, 512
units of E from each end, two layers of 512 units in G, codes of 128, and 640 and 256 units in D.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.data.tokens import END, PAD, UNK
from gan_jax.nets import sentences
from gan_jax.nets.conv import Conv
from gan_jax.nets.listings import drawn


class E(nn.Module):
    """Characters [b, t, v] and the place of the last one [b] -> code [b, z]: LSTMs from the front and from the back."""

    z_dim: int = 128
    dim: int = 32
    width: int = 512

    @nn.compact
    def __call__(self, x, last, train=True):
        x = nn.Dense(self.dim, use_bias=False)(x)
        from_end = (last[:, None] - jnp.arange(x.shape[1])[None]) % x.shape[1]  # behind the last, what doesn't count
        back = jnp.take_along_axis(x, from_end[..., None], 1)
        states = [sentences.read(self.width, way) for way in (x, back)]  # [b, t, width] each
        ends = [jnp.take_along_axis(of, last[:, None, None], 1)[:, 0] for of in states]
        return nn.Dense(self.z_dim)(jnp.concatenate(ends, 1))


class Character(nn.Module):
    """One character of G: ((states of the LSTMs, the one before [b, v], whether it was over [b, 1], y), given) -> ...

    ... (the same of the next one, (logits, it)). given [b, v]: the character itself, or with a tau the noise with which
    one is drawn; after the end it is padding.
    """

    dim: int
    width: int
    tau: float = 0.0  # 0: the character is given

    @nn.compact
    def __call__(self, carry, given):
        states, before, over, y = carry
        h, after = jnp.concatenate([nn.Dense(self.dim, use_bias=False)(before), y], 1), []
        for state in states:
            state, h = sentences.Cell(self.width)(state, nn.Dense(4 * self.width)(h))
            after.append(state)
        logits = nn.Dense(given.shape[-1])(h)
        word = given
        if self.tau:
            one = lambda which: nn.one_hot(which, given.shape[-1], dtype=given.dtype)[None]
            never = -1e9 * (one(PAD) + one(UNK))  # V has seen neither as a character, and G would please it with them
            word = jnp.where(over > 0, one(PAD), drawn(logits + never, given, self.tau))
            over = jnp.maximum(over, jax.lax.stop_gradient(word[:, END, None]))
        return (tuple(after), word, over, y), (logits, word)


class G(nn.Module):
    """Codes [b, z], properties y [b, 1], and characters or noise [b, t, v] -> logits, and characters [b, t, v].

    With a tau it draws its characters with the noise; without one it is told them, and each logit sees those before it.
    """

    dim: int = 32
    width: int = 512
    depth: int = 2

    @nn.compact
    def __call__(self, code, y, given, tau=0.0, train=True):
        c = nn.Dense(self.width)(jnp.concatenate([code, y], 1))
        y, given = (a.astype(c.dtype) for a in (y, given))
        states = ((c, jnp.zeros_like(c)),) * self.depth
        write = nn.scan(Character, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        first = states, jnp.zeros_like(given[:, 0]), jnp.zeros_like(y), y
        return write(self.dim, self.width, tau)(first, given)[1]


class D(nn.Module):
    """Codes [b, z] and properties y [b, 1] -> score [b]: whether a code was drawn, not read."""

    width: int = 640

    @nn.compact
    def __call__(self, code, y, train=True):
        h = jnp.concatenate([code, y], 1)
        for width in (self.width, self.width * 2 // 5):
            h = nn.elu(nn.Dense(width)(h))
        return nn.Dense(1)(h)[:, 0]


class V(nn.Module):
    """Characters [b, t, v] -> their property [b], and a score [b]: whether they are a molecule.

    Each sees six to each side, and all have a say.
    """

    width: int = 64

    @nn.compact
    def __call__(self, x, train=True):
        for _ in range(3):
            x = nn.relu(Conv(self.width, 5)(x))
        h = nn.relu(nn.Dense(self.width)(x.sum(1)))
        return tuple(nn.Dense(2)(h).T)
