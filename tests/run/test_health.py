"""Health: the signs against plain loops, and rows of failing and healthy games."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

from gan_jax import data
from gan_jax.run import evaluate, health

compiled = jax.jit(health.signs)


@pytest.mark.parametrize(("offset", "n"), [(0, 5), (1000, 9)])
def test_signs_are_those_of_plain_loops(offset, n):
    """Ratios of mean and nearest distances, counts of nearest anchors; small distances far from 0 are not lost."""
    draw = np.random.default_rng(0)
    x, real, anchors = (draw.normal(size=(n, 2, 2, 1)).astype(np.float32) + offset for n in (n, 7, 3))
    apart = lambda p, q: np.linalg.norm((p - q).astype(float))
    distance = lambda a: np.mean([apart(p, q) for p, q in itertools.permutations(a, 2)])
    nearest = lambda a: np.median([min(apart(p, q) for q in a if q is not p) for p in list(a)])
    to_real = np.median([min(apart(p, q) for q in real) for p in x])
    labels = [int(np.argmin([apart(p, a) for a in anchors])) for p in x]
    x_list, real_list = list(x), list(real)
    signs = compiled(x, real, anchors)
    np.testing.assert_allclose(signs["diversity"], distance(x) / distance(real), rtol=1e-4)
    np.testing.assert_allclose(signs["spacing"], nearest(x_list[:7]) / nearest(real_list[:n]), rtol=1e-4)
    np.testing.assert_allclose(signs["distance"], to_real / nearest(real_list), rtol=1e-4)
    np.testing.assert_allclose(signs["shares"], np.bincount(labels, minlength=3) / n, rtol=1e-6)
    assert "variety" not in signs


def test_variety_counts_classes_by_entropy():
    """By hand, of 40 samples at two of four places, 30 and 10, beside reals that are evenly at three of them."""
    places = 10 * np.eye(4, dtype=np.float32)
    x, real = np.repeat(places, [30, 10, 0, 0], 0), np.repeat(places, [12, 12, 12, 0], 0)
    signs = jax.jit(health.signs)(x[::-1], real, means=places)
    p = np.array([10, 26]) / 36  # as many as there are reals
    assert signs["variety"] == pytest.approx(np.exp(-(p * np.log(p)).sum()) / 3, rel=1e-5)
    assert "variety" not in health.signs(x[:31], real, means=places)  # of so few it would be chance


def test_only_classes_with_records_are_counted():
    """Modes that are known come first; too many classes, none, or records without a label leave ten of the records."""
    held = lambda source: [(name, len(a)) for name, a in data.reference(source).items() if name != "real"]
    digits = data.load("digits")
    many = dataclasses.replace(digits, fields=digits.fields | {"y": data.label(101)})
    bare = dataclasses.replace(digits, fields={"x": digits.fields["x"]})
    unlabelled = lambda at: (raw := digits.read(at)) | {"y": np.full_like(raw["y"], -1)}
    assert held(digits) == [("means", 10)] and held(data.load("ring8")) == [("anchors", 8)]
    for source in (many, bare, dataclasses.replace(digits, read=unlabelled)):
        assert held(source) == [("anchors", 10)]


def places(reference):
    """Return the modes, or the means of the classes, that samples are told apart by."""
    return reference.get("anchors", reference.get("means"))


@pytest.fixture(scope="module", params=["ring8", "digits"])
def held(request):
    """(real data and anchors, other real data [300, ...], their labels) of a source, at most 256 of the first."""
    source = data.load(request.param)
    raw = data.decode(source.read(np.arange(600, 900))) if source.n else data.draw(source, jax.random.key(1), 300)
    reference = data.reference(source)
    assert len(places(reference)) == source.classes
    return reference, np.asarray(raw["x"]), np.asarray(raw["y"])


def test_data_that_are_all_alike(capsys):
    """Pictures of one colour: their own distances are 0, and nothing is held against that."""
    same = {"real": np.full((5, 2, 2, 1), 0.3, np.float32), "anchors": np.zeros((1, 2, 2, 1), np.float32)}
    assert evaluate.varied(same, "grey") == {} and "all records of grey are alike" in capsys.readouterr().err
    other = same | {"real": same["real"] + np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)}
    assert evaluate.varied(other, "grey") is other and not capsys.readouterr().err


def test_data_is_like_itself(held):
    """Real data scores about 1; every anchor has its share."""
    reference, x, _ = held
    signs = compiled(x, **reference)
    assert 0.9 < signs["diversity"] < 1.1 and 0.8 < signs["spacing"] < 1.2 and 0.8 < signs["distance"] < 1.2
    assert (np.asarray(signs["shares"]) > 0.02).all()
    assert 0.9 < health.signs(x[:64], reference["real"], means=places(reference))["variety"] < 1.1


def test_signs_see_what_is_wrong(held):
    """A point and one class differ less, copies are close, noise is far: each by the numbers that decide."""
    reference, x, y = held
    noise = np.random.default_rng(0)
    salted = np.where(noise.random(x.shape) < 0.2, np.sign(noise.normal(size=x.shape)), x).astype(np.float32)
    copies = np.repeat(x[:10], 30, 0) + 1e-3 * noise.normal(size=(300, *x.shape[1:])).astype(np.float32)
    assert compiled(np.repeat(x[:1], 300, 0), **reference)["diversity"] < 0.01
    assert compiled(np.resize(x[y == 3], x.shape), **reference)["diversity"] < 0.9
    few = health.signs(np.resize(x[y < 5], x.shape), reference["real"], means=places(reference))
    assert few["variety"] < health.COVERED
    assert compiled(copies, **reference)["spacing"] < health.CLOSE[x.ndim == 4]
    far = compiled(salted if x.ndim == 4 else 1.1 * x, **reference)
    assert far["distance"] > health.FAR[x.ndim == 4] and far["diversity"] > health.DIVERSE[0]


def test_between_whole_numbers_there_are_no_distances():
    """Tokens and a single record have no signs; records that repeat have finite ones."""
    tokens = np.arange(20).reshape(4, 5)
    assert health.signs(tokens, tokens, tokens[:2]) == {}
    one = np.ones((1, 3), np.float32)
    assert health.signs(np.ones((5, 3), np.float32), one, one) == {}
    table = np.repeat(np.eye(3, dtype=np.float32), 4, 0)
    assert np.isfinite(np.concatenate([np.ravel(v) for v in compiled(table, table, table[:2]).values()])).all()


ROW = {"loss/d": 1.0, "loss/g": 1.0, "score/real": 0.1, "score/fake": -0.1, "shares": [0.5, 0.5]}
ROW |= {"diversity": 0.95, "spacing": 0.9, "distance": 1.1}
MIXTURE = {"modes": 8, "high_quality": 0.9}
EARLY = "too early to tell: {} evaluations, at least 5 are needed"


def said(*changes, n=8, **known):
    """Return the words about n rows, changed in turn."""
    rows = [{"step": i} | ROW | dict(changes[i % len(changes)]) for i in range(n)]
    return diagnosed(rows, **known)[0]


def diagnosed(rows, seeds=1, **known):
    """Return the words about rows of each seed."""
    return health.diagnose(rows, seeds, health.Known(**known))


def test_words():
    """Each way to fail is named, the others are not."""
    assert said({}) == "no sign of trouble"
    assert said({"loss/d": 0.01, "loss/g": 8.0}).startswith("failed to converge")
    assert said({"diversity": 0.1}) == "collapsed: samples differ 0.10 times as much as data"
    assert said({"spacing": 0.3}) == "collapsed: the nearest samples differ 0.30 times as much as data"
    assert said({"diversity": 3.5e6}) == "blown up: samples differ 3.5e+06 times as much as data"
    assert said({"distance": 2.34}) == "low quality: samples are 2.34 times as far from data as data from each other"
    assert said({"shares": [1.0, 0.0]}, {"shares": [0.0, 1.0]}).startswith("oscillates: ")
    assert said({"shares": [0.6, 0.4]}, {"shares": [0.4, 0.6]}) == "no sign of trouble"
    assert said({"loss/d": 2 * math.log(2)}).startswith("at rest")
    assert said({"loss/d": 2 * math.log(2), "score/real": 3.0}) == "no sign of trouble"  # an energy of that size
    assert said({"loss/d": -3.0, "loss/g": 9.0}) == "no sign of trouble"  # a critic's distance is no probability
    assert said({"diversity": 0.1, "loss/d": 0.01, "loss/g": 8.0}).count(";") == 1


def test_points_vary_more():
    """Samples of few numbers are closer and farther before it is said: a ring that is sharper than the data is well."""
    assert said({"spacing": 0.3, "distance": 3.5}, numbers=2) == "no sign of trouble"
    assert said({"spacing": 0.1, "distance": 104.2}, numbers=2) == (
        "collapsed: the nearest samples differ 0.10 times as much as data; "
        "low quality: samples are 104 times as far from data as data from each other"
    )


def test_known_modes_are_what_counts():
    """Modes that are missed and samples of no mode are flagged; with all modes, no other sign of the samples is asked."""
    assert said(MIXTURE, modes=8) == "no sign of trouble"
    assert said(MIXTURE, {"modes": 12, "high_quality": 0.9}, modes=25) == "collapsed: samples cover 12 of 25 modes"
    at_rest = {"loss/d": 2 * math.log(2)}
    assert (
        said(MIXTURE | at_rest | {"high_quality": 0.0006}, modes=8) == "low quality: 0.06% of the samples lie at a mode"
    )
    assert said({"modes": 811, "diversity": 0.41, "spacing": 0.4}, modes=1000) == "no sign of trouble"
    assert said({"modes": 500, "distance": 3.0}, modes=1000).startswith(
        "collapsed: samples cover 500 of 1000 modes; low quality"
    )
    assert said(MIXTURE | {"distance": 3.0}, modes=8) == "no sign of trouble"


def test_it_may_be_too_early():
    """Fewer than five evaluations say nothing, nor does a collapse from which diversity rises at every look."""
    assert [said({"diversity": 0.1}, n=n) for n in (2, 4)] == [EARLY.format(2), EARLY.format(4)]
    assert said({"diversity": 0.1}, n=1).startswith("too early to tell: 1 evaluation, ")
    assert said({"diversity": 0.1}, n=5).startswith("collapsed")
    looks = lambda *diversity: said(*({"diversity": d} for d in diversity), n=len(diversity))
    assert looks(0.1, 0.1, 0.2, 0.3, 0.4) == "too early to tell: diversity still rises, 0.10 to 0.40"
    assert looks(0.1, 0.1, 0.4, 0.3, 0.4).startswith("collapsed")  # up and down
    moving = [{"diversity": 0.1 * i, "shares": [i % 2, 1 - i % 2]} for i in range(5)]
    assert said(*moving, n=5).startswith("collapsed: samples differ 0.40 times as much as data; oscillates")
    assert looks(0.1, 0.40, 0.41, 0.42, 0.43).startswith("collapsed")  # hardly
    assert diagnosed([{"step": 1, "loss/d": 1.0, "loss/g": 1.0}]) == ["no sign of trouble in the losses"]
    assert diagnosed([{"step": 1, "loss/d": 0.01, "loss/g": 9.0}])[0].startswith("failed")  # no evaluations at all


def test_classes_that_are_missing():
    """Flagged though samples differ enough, or differ more and more; not where they are of more and more classes."""
    few = {"variety": 0.6}
    assert said(few) == "collapsed: samples are of 0.60 times as many classes as data"
    assert said(few | {"diversity": 0.1}).startswith("collapsed: samples differ 0.10 times")
    assert said({"variety": 0.8}) == said(few, {"variety": 0.9}) == "no sign of trouble"  # the mean of the last three
    looks = lambda diversity, variety: said(
        *({"diversity": d, "variety": v} for d, v in zip(diversity, variety, strict=True)), n=len(variety)
    )
    rising, steady = (0.1, 0.2, 0.3, 0.4, 0.45), (0.6, 0.5, 0.6, 0.5, 0.6)
    assert looks(rising, steady) == "collapsed: samples are of 0.57 times as many classes as data"
    assert looks(rising, rising) == "too early to tell: variety still rises, 0.20 to 0.45"
    assert looks([0.9] * 5, rising) == "too early to tell: variety still rises, 0.20 to 0.45"
    assert looks(rising, [1.0] * 5) == "too early to tell: diversity still rises, 0.20 to 0.45"
    assert said(few | MIXTURE, modes=8) == "no sign of trouble"  # modes that are known count alone


def test_the_last_evaluation_counts_once():
    """A step whose scores come twice, in its row and as the results, is one look, and moves no labels."""
    rows = [{"step": i} | ROW | {"shares": np.eye(4)[i % 4] * 0.6 + 0.1} for i in range(5)]
    moved = diagnosed(rows)[0]
    assert moved.startswith("oscillates: ") and diagnosed([*rows, rows[-1]])[0] == moved
    assert diagnosed([*rows[:4], rows[3]]) == [EARLY.format(4)]


def test_chance_moves_no_labels():
    """64 samples of 40 classes change their labels by chance: exact samplers don't oscillate, moving ones do."""
    draw = np.random.default_rng(0)
    share = lambda p: {"shares": draw.multinomial(64, p) / 64}
    even, halves = np.full(40, 1 / 40), np.repeat(np.eye(2), 20, 1) / 20
    assert said(*(share(even) for _ in range(8)), drawn=64) == "no sign of trouble"
    assert said(*(share(halves[i % 2]) for i in range(8)), drawn=64).startswith("oscillates")


@pytest.mark.parametrize("name", ["diversity", "spacing", "distance", "modes", "high_quality"])
def test_what_is_not_finite_is_no_health(name):
    """A score that is nan, as null in metrics.jsonl reads, is said, however few the evaluations."""
    for n in (1, 8):
        assert said(MIXTURE | {name: math.nan}, n=n, modes=8) == f"not finite: {name} is nan"


def test_only_the_last_rows_count_and_seeds_are_told_apart():
    """A game that recovered is well, and each seed has a line of its own."""
    bad, good = {"diversity": 0.1}, {}
    assert said(*[bad] * 20, *[good] * 8, n=28) == "no sign of trouble"
    rows = {"loss/d": [1.0, 0.01], "loss/g": [1.0, 9.0], "diversity": [0.1, 0.9], "shares": [[1.0, 0], [1.0, 0]]}
    one, two = diagnosed([{"step": i} | rows for i in range(5)], 2)
    assert one.startswith("collapsed") and two.startswith("failed to converge")
    assert diagnosed([]) == ["no sign of trouble in the losses"]
