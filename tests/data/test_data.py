"""Data: the order of records, the toys, the digits, the two ways to a batch, and what a user is told."""

import dataclasses
import functools
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.data.cache
from gan_jax import data
from gan_jax.data import records, toys
from gan_jax.data.source import DEVICE_BYTES
from gan_jax.errors import UserError
from gan_jax.game import rng

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of this module's own, with nothing loaded before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_jax.data.cache, "FOLDER", tmp_path_factory.mktemp("cache"))
        data.load.cache_clear()
        yield gan_jax.data.cache.FOLDER
    data.load.cache_clear()


@pytest.fixture(scope="module")
def digits(cache):
    """The digits and their arrays."""
    source = data.load("digits")
    return source, data.resident(source)


# The order of records

orders = jax.jit(jax.vmap(data.order, (0, None, None, None)), static_argnums=(2, 3))  # one for each key
epochs = jax.jit(jax.vmap(data.order, (None, 0, None, None)), static_argnums=(2, 3))  # one for each i


def chi_square_is_small(counts, expected):
    """Return whether the statistic is below its 1 in 10,000 point (Wilson and Hilferty's approximation)."""
    free = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return statistic < free * (1 - 2 / (9 * free) + 3.72 * math.sqrt(2 / (9 * free))) ** 3


@pytest.mark.parametrize("n, b", [(1797, 64), (10, 3), (1, 1), (64, 8)])
def test_each_epoch_visits_every_record_once(n, b):
    """The n // b batches of an epoch are distinct records of range(n): all of them but n % b."""
    per = n // b
    rows = np.asarray(epochs(KEY, jnp.arange(4 * per), b, n)).reshape(4, per * b)
    assert rows.dtype == np.int32 and rows.min() >= 0 and rows.max() < n
    for epoch in rows:
        assert len(set(epoch.tolist())) == per * b
    if b > 1 and n > b:
        assert len({tuple(epoch) for epoch in rows.tolist()}) == 4


def test_leftovers_change():
    """With n = 10 and b = 3 one record is left out, each of them in about as many epochs."""
    rows = np.asarray(epochs(KEY, jnp.arange(3 * 3000), 3, 10)).reshape(3000, 9)
    left_out = 45 - rows.sum(1)
    assert chi_square_is_small(np.bincount(left_out, minlength=10), 300)


@pytest.mark.parametrize("n", [2, 13])
def test_first_is_uniform(n):
    """Over keys each record is first equally often."""
    draws = 400 * n
    first = np.asarray(orders(jax.random.split(KEY, draws), 0, 1, n))[:, 0]
    assert chi_square_is_small(np.bincount(first, minlength=n), 400)


def test_first_is_uniform_over_epochs():
    """Over the epochs of one key each record is first equally often."""
    first = np.asarray(epochs(KEY, 2 * jnp.arange(3200), 4, 8))[:, 0]
    assert chi_square_is_small(np.bincount(first, minlength=8), 400)


def test_permutations_are_uniform():
    """Over keys each of the 24 orders of 4 records comes equally often."""
    rows = np.asarray(orders(jax.random.split(KEY, 24 * 400), 0, 4, 4)) @ np.array([64, 16, 4, 1])
    counts = np.unique(rows, return_counts=True)[1]
    assert len(counts) == 24 and chi_square_is_small(counts, 400)


def test_neighbours_are_apart():
    """Records that are neighbours on disk are no neighbours in the order: the lag of 1 has its share, 1 / n."""
    rows = np.asarray(epochs(KEY, jnp.arange(20), 1797, 1797))
    assert (np.sort(rows, axis=1) == np.arange(1797)).all()
    lags = (np.diff(rows, axis=1) % 1797).ravel()
    assert chi_square_is_small(np.bincount(lags, minlength=1797)[1:], lags.size / 1796)


def test_order_is_a_function_of_key_and_number():
    """Deterministic, other for another key, and the same under jit, under vmap and for array arguments."""
    plain = [data.order(KEY, i, 16, 100).tolist() for i in (0, 700)]
    assert plain[0] == data.order(KEY, 0, 16, 100).tolist()
    assert plain == epochs(KEY, jnp.array([0, 700]), 16, 100).tolist()
    by_key = orders(jnp.stack([KEY, jax.random.key(1)]), jnp.int32(700), 16, 100).tolist()
    assert by_key[0] == plain[1] != by_key[1]


