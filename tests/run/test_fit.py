"""Runs: what they write, streams, seeds, and what ends one leaves a good checkpoint."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from runs import DIGITS, rows, same, steps, train

import gan_jax
from experiments import unrolled, vanilla
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.run import cli, fit, log, plots, rundir


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, state, results) of seven steps in one go."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, *train(out, "--steps=7")


# What a run writes


def test_files(whole):
    """config.json says what was asked for, results.json what came out; a row is the metrics of its step."""
    out, state, results = whole
    config = json.loads((out / "config.json").read_text())
    cfg = dataclasses.replace(unrolled.PRESETS["default"], steps=7, batch_size=8, width=8, unroll=2)
    assert config.pop("versions").keys() == {"gan_jax", "jax", "flax", "optax"}
    assert config.pop("machine").keys() == {"device", "devices", "cpu", "threads", "python"}
    config.pop("commit")
    assert config.pop("code") == rundir.digest(Path(unrolled.__file__))
    assert config == {
        "experiment": "experiments.unrolled", "config": dataclasses.asdict(cfg), "seed": 0, "seeds": 1, "rekey": 0,
        "precision": "default", "deterministic": False, "log_every": 2, "eval_every": 0, "save_every": 2, "keep": 3,
        "stream": False, "measure": True,
    }  # fmt: skip
    written = json.loads((out / "results.json").read_text())
    assert written == json.loads(log.as_json(results)) and list(written) == [
        "distance", "diversity", "high_quality", "modes", "reverse_kl", "spacing", "steps", "seconds", "protocol", "health"
    ]  # fmt: skip
    assert len(written["health"]) == 1
    assert [row["step"] for row in rows(out)] == [2, 4, 6] and state.step == 7
    assert all(row.keys() == {"step", "loss/g", "loss/d", "score/real", "score/fake"} for row in rows(out))
    assert (out / "curves.png").stat().st_size > 0 and (out / "samples" / "final.png").stat().st_size > 0


@pytest.mark.parametrize(("asked", "steps", "every"), [
    (-1, 10_000, 1000), (-1, 3000, 600), (-1, 30, 100), (1000, 3000, 1000), (0, 3000, 0),
])  # fmt: skip
def test_a_short_run_is_evaluated_five_times(asked, steps, every):
    """Health needs five evaluations to say anything; what is asked for counts."""
    assert fit.paced(cli.Run(eval_every=asked), steps).eval_every == every


@pytest.mark.long
def test_scan_fit_is_the_same_loop(whole):
    """The run inside one jit ends at the same state (1e-6) by way of the same metrics."""
    cfg, key, source = gan_jax.load(whole[0]).cfg, jax.random.key(0), data.load("ring8")
    step, init = (functools.partial(f, cfg) for f in (unrolled.step, unrolled.init))
    batch_at = lambda i: data.batch(source, {}, key, i, 8)
    state, metrics = jax.jit(lambda: fit.scan_fit(step, init(key), batch_at, 7))()
    same(state, whole[1], atol=1e-6)
    for row in rows(whole[0]):
        for name, value in metrics.items():
            np.testing.assert_allclose(row[name], value[row["step"] - 1], atol=1e-6)


def test_rows_of_evaluations(tmp_path):
    """Evaluations stand in the row of their step, or in one of their own, with a picture."""
    _, results = train(tmp_path / "run", "--steps=6", "--eval-every=3", step=counting)
    scores = ["distance", "diversity", "high_quality", "modes", "reverse_kl", "shares", "spacing"]
    assert [sorted(row) for row in rows(tmp_path / "run")] == [
        ["loss", "step"], sorted([*scores, "step"]), ["loss", "step"], sorted([*scores, "loss", "step"])
    ]  # fmt: skip
    assert results["health"] == ["too early to tell: 2 evaluations, at least 5 are needed"]  # the last one counts once
    assert {p.name for p in (tmp_path / "run" / "samples").iterdir()} == {"00000003.png", "00000006.png", "final.png"}


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_an_experiment_measures(tmp_path, seeds):
    """`measure` sees both splits whole; its numbers go to the rows and the results, its images become pictures."""

    def measured(cfg, state, key, train, test):
        x = data.decode(test)["x"]
        return {"records": jnp.float32(len(train["x"]) + len(x) / 1000), "first": x[:6].reshape(2, 3, 8, 8, 1)}

    flags = ["--steps=2", "--eval-every=1", f"--seeds={seeds}"]
    _, results = train(tmp_path / "run", *flags, of=DIGITS, measure=measured)
    assert np.shape(results["records"]) == (() if seeds == 1 else (2,)) and np.allclose(results["records"], 1497.3)
    assert all("records" in row and "first" not in row for row in rows(tmp_path / "run"))
    pictures = tmp_path / "run" / "samples"
    assert {f"first-{at}.png" for at in ("00000001", "00000002", "final")} < {p.name for p in pictures.iterdir()}
    x = data.decode(data.resident(data.load("digits").test))["x"][:6]
    expected = plots.table(
        tmp_path / "expected.png", plots.Picture(x.reshape(2, 3, 8, 8, 1)), data.load("digits"), None
    )
    with Image.open(pictures / "first-final.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.squeeze(expected))


@pytest.mark.long
@pytest.mark.parametrize("flags", [[], ["--dataset=digits", "--stream"]], ids=["a toy", "streamed"])
def test_what_is_not_on_the_device_is_not_measured(tmp_path, flags):
    """`measure` is handed {} for the records of a toy, and for those that are read ahead."""

    def measured(cfg, state, key, train, test):
        return {"splits": jnp.float32(bool(train) + 2 * bool(test))}

    _, results = train(tmp_path / "run", "--steps=1", *flags, measure=measured)
    assert results["splits"] == (2 if flags else 0)


def test_a_step_may_end_the_run(tmp_path):
    """A metric "stop" of 1 ends the run at the next row, as a finished one."""

    def until_four(cfg, state, batch):
        return state._replace(step=state.step + 1), {"stop": (state.step >= 2).astype(jnp.float32)}

    state, results = train(tmp_path / "run", "--steps=20", step=until_four)
    assert state.step == results["steps"] == 4 and [row["stop"] for row in rows(tmp_path / "run")] == [0, 1]


@pytest.mark.parametrize("flags", [[], ["--dataset=digits", "--stream"]], ids=["resident", "streamed"])
def test_a_stretch_has_an_end(tmp_path, monkeypatch, flags):
    """However rare the rows, one dispatch makes no more steps than there is room for."""
    lengths = []
    monkeypatch.setattr(fit, "advancer", lambda *given: lengths.append(given[5]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "run", "--log-every=2000000000", *flags)
    assert lengths[0] * (8 * 64 if flags else 1) <= 2**26


def counting(cfg, state, batch):
    """A step that only counts."""
    return state._replace(step=state.step + 1), {"loss": batch["x"].mean()}


# Streams


@pytest.mark.long
def test_streamed_and_resident_runs_are_the_same(tmp_path):
    """Both ways end at the same state bit for bit, and a resident run goes on as a streamed one."""
    tiny = ["--batch-size=8", "--width=8", "--log-every=2", "--save-every=2", "--eval-every=0"]
    go = lambda name, *flags: vanilla.main([*tiny, f"--out={tmp_path / name}", *flags])[0]
    resident = go("resident", "--steps=5")
    same(resident, go("streamed", "--steps=5", "--stream"))
    assert rows(tmp_path / "resident") == rows(tmp_path / "streamed") != []
    go("both", "--steps=3")
    same(go("both", "--steps=5", "--resume", "--stream"), resident)


@pytest.mark.parametrize("dataset, kind", [("moving_digits", "video"), ("a.npy", "row")])
def test_data_that_the_nets_are_not_made_for(tmp_path, monkeypatch, dataset, kind):
    """One line says of what kind the data are, and what the experiment takes."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((20, 5), np.float32))
    with pytest.raises(UserError, match=f"has x of the kind {kind}; unrolled is made for points or image"):
        train(tmp_path / "run", f"--dataset={dataset}")


