"""Series as windows in the order of time: days of a price, hours of demand. What is held out comes after the rest."""

import dataclasses
import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gan_jax.data.composed import of_arrays
from gan_jax.data.source import Field, Source, label
from gan_jax.errors import UserError

DECAY = 0.94  # a day, of the average of squares that is a day's volatility (RiskMetrics 1996)
REGIMES = "calm", "usual", "wild"  # thirds of the training days, by volatility
DAY = 24  # hours
SPARSE = 10  # hours for each one that is known, at most


# Toys, in the form of the sets that they stand for


def prices(name: str, days: int = 900, held_out: int = 300) -> Source:
    """Return a price a day, rows [1] in the order of time, of a GARCH(1, 1) with heavy tails; the same everywhere."""
    generator, squared, returns = np.random.default_rng(0), 1e-4, []
    for shock in generator.standard_t(5, days + held_out) * np.sqrt(3 / 5):
        returns.append(0.0003 + np.sqrt(squared) * shock)
        squared = 2e-6 + 0.1 * (returns[-1] - 0.0003) ** 2 + 0.88 * squared
    x = np.float32(100 * np.exp(np.cumsum(returns)))[:, None]
    fields = {"x": Field((1,), "row", names=("price",))}
    return of_arrays(name, fields, {"x": x[:days]}, of_arrays(name, fields, {"x": x[days:]}))


def hourly(name: str, places: int = 2, days: int = 60) -> Source:
    """Return the demand of places, each a record [days * 24, 1] with its hours: a day, a week, and noise that lasts.

    The same everywhere.
    """
    generator, hours = np.random.default_rng(0), np.arange(days * DAY)
    x = []
    for place in range(places):
        noise, shocks = 0.0, []
        for shock in generator.normal(0, 0.25, len(hours)):
            noise = 0.7 * noise + shock
            shocks.append(noise)
        day, week = np.sin(2 * np.pi * (hours / DAY - 0.3)), hours // DAY % 7 >= 5
        x.append(np.exp(4 + place + 0.8 * day - 0.5 * week + np.array(shocks)))
    raw = {"x": np.float32(x)[..., None], "hour": np.tile(np.int32(hours), (places, 1))[..., None]}
    series = lambda dtype: Field((len(hours), 1), "series", dtype)
    fields = {"x": series(np.float32), "hour": series(np.int32), "y": label(places)}
    return of_arrays(name, fields, raw | {"y": np.arange(places, dtype=np.int32)})


# Days of a price


class Gaussianised(NamedTuple):
    """What takes the heavy tails out of numbers, and puts them back (Goerg 2015, arXiv 1010.2265; Lambert's W).

    Numbers are standardised, e; then u exp(delta u^2 / 2) = e is solved for u, which is standardised again.
    """

    mean: float
    deviation: float
    delta: float
    u_mean: float
    u_deviation: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (_light((x - self.mean) / self.deviation, self.delta) - self.u_mean) / self.u_deviation

    def undo(self, x: np.ndarray) -> np.ndarray:
        """Return the numbers of which x was made, inside jit, too."""
        u = x * self.u_deviation + self.u_mean
        return u * jnp.exp(self.delta / 2 * u**2) * self.deviation + self.mean


def gaussianised(x: np.ndarray) -> Gaussianised:
    """Return the `Gaussianised` of numbers [n]: with the delta by which they have a normal distribution's kurtosis."""
    e = (x - x.mean()) / x.std()
    low, high = 1e-9, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        u = _light(e, middle)
        low, high = (middle, high) if (((u - u.mean()) / u.std()) ** 4).mean() > 3 else (low, middle)
    u = _light(e, low)
    return Gaussianised(*map(float, (x.mean(), x.std(), low, u.mean(), u.std())))


def _light(e, delta):
    from scipy.special import lambertw

    return np.sign(e) * np.sqrt(lambertw(delta * e**2).real / delta)


@functools.cache
def returns(source: Source, length: int) -> Source:
    """Return windows [length, 1] of log returns of a price, one that begins on each day; records are days, in order.

    `deviation` [1] is known the evening before: the root of a moving average of squares (RiskMetrics). x is the returns
    in units of it, without the heavy tails that each day has in units of its own (`gaussianised`), which the field's
    `undo` puts back: it gives returns in units of `deviation`. `volatility` [1] is the logarithm as it stands among the
    training days with mean 0 and deviation 1; y says to which third of them it belongs. Windows that are held out begin
    after the last training day. Raises UserError where x is not one price, or there are too few.
    """
    if source.kind != "row" or source.shape != (1,) or not source.test:
        raise UserError(f"{source.name}: returns are of one price a day, x a number, with later days held out.")
    price = np.concatenate([split.whole()["x"][:, 0].astype(np.float64) for split in (source, source.test)])
    n, later = source.n - 1, source.test.n
    if not (price > 0).all() or min(n, later) < length:
        raise UserError(f"{source.name} has {n} and {later} days: too few for {length}, or a price is 0 or less.")
    log = np.log(price)
    r = np.diff(log)
    if r[:n].var() > log[: n + 1].var() > 0:  # of numbers in no order it is twice as large (von Neumann 1941)
        raise UserError(f"{source.name} is no price a day: it changes from a record to the next as between any two.")
    if not r[:n].std() > 0:
        raise UserError(f"{source.name} has a price that never moves: there is nothing to be learned of it.")
    volatility = known_volatility(r, n)
    deviation = np.exp(volatility)
    light = gaussianised((r / deviation)[:n])
    v = (volatility - volatility[:n].mean()) / volatility[:n].std()
    regime = np.searchsorted(np.quantile(v[:n], (1 / 3, 2 / 3)), v)
    fields = {
        "x": Field((length, 1), "series", names=("log return, in deviations",), undo=light.undo),
        "deviation": Field((1,), "row", names=("deviation",)),
        "volatility": Field((1,), "row", names=("volatility",)),
        "y": label(3, REGIMES),
    }

    def of(first, last, test=None):
        starts = np.arange(first, last - length + 1)
        x = light(r[starts[:, None] + np.arange(length)] / deviation[starts, None])
        known = {"deviation": np.float32(deviation[starts, None]), "volatility": np.float32(v[starts, None])}
        raw = {"x": np.float32(x)[..., None], **known, "y": np.int32(regime[starts])}
        return of_arrays(source.name, fields, raw, test, source.fingerprint and f"{source.fingerprint}-returns{length}")

    test = of(n, len(r))
    return _saying(of(0, n, test), source, f"windows of {length} days")


