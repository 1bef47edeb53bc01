"""Which tests are of which experiment, and which experiments are tested without --all."""

import re

from experiments.__main__ import families


def experiment(nodeid):
    """Return the name of the experiment that a test is of: of the contract, or of its own file; "" where of none."""
    file, _, test = nodeid.partition("::")
    found = re.search(r"\[(\w+)", test) if file.endswith("test_contract.py") else None
    found = found or re.search(r"experiments/(?:.*/)?test_(\w+)\.py$", file)
    return found[1] if found else ""


def few():
    """Return the names of some experiments, at most two of a family: their tests take minutes, however many there are."""
    return {"unrolled", "vanilla"} | {min(stems) for stems in families().values()}
