"""Every benchmark runs, with a few steps, and records what it measured."""

import json

import pytest

from benchmarks import compare, ring, step_time, trajectories, unroll_cost
from experiments import vanilla
from gan_jax import UserError


def lines(file):
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_step_time(tmp_path, capsys):
    """One experiment, two seeds at once beside one: a table on the screen, a line in the file."""
    step_time.main(("vanilla",), "ring", seeds=(1, 4), steps=2, repeats=3, out=str(tmp_path))
    (line,) = lines(tmp_path / "step_time.jsonl")
    assert [(r["experiment"], r["seeds"], r["steps"], len(r["ms"])) for r in line["rows"]] == [
        ("vanilla", s, 2, 3) for s in (1, 4)
    ]
    assert line["jax"] and line["cpu"] and line["threads"] >= 1 and min(line["rows"][0]["ms"]) > 0
    assert capsys.readouterr().out.count("| vanilla | ring |") == 2


def test_unroll_cost(tmp_path):
    """More updates ahead take more temporary memory without remat, and a chart is drawn."""
    unroll_cost.main("default", ks=(0, 4), steps=2, repeats=1, out=str(tmp_path))
    (line,) = lines(tmp_path / "unroll_cost.jsonl")
    memory = {(r["k"], r["remat"]): r["temporary"] for r in line["rows"]}
    assert memory[4, False] > memory[4, True] > 0 and memory[4, False] > memory[0, False]
    assert (tmp_path / "unroll_cost.png").stat().st_size > 1000


def test_ring(tmp_path):
    """Scores for each K, moment and seed, and the picture."""
    ring.main("default", ks=(0, 1), seeds=4, moments=(0, 2), out=str(tmp_path))
    (line,) = lines(tmp_path / "ring.jsonl")
    assert [(r["k"], r["step"], len(r["modes"])) for r in line["rows"]] == [(k, s, 4) for k in (0, 1) for s in (0, 2)]
    assert (tmp_path / "ring-default.png").stat().st_size > 1000


def test_compare(tmp_path, monkeypatch, capsys):
    """A table with a row for each experiment, a line, a picture; what is trained already is not trained again."""
    given = {"out": str(tmp_path), "runs": str(tmp_path / "runs"), "samples": 60}
    compare.main(("vanilla", "wgan_gp"), "ring8", 2, 2, **given)
    compare.main(("vanilla",), "digits", 2, 1, **given)
    table = (tmp_path / "compare-ring8.md").read_text()
    assert table.startswith("ring8, 2 updates of G, 2 seeds") and "| vanilla | " in table and "| wgan_gp | " in table
    (line,) = lines(tmp_path / "compare-digits.jsonl")
    protocol, row = line["rows"]
    assert "60 samples a seed against the first 60 images" in protocol["protocol"]
    assert 1 <= row["modes"] <= 10 and row["frechet"] > 0 and 0 <= row["precision"] <= 1 and row["config"]["steps"] == 2
    assert all((tmp_path / f"compare-{name}.png").stat().st_size > 1000 for name in ("ring8", "digits"))
    monkeypatch.setattr(vanilla, "main", lambda _: pytest.fail("trained again"))
    compare.main(("vanilla",), "digits", 2, 1, **given)
    with pytest.raises(UserError, match="no experiment 'nosuch'"):
        compare.main(("nosuch",), **given)


def test_trajectories(tmp_path, capsys):
    """Ten rules on two games: on the bilinear one simultaneous descent goes the way that is known, and a picture."""
    trajectories.main(rate=0.1, moves=6, out=str(tmp_path))
    (line,) = lines(tmp_path / "trajectories.jsonl")
    ends = {(row["game"], row["rule"]): row["distance"] for row in line["rows"]}
    assert len(ends) == 20 and capsys.readouterr().out.count("| extragradient | 1.") == 1
    assert ends["bilinear game", "simultaneous"] == pytest.approx(1.25**0.5 * 1.01**3, rel=1e-5)
    assert ends["bilinear game", "extragradient"] == pytest.approx(1.25**0.5 * (1 - 0.01 + 0.0001) ** 3, rel=1e-5)
    assert ends["Dirac-GAN", "simultaneous"] > ends["Dirac-GAN", "alternating"] > ends["Dirac-GAN", "consensus"]
    assert (tmp_path / "trajectories.png").stat().st_size > 10_000
