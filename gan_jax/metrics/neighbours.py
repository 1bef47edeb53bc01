"""Metrics of nearest neighbours among features: fidelity, diversity and copying, on the host in float64.

Sets are arrays [n, d] of features, or of flattened images. Distances are Euclidean; a ball includes its rim (up to
rounding); a point is not its own neighbour, a copy of it in the same set is. 1024 rows of distances are kept at a time.
"""

import numpy as np

from gan_jax.metrics.features import at_least, checked


def precision_recall(real, fake, k=3):
    """Return {"precision", "recall"}, shares in [0, 1], of real [n, d] and fake [m, d].

    precision: of fakes in the ball of some real, whose radius is the distance to its k-th nearest real; recall: of
    reals in the ball of some fake, alike. Kynkaanniemi et al. 2019, arXiv 1904.06991 (k = 3 and 50,000 of each there).
    """
    at_least(1, k=k)
    real, fake = checked(real, fake, least=k + 1)
    reach, fake_reach = _kth(real, k), _kth(fake, k)
    inside, reached = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    for rows, squared in distances(real, fake):
        inside |= (squared <= reach[rows, None]).any(0)
        reached[rows] = (squared <= fake_reach).any(1)
    return {"precision": float(inside.mean()), "recall": float(reached.mean())}


def density_coverage(real, fake, k=5):
    """Return {"density", "coverage"} of real [n, d] and fake [m, d].

    density: in how many of the reals' balls (radius: k-th nearest real) a fake lies on average, over k; it is >= 0,
    near 1 for equal distributions, and above that for fakes where reals are densest. coverage: the share in [0, 1] of
    reals whose ball holds a fake, 1 - (1/2)^k or so for equal distributions and n = m. Naeem et al. 2020, arXiv
    2002.09797 (k = 5 and 10,000 of each there).
    """
    at_least(1, k=k)
    real, fake = checked(real, fake, least=k + 1)
    reach = _kth(real, k)
    balls, covered = 0, np.zeros(len(real), bool)
    for rows, squared in distances(real, fake):
        inside = squared <= reach[rows, None]
        balls += int(inside.sum())
        covered[rows] = inside.any(1)
    return {"density": balls / (k * len(fake)), "coverage": float(covered.mean())}


def memorisation(train, test, fake):
    """Return {"closer", "z", "copied", "copied_test"}: is fake [m, d] nearer to train [n, d] than test [l, d] is?

    closer: the probability in [0, 1] that a fake is nearer to its nearest train image than a test image is to its own
    (equal: 1/2): 1/2 for a sampler of the distribution, 1 for copies, 0 for samples far from all data. z: the same as
    the z-scored Mann-Whitney statistic of Meehan et al. 2020, arXiv 2004.05675 (their C_T with one cell, without a
    correction for ties): below -3 or so is copying, above 3 underfitting.
    copied: the share in [0, 1] of fakes that are nearer to their nearest train image than any other train image is to
    that one; it says something beside copied_test alone, the same share of the test images. (Our definition.)
    """
    train, test, fake = checked(train, test, fake, least=2)
    apart = _kth(train, 1)
    near, near_test = nearest(fake, train), nearest(test, train)
    ranks = np.sort(near_test[0])
    below, up_to = (np.searchsorted(ranks, near[0], side) for side in ("left", "right"))
    farther = float(np.sum((below + up_to) / 2))  # pairs in which the fake is the farther one: U
    pairs = len(fake) * len(test)
    deviation = np.sqrt(pairs * (len(fake) + len(test) + 1) / 12)
    copied = {name: float(np.mean(d < apart[i])) for name, (d, i) in {"copied": near, "copied_test": near_test}.items()}
    return {"closer": 1 - farther / pairs, "z": float((farther - pairs / 2) / deviation), **copied}


def distances(a, b, rows=1024):
    """Yield (slice of a's rows, their squared distances [rows, len(b)] to b); those of equal points are exactly 0."""
    a_norm, b_norm = (np.einsum("nd,nd->n", x, x) for x in (a, b))
    for start in range(0, len(a), rows):
        these = slice(start, start + rows)
        norms = a_norm[these, None] + b_norm
        squared = norms - 2 * a[these] @ b.T
        yield these, np.where(squared < 1e-13 * norms, 0, squared)


def _kth(x, k):
    """Return each row's squared distance to its k-th nearest other row: [n]."""
    nearest = np.empty(len(x))
    for rows, squared in distances(x, x):
        count = np.arange(len(squared))
        squared[count, rows.start + count] = np.inf
        nearest[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return nearest


def nearest(x, to):
    """Return the squared distance of each row of x to the nearest row of `to`, and that row's number: [n], [n]."""
    parts = [(squared.min(1), squared.argmin(1)) for _, squared in distances(x, to)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
