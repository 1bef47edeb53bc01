"""The shape of the code: what imports what, names, lengths; and how experiments are listed and started."""

import ast
import collections
import os
import subprocess
import sys
from pathlib import Path

import pytest
import selection
from runs import end, start

import experiments
import gan_jax
from experiments import __main__ as program

ROOT = Path(gan_jax.__file__).parents[1]
LIBRARY = [f for part in ("game", "nets", "data", "metrics") for f in sorted((ROOT / "gan_jax" / part).rglob("*.py"))]
EXPERIMENTS = sorted(f for f in (ROOT / "experiments").rglob("*.py") if not f.stem.startswith("__"))
FACE = {"gan_jax.load", "gan_jax.fit"}  # what `gan_jax/__init__.py` takes from `gan_jax.run`
name_of = lambda file: str(file.relative_to(ROOT))


def imported(text, package=""):
    """Return all names of modules, and of what is taken out of them, that a module in `package` imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def within(names, package):
    return {name for name in names if name == package or name.startswith(f"{package}.")}


def package_of(file):
    return ".".join(file.relative_to(ROOT).parent.parts)


def test_the_fast_part_lacks_a_family():
    """Without --all, of every family one experiment is tested whole, and those that are the heart."""
    chosen = set(selection.FEW)
    assert {"unrolled", "vanilla"} < chosen and all(chosen & set(stems) for stems in program.families().values())
    assert len(chosen) <= len(program.families()) + 2
    assert selection.experiment("tests/experiments/pairs/test_cyclegan.py::test_x[1]") == "cyclegan"
    assert selection.experiment("tests/test_contract.py::test_three_steps[wgan_gp]") == "wgan_gp"
    assert selection.experiment("tests/nets/test_biggan_nets.py::test_g") == "biggan"
    assert selection.experiment("tests/run/test_fit.py::test_files") == ""


@pytest.mark.parametrize("file", LIBRARY, ids=name_of)
def test_what_is_inside_the_step_knows_nothing_of_the_run(file):
    """`game`, `nets`, `data` and `metrics` import nothing of `gan_jax.run`, by whatever name."""
    names = imported(file.read_text(), package_of(file))
    assert not within(names, "gan_jax.run") and not names & FACE


@pytest.mark.parametrize("file", EXPERIMENTS, ids=name_of)
def test_experiments_do_not_import_one_another(file):
    """Each is read, copied and changed alone."""
    assert not within(imported(file.read_text(), package_of(file)), "experiments")


def test_imports_are_found():
    """In all the ways to write one."""
    text = "def f():\n from gan_jax.run import sharding\nimport gan_jax.run.cli as c\nfrom ..run import fit\nfrom . import x"
    assert imported(text, "gan_jax.data") >= {
        "gan_jax.run.sharding",
        "gan_jax.run.cli",
        "gan_jax.run.fit",
        "gan_jax.data.x",
    }
    assert within({"gan_jax.run", "gan_jax.runs", "gan_jax.run.x"}, "gan_jax.run") == {"gan_jax.run", "gan_jax.run.x"}


def test_stems_are_unique():
    """`python -m experiments NAME` finds one file, whatever family it stands in, and none is left out."""
    stems = collections.Counter(file.stem for file in EXPERIMENTS)
    assert max(stems.values()) == 1 and set(experiments.modules()) == set(stems)
    files = {name_of(file) for file in EXPERIMENTS}
    assert {f"{name.replace('.', '/')}.py" for name in experiments.modules().values()} == files


def test_test_files_have_names_of_their_own():
    """pytest takes two files of one name for one module."""
    stems = collections.Counter(file.stem for file in Path(__file__).parent.rglob("test_*.py"))
    assert max(stems.values()) == 1, stems.most_common(3)


def lengths(file):
    """Yield (lines, where) of every function of a file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.end_lineno - node.lineno + 1, f"{name_of(file)}:{node.lineno} {node.name}"


def test_no_function_is_longer_than_45_lines():
    """Of the library, experiments and benchmarks; a long one is cut where its parts have names."""
    files = [*(ROOT / "gan_jax").rglob("*.py"), *EXPERIMENTS, *(ROOT / "benchmarks").rglob("*.py")]
    assert not sorted((one for file in files for one in lengths(file) if one[0] > 45), reverse=True)


