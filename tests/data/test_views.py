"""Pairs of views: the same object, the turn between them, each other view as often; what has no views is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game import rng

FIELDS = {"x": data.Field((2, 2, 1), "image"), "y": data.label(3), "angle": data.label(0)}


def records(y, step=10):
    """Return raw records whose pictures say their number; angles grow by `step` from record to record."""
    y = np.array(y, np.int32)
    x = np.broadcast_to(np.arange(len(y), dtype=np.uint8).reshape(-1, 1, 1, 1), (len(y), 2, 2, 1))
    return {"x": x, "y": y, "angle": step * np.arange(len(y), dtype=np.int32)}


def kept(arrays, test=None):
    """Return the source of these records, in memory, with those of `test` held out."""
    n = len(arrays["y"])
    return data.Source(
        "hand",
        FIELDS,
        n=n,
        pick=lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n),
        read=lambda indices: {k: a[indices] for k, a in arrays.items()},
        whole=lambda: arrays,
        test=test and kept(test),
        fingerprint="print",
    )


HAND = kept(records([0, 2, 0, 0, 2, 0]), records([2, 0, 0, 2, 2], 35))


def number(x):
    """Return the numbers of the records that pictures are."""
    return data.encode(x)[:, 0, 0, 0]


@pytest.mark.parametrize("source", [HAND, HAND.test])
def test_pairs_are_of_one_object(source):
    """Never a view with itself, each other one of its object as often, and turn is the angle from it to x."""
    pairs, key = data.views(source), jax.random.key(0)
    raw, y = jax.tree.map(jnp.asarray, source.whole()), source.whole()["y"]
    counts = np.zeros((source.n, source.n))
    batch = jax.jit(lambda i: data.batch(pairs, raw, key, i, source.n))
    for i in range(300):
        found = jax.tree.map(np.asarray, batch(i))
        x, other = number(found["x"]), number(found["source"])
        np.add.at(counts, (x, other), 1)
        turn = np.deg2rad(source.whole()["angle"][x] - source.whole()["angle"][other].astype(float))
        np.testing.assert_allclose(found["turn"], np.stack([np.cos(turn), np.sin(turn)], 1), atol=1e-6)
        np.testing.assert_array_equal(found["angle"], source.whole()["angle"][x])
    assert (counts.sum(1) == 300).all()
    for i in range(source.n):
        others = (y == y[i]) & (np.arange(source.n) != i)
        assert not counts[i, ~others].any() and abs(counts[i, others] - 300 / others.sum()).max() < 50
    assert {f"{name} {field.shape}" for name, field in pairs.fields.items()} >= {"source (2, 2, 1)", "turn (2,)"}


def test_streamed_as_resident():
    """The same bits read ahead on the host; what is held out is paired with what is held out."""
    pairs, key = data.views(HAND), jax.random.key(1)
    raw = next(data.stream(pairs, key, 4, 5))
    made = jax.jit(lambda raw: pairs.make(raw, key, 5, 4))(raw)
    jax.tree.map(
        np.testing.assert_array_equal, made, data.batch(pairs, jax.tree.map(jnp.asarray, pairs.whole()), key, 5, 4)
    )
    assert pairs.test.whole() is HAND.test.whole() and pairs.fingerprint == HAND.fingerprint


def test_all_pairs():
    """Each ordered pair of one object once, in an order that is always the same, and no more than are asked for."""
    y = HAND.whole()["y"]
    found = data.view_pairs(HAND, 100)
    expected = {(i, j) for i in range(6) for j in range(6) if i != j and y[i] == y[j]}
    assert set(map(tuple, found.tolist())) == expected and len(found) == len(expected) == 14
    np.testing.assert_array_equal(data.view_pairs(HAND, 5), found[:5])


def test_the_nearest_angle():
    """Around the circle, of the same object alone."""
    train = {"y": np.array([0, 0, 1, 1]), "angle": np.array([10, 200, 350, 90])}
    test = {"y": np.array([0, 0, 1, 1, 0]), "angle": np.array([355, 120, 10, 230, 280])}
    expected = []
    for y, angle in zip(test["y"], test["angle"], strict=True):
        ways = [
            min(abs(angle - a), 360 - abs(angle - a)) if y == o else 999 for o, a in zip(*train.values(), strict=True)
        ]
        expected.append(int(np.argmin(ways)))
    assert jax.jit(data.nearest_view)(train, test).tolist() == expected == [0, 1, 2, 2, 1]


def test_what_has_no_views():
    """No angle, no object, no images; an object with one view; a record of which it isn't known what it shows."""
    without = lambda name: dataclasses.replace(HAND, fields={k: f for k, f in HAND.fields.items() if k != name})
    counted = dataclasses.replace(HAND, fields=HAND.fields | {"angle": data.label(3, ("0", "90", "180"))})  # no degrees
    for source in (without("angle"), without("y"), counted, data.load("ring8"), data.join(x=HAND, source=HAND)):
        with pytest.raises(UserError, match=r"has no views of objects(.|\n)*y=FEATURE,angle=FEATURE"):
            data.views(source)
    batch = lambda source: data.views(source).pick(jax.random.key(0), 0, 2)
    with pytest.raises(UserError, match="hand has a split with one view of object 1: two are a pair"):
        batch(kept(records([0, 1, 0])))
    with pytest.raises(UserError, match=r"record 1 of hand has no label \(-1\)"):
        batch(kept(records([0, -1, 0])))
