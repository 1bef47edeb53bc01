"""The edits that CONTRIBUTING shows, made to a copy of the repository: how much they change, and that tests pass."""

import difflib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SMALL = "loss", "penalty", "lookahead"


def said(what, language):
    """Return (path, lines) of what CONTRIBUTING shows of a new loss, penalty, lookahead or net."""
    path, block = re.search(
        rf"\*\*A new {what}\*\*.*?`(gan_jax/[\w/]+\.py)`.*?```{language}\n(.*?)```", TEXT, re.S
    ).groups()
    return path, block.splitlines()


def show(root, what):
    """Make a small edit: its lines before the line of context that it shows, or else at the end."""
    path, lines = said(what, "diff")
    added = "\n".join(line[1:] for line in lines if line.startswith("+")) + "\n"
    context = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    text = (root / path).read_text()
    assert text.count(context) == 1 or not context
    (root / path).write_text(text.replace(context, added + context) if context else f"{text}\n\n{added}")


def new_net(root):
    """Put the net into a file, and its name into `build` of the file to copy."""
    path, lines = said("net", "python")
    (root / path).write_text("\n".join(lines) + "\n")
    vanilla = root / "experiments" / "vanilla.py"
    vanilla.write_text(re.sub(r"\bmlp\b", Path(path).stem, vanilla.read_text()))


def new_gan(root):
    """Copy the file to copy into a family, and its test, under a name of its own."""
    for old, new in (
        ("experiments/vanilla.py", "images/mine.py"),
        ("tests/experiments/test_vanilla.py", "images/test_mine.py"),
    ):
        text = (
            (root / old).read_text().replace("from experiments import vanilla", "from experiments.images import mine")
        )
        (root / old).parent.joinpath(new).write_text(re.sub(r"\bvanilla\b", "mine", text))


SOLID = {  # what the file to copy says, and what a GAN of solids says instead: their data, their nets
    "from gan_jax.nets import mlp": "from gan_jax.nets import gan3d",
    "mlp.G(data.load(cfg.dataset).shape, cfg.width), mlp.D(": "gan3d.G(data.load(cfg.dataset).shape, cfg.width), gan3d.D(",
    '"digits"  # a toy, or any TFDS image set by name': '"primitives"  # a set of solids by name',
    "256  # units of a hidden layer": "16  # channels at half of the resolution",
    '    "images": Config(),\n    "ring": Config("ring8", batch_size=512, z_dim=16, width=128, lr=1e-3),\n': "",
    "cfg.batch_size, cfg.steps)\n": 'cfg.batch_size, cfg.steps, kinds=("voxels",))\n',
    "python -m experiments.vanilla                      8x8 digits, in a minute": "python -m experiments solid",
    "    python -m experiments.vanilla --dataset mnist\n": "",
}
ITS_TEST = {
    "from experiments import vanilla\nfrom gan_jax.game import rng\n": "from experiments.shapes import solid\n"
    "from gan_jax.game import rng\nfrom gan_jax.nets import mlp\n",
    'vanilla.PRESETS["ring"], batch_size=8': 'vanilla.PRESETS["tiny"], dataset="ring8"',
    "    oracle.normed(": '    monkeypatch.setattr(solid, "gan3d", mlp)\n    oracle.normed(',
}


def new_gan_of_another_kind(root):
    """Copy the file to copy, and its test, into the family of solids; the test checks its step with perceptrons."""
    for old, new, edit in (
        ("experiments/vanilla.py", "shapes/solid.py", SOLID),
        ("tests/experiments/test_vanilla.py", "shapes/test_solid.py", ITS_TEST),
    ):
        text = (root / old).read_text()
        for was, now in edit.items():
            assert text.count(was) == 1, was
            text = text.replace(was, now)
        (root / old).parent.joinpath(new).write_text(re.sub(r"\bvanilla\b", "solid", text))


def git(root, *arguments):
    """Return what git says, without anybody's configuration."""
    who = "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"
    return subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def changed(root):
    """Return {path: (lines added, lines taken away)} since the last commit, and commit."""
    git(root, "add", "-A")
    rows = [row.split("\t") for row in git(root, "diff", "--cached", "--numstat").splitlines()]
    git(root, "commit", "-qm", "edit")
    return {path: (int(added), int(taken)) for added, taken, path in rows}


