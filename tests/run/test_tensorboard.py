"""Events for TensorBoard, read back as it reads them: what a restart takes back is gone."""

import io
import itertools
import signal
import struct

import jax
import numpy as np
import pytest
from PIL import Image
from runs import RING
from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from experiments import unrolled
from gan_jax.run import evaluate, fit, log
from gan_jax.run.program import program

FLAGS = ["--steps=6", "--eval-every=3", "--log-every=1", "--tensorboard"]


def train(out, *flags):
    """Train the tiny unrolled GAN with events, and return (state, results)."""
    parts = (getattr(unrolled, name) for name in ("setup", "init", "step", "sample"))
    return program(unrolled.Config, unrolled.PRESETS, *parts)([*RING, *FLAGS, f"--out={out}", *flags])


def interrupted(out, monkeypatch, stretches, *flags):
    """Train, and send this process SIGINT after so many stretches of steps."""
    agreed, left = fit.agreed, itertools.chain(range(stretches, -1, -1), itertools.repeat(1))
    with monkeypatch.context() as patch:
        patch.setattr(fit, "agreed", lambda *of: (next(left) or signal.raise_signal(signal.SIGINT), agreed(*of))[1])
        with pytest.raises(SystemExit):
            train(out, *flags)


def masked(data):
    x = crc32c(data) & 0xFFFFFFFF
    return ((x >> 15 | x << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(file):
    """Yield the bytes of each record; a length, its checksum, the data, their checksum."""
    data = file.read_bytes()
    while data:
        (size,), (of_size,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert of_size == masked(data[:8])
        body, data = data[12 : 12 + size], data[12 + size :]
        assert len(body) == size and struct.unpack("<I", data[:4])[0] == masked(body)
        yield body
        data = data[4:]


def shown(out):
    """Return [(tag, step, value)] as TensorBoard shows them: a session's start purges its step and all later ones."""
    found = []
    for file in sorted((out / "tensorboard").iterdir()):
        for body in records(file):
            event = event_pb2.Event.FromString(body)
            if event.HasField("session_log") and event.session_log.status == event_pb2.SessionLog.START:
                found = [one for one in found if one[1] < event.step]
            for value in event.summary.value:
                image = value.image.encoded_image_string if value.HasField("image") else None
                found.append((value.tag, event.step, image if image is not None else value.simple_value))
    return found


def check(out, seeds=1):
    """Check that every number of every row, and the picture of every evaluation, is shown once."""
    found = shown(out)
    assert len({one[:2] for one in found}) == len(found), "a step is repeated"
    table = {(tag, step): value for tag, step, value in found}
    expected = {
        (name, row["step"]): value for row in log.read_rows(out / "metrics.jsonl", seeds) for name, value in row.items()
    }
    expected = {key: value for key, value in expected.items() if key[0] not in ("step", "shares")}
    for (name, step), value in expected.items():
        value = np.asarray(value, float)  # what is not finite stands there as null
        assert np.isclose(table.pop((name, step)), np.mean(value), rtol=1e-6) or not np.isfinite(np.mean(value))
        for i in range(seeds if seeds > 1 else 0):
            one = table.pop((f"{name}/seed{i}", step))
            assert np.isclose(one, value[i], rtol=1e-6) or not np.isfinite(value[i])
    pictures = {step: value for (tag, step), value in table.items() if tag == "samples"}
    assert len(pictures) == len(table), table.keys()
    return pictures


@pytest.mark.long
@pytest.mark.parametrize("seeds", [1, 2])
def test_a_number_is_missing(tmp_path, seeds):
    """All rows and pictures are there: the very ones of metrics.jsonl and samples/, of each seed under its name."""
    train(tmp_path / "run", f"--seeds={seeds}")
    pictures = check(tmp_path / "run", seeds)
    assert sorted(pictures) == [3, 6]
    for step, picture in pictures.items():
        with Image.open(io.BytesIO(picture)) as one, Image.open(tmp_path / f"run/samples/{step:08d}.png") as other:
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.long
def test_a_resumed_run_repeats_steps(tmp_path, monkeypatch):
    """Ctrl-C closes the file; a run that was killed after its checkpoint goes on, unasked, without a step twice."""
    out = tmp_path / "run"
    interrupted(out, monkeypatch, 4)
    assert {step for _, step, _ in shown(out)} == {1, 2, 3, 4}
    with monkeypatch.context() as patch:  # killed at step 5, of which only the rows are left
        patch.setattr(fit.Checkpoints, "save", lambda *_: None)
        interrupted(out, monkeypatch, 2, "--resume")
    assert {step for _, step, _ in shown(out)} - {6} == {1, 2, 3, 4, 5}  # 6 where the step was not slow
    parts = (getattr(unrolled, name) for name in ("setup", "init", "step", "sample"))
    flags = [flag for flag in FLAGS if flag != "--tensorboard"]
    program(unrolled.Config, unrolled.PRESETS, *parts)([*RING, *flags, f"--out={out}", "--resume"])
    assert sorted(check(out)) == [3, 6]
    assert len(list((out / "tensorboard").iterdir())) == 3


@pytest.mark.long
def test_an_evaluation_that_was_cut_short(tmp_path, monkeypatch):
    """The row of its step is written anew with the scores, and the one without is taken back."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(evaluate.Evaluator, "__call__", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(SystemExit):
            train(out)
    assert {step for _, step, _ in shown(out)} == {1, 2, 3}
    train(out, "--resume")
    train(whole)
    assert sorted(check(out)) == [3, 6]
    assert (out / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    of = lambda folder: sorted((tag, step) for tag, step, _ in shown(folder))
    assert of(out) == of(whole)


def test_a_finished_run_is_drawn_again(tmp_path):
    """Resuming a finished run adds no event."""
    train(tmp_path / "run")
    before = shown(tmp_path / "run")
    train(tmp_path / "run", "--resume")
    assert shown(tmp_path / "run") == before


def test_without_the_flag(tmp_path):
    """No event file is written unasked, and none of several processes but the first writes one."""
    parts = (getattr(unrolled, name) for name in ("setup", "init", "step", "sample"))
    program(unrolled.Config, unrolled.PRESETS, *parts)([*RING, "--steps=1", f"--out={tmp_path / 'run'}"])
    assert not (tmp_path / "run" / "tensorboard").exists() and jax.process_count() == 1
