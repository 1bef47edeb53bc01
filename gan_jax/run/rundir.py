"""A run's folder: config.json, metrics.jsonl, seconds, checkpoints/, samples/, results.json."""

import contextlib
import dataclasses
import datetime
import fcntl
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from gan_jax.run import checkpoint, log
from gan_jax.errors import UserError, first_line

FREE = {"steps", "rekey"}  # what a resumed run may say anew: when to stop; and, with another key, its rates
# What the bits of a run depend on besides its Config: these too are those of the run that is resumed.
KEPT = {"seed": int, "seeds": int, "rekey": int, "deterministic": bool}
KEPT |= {"precision": Literal["default", "high", "highest"]}


def newest(experiment: str) -> Path:
    """Return the newest run folder of an experiment under runs/."""
    runs = sorted(Path("runs", experiment.rpartition(".")[2]).glob("*/config.json"))
    if not runs:
        raise UserError(f"there is no run to resume under runs/{experiment.rpartition('.')[2]}; name one with --out.")
    return runs[-1].parent


def read(folder, experiment: str | None = None) -> dict:
    """Return a run's config.json; with `experiment`, of a run of that experiment only."""
    file = Path(folder) / "config.json"
    try:
        saved = {"rekey": 0, "precision": "default", "deterministic": False} | json.loads(file.read_text())
        check({k: saved[k] for k in ("experiment", "config", *KEPT)}, {"experiment": str, "config": dict} | KEPT, file)
    except FileNotFoundError:
        raise UserError(f"{folder} holds no run (it has no config.json).") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not a run's config: {type(error).__name__}.") from None
    if experiment and saved["experiment"] != experiment:
        raise UserError(f"{folder} is a run of {saved['experiment']}, not of {experiment}.")
    return saved


def check(values: dict, types: dict, file):
    """Raise UserError where a value, read from a file, is not of its type."""
    for name, value in values.items():
        of = types.get(name)
        if typing.get_origin(of) is Literal and value not in typing.get_args(of):
            raise UserError(f"{file}: {name} is {value!r}, not one of {', '.join(map(repr, typing.get_args(of)))}.")
        whole = of is float and type(value) is int  # a number that was written without a point
        if isinstance(of, type) and type(value) is not of and not whole:
            raise UserError(f"{file}: {name} is {value!r}, where there should be a value of type {of.__name__}.")


@contextlib.contextmanager
def opened(run, first: bool = True):
    """Make or take up the run's folder, alone, and give its path; `first`: whether this process writes.

    Raises UserError where a run is already there and --resume was not said, where its config differs (naming the
    field), and where another process trains in it. The lock goes with the process, however it ends.
    """
    several = jax.process_count() > 1
    if not run.out and several:
        raise UserError("several processes need the same --out: a folder that all of them see.")
    if not run.out:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        run_folder = Path("runs", run.experiment.rpartition(".")[2], stamp)
    else:
        run_folder = Path(run.out)
    config = {"experiment": run.experiment, "config": run.config} | {name: getattr(run, name) for name in KEPT}
    config = json.loads(json.dumps(config))
    if (run_folder / "config.json").exists():
        if not run.resume:
            raise UserError(f"{run_folder} already holds a run: --resume goes on with it, another --out begins anew.")
        saved = read(run_folder, run.experiment)
        was, now = ({**c["config"], **{name: c[name] for name in KEPT}} for c in (saved, config))
        for name in {**was, **now}:
            other_rate = was["rekey"] != now["rekey"] and isinstance(was.get(name), float)
            if name not in FREE and not other_rate and was.get(name) != now.get(name):
                raise UserError(
                    f"--{name.replace('_', '-')} differs: the run in {run_folder} has {was.get(name)}, asked for is "
                    f"{now.get(name)}.\nLeave it out to resume, or begin anew with another --out."
                )
    if several:  # every process has looked before the first one writes
        multihost_utils.sync_global_devices("run folder")
    if not first:
        yield run_folder
        return
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        with (run_folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process is training in {run_folder}: wait for it, or choose another --out."
                ) from None
            packages = ("gan_jax", "jax", "flax", "optax")
            config["versions"] = {p: importlib.metadata.version(p) for p in packages}
            log.write_whole(run_folder / "config.json", json.dumps(config, indent=1) + "\n")
            yield run_folder
    except OSError as error:
        raise UserError(
            f"{error.filename or run_folder}: {error.strerror}. Free it, or choose another --out."
        ) from None


