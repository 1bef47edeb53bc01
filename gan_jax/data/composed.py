"""Sources that are made of others: side by side, of few records or labels, larger, bits, three at a time, coloured."""

import dataclasses
import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import colours
from gan_jax.data.batches import order
from gan_jax.data.listing import shown
from gan_jax.data.source import Field, Source, decode, label
from gan_jax.errors import UserError
from gan_jax.game import rng
from gan_jax.metrics import classifier, modes
from gan_jax.metrics.language import Language


def of_arrays(
    name: str,
    fields: dict[str, Field],
    raw: dict[str, np.ndarray],
    test: Source | None = None,
    fingerprint: str = "",
    language: Language | None = None,
) -> Source:
    """Return the source of records that are rows of these arrays [n, ...], in an order that is drawn.

    Raises UserError where there is no row: a source without records is a toy.
    """
    n = len(next(iter(raw.values())))
    if not n:
        raise UserError(f"{name} has no records of this kind, or a split has none.")
    return Source(
        name,
        fields,
        n=n,
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, n),
        read=lambda indices: {k: a[np.asarray(indices, int)] for k, a in raw.items()},
        whole=functools.partial(dict, raw),
        test=test,
        language=language,
        fingerprint=fingerprint,
        nbytes=sum(a.nbytes for a in raw.values()),
    )


def join(**parts: Source) -> Source:
    """Return the source whose batch is {name: batch of that part}, each in an order of its own: no pairs.

    One part is called x: name, samples and modes are its.
    """
    test = {name: part.test for name, part in parts.items() if part.test}
    of = lambda key, name: rng.at(key, 0, name)
    fingerprints = [part.fingerprint or (not part.n and part.name) for part in parts.values()]
    return Source(
        parts["x"].name,
        {name: part.fields for name, part in parts.items()},
        n=min((part.n for part in parts.values() if part.n), default=0),
        pick=lambda key, i, b: {name: part.pick(of(key, name), i, b) for name, part in parts.items()},
        read=lambda indices: {name: part.read(indices[name]) for name, part in parts.items()},
        whole=lambda: {name: part.whole() for name, part in parts.items()},
        make=lambda raw, key, i, b: {n: part.make(raw[n], of(key, n), i, b) for n, part in parts.items()},
        test=join(**test) if len(test) == len(parts) else None,
        modes=parts["x"].modes,
        fingerprint="+".join(fingerprints) if all(fingerprints) else "",
        content=" ".join(part.content for part in parts.values()).strip(),
        part=parts["x"],
        says="\n".join(part.says for part in parts.values() if part.says),
        nbytes=sum(part.nbytes for part in parts.values()),
    )


def labelled(source: Source, field: str = "y") -> Source:
    """Return the source for training by the labels `field`: UserError, naming the record, where one has none (-1).

    Raises UserError at once where the set has no such single label at all. Classes that no record has are said.
    """
    of = source.row.get(field)
    if of is None or of.shape != () or not of.classes:
        raise UserError(f"{source.name} has no classes, and here each record needs one: say {field}=FEATURE:label.")

    def checked(raw, indices):
        y = np.asarray(raw.get(field, 0)).ravel()  # of what has it from elsewhere, 0
        lacking = np.flatnonzero(y < 0)
        if len(lacking):
            at, which = np.asarray(indices).ravel()[lacking[0]], f" {field}" * (field != "y")
            raise UserError(f"record {at} of {source.name} has no label{which} (-1), and here each needs one.")
        return raw

    def whole():
        raw = checked(source.whole(), np.arange(source.n))
        drawn = field not in raw or not source.fingerprint  # of what is made anew, labels are others than the records'
        empty = [] if drawn else np.setdiff1d(np.arange(of.classes), raw[field]).tolist()
        if empty:
            names = shown(of.names[i] if of.names else str(i) for i in empty)
            _say(f"{source.name} has no record of {len(empty)} of its {of.classes} classes: {names}")
        return raw

    return dataclasses.replace(source, read=lambda indices: checked(source.read(indices), indices), whole=whole)


