"""Steps compiled without state or data."""

import json

from benchmarks.speed import compile_time
from experiments.images import progressive


def test_published_nets_without_their_finest_levels():
    """At 1024 pixels the widths are the preset's own; each halving of the side doubles them."""
    for name, width in ("stylegan2", 32), ("progressive", 16):
        case = compile_time.CASES[name]
        assert case.module.PRESETS[case.preset].width == width
        assert set(case.widths(1024).values()) == {width} and set(case.widths(256).values()) == {4 * width}


def test_compile_time(tmp_path, capsys):
    """A row says what it took, and how large the nets are; nothing of the data is read."""
    compile_time.main(("progressive",), size=8, preset="tiny", out=str(tmp_path))
    (line,) = map(json.loads, (tmp_path / "compile_time.jsonl").read_text().splitlines())
    (row,) = line["rows"]
    assert row["batch"] == progressive.PRESETS["tiny"].batch_size and row["temporary"] > 0
    assert 0 < row["tracing"] < row["cpu"] and row["seconds"] > 0 and all(n > 0 for n in row["parameters"])
    assert "| progressive | 8x8 | 8 |" in capsys.readouterr().out
