"""Numbers are compared where their protocols are alike, and nowhere else."""

import dataclasses
import json

import pytest

from gan_jax.errors import UserError
from gan_jax.metrics import protocol

ONE = protocol.Measured(
    name="frechet",
    values={"frechet": 12.5},
    extractor="classifier-mnist",
    digest="0123abcd",
    dataset="mnist",
    split="test",
    real=10_000,
    fake=10_000,
    settings="",
    ema=True,
    step=5000,
    seed=0,
    commit="8317347",
    run="runs/vanilla/a",
)
UNLIKE = {
    "name": "kernel",
    "extractor": "classifier-digits",
    "digest": "4567",
    "dataset": "fashion_mnist",
    "split": "train",
    "real": 5000,
    "fake": 5000,
    "settings": "k=5",
    "ema": False,
}


def but(**changes):
    return dataclasses.replace(ONE, **changes)


def test_side_by_side():
    """Another run, step, seed and commit of one protocol."""
    other = but(values={"frechet": 7.0}, step=9000, seed=3, commit="ac42641", run="runs/wgan/b")
    assert protocol.beside(ONE, other) == {"frechet": (12.5, 7.0)}
    assert protocol.beside(ONE, ONE) == {"frechet": (12.5, 12.5)}


@pytest.mark.parametrize("field", protocol.SAME)
def test_unlike_protocols(field):
    """Each field is named, with both its values."""
    other = but(**{field: UNLIKE[field]})
    with pytest.raises(UserError) as error:
        protocol.beside(ONE, other)
    assert f"{field} is {getattr(ONE, field)!r} and {UNLIKE[field]!r}" in str(error.value)
    assert str(error.value).count(" is ") == 1
    with pytest.raises(UserError):
        protocol.beside(other, ONE)
    assert protocol.beside(ONE, other, despite=(field,)) == {"frechet": (12.5, 12.5)}


def test_every_field_is_decided():
    """A new field must agree, or is one of those that say which run it was."""
    fields = {f.name for f in dataclasses.fields(protocol.Measured)}
    assert fields == {*protocol.SAME, "values", "step", "seed", "commit", "run"} and UNLIKE.keys() == set(protocol.SAME)


def test_several_differences_and_values():
    """All differing fields are named at once; `despite` forgives what it names alone; values need the same names."""
    with pytest.raises(UserError, match="split is 'test' and 'train'; ema is True and False"):
        protocol.beside(ONE, but(split="train", ema=False))
    with pytest.raises(UserError, match="compared: split is"):
        protocol.beside(ONE, but(split="train", ema=False), despite=("ema",))
    with pytest.raises(UserError, match="values are frechet and mean, std"):
        protocol.beside(ONE, but(values={"mean": 1.0, "std": 0.1}))
    with pytest.raises(ValueError, match="seed"):
        protocol.beside(ONE, ONE, despite=("seed",))


@pytest.mark.parametrize("name", ["fid", "FID", "FID-50k", "kid", "inception_score", "IS", "test/fid"])
def test_inception_names(name):
    """FID, KID and Inception Score are of Inception's features alone."""
    with pytest.raises(UserError, match="not of classifier-mnist"):
        but(name=name)
    with pytest.raises(UserError, match="not of none"):
        but(name=name, extractor="", digest="")
    with pytest.raises(UserError, match="not of inception-v3"):
        but(name=name, extractor="inception-v3 of other weights")
    assert but(name=name, extractor=protocol.INCEPTION).name == name


@pytest.mark.parametrize("name", ["frechet", "kernel", "class_score", "fidelity", "this_is_precision", "ms_ssim"])
def test_other_names(name):
    assert but(name=name).name == name


def test_an_extractor_has_a_digest():
    for wrong in {"extractor": ""}, {"digest": ""}:
        with pytest.raises(UserError, match="go together"):
            but(**wrong)
    but(name="ms_ssim", extractor="", digest="")


def test_frozen_and_through_json():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ONE.step = 1
    assert protocol.Measured(**json.loads(json.dumps(dataclasses.asdict(ONE)))) == ONE
