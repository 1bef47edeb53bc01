"""Nets of a GAN of short texts, tokens as rows [b, t, v] in which one number is 1: an LSTM writes, another one reads.

G draws by the Gumbel-max trick: the token is the largest of its logits and noise, and its gradient that of the softmax
(straight through; Jang, Gu and Poole 2017, arXiv 1611.01144). What it drew is what it sees next.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.data.tokens import UNK
from gan_jax.nets import sentences


def drawn(logits, gumbel, tau):
    """Return the largest of logits and noise [b, v] as 1 among 0, with the gradient of a softmax at temperature tau."""
    soft = nn.softmax((logits + gumbel) / tau)
    hard = nn.one_hot(soft.argmax(-1), soft.shape[-1], dtype=soft.dtype)
    return hard + (soft - jax.lax.stop_gradient(soft))


class Word(nn.Module):
    """One word of G: ((state of the LSTM, the word before [b, v]), given) -> ((state, word), (logits, word)).

    given [b, v]: the word itself, or noise with which one is drawn at the temperature tau.
    """

    dim: int
    width: int
    tau: float = 0.0  # 0: the word is given

    @nn.compact
    def __call__(self, carry, given):
        state, before = carry
        gates = nn.Dense(4 * self.width)(nn.Dense(self.dim, use_bias=False)(before))
        state, h = sentences.Cell(self.width)(state, gates)
        logits = nn.Dense(given.shape[-1])(h)
        # listings have words that the vocabulary lacks, but nobody can read one
        word = drawn(logits.at[:, UNK].add(-1e9), given, self.tau) if self.tau else given
        return (state, word), (logits, word)


class G(nn.Module):
    """Labels y [b], and words or noise [b, t, v] -> logits, and words [b, t, v].

    With a tau it draws its words with the noise; without one it is told them, and each logit sees those before it.
    """

    labels: int
    dim: int
    width: int

    @nn.compact
    def __call__(self, y, given, tau=0.0, train=True):
        asked = nn.one_hot(y, self.labels, dtype=given.dtype)
        state = jnp.split(nn.Dense(2 * self.width)(asked), 2, axis=-1)
        write = nn.scan(Word, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        return write(self.dim, self.width, tau)((tuple(state), jnp.zeros_like(given[:, 0])), given)[1]


class D(nn.Module):
    """Words [b, t, v] and labels y [b] -> score [b]: an LSTM, asked after the last one."""

    labels: int
    dim: int
    width: int

    @nn.compact
    def __call__(self, x, y, train=True):
        asked = jnp.broadcast_to(nn.one_hot(y, self.labels, dtype=x.dtype)[:, None], (*x.shape[:2], self.labels))
        words = nn.Dense(self.dim, use_bias=False)(x)
        states = sentences.read(self.width, jnp.concatenate([words, asked], -1))  # [b, t, width]
        return nn.Dense(1)(states[:, -1])[:, 0]


class Bag(nn.Module):
    """Words [b, t, v] -> logits [b, labels]: each word says so much for each label, whatever stands beside it."""

    labels: int

    @nn.compact
    def __call__(self, x, train=True):
        return nn.Dense(self.labels)(x.sum(1))