def test_order_of_a_large_set():
    """Millions of records, far into the run: in range and distinct, and no epoch is ever stored."""
    n = 2**30 - 1
    rows = np.asarray(jax.jit(lambda i: data.order(KEY, i, 4096, n))(jnp.int32(2**31 - 1)))
    assert rows.min() >= 0 and rows.max() < n and len(set(rows.tolist())) == 4096
    assert abs(rows.mean() / n - 1 / 2) < 4 / math.sqrt(12 * 4096)


# Toys


@functools.cache
def draw(name, n=40_000):
    return np.asarray(jax.jit(data.load(name).draw, static_argnums=1)(KEY, n)["x"], np.float64)


def nearest(x, means):
    return np.linalg.norm(x[:, None] - means[None], axis=-1).argmin(1)


@pytest.mark.parametrize(
    "name, modes, std",
    [
        ("ring8", 8, 0.02), ("ring8_unit", 8, 0.01), ("ring8_notebook", 7, 0.01), ("ring5", 5, 0.02),
        ("ring8_unbalanced", 8, 0.02), ("grid25", 25, 0.05), ("spiral", 50, 0.02),
    ],
)  # fmt: skip
def test_toy_is_its_mixture(name, modes, std):
    """Around every mean: as many samples as its weight says, mean at the mean, covariance std^2 I."""
    source, x = data.load(name), draw(name)
    means = np.float64(source.modes[0])
    assert means.shape == (modes, 2) and source.modes[1] == std and source.shape == (2,) and x.shape == (40_000, 2)
    at = nearest(x, means)
    weights = np.full(modes, 1 / modes)
    if name == "ring8_unbalanced":
        angle = np.arctan2(means[:, 1], means[:, 0]) % (2 * np.pi - 1e-3)
        weights = (np.round(angle / (2 * np.pi) * 8) + 1) / 36
        assert sorted(weights * 36) == pytest.approx(range(1, 9))
    if name == "ring8_notebook":
        weights = np.where(np.linalg.norm(means - [1, 0], axis=1) < 1e-6, 2 / 8, 1 / 8)
        assert sorted(weights) == [1 / 8] * 6 + [2 / 8]
    assert chi_square_is_small(np.bincount(at, minlength=modes), weights * 40_000)
    np.testing.assert_allclose(source.modes[2], weights, rtol=1e-6)
    for k, mean in enumerate(means):
        off = x[at == k] - mean
        assert (np.abs(off.mean(0)) < 4.5 * std / math.sqrt(len(off))).all()
        np.testing.assert_allclose(off.T @ off / len(off) / std**2, np.eye(2), atol=5 * math.sqrt(2 / len(off)))


@pytest.mark.parametrize(
    "name, radius, n", [("ring8", 2, 8), ("ring8_unit", 1, 8), ("ring8_notebook", 1, 7), ("ring30", 2, 30)]
)
def test_ring(name, radius, n):
    """The means are on the circle at even angles, one of them at angle 0."""
    means = data.load(name).modes[0]
    np.testing.assert_allclose(np.hypot(*means.T), radius, rtol=1e-6)
    angles = np.sort((np.arctan2(means[:, 1], means[:, 0]) + 0.1) % (2 * np.pi))
    np.testing.assert_allclose(angles - 0.1, 2 * np.pi * np.arange(n) / n, atol=1e-5)


def test_notebook_ring_is_that_of_the_notebook():
    """Eight angles over [0, 2 pi] with both ends: the first and the last mean are one."""
    angles = np.linspace(0, 2 * np.pi, 8)
    means = np.unique(np.stack([np.cos(angles), np.sin(angles)], 1).round(5) + 0.0, axis=0)
    ours = data.load("ring8_notebook").modes[0]
    assert len(means) == 7
    np.testing.assert_allclose(ours[np.lexsort(ours.round(5).T)], means[np.lexsort(means.T)], atol=1e-5)


