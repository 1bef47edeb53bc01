"""`python -m gan_jax.floor stacked_mnist`: the mode coverage that the data themselves score: no sampler does better."""

import dataclasses
import sys
from typing import Annotated

import tyro

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.metrics import floor
from gan_jax.run import cli, log


@dataclasses.dataclass(frozen=True)
class Flags:
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")] = "stacked_mnist"  # or a toy
    n: int = 0  # draws [2,500 points or 25,600 images, as in an evaluation]
    repeats: int = 10  # times that many


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.floor", description=__doc__)
    if flags.n < 0 or flags.repeats < 2:
        raise UserError(f"--n is {flags.n} and --repeats {flags.repeats}; they must be 0 and 2 or more.")
    source = data.load(flags.dataset)
    found, m = floor.scores(source, flags.n, flags.repeats), source.classes
    n = found.pop("n")
    print(f"{flags.dataset}, {flags.repeats} times {n} draws of the data:", file=sys.stderr)
    print("  ".join(f"{name} {log.spread(value)}" for name, value in found.items()))
    print(f"counting alone makes the KL of {m} modes (m - 1) / 2n = {(m - 1) / (2 * n):.4g}")


if __name__ == "__main__":
    cli.run(main)
