"""Pictures of your own: a folder, flat or a folder a class, an .npy or an .npz.

They are prepared once, as records of one shape, and kept in the cache under a digest of their contents.
"""

import dataclasses
import functools
import itertools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from gan_jax.data import arrays, choices, contents, pictures, prepared, records, tokens
from gan_jax.data.batches import order
from gan_jax.data.listing import ENDINGS, Item, Listing, in_order, listed, shown
from gan_jax.data.source import Field, Source
from gan_jax.data.source import label as classes
from gan_jax.errors import UserError, first_line, printable
from gan_jax.game import rng

VERSION = 2  # to be raised with every change of what is prepared
SIDE = 4096  # of a square, at most
AT_ONCE = 32  # pictures in memory, whatever their size


def load(path: str, skip_bad: str = "", **chosen: str) -> Source:
    """Return the source of the pictures in the folder `path` (absolute), or of the arrays in an .npy or .npz.

    Its fields are x; y where there are labels, with the names of their folders or of metadata.jsonl; `caption`, tokens,
    where there are captions; and of pairs the other pictures. x is an image, [h, w, 3], of grey ones alone [h, w, 1];
    points; or a row.
    chosen:

    - size: the side of the squares that pictures are cut and shrunk to. Without it they must be of one size, and stay.
    - skip_bad=yes: what can't be read is left out. Otherwise, and where nothing is left, raises UserError.
    - level, length: how captions are cut, and how many tokens of them are kept, as in `records.load`.
    """
    if chosen.keys() - {"size", "level", "length"} or skip_bad not in ("", "yes"):
        raise UserError(f"{printable(path)} has the choices size, skip_bad=yes, level and length, and no others.")
    asked = choices.asked(chosen)
    if asked.size > SIDE:
        raise UserError(f"size={asked.size}: pictures are cut to squares of up to {SIDE}.")
    name = printable(os.path.basename(path) or path)
    if os.path.isdir(path):
        files, about, make = _of_folder(name, path, asked.size, bool(skip_bad))
    elif os.path.isfile(path) and path.lower().endswith(ENDINGS):
        raise UserError(f"{printable(path)} is a picture: name the folder that it is in.")
    elif os.path.isfile(path):
        files, about, make = [path], "arrays", functools.partial(_prepare_arrays, name, path, asked.size)
    else:
        raise UserError(f"there is no data set {printable(path)!r}: no such folder or file.")
    digest = lambda: contents.digest(path, files, [VERSION, about, asked.size, skip_bad])
    content = digest()

    def made(folder):
        info = make(folder)
        if digest() != content:
            raise UserError(f"{printable(path)} changed while it was prepared: start again.")
        return info

    folder, info = prepared.kept(content, made)
    captions = _captions(path, info, asked)
    of = functools.partial(_source, name, folder, info, content, captions)
    source = of("train", of("test") if "test" in info["splits"] else None)
    says = [_said(name, info, captions), *(f"  {note}" for note in info["notes"])]
    return dataclasses.replace(source, says="\n".join(says))


def _of_folder(name, path, side, skip_bad) -> tuple[list[str], list, Callable[[Path], dict]]:
    """Return (files, what else decides what is made of them, folder -> info: prepares)."""
    listing = listed(path)
    items = [item for of_split in listing.splits.values() for item in of_split]
    if not items and not listing.bad:
        endings = "PNG, JPEG, WebP, BMP, GIF or TIFF"
        raise UserError(f"there is no data set in {printable(path)}: it holds no picture ({endings}).")
    others = lambda item: [[[field, os.path.relpath(file, path)] for field, file in item.others]] * bool(item.others)
    about = [[split, *item[1:4], *others(item)] for split, of_split in listing.splits.items() for item in of_split]
    make = functools.partial(_prepare_pictures, name, path, listing, side, skip_bad)
    return [file for item in items for file in item.files.values()], [about, listing.bad], make


# Preparing


