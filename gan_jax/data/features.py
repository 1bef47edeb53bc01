"""What a feature of a TFDS set becomes: fields of a batch, each with the function that makes a row of a record's value.

Pictures stay uint8 until `decode`; whole numbers become int32, floats float32, with the values that they have.
"""

import io
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from gan_jax.data import pictures, tokens
from gan_jax.data.source import Field, label
from gan_jax.data.stored import Feature, Split
from gan_jax.errors import UserError

LONGEST = 1024  # rows of a sequence that are kept where no length is asked for
PIXELS = ("image", "video", "voxels")  # kept as uint8


class Column(NamedTuple):
    """One field of a batch, out of features of each record."""

    features: tuple[str, ...]
    field: Field
    make: Callable[..., np.ndarray]  # their values in a record -> row [*shape], as it is kept
    said: str = ""  # what was found out for it
    measured: bool = False  # whether its shape is that of the pictures of the training split, and said nowhere

    @property
    def dtype(self):
        """The type of what is kept."""
        return np.dtype(np.uint8 if self.field.kind in PIXELS else self.field.dtype)


class Asked(NamedTuple):
    """What a name's choices ask of its fields."""

    size: int = 0  # side of squares
    length: int = 0  # of sequences
    level: str = ""  # of text


def columns(name: str, paths: list[str], how: str, train: Split, test: Split | None, features, asked: Asked) -> dict:
    """Return {field: Column}: the field `name`, and where sequences are padded its mask.

    paths: the feature, or several of one number each that make one row. how: "label" for the whole numbers of a map, or
    the classes that values of text or whole numbers are; "row" for numbers as float32; "" for what the feature's own
    kind is. Raises UserError where a feature is nothing of that.
    """
    looks = [Look(path, features[path], train, test, features, asked) for path in paths]
    if len(looks) > 1:
        return {name: _joined(looks)}
    (look,) = looks
    if not how and (kind := kind_of(look.path, look.feature)) == "series":
        return _series(name, look)
    made = AS[how](look) if how else MAKERS.get(kind, lambda look: None)(look)
    if made is None:
        what = f"a {how}" if how else "a field by itself"
        connector = " ".join(repr(look.feature.connector).split())
        raise UserError(f"{look.path} of {train.name} is {connector}: it can't be {what}.")
    return {name: made}


class Look(NamedTuple):
    """What a column is made from."""

    path: str
    feature: Feature
    train: Split
    test: Split | None
    features: dict
    asked: Asked

    def each(self, convert, split=None):
        return (split or self.train).each(self.path, self.features, convert)


def kind_of(path: str, feature: Feature) -> str:
    """Return the kind of field that a feature is by itself, "series" for rows over time, or "" for none.

    An image called frames whose height is a multiple of its width is a clip, its frames one below the other.
    """
    import tensorflow_datasets as tfds

    c = feature.connector
    if isinstance(c.shape, dict) or isinstance(c, tfds.features.Dataset):
        return ""
    shape, dtype = tuple(c.shape), np.dtype(c.np_dtype)
    rank, last = len(shape), shape[-1] if shape else 0
    whole, small = dtype.kind in "iub", dtype in (np.uint8, np.bool_)
    if feature.is_picture and dtype == np.float32:
        return ""
    if rank == 3 and (feature.is_picture or (small and last in (1, 3, 4) and None not in shape)):
        h, w, _ = shape
        frames = path.rpartition("/")[2] == "frames" and h and w and h > w and h % w == 0
        return "video" if frames else "image"
    if rank == 4 and None not in shape and last in (1, 3, 4) and (feature.is_picture or small):
        return "video"
    if rank == 3 and small and None not in shape:
        return "voxels"
    if dtype.kind in "OSU":
        return "tokens" if rank == 0 else ""
    if rank == 0:
        return "label" if whole else "row"
    if rank == 1 and last is not None:
        return "row"
    return "series" if rank <= 2 and None not in shape[1:] else ""


# Pictures


def opened(stored: bytes):
    """Return the Pillow picture that a file's bytes are."""
    return Image.open(io.BytesIO(stored))


def several(split: Split, path: str, features: dict) -> list:
    """Return the sizes [h, w] of a split's pictures; of several no more than the first two."""

    def make():
        seen = []
        for size in split.each(path, features, lambda stored: list(pictures.size_of(opened(stored)))):
            if size not in seen:
                seen.append(size)
            if len(seen) == 2:
                break
        return seen

    return split.learnt(("sizes", path), make)


