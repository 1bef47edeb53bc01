"""What a run was made by: versions, machine, and the commit of the code."""

import json
import re
import subprocess

import jax
import pytest
from runs import train

from gan_jax.run import rundir


def test_a_run_says_what_made_it(tmp_path):
    """Versions, machine and commit are in config.json."""
    train(tmp_path / "run", "--steps=1")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["versions"]["jax"] == jax.__version__ and config["versions"].keys() >= {"gan_jax", "flax", "optax"}
    assert config["machine"]["devices"] == jax.device_count() and config["machine"]["cpu"]
    assert config["commit"] == rundir.commit(rundir.Path(rundir.__file__))


@pytest.fixture
def repository(tmp_path):
    """A repository's folder of code, with a file that it does not have, and the name of its only commit."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    try:
        subprocess.run([*git, "init", "-q"], check=True)
    except OSError:
        pytest.skip("there is no git here")
    for name in ("code", "experiments"):
        (tmp_path / name).mkdir()
    for name in ("results.txt", "code/own.py", "experiments/own.py"):
        (tmp_path / name).write_text("")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    (tmp_path / "code" / "other.py").write_text("")
    head = subprocess.run([*git, "log", "--format=%H"], check=True, capture_output=True, text=True).stdout.strip()
    return tmp_path / "code", head


def test_commit(repository):
    """The whole name; that code changed since, but not that results did."""
    folder, head = repository
    assert re.fullmatch("[0-9a-f]{40}", head) and rundir.commit(folder / "own.py") == head
    (folder.parent / "results.txt").write_text("changed")
    assert rundir.commit(folder / "own.py") == head
    (folder.parent / "experiments" / "own.py").write_text("changed")
    assert rundir.commit(folder / "own.py") == f"{head}-dirty"


def test_no_commit(repository, tmp_path_factory, monkeypatch):
    """A file that lies in another's repository has none, nor has one outside; nor where there is no git."""
    folder, _ = repository
    assert rundir.commit(folder / "other.py") is None
    assert rundir.commit(tmp_path_factory.mktemp("outside") / "own.py") is None
    monkeypatch.setenv("PATH", "")
    assert rundir.commit(folder / "own.py") is None
