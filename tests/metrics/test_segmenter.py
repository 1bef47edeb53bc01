"""The segmenter: learns the labels of pixels, is kept, leaves out what nobody labelled; its scores by plain counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.data.cache
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.metrics import classifier, segmenter


def blobs(n=40, classes=3):
    """Return a source whose pixels have the label that their colour says, in blocks of four; the label 2 lies."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, classes, (n, 4, 4)).repeat(4, 1).repeat(4, 2).astype(np.int32)  # [n, 16, 16]
    x = np.stack([200 * (y == 1), 200 * (y == 0), draw.integers(0, 256, y.shape)], 3).astype(np.uint8)
    arrays = {"x": x, "y": y}
    fields = {"x": data.Field((16, 16, 3), "image"), "y": data.Field((16, 16), "label", np.int32, classes)}
    pick = lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n)
    read = lambda indices: {name: a[np.asarray(indices)] for name, a in arrays.items()}
    return data.Source("blobs", fields, n, pick, read, lambda: arrays, fingerprint="blobs")


@pytest.fixture
def brief(monkeypatch, tmp_path):
    """A cache of its own, and a training of a hundred steps of a small net."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path)
    monkeypatch.setattr(segmenter, "STEPS", 100)
    monkeypatch.setattr(segmenter, "WIDTH", 4)
    return tmp_path


@pytest.mark.long
def test_it_learns_what_is_labelled_and_is_kept(brief, monkeypatch):
    """Nearly all pixels of two labels are right; the third one, unlabelled, is never said; again nothing is trained."""
    source = blobs()
    raw = source.whole()
    judge = segmenter.load(source, unlabelled=2)
    said = np.asarray(jax.jit(judge)(data.decode(raw)["x"]))
    assert said.shape == raw["y"].shape and not (said == 2).any()
    assert segmenter.scores(said, raw["y"], 3, 2)["per_pixel"] > 0.9
    monkeypatch.setattr(segmenter, "_train", lambda *_: pytest.fail("trained again"))
    assert segmenter.load(source, unlabelled=2).digest == judge.digest
    assert [file.name for file in (brief / "classifiers").iterdir()] == ["blobs-pixels2-1.npz"]


def test_scores_are_counts():
    """Six pixels of three labels and two unlabelled ones, counted by hand; a class that is nowhere has no share."""
    y = np.array([[[0, 0, 0, 1], [1, 2, 3, 3]]])
    said = np.array([[[0, 0, 1, 1], [2, 2, 0, 1]]])
    found = segmenter.scores(said, y, 5, unlabelled=3)
    assert found["per_pixel"] == pytest.approx(4 / 6)
    assert found["per_class"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["iou"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)
    assert segmenter.scores(y, y, 5) == {"per_pixel": 1, "per_class": 1, "iou": 1}
    counted = jax.jit(segmenter.counts, static_argnums=(2, 3))(said, y, 5, 3)
    np.testing.assert_array_equal(counted, [[2, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0] * 5, [0] * 5])
    np.testing.assert_allclose(segmenter.dice(counted), [4 / 5, 2 / 4, 2 / 3, 0, 0], rtol=1e-6)
    assert segmenter.of_counts(counted) == {name: pytest.approx(value) for name, value in found.items()}


@pytest.mark.long
def test_a_training_is_the_same_twice(brief):
    """A function of the data alone, bit for bit."""
    one, other = (segmenter._train(segmenter.Net(3, 4), blobs(), -1, lambda n: classifier.Silent()) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_sets_without_a_label_for_each_pixel():
    """One label a picture is not enough, and is said so."""
    with pytest.raises(UserError, match="digits can't train a segmenter: it needs images and a label for each of"):
        segmenter.load(data.load("digits"))


@pytest.mark.parametrize("shape", [(16, 16), (15, 20)])
def test_every_pixel_has_logits(shape):
    """Sides that halve to odd ones come back, too."""
    out = lambda key, x: segmenter.Net(5, 4).init_with_output(key, x)[0]
    assert jax.eval_shape(out, jax.random.key(0), jnp.zeros((2, *shape, 3))).shape == (2, *shape, 5)
