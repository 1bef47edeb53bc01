"""A run's folder: config.json, metrics.jsonl, curves.png, seconds, checkpoints/, samples/, results.json."""

import contextlib
import datetime
import fcntl
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypedDict, get_type_hints

import jax
from jax.experimental import multihost_utils

from gan_jax.data import contents
from gan_jax.errors import UserError, first_line, printable
from gan_jax.run import config, log
from gan_jax.run.config import Count, Every
from gan_jax.run.options import Run


class Pace(TypedDict):
    """How often a run looks at itself, and what it keeps."""

    log_every: Count
    eval_every: Every
    save_every: Count
    keep: Count
    stream: bool
    measure: bool


class Kept(Pace):
    """What a run keeps of its flags besides its Config: a resumed run has them too."""

    seed: int  # from here on, what its bits depend on
    seeds: Count
    rekey: int
    deterministic: bool
    precision: Literal["default", "high", "highest", "bf16"]


KEPT = get_type_hints(Kept)
# What a resumed run may say anew: when to stop and how often to look; and, with another key, its rates.
FREE = {"steps", "rekey", *Pace.__annotations__}
FILES = "config.json", "metrics.jsonl", "results.json", "seconds", "curves.png", "lock"
FOLDERS = "checkpoints", "samples", "tensorboard"
ORIGIN = {"versions": dict, "machine": dict, "code": str, "resumed": list}  # what else there may be
SINCE = {"rekey": 0, "precision": "default", "deterministic": False}  # of runs from before a flag was kept
SINCE |= {"log_every": 100, "eval_every": 1000, "save_every": 1000, "keep": 3, "stream": False, "measure": True}


def stem(experiment: str) -> str:
    """Return an experiment's name without the package and family that it stands in."""
    return experiment.rpartition(".")[2]


def claimed(experiment: str) -> Path:
    """Return the folder of a new run, named by date and time, made here: no other process gets the same."""
    stamp = Path("runs", stem(experiment), datetime.datetime.now().strftime("%Y%m%d-%H%M%S"))
    for n in itertools.count(1):
        folder = stamp if n == 1 else stamp.with_name(f"{stamp.name}-{n}")
        with writing(folder), contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


def newest(experiment: str) -> Path:
    """Return the run folder of an experiment under runs/ in which was trained last."""
    runs = (file for file in Path("runs", stem(experiment)).glob("*/config.json") if file.is_file())
    newest = max(runs, key=lambda file: file.stat().st_mtime_ns, default=None)
    if newest is None:
        raise UserError(f"there is no run to resume under runs/{stem(experiment)}; name one with --out.")
    return newest.parent


def read(folder: str | os.PathLike, experiment: str | None = None) -> dict:
    """Return a run's config.json; with `experiment`, of a run of that experiment only."""
    file = Path(folder) / "config.json"
    try:
        saved = log.parsed(contents.of(file))
        if not isinstance(saved, dict):
            raise ValueError(f"it is a {type(saved).__name__}")
        saved = SINCE | saved
        types = {"experiment": str, "config": dict} | KEPT
        config.check_types({k: saved[k] for k in types}, types, file)
        saved["config"] = _with_tuples(saved["config"])
        config.check_types({k: saved[k] for k in ORIGIN if k in saved}, ORIGIN, file)
        config.check_ranges(saved, Kept, file)
    except FileNotFoundError:
        raise UserError(f"{printable(folder)} holds no run (it has no config.json).") from None
    except NotADirectoryError:
        raise UserError(f"{printable(folder)} is a file: name the run's folder.") from None
    except KeyError as error:
        raise UserError(f"{printable(file)} is not a run's config: it has no {error}.") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{printable(file)} is not a run's config: {first_line(error)}.") from None
    # by its stem: an experiment may have moved to another family
    if experiment and stem(saved["experiment"]) != stem(experiment):
        raise UserError(f"{printable(folder)} is a run of {printable(saved['experiment'])}, not of {experiment}.")
    return saved


def _with_tuples(config: dict) -> dict:
    """Return a config that was JSON, which has lists alone, as it was before."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def results(folder: str | os.PathLike) -> dict | None:
    """Return what a run ended with; None where it has not ended, or where that can't be read."""
    try:
        found = log.parsed(contents.of(Path(folder) / "results.json"))
        whole = type(found["steps"]) is int and type(found["seconds"]) in (int, float)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if whole else None


@contextlib.contextmanager
def opened(run: Run, first: bool = True, content: str = "") -> Iterator[Path]:
    """Make or take up the run's folder, alone, and give its path; `first`: whether this process writes.

    content: the digest of data whose name does not say which they are; a run goes on with the same ones only. Raises
    UserError where a run is already there and --resume was not said, where its config differs (naming the field) or its
    data do, where another process trains in it, and where it can't be written. The lock goes with the process, however
    it ends.
    """
    if "\0" in run.out:
        raise UserError("a folder's name can't have a NUL in it: choose another --out.")
    folder = Path(run.out) if run.out else claimed(run.experiment)
    asked = {"experiment": run.experiment, "config": run.config} | {name: getattr(run, name) for name in KEPT}
    asked |= {"data": content} if content else {}
    asked |= {"code": digest(run.file)} if run.file else {}
    asked = json.loads(json.dumps(asked))
    asked["config"] = _with_tuples(asked["config"])
    saved = None
    with writing(folder):
        check_whole(folder)
        if (folder / "config.json").exists():
            if not run.resume:
                raise UserError(
                    f"{printable(folder)} already holds a run: --resume goes on with it, another --out begins anew."
                )
            saved = read(folder, run.experiment)
            check_same(folder, saved, asked)
            if first and run.file:
                say_changed(folder, saved, run.file, "it goes on")
    if jax.process_count() > 1:  # every process has looked before the first one writes
        multihost_utils.sync_global_devices("run folder")
    with contextlib.ExitStack() as stack:
        if first:
            with writing(folder):
                take(folder, asked, stack, saved)
        yield folder


