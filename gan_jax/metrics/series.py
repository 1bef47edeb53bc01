"""Series, inside jit: stylised facts of returns, backtests of the risk said beforehand, and forecasts of demand.

Returns and what is said of them have their own sign everywhere: a loss is negative, and so are its value at risk (VaR)
and its expected shortfall (ES).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.scipy.stats import chi2

RIDGE = 1e-5  # of the sum of squares of a lag, on the diagonal of an autoregression's normal equations


# Stylised facts (Cont 2001)


def autocorrelation(x, lags: int):
    """Return the correlation [lags] of numbers of series x [n, t] with those 1, 2, ... steps later, all rows as one.

    Mean and variance are those of all numbers, so that what differs between rows counts, too.
    """
    return _lagged(x, x, lags)


def leverage(x, lags: int):
    """Return the correlation [lags] of returns x [n, t] with squares 1, 2, ... days later: below 0, losses excite."""
    return _lagged(x, x**2, lags)


def _lagged(a, b, lags):
    a, b = ((c - c.mean()) / c.std() for c in (a, b))
    t = a.shape[1]
    return jnp.stack([(a[:, : t - k] * b[:, k:]).mean() for k in range(1, lags + 1)])


def moments(x):
    """Return (skewness, excess kurtosis) of all numbers of x: 0 and 0 of a normal distribution."""
    z = (x - x.mean()) / x.std()
    return (z**3).mean(), (z**4).mean() - 3


def tail_index(x, share: float = 0.05):
    """Return Hill's estimate (1975) of how losses decay, P(-x > u) ~ u^-index, of that share of the largest ones.

    x: numbers of any shape. Equity indices have about 3 (Gopikrishnan et al. 1999).
    """
    losses = -jnp.sort(x.ravel())
    k = max(1, int(share * x.size))
    return 1 / jnp.log(losses[:k] / losses[k]).mean()


def earth_movers(a, b):
    """Return the area between the distribution functions of numbers a [n] and b [m]: Wasserstein's distance."""
    both = jnp.sort(jnp.concatenate([a, b]))
    below = lambda of: jnp.searchsorted(jnp.sort(of), both[:-1], side="right") / len(of)
    return (jnp.abs(below(a) - below(b)) * jnp.diff(both)).sum()


CURVES = "returns and later ones", "their magnitudes", "their squares", "returns and later squares"


def facts(x, real, lags: int):
    """Return ({name: number} on returns x [n, t], in part beside real ones, their correlations over days [4, lags]).

    Numbers are in percent where they have the unit of returns; distances are of sums over 1, 5 and 20 days. The rows of
    the second are named by CURVES.
    """
    skewness, kurtosis = moments(x)
    found = {"std": 100 * x.std(), "skewness": skewness, "kurtosis": kurtosis, "tail": tail_index(x)}
    for days in (1, 5, 20):
        found[f"emd/{days}"] = 100 * earth_movers(x[:, :days].sum(1), real[:, :days].sum(1))
    curves = [autocorrelation(of(x), lags) for of in (lambda x: x, jnp.abs, jnp.square)]
    return found, jnp.stack([*curves, leverage(x, lags)])


# Risk, said beforehand and looked at afterwards


def risk(x, level: float):
    """Return (VaR, ES) of draws x [..., m] of a return: their quantile at that level, and the mean of those below."""
    var = jnp.quantile(x, level, axis=-1)
    below = x <= var[..., None]
    return var, (x * below).sum(-1) / below.sum(-1)


def kupiec(hits, level: float):
    """Return (likelihood ratio, its p-value): whether returns fell below the VaR [t] as often as the level says.

    hits [t]: where they did. Kupiec 1995, the proportion of failures; chi-squared with one degree of freedom.
    """
    t, n = hits.shape[0], hits.sum()
    ratio = 2 * (_likelihood(t - n, n, n / t) - _likelihood(t - n, n, level))
    return ratio, chi2.sf(ratio, 1)


