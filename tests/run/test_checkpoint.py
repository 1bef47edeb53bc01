"""Checkpoints: what is kept, what is caught, what is set aside, and other numbers of devices."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from runs import same, steps

from gan_jax import UserError
from gan_jax.run import sharding
from gan_jax.run.checkpoint import Checkpoints, digests

# Orbax leaves its coroutines behind where a restore fails
leftovers = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def collected():
    """Have what a failed restore leaves behind collected within its own test."""
    yield
    gc.collect()


def made(step, devices=1):
    """Return a state with a typed key, an optimiser, several dtypes and a scalar, a copy on each device."""
    params = {"w": jnp.full((4, 3), step, jnp.float32), "b": jnp.full(3, step, jnp.bfloat16)}
    noise = jax.random.bits(jax.random.key(step), (32, 32))  # incompressible, so that its bytes are found on disk
    players = {"p": params, "opt": optax.adam(0.1).init(params)}
    state = {"step": jnp.int32(step), "key": jax.random.key(step), "noise": noise, **players}
    return jax.device_put(state, sharding.replicated(sharding.make(8, devices=jax.devices()[:devices])))


def like(state):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state)


def saved(folder, *numbers, keep=3):
    """Save the states of these steps, and return the folder."""
    checkpoints = Checkpoints(folder / "checkpoints", keep)
    for step in numbers:
        checkpoints.save(step, made(step))
    checkpoints.close()
    return folder


def restored(folder, target=None):
    """Return what a new process would restore."""
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        return checkpoints.restore(like(made(0)) if target is None else target)
    finally:
        checkpoints.close()


def the_noise(folder, step):
    """Return (file, position) of that leaf's bytes on disk."""
    array = made(step)["noise"]
    for file in (folder / "checkpoints" / str(step)).rglob("*"):
        at = file.read_bytes().find(np.asarray(array).tobytes()[:512]) if file.is_file() else -1
        if at >= 0:
            return file, at
    raise AssertionError("the array is in no file: is it compressed?")


def flip(folder, step):
    """Flip one bit inside an array on disk."""
    file, at = the_noise(folder, step)
    content = bytearray(file.read_bytes())
    content[at + 100] ^= 1
    file.write_bytes(content)


def truncate(folder, step):
    file, at = the_noise(folder, step)
    file.write_bytes(file.read_bytes()[: at + 100])


def lose(folder, step):
    the_noise(folder, step)[0].unlink()


def lose_digests(folder, step):
    (folder / "checkpoints" / str(step) / "digests" / "metadata").unlink()


def test_round_trip(tmp_path):
    """Every leaf comes back with its bits, dtype and type: keys as keys, the optimiser as its tuples."""
    state = made(7)
    again = restored(saved(tmp_path, 7))
    same(again, state)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert jax.random.uniform(again["key"]) == jax.random.uniform(state["key"])


def test_the_last_few_are_kept(tmp_path):
    """Of five checkpoints two stay with keep=2; the newest is restored."""
    assert steps(saved(tmp_path, 1, 2, 3, 4, 10, keep=2)) == ["4", "10"]
    assert restored(tmp_path)["step"] == 10


def test_none_at_all(tmp_path):
    """A folder without checkpoints is no error."""
    assert restored(tmp_path) is None


def test_a_state_may_be_donated_at_once(tmp_path):
    """What is saved is the state at the call, though its buffers are used anew right after."""
    checkpoints, state = Checkpoints(tmp_path / "checkpoints"), made(1)
    checkpoints.save(1, state)
    bump = jax.jit(lambda s: s | {"p": jax.tree.map(lambda a: a + 1, s["p"])}, donate_argnums=0)
    for _ in range(20):
        state = bump(state)
    checkpoints.close()
    same(restored(tmp_path), made(1))


