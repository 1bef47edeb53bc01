"""Bad input made at random: each case ends in one or two lines and a changed file in none. `--slow` makes 520 cases."""

import contextlib
import dataclasses
import gc
import hashlib
import importlib
import json
import random
import shutil
import string

import chex
import pytest
from runs import RING, train

import experiments
import gan_jax.data.cache
from experiments import unrolled
from gan_jax import UserError, data
from gan_jax.run import fit, sharding


class Reached(Exception):
    """Nothing was wrong: the run got to its first step, with this state and data."""


@pytest.fixture(autouse=True)
def stop_at_the_first_step(monkeypatch, tmp_path):
    def advance(*given):
        raise Reached(*given)

    monkeypatch.setattr(fit, "advancer", lambda *_: advance)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with three checkpoints, and their states."""
    out = tmp_path_factory.mktemp("bad") / "run"
    states = {}
    for n in (2, 4, 6):
        states[n] = sharding.to_host(train(out, f"--steps={n}", *["--resume"] * (n > 2))[0])
    return out, states


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder with a prepared TFDS set called `strokes`."""
    data.load("digits")
    prepared = max((gan_jax.data.cache.FOLDER / "tfds" / "digits").glob("*.*.*"))
    out = tmp_path_factory.mktemp("records")
    shutil.copytree(prepared, out / "strokes" / "1.0.0")
    for file in (out / "strokes" / "1.0.0").iterdir():
        file.rename(file.with_name(file.name.replace("digits", "strokes")))
    info = out / "strokes" / "1.0.0" / "dataset_info.json"
    told = json.loads(info.read_text()) | {"name": "strokes", "version": "1.0.0"}
    info.write_text(json.dumps(told))
    return out


def contents(folder):
    """Return {file: digest} of a folder, but for the lock, which stays as it is from run to run."""
    files = (f for f in folder.rglob("*") if f.is_file() and f.name != "lock")
    return {str(f): hashlib.blake2b(f.read_bytes()).hexdigest() for f in files}


def tried(main, argv, folder):
    """Return the state that the run would begin with, or None after a refusal in one or two lines."""
    before = contents(folder)
    try:
        main(argv)
    except Reached as reached:
        return reached.args[0]
    except UserError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= 2 and all(line.strip() for line in lines), error
        assert contents(folder) == before
    return None


def word(draw, letters=string.printable):
    return "".join(draw.choices(letters, k=draw.randint(1, 12)))


def a_flag(draw, folder, *_):
    """Flags of any experiment that are misspelt, of the wrong type, out of range, or no flags at all."""
    module = importlib.import_module(draw.choice(list(experiments.modules().values())))
    field = draw.choice(dataclasses.fields(module.Config))
    flag = f"--{field.name.replace('_', '-')}"
    wrong = {
        "misspelt": lambda: [flag + draw.choice(string.ascii_lowercase) + "=1"],
        "of a wrong type": lambda: [f"{flag}={word(draw, string.ascii_letters)}!"],
        "negative": lambda: [f"{flag}=-{draw.randint(1, 10**12)}"],
        "huge": lambda: [f"{flag}={10 ** draw.randint(10, 400)}"],
        "not finite": lambda: [f"{flag}={draw.choice(['nan', 'inf', '-inf'])}"],
        "nothing": lambda: [flag],
        "words": lambda: [word(draw) for _ in range(draw.randint(1, 4))],
        "a preset": lambda: [f"--preset={word(draw)}"],
        "a data set": lambda: [f"--dataset={draw.choice(['../', '/', ''])}{word(draw)}"],
        "no run": lambda: ["--resume", f"--out={word(draw, string.ascii_letters)}"],
        "two": lambda: ["--steps=0", "--preset=none"],
    }
    kind = draw.choice(list(wrong))
    state = tried(module.main, [*wrong[kind](), "--cpu"], folder)
    assert state is None or kind in ("negative", "huge", "words"), kind  # a text may be anything


