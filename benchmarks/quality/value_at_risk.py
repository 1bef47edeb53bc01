"""`python -m benchmarks value_at_risk`: the risk of the next day by a GAN and by Monte Carlo, looked at on later days.

The default of `returns` is trained, and what it says every evening, the value at risk (VaR) and the expected shortfall
(ES), is tested on the days that were held out, beside that of

- Brownian motion (GBM), of the training days' mean and deviation; the same with the volatility that G is given;
- bootstrap of the training days; of the last 500 days; of what training days were in units of that volatility;
- GARCH(1, 1) with Student's t, fitted to the training days by `arch` (`pip install 'gan_jax[finance]'`), where it is
  there: its parameters stay, its volatility goes on day by day.

Fu et al. 2019 (arXiv 1904.11419) test VaR against the bootstrap of the last days, of other series; no table is theirs.
"""

from pathlib import Path

import jax
import numpy as np
from scipy import stats

import gan_jax
from benchmarks import harness
from experiments.sequences import returns
from gan_jax import data
from gan_jax.data.series import known_volatility
from gan_jax.metrics import series

NODES = (np.arange(20_000) + 0.5) / 20_000  # of a law, whose draws are its quantiles there
LAST = 500  # days of the bootstrap of late
HEAD = ("level", "way", "days below VaR", "Kupiec p", "Christoffersen p", "shortfall Z", "pinball loss")


def main(
    levels: tuple[float, ...] = (0.01, 0.05),
    flags: str = "",
    record: str = "value_at_risk",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/value_at_risk",
):
    """Train `returns`, or take the finished run, and test what every way says of the days that were held out.

    Args:
        levels: of VaR and ES.
        flags: more flags of the run, as one word: --flags="--given=regime --gpu".
        record: name of the record.
        out: folder of RECORD.md and RECORD.jsonl.
        runs: folder of a folder `returns` with the run; where that is finished, as of `benchmarks defaults`, it stays.
    """
    folder, rows = Path(runs, "returns"), []
    harness.trained(returns, harness.words(flags), folder)
    run = gan_jax.load(folder)
    held, (r, n) = returns.source(run.cfg).test.whole(), days(run.cfg.dataset)
    real = r[n : n + len(held["y"])]  # the first day of each window that is held out
    risk = jax.jit(lambda key: returns.risk(run.cfg, run.state, key, held, levels))
    for level, ours in zip(levels, risk(jax.random.key(0)), strict=True):
        said = {"GAN": ours, **ways(r, n, level)}
        for name, found in said.items():
            found = series.backtest(real, *(np.float32(of)[: len(real)] for of in found), level)
            row = {"level": level, "way": name, "days": len(real), "steps": int(run.state.step)}
            rows.append(row | {what: float(value) for what, value in found.items()})
    harness.report(record, HEAD, cells, [row | {"trained": harness.trained_by(folder)} for row in rows], out)


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    said = [f"{row[what]:.3g}" for what in ("kupiec", "christoffersen")]
    numbers = f"{row['shortfall']:.2f}", f"{row['pinball']:.4f}"
    return f"{row['level']:.0%}", row["way"], f"{row['hits']:.2%}", *said, *numbers


def days(dataset: str) -> tuple[np.ndarray, int]:
    """Return (log returns [t] of all days in order, how many of them are trained on)."""
    source = data.load(dataset)
    price = np.concatenate([split.whole()["x"][:, 0].astype(np.float64) for split in (source, source.test)])
    return np.diff(np.log(price)), source.n - 1


def ways(r: np.ndarray, n: int, level: float) -> dict:
    """Return {way: (VaR [t - n], ES [t - n])} of returns r [t], said every evening from the n-th day on."""
    t, normal, known = len(r), stats.norm.ppf(NODES), r[:n]
    mean, moving = known.mean(), np.exp(known_volatility(r, n))
    found = {
        "GBM": scaled(normal, level, mean, np.full(t - n, known.std())),
        "GBM, moving volatility": scaled(normal, level, mean, moving[n:]),
        "bootstrap": scaled(known, level, 0, np.ones(t - n)),
        f"bootstrap of {LAST} days": tuple(np.array([series.risk(r[i - LAST : i], level) for i in range(n, t)]).T),
        "bootstrap, moving volatility": scaled((known - mean) / moving[:n], level, mean, moving[n:]),
    }
    fitted = garch(known)
    return found | ({"GARCH, t": scaled(fitted[2], level, fitted[0], fitted[1](r)[n:])} if fitted else {})


def scaled(pool, level: float, mean: float, deviation: np.ndarray) -> tuple:
    """Return (VaR [t], ES [t]) of mean + deviation [t] times draws of a pool."""
    return tuple(mean + deviation * float(of) for of in series.risk(np.float32(pool), level))


def garch(r: np.ndarray) -> tuple | None:
    """Return (mean, returns [t] -> deviation [t] said the evening before, draws in units of it); None without arch."""
    try:
        from arch import arch_model
    except ImportError:
        print("no GARCH: pip install 'gan_jax[finance]'")
        return None
    of = arch_model(100 * r, vol="GARCH", p=1, q=1, dist="t").fit(disp="off").params
    mean, free = of["mu"] / 100, of["nu"]

    def deviation(x):
        squared, found = r.var(), []
        for one in x:
            found.append(squared)
            squared = of["omega"] / 1e4 + of["alpha[1]"] * (one - mean) ** 2 + of["beta[1]"] * squared
        return np.sqrt(found)

    return mean, deviation, stats.t.ppf(NODES, free) * np.sqrt((free - 2) / free)


if __name__ == "__main__":
    harness.command(main)