def same_labels(*sources: Source) -> bool:
    """Return whether sources have labels y that mean the same: as many, of the same names where these are known."""
    classes, names = {s.classes for s in sources}, {s.row["y"].names for s in sources if s.classes}
    return len(classes) == 1 and classes != {0} and len(names - {()}) <= 1


@functools.cache
def _say(line):
    print(line, file=sys.stderr)  # once a process


@functools.cache
def followed(source: Source, other: Source) -> Source:
    """Return the source with all records of `other` behind its own; classes of `other` get numbers behind its own, too.

    Pictures of `other` lose their colours where those of the source have none, and become negatives where they are
    bright on the whole and those dark, or the other way around. Raises UserError where one has no such pictures, or no
    classes, or where sides or channels differ in another way.
    """
    for one in (source, other):
        if not one.n or not one.classes or one.kind != "image":
            raise UserError(f"{one.name} has no pictures with labels, which can stand beside those of another set.")
    if source.shape != other.shape and (source.shape[2] != 1 or other.shape != (*source.shape[:2], 3)):
        of = lambda one: "x".join(map(str, one.shape))
        raise UserError(f"pictures of {other.name} are {of(other)}, those of {source.name} {of(source)}: say size=.")

    @functools.cache
    def whole():
        own, more = source.whole(), other.whole()
        x = colours.luma(more["x"].astype(np.int32)).astype(np.uint8) if source.shape[2] == 1 else more["x"]
        x = x if (x.mean() > 127.5) == (own["x"].mean() > 127.5) else 255 - x
        behind = {"x": x, "y": np.where(more["y"] < 0, -1, more["y"] + source.classes).astype(np.int32)}
        return {name: np.concatenate([own[name], a]) for name, a in behind.items()}

    rows, fields = source.n + other.n, {"x": source.row["x"], "y": label(source.classes + other.classes)}
    return dataclasses.replace(
        source,
        fields=fields,
        n=rows,
        says=f"{source.says}; {other.says} behind",
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, rows),
        read=lambda indices: {name: a[np.asarray(indices, int)] for name, a in whole().items()},
        whole=whole,
        test=None,
        fingerprint=source.fingerprint and other.fingerprint and f"{source.fingerprint}-then-{other.fingerprint}",
        content=f"{source.content} {other.content}".strip(),
        nbytes=source.nbytes + rows * 4 + other.n * math.prod(source.shape),
    )


def open_set(source: Source, n: int, other: Source | None = None) -> Source:
    """Return the labelled source whose last n classes are unknown: none of their records is trained on.

    Its test split is as it is, all classes in it, and of `other`, where it is given, all records stand behind. Raises
    UserError where nothing would be unknown, where there is no test split, or where a record has no label.
    """
    if not n and other is None:
        raise UserError(f"no class of {source.name} is held out, and no other set is unknown: nothing is.")
    if not source.test:
        raise UserError(f"{source.name} has no test split, in which what is unknown could be asked for: say test=.")
    known, test = unseen(labelled(source), n), labelled(source.test)
    if other is None:
        return dataclasses.replace(known, test=test)
    content = f"{source.content} {other.content}".strip()
    return dataclasses.replace(known, test=followed(test, labelled(other)), content=content)


def few(source: Source, n: int) -> Source:
    """Return the source of n of its records, drawn without a look at their labels; which ones is a function of the key.

    Their order is another one in every epoch. With n = 0, and of a toy, nothing is held back. Raises UserError where
    there are fewer records.
    """
    if not n or not source.n:
        return source
    if n > source.n:
        raise UserError(f"{source.name} has {source.n} records, fewer than {n}: ask for less.")

    def pick(key, i, b):
        return order(rng.at(key, 0, "few"), 0, n, source.n)[order(rng.at(key, 0, "data"), i, b, n)]

    return dataclasses.replace(source, n=n, pick=pick)


