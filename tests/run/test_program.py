"""`gan_jax.fit`: an experiment trained from a script or a notebook."""

import dataclasses
import sys

import jax
import numpy as np
import pytest
from runs import rows, same, steps

import gan_jax
from experiments import unrolled
from gan_jax import UserError

TINY = dataclasses.replace(unrolled.PRESETS["tiny"], dataset="ring8")
PACE = {"log_every": 1, "save_every": 2, "eval_every": 0, "keep": 9}


def test_a_run_from_a_notebook_is_that_of_the_command_line(tmp_path):
    """The same state and results; what comes back draws as what is loaded does."""
    run = gan_jax.fit(unrolled, TINY, steps=4, seed=3, out=tmp_path / "fit", **PACE)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in PACE.items()]
    state, _ = unrolled.main(
        ["--preset=tiny", "--dataset=ring8", "--steps=4", "--seed=3", *flags, f"--out={tmp_path / 'main'}"]
    )
    same(run.state, state)
    assert (run.cfg.steps, run.seeds, run.folder, run.results["steps"]) == (4, 1, tmp_path / "fit", 4)
    key = jax.random.key(0)
    drawn, again = (np.asarray(one.sample(key, 5)) for one in (run, gan_jax.load(tmp_path / "fit")))
    np.testing.assert_allclose(drawn, again, atol=1e-6)  # on four devices, and on one


@pytest.mark.long
def test_a_resumed_run_has_its_own_config_and_pace(tmp_path):
    """Without a Config `resume` goes on with that of the run, not with the first preset."""
    whole = gan_jax.fit(unrolled, TINY, steps=6, out=tmp_path / "whole", **PACE)
    gan_jax.fit(unrolled, TINY, steps=3, out=tmp_path / "run", **PACE)
    again = gan_jax.fit(unrolled, resume=True, steps=6, out=tmp_path / "run")
    same(again.state, whole.state)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole") and len(rows(tmp_path / "run")) == 6
    assert steps(tmp_path / "run") == ["0", "2", "3", "4", "6"]
    with pytest.raises(UserError, match="--batch-size differs"):
        gan_jax.fit(unrolled, dataclasses.replace(TINY, batch_size=16), resume=True, steps=8, out=tmp_path / "run")


def test_a_run_is_shown_in_a_line(tmp_path):
    """A notebook shows what a cell ends in: it was half a megabyte of parameters. Numbers may be numpy's."""
    run = gan_jax.fit(unrolled, TINY, steps=np.int64(1), g_lr=np.logspace(-3, -2, 2)[0], out=tmp_path / "run", **PACE)
    assert repr(run) == f"Loaded(experiments.unrolled, folder={str(tmp_path / 'run')!r}, seeds=1, cfg={run.cfg!r})"
    assert type(run.cfg.steps) is int and type(run.cfg.g_lr) is float


def test_an_experiment_or_config_that_is_none(tmp_path, monkeypatch):
    """A name in place of a module, or of a preset: a line that says what to pass."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^'unrolled' is no module of an experiment: from experiments import unrolled"):
        gan_jax.fit("unrolled", steps=1)
    with pytest.raises(UserError, match=r"^cfg is 'tiny', .* experiments.unrolled.PRESETS\['tiny'\]"):
        gan_jax.fit(unrolled, "tiny", steps=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, says",
    [
        ({"stepz": 3}, "experiments.unrolled has no option stepz"),
        ({"steps": "3"}, "steps is '3', where there should be a value of type int"),
        ({"steps": 0}, "--steps is 0; it must be a number, 1 or more"),
        ({"b1": 3.0}, "--b1 is 3.0; it must be a number, 0 to 1"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"resume": True}, "there is no run to resume"),
    ],
    ids=str,
)
def test_a_wrong_option(options, says, tmp_path, monkeypatch):
    """One line, and no folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        gan_jax.fit(unrolled, TINY, **options)
    assert not list(tmp_path.iterdir())


def test_no_room_on_the_device(tmp_path, monkeypatch):
    """What the device can't hold is a UserError in a notebook, too."""

    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 576000008768 bytes.")

    monkeypatch.setattr(sys.modules["gan_jax.run.program"], "trained", full)
    with pytest.raises(UserError, match=r"no room on the device: .* 576000008768 bytes.\nTry a smaller --batch-size"):
        gan_jax.fit(unrolled, unrolled.PRESETS["tiny"], out=tmp_path / "run")
