"""`python -m gan_jax.curves RUN RUN ...`: the curves of runs laid over one another."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from gan_jax.errors import UserError, first_line
from gan_jax.run import cli, log, plots, rundir
from gan_jax.run.plots import page


@dataclasses.dataclass(frozen=True)
class Flags:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]  # folders of the runs
    out: str = "curves.png"  # the picture
    names: str = ""  # the metrics to draw, with commas between: loss/g,modes [all]


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.curves", description=__doc__)
    if not flags.runs:
        raise UserError("name one run's folder or more: python -m gan_jax.curves RUN RUN")
    page.check(flags.out)
    runs = {short(run, flags.runs): read(run) for run in dict.fromkeys(flags.runs)}
    there = dict.fromkeys(name for found in runs.values() for name in found)
    names = [name for name in flags.names.split(",") if name] or list(there)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise UserError(f"no run has numbers called {', '.join(unknown)}; there are {', '.join(there)}.")
    try:
        plots.overlay(Path(flags.out), runs, names)
    except (OSError, ValueError) as error:
        raise UserError(f"{flags.out} can't be written: {first_line(error)}. Choose another --out.") from None
    log.tell(f"the curves of {len(runs)} run{'s' * (len(runs) > 1)} are in {flags.out}")


def short(run: str, runs) -> str:
    """Return the end of a run's path, as much of it as no other run ends with."""
    parts, others = (Path(run).resolve().parts, [Path(other).resolve().parts for other in runs if other != run])
    for n in range(1, len(parts) + 1):
        if all(parts[-n:] != other[-n:] for other in others):
            return "/".join(parts[-n:])
    return str(run)


def read(run: str) -> dict[str, plots.Series]:
    """Return the numbers of a run, {name: Series}; raise UserError where there is no run, or not a row of it."""
    seeds, file = rundir.read(run)["seeds"], Path(run) / "metrics.jsonl"
    try:
        found = plots.series(file, seeds)
    except FileNotFoundError:
        found = {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file} can't be read: {first_line(error)}.") from None
    found = {name: one for name, one in found.items() if one.values.ndim == 2 and np.isfinite(one.values).any()}
    if not found:
        raise UserError(f"{run} has no rows yet: there is nothing to draw.")
    return found


if __name__ == "__main__":
    cli.run(main)
