"""What the benchmarks share: one experiment's loop compiled and timed, the machine's description, a JSON line a run."""

import dataclasses
import datetime
import functools
import importlib
import inspect
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import experiments
import gan_jax
from gan_jax import data
from gan_jax.errors import UserError, first_line
from gan_jax.metrics import protocol
from gan_jax.run import cli, config, log, rundir, sharding, states
from gan_jax.run.program import game
from gan_jax.run.stepper import advancer


def command(main, compile_cache=True):
    """Call the main of the benchmark that is the program, with the flags of the command line (tyro).

    compile_cache: as `cli.run` has it; without it, compile times are those of a first run.
    """
    name = sys.modules["__main__"].__spec__.name.rpartition(".")[2]
    cli.run(lambda: flagged(main, name)(), compile_cache)


def flagged(main, name, argv=None):
    """Return main with the arguments that the flags say; a wrong flag raises UserError, in one or two lines."""

    @functools.wraps(main)
    def later(*args, **kwargs):
        return functools.partial(main, *args, **kwargs)

    with cli.one_line():
        made = tyro.cli(later, args=argv, prog=f"python -m benchmarks {name}")
    check_flags(main, inspect.signature(main).bind(*made.args, **made.keywords).arguments)
    return made


def check_flags(main, values: dict):
    """Raise UserError where a flag of a benchmark has a value that it can't have, before anything is run."""
    parameters = inspect.signature(main).parameters
    asked = {name: value for name, value in values.items() if value != parameters[name].default}  # () may be all
    config.check_ranges(asked, main)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and not values.get(name):
            raise UserError(f"name at least one of the {name}; --help says more.")
    for name, value in values.items():
        if name.endswith("flags"):
            words(value)
    if out := values.get("out"):
        with rundir.writing(out):
            Path(out).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass


def words(flags: str) -> list[str]:
    """Return some flags, as on a command line, as words."""
    try:
        return shlex.split(flags)
    except ValueError as error:
        raise UserError(f"--flags is {flags!r}: {first_line(error)}.") from None


def preset_of(module, name: str):
    """Return a preset of an experiment; raise UserError where it has none of that name."""
    if name not in module.PRESETS:
        raise UserError(f"{module.__name__} has no preset {name!r}; choose from {', '.join(module.PRESETS)}.")
    return module.PRESETS[name]


def prepared(module, cfg, seeds=1, devices=None, at_once=None, seed=0):
    """Return (state, keys, feed, advance, mesh, game): an experiment's run as `fit` has it before the first step.

    seed: the first of the seeds.
    """
    played = game(module, cfg)
    source, b = played.setup.source, played.setup.batch_size
    mesh = sharding.make(b, seeds, devices)
    placed = jax.sharding.NamedSharding(mesh, sharding.seed_spec(mesh, seeds))
    keys, state = (states.starter(init, seed, seeds, 0, placed)() for init in (lambda key: key, played.init))
    feed = sharding.put(mesh, data.resident(source))
    return state, keys, feed, advancer(played.step, source, b, mesh, seeds, 1, False, at_once), mesh, played


def built(advance, *args):
    """Return (the compiled program, seconds to trace and compile it)."""
    begin = time.perf_counter()
    return advance.lower(*args, 1).compile(), time.perf_counter() - begin


def compiled(module, cfg, seeds=1, devices=None, at_once=None):
    """Return (run, program, seconds to trace and compile); run(n) makes n steps, waits, and returns the state."""
    state, keys, feed, advance, *_ = prepared(module, cfg, seeds, devices, at_once)
    program, seconds = built(advance, state, keys, feed)

    def run(n):
        nonlocal state
        state, _ = jax.block_until_ready(program(state, keys, feed, np.int32(n)))
        return state

    return run, program, seconds


def alone(module, cfg):
    """Return run(n), which makes n of the same steps outside the loop, each a dispatch of its own, and waits."""
    state, key, feed, *_, played = prepared(module, cfg)
    batch = lambda state, feed: data.batch(played.setup.source, feed, key, state.step, played.setup.batch_size)
    one = jax.jit(lambda state, feed: played.step(state, batch(state, feed))[0], donate_argnums=0)

    def run(n):
        nonlocal state
        for _ in range(n):
            state = one(state, feed)
        jax.block_until_ready(state)

    return run


