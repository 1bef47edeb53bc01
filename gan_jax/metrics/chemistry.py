"""Molecules as SMILES: whether they are any, whether they are new, and numbers that are computed of them.

What takes chemistry takes RDKit, an optional extra. Without it nothing here is called valid.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import tokens
from gan_jax.data.recipes import suit
from gan_jax.data.source import Source
from gan_jax.errors import UserError

INSTALL = 'pip install "gan_jax[molecules]"'
ATOM = re.compile(r"\[\d*([A-Z][a-z]?|as|se|[bcnops])[^\]]*\]|(Br|Cl|[BCNOPSFIbcnops])")
RING = re.compile(r"%\d\d|\d")
# what a text of SMILES is made of: atoms, bonds, branches, numbers of rings
LINE = re.compile(rf"(?:\[[^\[\]\s]+\]|Br|Cl|[BCNOPSFIbcnops*]|[-=#$:/\\~.()]|{RING.pattern})+")


@functools.cache
def rdkit() -> ModuleType | None:
    """Return RDKit's `Chem`, silent on texts that are no molecules; None, said once, where it isn't installed."""
    try:
        from rdkit import Chem, RDLogger
    except ImportError:
        print(f"RDKit is not installed: whether molecules are valid isn't measured. {INSTALL}", file=sys.stderr)
        return None
    RDLogger.DisableLog("rdApp.*")
    return Chem


def heteroatoms(smiles: str) -> float:
    """Return the share of atoms, without hydrogen, that are not carbon, as the letters of a text say it; 0 of none."""
    elements = [(inside or alone).capitalize() for inside, alone in ATOM.findall(smiles)]
    heavy = [element for element in elements if element != "H"]
    return sum(element != "C" for element in heavy) / max(len(heavy), 1)


def _of_molecule(name: str) -> Callable[[str], float]:
    """Return SMILES -> what RDKit computes of it."""
    from rdkit.Chem import QED, Crippen, Descriptors
    from rdkit.Contrib.SA_Score import sascorer

    known = {"logp": Crippen.MolLogP, "qed": QED.qed, "sas": sascorer.calculateScore, "weight": Descriptors.MolWt}

    def computed(smiles):
        molecule = rdkit().MolFromSmiles(smiles)
        if not molecule:
            raise UserError(f"{name} is of molecules, and {smiles[:60]!r} is none; was it cut? Say a larger length.")
        return float(known[name](molecule))

    return computed


COMPUTED = "logp", "qed", "sas", "weight"  # by RDKit
PROPERTIES = "heteroatoms", *COMPUTED


@functools.cache
def of(name: str) -> Callable[[str], float]:
    """Return the function SMILES -> one of PROPERTIES.

    The share of heteroatoms; Crippen's logP of octanol and water; the drug-likeness QED and the synthetic accessibility
    SAS (1 easy to 10); the weight in g/mol. Raises UserError where it takes RDKit, which isn't there.
    """
    if name == "heteroatoms":
        return heteroatoms
    if not rdkit():
        raise UserError(f"{name} is computed by RDKit: {INSTALL}")
    return _of_molecule(name)


def canonical(smiles: str) -> str | None:
    """Return the SMILES that RDKit writes for a molecule; None where it is none, or several."""
    molecule = None if "." in smiles else rdkit().MolFromSmiles(smiles)
    return (rdkit().MolToSmiles(molecule) or None) if molecule else None


def balanced(smiles: str) -> bool:
    """Return whether brackets are closed and ring numbers come in pairs: what every SMILES has, and more than these."""
    depth, rings, inside = 0, set(), False
    for char in smiles:
        depth += (char == "(") - (char == ")")
        if depth < 0 or (char == "[" and inside) or (char == "]" and not inside):
            return False
        inside = char == "[" or (inside and char != "]")
    for number in RING.findall(re.sub(r"\[[^\]]*\]", "", smiles)):
        rings ^= {number}
    return bool(smiles) and depth == 0 and not inside and not rings


def of_molecules(source: Source) -> Source:
    """Return the source; UserError, naming the record, where one of its texts x is no SMILES by its characters."""
    suit(source, "read as molecules", ("tokens",))
    names = source.row["x"].names
    for i, row in enumerate(source.whole()["x"]):
        one = tokens.text(row, names)
        if not (LINE.fullmatch(one) and ATOM.search(one) and balanced(one)):
            raise UserError(
                f"{source.name} is no set of molecules: its record {i} is {one[:60]!r}, which is no SMILES.\n"
                "Was it cut, or read in words? Say a larger length, or level=char, behind the name."
            )
    return source


def valid(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
    """Return which tokens x [n, t] are one molecule [n], 1 or 0, inside jit; it is found on the host.

    names: the vocabulary. Without RDKit those that are balanced count.
    """
    is_one = canonical if rdkit() else balanced
    on_host = lambda x: np.array([bool(is_one(tokens.text(row, names))) for row in np.asarray(x)], np.float32)
    return jax.pure_callback(on_host, jax.ShapeDtypeStruct((len(x),), jnp.float32), x, vmap_method="sequential")


def measured(written: list[str], known: Iterable[str], canon: Callable, name: str) -> dict[str, float]:
    """Return what there is to say of texts that should be new molecules, by name.

    balanced, distinct, copied: shares of the texts that are balanced, that are different ones, that are among the
    `known`. With RDKit: valid, the share that are one molecule; of these, unique, how many different ones, and novel,
    those that aren't known (canon: () -> the canonical SMILES of the known), as MolGAN counts them; mean and spread of
    the property `name` over them, where it is one of PROPERTIES. Without RDKit `text mean` and `text spread` are of all
    texts, where texts say the property. Shares and means of none are 0.
    """
    share = lambda found: float(np.mean(found)) if len(found) else 0.0
    known = set(known)
    found = {"balanced": share([balanced(s) for s in written]), "distinct": len(set(written)) / len(written)}
    found["copied"] = share([s in known for s in written])
    if not rdkit():
        if name == "heteroatoms":
            values = [heteroatoms(s) for s in written]
            found |= {"text mean": float(np.mean(values)), "text spread": float(np.std(values))}
        return found
    valid = [c for s in written if (c := canonical(s))]
    found |= {"valid": len(valid) / len(written), "unique": len(set(valid)) / max(len(valid), 1)}
    found["novel"] = share([c not in canon() for c in valid])
    if name in PROPERTIES:
        values = [of(name)(c) for c in valid] or [0.0]
        found |= {"mean": float(np.mean(values)), "spread": float(np.std(values))}
    return found


def scores(x: jax.Array, names: tuple[str, ...], known: np.ndarray, name: str) -> dict[str, jax.Array]:
    """Return what `measured` finds of tokens x [n, t], inside jit; it is found on the host.

    names: the vocabulary. known: the tokens [m, t] of the training data. name: of the property.
    """
    texts = functools.cache(lambda: [tokens.text(row, names) for row in known])
    canon = functools.cache(lambda: {canonical(text) for text in texts()})
    keys = list(measured(["C"], (), set, name))

    def on_host(x):
        found = measured([tokens.text(row, names) for row in np.asarray(x)], texts(), canon, name)
        return np.array([found[key] for key in keys], np.float32)

    shape = jax.ShapeDtypeStruct((len(keys),), jnp.float32)
    return dict(zip(keys, jax.pure_callback(on_host, shape, x, vmap_method="sequential"), strict=True))
