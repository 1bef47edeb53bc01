"""`python -m experiments` beside files of your own: copies, drafts and what an editor leaves."""

import shutil
from pathlib import Path

import pytest
from runs import start

ROOT = Path(__file__).parent.parent


@pytest.fixture
def own(tmp_path):
    """A folder of experiments with one of ours in it, and a function that lists what there is: (code, out, err)."""
    folder = tmp_path / "experiments"
    (folder / "images").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py", "vanilla.py"):
        shutil.copy(ROOT / "experiments" / name, folder / name)

    def listed(*names):
        process = start("-m", "experiments", *names, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return folder, listed


def test_drafts_and_an_editor_s_copies_do_not_end_the_list(own):
    """A file without a docstring has an empty line, a broken one says so; what no name can reach is left out."""
    folder, listed = own
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "nodoc.py").write_text("x = 1\n")
    (folder / "draft.py").write_text("\ndef f(:\n")
    (folder / "my-gan.py").write_text('"""Mine."""\n')
    for copy in (".ipynb_checkpoints/vanilla-checkpoint.py", "vanilla.old.py", ".#vanilla.py"):
        shutil.copy(folder / "vanilla.py", folder / copy)
    code, out, err = listed()
    assert (code, err) == (0, "")
    names = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line.startswith("  ")}
    assert names.keys() == {"draft", "my-gan", "nodoc", "vanilla"}
    assert names["nodoc"] == "" and names["draft"] == "can't be read: invalid syntax, line 2"


def test_two_experiments_of_one_name_are_not_taken_for_one_another(own):
    """A copy that kept its name in another folder ran in place of the first: both are named, and nothing runs."""
    folder, listed = own
    shutil.copy(folder / "vanilla.py", folder / "images" / "vanilla.py")
    told = "two experiments are called vanilla: experiments.vanilla and experiments.images.vanilla; rename one.\n"
    assert listed() == (2, "", told) and listed("vanilla", "--steps=1") == (2, "", told)