def clock(run, steps=None, repeats=5) -> dict:
    """Return {"ms", "cpu_ms"}, wall and CPU milliseconds a step over `repeats` calls of run(steps), and {"steps"}.

    steps=None: as many as fill about half a second.
    """

    def timed(n):
        wall, cpu = time.perf_counter(), time.process_time()
        run(n)
        return 1e3 * (time.perf_counter() - wall) / n, 1e3 * (time.process_time() - cpu) / n

    timed(1)
    steps = steps or int(np.clip(500 / timed(2)[0], 1, 1000))
    wall, cpu = zip(*(timed(steps) for _ in range(repeats)), strict=True)
    return {"ms": wall, "cpu_ms": cpu, "steps": steps}


def times(module, cfg, seeds=1, steps=None, repeats=5, devices=None) -> dict:
    """Return what `steps` updates of an experiment cost inside the loop that `fit` runs, evaluation left out.

    "compile": seconds to trace and compile; "ms" and "cpu_ms": wall and CPU milliseconds a step (of all seeds), each
    over `repeats` timings; "temporary": bytes that XLA plans beside the arguments; "peak": the device's own count of
    bytes at its peak, where it keeps one. steps=None: as many as fill about half a second.
    """
    run, program, seconds = compiled(module, cfg, seeds, devices)
    found = {"compile": seconds} | clock(run, steps, repeats)
    (device, *_) = jax.tree.leaves(run(1))[0].devices()
    found["temporary"] = program.memory_analysis().temp_size_in_bytes
    return found | {"peak": (device.memory_stats() or {}).get("peak_bytes_in_use")}


def taken(modules, flags: str) -> dict:
    """Return {name: those of some flags that this experiment has}; raise UserError where one is of none of them.

    flags: as on a command line: "--lr=1e-3 --gpu --frame 0 0 32". A preset is one that it has.
    """
    has = {
        name: {"preset", *(f.name for config in (module.Config, cli.Run) for f in dataclasses.fields(config))}
        for name, module in modules.items()
    }

    def fits(flag, name):
        asked, *values = flag[0].split("=", 1) + flag[1:]
        if asked == "--preset":
            return bool(values) and values[0] in modules[name].PRESETS
        return asked.removeprefix("--").removeprefix("no-").replace("-", "_") in has[name]

    given = []  # each flag with the values that follow it
    for word in words(flags):
        if given and not word.startswith("--"):
            given[-1].append(word)
        else:
            given.append([word])
    for flag in given:
        if not any(fits(flag, name) for name in modules):
            raise UserError(f"{' '.join(flag)}: none of {', '.join(modules)} has such a flag.")
    return {name: [word for flag in given if fits(flag, name) for word in flag] for name in modules}


def trained(module, flags, folder) -> dict:
    """Return the results.json of the experiment's run with these flags in `folder`, trained first where it is missing.

    A run that was stopped goes on. Raises UserError where the folder holds a finished run with other settings.
    """
    folder = Path(folder)
    if rundir.results(folder) is None:
        module.main([*flags, f"--out={folder}", *["--resume"] * (folder / "config.json").exists()])
    check_settings(module, flags, folder)
    return rundir.results(folder)


def measured(module, flags, folder, **of) -> tuple[dict, dict]:
    """Return (a row of a benchmark, results) of a run as `trained` has it: `of`, steps, seconds, config, on what."""
    results = trained(module, flags, folder)
    took = {name: results[name] for name in ("steps", "seconds")}
    return of | took | {"config": rundir.read(folder)["config"], "trained": trained_by(folder)}, results


def check_settings(module, flags, folder):
    """Raise UserError where the run in `folder` is not of these flags."""
    was, (_, run) = rundir.read(folder)["config"], cli.parse(module.Config, module.PRESETS, flags)
    asked = run.config
    if differ := [name for name in asked if asked[name] != was.get(name)]:
        raise UserError(f"{folder} holds a run with another {', '.join(differ)}: remove it, or choose another --runs.")


