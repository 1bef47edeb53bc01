"""Inputs of strangers, made at random: no traceback, no hang, nothing read that was not written. `--slow`: 378 cases.

A case is a function of its kind and number. What it may end in is a UserError of one or two lines, or an input that is
taken, and then as it was written.
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import random
import shutil
import signal
import socket
import sys

import numpy as np
import pytest
import strangers
from PIL import Image
from runs import train

import gan_jax.curves
import gan_jax.data.cache
from experiments import unrolled
from gan_jax import UserError, data
from gan_jax.data import composed
from gan_jax.data import folder as pictures_of
from gan_jax.run import cli, evaluate, log, plots, rundir

SECONDS = 30  # of one case, at most, on a machine that does other things too
LONG = "x" * 300
NAMES = [
    "a[1]",
    "*?",
    "back\\slash",
    "ünï 名",
    " lead",
    "new\nline",
    "%41#",
    "{x}$HOME",
    "bad\udcff",
    "~",
    "-x",
    LONG,
    "a\0b",
]
DEEP = "[" * 100_000
ODD = [
    None,
    True,
    -1,
    0.5,
    10**30,
    -(10**400),
    math.nan,
    math.inf,
    "",
    "1",
    "x\0",
    "../../x",
    [],
    [[1], [2, 3]],
    {},
    [{}],
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("fuzz") / "run"
    train(out, "--steps=4", "--log-every=1")
    return out


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a prepared TFDS set, and what is in it. A module that it must not name is in reach."""
    reach = tmp_path_factory.mktemp("reach")
    (reach / "evilmod.py").write_text("raise SystemExit('imported')")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(reach))
        yield strangers.prepared(tmp_path_factory.mktemp("base"))


@contextlib.contextmanager
def within(seconds):
    """Fail where something takes longer: it hangs."""

    def late(*_):
        raise TimeoutError(f"hangs: longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # of the time that pytest gives
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def tried(act):
    """Return act(), or None after a refusal in one or two lines."""
    try:
        return act()
    except UserError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= 2 and all(line.strip() for line in lines), error
    return None


def contents(folder):
    """Return {name: bytes} of the files in a folder, but for the lock."""
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file() and f.name != "lock"}


# What there is besides good files


def spoilt(draw, file):
    """Put something else where a file was, or is to be."""
    raw = file.read_bytes() if file.exists() else b"{}"
    file.unlink(missing_ok=True)
    kind = draw.choice(
        ["pipe", "folder", "socket", "device", "link", "cut", "bytes", "nothing", "deep", "zeros", "words"]
    )
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "socket":
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:  # a path that is too long
            one.bind(str(file))
    elif kind in ("device", "link"):
        file.symlink_to("/dev/zero" if kind == "device" else file.name)
    else:
        changed = bytearray(raw)
        for _ in range(draw.randint(1, 9) if raw else 0):
            changed[draw.randrange(len(raw))] = draw.randrange(256)
        cut = raw[: draw.randrange(len(raw) + 1)]
        deep = DEEP.encode()
        words = '{"a": "\\ud800", "step": 1}\n\xff'.encode("latin-1")
        of = {"cut": cut, "bytes": bytes(changed), "nothing": b"", "deep": deep, "zeros": bytes(99), "words": words}
        file.write_bytes(of[kind])


