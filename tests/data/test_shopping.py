"""Orders as rows of numbers: what they say can be read again, and nothing of what is held out has a share in it."""

import dataclasses

import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import shopping


def test_an_order_is_read_again():
    """Customer, product, quantity, price and day of every row are those of the line that it was made of."""
    shop = data.load("shop")
    source = data.orders(shop, 3, 10)  # as many as there are words, which all stand with all
    field, raw = source.row["x"], shop.whole()
    assert field.shape == (22,) and field.names == shopping.COLUMNS
    known = {
        (shop.fields["customer"].names[c], shop.fields["product"].names[p], shop.fields["date"].names[d], round(q))
        for c, p, d, (_, q) in zip(raw["customer"], raw["product"], raw["date"], raw["x"].tolist(), strict=True)
    }
    prices = np.sort(raw["x"][:, 0])
    read = np.concatenate([np.asarray(field.undo(part.whole()["x"])) for part in (source, source.test)])
    for customer, product, quantity, price, day in read.tolist():
        words = (field.values[i][round(v)] for i, v in ((0, customer), (1, product), (4, day)))
        assert (*words, round(quantity)) in known and np.abs(prices - price).min() < 1e-4
    assert len(read) == shop.n == source.n + source.test.n and np.abs(source.whole()["x"]).max() <= 1
    counts = np.bincount(read[: source.n, 0].astype(int))
    assert (np.diff(counts) <= 0).all(), "the most frequent customer is number 0"


def test_a_date_is_on_circles():
    """The day from -1 to 1; day of the month, weekday and month as sine and cosine."""
    days = np.array([shopping.datetime.date(2011, 4, 1).toordinal() + i for i in range(3)])
    found = shopping._dates(days, days[0], days[2])
    np.testing.assert_allclose(found[:, 0], [-1, 0, 1])
    np.testing.assert_allclose(found[0, 1:], [0, 1, *(f(2 * np.pi * 4 / 7) for f in (np.sin, np.cos)), 1, 0], atol=1e-9)
    assert found.shape == (3, shopping.DATE)


def test_words_that_stand_together_are_near():
    """Titles of words that share neighbours are nearer than others, though they have no rare word in common."""
    titles = ["tea cup", "tea pot", "red cup tea", "red pot tea", "garden spade", "garden fork", "old spade garden"]
    found = shopping._titles(titles, 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    near = found @ found.T
    assert min(near[:4, :4].min(), near[4:, 4:].min()) > 0.9 > 0.3 > np.abs(near[:4, 4:]).max()


def test_what_is_held_out_is_not_known():
    """Other held-out lines leave rows and vectors of those that are trained on as they are; no price of 0 is taken."""
    shop = data.load("shop")
    raw = shop.whole() | {"x": np.where(np.arange(shop.n)[:, None] == 7, 0, shop.whole()["x"])}
    fewer = dataclasses.replace(shop, whole=lambda: raw)
    source = data.orders(fewer, 3, 3)
    assert source.n + source.test.n == shop.n - 1
    lines = np.random.default_rng(0).permutation(np.flatnonzero(raw["x"].all(1)))[: source.test.n]
    other = raw | {"x": raw["x"].copy()}
    other["x"][lines] *= 1.1
    again = data.orders(dataclasses.replace(shop, whole=lambda: other), 3, 3)
    np.testing.assert_array_equal(again.whole()["x"], source.whole()["x"])
    assert (again.test.whole()["x"] != source.test.whole()["x"]).any()


def test_no_orders():
    """Where a source has no lines, and where vectors would be longer than what there is to say."""
    with pytest.raises(UserError, match="digits has no order lines: say x=price"):
        data.orders(data.load("digits"), 3, 3)
    with pytest.raises(UserError, match="the vector of a product can have 10 numbers here, not 11"):
        data.orders(data.load("shop"), 3, 11)
    shop = data.load("shop")
    bare = dataclasses.replace(shop, fields=shop.fields | {"date": data.label(365)})  # days have no names
    wide = dataclasses.replace(shop, fields=shop.fields | {"x": data.Field((3,), "row")})
    for source in (bare, wide):
        with pytest.raises(UserError, match="has no order lines"):
            data.orders(source, 3, 3)
    none = shop.whole() | {"x": -shop.whole()["x"]}
    with pytest.raises(UserError, match="no order line with a price and a quantity above 0"):
        data.orders(dataclasses.replace(shop, whole=lambda: none), 3, 3)


def test_few_orders():
    """Of so few that none is held out, all are trained on."""
    shop = data.load("shop")
    some = {name: a[:4] for name, a in shop.whole().items()}
    source = data.orders(dataclasses.replace(shop, whole=lambda: some), 1, 3)
    assert source.n == 4 and source.test is None and np.isfinite(source.whole()["x"]).all()


def test_one_price_for_all():
    """A column that never changes is no NaN, and is read again."""
    shop = data.load("shop")
    alike = shop.whole() | {"x": np.full((shop.n, 2), 7, np.float32)}
    source = data.orders(dataclasses.replace(shop, whole=lambda: alike), 3, 3)
    assert np.isfinite(source.whole()["x"]).all()
    np.testing.assert_allclose(source.row["x"].undo(source.whole()["x"])[:, 2:4], 7, rtol=1e-5)