def christoffersen(hits):
    """Return (likelihood ratio, its p-value): whether a day after a hit is no likelier than others to be one, too.

    hits [t]. Christoffersen 1998, independence; chi-squared with one degree of freedom.
    """
    before, after = hits[:-1].astype(bool), hits[1:].astype(bool)
    n = {(i, j): ((before == i) & (after == j)).sum() for i in (False, True) for j in (False, True)}
    ratio = 0.0
    for i in (False, True):
        ratio += 2 * _likelihood(n[i, False], n[i, True], n[i, True] / jnp.maximum(n[i, False] + n[i, True], 1))
    ratio -= 2 * _likelihood((~after).sum(), after.sum(), after.mean(dtype=jnp.float32))
    return ratio, chi2.sf(jnp.maximum(ratio, 0), 1)


def _likelihood(misses, hits, p):
    """Return the log likelihood of so many hits and misses of a chance p, of which 0 log 0 is 0."""
    return xlogy(misses, 1 - p) + xlogy(hits, p)


def shortfall(x, var, es, level: float):
    """Return Acerbi and Szekely's second statistic (2014): about 0 where ES [t] is right, below 0 where it is too mild.

    x [t]: the returns. It is 1 less the sum of the losses beyond VaR [t], each as a part of the ES of its day, over
    t times the level; about -0.7 is what a right model falls below in 1 of 20 tests of a level of 2.5 %.
    """
    return 1 - (jnp.where(x < var, x / es, 0)).sum() / (len(x) * level)


def pinball(x, quantile, level: float):
    """Return the mean loss of a quantile that was said, least where it is right (Koenker and Bassett 1978)."""
    return jnp.maximum(level * (x - quantile), (level - 1) * (x - quantile)).mean()


def backtest(x, var, es, level: float):
    """Return what is said of VaR [t] and ES [t] at a level by the returns x [t] that came, as {name: number}."""
    hits = x < var
    found = {"hits": hits.mean(dtype=jnp.float32), "kupiec": kupiec(hits, level)[1]}
    found |= {"christoffersen": christoffersen(hits)[1], "shortfall": shortfall(x, var, es, level)}
    return found | {"pinball": 100 * pinball(x, var, level)}  # of returns in percent


# Forecasts


def crps(draws, x):
    """Return the continuous ranked probability score of draws [n, m, ...] for x [n, ...]: of one draw, |error|.

    E|X - x| - E|X - X'| / 2 over all pairs of the m draws (Gneiting and Raftery 2007), as a mean.
    """
    m = draws.shape[1]
    draws = jnp.sort(draws, 1)
    rank = (2 * jnp.arange(1, m + 1) - m - 1).reshape(1, m, *[1] * (draws.ndim - 2))
    spread = (rank * draws).sum(1) / m**2  # half the mean distance of two draws
    return (jnp.abs(draws - x[:, None]).mean(1) - spread).mean()


def provision(demand, allocated):
    """Return (what was allocated in vain, what lacked, the share of hours that lacked), two over the mean demand."""
    over = jnp.maximum(allocated - demand, 0).mean() / demand.mean()
    return over, jnp.maximum(demand - allocated, 0).mean() / demand.mean(), (demand > allocated).mean(dtype=jnp.float32)


def autoregression(past, x):
    """Return (weights [p], constant, deviation): x [n] by least squares of the p numbers before it, past [n, p]."""
    centre, mean = past.mean(0), x.mean()
    a, b = past - centre[None], x - mean
    gram = a.T @ a
    weights = jnp.linalg.solve(gram + RIDGE * jnp.diag(jnp.diag(gram)), a.T @ b)
    deviation = jnp.sqrt(((b - a @ weights) ** 2).mean())
    return weights, mean - centre @ weights, deviation


def continued(fitted, past, ahead: int):
    """Return (mean [n, ahead], deviation [ahead]) of what an autoregression says follows past [n, p]."""
    weights, constant, deviation = fitted

    def go_on(past, constant):
        def move(seen, _):
            new = seen @ weights + constant
            return jnp.concatenate([seen[:, 1:], new[:, None]], 1), new

        return jax.lax.scan(move, past, length=ahead)[1].T

    impulse = jnp.zeros_like(past[:1]).at[:, -1].set(1)
    answers = jnp.concatenate([jnp.ones(1, past.dtype), go_on(impulse, 0.0)[0, : ahead - 1]])  # to a shock one step ago
    return go_on(past, constant), deviation * jnp.sqrt(jnp.cumsum(answers**2))