def test_grid():
    """25 means at -4, -2, 0, 2, 4 in both coordinates."""
    means = {tuple(m) for m in data.load("grid25").modes[0].tolist()}
    assert means == {(float(x), float(y)) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


def test_moments_of_the_ring():
    """Mean 0 and covariance (r^2 / 2 + std^2) I."""
    x = draw("ring8")
    np.testing.assert_allclose(x.mean(0), 0, atol=4 * math.sqrt(2 / 40_000))
    np.testing.assert_allclose(x.T @ x / len(x), (2 + 0.02**2) * np.eye(2), atol=4 * math.sqrt(2 / 40_000))


def test_toy_batches():
    """A toy's batch is a function of (key, i): float32 [b, 2], deterministic, other for other keys and numbers."""
    source = data.load("ring8")
    one = lambda key, i: np.asarray(data.batch(source, {}, key, i, 6)["x"])
    assert one(KEY, 3).shape == (6, 2) and one(KEY, 3).dtype == np.float32
    np.testing.assert_allclose(one(KEY, 3), batch(source, {}, KEY, 3, 6)["x"], rtol=1e-6)
    assert (one(KEY, 3) != one(KEY, 4)).any() and (one(KEY, 3) != one(jax.random.key(1), 3)).any()
    assert data.resident(source) == {} and source.fits and source.classes == 8


def test_a_toy_s_label_is_its_mode():
    """y is the number of the mode, in the order of `modes`, also where a mean is given twice."""
    for name in ("ring8_notebook", "ring8_unbalanced", "grid25"):
        source = data.load(name)
        drawn = source.draw(KEY, 500)
        assert (nearest(np.asarray(drawn["x"]), source.modes[0]) == np.asarray(drawn["y"])).all()
        assert source.classes == len(source.modes[0]) and drawn["y"].dtype == np.int32


# Several sources, and few labels


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
    assert set(data.resident(data.join(a=digits[0], b=digits[0]).test)) == {"a", "b"}
    large = dataclasses.replace(digits[0], n=DEVICE_BYTES)
    assert source.fits and not data.join(x=digits[0], other=large).fits
    with pytest.raises(UserError, match="digits has 1497 records"):
        data.check_batch(source, 1498)


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
    with pytest.raises(UserError, match="10 classes: 55 labels can't be shared out"):
        data.check_batch(data.only_labelled(source, 55), 8)
    assert data.only_labelled(data.load("ring8"), 8).labelled == 0


@pytest.mark.parametrize("seeds", [0, 2])
def test_stacked(digits, seeds):
    """A batch is three orders of the base's records, one a colour; the label reads them; streamed bits are the same."""
    source, arrays = data.stacked("stacked", "digits"), digits[1]
    assert source.shape == (8, 8, 3) and source.classes == 1000 and source.test is None
    jax.tree.map(np.testing.assert_array_equal, data.resident(source), arrays)
    if seeds:
        keys = jax.random.split(KEY, seeds)
        same_both_ways(source, arrays, 16, 90, keys)
        return
    same_both_ways(source, arrays, 16, 90)  # across the end of an epoch
    made = batch(source, arrays, KEY, 3, 16)
    colours = [np.asarray(data.order(rng.at(KEY, c, "data"), 3, 16, 1497)) for c in range(3)]
    for c, rows in enumerate(colours):
        np.testing.assert_array_equal(made["x"][..., c], data.decode({"x": arrays["x"][rows]})["x"][..., 0])
    y = [arrays["y"][rows] for rows in colours]
    np.testing.assert_array_equal(made["y"], 100 * y[0] + 10 * y[1] + y[2])
    assert (colours[0] != colours[1]).any() and made["y"].dtype == jnp.int32
    raw = source.read(np.arange(4))
    assert raw["x"].shape == (4, 8, 8, 3) and raw["x"].dtype == np.uint8 and raw["y"].shape == (4,)
    np.testing.assert_array_equal(raw["x"][..., 0], arrays["x"][:4, ..., 0])
    assert data.reference(source)["anchors"].shape[1:] == (8, 8, 3)


def test_repeated_modes_weigh_double():
    """`mixture` draws a mean that is given twice twice as often, and tells it once."""
    source = toys.mixture("twice", [[0.0], [5], [5], [9]], 0.0)
    x = np.asarray(source.draw(KEY, 8000)["x"])[:, 0]
    assert source.modes[0].ravel().tolist() == [0, 5, 9]
    assert chi_square_is_small(np.array([(x == m).sum() for m in (0, 5, 9)]), np.array([2000, 4000, 2000]))


# Records


batch = jax.jit(data.batch, static_argnums=(0, 4))
batches = jax.jit(jax.vmap(data.batch, (None, None, 0, None, None)), static_argnums=(0, 4))  # one for each key
decode = jax.jit(data.decode)


def test_decode():
    """0 is -1 and 255 is 1, exactly; between them 2 v / 255 - 1, the same with jit and without; labels stay."""
    raw = {"x": np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), "y": np.int32([3])}
    for decoded in (data.decode(raw), decode(raw)):
        x = np.asarray(decoded["x"]).ravel()
        assert x.dtype == np.float32 and x[0] == -1.0 and x[255] == 1.0
        np.testing.assert_allclose(x, [2 * v / 255 - 1 for v in range(256)], rtol=2e-7)
        assert decoded["y"] == 3
    np.testing.assert_array_equal(data.decode(raw)["x"], decode(raw)["x"])


