"""Batches of records: decoded as they should be, and the same bits kept on the device and streamed."""

import dataclasses
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.data.cache
from gan_jax import data
from gan_jax.data import records
from gan_jax.errors import UserError
from gan_jax.game import rng

KEY = jax.random.key(0)


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
from gan_jax.data import records
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
    make = jax.jit(jax.vmap(source.make, (0, 0, None, None)) if keys.ndim else source.make, static_argnums=3)
    for i, raw in zip(range(start, start + steps), data.stream(source, keys, b, start), strict=False):
        assert all(a.shape[: keys.ndim + 1] == (*keys.shape, b) for a in jax.tree.leaves(raw))
        streamed, resident = make(raw, keys, i, b), (batches if keys.ndim else batch)(source, arrays, keys, i, b)
        assert jax.tree.structure(streamed) == jax.tree.structure(resident)
        jax.tree.map(np.testing.assert_array_equal, streamed, resident)
    return raw["x"]


@pytest.mark.parametrize("b, start", [(64, 7), (64, 22), (1497, 1)])
def test_streamed_and_resident_are_the_same(digits, b, start):
    """Bit for bit, also from a later step, and across the end of an epoch (28 batches of 64)."""
    same_both_ways(*digits, b, start)


MADE = {
    "stacked": lambda digits: data.stacked("stacked", digits),
    "joined": lambda digits: data.join(x=digits, other=digits.test, toy=data.load("ring8")),
    "few labels": lambda digits: data.join(x=digits, labelled=data.only_labelled(digits, 50)),
}


@pytest.mark.parametrize("seeds", [0, 2])
@pytest.mark.parametrize("made", MADE)
def test_sets_made_of_others_are_the_same_streamed(digits, made, seeds):
    """Bit for bit, across the end of an epoch, for one seed and for several."""
    source = MADE[made](digits[0])
    same_both_ways(source, data.resident(source), 16, 92, jax.random.split(KEY, seeds) if seeds else KEY)


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
    read = lambda _: pytest.fail("a record was read")
    kept = functools.partial(records.whole, source.name, source.n, read, source.fingerprint)
    silent = dataclasses.replace(source, read=read, whole=kept)
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


def test_parts():
    """Every record once, the same at every call; of a toy other draws for another number, and none twice."""
    source = data.load("digits").test
    parts = list(data.parts(source, source.n, b=128))
    assert [len(part["x"]) for part in parts] == [128, 128, 44]
    x = np.concatenate([part["x"] for part in parts])
    rows = lambda a: sorted(map(bytes, np.asarray(a, np.float32).reshape(len(a), -1)))
    assert rows(x) == rows(data.decode(source.whole())["x"])
    np.testing.assert_array_equal(next(data.parts(source, source.n, b=128))["x"], x[:128])
    toys = [np.concatenate([part["x"] for part in data.parts(data.load("ring8"), 30, of, b=10)]) for of in (0, 1, 0)]
    assert (toys[0] == toys[2]).all() and len(np.unique(np.concatenate(toys[:2]), axis=0)) == 60


def test_encode_undoes_decode():
    """Every byte comes back; what is outside is cut."""
    raw = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(data.encode(data.decode(raw)), raw)
    np.testing.assert_array_equal(data.encode(np.array([-3.0, 0.003, 1.2])), [0, 128, 255])


def test_pictures_at_another_size():
    """Bilinear, grey ones in as many channels; what has the size already is what it was."""
    x = jnp.arange(8.0).reshape(2, 2, 2, 1)
    assert data.resized(x, (2, 2, 1)) is x
    wider = data.resized(x, (2, 4, 3))
    assert wider.shape == (2, 2, 4, 3)
    np.testing.assert_allclose(wider[0, 0], np.repeat([[0.0], [0.25], [0.75], [1.0]], 3, 1), atol=1e-6)


@pytest.mark.parametrize("x, shape", [((3, 2), (8, 8, 1)), ((3, 8, 8, 1), (2,)), ((3, 2), (4,))])
def test_points_are_not_stretched(x, shape):
    """Into images, or into points of more numbers."""
    with pytest.raises(UserError, match="choose images for both, or points"):
        data.resized(jnp.zeros(x), shape)


def test_examples_come_again_only_when_all_have_come():
    """Of 10 records held out, 64 rows are all ten in the order of the key, and these again; it is counted while traced."""
    base = data.load("digits")
    source = dataclasses.replace(base, test=dataclasses.replace(base.test, n=10))
    draw = jax.jit(lambda key, n: data.examples(source, key, n)["x"], static_argnums=1)
    with data.counted() as found:
        rows = np.asarray(draw(KEY, 64)).reshape(64, -1)
        few = np.asarray(draw(KEY, 4)).reshape(4, -1)
        data.examples(data.load("ring8"), KEY, 4)
    assert found == [10, 4]
    assert len(np.unique(rows[:10], axis=0)) == 10 and len(np.unique(few, axis=0)) == 4
    np.testing.assert_array_equal(rows, rows[np.arange(64) % 10])
    assert (np.asarray(draw(jax.random.key(1), 10)).reshape(10, -1) != rows[:10]).any()
    data.examples(source, KEY, 2)
    assert found == [10, 4]