def _prepare_pictures(name, path, listing: Listing, side, skip_bad, folder: Path) -> dict:
    """Prepare the pictures of a listing in an empty folder, and return what is to be known of them."""
    bad, notes, splits, shapes, small = list(listing.bad), list(listing.notes), {}, {}, 0
    total = sum(map(len, listing.splits.values()))
    print(f"preparing {name}: {total:,} pictures", file=sys.stderr)
    for split, items in listing.splits.items():
        good = []

        def kept(items=items, good=good):
            nonlocal small
            for item, found in _decoded(items, side):
                names = {field: os.path.relpath(file, path) for field, file in item.files.items()}
                if wrong := [(names[field], what) for field, (what, _) in found.items() if isinstance(what, str)]:
                    bad.extend(wrong)
                    continue
                for field, (picture, is_small) in found.items():
                    _one_size(path, shapes.setdefault(field, {}), picture, names[field])
                    small += is_small
                good.append((item, {field: picture.shape[2] for field, (picture, _) in found.items()}))
                yield [picture for picture, _ in found.values()]

        fields = items[0].files if items else ["x"]
        parts = [folder / f"{prepared.part(split, field)}.array_record" for field in fields]
        prepared.write_pictures(parts, kept(), total, name)
        splits[split] = good
    left_out = f"{len(bad):,} can't be read: {shown((f'{file} ({reason})' for file, reason in bad), 3)}"
    if bad and not skip_bad:
        raise UserError(f"{printable(path)}: {left_out}.\nMend them, or leave them out with --skip-bad.")
    for split, good in splits.items():
        if not good:
            raise UserError(f"{printable(path)}: no picture of the split {split} can be read.")
    notes += [f"left out, {left_out}"] * (len(bad) > 0)
    notes += [f"{small:,} smaller than {side}x{side} and enlarged"] * (small > 0)
    channels = {field: max(c[field] for good in splits.values() for _, c in good) for field in shapes}
    shape, *others = ([*sides, channels[field]] for field, (sides,) in shapes.items())
    of = {"kind": "image", "shape": shape, "dtype": "uint8", "notes": notes}
    of |= {"others": dict(zip(list(shapes)[1:], others, strict=True))} if others else {}
    return of | _said_of({split: [item for item, _ in good] for split, good in splits.items()})


def _one_size(path, sizes: dict[tuple[int, int], str], picture, file):
    """Take the size of a picture down, with its name. Raise UserError where another one has another size."""
    sizes.setdefault(picture.shape[:2], file)
    if len(sizes) > 1:
        one, other = (f"{file} is {w}x{h}" for (h, w), file in sizes.items())
        raise UserError(
            f"{printable(path)} holds pictures of several sizes: {one}, {other}.\n"
            "Say one for all, for instance --size 64."
        )


def _said_of(splits: dict[str, list[Item]]) -> dict:
    """Return what is to be known of labels and captions of pictures."""
    everything = [item for items in splits.values() for item in items]
    names = in_order(item.label for item in everything) if everything[0].label is not None else []
    at = {name: i for i, name in enumerate(names)}
    captioned = everything[0].caption is not None
    of = lambda items: {
        "n": len(items),
        "y": [at[item.label] for item in items] if names else None,
        "captions": [item.caption for item in items] if captioned else None,
    }
    return {
        "names": [printable(name) for name in names],
        "splits": {split: of(items) for split, items in splits.items()},
    }


def _decoded(items: Iterable[Item], side) -> Iterator[tuple[Item, dict[str, tuple[np.ndarray | str, bool]]]]:
    """Yield of each item, by field, its picture or what is wrong with it, and whether it was enlarged."""
    every = lambda item: {field: decoded(file, side) for field, file in item.files.items()}
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # of Pillow, on what is odd in a file
        items = iter(items)
        while some := list(itertools.islice(items, AT_ONCE)):
            yield from zip(some, pool.map(every, some), strict=True)


def decoded(file: str, side: int = 0) -> tuple[np.ndarray | str, bool]:
    """Return (picture uint8 [h, w, 1 or 3], whether it was enlarged); instead of the picture, what is wrong with it.

    side: of the square that it is cut and shrunk to; 0: as it is. A picture is grey where all its pixels are.
    """
    try:
        with pictures.opened(file) as picture:
            a = pictures.rgb(picture, 3)
        small = min(a.shape[:2]) < side
        a = pictures.square(a, side) if side else a
        return a[..., :1] if (a == a[..., :1]).all() else a, small
    except UnidentifiedImageError:
        return "is no picture", False
    except MemoryError:  # no fault of the picture
        raise
    except Exception as error:  # Pillow raises whatever its parts do
        return printable(getattr(error, "strerror", None) or first_line(error)), False


