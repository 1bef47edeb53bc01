"""Sources that are made of others: joined, of few labels, stacked."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import composed
from gan_jax.data.source import DEVICE_BYTES
from gan_jax.game import rng

KEY = jax.random.key(0)


def test_joined_batches(digits):
    """A batch of joined sources has a batch of each, by a key of its own; name and test split are kept."""
    source = data.join(x=digits[0], other=digits[0], toy=data.load("ring8"))
    arrays = jax.tree.map(jnp.asarray, data.resident(source))
    drawn = jax.jit(lambda i: data.batch(source, arrays, KEY, i, 8))(2)
    assert set(drawn) == {"x", "other", "toy"} and drawn["toy"]["x"].shape == (8, 2)
    assert source.name == "digits" and source.shape == (8, 8, 1) and source.test is None
    assert (np.asarray(drawn["x"]["x"]) != np.asarray(drawn["other"]["x"])).any()
    alone = data.batch(digits[0], digits[1], rng.at(KEY, 0, "x"), 2, 8)
    np.testing.assert_array_equal(drawn["x"]["x"], alone["x"])
    assert set(data.resident(data.join(x=digits[0], b=digits[0]).test)) == {"x", "b"}
    large = dataclasses.replace(digits[0], nbytes=DEVICE_BYTES)
    assert source.fits and not data.join(x=digits[0], other=large).fits
    with pytest.raises(UserError, match="digits: a batch of 1498 is more than the 1497 records"):
        data.check_batch(source, 1498)


def test_a_joined_fingerprint_names_all_parts(digits):
    """Sets that differ in any part differ in it; of records without one it keeps silent, of toys it takes the name."""
    source, other = digits[0], dataclasses.replace(digits[0], fingerprint="other")
    of = lambda **parts: data.join(**parts).fingerprint
    assert len({of(x=source, y=source), of(x=source, y=other), of(x=other, y=source), of(x=source)}) == 4
    assert of(x=source, y=dataclasses.replace(source, fingerprint="")) == ""
    assert of(x=source, toy=data.load("ring8")) != of(x=source, toy=data.load("ring9")) != ""


def test_few_records(digits):
    """70 records, the same ones in every epoch, shuffled in each, whatever the batch; others for another key."""
    source, arrays = digits[0], jax.tree.map(jnp.asarray, digits[1])
    few = data.few(source, 70)
    epoch = jax.jit(lambda key, i: few.pick(key, i, 70))
    rows = [np.asarray(epoch(KEY, i)) for i in range(2)] + [np.asarray(epoch(jax.random.key(1), 0))]
    chosen = [set(row.tolist()) for row in rows]
    assert len(chosen[0]) == 70 and chosen[0] == chosen[1] != chosen[2] and max(chosen[0]) < 1497
    assert rows[0].tolist() != rows[1].tolist()
    halves = jax.jit(lambda i: (few.pick(KEY, i, 35), data.batch(few, arrays, KEY, i, 35)["y"]))
    (first, y), (second, _) = halves(0), halves(1)
    np.testing.assert_array_equal(np.concatenate([first, second]), rows[0])
    np.testing.assert_array_equal(y, arrays["y"][first])
    with pytest.raises(UserError, match="digits: a batch of 71 is more than the 70 records"):
        data.check_batch(few, 71)
    with pytest.raises(UserError, match="digits has 1497 records, fewer than 1498: ask for less"):
        data.few(source, 1498)
    assert few.n == 70 and len(data.some(few, 100)["x"]) == 70
    assert data.few(source, 0) is source and data.few(data.load("ring8"), 8) is data.load("ring8")


def test_only_labelled(digits):
    """50 records, 5 of each class, the same ones in every epoch and shuffled in each; others for another key."""
    source, arrays = digits[0], jax.tree.map(jnp.asarray, digits[1])
    few = data.only_labelled(source, 50)
    data.check_batch(few, 2000)
    epoch = jax.jit(lambda key, i: data.batch(few, arrays, key, i, 50))
    rows = [epoch(KEY, i) for i in range(2)] + [epoch(jax.random.key(1), 0)]
    images = [[x.tobytes() for x in np.asarray(r["x"])] for r in rows]
    assert np.bincount(rows[0]["y"]).tolist() == [5] * 10
    assert set(images[0]) == set(images[1]) != set(images[2]) and images[0] != images[1]
    everyone = {
        x.tobytes(): y
        for x, y in zip(np.asarray(data.decode(arrays)["x"]), np.asarray(arrays["y"]).tolist(), strict=True)
    }
    assert [everyone[x] for x in images[0]] == np.asarray(rows[0]["y"]).tolist()
    half = jax.jit(lambda i: data.batch(few, arrays, KEY, i, 25)["x"])
    halves = [half(i) for i in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), rows[0]["x"])
    for wrong in (55, 0):
        with pytest.raises(UserError, match=f"digits has 10 classes: {wrong} labels can't be shared out"):
            data.only_labelled(source, wrong)
    with pytest.raises(UserError, match=r"records of class \d, fewer than 149: ask for less"):
        data.check_batch(data.only_labelled(source, 1490), 8)
    assert data.only_labelled(data.load("ring8"), 8) is data.load("ring8")


def test_a_rare_class_has_its_share():
    """One record of each class, of which one is rare: whatever the key, it is not a record of another one."""
    y = np.where(np.arange(4000) % 66, np.arange(4000) % 9, 9).astype(np.int32)
    source = composed.of_arrays("rare", {"x": data.Field((1,), "row"), "y": data.label(10)}, {"x": y[:, None], "y": y})
    few = data.only_labelled(source, 10)
    classes = jax.jit(lambda key: jnp.bincount(jnp.asarray(y)[few.pick(key, 0, 10)], length=10))
    assert all((classes(jax.random.key(i)) == 1).all() for i in range(60))


def test_no_records_are_no_toy():
    """A source without records is drawn: of records that are not there, as of a split without any, that is said."""
    with pytest.raises(UserError, match="mine has no records of this kind"):
        composed.of_arrays("mine", {"x": data.Field((2,), "row")}, {"x": np.zeros((0, 2), np.float32)})


def test_classes_without_records_are_said(capsys):
    """Once, by name: a net that is asked for all of them would be asked for what it never saw."""
    for _ in range(2):
        data.labelled(data.load("digits,only=3")).whole()
    assert capsys.readouterr().err.count("no record of 9 of its 10 classes: 0, 1, 2, 4, 5 and 4 more") == 1
    data.labelled(data.load("digits")).whole()
    data.labelled(data.load("moving_digits8")).whole()  # whose labels are pairs, made of those of the records
    assert "no record" not in capsys.readouterr().err


def test_records_without_a_label_are_no_class():
    """An attribute 2 has as its opposite 1 - 2: not what has no label."""
    y = np.array([0, 1, -1, 2], np.int32)
    source = composed.of_arrays("some", {"x": data.Field((1,), "row"), "y": data.label(3)}, {"x": y[:, None], "y": y})
    assert data.of_class(source, 2).n == 1
    for which in (-1, 3):
        with pytest.raises(UserError, match=f"some has classes 0 to 2, and no class {which}"):
            data.of_class(source, which)


def test_records_of_one_value_of_another_label():
    """Rows, their order and their fingerprint are those of that label, and not of y; a map of labels is none."""
    raw = {"x": np.arange(4.0, dtype=np.float32)[:, None], "y": np.array([0, 1, 0, 1]), "s": np.array([1, 0, 0, 0])}
    fields = {"x": data.Field((1,), "row"), "y": data.label(2), "s": data.label(2, ("off", "on"))}
    source = composed.of_arrays("some", fields, raw, fingerprint="f")
    off = data.of_class(source, 0, "s")
    assert off.n == 3 and off.says in ("", "some; only off") and off.fingerprint == "f-classs0"
    np.testing.assert_array_equal(off.whole()["x"].ravel(), [1, 2, 3])
    np.testing.assert_array_equal(off.read(np.array([2, 0]))["x"].ravel(), [3, 1])
    assert data.of_class(source, 0).fingerprint == "f-class0" and data.of_class(source, 0).n == 2
    for field in ("t", "x"):
        with pytest.raises(UserError, match="some has no records with labels"):
            data.of_class(source, 0, field)


def test_other_labels_are_needed_too():
    """Each record needs a nuisance where one is trained on."""
    raw = {"x": np.zeros((3, 2), np.float32), "y": np.zeros(3, np.int32), "s": np.array([1, -1, 0], np.int32)}
    source = composed.of_arrays("two", {"x": data.Field((2,), "row"), "y": data.label(1), "s": data.label(2)}, raw)
    with pytest.raises(UserError, match=r"record 1 of two has no label s \(-1\)"):
        data.labelled(data.labelled(source), "s").whole()
    with pytest.raises(UserError, match="two has no classes, and here each record needs one: say t=FEATURE:label"):
        data.labelled(source, "t")


def test_stacked(digits):
    """A batch is three orders of the base's records, one a colour, and the label reads them."""
    source, arrays = data.stacked("stacked", digits[0]), digits[1]
    assert source.shape == (8, 8, 3) and source.classes == 1000 and source.test is None
    jax.tree.map(np.testing.assert_array_equal, data.resident(source), arrays)
    made = jax.jit(lambda arrays: data.batch(source, arrays, KEY, 3, 16))(arrays)
    colours = [np.asarray(data.order(rng.at(KEY, c, "data"), 3, 16, 1497)) for c in range(3)]
    for c, rows in enumerate(colours):
        np.testing.assert_array_equal(made["x"][..., c], data.decode({"x": arrays["x"][rows]})["x"][..., 0])
    y = [arrays["y"][rows] for rows in colours]
    np.testing.assert_array_equal(made["y"], 100 * y[0] + 10 * y[1] + y[2])
    assert (colours[0] != colours[1]).any() and made["y"].dtype == jnp.int32
    raw = source.read(np.arange(12).reshape(4, 3))
    assert raw["x"].shape == (4, 3, 8, 8, 1) and raw["x"].dtype == np.uint8 and raw["y"].shape == (4, 3)
    np.testing.assert_array_equal(
        source.make(raw)["x"][:, :, :, 1], data.decode({"x": arrays["x"][1:12:3]})["x"][..., 0]
    )
    assert data.reference(source)["real"].shape == (256, 8, 8, 3)
    assert data.reference(source)["anchors"].shape[1:] == (8, 8, 3)


