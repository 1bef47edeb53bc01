"""Which metrics make sense of some data, with their settings: what `python -m gan_jax.score` measures.

Each is a function of what an extractor sees of reals, of samples and of training data (`extractors.Seen`); the data's
own floor is the same function of other reals in the place of the samples.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gan_jax import data
from gan_jax.metrics import bins, birthday, features, images, neighbours
from gan_jax.metrics.protocol import INCEPTION

LEAST = 50  # rows of each set: of fewer no metric says much
PAIRS, PATCHED = 1000, 1024  # pairs of pictures of MS-SSIM, and pictures of the sliced distance, at most


class Metric(NamedTuple):
    """One metric, or several that are measured at once."""

    of: Callable  # (real, fake, train) -> {name of a value: number}
    settings: str = ""  # what else changes the numbers
    by_features: bool = True  # whether they depend on the extractor


def suite(source, seen, n: int, extractor: str) -> tuple[dict[str, Metric], dict[str, str]]:
    """Return ({name: Metric}, {name: why it is left out}) for a source of points or pictures.

    seen: the reals; n: how many samples there will be; extractor: its name.
    """
    least = min(len(seen.features), n)
    metrics, missing = of_features(least, extractor), {}
    if source.kind == "points":
        metrics["sliced"] = Metric(lambda real, fake, _: _sliced(real, fake), "directions=512", False)
        return metrics, {"ms_ssim": "is of pictures, not of points", "class_score": "is of pictures with labels"}
    if seen.probabilities is None:
        missing["class_score"] = f"needs class probabilities, which {extractor} does not give"
    else:
        name = "inception_score" if extractor == INCEPTION else "class_score"
        metrics[name] = Metric(lambda real, fake, _: _class_score(fake, name), "splits=10")
    if seen.probabilities is not None and extractor.startswith("classifier"):
        metrics["classes"] = Metric(lambda real, fake, _: _classes(real, fake))
    side = min(source.shape[:2])
    if side < 2 ** (len(images.SCALES) - 1):
        missing["ms_ssim"] = f"has five scales: pictures of {side} pixels are too small"
    else:
        pairs = min(PAIRS, least // 2)
        metrics["ms_ssim"] = Metric(lambda _, fake, __: _ms_ssim(fake, pairs), f"pairs={pairs}", False)
    if side < 7:
        missing["sliced"] = f"is of patches of 7x7: pictures of {side} pixels are too small"
    else:
        m = min(PATCHED, least)
        metrics["sliced"] = Metric(
            lambda real, fake, _: _patches(real, fake, m), f"pictures={m} patches=128 directions=512", False
        )
    return metrics, missing


def of_features(least: int, extractor: str) -> dict[str, Metric]:
    """Return the metrics of features alone, for sets of `least` rows or more."""
    frechet, kernel = ("fid", "kid") if extractor == INCEPTION else ("frechet", "kernel")
    block, cells, s = min(1000, least), max(2, min(100, least // 10)), max(2, least // 10)

    def kernel_of(real, fake, _):
        return {kernel: features.kernel(real.features, fake.features, block)[0]}

    return {
        frechet: Metric(lambda real, fake, _: {frechet: features.frechet(real.features, fake.features)}),
        kernel: Metric(kernel_of, f"block={block} blocks=100"),
        "precision_recall": Metric(
            lambda real, fake, _: neighbours.precision_recall(real.features, fake.features), "k=3"
        ),
        "density_coverage": Metric(
            lambda real, fake, _: neighbours.density_coverage(real.features, fake.features), "k=5"
        ),
        "ndb": Metric(lambda real, fake, _: _ndb(real, fake, cells), f"k={cells}"),
        "birthday": Metric(lambda real, fake, _: _birthday(real, fake, s), f"s={s}"),
        "memorisation": Metric(_memorisation),
    }


def floor(name: str, metric: Metric, real, train) -> dict[str, float]:
    """Return what the data themselves score: training rows in the place of samples.

    Of copying, one half of the reals in the place of samples, beside the other half.
    """
    if name == "memorisation":
        return metric.of(_every_other(real, 0), _every_other(real, 1), train)
    return metric.of(real, train, train)


def _every_other(seen, first):
    return seen._replace(x=seen.x[first::2], features=seen.features[first::2])


def _memorisation(real, fake, train):
    found = neighbours.memorisation(train.features, real.features, fake.features)
    return {"closer": found["closer"], "closer_z": found["z"], "copied": found["copied"]}


def _ndb(real, fake, cells):
    found = bins.ndb(real.features, fake.features, cells)
    return {"ndb": found["ndb_share"], "js": found["js"]}


def _birthday(real, fake, s):
    """Return share of batches with duplicates and support; duplicates are nearer than any two of the reals."""
    _, (closest,) = birthday.closest_pairs(real.features, 1)
    return birthday.birthday(fake.features, s, float(closest) * (1 - 1e-9))


def _sliced(real, fake):
    m = min(len(real.x), len(fake.x))
    return {"sliced": features.sliced(real.x[:m], fake.x[:m])}


def _patches(real, fake, m):
    found = images.sliced_wasserstein(*(data.decode(seen.x[:m]) for seen in (real, fake)))
    return {"sliced": found["swd"]}


def _ms_ssim(fake, pairs):
    x = np.asarray(data.decode(fake.x[: 2 * pairs]))
    return {"ms_ssim": float(images.ms_ssim(x[0::2], x[1::2]).mean())}


def _class_score(fake, name):
    return {name: features.class_score(fake.probabilities)[0]}


def _classes(real, fake):
    of = lambda seen: seen.probabilities.argmax(1)
    found = features.label_histogram(of(real), of(fake), real.probabilities.shape[1])
    return {"classes": found["modes"], "class_kl": found["reverse_kl"]}
