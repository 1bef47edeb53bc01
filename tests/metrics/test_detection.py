"""Detections are counted as PASCAL VOC counts them: by hand, and against its loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.metrics import detection

A, B = [0.0, 0, 10, 10], [0.0, 20, 10, 30]  # two things


def test_each_thing_is_found_once():
    """By the highest score; another one on it, one that overlaps too little, and none at all are wrong."""
    box = jnp.array([A, [0, 0, 10, 9], [0, 24, 10, 34], B, A])
    score = jnp.array([1.0, 2, 9, 3, -jnp.inf])
    good, about = detection.right(box, score, jnp.array([A, B, B]), jnp.array([True, True, False]))
    assert good.tolist() == [False, True, False, True, False] and about.tolist() == [0, 0, -1, 1, -1]
    good, about = detection.right(box, score, jnp.array([A, B, B]), jnp.zeros(3, bool))
    assert not good.any() and (about == -1).all()


def test_average_precision_by_hand():
    """Right, wrong, right, wrong, right of four things: 1, 2/3 and 3/5 at three quarters of the recall."""
    score, good = jnp.array([9.0, 8, 7, 6, 5]), jnp.array([True, False, True, False, True])
    assert detection.average_precision(score, good, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    later = jnp.array([False, True, True])  # 2/3 is reached later: so it is the precision before, too
    assert detection.average_precision(jnp.array([3.0, 2, 1]), later, 2) == pytest.approx(2 / 3)
    assert detection.average_precision(score, jnp.ones(5, bool), 5) == 1
    assert detection.average_precision(score, jnp.zeros(5, bool), 5) == 0


def voc(box, score, truth, y, k, least, counts):
    """The devkit's evaluation of class k: detections of all pictures by score, things marked as they are found."""
    rows = [(score[p, i, k], p, box[p, i, k]) for p in range(len(box)) for i in range(box.shape[1])]
    rows = sorted((row for row in rows if row[0] > -np.inf), key=lambda row: -row[0])
    found, hits = set(), []
    for _, p, (top, left, bottom, right) in rows:
        best, at = 0, None
        for j, (t, l, b, r) in enumerate(truth[p]):
            if y[p, j] == k:
                both = max(min(bottom, b) - max(top, t), 0) * max(min(right, r) - max(left, l), 0)
                overlap = both / ((bottom - top) * (right - left) + (b - t) * (r - l) - both)
                best, at = max((best, at), (overlap, (p, j)), key=lambda pair: pair[0])
        if best >= least and not counts[at]:
            continue
        hits.append(best >= least and at not in found)
        found |= {at} if hits[-1] else set()
    things = ((y == k) & counts).sum()
    precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    recall = [0.0, *(sum(hits[: i + 1]) / things for i in range(len(hits)))]
    steps = itertools.pairwise(recall)
    return sum((b - a) * max(precision[i:]) for i, (a, b) in enumerate(steps)), recall[-1]


@pytest.mark.parametrize("all_count", [True, False])
def test_scores_are_voc_s(all_count):
    """Of random boxes near things, with scores that are all different, some no detections, some rows no things."""
    draw = np.random.default_rng(0)
    p, n, m, classes = 6, 24, 5, 3
    corner = draw.uniform(0, 20, (p, m, 2))
    truth = np.concatenate([corner, corner + draw.uniform(8, 12, (p, m, 2))], -1)
    y = draw.integers(-1, classes, (p, m))
    near = truth[:, draw.integers(0, m, n)]
    box = near[:, :, None] + draw.normal(0, 1, (p, n, classes, 4))
    score = np.where(draw.uniform(size=(p, n, classes)) < 0.3, -np.inf, draw.uniform(size=(p, n, classes)))
    counts = np.ones((p, m), bool) if all_count else draw.uniform(size=(p, m)) < 0.5
    given = None if all_count else counts
    found = jax.jit(detection.scores)(*(jnp.float32(a) for a in (box, score, truth)), y, counts=given)
    expected = [voc(box, score, truth, y, k, 0.5, counts) for k in range(classes)]
    for k, (ap, recall) in enumerate(expected):
        assert 0.02 < ap < 0.98
        assert found[f"ap/{k}"] == pytest.approx(ap, rel=1e-5) and found[f"recall/{k}"] == pytest.approx(recall)
    assert found["map"] == pytest.approx(np.mean([ap for ap, _ in expected]), rel=1e-5)


def test_a_class_without_things_has_no_share_in_the_mean():
    box = jnp.array([[[A, A]]])  # one picture, one detection of either class
    found = detection.scores(box, jnp.zeros((1, 1, 2)), jnp.array([[A]]), jnp.array([[1]]))
    assert found["map"] == found["recall"] == found["ap/1"] == 1 and jnp.isnan(found["ap/0"])


def test_sizes_apart():
    """Each thing counts for its own size, and so does a false detection; what is found of other sizes doesn't count."""
    truth = jnp.array([[A, B, [50.0, 50, 54, 54]]]) / 100
    box = jnp.array([[A, [50, 50, 54, 54], [90, 90, 94, 94]]])[:, :, None] / 100
    score, y = jnp.array([[[1.0], [2], [3]]]), jnp.zeros((1, 3), jnp.int32)
    found = detection.by_size(box, score, truth, y, 10_000, (8, 12))
    assert found["recall/small"] == 1 and found["recall/middle"] == 0.5 and jnp.isnan(found["recall/large"])
    assert found["map/small"] == pytest.approx(0.5) and found["map/middle"] == pytest.approx(0.5)


def test_a_share_of_things_is_of_all_classes():
    """Three of four found, whatever they are; the mean precision is one of classes."""
    truth = jnp.array([[A, B, [50.0, 50, 60, 60], [70, 70, 80, 80]]]) / 100
    score = jnp.array([[[1.0, -jnp.inf], [1, -jnp.inf], [1, -jnp.inf], [-jnp.inf, -jnp.inf]]])
    box = jnp.stack([truth, truth], 2)
    found = detection.by_size(box, score, truth, jnp.array([[0, 0, 0, 1]]), 10_000, (8, 12))
    assert found["recall/middle"] == 0.75 and found["map/middle"] == pytest.approx(0.5)