def test_one_record_alone(digits):
    """Every row is that record, held out or not, as other recipes see it: cut, each row is a place of its own in it."""
    source, x = digits[0], np.asarray(data.decode(digits[1])["x"])
    only = data.alone(source, 5)
    rows = data.draw(only, KEY, 4)
    assert only.n == 0 and not data.resident(only) and only.fingerprint == f"{source.fingerprint}-record5"
    np.testing.assert_array_equal(rows["x"], x[[5] * 4])
    np.testing.assert_array_equal(data.draw(only.test, KEY, 2)["y"], digits[1]["y"][[5, 5]])
    crops = np.asarray(jax.jit(lambda: data.draw(data.cut(only, 4), KEY, 64))()["x"])
    places = [x[5, i : i + 4, j : j + 4] for i in range(5) for j in range(5)]
    found = [next(k for k, place in enumerate(places) if (place == crop).all()) for crop in crops]
    assert crops.shape == (64, 4, 4, 1) and len(set(found)) > 15
    for wrong in (-1, source.n):
        with pytest.raises(UserError, match=f"digits has 1497 records: there is no number {wrong}"):
            data.alone(source, wrong)


def test_labels_that_mean_the_same():
    """As many, by the same names where both have some: ten digits are no ten garments, and none is like none."""
    digits, ring = data.load("digits"), data.load("ring8")
    named = lambda names: dataclasses.replace(digits, fields=digits.fields | {"y": data.label(len(names), names)})
    garments, bare = named(tuple("abcdefghij")), named(("",) * 10)
    unnamed = dataclasses.replace(bare, fields=bare.fields | {"y": data.label(10)})
    assert data.same_labels(digits, digits) and data.same_labels(digits, unnamed) and data.same_labels(ring, ring)
    assert not data.same_labels(digits, garments) and not data.same_labels(digits, ring)
    without = dataclasses.replace(digits, fields={"x": digits.fields["x"]})
    assert not data.same_labels(without, without) and not data.same_labels(digits, without)


