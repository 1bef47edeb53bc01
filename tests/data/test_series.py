"""Windows of days and hours: what they hold, what was known beforehand, and that what is held out comes later."""

import dataclasses

import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import series
from gan_jax.data.composed import of_arrays

LENGTH = 10


@pytest.fixture(scope="module")
def windows():
    source = data.load("garch_prices")
    price = np.concatenate([s.whole()["x"][:, 0].astype(float) for s in (source, source.test)])
    return data.returns(source, LENGTH), np.diff(np.log(price))


def test_windows_are_the_returns_in_order(windows):
    """Undone, each begins a day later than the one before; none that is trained on reaches a day that is held out."""
    source, r = windows
    assert (source.n, source.test.n, source.shape) == (899 - LENGTH + 1, 300 - LENGTH + 1, (LENGTH, 1))
    for split, first in ((source, 0), (source.test, 899)):
        whole = split.whole()
        found = np.asarray(source.row["x"].undo(whole["x"]))[..., 0] * whole["deviation"]
        expected = np.stack([r[first + i : first + i + LENGTH] for i in range(split.n)])
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_heavy_tails_are_taken_out(windows):
    """Of the training days alone: mean 0, deviation 1, and the kurtosis of a normal law, where returns have far more."""
    _, r = windows
    x = series.gaussianised(r[:899])(r[:899])
    moments = [x.mean(), x.std(), (x**4).mean()]
    np.testing.assert_allclose(moments, [0, 1, 3], atol=1e-3)
    assert (((r[:899] - r[:899].mean()) / r[:899].std()) ** 4).mean() > 4
    light = series.gaussianised(np.random.default_rng(0).uniform(size=500))
    assert light.delta < 1e-6  # light tails stay as they are


