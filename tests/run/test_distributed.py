"""Two real processes, one device each, are the same run as one process with several devices."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import time
import types
from pathlib import Path

import jax
import pytest
from runs import DIGITS, RING, end, killing, rows, same, start, steps, train, wait_for

import gan_jax
from experiments import unrolled
from gan_jax import UserError
from gan_jax.run import cli, fit, processes, rundir
from gan_jax.run.options import Run

# The second process comes late, and must not take what the first one has written by then for another run.
LATE = """
import sys, time
from experiments import unrolled
from gan_jax.run import cli, rundir
opened = rundir.opened
rundir.opened = lambda *given: time.sleep(2) or opened(*given)
cli.run(unrolled.main)
"""
ONE_DEVICE = {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=1")}


def together(out, *flags, n=2, of=RING, meanwhile=lambda processes: None, programs=None, others=(), **more):
    """Train in n processes that share a folder, and return (exit code, stdout without Gloo's, stderr) of each.

    programs: what each runs. others: flags that the second one has besides.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        cluster = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free.getsockname()[1]}", "JAX_NUM_PROCESSES": str(n)}
    flags = [*of, f"--out={out}", "--cpu", "--distributed", *flags]
    processes = [
        start(*program, *flags, *others[: 9 * i], JAX_PROCESS_ID=str(i), **cluster, **ONE_DEVICE, **more)
        for i, program in enumerate(programs or [("-m", "experiments.unrolled"), *[("-c", LATE)] * (n - 1)])
    ]
    with killing(*processes):
        meanwhile(processes)
        ended = [end(process) for process in processes]
        return [(code, re.sub(r"\[Gloo\].*\n", "", stdout), stderr) for code, stdout, stderr in ended]


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """(folder of two processes, folder of one, what was said): stopped by a signal, and begun again from step 0."""
    out = tmp_path_factory.mktemp("distributed")

    def stop(processes):
        wait_for(lambda: (out / "two" / "metrics.jsonl").exists() and rows(out / "two"), processes[0])
        processes[1].send_signal(signal.SIGTERM)

    stopped = together(out / "two", "--steps=1000000", "--save-every=1000000", meanwhile=stop)
    at = steps(out / "two")[-1]
    (out / "two" / "checkpoints" / at / "digests" / "metadata").write_text("{}")
    ended = together(out / "two", "--steps=6", "--resume")
    train(out / "one", "--steps=6")
    return out / "two", out / "one", at, stopped, ended


@pytest.mark.long
def test_a_signal_to_one_stops_both(ring):
    """They stop after the same step with exit code 143, and the first one says how to go on."""
    folder, _, at, stopped, _ = ring
    assert [code for code, *_ in stopped] == [143, 143], stopped
    assert f"stopped at step {at}, saved; to go on" in stopped[0][2] and int(at) > 0
    assert f"{at}.bad" in steps(folder)


@pytest.mark.long
def test_only_the_first_speaks(ring):
    """The second process says nothing at all; the first names its devices, and the checkpoint that it set aside."""
    *_, at, stopped, ended = ring
    assert [code for code, *_ in ended] == [0, 0], ended
    for first, second in (stopped, ended):
        assert second[1:] == ("", "") and "unrolled on ring8: 1 seed, 2 x cpu" in first[2]
    assert f"checkpoint {at} is bad: its digest differs" in ended[0][2] and "steps 6" in ended[0][1]


