"""The Poisson equation: closed forms, and the least squares that it stands for, set up pair by pair."""

import jax
import numpy as np

from gan_jax.metrics import poisson

RNG = np.random.default_rng(0)
H, W = 7, 9
HOLES = {
    "middle": np.pad(np.ones((3, 4)), ((2, 2), (2, 3))),
    "corner": np.pad(np.ones((4, 5)), ((3, 0), (0, 4))),  # two borders of the picture bound it
    "pixels": RNG.uniform(size=(H, W)) < 0.7,
}
MASKS = np.stack(list(HOLES.values())).astype(np.float32)[..., None]  # [3, h, w, 1]
blended = jax.jit(poisson.blended)


def pictures(n=3):
    return RNG.uniform(-1, 1, (n, H, W, 2)).astype(np.float32)


def test_no_seam_where_gradients_agree():
    """A guide that is the picture itself, lighter or darker by one value a channel, gives the picture back."""
    x = pictures()
    shifted = x + np.array([0.7, -0.3], np.float32)
    np.testing.assert_allclose(blended(np.where(MASKS, 0, x), shifted, MASKS), x, atol=1e-5)


def test_the_membrane_of_a_ramp_is_the_ramp():
    """With no gradients wanted, a hole inside a picture is filled by the linear function that is around it."""
    y, x = np.mgrid[:H, :W].astype(np.float32)
    ramp = (0.1 * y - 0.05 * x)[None, ..., None]
    hole = MASKS[:1]
    found = blended(np.where(hole, 9, ramp), np.full_like(ramp, 0.4), hole)
    np.testing.assert_allclose(found, ramp, atol=1e-5)


def test_it_is_the_least_squares_of_all_pairs():
    """For holes inside, at a border, and of pixels; what is outside stays bit for bit."""
    known, guide = pictures(), pictures()
    found = np.asarray(blended(known, guide, MASKS))
    for i, hole in enumerate(MASKS[..., 0] > 0):
        number = {place: k for k, place in enumerate(zip(*np.nonzero(hole), strict=True))}
        for c in range(2):
            rows, right = [], []
            for p in np.ndindex(H, W):
                for q in ((p[0] + 1, p[1]), (p[0], p[1] + 1)):
                    if q[0] == H or q[1] == W or not (hole[p] or hole[q]):
                        continue
                    row, value = np.zeros(len(number)), guide[i][p][c] - guide[i][q][c]
                    for place, sign in ((p, 1), (q, -1)):
                        if hole[place]:
                            row[number[place]] += sign
                        else:
                            value -= sign * known[i][place][c]
                    rows.append(row)
                    right.append(value)
            solved = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
            np.testing.assert_allclose(found[i, ..., c][hole], solved, atol=1e-5)
            np.testing.assert_array_equal(found[i, ..., c][~hole], known[i, ..., c][~hole])