def untyped(body):
    """Yield the public functions of a module's body, and of its public classes, that lack a type somewhere."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (f"{node.name}.{name}" for name in untyped(node.body))
        if not isinstance(node, ast.FunctionDef) or (node.name[0] == "_" and node.name not in ("__init__", "__call__")):
            continue
        said = node.args
        given = [*said.posonlyargs, *said.args, *said.kwonlyargs, *filter(None, (said.vararg, said.kwarg))]
        missing = [a for a in given if a.annotation is None and a.arg not in ("self", "cls")]
        if missing or (node.returns is None and node.name != "__init__"):
            yield node.name


def test_public_functions_say_their_types():
    """Those of `data` and `run`, which experiments and notebooks call."""
    files = [file for part in ("data", "run") for file in sorted((ROOT / "gan_jax" / part).rglob("*.py"))]
    assert not [f"{name_of(file)} {name}" for file in files for name in untyped(ast.parse(file.read_text()).body)]
    text = "class A:\n def f(self, x): pass\n def _g(self, x): pass\ndef h(*x: int): pass\ndef i(x: int) -> int: pass"
    assert list(untyped(ast.parse(text).body)) == ["A.f", "h"]


def ladders(tree):
    """Yield the lines on which an `elif` or a `match` chooses one more kind of data."""
    named = lambda node: getattr(node, "attr", getattr(node, "id", "")) == "kind"
    reads = lambda node: any(isinstance(part, ast.Compare) and named(part.left) for part in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Match) and named(node.subject):
            yield node.lineno
        if isinstance(node, ast.If | ast.IfExp) and reads(node.test):
            rest = node.orelse if isinstance(node.orelse, list) else [node.orelse]
            yield from (one.lineno for one in rest if isinstance(one, ast.If | ast.IfExp) and reads(one.test))


def test_kinds_of_data_are_no_ladders():
    """Outside `data` what differs by kind is a table, as `plots.KINDS` is, or a choice of two."""
    files = [*(ROOT / "gan_jax").rglob("*.py"), *EXPERIMENTS, *(ROOT / "benchmarks").rglob("*.py")]
    trees = {name_of(f): ast.parse(f.read_text()) for f in files if ROOT / "gan_jax" / "data" not in f.parents}
    assert not [f"{name}:{line}" for name, tree in trees.items() for line in ladders(tree)]
    assert list(ladders(ast.parse("if s.kind == 'image':\n a\nelif s.kind == 'row':\n b"))) == [3]


# The list, and the start of one


def test_the_list_has_every_experiment_by_family(capsys):
    """A heading a family, the games first; a line an experiment, with the first words of its docstring."""
    program.main([])
    families, family = {}, None
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  "):
            stem, _, words = line.strip().partition(" ")
            families.setdefault(family, {})[stem] = words.strip()
        family = line if line and not line.startswith("  ") else family
    expected = collections.defaultdict(dict)
    for file in EXPERIMENTS:
        family = "/".join(file.relative_to(ROOT / "experiments").parent.parts) or "games"
        expected[family][file.stem] = ast.get_docstring(ast.parse(file.read_text()))
    assert {of: set(found) for of, found in families.items()} == {of: set(docs) for of, docs in expected.items()}
    assert next(iter(families)) == "games" and len(families) == len(expected)
    for of, found in families.items():
        for stem, words in found.items():
            assert len(words) > 20 and " ".join(expected[of][stem].split()).startswith(words), stem


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """{arguments: (exit code, stdout, stderr)} of `python -m experiments`."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    lines = ["cgan --help", "cgna --steps 3", "zzzz", "cgan --stepz 3"]
    cwd = str(tmp_path_factory.mktemp("cwd"))
    started = {line: start("-m", "experiments", *line.split(), cwd=cwd, PYTHONPATH=path) for line in lines}
    yield {line: end(process) for line, process in started.items()}
    assert not os.listdir(cwd)


def test_help_of_one(programs):
    """That of the experiment, wherever it stands."""
    code, stdout, stderr = programs["cgan --help"]
    assert code == 0 and "usage: python -m experiments.labels.cgan" in stdout and "--d-net" in stdout, stderr


@pytest.mark.parametrize(
    "line, says",
    [
        ("cgna --steps 3", "there is no experiment 'cgna'.\nDid you mean cgan"),
        ("zzzz", "there is no experiment 'zzzz'.\npython -m experiments lists all."),
        ("cgan --stepz 3", "Unrecognized options: --stepz, 3\nDid you mean --steps?"),
    ],
)
def test_a_wrong_word(programs, line, says):
    """Exit code 2 and two lines with a hint; a misspelt flag reads as it does of the experiment itself."""
    code, stdout, stderr = programs[line]
    assert code == 2 and stdout == "" and stderr.startswith(says) and len(stderr.splitlines()) == 2, stderr


@pytest.mark.parametrize("command", ["experiments", "experiments --table", "benchmarks"])
def test_a_list_that_nobody_reads(command):
    """`python -m experiments | true` is no error."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", *command.split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_list_is_quick():
    """It imports no JAX: a list is there at once."""
    code, stdout, stderr = end(start("-X", "importtime", "-m", "experiments", cwd=str(ROOT)))
    assert code == 0 and "unrolled" in stdout
    assert not any(line.rpartition("|")[2].strip() in ("jax", "flax") for line in stderr.splitlines())
