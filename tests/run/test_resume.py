"""Resumed runs: the same bits as those that were never interrupted; what is refused; and runs that go on otherwise."""

import fcntl
import json
import random
import shutil
import signal
import time

import chex
import pytest
from runs import end, rows, same, same_run, start, steps, train

import gan_jax
from gan_jax import UserError
from gan_jax.run import fit, sharding


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, state, results) of seven steps in one go."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, *train(out, "--steps=7")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a run that was interrupted at step 1, resumed, and interrupted again at step 3."""
    out = tmp_path_factory.mktemp("runs") / "interrupted"
    for resume in ([], ["--resume"]):
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after(patch, 1 + len(resume))
            with pytest.raises(SystemExit) as stopped:
                train(out, "--steps=7", *resume)
            assert stopped.value.code == 130
    assert steps(out) == ["0", "1", "2", "3"][-3:]
    return out


def interrupt_after(patch, stretches):
    """Send this process SIGINT after so many stretches of steps."""
    agreed, left = fit.agreed, iter(range(stretches + 1, -1, -1))  # it is asked once before the first stretch

    def asked(told, other):
        if not next(left):
            signal.raise_signal(signal.SIGINT)
            told = True
        return agreed(told, other)

    patch.setattr(fit, "agreed", asked)


def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_resume_is_exact(whole, interrupted, tmp_path):
    """Interrupted at odd steps between two rows and resumed, a run gives the same bits."""
    out = copy(interrupted, tmp_path)
    state, _ = train(out, "--steps=7", "--resume")
    same(state, whole[1])
    same_run(out, whole[0])


def test_resume_in_a_new_process_is_exact(whole, interrupted, tmp_path):
    """So it does where another process goes on, which needs to be told no more than the folder."""
    out = copy(interrupted, tmp_path)
    process = start("-m", "experiments.unrolled", "--resume", f"--out={out}", "--log-every=2", "--eval-every=0")
    code, stdout, stderr = end(process)
    assert code == 0 and "modes" in stdout, stderr
    same_run(out, whole[0])


@pytest.mark.long
def test_more_steps_are_exact(whole, tmp_path):
    """A finished run resumed with more steps is the longer run."""
    train(tmp_path / "short", "--steps=3")
    assert json.loads((tmp_path / "short" / "results.json").read_text())["steps"] == 3
    train(tmp_path / "short", "--steps=7", "--resume")
    same_run(tmp_path / "short", whole[0])
    assert gan_jax.load(tmp_path / "short").cfg.steps == 7


def test_a_finished_run_resumes(whole, tmp_path):
    """There is nothing left to do: the same scores, no new row, no new checkpoint."""
    out = copy(whole[0], tmp_path)
    state, results = train(out, "--resume", "--steps=7")
    same(state, whole[1])
    same_run(out, whole[0])
    assert steps(out) == steps(whole[0]) == ["4", "6", "7"] and results["steps"] == 7


def test_seconds_add_up(interrupted, tmp_path):
    """The seconds of a run that was stopped and resumed are those of all its parts."""
    out = copy(interrupted, tmp_path)
    assert float((out / "seconds").read_text()) > 0
    (out / "seconds").write_text("1000.0\n")
    train(out, "--steps=7", "--resume")
    assert 1000 < json.loads((out / "results.json").read_text())["seconds"] < 1500
    (out / "seconds").write_text("")  # cut short by a crash
    train(out, "--steps=8", "--resume")
    assert 0 < json.loads((out / "results.json").read_text())["seconds"] < 500


@pytest.mark.long
def test_the_clock_does_not_matter(whole, tmp_path, monkeypatch):
    """A wall clock that is days off at each look, before or behind, changes no byte."""
    draw, now, week = random.Random(0), time.time, 7 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: now() + draw.uniform(-week, week))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * time.time()))
    train(tmp_path / "run", "--steps=3")
    train(tmp_path / "run", "--steps=7", "--resume")
    same_run(tmp_path / "run", whole[0])
    assert time.time() != time.time() and steps(tmp_path / "run") == steps(whole[0])


@pytest.mark.parametrize(
    "flag, name, was, now",
    [
        ("--unroll=3", "unroll", "2", "3"),
        ("--seed=1", "seed", "0", "1"),
        ("--seeds=2", "seeds", "1", "2"),
        ("--g-lr=0.5", "g-lr", "0.001", "0.5"),
        ("--dataset=grid25", "dataset", "ring8", "grid25"),
    ],
)
def test_resume_refuses_another_config(whole, tmp_path, flag, name, was, now):
    """The message names the field with both values, and the run is not touched."""
    out = copy(whole[0], tmp_path)
    before = (out / "config.json").read_bytes()
    with pytest.raises(UserError, match=f"^--{name} differs: the run in .* has {was}, asked for is {now}\\.\n"):
        train(out, "--resume", "--steps=9", flag)
    assert (out / "config.json").read_bytes() == before


def test_a_run_is_not_begun_over_another(whole):
    """Without --resume an --out that holds a run is refused."""
    with pytest.raises(UserError, match="already holds a run: --resume goes on with it"):
        train(whole[0], "--steps=7")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", '{"experiment": 3}', "\xff", "\0"])
def test_garbage_in_config_json(tmp_path, text):
    """It is one line, from --resume and from load."""
    (tmp_path / "config.json").write_bytes(text.encode("latin1"))
    for use in (lambda: train(tmp_path, "--resume"), lambda: gan_jax.load(tmp_path)):
        with pytest.raises(UserError, match=r"config\.json is not a run's config: .+\.$") as error:
            use()
        assert "\n" not in str(error.value)


def test_no_run(tmp_path):
    """A folder without a run can't be resumed or loaded."""
    for use in (lambda: train(tmp_path, "--resume"), lambda: gan_jax.load(tmp_path)):
        with pytest.raises(UserError, match="holds no run"):
            use()
    assert not list(tmp_path.iterdir())


def test_one_process_a_folder(whole, tmp_path):
    """A folder whose lock is held is refused, and left as it is."""
    out = copy(whole[0], tmp_path)
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is training in"):
            train(out, "--resume", "--steps=9")
    assert gan_jax.load(out).cfg.steps == 7
    train(out, "--resume", "--steps=7")


@pytest.mark.long
def test_rekey(whole, tmp_path):
    """With --rekey a run goes on from its checkpoint with other noise and rates, says so, and then is one of its own."""
    train(tmp_path / "run", "--steps=4")
    before = sharding.to_host(gan_jax.load(tmp_path / "run").state)
    with pytest.raises(UserError, match="--g-lr differs"):
        train(tmp_path / "run", "--steps=6", "--resume", "--g-lr=1e-5")
    with pytest.raises(UserError, match="--width differs"):
        train(tmp_path / "run", "--steps=6", "--resume", "--rekey=1", "--width=9")
    state, _ = train(tmp_path / "run", "--steps=6", "--resume", "--rekey=1", "--g-lr=0")
    chex.assert_trees_all_equal(sharding.to_host(state.g.params), before.g.params)  # on from there, at the new rate
    assert not (sharding.to_host(state.key) == before.key).all()
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["rekey"] == 1 and saved["config"]["g_lr"] == 0
    again, _ = train(tmp_path / "run", "--steps=8", "--resume")  # takes both from there
    same(again.key, state.key)
    chex.assert_trees_all_equal(sharding.to_host(again.g.params), before.g.params)
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8]
