"""Augmentations against plain numpy and scipy, one image and one pixel at a time; how often each happens; gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from gan_jax import UserError
from gan_jax.game import augment

H, W = 9, 12
NEUTRAL = {"flip": 1, "turns": 0, "shift": (0, 0), "scale": 1, "before": 0, "stretch": 1, "after": 0, "move": (0, 0)}
NEUTRAL |= {"brightness": 0, "contrast": 1, "luma": 1, "hue": 0, "saturation": 1}
ada = jax.jit(augment.ada)


@jax.jit
def moved(x, drawn):
    return augment.warp(x, *augment.affine(drawn, *x.shape[1:3]))


def images(b, channels, h=H, w=W, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (b, h, w, channels)).astype(np.float32)


def only(b=2, **values):
    """What `draw` returns where nothing but this happens, to each of b images."""
    return {name: jnp.float32([values.get(name, neutral)] * b) for name, neutral in NEUTRAL.items()}


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_happens_at_p_0(channels):
    """The image comes back to rounding: up and down by the filter is the identity."""
    x = images(4, channels, 8, 8)
    np.testing.assert_allclose(ada(jax.random.key(0), x, 0.0), x, atol=2e-6)


def plain_warp(x, a, t):
    """An image [h, w] mirrored once at its sides, filtered to twice its size, sampled, filtered down, cut out."""
    (h, w), taps = x.shape, augment.SYM6 / augment.SYM6.sum()
    large = np.zeros((2 * (3 * h - 2), 2 * (3 * w - 2)))
    large[::2, ::2] = np.pad(x, [(h - 1, h - 1), (w - 1, w - 1)], mode="reflect")
    for axis in 0, 1:  # taps of even index fall on pixels of the left, so that the sixth is above its own pixel
        large = np.apply_along_axis(lambda line: np.convolve(line, 2 * taps)[5 : 5 + len(line)], axis, large)
    found = np.zeros((2 * h + 10, 2 * w + 10))
    for i in range(len(found)):
        for j in range(len(found[0])):
            q = (np.array([j - 5, i - 5]) - (w - 1, h - 1)) / 2  # (x, y) from the centre, in pixels
            from_x, from_y = 2 * (a @ q + t) + (w - 1, h - 1) + (2 * (w - 1), 2 * (h - 1))
            found[i, j] = ndimage.map_coordinates(large, [[from_y], [from_x]], order=1)[0]
    for axis in 0, 1:
        found = np.apply_along_axis(lambda line: np.correlate(line, taps)[::2], axis, found)
    return found


def test_warp_is_the_plain_one():
    """Any affine map of a grey and of a coloured image is that of loops over pixels, pixel by pixel."""
    x = np.concatenate([images(2, 3)])
    drawn = only(
        flip=-1, turns=3, shift=(0.1, -0.12), scale=1.1, before=0.5, stretch=0.9, after=-1.1, move=(0.06, -0.1)
    )
    drawn = {name: values.at[1].set(NEUTRAL[name]) for name, values in drawn.items()} | {
        "scale": jnp.float32([1.1, 0.8])
    }
    a, t = (np.float64(part) for part in augment.affine(drawn, H, W))
    for row, found in enumerate(np.asarray(moved(x, drawn))):
        for channel in range(3):
            np.testing.assert_allclose(found[..., channel], plain_warp(x[row, ..., channel], a[row], t[row]), atol=2e-5)


def matrix(*rows):
    return np.array([*rows, (0, 0, 1)], float)


def rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return matrix((c, -s, 0), (s, c, 0))


def test_affine_is_the_product_in_the_paper_s_order():
    """Each moves the image after those before it; the inverse of their product in homogeneous coordinates, at once."""
    one = {"flip": -1, "turns": 3, "shift": (0.1, -0.12), "scale": 1.3, "before": 0.5, "stretch": 0.8, "after": -1.1}
    a, t = augment.affine(only(1, **one, move=(0.06, -0.1)), H, W)
    place = lambda x, y: matrix((1, 0, x), (0, 1, y))
    steps = [matrix((-1, 0, 0), (0, 1, 0)), rotation(-np.pi / 2 * 3), place(1, -1), matrix((1.3, 0, 0), (0, 1.3, 0))]
    steps += [rotation(-0.5), matrix((0.8, 0, 0), (0, 1 / 0.8, 0)), rotation(1.1), place(0.06 * W, -0.1 * H)]
    whole = functools.reduce(lambda done, step: step @ done, steps)
    # The authors multiply the inverses from the right: out -> in is inverse(first) ... inverse(last).
    inverse = functools.reduce(lambda done, step: done @ np.linalg.inv(step), steps, np.eye(3))
    np.testing.assert_allclose(inverse, np.linalg.inv(whole), atol=1e-12)
    np.testing.assert_allclose(a[0], inverse[:2, :2], atol=1e-6)
    np.testing.assert_allclose(t[0], inverse[:2, 2], atol=1e-5)


def test_whole_pixels():
    """A shift is exact; it goes to the right and down, and the image is mirrored where it is left."""
    x = images(2, 3)
    found = moved(x, only(shift=(2 / W, -1 / H)))
    mirrored = np.pad(x, [(0, 0), (3, 3), (3, 3), (0, 0)], mode="reflect")
    np.testing.assert_allclose(found, mirrored[:, 4 : 4 + H, 1 : 1 + W], atol=2e-6)


def smooth(y, x):
    """An image of 12x12 as a function of rows and columns; it has no kink where it is mirrored."""
    wave = lambda i: np.cos(np.pi * i / 11)
    return wave(y) * (1 + 0.5 * wave(x)) + 0.2 * wave(x)


I, J = np.mgrid[:12, :12]
CENTRE = (np.arange(12) * augment.SYM6).sum() / augment.SYM6.sum()  # of the filter, whose sixth number is above a pixel


@pytest.mark.parametrize(
    "what, expected",
    [
        ({}, smooth),
        ({"shift": (0.04, -0.04)}, smooth),  # less than half a pixel
        ({"flip": -1}, lambda i, j: smooth(i, 11 - j + 5 - CENTRE)),
        ({"turns": 1}, lambda i, j: smooth(j, 11 - i + 5 - CENTRE)),
        ({"turns": 2}, lambda i, j: smooth(11 - i + 5 - CENTRE, 11 - j + 5 - CENTRE)),
        ({"turns": 3}, lambda i, j: smooth(11 - j + 5 - CENTRE, i)),
    ],
)
def test_flips_and_turns(what, expected):
    """They are what numpy makes, but a tenth of a pixel to the side: the filter is not symmetric, the authors' neither."""
    x = smooth(I, J).astype(np.float32)
    by_numpy = np.rot90(x, what.get("turns", 0))[:, :: what.get("flip", 1)]
    np.testing.assert_allclose(expected(I, J), by_numpy, atol=0.05)
    np.testing.assert_allclose(
        moved(x[None, ..., None].repeat(2, 0), only(**what))[0, ..., 0], expected(I, J), atol=0.004
    )


