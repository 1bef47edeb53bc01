"""Benchmarks by their names, wherever they stand."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks import __main__ as command
from benchmarks import harness
from gan_jax import UserError, cache, classifier, curves, floor, prepare, sample, spectrum
from gan_jax.run import plots
from gan_jax.run.config import Count


def test_all_are_listed(capsys):
    """Each file of a kind once, under its kind, with what it measures; helpers are none."""
    command.main([])
    said = capsys.readouterr().out
    quality, speed, reliability = (said.index(f"{kind}\n") for kind in ("quality", "speed", "reliability"))
    assert quality < said.index("  ring ") < reliability < said.index("  kills ") < speed < said.index("  step_time ")
    assert re.search(r"\n  ring +what a preset of the unrolled GAN covers", said)
    files = {f.stem for f in Path(benchmarks.__file__).parent.glob("*/*.py")} - {"__init__"}
    assert set(benchmarks.modules()) == files and not {"harness", "torch_steps"} & files


@pytest.mark.parametrize("stem", benchmarks.modules())
def test_a_docstring_says_the_command(stem):
    """Its first line is the command and what it measures, no longer than a line of code."""
    text = Path(benchmarks.__file__).parent.parent.joinpath(*benchmarks.modules()[stem].split(".")).with_suffix(".py")
    first = text.read_text().splitlines()[0]
    assert first.startswith(f'"""`python -m benchmarks {stem}') and "`: " in first and len(first) <= 120
    assert "main" in {node.name for node in ast.parse(text.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_a_name_runs(monkeypatch, capsys):
    """As a program of its own, by its short name, with the flags that follow."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "ring"])
    monkeypatch.delitem(sys.modules, "benchmarks.quality.ring", raising=False)  # of an earlier test
    with pytest.raises(SystemExit) as end:
        command.main(["ring", "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0 and "usage: python -m benchmarks ring " in said and "the last of the moments" in said
    with pytest.raises(SystemExit) as end:
        command.main(["ring", "--sees=3"])
    assert end.value.code == 2 and "--sees" in capsys.readouterr().err


@pytest.mark.parametrize("stem", benchmarks.modules())
@pytest.mark.parametrize("flags", [["--no-such=1"], ["--out"], ["--steps=x", "--n=x", "--seeds=x", "--kills=x"]])
def test_wrong_flags_of_a_benchmark(stem, flags):
    """One or two lines, and nothing is run."""
    if stem == "vs_torch":
        pytest.importorskip("torch")
    main = importlib.import_module(benchmarks.modules()[stem]).main
    with pytest.raises(UserError) as error:
        harness.flagged(main, stem, flags)
    assert 1 <= len(str(error.value).splitlines()) <= 2


VALUES = {
    "ring": [["--seeds=0"], ["--ks", "0", "-1"], ["--moments", "0", "99999999999"]],
    "compare": [["vanilla", "--steps=-1"], [], ["vanilla", "--flags=it's"], ["vanilla", "--out=/dev/null/x"]],
    "step_time": [["--seeds", "0"], ["--repeats=0"], ["--seeds", "1", "-3"]],
    "trajectories": [["--rate=nan"], ["--rate=-1"], ["--moves=0"]],
    "kills": [["--kills=0"], ["--kills=1e3"]],
}


@pytest.mark.parametrize("stem, flags", [(stem, flags) for stem, each in VALUES.items() for flags in each])
def test_values_that_a_benchmark_can_not_take(stem, flags, monkeypatch, tmp_path):
    """One or two lines before anything is trained."""
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(benchmarks.modules()[stem]).main
    with pytest.raises(UserError) as error:
        harness.flagged(main, stem, flags)
    assert 1 <= len(str(error.value).splitlines()) <= 2
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("stem", benchmarks.modules())
def test_defaults_that_a_benchmark_refuses(stem, monkeypatch, tmp_path):
    """Started with no more than it needs, every one would run."""
    if stem == "vs_torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    needs = {"compare": ["vanilla"], "equal_images": ["digits"], "ways": ["mixgan"]}
    assert callable(
        harness.flagged(importlib.import_module(benchmarks.modules()[stem]).main, stem, needs.get(stem, []))
    )


def test_right_values_are_taken_as_they_are(tmp_path):
    """Flags come to the benchmark as tyro read them."""
    seen = {}

    def main(
        names: tuple[str, ...] = (), steps: Count = 3, ks: tuple[Count, ...] = (1,), flags: str = "", out: str = ""
    ):
        seen.update(names=names, steps=steps, ks=ks, flags=flags, out=out)
        return 5

    assert harness.flagged(main, "mine", ["--steps=7", "--ks", "2", "3", f"--out={tmp_path}/a"])() == 5
    assert seen == {"names": (), "steps": 7, "ks": (2, 3), "flags": "", "out": f"{tmp_path}/a"}


def test_a_preset_that_there_is_not():
    with pytest.raises(UserError, match=r"has no preset 'none'; choose from "):
        harness.preset_of(harness.experiment("vanilla"), "none")


COMMANDS = [cache, classifier, curves, floor, prepare, sample, spectrum]


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
@pytest.mark.parametrize("flags", [["--no-such=1"], ["--out"], ["a", "b\0", "--n=x"], ["/no/such/run"], ["x" * 300]])
def test_wrong_flags_of_a_command(module, flags, monkeypatch, tmp_path):
    """Of all that stand on top of gan_jax."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    plots.figure()  # where it never was, Matplotlib asks a program for the fonts
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(UserError) as error:
        module.main(flags)
    assert 1 <= len(str(error.value).splitlines()) <= 2


def test_unknown_names(capsys):
    """Of a benchmark, with what may be meant, and of an experiment."""
    with pytest.raises(SystemExit) as end:
        command.main(["step_tme"])
    assert end.value.code == 2 and "no benchmark 'step_tme'.\nDid you mean step_time?" in capsys.readouterr().err
    with pytest.raises(UserError, match="no experiment 'step_time'; python -m experiments lists all"):
        harness.experiment("step_time")
    assert harness.experiment("cyclegan").__name__ == "experiments.pairs.cyclegan"
