"""Batches: batch i is a function of (key, i), so a resumed run needs no iterator state.

What fits is kept on the device whole and gathered there; other records are read ahead on the host. `pick` says in both
cases which records make batch i, and `make` makes it of them inside the jitted step.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.source import Source
from gan_jax.errors import UserError

CLASSES = 100  # whose means are told apart in a `reference`, at most


def order(key: jax.Array, i: jax.typing.ArrayLike, b: int, n: int) -> jax.Array:
    """Return the indices [b] of the records of batch i: each epoch is a permutation of range(n) of its own.

    An epoch has n // b batches; the n % b records that are left over differ from epoch to epoch. The permutation is
    the swap-or-not shuffle (Hoang, Morris and Rogaway 2012): arithmetic on the position alone, so no epoch is ever
    stored and any batch costs the same.
    """
    if b > n:
        there = "record that there is" if n == 1 else "records that there are"
        raise UserError(f"a batch of {b} is more than the {n} {there}: lower --batch-size.")
    epoch, k = i // (n // b), i % (n // b)
    rounds = 6 * max(n - 1, 1).bit_length()
    keys = jax.random.bits(jax.random.fold_in(key, epoch), (rounds, 2), jnp.uint32)  # [rounds, 2]

    def swap(index, key):
        partner = ((key[0] % n).astype(jnp.int32) + n - index) % n
        mixed = jnp.maximum(index, partner).astype(jnp.uint32) ^ key[1]
        for multiplier in (0x7FEB352D, 0x846CA68B):  # an integer hash, one bit of which says whether to swap
            mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(multiplier)
        return jnp.where((mixed >> 31) == 1, partner, index), None

    return jax.lax.scan(swap, k * b + jnp.arange(b, dtype=jnp.int32), keys)[0]


def take(records: Any, indices: Any) -> Any:
    """Return raw records [*shape of the indices, ...] out of all of them; of joined sources each part's its own."""
    if isinstance(indices, dict):
        return {name: take(records[name], part) for name, part in indices.items()}
    return jax.tree.map(lambda a: a[indices], records)


def batch(source: Source, records: Any, key: jax.Array, i: jax.typing.ArrayLike, b: int) -> dict:
    """Return batch i for use inside jit; `records`: what `resident` returned, passed as an argument of that jit."""
    return source.make(take(records, source.pick(key, i, b)), key, i, b)


def draw(source: Source, key: jax.Array, n: int) -> dict:
    """Return n rows of a source that has no records, for use inside jit."""
    return source.make({}, key, 0, n)


def stream(source: Source, keys: jax.Array, b: int, start: int, rows: slice = slice(None)) -> Iterator[dict]:
    """Yield the raw records of batches start, start + 1, ... read ahead by Grain: bit for bit those that `batch` takes.

    keys: one key, or one for each of S seeds (then they are [S, b, ...]). rows: the part of b to read here.
    """
    import grain

    def indices(key, i):
        return jax.tree.map(lambda index: index[rows], source.pick(key, i, b))

    indices = jax.jit(indices if keys.ndim == 0 else jax.vmap(indices, (0, None)))
    read = lambda i: source.read(jax.tree.map(np.asarray, indices(keys, i)))
    batches = grain.MapDataset.range(start, 2**31 - 1).map(read)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))


def check_batch(source: Source, b: int) -> None:
    """Raise UserError where batches of b can't be made, or the first record can't be read as what it should be."""
    picked = lambda b: jax.eval_shape(lambda key: source.pick(key, 0, b), jax.random.key(0))
    try:
        picked(b)
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from None
    source.read(jax.tree.map(lambda index: np.zeros(index.shape, int), picked(1)))


def resident(source: Source) -> dict:
    """Return all raw records as numpy arrays ({} for a toy), for use as `batch`'s `records`."""
    return source.whole()


def some(source: Source, n: int) -> dict[str, np.ndarray]:
    """Return at most n rows of a source, the same at every call, out of all of it, as numpy arrays.

    Of joined sources, the rows of the first one.
    """
    key, n = jax.random.key(0), min(n, source.n or n)
    raw = source.read(jax.tree.map(np.asarray, jax.jit(lambda: source.pick(key, 0, n))()))
    found = jax.jit(lambda raw: source.make(raw, key, 0, n))(raw)
    while isinstance(found["x"], dict):
        found = found["x"]
    return jax.tree.map(np.asarray, found)


def parts(source: Source, n: int, of: int = 0, b: int = 500) -> Iterator[dict[str, np.ndarray]]:
    """Yield n rows of a source in parts of up to b, out of all of it, each record once, as numpy arrays.

    They are a function of `of`: of a toy another number gives other draws.
    """
    key = jax.random.key(of)
    indices = jax.tree.map(np.asarray, jax.jit(lambda: source.pick(key, 0, n))())
    make = jax.jit(source.make, static_argnums=3)
    for i, start in enumerate(range(0, n, b)):
        raw = source.read(jax.tree.map(lambda a, start=start: a[start : start + b], indices))
        yield jax.tree.map(np.asarray, make(raw, key, i, min(b, n - start)))


_COUNTED = contextvars.ContextVar("_COUNTED", default=None)


@contextlib.contextmanager
def counted() -> Iterator[list[int]]:
    """Yield a list to which `examples` adds, each time that it is called or traced, how many different rows it gave."""
    found = []
    token = _COUNTED.set(found)
    try:
        yield found
    finally:
        _COUNTED.reset(token)


def examples(source: Source, key: jax.Array, n: int) -> dict:
    """Return n rows of the records that are held out, or of all where none are, for use inside jit.

    They are drawn out of a thousand, the same at every call, of the whole split; where that has fewer than n, the first
    rows are all of its records, and then these come again. Of a toy, n new ones.
    """
    source = source.test or source
    if not source.n:
        return draw(source, key, n)
    size = min(1000, source.n)
    if (found := _COUNTED.get()) is not None:
        found.append(min(n, size))
    with jax.ensure_compile_time_eval():  # the records are constants of the program
        raw = source.read(jax.tree.map(np.asarray, source.pick(jax.random.key(0), 0, size)))
    rows = jnp.resize(jax.random.choice(key, size, (min(n, size),), False), (n,))
    return source.make(jax.tree.map(lambda a: jnp.asarray(a)[rows], raw), key, 0, n)


def reference(source: Source) -> dict[str, np.ndarray]:
    """Return real data to hold samples against: "real" [up to 256, *shape], and "anchors" or "means" [a, *shape].

    The anchors are the data's modes where they are known, or ten of the records. Where modes are not known, and there
    are records of a few classes, the means of these classes stand in the place of anchors.
    """
    found, anchors = some(source, 1000), source.modes.anchors if source.modes else None
    x, few = found["x"], 0 < source.classes <= CLASSES
    means = [x[found["y"] == y].mean(0) for y in np.unique(found["y"]) if y >= 0] if few else []  # -1 is no label
    if means and not source.modes:
        return {"real": x[:256], "means": np.asarray(means, np.float32)}
    anchors = (means or x[:10]) if anchors is None else anchors
    return {"real": x[:256], "anchors": np.asarray(anchors, np.float32)}


def resized(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return images x [b, ...] at the size of `shape` [h, w, c], bilinear; grey ones in as many channels.

    Raises UserError where one of both is no image and the other one is not as it is.
    """
    if x.shape[1:] == tuple(shape):
        return x
    if x.ndim != 4 or len(shape) != 3:
        raise UserError(f"rows of shape {x.shape[1:]} can't become {tuple(shape)}: choose images for both, or points.")
    return jax.image.resize(x, (x.shape[0], *shape), "linear")