def history(folder, names) -> dict:
    """Return {"step": [n], name: [n, seeds]} of the evaluations of a finished run, the one at its end the last."""
    results, seeds = rundir.results(folder), rundir.read(folder)["seeds"]
    rows = log.read_rows(Path(folder) / "metrics.jsonl", seeds)
    last = {"step": results["steps"], **results}
    rows = [row for row in rows if names[0] in row and row["step"] < last["step"]] + [last]
    return {"step": [row["step"] for row in rows]} | {
        n: [np.atleast_1d(row[n]).tolist() for row in rows] for n in names
    }


def scored(module, flags, folder: Path, moments, score) -> list[dict]:
    """Return what `score(gan_jax.load(folder))` finds at each of `moments` of an experiment's run, trained so far.

    A row has "step" and "seconds" (of training, since the row before) too. What was found lies in the folder: no moment
    is trained twice, and a run that was stopped goes on. Raises UserError where the folder holds a run to the last
    moment with other settings.
    """
    file = folder / "scores.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    for moment in moments[len(rows) :]:
        module.main([*flags, f"--steps={moment}", f"--out={folder}", *["--resume"] * (folder / "config.json").exists()])
        seconds = rundir.results(folder)["seconds"] - sum(row["seconds"] for row in rows)
        rows.append({"step": moment, "seconds": seconds} | score(gan_jax.load(folder)))
        log.write_whole(file, json.dumps(rows) + "\n")
    check_settings(module, [*flags, f"--steps={moments[-1]}"], folder)
    return rows


