"""What reads sentences: word vectors that are normalised by how often words occur, and an LSTM that says a class.

Miyato, Dai and Goodfellow 2017, arXiv 1605.07725, as their code has it: the embedding is uniform in [-1, 1] at first,
the LSTM forgets with a bias of 0, and of its states the last one alone goes through a hidden layer to the logits.
"""

import flax.linen as nn
import jax.numpy as jnp


def normalised(table, frequencies):
    """Return word vectors [v, d] shifted and scaled to mean 0 and variance 1 over words as frequent as these [v]."""
    weights = (frequencies / frequencies.sum())[:, None]  # [v, 1]
    mean = (weights * table).sum(0, keepdims=True)  # [1, d]
    variance = (weights * (table - mean) ** 2).sum(0, keepdims=True)
    return (table - mean) / jnp.sqrt(1e-6 + variance)


def uniform(key, shape, dtype=jnp.float32):
    return nn.initializers.uniform(2.0)(key, shape, dtype) - 1


class Embedding(nn.Module):
    """The frequencies of words [v] -> their normalised vectors [v, dim]."""

    dim: int

    @nn.compact
    def __call__(self, frequencies, train=True):
        return normalised(self.param("table", uniform, (len(frequencies), self.dim)), frequencies)


class Cell(nn.Module):
    """One step of an LSTM: ((c, h), what the input gives the gates [b, 4 width]) -> ((c, h), h), each [b, width]."""

    width: int

    @nn.compact
    def __call__(self, state, x):
        c, h = state
        i, f, g, o = jnp.split(x + nn.Dense(4 * self.width, use_bias=False)(h), 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h


def read(width, x):
    """Return the states [b, t, width] of an LSTM over x [b, t, d]; for use inside a module."""
    lstm = nn.scan(Cell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
    gates = nn.Dense(4 * width)(x)  # in the type of the weights, where that is a larger one
    zero = jnp.zeros((x.shape[0], width), gates.dtype)
    return lstm(width)((zero, zero), gates)[1]


class Classifier(nn.Module):
    """Words as vectors [b, t, d] and the place of the last one [b] -> logits [b, classes]."""

    classes: int
    width: int = 1024
    hidden: int = 30

    @nn.compact
    def __call__(self, x, last, train=True):
        states = read(self.width, x)  # [b, t, width]
        end = jnp.take_along_axis(states, last[:, None, None], 1)[:, 0]  # [b, width]
        end = nn.relu(nn.Dense(self.hidden)(end))
        return nn.Dense(self.classes)(end)
