"""What a run was made by: versions, machine, and the commit of the code."""

import json
import re
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image
from runs import train

import gan_jax
from experiments import unrolled
from gan_jax import UserError, data
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


def test_a_run_whose_code_changed_says_so(tmp_path, monkeypatch, capsys):
    """By those who draw from it, and when it goes on, with which the code of then is its own."""
    train(out := tmp_path / "run", "--steps=1")
    gan_jax.load(out)
    assert "changed since" not in capsys.readouterr().err
    (tmp_path / "unrolled.py").write_text(rundir.Path(unrolled.__file__).read_text() + "# edited\n")
    monkeypatch.setattr(unrolled, "__file__", str(tmp_path / "unrolled.py"))
    gan_jax.load(out)
    assert (
        f"unrolled.py changed since {out} was trained: what is drawn is as the code is now" in capsys.readouterr().err
    )
    train(out, "--steps=2", "--resume")
    assert f"unrolled.py changed since {out} was trained: it goes on as the code is now" in capsys.readouterr().err
    gan_jax.load(out)
    assert "changed since" not in capsys.readouterr().err
    read = lambda: json.loads((out / "config.json").read_text())
    assert read()["code"] != read()["resumed"][-1]["code"]
    was = read()
    (out / "config.json").write_text(json.dumps({k: v for k, v in was.items() if k not in ("code", "resumed")}))
    gan_jax.load(out)  # of a run from before this was kept, nothing is known
    assert "changed since" not in capsys.readouterr().err


def test_a_run_whose_pictures_moved(tmp_path):
    """It can't be drawn from: which run needs what, and with a link in the old place it can."""
    (tmp_path / "x").mkdir()
    for i in range(9):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / "x" / f"{i}.png")
    train(out := tmp_path / "run", "--steps=1", f"--dataset={tmp_path / 'x'}", "--preset=images")
    (tmp_path / "x").rename(tmp_path / "y")
    data.load.cache_clear()
    with pytest.raises(UserError, match=f"no such folder or file.\nThe run in {out} needs that. Where its data moved"):
        gan_jax.load(out)
    (tmp_path / "x").symlink_to(tmp_path / "y")
    gan_jax.load(out).setup()


def test_nets_that_changed_are_no_damage(tmp_path, monkeypatch, capsys):
    """A checkpoint of other nets or optimisers than those of the code: that is said, and not that files are bad."""
    train(out := tmp_path / "run", "--steps=1")
    init = unrolled.init
    monkeypatch.setattr(unrolled, "init", lambda cfg, key: init(cfg, key)._replace(g_ema=()))
    told = "are of other nets or optimisers than the experiment makes now: g_ema.*differs"
    for again in (lambda: gan_jax.load(out), lambda: train(out, "--steps=2", "--resume", init=unrolled.init)):
        with pytest.raises(UserError, match=told):
            again()
    assert "is bad" not in capsys.readouterr().err
    assert sorted(file.name for file in (out / "checkpoints").iterdir()) == ["0", "1"]
