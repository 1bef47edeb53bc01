"""What is in a folder of pictures: which files, in which split, with which label and caption. No picture is opened."""

import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gan_jax.errors import UserError, printable

ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"}  # what systems leave behind, unasked
METADATA = "metadata.jsonl"
OTHER = "_file_name"  # ends the name of what names another picture of the same record
TAKEN = {"x", "y", "caption", "mask"}  # fields
TEST = ("test", "val", "valid", "validation")  # the first of these that is there is held out


class Item(NamedTuple):
    """One picture, with the others of its record where there are pairs."""

    file: str  # its path
    name: str  # the same, below the folder
    label: str | int | None = None
    caption: str | None = None
    others: tuple[tuple[str, str], ...] = ()  # (field, path)

    @property
    def files(self) -> dict[str, str]:
        """The path of each picture, by its field."""
        return {"x": self.file, **dict(self.others)}


class About(NamedTuple):
    """What metadata.jsonl says of a picture."""

    label: str | int | None
    caption: str | None
    others: dict[str, str]  # field: the name of its picture


class Listing(NamedTuple):
    """What is in a folder."""

    splits: dict[str, list[Item]]  # train, and test where there is one
    notes: list[str]  # what a user may wonder at, a line each
    bad: list[tuple[str, str]]  # (what can't be read, why)


def listed(root: str) -> Listing:
    """Return what is in the folder `root`: flat, a folder a class, with train/ and test/, or with metadata.jsonl.

    The label of a picture is what metadata.jsonl says, else the folder below the root (below train/, test/) that it is
    in. Raises UserError where the folder can't be read, or labels are of several types.
    """
    files, regular, folders = _walk(root)
    pictures, notes, bad = [f for f in files if f.lower().endswith(ENDINGS)], [], []
    about = _metadata(root, files, regular, bad)
    if about is None:
        notes += _others(f for f in files if not f.lower().endswith(ENDINGS))
        bad += [(f, "is not a file") for f in pictures if f not in regular]
        pictures, about = [f for f in pictures if f in regular], {}
    else:
        named = {*about, *(other for of in about.values() for other in of.others.values())}
        over = sum(f not in named for f in pictures)
        notes += [f"{METADATA} does not name {_count(over)}: left out"] * (over > 0)
        pictures = [f for f in files if f in about]
    splits = _splits(pictures, notes)
    labels = {f: of.label for f, of in about.items() if of.label is not None} or _labels(splits, folders, notes)

    def item(f):
        of = about.get(f, About(None, None, {}))
        others = tuple((field, os.path.join(root, other)) for field, other in of.others.items())
        return Item(os.path.join(root, f), f, labels.get(f), of.caption, others)

    return Listing({split: [item(f) for f in names] for split, names in splits.items()}, notes, bad)


def _walk(root) -> tuple[list[str], set[str], list[str]]:
    """Return the names below root, in order, of all that is no folder, those of them that are files, and all folders.

    What is hidden is left out. Links are followed, but for those to a folder that they are in.
    """
    files, regular, folders = [], set(), []

    def walk(folder, above):
        try:
            with os.scandir(os.path.join(root, folder)) as opened:
                entries = sorted(opened, key=lambda entry: os.fsencode(entry.name))
            found = os.stat(os.path.join(root, folder))
        except OSError as error:
            where = os.path.join(root, folder) if folder else root
            raise UserError(f"{printable(where)} can't be read: {error.strerror}.") from None
        here = (found.st_dev, found.st_ino)
        if here in above:
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
                continue
            name, link = posixpath.join(folder, entry.name), entry.is_symlink()
            if os.path.isdir(entry.path) if link else entry.is_dir():
                folders.append(name)
                walk(name, {*above, here})
                continue
            files.append(name)
            if os.path.isfile(entry.path) if link else entry.is_file():
                regular.add(name)

    walk("", set())
    return files, regular, folders


def _others(files) -> list[str]:
    """Return a line on files that are no pictures by their endings."""
    endings = Counter(os.path.splitext(f)[1].lower() or "(no ending)" for f in files)
    kinds = ", ".join(f"{n:,} {printable(ending)}" for ending, n in endings.most_common(5))
    return [f"no pictures by their endings: {kinds}: left out"] if kinds else []


def _splits(pictures, notes) -> dict[str, dict[str, str]]:
    """Return {split: {picture: its name below that split's folder}}."""
    names = _below({f: f for f in pictures})
    tops = {name.split("/")[0].lower() for name in names.values() if "/" in name}
    held = next((top for top in TEST if top in tops), None)
    if "train" not in tops or held is None:
        return {"train": names}
    of = lambda top: {f: name[len(top) + 1 :] for f, name in names.items() if name.lower().startswith(f"{top}/")}
    splits = {"train": of("train"), "test": of(held)}
    over = len(pictures) - sum(map(len, splits.values()))
    notes += [f"{_count(over)} in neither train/ nor {held}/: left out"] * (over > 0)
    return splits


