"""The benchmark of VaR: what Monte Carlo says of days of which the law is known, and that it runs."""

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.quality import value_at_risk
from gan_jax.metrics import series


def simulated(t, seed=0):
    """Returns of a GARCH(1, 1) with normal shocks, and the deviation of each day as it was known before."""
    random, squared, r, known = np.random.default_rng(seed), 1e-4, [], []
    for shock in random.normal(size=t):
        known.append(np.sqrt(squared))
        r.append(known[-1] * shock)
        squared = 2e-6 + 0.1 * r[-1] ** 2 + 0.88 * squared
    return np.array(r), np.array(known)


def test_every_way_says_the_risk_of_the_days_ahead(monkeypatch):
    """One number a day; of a normal law its quantiles; nothing that a way says of a day depends on that day or later."""
    monkeypatch.setattr(value_at_risk, "LAST", 50)
    monkeypatch.setattr(value_at_risk, "garch", lambda r: None)
    (r, _), n = simulated(330), 300
    found = value_at_risk.ways(r, n, 0.05)
    assert len(found) == 5 and all(np.shape(of) == (30,) for way in found.values() for of in way)
    np.testing.assert_allclose(found["GBM"][0], r[:n].mean() + r[:n].std() * stats.norm.ppf(0.05), rtol=1e-3)
    np.testing.assert_allclose(found["bootstrap"][0], np.quantile(r[:n], 0.05), rtol=1e-4)
    np.testing.assert_allclose(found["bootstrap of 50 days"][0][7], np.quantile(r[257:307], 0.05), rtol=1e-4)
    other = r.copy()
    other[310] = -0.5
    for name, (var, es) in value_at_risk.ways(other, n, 0.05).items():
        changed = np.flatnonzero((var != found[name][0]) | (es != found[name][1]))
        assert (changed > 10).all() and (len(changed) > 0) == ("moving" in name or "days" in name), name


def test_garch_is_found_again():
    """The deviation that is said of each evening is near the true one; the draws have variance 1 and, here, light tails."""
    pytest.importorskip("arch", reason="the extra `finance` is not installed")
    r, known = simulated(2500)
    mean, deviation, draws = value_at_risk.garch(r[:2000])
    assert abs(mean) < 5e-4 and np.std(draws) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(deviation(r)[2000:], known[2000:], rtol=0.15)
    assert 0.03 < (r[2000:] < mean + deviation(r)[2000:] * float(series.risk(np.float32(draws), 0.05)[0])).mean() < 0.07


@pytest.mark.long
def test_it_runs(tmp_path, monkeypatch):
    """A row a level and way, of as many days as windows are held out."""
    monkeypatch.setattr(value_at_risk, "garch", lambda r: None)
    given = {"out": str(tmp_path), "runs": str(tmp_path / "runs")}
    value_at_risk.main(flags="--preset=tiny --steps=2 --no-measure", **given)
    rows = json.loads((tmp_path / "value_at_risk.jsonl").read_text())["rows"]
    assert [row["level"] for row in rows] == [0.01] * 6 + [0.05] * 6 and {row["days"] for row in rows} == {298}
    assert all(np.isfinite(row["pinball"]) and 0 <= row["kupiec"] <= 1 for row in rows)
    assert "| GBM, moving volatility |" in (tmp_path / "value_at_risk.md").read_text()