def replaced(draw, value):
    """Return a value of JSON with one thing in it, at any depth, put in the place of something else."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        return value | {key: replaced(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        return [*value[:at], replaced(draw, value[at]), *value[at + 1 :]]
    return draw.choice(ODD)


# Kinds of cases


def taken_up(out):
    """Take the run in a folder up again as --resume does, up to its first step."""
    cfg, run = cli.parse(unrolled.Config, unrolled.PRESETS, ["--resume", f"--out={out}", "--steps=9", "--cpu"])
    with rundir.opened(run):
        log.Rows(run.folder / "metrics.jsonl", 4, run.seeds)
        log.number(run.folder / "seconds")
    return cfg, run


def a_path(draw, folder, *_):
    """Any name for the folder of a run: it is made, and is there, or refused."""
    name = (
        "".join(draw.choices(["a", "é", *NAMES[:-2]], k=draw.randint(1, 2)))
        if draw.random() < 0.6
        else draw.choice(NAMES)
    )
    out = os.path.join(folder, name)
    if draw.random() < 0.2 and len(name) < 100 and "\0" not in name:
        os.mkfifo(out)
    run = cli.Run(out=out, experiment="experiments.unrolled", config={}, seed=3)

    def opened():
        with rundir.opened(run):
            log.write_whole(run.folder / "seconds", "7")
        return rundir.read(out)["seed"], log.number(run.folder / "seconds")

    assert tried(opened) in (None, (3, 7.0))
    tried(lambda: gan_jax.load(out))
    tried(lambda: data.load(out if draw.random() < 0.5 else name))


def a_run_folder(draw, folder, run, _):
    """A run in which something that is no such file stands in the place of one, or beside it."""
    shutil.copytree(run, folder / "run")
    names = ["config.json", "metrics.jsonl", "results.json", "seconds", "lock", "curves.png", ".config.json.new", "x"]
    for name in draw.sample(names, draw.randint(1, 2)):
        spoilt(draw, folder / "run" / name)
    before = contents(folder / "run")
    if tried(lambda: taken_up(folder / "run")) is None:
        assert contents(folder / "run") == before
    results = rundir.results(folder / "run")
    assert results is None or type(results["steps"]) is int
    tried(lambda: gan_jax.load(folder / "run"))
    tried(lambda: gan_jax.curves.read(str(folder / "run")))


def a_config(draw, folder, run, _):
    """A config.json, or a results.json, with something else at one place."""
    out = folder / "run"
    shutil.copytree(run, out)
    for name in draw.sample(["config.json", "results.json"], draw.randint(1, 2)):
        said = replaced(draw, json.loads((out / name).read_text()))
        (out / name).write_text(json.dumps(said))
    before, saved = contents(out), json.loads((out / "config.json").read_text())
    found = tried(lambda: taken_up(out))
    if found is None:
        assert contents(out) == before
    else:
        was, now = saved["config"], found[1].config
        assert all(now[name] == value for name, value in was.items() if name in now and name != "steps")
    tried(lambda: gan_jax.load(out))
    results = rundir.results(out)
    assert results is None or results["steps"] == json.loads((out / "results.json").read_text())["steps"]


def rows(draw, folder, run, _):
    """Rows that no run writes: left out before training, and the run's end takes what is left."""
    out, file = folder / "run", folder / "run" / "metrics.jsonl"
    shutil.copytree(run, out)
    good = file.read_text().splitlines()
    lines = list(good)
    for _ in range(draw.randint(1, 4)):
        wrong = json.dumps(replaced(draw, json.loads(draw.choice(good))))
        odd = [wrong, wrong[: draw.randrange(1, len(wrong) + 1)], DEEP, "\ud800", '{"step": 2, "loss/d": "3"}', "\x85"]
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(odd))
    file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n" * draw.randrange(2))
    before = file.read_bytes().splitlines(keepends=True)
    assert tried(lambda: taken_up(out)) is not None
    kept = file.read_bytes().splitlines(keepends=True)
    assert kept == [line for line in before if (row := log.row_of(line)) is not None and row["step"] <= 4]
    scores = {"diversity": 1.0, "shares": np.ones(8) / 8}
    assert evaluate.conclusion(out, data.load("ring8"), {"steps": 4, "seconds": 1.0} | scores, scores, 1)["steps"] == 4
    if draw.random() < 0.2:
        plots.curves(out / "curves.png", file)


def file_of(picture, mode, form):
    """Return (bytes, the mode that they have): grey, where the format has no such mode."""
    for one in (mode, "L"):
        raw = io.BytesIO()
        with contextlib.suppress(Exception):
            picture.convert(one).save(raw, form)
            break
    return raw.getvalue(), one


