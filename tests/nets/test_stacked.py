"""The nets of the 1000-mode experiment: their published sizes, packs by hand, images of other sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError
from gan_jax.nets import inverse, stacked


def parameters(net, *inputs):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]))


def test_published_sizes():
    """PacGAN's re-creation prints 287,875 for G, and 585, 1,889 and 6,657 for D at a quarter, half and all of G's width."""
    x = jnp.zeros((2, 28, 28, 3))
    assert parameters(stacked.G((28, 28, 3)), jnp.zeros((2, 256))) == 287_875
    assert [parameters(stacked.D(width), x) for width in (2, 4, 8)] == [585, 1889, 6657]


def test_packs_widen_the_first_layer_only():
    """A D of packs of m has 3 (m - 1) more channels to see: 9 * 3 * width parameters for each further row."""
    x = jnp.zeros((12, 28, 28, 3))
    sizes = [parameters(stacked.Packed(stacked.D(2), m), x) for m in (1, 2, 3, 4)]
    assert np.diff(sizes).tolist() == [9 * 3 * 2] * 3


@pytest.mark.parametrize("shape", [(2,), (5, 4, 3)])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_packs_by_hand(shape, m):
    """Row i of the net's input is rows m i, ..., m i + m - 1 of x, side by side along the last axis."""
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)

    class Seen(stacked.nn.Module):
        @stacked.nn.compact
        def __call__(self, x, train=True):
            return x

    seen = stacked.Packed(Seen(), m).apply({}, x)
    by_hand = [np.concatenate([x[m * i + j] for j in range(m)], axis=-1) for i in range(6 // m)]
    np.testing.assert_array_equal(seen, np.stack(by_hand))


def test_a_pack_s_score_is_its_own():
    """Without batch norm a score depends on the rows of its pack and on no other, and on all of those."""
    D = stacked.Packed(stacked.D(2, norm=False), 2)
    x = jax.random.normal(jax.random.key(0), (6, 8, 8, 1))
    variables = jax.jit(D.init)(jax.random.key(1), x)
    slopes = jax.jit(jax.jacobian(lambda x: D.apply(variables, x)))(x)  # [pack, row, ...]
    depends = np.abs(slopes).max((2, 3, 4)) > 0
    np.testing.assert_array_equal(depends, np.kron(np.eye(3), np.ones((1, 2))).astype(bool))


def test_check_packs():
    """A multiple passes; another batch is refused in a line."""
    stacked.check_packs(12, 3)
    with pytest.raises(UserError, match="a batch of 128 can't be cut into packs of 3"):
        stacked.check_packs(128, 3)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (12, 30, 2), (1, 1, 2)], ids=str)
def test_other_sizes(shape):
    """G gives images of any size in [-1, 1], D a score each, with and without what it may see of the batch."""
    z = 100 * jax.random.normal(jax.random.key(0), (4, 6))  # far out, so that a missing tanh shows
    G, Ds = stacked.G(shape, width=2), (stacked.D(2), stacked.D(2, std=True), stacked.Packed(stacked.D(2), 2))
    x, _ = jax.jit(G.init_with_output)(jax.random.key(1), z)
    assert x.shape == (4, *shape) and x.dtype == jnp.float32 and 0.01 < np.abs(x).max() <= 1
    for D, n in zip(Ds, (4, 4, 2), strict=True):
        assert jax.eval_shape(D.init_with_output, jax.random.key(2), x)[0].shape == (n,)


def test_inverse():
    """E maps images to codes, and a score of a pair depends on both its halves, its code's effect on the image too."""
    x, z = jax.random.normal(jax.random.key(0), (4, 8, 8, 1)), jax.random.normal(jax.random.key(1), (4, 3))
    E, D = inverse.E(stacked.Trunk(2), 3), inverse.D(stacked.Trunk(2), 8)
    assert jax.eval_shape(E.init_with_output, jax.random.key(2), x)[0].shape == (4, 3)
    variables = jax.jit(D.init)(jax.random.key(3), x, z)
    score = jax.jit(lambda x, z: D.apply(variables, x, z, train=False))
    assert score(x, z).shape == (4,) and (score(x, z) != score(x, -z)).all()
    interaction = score(x, z) - score(x, -z) - score(-x, z) + score(-x, -z)  # 0 where D is a sum of two scores
    assert np.abs(interaction).min() > 1e-4