def only_labelled(source: Source, n: int) -> Source:
    """Return the source of n labelled records, equally many of each class; which ones is a function of the run's key.

    Of a toy, which has no records, nothing is held back. Raises UserError where n can't be shared out, or a class has
    fewer records than its share.
    """
    if not source.n:
        return source
    if not source.classes or n % source.classes or n < 1:
        raise UserError(f"{source.name} has {source.classes} classes: {n} labels can't be shared out.")
    each = n // source.classes

    @functools.cache
    def labels():
        y = np.asarray(source.whole()["y"])
        counts = np.bincount(y[y >= 0], minlength=source.classes)
        for which, count in enumerate(counts):
            if count < each:
                name = source.row["y"].names[which] if source.row["y"].names else which
                raise UserError(f"{source.name} has {count} records of class {name}, fewer than {each}: ask for less.")
        return y

    def pick(key, i, b):
        key, y = rng.at(key, 0, "data"), labels()
        rarest = np.bincount(y[y >= 0], minlength=source.classes).min()
        # records to find them among: surely enough of each class, and all of them where one is rare
        seen = min(source.n, 20 * n) if rarest * 20 * n >= (3 * each + 20) * source.n else source.n
        first = order(rng.at(key, 0, "labelled"), 0, seen, source.n)
        of_class = jnp.asarray(y)[first][:, None] == jnp.arange(source.classes)[None]  # [seen, classes]
        rows = jax.vmap(lambda is_c: first[jnp.nonzero(is_c, size=each)[0]], 1)(of_class).reshape(-1)  # [n]
        at = i * b + jnp.arange(b)  # they come around again and again, shuffled
        return rows[jax.vmap(lambda j: order(key, j, 1, n)[0])(at)]

    return dataclasses.replace(source, pick=pick)


def of_class(source: Source, which: int, field: str = "y") -> Source:
    """Return the source of the records of one class alone, held out or not; `field` is the label that says which.

    Raises UserError where there are no classes, or a split that has no such record.
    """
    of = source.row.get(field)
    if not source.n or of is None or of.shape or not of.classes:
        raise UserError(f"{source.name} has no records with labels, by which one class could be taken.")
    if not 0 <= which < of.classes:  # -1 would be those without a label
        raise UserError(f"{source.name} has classes 0 to {of.classes - 1}, and no class {which}.")
    rows = np.flatnonzero(np.asarray(source.whole()[field]) == which)
    if not len(rows):
        raise UserError(f"{source.name} has a split without any record of class {which}.")
    said, mark = of.names[which] if of.names else which, f"{field * (field != 'y')}{which}"
    test = source.test and of_class(source.test, which, field)
    return _of_rows(source, rows, f"only {said}", f"class{mark}", test)


@functools.cache
def unseen(source: Source, n: int) -> Source:
    """Return the source whose last n classes are held out: none of their records is trained on, and these are its test.

    With n > 0 a test split that it has is left aside. With n = 0, and of a toy, the source stays as it is. Raises
    UserError where there are no classes, or so few that one of both has no record.
    """
    if not n or not source.n:
        return source
    late = np.asarray(source.whole()["y"]) >= source.classes - n if source.classes else np.zeros(1, bool)
    if late.all() or not late.any():
        raise UserError(
            f"{source.name} has {source.classes} classes: the last {n} can't be held out. Ask for fewer, or 0."
        )
    held = _of_rows(source, np.flatnonzero(late), f"the last {n} classes", f"last{n}", None)
    return _of_rows(source, np.flatnonzero(~late), f"the last {n} classes held out", f"butlast{n}", held)


def _of_rows(source, rows, said, mark, test):
    """Return the source of some of its records, which are those that `said` says, and `mark` in its fingerprint."""
    return dataclasses.replace(
        source,
        n=len(rows),
        says=source.says and f"{source.says}; {said}",
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, len(rows)),
        read=lambda indices: source.read(rows[np.asarray(indices, int)]),
        whole=lambda: jax.tree.map(lambda a: a[rows], source.whole()),
        test=test,
        fingerprint=source.fingerprint and f"{source.fingerprint}-{mark}",
        nbytes=source.nbytes * len(rows) // source.n,
    )


