"""The command line: an experiment's Config and what every run has, as typed flags (tyro)."""

import contextlib
import dataclasses
import functools
import io
import os
import re
import sys
import typing
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from gan_jax import data
from gan_jax.data import cache
from gan_jax.errors import UserError, first_line
from gan_jax.run import config, mesh, rundir
from gan_jax.run.config import Count


@dataclasses.dataclass(frozen=True)
class Run:
    """What every experiment's run has besides its Config."""

    out: str = ""  # run folder [runs/<experiment>/<date-time>]
    resume: bool = False  # go on from the last checkpoint of --out [of the newest run]
    seed: int = 0  # the run is a function of it
    seeds: Count = 1  # runs trained at once, with seeds seed, seed + 1, ...
    log_every: Count = 100  # steps between rows of metrics.jsonl
    eval_every: int = 1000  # steps between evaluations with a picture; 0: only at the end
    save_every: Count = 1000  # steps between checkpoints
    keep: Count = 3  # checkpoints that are kept
    stream: bool = False  # read records ahead on the host even where the set fits on the device
    rekey: int = 0  # with --resume, a new number: go on with other noise and data, and with other rates if you like
    precision: Literal["default", "high", "highest"] = "default"  # of float32 products on GPU and TPU
    deterministic: bool = False  # on GPUs, use only operations that give the same bits every time
    cpu: bool = False  # run on the CPU
    gpu: bool = False  # run on the GPUs
    tpu: bool = False  # run on the TPUs
    distributed: bool = False  # join the other processes (done unasked on a TPU pod and under SLURM)
    experiment: tyro.conf.Suppress[str] = ""  # its module, "experiments.unrolled"
    config: tyro.conf.Suppress[Any] = None  # the Config as a dict, for config.json

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.out)


def name_of(experiment) -> str:
    """Return the name of an experiment's module, also where it is the program that runs."""
    if experiment.__name__ != "__main__":
        return experiment.__name__
    if experiment.__spec__:
        return experiment.__spec__.name
    file = Path(experiment.__file__)
    return f"{file.parent.name}.{file.stem}"


def parse(Config, presets: dict, argv=None):
    """Return (cfg, run) from the flags, choose the devices, and open no file.

    Without --preset: for an image set "images", for a toy the first preset with it, else the first one. With --resume
    the run's own config is the default. A wrong flag ends in one or two lines and exit code 2.
    """
    module = sys.modules[Config.__module__]
    experiment = name_of(module)
    argv = sys.argv[1:] if argv is None else list(argv)
    flags = functools.partial(_flags, Config, presets, f"python -m {experiment}", module.__doc__)
    first = next(iter(presets))
    with one_line():
        # every flag is right: now the defaults that they decide
        asked = flags([a for a in argv if a not in ("-h", "--help")], presets[first], Run(), first)
        said = {a.split("=")[0].removeprefix("--").replace("-", "_") for a in argv if a.startswith("--")}
        preset = asked.preset
        if "preset" not in said and "dataset" in said:
            preset = _preset_for(presets, asked.cfg.dataset)
        cfg, run, out = presets[preset], Run(), asked.run.out
        if asked.run.resume:
            out = out or str(rundir.newest(experiment))
            saved = rundir.read(out, experiment)
            run = dataclasses.replace(run, **{name: saved[name] for name in rundir.KEPT})
            if "preset" not in said:
                known = typing.get_type_hints(Config)
                config.check_types(saved["config"], known, Path(out) / "config.json")
                cfg = dataclasses.replace(cfg, **{k: v for k, v in saved["config"].items() if k in known})
        args = flags(argv, cfg, run, preset)
    return args.cfg, settled(args.cfg, dataclasses.replace(args.run, out=out), experiment)


