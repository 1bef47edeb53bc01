"""The benchmarks of ensembles and of features: which run has which flags, and what their tables say."""

import json

import jax
import numpy as np
import pytest

import gan_jax
from benchmarks import harness
from benchmarks.quality import boosting, ways
from experiments import adagan
from gan_jax.game import mixture, rng
from gan_jax.run import cli


@pytest.mark.parametrize("name", ways.WAYS)
def test_each_way_is_one_game(name):
    """All are of the same length; no two are the same; one net of each kind alone is as wide as all together."""
    module, found = harness.experiment(name), {}
    for way, flags in ways.WAYS[name].items():
        found[way], _ = cli.parse(module.Config, module.PRESETS, harness.words(flags.format(wide=96)))
    assert len(set(found.values())) == len(found) and {cfg.steps for cfg in found.values()} == {module.Config().steps}
    if name == "mixgan":
        wide = found["one, T times as wide"]
        assert wide.learners == 1 and wide.width == module.Config().learners * module.Config().width
    if name == "feature_denoising":
        weights = {way: (cfg.denoising > 0, cfg.adversarial > 0, cfg.matching > 0) for way, cfg in found.items()}
        assert weights["plain"] == (0, 1, 0) and weights["feature matching"] == (0, 0, 1)
        assert weights["denoising and D"] == (1, 1, 0) and weights["denoising alone"] == (1, 0, 0)


@pytest.mark.slow
def test_boosting(tmp_path):
    """A row for each mixture with a score of each seed for each way; nothing is trained twice."""
    for _ in range(2):
        flags = "--steps=6 --gan-steps=1 --c-steps=1 --pool=16 --batch-size=8"
        boosting.main((2,), 2, 2, flags, "b", str(tmp_path), str(tmp_path / "runs"))
    (first,), (again,) = (json.loads(line)["rows"] for line in (tmp_path / "b.jsonl").read_text().splitlines())
    assert all(len(first[way]) == 2 and 0 <= min(first[way]) <= max(first[way]) <= 1 for way in boosting.WAYS)
    assert first == again and "| 2 | " in (tmp_path / "b.md").read_text()
    run = gan_jax.load(tmp_path / "runs" / "gaussians2-bagging")
    mixed, alone, x = boosting.covered(run, 2)
    assert first["bagging"] == mixed and first["one GAN"] == [one[0] for one in alone]
    assert first["best of T"] == [max(one) for one in alone] and not run.cfg.boosted
    state, z = (
        jax.tree.map(lambda a: a[0], run.state),
        adagan.latent(run.cfg, rng.at(jax.random.key(0), 0, "fake"), 1000),
    )
    even = mixture.pick(adagan.made(run.cfg, state.g, z["z"]), np.full(2, 0.5), z["which"])
    np.testing.assert_allclose(x, even, rtol=1e-4)


@pytest.mark.parametrize(
    "flags, dataset, trains", [("--preset=tiny", "", "digits16"), ("--preset=tiny", "usps", "usps")]
)
def test_ways_of_a_preset_on_the_data_of_the_default(monkeypatch, flags, dataset, trains, tfds_dir):
    """A preset in the flags brings its own data, unless others are asked for."""
    asked = []

    def trained(module, given, folder):
        asked.append((cli.parse(module.Config, module.PRESETS, given)[0], folder.parent.name))
        raise InterruptedError

    monkeypatch.setattr(harness, "trained", trained)
    monkeypatch.setattr(ways.compare, "Judge", lambda source, n: None)
    with pytest.raises(InterruptedError):
        ways.main("mixgan", dataset, flags=flags)
    ((cfg, folder),) = asked
    assert cfg.dataset == trains and cfg.width == 2 and folder == f"mixgan-{trains}"


@pytest.mark.slow
def test_ways(tmp_path):
    """A row and a picture for each way; nothing is trained twice."""
    for _ in range(2):
        given = {"seeds": 1, "samples": 20, "flags": "--steps=2 --width=4 --batch-size=8"}
        ways.main("mixgan", "ring8", **given, out=str(tmp_path), runs=str(tmp_path / "runs"))
    (_, *rows), (_, *again) = [
        json.loads(line)["rows"] for line in (tmp_path / "ways-mixgan-ring8.jsonl").read_text().splitlines()
    ]
    assert [row["experiment"] for row in rows] == list(ways.WAYS["mixgan"])
    assert [row["seconds"] for row in rows] == [row["seconds"] for row in again]
    assert [row["config"]["width"] for row in rows] == [4, 12, 4, 4]
    assert "one, T times as wide" in (tmp_path / "ways-mixgan-ring8.md").read_text()
    assert (tmp_path / "ways-mixgan-ring8.png").stat().st_size > 1000
