"""Faults of the machine, real ones: a full disk, a read-only one, a folder that is taken away."""

import shutil
import subprocess

import pytest
from runs import end, killing, start_training, train, wait_for

import gan_jax

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, in memory."""
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path / "disk"]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems can't be mounted here")
    yield tmp_path / "disk"
    subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)


LONG = ["--steps=1000000", "--save-every=20", "--keep=1000"]


def said(process):
    """Return the lines of a run that had to stop: exit code 2, no traceback."""
    code, _, stderr = end(process)
    lines = [line for line in stderr.splitlines() if not line.startswith(("unrolled on ring8", "step "))]
    assert code == 2 and 1 <= len(lines) <= 2, stderr
    return "\n".join(lines)


def good(run, tmp_path):
    """Check that the run goes on from a good checkpoint, elsewhere, and return its step."""
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("*tmp*"))
    at = int(gan_jax.load(tmp_path / "copy").state.step)
    assert at and train(tmp_path / "copy", f"--steps={at + 2}", "--resume")[0].step == at + 2
    return at


def test_a_full_disk(disk, tmp_path):
    """No room for the next checkpoint: the ones before are good, and with room the run goes on in its place."""
    process = start_training(disk / "run", *LONG)
    with killing(process):
        assert "No space left on device" in said(process)
    at = good(disk / "run", tmp_path)
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    assert train(disk / "run", f"--steps={at + 2}", "--resume")[0].step == at + 2


def test_a_read_only_disk(disk, tmp_path):
    """A run that is there can be read, and not gone on with."""
    train(disk / "run", "--steps=4")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for out, *flags in ([disk / "new"], [disk / "run", "--resume"]):
        process = start_training(out, "--steps=6", *flags)
        with killing(process):
            assert "Read-only file system" in said(process)
    assert gan_jax.load(disk / "run").state.step == 4


def test_a_folder_that_is_taken_away(tmp_path):
    """The run says so and ends, and makes no other run in its place."""
    process = start_training(tmp_path / "run", *LONG)
    with killing(process):
        wait_for(lambda: (tmp_path / "run" / "checkpoints" / "40").exists(), process)
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        assert "No such file or directory" in said(process)
    assert good(tmp_path / "elsewhere", tmp_path) >= 40 and not (tmp_path / "run" / "config.json").exists()