@functools.cache
def alone(source: Source, which: int) -> Source:
    """Return the toy whose every row is one record of the source, number `which` from 0 on; other recipes cut it.

    Nothing of it is held out: `test` is the same. Raises UserError where there is no such record.
    """
    if not 0 <= which < source.n:
        raise UserError(f"{source.name} has {source.n} records: there is no number {which}, counted from 0 on.")
    record = functools.cache(lambda: source.read(np.array([which])))

    def make(_, key, i, b):
        batch = source.make(record(), key, i, 1)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (b, *a.shape[1:])), batch)

    toy = Source(
        source.name,
        source.fields,
        make=make,
        fingerprint=source.fingerprint and f"{source.fingerprint}-record{which}",
        content=source.content,
        says=source.says and f"{source.says}; only record {which}",
    )
    return dataclasses.replace(toy, test=toy)


@functools.cache
def counterparts(source: Source, field: str, which: int) -> Source:
    """Return the source of pairs: x is a record whose label `field` is `which`, `source` is the x of one of another.

    They agree in all fields but x, y and `field`. Where there is no such x, the last of these fields doesn't count,
    then the one before, and so on, but always the first; a record without any is left out. `field` says what `source`
    has, the others are those of x. What is held out is paired within itself. Raises UserError where nothing says what a
    pair has in common, or a split has no pairs.
    """
    by = [name for name in source.fields if name not in ("x", "y", field)]
    if not source.n or source.fields.get(field, Field((), "row")).kind != "label" or not by:
        raise UserError(f"{source.name} has no pairs by {field}: say {field}=FEATURE, and what a pair has in common.")
    rows, others = _matched(source.whole(), field, which, by)
    if not len(rows):
        raise UserError(f"{source.name} has a split without any pair of {field} {which} and another one.")

    def both(xs, beside):
        return xs | {"source": beside["x"], field: beside[field]}

    def make(raw, *key_i_b):
        rest = {name: a for name, a in raw.items() if name != "source"}
        return source.make(rest, *key_i_b) | {"source": source.make({"x": raw["source"]}, *key_i_b)["x"]}

    def read(indices):
        return both(*(source.read(of[np.asarray(indices, int)]) for of in (rows, others)))

    return dataclasses.replace(
        source,
        n=len(rows),
        fields=source.fields | {"source": source.fields["x"]},
        says=source.says and f"{source.says}; {len(rows)} pairs by {field}",
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, len(rows)),
        read=read,
        whole=lambda: both(*(jax.tree.map(lambda a, of=of: a[of], source.whole()) for of in (rows, others))),
        make=make,
        modes=None,
        test=source.test and counterparts(source.test, field, which),
        fingerprint=source.fingerprint and f"{source.fingerprint}-{field}{which}",
        nbytes=2 * source.nbytes * len(rows) // source.n,
    )


def _matched(raw, field, which, by):
    """Return the indices (of records that are `which`, of those that belong to them), in the order of the latter."""
    said = lambda k, n: tuple(np.asarray(raw[name][k]).tobytes() for name in by[:n])
    there, depths = np.asarray(raw[field]) == which, range(len(by), 0, -1)
    first = {}
    for k in np.flatnonzero(there):
        for n in depths:
            first.setdefault(said(k, n), k)
    found = []
    for k in np.flatnonzero(~there):
        match = next((first[said(k, n)] for n in depths if said(k, n) in first), None)
        found += [] if match is None else [(match, k)]
    return np.array(found, int).reshape(-1, 2).T


def enlarged(name: str, base: Source, times: int) -> Source:
    """Return the source of the same images, each pixel a square of times x times."""

    def larger(raw):
        return raw | {"x": raw["x"].repeat(times, -3).repeat(times, -2)}

    h, w, c = base.shape
    return dataclasses.replace(
        base,
        name=name,
        fields=base.fields | {"x": Field((times * h, times * w, c), "image")},
        read=lambda indices: larger(base.read(indices)),
        whole=lambda: larger(base.whole()),
        test=base.test and enlarged(name, base.test, times),
        judge=None,
        fingerprint=base.fingerprint and f"{base.fingerprint}-{times}x",
        nbytes=base.nbytes + base.n * h * w * c * (times**2 - 1),
    )


