"""Recipes: the data of other tasks, made of sets that are there. Each takes a `Source` and returns another one.

A recipe wraps `make`, that of the held-out split too. Records, their order and what the cache keeps of them stay, so
that one copy serves all recipes. What a recipe adds leaves x and y alone, and so the fingerprint stays: a classifier of
x is the same with and without a mask beside it. A recipe that changes x says so in the fingerprint, and drops the modes
where they are those of the old x. Equal calls return the same Source.

Chance is a function of (key, i) and the row; of the records that are held out, of the record alone, so that a hole is
where it was in every evaluation, however the split is cut into batches.

Pictures are worked on in whole numbers, their 8-bit levels, and what comes out is 8-bit, too, as if it had been saved:
floats would round differently in the different programs that XLA makes of one formula, and a resident batch has to have
the bits of a streamed one.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import chance, colours, filters
from gan_jax.data.source import Field, Source, decode
from gan_jax.errors import UserError

PICTURES = "image", "video"  # what has pixels: [..., h, w, c]


@functools.cache
def masked(
    source: Source,
    hole: Literal["centre", "box", "half", "pixels", "region"] = "centre",
    part: float = 0.5,
    least: float = 0,
) -> Source:
    """Return the source for in-painting: `source` is x with a hole of 0, mid-grey; `mask` [h, w, 1] is 1 there.

    hole: a box in the middle, a box anywhere, the left half, single pixels, or a region of blobs. part: of each
    side that a box takes, of the width that the half does, in (0, 1); of pixels, their probability; of all pixels, what
    a region takes. least: the sides of a box that is anywhere are drawn evenly from `least` to `part`, each on its own,
    and so is what a region takes; by default all are `part`. Context encoders (Pathak et al. 2016, arXiv 1604.07379)
    have ("centre", 0.5) and ("region", 0.3, 0.2), GLCIC (Iizuka et al. 2017) ("box", 0.5, 0.375), semantic in-painting
    (Yeh et al. 2017, arXiv 1607.07539) ("half", 0.5) and ("pixels", 0.8), too. Raises UserError where there are no
    images, or the hole is none.
    """
    suit(source, "masked", ("image",), "source", "mask")
    least = least or part
    if not 0 < least <= part < 1:
        raise UserError(f"a hole takes a part between 0 and 1 of a picture, not {least} to {part}.")

    def change(batch, uniform, _):
        x = batch["x"]  # [b, h, w, c]
        missing = HOLES[hole](uniform, *x.shape[1:3], least, part)[..., None]  # [b or 1, h, w, 1]
        mask = jnp.broadcast_to(missing, (*x.shape[:3], 1)).astype(np.float32)
        return {"source": jnp.where(missing, np.float32(0), x), "mask": mask}

    fields = lambda split: {"source": split.fields["x"], "mask": Field((*split.shape[:2], 1), "image")}
    return wrapped(source, "masked", fields, change)


def holes(x: jax.Array, hole: str = "centre", part: float = 0.5) -> jax.Array:
    """Return the holes [b, h, w, 1], 1 inside, that `masked` makes in pictures x [b, h, w, c] that are held out."""
    missing = HOLES[hole](chance.of_records("masked", colours.levels(x)), *x.shape[1:3], part, part)
    return jnp.broadcast_to(missing[..., None], (*x.shape[:3], 1)).astype(np.float32)


def _centre(uniform, h, w, least, part):
    sides = _sides(h, w, part)
    return _inside((np.array([h, w]) - sides) // 2, sides, h, w)


def _box(uniform, h, w, least, part):
    u, low, high = uniform(4), _sides(h, w, least), _sides(h, w, part)
    sides = low + chance.below(u[:, :2], high - low + 1)
    return _inside(chance.below(u[:, 2:], np.array([[h, w]]) - sides + 1), sides, h, w)


def _half(uniform, h, w, least, part):
    return _inside(np.zeros((1, 2), int), np.array([[h, max(1, round(part * w))]]), h, w)


def _pixels(uniform, h, w, least, part):
    return uniform(h, w) < part


def _region(uniform, h, w, least, part):
    """The lowest places of a landscape, of which a window with eight hills a side is seen: at most `part` of them."""
    n, high, wide = HILLS + 2, *(max(HILLS + 2, -(-(HILLS + 2) * side // HILLS)) for side in (h, w))
    u = uniform(n * n + 3)
    land = filters.enlarged(chance.below(u[:, 3:], 256).reshape(-1, n, n, 1), (high, wide))[..., 0]
    starts = chance.below(u[:, :2], np.array([[high - h + 1, wide - w + 1]]))
    seen = jax.vmap(lambda one, at: jax.lax.dynamic_slice(one, at, (h, w)))(land, starts)
    fewest, most = (max(1, round(share * h * w)) for share in (least, part))
    room, shore = fewest + chance.below(u[:, 2], most - fewest + 1)[:, None, None], 0
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):  # the highest shore below which there is no more than that
        below = (seen < shore + bit).sum((1, 2), keepdims=True)
        shore = jnp.where(below <= room, shore + bit, shore)
    return seen < shore


def _sides(h, w, part):
    return np.array([[max(1, round(part * h)), max(1, round(part * w))]])


def _inside(starts, sides, h, w):
    """Return where the boxes are that begin at `starts` [b, (y, x)], of `sides` [b, (y, x)]: [b, h, w], true inside."""
    along = lambda axis, size: (
        (starts[:, axis, None] <= np.arange(size)[None]) & (np.arange(size)[None] < (starts + sides)[:, axis, None])
    )
    return along(0, h)[:, :, None] & along(1, w)[:, None]


HILLS = 8  # of a landscape, a side
# (uniform, h, w, least, part) -> [b or 1, h, w]
HOLES = {"centre": _centre, "box": _box, "half": _half, "pixels": _pixels, "region": _region}


@functools.cache
def shrunk(source: Source, factor: int, way: Literal["area", "bicubic", "matlab"] = "area") -> Source:
    """Return the source for super-resolution: `source` [h / factor, w / factor, c] is x made smaller.

    "area" is the mean of the pixels that fall together, rounded (half up). "bicubic" is Pillow's, bit for bit: Keys'
    kernel with a = -1/2, widened by `factor` against aliasing. "matlab" is `imresize`, by which super-resolution is
    measured: the same kernel, but the border is mirrored, where Pillow leaves out what lies beyond, and columns come
    before rows. Both round after each axis (MATLAB doesn't where pictures are floats). Raises UserError where x is no
    picture, or its sides aren't whole multiples of `factor`.
    """
    suit(source, "shrunk", PICTURES, "source")

    def fields(split):
        *frames, h, w, c = split.shape
        if factor < 2 or h % factor or w % factor:
            raise UserError(f"{source.name} is {h}x{w}: a factor of 2 or more has to divide both; data.cut cuts it so.")
        if way == "matlab" and factor > 16:
            raise UserError(f"pictures are shrunk as by MATLAB by a factor of up to 16, not {factor}.")
        return {"source": Field((*frames, h // factor, w // factor, c), split.kind)}

    smaller = {"area": filters.area, "bicubic": filters.bicubic, "matlab": filters.matlab}[way]
    change = lambda batch, *_: {"source": decoded(smaller(colours.levels(batch["x"]), factor))}
    return wrapped(source, "shrunk", fields, change)


@functools.cache
def grey(source: Source) -> Source:
    """Return the source for colouring: `source` [h, w, 1] is the luma of x (ITU-R BT.601, as Pillow's mode "L").

    Raises UserError where x has no colours.
    """
    suit(source, "made grey", PICTURES, "source")
    if source.shape[-1] != 3:
        raise UserError(f"{source.name} has no colours that could be taken out; choose a set that has.")
    change = lambda batch, *_: {"source": decoded(colours.luma(colours.levels(batch["x"])))}
    return wrapped(source, "grey", lambda split: {"source": Field((*split.shape[:-1], 1), split.kind)}, change)


@functools.cache
def edges(source: Source, thin: bool = False) -> Source:
    """Return the source for edges to photographs: `source` [h, w, 1] is the edges of x, -1 where there are none.

    They are the length of the Sobel gradient of the luma, 1 for a step from black to white. thin: lines of one pixel, 1
    on them, in Canny's way (1986): blurred with 1 4 6 4 1, kept where the length is above 200 / 1020 and the largest
    across the edge, and where it is above 100 / 1020 and such a line goes on. Raises UserError where x is no image.
    """
    suit(source, "drawn as edges", ("image",), "source")
    drawn = filters.thin_edges if thin else filters.sobel
    change = lambda batch, *_: {"source": decoded(drawn(colours.luma(colours.levels(batch["x"]))[..., 0]))}
    return wrapped(source, "edges", lambda split: {"source": Field((*split.shape[:2], 1), "image")}, change)


@functools.cache
def turned(source: Source) -> Source:
    """Return the source of pairs that are known: `source` [w, h, c] is x turned by a quarter, anticlockwise.

    Raises UserError where x is no picture.
    """
    suit(source, "turned", PICTURES, "source")

    def fields(split):
        *frames, h, w, c = split.shape
        return {"source": Field((*frames, w, h, c), split.kind)}

    return wrapped(source, "turned", fields, lambda batch, *_: {"source": jnp.rot90(batch["x"], 1, (-3, -2))})


@functools.cache
def halved(source: Source) -> Source:
    """Return the source of pairs out of points: x is the second half of a point's numbers, `source` the first.

    Raises UserError where x is no point, or its numbers can't be halved.
    """
    suit(source, "halved", ("points",), "source")
    (n,) = source.shape
    if n % 2:
        raise UserError(f"{source.name} has points of {n} numbers, which can't be halved.")
    half = Field((n // 2,), "points")
    change = lambda batch, *_: {"source": batch["x"][:, : n // 2], "x": batch["x"][:, n // 2 :]}
    return wrapped(source, "halved", lambda split: {"x": half, "source": half}, change, "halved", modes=None)


@functools.cache
def painted(source: Source) -> Source:
    """Return the source for labels to photographs: `source` [h, w, 3] is y, a label for each pixel, in colours.

    The colours are those of PASCAL VOC (`colours.of_labels`). Raises UserError where y is no map of labels.
    """
    suit(source, "painted", None, "source")
    y = _map_of_labels(source)

    fields = lambda split: {"source": Field((*split.fields["y"].shape, 3), "image")}
    return wrapped(source, "painted", fields, lambda batch, *_: {"source": in_colours(batch["y"], y.classes)})


@functools.cache
def mapped(source: Source) -> Source:
    """Return the source for photographs to labels: x [h, w, 3] is y in the colours of `painted`, `source` what x was.

    Raises UserError where x is no image, or y no map of labels.
    """
    suit(source, "mapped", ("image",))
    painting = painted(source)
    fields = lambda split: {"x": split.fields["source"], "source": split.fields["x"]}
    change = lambda batch, *_: {"x": batch["source"], "source": batch["x"]}
    return wrapped(painting, "mapped", fields, change, "mapped", modes=None)


@functools.cache
def regions(source: Source, side: int, least: float = 1.5, most: float = 2.5) -> Source:
    """Return the source of regions of interest: squares around one thing of each picture, resized to `side` pixels.

    The old y says which thing each pixel is of, 0 for none. The new one is 1 where the region's own thing is, 0 where
    others are. A thing is drawn by its pixels, so large ones come more often. The side of its square is `least` to
    `most` times the longer side of its box, drawn evenly. The thing is in the middle, unless the square had to be moved
    or shortened to lie within the picture. Pixels are means by area; y is 1 where at least half of one is the thing. A
    picture without things gives its middle. Raises UserError where y is no map of labels, there are no such squares, or
    the row has another picture.
    """
    suit(source, "cut into regions", ("image",))
    if _map_of_labels(source).shape != source.shape[:2] or _with_pixels(source).keys() != {"x", "y"}:
        raise UserError(f"{source.name} has pictures or labels besides x and those of its pixels: cut regions first.")
    if side < 1 or not 1 <= least <= most:
        raise UserError(f"regions have pixels, and are as long as a thing or longer: not {side}, {least} to {most}.")
    if min(source.shape[:2]) > 2048:
        raise UserError(f"regions are cut out of pictures of up to 2048 pixels a side: {source.name} is larger.")

    def change(batch, uniform, _):
        (_, h, w), u = batch["y"].shape, uniform(2)
        thing = _one_thing(batch["y"], u[:, 0])
        along = thing.any(2), thing.any(1)
        first = jnp.stack([there.argmax(1) for there in along], 1).astype(np.int32)  # [b, (y, x)]
        end = np.int32([[h, w]]) - jnp.stack([there[:, ::-1].argmax(1) for there in along], 1).astype(np.int32)
        low, high = (jnp.floor((end - first).max(1) * np.float32(factor)).astype(np.int32) for factor in (least, most))
        sizes = jnp.minimum(low + chance.below(u[:, 1], high - low + 1), np.int32(min(h, w)))
        starts = jnp.clip((first + end - sizes[:, None]) // 2, 0, np.int32([[h, w]]) - sizes[:, None])
        y = filters.squares(thing[..., None].astype(np.int32), starts, sizes, side)[..., 0]
        return {"x": decoded(filters.squares(colours.levels(batch["x"]), starts, sizes, side)), "y": y}

    def fields(split):
        y = dataclasses.replace(split.fields["y"], shape=(side, side), classes=2, names=())
        return {"x": Field((side, side, split.shape[-1]), "image"), "y": y}

    return wrapped(source, "regions", fields, change, f"regions{side}-{least}-{most}", modes=None)


def _one_thing(y, u):
    """Return where the thing of a drawn pixel is, of all pixels of things: y [b, h, w], u [b] -> bool [b, h, w]."""
    flat = y.reshape(len(y), -1)
    before = (flat != 0).cumsum(1, dtype=np.int32)
    at = (before > chance.below(u, before[:, -1])[:, None]).argmax(1)
    label = jnp.take_along_axis(flat, at[:, None], 1)[:, :, None]
    return (y == label) & (y != 0)


def in_colours(y: jax.Array, classes: int) -> jax.Array:
    """Return labels y [...], of so many classes, in colours [..., 3] in [-1, 1]."""
    return decoded(jnp.asarray(colours.of_labels(classes))[y])


@functools.cache
def paired(a: Source, b: Source) -> Source:
    """Return b with the x of a as `source`: record k of a belongs to record k of b, held out or not.

    Everything but `source` is b's: the order, labels, modes, name, fingerprint. Sets without pairs are for `join`.
    Raises UserError where the two haven't as many records.
    """
    suit(a, "paired")
    suit(b, "paired", None, "source")
    if not a.n or a.n != b.n:
        raise UserError(f"{a.name} has {a.n} records and {b.name} has {b.n}: they can't be paired one by one.")

    def make(raw, *key_i_b):
        rest = {name: value for name, value in raw.items() if name != "source"}
        return b.make(rest, *key_i_b) | {"source": a.make(raw["source"], *key_i_b)["x"]}

    return dataclasses.replace(
        b,
        fields=b.fields | {"source": a.fields["x"]},
        read=lambda indices: b.read(indices) | {"source": a.read(indices)},
        whole=lambda: b.whole() | {"source": a.whole()},
        make=make,
        test=paired(a.test, b.test) if a.test and b.test else None,
        nbytes=a.nbytes + b.nbytes,
    )


def matching(source: Source) -> Source:
    """Return the source of pairs; UserError where x and `source` are not alike in kind and shape, colours included."""
    x, other = (source.fields[name] for name in ("x", "source"))
    if (x.kind, x.shape) != (other.kind, other.shape):
        raise UserError(f"{source.name} has pairs of {x.shape} and {other.shape}: both have to be alike, colours too.")
    return source


@functools.cache
def cut(source: Source, size: int, flip: bool = False) -> Source:
    """Return the source whose pictures are squares of `size` pixels, cut out anywhere; held out, out of the middle.

    flip: every second picture is mirrored, of those that aren't held out. All pictures of a row, and labels of its
    pixels, are cut and mirrored alike; what is shrunk is to be shrunk afterwards. Raises UserError where x is no
    picture, or too small, or another picture of the row has other sides.
    """
    suit(source, "cut", PICTURES)

    def fields(split):
        found = _with_pixels(split)
        for name, field in found.items():
            (h, w), _ = sides = _sides_of(field), _sides_of(split.fields["x"])
            if not 0 < size <= min(h, w):
                raise UserError(f"{source.name} is {h}x{w}, too small to cut {size} out.")
            if len(set(sides)) > 1:
                raise UserError(f"{source.name} has pictures x and {name} of two sizes: cut first, then shrink.")
        squares = {name: _at_sides(field, field.shape, (size, size)) for name, field in found.items()}
        return {name: dataclasses.replace(field, shape=squares[name]) for name, field in found.items()}

    def change(batch, uniform, held_out):
        (h, w), alike = batch["x"].shape[-3:-1], _with_pixels(source)

        def one(u, row):
            top, left, mirror = chance.below(u[0], h - size + 1), chance.below(u[1], w - size + 1), flip & (u[2] < 0.5)
            if held_out:
                top, left, mirror = (h - size) // 2, (w - size) // 2, False
            return {name: _window(field, row[name], (top, left), (size, size), mirror) for name, field in alike.items()}

        return jax.vmap(one)(uniform(3), {name: batch[name] for name in alike})

    return wrapped(source, "cut", fields, change, f"cut{size}{'-flip' * flip}", modes=None)


@functools.cache
def framed(source: Source, top: int, left: int, side: int) -> Source:
    """Return the source whose pictures are squares of `side` pixels of the old ones, from that place on.

    All pictures of a row, and labels of its pixels, are cut alike. Raises UserError where x is no picture, or one of
    these does not reach so far.
    """
    suit(source, "framed", PICTURES)

    def fields(split):
        found = _with_pixels(split)
        for name, field in found.items():
            h, w = _sides_of(field)
            if side < 1 or top + side > h or left + side > w:
                raise UserError(f"{name} of {source.name} is {h}x{w}: no square of {side} from {top}, {left} on.")
        return {
            name: dataclasses.replace(field, shape=_at_sides(field, field.shape, (side, side)))
            for name, field in found.items()
        }

    def change(batch, *_):
        cut = lambda field, a: jax.vmap(lambda a: _window(field, a, (top, left), (side, side), False))(a)
        return {name: cut(field, batch[name]) for name, field in _with_pixels(source).items()}

    return wrapped(source, "framed", fields, change, f"framed{top}-{left}-{side}", modes=None)


@functools.cache
def mirrored(source: Source, field: str, which: int) -> Source:
    """Return the source whose pictures are mirrored where the label `field` is `which`.

    All pictures of a row, and labels of its pixels, are. Raises UserError where x is no picture, or there is no such
    label.
    """
    suit(source, "mirrored", PICTURES)
    label = source.fields.get(field)
    if label is None or label.kind != "label" or label.shape or not 0 <= which < label.classes:
        raise UserError(f"{source.name} has no {which} among the values of a label {field}, by which to mirror.")

    def change(batch, *_):
        def one(label, row):
            whole = lambda f, a: _window(f, a, (0, 0), _sides_of(f), label == which)
            return {name: whole(f, row[name]) for name, f in alike.items()}

        alike = _with_pixels(source)
        return jax.vmap(one)(batch[field], {name: batch[name] for name in alike})

    return wrapped(source, "mirrored", lambda split: {}, change, f"mirrored-{field}{which}", modes=None)


@functools.cache
def jittered(source: Source, factor: float = 286 / 256, flip: bool = True) -> Source:
    """Return the source whose pictures are enlarged and cut to their old size again, anywhere; none that is held out.

    flip: every second one is mirrored. All pictures of a row, and labels of its pixels, are treated alike; pictures are
    enlarged in Pillow's bilinear way, labels to the nearest. It is the jitter of pix2pix (Isola et al. 2017, arXiv
    1611.07004). Raises UserError where x is no picture, another picture of the row has other sides or is a mask, or
    `factor` is below 1.
    """
    suit(source, "jittered", PICTURES)
    if not 1 <= factor <= 8:
        raise UserError(f"pictures are jittered by a factor from 1 to 8, not {factor}.")
    if "mask" in source.fields:
        raise UserError(f"{source.name} has a mask, which is no picture: jitter first, then mask.")
    alike, (h, w) = _with_pixels(source), source.shape[-3:-1]
    if others := [name for name, field in alike.items() if _sides_of(field) != (h, w)]:
        raise UserError(f"{source.name} has pictures x and {others[0]} of two sizes: jitter first, then shrink.")
    sides = round(h * factor), round(w * factor)

    def larger(field, a):
        if field.kind in PICTURES:
            return decoded(filters.enlarged(colours.levels(a), sides))
        return filters.nearest(a, sides)

    def change(batch, uniform, held_out):
        if held_out:
            return {}
        u = uniform(3)
        starts = chance.below(u[:, 0], sides[0] - h + 1), chance.below(u[:, 1], sides[1] - w + 1)
        mirror = flip & (u[:, 2] < 0.5)
        return {
            name: jax.vmap(lambda a, at, m, field=field: _window(field, a, at, (h, w), m))(
                larger(field, batch[name]), starts, mirror
            )
            for name, field in alike.items()
        }

    said = f"jittered{sides[0]}x{sides[1]}{'-flip' * flip}"
    return wrapped(source, "jittered", lambda split: {}, change, said, modes=None)


def _with_pixels(source):
    """Return the fields of a source that are pictures or labels of pixels."""
    return {name: field for name, field in source.fields.items() if _has_pixels(field)}


def _window(field, a, starts, sides, mirror):
    """Return the window at `starts` (y, x) of a picture, a video or a map of labels; where `mirror` is, mirrored."""
    at = [jnp.int32(i) for i in _at_sides(field, (0,) * a.ndim, starts)]  # of one type, under JAX_ENABLE_X64 too
    a = jax.lax.dynamic_slice(a, at, _at_sides(field, a.shape, sides))
    return jnp.where(mirror, jnp.flip(a, a.ndim - 1 - (field.kind in PICTURES)), a)


def _has_pixels(field):
    return field.kind in PICTURES or (field.kind == "label" and len(field.shape) == 2)


def _sides_of(field):
    """Return (h, w) of a picture, a video or the labels of pixels."""
    return field.shape[-3:-1] if field.kind in PICTURES else field.shape


def _at_sides(field, values, sides):
    """Return the values, one for each axis of such a field, with those of its height and width replaced."""
    return (*values[:-3], *sides, values[-1]) if field.kind in PICTURES else sides


@functools.cache
def dequantised(source: Source) -> Source:
    """Return the source whose pictures have lost their levels: x is 2 (v + u) / 256 - 1, u uniform in [0, 1).

    v is the level, 0 to 255. What has a density asks for it (Uria, Murray and Larochelle 2013, arXiv 1306.0186). Raises
    UserError where x is no picture.
    """
    suit(source, "dequantised", PICTURES)

    def change(batch, uniform, _):
        v = colours.levels(batch["x"])
        u = uniform(*v.shape[1:])
        return {"x": (2 * jnp.minimum(v + u, np.nextafter(np.float32(256), np.float32(0))) - 256) * np.float32(1 / 256)}

    return wrapped(source, "dequantised", lambda split: {}, change, "dequantised")


@functools.cache
def standardised(source: Source) -> Source:
    """Return the source of rows whose columns have mean 0 and deviation 1 over the training split.

    Those that are held out are moved and scaled alike; a column that never changes becomes 0. The field's `undo` takes
    x [..., c] back to the units of the records. Raises UserError where x is no row.
    """
    suit(source, "standardised", ("row",))

    @functools.cache
    def statistics():
        with jax.ensure_compile_time_eval():
            x = np.asarray(source.make(source.whole(), jax.random.key(0), 0, source.n)["x"], np.float64)
        return np.float32(x.mean(0)), np.float32(np.where(np.ptp(x, 0) > 0, x.std(0), 1))

    def change(batch, *_):
        mean, deviation = (_beside(a, batch["x"]) for a in statistics())
        return {"x": (batch["x"] - mean) / deviation}

    def undo(x):
        mean, deviation = (_beside(a, x) for a in statistics())
        return x * deviation + mean

    fields = lambda split: {"x": dataclasses.replace(split.fields["x"], dtype=np.float32, undo=undo)}
    return wrapped(source, "standardised", fields, change, "standardised", modes=None)


@functools.cache
def binarised(source: Source) -> Source:
    """Return the source whose x is 1 where it was brighter than half, and -1 elsewhere.

    Raises UserError where x is no picture.
    """
    suit(source, "binarised", PICTURES)
    change = lambda batch, *_: {"x": jnp.where(batch["x"] > 0, np.float32(1), np.float32(-1))}
    return wrapped(source, "binarised", lambda split: {}, change, "binarised", modes=None)


def decoded(v: jax.Array) -> jax.Array:
    """Return levels v, whole numbers from 0 to 255, as pictures in [-1, 1]."""
    return decode(v.astype(np.uint8))


def _beside(a, of):
    """Return a with axes of 1 in front, as many axes as `of` has."""
    return a.reshape((1,) * (of.ndim - a.ndim) + a.shape)


# What recipes share


def _map_of_labels(source):
    """Return the field of labels of pixels y; raise UserError where there is none, or one label for all pixels."""
    y = source.fields.get("y")
    if y is None or y.kind != "label" or len(y.shape) != 2:
        raise UserError(f"{source.name} has no label for each pixel: choose one, y=FEATURE:label, after its name.")
    if y.classes == 1:
        raise UserError(f"{source.name} has the same label for all pixels: there is nothing to tell apart.")
    return y


def wrapped(source: Source, name: str, fields: Callable, change: Callable, said: str = "", **others: Any) -> Source:
    """Return the source whose batches are the old ones and what `change` makes of them; held-out ones likewise.

    fields: split -> the fields that are new. change: (batch, uniform, whether the split is held out) -> what is new;
    uniform is what `chance.of_batch` returns, or `chance.of_records`. said: what the fingerprint says of it. others:
    more of the new source.
    """

    def of(split, held_out):
        def make(raw, key, i, b):
            batch = split.make(raw, key, i, b)
            x = batch["x"]
            uniform = chance.of_records(name, colours.levels(x)) if held_out else chance.of_batch(key, i, name, len(x))
            return batch | change(batch, uniform, held_out)

        fingerprint = f"{split.fingerprint}-{said}" if split.fingerprint and said else split.fingerprint
        judge = None if "modes" in others else split.judge  # neither is known of another x
        return dataclasses.replace(
            split, fields=split.fields | fields(split), make=make, fingerprint=fingerprint, judge=judge, **others
        )

    return dataclasses.replace(of(source, False), test=source.test and of(source.test, True))


def suit(source: Source, recipe: str, kinds: tuple[str, ...] | None = None, *new: str) -> None:
    """Raise UserError where a recipe doesn't suit a source, or would take the place of one of its fields."""
    if isinstance(source.fields["x"], dict):
        raise UserError(f"{source.name} is several sets side by side, which can't be {recipe}: do so before data.join.")
    if kinds and source.kind not in kinds:
        raise UserError(f"{source.name} can't be {recipe}: its x is of kind {source.kind}, not {' or '.join(kinds)}.")
    for name in new:
        if name in source.fields:
            raise UserError(f"{source.name} can't be {recipe}: it has a field called {name} already.")
