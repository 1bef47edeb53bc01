"""`python -m gan_jax.sample RUN`: new samples of a trained run, as one picture."""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from gan_jax.errors import UserError, first_line
from gan_jax.run import cli, loaded, log, plots, rundir


@dataclasses.dataclass(frozen=True)
class Flags:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # folder of the run
    n: int = 64  # samples; of each seed, where there are several (the first four are shown)
    seed: int = 0  # the samples are a function of it
    # the picture; clips, text and music leave a file of the same name with .gif, .txt or .mid beside it
    out: str = "samples.png"


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.sample", description=__doc__)
    if flags.n < 1 or not 0 <= flags.seed < 2**31:
        raise UserError(f"--n is {flags.n} and --seed {flags.seed}; n must be 1 or more, seed from 0 to {2**31 - 1}.")
    run, first = loaded.load(flags.run), rundir.read(flags.run)["seed"]
    source = run.experiment.setup(run.cfg).source
    x = np.asarray(jax.jit(run.sample, static_argnums=1)(jax.random.key(flags.seed), flags.n))  # [(seeds,) n, ...]
    try:
        plots.samples(Path(flags.out), x, source, first + np.arange(run.seeds), plots.reals(source), whole=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{flags.out} can't be written: {first_line(error)}. Choose another --out.") from None
    log.tell(f"{flags.n} samples of {flags.run} are in {flags.out}")


if __name__ == "__main__":
    cli.run(main)