def _labels(splits, folders, notes) -> dict[str, str]:
    """Return {picture: its class}, the folder that it is in; {} where not every picture is in one of at least two."""
    names = _below({f: name for of_split in splits.values() for f, name in of_split.items()})
    flat = sum("/" not in name for name in names.values())
    if flat:
        notes += [f"no labels: {_count(flat)} in no folder of a class, though others are"] * (flat < len(names))
        return {}
    labels = {f: name.split("/")[0] for f, name in names.items()}
    used = {f[: len(f) - len(name)] + labels[f] for f, name in names.items()}
    empty = [f for f in folders if posixpath.dirname(f) in set(map(posixpath.dirname, used)) - {f} and f not in used]
    notes += [f"folders without pictures: {shown(empty)}"] * (len(empty) > 0)
    nested = any(name.count("/") > 1 for name in names.values())
    notes += ["folders in the folders of classes make no classes of their own"] * nested
    return labels


def _below(names: dict[str, str]) -> dict[str, str]:
    """Return the names without the folders that all of them are in."""
    common = posixpath.commonpath([posixpath.dirname(name) for name in names.values()]) if names else ""
    return {f: name[len(common) :].lstrip("/") for f, name in names.items()}


def _metadata(root, files, regular, bad) -> dict[str, About] | None:
    """Return what the files called metadata.jsonl say, by picture; None where there are none.

    What is wrong with a line is added to `bad`. Raises UserError where labels are of several types.
    """
    tables = [f for f in files if posixpath.basename(f) == METADATA]
    if not tables:
        return None
    about, lines = {}, {}
    for table in tables:
        if table not in regular:
            raise UserError(f"{printable(os.path.join(root, table))} is not a file.")
        try:
            with open(os.path.join(root, table), "rb") as opened:
                text = opened.read().removeprefix(b"\xef\xbb\xbf")
        except OSError as error:
            raise UserError(f"{printable(os.path.join(root, table))} can't be read: {error.strerror}.") from None
        for number, line in enumerate(text.split(b"\n"), 1):
            if line.strip():
                where = f"{table} line {number}"
                try:
                    name, of = _line(line, posixpath.dirname(table), regular)
                    if name in about:
                        raise ValueError(f"names {name} again, after {lines[name]}")
                    about[name], lines[name] = of, where
                except ValueError as error:
                    bad.append((where, str(error)))
    types = {type(of.label): lines[name] for name, of in about.items() if of.label is not None}
    if len(types) > 1:
        where = " and ".join(f"{of.__name__} in {printable(line)}" for of, line in types.items())
        raise UserError(f"labels are of several types: {where}. Make all of them words, or all whole numbers.")
    fields = dict.fromkeys(field for of in about.values() for field in of.others)
    said = {"label": lambda of: of.label, "caption": lambda of: of.caption}
    said |= {f"{field}{OTHER}": lambda of, field=field: of.others.get(field) for field in fields}
    for what, value in said.items():
        lacking = [name for name, of in about.items() if value(of) is None]
        if len(lacking) < len(about):
            bad += [(lines[name], f"has no {what}, though others have") for name in lacking]
            about = {name: of for name, of in about.items() if value(of) is not None}
    return {name: of._replace(others={field: of.others[field] for field in fields}) for name, of in about.items()}


def _line(line, folder, regular) -> tuple[str, About]:
    """Return (picture, what is said of it) of a line of metadata.jsonl. Raises ValueError where it is wrong."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(told, dict) or not isinstance(told.get("file_name"), str):
        raise ValueError("has no file_name")
    name = _there(told["file_name"], folder, regular)
    others = {key.removesuffix(OTHER): value for key, value in told.items() if key.endswith(OTHER)}
    for field, other in others.items():
        if not re.fullmatch(r"[A-Za-z]\w*", field) or field in TAKEN:
            raise ValueError(f"has a {field}{OTHER}; {field or 'that'} can't be a field of its own")
        if not isinstance(other, str):
            raise ValueError(f"has a {field}{OTHER} that is no name")
        others[field] = _there(other, folder, regular)
    label, caption = told.get("label"), told.get("text", told.get("caption"))
    if label is not None and type(label) not in (int, str):
        raise ValueError(f"has the label {json.dumps(label)[:40]}, which is neither a word nor a whole number")
    if caption is not None and type(caption) is not str:
        raise ValueError(f"has the caption {json.dumps(caption)[:40]}, which is no text")
    return name, About(label, caption, others)


def _there(said, folder, regular) -> str:
    """Return the name of a file, said by a line of a table in `folder`. Raises ValueError where it is not there."""
    name = posixpath.normpath(posixpath.join(folder, said))
    if name not in regular:
        raise ValueError(f"names {said}, which is not there")
    return name


def in_order(labels: Iterable) -> list:
    """Return the different labels in order: numbers, and words that are all numbers, as such."""
    labels = set(labels)
    numbers = all(type(label) is int or (label.isascii() and label.isdigit()) for label in labels)
    as_bytes = lambda label: str(label).encode("utf-8", "surrogatepass")
    return sorted(labels, key=lambda label: (int(label), str(label)) if numbers else as_bytes(label))


def shown(names: Sequence, most: int = 5) -> str:
    """Return the first few of some names in one line, and how many more there are."""
    names = list(names)
    more = len(names) - most
    return ", ".join(map(printable, names[:most])) + (f" and {more:,} more" if more > 0 else "")


def _count(n) -> str:
    return f"{n:,} picture{'s' * (n > 1)}"