def test_the_stream_is_used(tmp_path, monkeypatch):
    """--stream never asks for the resident arrays; each way sees the records that `order` names."""
    train(tmp_path / "resident", "--steps=4", of=DIGITS, step=labels)
    monkeypatch.setattr(data, "resident", None)
    train(tmp_path / "streamed", "--steps=4", "--stream", of=DIGITS, step=labels)
    source = data.load("digits")
    for at, *both in zip((2, 4), rows(tmp_path / "resident"), rows(tmp_path / "streamed"), strict=True):
        indices = data.order(rng.at(jax.random.key(0), 0, "data"), at - 1, 8, source.n)
        expected = int(source.read(np.asarray(indices))["y"] @ 10 ** np.arange(8))
        assert [row["spelled"] for row in both] == [expected, expected]


def labels(cfg, state, batch):
    """A step whose metric spells out the labels of its batch."""
    return state._replace(step=state.step + 1), {"spelled": (batch["y"] * 10 ** np.arange(8)).sum()}


# Seeds


@pytest.mark.long
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
def test_divergence(tmp_path, step, where):
    """The message names the step and the last good checkpoint, which is there at once; nothing bad is saved."""
    with pytest.raises(UserError, match=f"^{where}.*; the last good checkpoint, of step 4, is in {tmp_path}"):
        train(tmp_path / "run", "--steps=9", step=step)
    assert steps(tmp_path / "run") == ["0", "2", "4"]
    state = gan_jax.load(tmp_path / "run").state
    assert state.step == 4 and all(np.isfinite(a).all() for a in jax.tree.leaves(state.d))
    assert train(tmp_path / "run", "--steps=9", "--resume", step=counting)[0].step == 9
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8]
