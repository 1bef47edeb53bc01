"""The benchmark of completion: errors after the first phase and at the end, of one run, which is trained once."""

import json

import numpy as np
import pytest

from benchmarks.quality import completion


def test_the_table_has_both_moments(capsys):
    """C's numbers at both, those of fillings that never change once."""
    row = {f"{kind}/{way}": 0.1 * i for i, way in enumerate(completion.WAYS) for kind in ("psnr", "l1", "l2")}
    lines = completion.tell([{"step": 3} | row, {"step": 7} | row]).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [cell[0] for cell in cells] == ["3", "3", "", "", "7", "7"]
    assert cells[0][1:] == ["C", "0.20 dB", "20.00%", "20.00%", ""] and capsys.readouterr().out


@pytest.mark.slow
def test_completion(tmp_path):
    """Both moments, a picture of each; what is trained is taken again."""
    for _ in range(2):
        completion.main("tiny", "", str(tmp_path), str(tmp_path / "runs"))
    lines = [json.loads(line) for line in (tmp_path / "completion_tiny.jsonl").read_text().splitlines()]
    (_, first, last), (_, *again) = (line["rows"] for line in lines)
    assert (first["step"], last["step"]) == (1, 6) and again == [first, last]
    assert np.isfinite([first["psnr/ours"], last["l2/blended"]]).all() and first["l1/hole"] == last["l1/hole"]
    assert all((tmp_path / f"completion_tiny-{step}.png").stat().st_size > 500 for step in (1, 6))
