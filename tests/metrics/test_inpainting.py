"""How much the context of a hole weighs, pixel by pixel, and the noise of what was put into it."""

import numpy as np
import pytest

from gan_jax.metrics import inpainting

HOLE = np.zeros((2, 9, 8, 1), np.float32)
HOLE[0, 2:6, 3:7] = 1
HOLE[1] = np.random.default_rng(0).uniform(size=(9, 8, 1)) < 0.5


def share(hole, p, window):
    """Return the share of the window around p that is missing; beyond a border stands what is inside it, mirrored."""
    mirrored = lambda i, n: -1 - i if i < 0 else 2 * n - 1 - i if i >= n else i
    around = range(-(window // 2), window // 2 + 1)
    at = [(mirrored(p[0] + dy, 9), mirrored(p[1] + dx, 8)) for dy in around for dx in around]
    return sum(hole[place] for place in at) / window**2


@pytest.mark.parametrize("window", [3, 7])
def test_weights_of_the_paper_and_their_opposite(window):
    """The paper's: what is missing around a pixel that is known; the code's: what is there; none: all alike."""
    ways = {way: np.asarray(inpainting.weights(HOLE, way, window)) for way in ("paper", "code", "none")}
    for i, y, x in np.ndindex(2, 9, 8):
        known, missing = 1 - HOLE[i, y, x, 0], share(HOLE[i, ..., 0], (y, x), window)
        found = [ways[way][i, y, x, 0] for way in ("paper", "code", "none")]
        np.testing.assert_allclose(found, [known * missing, known * (1 - missing), known], atol=1e-6)


def test_the_rim_weighs_most():
    """Beside a straight rim 3 of 7 columns are missing, two pixels on 1 of 7, four on nothing; in the code it is reversed."""
    hole = np.zeros((1, 20, 20, 1))
    hole[:, :, :8] = 1
    for way, expected in {"paper": [3 / 7, 2 / 7, 1 / 7, 0], "code": [4 / 7, 5 / 7, 6 / 7, 1]}.items():
        found = np.asarray(inpainting.weights(hole, way))
        np.testing.assert_allclose(found[0, 10, 8:12, 0], expected, atol=1e-6)
        assert (found[:, :, :8] == 0).all()


def test_psnr_of_the_hole_alone():
    """10 log10(255^2 / mean squared error in levels) of the pixels that count; errors elsewhere are not seen."""
    x = np.zeros((2, 9, 8, 3), np.float32)
    y = np.where(HOLE, x + np.float32([[0.1], [0.3]])[:, :, None, None], np.float32(5))
    levels = 127.5 * np.array([0.1, 0.3])
    np.testing.assert_allclose(inpainting.psnr(x, y, HOLE), 10 * np.log10(255**2 / levels**2), rtol=1e-5)
    np.testing.assert_allclose(inpainting.psnr(x, x + 0.2), [20.0, 20.0], rtol=1e-5)
