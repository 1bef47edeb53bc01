"""What a user is told who asks for a data set that is not there, not prepared, or of no use."""

import subprocess
import sys

import pytest

from gan_jax import data
from gan_jax.data import builders
from gan_jax.errors import UserError


def told(name, monkeypatch=None, folder=None):
    """Return the lines that loading a set ends in."""
    if folder:
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    with pytest.raises(UserError) as error:
        data.load(name)
    lines = str(error.value).splitlines()
    assert len(lines) <= 2
    return lines


CLOSE = {"mnst": "mnist", "rnig8": "ring8", "grid_25": "grid25", "cifar-10": "cifar10", "digit": "digits"}


@pytest.mark.parametrize("name", CLOSE)
def test_unknown_set(cache, name, monkeypatch, tmp_path):
    """A name that is no set: the close ones, and what there is."""
    first, second = told(name, monkeypatch, tmp_path)
    assert first.startswith(f"there is no data set {name!r}; did you mean ")
    assert CLOSE[name] in first.removesuffix("?").split("did you mean ")[1].split(" or ")
    assert second == (
        f"Choose from {', '.join(data.DATASETS)}, a TFDS set (mnist, cifar10, ...), or one that is prepared in {tmp_path} "
        "(docs/sets.md says how)."
    )


@pytest.mark.parametrize("name, own", [("MNIST", "mnist"), ("FashionMnist", "fashion_mnist"), ("Ring8", "ring8")])
def test_a_set_has_one_name(cache, name, own, monkeypatch, tmp_path):
    """TFDS takes capitals, too: the same records were two sets, whose runs and classifiers were not each other's."""
    assert told(name, monkeypatch, tmp_path)[0] == f"there is no data set {name!r}; did you mean {own}?"


@pytest.mark.parametrize("name", ["qqqqzzzz", ""])
def test_unknown_set_with_nothing_close(cache, name, monkeypatch, tmp_path):
    """Nothing is suggested where nothing is close."""
    assert told(name, monkeypatch, tmp_path)[0] == f"there is no data set {name!r}."


def test_batch_larger_than_the_set(digits):
    """Both numbers and the flag; a batch of the whole set is fine, and a toy has no end."""
    with pytest.raises(UserError) as error:
        data.check_batch(digits[0], 1498)
    told = "digits: a batch of 1498 is more than the 1497 records that there are: lower --batch-size."
    assert str(error.value) == told
    data.check_batch(digits[0], 1497)
    data.check_batch(data.load("ring8"), 10**6)


def test_set_that_is_not_prepared(cache, monkeypatch, tmp_path):
    """Without TensorFlow: where it was looked for, and the command that prepares it."""
    monkeypatch.setattr(builders.importlib.util, "find_spec", lambda name: None)
    first, second = told("svhn_cropped", monkeypatch, tmp_path)
    assert first == f"svhn_cropped is not in {tmp_path}. TFDS needs TensorFlow once, to prepare it:"
    python = sys.executable.rpartition("/")[2]
    assert second == f"pip install tensorflow && {python} -m gan_jax.prepare svhn_cropped"


def test_set_that_cannot_be_prepared(cache, monkeypatch, tmp_path):
    """With TensorFlow the command is run, in a process of its own; where it fails the user is told so."""
    commands = []

    def run(command):
        commands.append(command)
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(builders.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(builders.subprocess, "run", run)
    (line,) = told("svhn_cropped", monkeypatch, tmp_path)
    assert commands == [[sys.executable, "-m", "gan_jax.prepare", "svhn_cropped"]]
    assert line.startswith(f"svhn_cropped could not be prepared in {tmp_path}; see above, then try again: ")


def test_one_class_of_a_set():
    """By its number or its name; the run says which; what is no class is said, with those that there are."""
    threes = data.load("digits,only=3")
    assert threes.n == (data.load("digits").whole()["y"] == 3).sum() and threes.says.endswith("; only 3")
    assert (threes.test.whole()["y"] == 3).all() and threes is data.load("digits,only=3")
    assert told("digits,only=11") == [
        "only=11: there is no such class of digits; choose one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."
    ]
    assert told("digits,only=cat")[0].startswith("only=cat: there is no such class of digits; choose one of 0")
    assert told("spiral,only=3") == ["spiral has no records with labels, by which one class could be taken."]
    joined = data.join(x=threes, source=data.load("digits"))
    assert joined.part is threes and joined.test.part is threes.test
