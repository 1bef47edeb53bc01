"""The order of records: each epoch is a permutation of its own, and all of them come as often."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import chi_square_is_small

from gan_jax import data

KEY = jax.random.key(0)

orders = jax.jit(jax.vmap(data.order, (0, None, None, None)), static_argnums=(2, 3))  # one for each key
epochs = jax.jit(jax.vmap(data.order, (None, 0, None, None)), static_argnums=(2, 3))  # one for each i


@pytest.mark.parametrize("n, b", [(1797, 64), (10, 3), (1, 1), (64, 8)])
def test_each_epoch_visits_every_record_once(n, b):
    """The n // b batches of an epoch are distinct records of range(n): all of them but n % b."""
    per = n // b
    rows = np.asarray(epochs(KEY, jnp.arange(4 * per), b, n)).reshape(4, per * b)
    assert rows.dtype == np.int32 and rows.min() >= 0 and rows.max() < n
    for epoch in rows:
        assert len(set(epoch.tolist())) == per * b
    if b > 1 and n > b:
        assert len({tuple(epoch) for epoch in rows.tolist()}) == 4


def test_leftovers_change():
    """With n = 10 and b = 3 one record is left out, each of them in about as many epochs."""
    rows = np.asarray(epochs(KEY, jnp.arange(3 * 3000), 3, 10)).reshape(3000, 9)
    left_out = 45 - rows.sum(1)
    assert chi_square_is_small(np.bincount(left_out, minlength=10), 300)


@pytest.mark.parametrize("n", [2, 13])
def test_first_is_uniform(n):
    """Over keys each record is first equally often."""
    draws = 400 * n
    first = np.asarray(orders(jax.random.split(KEY, draws), 0, 1, n))[:, 0]
    assert chi_square_is_small(np.bincount(first, minlength=n), 400)


def test_first_is_uniform_over_epochs():
    """Over the epochs of one key each record is first equally often."""
    first = np.asarray(epochs(KEY, 2 * jnp.arange(3200), 4, 8))[:, 0]
    assert chi_square_is_small(np.bincount(first, minlength=8), 400)


def test_permutations_are_uniform():
    """Over keys each of the 24 orders of 4 records comes equally often."""
    rows = np.asarray(orders(jax.random.split(KEY, 24 * 400), 0, 4, 4)) @ np.array([64, 16, 4, 1])
    counts = np.unique(rows, return_counts=True)[1]
    assert len(counts) == 24 and chi_square_is_small(counts, 400)


def test_neighbours_are_apart():
    """Records that are neighbours on disk are no neighbours in the order: the lag of 1 has its share, 1 / n."""
    rows = np.asarray(epochs(KEY, jnp.arange(20), 1797, 1797))
    assert (np.sort(rows, axis=1) == np.arange(1797)).all()
    lags = (np.diff(rows, axis=1) % 1797).ravel()
    assert chi_square_is_small(np.bincount(lags, minlength=1797)[1:], lags.size / 1796)


def test_order_is_a_function_of_key_and_number():
    """Deterministic, other for another key, and the same under jit, under vmap and for array arguments."""
    plain = [data.order(KEY, i, 16, 100).tolist() for i in (0, 700)]
    assert plain[0] == data.order(KEY, 0, 16, 100).tolist()
    assert plain == epochs(KEY, jnp.array([0, 700]), 16, 100).tolist()
    by_key = orders(jnp.stack([KEY, jax.random.key(1)]), jnp.int32(700), 16, 100).tolist()
    assert by_key[0] == plain[1] != by_key[1]


def test_order_of_a_large_set():
    """Millions of records, far into the run: in range and distinct, and no epoch is ever stored."""
    n = 2**30 - 1
    rows = np.asarray(jax.jit(lambda i: data.order(KEY, i, 4096, n))(jnp.int32(2**31 - 1)))
    assert rows.min() >= 0 and rows.max() < n and len(set(rows.tolist())) == 4096
    assert abs(rows.mean() / n - 1 / 2) < 4 / math.sqrt(12 * 4096)
