"""The mode coverage that the data themselves score: no sampler does better.

n draws from m equal modes have a KL of about (m - 1) / 2n, the digits of MNIST are not equally frequent, its classifier
errs, and of a Gaussian in 2-D 98.9 % lie within 3 standard deviations.
"""

import jax
import numpy as np

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.metrics.features import at_least


def scores(source: data.Source, n: int = 0, repeats: int = 10) -> dict:
    """Return {"n", "modes", "reverse_kl"} and a mixture's "high_quality" of n draws of the data, as samples are scored.

    A list of `repeats` values each. n = 0: as many as an evaluation takes, 2,500 points or 25,600 images. Raises
    UserError for a set that is neither a mixture nor stacked.
    """
    if not source.modes:
        raise UserError(f"{source.name} has no modes to cover: take a mixture or a stacked set.")
    at_least(0, n=n)
    at_least(1, repeats=repeats)
    n = n or source.modes.draws
    one = source.modes.floor(source, n)
    found = [one(jax.random.key(i)) for i in range(repeats)]
    return {"n": n} | {name: [np.asarray(f[name]).item() for f in found] for name in found[0]}
