"""The nets of robust LSTM autoencoders (Zhao et al. 2016, arXiv 1612.08534), for pictures of any size.

An LSTM in two directions reads patches row by row: each place sees the states of the one above and of the one on its
left. It reads a patch beside a patch twice as large, shrunk. From its last states two other LSTMs begin: one adds to a
face in every step, and one, which sees the first one's hidden states, adds to a map of what is occluded. All have two
layers. D and the net of people, of which the authors' are GoogLeNets, are `nets.dcgan` and `nets.tpgan`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import UserError
from gan_jax.game import rng

REMEMBERED = 5.0  # the forget bias of the LSTMs that decode


def small(key, shape, dtype=jnp.float32):
    """Return weights that are even in [-0.01, 0.01]."""
    return rng.uniform(key, shape, minval=-0.01, maxval=0.01).astype(dtype)


def patches(x, side):
    """Return the patches of x [b, h, w, c], and those of twice the side around them, shrunk: [n, m, b, 2 side^2 c].

    The last of a row or a column end where the picture does; so do the larger ones. Raises UserError where these don't
    fit into the picture.
    """
    h, w = x.shape[1:3]
    if 2 * side > min(h, w):
        raise UserError(f"patches of {side} pixels are too large for {h}x{w}: those around them are twice as large.")

    def along(length, wide):
        starts = [min(i * side, length - side) for i in range(-(-length // side))]
        return [min(max(i - side // 2, 0), length - wide) for i in starts] if wide > side else starts

    def cut(wide):
        rows = [[x[:, i : i + wide, j : j + wide] for j in along(w, wide)] for i in along(h, wide)]
        return jnp.stack([jnp.stack(row) for row in rows])  # [n, m, b, wide, wide, c]

    near, far = cut(side), cut(2 * side)
    far = far.reshape(*far.shape[:3], side, 2, side, 2, far.shape[-1]).mean((4, 6))
    return jnp.concatenate([a.reshape(*a.shape[:3], -1) for a in (near, far)], 3)


class Plane(nn.Module):
    """x [n, m, b, i] -> (hidden states [n, m, b, width], the last place's (cell, hidden state))."""

    width: int

    @nn.compact
    def __call__(self, x):
        gates = nn.Dense(5 * self.width, kernel_init=small)(x)
        across, down = (self.param(name, small, (self.width, 5 * self.width)) for name in ("across", "down"))
        zero = jnp.zeros((x.shape[2], self.width), x.dtype)

        def cell(left, given):
            (c_above, h_above), gates = given
            of = jnp.split(gates + left[1] @ across + h_above @ down, 5, -1)
            i, keep_left, keep_above, o = map(nn.sigmoid, of[:4])
            c = keep_left * left[0] + keep_above * c_above + i * jnp.tanh(of[4])
            state = c, o * jnp.tanh(c)
            return state, state

        def row(above, gates):
            states = jax.lax.scan(cell, (zero, zero), (above, gates))[1]  # [m, b, width] each
            return states, states[1]

        first = (jnp.zeros((x.shape[1], *zero.shape), x.dtype),) * 2
        (c, h), hidden = jax.lax.scan(row, first, gates)
        return hidden, (c[-1], h[-1])


class Line(nn.Module):
    """A first (cell, hidden state), inputs of t more steps [t, b, i], or just t -> hidden states [t + 1, b, width]."""

    width: int

    @nn.compact
    def __call__(self, start, inputs):
        recurrent = self.param("recurrent", small, (self.width, 4 * self.width))
        if isinstance(inputs, int):
            bias = self.param("bias", nn.initializers.zeros, (1, 1, 4 * self.width), jnp.float32)
            gates = jnp.broadcast_to(bias, (inputs, *start[1].shape[:1], 4 * self.width))
        else:
            gates = nn.Dense(4 * self.width, kernel_init=small)(inputs)

        def cell(state, gates):
            i, f, o, g = jnp.split(gates + state[1] @ recurrent, 4, -1)
            c = nn.sigmoid(f + REMEMBERED) * state[0] + nn.sigmoid(i) * jnp.tanh(g)
            h = nn.sigmoid(o) * jnp.tanh(c)
            return (c, h), h

        return jnp.concatenate([start[1][None], jax.lax.scan(cell, start, gates)[1]])


class G(nn.Module):
    """Occluded faces [b, h, w, c] -> faces [b, h, w, c] in [-1, 1]; what is occluded, [b, h, w, 1] in [0, 1]."""

    side: int = 32  # of a patch, in pixels
    width: int = 2048  # of all states
    steps: int = 8  # in which a face is drawn

    @nn.compact
    def __call__(self, x, train=True):
        states, first = Plane(self.width)(patches((x + 1) / 2, self.side))
        _, second = Plane(self.width)(states)
        inner = Line(self.width)(first, self.steps - 1)
        drawn = Line(self.width)(second, inner[1:])
        seen = Line(self.width)(first, inner[1:])
        seen = Line(self.width)(second, seen[1:])
        of = lambda shape, x: nn.sigmoid(nn.Dense(math.prod(shape[1:]), kernel_init=small)(x.sum(0))).reshape(shape)
        return 2 * of(x.shape, drawn) - 1, of((*x.shape[:3], 1), seen)
