"""`python -m gan_jax.score RUN ...`: samples of trained runs against real data, in numbers, beside the data themselves.

Each number stands beside the data's own floor: what training rows score in the place of samples. Docs: docs/scoring.md.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import numpy as np
import tyro

from gan_jax import data
from gan_jax.curves import short
from gan_jax.data import contents
from gan_jax.errors import UserError, first_line
from gan_jax.metrics import birthday, extractors, floor, neighbours, protocol, suite
from gan_jax.metrics.protocol import Measured
from gan_jax.run import cli, loaded, log, plots, provenance, rundir

BETTER = {  # where a better value lies; all others: where that of the data is
    "low": ("frechet", "kernel", "fid", "kid", "ndb", "js", "sliced", "reverse_kl", "class_kl", "duplicate"),
    "high": ("precision", "recall", "coverage", "class_score", "inception_score", "modes", "high_quality", "classes"),
}
DRAWN = 10  # pictures of a row


@dataclasses.dataclass(frozen=True)
class Flags:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]  # folders of the runs
    n: int = 10_000  # samples of each seed, and reals; as many as there are records to train on, where these are fewer
    seed: int = 0  # the samples are a function of it
    step: int | None = None  # of the checkpoint [the newest]
    # classifier (of the data set itself), vgg16, pixels, or an .npz of Inception's weights [classifier, else pixels]
    features: str = ""
    train: int = 0  # training records among which copies are looked for [as many as samples]
    despite: str = ""  # fields of the protocol that may differ from run to run, with commas between: ema
    out: str = ""  # a .json, or a folder for score.json, with all numbers and their protocol [they are printed only]
    picture: str = ""  # a .png of the samples that are nearest to training data, and of the most alike


class Scale(NamedTuple):
    """What all runs are measured with."""

    source: data.Source
    extractor: extractors.Extractor
    real: extractors.Seen
    train: extractors.Seen
    split: str  # of the reals
    n: int  # samples of each seed
    metrics: dict[str, suite.Metric]
    missing: dict[str, str]  # why a metric is left out


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.score", description=__doc__)
    check(flags)
    runs = {run: loaded.load(run, step=flags.step) for run in dict.fromkeys(flags.runs)}
    sources = {name: source_of(run) for name, run in runs.items()}
    ema = {name: averages(run) for name, run in runs.items()}
    check_alike(flags, sources, ema)
    line = log.Line()
    scale = prepare(flags, next(iter(sources.values())), line)
    for said in (scale.extractor.says, fewer(flags.n, scale), *(run.repeats(scale.n) for run in runs.values())):
        if said:
            log.tell(said)
    best = floors(scale, line)
    found, drawn = {}, {}
    for name, run in runs.items():
        found[name], drawn[name] = scored(flags, scale, name, run, ema[name], line)
    line.end()
    first = next(iter(found.values()))[0]
    for of_seed, *_ in found.values():
        for one, other in zip(first, of_seed, strict=True):
            beside(one, other, flags)
    tell(flags, scale, best, found)
    if flags.picture:
        draw(flags.picture, scale, {short(name, list(runs)): one for name, one in drawn.items()})
    if flags.out:
        write(target(flags.out), best, found, scale.missing)


def check(flags):
    """Raise UserError where a flag can't be what it is."""
    if not flags.runs:
        raise UserError("name one run's folder or more: python -m gan_jax.score RUN RUN")
    for name, value, least in (("n", flags.n, suite.LEAST), ("train", flags.train or suite.LEAST, suite.LEAST)):
        if not least <= value < 2**31:
            raise UserError(f"--{name} is {value}; it must be a number, {least} or more: fewer rows say too little.")
    if not 0 <= flags.seed < 2**31:
        raise UserError(f"--seed is {flags.seed}; it must be a number from 0 to {2**31 - 1}.")
    unknown = set(despite(flags)) - set(protocol.SAME)
    if unknown:
        raise UserError(f"--despite {', '.join(sorted(unknown))}: choose from {', '.join(protocol.SAME)}.")
    if flags.picture and not flags.picture.lower().endswith(".png"):
        raise UserError(f"--picture is {flags.picture}; it must be the name of a .png.")
    for file in (flags.picture and Path(flags.picture), flags.out and target(flags.out)):
        if file and not file.parent.is_dir():
            raise UserError(f"{file} can't be written: there is no folder {file.parent}.")
    if flags.out:
        check_free(target(flags.out))


def despite(flags) -> tuple[str, ...]:
    """Return the fields of the protocol that may differ."""
    return tuple(name for name in flags.despite.split(",") if name)


def target(out: str) -> Path:
    """Return the file for the numbers."""
    return Path(out) / "score.json" if Path(out).is_dir() else Path(out)


def check_free(file: Path):
    """Raise UserError where the file is no .json, or is there and holds something else than scores."""
    if file.suffix != ".json":
        raise UserError(f"--out is {file}; it must be the name of a .json, or a folder that is there.")
    try:
        scores = not file.exists() or "measured" in json.loads(contents.of(file))
    except (OSError, ValueError, TypeError):
        scores = False
    if not scores:
        raise UserError(f"{file} is there already, and holds no scores: choose another --out.")


