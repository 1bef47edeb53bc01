"""Data: batch i is a function of (key, i), so a resumed run needs no iterator state.

Toys are drawn from a key inside the jitted step. Record sets (TFDS) are kept on the device as uint8 and gathered there,
or, where they are too large, read ahead on the host; `order` says in both cases which records make batch i.
`x` is float32 in [-1, 1], NHWC (toys: points [b, 2]); `y` is an int32 label where the set has labels (toys: the mode).
"""

import dataclasses
import functools
import re
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import cache, records
from gan_jax.game import rng
from gan_jax.errors import UserError
from gan_jax.data.source import Source
from gan_jax.data.toys import grid, ring, spiral


def join(**parts: Source) -> Source:
    """Return the source whose batch is {name: batch of that part}. Name, shape and modes are those of the first one."""
    first, *_ = parts.values()
    test = {name: part.test for name, part in parts.items() if part.test}
    return dataclasses.replace(first, draw=None, parts=parts, test=join(**test) if len(test) == len(parts) else None)


def only_labelled(source: Source, n: int) -> Source:
    """Return the source of n labelled records, equally many of each class; which ones is a function of the run's key.

    Of a toy, which has no records, nothing is held back.
    """
    return dataclasses.replace(source, labelled=0 if source.draw else n)


def stacked(name, of="mnist") -> Source:
    """Return the source whose images are three records of a grey set, drawn apart, as red, green and blue.

    Its label is 100 red + 10 green + blue, so MNIST gives 1000 modes (Metz et al. 2017, arXiv 1611.02163). Batches are
    stacked on the fly, out of three orders of the records.
    """
    base = load(of)

    def read(indices):
        rows = (np.asarray(indices)[:, None] + base.n // 3 * np.arange(3)) % base.n
        return _stacked(base, {k: a.reshape(*rows.shape, *a.shape[1:]) for k, a in base.read(rows.ravel()).items()})

    return Source(name, (*base.shape[:2], 3), n=base.n, read=read, classes=base.classes**3, base=base)


def _stacked(base, raw):
    """Return raw records {"x": [..., 3, h, w, 1], "y": [..., 3]} of the base as {"x": [..., h, w, 3], "y": [...]}."""
    places = base.classes ** np.arange(2, -1, -1, dtype=np.int32)
    return {"x": raw["x"][..., 0].swapaxes(-3, -2).swapaxes(-2, -1), "y": raw["y"] @ places}


def coloured(name, of="mnist", std=0.5, noise=0.2) -> Source:
    """Return the source of one image of each class of a grey set, each time in another colour, drawn as a toy is.

    With ink in [0, 1], a colour C ~ N(0, std^2 I) and noise of each pixel and channel: x = ink C + ink - 1 + noise, cut
    to [-1, 1]. The set on which Metz et al. 2017 (arXiv 1611.02163) measure the diversity of colours, as we read their
    appendix; which images they took, and how many, we don't know.
    """
    base = load(of)

    @functools.cache
    def images():
        raw = base.read(np.arange(min(1000, base.n)))
        return raw["x"][np.unique(raw["y"], return_index=True)[1]].astype(np.float32) / 255  # [classes, h, w, 1]

    def draw(key, n):
        keys = jax.random.split(key, 3)
        y = jax.random.randint(keys[0], (n,), 0, base.classes)
        ink = jnp.asarray(images())[y]
        paint = std * jax.random.normal(keys[1], (n, 1, 1, 3))
        x = ink * paint + ink - 1 + noise * jax.random.normal(keys[2], (*ink.shape[:3], 3))
        return {"x": jnp.clip(x, -1, 1), "y": y}

    return Source(name, (*base.shape[:2], 3), draw, classes=base.classes)


DATASETS = {
    "ring8": ring,  # Unrolled GAN, as we read its appendix
    "ring8_unit": functools.partial(ring, radius=1.0, std=0.01),  # VEEGAN and PacGAN
    # The public notebook of Unrolled GAN spaces its 8 angles over [0, 2 pi] with both ends, so the first and the last
    # coincide: 7 distinct modes, one of double weight.
    "ring8_notebook": functools.partial(ring, radius=1.0, std=0.01, turn=8 / 7),
    "ring8_unbalanced": functools.partial(ring, weights=range(1, 9)),  # counterclockwise: 1/36, 2/36, ... 8/36
    "grid25": grid,  # VEEGAN and PacGAN
    "spiral": spiral,
    "digits": records.load,  # the 8x8 digits of scikit-learn: the embedded image set
    "stacked_mnist": stacked,
    "stacked_digits": functools.partial(stacked, of="digits"),
    "coloured_mnist": coloured,
}


@functools.cache
def load(name: str) -> Source:
    """Return the source called `name`: one of DATASETS, a ring of any size, or any TFDS image set (in TFDS_DATA_DIR).

    Cheap: records are read only later. Raises UserError where there is no such set or it can't be prepared.
    """
    if re.fullmatch(r"ring[1-9]\d{0,3}", name):
        return ring(name, int(name.removeprefix("ring")))
    return DATASETS[name](name) if name in DATASETS else records.load(name, DATASETS)


# Batches


def order(key, i, b: int, n: int):
    """Return the indices [b] of the records of batch i: each epoch is a permutation of range(n) of its own.

    An epoch has n // b batches; the n % b records that are left over differ from epoch to epoch. The permutation is
    the swap-or-not shuffle (Hoang, Morris and Rogaway 2012): arithmetic on the position alone, so no epoch is ever
    stored and any batch costs the same.
    """
    epoch, k = i // (n // b), i % (n // b)
    rounds = 6 * max(n - 1, 1).bit_length()
    keys = jax.random.bits(jax.random.fold_in(key, epoch), (rounds, 2))  # [rounds, 2]

    def swap(index, key):
        partner = ((key[0] % n).astype(jnp.int32) + n - index) % n
        mixed = jnp.maximum(index, partner).astype(jnp.uint32) ^ key[1]
        for multiplier in (0x7FEB352D, 0x846CA68B):  # an integer hash, one bit of which says whether to swap
            mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(multiplier)
        return jnp.where((mixed >> 31) == 1, partner, index), None

    return jax.lax.scan(swap, k * b + jnp.arange(b, dtype=jnp.int32), keys)[0]


def batch(source: Source, arrays, key, i, b: int) -> dict[str, jax.Array]:
    """Return batch i for use inside jit; `arrays`: what `resident` returned, passed as an argument of that jit."""
    if source.parts:
        return {name: batch(part, arrays[name], rng.at(key, 0, name), i, b) for name, part in source.parts.items()}
    if source.draw:
        return source.draw(jax.random.fold_in(rng.at(key, 0, "data"), i), b)
    rows = _labelled(source, arrays["y"], key, i, b) if source.labelled else _rows(source, key, i, b)
    raw = {name: a[rows] for name, a in arrays.items()}
    return decode(_stacked(source.base, raw) if source.base else raw)


def _rows(source, key, i, b):
    """Return the indices of the records of batch i: [b], or [b, 3] of the base."""
    if source.base:
        return jnp.stack([order(rng.at(key, c, "data"), i, b, source.n) for c in range(3)], -1)
    return order(rng.at(key, 0, "data"), i, b, source.n)


def _labelled(source, y, key, i, b):
    """Return the indices [b] of batch i of `source.labelled` records; they come around again and again, shuffled."""
    key, n, each = rng.at(key, 0, "data"), source.labelled, source.labelled // source.classes
    seen = min(source.n, 20 * n)  # records to find them among: enough, unless a class is very rare
    first = order(rng.at(key, 0, "labelled"), 0, seen, source.n)
    of_class = y[first][:, None] == jnp.arange(source.classes)[None]  # [seen, classes]
    rows = jax.vmap(lambda is_c: first[jnp.nonzero(is_c, size=each)[0]], 1)(of_class).reshape(-1)  # [n]
    at = i * b + jnp.arange(b)
    return rows[jax.vmap(lambda j: order(key, j, 1, n)[0])(at)]


def decode(raw) -> dict[str, jax.Array]:
    """Return a raw batch with `x` turned from uint8 into float32 in [-1, 1]."""
    # 2x - 255 is exact, so only the product rounds: the same bits in every program that XLA makes of it
    return raw | {"x": (raw["x"].astype(jnp.float32) * 2 - 255) * np.float32(1 / 255)}


def stream(source: Source, keys, b: int, start: int, rows=slice(None)) -> Iterator[dict[str, np.ndarray]]:
    """Yield raw batches start, start + 1, ... read ahead by Grain: bit for bit those of `batch`, before `decode`.

    keys: one key, or one for each of S seeds (batches then are [S, b, ...]). rows: the part of b to read here.
    """
    import grain

    def indices(key, i):
        return _rows(source, key, i, b)[rows]

    indices, of = jax.jit(indices if keys.ndim == 0 else jax.vmap(indices, (0, None))), source.base or source

    def read(i):
        index = np.asarray(indices(keys, i))
        raw = {k: a.reshape(*index.shape, *a.shape[1:]) for k, a in of.read(index.ravel()).items()}
        return _stacked(of, raw) if source.base else raw

    batches = grain.MapDataset.range(start, 2**31 - 1).map(read)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))


