"""Which tests are of which experiment, and which experiments are tested without --all."""

import re

FEW = (
    "unrolled",
    "vanilla",
    "dcgan",
    "cgan",
    "bigan",
    "dtn",
    "blending",
    "gan3d",
    "medgan",
    "gumbel",
    "text_adversarial",
    "vgan",
    "segment",
)  # what a family has in common, and cheap to compile


def experiment(nodeid):
    """Return the name of the experiment that a test is of: of the contract, its own file or that of its nets; or ""."""
    file, _, test = nodeid.partition("::")
    found = re.search(r"\[(\w+)", test) if file.endswith("test_contract.py") else None
    found = found or re.search(r"experiments/(?:.*/)?test_(\w+)\.py$", file)
    found = found or re.search(r"nets/test_(\w+)_nets\.py$", file)
    return found[1] if found else ""
