"""Health: the signs against plain loops, and rows of failing and healthy games."""

import itertools
import math

import jax
import numpy as np
import pytest

from gan_jax import data
from gan_jax.run import health


def test_signs_are_those_of_plain_loops():
    """Diversity is a ratio of mean pairwise distances, labels count nearest anchors."""
    draw = np.random.default_rng(0)
    x, real, anchors = (draw.normal(size=(n, 2, 2, 1)).astype(np.float32) for n in (9, 7, 3))
    distance = lambda a: np.mean([np.linalg.norm(p - q) for p, q in itertools.permutations(a, 2)])
    nearest = [int(np.argmin([np.linalg.norm(p - a) for a in anchors])) for p in x]
    signs = jax.jit(health.signs)(x, real, anchors)
    np.testing.assert_allclose(signs["diversity"], distance(x) / distance(real), rtol=1e-5)
    np.testing.assert_allclose(signs["labels"], np.bincount(nearest, minlength=3) / 9, rtol=1e-6)


@pytest.mark.parametrize("name", ["ring8", "digits"])
def test_data_is_as_diverse_as_itself(name):
    """Real data scores a diversity of about 1, a point 0 and one class clearly less; every anchor has its share."""
    source = data.load(name)
    real = data.reference(source)
    raw = data.decode(source.read(np.arange(600, 1200))) if source.n else data.draw(source, jax.random.key(1), 600)
    x, y = np.asarray(raw["x"]), np.asarray(raw["y"])
    signs = health.signs(x, **real)
    assert 0.9 < signs["diversity"] < 1.1 and (np.asarray(signs["labels"]) > 0.02).all()
    assert len(signs["labels"]) == source.classes
    assert health.signs(np.repeat(x[:1], 300, 0), **real)["diversity"] < 0.01
    assert health.signs(x[y == 3], **real)["diversity"] < 0.9


ROW = {"loss/d": 1.0, "loss/g": 1.0, "score/real": 0.1, "score/fake": -0.1, "diversity": 0.95, "labels": [0.5, 0.5]}


def said(*changes, n=8):
    return health.diagnose([{"step": i} | ROW | dict(changes[i % len(changes)]) for i in range(n)])[0]


def test_words():
    """Each way to fail is named, the others are not."""
    assert said({}) == "no sign of trouble"
    assert said({"loss/d": 0.01, "loss/g": 8.0}).startswith("failed to converge")
    assert said({"diversity": 0.1}).startswith("collapsed")
    assert said({"diversity": 3.5e6}) == "blown up: samples differ 3.5e+06 times as much as data"
    assert said({"labels": [1.0, 0.0]}, {"labels": [0.0, 1.0]}).startswith("oscillates: 100%")
    assert said({"labels": [0.6, 0.4]}, {"labels": [0.4, 0.6]}) == "no sign of trouble"
    assert said({"loss/d": 2 * math.log(2)}).startswith("at rest")
    assert said({"loss/d": 2 * math.log(2), "score/real": 3.0}) == "no sign of trouble"  # an energy of that size
    assert said({"loss/d": -3.0, "loss/g": 9.0}) == "no sign of trouble"  # a critic's distance is no probability
    assert said({"diversity": 0.1, "loss/d": 0.01, "loss/g": 8.0}).count(";") == 1


def test_only_the_last_rows_count_and_seeds_are_told_apart():
    """A game that recovered is well, and each seed has a line of its own."""
    bad, good = {"diversity": 0.1}, {}
    assert said(*[bad] * 20, *[good] * 8, n=28) == "no sign of trouble"
    rows = [{"loss/d": [1.0, 0.01], "loss/g": [1.0, 9.0], "diversity": [0.1, 0.9], "labels": [[1.0, 0], [1.0, 0]]}] * 4
    one, two = health.diagnose(rows, 2)
    assert one.startswith("collapsed") and two.startswith("failed to converge")
    assert health.diagnose([]) == ["no sign of trouble"]
