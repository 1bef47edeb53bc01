"""Convolutions here, by lax and by PyTorch, which must agree before they are timed."""

import json

import numpy as np
import pytest

from benchmarks.speed import convolutions
from gan_jax.nets import conv

pytest.importorskip("torch")
SMALL = convolutions.Case(2, (5, 6, 4), (2, 3), (3, 4, 2), (2, 1, 2), (1, 2, 0))


def test_convolutions(tmp_path, monkeypatch, capsys):
    """Lines and solids, a timing of each; the module is left as it was."""
    line = convolutions.Case(2, (7,), (3, 2), (3,), (2,), (1,))
    monkeypatch.setattr(convolutions, "CASES", {"solid": SMALL, "line": line})
    convolutions.main(("solid", "line"), repeats=1, out=str(tmp_path))
    rows = json.loads((tmp_path / "convolutions.jsonl").read_text())["rows"]
    for row in rows:
        assert all(len(ms) == 1 and ms[0] >= 0 for of in convolutions.OPERATIONS for ms in row[of].values())
    assert "| solid | 2 of 5x6x4 | 2 to 3 | 3x4x2 | 2x1x2 |" in capsys.readouterr().out
    assert conv.TRIPLE is None


def test_what_differs_is_not_timed():
    convolutions.agree({"ours": lambda: np.ones(3), "lax": lambda: np.ones(3)})
    with pytest.raises(AssertionError, match="Not equal"):
        convolutions.agree({"ours": lambda: np.ones(3), "lax": lambda: np.ones(3), "torch": lambda: np.arange(3)})
