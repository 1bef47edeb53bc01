"""Arrays of your own: an .npy or an .npz, checked, and as pictures, points or rows."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gan_jax.data.listing import in_order, shown
from gan_jax.errors import UserError, first_line, printable

ROWS = 1024  # looked at, at once
MAGIC = b"\x93NUMPY"  # an .npy begins with
CHANNELS = (1, 3, 4)


class Given(NamedTuple):
    """What a file holds: of each split x [n, ...] and y [n] (None: no labels), and how x is read."""

    splits: dict[str, tuple[Any, Any]]
    kind: str  # image, points or row
    names: list[str]  # of the labels
    scale: tuple[float, float] | None  # of pictures: x * scale[0] + scale[1] in [-1, 1]; None: uint8 in [0, 255]
    times: int  # of pictures in uint8: x * times
    first: bool  # channels stand in front of height and width
    notes: list[str]


def opened(path: str) -> Given:
    """Return what an .npy or .npz holds: points [n, 2], rows [n, c] or pictures [n, h, w], [n, h, w, c], [n, c, h, w].

    Of an .npz x and, where it is there, y (x_train, y_train, x_test and y_test as well), or else the first array.
    Raises UserError where it can't be read, or holds what is none of these: objects, NaN, pictures out of range.
    """
    splits, notes = _arrays(path)
    path = printable(path)
    x = splits["train"][0]
    kind, first = _kind(path, x.shape)
    notes += [f"x {list(x.shape)} is taken as [n, c, h, w]"] * first
    for split, (other, y) in splits.items():
        if other.shape[1:] != x.shape[1:] or len(other) == 0:
            raise UserError(f"{path}: x of {split} is {list(other.shape)}, x of train {list(x.shape)}.")
        if y is not None and (y.shape != (len(other),) or y.dtype.kind not in "biuU"):
            form = f"{y.dtype} {list(y.shape)}"
            raise UserError(f"{path}: y of {split} is {form}; it must be [{len(other)}], whole numbers or words.")
    labels = [y for _, y in splits.values()]
    if len({y is None for y in labels}) > 1:
        raise UserError(f"{path} has labels of one split and not of the other.")
    names = in_order(v for y in labels for v in np.unique(y).tolist()) if labels[0] is not None else []
    if any(not isinstance(name, str) and name < 0 for name in names):
        raise UserError(f"{path}: y holds {names[0]}; labels are whole numbers from 0, or words.")
    least, most = _range(path, [x for x, _ in splits.values()])
    scale, times = _scale(path, x.dtype, least, most, notes) if kind == "image" else ((1.0, 0.0), 1)
    return Given(splits, kind, [str(name) for name in names], scale, times, first, notes)


def rows(given: Given, split: str) -> Iterator[np.ndarray]:
    """Yield the rows of x of a split: pictures [h, w, c], uint8 or float32 in [-1, 1]; points and rows [c], float32."""
    x = given.splits[split][0]
    for start in range(0, len(x), ROWS):
        part = np.asarray(x[start : start + ROWS])
        if given.kind == "image":
            part = part[..., None] if part.ndim == 3 else np.moveaxis(part, 1, -1) if given.first else part
        if given.scale is None:
            part = (part * np.uint8(given.times)).astype(np.uint8)
        else:
            part = (part.astype(np.float64) * given.scale[0] + given.scale[1]).astype(np.float32)
        yield from part


def labels(given: Given, split: str) -> list[int] | None:
    """Return y of a split, as positions among the names."""
    y = given.splits[split][1]
    if y is None:
        return None
    at = {name: i for i, name in enumerate(given.names)}
    return [at[str(value)] for value in y.tolist()]


def _arrays(path) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """Return ({split: (x, y)}, lines to say) of a file."""
    try:
        with open(path, "rb") as file:
            alone = file.read(len(MAGIC)) == MAGIC
        if alone:  # its rows are read when they are needed
            return {"train": (np.load(path, mmap_mode="r", allow_pickle=False), None)}, []
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            names = found.files
            train = next((n for n in ("x", "x_train") if n in names), names[0] if names else None)
            if train is None:
                raise UserError(f"{printable(path)} holds no array.")
            of = lambda x, y: (found[x], _flat(found[y]) if y in names else None)
            splits = {"train": of(train, "y_train" if train == "x_train" else "y")}
            splits |= {"test": of("x_test", "y_test")} if "x_test" in names else {}
            if not all(isinstance(x, np.ndarray) for x, _ in splits.values()):
                raise ValueError("it is a zip of other files")
    except UserError:
        raise
    except Exception as error:  # a file that was made elsewhere may be wrong in any way
        objects = any(word in str(error) for word in ("Object arrays", "Python objects", "pickled"))
        reason = "it is no array of numbers (objects are not read)" if objects else first_line(error)
        raise UserError(f"{printable(path)} can't be read: {reason}.") from None
    used = {train, *(n for n in ("y", "y_train", "x_test", "y_test") if n in names)}
    over = [name for name in names if name not in used]
    return splits, [f"{train} is taken as x"] * (train != "x") + [f"left out: {shown(over)}"] * (len(over) > 0)


def _flat(y):
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _kind(path, shape) -> tuple[str, bool]:
    """Return (kind, whether channels stand first) of x of this shape."""
    n, *rest = shape or (0,)
    if len(rest) == 1 and n and rest[0]:
        return ("points" if rest[0] == 2 else "row"), False
    if len(rest) == 2 and rest[0] > 4 >= rest[1] > 2:  # not n pictures of so few columns
        raise UserError(f"{path}: x is {list(shape)}, one picture as it seems; pictures in colours are [n, h, w, c].")
    if len(rest) == 2 or (len(rest) == 3 and rest[2] in CHANNELS):
        sides, first = rest[:2], False
    elif len(rest) == 3 and rest[0] in (1, 3):
        sides, first = rest[1:], True
    else:
        sides = []
    if not n or not math.prod(sides) or not sides:
        raise UserError(
            f"{path}: x is {list(shape)}. Points are [n, 2], rows [n, c], pictures [n, h, w], [n, h, w, c] or "
            f"[n, c, h, w], with 1, 3 or 4 channels."
        )
    return "image", first


def _range(path, arrays) -> tuple[float, float]:
    """Return the least and the largest number. Raises UserError where there is a NaN or an infinite one, or none."""
    if any(x.dtype.kind not in "biuf" for x in arrays):
        raise UserError(f"{path}: x is {arrays[0].dtype}; it must be numbers: uint8, or floats.")
    parts = (np.asarray(x[start : start + ROWS]) for x in arrays for start in range(0, len(x), ROWS))
    ends = np.array([(part.min(), part.max()) for part in parts], np.float64)
    if not (np.abs(ends) <= np.finfo(np.float32).max).all():  # NaN is its own least and largest
        raise UserError(f"{path}: x holds {'NaN' if np.isnan(ends).any() else 'infinite numbers, or nearly so'}.")
    return ends[:, 0].min(), ends[:, 1].max()


def _scale(path, dtype, least, most, notes) -> tuple[tuple[float, float] | None, int]:
    """Return (scale, times) of pictures with numbers from least to most; say in `notes` what they are taken for."""
    if dtype.kind == "f" and least >= -1 and most <= 1:
        of_unit = least >= 0
        notes.append(f"floats in {'[0, 1]' if of_unit else '[-1, 1]'}: black is {0 if of_unit else -1}, white is 1")
        return ((2.0, -1.0) if of_unit else (1.0, 0.0)), 1
    if dtype.kind != "f" and least >= 0 and most <= 255:
        two = most <= 1
        notes += ["only 0 and 1: 0 is black, 1 is white"] * bool(two)
        return None, 255 if two else 1
    raise UserError(
        f"{path}: pictures are uint8, or floats in [0, 1] or [-1, 1]; x is {dtype} from {least:g} to {most:g}."
    )
