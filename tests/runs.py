"""Tiny runs for the tests: in this process, or in one of their own that reads the same compile cache."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

import gan_jax
from experiments import unrolled
from gan_jax.run import sharding
from gan_jax.run.program import program

RING = ["--batch-size=8", "--width=8", "--unroll=2", "--log-every=2", "--save-every=2", "--eval-every=0"]
DIGITS = [*RING, "--unroll=0", "--preset=default", "--dataset=digits"]


def train(out, *flags, of=RING, **parts):
    """Train the tiny unrolled GAN here, with these parts in place of its own, and return (state, results)."""
    own = {name: getattr(unrolled, name) for name in ("setup", "init", "step", "sample")}
    return program(unrolled.Config, unrolled.PRESETS, **own | parts)([*of, f"--out={out}", *flags])


def start(*arguments, **environment):
    """Start `python ARGUMENTS` and return its Popen."""
    cwd = environment.pop("cwd", None)
    return subprocess.Popen(
        [sys.executable, *arguments], env=os.environ | environment, cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def start_training(out, *flags, of=RING, **environment):
    """Start the tiny unrolled GAN as a program of its own and return its Popen."""
    return start("-m", "experiments.unrolled", *of, f"--out={out}", *flags, **environment)


def end(process, seconds=150):
    """Wait for a process, no longer than that, and return (exit code, stdout, stderr)."""
    with killing(process):
        stdout, stderr = process.communicate(timeout=seconds)
        return process.returncode, stdout, stderr


@contextlib.contextmanager
def killing(*processes):
    """See to it that no process is left behind."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def wait_for(what, process, seconds=150):
    """Return once `what()` is true; fail where the process ends before, or does not get there."""
    until = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)


def rows(out):
    """Return the rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def steps(out):
    """Return the names in a run's folder of checkpoints, in order."""
    return sorted((p.name for p in (Path(out) / "checkpoints").iterdir()), key=lambda name: (len(name), name))


def same(a, b, rtol=0.0, atol=0.0):
    """Check that two states are equal leaf by leaf, keys and dtypes included; by default bit for bit."""
    a, b = (jax.tree_util.tree_leaves_with_path(sharding.to_host(tree)) for tree in (a, b))
    assert [path for path, _ in a] == [path for path, _ in b]
    for (path, one), (_, other) in zip(a, b, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape, path
        np.testing.assert_allclose(one, other, rtol, atol, err_msg=jax.tree_util.keystr(path))


def same_run(out, whole):
    """Check that a run's state, rows and scores are those of another, to the byte."""
    same(gan_jax.load(out).state, gan_jax.load(whole).state)
    assert (out / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    results = [json.loads((folder / "results.json").read_text()) for folder in (out, whole)]
    assert all(r.pop("seconds") >= 0 for r in results) and results[0] == results[1]