def check_whole(folder: Path) -> None:
    """Raise UserError where a part of the run in this folder is missing, a link to somewhere else, or no file."""
    for file in (*folder.glob("*"), *folder.glob("*/*")):
        if file.is_symlink():
            raise UserError(
                f"{printable(file)} is a link: what is written into a run's folder must stay there. Remove the link."
            )
        known = file.parent == folder and (file.name in FOLDERS or file.name in FILES)
        other = file.exists() and not (file.is_file() or file.is_dir())
        if other or (known and file.is_dir() != (file.name in FOLDERS)):
            raise UserError(f"{file} is not the {'folder' if file.name in FOLDERS else 'file'} of a run: remove it.")
    saved = [int(f.name) for f in folder.glob("checkpoints/*") if f.name.isdecimal()]
    rows = (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").stat().st_size > 0
    begin = "put it back, or begin anew with another --out."
    if (saved or rows) and not (folder / "config.json").exists():
        raise UserError(f"{printable(folder)} holds a run whose config.json is missing: {begin}")
    if rows and not saved:
        raise UserError(
            f"{printable(folder)} holds rows of a run, and no checkpoint in "
            f"{printable(folder / 'checkpoints')}: {begin}"
        )
    if any(saved) and not (folder / "metrics.jsonl").exists():
        raise UserError(f"{printable(folder)} holds checkpoints of a run whose metrics.jsonl is missing: {begin}")


def check_same(folder: Path, saved: dict, asked: dict) -> None:
    """Raise UserError where a run that is asked for is not the one that was saved, naming the field."""
    was, now = ({**c["config"], **{name: c[name] for name in KEPT}} for c in (saved, asked))
    for name in now:  # what Config lacks `config.known` has looked at
        other_rate = was["rekey"] != now["rekey"] and isinstance(was.get(name), float)
        if name not in FREE and not other_rate and was.get(name) != now.get(name):
            raise UserError(
                f"--{name.replace('_', '-')} differs: the run in {printable(folder)} has {printable(was.get(name))}, "
                f"asked for is {printable(now.get(name))}.\nLeave it out to resume, or begin anew with another --out."
            )
    if saved.get("data", "") != asked.get("data", ""):
        raise UserError(
            f"the data of the run in {printable(folder)} changed since it began: begin anew with another --out."
        )


def take(folder: Path, asked: dict, stack: contextlib.ExitStack, saved: dict | None = None) -> None:
    """Lock the folder until the stack is left, and write its config.json.

    saved: that of before, whose versions, machine, commit and code stay; those of now, where they differ, are added to
    "resumed".
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"another process is training in {printable(folder)}: wait for it, or choose another --out."
        ) from None
    code = {"code": asked["code"]} if "code" in asked else {}
    now, later = origin() | code, list((saved or {}).get("resumed", []))
    began = {name: saved[name] for name in now if name in saved} if saved else now
    if saved and now != (later[-1] if later else began):
        later.append(now)
    asked = asked | began | ({"resumed": later} if later else {})
    log.write_whole(folder / "config.json", json.dumps(asked, indent=1) + "\n")


def digest(*files: Path) -> str:
    """Return eight letters that name the contents of these files."""
    found = hashlib.blake2b(digest_size=4)
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()


def say_changed(folder: str | os.PathLike, saved: dict, file: Path, what: str) -> None:
    """Say on stderr, and what that means, that an experiment's file is not the one that trained the saved run last."""
    last = [saved, *saved.get("resumed", [])][-1]
    if last.get("code", now := digest(file)) != now:
        log.tell(f"{printable(file.name)} changed since {printable(folder)} was trained: {what} as the code is now")


def origin() -> dict:
    """Return what bits and times depend on besides a config: {"versions", "machine", "commit"}."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return {
        "versions": {p: importlib.metadata.version(p) for p in ("gan_jax", "jax", "flax", "optax")},
        "machine": {
            "device": jax.devices()[0].device_kind,
            "devices": jax.device_count(),
            "cpu": next((l.split(":")[1].strip() for l in lines if l.startswith("model name")), platform.machine()),
            "threads": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "commit": commit(Path(__file__)),
    }


def commit(file: Path) -> str | None:
    """Return the git commit that a file stands at, with "-dirty" where Python files of its repository differ from it.

    None where no repository has the file: an installed package may lie in one that ignores it.
    """
    git = lambda *words: subprocess.run(["git", "-C", str(file.parent), *words], capture_output=True, text=True)
    try:
        if git("ls-files", "--error-unmatch", file.name).returncode:
            return None
        changed = git("diff", "--quiet", "HEAD", "--", ":(top)*.py").returncode
        return git("rev-parse", "HEAD").stdout.strip() + "-dirty" * bool(changed)
    except OSError:  # there is no git
        return None


@contextlib.contextmanager
def writing(folder: str | os.PathLike) -> Iterator[None]:
    """Turn what keeps a file of the run from being written into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{printable(error.filename or folder)}: {error.strerror or error}. Free it, or choose another --out."
        ) from None
