"""Checkpoints under any path, read beside their trainer, and faults that pass."""

import errno
import os
import shutil
import signal
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from runs import end, killing, same, start, start_training, steps, wait_for

import gan_jax
from gan_jax import UserError
from gan_jax.run.checkpoint import Checkpoints

# Orbax leaves its coroutines behind where a restore fails
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ODD = ["run[1]", "a*b?", "back\\slash", "ünï", "quo'te\"", "new\nline", "%41#x", "{x}$HOME", "bad\udcff", " lead ", "~"]


def made(step):
    """Return a small state."""
    return {"step": jnp.int32(step), "key": jax.random.key(step), "w": jnp.full((4, 3), step, jnp.float32)}


def like(state):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state)


def saved(folder, *numbers, keep=3):
    checkpoints = Checkpoints(folder, keep)
    for step in numbers:
        checkpoints.save(step, made(step))
    checkpoints.close()


@pytest.mark.parametrize("name", ODD)
def test_a_folder_whose_name_is_a_pattern_is_restored(tmp_path, name):
    """What is saved under any name that a file system allows comes back, to its trainer and to a reader."""
    folder = tmp_path / name / "checkpoints"
    saved(folder, 1, 2)
    for read_only in (False, True):
        checkpoints = Checkpoints(folder, read_only=read_only)
        same(checkpoints.restore(like(made(0))), made(2))
        checkpoints.close()
    assert sorted(os.listdir(tmp_path)) == [name] and steps(tmp_path / name) == ["1", "2"]


def test_several_processes_under_such_a_name(tmp_path, monkeypatch):
    """They are refused before anything is made: each would have another link."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="several processes can't save in"):
        Checkpoints(tmp_path / "run[1]" / "checkpoints")
    assert not list(tmp_path.iterdir())


def test_a_working_directory_that_is_a_pattern(tmp_path, monkeypatch):
    """A relative folder is reached though the directory that it stands in has brackets."""
    (tmp_path / "[x]").mkdir()
    monkeypatch.chdir(tmp_path / "[x]")
    saved(Path("checkpoints"), 3)
    checkpoints = Checkpoints(Path("checkpoints"))
    same(checkpoints.restore(like(made(0))), made(3))
    checkpoints.close()


def test_what_cannot_be_read_back_is_not_trusted(tmp_path, monkeypatch):
    """A checkpoint that was just written is read; where that fails nothing is trained."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(0, made(0))
    checkpoints.try_out(0, like(made(0)))
    monkeypatch.setattr(checkpoints._manager, "restore", lambda *_, **__: (_ for _ in ()).throw(ValueError("no")))
    with pytest.raises(UserError, match=r"can't be read again: no\.\nChoose another --out"):
        checkpoints.try_out(0, like(made(0)))
    checkpoints.close()


PASSING = [
    OSError(errno.EIO, os.strerror(errno.EIO)),
    PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    MemoryError("no room"),
    RuntimeError("can't start new thread"),
    ValueError(f"tensorstore: error: {os.strerror(errno.EIO)} [5]"),
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_passing_fault_condemns_no_checkpoint(tmp_path, monkeypatch, fault):
    """What says nothing of the file is raised: nothing is renamed, and nobody is told to begin anew."""
    saved(tmp_path / "checkpoints", 1, 2)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "restore", lambda *_, **__: (_ for _ in ()).throw(fault))
        with pytest.raises(UserError, match="can't be read now") as said:
            checkpoints.restore(like(made(0)))
    assert "anew" not in str(said.value) and steps(tmp_path) == ["1", "2"]
    same(checkpoints.restore(like(made(0))), made(2))  # it has passed
    checkpoints.close()


def test_a_reader_renames_nothing(tmp_path, capsys):
    """A bad checkpoint is named, and the one before it read; the folder stays as it is."""
    saved(tmp_path / "checkpoints", 1, 2)
    (tmp_path / "checkpoints" / "2" / "digests" / "metadata").unlink()
    checkpoints = Checkpoints(tmp_path / "checkpoints", read_only=True)
    same(checkpoints.restore(like(made(0))), made(1))
    checkpoints.close()
    assert "checkpoint 2 is bad" in capsys.readouterr().err and steps(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("last", range(1, 5))
def test_a_checkpoint_that_goes_while_it_is_listed_is_passed_over(tmp_path, monkeypatch, last):
    """A trainer may take a folder away between any two of the looks that listing takes at it."""
    folder, looks = tmp_path / "checkpoints", iter(range(1, 100))
    saved(folder, 1, 2)

    def going(look):
        def looked(path):
            if os.fspath(path) == str(folder / "1") and next(looks) == last:
                shutil.rmtree(path)
            return look(path)

        return looked

    monkeypatch.setattr("os.path.isdir", going(os.path.isdir))
    monkeypatch.setattr("os.path.exists", going(os.path.exists))
    with Checkpoints(folder, read_only=True) as checkpoints:
        same(checkpoints.restore(like(made(0))), made(2))
    assert steps(tmp_path) == ["2"]


@pytest.mark.long
def test_a_reader_beside_a_trainer_always_finds_a_state(tmp_path):
    """While checkpoints come and go, a reader restores one at every try, and the trainer is not disturbed."""
    folder, done = tmp_path / "checkpoints", threading.Event()
    saved(folder, 1)

    def train():
        checkpoints = Checkpoints(folder, keep=1)
        for step in range(2, 40):
            checkpoints.save(step, made(step))
        checkpoints.close()
        done.set()

    trainer = threading.Thread(target=train)
    trainer.start()
    tries = 0
    while not done.is_set():
        checkpoints = Checkpoints(folder, read_only=True)
        state = checkpoints.restore(like(made(0)))
        checkpoints.close()
        same(state, made(int(state["step"])))
        tries += 1
    trainer.join()
    assert tries > 1 and steps(tmp_path) == ["39"]


@pytest.mark.long
def test_readers_beside_a_process_that_trains(tmp_path):
    """`load` finds a state at every try, `spectrum` and `sample` end well, and the trainer hears of none of them."""
    out = tmp_path / "run"
    trainer = start_training(out, "--steps=10000000", "--save-every=2", "--keep=1")
    with killing(trainer):
        wait_for((out / "checkpoints" / "2").exists, trainer)
        found = [int(gan_jax.load(out).state.step) for _ in range(8)]
        for module, *more in ("spectrum",), ("sample", "--n=4"):
            code, _, stderr = end(start("-m", f"gan_jax.{module}", str(out), *more, cwd=str(tmp_path)))
            assert code == 0 and "Traceback" not in stderr and "bad" not in stderr, (module, stderr)
        trainer.send_signal(signal.SIGTERM)
        code, _, stderr = end(trainer)
    assert code == 143 and "Traceback" not in stderr and "bad" not in stderr, stderr
    assert found == sorted(found) and len(set(found)) > 1, found
    assert all(name.isdigit() for name in steps(out))
