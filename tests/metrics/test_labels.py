"""Labels that are missing: nothing is measured by them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.codes import bigan
from experiments.labels import catgan, improved, infogan
from gan_jax import data, metrics
from gan_jax.metrics import labels
from gan_jax.run import evaluate


def test_records_without_a_label_do_not_count():
    """Two of three right, and two records that have no label."""
    assert metrics.agreement(jnp.array([0, 1, 2, 0, 1]), jnp.array([0, 1, 0, -1, -1])) == np.float32(2 / 3)


def test_samples_of_each_label():
    """As many rows as labels, about n in all and ten of each at least, each drawn with a key of its own."""
    draw = lambda key, y: y[:, None] + jax.random.uniform(key, (y.size, 1), maxval=0.5)
    for classes, n in ((3, 40), (7, 10)):
        x = np.asarray(labels.asked(draw, jax.random.key(0), classes, n))
        assert x.shape == (classes, max(10, n // classes), 1) and len(np.unique(x)) == x.size
        np.testing.assert_array_equal(np.floor(x)[..., 0], np.arange(classes)[:, None] * np.ones(x.shape[1]))


def test_a_split_without_labels(capsys):
    """Its labels are taken away, and that is said; of joined sets part by part; where there is one, all stay."""
    x, none = np.zeros((3, 2, 2, 1), np.uint8), -np.ones(3, np.int32)
    assert evaluate.without_empty_labels({"x": x, "y": none}, "the test split of mine").keys() == {"x"}
    assert "the test split of mine has no labels: what is measured by them is left out" in capsys.readouterr().err
    some = np.array([-1, 2, -1])
    found = evaluate.without_empty_labels({"x": {"x": x, "y": none}, "labelled": {"x": x, "y": some}}, "mine")
    assert found["x"].keys() == {"x"} and found["labelled"]["y"] is some and "x of mine" in capsys.readouterr().err
    assert evaluate.without_empty_labels({}, "a stream") == {} and not capsys.readouterr().err


def scores(experiment, test, train, **options):
    """Return what an experiment measures with these splits, of a new state, but for pictures."""
    cfg = next(iter(experiment.PRESETS.values()))
    cfg = experiment.Config(**{**vars(experiment.PRESETS.get("tiny", cfg)), **options})
    state = jax.jit(lambda key: experiment.init(cfg, key))(jax.random.key(0))
    found = jax.jit(lambda: experiment.measure(cfg, state, jax.random.key(1), train, test))()
    return {k: float(v) for k, v in found.items() if getattr(v, "ndim", 1) == 0}


@pytest.mark.slow
def test_no_number_without_labels_and_the_same_one_with_a_few():
    """infogan, catgan, improved and bigan: nothing of labels that are not there; unlabelled records change nothing."""
    source = data.load("digits")
    rows = lambda a: {name: jnp.asarray(values[:60]) for name, values in a.items()}
    test, train = rows(data.resident(source.test)), rows(data.resident(source))
    names = {infogan: "error", catgan: "test/error", improved: "test/errors", bigan: "accuracy"}
    for experiment, name in names.items():
        split = (lambda a: {"x": a}) if experiment is improved else (lambda a: a)
        bare = {k: v for k, v in test.items() if k != "y"}
        assert name not in scores(experiment, split(bare), split(train), dataset="digits")
        half = {k: v[:30] for k, v in test.items()}
        padded = test | {"y": jnp.where(jnp.arange(60) < 30, test["y"], -1)}
        one, other = (scores(experiment, split(a), split(train), dataset="digits")[name] for a in (half, padded))
        assert one == other