def test_digits(digits):
    """1797 pictures [8, 8, 1] whose 17 levels cover 0..255, and labels 0..9: those of scikit-learn, in some order."""
    from sklearn.datasets import load_digits

    source, arrays = digits
    assert (source.n, source.shape, source.classes, source.fits) == (1497, (8, 8, 1), 10, True)
    assert source.test.n == 300 and source.test.test is None
    assert arrays["x"].shape == (1497, 8, 8, 1) and arrays["x"].dtype == np.uint8 and arrays["y"].dtype == np.int32
    assert set(arrays["x"].ravel().tolist()) == {round(v * 255 / 16) for v in range(17)}
    truth = load_digits()
    theirs = sorted((tuple(x), y) for x, y in zip(truth.data.astype(int).tolist(), truth.target.tolist(), strict=True))
    held_out = data.resident(source.test)
    x, y = (np.concatenate([arrays[name], held_out[name]]) for name in "xy")
    ours = np.round(x.reshape(1797, 64) * (16 / 255)).astype(int)
    assert sorted((tuple(x), y) for x, y in zip(ours.tolist(), y.tolist(), strict=True)) == theirs


def test_digits_need_neither_network_nor_tensorflow(tmp_path):
    """A fresh process with an empty cache and no network prepares and reads them, and never imports TensorFlow."""
    program = """
import socket, sys
def refuse(*_, **__): raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
import gan_jax.data.cache
from gan_jax import data
assert data.resident(data.load("digits"))["x"].shape == (1497, 8, 8, 1)
assert "tensorflow" not in sys.modules
print("read", gan_jax.data.cache.FOLDER)
"""
    env = {"PATH": "", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "x"), "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = ":".join(p for p in sys.path if p)
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == f"read {tmp_path / 'x' / 'gan_jax'}", done.stderr


def test_batch_is_its_records(digits):
    """Batch i is the records that `order` names, decoded, with their labels."""
    source, arrays = digits
    made = batch(source, arrays, KEY, 400, 5)
    rows = np.asarray(data.order(rng.at(KEY, 0, "data"), 400, 5, 1497))
    np.testing.assert_allclose(made["x"], 2 * np.float64(arrays["x"][rows]) / 255 - 1, atol=1e-7)
    np.testing.assert_array_equal(made["y"], arrays["y"][rows])
    assert made["x"].dtype == jnp.float32 and made["x"].shape == (5, 8, 8, 1)


def same_both_ways(source, arrays, b, start, keys=KEY, steps=4):
    """Check that resident and streamed batches start, start + 1, ... have the same bits; return the last one."""
    for i, raw in zip(range(start, start + steps), data.stream(source, keys, b, start), strict=False):
        assert raw["x"].dtype == np.uint8 and raw["x"].shape == (*keys.shape, b, *source.shape)
        streamed, resident = decode(raw), (batches if keys.ndim else batch)(source, arrays, keys, i, b)
        assert streamed.keys() == resident.keys() == {"x", "y"}
        jax.tree.map(np.testing.assert_array_equal, streamed, resident)
    return raw["x"]


@pytest.mark.parametrize("b, start", [(64, 7), (64, 22), (1497, 1)])
def test_streamed_and_resident_are_the_same(digits, b, start):
    """Bit for bit, also from a later step, and across the end of an epoch (28 batches of 64)."""
    same_both_ways(*digits, b, start)


def test_streamed_and_resident_are_the_same_for_several_seeds(digits):
    """Each seed has its own order: [s, b, ...], bit for bit, and no two alike."""
    x = same_both_ways(*digits, 8, 7, jax.random.split(KEY, 3))
    assert (x[0] != x[1]).any() and (x[1] != x[2]).any() and (x[2] != x[0]).any()


def test_stream_of_own_rows(digits):
    """Two processes that read a half of each batch read the whole of it together."""
    parts = [next(data.stream(digits[0], KEY, 8, 5, rows))["y"] for rows in (slice(0, 4), slice(4, 8))]
    np.testing.assert_array_equal(np.concatenate(parts), batch(*digits, KEY, 5, 8)["y"])


def test_streamed_and_resident_are_the_same_for_mnist(cache, tfds_dir):
    """The same for a set of TFDS that is read from its folder, here from step 7 and for two seeds."""
    source, keys = data.load("mnist"), jax.random.split(KEY)
    assert (source.n, source.shape, source.classes) == (60_000, (28, 28, 1), 10)
    order = jax.jit(lambda key, i: data.order(rng.at(key, 0, "data"), i, 16, 60_000))
    few = np.unique([order(key, i) for key in keys for i in (7, 8)])  # only the records that are needed
    arrays = {k: np.zeros((60_000, *a.shape[1:]), a.dtype) for k, a in source.read(few[:1]).items()}
    for k, a in source.read(few).items():
        arrays[k][few] = a
    same_both_ways(source, arrays, 16, 7, keys, steps=2)


