"""The classifier: trained where there is none, kept, named by its parameters, good enough to judge with."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.classifier
import gan_jax.data.cache
from gan_jax import UserError, data
from gan_jax.metrics import classifier


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """(the classifier of the digits, its cache), trained here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_jax.data.cache, "FOLDER", tmp_path_factory.mktemp("cache"))
        patch.setattr(classifier, "LEAST_STEPS", 300)
        yield loaded(), gan_jax.data.cache.FOLDER


def loaded():
    """Return the classifier of the digits as a new process has it."""
    return classifier._load(data.load("digits"), lambda steps: classifier.Silent())


@pytest.mark.long
def test_accuracy_is_that_of_the_held_out_digits(digits):
    """At least nine of ten of the 300 are right, counted here row by row; the features have 128 numbers."""
    judge, _ = digits
    test = data.resident(data.load("digits").test)
    one = jax.jit(lambda x: judge.net.apply(judge.params, x)[0][0])
    logits = [one(np.float32(x[None]) / 127.5 - 1) for x in test["x"][:40]]
    x = data.decode(test)["x"]
    np.testing.assert_allclose(judge(x)[:40], logits, atol=1e-4)
    assert judge.accuracy == np.mean(np.asarray(judge(x)).argmax(-1) == test["y"]) >= 0.9
    assert judge.features(x[:3]).shape == (3, 128) and (np.asarray(judge.features(x)) >= 0).all()


@pytest.mark.long
def test_it_is_kept(digits, monkeypatch):
    """The second time nothing is trained, and it is the same; a copy cut short is trained anew."""
    judge, cache = digits
    train = classifier._train
    monkeypatch.setattr(classifier, "_train", lambda *_: pytest.fail("trained again"))
    again = loaded()
    assert (again.digest, again.accuracy) == (judge.digest, judge.accuracy)
    (file,) = (cache / "classifiers").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    monkeypatch.setattr(classifier, "_train", train)
    assert loaded().digest == judge.digest
    changed = jax.tree.map(lambda a: a + (a.ndim == 1) * np.float32(1e-3), judge.params)
    monkeypatch.setattr(classifier, "_train", lambda *_: changed)
    file.unlink()
    assert loaded().digest != judge.digest


@pytest.mark.long
def test_a_training_that_is_cut_short_goes_on(digits, monkeypatch, tmp_path):
    """What was done is kept, and taken up to the same parameters; what is kept of another training is not."""
    judge, _ = digits
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 300)
    monkeypatch.setattr(classifier, "PAUSE", -1)
    seen = []

    class Cut(classifier.Silent):
        def say(self, step, metrics):
            seen.append(step)
            if len(seen) == 3:
                raise KeyboardInterrupt

    load = lambda: classifier._load(data.load("digits"), lambda steps: Cut())
    with pytest.raises(KeyboardInterrupt):
        load()
    assert load().digest == judge.digest and seen == [50, 100, 150, 150, 200, 250, 300]
    (file,) = (tmp_path / "classifiers").iterdir()
    kept = {"0": np.zeros(3, np.float32), "steps": np.int32(100)}
    np.savez(file.with_name(f"{file.stem}-unfinished.npz"), **kept)
    file.unlink()
    assert load().digest == judge.digest and seen[7:9] == [50, 100]


def test_progress_beyond_the_end():
    """Steps are made by the chunk, and never said to be more than there are."""
    said, steps = [], classifier.CHUNK + 1
    heard = classifier.Silent()
    heard.say = lambda step, metrics: said.append(step)
    made = classifier.finished(lambda carry, at: (carry + 1, np.zeros(1)), np.int32(0), steps, lambda n: heard, "")
    assert made == 2 and said == [classifier.CHUNK, steps]


def test_images_move_by_whole_pixels():
    """Every shift within reach comes up, the content is moved and not changed, the edge is repeated."""
    x = jnp.zeros((400, 5, 5, 1)).at[:, 2, 2].set(1)
    moved = np.asarray(classifier.shifted(jax.random.key(0), x, 1))
    assert (moved.sum((1, 2, 3)) == 1).all()
    assert {tuple(np.argwhere(m[..., 0])[0]) for m in moved} == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}
    np.testing.assert_array_equal(classifier.shifted(jax.random.key(0), 0 * x - 1, 1), 0 * x - 1)


@pytest.mark.parametrize("name", ["ring8"])
def test_what_has_no_classifier(name):
    """A set without images, labels or held-out records is refused in a line."""
    with pytest.raises(UserError, match=f"{name} can't train a classifier"):
        classifier.load(data.load(name))


@pytest.mark.long
def test_command(digits, monkeypatch, capsys):
    """The command names the accuracy and the digest."""
    monkeypatch.setattr(classifier, "load", lambda source, live: digits[0])
    gan_jax.classifier.main(["digits"])
    assert re.fullmatch(
        rf"digits: 9\d\.\d\d% of the test split, classifier {digits[0].digest}\n", capsys.readouterr().out
    )
