"""Recipes: each against plain numpy, Pillow or a published formula, and the same bits resident and streamed."""

import dataclasses
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gan_jax import data
from gan_jax.data import chance, colours, filters, recipes
from gan_jax.errors import UserError
from gan_jax.game import rng
from gan_jax.metrics import classifier

KEY = jax.random.key(0)
CHANCE = np.random.default_rng(0)


def kept(arrays, fields, held_out=None, name="hand"):
    """Return the source of these records, in memory; `held_out`: arrays of its test split."""
    n = len(arrays["x"])
    return data.Source(
        name,
        fields,
        n=n,
        pick=lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, n),
        read=lambda indices: {k: a[indices] for k, a in arrays.items()},
        whole=lambda: arrays,
        test=kept(held_out, fields, name=name) if held_out else None,
        fingerprint="print",
        nbytes=sum(a.nbytes for a in arrays.values()),
    )


def pictures(*shape, n=40, m=10, kind="image", seed=0):
    """Return a source of n pictures and m held-out ones, blocky noise on slopes, with labels."""
    draw = np.random.default_rng(seed)

    def some(n):
        *frames, h, w, c = shape
        coarse = draw.integers(0, 256, (n, *frames, -(-h // 4), -(-w // 4), c)).repeat(4, -3).repeat(4, -2)
        fine = draw.integers(0, 60, (n, *shape))
        x = (coarse[..., :h, :w, :] * 3 // 4 + fine).astype(np.uint8)
        return {"x": x, "y": draw.integers(0, 3, n).astype(np.int32)}

    return kept(some(n), {"x": data.Field(shape, kind), "y": data.label(3)}, some(m))


def mapped(h, w, classes=5):
    """Return a source of pictures whose pixels have labels, y [h, w]; red says which label a pixel has."""
    draw = np.random.default_rng(2)

    def some(n):
        y = draw.integers(0, classes, (n, -(-h // 4), -(-w // 4))).repeat(4, 1).repeat(4, 2)[:, :h, :w].astype(np.int32)
        return {"x": np.stack([10 * y, *draw.integers(0, 256, (2, *y.shape))], 3).astype(np.uint8), "y": y}

    fields = {"x": data.Field((h, w, 3), "image"), "y": data.Field((h, w), "label", np.int32, classes)}
    return kept(some(40), fields, some(10))


def rows(n=50, m=20):
    """Return a source of table rows: whole numbers of unlike sizes, the last column constant."""
    draw = np.random.default_rng(1)
    some = lambda n: {"x": (draw.integers(0, 100, (n, 3)) * [1, 1000, 0] + [5, -7, 9]).astype(np.int32)}
    return kept(some(n), {"x": data.Field((3,), "row", names=("a", "b", "c"))}, some(m))


def points(n=50, m=20):
    """Return a source of points of four numbers."""
    draw = np.random.default_rng(2)
    some = lambda n: {"x": draw.normal(size=(n, 4)).astype(np.float32)}
    return kept(some(n), {"x": data.Field((4,), "points")}, some(m))


def made(source, indices=None, key=KEY, i=0):
    """Return the batch of these records, by default of all of them in their order, as numpy."""
    indices = np.arange(source.n) if indices is None else np.asarray(indices)
    found = jax.jit(lambda raw: source.make(raw, key, i, len(indices)))(source.read(indices))
    assert set(found) == set(source.fields)
    for name, field in source.fields.items():
        assert found[name].shape == (len(indices), *field.shape) and found[name].dtype == field.dtype, name
    return jax.tree.map(np.asarray, found)


def levels(x):
    """Return pictures in [-1, 1] as uint8; they must be such."""
    v = np.round((np.float64(x) + 1) * 127.5)
    np.testing.assert_allclose(v / 127.5 - 1, x, atol=1e-6)
    return v.astype(np.uint8)


RECIPES = {
    "masked": lambda: data.masked(pictures(12, 16, 3)),
    "masked box": lambda: data.masked(pictures(12, 16, 3), "box", 0.6, 0.2),
    "masked pixels": lambda: data.masked(pictures(12, 16, 3), "pixels", 0.8),
    "masked region": lambda: data.masked(pictures(12, 16, 3), "region", 0.3, 0.2),
    "shrunk": lambda: data.shrunk(pictures(12, 16, 3), 4),
    "shrunk bicubic": lambda: data.shrunk(pictures(2, 12, 16, 3, kind="video"), 2, "bicubic"),
    "shrunk matlab": lambda: data.shrunk(pictures(12, 16, 3), 4, "matlab"),
    "grey": lambda: data.grey(pictures(12, 16, 3)),
    "edges": lambda: data.edges(pictures(12, 16, 3)),
    "edges thin": lambda: data.edges(pictures(12, 16, 3), True),
    "paired": lambda: data.paired(pictures(6, 6, 1), pictures(12, 16, 3, seed=1)),
    "turned": lambda: data.turned(pictures(12, 16, 3)),
    "halved": lambda: data.halved(points()),
    "cut": lambda: data.cut(pictures(12, 16, 3), 9, True),
    "jittered": lambda: data.jittered(pictures(12, 16, 3)),
    "painted": lambda: data.painted(data.jittered(mapped(12, 16))),
    "binarised": lambda: data.binarised(pictures(12, 16, 3)),
    "regions": lambda: data.regions(mapped(12, 16), 5),
    "mapped": lambda: data.mapped(data.jittered(mapped(12, 16))),
    "dequantised": lambda: data.dequantised(pictures(12, 16, 3)),
    "standardised": lambda: data.standardised(rows()),
    "all at once": lambda: data.shrunk(data.cut(data.dequantised(pictures(12, 16, 3)), 8, True), 2, "bicubic"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_streamed_and_resident_are_the_same(name):
    """Bit for bit, at two numbers, for two seeds, alone and inside a loop; another key or number gives other batches."""
    source, keys, b = RECIPES[name](), jax.random.split(KEY), 8
    arrays = jax.tree.map(jnp.asarray, data.resident(source))
    alone = jax.jit(jax.vmap(lambda key, i: data.batch(source, arrays, key, i, b), (0, None)))
    streamed = jax.jit(jax.vmap(lambda raw, key, i: source.make(raw, key, i, b), (0, 0, None)))
    looped = jax.jit(lambda key: jax.lax.map(lambda i: data.batch(source, arrays, key, i, b), jnp.arange(3, 5)))
    loop, batches = looped(keys[1]), []
    for i, raw in zip((3, 4), data.stream(source, keys, b, 3), strict=False):
        batches.append(alone(keys, i))
        jax.tree.map(np.testing.assert_array_equal, batches[-1], streamed(raw, keys, i))
        jax.tree.map(lambda a, l: np.testing.assert_array_equal(a[1], l[i - 3]), batches[-1], loop)
    x = [np.asarray(batch["source" if "source" in batch else "x"]) for batch in batches]
    assert (x[0] != x[1]).any() and (x[0][0] != x[0][1]).any()


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_under_x64(name):
    """Shapes and types are what the fields say, of what is held out too, whatever JAX takes numbers to be."""
    source = RECIPES[name]()
    with jax.enable_x64(True):
        for split in (source, source.test):
            raw = split.read(np.arange(4))
            found = jax.eval_shape(lambda raw, split=split: split.make(raw, jax.random.key(0), 0, 4), raw)
            kinds = {k: (a.shape[1:], a.dtype) for k, a in found.items()}
            assert kinds == {k: (field.shape, field.dtype) for k, field in split.fields.items()}


# Holes


HOLES = [("centre", 0.5, 0), ("box", 0.6, 0.2), ("half", 0.5, 0), ("pixels", 0.8, 0), ("region", 0.3, 0.2)]


@pytest.mark.parametrize("hole, part, least", HOLES)
def test_holes_are_where_the_mask_says(hole, part, least):
    """`source` is x, and 0 where the mask is 1; the mask is 0 or 1, there is some of both, and x is whole."""
    source = data.masked(pictures(12, 16, 3), hole, part, least)
    for split in (source, source.test):
        batch = made(split)
        np.testing.assert_array_equal(levels(batch["x"]), split.whole()["x"])
        assert set(np.unique(batch["mask"])) == {0, 1}
        assert ((batch["mask"].sum((1, 2, 3)) > 0) & (batch["mask"].sum((1, 2, 3)) < 12 * 16)).all()
        np.testing.assert_array_equal(batch["source"], np.where(batch["mask"] == 1, 0, batch["x"]))


def test_the_hole_in_the_middle():
    """Half of each side, a quarter away from each border; an odd rest lies below and to the right."""
    mask = made(data.masked(pictures(12, 16, 3)))["mask"][..., 0]
    inside = np.zeros((12, 16))
    inside[3:9, 4:12] = 1
    assert (mask == inside).all()
    mask = made(data.masked(pictures(7, 5, 1), part=0.4))["mask"][..., 0]
    inside = np.zeros((7, 5))
    inside[2:5, 1:3] = 1
    assert (mask == inside).all()


def test_the_left_half():
    """The columns on the left, all rows of them; of five, two are a half."""
    for (h, w), part, columns in (((12, 16), 0.5, 8), ((4, 5), 0.4, 2), ((4, 5), 0.9, 4)):
        mask = made(data.masked(pictures(h, w, 3), "half", part))["mask"][..., 0]
        assert (mask == (np.arange(w) < columns)).all()


@pytest.mark.parametrize("hole, part", [("box", 0.6), ("pixels", 0.8)])
def test_holes_of_pictures_are_those_of_the_held_out_ones(hole, part):
    """`holes` makes of a picture what `masked` makes of it where it is held out."""
    batch = made(data.masked(pictures(12, 16, 3), hole, part).test)
    np.testing.assert_array_equal(recipes.holes(jnp.asarray(batch["x"]), hole, part), batch["mask"])


def test_a_hole_that_is_anywhere_is_a_box_and_gets_everywhere():
    """Full boxes of each of the sides that were asked for, height apart from width, at every place where they fit."""
    source = data.masked(pictures(4, 5, 1), "box", 0.75, 0.5)
    masks = np.concatenate([made(source, np.zeros(1000, int), i=i)["mask"][..., 0] for i in range(3)])
    counts = {}
    for mask in masks:
        y, x = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        assert (mask[y[0] : y[-1] + 1, x[0] : x[-1] + 1] == 1).all() and mask.sum() == len(y) * len(x)
        counts.setdefault((len(y), len(x)), []).append((y[0], x[0]))
    assert set(counts) == {(h, w) for h in (2, 3) for w in (2, 3, 4)}  # of 5: from round(2.5) to round(3.75)
    for (h, w), found in counts.items():
        assert abs(len(found) - 500) < 5 * math.sqrt(500 * 5 / 6)
        places, times = np.unique(found, axis=0, return_counts=True)
        assert len(places) == (4 - h + 1) * (5 - w + 1) and times.min() > len(found) / len(places) / 2


def test_missing_pixels_are_as_many_as_asked_for():
    """80 % of the pixels, each on its own: as many as chance leaves in every place and every picture."""
    masks = made(data.masked(pictures(12, 16, 3), "pixels", 0.8), np.zeros(1000, int))["mask"][..., 0]
    assert abs(masks.mean() - 0.8) < 5 * math.sqrt(0.16 / masks.size)
    assert (abs(masks.mean(0) - 0.8) < 5 * math.sqrt(0.16 / 1000)).all()
    assert abs(masks.mean((1, 2)).std() / math.sqrt(0.16 / 192) - 1) < 0.2


def test_a_region_is_blobs_of_the_size_that_was_asked_for():
    """From 20 to 30 % of the pixels, ties apart, by chance; neighbours mostly share their fate; no place is spared."""
    masks = made(data.masked(pictures(32, 24, 1), "region", 0.3, 0.2), np.zeros(400, int))["mask"][..., 0]
    shares = masks.mean((1, 2))
    assert 0.18 < shares.min() < 0.21 and 0.29 < shares.max() <= 0.3 and abs(shares.mean() - 0.25) < 0.01
    alike = (masks[:, 1:] == masks[:, :-1]).mean(), (masks[:, :, 1:] == masks[:, :, :-1]).mean()
    assert min(alike) > 0.85  # of pixels on their own, 0.62
    assert abs(masks.mean(0) - 0.25).max() < 0.12 and len(np.unique(masks.reshape(400, -1), axis=0)) == 400


HELD_OUT = [("masked box", "mask"), ("masked pixels", "mask"), ("masked region", "mask"), ("dequantised", "x")]


@pytest.mark.parametrize("name, field", HELD_OUT)
def test_what_is_held_out_never_changes(name, field):
    """A record that is held out is made the same with any key, any number, in any batch; two of them differ."""
    source = RECIPES[name]().test
    whole = made(source)[field]
    some = made(source, [7, 2, 2, 5], jax.random.key(9), 3)[field]
    np.testing.assert_array_equal(some, whole[[7, 2, 2, 5]])
    assert len({(a - x).tobytes() for a, x in zip(whole, data.decode(source.whole())["x"], strict=True)}) > 5


@pytest.mark.parametrize("part, least", [(0, 0), (1.0, 0), (0.5, 0.6), (0.5, -0.1)])
def test_a_hole_that_is_none(part, least):
    """Parts that leave nothing, or nothing out, are refused."""
    with pytest.raises(UserError, match="a hole takes a part between 0 and 1 of a picture, not"):
        data.masked(pictures(8, 8, 1), "box", part, least)


# Smaller pictures


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
@pytest.mark.parametrize("c", [1, 3])
def test_bicubic_is_pillow_s(factor, c):
    """Bit for bit what Pillow's `resize` gives, on noise and with the borders."""
    source = data.shrunk(pictures(24, 36, c, n=6), factor, "bicubic")
    for v, small in zip(source.whole()["x"], levels(made(source)["source"]), strict=True):
        picture = Image.fromarray(v if c == 3 else v[..., 0])
        theirs = np.asarray(picture.resize((36 // factor, 24 // factor), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(small, theirs.reshape(small.shape))


def keys(t):
    """Keys' kernel (1981) with a = -1/2, in fractions."""
    t = abs(t)
    return (3 * t**3 - 5 * t**2 + 2) / 2 if t <= 1 else (-(t**3) + 5 * t**2 - 8 * t + 4) / 2 if t <= 2 else 0


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_matlab_s_bicubic_is_exact(factor):
    """In fractions, pixel by pixel: columns first, what lies beyond the border mirrored, halves up after each axis."""

    def smaller(row):
        mirrored, made = [*row, *row[::-1]], []
        for i in range(len(row) // factor):
            taps = range(factor * i - 2 * factor, factor * i + 3 * factor)
            weights = [keys(Fraction(2 * (k - factor * i) - factor + 1, 2 * factor)) for k in taps]
            total = sum(w * mirrored[k % len(mirrored)] for k, w in zip(taps, weights, strict=True)) / sum(weights)
            made.append(min(max(math.floor(total + Fraction(1, 2)), 0), 255))
        return made

    source = data.shrunk(pictures(12, 24, 1, n=2), factor, "matlab")
    for v, small in zip(source.whole()["x"], levels(made(source)["source"]), strict=True):
        columns = np.array([smaller(column) for column in v[..., 0].T.tolist()]).T
        np.testing.assert_array_equal(small[..., 0], [smaller(row) for row in columns.tolist()])


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
def test_area_is_the_mean(factor):
    """The mean of each square, rounded half up: in plain numbers, and by Pillow's `reduce`, which divides by 4 and 16."""
    source = data.shrunk(pictures(24, 36, 3, n=6), factor)
    for v, small in zip(source.whole()["x"], levels(made(source)["source"]), strict=True):
        for y, x in np.ndindex(24 // factor, 36 // factor):
            square = v[y * factor :, x * factor :][:factor, :factor].reshape(-1, 3).astype(int)
            assert small[y, x].tolist() == [(2 * int(s) + factor**2) // (2 * factor**2) for s in square.sum(0)]
        theirs = np.asarray(Image.fromarray(v).reduce(factor)).astype(
            int
        )  # of 9 and 36 it has the inverse, rounded down
        assert (small - theirs).min() >= 0 and (small - theirs).max() <= (factor in (3, 6))


def test_clips_are_shrunk_frame_by_frame():
    """A video's frames are what they would be as pictures; the field is a smaller video."""
    video, way = pictures(2, 12, 16, 3, kind="video"), "bicubic"
    small = made(data.shrunk(video, 2, way))["source"]
    for t in range(2):
        frames = kept({"x": video.whole()["x"][:, t]}, {"x": data.Field((12, 16, 3), "image")})
        np.testing.assert_array_equal(small[:, t], made(data.shrunk(frames, 2, way))["source"])
    assert data.shrunk(video, 2, way).fields["source"] == data.Field((2, 6, 8, 3), "video")


@pytest.mark.parametrize("factor", [1, 5, 8])
def test_a_factor_that_does_not_divide(factor):
    """It is named with the sides."""
    with pytest.raises(UserError, match="hand is 12x16: a factor of 2 or more has to divide both"):
        data.shrunk(pictures(12, 16, 3), factor)
    with pytest.raises(UserError, match="shrunk as by MATLAB by a factor of up to 16, not 32"):  # of whole numbers
        data.shrunk(pictures(32, 64, 3), 32, "matlab")


# Colours


def test_grey_is_pillow_s():
    """Bit for bit Pillow's mode "L", for all corners of the cube and for noise."""
    corners = np.array(list(np.ndindex(6, 6, 6)), np.uint8).reshape(1, 12, 18, 3) * 51
    source = kept({"x": np.concatenate([corners, CHANCE.integers(0, 256, (5, 12, 18, 3)).astype(np.uint8)])},
                  {"x": data.Field((12, 18, 3), "image")})  # fmt: skip
    for v, grey in zip(source.whole()["x"], levels(made(data.grey(source))["source"]), strict=True):
        np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(v).convert("L")))


def lab_by_hand(r, g, b):
    """Return L, a, b of one sRGB colour, 0 to 255, in plain floats (CIE 15, IEC 61966-2-1, white at 95.047 100 108.883)."""
    linear = [u / 12.92 if u <= 0.04045 else ((u + 0.055) / 1.055) ** 2.4 for u in (r / 255, g / 255, b / 255)]
    matrix = (0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041)
    ratios = [sum(m * u for m, u in zip(row, linear, strict=True)) for row in matrix]
    ratios = [ratio / white for ratio, white in zip(ratios, (0.95047, 1.0, 1.08883), strict=True)]
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_lab_is_the_published_formula():
    """A grid of colours against plain floats, and red, green, blue, white, black and mid-grey against known values."""
    grid = np.array(list(np.ndindex(9, 9, 9))) * 255 / 8
    lab = np.asarray(data.to_lab(jnp.asarray(grid / 127.5 - 1, np.float32)), np.float64)
    np.testing.assert_allclose((lab + np.eye(3)[:1]) * [[50, 110, 110]], [lab_by_hand(*v) for v in grid], atol=3e-3)
    assert abs(lab).max() <= 1 + 1e-6
    known = {(255, 0, 0): (53.24, 80.09, 67.20), (0, 255, 0): (87.73, -86.18, 83.18), (0, 0, 255): (32.30, 79.19, -107.86),
             (255, 255, 255): (100, 0, 0), (0, 0, 0): (0, 0, 0), (119, 119, 119): (50.03, 0, 0)}  # fmt: skip
    for v, expected in known.items():
        x = jnp.asarray([v], np.float32) / 127.5 - 1
        found = (np.asarray(data.to_lab(x))[0] + [1, 0, 0]) * [50, 110, 110]
        np.testing.assert_allclose(found, expected, atol=0.01)


def test_lab_there_and_back():
    """All colours come back; what sRGB hasn't got is cut; gradients are finite, at black and in the gamut's corners."""
    x = jnp.asarray(np.array(list(np.ndindex(9, 9, 9))) / 4 - 1, np.float32)
    np.testing.assert_allclose(data.from_lab(data.to_lab(x)), x, atol=2e-5)
    beyond = np.asarray(data.from_lab(jnp.array([[0.5, 1.0, -1.0], [-1.0, -1.0, 1.0]])))
    assert (abs(beyond) <= 1).all() and (abs(beyond) == 1).any()
    for f, at in ((data.to_lab, x), (data.from_lab, data.to_lab(x)), (data.from_lab, -jnp.ones((1, 3)))):
        assert np.isfinite(jax.jit(jax.grad(lambda a, f=f: f(a).sum()))(at)).all()


def test_grey_pictures_have_no_colours_to_take_out():
    """One channel is refused."""
    with pytest.raises(UserError, match="hand has no colours that could be taken out; choose a set that has"):
        data.grey(pictures(8, 8, 1))


# Edges


def gradient_by_hand(v):
    """Return Sobel's dy, dx [h, w] of v [h, w] in plain loops; the border is repeated."""
    h, w = v.shape
    at = lambda y, x: float(v[min(max(y, 0), h - 1), min(max(x, 0), w - 1)])
    dy, dx = np.zeros((h, w)), np.zeros((h, w))
    for y, x in np.ndindex(h, w):
        for k, weight in ((-1, 1), (0, 2), (1, 1)):
            dy[y, x] += weight * (at(y + 1, x + k) - at(y - 1, x + k))
            dx[y, x] += weight * (at(y + k, x + 1) - at(y + k, x - 1))
    return dy, dx


@pytest.mark.parametrize("c", [1, 3])
def test_edges_are_sobel_s(c):
    """The length of the gradient in plain loops, a quarter of it on 8 bits; of colours, that of Pillow's grey."""
    source = data.edges(pictures(12, 16, c, n=4))
    for v, found in zip(source.whole()["x"], levels(made(source)["source"]), strict=True):
        grey = np.asarray(Image.fromarray(v).convert("L")) if c == 3 else v[..., 0]
        length = np.hypot(*gradient_by_hand(grey)) / 4
        assert abs(found[..., 0] - length.clip(0, 255)).max() <= 0.5 + 1e-9


def flat(v):
    """Return the source of the one grey picture v [h, w]."""
    return kept({"x": np.uint8(v)[None, ..., None]}, {"x": data.Field((*v.shape, 1), "image")})


def test_a_full_step_is_one():
    """A step from black to white is 1 on both sides of it; a flat picture is -1, up to its borders."""
    v = np.zeros((6, 8))
    v[:, 4:] = 255
    found = made(data.edges(flat(v)))["source"][0, ..., 0]
    expected = np.full((6, 8), -1.0)
    expected[:, 3:5] = 1
    np.testing.assert_array_equal(found, expected)


def canny_by_hand(v, low=100, high=200):
    """Return Canny's lines [h, w] of v [h, w] in plain loops and floats: blur, gradient, ridges, then growing along them."""
    h, w = v.shape
    taps = np.array([1, 4, 6, 4, 1]) / 16
    around = np.pad(np.float64(v), 2, "edge")
    blurred = np.array([[taps @ around[y : y + 5, x : x + 5] @ taps for x in range(w)] for y in range(h)])
    dy, dx = gradient_by_hand(np.floor(blurred * 16 + 0.5) / 16)
    length = np.hypot(dy, dx)
    ridge = np.zeros((h, w), bool)
    for y, x in np.ndindex(h, w):
        angle = math.degrees(math.atan2(dy[y, x], dx[y, x])) % 180
        step = {0: (0, 1), 1: (1, 1), 2: (1, 0), 3: (1, -1)}[int((angle + 22.5) // 45) % 4]
        of = lambda a, b: length[a, b] if 0 <= a < h and 0 <= b < w else 0.0
        before, after = of(y - step[0], x - step[1]), of(y + step[0], x + step[1])
        ridge[y, x] = length[y, x] > before + 1e-9 and length[y, x] >= after - 1e-9
    lines = {(y, x) for y, x in np.ndindex(h, w) if ridge[y, x] and length[y, x] > high}
    waiting = list(lines)
    while waiting:
        y, x = waiting.pop()
        for a, b in np.ndindex(3, 3):
            place = y + a - 1, x + b - 1
            inside = 0 <= place[0] < h and 0 <= place[1] < w
            if inside and place not in lines and ridge[place] and length[place] > low:
                lines.add(place)
                waiting.append(place)
    found = np.zeros((h, w), bool)
    for place in lines:
        found[place] = True
    return found


def test_thin_edges_are_canny_s():
    """The same lines as plain loops find, on blocky noise, on a disc and on slopes in all directions."""
    y, x = np.mgrid[:24, :28]
    disc = 200.0 * (np.hypot(y - 11, x - 14) < 8)
    soft = 255 / (1 + np.exp(-(9 - np.hypot(y - 12.3, x - 13.1)) / 2))
    noise = pictures(24, 28, 1, n=3).whole()["x"][..., 0]
    for v in (disc, soft, *noise):
        v = np.uint8(v)
        found = made(data.edges(flat(v), thin=True))["source"][0, ..., 0]
        assert set(np.unique(found)) == {-1, 1}
        np.testing.assert_array_equal(found == 1, canny_by_hand(v))


def test_weak_edges_stay_where_they_go_on():
    """A weak edge stays where a strong one fades into it, however long it is, and goes where it stands alone."""
    v = np.zeros((40, 30))
    v[:, 6:] = 60.0  # Sobel's length of a step that is blurred is 2.5 times its height: 150
    assert (made(data.edges(flat(v), thin=True))["source"] == -1).all()
    v[:20, 6:] = np.linspace(200, 60, 20)[:, None]
    lines = made(data.edges(flat(v), thin=True))["source"][0, ..., 0] == 1
    assert (lines[:, 4:8].sum(1) == 1).all() and lines.sum() == 40  # one pixel wide, from border to border
    v[:, 6:] = 39.0
    v[:20, 6:] = np.linspace(200, 39, 20)[:, None]
    lines = made(data.edges(flat(v), thin=True))["source"][0, ..., 0] == 1
    assert lines[:16].any(1).all() and not lines[22:].any()  # 97.5: too weak to go on


# Pairs


def test_pairs_are_of_one_record():
    """Every batch, and what is held out, has record k of a beside record k of b, with b's order and labels."""
    a, b = pictures(6, 6, 1), pictures(12, 16, 3, seed=1)
    source = data.paired(a, b)
    arrays = jax.tree.map(jnp.asarray, data.resident(source))
    batch = jax.tree.map(np.asarray, jax.jit(lambda i: data.batch(source, arrays, KEY, i, 8))(7))
    at = np.asarray(b.pick(KEY, 7, 8))
    np.testing.assert_array_equal(levels(batch["source"]), a.whole()["x"][at])
    np.testing.assert_array_equal(levels(batch["x"]), b.whole()["x"][at])
    np.testing.assert_array_equal(batch["y"], b.whole()["y"][at])
    held_out = made(source.test)
    np.testing.assert_array_equal(levels(held_out["source"]), a.test.whole()["x"])
    np.testing.assert_array_equal(levels(held_out["x"]), b.test.whole()["x"])
    assert source.nbytes == a.nbytes + b.nbytes and source.fields["source"].shape == (6, 6, 1)
    few = data.only_labelled(source, 3)
    assert sorted(made(few, few.pick(KEY, 0, 3))["y"]) == [0, 1, 2]
    assert set(data.some(source, 5)) == set(data.examples(source, KEY, 5)) == {"source", "x", "y"}


def test_sets_that_are_no_pairs():
    """Unequal numbers, unequal held-out numbers and toys are refused, with both numbers."""
    with pytest.raises(UserError, match="hand has 40 records and hand has 39: they can't be paired one by one"):
        data.paired(pictures(6, 6, 1), pictures(6, 6, 1, n=39))
    with pytest.raises(UserError, match="hand has 10 records and hand has 9"):
        data.paired(pictures(6, 6, 1), pictures(6, 6, 1, m=9))
    with pytest.raises(UserError, match="ring8 has 0 records"):
        data.paired(data.load("ring8"), data.load("ring8"))


# Cuts


def test_cuts_reach_every_offset_and_mirror_half():
    """Each batch row is one window of its record, at every offset about equally often, and about half are mirrored."""
    v = np.arange(5 * 6, dtype=np.uint8).reshape(1, 5, 6, 1)
    source = data.cut(kept({"x": v}, {"x": data.Field((5, 6, 1), "image")}), 3, True)
    counts = {}
    for x in levels(made(source, np.zeros(3000, int))["x"])[..., 0]:
        mirrored = int(x[0, 0]) > int(x[0, -1])
        x = x[:, ::-1] if mirrored else x
        top, left = divmod(int(x[0, 0]), 6)
        np.testing.assert_array_equal(x, v[0, top : top + 3, left : left + 3, 0])
        counts[top, left, mirrored] = counts.get((top, left, mirrored), 0) + 1
    assert set(counts) == {(t, l, m) for t in range(3) for l in range(4) for m in (False, True)}
    assert (abs(np.array(list(counts.values())) - 125) < 5 * math.sqrt(125)).all()
    plain = levels(made(data.cut(kept({"x": v}, {"x": data.Field((5, 6, 1), "image")}), 3), np.zeros(200, int))["x"])
    assert (plain[:, 0, 0] < plain[:, 0, -1]).all()


def test_what_is_held_out_is_cut_out_of_the_middle():
    """The middle of each record, not mirrored; an odd rest is left below and to the right."""
    source = data.cut(pictures(12, 16, 3), 9, True).test
    np.testing.assert_array_equal(levels(made(source)["x"]), source.whole()["x"][:, 1:10, 3:12])


def test_all_pictures_of_a_row_are_cut_alike():
    """A picture, its mask, the labels of its pixels and a clip's frames are cut at one place and mirrored together."""
    source = pictures(10, 10, 3)
    cut = data.cut(data.masked(data.dequantised(source), "pixels"), 7, True)
    assert cut.fields["mask"].shape == (7, 7, 1) and cut.fields["x"].shape == cut.shape == (7, 7, 3)
    batch = made(cut)
    np.testing.assert_array_equal(batch["source"], np.where(batch["mask"] == 1, 0, batch["x"]))
    np.testing.assert_array_equal(batch["y"], source.whole()["y"])
    where = np.arange(100, dtype=np.int32).reshape(1, 10, 10).repeat(30, 0)
    fields = {"x": data.Field((10, 10, 1), "image"), "y": data.Field((10, 10), "label", np.int32, 100)}
    cut = data.cut(kept({"x": np.uint8(where)[..., None], "y": where}, fields), 7, True)
    batch = made(cut)
    np.testing.assert_array_equal(levels(batch["x"])[..., 0], batch["y"])
    assert cut.fields["y"] == data.Field((7, 7), "label", np.int32, 100) and len(np.unique(batch["y"][:, 0, 0])) > 10
    still = CHANCE.integers(0, 256, (20, 1, 10, 10, 1)).astype(np.uint8).repeat(4, 1)
    frames = made(data.cut(kept({"x": still}, {"x": data.Field((4, 10, 10, 1), "video")}), 5, True))["x"]
    assert (frames == frames[:, :1]).all() and frames.shape == (20, 4, 5, 5, 1)


def test_cuts_that_do_not_fit():
    """A square that is too large is named with the sides, and so are pictures of two sizes."""
    with pytest.raises(UserError, match="hand is 12x16, too small to cut 13 out"):
        data.cut(pictures(12, 16, 3), 13)
    with pytest.raises(UserError, match="too small to cut -2 out"):  # as of a margin that is wider than the picture
        data.cut(pictures(12, 16, 3), -2)
    with pytest.raises(UserError, match="hand has pictures x and source of two sizes: cut first, then shrink"):
        data.cut(data.shrunk(pictures(12, 16, 3), 2), 4)
    assert data.shrunk(data.cut(pictures(12, 16, 3), 8), 2).fields["source"].shape == (4, 4, 3)


# Jitter


@pytest.mark.parametrize("sides", [(13, 18), (24, 16), (12, 40)])
@pytest.mark.parametrize("c", [1, 3])
def test_enlarged_is_pillow_s(sides, c):
    """Bit for bit what Pillow's bilinear `resize` gives, by factors that are no whole numbers, and by one."""
    v = pictures(12, 16, c, n=6).whole()["x"]
    found = np.asarray(jax.jit(lambda v: filters.enlarged(v, sides))(np.int32(v)))
    for one, large in zip(v, found, strict=True):
        picture = Image.fromarray(one if c == 3 else one[..., 0])
        theirs = np.asarray(picture.resize(sides[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(large, theirs.reshape(large.shape))


def test_jitter_reaches_every_offset_and_mirrors_half():
    """Each row is one window of its enlarged record, at every offset about equally often; about half are mirrored."""
    v = CHANCE.integers(0, 256, (1, 4, 6, 1)).astype(np.uint8)
    source = data.jittered(kept({"x": v}, {"x": data.Field((4, 6, 1), "image")}), 1.5)
    large = np.asarray(Image.fromarray(v[0, ..., 0]).resize((9, 6), Image.Resampling.BILINEAR))
    windows = {}
    for top, left, mirrored in np.ndindex(3, 4, 2):
        window = large[top : top + 4, left : left + 6]
        windows[(window[:, ::-1] if mirrored else window).tobytes()] = top, left, mirrored
    found = [windows[x.tobytes()] for x in levels(made(source, np.zeros(2400, int))["x"])[..., 0]]
    places, times = np.unique(found, axis=0, return_counts=True)
    assert len(places) == len(windows) == 24 and (abs(times - 100) < 5 * math.sqrt(100)).all()
    plain = data.jittered(kept({"x": v}, {"x": data.Field((4, 6, 1), "image")}), 1.5, flip=False)
    assert not any(windows[x.tobytes()][2] for x in levels(made(plain, np.zeros(200, int))["x"])[..., 0])


def test_both_halves_of_a_pair_are_jittered_alike():
    """A picture, its source and the labels of its pixels come from one place; nothing that is held out is touched."""
    y = np.arange(144, dtype=np.int32).reshape(1, 12, 12).repeat(30, 0)
    fields = {"x": data.Field((12, 12, 3), "image"), "y": data.Field((12, 12), "label", np.int32, 144)}
    slopes = np.uint8(np.stack([y // 12 * 20, y % 12 * 20, 0 * y], 3))  # red says the row, green the column
    one = kept({"x": slopes, "y": y}, fields, {"x": slopes, "y": y})
    pair = data.paired(one, one)
    batch = made(data.jittered(pair))
    x, y = np.float64(levels(batch["x"])), batch["y"]
    assert (abs(x[..., 0] - 20 * (y // 12)) <= 20).all() and (abs(x[..., 1] - 20 * (y % 12)) <= 20).all()
    assert len(np.unique(x[:, 0, 0], axis=0)) > 1 and len(np.unique(x[:, 0, 0, 1] < x[:, 0, -1, 1])) == 2  # mirrored
    np.testing.assert_array_equal(batch["source"], batch["x"])
    for name, a in made(data.jittered(pair).test).items():
        np.testing.assert_array_equal(a, made(pair.test)[name])


def test_labels_are_enlarged_to_the_nearest():
    """As Pillow's nearest has them, so that no label arises between two others."""
    y = CHANCE.integers(0, 200, (3, 12, 16)).astype(np.int32)
    found = np.asarray(filters.nearest(jnp.asarray(y), (13, 18)))
    for one, large in zip(y, found, strict=True):
        theirs = Image.fromarray(np.uint8(one)).resize((18, 13), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(large, np.asarray(theirs))


def test_jitter_that_is_none():
    """Smaller pictures leave nothing to cut out, two sizes have no place in common, and half a hole is none."""
    with pytest.raises(UserError, match=r"pictures are jittered by a factor from 1 to 8, not 0\.9"):
        data.jittered(pictures(8, 8, 1), 0.9)
    with pytest.raises(UserError, match="hand has pictures x and source of two sizes: jitter first, then shrink"):
        data.jittered(data.shrunk(pictures(12, 16, 3), 2))
    with pytest.raises(UserError, match="hand has a mask, which is no picture: jitter first, then mask"):
        data.jittered(data.masked(pictures(12, 16, 3)))


# Labels in colours


def test_labels_have_the_colours_of_voc():
    """Known ones, and no two alike; the field `source` has them where y has the label, and x and y stay."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128),
             8: (64, 0, 0), 11: (192, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}  # fmt: skip
    table = colours.of_labels(300)
    assert {label: tuple(table[label].tolist()) for label in known} == known and len(np.unique(table, axis=0)) == 300
    source = mapped(12, 16)
    for split, painted in ((source, data.painted(source)), (source.test, data.painted(source).test)):
        batch, raw = made(painted), split.whole()
        np.testing.assert_array_equal(levels(batch["source"]), table[raw["y"]])
        np.testing.assert_array_equal(batch["y"], raw["y"])
        assert painted.fingerprint == "print"
    for recipe in (data.painted, data.mapped):
        with pytest.raises(UserError, match="hand has no label for each pixel: choose one, y=FEATURE:label, after its"):
            recipe(pictures(8, 8, 3))


def test_mapped_labels_are_x_and_the_photograph_is_their_source():
    """Of both splits; another x has another fingerprint, and the labels stay."""
    source = mapped(12, 16)
    both = data.mapped(source)
    for split, swapped in ((source, both), (source.test, both.test)):
        batch, raw = made(swapped), split.whole()
        np.testing.assert_array_equal(levels(batch["x"]), colours.of_labels(300)[raw["y"]])
        np.testing.assert_array_equal(levels(batch["source"]), raw["x"])
        np.testing.assert_array_equal(batch["y"], raw["y"])
        assert swapped.fingerprint == "print-mapped"


def things():
    """Return a source of one picture, 9x12, with three things: 4x3 in the middle, 1x1 beside it, 2x4 in a corner."""
    y = np.zeros((1, 9, 12), np.int32)
    y[0, 3:7, 4:7], y[0, 4, 7], y[0, 7:, 8:] = 5, 2, 9
    y[0, 3, 4] = 0
    raw = {"x": CHANCE.integers(0, 256, (1, 9, 12, 3)).astype(np.uint8), "y": y}
    fields = {"x": data.Field((9, 12, 3), "image"), "y": data.Field((9, 12), "label", np.int32, 10)}
    return kept(raw, fields, raw)


SQUARES = {  # of each thing: (top, left) by side, from 1.5 to 2.5 times the longer side, moved into the picture
    5: {6: (2, 2), 7: (1, 2), 8: (1, 1), 9: (0, 1)},  # 10 is more than the picture has
    2: {1: (4, 7), 2: (3, 6)},
    9: {6: (3, 6), 7: (2, 5), 8: (1, 4), 9: (0, 3)},
}


def resized(a, side):
    """Return a square [n, n, c] at `side` pixels: the mean of each part, halves up."""
    n = len(a)
    parts = a.repeat(side, 0).repeat(side, 1).reshape(side, n, side, n, -1).sum((1, 3))
    return (2 * parts + n * n) // (2 * n * n)


def test_a_region_is_around_one_thing():
    """Each is the square around one thing, and y is that thing without its neighbours; things come by their pixels."""
    source, side, count = things(), 5, {}
    raw = {name: a[0].astype(int) for name, a in source.whole().items()}
    known = {}
    for label, squares in SQUARES.items():
        for n, (top, left) in squares.items():
            seen = {name: a[top : top + n, left : left + n] for name, a in raw.items()}
            y = resized((seen["y"] == label)[..., None].astype(int), side)[..., 0]
            known[resized(seen["x"], side).tobytes(), y.tobytes()] = label, n
    batch = made(data.regions(source, side), np.zeros(3000, int))
    for x, y in zip(levels(batch["x"]).astype(int), batch["y"].astype(int), strict=True):
        found = known[x.tobytes(), y.tobytes()]  # nothing else comes
        count[found] = count.get(found, 0) + 1
    assert set(count) == set(known.values())
    for label, pixels in ((5, 11), (2, 1), (9, 8)):
        share = sum(n for (of, _), n in count.items() if of == label) / 3000
        assert share == pytest.approx(pixels / 20, abs=0.03), label
    assert count[5, 9] / count[5, 6] == pytest.approx(2, abs=0.5)  # 10 too is cut to 9


def test_regions_that_are_held_out_stay():
    """Whatever the key; and a picture without things shows its middle, with none of them."""
    source = data.regions(things(), 5)
    first, second = (made(source.test, key=key, i=i) for key, i in ((KEY, 0), (jax.random.key(1), 7)))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    bare = things()
    bare = kept(bare.whole() | {"y": np.zeros((1, 9, 12), np.int32)}, bare.fields)
    batch = made(data.regions(bare, 9))
    np.testing.assert_array_equal(levels(batch["x"])[0], bare.whole()["x"][0, :, 1:10])
    assert not batch["y"].any()


def test_regions_that_are_none():
    """Without labels of pixels, beside another picture, smaller than the thing, or of no pixels: a line."""
    with pytest.raises(UserError, match="hand has no label for each pixel"):
        data.regions(pictures(8, 8, 3), 4)
    with pytest.raises(UserError, match="hand has pictures or labels besides x and those of its pixels"):
        data.regions(data.shrunk(mapped(12, 16), 2), 4)
    for side, least, most in ((0, 1.5, 2.5), (4, 0.5, 2), (4, 2, 1.5)):
        with pytest.raises(UserError, match=f"not {side}, {least} to {most}"):
            data.regions(mapped(12, 16), side, least, most)
    large = {"x": data.Field((2049, 2049, 1), "image"), "y": data.Field((2049, 2049), "label", np.int32, 3)}
    with pytest.raises(UserError, match="regions are cut out of pictures of up to 2048 pixels a side: hand is larger"):
        data.regions(data.Source("hand", large), 4)


def test_the_largest_square_is_exact():
    """Of 2048 white pixels a side, seen as 3: sums just below the limit of 32 bits."""
    v, at = jnp.full((1, 2048, 2048, 1), 255, jnp.int32), jnp.zeros((1, 2), jnp.int32)
    assert (filters.squares(v, at, jnp.full(1, 2048, jnp.int32), 3) == 255).all()


# Numbers


def test_dequantised_levels_are_there_still():
    """The level is the floor, the rest is uniform in [0, 1), and all is in [-1, 1)."""
    source = data.dequantised(pictures(12, 16, 3))
    for split in (source, source.test):
        x = made(split)["x"]
        assert x.min() >= -1 and x.max() < 1
        u = (np.float64(x) + 1) * 128 - split.whole()["x"]
        assert u.min() >= 0 and u.max() < 1
        counts = np.histogram(u, 10, (0, 1))[0]
        assert (abs(counts - u.size / 10) < 5 * math.sqrt(u.size * 0.09)).all()
    white = kept({"x": np.full((1, 1500, 1500, 1), 255, np.uint8)}, {"x": data.Field((1500, 1500, 1), "image")})
    assert made(data.dequantised(white))["x"].max() < 1


def test_bits_are_1_from_level_128_on():
    """In both splits; their fingerprint is another one, since x is."""
    source = data.binarised(pictures(12, 16, 3))
    for split in (source, source.test):
        np.testing.assert_array_equal(made(split)["x"], np.where(split.whole()["x"] >= 128, 1, -1))
        assert split.fingerprint == "print-binarised" and split.modes is None


def test_standardised_columns():
    """Mean 0 and deviation 1 over the training split; the held-out one by the same numbers; and all of it undone."""
    source = data.standardised(rows())
    train, held_out = (np.float64(split.whole()["x"]) for split in (source, source.test))
    mean, deviation = train.mean(0), train.std(0)
    x = made(source)["x"]
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(0), [1, 1, 0], atol=1e-5)
    np.testing.assert_array_equal(x[:, 2], 0)
    other = made(source.test)["x"]
    np.testing.assert_allclose(other[:, :2], (held_out - mean)[:, :2] / deviation[:2], rtol=1e-5, atol=1e-6)
    assert abs(other.mean(0)[:2]).max() > 0.01  # these are not its own
    field = source.fields["x"]
    for again, units in ((jax.jit(field.undo)(jnp.asarray(other)), held_out), (field.undo(other[0]), held_out[0])):
        assert (abs(np.asarray(again) - units) <= 1e-6 * abs(train).max(0)).all()
    assert field.names == ("a", "b", "c") and rows().fields["x"].undo is None


# What a recipe leaves as it is, and what it refuses


def test_what_leaves_x_alone_keeps_the_fingerprint():
    """A classifier of x is the same with a mask beside it, and another one where x is another: two names in the cache."""
    source = pictures(12, 12, 3)
    kinds = data.masked, lambda s: data.shrunk(s, 2), data.grey, data.edges, lambda s: data.paired(source, s)
    for recipe in kinds:
        for split, new in ((source, recipe(source)), (source.test, recipe(source).test)):
            assert new.fingerprint == "print" and new.modes is split.modes
            np.testing.assert_array_equal(made(new)["x"], made(split)["x"])
    changed = [data.cut(source, 8), data.cut(source, 9), data.cut(source, 8, True), data.dequantised(source)]
    changed += [data.jittered(source), data.jittered(source, 1.5), data.jittered(source, flip=False)]
    prints = [new.fingerprint for new in (source, *changed, data.standardised(rows()))]
    assert len(set(prints)) == len(prints) and prints[3] == "print-cut8-flip"
    nameless = dataclasses.replace(source, fingerprint="")
    assert data.cut(nameless, 8).fingerprint == ""
    assert data.cut(dataclasses.replace(source, modes="modes"), 8).modes is None


def test_records_stay_the_same_records():
    """The raw records, their order and their number are the old ones, and so are the arrays that the cache keeps."""
    source = pictures(12, 12, 3)
    for recipe in (data.masked, data.grey, data.edges, data.dequantised, data.jittered, lambda s: data.cut(s, 8)):
        new = recipe(source)
        for name in ("name", "n", "pick", "read", "whole", "nbytes"):
            assert getattr(new, name) is getattr(source, name) and getattr(new.test, name) is getattr(source.test, name)


def test_equal_calls_give_one_source():
    """What is kept for each source (a classifier, a compiled program) is found again when the recipe is called again."""
    source = pictures(12, 12, 3)
    assert data.masked(source) is data.masked(source) is not data.masked(source, "box")
    assert data.cut(source, 8) is data.cut(source, 8) is not data.cut(source, 8, True)


def test_a_classifier_of_cuts_is_measured_on_cuts(monkeypatch, tmp_path):
    """Its accuracy is that on the middles of the test split; here of one that is left as it was born."""
    monkeypatch.setattr("gan_jax.data.cache.FOLDER", tmp_path)
    source = data.cut(pictures(16, 16, 1), 12)
    born = lambda net, source, *_: jax.jit(net.init)(KEY, jnp.zeros((1, *source.shape)))
    monkeypatch.setattr(classifier, "_train", born)
    judge = classifier.load(source)
    middles = made(source.test)
    assert judge.accuracy == np.mean(np.asarray(judge(middles["x"]).argmax(1)) == middles["y"])
    assert [file.name for file in (tmp_path / "classifiers").iterdir()] == ["print-cut12-1.npz"]


IMAGES = {
    "masked": data.masked, "shrunk": lambda s: data.shrunk(s, 2), "made grey": data.grey,
    "drawn as edges": data.edges, "cut": lambda s: data.cut(s, 8), "dequantised": data.dequantised,
    "turned": data.turned,
    "jittered": data.jittered,
}  # fmt: skip


def test_a_quarter_turn():
    """What was the last column is the first row, in both splits; x stays, and so does the fingerprint."""
    source = data.turned(pictures(12, 16, 3))
    for split in (source, source.test):
        batch = made(split)
        np.testing.assert_array_equal(levels(batch["x"]), split.whole()["x"])
        np.testing.assert_array_equal(batch["source"][:, 0], batch["x"][:, :, -1])
        np.testing.assert_array_equal(batch["source"][:, :, 0], batch["x"][:, 0, ::-1])
    assert source.fingerprint == "print"


def test_halves_of_points():
    """`source` and x beside one another are the point as it was; odd numbers are refused, and classifiers told apart."""
    source = data.halved(points())
    batch = made(source)
    np.testing.assert_array_equal(np.concatenate([batch["source"], batch["x"]], 1), source.whole()["x"])
    assert source.modes is None and source.fingerprint == "print-halved"
    with pytest.raises(UserError, match="hand has points of 3 numbers, which can't be halved"):
        data.halved(kept({"x": np.zeros((5, 3), np.float32)}, {"x": data.Field((3,), "points")}))


@pytest.mark.parametrize("word", IMAGES)
def test_points_and_rows_are_no_pictures(word):
    """The set, the recipe and what the set holds are named."""
    with pytest.raises(UserError, match=f"ring8 can't be {word}: its x is of kind points, not image"):
        IMAGES[word](data.load("ring8"))
    with pytest.raises(UserError, match=f"hand can't be {word}: its x is of kind row, not image"):
        IMAGES[word](rows())
    with pytest.raises(UserError, match="ring8 can't be standardised: its x is of kind points, not row"):
        data.standardised(data.load("ring8"))


@pytest.mark.parametrize("word", [*IMAGES, "standardised", "paired"])
def test_joined_sets_are_not_one(word):
    """A recipe is for one set: joined ones are told what to do."""
    joined = data.join(x=pictures(12, 12, 3), other=pictures(12, 12, 3))
    recipe = IMAGES | {"standardised": data.standardised, "paired": lambda s: data.paired(s, s)}
    with pytest.raises(UserError, match=f"hand is several sets side by side, which can't be {word}: do so before"):
        recipe[word](joined)


def test_no_field_is_lost():
    """A second recipe that would write `source` over the first one's is refused."""
    for recipe in (data.grey, data.edges, data.masked, lambda s: data.shrunk(s, 2), lambda s: data.paired(s, s)):
        with pytest.raises(UserError, match=r"hand can't be .*: it has a field called source already"):
            recipe(data.grey(pictures(12, 12, 3)))


def test_uniform_of_records_is_uniform():
    """Over many records the numbers are spread evenly, and so are those of records that differ in one level."""
    values = np.zeros((4000, 6), np.int32)
    values[:, 2] = np.arange(4000) % 256
    values[:, 4] = np.arange(4000) // 256
    u = np.asarray(chance.of_records("noise", jnp.asarray(values))(2))
    for column in u.T:
        assert (abs(np.histogram(column, 10, (0, 1))[0] - 400) < 5 * math.sqrt(360)).all()
    assert abs(np.corrcoef(u.T)[0, 1]) < 5 / math.sqrt(4000) and len(np.unique(u[:, 0])) > 3900
