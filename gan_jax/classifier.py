"""`python -m gan_jax.classifier mnist`: train the classifier of a labelled image set, or say how good it is."""

import dataclasses
import functools
from typing import Annotated

import tyro

from gan_jax import data
from gan_jax.metrics import classifier
from gan_jax.run import cli, log


@dataclasses.dataclass(frozen=True)
class Flags:
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")] = "mnist"  # a labelled TFDS set


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.classifier", description=__doc__)
    live = functools.partial(log.Live, title=f"the classifier of {flags.dataset}")
    judge = classifier.load(data.load(flags.dataset), live)
    right = f"{judge.accuracy:.2%} of the test split" if judge.accuracy >= 0 else "no label in the test split"
    print(f"{flags.dataset}: {right}, classifier {judge.digest}")


if __name__ == "__main__":
    cli.run(main)
