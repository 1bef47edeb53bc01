"""Distances between two sets of features, and scores of class probabilities, on the host in float64.

`real` and `fake` are arrays [n, d] of any extractor's features. The names FID, KID and Inception Score belong to one
extractor alone, see gan_jax.metrics.inception; of any other these are a Frechet distance, a kernel distance and a class
score, and comparable with numbers of the same extractor only, see gan_jax.metrics.protocol.
"""

import numpy as np

from gan_jax.errors import UserError


def frechet(real, fake):
    """Return the squared Frechet distance between the Gaussians of real [n, d] and fake [m, d], a float >= 0.

    Heusel et al. 2017, arXiv 1706.08500 (FID where the features are Inception's). 0 is best; it falls as the sets grow,
    so it is comparable for equal n and m only. Covariances are divided by n - 1.
    """
    real, fake = checked(real, fake, least=2)
    return frechet_of_moments(real.mean(0), _covariance(real), fake.mean(0), _covariance(fake))


def frechet_of_moments(mean, cov, other_mean, other_cov):
    """Return |mean - other_mean|^2 + tr(cov + other_cov - 2 (cov other_cov)^(1/2)), a float >= 0.

    Means are [d], covariances [d, d]. The root has the trace of the symmetric (cov^(1/2) other_cov cov^(1/2))^(1/2):
    two eigen-decompositions do, also where a covariance is singular. Dowson and Landau 1982; arXiv 1706.08500.
    """
    mean, cov, other_mean, other_cov = (np.asarray(a, np.float64) for a in (mean, cov, other_mean, other_cov))
    values, vectors = np.linalg.eigh(cov)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    values = np.linalg.eigvalsh(root @ other_cov @ root)
    distance = np.sum((mean - other_mean) ** 2) + np.trace(cov) + np.trace(other_cov)
    return float(np.maximum(distance - 2 * np.sum(np.sqrt(values.clip(0))), 0))


def kernel(real, fake, block=1000, blocks=100, seed=0):
    """Return mean and standard deviation over blocks of the unbiased squared MMD of real [n, d] and fake [m, d].

    Binkowski et al. 2018, arXiv 1801.01401 (KID where the features are Inception's): kernel (x.y / d + 1)^3, each block
    `block` rows of either set, without repetition inside it. 0 is the expectation for equal distributions, so it may
    be below 0; it has no upper bound. Unlike `frechet` its mean doesn't depend on n. The blocks share rows: the
    deviation (divided by `blocks`, not one less) is that of a block, no standard error.
    """
    at_least(2, block=block)
    at_least(1, blocks=blocks)
    real, fake = checked(real, fake, least=block)
    rng = np.random.default_rng(seed)
    values = [
        _mmd(*(a[rng.choice(len(a), block, replace=False, shuffle=False)] for a in (real, fake))) for _ in range(blocks)
    ]
    return float(np.mean(values)), float(np.std(values))


def _mmd(x, y):
    """Return the unbiased squared MMD of x [b, d] and y [b, d]."""
    k = lambda a, b: (a @ b.T / x.shape[1] + 1) ** 3
    n = len(x)
    within = sum((gram.sum() - np.trace(gram)) / (n * (n - 1)) for gram in (k(x, x), k(y, y)))
    return within - 2 * k(x, y).mean()


def class_score(probabilities, splits=10):
    """Return mean and standard deviation over splits of exp(E KL(p(y|x) || p(y))), each in [1, classes].

    Salimans et al. 2016, arXiv 1606.03498 (Inception Score where they are Inception's): probabilities [n, classes] of
    samples in random order, cut into `splits` consecutive parts, p(y) the mean of the part. Higher is better.
    """
    at_least(1, splits=splits)
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or np.any(p < 0) or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ValueError(f"{p.shape} is not an array of class probabilities [n, classes].")
    if len(p) < splits:
        raise UserError(f"{len(p)} samples can't be cut into {splits} parts: give more samples or fewer splits.")
    parts = [p[i * len(p) // splits : (i + 1) * len(p) // splits] for i in range(splits)]
    scores = [np.exp(np.mean(kl(part, part.mean(0)))) for part in parts]
    return float(np.mean(scores)), float(np.std(scores))


def label_histogram(real, fake, classes):
    """Return {"modes", "reverse_kl"} of the labels fake [m], 0 .. classes - 1, against those of the data, real [n].

    `modes` is how many classes have a sample; `reverse_kl` is KL(fake || real) of the two histograms in nats: 0 at
    best, infinite where a sample is of a class that the data lack. Metz et al. 2017, arXiv 1611.02163, section 3.3.
    """
    counts = []
    for labels in map(np.asarray, (real, fake)):
        if labels.ndim != 1 or not len(labels) or labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"labels {labels.shape} must be a row of numbers from 0 to {classes - 1}.")
        counts.append(np.bincount(labels, minlength=classes))
    real, fake = (c / c.sum() for c in counts)
    return {"modes": int((fake > 0).sum()), "reverse_kl": float(kl(fake, real))}


def kl(p, q):
    """Return KL(p || q) over the last axis, in nats; terms with p = 0 are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):  # q = 0: infinite, or not looked at
        return np.where(p > 0, p * (np.log(np.where(p > 0, p, 1)) - np.log(q)), 0).sum(-1)


def sliced(real, fake, directions=512, seed=0):
    """Return the mean Wasserstein-1 distance of real and fake, both [n, d], along random unit vectors, a float >= 0.

    Rabin et al. 2011 (no arXiv id), Kolouri et al. 2018, arXiv 1804.01947. It is in the units of the rows, and that of
    two sets of equal distributions is above 0: set it beside that of two halves of the data.
    """
    at_least(1, directions=directions)
    real, fake = checked(real, fake)
    if len(real) != len(fake):
        raise UserError(f"{len(real)} rows of data and {len(fake)} of samples: this distance needs as many of each.")
    return along_axes(real, fake, directions, np.random.default_rng(seed))


def along_axes(a, b, directions, rng):
    """Return the mean Wasserstein-1 distance of a and b [n, d] along random unit vectors."""
    axes = rng.normal(size=(directions, a.shape[1]))
    axes = (axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(a.dtype)
    gaps = []
    for some in np.split(axes, range(32, directions, 32)):
        along = (np.sort(some @ x.T, axis=1) for x in (a, b))
        gaps.append(np.abs(np.subtract(*along)).mean(1, dtype=np.float64))
    return float(np.mean(np.concatenate(gaps)))


def at_least(least, **counts):
    """Raise UserError where a count of this name is below `least`, or no whole number."""
    for name, value in counts.items():
        if value < least or value != int(value):
            raise UserError(f"{name} is {value}: it must be a whole number, {least} or more.")


def _covariance(x):
    centred = x - x.mean(0)
    return centred.T @ centred / (len(x) - 1)


def checked(*sets, least=1):
    """Return feature arrays [n, d] of one d as float64, finite and with `least` rows or more each."""
    sets = [np.asarray(a, np.float64) for a in sets]
    if any(a.ndim != 2 for a in sets) or len({a.shape[1] for a in sets}) > 1:
        raise ValueError(f"features must be [n, d] with one d, not {', '.join(str(a.shape) for a in sets)}.")
    for a in sets:
        if len(a) < least:
            raise UserError(f"{len(a)} images are too few: this metric needs {least} or more of each set.")
        if not np.isfinite(a).all():
            raise UserError("some features are not finite: the samples, or the extractor's weights, are broken.")
    return sets