def test_resident_is_cached(digits, cache, monkeypatch):
    """The second time no record is read; a copy cut short is read anew and mended."""
    source, arrays = digits
    silent = dataclasses.replace(source, read=lambda _: pytest.fail("a record was read"))
    jax.tree.map(np.testing.assert_array_equal, data.resident(silent), arrays)
    file = cache / "arrays" / f"{source.fingerprint}.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    jax.tree.map(np.testing.assert_array_equal, data.resident(source), arrays)
    jax.tree.map(np.testing.assert_array_equal, data.resident(silent), arrays)
    assert {f.suffix for f in file.parent.iterdir()} == {".npz"}  # no temporary is left
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", file)  # not a folder: no cache can be written
    jax.tree.map(np.testing.assert_array_equal, data.resident(source), arrays)


def test_the_picture_does_not_depend_on_the_order_of_features(cache, tfds_dir, monkeypatch):
    """TFDS lists the features of a set in an order that changes from process to process: the choice must not."""
    import tensorflow_datasets as tfds

    items, seen = tfds.features.FeaturesDict.items, []
    for way in (1, -1):
        listed = lambda self, way=way: sorted(items(self), key=lambda item: item[0])[::way]
        monkeypatch.setattr(tfds.features.FeaturesDict, "items", listed)
        data.load.cache_clear()
        seen.append(data.load("cmp_facades").fingerprint)  # it has a photo and a label_map
    assert seen[0] == seen[1]


# What a user is told


def told(name, monkeypatch=None, folder=None):
    """Return the lines that loading a set ends in."""
    if folder:
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    with pytest.raises(UserError) as error:
        data.load(name)
    lines = str(error.value).splitlines()
    assert len(lines) <= 2
    return lines


CLOSE = {"mnst": "mnist", "rnig8": "ring8", "grid_25": "grid25", "cifar-10": "cifar10", "digit": "digits"}


@pytest.mark.parametrize("name", CLOSE)
def test_unknown_set(cache, name, monkeypatch, tmp_path):
    """A name that is no set: the close ones, and what there is."""
    first, second = told(name, monkeypatch, tmp_path)
    assert first.startswith(f"there is no data set {name!r}; did you mean ")
    assert CLOSE[name] in first.removesuffix("?").split("did you mean ")[1].split(" or ")
    toys = "ring8, ring8_unit, ring8_notebook, ring8_unbalanced, grid25, spiral, digits, stacked_mnist, stacked_digits"
    toys += ", coloured_mnist"
    assert second == f"Choose from {toys}, or any TFDS set by name (mnist, cifar10, ...)."


@pytest.mark.parametrize("name", ["qqqqzzzz", ""])
def test_unknown_set_with_nothing_close(cache, name, monkeypatch, tmp_path):
    """Nothing is suggested where nothing is close."""
    assert told(name, monkeypatch, tmp_path)[0] == f"there is no data set {name!r}."


def test_batch_larger_than_the_set(digits):
    """Both numbers and the flag; a batch of the whole set is fine, and a toy has no end."""
    with pytest.raises(UserError) as error:
        data.check_batch(digits[0], 1498)
    assert str(error.value) == "digits has 1497 records, fewer than a batch of 1498: lower --batch-size."
    data.check_batch(digits[0], 1497)
    data.check_batch(data.load("ring8"), 10**6)


def test_set_that_is_not_prepared(cache, monkeypatch, tmp_path):
    """Without TensorFlow: where it was looked for, and the command that prepares it."""
    monkeypatch.setattr(records.importlib.util, "find_spec", lambda name: None)
    first, second = told("svhn_cropped", monkeypatch, tmp_path)
    assert first == f"svhn_cropped is not in {tmp_path}. TFDS needs TensorFlow once, to prepare it:"
    python = sys.executable.rpartition("/")[2]
    assert second == f"pip install tensorflow && {python} -m gan_jax.prepare svhn_cropped"


def test_set_that_cannot_be_prepared(cache, monkeypatch, tmp_path):
    """With TensorFlow the command is run, in a process of its own; where it fails the user is told so."""
    commands = []

    def run(command):
        commands.append(command)
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(records.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(records.subprocess, "run", run)
    (line,) = told("svhn_cropped", monkeypatch, tmp_path)
    assert commands == [[sys.executable, "-m", "gan_jax.prepare", "svhn_cropped"]]
    assert line.startswith(f"svhn_cropped could not be prepared in {tmp_path}; see above, then try again: ")
