"""Mode coverage of samples from data whose modes are known, and of labels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STACKED = 25_600  # samples of stacked images, as many as in PacGAN's and PGGAN's tables


class Mixture(NamedTuple):
    """The modes of a mixture of Gaussians N(mean, std^2 I)."""

    means: np.ndarray  # [m, c]
    std: float
    shares: np.ndarray  # [m], of the data

    classifiers = ()  # what must be trained before `coverage`
    draws = 2500  # samples of an evaluation

    @property
    def anchors(self):
        """Return one point for each mode."""
        return self.means

    def coverage(self, x, draw, key):
        """Return the `coverage` of samples x [n, c]."""
        return coverage(x, *self)

    def floor(self, source, n):
        """Return the function of a key that is the coverage of n draws of the data."""
        return jax.jit(lambda key: coverage(source.make({}, key, 0, n)["x"], *self))


class Stacked(NamedTuple):
    """The modes of a stacked set: the triples of labels that a classifier sees."""

    base: Any  # the grey set
    judge: Callable  # () -> its classifier

    anchors = None
    draws = STACKED  # samples of an evaluation

    @property
    def classifiers(self):
        """Return the sources whose classifiers must be trained before `coverage`."""
        return (self.base,)

    def coverage(self, x, draw, key):
        """Return the `stacked_coverage` of 25,600 samples that `draw` gives."""
        return stacked_coverage(self.judge(), draw, key)

    def floor(self, source, n):
        """Return the function of a key that is the coverage of n draws of the data, in the eyes of the classifier."""
        judge, records, b = self.judge(), self.base.whole(), min(n, source.n)
        seen = jax.jit(lambda raw: judge(self.base.make(raw, None, 0, 0)["x"]).argmax(-1))(records)
        # the records with the labels that their classifier sees in place of their own, and no pixels
        records = {"x": jnp.zeros((source.n, 1, 1, 1), jnp.uint8), "y": seen.astype(jnp.int32)}

        @jax.jit
        def one(key, records):
            raw = lambda i: jax.tree.map(lambda a: a[source.pick(key, i, b)], records)
            labels = jax.lax.map(lambda i: source.make(raw(i), key, i, b)["y"], jnp.arange(-(-n // b)))
            return of_histogram(jnp.zeros(source.classes, jnp.float32).at[labels.reshape(-1)[:n]].add(1))

        return lambda key: one(key, records)


def coverage(x, means, std, shares=None):
    """Return {"modes", "high_quality", "reverse_kl"} for samples x [n, c] of a mixture with means [m, c].

    Protocol of VEEGAN (Srivastava et al. 2017, arXiv 1705.07761) and PacGAN (Lin et al. 2018, arXiv 1712.04086): a
    sample belongs to its nearest mean and is of high quality within 3 `std` of it; a mode is covered by one such
    sample. `high_quality` is their share in [0, 1]; an exact sampler of a 2-D mixture reaches 1 - exp(-4.5) = 0.989.
    `modes` and `reverse_kl` are those of `of_histogram`, for the high-quality samples of each mode.
    """
    distance = jnp.linalg.norm(x[:, None] - means[None], axis=-1)  # [n, m]
    good = distance.min(1) <= 3 * std
    counts = jnp.zeros(len(means), jnp.float32).at[distance.argmin(1)].add(good)  # [m]
    return of_histogram(counts, shares) | {"high_quality": good.mean()}


def of_histogram(counts, shares=None):
    """Return {"modes", "reverse_kl"} of `counts` [m], how many samples are of each mode.

    modes: how many have one at all. reverse_kl: KL(samples || `shares` [m], those of the data, by default all equal) in
    nats: 0 at best, log m for a single one of m equal modes, infinite where nothing was counted. The counts of n exact
    draws score about (m - 1) / 2n.
    """
    total = counts.sum()
    share = counts / jnp.maximum(total, 1)
    ratio = share * len(counts) if shares is None else share / jnp.asarray(shares)
    kl = jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, ratio, 1)), 0))
    return {"modes": (counts > 0).sum(), "reverse_kl": jnp.where(total > 0, kl, jnp.inf)}


def stacked_coverage(judge, draw, key, n=STACKED):
    """Return {"modes", "reverse_kl"} of n stacked images in the eyes of a classifier of the grey set.

    A mode is a triple of labels, one for each colour; see `of_histogram`. Metz et al. 2017, arXiv 1611.02163, with the
    number of samples of PacGAN, arXiv 1712.04086.

    judge: [m, h, w, 1] -> logits [m, classes]. draw: (key, m) -> images [m, h, w, 3].
    """
    m = min(n, 256)  # at a time

    def labels(key):
        colours = draw(key, m).transpose(0, 3, 1, 2)  # [m, 3, h, w]
        return judge(colours.reshape(3 * m, *shape, 1)).argmax(-1).reshape(m, 3) @ classes ** jnp.arange(2, -1, -1)

    shape = jax.eval_shape(lambda key: draw(key, m), key).shape[1:3]
    classes = jax.eval_shape(judge, jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)).shape[1]
    found = jax.lax.map(labels, jax.random.split(key, -(-n // m))).reshape(-1)[:n]
    return of_histogram(jnp.zeros(classes**3, jnp.float32).at[found].add(1))


def label_switches(labels):
    """Return the least share of samples that changed their label between successive rows of `labels` [r, ..., a].

    The rows are histograms, such as "shares" of the rows of a metrics.jsonl; the shares [r - 1, ...] are half the L1
    distances of neighbours: 0 for a G at rest, 1 for one that moves from mode to mode as the plain GAN does.
    """
    return np.abs(np.diff(np.asarray(labels, float), axis=0)).sum(-1) / 2
