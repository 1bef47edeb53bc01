"""The command line: an experiment's Config and what every run has, as typed flags (tyro)."""

import contextlib
import dataclasses
import functools
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, TextIO

import jax
import jax.numpy as jnp
import tyro

from gan_jax import data
from gan_jax.data import cache
from gan_jax.errors import UserError, first_line
from gan_jax.game import player
from gan_jax.run import compiled, config, processes, rundir, sharding, states
from gan_jax.run.options import Run


def name_of(experiment: ModuleType) -> str:
    """Return the name of an experiment's module, also where it is the program that runs."""
    if experiment.__name__ != "__main__":
        return experiment.__name__
    if experiment.__spec__:
        return experiment.__spec__.name
    file = Path(experiment.__file__)
    return f"{file.parent.name}.{file.stem}"


def parse(Config: type, presets: dict, argv: Sequence[str] | None = None) -> tuple[Any, Run]:
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
            preset = _preset_for(presets, named(asked.cfg, asked.run).dataset)
        cfg, run = presets[preset], Run()
        if asked.run.resume:
            own, run = of_run(cfg, asked.run.out, experiment)
            cfg = cfg if "preset" in said else own
        args = flags(argv, cfg, run, preset)
    if args.preset != first and "preset" not in said and not args.run.resume:
        print(f"{args.cfg.dataset}: with --preset {args.preset}", file=sys.stderr)
    cfg = named(args.cfg, args.run)
    return cfg, settled(cfg, args.run, experiment)


def of_run(cfg: Any, out: str, experiment: str) -> tuple[Any, Run]:
    """Return (cfg, run) of the run in the folder `out`, or in the newest one: its own config, and what it keeps.

    cfg: a Config of the experiment, for what the saved one does not say.
    """
    out = out or str(rundir.newest(experiment))
    saved, file = rundir.read(out, experiment), Path(out) / "config.json"
    config.check_types(saved["config"], type(cfg), file)
    own = dataclasses.replace(cfg, **config.known(saved["config"], type(cfg), file))
    return own, Run(out=out, **{name: saved[name] for name in rundir.KEPT})


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

    Never "tiny", which is for tests, nor "paper", which takes hours and has to be asked for.
    """
    of_set = [name for name, cfg in presets.items() if cfg.dataset == dataset and name not in ("tiny", "paper")]
    if "images" in presets and data.load(dataset).kind == "image":
        of_set = ["images"]
    return of_set[0] if of_set else next(iter(presets))


def named(cfg: Any, run: Run) -> Any:
    """Return the Config with data sets whose names say all: what the flags choose of them, and absolute paths."""
    choices = {"size": str(run.size)} if run.size else {}
    choices |= {"skip_bad": "yes"} if run.skip_bad else {}
    sets = {name: getattr(cfg, name) for name in ("dataset", "source") if hasattr(cfg, name)}
    return dataclasses.replace(cfg, **{name: data.settled(of, **choices) for name, of in sets.items()})


def settled(cfg: Any, run: Run, experiment: str) -> Run:
    """Return the run with its experiment and config put in, the newest folder on resume, and choose the devices.

    Raises UserError where a number is out of its range or there is no such device.
    """
    config.check_ranges(dataclasses.asdict(cfg), type(cfg))
    config.check_ranges(dataclasses.asdict(run), Run)
    if run.seed + run.seeds > 2**31:
        raise UserError(f"--seed is {run.seed} and --seeds {run.seeds}; the last seed must be under 2^31.")
    platforms = [p for p in ("cpu", "gpu", "tpu") if getattr(run, p)]
    if len(platforms) > 1:
        raise UserError(f"choose one of --{' and --'.join(platforms)}.")
    player.COMPUTE = jnp.bfloat16 if run.precision == "bf16" else None
    jax.config.update("jax_default_matmul_precision", "default" if player.COMPUTE else run.precision)
    if run.deterministic:  # read when the backend starts
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
    sharding.choose(platforms[0] if platforms else None, run.distributed, run.seeds)
    processes.check_same("asked", lambda: asked(cfg, run, experiment))
    if not run.out and jax.process_count() > 1:
        raise UserError("several processes need the same --out: a folder that all of them see.")
    out = run.out or (str(rundir.newest(experiment)) if run.resume else "")
    if run.resume and (file := Path(out) / "config.json").exists():
        config.known(rundir.read(out, experiment)["config"], type(cfg), file)
    return dataclasses.replace(run, out=out, experiment=experiment, config=dataclasses.asdict(cfg), file=_file(cfg))


def _file(cfg) -> Path | None:
    """Return the file of the experiment whose Config this is; None where it was written into a notebook, say."""
    file = getattr(sys.modules[type(cfg).__module__], "__file__", None)
    return file and Path(file)


def asked(cfg: Any, run: Run, experiment: str) -> dict[str, str]:
    """Return what all processes of a run must have in common: flags, the experiment's code and the library's, JAX."""
    flags = {**vars(run), **vars(cfg)}
    own = {f"--{name.replace('_', '-')}": repr(value) for name, value in flags.items() if name != "distributed"}
    library = sorted(Path(__file__).parents[1].rglob("*.py"))
    own[f"the code of {experiment}"] = rundir.digest(*filter(None, [_file(cfg)]))
    own["the code of gan_jax"] = rundir.digest(*library)
    return own | {"jax": jax.__version__, "experiment": experiment}


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn tyro's framed error into a UserError of one or two lines."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as end:
        if not end.code:
            raise
        text = said.getvalue()
        if "╭" not in text:  # an encoding without frames: the title stands over a line of its own
            text = "\n" + re.sub("-{8,}", "─" * 8, text.split("\n", 2)[-1])
        body = re.sub(r"[│╭╮╰╯]|─ .*? ─+(?=╮)", " ", text)
        message, *rest = re.split(r"─{8,}", re.sub(r"^.*╮?\n", "", body, count=1))
        close = re.findall(r"--[\w-]+", rest[0]) if rest and "Perhaps" in rest[0] else []
        hint = f"\nDid you mean {' or '.join(dict.fromkeys(close))}? " if close else "\n"
        raise UserError(" ".join(message.split()) + hint + "--help lists every flag.") from None


def run(main: Callable, compile_cache: bool = True) -> None:
    """Call `main` as a program: a UserError becomes its lines and exit code 2, Ctrl-C exit code 130.

    compile_cache: keep compiled programs on disk, so that the next run of the same step starts at once.
    """
    if compile_cache:
        compiled.keep()
    warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
    warnings.filterwarnings("ignore", message="Image size .* decompression bomb")  # `data.pictures` has its own limit
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(Unbroken, before)
    try:
        with states.in_room():
            main()
    except UserError as error:
        processes.leave(2, str(error))
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        processes.lose(first_line(error))
    except KeyboardInterrupt:
        said = "stopped at once; what was saved before can be resumed with --resume."
        if jax.process_count() > 1:
            processes.leave(130, said)
        print(said, file=sys.stderr)
        _leave(130)
    except SystemExit as end:
        if end.code in (129, 130, 143):
            _leave(end.code)
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class Unbroken:
    """A stream to which every line can be said, though nobody reads it or its encoding lacks a letter."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def _kept(self, act, *args):
        try:
            return act(*args)
        except OSError:  # its reader is gone: what is still said goes nowhere
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            return None

    def write(self, text: str) -> int:
        """Write the text if anybody reads it."""
        self._kept(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush if anybody reads."""
        self._kept(self._stream.flush)


def _leave(code):
    """End the process at once, after a signal: Python's own farewell waits for computations that go on."""
    if jax.process_count() > 1:
        sys.exit(code)
    cache.forget()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
