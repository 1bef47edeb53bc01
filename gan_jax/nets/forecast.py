"""Recurrent nets that forecast demand: a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) reads days."""

import flax.linen as nn
import jax
import jax.numpy as jnp

DAY = 24  # hours


def days(x):
    """Return hours x [b, t, 1] as days [b, t / 24, 24]."""
    return x.reshape(len(x), -1, DAY)


def last(cell, x):
    """Return what a recurrent cell keeps [b, features] of a row x [b, t, c], from zeros on, in the type of x."""
    return nn.RNN(cell, return_carry=True)(x, initial_carry=jnp.zeros((len(x), cell.features), x.dtype))[0]


class G(nn.Module):
    """Hours past [b, t, 1], a place y [b] and z [b, z] -> the hours that follow [b, hours, 1].

    All is about the mean of the past. What the unit says of all days goes with the last day and the one a week before
    the day to come through a hidden layer, and beside it.
    """

    classes: int
    hours: int = DAY
    width: int = 64

    @nn.compact
    def __call__(self, past, y, z, train=True):
        level = past.mean(1)  # [b, 1]
        seen = days(past - level[:, None])
        read = last(nn.GRUCell(self.width), seen)
        place = jax.nn.one_hot(y, self.classes, dtype=past.dtype)
        said = jnp.concatenate([read, seen[:, -1], seen[:, -7], place, level, z], 1)
        hidden = nn.relu(nn.Dense(2 * self.width)(said))
        return nn.Dense(self.hours)(jnp.concatenate([hidden, said], 1))[..., None] + level[:, None]


class D(nn.Module):
    """Hours past [b, t, 1], a place y [b] and the hours that follow x [b, hours, 1] -> score [b]."""

    classes: int
    width: int = 64

    @nn.compact
    def __call__(self, past, y, x, train=True):
        level = past.mean(1)
        whole = days(jnp.concatenate([past, x], 1) - level[:, None])
        seen = last(nn.GRUCell(self.width), whole)
        place = jax.nn.one_hot(y, self.classes, dtype=x.dtype)
        h = jnp.concatenate([seen, whole[:, -1], place, level], 1)
        h = nn.relu(nn.Dense(2 * self.width)(h))
        return nn.Dense(1)(h)[:, 0]