def known_volatility(r: np.ndarray, n: int) -> np.ndarray:
    """Return the logarithm of each day's deviation of returns r [t] as it is known the evening before.

    The average begins at the variance of the first n days, the training ones, about whose mean squares are taken.
    """
    squared, found = r[:n].var(), []
    for one in r - r[:n].mean():
        found.append(squared)
        squared = DECAY * squared + (1 - DECAY) * one**2
    return np.log(found) / 2


# Hours of demand


@functools.cache
def demand(source: Source, history: int, ahead: int = 1, held_out: int = 56) -> Source:
    """Return hours of demand that follow on others: x [ahead * 24, 1] on `past` [history * 24, 1], from each hour on.

    A record of the source is a series of one place, y, with its `hour`s; those of its test split go on where they
    end. Hours that are missing are put in on a line between their neighbours. Numbers are log(1 + demand), standardised
    over all training hours; `undo` takes them back. history, ahead, held_out: in days; windows are held out whose x
    begins in the last `held_out` days of a place. Raises UserError where there are no such series.
    """
    wanted = {"x": "series", "hour": "series", "y": "label"}
    if {name: field.kind for name, field in source.fields.items() if name in wanted} != wanted:
        raise UserError(f"{source.name}: demand is x over `hour` of a place y: NAME,x=TRAFFIC,hour=HOUR,y=PLACE:label.")
    places = [np.log1p(hours_of(source, place)) for place in range(source.classes)]
    before, after, held = history * DAY, ahead * DAY, held_out * DAY
    if held < after:
        raise UserError(f"{held_out} days held out are too few for {ahead} that are forecast.")
    if short := [len(x) for x in places if len(x) - held < before + after]:
        raise UserError(
            f"{source.name} has a place with {short[0]} hours: too few for {history} days and what follows."
        )
    known = np.concatenate([x[:-held] for x in places])
    mean, deviation = float(known.mean()), float(known.std())
    if not np.ptp(known) > 0:  # of equal numbers the deviation is 0 but for rounding
        raise UserError(f"{source.name} has a demand that never changes: there is nothing to be learned of it.")
    undo = lambda x: jnp.expm1(x * deviation + mean)
    field = lambda hours: Field((hours, 1), "series", names=("demand",), undo=undo)
    fields = {"x": field(after), "past": field(before), "y": label(source.classes, source.row["y"].names)}

    def of(first, test=None):
        raw = {name: [] for name in fields}
        for place, x in enumerate(places):
            cut = len(x) - held  # of training windows all hours are before it, of others x alone is behind it
            starts = np.arange(before, cut - after + 1) if first else np.arange(cut, len(x) - after + 1)
            x = np.float32((x - mean) / deviation)[:, None]
            raw["x"].append(x[starts[:, None] + np.arange(after)])
            raw["past"].append(x[starts[:, None] + np.arange(-before, 0)])
            raw["y"].append(np.full(len(starts), place, np.int32))
        arrays = {name: np.concatenate(parts) for name, parts in raw.items()}
        said = f"-demand{history}-{ahead}-{held_out}"
        return of_arrays(source.name, fields, arrays, test, source.fingerprint and f"{source.fingerprint}{said}")

    return _saying(of(True, of(False)), source, f"{ahead} days after {history}")


def _saying(windows, source, what):
    """Return the windows with a line on what they are, behind that on the source."""
    said = f"{what}, {windows.n}, and {windows.test.n} held out"
    return dataclasses.replace(windows, says=f"{source.says}; {said}" if source.says else "")


def hours_of(source: Source, place: int) -> np.ndarray:
    """Return the demand [t] of a place, an hour a number, those that are missing on a line between their neighbours.

    Raises UserError where the place has no record, an hour twice, hours that are no count of such, or demand below 0.
    """
    hours, x = [], []
    for split in (source, source.test) if source.test else (source,):
        raw = split.whole()
        for row in np.flatnonzero(raw["y"] == place):
            there = raw["mask"][row] if "mask" in raw else np.ones(len(raw["x"][row]), bool)
            hours.append(raw["hour"][row][there, 0])
            x.append(raw["x"][row][there, 0].astype(np.float64))
    hours, x = np.concatenate([[], *hours]), np.concatenate([[], *x])
    of = f"{source.name}: place {source.row['y'].names[place] if source.row['y'].names else place}"
    if not len(hours) or not x.min() >= 0:
        raise UserError(f"{of} has no record, or demand below 0.")
    if len(np.unique(hours)) < len(hours) or np.ptp(hours) > SPARSE * len(hours):
        raise UserError(f"{of} has an hour twice, or hours far apart: they are counted one by one, 0, 1, 2, ...")
    order = np.argsort(hours)
    return np.interp(np.arange(hours.min(), hours.max() + 1), hours[order], x[order])