def test_two_processes_are_one_run(ring):
    """State and rows are those of one process with four devices (1e-6)."""
    two, one, *_ = ring
    same(gan_jax.load(two).state, gan_jax.load(one).state, atol=1e-6)
    assert [row["step"] for row in rows(two)] == [2, 4, 6]
    for ours, theirs in zip(rows(two), rows(one), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.long
def test_one_process_goes_on(ring):
    """A run of two processes is resumed by one with four devices, to the state of the run of one (1e-6)."""
    states = [train(folder, "--steps=8", "--resume")[0] for folder in ring[:2]]
    assert states[0].step == 8
    same(*states, atol=1e-6)


@pytest.mark.slow
def test_a_streamed_run(tmp_path):
    """Each process reads its half of the records, both prepare the set at once, and the state is that of one (1e-6)."""
    ended = together(tmp_path / "two", "--steps=4", "--stream", of=DIGITS, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert [code for code, *_ in ended] == [0, 0] and ended[1][1:] == ("", ""), ended
    state, _ = train(tmp_path / "one", "--steps=4", of=DIGITS)
    same(gan_jax.load(tmp_path / "two").state, state, atol=1e-6)


@pytest.mark.slow
def test_four_processes_are_one_run(tmp_path):
    """State and rows are those of one process with four devices (1e-6)."""
    assert [code for code, *_ in together(tmp_path / "four", "--steps=6", n=4)] == [0] * 4
    same(gan_jax.load(tmp_path / "four").state, train(tmp_path / "one", "--steps=6")[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed(tmp_path, killed):
    """The other one ends within seconds, with two lines that say so, and one process goes on from the checkpoint."""

    def kill(processes):
        wait_for(lambda: (tmp_path / "run" / "checkpoints" / "20").exists(), processes[0], 300)
        processes[killed].kill()
        assert processes[1 - killed].wait(20) == 1

    ended = together(tmp_path / "run", "--steps=1000000", "--save-every=20", "--keep=100", meanwhile=kill)
    assert "the other processes can't be reached: " in ended[1 - killed][2]
    assert ended[1 - killed][2].endswith("Start again with --resume.\n") and "Traceback" not in ended[1 - killed][2]
    at = int(gan_jax.load(tmp_path / "run").state.step)
    assert at >= 20 and train(tmp_path / "run", f"--steps={at + 2}", "--resume")[0].step == at + 2


@pytest.mark.long
@pytest.mark.parametrize("differ", [{"--g-lr": ("0.001", "0.01"), "--seed": ("0", "3")}, {"--steps": ("4", "6")}])
def test_processes_that_were_started_differently(tmp_path, differ):
    """Before anything is made, each ends with exit code 2 and names the flags that differ, the folder among them."""
    others = *(f"{name}={theirs}" for name, (_, theirs) in differ.items()), f"--out={tmp_path / 'other'}"
    programs = [("-m", "experiments.unrolled")] * 2
    ended = together(tmp_path / "run", "--steps=4", programs=programs, others=others)
    for i, (code, stdout, stderr) in enumerate(ended):
        lines = stderr.splitlines()
        assert code == 2 and stdout == "" and len(lines) == 2, ended
        for name, values in differ.items():
            assert f"{name} is {values[i]} on process {i}, {values[1 - i]} on {1 - i}" in lines[0]
        assert "--out is " in lines[0] and "with the same flags, code, data and packages" in lines[1]
    assert not list(tmp_path.iterdir())


class Store(dict):
    """What the processes have in common, as JAX's client has it."""

    key_value_set = dict.__setitem__

    def blocking_key_value_get(self, key, _):
        return self[key]


def test_data_that_differ(monkeypatch, tmp_path):
    """A set that is not the same one for all processes, under one name, is refused by each of them."""
    store = Store({"gan_jax/data/1": json.dumps({"the data": "digits 0123"})})
    monkeypatch.setattr(processes, "_watch", types.SimpleNamespace(client=store, own=0, n=2))
    setup = unrolled.setup(dataclasses.replace(unrolled.PRESETS["tiny"], dataset="digits"))
    with pytest.raises(UserError, match=r"the data is digits digits-.* on process 0, digits 0123 on 1.\n.*data"):
        fit.check_data(Run(experiment="experiments.unrolled"), setup)
    store["gan_jax/data/1"] = store["gan_jax/data/0"]
    fit.check_data(Run(experiment="experiments.unrolled"), setup)


def test_code_that_differs():
    """Other bytes of the experiment's file, or of any file of the library, are another name."""
    cfg = unrolled.PRESETS["tiny"]
    asked = cli.asked(cfg, cli.Run(out="runs/x"), "experiments.unrolled")
    assert asked["--g-lr"] == "0.001" and asked["--out"] == "'runs/x'" and "--distributed" not in asked
    assert (
        asked["the code of experiments.unrolled"]
        == rundir.digest(Path(unrolled.__file__))
        != rundir.digest(Path(__file__))
    )
    assert len({asked["the code of gan_jax"], rundir.digest(), rundir.digest(Path(cli.__file__))}) == 3


# An evaluation of many minutes
STUCK = """
import os, sys, time
from experiments import unrolled
from gan_jax.run import cli, evaluate, signals
def asleep(self, state, keys, at, stop, name=""):
    open(os.environ["HEARD"] + os.environ["JAX_PROCESS_ID"], "w").close()
    return signals.unless_stopped(stop, time.sleep, 1000)
evaluate.Evaluator.__call__ = asleep
sys.argv = ["unrolled", *sys.argv[1:]]
cli.run(unrolled.main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("where", ["training", "evaluating"])
def test_a_process_that_is_lost(tmp_path, number, lost, where):
    """Whatever is waited for: the other one, which gets SIGTERM, ends within 30 seconds, exit code 1, in two lines."""
    took = []

    def lose(processes):
        heard = [tmp_path / f"heard{i}" for i in range(2)]
        there = (tmp_path / "run" / "checkpoints" / "20").exists
        wait_for(there if where == "training" else lambda: all(f.exists() for f in heard), processes[0], 300)
        processes[lost].send_signal(number)
        time.sleep(0.5)
        with contextlib.suppress(ProcessLookupError):
            processes[1 - lost].send_signal(signal.SIGTERM)
        began = time.monotonic()
        processes[1 - lost].wait(60)
        took.append(time.monotonic() - began)
        processes[lost].kill()

    eval_every = 4 if where == "evaluating" else 0
    flags = "--steps=1000000", "--save-every=20", f"--eval-every={eval_every}"
    programs = [("-c", STUCK)] * 2
    ended = together(tmp_path / "run", *flags, meanwhile=lose, programs=programs, HEARD=str(tmp_path / "heard"))
    code, _, stderr = ended[1 - lost]
    assert code == 1 and took[0] < 30, (took, stderr)
    assert stderr.splitlines()[-1] == "Start again with --resume." and "Traceback" not in stderr, stderr
    assert "stack trace" not in stderr, stderr


# A limit on the size of files, for a disk that is full: of the process whose turn it is
FULL = """
import os, resource, sys
from experiments import unrolled
from gan_jax.run import checkpoint, cli
save = checkpoint.Checkpoints.save
def full(self, step, state):
    if step and os.environ["JAX_PROCESS_ID"] == os.environ["FULL"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        open(os.environ["HEARD"], "w").close()
    save(self, step, state)
checkpoint.Checkpoints.save = full
checkpoint.FULL += (27,)
sys.argv = ["unrolled", *sys.argv[1:]]
cli.run(unrolled.main)
"""


@pytest.mark.slow
def test_a_full_disk(tmp_path):
    """Of the process that writes: both end within 30 seconds, it with exit code 2 and the reason, the other with 1."""
    took, full = [], 0

    def measure(processes):
        wait_for((tmp_path / "full").exists, processes[full], 300)
        began = time.monotonic()
        for process in processes:
            process.wait(60)
        took.append(time.monotonic() - began)

    programs = [("-c", FULL)] * 2
    flags = "--steps=1000000", "--save-every=20"
    ended = together(
        tmp_path / "run", *flags, meanwhile=measure, programs=programs, FULL=str(full), HEARD=str(tmp_path / "full")
    )
    (code, _, stderr), (other, _, heard) = ended[full], ended[1 - full]
    assert (code, other) == (2, 1) and took[0] < 30, (took, ended)
    assert "File too large" in stderr.splitlines()[-2] + stderr.splitlines()[-1], stderr
    assert heard.splitlines()[-2].startswith(f"process {full} ended: ") and "File too large" in heard, heard
    assert all("Traceback" not in said and "stack trace" not in said for said in (stderr, heard)), ended
    assert gan_jax.load(tmp_path / "run").state.step >= 0


def test_several_processes_need_a_folder(monkeypatch, tmp_path):
    """Without --out each would choose one by its own clock."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="several processes need the same --out"):
        unrolled.main([*RING, "--steps=2"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("environment", [{}, {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "two"}])
def test_no_cluster(tmp_path, environment):
    """Where it is not said who the others are, that is two lines that name the variables."""
    process = start("-m", "experiments.unrolled", *RING, "--distributed", cwd=str(tmp_path), **environment)
    code, stdout, stderr = end(process)
    assert code == 2 and stdout == "" and len(stderr.splitlines()) == 2, stderr
    assert "the processes could not be joined: " in stderr and "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PR" in stderr
    assert not list(tmp_path.iterdir())


JOINED = """
import signal
from gan_jax.run import sharding
sharding.choose("cpu", True)
signal.raise_signal(signal.SIGTERM)
"""


def test_sigterm_ends_a_process_that_has_joined():
    """As it would without the others, whatever JAX listens for."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    cluster = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}
    code, _, stderr = end(start("-c", JOINED, **cluster))
    assert code == -signal.SIGTERM, stderr
