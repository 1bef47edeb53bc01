"""`python -m gan_jax.metrics.floor stacked_mnist`: the mode coverage that the data themselves score.

No sampler does better: n draws from m equal modes have a KL of about (m - 1) / 2n, the digits of MNIST are not equally
frequent, its classifier errs, and of a Gaussian in 2-D 98.9 % lie within 3 standard deviations.
"""

import dataclasses
import sys
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from gan_jax import data
from gan_jax.run import cli, log
from gan_jax.errors import UserError
from gan_jax.metrics import classifier, coverage, modes


def scores(dataset: str, n: int = 0, repeats: int = 10) -> dict:
    """Return {"n", "modes", "reverse_kl"} and a mixture's "high_quality" of n draws of the data, as samples are scored.

    A list of `repeats` values each. n = 0: as many as an evaluation takes, 2,500 points or 25,600 images. Raises
    UserError for a set that is neither a mixture nor stacked.
    """
    source = data.load(dataset)
    if not (source.modes or source.base):
        raise UserError(f"{dataset} has no modes to cover: take a mixture or a stacked set.")
    n = n or (2500 if source.modes else 25_600)
    seen = {} if source.modes else _seen(source.base)
    b = n if source.modes else min(n, source.n)

    @jax.jit
    def one(key, seen):
        if source.modes:
            return coverage(source.draw(key, n)["x"], *source.modes)
        labels = jax.lax.map(lambda i: data.batch(source, seen, key, i, b)["y"], jnp.arange(-(-n // b)))
        return modes.of_histogram(jnp.zeros(source.classes).at[labels.reshape(-1)[:n]].add(1))

    found = [one(jax.random.key(i), seen) for i in range(repeats)]
    return {"n": n} | {name: [np.asarray(f[name]).item() for f in found] for name in found[0]}


def _seen(base):
    """Return the records with the labels that their classifier sees in place of their own, and no pixels."""
    judge, arrays = classifier.load(base.name), data.resident(base)
    labels = jax.jit(lambda raw: judge(data.decode(raw)["x"]).argmax(-1))(arrays)
    return {"x": np.zeros((base.n, 1, 1, 1), np.uint8), "y": np.asarray(labels, np.int32)}


@dataclasses.dataclass(frozen=True)
class Flags:
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")] = "stacked_mnist"  # or a toy
    n: int = 0  # draws [2,500 points or 25,600 images, as in an evaluation]
    repeats: int = 10  # times that many


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.metrics.floor", description=__doc__)
    if flags.n < 0 or flags.repeats < 2:
        raise UserError(f"--n is {flags.n} and --repeats {flags.repeats}; they must be 0 and 2 or more.")
    found, m = scores(flags.dataset, flags.n, flags.repeats), data.load(flags.dataset).classes
    n = found.pop("n")
    print(f"{flags.dataset}, {flags.repeats} times {n} draws of the data:", file=sys.stderr)
    print("  ".join(f"{name} {log.spread(value)}" for name, value in found.items()))
    print(f"counting alone makes the KL of {m} modes (m - 1) / 2n = {(m - 1) / (2 * n):.4g}")


if __name__ == "__main__":
    cli.run(main)
