"""Every benchmark runs, with a few steps, and records what it measured."""

import functools
import importlib.util
import json

import jax.numpy as jnp
import pytest

from benchmarks import compare, measure, mode_collapse, ring, step_time, unroll_cost
from experiments import vanilla
from gan_jax import UserError, data, loop


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
    monkeypatch.setattr(vanilla, "fit", lambda *_, **__: pytest.fail("trained again"))
    compare.main(("vanilla",), "digits", 2, 1, **given)
    with pytest.raises(UserError, match="no experiment 'nosuch'"):
        compare.main(("nosuch",), **given)


def test_mode_collapse_on_the_ring(tmp_path, monkeypatch):
    """A row for the data and for each way with what is published, a line, pictures; finished runs are read again."""
    given = {"size": "ring", "steps": 4, "seeds": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    small = "--batch-size=8 --width=8 --eval-every=2"
    mode_collapse.main(("vanilla", "unrolled5"), flags=small, **given)
    table = (tmp_path / "mode_collapse-ring.md").read_text()
    assert "vanilla unrolled5 --size=ring --steps=4 --seeds=2" in table and small in table
    assert (
        "| data |  | 8 ± 0 | 0.98" in table and "6.3 ± 0.5" in table and "- VEEGAN: " in table and "R3GAN" not in table
    )
    (line,) = lines(tmp_path / "mode_collapse-ring.jsonl")
    _, vanilla_row, unrolled_row = line["rows"]
    assert len(vanilla_row["modes"]) == 2 and vanilla_row["config"]["dataset"] == "ring8_unit"
    assert unrolled_row["config"]["unroll"] == 5 and unrolled_row["config"]["steps"] == 4
    run = tmp_path / "runs" / "ring-4x2" / "unrolled5"
    seen = mode_collapse.history(run, json.loads((run / "results.json").read_text()))
    assert seen["step"].tolist() == [2, 4] and seen["modes"].shape == (2, 2)
    assert all((tmp_path / f"mode_collapse-ring{end}.png").stat().st_size > 1000 for end in ("", "-samples"))

    monkeypatch.setattr(vanilla, "fit", lambda *_, **__: pytest.fail("trained again"))
    mode_collapse.main(("vanilla",), flags=small, **given)
    with pytest.raises(UserError, match="holds a run with another width"):
        mode_collapse.main(("vanilla",), flags=f"{small} --width=16", **given)
    with pytest.raises(UserError, match="nosuch: no such way at size ring"):
        mode_collapse.main(("nosuch",), **given)


def test_mode_collapse_goes_on(tmp_path):
    """A run that was stopped is taken up where it was, not begun anew."""
    flags = ["--preset=ring", "--batch-size=8", "--save-every=2", "--log-every=2", "--eval-every=0"]
    vanilla.main([*flags, "--steps=2", f"--out={tmp_path}"])
    (tmp_path / "results.json").unlink()
    assert measure.trained(vanilla, [*flags, "--steps=4"], tmp_path)["steps"] == 4
    assert [row["step"] for row in lines(tmp_path / "metrics.jsonl")] == [2, 4]


def test_mode_collapse_of_stacked_digits(tmp_path, monkeypatch):
    """The nets of the 1000 modes, on small stacks, scored by a stand-in."""
    monkeypatch.setitem(data.DATASETS, "stacked_digits", functools.partial(data.stacked, of="digits"))
    scores = {"labels": jnp.zeros(1), "modes": jnp.int32(30), "reverse_kl": jnp.float32(5.5)}
    monkeypatch.setattr(loop, "evaluate", lambda sample, measure, source, *_: (scores, {}, jnp.zeros((2, 8, 8, 3))))
    mode_collapse.main(
        ("unrolled0_pack2", "wgan_gp", "r3gan"), "quarter", 2, 1, out=str(tmp_path), runs=str(tmp_path / "runs"),
        flags="--dataset=stacked_digits --batch-size=8 --z-dim=4",
    )  # fmt: skip
    table = (tmp_path / "mode_collapse-quarter.md").read_text()
    assert "| data |  | 1000 ± 0 | 0.0" in table and "| 30 | 5.5 |" in table and "640.1 ± 136.3" in table
    _, first, *_ = lines(tmp_path / "mode_collapse-quarter.jsonl")[0]["rows"]
    assert (first["config"]["pack"], first["config"]["unroll"], first["config"]["d_width"]) == (2, 0, 2)
    assert (tmp_path / "mode_collapse-quarter-samples.png").stat().st_size > 1000


@pytest.mark.parametrize("size", mode_collapse.SIZES)
def test_the_ways_are_flags_of_their_experiments(size, tfds_dir):
    """Every preset and flag of the table is there, packs are whole, and published rows are rows of the table."""
    ways = mode_collapse.TOYS if size in ("ring", "grid") else mode_collapse.STACKED
    assert set(mode_collapse.PUBLISHED[size]) <= set(ways)
    dataset = {"ring": "ring8_unit", "grid": "grid25"}.get(size, "stacked_mnist")
    for way in ways.values():
        name, *flags = way.format(size=size, dataset=dataset).split()
        if importlib.util.find_spec(f"experiments.{name}"):
            cfg = measure._parts(measure.experiment(name), flags)["run"].config
            assert cfg["dataset"] == dataset and cfg["batch_size"] % cfg.get("pack", 1) == 0, way
            assert dataset != "stacked_mnist" or name == "r3gan" or cfg["nets"] == "stacked"
