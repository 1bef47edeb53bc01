"""What the choices after a set's name ask for: its splits, and the features that fields are made of."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from gan_jax.data import features, pictures, stored, tokens
from gan_jax.data.column import Asked
from gan_jax.data.source import Field
from gan_jax.data.stored import Feature, Split
from gan_jax.errors import UserError, first_line

OF = {  # what kinds of fields a choice is of
    "size": {"image", "video", "voxels", "map"},
    "length": {"tokens", "series"},
    "level": {"tokens"},
    "vocabulary": {"tokens"},
}
RESERVED = ("split", "test", *OF)


def asked(chosen: dict[str, str]) -> Asked:
    """Return size, length, level and vocabulary as they were asked for, checked."""
    numbers = {}
    for name in ("size", "length", "vocabulary"):
        value = chosen.get(name, "0")
        if not re.fullmatch(r"\d{1,6}", str(value)) or (name in chosen and int(value) < 1):
            raise UserError(f"{name}={value}: {name} is a whole number from 1 on.")
        numbers[name] = int(value)
    if numbers["size"] ** 2 > pictures.PIXELS:
        raise UserError(f"size={numbers['size']}: a picture has at most {pictures.PIXELS // 10**6} megapixels.")
    level = chosen.get("level", "")
    if level and level not in tokens.LEVELS:
        raise UserError(f"level={level}: text is cut by {' or '.join(tokens.LEVELS)}.")
    return Asked(**numbers, level=level)


def check_used(name: str, chosen: dict[str, str], fields: Iterable[Field]) -> None:
    """Raise UserError where a choice is of what the fields of a batch are not: nothing would come of it."""
    kinds = {"map" if field.kind == "label" and field.shape else field.kind for field in fields}
    for choice, of in OF.items():
        if choice in chosen and not of & kinds:
            raise UserError(f"{name} leaves no choice of {choice}: its fields are {', '.join(sorted(kinds))}.")


def known(name: str, what: str, value: str, there: Iterable[str]) -> str:
    """Return a value that is one of what there is, or raise a UserError that lists it."""
    if value in there:
        return value
    close = difflib.get_close_matches(value, list(there), 3)
    raise UserError(
        f"{name} has no {what} {value!r}{'; did you mean ' + ' or '.join(close) + '?' if close else '.'}\n"
        f"It has {', '.join(there)}."
    )


def first(splits: Iterable[str]) -> str:
    """Return the split that is trained on where none is chosen."""
    return "train" if "train" in splits else next(iter(splits))


def splits(name: str, builder: Any, again: str, split: str, test: str) -> tuple[Split, Split | None]:
    """Return the split that is trained on and the one that is held out, or None."""
    there = builder.info.splits
    if not there:
        raise UserError(f"{name} in {builder.data_path} has no splits. Prepare it again: {again}")

    def of(value):
        for part in value.split("+"):
            known(name, "split", part.partition("[")[0], there)
        try:
            found = Split(name, value, builder, again)
            if stored.overlap(found):
                raise UserError(f"split {value!r} of {name} has records twice.")
            if found.n:
                return found
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"split {value!r} of {name} can't be read: {first_line(error)}") from None
        raise UserError(f"split {value!r} of {name} is empty.")

    train = of(split or first(there))
    if test is None:
        test = "test" if "test" in there and there["test"].num_examples and split != "test" else ""
        test = "" if test and stored.overlap(train, of(test)) else test
    held = of(test) if test else None
    if held and stored.overlap(train, held):
        raise UserError(f"split {train.split} and test {held.split} of {name} have records in common.")
    return train, held


def wanted(name: str, flat: dict[str, Feature], chosen: dict[str, str]) -> dict[str, tuple[list[str], str]]:
    """Return of each field (the features that it is made of, how), in the order x, y, others."""
    if not flat:
        raise UserError(f"{name} has no feature, says its features.json.")
    of_classes = lambda f: len(f.keys) == 1 and f.connector.shape == () and getattr(f.connector, "num_classes", 0)
    labels = [path for path, feature in flat.items() if of_classes(feature)]
    said = {field: value for field, value in chosen.items() if field not in RESERVED}
    fields = {"x": said.get("x") or default(flat), "y": said.get("y", labels[0] if labels else "")}
    found = {}
    others = {field: value for field, value in said.items() if field not in fields}
    for field, value in (fields | others).items():
        path, colon, how = (value, "", "") if value in flat else value.partition(":")
        if colon and how not in features.AS:
            raise UserError(f"{field}={value}: a feature is taken as {' or '.join(features.AS)}.")
        paths = [path] if path in flat else path.split("+")
        if path:
            found[field] = [known(name, "feature", one, flat) for one in paths], how
    return found


def default(flat: dict[str, Feature]) -> str:
    """Return the feature that x is where none is chosen: an image, or else what there is."""
    last = ("label", "mask", "map", "instances")
    order = ("image", "video", "voxels", "series", "row", "tokens", "label")

    def rank(path):
        feature = flat[path]
        kind = features.kind_of(path, feature)
        one = feature.connector.shape == () and kind in ("row", "label")  # a single number comes last
        at = order.index(kind) + len(order) * one if kind else 99
        real = np.dtype(feature.connector.np_dtype).kind == "f" if kind else False
        return at, path not in ("image", "text"), any(word in path for word in last) or path == "id", not real, path

    return min(flat, key=rank)