def _side(look) -> tuple[int, int, int, bool]:
    """Return height, width and channels of the pictures, and whether they had to be looked at."""
    h, w, channels = look.feature.connector.shape[-3:]
    channels = channels or 3
    if look.asked.size:
        return look.asked.size, look.asked.size, channels, False
    if h and w:
        return h, w, channels, False
    sizes, name = several(look.train, look.path, look.features), look.train.name
    if len(sizes) != 1:
        raise UserError(
            f"the images of {name} have several sizes{''.join(', ' + by(size) for size in sizes)} among them.\n"
            f"Say {name},size=64: their middle squares are cut and shrunk to that side."
        )
    return *sizes[0], channels, True


def by(size) -> str:
    """Return a size as words: 64x48, height first."""
    return "x".join(map(str, size))


def _fitted(look, shape):
    """Return the function: array [h, w, c] or map [h, w] -> the same of the asked size."""
    size = look.asked.size

    def fit(a):
        if size:
            a = (pictures.square if a.ndim == 3 else pictures.square_map)(a, size)
        if a.shape != shape:
            raise ValueError(f"{look.path} is {by(a.shape)}, not {by(shape)}")
        return a

    return fit


def _image(look):
    h, w, channels, measured = _side(look)
    fit = _fitted(look, (h, w, channels))
    if look.feature.is_picture:
        make = lambda stored: fit(pictures.rgb(opened(stored), channels))
    else:
        make = lambda a: fit(_bytes_of(a))
    return Column((look.path,), Field((h, w, channels), "image"), make, measured=measured)


def _bytes_of(a):
    """Return an array of bytes, or of truth values as 0 and 255, as uint8."""
    a = np.asarray(a)
    return a * np.uint8(255) if a.dtype == np.bool_ else a


def _video(look):
    shape, one = _clip(look)
    t, *frame = shape
    if look.asked.size:
        frame[:2] = look.asked.size, look.asked.size
    fit = _fitted(look, tuple(frame))

    def make(stored):
        made = np.stack([fit(frame) for frame in one(stored)])
        if len(made) != t:
            raise ValueError(f"{look.path} has {len(made)} frames, not {t}")
        return made

    return Column((look.path,), Field((t, *frame), "video"), make)


