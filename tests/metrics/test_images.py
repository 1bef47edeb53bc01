"""Metrics of images: closed forms, plain loops, and published implementations where they are installed."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from gan_jax.errors import UserError
from gan_jax.metrics import features, images

REFERENCE = "a published implementation to compare with: pip install -e '.[reference]'"
RNG = np.random.default_rng


def noise(n, h, w, c, seed=0):
    return RNG(seed).uniform(-1, 1, (n, h, w, c))


def smooth(n, side, c, seed=0):
    """Return images [n, side, side, c] in [-1, 1] with little at the finest scales."""
    small = RNG(seed).uniform(-1, 1, (n, side // 8, side // 8, c))
    return np.kron(small, np.ones((1, 8, 8, 1)))


# MS-SSIM


def ms_ssim_by_loops(x, y):
    """Return the MS-SSIM of two images [h, w, c] in [0, 1], window by window."""
    value = 1.0
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        h, w, channels = x.shape
        size = min(11, h, w)
        centre, sigma = (size - 1) / 2, 1.5 * size / 11
        window = [
            [math.exp(-((i - centre) ** 2 + (j - centre) ** 2) / (2 * sigma**2)) for j in range(size)]
            for i in range(size)
        ]
        window = np.array(window) / np.sum(window)
        factors = []
        for top, left, c in itertools.product(range(h - size + 1), range(w - size + 1), range(channels)):
            a, b = (image[top : top + size, left : left + size, c] for image in (x, y))
            mean_a, mean_b = np.sum(window * a), np.sum(window * b)
            var_a, var_b = np.sum(window * (a - mean_a) ** 2), np.sum(window * (b - mean_b) ** 2)
            cov = np.sum(window * (a - mean_a) * (b - mean_b))
            factor = (2 * cov + 0.0009) / (var_a + var_b + 0.0009)
            if scale == 4:
                factor *= (2 * mean_a * mean_b + 0.0001) / (mean_a**2 + mean_b**2 + 0.0001)
            factors.append(factor)
        value *= max(sum(factors) / len(factors), 0) ** exponent
        at = lambda image, i, j: image[min(i, h - 1), min(j, w - 1)]
        halved = lambda image: np.array(
            [
                [sum(at(image, i + p, j + q) for p in (0, 1) for q in (0, 1)) / 4 for j in range(0, w, 2)]
                for i in range(0, h, 2)
            ]
        )
        x, y = halved(x), halved(y)
    return value


@pytest.mark.parametrize("h, w, c", [(32, 16, 1), (16, 16, 3), (28, 21, 2)])
def test_ms_ssim_by_loops(h, w, c):
    """Images that share something, of even and odd sides, grey and in colours."""
    x = noise(2, h, w, c)
    y = 0.8 * x + 0.2 * noise(2, h, w, c, seed=1)
    values = images.ms_ssim(x, y)
    expected = [ms_ssim_by_loops((a + 1) / 2, (b + 1) / 2) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert 0.1 < min(expected) < max(expected) < 0.99


def test_ms_ssim_of_known_pairs():
    """Equal: 1. Flat grey against flat grey: the luminance alone, at the last scale. A negative: cut at 0."""
    x = noise(300, 16, 16, 1)  # more than a chunk
    np.testing.assert_allclose(images.ms_ssim(x, x), np.ones(300), rtol=1e-12)
    a, b = 0.25, 0.75
    flat = lambda value: np.full((1, 32, 32, 3), 2 * value - 1)
    luminance = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    np.testing.assert_allclose(images.ms_ssim(flat(a), flat(b)), [luminance**0.1333], rtol=1e-9)
    np.testing.assert_array_equal(images.ms_ssim(x, -x), np.zeros(300))


def test_ms_ssim_sees_diversity():
    """Pairs of one image and its noisy copies are alike; pairs of different images aren't."""
    alike = smooth(1, 32, 3) * 0.9 + 0.1 * noise(40, 32, 32, 3)
    assert images.ms_ssim(alike[::2], alike[1::2]).mean() > 0.9
    different = smooth(40, 32, 3)
    assert images.ms_ssim(different[::2], different[1::2]).mean() < 0.3


def test_pairs_and_chunks():
    """Each pair has its own number, float32 or not, in whichever chunk."""
    x, y = noise(260, 16, 16, 1), noise(260, 16, 16, 1, seed=1) * 0.3 + noise(260, 16, 16, 1) * 0.7
    values = images.ms_ssim(np.float32(x), np.float32(y))
    one_by_one = [images.ms_ssim(x[i : i + 1], y[i : i + 1])[0] for i in (0, 7, 255, 256, 259)]
    np.testing.assert_allclose(values[[0, 7, 255, 256, 259]], one_by_one, rtol=1e-5)


