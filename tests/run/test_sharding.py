"""Devices: what is divided, what is copied, and that the state does not depend on it."""

import contextlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from runs import rows, same, train

from gan_jax import UserError, data
from gan_jax.run import sharding


def over(devices, batch_size=8, seeds=1):
    return sharding.make(batch_size, seeds, jax.devices()[:devices])


def test_four_devices():
    """The tests have them, and a mesh takes all unless told otherwise."""
    assert sharding.make(8).size == 4 and over(2).size == 2 and sharding.make(8).axis_names == ("data",)


@pytest.mark.parametrize(
    "batch_size, seeds, fits", [(6, 1, False), (8, 1, True), (6, 4, True), (6, 8, True), (6, 2, False)]
)
def test_what_can_be_divided(batch_size, seeds, fits):
    """Rows must be a multiple of the devices; whole seeds need not."""
    error = pytest.raises(UserError, match="a batch of 6 can't be divided over 4 devices: choose a multiple of that")
    with contextlib.nullcontext() if fits else error:
        sharding.make(batch_size, seeds)


def test_by_seed():
    """Seeds are divided where there are several, as many for each device."""
    assert [sharding.by_seed(over(4), seeds) for seeds in (1, 2, 4, 6, 8)] == [False, False, True, False, True]
    assert sharding.by_seed(over(2), 2) and sharding.by_seed(over(1), 3) and not sharding.by_seed(over(1), 1)


@pytest.mark.parametrize("seeds, axis, spec", [(1, 0, P()), (2, 0, P()), (4, 0, P("data")), (4, 1, P(None, "data"))])
def test_seed_spec(seeds, axis, spec):
    """The axis of seeds is divided, or nothing is."""
    assert sharding.seed_spec(over(4), seeds, axis) == spec


def test_split():
    """Device i has the i-th part of the rows."""
    x = jax.jit(lambda x: sharding.split(over(4), {"x": x}))(jnp.arange(8.0))["x"]
    assert [shard.data.tolist() for shard in x.addressable_shards] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_put():
    """Every device has the whole."""
    a = sharding.put(over(4), {"a": np.arange(3)})["a"]
    assert (
        a.sharding == sharding.replicated(over(4))
        and [s.data.tolist() for s in a.addressable_shards] == [[0, 1, 2]] * 4
    )


@pytest.mark.parametrize("seeds, axis", [(1, 1), (2, 2), (4, 1)])
def test_put_batches(seeds, axis):
    """Of raw batches [steps, (seeds,) rows] the rows are divided, or the seeds where they can be."""
    raw = np.arange(3 * seeds * 8).reshape((3, seeds, 8) if seeds > 1 else (3, 8))
    placed = sharding.put_batches(over(4), seeds, {"x": raw})["x"]
    np.testing.assert_array_equal(placed, raw)
    for shard, part in zip(placed.addressable_shards, np.split(raw, 4, axis), strict=True):
        np.testing.assert_array_equal(shard.data, part)


def test_own_rows():
    """A single process reads every row, and is the one that speaks."""
    assert sharding.own_rows(8) == slice(0, 8) and sharding.is_first()


def test_to_host():
    """Leaves come as numpy, keys as their data."""
    tree = sharding.to_host({"a": jax.device_put(jnp.arange(3), sharding.replicated(over(4))), "k": jax.random.key(7)})
    np.testing.assert_array_equal(tree["a"], [0, 1, 2])
    np.testing.assert_array_equal(tree["k"], jax.random.key_data(jax.random.key(7)))


class State(NamedTuple):
    step: jax.Array
    key: jax.Array
    w: jax.Array


def init(cfg, key):
    return State(jnp.int32(0), key, jnp.sin(jnp.arange(3) + of(key)))


def of(key):
    return jax.random.key_data(key).sum()


def step(cfg, state, batch):
    """Move w by everything that a step may depend on: state, key, step, and the rows of the batch."""
    force = jnp.tanh(batch["x"] + jnp.sin(of(state.key) + state.step) + state.w.sum())
    force = (jnp.round(force * 4096) / 4096).mean()  # a sum of such numbers is exact, in whatever order
    return State(state.step + 1, state.key, 0.5 * state.w + force), {"force": force}


def sample(cfg, state, key, n):
    return jnp.full((n, *data.load(cfg.dataset).shape), jnp.sin(of(key)) * state.w.sum())


@pytest.mark.long
def test_the_state_does_not_depend_on_what_is_divided(tmp_path):
    """Four seeds one to a device, streamed or not, three with their rows divided, one with its rows divided: the same."""
    parts = {"init": init, "step": step, "sample": sample}
    begin = lambda name, *flags: train(tmp_path / name, "--steps=5", "--dataset=digits", *flags, **parts)[0]
    one, of_seed = begin("one", "--seed=2"), begin("4", "--seeds=4")
    streamed, of_rows = begin("streamed", "--seeds=4", "--stream"), begin("3", "--seeds=3", "--stream")
    assert [s.w.sharding.is_fully_replicated for s in (one, of_seed, streamed, of_rows)] == [True, False, False, True]
    for state in (of_seed, streamed, of_rows):
        same(jax.tree.map(lambda a: a[2], state), one, atol=1e-6)
    for row, *others in zip(*(rows(tmp_path / name) for name in ("4", "streamed", "3", "one")), strict=True):
        for other, seeds in zip(others, (slice(4), slice(3), 2), strict=True):
            assert other["force"] == pytest.approx(row["force"][seeds], abs=1e-6)
        assert len(set(row["force"])) == 4


def test_choose_says_which_device_is_missing(monkeypatch):
    """The message names the flag, or the variable that JAX was told."""

    def none():
        raise RuntimeError("no backend")

    monkeypatch.setattr(jax, "default_backend", none)
    before = jax.config.jax_platforms
    try:
        with pytest.raises(UserError, match="no TPU found here; leave --tpu out"):
            sharding.choose("tpu")
        with pytest.raises(UserError, match="check JAX_PLATFORMS"):
            sharding.choose()
    finally:
        jax.config.update("jax_platforms", before)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_an_accelerator_without_the_cpu_that_callbacks_need(monkeypatch, platform):
    """JAX is asked for both; and a machine that has the CPU alone is not taken for the other."""
    asked = []
    monkeypatch.setattr(jax.config, "update", lambda name, value: asked.append((name, value)))
    with pytest.raises(UserError, match=f"no {platform.upper()} found here"):
        sharding.choose(platform)
    assert asked == [("jax_platforms", {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}[platform])]
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    sharding.choose(platform)