def set_of(x, y, classes, shape):
    """A set of records with pictures and labels."""
    fields = {"x": data.Field(shape, "image"), "y": data.label(classes)}
    return composed.of_arrays("set", fields, {"x": np.asarray(x, np.uint8), "y": np.asarray(y, np.int32)})


def test_a_set_that_follows_another():
    """Labels go on behind those of the first set, colours become grey, and bright pictures negatives."""
    own = set_of(np.zeros((2, 1, 2, 1)), [2, 0], 3, (1, 2, 1))
    x = np.array([[[[255, 255, 255], [255, 0, 0]]], [[[255, 255, 255], [0, 0, 255]]]])
    both = composed.followed(own, set_of(x, [1, -1], 2, (1, 2, 3)))
    assert both.n == 4 and both.classes == 5 and both.shape == (1, 2, 1)
    whole = both.whole()
    assert whole["y"].tolist() == [2, 0, 4, -1]
    assert whole["x"].ravel().tolist() == [0] * 4 + [0, 255 - 76, 0, 255 - 29]
    some = both.read([3, 1])
    assert some["y"].tolist() == [-1, 0] and some["x"].ravel().tolist() == [0, 255 - 29, 0, 0]
    dark = composed.followed(own, set_of(np.full((1, 1, 2, 1), 9), [0], 2, (1, 2, 1)))
    assert dark.whole()["x"].ravel().tolist() == [0] * 4 + [9, 9]
    with pytest.raises(UserError, match="pictures of set are 1x3x1, those of set 1x2x1: say size="):
        composed.followed(own, set_of(np.zeros((1, 1, 3, 1)), [0], 1, (1, 3, 1)))
    with pytest.raises(UserError, match="pictures of set are 1x2x4, those of set 1x2x1"):  # it is not known how to see
        composed.followed(own, set_of(np.zeros((1, 1, 2, 4)), [0], 1, (1, 2, 4)))
    with pytest.raises(UserError, match="ring8 has no pictures with labels"):
        composed.followed(own, data.load("ring8"))


def test_an_open_set(digits):
    """The last classes are in the test split alone, another set behind it, whose records the run keeps to as well.

    Where nothing is unknown, or nothing is held out, it says so.
    """
    source = composed.open_set(digits[0], 3, data.load("digits,size=8"))
    assert set(source.whole()["y"]) == set(range(7)) and set(source.test.whole()["y"]) == set(range(20))
    assert set(composed.open_set(digits[0], 3).test.whole()["y"]) == set(range(10))
    whole = composed.open_set(digits[0], 0, data.load("digits,size=8"))
    assert whole.n == digits[0].n and whole.test.n == digits[0].test.n + digits[0].n
    own = dataclasses.replace(data.load("digits,size=8"), content="theirs")
    assert composed.open_set(digits[0], 0, own).content == "theirs"
    for n, other in ((3, None), (0, own)):
        with pytest.raises(UserError, match="digits has no test split, in which what is unknown could be asked for"):
            composed.open_set(dataclasses.replace(digits[0], test=None), n, other)
    with pytest.raises(UserError, match="no class of digits is held out, and no other set is unknown"):
        composed.open_set(digits[0], 0)