# Sliced Wasserstein distance


def pyr_by_loops(image, up):
    """Return an image [h, w] halved, or (`up`) doubled, as the two operations of a Laplacian pyramid."""
    if up:
        wide = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
        wide[::2, ::2] = image
        image = wide
    h, w = image.shape
    mirror = lambda i, n: -i if i < 0 else 2 * (n - 1) - i if i >= n else i
    out = np.zeros((h, w))
    for i, j, p, q in itertools.product(range(h), range(w), range(5), range(5)):
        weight = math.comb(4, p) * math.comb(4, q) / 256
        out[i, j] += weight * image[mirror(i + p - 2, h), mirror(j + q - 2, w)]
    return 4 * out if up else out[::2, ::2]


def test_pyramid_by_loops():
    """32 -> 32 and 16 pixels; the levels give the image back; channels and images are apart."""
    x = noise(2, 32, 40, 2)
    fine, rest = images._pyramid(x)
    for i, c in itertools.product(range(2), range(2)):
        small = pyr_by_loops(x[i, ..., c], up=False)
        np.testing.assert_allclose(rest[i, ..., c], small, atol=1e-12)
        np.testing.assert_allclose(fine[i, ..., c] + pyr_by_loops(small, up=True), x[i, ..., c], atol=1e-12)


@pytest.mark.parametrize("side, sides", [(8, [8]), (16, [16]), (28, [28]), (33, [33, 17]), (64, [64, 32, 16])])
def test_levels(side, sides):
    assert [level.shape for level in images._pyramid(noise(1, side, side, 1))] == [(1, s, s, 1) for s in sides]


def test_descriptors():
    """All patches of all images, equally often; channels have mean 0 and deviation 1 each, colours don't mix."""
    n, h, w = 3, 9, 8
    level = np.float32(np.arange(n * h * w).reshape(n, h, w, 1) * [1.0, -3.0] + [5, 700])
    found = images._descriptors(level, 2000, RNG(0)).reshape(-1, 2, 7, 7)
    assert found.shape == (6000, 2, 7, 7) and found.dtype == np.float32
    found = np.float64(found)
    np.testing.assert_allclose(found.mean((0, 2, 3)), [0, 0], atol=1e-6)
    np.testing.assert_allclose(found.std((0, 2, 3)), [1, 1], rtol=1e-5)
    np.testing.assert_allclose(found[:, 0], -found[:, 1], atol=1e-4)  # their channels: opposite up to scale and shift
    step = found[0, 0, 0, 1] - found[0, 0, 0, 0]  # of a pixel to the right, as one step of arange
    np.testing.assert_allclose(found[:, 0, 1, 0] - found[:, 0, 0, 0], np.full(6000, w * step), rtol=1e-3)
    corners, counts = np.unique(np.round((found[:, 0, 0, 0] - found[:, 0, 0, 0].min()) / step), return_counts=True)
    expected = [i * h * w + top * w + left for i in range(n) for top in range(3) for left in range(2)]
    assert corners.tolist() == expected and counts.min() > 250  # 333 each
    assert [c // (h * w) for c in np.round((found[[0, 2000, 4000], 0, 0, 0] - found[:, 0, 0, 0].min()) / step)] == [
        0,
        1,
        2,
    ]


def test_sliced():
    """In one dimension: Wasserstein-1 itself. Of a shift v: the mean of |v.u|, E |v.u| = |v| / 2 in three dimensions."""
    a, b = RNG(0).normal(size=(50, 1)), RNG(1).uniform(0, 3, (50, 1))
    expected = scipy.stats.wasserstein_distance(a[:, 0], b[:, 0])
    np.testing.assert_allclose(features.along_axes(a, b, 5, RNG(0)), expected, rtol=1e-12)
    a, v = RNG(0).normal(size=(50, 3)), np.array([3.0, 0, 4])
    drawn = RNG(7).normal(size=(500, 3))
    expected = np.mean([abs(v @ u) / math.sqrt(u @ u) for u in drawn])
    np.testing.assert_allclose(features.along_axes(a, RNG(5).permutation(a + v), 500, RNG(7)), expected, rtol=1e-10)
    assert abs(expected - 2.5) < 0.25


def test_swd_of_known_sets():
    """Equal distributions are near each other at all levels, the more the larger the sets; noise is far."""
    swd = lambda a, b: images.sliced_wasserstein(a, b, 32, 64)
    real, same = smooth(400, 32, 3), smooth(400, 32, 3, seed=1)
    floor, few, far = swd(real, same), swd(real[:50], same[:50]), swd(real, noise(400, 32, 32, 3))
    assert list(floor) == ["swd_32", "swd_16", "swd"]
    assert floor["swd"] == (floor["swd_32"] + floor["swd_16"]) / 2
    for name in floor:
        assert far[name] > 3 * floor[name] > 0 and few[name] > 2 * floor[name]