def test_a_smooth_image_is_sampled_where_it_should_be():
    """Scaled, stretched, rotated and moved by parts of a pixel: the function itself, at the places that it comes from."""
    f = lambda x, y: np.cos(0.3 * x + 0.5) * np.sin(0.25 * y - 0.2)
    y, x = np.mgrid[:24, :24] - 11.5
    drawn = only(scale=1.25, before=0.6, stretch=0.9, after=-0.3, move=(0.03, -0.05))
    a, t = (np.asarray(part)[0] for part in augment.affine(drawn, 24, 24))
    from_x, from_y = np.einsum("ij,jhw->ihw", a, np.stack([x, y])) + t[:, None, None]
    found = moved(np.float32([f(x, y)] * 2)[..., None], drawn)[0, ..., 0]
    inside = np.maximum(abs(from_x), abs(from_y)) < 8
    assert inside.sum() > 200
    np.testing.assert_allclose(np.asarray(found)[inside], f(from_x, from_y)[inside], atol=0.015)


def by_matrices(x, one, channels):
    """Colours one transform after the other, as 4x4 matrices; of grey the mean of what a grey colour becomes."""
    axis, whole = np.ones(3) / np.sqrt(3), np.eye(4)
    along = np.outer(axis, axis)
    of_hue = Rotation.from_rotvec(one["hue"] * axis).as_matrix()
    linear = [one["contrast"] * np.eye(3), np.eye(3) - 2 * along if one["luma"] < 0 else np.eye(3)]
    linear += [of_hue, along + one["saturation"] * (np.eye(3) - along)] if channels == 3 else []
    whole[:3, 3] = one["brightness"]
    for each in linear:
        whole = np.block([[each, np.zeros((3, 1))], [np.zeros((1, 3)), 1]]) @ whole
    if channels == 3:
        return x @ whole[:3, :3].T + whole[:3, 3]
    row = whole[:3].mean(0)
    return x * row[:3].sum() + row[3]


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_the_matrices(channels):
    """All together and each alone."""
    x = images(1, channels)
    full = {"brightness": 0.3, "contrast": 1.7, "luma": -1, "hue": 1.1, "saturation": 0.4}
    for one in (full, *({name: value} for name, value in full.items())):
        found = augment.recolour(jnp.asarray(x), only(1, **one))
        np.testing.assert_allclose(found, by_matrices(x, NEUTRAL | one, channels), atol=2e-6)


