"""Pictures with boxes around what is in them: the records of detection sets, windows of them, and drawn shapes.

A box is (top, left, bottom, right) in parts of the picture's sides, as TFDS has it. A field `box` [m, 4] holds those of
a picture, and `y` [m] their classes: -1 where there is none, since pictures hold more and fewer things.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import chance, colours, filters, stored
from gan_jax.data.builders import found
from gan_jax.data.composed import of_arrays
from gan_jax.data.recipes import decoded, suit, wrapped
from gan_jax.data.sets import DATASETS, chosen, load
from gan_jax.data.source import Field, Source
from gan_jax.errors import UserError

SHAPES = "disc", "square", "cross"
CLUTTERED = {"cluttered_mnist": "mnist", "cluttered_digits": "digits"}  # whose digits they show


@functools.cache
def boxed(name: str) -> Source:
    """Return a set of pictures x [h, w, c] with boxes `box` [m, 4] and their classes y [m], -1 where there is no box.

    name: "strewn_shapes" or "cluttered_digits", which need no download, "cluttered_mnist", or a TFDS set with the
    features objects/bbox and objects/label, of pictures of one size; a split, a test and a length m may be chosen after
    it. m is by default the most boxes that a picture of the training split has; what is over is left out. Raises
    UserError where there is no such set.
    """
    bare, said = chosen(name)
    if bare == "strewn_shapes" and not said:
        return strewn()
    if bare in CLUTTERED and not said:
        return cluttered(bare, load(CLUTTERED[bare]))
    if more := said.keys() - {"split", "test", "length"}:
        raise UserError(f"{bare} with its boxes leaves no choice of {', '.join(sorted(more))}.")
    source = load(f"{name},x=image,box=objects/bbox,y=objects/label")
    suit(source, "boxed", ("image",))
    label = stored.flat(found(bare, DATASETS)[0])["objects/label"].connector.feature
    (m, _) = source.fields["box"].shape
    y = Field((m,), "label", np.int32, label.num_classes, tuple(label.names))
    fields = {"x": source.fields["x"], "box": Field((m, 4), "series"), "y": y}

    def made(raw):
        there = raw["box_mask"] & raw["y_mask"]
        box = np.clip(np.where(there[..., None], raw["box"], 0), 0, 1)
        return {"x": raw["x"], "box": box, "y": np.where(there, raw["y"][..., 0], -1)}

    def of(split):
        return dataclasses.replace(
            split,
            fields=fields,
            read=lambda indices: made(split.read(indices)),
            whole=lambda: made(split.whole()),
            test=split.test and of(split.test),
        )

    return of(source)


@functools.cache
def windows(source: Source, sides: tuple[int, int], factors: tuple[int, ...] = (1,), flip: bool = True) -> Source:
    """Return the source whose pictures x [*sides, c] are windows of the old ones, shrunk by one of these factors.

    Which factor, and where, is drawn; with flip every second one is mirrored, of those that aren't held out. A box is
    cut to the window, and left out where less than half of it is inside. So one window of 60x80 shows few things that
    are large, and another one many small ones. Raises UserError where there are no boxes, or a window is too large.
    """
    suit(source, "seen through windows", ("image",))
    if "box" not in source.fields:
        raise UserError(f"{source.name} has no boxes around things: choose a set that has, with data.boxed.")
    H, W, c = source.shape
    if min(*sides, *factors, bool(factors)) < 1 or sides[0] * max(factors) > H or sides[1] * max(factors) > W:
        said = f"windows of {sides[0]}x{sides[1]}, shrunk by {' or '.join(map(str, factors)) or 'nothing'}"
        raise UserError(f"{source.name} is {H}x{W}: it has no {said}.")

    def change(batch, uniform, held_out):
        u, x = uniform(4), colours.levels(batch["x"])
        which = chance.below(u[:, 0], len(factors))
        factor = jnp.asarray(factors, np.int32)[which]
        size = factor[:, None] * np.int32(sides)[None]  # [b, (h, w)]
        start = chance.below(u[:, 1:3], np.int32([[H, W]]) - size + 1)
        mirror = jnp.logical_and(flip and not held_out, u[:, 3] < 0.5)

        def one(x, at, which, mirror):
            cut = lambda f: (
                lambda: filters.area(jax.lax.dynamic_slice(x, (*at, jnp.int32(0)), (sides[0] * f, sides[1] * f, c)), f)
            )
            x = jax.lax.switch(which, [cut(f) for f in factors])
            return jnp.where(mirror, x[:, ::-1], x)

        # a subtraction before the product: nothing that a program may fuse and so round otherwise
        scale = np.float32([[H, W]]) / size
        moved = (batch["box"] - jnp.tile(start / np.float32([[H, W]]), 2)[:, None]) * jnp.tile(scale, 2)[:, None]
        box = jnp.clip(moved, 0, 1)
        inside = (batch["y"] >= 0) & (2 * area(box) >= area(moved)) & (area(box) > 0)
        turned = jnp.stack([box[..., 0], 1 - box[..., 3], box[..., 2], 1 - box[..., 1]], -1)
        box = jnp.where(inside[..., None], jnp.where(mirror[:, None, None], turned, box), 0)
        return {
            "x": decoded(jax.vmap(one)(x, start, which, mirror)),
            "box": box,
            "y": jnp.where(inside, batch["y"], -1),
        }

    said = f"windows{sides[0]}x{sides[1]}-{'-'.join(map(str, factors))}{'-flip' * flip}"
    return wrapped(source, "windows", lambda split: {"x": Field((*sides, c), "image")}, change, said, modes=None)


def area(box: jax.Array) -> jax.Array:
    """Return the areas [...] of boxes [..., 4]; 0 of those that are turned inside out."""
    return jnp.maximum(box[..., 2] - box[..., 0], 0) * jnp.maximum(box[..., 3] - box[..., 1], 0)


def strewn(n: int = 200, held_out: int = 50, side: int = 32, most: int = 4) -> Source:
    """Return n noisy grey pictures [side, side, 1] with 1 to `most` bright discs, squares and crosses, and their boxes.

    Sides are 4 to 16 pixels, and whole. Later ones lie over those before. `held_out` more are the test split. All are
    the same in every process.
    """
    generator = np.random.default_rng(0)
    rows = [_picture(generator, side, most) for _ in range(n + held_out)]
    raw = {name: np.stack(one) for name, one in zip(("x", "box", "y"), zip(*rows, strict=True), strict=True)}
    y = Field((most,), "label", np.int32, len(SHAPES), SHAPES)
    fields = {"x": Field((side, side, 1), "image"), "box": Field((most, 4), "series"), "y": y}
    test = of_arrays("strewn_shapes", fields, {k: a[n:] for k, a in raw.items()})
    return of_arrays("strewn_shapes", fields, {k: a[:n] for k, a in raw.items()}, test)


def _picture(generator, side, most):
    """Return (x, box, y) of one picture."""
    x = generator.integers(0, 80, (side, side, 1)).astype(np.uint8)
    box, y = np.zeros((most, 4), np.float32), np.full(most, -1, np.int32)
    for k in range(generator.integers(1, most + 1)):
        size, y[k] = 2 * generator.integers(2, side // 4 + 1), generator.integers(len(SHAPES))
        top, left = generator.integers(side - size + 1, size=2)
        far = np.abs(np.indices((size, size)) + 0.5 - size / 2) / size  # from the middle, in sides
        drawn = {"disc": (far**2).sum(0) <= 0.25, "square": far.max(0) <= 0.5, "cross": far.min(0) <= 0.17}[
            SHAPES[y[k]]
        ]
        x[top : top + size, left : left + size][drawn] = generator.integers(160, 256)
        box[k] = np.float32([top, left, top + size, left + size]) / side
    return x, box, y


def cluttered(name: str, digits: Source, n: int = 1000, held_out: int = 200, most: int = 4, pieces: int = 24) -> Source:
    """Return n black pictures [3 s, 3 s, 1] with 1 to `most` digits of s pixels, and the boxes of their ink.

    They stand about in nine places, among `pieces` squares of a third of s that are cut out of other digits; where
    things meet the brighter one is seen. `held_out` more pictures, of digits that are held out, are the test split. All
    are the same in every process.
    """
    generator = np.random.default_rng(0)

    def split(source, n):
        x, y = map(source.whole().get, "xy")
        rows = [_clutter(generator, x, y, most, pieces) for _ in range(n)]
        return {of: np.stack(one) for of, one in zip(("x", "box", "y"), zip(*rows, strict=True), strict=True)}

    names, side = tuple(map(str, range(digits.classes))), 3 * digits.shape[0]
    y = Field((most,), "label", np.int32, digits.classes, names)
    fields = {"x": Field((side, side, 1), "image"), "box": Field((most, 4), "series"), "y": y}
    train = split(digits, n)
    return of_arrays(name, fields, train, of_arrays(name, fields, split(digits.test, held_out)))


def _clutter(generator, digits, labels, most, pieces):
    """Return (x, box, y) of one picture."""
    s = digits.shape[1]
    x, part = np.zeros((3 * s, 3 * s), np.uint8), s // 3
    box, y = np.zeros((most, 4), np.float32), np.full(most, -1, np.int32)

    def put(ink, top, left):
        at = x[top : top + len(ink), left : left + len(ink)]
        np.maximum(at, ink, out=at)

    for _ in range(pieces):
        down, right = generator.integers(s - part + 1, size=2)
        piece = digits[generator.integers(len(digits)), down : down + part, right : right + part, 0]
        put(piece, *generator.integers(3 * s - part + 1, size=2))
    for k, place in enumerate(generator.permutation(9)[: generator.integers(1, most + 1)]):
        which, off = generator.integers(len(digits)), generator.integers(-(s // 4), s // 4 + 1, size=2)
        ink = digits[which, ..., 0]
        corner = np.clip(s * np.array(divmod(place, 3)) + off, 0, 2 * s)
        put(ink, *corner)
        ends = [(rows[0], rows[-1] + 1) for rows in (np.flatnonzero(ink.any(axis)) for axis in (1, 0))]
        box[k] = np.float32(np.tile(corner, 2) + np.transpose(ends).ravel()) / (3 * s)
        y[k] = labels[which]
    return x[..., None], box, y


def anchors(h: int, w: int, sides: tuple[int, ...]) -> np.ndarray:
    """Return squares [n, 4] all over a picture of h x w pixels, in parts of its sides: of each side every half of it.

    They begin at the upper left corner, and those that reach beyond the other edges are cut there. Raises UserError
    where there are none.
    """
    if min(sides, default=0) < 1:
        raise UserError(f"squares have sides from 1 pixel on, not {', '.join(map(str, sides)) or 'none'}.")
    rows = [
        (y, x, min(y + side, h), min(x + side, w))
        for side in sides
        for y in range(0, max(h - side // 2, 1), max(side // 2, 1))
        for x in range(0, max(w - side // 2, 1), max(side // 2, 1))
    ]
    return np.float32(rows) / np.float32([h, w, h, w])
