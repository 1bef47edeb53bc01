"""The nets of the 1000-mode experiment: their published sizes, images of other sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.nets import inverse, packs, small


def parameters(net, *inputs):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]))


def test_published_sizes():
    """PacGAN's re-creation prints 287,875 for G, and 585, 1,889 and 6,657 for D at a quarter, half and all of G's width."""
    x = jnp.zeros((2, 28, 28, 3))
    assert parameters(small.G((28, 28, 3)), jnp.zeros((2, 256))) == 287_875
    assert [parameters(small.D(width), x) for width in (2, 4, 8)] == [585, 1889, 6657]


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (12, 30, 2), (1, 1, 2)], ids=str)
def test_other_sizes(shape):
    """G gives images of any size in [-1, 1], D a score each, with and without what it may see of the batch."""
    z = 100 * jax.random.normal(jax.random.key(0), (4, 6))  # far out, so that a missing tanh shows
    G, Ds = small.G(shape, width=2), (small.D(2), small.D(2, std=True), packs.Packed(small.D(2), 2))
    x, _ = jax.jit(G.init_with_output)(jax.random.key(1), z)
    assert x.shape == (4, *shape) and x.dtype == jnp.float32 and 0.01 < np.abs(x).max() <= 1
    for D, n in zip(Ds, (4, 4, 2), strict=True):
        assert jax.eval_shape(D.init_with_output, jax.random.key(2), x)[0].shape == (n,)


def test_inverse():
    """E maps images to codes, and a score of a pair depends on both its halves, its code's effect on the image too."""
    x, z = jax.random.normal(jax.random.key(0), (4, 8, 8, 1)), jax.random.normal(jax.random.key(1), (4, 3))
    E, D = inverse.E(small.Trunk(2), 3), inverse.D(small.Trunk(2), 8)
    assert jax.eval_shape(E.init_with_output, jax.random.key(2), x)[0].shape == (4, 3)
    variables = jax.jit(D.init)(jax.random.key(3), x, z)
    score = jax.jit(lambda x, z: D.apply(variables, x, z, train=False))
    assert score(x, z).shape == (4,) and (score(x, z) != score(x, -z)).all()
    interaction = score(x, z) - score(x, -z) - score(-x, z) + score(-x, -z)  # 0 where D is a sum of two scores
    assert np.abs(interaction).min() > 1e-4
