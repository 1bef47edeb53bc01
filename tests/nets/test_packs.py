"""Packs of rows: what D sees of them by hand, how many parameters that costs, which batches can be cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError
from gan_jax.nets import packs, small


def test_packs_widen_the_first_layer_only():
    """A D of packs of m has 3 (m - 1) more channels to see: 9 * 3 * width parameters for each further row."""
    x = jnp.zeros((12, 28, 28, 3))
    count = lambda net: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)["params"]))
    sizes = [count(packs.Packed(small.D(2), m)) for m in (1, 2, 3, 4)]
    assert np.diff(sizes).tolist() == [9 * 3 * 2] * 3


@pytest.mark.parametrize("shape", [(2,), (5, 4, 3)])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_packs_by_hand(shape, m):
    """Row i of the net's input is rows m i, ..., m i + m - 1 of x, side by side along the last axis."""
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)

    class Seen(packs.nn.Module):
        @packs.nn.compact
        def __call__(self, x, train=True):
            return x

    seen = packs.Packed(Seen(), m).apply({}, x)
    by_hand = [np.concatenate([x[m * i + j] for j in range(m)], axis=-1) for i in range(6 // m)]
    np.testing.assert_array_equal(seen, np.stack(by_hand))


def test_a_pack_s_score_is_its_own():
    """Without batch norm a score depends on the rows of its pack and on no other, and on all of those."""
    D = packs.Packed(small.D(2, norm=False), 2)
    x = jax.random.normal(jax.random.key(0), (6, 8, 8, 1))
    variables = jax.jit(D.init)(jax.random.key(1), x)
    slopes = jax.jit(jax.jacobian(lambda x: D.apply(variables, x)))(x)  # [pack, row, ...]
    depends = np.abs(slopes).max((2, 3, 4)) > 0
    np.testing.assert_array_equal(depends, np.kron(np.eye(3), np.ones((1, 2))).astype(bool))


def test_check_packs():
    """A multiple passes; another batch is refused in a line."""
    packs.check(12, 3)
    with pytest.raises(UserError, match="a batch of 128 can't be cut into packs of 3"):
        packs.check(128, 3)