def _prepare_arrays(name, path, side, folder: Path) -> dict:
    """Prepare the arrays of a file in an empty folder, and return what is to be known of them."""
    given, splits = arrays.opened(path), {}
    if side and given.kind != "image":
        raise UserError(f"{printable(path)} holds no pictures ({given.kind}): it leaves no choice of size.")
    for split, (x, _) in given.splits.items():
        if given.kind == "image":
            rows = ([pictures.square(row, side) if side else row] for row in arrays.rows(given, split))
            (first,) = one = next(rows)
            prepared.write_pictures([folder / f"{split}.array_record"], itertools.chain([one], rows), len(x), name)
        else:
            first = np.asarray(x[0], np.float32)
            np.save(folder / f"{split}.npy", np.asarray(x, np.float32))
        splits[split] = {"n": len(x), "y": arrays.labels(given, split), "captions": None}
    of = {"kind": given.kind, "shape": list(first.shape), "dtype": str(first.dtype), "notes": given.notes}
    return of | {"names": [printable(name) for name in given.names], "splits": splits}


# What is prepared, as a source


def _captions(path, info, asked) -> tuple[Field, dict[str, np.ndarray]] | None:
    """Return the field of captions and, of each split, their tokens [n, t]; None where there are none."""
    texts = {split: of["captions"] for split, of in info["splits"].items()}
    if texts["train"] is None:
        if asked.level or asked.length:
            raise UserError(f"{printable(path)} has no captions: it leaves no choice of level or length.")
        return None
    field, level, _ = tokens.field(tokens.survey(texts["train"]), asked)
    encode = tokens.encoder(field.names, level, *field.shape)
    return field, {split: np.stack([encode(text) for text in those]) for split, those in texts.items()}


def _source(name, folder, info, content, captions, split, test=None) -> Source:
    """Return one split as a Source."""
    of_split, dtype = info["splits"][split], np.dtype(info["dtype"])
    shapes = {field: tuple(shape) for field, shape in {"x": info["shape"], **info.get("others", {})}.items()}
    fields = {field: Field(shape, info["kind"]) for field, shape in shapes.items()}
    n, said = of_split["n"], {}  # said: what stands beside the pictures
    place = np.arange(n)
    if of_split["y"] is not None:
        place = np.random.default_rng(0).permutation(n)  # files stand class by class; the first few should be of all
        fields["y"], said["y"] = classes(len(info["names"]), info["names"]), np.asarray(of_split["y"], np.int32)[place]
    if captions:
        fields["caption"], said["caption"] = captions[0], captions[1][split][place]
    rows = functools.cache(lambda field: prepared.reader(folder / prepared.part(split, field), shapes[field], dtype))

    def shown_at(indices):
        try:
            of = lambda field, shape: rows(field)(place[indices.ravel()]).reshape(*indices.shape, *shape)
            return {field: of(field, shape) for field, shape in shapes.items()}
        except Exception as error:  # somebody emptied the cache, or it is on a disk that went away
            again = "python -m gan_jax.cache --empty folders"
            lost = first_line(error)
            raise UserError(f"{name}, prepared in {folder}, can't be read: {lost}.\nPrepare it anew: {again}") from None

    def read(indices):
        indices = np.asarray(indices)
        return shown_at(indices) | {field: a[indices] for field, a in said.items()}

    fingerprint = f"folder-{content}-{split}"
    kept = functools.partial(records.whole, name, n, shown_at, fingerprint, {f: (shapes[f], dtype) for f in shapes})
    return Source(
        name,
        fields,
        n=n,
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, n),
        read=read,
        whole=lambda: kept() | said,
        test=test,
        fingerprint=fingerprint,
        content=content,
        nbytes=n * sum(map(math.prod, shapes.values())) * dtype.itemsize + sum(a.nbytes for a in said.values()),
    )


def _said(name, info, captions) -> str:
    """Return in a line what was found."""
    splits, names, shape = info["splits"], info["names"], "x".join(map(str, info["shape"]))
    what = {"image": "picture", "points": "point", "row": "row"}[info["kind"]] + "s" * (splits["train"]["n"] != 1)
    field = captions and captions[0]
    text = f" with captions ({field.shape[0]} of {field.classes:,} {tokens.level(field.names)}s)" if field else ""
    others = f" with {', '.join(info['others'])} beside them" if "others" in info else ""
    labels = f" in {len(names):,} class{'es' * (len(names) != 1)}" if names else ""
    test = f"test split of {splits['test']['n']:,}" if "test" in splits else "no test split"
    return f"{name}: {splits['train']['n']:,} {what}{others}{text}{labels}, {shape}; {test}"
