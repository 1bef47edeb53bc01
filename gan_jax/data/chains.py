"""Chains: small molecules of carbon, nitrogen and oxygen as SMILES, that need no download."""

import numpy as np

from gan_jax.data import tokens
from gan_jax.data.composed import of_arrays
from gan_jax.data.source import Field, Source

NAMES = (*tokens.SPECIAL, *"CNO()1")
ATOMS = range(3, 7)  # of a chain
LENGTH = 12  # "C1(O)CCCCC1", and its end


def chains(name: str, n: int = 600, held_out: int = 150) -> Source:
    """Return n molecules x [12], characters of SMILES: a chain, which may be a ring, and may have a branch of one atom.

    `held_out` others are the test split; no two are the same text. They are the same in every process.
    """
    generator, found = np.random.default_rng(0), {}  # a dict keeps its order
    while len(found) < n + held_out:
        found[_drawn(generator)] = None
    encode = tokens.encoder(NAMES, "char", LENGTH)
    x = np.stack([encode(one) for one in found])
    fields = {"x": Field((LENGTH,), "tokens", np.int32, len(NAMES), NAMES)}
    return of_arrays(name, fields, {"x": x[:n]}, of_arrays(name, fields, {"x": x[n:]}))


def _drawn(generator: np.random.Generator) -> str:
    """Return one molecule; only carbon has a branch, since the others have no bond left."""
    atoms = ["C", *generator.choice(list("CCNO"), generator.choice(ATOMS) - 1)]
    if generator.integers(2):
        atoms[0], atoms[-1] = atoms[0] + "1", atoms[-1] + "1"
    if generator.integers(2):
        at = generator.choice([i for i, atom in enumerate(atoms) if "C" in atom])
        atoms[at] += f"({generator.choice(list('CNO'))})"
    return "".join(atoms)