def test_volatility_is_known_the_evening_before(windows):
    """By the formula; another return on a day changes only later days'; thirds of the training days are regimes."""
    source, r = windows
    mean, squared = r[:899].mean(), [r[:899].var()]
    for one in r:
        squared.append(0.94 * squared[-1] + 0.06 * (one - mean) ** 2)
    log = np.log(np.sqrt(squared[:-1]))
    z = (log - log[:899].mean()) / log[:899].std()
    np.testing.assert_allclose(source.whole()["volatility"][:, 0], z[: source.n], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(source.test.whole()["volatility"][:, 0], z[899:][: source.test.n], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(source.test.whole()["deviation"][:, 0], np.exp(log)[899:][: source.test.n], rtol=1e-5)
    other = r.copy()
    other[950] *= 9
    assert np.flatnonzero(series.known_volatility(r, 899) != series.known_volatility(other, 899))[0] == 951
    thirds = np.searchsorted(np.quantile(z[:899], (1 / 3, 2 / 3)), z)
    np.testing.assert_array_equal(source.test.whole()["y"], thirds[899:][: source.test.n])


def places(gap=()):
    """Return two places of 20 days, the last five of them in a test split that has them the other way round."""
    hours = np.delete(np.arange(20 * 24), list(gap))
    x = np.stack([100 + hours, 500 + 2 * hours]).astype(np.float32)
    cut = len(hours) - 5 * 24
    parts = []
    for part, order in ((slice(0, cut), [0, 1]), (slice(cut, None), [1, 0])):
        t, held = len(hours[part]), 3  # behind the end there is padding
        pad = lambda a, held=held: np.pad(a, ((0, 0), (0, held)))[..., None]
        raw = {"x": pad(x[order, part]), "hour": pad(np.tile(np.int32(hours[part]), (2, 1)))}
        raw |= {"mask": np.tile(np.arange(t + held) < t, (2, 1)), "y": np.int32(order)}
        fields = {name: data.Field((t + held, 1), "series", raw[name].dtype) for name in ("x", "hour")}
        fields |= {"mask": data.Field((t + held,), "row", bool), "y": data.label(2)}
        parts.append(of_arrays("places", fields, raw))
    return dataclasses.replace(parts[0], test=parts[1])


def test_days_follow_on_what_is_past():
    """Every window is of one place, its x right behind its past; those held out begin in the last days alone."""
    source = data.demand(places(), 7, 1, 6)
    cut, undo = (20 - 6) * 24, source.row["x"].undo
    assert (source.n, source.test.n) == (2 * (cut - 7 * 24 - 23), 2 * (6 * 24 - 23))
    for split, firsts in ((source, range(7 * 24, cut - 23)), (source.test, range(cut, 20 * 24 - 23))):
        raw = split.whole()
        for place, (start, by) in enumerate([(100, 1), (500, 2)]):
            of = raw["y"] == place
            past, x = (np.asarray(undo(raw[name][of]))[..., 0] for name in ("past", "x"))
            at = np.array(firsts)[:, None]
            np.testing.assert_allclose(x, start + by * (at + np.arange(24)), rtol=1e-3)
            np.testing.assert_allclose(past, start + by * (at - 7 * 24 + np.arange(7 * 24)), rtol=1e-3)


def test_hours_that_are_missing_lie_between_their_neighbours():
    """The source's test split goes on where its training split ends, whatever the order of places."""
    for place, (start, by) in enumerate([(100, 1), (500, 2)]):
        found = series.hours_of(places(gap=(7, 8, 440)), place)
        np.testing.assert_allclose(found, start + by * np.arange(20 * 24))


def test_the_toy_of_demand_has_days_and_weeks():
    x = np.log(data.load("hourly_demand").whole()["x"][..., 0])
    back = lambda k: np.corrcoef(x[0, k:], x[0, :-k])[0, 1]
    assert back(24) > 0.6 > 0.1 > back(12) and back(7 * 24) > back(3 * 24)


def changed(source, **how):
    """Return the source with fields of its records, held out or not, changed."""
    raw = source.whole()
    raw = raw | {name: change(raw[name]) for name, change in how.items()}
    return dataclasses.replace(source, whole=lambda: raw, test=source.test and changed(source.test, **how))


def shuffled(a):
    """Return the records in another order, as of flats that are for rent, which are in none."""
    return np.random.default_rng(0).permutation(a)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: data.returns(data.load("binary_digits"), 5), "one price a day"),
        (lambda: data.returns(data.load("garch_prices"), 400), "too few for 400"),
        (lambda: data.demand(data.load("garch_prices"), 7), "x over `hour` of a place"),
        (lambda: data.demand(places(), 7, 1, 20), "too few for 7 days"),
        (lambda: data.demand(places(), 3, 2, 1), "1 days held out are too few for 2"),
        (lambda: data.returns(changed(data.load("garch_prices"), x=lambda x: 0 * x + 5), 5), "never moves"),
        (lambda: data.returns(changed(data.load("garch_prices"), x=shuffled), 5), "is no price a day: it changes"),
        (lambda: data.demand(changed(places(), x=lambda x: 0 * x + 3), 7, 1, 6), "never changes"),
        (lambda: series.hours_of(changed(places(), x=lambda x: -x), 0), "place 0 has no record, or demand below 0"),
        (lambda: series.hours_of(changed(places(), x=lambda x: x * np.nan), 1), "no record, or demand below 0"),
        (lambda: series.hours_of(changed(places(), y=lambda y: 0 * y), 1), "place 1 has no record"),
        (lambda: series.hours_of(changed(places(), y=lambda y: 0 * y), 0), "an hour twice"),
        (lambda: series.hours_of(changed(places(), hour=lambda hour: 3600 * hour), 0), "hours far apart"),
    ],
    ids=[
        "prices",
        "days",
        "hours",
        "short",
        "few",
        "still",
        "order",
        "even",
        "negative",
        "nan",
        "nowhere",
        "twice",
        "seconds",
    ],
)
def test_other_sets_are_refused(make, says):
    with pytest.raises(UserError, match=says):
        make()
