"""Small molecules as SMILES, and texts with a number of theirs."""

import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import chains, tokens
from gan_jax.metrics import chemistry


def texts(source):
    return [tokens.text(x, source.row["x"].names) for x in source.whole()["x"]]


def bonds(text):
    """Return each atom of a text with the number of its bonds."""
    atoms, used, before, branches, ring = [], [], None, [], []
    for char in text:
        if char == "(":
            branches.append(before)
        elif char == ")":
            before = branches.pop()
        elif char == "1":
            ring.append(before)
        else:
            joined = [] if before is None else [before]
            before = len(atoms)
            atoms.append(char)
            used.append(0)
            for at in (*joined, *([before] * len(joined))):
                used[at] += 1
    for at in ring:
        used[at] += 1
    return list(zip(atoms, used, strict=True))


def test_every_chain_is_a_molecule_and_none_is_there_twice():
    """In neither split: no bond too many, rings and branches closed, an end in each row; with RDKit, by its reading."""
    source = data.load("chains")
    assert (source.n, source.test.n, source.kind, source.row["x"].classes) == (600, 150, "tokens", len(chains.NAMES))
    found = [*texts(source), *texts(source.test)]
    assert len(set(found)) == 750 and all(map(chemistry.balanced, found))
    assert (source.whole()["x"] == tokens.END).any(1).all()
    for text in found:
        assert all(used <= {"C": 4, "N": 3, "O": 2}[atom] for atom, used in bonds(text))
    if chemistry.rdkit():
        assert all(map(chemistry.canonical, found))
    assert texts(chains.chains("chains")) == texts(source)


def test_a_described_text_keeps_its_number():
    """In batches, in reads of some rows and of all, of both splits; x stays as it is."""
    source = data.described(data.load("chains"), "size", "letters", len)
    assert source.row["size"].names == ("letters",) and source.row["size"].shape == (1,)
    for split in (source, source.test):
        raw = split.whole()
        assert raw["size"].dtype == np.float32 and raw["size"][:, 0].tolist() == list(map(len, texts(split)))
        some = split.read(np.array([[5, 3]]))
        assert (some["size"] == raw["size"][[[5, 3]]]).all() and (some["x"] == raw["x"][[[5, 3]]]).all()
    with pytest.raises(UserError, match="has a field called size"):
        data.described(source, "size", "letters", len)
    with pytest.raises(UserError, match="its x is of kind voxels"):
        data.described(data.load("primitives"), "size", "letters", len)
