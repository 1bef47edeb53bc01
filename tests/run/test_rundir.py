"""A run's folder: what it keeps, what it refuses, and what is read from it."""

import json
import os

import jax.numpy as jnp
import pytest
from runs import RING, end, rows, start, start_training, train

from gan_jax import UserError
from gan_jax.run import log, rundir


def test_what_follows_a_line_that_is_no_row(tmp_path, capsys):
    """One broken line is left out and said; the rows after it are kept, those after the step are not."""
    file = tmp_path / "metrics.jsonl"
    good = [json.dumps({"step": n, "x": n}) + "\n" for n in (2, 4, 6, 8)]
    file.write_text(
        good[0] + '{"step": 3, "x"\n' + "[]\n" + '{"step": "4"}\n' + good[1] + good[2] + good[3] + '{"step": 9'
    )
    found = log.Rows(file, 6)
    assert file.read_text() == "".join(good[:3]) and found.last == {"step": 6, "x": 6}
    said = capsys.readouterr().err
    assert all(f"line {n} is no row" in said for n in (2, 3, 4, 8))


def test_numbers_that_other_readers_refuse(tmp_path):
    """What is not finite is written as null, and read again as nan."""
    file = tmp_path / "metrics.jsonl"
    log.Rows(file).write(1, {"a": jnp.inf, "b": jnp.array([1.0, jnp.nan]), "c": -float("inf"), "d": 2})
    assert json.loads(file.read_text(), parse_constant=pytest.fail) == {
        "step": 1,
        "a": None,
        "b": [1, None],
        "c": None,
        "d": 2,
    }
    (row,) = log.read_rows(file)
    assert row["a"] != row["a"] and row["b"][0] == 1 and row["b"][1] != row["b"][1] and row["d"] == 2


@pytest.mark.parametrize("lost", ["config.json", "checkpoints", "metrics.jsonl"])
def test_a_folder_of_which_a_part_is_missing(tmp_path, lost):
    """It is refused, with and without --resume, and nothing in it is changed."""
    train(tmp_path / "run", "--steps=4")
    (tmp_path / "run" / lost).rename(tmp_path / "lost")
    before = sorted(str(f.relative_to(tmp_path)) for f in (tmp_path / "run").rglob("*"))
    for flags in ([], ["--resume"]):
        with pytest.raises(UserError, match=r"missing|no checkpoint in|holds no run|already holds"):
            train(tmp_path / "run", "--steps=6", *flags)
    assert sorted(str(f.relative_to(tmp_path)) for f in (tmp_path / "run").rglob("*")) == before
    (tmp_path / "lost").rename(tmp_path / "run" / lost)
    assert train(tmp_path / "run", "--steps=6", "--resume")[0].step == 6


@pytest.mark.parametrize("name", ["lock", ".config.json.new", "config.json", "samples", "checkpoints", "metrics.jsonl"])
def test_a_link_out_of_the_folder(tmp_path, name):
    """A run whose files are links to elsewhere is refused, and what they point at stays as it is."""
    train(tmp_path / "run", "--steps=4")
    target = tmp_path / "target"
    target.mkdir() if name in ("samples", "checkpoints") else target.write_text("mine")
    file = tmp_path / "run" / name
    if file.exists():
        file.rename(tmp_path / "aside")
    file.symlink_to(target)
    with pytest.raises(UserError, match=r"is a link|is not a run.s config"):
        train(tmp_path / "run", "--steps=6", "--resume")
    assert list(target.iterdir()) == [] if target.is_dir() else target.read_text() == "mine"


def test_a_resumed_run_keeps_its_own_pace(tmp_path):
    """Without flags --resume logs, saves and keeps as the run was started."""
    train(tmp_path / "run", "--steps=4", "--log-every=1", "--save-every=1", "--keep=100")
    from experiments import unrolled

    unrolled.main(["--resume", f"--out={tmp_path / 'run'}", "--steps=6"])
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert {f.name for f in (tmp_path / "run" / "checkpoints").iterdir()} == set("0123456")


def test_fewer_steps_than_are_done(tmp_path, capsys):
    """The run is as it was, the exit code 0: a scheduler that starts it again and again comes to an end."""
    _, results = train(tmp_path / "run", "--steps=6")
    before = (tmp_path / "run" / "results.json").read_text()
    state, again = train(tmp_path / "run", "--steps=4", "--resume")
    assert state.step == 6 and again["steps"] == results["steps"]
    assert "at step 6 already" in capsys.readouterr().err
    assert (tmp_path / "run" / "results.json").read_text() == before


def test_two_runs_of_one_second(tmp_path, monkeypatch):
    """Each gets a folder of its own."""
    monkeypatch.chdir(tmp_path)

    class Clock(rundir.datetime.datetime):
        @classmethod
        def now(cls):
            return cls(2026, 1, 1)

    monkeypatch.setattr(rundir.datetime, "datetime", Clock)
    folders = [rundir.claimed("experiments.vanilla") for _ in range(3)]
    assert [f.name for f in folders] == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]


def test_the_newest_run_is_the_last_by_time(tmp_path, monkeypatch):
    """Not the last by name."""
    monkeypatch.chdir(tmp_path)
    for name, time in (("best", 1), ("20260101-000000", 2), ("zzz", 0)):
        (tmp_path / "runs" / "x" / name).mkdir(parents=True)
        (tmp_path / "runs" / "x" / name / "config.json").write_text("{}")
        os.utime(tmp_path / "runs" / "x" / name / "config.json", (time, time))
    assert rundir.newest("experiments.x").name == "20260101-000000"


def test_a_reader_that_is_gone(tmp_path):
    """Training goes on to its end though nobody reads stdout or stderr any more."""
    process = start_training(tmp_path / "run", "--steps=6")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(150) == 0 and (tmp_path / "run" / "results.json").exists()


def test_an_encoding_that_lacks_a_letter(tmp_path):
    """Help and results are said all the same."""
    for flags in (["--help"], ["--steps=2", "--seeds=2", f"--out={tmp_path / 'run'}"]):
        code, said, stderr = end(start("-m", "experiments.unrolled", *RING, *flags, PYTHONIOENCODING="ascii"))
        assert code == 0 and said and "Error" not in stderr, stderr
