"""What a feature of a TFDS set becomes: fields of a batch, each with the function that makes a row of a record's value.

Pictures stay uint8 until `decode`; whole numbers become int32, floats float32, with the values that they have.
"""

import math
import re

import numpy as np

from gan_jax.data import pictorial, tokens
from gan_jax.data.column import Asked, Column, Look, length_of
from gan_jax.data.source import Field, label
from gan_jax.data.stored import Feature, Split
from gan_jax.errors import UserError

NUMBERS = 2**30  # in a row of a feature, at most
CLASSES = 10**6  # at most


def columns(
    name: str, paths: list[str], how: str, train: Split, test: Split | None, features: dict[str, Feature], asked: Asked
) -> dict:
    """Return {field: Column}: the field `name`, and where sequences are padded its mask.

    paths: the feature, or several: numbers that make one row, or values whose combinations are classes ("label"). how:
    "label" for the whole numbers of a map, or the classes that values of text or whole numbers are; "row" for numbers
    as float32; "" for what the feature's own kind is. Raises UserError where a feature is nothing of that.
    """
    looks = [Look(path, features[path], train, test, features, asked) for path in paths]
    for look in looks:
        _check_size(look)
    if len(looks) > 1:
        return {name: (_combined if how == "label" else _joined)(looks)}
    (look,) = looks
    if not how and (kind := kind_of(look.path, look.feature)) == "series":
        return _series(name, look)
    made = AS[how](look) if how else MAKERS.get(kind, lambda look: None)(look)
    if made is None:
        what = f"a {how}" if how else "a field by itself"
        connector = " ".join(repr(look.feature.connector).split())
        raise UserError(f"{look.path} of {train.name} is {connector}: it can't be {what}.")
    return {name: made}


def _check_size(look):
    """Raise UserError where a row would be larger than anything that can be trained on, or of a size that is none."""
    c = look.feature.connector
    shape = () if isinstance(c.shape, dict) else tuple(c.shape)
    sides, classes = [side for side in shape if side is not None], getattr(c, "num_classes", None) or 0
    if any(side < 0 for side in sides) or math.prod(sides) > NUMBERS or not 0 <= classes <= CLASSES:
        said = f"{classes} classes" if classes else f"the shape {shape}"
        raise UserError(f"{look.path} of {look.train.name} has {said}, says its features.json: no such can be read.")


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
        return pictorial.label_map(look)
    made = _label(look) if kind == "label" else None
    return _classes(look) if kind == "tokens" or (made and not made.field.classes) else made


def _classes(look):
    """Return the column of the number of each distinct value of text, or of whole numbers; -1 where it is a new one."""
    value = _value(look)
    found = look.train.learnt(("values", look.path), lambda: sorted(set(look.each(value))))
    numbers = {one: i for i, one in enumerate(found)}
    field = label(len(found), map(str, found))
    return Column((look.path,), field, lambda stored: np.int32(numbers.get(value(stored), -1)), f"{len(found)} classes")


def _combined(looks):
    """Return the column of the number of each combination of values, text or whole numbers; -1 where it is new."""
    for look in looks:
        if kind_of(look.path, look.feature) not in ("tokens", "label"):
            raise UserError(f"{look.path} of {look.train.name} has no classes that could be joined to others by +.")
    paths, values = tuple(look.path for look in looks), [_value(look) for look in looks]
    each = lambda: zip(*(look.each(value) for look, value in zip(looks, values, strict=True)), strict=True)
    found = looks[0].train.learnt(("values", *paths), lambda: sorted(set(each())))
    numbers = {tuple(one): i for i, one in enumerate(found)}  # the cache keeps lists
    number = lambda *stored: numbers.get(tuple(value(a) for value, a in zip(values, stored, strict=True)), -1)
    field = label(len(found), [" ".join(map(str, one)) for one in found])
    return Column(paths, field, lambda *stored: np.int32(number(*stored)), f"{len(found)} classes")


def _value(look):
    """Return the function that reads a value of text, or a whole number."""
    return text if np.dtype(look.feature.connector.np_dtype).kind in "OSU" else int


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


def texts(look: Look) -> dict:
    """Return what there is to know of the texts of the training split (`tokens.survey`), found in one pass."""
    return look.train.learnt(("texts", look.path), lambda: tokens.survey(look.each(text)))


def text(stored: bytes | str) -> str:
    """Return what is stored of a text."""
    return stored if isinstance(stored, str) else bytes(stored).decode()


def _tokens(look):
    field, level, said = tokens.field(texts(look), look.asked)
    encode = tokens.encoder(field.names, level, *field.shape)
    return Column((look.path,), field, lambda stored: encode(text(stored)), said)


def _series(name, look):
    """Return the columns of rows over time [t, c], and where lengths differ of the mask [t]: True where rows are."""
    shape = look.feature.connector.shape
    c = math.prod(shape[1:])
    real = np.dtype(look.feature.connector.np_dtype).kind == "f"
    rows = lambda a: (np.asarray(a, np.float32) if real else _whole(a)).reshape(-1, c)
    count = lambda: max(look.each(lambda a: len(rows(a))))
    length, said = length_of(look.asked.length, shape[0] or look.train.learnt(("rows", look.path), count))

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
    "image": pictorial.image,
    "video": pictorial.video,
    "voxels": pictorial.voxels,
    "tokens": _tokens,
    "row": _row,
    "label": _label,
}
AS = {"label": _as_label, "row": _row}  # what a choice may end in: FIELD=FEATURE:label
