"""NDB: in how many cells of the data samples are too many or too few, on the host in float64."""

import statistics

import numpy as np

from gan_jax.errors import UserError
from gan_jax.metrics.features import at_least, checked, kl


def ndb(real, fake, k=100, significance=0.05, seed=0):
    """Return {"ndb", "ndb_share", "js"} of real [n, d] and fake [m, d], images or features.

    k-means cuts the reals' space into k cells; a cell is different where a two-sided two-proportion z-test of its
    shares of reals and of fakes says so. ndb: how many are; ndb_share: over k. For an exact sampler it is about
    `significance` where the cells don't depend on the reals (`of_counts`), and below it here, where they are fitted to
    them: 0.03 to 0.04 instead of 0.05 for 1,500 to 5,000 rows of 2 to 16 normal numbers. js: Jensen-Shannon divergence
    of the two histograms in nats, from 0 to log 2. Richardson and Weiss 2018, arXiv 1805.12462 (k = 100, the training
    set and as many samples there, pixels in part standardised).
    """
    from sklearn.cluster import KMeans

    at_least(1, k=k)
    real, fake = checked(real, fake, least=k)
    if len(np.unique(real, axis=0)) < k:
        raise UserError(f"the data have fewer than {k} different rows: take fewer cells.")
    cells = KMeans(k, n_init=1, random_state=seed).fit(real)
    counts = [np.bincount(c, minlength=k) for c in (cells.labels_, cells.predict(fake))]
    return of_counts(*counts, significance)


def of_counts(real, fake, significance=0.05):
    """Return the same for the counts [k] of reals and fakes in each cell."""
    n, m = np.sum(real), np.sum(fake)
    p, q, both = real / n, fake / m, (real + fake) / (n + m)
    deviation = np.sqrt(both * (1 - both) * (1 / n + 1 / m))
    z = np.divide(p - q, deviation, out=np.zeros(len(p)), where=deviation > 0)  # 0: all in this cell, or none
    different = np.abs(z) > statistics.NormalDist().inv_cdf(1 - significance / 2)
    js = (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2
    return {"ndb": int(different.sum()), "ndb_share": float(different.mean()), "js": float(js)}