def test_a_third_of_the_circle_of_hue():
    """Red becomes green, green blue, blue red; two channels are refused."""
    x = images(2, 3)
    found = augment.recolour(jnp.asarray(x), only(hue=2 * np.pi / 3))
    np.testing.assert_allclose(found, np.roll(x, 1, -1), atol=2e-6)
    with pytest.raises(UserError, match="2 channels"):
        augment.ada(jax.random.key(0), images(2, 2), 0.5)


N = 20_000
SPREADS = {"scale": 0.2, "stretch": 0.2, "move": 0.125, "brightness": 0.2, "contrast": 0.5, "saturation": 1}
RANGES = {"shift": 0.125, "before": np.pi, "after": np.pi, "hue": np.pi}


@pytest.fixture(scope="module")
def drawn():
    """p -> what is done to so many images."""
    draw = jax.jit(functools.partial(augment.draw, jax.random.key(3), N))
    return functools.cache(lambda p: {name: np.asarray(values) for name, values in draw(p).items()})


@pytest.mark.parametrize("p", [0.3, 1.0, 1.4])
def test_how_often_each_happens(drawn, p):
    """With probability p, each by itself; one of the two rotations with p; a flip that happens is half of the time one."""
    happened = {
        name: (values != NEUTRAL[name]).reshape(N, -1).any(1) for name, values in drawn(p).items()
    }  # a shift of both axes at once
    p = min(p, 1)
    either = 1 - np.sqrt(1 - p)
    shares = {"flip": p / 2, "turns": p * 3 / 4, "luma": p / 2, "before": either, "after": either}
    for name, did in happened.items():
        share = shares.get(name, p)
        assert abs(did.mean() - share) <= 4 * np.sqrt(share * (1 - share) / N), name
    assert abs((happened["before"] | happened["after"]).mean() - p) < 0.015
    if p < 1:
        apart = np.corrcoef(np.stack(list(happened.values()))) - np.eye(len(happened))
        assert abs(apart).max() < 4.5 / np.sqrt(N)


def test_how_far_each_goes(drawn):
    """Deviations and ranges are those of the paper; quarters of a turn come equally often; p = 0 is neutral."""
    found = drawn(1.0)
    for name, spread in SPREADS.items():
        values = found[name] if name in ("move", "brightness") else np.log2(found[name])
        assert abs(values.std() / spread - 1) < 0.03 and abs(values.mean() / spread) < 0.03, name
        assert abs((abs(values) < spread).mean() - 0.6827) < 0.015, name  # normal
    for name, reach in RANGES.items():
        counts, _ = np.histogram(found[name], 10, (-reach, reach))
        assert counts.sum() == found[name].size and oracle.chi_square_is_small(counts, found[name].size / 10), name
    assert oracle.chi_square_is_small(np.unique(found["turns"], return_counts=True)[1], N / 4)
    assert all((values == NEUTRAL[name]).all() for name, values in drawn(0.0).items())