def _flags(Config, presets, prog, doc, argv, cfg, run, preset):
    """Return what tyro makes of the flags: preset, cfg and run, with these defaults."""
    help = tyro.conf.arg(help="the Config to begin with; the flags below change it")
    fields = [
        ("preset", Annotated[Literal[tuple(presets)], help], preset),
        ("cfg", tyro.conf.OmitArgPrefixes[Config], cfg),
        ("run", tyro.conf.OmitArgPrefixes[Run], run),
    ]
    args = dataclasses.make_dataclass("Args", [(n, t, dataclasses.field(default=d)) for n, t, d in fields])
    return tyro.cli(args, args=argv, prog=prog, description=doc)


def _preset_for(presets, dataset):
    """Return the name of the preset for a data set: "images" for one of images, else the first that has it.

    Never "tiny", which is for tests.
    """
    of_set = [name for name, cfg in presets.items() if cfg.dataset == dataset and name != "tiny"]
    if "images" in presets and data.load(dataset).kind == "image":
        of_set = ["images"]
    return of_set[0] if of_set else next(iter(presets))


def settled(cfg, run: Run, experiment: str) -> Run:
    """Return the run with its folder, experiment and config put in, and choose the devices.

    Raises UserError where a number is out of its range or there is no such device.
    """
    config.check_ranges(dataclasses.asdict(cfg), type(cfg))
    config.check_ranges(dataclasses.asdict(run), Run)
    if run.seed + run.seeds > 2**31:
        raise UserError(f"--seed is {run.seed} and --seeds {run.seeds}; the last seed must be under 2^31.")
    platforms = [p for p in ("cpu", "gpu", "tpu") if getattr(run, p)]
    if len(platforms) > 1:
        raise UserError(f"choose one of --{' and --'.join(platforms)}.")
    jax.config.update("jax_default_matmul_precision", run.precision)
    if run.deterministic:  # read when the backend starts
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
    mesh.choose(platforms[0] if platforms else None, run.distributed, run.seeds)
    if not run.out and jax.process_count() > 1:
        raise UserError("several processes need the same --out: a folder that all of them see.")
    out = run.out or str(rundir.newest(experiment) if run.resume else rundir.fresh(experiment))
    return dataclasses.replace(run, out=out, experiment=experiment, config=dataclasses.asdict(cfg))


@contextlib.contextmanager
def one_line():
    """Turn tyro's framed error into a UserError of one or two lines."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as end:
        if not end.code:
            raise
        body = re.sub(r"[│╭╮╰╯]|─ .*? ─+(?=╮)", " ", said.getvalue())
        message, *rest = re.split(r"─{8,}", re.sub(r"^.*╮?\n", "", body, count=1))
        close = re.findall(r"--[\w-]+", rest[0]) if rest and "Perhaps" in rest[0] else []
        hint = f"\nDid you mean {' or '.join(dict.fromkeys(close))}? " if close else "\n"
        raise UserError(" ".join(message.split()) + hint + "--help lists every flag.") from None


def run(main, compile_cache: bool = True):
    """Call `main` as a program: a UserError becomes its lines and exit code 2, Ctrl-C exit code 130.

    compile_cache: keep compiled programs on disk, so that the next run of the same step starts at once.
    """
    if compile_cache:
        folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(cache.FOLDER / "xla")
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except jax.errors.JaxRuntimeError as error:
        reason = first_line(error)
        if "RESOURCE_EXHAUSTED" in reason:
            print(f"no room on the device: {reason}\nTry a smaller --batch-size, --width or --seeds.", file=sys.stderr)
            sys.exit(2)
        if jax.process_count() == 1:
            raise
        print(
            f"the other processes can't be reached: {reason}\nStart again with --resume.", file=sys.stderr, flush=True
        )
        os._exit(1)  # not by way of JAX's farewell, which waits for those that are gone
    except KeyboardInterrupt:
        print("stopped at once; what was saved before can be resumed with --resume.", file=sys.stderr)
        _leave(130)
    except SystemExit as end:
        if end.code in (130, 143):
            _leave(end.code)
        raise


def _leave(code):
    """End the process at once, after a signal: Python's own farewell waits for computations that go on."""
    if jax.process_count() > 1:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
