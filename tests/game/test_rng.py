"""Keys are a function of (root, step, name) and of nothing else."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gan_jax.game import rng

ROOT = jax.random.key(0)


def data(key):
    return jax.random.key_data(key).tolist()


def test_all_differ():
    """Two keys of another root, step or name are never the same."""
    at = itertools.product(range(5), range(50), ("z", "g", "d", "data", "augment", "penalty", "evaluate"))
    keys = {tuple(data(rng.at(jax.random.key(root), step, name))) for root, step, name in at}
    assert len(keys) == 5 * 50 * 7


def test_unlike_the_root():
    """No key is the root itself."""
    assert data(rng.at(ROOT, 0, "z")) != data(ROOT)


@pytest.mark.parametrize(
    "step, name, expected",
    [
        (0, "z", [3889757060, 3626258930]),
        (3, "z", [2055977132, 1260652081]),
        (2**31 - 1, "augment", [3649500614, 2230738339]),
    ],
)
def test_pinned(step, name, expected):
    """The same keys as ever, on every version of jax: a resumed run draws what it would have drawn."""
    assert data(rng.at(ROOT, step, name)) == expected


def test_a_new_name_moves_no_other():
    """The noise of one name is independent of which other names are drawn, and in what order."""
    alone = [data(rng.at(ROOT, step, "z")) for step in range(4)]
    beside = []
    for step in range(4):
        rng.at(ROOT, step, "new")
        beside.append(data(rng.at(ROOT, step, "z")))
        rng.at(ROOT, step, "newer")
    assert alone == beside


def test_under_jit_and_vmap():
    """The same key for a Python step, an array step, under jit and under vmap over steps and over roots."""
    steps, roots = jnp.arange(4), jax.random.split(ROOT, 3)
    expected = [data(rng.at(ROOT, step, "z")) for step in range(4)]
    assert [data(rng.at(ROOT, step, "z")) for step in steps] == expected
    assert [data(jax.jit(rng.at, static_argnums=2)(ROOT, step, "z")) for step in range(4)] == expected
    assert data(jax.vmap(lambda step: rng.at(ROOT, step, "z"))(steps)) == expected
    assert data(jax.vmap(lambda root: rng.at(root, 2, "z"))(roots)) == [data(rng.at(root, 2, "z")) for root in roots]


def test_neighbours_are_independent():
    """Normal draws of neighbouring steps and of two names are uncorrelated, with mean 0 and variance 1."""
    draw = lambda name: jax.vmap(lambda step: jax.random.normal(rng.at(ROOT, step, name)))(jnp.arange(5000))
    z, other = np.asarray(draw("z")), np.asarray(draw("data"))
    for a, b in ((z[1:], z[:-1]), (z, other), (z[1:], other[:-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(5000)
    assert abs(z.mean()) < 4 / np.sqrt(5000) and abs(z.var() - 1) < 4 * np.sqrt(2 / 5000)


def test_noise_is_float32_under_x64():
    """The numbers of `jax.random`, bit for bit, in float32 with JAX_ENABLE_X64 as without."""
    drawn = lambda: (rng.normal(ROOT, (3, 2)), rng.uniform(ROOT, (4,), minval=-1), rng.uniform(ROOT))
    usual = jax.random.normal(ROOT, (3, 2)), jax.random.uniform(ROOT, (4,), minval=-1), jax.random.uniform(ROOT)
    with jax.enable_x64(True):
        wide = drawn()
    for found in (drawn(), wide):
        for one, expected in zip(found, usual, strict=True):
            assert one.dtype == np.float32 and one.shape == expected.shape
            np.testing.assert_array_equal(np.asarray(one), np.asarray(expected))


@pytest.mark.parametrize("cut", [0.04, 0.5, 2.0, 9.0])
def test_truncated(cut):
    """A normal distribution between the cuts: no number beyond, and the distribution function is SciPy's."""
    z = np.asarray(rng.truncated(ROOT, (4000,), cut))
    assert z.dtype == np.float32 and np.abs(z).max() <= np.float32(cut)
    assert scipy.stats.kstest(z, scipy.stats.truncnorm(-cut, cut).cdf).pvalue > 1e-3