def test_rows_and_keys():
    """A row is changed for itself, another key changes it otherwise; p is traced; half precision stays."""
    x = images(4, 3, 8, 8)
    one, again, other = (np.asarray(ada(jax.random.key(k), x, 1.0)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (abs(one - other).max((1, 2, 3)) > 0.1).all()
    alone = np.asarray(ada(jax.random.key(0), x * (np.arange(4) == 2).reshape(4, 1, 1, 1), 1.0))
    np.testing.assert_allclose(alone[2], one[2], atol=1e-6)
    half = jax.eval_shape(augment.ada, jax.random.key(0), jnp.zeros((2, 8, 8, 1), jnp.bfloat16), 0.5)
    assert half.dtype == jnp.bfloat16


def test_gradients_of_both_orders():
    """By finite differences in float64: of a function of what is seen, and of its gradient, as R1 needs it."""
    x, v, u = (np.float64(images(2, 3, 6, 6, seed)) for seed in range(3))
    with jax.enable_x64(True):
        drawn = jax.jit(augment.draw, static_argnums=1)(jax.random.key(4), 2, 0.8)
        f = lambda x: (jnp.sin(augment.recolour(moved(x, drawn), drawn)) * u).sum()

        @jax.jit
        def both(x, v):  # (f', v), (|f'|^2 / 2)' v: the second by reverse mode over reverse mode
            grad = jax.grad(f)
            return (
                f(x),
                (grad(x) * v).sum(),
                (grad(x) ** 2).sum() / 2,
                (jax.grad(lambda x: (grad(x) ** 2).sum() / 2)(x) * v).sum(),
            )

        h = 1e-5
        (up, _, up_2, _), (down, _, down_2, _), (_, first, _, second) = (both(x + s * h * v, v) for s in (1, -1, 0))
        np.testing.assert_allclose(first, (up - down) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(second, (up_2 - down_2) / (2 * h), rtol=1e-6)


def test_controller():
    """Every fourth batch p moves by 4 b / 500,000: up where r_t is above 0.6, down below, but never below 0."""
    rng, p, signs, b = np.random.default_rng(0), jnp.float32(0), jnp.float32(0), 50_000
    step = jax.jit(augment.controller)
    expected, seen = 0.0, []
    for i in range(40):
        up = (0.3, 0.95, 0.81, 0.79)[i // 4 % 4]  # shares of positive scores: r_t = -0.4, 0.9, 0.62, 0.58
        score = np.where(np.arange(b) < up * b, 1, -1) * rng.uniform(0.1, 5, b)
        p, signs = step(p, signs, np.float32(score), i)
        seen += list(np.sign(score))
        if i % 4 == 3:
            expected, seen = max(expected + np.sign(np.mean(seen) - 0.6) * 4 * b / 500_000, 0), []
            assert signs == 0
        np.testing.assert_allclose(p, expected, atol=1e-5)
    assert expected == pytest.approx(0.4)  # 0, 0.4, 0.8, 0.4, 0, ...


def test_controller_s_numbers():
    """p passes 1, as in the authors' code; target, interval and speed are the caller's."""
    p, signs = augment.controller(jnp.float32(0.9), jnp.float32(0), np.ones(10), 0, every=1, images=20)
    assert p == pytest.approx(1.4) and signs == 0
    p, signs = augment.controller(jnp.float32(0.9), jnp.float32(0), np.ones(10), 0, every=2)
    assert p == pytest.approx(0.9) and signs == 1
    p, _ = augment.controller(jnp.float32(0.3), jnp.float32(0), np.ones(10), 0, target=1.1, every=1, images=20)
    assert p == 0
    p, _ = augment.controller(jnp.float32(0.3), jnp.float32(0), np.sign(np.arange(4) - 0.5), 0, target=0.5, every=1)
    assert p == np.float32(0.3)  # 3 of 4 positive: r_t is the target


@pytest.mark.parametrize("f", [functools.partial(augment.ada, p=0.5), augment.diff_augment])
def test_float32_under_x64(f):
    """No array is in float64, so neither is the state of a step that uses it."""
    with jax.enable_x64(True):
        x = jnp.zeros((2, 8, 8, 3), jnp.float32)
        jaxpr = jax.make_jaxpr(f)(jax.random.key(0), x)
    text = str(jaxpr)
    assert "f64[2" not in text and "f64[8" not in text and jaxpr.out_avals[0].dtype == jnp.float32


# DiffAugment


def even(values, low, high):
    """Whether numbers fill an interval evenly."""
    counts, _ = np.histogram(values, 10, (low, high))
    return counts.sum() == values.size and oracle.chi_square_is_small(counts, values.size / 10)


def test_diff_augment_s_colours():
    """A row's mean moves by up to 0.5, its grey part about the mean by 0.5 to 1.5, its colours by 0 to 2 times that."""
    x = np.repeat(images(1, 3, 4, 4), 4000, 0)
    y = np.asarray(jax.jit(augment.recolour_evenly)(jax.random.key(0), x))
    parts = lambda x: (
        m := x.mean((1, 2, 3), keepdims=True),
        x.mean(3, keepdims=True) - m,
        x - x.mean(3, keepdims=True),
    )
    (mean, grey, colour), (mean_y, grey_y, colour_y) = parts(np.float64(x)), parts(np.float64(y))
    times = lambda a, b: (a * b).sum((1, 2, 3)) / (a * a).sum((1, 2, 3))  # b as a multiple of a
    np.testing.assert_allclose(grey_y, times(grey, grey_y).reshape(-1, 1, 1, 1) * grey, atol=1e-5)
    np.testing.assert_allclose(colour_y, times(colour, colour_y).reshape(-1, 1, 1, 1) * colour, atol=1e-5)
    contrast, saturation = times(grey, grey_y), times(colour, colour_y) / times(grey, grey_y)
    assert even((mean_y - mean).ravel(), -0.5, 0.5) and even(contrast, 0.5, 1.5) and even(saturation, 0, 2)
    assert abs(np.corrcoef([(mean_y - mean).ravel(), contrast, saturation]) - np.eye(3)).max() < 0.07


def test_diff_augment_s_shift():
    """By whole pixels, of each side an eighth at most, all equally often, with 0 beyond."""
    x = np.repeat(images(1, 1, 8, 16), 3000, 0)
    y = np.asarray(jax.jit(augment.translate)(jax.random.key(0), x))
    shifted = lambda i, j: np.pad(x[0], [(2, 2), (2, 2), (0, 0)])[2 - i : 10 - i, 2 - j : 18 - j]
    counts = [(y == shifted(i, j)).all((1, 2, 3)).sum() for i in (-1, 0, 1) for j in (-2, -1, 0, 1, 2)]
    assert sum(counts) == 3000 and oracle.chi_square_is_small(np.array(counts), 200)


@pytest.mark.parametrize("n", [8, 6])
def test_diff_augment_s_cutout(n):
    """Half of each side is 0, less where it is cut by the border; centres come equally often; all else is as it was."""
    x = np.abs(np.repeat(images(1, 2, n, n), 4000, 0)) + 0.1
    y = np.asarray(jax.jit(augment.cutout)(jax.random.key(0), x))
    gone, size = (y == 0).all(3), n // 2
    np.testing.assert_array_equal(y, np.where(gone[..., None], 0, x))
    places = range(n + 1 - size % 2)
    expected = {}
    for i in places:
        for j in places:
            mask = np.zeros((n, n), bool)
            mask[max(i - size // 2, 0) : i - size // 2 + size, max(j - size // 2, 0) : j - size // 2 + size] = True
            expected[mask.tobytes()] = expected.get(mask.tobytes(), 0) + 4000 / len(places) ** 2
    counts = dict.fromkeys(expected, 0)
    for mask in gone:
        counts[mask.tobytes()] += 1
    assert oracle.chi_square_is_small(np.array(list(counts.values())), np.array(list(expected.values())))


def test_diff_augment_is_the_three():
    """In order, from one key; G's gradient passes."""
    key, x = jax.random.key(0), jnp.asarray(images(3, 3, 8, 8))
    y, grad = jax.jit(
        lambda x: (augment.diff_augment(key, x), jax.grad(lambda x: (augment.diff_augment(key, x) ** 2).sum())(x))
    )(x)
    parts = jax.jit(augment.cutout), jax.jit(augment.translate), jax.jit(augment.recolour_evenly)
    cut, move, colour = (functools.partial(f, key) for f in parts)
    np.testing.assert_allclose(y, cut(move(colour(x))), atol=1e-6)
    assert (np.asarray(abs(grad).max((1, 2, 3))) > 0).all()