def labels(trained, judge, n: int):
    """Return the labels [seeds, n] of n samples of a run, int: what a classifier of a grey set sees in each channel.

    Of several channels, 100 red + 10 green + blue where the set has ten classes.
    """
    at_once = min(n, 1000)

    @jax.jit
    def some(key):
        x = trained.sample(key, at_once)
        h, w, c = x.shape[-3:]
        seen = judge(jnp.moveaxis(x, -1, -3).reshape(-1, h, w, 1)).argmax(-1)
        return seen.reshape(-1, at_once, c) @ judge.net.classes ** jnp.arange(c - 1, -1, -1)

    return np.concatenate([some(jax.random.key(i)) for i in range(-(-n // at_once))], 1)[:, :n]


COVERAGE = "modes", "high_quality", "reverse_kl"


def covered(results) -> dict:
    """Return those of a run's results that say how it covers the modes of its data, where these are known."""
    return {name: results[name] for name in COVERAGE if name in results}


def middle(values) -> str:
    """Return the median of some timings, the least and the most."""
    return f"{np.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


HEAD = ("ms/step: median (least-most)", "CPU ms/step", "compile s", "temporary MB", "peak MB")


def cells(row: dict) -> tuple[str, ...]:
    """Return what `times` measured as cells of a table under HEAD."""
    peak = f"{row['peak'] / 1e6:.0f}" if row["peak"] else "-"
    return middle(row["ms"]), middle(row["cpu_ms"]), f"{row['compile']:.1f}", f"{row['temporary'] / 1e6:.1f}", peak


def experiment(name: str):
    """Return the module of an experiment, wherever it stands; raise UserError where there is none of that name."""
    if name not in experiments.modules():
        raise UserError(f"there is no experiment {name!r}; python -m experiments lists all.")
    return importlib.import_module(experiments.modules()[name])


def presets(names: tuple[str, ...], preset: str = ""):
    """Yield (name, module, preset, Config) of experiments [all], of a preset [the first one, and images on digits]."""
    for name in names or experiments.modules():
        module = experiment(name)
        usual = dict.fromkeys([next(iter(module.PRESETS)), "images"])
        for p in [preset] if preset else [p for p in usual if p in module.PRESETS]:
            cfg = preset_of(module, p)
            yield name, module, p, dataclasses.replace(cfg, dataset="digits") if p == "images" else cfg


def table(head, rows) -> str:
    """Print a Markdown table, and return it."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + " --- |" * len(head))
    print("\n".join(lines), flush=True)
    return "\n".join(lines)


def report(record_name: str, head, cells, rows: list[dict], out: str):
    """Print a table, a row `cells(row)` for each, and write it to RECORD.md, and the rows to RECORD.jsonl."""
    lines = table(head, [cells(row) for row in rows])
    record(record_name, rows, out)
    Path(out, f"{record_name}.md").write_text(lines + "\n")


def trained_by(folder) -> dict:
    """Return {"device", "cpu", "jax", "commit", "date", ...} of the process that trained a finished run, for its row.

    What a run of before did not write down is left out.
    """
    return facts(rundir.read(folder), datetime.date.fromtimestamp(Path(folder, "results.json").stat().st_mtime))


def check_alike(protocols, here: bool = True):
    """Raise UserError where results {name: the protocol of their results.json} can't stand side by side.

    Whether samples are of averaged parameters is a way's own. here: whether all were trained on the data of this
    machine, whose fingerprint says that they did not change. Results from before there was a protocol are named.
    """
    if old := [name for name, one in protocols.items() if not one]:
        print(f"of before results carried their protocol, so not checked: {', '.join(old)}", file=sys.stderr)
    first, *others = [(name, one) for name, one in protocols.items() if one] or [("", {})]
    for name, other in others:
        shared = first[1]["classifiers"].keys() & other["classifiers"].keys()  # not those of a way's own `measure`
        one, other = (_measured(of, sorted(shared), here) for of in (first[1], other))
        try:
            protocol.beside(one, other, despite=("ema",))
        except UserError as error:
            raise UserError(f"{first[0]} beside {name}: {error}") from None


def _measured(of, classifiers, here) -> protocol.Measured:
    """Return the protocol of a run's results as that of a number."""
    names = "data", "shape", "says", "content", *(["fingerprint"] if here else [])
    return protocol.Measured(
        name="results",
        values={},
        extractor=" ".join(classifiers),
        digest=" ".join(of["classifiers"][name] for name in classifiers),
        dataset=" ".join(str(of[name]) for name in names if of[name]),
        split=of["split"],
        real=of["real"],
        fake=of["fake"],
        settings=f"seeds={of['seeds']} modes_fake={of['modes_fake']} test={of['test']}",
        ema=of["averaged"],
        step=of["step"],
        seed=of["seeds"][0],
        commit=of["commit"] or "",
    )


def with_flags(said: str, flags: str) -> str:
    """Return a protocol with the flags that all runs were given besides, if any."""
    return f"{said}, {flags}" if flags else said


def recorded(benchmark: str, out: str) -> list[list[dict]]:
    """Return the rows of each line that `record` wrote before, each with "trained": on what."""
    file, found = Path(out, f"{benchmark}.jsonl"), []
    for line in map(json.loads, file.read_text().splitlines() if file.exists() else ()):
        origin = {name: value for name, value in line.items() if name not in ("benchmark", "rows")}
        found.append([{"trained": origin} | row for row in line["rows"]])
    return found


def facts(origin, date) -> dict:
    """Return `rundir.origin`'s facts, flat, with the date."""
    known = {"commit": origin["commit"]} if "commit" in origin else {}
    return origin.get("machine", {}) | origin.get("versions", {}) | known | {"date": date.isoformat()}


def record(benchmark: str, rows: list[dict], out: str):
    """Append one JSON line: what was measured, on what.

    A row of a run that was trained earlier says so by itself: "trained", of `trained_by`. The line then says what all
    these have in common.
    """
    of = [row["trained"] for row in rows if "trained" in row] or [facts(rundir.origin(), datetime.date.today())]
    common = {name: value for name, value in of[0].items() if all(one.get(name) == value for one in of)}
    file = Path(out) / f"{benchmark}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"benchmark": benchmark} | common | {"rows": rows})
    finite = json.loads(line, parse_constant=lambda _: None)  # JSON that every reader takes
    with file.open("a") as f:
        f.write(json.dumps(finite) + "\n")
    print(f"appended to {file}")
