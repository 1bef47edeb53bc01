"""C-RNN-GAN's nets (Mogren 2016, arXiv 1611.09904): an LSTM that writes tones, and one that reads them from both ends.

LSTMs stand two above each other and begin with zeros; their gates remember at first, by a bias of 1.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Cells(nn.Module):
    """One step of k stacks of LSTMs side by side: ((c, h) of each layer, x [k, b, i]) -> (the same, h [k, b, w])."""

    width: int

    @nn.compact
    def __call__(self, state, x):
        after, start = [], nn.initializers.glorot_uniform(1, 2, batch_axis=0)
        for j, (c, h) in enumerate(state):
            seen = jnp.concatenate([x, h], -1)
            shape = len(x), seen.shape[-1], 4 * self.width
            kernel = self.param(f"kernel_{j}", start, shape, jnp.float32)
            bias = self.param(f"bias_{j}", nn.initializers.zeros, (len(x), 1, shape[2]), jnp.float32)
            i, f, g, o = jnp.split(seen @ kernel + bias, 4, axis=-1)
            c = nn.sigmoid(f + 1) * c + nn.sigmoid(i) * jnp.tanh(g)
            x = nn.sigmoid(o) * jnp.tanh(c)
            after.append((c, x))
        return tuple(after), x


def zeros(k, b, width, depth, dtype):
    """Return the states with which k stacks begin."""
    return tuple((jnp.zeros((k, b, width), dtype),) * 2 for _ in range(depth))


class Tone(nn.Module):
    """One tone of G: ((the LSTMs' state, its tone before), (noise, a tone given)) -> (the same, the tone); each [b, f].

    It sees the tone given, or where that is None its own before.
    """

    width: int

    @nn.compact
    def __call__(self, carry, given):
        (state, before), (noise, given) = carry, given
        seen = nn.relu(nn.Dense(self.width)(jnp.concatenate([noise, before if given is None else given], -1)))
        state, h = Cells(self.width)(state, seen[None])
        tone = nn.Dense(before.shape[-1])(h[0])
        return (state, tone), tone


class G(nn.Module):
    """Noise [b, 1 + t, f] -> tones [b, t, f], each told the one before; the first row of noise stands before the first.

    given [b, t, f]: true tones, which are seen in the place of its own (teacher forcing).
    """

    width: int
    depth: int = 2

    @nn.compact
    def __call__(self, noise, given=None, train=True):
        first, noise = noise[:, 0], noise[:, 1:]
        before = None if given is None else jnp.concatenate([first[:, None], given[:, :-1]], 1)
        state = zeros(1, len(noise), self.width, self.depth, noise.dtype)
        axes = {"in_axes": 1, "out_axes": 1, "split_rngs": {"params": False}}
        return nn.scan(Tone, variable_broadcast="params", **axes)(self.width)((state, first), (noise, before))[1]


class D(nn.Module):
    """Tones [b, t, f] -> (score [b], features [b, t, 2 width]), what was read from both ends up to each tone.

    The features say a probability at each tone; the sigmoid of the score is their mean.
    """

    width: int
    depth: int = 2

    @nn.compact
    def __call__(self, x, train=True):
        state = zeros(2, len(x), self.width, self.depth, x.dtype)
        axes = {"in_axes": 2, "out_axes": 2, "split_rngs": {"params": False}}
        lstms = nn.scan(Cells, variable_broadcast="params", **axes)(self.width)
        there, back = lstms(state, jnp.stack([x, x[:, ::-1]]))[1]  # [b, t, width] each
        features = jnp.concatenate([there, back[:, ::-1]], -1)
        each = nn.Dense(1)(features)[..., 0]
        yes, no = (jax.nn.logsumexp(nn.log_sigmoid(score), 1) for score in (each, -each))
        return yes - no, features
