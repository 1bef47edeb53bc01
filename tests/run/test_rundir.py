"""A run's folder: what it keeps, what it refuses, and what is read from it."""

import json
import os
import shutil

import jax.numpy as jnp
import pytest
from runs import RING, end, rows, start, start_training, train

import gan_jax
from experiments import unrolled
from gan_jax import UserError
from gan_jax.run import cli, log, rundir


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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("name", [
    "lock", ".config.json.new", "config.json", "samples", "samples/final.png", "checkpoints", "checkpoints/4",
    "metrics.jsonl",
])  # fmt: skip
def test_a_link_out_of_the_folder(tmp_path, name):
    """A run whose files are links to elsewhere is refused, and what they point at stays as it is."""
    train(tmp_path / "run", "--steps=4")
    target = tmp_path / "target"
    target.mkdir() if name in ("samples", "checkpoints", "checkpoints/4") else target.write_text("mine")
    file = tmp_path / "run" / name
    if file.exists():
        file.rename(tmp_path / "aside")
    file.symlink_to(target)
    with pytest.raises(UserError, match=r"is a link|is not a run.s config"):
        train(tmp_path / "run", "--steps=6", "--resume")
    assert list(target.iterdir()) == [] if target.is_dir() else target.read_text() == "mine"


@pytest.mark.long
def test_a_resumed_run_keeps_its_own_pace(tmp_path):
    """Without flags --resume logs, saves and keeps as the run was started."""
    train(tmp_path / "run", "--steps=4", "--log-every=1", "--save-every=1", "--keep=100")
    from experiments import unrolled

    unrolled.main(["--resume", f"--out={tmp_path / 'run'}", "--steps=6"])
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert {f.name for f in (tmp_path / "run" / "checkpoints").iterdir()} == set("0123456")


@pytest.mark.long
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


@pytest.mark.long
def test_a_reader_that_is_gone(tmp_path):
    """Training goes on to its end though nobody reads stdout or stderr any more."""
    process = start_training(tmp_path / "run", "--steps=6")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(150) == 0 and (tmp_path / "run" / "results.json").exists()


@pytest.mark.long
def test_an_encoding_that_lacks_a_letter(tmp_path):
    """Help and results are said all the same."""
    for flags in (["--help"], ["--steps=2", "--seeds=2", f"--out={tmp_path / 'run'}"]):
        code, said, stderr = end(start("-m", "experiments.unrolled", *RING, *flags, PYTHONIOENCODING="ascii"))
        assert code == 0 and said and "Error" not in stderr, stderr


# Files of strangers


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("done") / "run"
    train(out, "--steps=4")
    return out


def refused(out, words, *flags):
    """Check that a run is not gone on with, for this reason in one or two lines, and stays as it is."""
    before = {f: f.stat().st_mtime_ns for f in out.rglob("*") if f.name != "lock"}
    with pytest.raises(UserError, match=words) as error:
        train(out, "--steps=6", "--resume", *flags)
    assert len(str(error.value).splitlines()) <= 2
    assert {f: f.stat().st_mtime_ns for f in out.rglob("*") if f.name != "lock"} == before


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.jsonl", "results.json", "seconds", "lock", "samples/x.png", "x"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(done, tmp_path, name, kind):
    """A pipe or a folder in the place of a file: said before training, and readers end too."""
    shutil.copytree(done, tmp_path / "run")
    file = tmp_path / "run" / name
    file.unlink(missing_ok=True)
    os.mkfifo(file) if kind == "pipe" else file.mkdir()
    if kind == "folder" and name in ("samples/x.png", "x"):
        return  # is in nobody's way
    refused(tmp_path / "run", "not the file of a run|not a run's config")
    if name == "config.json":
        with pytest.raises(UserError, match=r"not a run's config: .*it is not a file"):
            rundir.read(tmp_path / "run")
    assert (rundir.results(tmp_path / "run") is None) == (name == "results.json")


