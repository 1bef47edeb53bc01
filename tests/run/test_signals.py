"""Signals: Ctrl-C and SIGTERM leave a good checkpoint within seconds, whatever goes on, and a run resumes exactly."""

import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import pytest
from runs import DIGITS, RING, end, killing, rows, same_run, start, start_training, steps, train, wait_for

import gan_jax
from gan_jax import UserError, data
from gan_jax.run import signals

SLEEPY = """
import os, sys, time
from experiments import unrolled
from gan_jax.run import cli, fit
fit.agreed = lambda stop, s: (stop and (open(os.environ["HEARD"], "w").close(), time.sleep(100)), s)
sys.argv = ["unrolled", *sys.argv[1:]]
cli.run(unrolled.main)
"""


@pytest.fixture(scope="module")
def signalled(tmp_path_factory):
    """{name: (folder, exit code, stdout, stderr)} of long runs that were sent signals."""
    out = tmp_path_factory.mktemp("of several words")  # which a shell has to be told of
    long = ["--steps=1000000", "--save-every=1000000"]
    processes = {
        "int": start_training(out / "int", *long),
        "term": start_training(out / "term", *long),
        "hup": start_training(out / "hup", *long),
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
            ("hup", signal.SIGHUP),
            ("kill", signal.SIGKILL),
            ("twice", signal.SIGINT),
        ]:
            processes[name].send_signal(number)
        processes["term"].send_signal(signal.SIGTERM)  # some schedulers say it twice
        wait_for((out / "heard").exists, processes["twice"])
        processes["twice"].send_signal(signal.SIGINT)
        return {name: (out / name, *end(process, 50)) for name, process in processes.items()}


@pytest.mark.parametrize("name, code", [("int", 130), ("term", 143), ("hup", 129)])
def test_a_signal_stops_after_the_stretch(signalled, name, code):
    """Exit code 128 + the signal's number, and on stderr one line that says how to go on."""
    out, returned, stdout, stderr = signalled[name]
    at = int(gan_jax.load(out).state.step)
    lines = [
        line
        for line in stderr.splitlines()
        if not line.startswith(("unrolled on ring8", "stopping after this", "step "))
    ]
    assert lines == [f"stopped at step {at}, saved; to go on: python -m experiments.unrolled --resume --out '{out}'"]
    assert returned == code and stdout == "" and at > 4 and not (out / "results.json").exists()


def test_a_second_signal_stops_at_once(signalled):
    """Even where the stretch would take minutes: exit code 130, one line, and the lock is let go."""
    out, code, stdout, stderr = signalled["twice"]
    assert code == 130 and stdout == "" and "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "stopped at once; what was saved before can be resumed with --resume."
    assert gan_jax.load(out).state.step == 0
    assert train(out, "--resume", "--steps=2")[0].step == 2


@pytest.mark.long
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
            patch.setattr(data, "stream", busy.stream)
            patch.setattr(signals, "GRACE", 0.02)  # so that every step counts as slow
            every = ["--eval-every=3", "--save-every=5"]
            train(out, "--stream", "--steps=20", *every, *flags, of=DIGITS, step=busy.step, sample=busy.sample)

    light(out)
    assert [row["step"] for row in rows(out)] == [2, 3, 4, 6, 8]
    return light, busy, out


@pytest.mark.long
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
from gan_jax.run.program import program
def sleep():
    open(os.environ["HEARD"], "w").close()
    time.sleep(1000)
def asleep(cfg, state, key, n):
    jax.debug.callback(sleep)
    return unrolled.sample(cfg, state, key, n)
def traced(cfg, state, batch):
    sleep()
parts = {name: getattr(unrolled, name) for name in ("setup", "init", "step", "sample")}
if os.environ["WHERE"] == "loading":
    data.resident = lambda source: sleep()
elif os.environ["WHERE"] == "compiling":
    parts["step"] = traced
elif os.environ["WHERE"] == "evaluating":
    parts["sample"] = asleep
sys.argv = ["unrolled", *sys.argv[1:]]
cli.run(program(unrolled.Config, unrolled.PRESETS, **parts))
"""


@pytest.mark.long
def test_a_process_does_not_wait_for_what_it_does(tmp_path):
    """SIGTERM is heard within 5 seconds: in training, in an evaluation or a compilation of many minutes, while loading.

    Before the first step there is nothing to save, and the process is gone by the signal itself.
    """
    ended, running = {}, ["--steps=1000000", "--save-every=1000000", "--log-every=2"]
    for where in ("loading", "compiling", "evaluating", "training"):
        flags = [*RING, f"--out={tmp_path / where}", *(running if where == "training" else ["--eval-every=4"])]
        heard = tmp_path / (f"{where}.heard" if where != "training" else "training/metrics.jsonl")
        process = start("-c", ASLEEP, *flags, WHERE=where, HEARD=str(heard))
        with killing(process):
            wait_for(lambda heard=heard: heard.exists() and (heard.suffix == ".heard" or heard.stat().st_size), process)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            ended[where] = *end(process, 100), time.monotonic() - began
    busy = max(1, os.getloadavg()[0] / os.cpu_count())  # others want the cores, too
    assert all(seconds < 5 * busy for *_, seconds in ended.values()), (busy, ended)
    assert ended["loading"][0] == -signal.SIGTERM and "Traceback" not in ended["loading"][2]
    for where in ("compiling", "training"):
        at = gan_jax.load(tmp_path / where).state.step
        assert ended[where][0] == 143 and f"stopped at step {at}, saved" in ended[where][2], ended[where]
    code, stdout, stderr, _ = ended["evaluating"]
    assert code == 143 and stdout == "" and "stopped at step 4, saved; to go on" in stderr, stderr
    out = tmp_path / "evaluating"
    assert [(row["step"], row.get("evaluated")) for row in rows(out)] == [(2, None), (4, False)]
    assert gan_jax.load(out).state.step == 4
    assert train(tmp_path / "loading", "--resume", "--steps=2")[0].step == 2


def test_a_hangup_is_heard():
    """The end of a terminal, for each signal that a run listens to; afterwards they are as before."""
    numbers = (signal.SIGHUP, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        with signals.caught() as stop:
            os.kill(os.getpid(), number)
            assert stop == [number]
    assert [signal.getsignal(number) for number in numbers] == before
