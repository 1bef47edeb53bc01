"""A measured number with its protocol, so that only like is set beside like."""

import dataclasses
import re

from gan_jax.errors import UserError

INCEPTION = "inception-2015-12-05"  # the extractor of FID, KID and Inception Score

# What two numbers must have in common. A mean over more images, other weights of the extractor or samples of averaged
# parameters give other numbers of the same generator. `step`, `seed`, `run` and `commit` are what a comparison is
# about: they may differ, and are recorded so that each number can be had again.
SAME = ("name", "extractor", "digest", "dataset", "split", "real", "fake", "settings", "ema")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric's value or values, and all that it depends on. `Measured(**json.load(f))` undoes `asdict`.

    Raises UserError for a number called FID, KID or Inception Score that is of another extractor.
    """

    name: str  # "frechet", "kernel", "precision_recall", ..., or "fid", "kid", "inception_score"
    values: dict[str, float]  # {"precision": 0.7, "recall": 0.5}; a single one by the metric's name
    extractor: str = ""  # whose features; empty where the metric needs none
    digest: str = ""  # of the extractor's parameters
    dataset: str  # at which resolution too, where there are several
    split: str  # of the real images: "train", "test"
    real: int  # how many images
    fake: int  # how many samples
    settings: str = ""  # what else changes the number: "k=3", "block=1000 blocks=100"
    ema: bool  # samples of averaged parameters
    step: int  # of the generator
    seed: int  # of the run
    commit: str  # of the code that trained and measured
    run: str = ""  # its folder

    def __post_init__(self):
        words = set(re.findall("[a-z]+", self.name.lower()))
        if (words & {"fid", "kid", "inception"} or words == {"is"}) and self.extractor != INCEPTION:
            raise UserError(
                f"{self.name} is the name of a number of {INCEPTION}'s features, not of {self.extractor or 'none'}: "
                "call it frechet, kernel or class_score."
            )
        if bool(self.extractor) != bool(self.digest):
            raise UserError(f"{self.name}: an extractor and the digest of its parameters go together.")


def beside(one: Measured, other: Measured, despite: tuple[str, ...] = ()):
    """Return {name of the value: (that of one, that of other)}; raise UserError where their protocols are unlike.

    `despite` names fields of SAME that are themselves the question, say ("ema",) for the effect of averaging.
    """
    if unknown := set(despite) - set(SAME):
        raise ValueError(f"{sorted(unknown)} are not fields that have to agree: {', '.join(SAME)}.")
    fields = [f for f in SAME if f not in despite and getattr(one, f) != getattr(other, f)]
    if fields:
        differ = "; ".join(f"{f} is {getattr(one, f)!r} and {getattr(other, f)!r}" for f in fields)
        raise UserError(f"{one.name} can't be compared: {differ}.\nMeasure both in the same way.")
    if one.values.keys() != other.values.keys():
        raise UserError(
            f"{one.name} can't be compared: values are {', '.join(one.values)} and {', '.join(other.values)}."
        )
    return {key: (value, other.values[key]) for key, value in one.values.items()}
