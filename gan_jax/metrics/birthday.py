"""The birthday paradox: how few things a G can draw, from how often it draws one of them twice; on the host.

Arora and Zhang 2017, arXiv 1706.08224: where s samples hold a duplicate half of the time, the support is of the order
of s^2. Sets are arrays [n, d] of flattened images or of features, in which duplicates are near.
"""

import numpy as np

from gan_jax.errors import UserError
from gan_jax.metrics.features import at_least, checked
from gan_jax.metrics.neighbours import distances


def closest_pairs(x, pairs=20):
    """Return (the `pairs` closest pairs of rows of x [n, d]: [pairs, 2], their distances [pairs]), the closest first.

    The paper looks at twenty of them and decides by eye whether they show the same thing.
    """
    at_least(1, pairs=pairs)
    (x,) = checked(x, least=2)
    rows, found = np.zeros((0, 2), int), np.zeros(0)
    for these, squared in distances(x, x):
        above = np.arange(these.start, these.start + len(squared))[:, None] < np.arange(len(x))
        squared = np.where(above, squared, np.inf)
        few = min(pairs, squared.size) - 1
        i, j = np.nonzero(above & (squared <= np.partition(squared, few, axis=None)[few]))
        rows = np.concatenate([rows, np.stack([i + these.start, j], 1)])
        found = np.concatenate([found, squared[i, j]])
        best = np.argsort(found, kind="stable")[:pairs]
        rows, found = rows[best], found[best]
    return rows, np.sqrt(found)


def birthday(x, s, within=0.0):
    """Return {"duplicate", "support"} of samples x [n, d], taken as n // s batches of s.

    duplicate: the share of batches in which two samples are duplicates, at a distance of `within` or less; for even
    draws from a support of N it is about 1 - exp(-s (s - 1) / 2N). support: the N at which as many pairs as were found
    are to be expected, an estimate of 1 / sum p^2 for uneven draws, which is below the true support; infinite where no
    pair was found. A `within` that means something is one at which held-out data have no duplicates.
    """
    (x,) = checked(x, least=2)
    if not 2 <= s <= len(x):
        raise UserError(f"{len(x)} samples can't be cut into batches of {s}: from 2 to {len(x)} they may be.")
    batches = x[: len(x) // s * s].reshape(-1, s, x.shape[1])
    pairs = np.array([sum(int((d <= within**2).sum()) for _, d in distances(b, b)) - s for b in batches]) // 2
    expected = len(batches) * s * (s - 1) / 2  # pairs in all
    return {"duplicate": float((pairs > 0).mean()), "support": expected / pairs.sum() if pairs.any() else np.inf}
