"""Nets of GANs of short strings: LSTMs that write tokens one by one, softly or for good, and LSTMs that read them."""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.data.tokens import PAD
from gan_jax.nets import sentences
from gan_jax.nets.listings import drawn


class Soft(nn.Module):
    """One soft token: ((state of the LSTM, the token before [b, v]), noise [b, v], tau) -> ((state, token), token)."""

    width: int
    hard: bool = False

    @nn.compact
    def __call__(self, carry, gumbel, tau):
        state, before = carry
        state, h = sentences.Cell(self.width)(state, nn.Dense(4 * self.width)(before))
        logits = nn.Dense(gumbel.shape[-1])(h)
        token = drawn(logits, gumbel, tau) if self.hard else nn.softmax((logits + gumbel) / tau)
        return (state, token), token


class SoftG(nn.Module):
    """Latent [b, 2 width], Gumbel noise [b, t, v] and a temperature -> soft tokens [b, t, v].

    The latent is the LSTM's first state; each token is a sample of the Gumbel-softmax distribution (Jang, Gu and Poole
    2017, arXiv 1611.01144), and is what the LSTM sees next (Kusner and Hernandez-Lobato 2016, arXiv 1611.04051).
    """

    width: int
    hard: bool = False

    @nn.compact
    def __call__(self, z, gumbel, tau, train=True):
        state = tuple(jnp.split(z, 2, axis=-1))
        axes = {"in_axes": (1, nn.broadcast), "out_axes": 1}
        write = nn.scan(Soft, variable_broadcast="params", split_rngs={"params": False}, **axes)
        return write(self.width, self.hard)((state, jnp.zeros_like(gumbel[:, 0])), gumbel, tau)[1]


class SoftD(nn.Module):
    """Soft or hard tokens [b, t, v] -> score [b]: an LSTM, asked after the last one."""

    width: int

    @nn.compact
    def __call__(self, x, train=True):
        states = sentences.read(self.width, x)  # [b, t, width]
        return nn.Dense(1)(states[:, -1])[:, 0]


class Token(nn.Module):
    """One token: ((state of the LSTM, the token before [b]), given [b], noise [b, v], free) -> log p [b] and token [b].

    The token is given, or, where it is free, drawn with Gumbel noise by its probabilities.
    """

    classes: int
    dim: int
    width: int

    @nn.compact
    def __call__(self, carry, given, gumbel, free):
        state, before = carry
        gates = nn.Dense(4 * self.width)(nn.Embed(self.classes, self.dim)(before))
        state, h = sentences.Cell(self.width)(state, gates)
        logits = nn.Dense(self.classes)(h)
        token = jnp.where(free, (logits + gumbel).argmax(-1).astype(given.dtype), given)
        log_p = jnp.take_along_axis(nn.log_softmax(logits), token[:, None], 1)[:, 0]
        return (state, token), (log_p, token)


class G(nn.Module):
    """Tokens [b, t], noise [b, t, v or 1], and which are free, bool [t] -> log p of each token, and the tokens [b, t].

    Each is drawn where it is free, else it is the given one; log p is that after the tokens before it. Noise is for
    free ones alone. The first state is learned.
    """

    classes: int
    dim: int
    width: int

    @nn.compact
    def __call__(self, given, gumbel, free, train=True):
        start = self.param("start", nn.initializers.zeros, (2 * self.width,), jnp.float32)
        state = jnp.split(jnp.broadcast_to(start[None], (len(given), 2 * self.width)), 2, axis=-1)
        axes = {"in_axes": (1, 1, 0), "out_axes": 1}
        write = nn.scan(Token, variable_broadcast="params", split_rngs={"params": False}, **axes)
        carry = tuple(state), jnp.full_like(given[:, 0], PAD)
        return write(self.classes, self.dim, self.width)(carry, given, gumbel, free)[1]


class D(nn.Module):
    """Tokens [b, t] -> score [b]: an LSTM from each end, asked at the other one."""

    classes: int
    dim: int
    width: int

    @nn.compact
    def __call__(self, x, train=True):
        words = nn.Embed(self.classes, self.dim)(x)  # [b, t, dim]
        ends = [sentences.read(self.width, way)[:, -1] for way in (words, words[:, ::-1])]
        return nn.Dense(1)(jnp.concatenate(ends, -1))[:, 0]