class Loaded(NamedTuple):
    """A trained run: its experiment (module), config and state."""

    experiment: types.ModuleType
    cfg: Any
    state: Any
    seeds: int

    def sample(self, key, n: int):
        """Return n samples [n, ...]; [seeds, n, ...] where several seeds were trained."""
        one = lambda state: self.experiment.sample(self.cfg, state, key, n)
        return one(self.state) if self.seeds == 1 else jax.lax.map(one, self.state)


def initial(init, seed: int, seeds: int, rekey: int = 0):
    """Return the state of a new run, stacked over its seeds where there are several; pure, for use inside jit."""

    def one(seed):
        key = jax.random.key(seed)
        return init(jax.random.fold_in(key, rekey) if rekey else key)

    # `lax.map`, not `vmap`: a batched QR (orthogonal init) can deadlock XLA's thread pool on two cores (jax 0.10.2)
    return one(seed) if seeds == 1 else jax.lax.map(one, seed + jnp.arange(seeds))


def starter(init, seed: int, seeds: int, rekey: int, sharding):
    """Return the compiled () -> state of a new run, `initial` with this sharding."""
    # It runs once, and XLA's CPU compiler takes seconds to unroll what draws a kernel of four axes, unless told not to.
    # A level that XLA_FLAGS have stays.
    level, told = "xla_backend_optimization_level", os.environ.get("XLA_FLAGS", "")
    options = {level: 1} if jax.default_backend() == "cpu" and level not in told else None
    return jax.jit(lambda: initial(init, seed, seeds, rekey), out_shardings=sharding, compiler_options=options)


def load(folder, experiment=None, first: bool = False) -> Loaded:
    """Return the run in `folder` at its newest good checkpoint; with `first` at the oldest that is kept.

    experiment: the module that trained it; by default the module of that name in the folder `experiments`.
    """
    saved = read(folder)
    if experiment is None:
        name = saved["experiment"]
        if not re.fullmatch(r"experiments\.[A-Za-z]\w*", name) or importlib.util.find_spec(name) is None:
            raise UserError(f"{folder} was trained by {name!r}: pass that module, load(folder, experiment).")
        experiment = importlib.import_module(name)
    check(saved["config"], typing.get_type_hints(experiment.Config), Path(folder) / "config.json")
    try:
        cfg = experiment.Config(**saved["config"])
        shapes = jax.eval_shape(lambda: initial(lambda key: experiment.init(cfg, key), saved["seed"], saved["seeds"]))
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{folder} is not a run of {experiment.__name__} as it is now: {first_line(error)}.") from None
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=device), shapes)
    checkpoints = checkpoint.Checkpoints(Path(folder) / "checkpoints")
    state = checkpoints.restore(like, first)
    checkpoints.close()
    if state is None:
        raise UserError(f"{folder} holds no checkpoint yet.")
    return Loaded(experiment, cfg, state, saved["seeds"])


def parts(experiment, cfg, seeds: int = 1) -> dict:
    """Return what the experiment's `main` hands to `fit` for this Config, by the names of fit's arguments."""
    flags = [
        f"--{'' if v is not False else 'no-'}{k}".replace("_", "-") + ("" if isinstance(v, bool) else f"={v}")
        for k, v in dataclasses.asdict(cfg).items()
    ]
    return handed(experiment, [*flags, f"--seeds={seeds}"])


def handed(experiment, flags) -> dict:
    """Return what the experiment's `main` hands to `fit` under these flags, by the names of fit's arguments."""
    fit, names = experiment.fit, ("run", "source", "init", "step", "sample", "measure")
    experiment.fit = lambda *parts, **rest: dict(zip(names, parts, strict=False)) | rest
    try:
        return experiment.main(flags)
    finally:
        experiment.fit = fit