def a_picture(draw, folder, *_):
    """A picture of any mode and format, whole or not: its colour, or a word on what is wrong with it."""
    level, side = draw.randrange(256), draw.choice([1, 2, 9, 300])
    mode = draw.choice(["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "LA", "F", "YCbCr", "I"])
    form = draw.choice(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "EPS", "PPM", "ICO", "PDF", "TGA"])
    raw, mode = file_of(Image.new("L", (side, side), level), mode, form)
    whole = draw.random() < 0.6
    if not whole:
        raw = raw[: draw.randrange(len(raw))] + draw.randbytes(draw.choice([0, 40]))
    (folder / "x.png").write_bytes(raw)
    found, _ = pictures_of.decoded(str(folder / "x.png"))
    assert isinstance(found, str) or found.shape[:2] == (side, side)
    if form in ("EPS", "PPM", "ICO", "PDF", "TGA"):
        assert isinstance(found, str)
    elif whole and not isinstance(found, str) and mode not in ("1", "F", "I", "I;16"):
        most = 9 if form in ("JPEG", "WEBP", "GIF") or mode == "YCbCr" else 1
        assert np.abs(found.astype(int) - level).max() <= most


def a_folder(draw, folder, *_):
    """A folder with pictures, other things and metadata.jsonl of any kind: the pictures, in order, as they were."""
    root, levels = folder / "pictures", {}
    for i in range(draw.randint(1, 6)):
        place = root / draw.choice(["", "b", "a[1]", "ünï", "train", "bad\udcff"])
        place.mkdir(parents=True, exist_ok=True)
        name = f"{i}{draw.choice(['', ' ', '[x]', chr(0xDCFF), 'é'])}.png"
        Image.new("L", (4, 4), 20 * i + 7).save(buffer := io.BytesIO(), "PNG")
        (place / name).write_bytes(buffer.getvalue())
        levels[os.path.relpath(place / name, root)] = 20 * i + 7
    if draw.random() < 0.4:
        lines = [{"file_name": name, "label": draw.choice(["a", "\ud800", 3, -(10**99), *ODD])} for name in levels]
        text = "\n".join(json.dumps(line) if draw.random() < 0.9 else draw.choice([DEEP, "{", ""]) for line in lines)
        (root / "metadata.jsonl").write_text(text)
    if draw.random() < 0.4:
        spoilt(
            draw, root / draw.choice(["x.png", "metadata.jsonl", "b"]) if not (root / "b").exists() else root / "y.gif"
        )
    found = tried(
        lambda: (source := data.load(str(root) + draw.choice(["", ",skip_bad=yes", ",size=2"]))) and source.whole()
    )
    if found is not None:
        seen = found["x"][:, 0, 0, 0].tolist()
        assert set(seen) <= set(levels.values()) and len(set(seen)) == len(seen)
        assert all((one == one.flat[0]).all() for one in found["x"])


def an_array(draw, folder, *_):
    """An .npy or .npz of any type and shape, whole or not: its numbers, or a refusal."""
    shape = tuple(draw.choice([0, 1, 2, 3, 4, 5]) for _ in range(draw.randint(0, 5)))
    kind = draw.choice(["u1", "u1", "f4", "f8", "f2", "i8", "b1", "O", "U3", "c8", "M8[s]", "S2"])
    values = np.random.default_rng(draw.randrange(2**32)).random(shape)
    x = (values * (255 if kind in ("u1", "i8") else 1)).astype(kind)
    if kind[0] == "f" and x.size and draw.random() < 0.2:
        x.flat[0] = draw.choice([np.nan, np.inf, -3, 300])
    file = folder / draw.choice(["x.npy", "x.npz"])
    y = draw.choice(
        [np.arange(len(x)) if shape else 3, np.zeros(2), np.array(["a"] * 3), np.array([[None]]), -np.ones(4, int)]
    )
    if file.suffix == ".npy":
        np.save(file, x)
    else:
        np.savez(
            file, **{draw.choice(["x", "x", "x_train", "z", "../x"]): x} | ({"y": y} if draw.random() < 0.4 else {})
        )
    if draw.random() < 0.2:
        spoilt(draw, file)
    else:
        found = tried(lambda: data.load(str(file)).whole())
        if found is not None and found["x"].dtype == np.float32 and found["x"].shape == x.shape:
            assert np.abs(found["x"] - x.astype(np.float32)).max() <= 1 or kind[0] != "f"
            assert found["x"].ndim > 2 or (found["x"] == x.astype(np.float32)).all()
        return
    tried(lambda: data.load(str(file)).whole())


def a_data_set(draw, folder, _, base):
    """A prepared TFDS set whose files contradict one another, are none, or name code: as it was written, or refused."""
    where, rows = base
    shutil.copytree(where, folder / "tfds")
    place = folder / "tfds" / "strokes" / "1.0.0"
    name = draw.choice(["features.json", "dataset_info.json"])
    if draw.random() < 0.15:
        spoilt(draw, draw.choice(sorted(place.iterdir())))
    else:
        said = json.loads((place / name).read_text())
        said = strangers.contradicted(draw, said) if draw.random() < 0.8 else replaced(draw, said)
        (place / name).write_text(json.dumps(said))
    name = "strokes" + draw.choice(["", "", ",y=", ",split=test", ",size=2"])
    found = tried(lambda: (source := data.load(name), source.whole()))
    assert "evilmod" not in sys.modules
    if found is not None and found[1]["x"].shape[1:] == rows["x"].shape[1:]:
        source, raw = found
        at = [next(i for i, row in enumerate(rows["x"]) if (row == x).all()) for x in raw["x"]]
        assert at in (list(range(12)), list(range(12, 16)))
        if "y" in raw and raw["y"].ndim == 1:
            assert (rows["y"][at] == raw["y"]).all() and (not source.classes or raw["y"].max() < source.classes)


def odd_numbers(draw, a):
    """Return numbers [n, ...] as they are, or alike, 0, negative, tiny or huge: all of them, a column, or one record."""
    how = draw.choice(
        [lambda a: a, lambda a: 0 * a, lambda a: 0 * a + 7, lambda a: -a, lambda a: a * 1e-30, lambda a: a * 1e9]
    )
    where = draw.choice([np.s_[:], np.s_[..., 0], np.s_[:1], np.s_[: len(a) // 2]])
    a = np.array(a)
    a[where] = how(a[where])
    return a


def odd_labels(draw, g, n, classes):
    """Return labels [n] of that many classes: of all of them, of one, of some, in order, some or all of them missing."""
    y = g.integers(classes, size=n).astype(np.int32)
    return draw.choice([y, y, np.sort(y), 0 * y, y // 2, np.where(g.random(n) < 0.3, -1, y), 0 * y - 1]).astype(
        np.int32
    )


def of_split(fields, parts):
    """Return the source of records in memory, of which the second part, where there is one, is held out."""
    test = composed.of_arrays("mine", fields, parts[1]) if len(parts) > 1 else None
    return composed.of_arrays("mine", fields, parts[0], test)


def some_prices(draw, g):
    """Return windows of a price a day."""
    n = [draw.randint(1, 60) for _ in range(draw.randint(1, 2))]
    parts = [{"x": odd_numbers(draw, np.exp(0.01 * g.normal(size=(k, 1)).cumsum(0)).astype(np.float32))} for k in n]
    return data.returns(of_split({"x": data.Field((1,), "row")}, parts), draw.randint(1, 20))


def some_demand(draw, g):
    """Return windows of hours of some places."""
    places, hours = draw.randint(1, 3), draw.randint(1, 12) * 24
    x = odd_numbers(draw, g.random((places, hours, 1)).astype(np.float32))
    hour = np.tile(np.arange(hours, dtype=np.int32), (places, 1))[..., None] * draw.choice([1, 1, 1, 2, 3600])
    raw = {
        "x": x,
        "hour": hour,
        "y": draw.choice([np.arange(places, dtype=np.int32), odd_labels(draw, g, places, places)]),
    }
    fields = {name: data.Field((hours, 1), "series") for name in ("x", "hour")} | {"y": data.label(places)}
    return data.demand(of_split(fields, [raw]), draw.randint(1, 3), draw.randint(1, 2), draw.randint(1, 4))


def some_orders(draw, g):
    """Return order lines as rows."""
    n, sizes = draw.randint(1, 80), {"product": draw.randint(1, 9), "customer": draw.randint(1, 9), "date": 30}
    names = {"product": [draw.choice(["red cup", "", "?", "a b c", "blue bag"]) for _ in range(sizes["product"])]}
    names |= {
        "customer": [str(i) for i in range(sizes["customer"])],
        "date": [f"2011-01-{i + 1:02}" for i in range(30)],
    }
    raw = {"x": odd_numbers(draw, 1 + g.random((n, 2)).astype(np.float32))}
    raw |= {name: odd_labels(draw, g, n, size) for name, size in sizes.items()}
    fields = {"x": data.Field((2,), "row")} | {name: data.label(len(said), said) for name, said in names.items()}
    return data.orders(of_split(fields, [raw]), draw.randint(1, 3), draw.randint(1, 3))


def some_table(draw, g):
    """Return what a recipe makes of a table with labels."""
    parts, classes = [], draw.randint(1, 4)
    for n in [draw.randint(1, 50) for _ in range(draw.randint(1, 2))]:
        raw = {"x": odd_numbers(draw, g.normal(size=(n, 3)).astype(np.float32))}
        parts.append(raw | {name: odd_labels(draw, g, n, classes) for name in ("y", "s")})
    source = of_split({"x": data.Field((3,), "row"), "y": data.label(classes), "s": data.label(classes)}, parts)
    recipe = draw.choice(
        [
            lambda: data.standardised(source),
            lambda: data.standardised(with_aside(source, draw)),
            lambda: data.labelled(data.labelled(source), "s"),
            lambda: data.redealt(source, draw.choice([0.0, 0.3, 1.0]), draw.choice([0, 1, 99])),
            lambda: data.only_labelled(source, draw.choice([0, classes, 2 * classes, 7])),
            lambda: data.unseen(source, draw.randint(0, 5)),
            lambda: data.of_class(source, draw.randint(-1, 4)),
            lambda: data.counterparts(source, "s", draw.randint(0, 3)),
            lambda: data.few(source, draw.randint(0, 60)),
        ]
    )
    return recipe()


def with_aside(source, draw):
    """Return the table with one column as a label instead of that which is there."""
    bare = dataclasses.replace(source, fields={"x": source.fields["x"], "y": source.fields["y"]}, test=None)
    return data.aside(bare, draw.randint(0, 3), draw.choice([0.0, 1e9]))


def some_records(draw, *_):
    """Days, hours, orders and tables with odd numbers and labels among them: refused, or all that comes out is finite."""
    g = np.random.default_rng(draw.randrange(2**32))

    def taken():
        source = draw.choice([some_prices, some_demand, some_orders, some_table])(draw, g)
        data.check_batch(source, 1)
        return [data.some(split, 40) for split in (source, source.test) if split]

    with np.errstate(all="raise", under="ignore"):
        found = tried(taken)
    for split in found or []:
        assert all(len(a) and np.isfinite(a).all() for a in split.values() if a.dtype.kind == "f")


KINDS = [a_path, a_run_folder, a_config, rows, a_picture, a_folder, an_array, a_data_set, some_records]


@pytest.mark.parametrize(
    "cases",
    [range(4), pytest.param(range(4, 46), marks=[pytest.mark.slow, pytest.mark.timeout(3000)])],
    ids=["few", "many"],
)
@pytest.mark.filterwarnings("ignore")  # of Pillow and numpy, on odd input
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_traceback_no_hang_no_silent_change(kind, cases, run, base, tmp_path, monkeypatch):
    """A refusal in one or two lines, in time, with every file of the run as it was; or what was written."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for case in cases:
        draw, folder = random.Random(f"{kind.__name__} {case}"), tmp_path / str(case)
        folder.mkdir()
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
        data.load.cache_clear()
        try:
            with within(SECONDS):
                kind(draw, folder, run, base)
        except BaseException as error:
            error.add_note(f"{kind.__name__}, case {case}")
            raise
        finally:
            data.load.cache_clear()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_case_is_made_again_from_its_number():
    """The same kind and number give the same input."""
    made = [[random.Random("a_config 3").random() for _ in range(5)] for _ in range(2)]
    assert made[0] == made[1] and replaced(random.Random("1"), {"a": [1, 2]}) == replaced(
        random.Random("1"), {"a": [1, 2]}
    )


def test_what_hangs_is_found(tmp_path):
    """A pipe that nobody writes into is no test that passes."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TimeoutError), within(1):
        (tmp_path / "pipe").read_text()