def bits(name: str, base: Source) -> Source:
    """Return the source of the same images as rows of numbers, 1 where a pixel is brighter than half, and else 0."""

    def rows(raw):
        return raw | {"x": (raw["x"] > 127).astype(np.float32).reshape(*raw["x"].shape[:-3], -1)}

    size = math.prod(base.shape)
    return dataclasses.replace(
        base,
        name=name,
        fields=base.fields | {"x": Field((size,), "row")},
        read=lambda indices: rows(base.read(indices)),
        whole=lambda: rows(base.whole()),
        test=base.test and bits(name, base.test),
        judge=None,
        fingerprint=base.fingerprint and f"{base.fingerprint}-bits",
        nbytes=base.nbytes + base.n * size * 3,
    )


def inked(name: str, base: Source) -> Source:
    """Return the source of the same images with a label for each pixel: 0 on paper, 1 + the image's class on ink."""

    def mapped(raw):
        return raw | {"y": np.where(raw["x"][..., 0] > 127, 1 + raw["y"][..., None, None], 0).astype(np.int32)}

    h, w, _ = base.shape
    records = labelled(base)
    return dataclasses.replace(
        records,
        name=name,
        fields=base.fields | {"y": Field((h, w), "label", np.int32, base.classes + 1)},
        read=lambda indices: mapped(records.read(indices)),
        whole=lambda: mapped(records.whole()),
        test=base.test and inked(name, base.test),
        modes=None,
        judge=None,
        fingerprint=base.fingerprint and f"{base.fingerprint}-inked",
        nbytes=base.nbytes + 4 * base.n * h * w,
    )


def stacked(name: str, base: Source) -> Source:
    """Return the source whose images are three records of a grey set, drawn apart, as red, green and blue.

    Its label is 100 red + 10 green + blue, so MNIST gives 1000 modes (Metz et al. 2017, arXiv 1611.02163). Batches are
    stacked on the fly, out of three orders of the records.
    """

    def make(raw, *_):
        x, y = raw["x"][..., 0], raw["y"]  # [b, 3, h, w], [b, 3]
        places = base.classes ** np.arange(2, -1, -1, dtype=np.int32)
        return decode({"x": x.swapaxes(-3, -2).swapaxes(-2, -1), "y": y @ places})

    records = labelled(base)
    return Source(
        name,
        {"x": Field((*base.shape[:2], 3), "image"), "y": label(base.classes**3)},
        n=base.n,
        pick=lambda key, i, b: jnp.stack([order(rng.at(key, c, "data"), i, b, base.n) for c in range(3)], -1),
        read=records.read,
        whole=records.whole,
        make=make,
        modes=modes.Stacked(base, lambda: classifier.load(base)),
        nbytes=base.nbytes,
    )


def coloured(name: str, base: Source, std: float = 0.5, noise: float = 0.2) -> Source:
    """Return the source of one image of each class of a grey set, each time in another colour, drawn as a toy is.

    With ink in [0, 1], a colour C ~ N(0, std^2 I) and noise of each pixel and channel: x = ink C + ink - 1 + noise, cut
    to [-1, 1]. The set on which Metz et al. 2017 (arXiv 1611.02163) measure the diversity of colours, as we read their
    appendix; which images they took, and how many, we don't know.
    """

    @functools.cache
    def images():
        raw = labelled(base).whole()
        which, first = np.unique(raw["y"], return_index=True)
        return raw["x"][first].astype(np.float32) / 255, which.astype(np.int32)  # [there, h, w, 1], their classes

    def make(raw, key, i, b):
        keys = jax.random.split(jax.random.fold_in(rng.at(key, 0, "data"), i), 3)
        x, classes = map(jnp.asarray, images())
        which = jax.random.randint(keys[0], (b,), 0, len(x), jnp.int32)
        ink = x[which]
        paint = std * rng.normal(keys[1], (b, 1, 1, 3))
        x = ink * paint + ink - 1 + noise * rng.normal(keys[2], (*ink.shape[:3], 3))
        return {"x": jnp.clip(x, -1, 1), "y": classes[which]}

    return Source(name, {"x": Field((*base.shape[:2], 3), "image"), "y": label(base.classes)}, make=make)