@pytest.mark.long
@leftovers
@pytest.mark.parametrize("spoil", [flip, truncate, lose, lose_digests])
def test_a_bad_checkpoint_is_set_aside(tmp_path, capfd, collected, spoil):
    """The one before is restored, the bad one stays as STEP.bad, and saving goes on; twice at the same step, too."""
    saved(tmp_path, 1, 2, 3)
    for again in ("", ".bad"):
        spoil(tmp_path, 3)
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        same(checkpoints.restore(like(made(0))), made(2))
        assert "checkpoint 3 is bad: " in capfd.readouterr().err
        assert f"3.bad{again}" in steps(tmp_path) and "3" not in steps(tmp_path)
        checkpoints.save(3, made(3))
        checkpoints.close()
        same(restored(tmp_path), made(3))
    assert steps(tmp_path) == ["1", "2", "3", "3.bad", "3.bad.bad"]


def test_none_is_good(tmp_path, capfd):
    """Where all are bad that is an error, and all stay where they are."""
    saved(tmp_path, 1, 2)
    flip(tmp_path, 1), flip(tmp_path, 2)
    with pytest.raises(UserError, match=r"none of the checkpoints in .* can be restored"):
        restored(tmp_path)
    assert (
        steps(tmp_path) == ["1", "2"]
        and "checkpoint 1 is bad: its digest differs at ['noise']" in capfd.readouterr().err
    )


@leftovers
@pytest.mark.parametrize(
    "change",
    [
        lambda s: s | {"step": jnp.float32(0)},
        lambda s: s | {"p": s["p"] | {"w": s["p"]["w"].astype(jnp.float16)}},
        lambda s: s | {"p": s["p"] | {"w": s["p"]["w"][:, :2]}},
        lambda s: s | {"more": jnp.zeros(3)},
        lambda s: {k: v for k, v in s.items() if k != "opt"},
    ],
    ids=["int to float", "half", "shape", "more", "less"],
)
def test_another_state_is_refused(tmp_path, collected, change):
    """Nothing is cast, cut, filled up or left out in silence."""
    saved(tmp_path, 1)
    with pytest.raises(UserError, match="are of other nets or optimisers than the experiment makes now"):
        restored(tmp_path, like(change(made(0))))
    assert (tmp_path / "checkpoints" / "1").is_dir()


@pytest.mark.parametrize("writers, readers", [(4, 1), (4, 2), (1, 4), (2, 4)])
def test_other_numbers_of_devices(tmp_path, writers, readers):
    """A state saved on some devices is restored on others, whole on each."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(5, made(5, writers))
    checkpoints.close()
    again = restored(tmp_path, like(made(0, readers)))
    same(again, made(5))
    assert all(len(leaf.sharding.device_set) == readers and leaf.is_fully_replicated for leaf in jax.tree.leaves(again))


def test_a_divided_state(tmp_path):
    """Leaves divided over four devices, as the seeds of a run are, come back whole on one."""
    of_seed = jax.sharding.NamedSharding(sharding.make(8), P("data"))
    state = {
        "w": jax.device_put(jnp.arange(8.0), of_seed),
        "key": jax.device_put(jax.random.split(jax.random.key(0), 4), of_seed),
    }
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, state)
    checkpoints.close()
    one = sharding.replicated(sharding.make(8, devices=jax.devices()[:1]))
    target = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=one), state)
    same(restored(tmp_path, target), state)


def test_digests():
    """They name every leaf, and change with its bits, shape and dtype."""
    zeros = {"a": jnp.zeros(4), "k": jax.random.key(0)}
    others = [jnp.zeros(4).at[3].set(-0.0), jnp.zeros((2, 2)), jnp.zeros(4, jnp.int32), jnp.zeros(5)]
    assert set(digests(zeros)) == {"['a']", "['k']"}
    assert digests(zeros) == digests({"a": jnp.zeros(4), "k": jax.random.key(0)})
    assert len({digests({"a": a})["['a']"] for a in [zeros["a"], *others]}) == 5
    assert digests(zeros)["['k']"] != digests({"k": jax.random.key(1)})["['k']"]
