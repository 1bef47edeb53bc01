"""Nothing is learned from the records that are held out: they are what the numbers are measured on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.labels import catgan
from gan_jax import data
from gan_jax.metrics import classifier
from gan_jax.run.program import game


def quarters(n, shift, test=None):
    """Return a source of images with one bright quarter, whose labels are the quarter's number, moved on by `shift`."""
    y = np.arange(n, dtype=np.int32) % 4
    bright = np.eye(4, dtype=np.uint8)[y].reshape(n, 2, 2, 1) * 255
    raw = {"x": bright.repeat(4, 1).repeat(4, 2), "y": (y + shift) % 4}
    return data.Source(
        "quarters",
        {"x": data.Field((8, 8, 1), "image"), "y": data.label(4)},
        n=n,
        pick=lambda key, i, b: data.order(key, i, b, n),
        read=functools.partial(data.take, raw),
        whole=lambda: raw,
        test=test,
    )


@pytest.mark.long
def test_the_classifier_learns_from_the_training_split(monkeypatch):
    """Where the held-out records have other labels than the training records, it is right on none of them."""
    monkeypatch.setattr(classifier, "LEAST_STEPS", 50)
    judge = classifier.load(quarters(256, 0, quarters(128, 1)))
    assert judge.accuracy == 0
    assert (judge(data.decode(quarters(64, 0).whole())["x"]).argmax(-1) == quarters(64, 0).whole()["y"]).all()


def test_catgan_names_its_clusters_by_training_labels():
    """Were all held-out labels the class c, c would be right as often as it is guessed: in all, exactly once a row."""
    parts = game(catgan, catgan.PRESETS["tiny"])
    source = parts.setup.source
    train, test = (jax.tree.map(lambda a: jnp.asarray(a[:128]), data.resident(s)) for s in (source, source.test))
    state = jax.jit(parts.init)(jax.random.key(0))
    error = jax.jit(lambda y: parts.measure(state, jax.random.key(0), train, test | {"y": y})["test/error"])
    right = [1 - float(error(jnp.full(len(test["y"]), c))) for c in range(10)]
    np.testing.assert_allclose(sum(right), 1, rtol=1e-5)
