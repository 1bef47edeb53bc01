"""What updates hold: counted by PyTorch's profiler, planned by XLA."""

import json

import pytest

from benchmarks.speed import memory

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install '.[bench]'")


def test_the_peak_is_of_what_is_held_at_once():
    """Of three arrays of 4 MB two are there at a time."""

    def work():
        a = torch.zeros(1_000_000)
        b = a + 1
        del a
        return (b * 2).sum()

    assert memory.peak(work) == pytest.approx(8e6, rel=1e-3)


@pytest.mark.long
def test_memory(tmp_path, capsys):
    """A row for each update, with both sides' bytes; a second gradient holds more than the first."""
    memory.main(size=8, batch_size=4, width=2, out=str(tmp_path))
    (line,) = map(json.loads, (tmp_path / "memory.jsonl").read_text().splitlines())
    plain, r1, path = line["rows"]
    assert [row["update"] for row in (plain, r1, path)] == ["D, plain", "D, R1", "G, path"] and path["ours"] > 0
    assert r1["ours"] > plain["ours"] > 0 and r1["torch"] > plain["torch"] > 0
    assert "| D, R1 | 8x8 | 4 |" in capsys.readouterr().out