def test_swd_is_a_thousand_times_and_of_descriptors():
    """7x7 pixels have one patch: the distance of the normalised images along the drawn directions."""
    real, fake = noise(30, 7, 7, 2), noise(30, 7, 7, 2, seed=1) ** 3
    value = images.sliced_wasserstein(real, fake, patches=1, directions=40)
    flat = [np.moveaxis(x, 3, 1).reshape(30, 2, 49) for x in (real, fake)]
    flat = [(x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True) for x in flat]
    rng = RNG(0)
    for _ in range(4):
        rng.integers(0, 1, (30, 1))  # the patches' places
    units = [u / math.sqrt(u @ u) for u in rng.normal(size=(40, 98))]
    distance = lambda u: scipy.stats.wasserstein_distance(*(x.reshape(30, 98) @ u for x in flat))
    np.testing.assert_allclose(value["swd"], 1000 * np.mean([distance(u) for u in units]), rtol=1e-5)
    assert value["swd"] == value["swd_7"] > 10


def test_swd_takes_brightness_and_contrast_out():
    real, fake = smooth(20, 32, 3), smooth(20, 32, 3, seed=1)
    value = images.sliced_wasserstein(real, fake, 16, 32)
    assert images.sliced_wasserstein(real, 0.5 * fake + 0.2, 16, 32) == pytest.approx(value, rel=1e-3)
    assert images.sliced_wasserstein(real, fake, 16, 32) == value
    assert images.sliced_wasserstein(real, fake, 16, 32, seed=1)["swd"] != value["swd"]
    blank = images.sliced_wasserstein(real, np.zeros_like(real), 16, 32)
    assert np.isfinite(blank["swd"]) and blank["swd"] > 2 * value["swd"]


# What is not accepted


def test_wrong_images():
    x = noise(4, 16, 16, 1)
    with pytest.raises(ValueError, match="equally shaped"):
        images.ms_ssim(x, x[:, :8])
    with pytest.raises(UserError, match="8x8 are too small"):
        images.ms_ssim(x[:, :8, :8], x[:, :8, :8])
    with pytest.raises(UserError, match="4 real images and 3 fakes"):
        images.sliced_wasserstein(x, x[:3])
    with pytest.raises(ValueError, match="one shape"):
        images.sliced_wasserstein(x, x[..., 0])
    with pytest.raises(UserError, match="7x7"):
        images.sliced_wasserstein(x[:, :6], x[:, :6])


# Published implementations


def test_scikit_image():
    """A single scale of SSIM, with the same window."""
    metrics = pytest.importorskip("skimage.metrics", reason=REFERENCE)
    x = smooth(3, 48, 1) * 0.7 + noise(3, 48, 48, 1) * 0.3
    y = 0.6 * x + 0.4 * noise(3, 48, 48, 1, seed=1)
    x, y = (x + 1) / 2, (y + 1) / 2
    of = lambda a, b: metrics.structural_similarity(
        a[..., 0], b[..., 0], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    expected = [of(a, b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(images._similarity(x, y)[0], expected, rtol=1e-6)


def test_pytorch_msssim():
    """All five scales, of grey images so large and so even that there's one way to do it."""
    torch = pytest.importorskip("torch", reason=REFERENCE)
    pytorch_msssim = pytest.importorskip("pytorch_msssim", reason=REFERENCE)
    x = smooth(2, 176, 1) * 0.8 + 0.2 * noise(2, 176, 176, 1)
    y = 0.7 * x + 0.3 * noise(2, 176, 176, 1, seed=1)
    of = lambda image: torch.from_numpy(np.moveaxis((image + 1) / 2, 3, 1))
    expected = pytorch_msssim.ms_ssim(of(x), of(y), data_range=1, size_average=False).numpy()
    np.testing.assert_allclose(images.ms_ssim(x, y), expected, rtol=1e-5)


def test_opencv():
    """The pyramid of the paper's code, which says that it matches OpenCV's."""
    cv2 = pytest.importorskip("cv2", reason=REFERENCE)
    x = np.float32(noise(1, 64, 64, 1))
    level = x[0, ..., 0]
    for ours in list(images._pyramid(x))[:-1]:
        small = cv2.pyrDown(level)
        inside = (slice(2, -2), slice(2, -2))  # OpenCV mirrors the small image, not the one with zeros between
        np.testing.assert_allclose(ours[0, ..., 0][inside], (level - cv2.pyrUp(small))[inside], atol=1e-5)
        level = small
    np.testing.assert_allclose(list(images._pyramid(x))[-1][0, ..., 0], level, atol=1e-5)
