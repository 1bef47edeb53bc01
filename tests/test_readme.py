"""What the README and the docs tell people to type is there."""

import functools
import importlib
import re
import shlex
import types
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import pytest

import benchmarks
from benchmarks import harness
from experiments import __main__ as listing
from experiments import modules, unrolled
from gan_jax import data
from gan_jax.run import cli

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES = [ROOT / (name.replace(".", "/") + ".py") for name in modules().values()]
SAID = "\n".join(page.read_text() for page in (*PAGES, *FILES))
COMMANDS = set(re.findall(r"python -m experiments[. ](\w+[^`\n#&|]*?)(?:\s{2,}|[`\n&|]|$)", SAID))
COMMANDS = {command for command in COMMANDS if not command.startswith("NAME")}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_that_is_not_understood(command, monkeypatch):
    """Every flag of every command is one that the experiment has."""
    name, *flags = shlex.split(command.replace('"', "").rstrip("\\ "))
    module = importlib.import_module(modules()[name.rpartition(".")[2]])
    image = data.Source("x", {"x": data.Field((28, 28, 1), "image"), "y": data.label(10)}, n=100)
    monkeypatch.setattr(cli.data, "load", lambda name: image)
    monkeypatch.setattr("gan_jax.run.sharding.choose", lambda *args: None)
    monkeypatch.setattr("gan_jax.run.rundir.newest", lambda name: pytest.skip("resumes a run"))
    if "--help" not in flags:
        cfg, _ = cli.parse(module.Config, module.PRESETS, flags)
        assert isinstance(cfg, module.Config)


MEASURED = re.findall(r"`python -m benchmarks (\w+[^`]*)`|^    python -m benchmarks (\w.*)$", SAID, re.M)
MEASURED = {" ".join((quoted or re.split("  +", line)[0]).split("#")[0].split()) for quoted, line in MEASURED}


@pytest.mark.parametrize("command", sorted(MEASURED))
def test_a_benchmark_that_is_not_understood(command, monkeypatch, tmp_path):
    """Every flag of every command is one that the benchmark has, and every one that it hands on, its experiments'."""
    stem, *flags = shlex.split(command)
    if stem == "vs_torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    if flags and not {"SET", "RUN", "NAME"} & set(flags):  # the others are only named
        of = harness.flagged(importlib.import_module(benchmarks.modules()[stem]).main, stem, flags)
        if stem == "defaults":
            harness.taken({name: harness.experiment(name) for name in of.keywords["names"]}, of.keywords["flags"])


def test_a_table_that_is_not_that_of_the_files():
    """The tables are what `python -m experiments` prints of the docstrings and the record."""
    assert listing.short_table() in TEXT
    assert listing.table("../") in (ROOT / "docs" / "experiments.md").read_text()


def test_a_step_that_is_not_in_the_file():
    """The algorithm that the README shows is the step of vanilla.py, word for word."""
    (shown,) = re.findall(r"```python\n(def step.*?)```", TEXT, re.S)
    assert shown in (ROOT / "experiments" / "vanilla.py").read_text()


def test_a_readme_that_is_long():
    """It has at most 150 lines, and none that are two."""
    lines = TEXT.splitlines()
    assert len(lines) <= 150 and not [line for line in lines if len(line) > 400 and line[0] != "|"]


def test_first_edit_applies():
    """The line that "your first edit" takes out is in the file that it names."""
    taken = [line for line in re.findall(r"^-(?!--)(.*)$", TEXT, re.M) if line.startswith("    ")]
    assert taken and all(line in (ROOT / "experiments" / "unrolled.py").read_text() for line in taken)


def test_first_edit_runs(monkeypatch):
    """The edited file's step is the step whose lookahead stops the gradient, and not that of the file as it is."""
    (removed,), (added,) = (re.findall(rf"^{sign}(    .*)$", TEXT, re.M) for sign in ("-", r"\+"))
    edited = types.ModuleType("edited")
    exec(Path(unrolled.__file__).read_text().replace(removed, added), vars(edited))
    cfg = unrolled.Config(batch_size=8, width=8, unroll=2)
    state = unrolled.init(cfg, jax.random.key(0))
    of = lambda module: module.step(cfg, state, {"x": jnp.ones((8, 2))})[0].g.opt[0].mu  # Adam's: the gradient, scaled
    as_it_is, once_edited = of(unrolled), of(edited)
    monkeypatch.setattr(unrolled, "unroll", functools.partial(unrolled.unroll, first_order=True))
    chex.assert_trees_all_equal(once_edited, of(unrolled))
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(once_edited, as_it_is, rtol=1e-3)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_to_nothing(page):
    """Files and headings that the pages link to exist."""
    for link in re.findall(r"\]\((?!http)([^)]+)\)|src=\"([^\"]+)\"", page.read_text()):
        file, _, heading = (link[0] or link[1]).partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M) if heading else []
        assert not heading or heading in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings], link


def test_a_pytest_command_that_selects_nothing():
    """The files that a `pytest` of the pages names are there, and have a function for each word after -k."""
    commands = set(re.findall(r"`(pytest tests[^`]*)`", SAID))
    assert len(commands) > 40
    for command in commands:
        paths = [ROOT / path for path in re.findall(r"tests[\w/.]*", command) if "NAME" not in path]
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))]
        assert files and all(path.exists() for path in paths), command
        functions = [name for file in files for name in re.findall(r"^def (\w+)", file.read_text(), re.M)]
        quoted, word = (re.findall(r"-k (?:\"([^\"]+)\"|(\w+))", command) or [("", "")])[0]
        names = [*functions, *modules()]  # a test of an experiment is named after it
        for one in re.split(" or | and ", quoted or word):
            assert any(one in name for name in names), (command, one)


def test_a_module_that_the_map_lacks():
    """docs/architecture.md names every module of `game`, `data` and `run`, by whose names people look."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    files = [file for part in ("game", "data", "run") for file in sorted((ROOT / "gan_jax" / part).glob("*.py"))]
    assert not [file.name for file in files if file.stem != "__init__" and f"`{file.stem}`" not in text]


def test_a_module_that_is_not_there():
    """Every `python -m` of the pages names a module of the repository."""
    for name in set(re.findall(r"python -m ((?:gan_jax|benchmarks|experiments)(?:\.\w+)+)", SAID)) - {
        "experiments.NAME"
    }:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or path.is_dir(), name
    for name in set(re.findall(r"python -m benchmarks (\w+)", SAID)):
        assert list((ROOT / "benchmarks").rglob(f"{name}.py")), name