def _clip(look):
    """Return the shape [t, h, w, c] of a clip as it is stored, and the function that gives its frames."""
    shape, is_picture = tuple(look.feature.connector.shape), look.feature.is_picture
    read = (lambda stored: pictures.rgb(opened(stored), shape[-1])) if is_picture else _bytes_of
    if len(shape) == 4:
        return shape, (lambda stored: [read(one) for one in stored]) if is_picture else read
    h, w, c = shape  # one picture, the frames one below the other
    return (h // w, w, w, c), lambda stored: read(stored).reshape(h // w, w, w, c)


def _voxels(look):
    shape = tuple(look.feature.connector.shape)

    def make(a):
        a = np.asarray(a)
        if a.dtype != np.bool_ and a.max(initial=0) > 1:
            raise ValueError(f"{look.path} has {a.max()} where voxels are 0 or 1")
        return (a.astype(np.uint8) * np.uint8(255))[..., None]

    return Column((look.path,), Field((*shape, 1), "voxels"), make)


# Labels


def _label(look):
    """Return the column of a class, or of a whole number whose classes aren't known."""
    connector = look.feature.connector
    names = getattr(connector, "names", ()) or (("False", "True") if connector.np_dtype == np.bool_ else ())
    return Column((look.path,), label(len(names), names), _whole)


def _as_label(look):
    """Return the column of a class, of a map of them, or of the distinct values of a feature, or None."""
    kind = kind_of(look.path, look.feature)
    if kind == "image" and look.feature.is_picture:
        return _label_map(look)
    made = _label(look) if kind == "label" else None
    return _classes(look) if kind == "tokens" or (made and not made.field.classes) else made


def _label_map(look):
    h, w, _, measured = _side(look)
    fit = _fitted(look, (h, w))
    read = lambda stored: pictures.indices(opened(stored))
    largest = lambda split: max(split.each(look.path, look.features, lambda stored: int(read(stored).max())))
    classes = 1 + max(s.learnt(("largest", look.path), lambda s=s: largest(s)) for s in (look.train, look.test) if s)
    field = Field((h, w), "label", np.int32, classes)
    return Column((look.path,), field, lambda stored: fit(read(stored)), f"{classes} labels a pixel", measured)


def _classes(look):
    """Return the column of the number of each distinct value of text, or of whole numbers; -1 where it is a new one."""
    value = text if np.dtype(look.feature.connector.np_dtype).kind in "OSU" else int
    found = look.train.learnt(("values", look.path), lambda: sorted(set(look.each(value))))
    numbers = {one: i for i, one in enumerate(found)}
    field = label(len(found), map(str, found))
    return Column((look.path,), field, lambda stored: np.int32(numbers.get(value(stored), -1)), f"{len(found)} classes")


# Numbers


def _whole(a):
    """Return whole numbers or truth values as int32, or raise ValueError where they are larger."""
    if type(a) is int and abs(a) < 2**31:  # the usual label
        return a
    a = np.asarray(a)
    found = a.astype(np.int32)
    if (found != a).any():
        raise ValueError(f"{a.max()} is larger than int32 can hold; take it as a row of floats (FIELD=FEATURE:row)")
    return found


def _row(look):
    """Return the column of a row of numbers as float32, in the units that they have: `recipes` standardise."""
    connector = look.feature.connector
    if kind_of(look.path, look.feature) not in ("row", "label"):
        return None
    c = math.prod(connector.shape)
    names = (look.path,) if connector.shape == () else _named(connector, c)
    return Column((look.path,), Field((c,), "row", names=names), lambda a: np.asarray(a, np.float32).reshape(c))


def _joined(looks):
    """Return the column of one row of several numbers."""
    parts = [_row(look) for look in looks]
    for look, part in zip(looks, parts, strict=True):
        if part is None or part.field.shape != (1,):
            raise UserError(f"{look.path} of {look.train.name} isn't one number: only such are joined by + to a row.")
    names = tuple(look.path for look in looks)
    return Column(names, Field((len(names),), "row", names=names), lambda *values: np.array(values, np.float32))


def _named(connector, c) -> tuple[str, ...]:
    """Return the names of c columns where the set's description says them ("Time, V1..V28, Amount"), or ()."""
    said = [one.strip() for one in str(connector.doc.desc or "").split(",")]
    names = []
    for one in said:
        run = re.fullmatch(r"(\D*)(\d+)\.\.\1(\d+)", one)
        names += [f"{run[1]}{i}" for i in range(int(run[2]), int(run[3]) + 1)] if run else [one]
    return tuple(names) if len(names) == c else ()


# Sequences


def text(stored) -> str:
    """Return what is stored of a text."""
    return stored if isinstance(stored, str) else bytes(stored).decode()


def texts(look) -> dict:
    """Return what there is to know of the texts of the training split, found in one pass over them.

    characters: of all of them. blanks: whether one has a blank in it. vocabulary, longest: by level, the longest in
    tokens with its end.
    """

    def make():
        counts = {level: Counter() for level in tokens.LEVELS}
        longest, characters, blanks = dict.fromkeys(tokens.LEVELS, 1), 0, False
        for one in look.each(text):
            characters, blanks = characters + len(one), blanks or " " in one.strip()
            for level in tokens.LEVELS:
                pieces = tokens.pieces(one, level)
                counts[level].update(pieces)
                longest[level] = max(longest[level], len(pieces) + 1)
        vocabulary = {level: tokens.vocabulary(found) for level, found in counts.items()}
        return {"characters": characters, "blanks": blanks, "vocabulary": vocabulary, "longest": longest}

    return look.train.learnt(("texts", look.path), make)


def _tokens(look):
    known = texts(look)
    level = look.asked.level or ("word" if known["blanks"] else "char")
    names = tuple(known["vocabulary"][level])
    length, said = _length(look, known["longest"][level])
    encode = tokens.encoder(names, level, length)
    field = Field((length,), "tokens", np.int32, len(names), names)
    return Column((look.path,), field, lambda stored: encode(text(stored)), f"{level}s, {len(names)} tokens, {said}")


def _length(look, longest) -> tuple[int, str]:
    """Return the length that sequences are cut or padded to, and words on it."""
    length = look.asked.length or min(longest, LONGEST)
    return length, f"length {length}" + (f" of up to {longest}: longer ones are cut" if length < longest else "")


def _series(name, look):
    """Return the columns of rows over time [t, c], and where lengths differ of the mask [t]: True where rows are."""
    shape = look.feature.connector.shape
    c = math.prod(shape[1:])
    real = np.dtype(look.feature.connector.np_dtype).kind == "f"
    rows = lambda a: (np.asarray(a, np.float32) if real else _whole(a)).reshape(-1, c)
    count = lambda: max(look.each(lambda a: len(rows(a))))
    length, said = _length(look, shape[0] or look.train.learnt(("rows", look.path), count))

    def make(a):
        a = rows(a)[:length]
        return np.concatenate([a, np.zeros((length - len(a), c), a.dtype)])

    field = Field((length, c), "series", np.float32 if real else np.int32)
    made = {name: Column((look.path,), field, make, said)}
    if shape[0] is None or length > shape[0]:
        mask = Field((length,), "row", np.bool_)
        there = Column((look.path,), mask, lambda a: np.arange(length) < len(rows(a)))
        made["mask" if name == "x" else f"{name}_mask"] = there
    return made


MAKERS = {
    "image": _image,
    "video": _video,
    "voxels": _voxels,
    "tokens": _tokens,
    "row": _row,
    "label": _label,
}
AS = {"label": _as_label, "row": _row}  # what a choice may end in: FIELD=FEATURE:label
