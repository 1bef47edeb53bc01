"""The benchmark of filled holes: a row for each set, hole and way, and a picture."""

import json

import pytest

from benchmarks.quality import inpaint


@pytest.mark.slow
def test_it_runs(tmp_path):
    """All ways with their own flags, in the table and in the file; the run is trained once."""
    given = {"pictures": 2, "starts": 1, "updates": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    for _ in range(2):
        inpaint.main(("digits",), ("centre", "pixels"), flags="--preset=tiny --steps=2", **given)
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "inpaint.jsonl").read_text().splitlines())
    assert [row["psnr/pasted"] for row in first] == [row["psnr/pasted"] for row in again]
    assert {(row["hole"], row["way"]) for row in first} == {(h, w) for h in ("centre", "pixels") for w in inpaint.WAYS}
    by = {row["way"]: row for row in first if row["hole"] == "centre"}
    assert "--weight=code" in by["code"]["flags"] and by["paper"]["loss"] != by["code"]["loss"]
    table = (tmp_path / "inpaint.md").read_text()
    assert table.count("| digits | centre |") == len(inpaint.WAYS) and "| all as the code |" in table
    for hole in ("centre", "pixels"):
        assert (tmp_path / f"inpaint-digits-{hole}.png").stat().st_size > 500
