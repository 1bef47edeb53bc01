"""The benchmark of gradients against a perfect D: its numbers are those of the Ds that began anew."""

import json

import numpy as np
import pytest

from benchmarks.quality import principled


def test_numbers_are_of_the_ds_that_began_anew(tmp_path):
    """Rows of the game before are left out; the first ten and the last tenth count, and the noise of the last."""
    rows = [{"step": t, "accuracy/0.5": 1.0} | {f"{name}/0.5": 100.0 for name in principled.CURVES} for t in (1, 2, 3)]
    for t in range(100):
        of = {"cross_entropy/0.5": 1.0, "minimax/0.5": 10.0**-t, "non_saturating/0.5": 2.0 + (t % 2)}
        rows.append({"step": 4 + t, "accuracy/0.5": min(1.0, t / 50)} | of)
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = principled.after(tmp_path, 3, 0.5)
    assert len(found["minimax"]) == 100 and found["minimax"][0] == 1
    row = principled.numbers(found)
    np.testing.assert_allclose(row["minimax"], [(1e-4 + 1e-5) / 2, (1e-94 + 1e-95) / 2])
    assert row["accuracy"] == [0.09, 1.0]
    np.testing.assert_allclose(row["non_saturating/spread"], 0.2)
    said = principled.cells({"set": "usps", "played": "1 epoch", "sigma": 0.5} | row)
    assert said[3] == "100.0 %" and said[6] == "2.5 → 2.5" and len(said) == len(principled.HEAD)


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """A row for each noise, a table and a picture; nothing is trained twice."""
    monkeypatch.setattr(principled, "SETS", {"digits16": ("tiny", {"2 updates": 2})})
    for _ in range(2):
        principled.main(("digits16",), (), 12, "", "r", str(tmp_path), str(tmp_path / "runs"))
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [row["sigma"] for row in first] == [0, 0.5] and first == again
    assert (tmp_path / "r.md").read_text().count("| digits16 | 2 updates |") == 2 and (tmp_path / "r.png").exists()