DEEP = "[" * 100_000
CONFIGS = {
    "deep": (DEEP, "nested too deep"),
    "a list": ("[]", "not a run's config"),
    "no bytes of text": (b"\xff\xfe", "not a run's config"),
    "a number of 99 digits": ({"seed": 10**99}, "config.json: seed is 1000.*it must be a number"),
    "a number of 5000 digits": ('{"seed": ' + "9" * 5000 + "}", "not a run's config"),
    "seeds below 1": ({"seeds": 0}, "config.json: seeds is 0"),
    "words": ({"keep": "3"}, "config.json: keep is '3'"),
    "versions that are a list": ({"versions": []}, r"config.json: versions is \[\]"),
    "resumed by words": ({"resumed": "x"}, "config.json: resumed is 'x'"),
    "no config": ({"config": None}, "config.json: config is None"),
    "NaN in it": ({"config": {"g_lr": float("nan")}}, "g.lr is nan"),
    "large in it": ({"config": {"z_dim": 2**70}}, "z.dim is 1180591620717411303424"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_other_values(done, tmp_path, name):
    """Each place is looked at before training, by --resume and by `load`."""
    shutil.copytree(done, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    value, words = CONFIGS[name]
    if isinstance(value, dict):
        saved = json.loads(file.read_text())
        inner = value.get("config") and {"config": saved["config"] | value["config"]}
        value = json.dumps(saved | value | (inner or {}))
    file.write_bytes(value if isinstance(value, bytes) else value.encode())
    refused(tmp_path / "run", words)
    with pytest.raises(UserError, match=words):
        gan_jax.load(tmp_path / "run")


ROWS = ['{"step": 2, "x": "3"}', '{"step": 2, "x": {}}', '{"step": 2, "x": [1, [2]]}', '{"step": -2, "x": 1}', "[2]", DEEP,
        '{"step": 2, "x": 1' + "0" * 400 + "}", '{"step": true, "x": 1}', '{"step": 2, "x": [[1]]}']  # fmt: skip


@pytest.mark.parametrize("seeds", [1, 2])
def test_rows_of_other_values(tmp_path, seeds, capsys):
    """They are left out before training; of several seeds those too that are of another number."""
    file, good = tmp_path / "metrics.jsonl", json.dumps({"step": 2, "x": 1.5 if seeds == 1 else [1.5, None]})
    lines = [good, *ROWS, *['{"step": 2, "x": 1}', '{"step": 2, "x": [1, 2, 3]}'] * (seeds == 2)]
    file.write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    log.Rows(file, 4, seeds)
    assert file.read_text() == good + "\n"
    assert capsys.readouterr().err.count("is no row, left out") == len(lines)


def test_rows_of_other_shapes_do_not_end_a_run_that_is_done(tmp_path):
    """What was a list of other length, or none, before: the last of a name says what it is."""
    rows_of = [{"step": 1, "shares": [1, 2], "diversity": [3.0]}, {"step": 2, "shares": [1], "diversity": 1.0}]
    assert log.alike(rows_of) == [{"step": 1}, rows_of[1]]


@pytest.mark.parametrize("text", [DEEP, "[]", "{}", '{"steps": "4", "seconds": 1}', '{"steps": 4}', b"\xff", "null"])
def test_results_that_are_none(tmp_path, text):
    """They are as if the run had not ended."""
    (tmp_path / "results.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert rundir.results(tmp_path) is None


def test_seconds_that_are_none(tmp_path):
    for text in ("nan", "inf", "-3", "x", "1e999"):
        (tmp_path / "seconds").write_text(text)
        assert log.number(tmp_path / "seconds") == 0


def test_the_first_versions_stay(tmp_path, monkeypatch):
    """Another JAX that goes on with a run is added, once; what began it is not overwritten."""
    train(tmp_path / "run", "--steps=2")
    read = lambda: json.loads((tmp_path / "run" / "config.json").read_text())
    began, own = read(), rundir.origin()
    assert "resumed" not in began
    for jax_version in ("9.9", "9.9", "8.8"):
        other = own | {"versions": own["versions"] | {"jax": jax_version}}
        monkeypatch.setattr(rundir, "origin", lambda other=other: other)
        with rundir.opened(cli.parse(unrolled.Config, unrolled.PRESETS, ["--resume", f"--out={tmp_path / 'run'}"])[1]):
            pass
    assert [one["versions"]["jax"] for one in read()["resumed"]] == ["9.9", "8.8"]
    assert {k: v for k, v in read().items() if k != "resumed"} == began


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\0b"])
def test_a_path_that_no_file_system_has(tmp_path, monkeypatch, name):
    """Too long, or with a NUL: one line, by --out, by `load` and as a data set."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"too long|NUL") as error:
        gan_jax.fit(unrolled, steps=1, out=name)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"not a run|holds no run"):
        gan_jax.load(name)
    with pytest.raises(UserError, match="there is no data set"):
        gan_jax.data.load(name)
    assert not list(tmp_path.iterdir())
