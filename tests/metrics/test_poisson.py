"""The Poisson equation: closed forms, and the least squares that it stands for, set up pair by pair."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def pairs(shape):
    """Yield (axis, p, q) of all neighbours of pictures of this shape: q below p, or to its right."""
    for p in np.ndindex(*shape):
        for axis, q in enumerate(((p[0] + 1, p[1]), (p[0], p[1] + 1))):
            if q[axis] < shape[axis]:
                yield axis, p, q


def blur_row(p, shape, sigma):
    """Return how much each pixel gives to the blurred pixel p: a Gaussian of 3x3, mirrored at the border."""
    row, side = np.zeros(shape), np.exp(-0.5 / sigma**2)
    for dy, dx in np.ndindex(3, 3):
        at = tuple(min(max(i + d - 1, 0), n - 1) for i, d, n in zip(p, (dy, dx), shape, strict=True))
        row[at] += side ** (abs(dy - 1) + abs(dx - 1))
    return row / row.sum()


def least_squares(slopes, colours, weight, sigma):
    """Return the picture [h, w] of these slopes {(p, q): value} and, blurred, these colours: a dense system."""
    shape, rows, right = colours.shape, [], []
    for (p, q), value in slopes.items():
        row = np.zeros(shape)
        row[q], row[p] = 1, -1
        rows.append(row)
        right.append(value)
    for p in np.ndindex(*shape):
        rows.append(np.sqrt(weight) * blur_row(p, shape, sigma))
        right.append(np.sqrt(weight) * colours[p])
    return np.linalg.lstsq(np.array(rows).reshape(len(rows), -1), np.array(right), rcond=None)[0].reshape(shape)


@pytest.mark.parametrize("weight, sigma", [(1.0, 0.5), (0.3, 1.1)])
def test_gradients_and_blurred_colours(weight, sigma):
    """The Gaussian-Poisson equation is the least squares of what gradients and colours lack, each channel by itself."""
    down, right, colours = pictures(1)[:, :-1], pictures(1)[:, :, :-1], pictures(1)
    found = jax.jit(functools.partial(poisson.of_gradients, weight=weight, sigma=sigma))(down, right, colours)
    for c in range(2):
        wanted = {(p, q): (down, right)[axis][0][p][c] for axis, p, q in pairs((H, W))}
        solved = least_squares(wanted, colours[0, ..., c], weight, sigma)
        np.testing.assert_allclose(found[0, ..., c], solved, atol=2e-5)


def test_a_pyramid_level_by_level():
    """Small first: slopes of either picture, at the rim their mean; each level's colours are those of the one before."""
    shape = 8, 12
    inside, outside = (RNG.uniform(-0.4, 0.4, (1, *shape, 1)).astype(np.float32) for _ in range(2))
    mask = np.zeros((1, *shape, 1), np.float32)
    mask[:, 2:6, 4:8] = 1
    colours = RNG.uniform(-0.3, 0.3, (1, 4, 6, 1)).astype(np.float32)
    found = jax.jit(functools.partial(poisson.over_pyramid, weight=0.7, sigma=0.6))(inside, outside, mask, colours)
    at = colours
    for factor in (2, 1):
        smaller = lambda a: a[0, ..., 0].reshape(8 // factor, factor, 12 // factor, factor).mean((1, 3))
        a, b, m = map(smaller, (inside, outside, mask))
        at = np.asarray(jax.image.resize(at, (1, *a.shape, 1), "cubic")) if factor == 1 else at
        share = lambda p, q: (m[p] + m[q]) / 2
        wanted = {(p, q): share(p, q) * (a[q] - a[p]) + (1 - share(p, q)) * (b[q] - b[p]) for _, p, q in pairs(a.shape)}
        at = least_squares(wanted, at[0, ..., 0], 0.7, 0.6)[None, ..., None]
    np.testing.assert_allclose(found, at, atol=2e-5)
    assert np.abs(found).max() < 1


def test_a_pyramid_stays_in_range():
    """Colours beyond [-1, 1] are cut; even pictures become even ones of the colours that were asked for."""
    even = np.zeros((1, 8, 8, 1), np.float32)
    blend = jax.jit(lambda wanted: poisson.over_pyramid(even + 0.9, even - 0.9, even, jnp.full((1, 4, 4, 1), wanted)))
    for wanted, expected in ((0.3, 0.3), (1.4, 1.0)):
        found = blend(np.float32(wanted))
        np.testing.assert_allclose(found, np.full_like(even, expected), atol=1e-5)
