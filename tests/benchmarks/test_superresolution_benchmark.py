"""The benchmark of super-resolution: its two runs, one from the other, every test picture at its own size, the record."""

import json

import numpy as np
import pytest

from benchmarks.quality import superresolution as benchmark
from gan_jax.data import records
from gan_jax.metrics import resolution

TINY = "--dataset=digits --crop=8 --batch-size=8 --steps=2 --blocks=1 --width=2 --d-levels=1 --d-width=2"


def photographs(name):
    """Yield three pictures of different sizes, none of which 4 divides."""
    draw = np.random.default_rng(0)
    for h, w in ((27, 33), (41, 30), (30, 41)):
        yield draw.integers(0, 256, (h, w, 1)).astype(np.uint8)


def test_means_over_pictures_of_several_sizes(monkeypatch):
    """Each is cut to what 4 divides, made smaller, and compared by itself; a way that gives the truth has no error."""
    monkeypatch.setattr(records, "each", photographs)
    cut = [v[: v.shape[0] // 4 * 4, : v.shape[1] // 4 * 4] for v in photographs("")]
    truth = iter(cut)
    ways = {"bicubic": resolution.resized, "truth": lambda small, sides: next(truth)}
    found = benchmark.measured("set5", 4, ways, False)
    own = [resolution.compared(resolution.resized(resolution.resized(v, (v.shape[0] // 4, v.shape[1] // 4)),
                                                  v.shape[:2]), v) for v in cut]  # fmt: skip
    assert found["bicubic"]["each"] == own and found["bicubic"]["n"] == 3
    assert found["bicubic"]["psnr"] == pytest.approx(np.mean([one["psnr"] for one in own]))
    assert found["truth"]["psnr"] == np.inf and found["truth"]["ssim"] == pytest.approx(1)


def test_published_figures_stand_beside_ours():
    """Those of the set, the factor and the way; none where nobody gave one."""
    row = {"set": "set5", "factor": 4, "way": "SRGAN", "n": 5, "psnr": 28.0, "ssim": 0.8}
    assert benchmark.cells(row) == ("Set5", 5, "SRGAN", "28.00", "0.8000", "", "29.40, 0.8472")
    assert benchmark.cells(row | {"factor": 2, "lpips": 0.25})[-2:] == ("0.250", "")


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """SRGAN begins with SRResNet's G; a row for each set and way, a table, a picture; nothing is trained twice."""
    monkeypatch.setattr(records, "each", photographs)
    monkeypatch.setattr(benchmark, "SHOWN", 16)
    monkeypatch.setattr(benchmark.srgan, "pairs", lambda cfg, own=benchmark.srgan.pairs: own(
        cfg if cfg.dataset == "digits" else benchmark.srgan.PRESETS["tiny"]))  # fmt: skip
    given = {"sets": ("set5",), "flags": TINY, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    for _ in range(2):
        benchmark.main(**given)
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "superresolution.jsonl").read_text().splitlines())
    assert [row["way"] for row in first] == ["bicubic", "SRResNet", "SRGAN"] and first == again
    assert [row["config"]["begin"] for row in first[1:]] == ["", "SRResNet"]  # the run beside it, not its path
    assert first[1]["config"]["adversarial"] == 0 < first[2]["config"]["adversarial"]
    assert all(row["n"] == 3 and 3 < row["psnr"] < 40 and len(row["each"]) == 3 for row in first)
    assert "| Set5 | 3 | SRGAN | " in (tmp_path / "superresolution.md").read_text()
    assert (tmp_path / "superresolution.png").stat().st_size > 500