def passes(root, *arguments):
    """Run pytest in the copy, whose packages are then the ones that are imported, and expect it to pass."""
    program = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *arguments]
    found = subprocess.run(
        program, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with one commit."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("gan_jax", "experiments", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    git(root, "init", "-q")
    changed(root)
    return root


@pytest.fixture(scope="module")
def edits(copy):
    """{what is new: {path: (lines added, lines taken away)}}, all of them made to the copy, one after the other."""
    made = {}
    for what in SMALL:
        show(copy, what)
        made[what] = changed(copy)
    for what, make in (("gan", new_gan), ("kind", new_gan_of_another_kind), ("net", new_net)):
        make(copy)
        made[what] = changed(copy)
    return made


@pytest.mark.parametrize("what", SMALL)
def test_a_small_edit_is_one_file_and_fewer_than_ten_lines(edits, what):
    """A loss, a penalty and a lookahead touch nothing but the file that has their kind."""
    ((path, (added, taken)),) = edits[what].items()
    assert path == said(what, "diff")[0] and 0 < added < 10 and not taken


def test_a_net_is_two_files_and_a_gan_one_and_its_test(edits):
    """A net is its file and two lines of an experiment; a GAN changes nothing that was there."""
    net, gan = edits["net"], edits["gan"]
    assert len(net) == 2 and net["experiments/vanilla.py"] == (2, 2)
    assert list(gan) == ["experiments/images/mine.py", "tests/experiments/images/test_mine.py"]


def test_a_gan_of_another_kind_of_data_differs_in_few_lines(copy, edits):
    """A family, nets and data of its own are at most 60 lines, in one file and its test; here they are 25."""
    assert list(edits["kind"]) == ["experiments/shapes/solid.py", "tests/experiments/shapes/test_solid.py"]
    differ = 0
    for old, new in zip(("experiments/vanilla.py", "tests/experiments/test_vanilla.py"), edits["kind"], strict=True):
        first = git(copy, "rev-list", "--max-parents=0", "HEAD").strip()
        before, after = (git(copy, "show", f"{of}").splitlines() for of in (f"{first}:{old}", f"HEAD:{new}"))
        differ += sum(line[:2] in ("+ ", "- ") for line in difflib.ndiff(before, after))
    assert 10 < differ <= 60


@pytest.mark.long
def test_a_new_loss_passes(copy, edits):
    """Its tests find it by themselves."""
    passes(copy, "tests/game/test_losses.py")
    listed = "from gan_jax.game import losses; assert 'pearson' in losses.PAIRS and 'pearson' in losses.Name.__args__"
    subprocess.run([sys.executable, "-c", listed], cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "tests",
    [
        "tests/game",
        "tests/experiments/images/test_mine.py",
        "tests/test_contract.py -k vanilla",
        "tests/test_contract.py -k mine",
        "tests/experiments/shapes/test_solid.py",
        "tests/test_contract.py -k solid",
    ],
)
def test_the_suite_passes_with_all_edits(copy, edits, tests):
    """The losses, penalties and lookaheads; the new GAN; and the contract of both, of the old one with the new net."""
    passes(copy, *tests.split())


@pytest.mark.slow
def test_what_is_new_can_be_used(copy, edits):
    """The new loss is a flag, the new net trains, the new GAN runs by its name."""
    for flags in (["unrolled", "--loss=pearson"], ["vanilla"], ["mine"]):
        out = f"--out={copy / 'runs' / flags[0]}"
        program = [sys.executable, "-m", "experiments", *flags, "--preset=tiny", "--steps=2", "--eval-every=0", out]
        found = subprocess.run(program, cwd=copy, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr


def test_names_are_there():
    """Files, modules and what is in them exist where CONTRIBUTING names them, but for those that it makes up."""
    for path in re.findall(r"`((?:gan_jax|experiments|tests)/[\w/]+\.py)`", TEXT):
        assert (ROOT / path).exists() or path.endswith(("/sine.py", "/test_NAME.py")), path
    for name in re.findall(r"`(gan_jax\.[\w.]+)`", TEXT):
        pkgutil.resolve_name(name)
