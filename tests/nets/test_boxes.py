"""Boxes against counted pixels, plain loops and hand-made numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.nets import boxes


def drawn(n, seed=0):
    """Return n boxes with whole corners in a picture of 12x12."""
    corners = np.random.default_rng(seed).integers(0, 13, (n, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)


def test_overlap_is_that_of_pixels():
    """Counted on a grid; empty boxes overlap nothing, not even themselves."""

    def pixels(box):
        inside = np.zeros((12, 12), bool)
        top, left, bottom, right = box.astype(int)
        inside[top:bottom, left:right] = True
        return inside

    a, b = drawn(20), drawn(15, 1)
    expected = [[(pixels(i) & pixels(j)).sum() / max((pixels(i) | pixels(j)).sum(), 1) for j in b] for i in a]
    np.testing.assert_allclose(boxes.iou(a, b), expected, rtol=1e-6)
    assert boxes.iou(a[None], b[None]).shape == (1, 20, 15)
    assert boxes.iou(np.ones((1, 4)), np.ones((1, 4))) == 0


def test_offsets_are_r_cnn_s():
    """From 10x20 at (5, 10) to 20x10 at (6, 12); and back to the target, whatever both are."""
    found = boxes.offsets(jnp.array([0.0, 0, 10, 20]), jnp.array([-4.0, 7, 16, 17]))
    np.testing.assert_allclose(found, [0.1 / 0.1, 0.1 / 0.1, np.log(2) / 0.2, np.log(0.5) / 0.2], rtol=1e-5)
    a, b = (drawn(9, i) + np.array([[0, 0, 1, 1]], np.float32) for i in range(2))
    np.testing.assert_allclose(boxes.moved(a, boxes.offsets(a, b)), b, atol=1e-4)
    assert np.isfinite(boxes.moved(a, np.full_like(a, 1e4))).all()


def test_suppression_is_greedy():
    """As the loop has it that takes the highest score and drops what overlaps it; equal scores in order."""
    draw = np.random.default_rng(0)
    for seed in range(5):
        box, score = drawn(30, seed), draw.integers(0, 8, 30).astype(np.float32)
        overlap, left, kept = np.asarray(boxes.iou(box, box)), list(np.argsort(-score, kind="stable")), []
        while left:
            best = left.pop(0)
            kept.append(best)
            left = [i for i in left if overlap[best, i] <= 0.3]
        found = jax.jit(boxes.suppressed)(box, score)
        assert sorted(kept) == np.flatnonzero(~found).tolist() and len(kept) < 30


def test_what_is_left_out_leaves_nothing_out():
    """Of three in a row the second is too near to the first; the third, near to the second alone, stays."""
    box = jnp.array([[0.0, 0, 1, 10], [0, 4, 1, 14], [0, 8, 1, 18]])
    assert boxes.suppressed(box, jnp.array([3.0, 2, 1])).tolist() == [False, True, False]


def test_proposals_are_named_by_what_they_overlap():
    """The thing itself, half of it, less than half, and a row that is no thing."""
    box, y = jnp.array([[[0.0, 0, 4, 4], [8, 8, 12, 12], [20, 20, 24, 24]]]), jnp.array([[2, 0, -1]])
    proposal = jnp.array([[[0.0, 0, 4, 4], [8, 8, 12, 10], [8, 8, 12, 9.9], [20, 20, 24, 24]]])
    label, target = boxes.named(proposal, box, y)
    assert label.tolist() == [[3, 1, 0, 0]] and not target[0, 0].any()
    np.testing.assert_allclose(target[0, 1], boxes.offsets(proposal[0, 1], box[0, 1]), rtol=1e-5)


def test_losses_are_fast_r_cnn_s():
    """Minus the log of the right class's probability; of things the smooth L1 of the right class's offsets alone."""
    draw = np.random.default_rng(0)
    logits, offset, target = (draw.normal(0, 2, shape) for shape in ((5, 4), (5, 3, 4), (5, 4)))
    label = np.array([0, 1, 3, 2, 0])
    classes, error = boxes.losses(logits, offset, label, target)
    for i, k in enumerate(label):
        assert np.isclose(classes[i], np.log(np.exp(logits[i]).sum()) - logits[i, k], rtol=1e-5)
        away = np.abs(offset[i, k - 1] - target[i])
        smooth = np.where(away < 1, away**2 / 2, away - 0.5).sum() if k else 0
        assert np.isclose(error[i], smooth, rtol=1e-5)


def test_detections_are_moved_scored_and_suppressed():
    """Each class by offsets and scores of its own; boxes end at the picture's sides."""
    proposal = jnp.array([[0.1, 0.1, 0.3, 0.3], [0.1, 0.1, 0.3, 0.28], [0.8, 0.8, 1, 1]])
    logits = jnp.log(jnp.array([[2.0, 1, 1], [1, 2, 1], [1, 1, 6]]))
    offset = jnp.zeros((3, 2, 4)).at[2, 1, 0].set(5).at[1, 1, 1].set(10)  # half a side down, and a side to the right
    box, score = boxes.detected(proposal, logits, offset)
    np.testing.assert_allclose(score, [[-jnp.inf, 1 / 4], [1 / 2, 1 / 4], [1 / 8, 3 / 4]], rtol=1e-5)
    np.testing.assert_allclose(box[2], [[0.8, 0.8, 1, 1], [0.9, 0.8, 1, 1]], rtol=1e-5)
    np.testing.assert_allclose(box[1, 1], [0.1, 0.28, 0.3, 0.46], rtol=1e-5)


def test_outlines():
    """One pixel wide, within the box; red for class 0, blue for class 2; a row of class -1 leaves no trace."""
    x, box = np.zeros((1, 6, 8, 3), np.float32), np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]]])
    out = np.asarray(boxes.outlined(x, box, np.array([[0, 2, -1]])))[0]
    ring = np.ones((3, 4), bool)
    ring[1, 1:3] = False
    np.testing.assert_array_equal((out == [1, -1, -1]).all(2)[:3, :4], ring)
    np.testing.assert_array_equal((out == [-1, -1, 1]).all(2)[3:, 4:], ring)
    assert not out[:3, 4:].any() and not out[3:, :4].any()
    assert boxes.outlined(x[..., :1], box, np.array([[0, 2, -1]])).max() == 1


def test_detections_are_shown_from_a_score_on():
    """Of two boxes and two classes, those that score 1/2, in the colour of their class."""
    x, box = np.zeros((1, 4, 8, 3), np.float32), np.zeros((1, 2, 2, 4), np.float32)
    box[0, 0], box[0, 1] = [0, 0, 1, 0.5], [0, 0.5, 1, 1]
    score = np.array([[[0.4, 0.5], [-np.inf, 0.1]]])
    expected = boxes.outlined(x, box[:, 0, 1:], np.array([[1]]))
    np.testing.assert_array_equal(boxes.shown(x, box, score), expected)
