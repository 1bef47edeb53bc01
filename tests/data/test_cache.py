"""The cache: what it keeps, that nothing depends on it, and the command that shows and empties it."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import runs

import gan_jax.data.cache
from gan_jax import cache as command
from gan_jax import data
from gan_jax.data import cache, contents, prepared
from gan_jax.errors import UserError

X = {"x": np.arange(6)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    return tmp_path / "cache"


def never():
    raise AssertionError("made again")


def python(program, **environment):
    """Return what a process of its own prints."""
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", program], env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_arrays_are_made_once(folder):
    """Under a name; without one every time. What can't be read is made again, and is whole from then on."""
    np.testing.assert_array_equal(cache.arrays("a/b", lambda: X)["x"], X["x"])
    np.testing.assert_array_equal(cache.arrays("a/b", never)["x"], X["x"])
    with pytest.raises(AssertionError, match="made again"):
        cache.arrays("", never)
    (folder / "a" / "b.npz").write_bytes((folder / "a" / "b.npz").read_bytes()[:-30])
    np.testing.assert_array_equal(cache.arrays("a/b", lambda: X)["x"], X["x"])
    np.testing.assert_array_equal(cache.arrays("a/b", never)["x"], X["x"])
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["b.npz"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(folder, monkeypatch, error):
    """A full disk stops nobody; Ctrl-C is one. No part of a file stays, and what was there before does."""
    cache.arrays("a/b", lambda: X)

    def fail(file, **_):
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", fail)
    if isinstance(error, OSError):
        assert cache.arrays("a/c", lambda: X) is X
    else:
        with pytest.raises(KeyboardInterrupt):
            cache.arrays("a/c", lambda: X)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["b.npz"]
    np.testing.assert_array_equal(cache.arrays("a/b", never)["x"], X["x"])


def test_what_a_killed_process_left_is_removed(folder):
    """Its half-made files and folders go at the next write beside them; those of a process that is alive stay."""
    program = """
import os, sys, time
from pathlib import Path
from gan_jax.data import cache
with cache.whole(Path(sys.argv[1], "own")) as new:
    new.write(b"half")
    new.flush()
    print(new.name, flush=True)
    time.sleep(60)
"""
    (folder / "a").mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", program, folder / "a"], stdout=subprocess.PIPE, text=True)
    try:
        alive = process.stdout.readline().strip()
        (folder / "a" / ".new-file").write_bytes(b"half")
        (folder / "a" / ".new-folder").mkdir()
        (folder / "a" / ".new-folder" / "x").write_bytes(b"half")
        cache.arrays("a/b", lambda: X)
        assert sorted(os.listdir(folder / "a")) == sorted([os.path.basename(alive), "b.npz"])
    finally:
        process.kill()
        process.communicate()
    cache.arrays("a/c", lambda: X)
    assert sorted(os.listdir(folder / "a")) == ["b.npz", "c.npz"]


def test_a_cache_that_is_a_file(tmp_path, monkeypatch):
    """Nothing is kept, all is made: arrays, prepared folders in one of this process, no room for programs."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "file" / "gan_jax")
    assert cache.arrays("a/b", lambda: X) is X
    assert cache.prepared("a", lambda place: place) == cache.temporary() and cache.temporary().is_dir()
    assert cache.room("xla") is None
    assert command.kinds() == {}


def test_a_disk_that_fills_up_while_preparing(folder):
    """It is tried again in a folder of this process; where there is no room either, that is said."""
    tried = []

    def make(place):
        tried.append(place)
        if len(tried) == 1:
            raise OSError(28, "No space left on device")
        return place

    assert cache.prepared("a", make) == cache.temporary() and tried == [folder, cache.temporary()]

    def full(place):
        raise OSError(28, "No space left on device", str(place))

    with pytest.raises(
        UserError, match=r"^there is no room to prepare data: .*: No space left on device.\nSet XDG_CACHE"
    ):
        cache.prepared("a", full)


@pytest.mark.parametrize("name", ["digits", "folders"])
def test_a_pipe_in_the_cache_is_not_waited_for(folder, tmp_path, name):
    """In the place of arrays, of a lock, of an index of digests or of what was prepared, it is as if nothing was there."""
    folder.joinpath("folders").mkdir(parents=True)
    picture = tmp_path / "a.txt"
    picture.write_bytes(b"abc")
    index = hashlib.blake2b(os.fsencode(str(tmp_path)), digest_size=16).hexdigest()
    for pipe in (f"{name}.npz", f"{name}.lock", f"folders/{index}.index", "folders/info.json"):
        os.mkfifo(folder / pipe)
    assert cache.kept(name) is None and prepared._info(folder / "folders") is None
    assert cache.prepared(name, lambda place: place) == cache.temporary()
    assert len(contents.digest(str(tmp_path), [str(picture)], "")) == 32


def test_without_a_home(tmp_path):
    """No HOME and nobody by that number, as in a container: imports, and the digits can be read; the folder goes."""
    program = """
import os, pwd
def nobody(_): raise KeyError("uid not found")
pwd.getpwuid = nobody
from gan_jax import data
from gan_jax.data import cache
assert data.resident(data.load("digits"))["x"].shape == (1497, 8, 8, 1)
assert cache.FOLDER == cache.temporary() and (cache.FOLDER / "tfds" / "digits").is_dir()
print(cache.FOLDER)
"""
    gone = python(program, TMPDIR=str(tmp_path), TFDS_DATA_DIR=str(tmp_path))
    assert gone.startswith(str(tmp_path)) and not os.path.exists(gone)


def test_a_relative_cache_is_none(tmp_path):
    """XDG_CACHE_HOME must be a path from the root: what is below the working directory would not be found again."""
    program = "from gan_jax.data import cache; print(cache.FOLDER == cache.temporary())"
    assert python(program, XDG_CACHE_HOME="cache", TMPDIR=str(tmp_path)) == "True"


@pytest.mark.long
def test_a_run_needs_no_cache(tmp_path):
    """XDG_CACHE_HOME on a file: a run of the digits ends well, says nothing of it and leaves nothing elsewhere."""
    (tmp_path / "file").write_text("")
    program = """
import sys
from experiments import unrolled
from gan_jax.run import cli
cli.run(lambda: unrolled.main(sys.argv[1:]))
"""
    flags = [*runs.DIGITS, "--steps=1", f"--out={tmp_path}/run"]
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    kept |= {"XDG_CACHE_HOME": f"{tmp_path}/file", "PYTHONPATH": os.getcwd(), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, *flags], env=kept, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr and "Error" not in done.stderr
    assert json.loads((tmp_path / "run" / "results.json").read_text())["steps"] == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "run", "tmp"] and list((tmp_path / "tmp").glob("gan_jax*")) == []


def test_prepared_digits_are_read_without_the_lock(folder):
    """Whoever holds it prepares something, or is on another machine and gone: reading does not wait."""
    data.load.cache_clear()
    data.load("digits")
    data.load.cache_clear()
    with (folder / "digits.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = "from gan_jax import data; print(data.load('digits').n)"
        cache_of = {"XDG_CACHE_HOME": str(folder.parent / "x"), "TFDS_DATA_DIR": str(folder)}
        (folder.parent / "x").mkdir()
        (folder.parent / "x" / "gan_jax").symlink_to(folder)
        assert python(program, **cache_of) == "1497"
    data.load.cache_clear()


# The command


def test_command_shows_what_is_kept(folder, capsys):
    """Where, and of each kind how much, larger ones too; kinds that it does not know."""
    cache.arrays("arrays/a", lambda: {"x": np.zeros(10**6)})
    cache.arrays("new/a", lambda: X)
    command.main([])
    first, arrays, new = capsys.readouterr().out.splitlines()
    assert first == str(folder)
    assert arrays.split() == ["arrays", "8", "MB", "1", "files", "records", "of", "data", "sets,", "decoded"]
    assert new.split()[0] == "new" and new.split()[-2:] == ["1", "files"]
    assert [command.readable(n) for n in (0, 999, 1234, 10**9, 123 * 10**10)] == [
        "0 B",
        "999 B",
        "1.23 kB",
        "1.00 GB",
        "1,230 GB",
    ]


def test_command_empties(folder, tmp_path, capsys):
    """One kind, or all; what a link leads to stays; a name that is none is refused before anything is removed."""
    for name in ("arrays/a", "folders/b", "xla/c"):
        cache.arrays(name, lambda: X)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (folder / "arrays" / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="holds nothing called nothing; choose from arrays, classifiers, folders"):
        command.main(["--empty", "arrays", "nothing"])
    for name in ("..", "arrays/../../mine", "/"):
        with pytest.raises(UserError, match="holds nothing called"):
            command.main(["--empty", name])
    assert (folder / "arrays" / "a.npz").exists()
    command.main(["--empty", "arrays"])
    assert sorted(path.name for path in folder.iterdir()) == ["folders", "xla"]
    assert capsys.readouterr().out.startswith("arrays: ")
    command.main(["--empty"])
    assert list(folder.iterdir()) == [] and len(capsys.readouterr().out.splitlines()) == 2
    command.main(["--empty"])
    assert capsys.readouterr().out == "nothing to remove\n"
    assert (tmp_path / "mine" / "file").read_text() == "mine"
