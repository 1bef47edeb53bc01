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
