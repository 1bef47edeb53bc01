"""An experiment as a program: what its parts are, and how a command line, a notebook and a benchmark run them."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gan_jax.errors import UserError
from gan_jax.run import cli, config, rundir, states
from gan_jax.run.fit import fit as trained
from gan_jax.run.loaded import Loaded
from gan_jax.run.setup import Game, Measure, Sample, Step


def program(
    Config: type,
    presets: dict,
    setup: Callable,
    init: Callable,
    step: Step,
    sample: Sample,
    measure: Measure | None = None,
) -> Callable:
    """Return the experiment's `main`: (flags) -> (state, results). It trains, in a run's folder.

    Where the experiment's file is the program that runs, errors end it in lines and exit codes (`cli.run`).
    """

    def main(argv=None):
        cfg, run = cli.parse(Config, presets, argv)
        return trained(run, _bound(cfg, setup, init, step, sample, measure))

    return functools.partial(cli.run, main) if Config.__module__ == "__main__" else main


def game(experiment: ModuleType, cfg: Any) -> Game:
    """Return the experiment (a module) with this Config."""
    return _bound(cfg, *(getattr(experiment, name, None) for name in Game._fields))


def _bound(cfg, setup, *parts):
    return Game(setup(cfg), *(part and functools.partial(part, cfg) for part in parts))


def fit(experiment: ModuleType, cfg: Any = None, **options: Any) -> Loaded:
    """Train an experiment (a module) from a script or a notebook, and return the run.

    cfg: its Config; by default its first preset, or with resume=True that of the run. options: what the command line
    has as flags, fields of the Config (steps=500) and of a run (seeds=4, out="runs/mine", resume=True). Raises
    UserError where one is wrong.
    """
    if not isinstance(experiment, ModuleType):
        stem = rundir.stem(str(experiment))
        raise UserError(f"{experiment!r} is no module of an experiment: from experiments import {stem}, and pass that.")
    if isinstance(cfg, str):
        raise UserError(f"cfg is {cfg!r}, where there should be a Config: {experiment.__name__}.PRESETS[{cfg!r}], say.")
    options = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    known = {field.name for field in dataclasses.fields(cli.Run)} - {"experiment", "config", "file"}
    options["out"] = os.fspath(options.get("out", ""))
    given, run = cfg, cli.Run()
    cfg = next(iter(experiment.PRESETS.values())) if cfg is None else cfg
    if options.get("resume"):
        own, run = cli.of_run(cfg, options["out"], cli.name_of(experiment))
        cfg = own if given is None else cfg
    of_cfg = {name: value for name, value in options.items() if name not in known}
    unknown = of_cfg.keys() - {field.name for field in dataclasses.fields(cfg)}
    if unknown:
        raise UserError(f"{experiment.__name__} has no option {', '.join(sorted(unknown))}.")
    cfg = dataclasses.replace(cfg, **of_cfg)
    config.check_types(dataclasses.asdict(cfg), type(cfg))
    options["out"] = options["out"] or run.out
    run = dataclasses.replace(run, **{name: value for name, value in options.items() if name in known})
    cfg = cli.named(cfg, run)
    run = cli.settled(cfg, run, cli.name_of(experiment))
    parts = game(experiment, cfg)
    run = dataclasses.replace(run, out=run.out or str(rundir.claimed(run.experiment)))
    with states.in_room():
        state, results = trained(run, parts)
    return Loaded(experiment, cfg, state, run.seeds, Path(run.out), results)
