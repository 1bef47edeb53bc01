"""Whether pictures show what was asked for: by a set's own judge, or else by its classifier, of both splits."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import data
from gan_jax.metrics import asked, classifier


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
