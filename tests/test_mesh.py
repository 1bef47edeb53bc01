"""Devices: what is divided, what is copied, and that the state does not depend on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from runs import rows, same, train

from experiments import unrolled
from gan_jax import UserError, data, mesh, rng


def over(devices, batch_size=8, seeds=1):
    return mesh.make(batch_size, seeds, jax.devices()[:devices])


def test_four_devices():
    """The tests have them, and a mesh takes all unless told otherwise."""
    assert mesh.make(8).size == 4 and over(2).size == 2 and mesh.make(8).axis_names == ("data",)


@pytest.mark.parametrize("batch_size, seeds, fits", [(6, 1, False), (8, 1, True), (6, 4, True), (6, 8, True), (6, 2, False)])
def test_what_can_be_divided(batch_size, seeds, fits):
    """Rows must be a multiple of the devices; whole seeds need not."""
    if fits:
        return mesh.make(batch_size, seeds)
    with pytest.raises(UserError, match="a batch of 6 can't be divided over 4 devices: choose a multiple of that"):
        mesh.make(batch_size, seeds)


def test_by_seed():
    """Seeds are divided where there are several, as many for each device."""
    assert [mesh.by_seed(over(4), seeds) for seeds in (1, 2, 4, 6, 8)] == [False, False, True, False, True]
    assert mesh.by_seed(over(2), 2) and mesh.by_seed(over(1), 3) and not mesh.by_seed(over(1), 1)


@pytest.mark.parametrize("seeds, axis, spec", [(1, 0, P()), (2, 0, P()), (4, 0, P("data")), (4, 1, P(None, "data"))])
def test_seed_spec(seeds, axis, spec):
    """The axis of seeds is divided, or nothing is."""
    assert mesh.seed_spec(over(4), seeds, axis) == spec


def test_split():
    """Device i has the i-th part of the rows."""
    x = jax.jit(lambda x: mesh.split(over(4), {"x": x}))(jnp.arange(8.0))["x"]
    assert [shard.data.tolist() for shard in x.addressable_shards] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_put():
    """Every device has the whole."""
    a = mesh.put(over(4), {"a": np.arange(3)})["a"]
    assert a.sharding == mesh.replicated(over(4)) and [s.data.tolist() for s in a.addressable_shards] == [[0, 1, 2]] * 4


@pytest.mark.parametrize("seeds, axis", [(1, 1), (2, 2), (4, 1)])
def test_put_batches(seeds, axis):
    """Of raw batches [steps, (seeds,) rows] the rows are divided, or the seeds where they can be."""
    raw = np.arange(3 * seeds * 8).reshape((3, seeds, 8) if seeds > 1 else (3, 8))
    placed = mesh.put_batches(over(4), seeds, {"x": raw})["x"]
    np.testing.assert_array_equal(placed, raw)
    for shard, part in zip(placed.addressable_shards, np.split(raw, 4, axis), strict=True):
        np.testing.assert_array_equal(shard.data, part)


def test_own_rows():
    """A single process reads every row, and is the one that speaks."""
    assert mesh.own_rows(8) == slice(0, 8) and mesh.is_first()


def test_to_host():
    """Leaves come as numpy, keys as their data."""
    tree = mesh.to_host({"a": jax.device_put(jnp.arange(3), mesh.replicated(over(4))), "k": jax.random.key(7)})
    np.testing.assert_array_equal(tree["a"], [0, 1, 2])
    np.testing.assert_array_equal(tree["k"], jax.random.key_data(jax.random.key(7)))


def small(cfg, state, batch):
    """A step that moves G by everything that a step may depend on: state, key, step, and the rows of the batch."""
    noise = jax.random.normal(rng.at(state.key, state.step, "z"), batch["x"].shape)  # [b, 2]
    force = (jnp.tanh(batch["x"].astype(jnp.float32) + noise) ** 2).mean()
    params = jax.tree.map(lambda a: 0.9 * a + jnp.sin(a + force), state.g.params)
    return state._replace(step=state.step + 1, g=state.g._replace(params=params)), {"force": force}


@pytest.mark.parametrize("flags", [[], ["--stream", "--dataset=digits", "--preset=default", "--nets=mlp"]], ids=["ring", "stream"])
def test_the_state_does_not_depend_on_what_is_divided(tmp_path, monkeypatch, flags):
    """Four seeds one to a device, three with their rows divided, one with its rows divided: the same (1e-6)."""
    monkeypatch.setattr(unrolled, "step", small)
    runs = {n: train(tmp_path / str(n), "--steps=5", f"--seeds={n}", *flags)[0] for n in (4, 3)}
    assert [runs[n].g_ema[0]["MLP_0"]["Dense_0"]["bias"].sharding.is_fully_replicated for n in (4, 3)] == [False, True]
    single, _ = train(tmp_path / "single", "--steps=5", "--seed=2", *flags)
    for state in runs.values():
        same(jax.tree.map(lambda a: a[2], state), single, atol=1e-6)
    for four, three, one in zip(*(rows(tmp_path / n) for n in ("4", "3", "single")), strict=True):
        assert four["force"][:3] == pytest.approx(three["force"], abs=1e-6) and len(set(four["force"])) == 4
        assert four["force"][2] == pytest.approx(one["force"], abs=1e-6)


def test_choose_says_which_device_is_missing(monkeypatch):
    """The message names the flag, or the variable that JAX was told."""

    def none():
        raise RuntimeError("no backend")

    monkeypatch.setattr(jax, "devices", none)
    before = jax.config.jax_platforms
    try:
        with pytest.raises(UserError, match="no TPU found here; leave --tpu out"):
            mesh.choose("tpu")
        with pytest.raises(UserError, match="check JAX_PLATFORMS"):
            mesh.choose()
    finally:
        jax.config.update("jax_platforms", before)


def test_a_toy_is_drawn_alike(tmp_path):
    """What a divided batch holds does not depend on the number of devices."""
    source = data.load("ring8")
    draw = lambda devices: jax.jit(lambda: mesh.split(over(devices), data.batch(source, {}, jax.random.key(0), 3, 8)))()["x"]
    np.testing.assert_array_equal(draw(1), draw(4))