def check_batch(source: Source, b: int):
    """Raise UserError where batches of b can't be made."""
    for part in (source.parts or {}).values():
        check_batch(part, b)
    if source.labelled and (source.labelled % max(source.classes, 1) or not source.classes):
        raise UserError(f"{source.name} has {source.classes} classes: {source.labelled} labels can't be shared out.")
    if source.n and not source.labelled and b > source.n:
        raise UserError(f"{source.name} has {source.n} records, fewer than a batch of {b}: lower --batch-size.")


def resident(source: Source) -> dict[str, np.ndarray]:
    """Return the whole set, decoded, as numpy arrays ({} for a toy); the decoded copy is cached on disk."""
    if source.parts:
        return {name: resident(part) for name, part in source.parts.items()}
    if source.draw:
        return {}
    source = source.base or source
    file = cache.FOLDER / "arrays" / f"{source.fingerprint}.npz"
    try:
        with file.open("rb") as opened, np.load(opened) as arrays:
            return dict(arrays)
    except Exception:  # missing, or cut short: read the records again
        print(f"reading {source.name}: {source.n} records", file=sys.stderr)
    parts = [source.read(np.arange(a, min(a + 1000, source.n))) for a in range(0, source.n, 1000)]
    arrays = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    cache.write_arrays(file, arrays)
    return arrays


def reference(source: Source) -> dict[str, np.ndarray]:
    """Return real data to hold samples against: "real" [up to 256, *shape], and "anchors" [a, *shape].

    The anchors are a toy's modes, the means of the classes (up to 100) that the first 1,000 records have, or ten of the
    records.
    """
    source = next(iter(source.parts.values())) if source.parts else source
    if source.draw:
        real = np.asarray(jax.jit(source.draw, static_argnums=1)(jax.random.key(0), 256)["x"])
        return {"real": real, "anchors": np.asarray(source.modes[0] if source.modes else real[:10], np.float32)}
    raw = source.read(np.arange(min(1000, source.n)))
    x = (raw["x"].astype(np.float32) * 2 - 255) / 255
    means = [x[raw["y"] == y].mean(0) for y in np.unique(raw["y"])] if 0 < source.classes <= 100 else x[:10]
    return {"real": x[:256], "anchors": np.asarray(means)}
