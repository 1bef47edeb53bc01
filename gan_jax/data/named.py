"""Named digits: one or two digits of a set in a picture, drawn in the jitted step, and a caption that says which."""

import functools
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import chance, tokens
from gan_jax.data.batches import order
from gan_jax.data.composed import labelled
from gan_jax.data.moving import drawn
from gan_jax.data.source import Field, Source, decode, label
from gan_jax.errors import UserError
from gan_jax.game import rng
from gan_jax.metrics import classifier

WORDS = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"
ONE, ABOVE, LEFT = range(3)  # how digits stand
# upper left corners of both digits, by how they stand, in halves of a digit's side; of one digit the second is nowhere
PLACES = np.array([[[1, 1], [1, 1]], [[0, 1], [2, 1]], [[1, 0], [1, 2]]])


def captions() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return (200 captions, the number of each one [how, first, second], whether it is held out, likewise).

    "a three", "two fives" (side by side), "a three above a seven", "a three left of a seven". Held out are 20 of the
    180 that name two different digits: a above a + 3 and a + 3 left of a, modulo 10. So each digit is seen in each
    place, and each such pair both in the other order and standing in the other way.
    """
    a = [f"{'an' if word == 'eight' else 'a'} {word}" for word in WORDS]
    several = [f"two {word}{'es' if word == 'six' else 's'}" for word in WORDS]
    texts, numbers, held = [*a, *several], np.zeros((3, 10, 10), np.int32), np.zeros((3, 10, 10), bool)
    for i, j in np.ndindex(10, 10):
        numbers[ONE, i, j] = i
        for how, words in ((ABOVE, "above"), (LEFT, "left of")):
            numbers[how, i, j] = 10 + i if i == j else len(texts)
            texts += [f"{a[i]} {words} {a[j]}"] * (i != j)
            held[how, i, j] = (j - i) % 10 == (3 if how == ABOVE else 7)
    return texts, numbers, held


TEXTS, NUMBERS, HELD = captions()
VOCABULARY = tokens.vocabulary(Counter("".join(TEXTS)))
LENGTH = max(map(len, TEXTS)) + 1  # with its end
TOKENS = np.stack([tokens.encoder(VOCABULARY, "char", LENGTH)(text) for text in TEXTS])  # [200, t]
# how digits stand, and which they are, by the caption's number: the last that has it, so "two fives" stand side by side
HOW, FIRST, SECOND = np.stack([np.argwhere(k == NUMBERS)[-1] for k in range(len(TEXTS))]).T.astype(np.int32)


class Reader(NamedTuple):
    """Reads off a picture of named digits whether it shows what its caption says."""

    base: Any  # the set of the digits

    @property
    def classifiers(self) -> tuple:
        """Return the sources whose classifiers must be trained before `right`."""
        return (self.base,)

    def right(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Return whether pictures x [n, ...] show the captions of these numbers y [n]: every digit in its place."""
        h, w, c = self.base.shape
        how, asked = jnp.asarray(HOW)[y], jnp.stack([jnp.asarray(FIRST)[y], jnp.asarray(SECOND)[y]], 1)  # [n], [n, 2]
        at = jnp.asarray(corners(h, w))[how]  # [n, 2, 2]
        crop = lambda x, at: jax.lax.dynamic_slice(x, (*at, 0), (h, w, c))
        cut = jax.vmap(lambda x, at: jax.vmap(lambda at: crop(x, at))(at))(x, at)  # [n, 2, h, w, c]
        said = classifier.load(self.base)(cut.reshape(-1, h, w, c)).argmax(1).reshape(-1, 2)
        return (said[:, 0] == asked[:, 0]) & ((said[:, 1] == asked[:, 1]) | (how == ONE))


def corners(h: int, w: int) -> np.ndarray:
    """Return where digits of these sides begin: [how, digit, (y, x)]."""
    return PLACES * np.array([h, w]) // 2


def named_digits(name: str, base: Source) -> Source:
    """Return the source of pictures x [2 h, 2 w, c] with one or two digits of `base`, and captions `text` of them.

    Pictures are drawn anew out of two orders of the records: one digit alone in a fifth of them, otherwise one above
    the other or one left of the other. Captions that are held out (`captions`) come out the other way round. The test
    split has these alone, a picture for each record of the base's own, always the same ones. y is the caption's number.
    """
    if base.classes != 10 or base.kind != "image" or base.shape[0] != base.shape[1] or base.shape[0] % 2:
        raise UserError(f"{base.name} has no digits to be named: squares of an even side, with ten labels.")
    h, w, c = base.shape
    fields = {
        "x": Field((2 * h, 2 * w, c), "image"),
        "y": label(len(TEXTS), TEXTS),
        "text": Field((LENGTH,), "tokens", np.int32, len(VOCABULARY), VOCABULARY),
    }

    def make(held_out, raw, key, i, b):
        digits, y = raw["x"], raw["y"]  # [b, 2, h, w, c], [b, 2]
        how = raw["how"] if held_out else (chance.below(chance.of_batch(key, i, "named", len(y))(), 5) + 1) // 2
        turned = jnp.asarray(HELD)[how, y[:, 0], y[:, 1]] & (not held_out)
        y = jnp.where(turned[:, None], y[:, ::-1], y)
        digits = jnp.where(turned.reshape(-1, 1, 1, 1, 1), digits[:, ::-1], digits)
        there = jnp.stack([how >= 0, how != ONE], 1).reshape(-1, 2, 1, 1, 1)
        number = jnp.asarray(NUMBERS)[how, y[:, 0], y[:, 1]]
        at = jnp.asarray(corners(h, w))[jnp.asarray(HOW)[number]]
        x = jax.vmap(lambda digits, at: drawn(digits, at, 2 * h))(jnp.where(there, digits, 0), at)
        return decode({"x": x, "y": number, "text": jnp.asarray(TOKENS)[number]})

    records = labelled(base)
    return Source(
        name,
        fields,
        n=base.n,
        pick=lambda key, i, b: jnp.stack([order(rng.at(key, k, "data"), i, b, base.n) for k in range(2)], -1),
        read=records.read,
        whole=records.whole,
        make=functools.partial(make, False),
        test=base.test and _held_out(name, fields, labelled(base.test), functools.partial(make, True)),
        fingerprint=base.fingerprint and f"{base.fingerprint}-named",
        judge=Reader(base),
        nbytes=base.nbytes,
    )


def _held_out(name, fields, base, make) -> Source:
    """Return the source of one picture for each record of the base: every second one as a above a + 3."""

    @functools.cache
    def pairs():
        y = np.asarray(base.whole()["y"])
        of = [np.flatnonzero(y == digit) for digit in range(10)]
        if not all(map(len, of)):
            raise UserError(f"{base.name} has a split without one of the ten digits.")
        rows = np.arange(len(y))
        others = np.array([of[(digit + 3) % 10][k % len(of[(digit + 3) % 10])] for k, digit in enumerate(y)])
        left = rows % 2 == 1
        return np.where(left[:, None], np.stack([others, rows], 1), np.stack([rows, others], 1)), ABOVE + left

    def chosen(indices):
        both, how = pairs()
        return base.read(both[np.asarray(indices)]) | {"how": how[np.asarray(indices)].astype(np.int32)}

    return Source(
        name,
        fields,
        n=base.n,
        pick=lambda key, i, b: order(rng.at(key, 0, "data"), i, b, base.n),
        read=chosen,
        whole=lambda: jax.tree.map(lambda a: a[pairs()[0]], base.whole()) | {"how": pairs()[1].astype(np.int32)},
        make=make,
        nbytes=2 * base.nbytes,
    )