def spoilt(draw, file):
    """Spoil a file: cut it, empty it, change bytes of it, write anything, take it away, or put a folder there."""
    raw = file.read_bytes()
    kind = draw.choice(["cut", "empty", "bytes", "anything", "gone", "folder"])
    if kind == "cut":
        file.write_bytes(raw[: draw.randrange(len(raw) + 1)])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "bytes":
        changed = bytearray(raw)
        for _ in range(draw.randint(1, 20) if raw else 0):
            changed[draw.randrange(len(raw))] = draw.randrange(256)
        file.write_bytes(changed)
    elif kind == "anything":
        file.write_bytes(draw.randbytes(draw.randint(1, 300)))
    else:
        file.unlink()
        if kind == "folder":
            file.mkdir()


def a_config(draw, folder, run, _):
    """A run folder whose config.json was changed, field by field or byte by byte."""
    out = folder / "run"
    shutil.copytree(run[0], out)
    file = out / "config.json"
    if draw.random() < 0.5:
        spoilt(draw, file)
    else:
        saved = json.loads(file.read_text())
        where = draw.choice([saved, saved["config"]])
        values = [None, -1, 10**30, 0.5, "", "../../x", [], {}, True, float("nan"), word(draw)]
        where[draw.choice(list(where))] = draw.choice(values)
        file.write_text(json.dumps(saved))
    state = tried(unrolled.main, ["--resume", f"--out={out}", "--steps=9"], folder)
    with contextlib.suppress(UserError):
        gan_jax.load(out)
    assert state is None or state.step == 6


def a_checkpoint(draw, folder, run, _):
    """Checkpoints with files that were changed: one that is good is taken, bit for bit, or none."""
    out = folder / "run"
    shutil.copytree(run[0], out)
    for step in draw.sample(["2", "4", "6"], draw.randint(1, 3)):
        files = sorted(f for f in (out / "checkpoints" / step).rglob("*") if f.is_file())
        for file in draw.sample(files, draw.randint(1, 2)):
            spoilt(draw, file)
    state = tried(unrolled.main, [*RING, "--resume", f"--out={out}", "--steps=9"], folder)
    if state is not None and state.step:
        chex.assert_trees_all_equal(sharding.to_host(state), run[1][int(state.step)])


def a_data_set(draw, folder, _, records):
    """A prepared set whose files were changed: refused, or read as far as it goes."""
    shutil.copytree(records, folder / "tfds")
    files = sorted((folder / "tfds" / "strokes" / "1.0.0").iterdir())
    if draw.random() < 0.7:
        spoilt(draw, draw.choice(files))
    else:  # a set of another kind
        file = folder / "tfds" / "strokes" / "1.0.0" / "features.json"
        text = file.read_text()
        for what, other in draw.sample([("uint8", "float32"), ('"8"', '"9"'), ("png", "jpeg"), ("Image", "Tensor")], 2):
            text = text.replace(what, other)
        file.write_text(text)
    data.load.cache_clear()
    tried(unrolled.main, [*RING, "--preset=default", "--dataset=strokes", "--unroll=0"], folder)


@pytest.mark.parametrize(
    "cases", [range(8), pytest.param(range(8, 130), marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's, after a failed restore
@pytest.mark.parametrize("kind", [a_flag, a_config, a_checkpoint, a_data_set])
def test_bad_input(kind, cases, run, records, tmp_path, monkeypatch):
    """No traceback, no file changed, nothing begun that is not what it seems."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")  # where a spoilt set would be kept

    for case in cases:
        draw, folder = random.Random(case), tmp_path / str(case)
        folder.mkdir()
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
        try:
            kind(draw, folder, run, records)
        except BaseException as error:
            error.add_note(f"{kind.__name__}, case {case}")
            raise
        finally:
            data.load.cache_clear()
        shutil.rmtree(folder, ignore_errors=True)
    gc.collect()  # what failed restores leave behind, within this test
