"""What the README tells people to type is there."""

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

import experiments
from experiments import unrolled
from gan_jax import data
from gan_jax.run import cli

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PAGES = TEXT + "".join(f.read_text() for f in ROOT.glob("experiments/**/*.py") if not f.stem.startswith("__"))
COMMANDS = set(re.findall(r"python -m experiments[. ](\w+[^`\n#&]*?)(?:\s{2,}|[`\n&]|$)", PAGES)) - {"NAME"}
for name, tries in re.findall(r"^\| \[`(\w+)\.py`\].* \| (.*) \|$", TEXT, re.M):  # the table of experiments
    flag = ""
    for given in re.findall(r"`(.+?)`", tries):  # flags, or another value of the flag before
        flag = given.split()[0] if given.startswith("--") else flag
        COMMANDS.add(f"{name} {given if given.startswith('--') else f'{flag} {given}'}")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_command_is_understood(command, monkeypatch):
    """Every flag of every command is one that the experiment has."""
    name, *flags = shlex.split(command)
    module = importlib.import_module(experiments.modules()[name])
    fields = {"x": data.Field((28, 28, 1), "image"), "y": data.label(10)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields, n=60_000))
    monkeypatch.setattr("gan_jax.run.mesh.choose", lambda *args: None)
    monkeypatch.setattr("gan_jax.run.rundir.newest", lambda name: pytest.skip("resumes a run"))
    cfg, run = cli.parse(module.Config, module.PRESETS, flags)
    assert run.experiment == module.__name__ and module.setup(cfg).batch_size > 0


def test_first_edit_applies():
    """The line that "your first edit" takes out is in the file that it names."""
    for page, file in (("README.md", "experiments/unrolled.py"), ("CONTRIBUTING.md", "gan_jax/game/lookahead.py")):
        taken = re.findall(r"^-(?!--)(.*)$", (ROOT / page).read_text(), re.M)
        taken = [line for line in taken if line.startswith("    ")]
        assert all(line in (ROOT / file).read_text() for line in taken)
        assert taken or page == "CONTRIBUTING.md"


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


def test_links_and_presets_are_there():
    """Files and presets that the README names exist."""
    for link in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (ROOT / link.split("#")[0]).exists(), link
    for preset in ("paper", "notebook", "veegan_ring", "veegan_grid", "images", "lstm"):
        assert preset in unrolled.PRESETS
