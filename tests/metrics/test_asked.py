"""Whether pictures show what was asked for: by a set's own judge, or else by its classifier, of both splits."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import data
from gan_jax.metrics import asked, classifier, lpips, vgg


def test_the_judge_of_a_set(monkeypatch):
    """Its own where it has one, else the classifier of its labels; without labels or held-out records there is none."""
    named, digits = data.load("named_digits"), data.load("digits")
    assert asked.judge(named) is named.judge and asked.classifiers(named) == (digits,) == asked.classifiers(digits)
    assert asked.judge(data.load("ring8")) is None and asked.classifiers(data.load("ring8")) == ()
    assert asked.shares(data.load("ring8"), {"x": None, "y": None}, None) == {}
    monkeypatch.setattr(classifier, "load", {digits: lambda x: jax.nn.one_hot(x.astype(int), 3)}.__getitem__)
    batch = {"x": jnp.array([0.0, 1.0, 2.0, 2.0]), "y": jnp.array([0, 1, 2, 1])}
    made = jnp.array([0.0, 2.0, 1.0, 0.0])
    assert asked.shares(digits, batch, made) == {"asked": 0.25, "data": 0.75}
    some = batch | {"y": jnp.array([0, -1, 2, -1])}  # the others have no label
    assert asked.shares(digits, some, made) == {"asked": 0.5, "data": 1}
    assert asked.shares(digits, {"x": batch["x"]}, made) == {}


def test_batches_of_both_splits():
    """Up to so many rows of each, of their own records; of a split that is not there, none."""
    source = data.load("named_digits")
    train, test = (data.resident(of) for of in (source, source.test))
    found = asked.batches(source, train, test, jax.random.key(0), 40)
    assert {name: len(batch["text"]) for name, batch in found.items()} == {"seen": 40, "held_out": 40}
    of = lambda raw, i, n: source.test.make(jax.tree.map(lambda a: a[i : i + n], raw), None, 0, n)["text"]
    np.testing.assert_array_equal(found["held_out"]["text"], of(test, 0, 40))
    assert asked.batches(source, {}, {}, jax.random.key(0)) == {}


def test_two_pictures_of_one_caption(monkeypatch):
    """Of samples each and its second; of data those whose captions are the same, and a picture is no pair with itself."""
    said = jnp.array([[1, 2], [3, 0], [1, 2], [1, 0]])
    grey = lambda *of: jnp.broadcast_to(jnp.array(of).reshape(-1, 1, 1, 1), (4, 2, 2, 1))
    batch, made, again = {"x": grey(-1, 0, 0.5, 1), "text": said}, grey(0, 0, 1, 1), grey(1, 0, -1, 1)
    found = jax.jit(asked.apart)(batch, made, again)
    assert found == {"apart": (0.5 + 0 + 1 + 0) / 4, "apart_data": 0.75}
    monkeypatch.setattr(vgg, "load", lambda: 2.0)
    monkeypatch.setattr(vgg, "heads", lambda: 3.0)
    monkeypatch.setattr(lpips, "distance", lambda layers, heads, a, b: (layers * heads * (a - b) ** 2).mean((1, 2, 3)))
    found = asked.apart(batch, made, again, perceptual=True)
    assert found["lpips"] == 6 * (1 + 4) / 4 and found["lpips_data"] == 6 * 1.5**2
    assert np.isnan(asked.apart(batch | {"text": jnp.arange(4)[:, None]}, made, again)["apart_data"])
