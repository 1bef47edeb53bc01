"""Runs: interrupted and resumed ones are the same bit for bit, and what ends a run leaves a good checkpoint."""

import dataclasses
import fcntl
import functools
import json
import os
import random
import shutil
import signal
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from runs import DIGITS, RING, end, killing, rows, same, start, start_training, steps, train, wait_for

import gan_jax
from experiments import unrolled
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.run import loop, mesh, plots, signals


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
    agreed, left = loop._agreed, iter(range(stretches, -1, -1))
    patch.setattr(loop, "_agreed", lambda *given: (next(left) or signal.raise_signal(signal.SIGINT), agreed(*given))[1])


def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def same_run(out, whole):
    """Check that a run's state, rows and scores are those of another, to the byte."""
    same(gan_jax.load(out).state, gan_jax.load(whole).state)
    assert (out / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    results = [json.loads((folder / "results.json").read_text()) for folder in (out, whole)]
    assert all(r.pop("seconds") >= 0 for r in results) and results[0] == results[1]


# Resume


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
        with pytest.raises(UserError, match=r"config\.json is not a run's config: \w+\.$") as error:
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


# What a run writes


def test_files(whole):
    """config.json says what was asked for, results.json what came out; a row is the metrics of its step."""
    out, state, results = whole
    config = json.loads((out / "config.json").read_text())
    cfg = dataclasses.replace(unrolled.PRESETS["default"], steps=7, batch_size=8, width=8, unroll=2)
    assert config.pop("versions").keys() == {"gan_jax", "jax", "flax", "optax"}
    assert config.pop("machine").keys() == {"device", "devices", "cpu", "threads", "python"} and "commit" in config
    del config["commit"]
    assert config == {
        "experiment": "experiments.unrolled", "config": dataclasses.asdict(cfg), "seed": 0, "seeds": 1, "rekey": 0,
        "precision": "default", "deterministic": False,
    }  # fmt: skip
    written = json.loads((out / "results.json").read_text())
    assert written == results and list(written) == [
        "diversity", "high_quality", "modes", "reverse_kl", "steps", "seconds", "health"
    ]  # fmt: skip
    assert len(written["health"]) == 1
    assert [row["step"] for row in rows(out)] == [2, 4, 6] and state.step == 7
    assert all(row.keys() == {"step", "loss/g", "loss/d", "score/real", "score/fake"} for row in rows(out))
    assert (out / "curves.png").stat().st_size > 0 and (out / "samples" / "final.png").stat().st_size > 0


def test_scan_fit_is_the_same_loop(whole):
    """The run inside one jit ends at the same state (1e-6) by way of the same metrics."""
    cfg, key, source = gan_jax.load(whole[0]).cfg, jax.random.key(0), data.load("ring8")
    step, init = (functools.partial(f, cfg) for f in (unrolled.step, unrolled.init))
    batch_at = lambda i: data.batch(source, {}, key, i, 8)
    state, metrics = jax.jit(lambda: loop.scan_fit(step, init(key), batch_at, 7))()
    same(state, whole[1], atol=1e-6)
    for row in rows(whole[0]):
        for name, value in metrics.items():
            np.testing.assert_allclose(row[name], value[row["step"] - 1], atol=1e-6)


def test_rows_of_evaluations(tmp_path, monkeypatch):
    """Evaluations stand in the row of their step, or in one of their own, with a picture."""
    monkeypatch.setattr(unrolled, "step", counting)
    train(tmp_path / "run", "--steps=6", "--eval-every=3")
    assert [sorted(row) for row in rows(tmp_path / "run")] == [
        ["loss", "step"], ["diversity", "high_quality", "labels", "modes", "reverse_kl", "step"], ["loss", "step"],
        ["diversity", "high_quality", "labels", "loss", "modes", "reverse_kl", "step"],
    ]  # fmt: skip
    assert {p.name for p in (tmp_path / "run" / "samples").iterdir()} == {"00000003.png", "00000006.png", "final.png"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_an_experiment_measures(tmp_path, monkeypatch, seeds):
    """`measure` sees both splits whole; its numbers go to the rows and the results, its images become pictures."""

    def measured(state, key, train, test):
        x = data.decode(test)["x"]
        return {"records": jnp.float32(len(train["x"]) + len(x) / 1000), "first": x[:6].reshape(2, 3, 8, 8, 1)}

    fit = lambda run, source, *parts, **rest: loop.fit(run, source, *parts, measured, **rest)
    monkeypatch.setattr(unrolled, "fit", fit)
    _, results = train(tmp_path / "run", "--steps=2", "--eval-every=1", f"--seeds={seeds}", of=DIGITS)
    assert np.shape(results["records"]) == (() if seeds == 1 else (2,)) and np.allclose(results["records"], 1497.3)
    assert all("records" in row and "first" not in row for row in rows(tmp_path / "run"))
    pictures = tmp_path / "run" / "samples"
    assert {f"first-{at}.png" for at in ("00000001", "00000002", "final")} < {p.name for p in pictures.iterdir()}
    x = data.decode(data.resident(data.load("digits").test))["x"][:6]
    with Image.open(pictures / "first-final.png") as picture:
        small = np.asarray(picture.resize((24, 16), Image.NEAREST))
    np.testing.assert_array_equal(small, plots.grid(x, 3)[..., 0])


def test_nothing_is_measured_without_a_test_split(tmp_path, monkeypatch):
    """On a toy, and on a set that holds nothing out, `measure` is not called."""
    fit = lambda run, source, *parts, **rest: loop.fit(run, source, *parts, lambda *_: 1 / 0, **rest)
    monkeypatch.setattr(unrolled, "fit", fit)
    train(tmp_path / "run", "--steps=1")


def test_a_step_may_end_the_run(tmp_path, monkeypatch):
    """A metric "stop" of 1 ends the run at the next row, as a finished one."""

    def until_four(cfg, state, batch):
        return state._replace(step=state.step + 1), {"stop": (state.step >= 2).astype(jnp.float32)}

    monkeypatch.setattr(unrolled, "step", until_four)
    state, results = train(tmp_path / "run", "--steps=20")
    assert state.step == results["steps"] == 4 and [row["stop"] for row in rows(tmp_path / "run")] == [0, 1]


@pytest.mark.parametrize("flags", [[], ["--dataset=digits", "--stream"]], ids=["resident", "streamed"])
def test_a_stretch_has_an_end(tmp_path, monkeypatch, flags):
    """However rare the rows, one dispatch makes no more steps than there is room for."""
    lengths = []
    monkeypatch.setattr(loop, "advancer", lambda *given: lengths.append(given[5]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "run", "--log-every=2000000000", *flags)
    assert lengths[0] * (8 * 64 if flags else 1) <= 2**26


def counting(cfg, state, batch):
    """A step that only counts."""
    return state._replace(step=state.step + 1), {"loss": batch["x"].mean()}


# Streams


def test_streamed_and_resident_runs_are_the_same(tmp_path):
    """Both ways end at the same state bit for bit, and a resident run goes on as a streamed one."""
    resident, _ = train(tmp_path / "resident", "--steps=5", of=DIGITS)
    streamed, _ = train(tmp_path / "streamed", "--steps=5", "--stream", of=DIGITS)
    same(resident, streamed)
    assert rows(tmp_path / "resident") == rows(tmp_path / "streamed") != []
    train(tmp_path / "both", "--steps=3", of=DIGITS)
    same(train(tmp_path / "both", "--steps=5", "--resume", "--stream", of=DIGITS)[0], resident)


def test_the_stream_is_used(tmp_path, monkeypatch):
    """--stream never asks for the resident arrays; each way sees the records that `order` names."""
    monkeypatch.setattr(unrolled, "step", labels)
    train(tmp_path / "resident", "--steps=4", of=DIGITS)
    monkeypatch.setattr(data, "resident", None)
    train(tmp_path / "streamed", "--steps=4", "--stream", of=DIGITS)
    source = data.load("digits")
    for at, *both in zip((2, 4), rows(tmp_path / "resident"), rows(tmp_path / "streamed"), strict=True):
        indices = data.order(rng.at(jax.random.key(0), 0, "data"), at - 1, 8, source.n)
        expected = int(source.read(np.asarray(indices))["y"] @ 10 ** np.arange(8))
        assert [row["spelled"] for row in both] == [expected, expected]


def labels(cfg, state, batch):
    """A step whose metric spells out the labels of its batch."""
    return state._replace(step=state.step + 1), {"spelled": (batch["y"] * 10 ** np.arange(8)).sum()}


# Seeds


def test_two_seeds_are_two_runs(whole, tmp_path):
    """--seeds 2 gives the states and rows of --seed 0 and --seed 1 (1e-6)."""
    both, results = train(tmp_path / "both", "--steps=7", "--seeds=2")
    other, _ = train(tmp_path / "other", "--steps=7", "--seed=1")
    for i, (state, out) in enumerate([(whole[1], whole[0]), (other, tmp_path / "other")]):
        same(jax.tree.map(lambda a, i=i: a[i], both), state, atol=1e-6)
        for row, of_both in zip(rows(out), rows(tmp_path / "both"), strict=True):
            assert row["loss/d"] == pytest.approx(of_both["loss/d"][i], abs=1e-6)
    assert results["modes"].shape == (2,) and rows(out) != rows(whole[0])


# What goes wrong


def bad_loss(cfg, state, batch):
    """A step whose fifth update has a loss that is not a number."""
    return counting(cfg, state, {"x": jnp.where(state.step == 4, jnp.nan, batch["x"])})


def bad_state(cfg, state, batch):
    """A step whose fifth update spoils the state, with no metric to tell."""
    spoil = lambda a: jnp.where(state.step == 4, jnp.inf, a)
    state = state._replace(d=state.d._replace(params=jax.tree.map(spoil, state.d.params)))
    return counting(cfg, state, batch)


@pytest.mark.parametrize(
    "step, where", [(bad_loss, "loss is not finite at step 5"), (bad_state, r"state\.d\.params.* at step 6")]
)
def test_divergence(tmp_path, monkeypatch, step, where):
    """The message names the step and the last good checkpoint, which is there at once; nothing bad is saved."""
    monkeypatch.setattr(unrolled, "step", step)
    with pytest.raises(UserError, match=f"^{where}.*; the last good checkpoint, of step 4, is in {tmp_path}"):
        train(tmp_path / "run", "--steps=9")
    assert steps(tmp_path / "run") == ["0", "2", "4"]
    state = gan_jax.load(tmp_path / "run").state
    assert state.step == 4 and all(np.isfinite(a).all() for a in jax.tree.leaves(state.d))
    monkeypatch.setattr(unrolled, "step", counting)
    assert train(tmp_path / "run", "--steps=9", "--resume")[0].step == 9
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8]


def test_rekey(whole, tmp_path):
    """With --rekey a run goes on from its checkpoint with other noise and rates, says so, and then is one of its own."""
    train(tmp_path / "run", "--steps=4")
    before = mesh.to_host(gan_jax.load(tmp_path / "run").state)
    with pytest.raises(UserError, match="--g-lr differs"):
        train(tmp_path / "run", "--steps=6", "--resume", "--g-lr=1e-5")
    with pytest.raises(UserError, match="--width differs"):
        train(tmp_path / "run", "--steps=6", "--resume", "--rekey=1", "--width=9")
    state, _ = train(tmp_path / "run", "--steps=6", "--resume", "--rekey=1", "--g-lr=0")
    chex.assert_trees_all_equal(mesh.to_host(state.g.params), before.g.params)  # on from there, at the new rate
    assert not (mesh.to_host(state.key) == before.key).all()
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["rekey"] == 1 and saved["config"]["g_lr"] == 0
    again, _ = train(tmp_path / "run", "--steps=8", "--resume")  # takes both from there
    same(again.key, state.key)
    chex.assert_trees_all_equal(mesh.to_host(again.g.params), before.g.params)
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8]


# Signals

SLEEPY = """
import os, sys, time
from experiments import unrolled
from gan_jax.run import cli, loop
loop._agreed = lambda stop, s: (stop and (open(os.environ["HEARD"], "w").close(), time.sleep(100)), s)
sys.argv = ["unrolled", *sys.argv[1:]]
cli.run(unrolled.main)
"""


@pytest.fixture(scope="module")
def signalled(tmp_path_factory):
    """{name: (folder, exit code, stdout, stderr)} of long runs that were sent signals."""
    out = tmp_path_factory.mktemp("signalled")
    long = ["--steps=1000000", "--save-every=1000000"]
    processes = {
        "int": start_training(out / "int", *long),
        "term": start_training(out / "term", *long),
        "kill": start_training(out / "kill", *long, "--save-every=20"),
        "twice": start("-c", SLEEPY, *RING, f"--out={out / 'twice'}", *long, HEARD=str(out / "heard")),
    }
    with killing(*processes.values()):
        for name, process in processes.items():
            file = out / name / "metrics.jsonl"
            wait_for(lambda file=file: file.exists() and file.read_text().count("\n") > 2, process)
        wait_for(lambda: any(s.isdigit() and int(s) > 0 for s in steps(out / "kill")), processes["kill"])
        with pytest.raises(UserError, match="another process is training in"):
            train(out / "kill", "--resume")
        for name, number in [
            ("int", signal.SIGINT),
            ("term", signal.SIGTERM),
            ("kill", signal.SIGKILL),
            ("twice", signal.SIGINT),
        ]:
            processes[name].send_signal(number)
        processes["term"].send_signal(signal.SIGTERM)  # some schedulers say it twice
        wait_for((out / "heard").exists, processes["twice"])
        processes["twice"].send_signal(signal.SIGINT)
        return {name: (out / name, *end(process, 50)) for name, process in processes.items()}


@pytest.mark.parametrize("name, code", [("int", 130), ("term", 143)])
def test_a_signal_stops_after_the_stretch(signalled, name, code):
    """Exit code 128 + the signal's number, and on stderr one line that says how to go on."""
    out, returned, stdout, stderr = signalled[name]
    at = int(gan_jax.load(out).state.step)
    lines = [
        line
        for line in stderr.splitlines()
        if not line.startswith(("unrolled on ring8", "stopping after this", "step "))
    ]
    assert lines == [f"stopped at step {at}, saved; to go on: python -m experiments.unrolled --resume --out {out}"]
    assert returned == code and stdout == "" and at > 4 and not (out / "results.json").exists()


def test_a_second_signal_stops_at_once(signalled):
    """Even where the stretch would take minutes: exit code 130, one line, and the lock is let go."""
    out, code, stdout, stderr = signalled["twice"]
    assert code == 130 and stdout == "" and "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "stopped at once; what was saved before can be resumed with --resume."
    assert gan_jax.load(out).state.step == 0
    assert train(out, "--resume", "--steps=2")[0].step == 2


def test_killed_and_stopped_runs_resume_exactly(signalled, tmp_path):
    """After SIGINT, SIGTERM and kill -9 alike the run goes on to the same bytes."""
    assert signalled["kill"][1] == -signal.SIGKILL
    folders = [signalled[name][0] for name in ("int", "term", "kill")]
    n = max(int(gan_jax.load(out).state.step) for out in folders) + 3
    train(tmp_path / "whole", f"--steps={n}", "--save-every=1000000")
    for out in folders:
        train(out, f"--steps={n}", "--save-every=1000000", "--resume")
        same_run(out, tmp_path / "whole")


# A signal where something takes long


class Busy:
    """A light step, sample and stream that say where they are; at one place SIGTERM comes, and it takes for ever."""

    def __init__(self):
        self.place, self.over, self.batches, self.waited_for = None, threading.Event(), data.stream, False

    def at(self, place):
        if place == self.place:
            self.place = None
            os.kill(os.getpid(), signal.SIGTERM)
            self.waited_for = not self.over.wait(30)

    def step(self, cfg, state, batch):
        self.at("compiling")
        jax.debug.callback(lambda step: self.at(f"step {step}"), state.step)
        mean = batch["x"].mean()
        d = state.d._replace(params=jax.tree.map(lambda a: a + mean, state.d.params))
        return state._replace(step=state.step + 1, d=d), {"loss": mean, "stop": (state.step >= 7).astype(jnp.float32)}

    def sample(self, cfg, state, key, n):
        jax.debug.callback(lambda step: self.at(f"evaluation {step}"), state.step)
        return jax.tree.leaves(state.d.params)[0].mean() + jax.random.normal(key, (n, 8, 8, 1))

    def stream(self, *given):
        for i, batch in enumerate(self.batches(*given)):
            self.at(f"batch {i}")
            yield batch


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """(train for Busy runs, Busy, the folder of a run that nothing happened to, which ends itself at step 8)."""
    busy, out = Busy(), tmp_path_factory.mktemp("busy") / "whole"

    def light(out, *flags):
        with pytest.MonkeyPatch.context() as patch:
            for module, name in [(unrolled, "step"), (unrolled, "sample"), (data, "stream")]:
                patch.setattr(module, name, getattr(busy, name))
            patch.setattr(signals, "GRACE", 0.02)  # so that every step counts as slow
            train(out, "--stream", "--steps=20", "--eval-every=3", "--save-every=5", *flags, of=DIGITS)

    light(out)
    assert [row["step"] for row in rows(out)] == [2, 3, 4, 6, 8]
    return light, busy, out


@pytest.mark.parametrize(
    "place, at",
    [("compiling", 0), ("step 1", 1), ("batch 2", 2), ("evaluation 3", 3), ("evaluation 6", 6), ("evaluation 8", 8)],
)
def test_sigterm_is_heard_everywhere(busy, place, at, tmp_path):
    """The state is saved and the run left, whatever goes on; resumed, it gives the same bytes, pictures too."""
    light, busy, whole = busy
    busy.place, busy.waited_for = place, False
    busy.over.clear()
    with pytest.raises(SystemExit) as stopped:
        light(tmp_path / "run")
    assert stopped.value.code == 143 and busy.place is None and not busy.waited_for
    state = gan_jax.load(tmp_path / "run").state
    assert state.step == at and jax.dtypes.issubdtype(state.key.dtype, jax.dtypes.prng_key)
    busy.over.set()
    light(tmp_path / "run", "--resume")
    same_run(tmp_path / "run", whole)
    pictures = [{p.name: p.read_bytes() for p in (run / "samples").iterdir()} for run in (tmp_path / "run", whole)]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 3


ASLEEP = """
import os, sys, time
import jax
from experiments import unrolled
from gan_jax import data
from gan_jax.run import cli
resident, sample = data.resident, unrolled.sample
def sleep():
    open(os.environ["HEARD"], "w").close()
    time.sleep(1000)
def asleep(cfg, state, key, n):
    jax.debug.callback(sleep)
    return sample(cfg, state, key, n)
if os.environ["WHERE"] == "loading":
    data.resident = lambda source: sleep()
else:
    unrolled.sample = asleep
sys.argv = ["unrolled", *sys.argv[1:]]
cli.run(unrolled.main)
"""


def test_a_process_does_not_wait_for_what_it_does(tmp_path):
    """A program that is told to stop in an evaluation of many minutes saves and is gone; while it loads, it is gone."""
    places = ("loading", "evaluating")
    processes = [
        start("-c", ASLEEP, *RING, f"--out={tmp_path / where}", "--eval-every=4", WHERE=where,
              HEARD=str(tmp_path / f"{where}.heard"))
        for where in places
    ]  # fmt: skip
    with killing(*processes):
        for where, process in zip(places, processes, strict=True):
            wait_for((tmp_path / f"{where}.heard").exists, process)
            process.send_signal(signal.SIGTERM)
        loading, evaluating = (end(process, 100) for process in processes)
    assert loading[0] == -signal.SIGTERM and "Traceback" not in loading[2]
    code, stdout, stderr = evaluating
    assert code == 143 and stdout == "" and "stopped at step 4, saved; to go on" in stderr, stderr
    out = tmp_path / "evaluating"
    assert [(row["step"], row.get("evaluated")) for row in rows(out)] == [(2, None), (4, False)]
    assert gan_jax.load(out).state.step == 4
    assert train(tmp_path / "loading", "--resume", "--steps=2")[0].step == 2
