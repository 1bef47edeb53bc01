"""What is read can't run code, and a run's folder can't point out of itself."""

import ast
import json
import shutil
from pathlib import Path

import pytest
from runs import train

import gan_jax
from gan_jax import UserError, data

ROOT = Path(gan_jax.__file__).parents[1]
FILES = sorted(f for folder in ("gan_jax", "experiments", "benchmarks") for f in (ROOT / folder).rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"}


def unsafe(text):
    """Return the lines [number] of a module that could run what they read."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [node.lineno for name in names if name.partition(".")[0] in MODULES]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            unchecked = called == "torch.load" and given.get("weights_only") != "True"
            if called in CALLS or unchecked or given.get("allow_pickle", "False") != "False" or "shell" in given:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_that_is_read_can_run(file):
    """No pickle, no eval, no shell; arrays without pickle, PyTorch's weights as weights only."""
    assert not unsafe(file.read_text())


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from yaml import load", "eval(text)", "torch.load(f)", "torch.load(f, weights_only=False)",
     "np.load(f, allow_pickle=True)", "subprocess.run(c, shell=True)", "os.system(c)", "import torch, joblib"],
)  # fmt: skip
def test_what_could_run_is_found(line):
    assert unsafe(line) == [1]


def test_what_could_not_is_not():
    assert not unsafe("import numpy\nnp.load(f)\ntorch.load(f, weights_only=True)\nre.compile(p)\njax.jit(f).compile()")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("safe") / "deep" / "run"
    train(out, "--steps=2")
    return out


def outside(run):
    """Return what there is two folders above a run, but for the run itself."""
    return {f for f in run.parents[1].rglob("*") if run not in f.parents}


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["../../x", "os", "experiments.nothing", "experiments.__init__", "experiments.x.y", "/x"]
)
def test_an_experiment_is_a_module_of_experiments(run, tmp_path, name):
    """Another one is refused in a line by `load` and --resume, and not imported."""
    out = shutil.copytree(run, tmp_path / "a" / "run")
    file, before = out / "config.json", outside(out)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"experiment": name}))
    for use in (lambda: gan_jax.load(out), lambda: train(out, "--resume", "--steps=4")):
        with pytest.raises(UserError, match=r"was trained by|is a run of") as error:
            use()
        assert len(str(error.value).splitlines()) == 1
    assert outside(out) == before and sorted(p.name for p in (out / "checkpoints").iterdir()) == ["0", "2"]


@pytest.mark.parametrize("name", ["../../x", "/etc", "digits/../x", "huggingface:mnist", "a:b", "digits/..", "x\n"])
def test_a_data_set_is_a_name(run, tmp_path, name):
    """A path is none, nor is a set of a namespace, which would be fetched from elsewhere."""
    with pytest.raises(UserError, match="there is no data set"):
        data.load(name)
    out = shutil.copytree(run, tmp_path / "a" / "run")
    file, before = out / "config.json", outside(out)
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"config": config["config"] | {"dataset": name}}))
    with pytest.raises(UserError, match="there is no data set"):
        gan_jax.load(out)
    assert outside(out) == before


def test_a_checkpoint_has_the_names_of_the_state(run, tmp_path):
    """One that holds more, under a path that leads out of it, is not read, and set aside by the run that goes on."""
    out = shutil.copytree(run, tmp_path / "a" / "run")
    before, file = outside(out), out / "checkpoints" / "2" / "digests" / "metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"../../../../x": "0" * 32}))
    assert gan_jax.load(out).state.step == 0 and (out / "checkpoints" / "2").exists()
    train(out, "--resume", "--steps=2")
    assert (out / "checkpoints" / "2.bad").exists()
    assert outside(out) == before