def source_of(run) -> data.Source:
    """Return the data that the samples of a run are held against; UserError where they can't be scored."""
    source = run.source()
    rows = min(source.n or suite.LEAST, source.test.n if source.test else (source.n or 2 * suite.LEAST) // 2)
    if rows < suite.LEAST:
        raise UserError(f"{source.name} has {rows} records to hold samples against: {suite.LEAST} or more are needed.")
    return source


def averages(run) -> bool:
    """Return whether a run's samples are of averaged parameters."""
    one = run.state if run.seeds == 1 else provenance.of_one_seed(run.state)
    return provenance.averaged(run.state, provenance.sampled(functools.partial(run.experiment.sample, run.cfg), one))


def named(source) -> str:
    """Return a data set as the protocol has it: name, shape, and what it says of its features and splits."""
    says = source.says.partition("\n")[0].removeprefix(f"{source.name}: ")
    parts = [source.name, "x".join(map(str, source.shape)), says and f"({says})", source.content]
    return " ".join(part for part in parts if part)


def check_alike(flags, sources, ema):
    """Raise UserError where runs can't stand side by side, before anything is drawn."""
    common = {"name": "score", "values": {}, "split": "", "real": 0, "fake": 0, "step": 0, "seed": 0, "commit": ""}
    first, *others = (Measured(dataset=named(sources[name]), ema=ema[name], **common) for name in sources)
    for other in others:
        beside(first, other, flags)


def beside(one, other, flags):
    """Raise UserError where two numbers are not measured alike."""
    try:
        protocol.beside(one, other, despite(flags))
    except UserError as error:
        hint = "\nWhere that is the question itself: --despite ema." if "ema is" in str(error) else ""
        raise UserError(f"{error}{hint}") from None


def prepare(flags, source, line) -> Scale:
    """Return what the runs are measured with: the reals, the training data, and what they look like."""
    n = min(flags.n, source.n or flags.n)
    if source.n and not source.test:
        n = min(n, source.n // 2)
    live = functools.partial(log.Live, title=f"the classifier of {source.name}")
    extractor = extractors.chosen(flags.features, source, live)
    real, train, split = extractors.rows(source, flags.n, max(n, flags.train), counter(line, "reading data"))
    real, train = (extractors.seen(extractor, x, counter(line, "looking at data", len(x))) for x in (real, train))
    metrics, missing = suite.suite(source, real, n, extractor.name)
    return Scale(source, extractor, real, train, split, n, metrics, missing)


def counter(line, what, total=0):
    """Return a function of numbers of rows that says how many were done in all."""
    done = 0

    def more(rows):
        nonlocal done
        done += rows
        line.say(f"{what}: {done:,}" + (f" of {total:,}" if total else ""))

    return more


def fewer(n, scale) -> str:
    """Return a word on there being fewer samples than asked for."""
    if scale.n == n:
        return ""
    return (
        f"{scale.source.name} has {scale.n:,} records to stand in for samples, so {scale.n:,} samples of each seed are "
        f"scored, not {n:,}: the data's own numbers are of as many"
    )


def floors(scale, line) -> list[Measured]:
    """Return what the data themselves score: training rows in the place of samples."""
    found = []
    few = jax.tree.map(lambda a: a[: scale.n], scale.train)
    for name, metric in scale.metrics.items():
        line.say(f"the data themselves: {name}")
        train = scale.train if name == "memorisation" else few
        found.append(as_measured(scale, name, metric, suite.floor(name, metric, scale.real, train), run="data"))
    if scale.source.modes:
        line.say("the data themselves: modes")
        draws = floor.scores(scale.source, of_modes(scale), 5)
        values = {k: float(np.mean(v)) for k, v in draws.items() if k != "n"}
        found.append(as_measured(scale, "modes", modes_metric(scale), values, run="data", fake=of_modes(scale)))
    return found


def of_modes(scale) -> int:
    """Return how many samples mode coverage is of."""
    return scale.source.modes.draws if scale.source.modes.classifiers else scale.n


def modes_metric(scale) -> suite.Metric:
    """Return the settings of mode coverage."""
    return suite.Metric(None, by_features=bool(scale.source.modes.classifiers))


def as_measured(scale, name, metric, values, **of) -> Measured:
    """Return values with their protocol."""
    by = {"extractor": scale.extractor.name, "digest": scale.extractor.digest} if metric.by_features else {}
    settings = f"train={len(scale.train.features)}" if name == "memorisation" else metric.settings
    of = {"ema": False, "step": 0, "seed": 0, "commit": "", "fake": scale.n} | of
    return Measured(
        name=name,
        values={k: float(v) for k, v in values.items()},
        dataset=named(scale.source),
        split=scale.split,
        real=len(scale.real.features),
        settings=settings,
        **by,
        **of,
    )


def scored(flags, scale, name, run, ema, line):
    """Return (a list of numbers for each seed of a run, what is seen of the first seed's samples)."""
    saved, kind, step = rundir.read(run.folder), scale.source.kind, int(np.ravel(run.state.step)[0])
    parts, more = [], counter(line, f"{name}: drawing samples", scale.n)
    for part in run.drawn(flags.seed, scale.n):
        if part.shape[2:] != scale.source.shape:
            raise UserError(f"{name} draws samples of shape {part.shape[2:]}, its data have {scale.source.shape}.")
        parts.append(data.encode(part) if kind == "image" else np.asarray(part, np.float32))
        more(part.shape[1])
    x, found, first = np.concatenate(parts, 1), [], None
    for i, of_seed in enumerate(x):
        says = f"{name}, seed {saved['seed'] + i}"
        seen = extractors.seen(scale.extractor, of_seed, counter(line, f"{says}: looking at samples", scale.n))
        first = first or seen
        of = {"ema": ema, "step": step, "seed": saved["seed"] + i, "commit": saved.get("commit") or "", "run": name}
        rows = []
        for of_metric, metric in scale.metrics.items():
            line.say(f"{says}: {of_metric}")
            rows.append(as_measured(scale, of_metric, metric, metric.of(scale.real, seen, scale.train), **of))
        if scale.source.modes:
            values = modes(scale, run, i, of_seed, flags.seed)
            rows.append(as_measured(scale, "modes", modes_metric(scale), values, **of | {"fake": of_modes(scale)}))
        found.append(rows)
    return found, first


def modes(scale, run, i, x, seed) -> dict:
    """Return the mode coverage of samples of seed i of a run; of stacked pictures of new ones, as many as are usual."""

    @jax.jit
    def covered(state, x):
        draw = functools.partial(run.experiment.sample, run.cfg, state)
        return scale.source.modes.coverage(x, draw, jax.random.key(seed))

    state = run.state if run.seeds == 1 else jax.tree.map(lambda a: a[i], run.state)
    return covered(state, x)


def tell(flags, scale, best, found):
    """Print the table: a row a value, the data and each run a column."""
    first = next(iter(found.values()))[0][0]
    print(
        f"{first.dataset}: {scale.n:,} samples a seed (seed {flags.seed}) against {first.real:,} reals ({scale.split})"
        + (f"; features: {scale.extractor.name} {scale.extractor.digest}" if scale.extractor.name else "")
    )
    names, one = list(found), {name: of_run[0][0] for name, of_run in found.items()}
    rows = [
        ["", "better", "data", *(short(name, names) for name in names)],
        ["seeds", "", "", *(str(len(found[name])) for name in names)],
        ["step", "", "", *(str(one[name].step) for name in names)],
        ["averaged", "", "", *("yes" if one[name].ema else "no" for name in names)],
    ]
    for i, of_data in enumerate(best):
        for value, own in of_data.values.items():
            where = next((word for word, known in BETTER.items() if value in known), "as data")
            cells = [log.spread([seed[i].values[value] for seed in found[name]]) for name in names]
            rows.append([value, where, log.spread(own), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for name, why in scale.missing.items():
        print(f"left out: {name} {why}")


def draw(file, scale, drawn):
    """Write the picture: points over the data; of pictures the most like training data, and the most alike."""
    try:
        if scale.source.kind == "points":
            given = plots.Given(scale.source.row["x"], scale.real.x, scale.source.modes)
            panels = {title: seen.x for title, seen in drawn.items()}
            plots.page.save(Path(file), plots.KINDS["points"].picture(panels, given))
        else:
            rows = {title: row for run, seen in drawn.items() for title, row in alike(run, seen, scale.train).items()}
            x = np.asarray(data.decode(np.stack(list(rows.values()))))
            plots.table(Path(file), plots.Picture(x, rows=tuple(rows)), scale.source)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} can't be written: {first_line(error)}. Choose another --picture.") from None
    log.tell(f"the samples that are nearest to data, and the most alike, are in {file}")


def alike(run, seen, train) -> dict[str, np.ndarray]:
    """Return rows of pictures uint8 [DRAWN, h, w, c] by their titles."""
    distances, which = neighbours.nearest(seen.features, train.features)
    closest = np.argsort(distances, kind="stable")[:DRAWN]
    pairs, _ = birthday.closest_pairs(seen.features, DRAWN)
    return {
        f"{run}: nearest to data": seen.x[closest],
        f"{run}: their nearest training pictures": train.x[which[closest]],
        f"{run}: most alike": seen.x[pairs[:, 0]],
        f"{run}: their likes": seen.x[pairs[:, 1]],
    }


def write(file, best, found, missing):
    """Write all numbers with their protocol."""
    rows = [dataclasses.asdict(one) for of_run in found.values() for of_seed in of_run for one in of_seed]
    whole = {"data": [dataclasses.asdict(one) for one in best], "measured": rows, "left_out": missing}
    try:
        log.write_whole(file, log.as_json(rundir.origin() | whole) + "\n")
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror}. Choose another --out.") from None
    log.tell(f"the numbers and their protocol are in {file}")


if __name__ == "__main__":
    cli.run(main)
