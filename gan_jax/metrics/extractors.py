"""What samples and data are looked at with: themselves, their pixels, a classifier, VGG16 or Inception."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.metrics import classifier, inception, vgg

AT_ONCE = 250  # pictures that a network sees at a time


class Extractor(NamedTuple):
    """A way to see rows of data."""

    name: str  # part of the protocol of every number that it gives; "" for the rows themselves
    digest: str  # of its parameters
    see: Callable  # x [b, ...] as a batch has it -> (features [b, d], class probabilities [b, classes] or None)
    says: str = ""  # what else is to be known of it


class Seen(NamedTuple):
    """Rows of data, or samples, and what an extractor sees of them; all on the host."""

    x: Any  # points float32 [n, c], pictures uint8 [n, h, w, c]
    features: np.ndarray  # [n, d]
    probabilities: np.ndarray | None  # [n, classes], where the extractor is a classifier


def seen(extractor: Extractor, x, said=lambda rows: None) -> Seen:
    """Return what the extractor sees of points or pictures x [n, ...]; said: called with each part's number of rows."""
    parts = []
    for start in range(0, len(x), AT_ONCE):
        part = x[start : start + AT_ONCE]
        some = np.concatenate([part, np.repeat(part[-1:], AT_ONCE - len(part), 0)])  # one shape: compiled once
        found = extractor.see(np.asarray(data.decode(some)))
        parts.append([None if a is None else np.asarray(a)[: len(part)] for a in found])
        said(len(part))
    features, probabilities = (None if p[0] is None else np.concatenate(p) for p in zip(*parts, strict=True))
    return Seen(x, features, probabilities)


def chosen(name: str, source, live) -> Extractor:
    """Return the extractor of this name for a source of points or pictures.

    name: "classifier", "vgg16", "pixels", a file of Inception's weights, or "", which is the points themselves, of
    pictures the classifier of their set, and the pixels where none can be trained. live: as `classifier.load` has it.
    Raises UserError where there is no such extractor of these data.
    """
    if source.kind == "points":
        if name:
            raise UserError(f"{source.name} are points: their features are they themselves. Leave --features out.")
        return Extractor("", "", lambda x: (x, None))
    labelled = source.modes is not None or bool(source.classes and source.test)
    name = name or ("classifier" if labelled else "pixels")
    if name == "pixels":
        flat = lambda x: (x.reshape(len(x), -1), None)
        return Extractor("pixels", "none", flat, "" if labelled else NO_CLASSIFIER.format(source.name))
    if name == "classifier":
        return of_classifier(source, live)
    if source.shape[-1] not in (1, 3):
        raise UserError(
            f"{source.name} has pictures of {source.shape[-1]} channels: {name} sees grey and colours only."
        )
    if name == "vgg16":
        layers = vgg.load()
        see = jax.jit(vgg.features)
        return Extractor("vgg16", vgg.digest(layers), lambda x: (see(layers, x), None))
    if not name.endswith(".npz"):
        raise UserError(
            f"--features is {name!r}: it must be classifier, vgg16, pixels, or an .npz of Inception's weights."
        )
    network = inception.load(name)
    return Extractor(network.name, network.digest, network)


NO_CLASSIFIER = (
    "{} has no labels or no test split for a classifier of its own, so features are pixels, which say little of what a "
    "picture shows; --features vgg16 sees more"
)


def of_classifier(source, live) -> Extractor:
    """Return the classifier of a source; of stacked pictures that of the grey set, which sees each channel apart."""
    base = source.modes.classifiers[0] if source.modes else source
    judge = classifier.load(base, live)

    @jax.jit
    def see(x):
        b, h, w, c = x.shape
        layers = c // base.shape[-1]
        apart = x.reshape(b, h, w, layers, -1).transpose(0, 3, 1, 2, 4).reshape(b * layers, h, w, -1)
        return judge.features(apart).reshape(b, -1), nn.softmax(judge(apart)).reshape(b, layers, -1)

    def one(x):
        features, probabilities = see(x)
        return features, probabilities[:, 0] if probabilities.shape[1] == 1 else None

    return Extractor(f"classifier of {base.name}", judge.digest, one, f"{judge.accuracy:.2%} of the test split right")


def rows(source, n: int, train: int, said=lambda rows: None) -> tuple[Any, Any, str]:
    """Return (reals, training rows, the split of the reals): up to n that samples are held against, up to `train`.

    The reals are held out: of the test split; without one, half of all records; of a toy other draws. Pictures: uint8.
    """
    take = functools.partial(_taken, kind=source.kind, said=said)
    if not source.n:
        return take(source, n), take(source, train, of=1), "draws"
    if source.test:
        return take(source.test, min(n, source.test.n)), take(source, min(train, source.n)), "test"
    half = min(source.n // 2, max(n, train))
    both = take(source, 2 * half)
    return both[half:][:n], both[:half][:train], "half of train"


def _taken(source, n, of=0, kind="image", said=lambda rows: None):
    parts = []
    for part in data.parts(source, n, of):
        parts.append(data.encode(part["x"]) if kind == "image" else np.asarray(part["x"], np.float32))
        said(len(parts[-1]))
    return np.concatenate(parts)
