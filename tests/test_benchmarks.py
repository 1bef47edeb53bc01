"""Every benchmark runs, with a few steps, and records what it measured."""

import json

from benchmarks import ring, step_time, unroll_cost


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
