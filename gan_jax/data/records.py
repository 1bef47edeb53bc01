"""Record sets: any TFDS set, and the digits that need no download."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from gan_jax.data import builders, cache, choices, features, pictorial, pictures, stored, tokens
from gan_jax.data.batches import order
from gan_jax.data.column import Column, Look
from gan_jax.data.source import Field, Source
from gan_jax.data.stored import Split
from gan_jax.errors import UserError
from gan_jax.game import rng

RUNNING = 4096  # characters: texts that are longer on average are running text
WINDOW = 128  # tokens of a window of running text where no length is asked for


def load(name: str, others: Iterable[str] = (), **chosen: str) -> Source:
    """Return the TFDS set called `name`, prepared first where it is missing; what is held out stands beside it.

    Looked for in TFDS_DATA_DIR. others: names that are suggested, too, where there is no such set. chosen:

    - FIELD=FEATURE: the feature of the set that a field of the batch is; a nested one by its path ("objects/bbox"),
      numbers joined to a row by + ("logp+qed+sas"), with :label values to classes ("alphabet+character:label", a class
      for each pair). FEATURE:label takes a map of labels as whole numbers [h, w] rather than as a picture, and text or
      whole numbers as the classes that their distinct values are; FEATURE:row takes numbers as float32. By default x is
      the image (rather a photo than its map of labels), else what is there, and y the first label; FIELD= is none.
    - split, test: which is trained on (train, else the first), and which is held out (test; `test=` is none); parts,
      too: train[:80%].
    - size: the side of the squares that pictures are cut and shrunk to, without which sets of several sizes are
      refused; or of a cube of voxels, each of which is full where any of its block is.
    - length: how many rows or tokens of a sequence are kept (the most in the split that is trained on, up to 1024).
    - level: char or word; by default words where texts have blanks. Texts of more than 4096 characters on average,
      alone in their batch, are running text, by default in characters: record i is its i-th window of `length` tokens.
    - vocabulary: how many of the most frequent pieces of text are tokens of their own (all); others are <unk>.

    Pictures are uint8 in the raw records, in their own colours; voxels 0 and 255; sequences [t, c] have a field "mask"
    [t]; rows are float32 as they are stored, not standardised. Raises UserError where there is no such set, feature or
    split, where pictures have several sizes, and where a set can't be prepared or read.
    """
    builder, again = builders.found(name, others)
    train, test = choices.splits(name, builder, again, chosen.get("split", ""), chosen.get("test"))
    asked, flat = choices.asked(chosen), stored.flat(builder)
    wanted = choices.wanted(name, flat, chosen)
    alone = _alone(wanted, flat, train, asked)
    if alone and _is_running(alone):
        source = _windows(alone, train, test)
        choices.check_used(name, chosen, source.fields.values())
        return source
    made = {}
    for field, (paths, how) in wanted.items():
        columns = features.columns(field, paths, how, train, test, flat, asked)
        if twice := made.keys() & columns.keys():
            raise UserError(f"{name}: two fields would be called {', '.join(twice)}; choose another name.")
        made |= columns
    choices.check_used(name, chosen, [column.field for column in made.values()])
    test, remark = _held_out(train, test, made, flat)
    says = _says(train, test, wanted, made, remark)
    return _source(train, made, flat, test and _source(test, made, flat), says)


def each(name: str, split: str = "", feature: str = "") -> Iterator[np.ndarray]:
    """Yield the pictures of a TFDS set one by one, uint8 [h, w, c], each of its own size, in the order of the records.

    split: by default that of tests, else the first. feature: by default the image.
    """
    builder, again = builders.found(name)
    flat = stored.flat(builder)
    split = split or ("test" if "test" in builder.info.splits else "")
    held, _ = choices.splits(name, builder, again, split, "")
    path = choices.known(name, "feature", feature or choices.default(flat), flat)
    if features.kind_of(path, flat[path]) != "image":
        raise UserError(f"{path} of {name} is no picture.")
    channels = flat[path].connector.shape[-1] or 3
    read = lambda stored: pictures.rgb(pictorial.opened(stored), channels)
    return held.each(path, flat, read if flat[path].is_picture else np.asarray)


# Sources


def _source(split: Split, columns: dict[str, Column], flat, test=None, says="") -> Source:
    """Return one split as a Source of these fields."""
    used = {path: flat[path] for column in columns.values() for path in column.features}

    def row(found):
        return {name: column.make(*map(found.get, column.features)) for name, column in columns.items()}

    def read(indices):
        indices = np.asarray(indices)
        flat_indices = indices.ravel().tolist()
        rows = list(split.rows(flat_indices, used, row))
        raw = {name: np.array([one[name] for one in rows], column.dtype) for name, column in columns.items()}
        _check_labels(split, columns, raw, flat_indices)
        _check_finite(split, columns["x"], raw["x"], flat_indices)
        return {name: a.reshape(*indices.shape, *columns[name].field.shape) for name, a in raw.items()}

    n, rows = len(split.records), {name: (column.field.shape, column.dtype) for name, column in columns.items()}
    fingerprint = split.fingerprint([(name, column.features, column.field) for name, column in columns.items()])
    return Source(
        split.name,
        {name: column.field for name, column in columns.items()},
        n=n,
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, n),
        read=read,
        whole=functools.partial(whole, split.name, n, read, fingerprint, rows),
        test=test,
        fingerprint=fingerprint,
        nbytes=n * sum(math.prod(shape) * dtype.itemsize for shape, dtype in rows.values()),
        says=says,
    )


def _check_labels(split, columns, raw, indices):
    """Raise UserError, naming the record, where a label is none of its classes; -1, which is no label, is one."""
    for name, column in columns.items():
        classes = column.field.classes if column.field.kind == "label" else 0
        a = raw[name].reshape(len(indices), -1)
        wrong = ((a < -1) | (a >= classes)).any(1) if classes else np.zeros(1)
        if wrong.any():
            i, path = int(wrong.argmax()), column.features[0]
            value = next(v for v in a[i] if not -1 <= v < classes)
            raise UserError(
                f"record {indices[i]} of {split.name}, split {split.split}, has the {path} {value}, which is none of 0 "
                f"to {classes - 1}.\nTo leave {path} out, say {split.name},{name}="
            )


def _check_finite(split, column, x, indices):
    """Raise UserError, naming the record, where a number of x is none: nothing can be trained on it."""
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return
    rows = x.reshape(len(indices), -1)
    i, at = np.argwhere(~np.isfinite(rows))[0]
    feature = column.field.names[at] if len(column.field.names) == rows.shape[1] else column.features[0]
    value = f"{feature} {rows[i, at]}"
    raise UserError(f"record {indices[i]} of {split.name}, split {split.split}, has the {value}: choose another x.")


def whole(name: str, n: int, read: Callable, fingerprint: str, rows: int | None = None) -> dict[str, np.ndarray]:
    """Return all n raw records that `read` gives, decoded once and kept in the cache.

    rows: {field: (shape, dtype) of a row}, against which what was kept is checked.
    """

    def decoded():
        print(f"reading {name}: {n} records", file=sys.stderr)
        parts = [read(np.arange(a, min(a + 1000, n))) for a in range(0, n, 1000)]
        return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

    def fits(found):
        has = {k: (a.shape, a.dtype) for k, a in found.items()}
        return rows is None or has == {k: ((n, *shape), dtype) for k, (shape, dtype) in rows.items()}

    return cache.arrays(fingerprint and f"arrays/{fingerprint}", decoded, fits)


def _held_out(train, test, columns, flat) -> tuple[Split | None, str]:
    """Return the test split, or None and a remark where its pictures have other sizes than those of the train split."""
    for column in columns.values():
        if test and column.measured:
            (path,), shape = column.features, list(column.field.shape[:2])
            others = [size for size in pictorial.several(test, path, flat) if size != shape]
            if others:
                sizes = f"{pictorial.by(others[0])}, not {pictorial.by(shape)}"
                return None, f"{test.split} left out: it has a {path} of {sizes} (size=64 would take it in)"
    return test, ""


def _says(train, test, wanted, columns, remark) -> str:
    """Return which features and splits were taken, in a line."""

    def one(field, paths, how):
        said = columns[field].said
        return f"{field} {'+'.join(paths)}{f' ({said})' if said else ''}"

    fields = ", ".join(one(field, *taken) for field, taken in wanted.items())
    held = f"test {test.n}" if test and test.split == "test" else test and f"{test.split} {test.n} as test"
    return f"{train.name}: {fields}; {train.split} {train.n}, {held or remark or 'no test split'}"


# Running text


def _alone(wanted, flat, train, asked) -> Look | None:
    """Return the text that is the one field of the batch, where it is."""
    if list(wanted) != ["x"]:
        return None
    paths, how = wanted["x"]
    text = not how and len(paths) == 1 and features.kind_of(paths[0], flat[paths[0]]) == "tokens"
    return Look(paths[0], flat[paths[0]], train, None, flat, asked) if text else None


def _is_running(look) -> bool:
    return features.texts(look)["characters"] > RUNNING * look.train.n


def _windows(look, train, test) -> Source:
    """Return running text as windows of tokens, one after another."""
    level, length = look.asked.level or "char", look.asked.length or WINDOW
    names = tokens.named(features.texts(look), level, look.asked.vocabulary)
    field = Field((length,), "tokens", np.int32, len(names), names)

    def of(split, test=None, says=""):
        fingerprint = split.fingerprint("windows", look.path, level, field)
        texts = lambda: {"x": tokens.windows(look.each(features.text, split), names, level, length)}
        fits = lambda found: {k: (a.shape[1:], a.dtype) for k, a in found.items()} == {"x": ((length,), np.int32)}
        kept = functools.cache(lambda: cache.arrays(f"arrays/{fingerprint}", texts, fits))
        n = len(kept()["x"])
        if not n:
            raise UserError(f"{split.name}, split {split.split}, has no {length} {level}s: ask for a smaller length.")
        return Source(
            split.name,
            {"x": field},
            n=n,
            pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, n),
            read=lambda indices: {"x": kept()["x"][np.asarray(indices)]},
            whole=kept,
            test=test,
            fingerprint=fingerprint,
            nbytes=kept()["x"].nbytes,
            says=says,
        )

    held = test and of(test)
    source = of(train, held)
    said = f"x {look.path} (windows of {length} {level}s, {len(names)} tokens)"
    held = f"{test.split} {held.n}" if held else "no test split"
    return dataclasses.replace(source, says=f"{train.name}: {said}; {train.split} {source.n}, {held}")
