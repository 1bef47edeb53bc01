"""Molecules: what is counted of texts, what takes RDKit, and what is said without it."""

import sys
from collections import Counter

import jax
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.data import composed, tokens
from gan_jax.metrics import chemistry

NO_RDKIT = 'RDKit, which says what a molecule is: pip install "gan_jax[molecules]"'


@pytest.mark.parametrize(
    "smiles, share",
    [
        ("CC", 0),
        ("CO", 1 / 2),
        ("c1ccncc1", 1 / 6),
        ("C[C@@H](N)Cl", 2 / 4),
        ("[nH]1cccc1Br", 2 / 6),
        ("[13CH3][NH3+]", 1 / 2),
        ("C[H]", 0),
        ("[Se]C", 1 / 2),
        ("", 0),
        ("((", 0),
    ],
)
def test_heteroatoms_are_counted_by_hand(smiles, share):
    """Letters within brackets, too; chlorine is no carbon, hydrogen is no heavy atom."""
    assert chemistry.heteroatoms(smiles) == pytest.approx(share)


@pytest.mark.parametrize(
    "good", ["C", "C1CC1", "C(C)(C)C", "C%10CC%10", "[C@@H](O)C", "[13CH4]", "C1CC1C1CC1", "C[O-]"]
)
def test_balanced_texts(good):
    assert chemistry.balanced(good)


@pytest.mark.parametrize("bad", ["", "C(", "C)C(", "C1CC", "C%10CC", "[C", "C]", "[[C]]", "C1CC2", "C(1"])
def test_unbalanced_texts(bad):
    assert not chemistry.balanced(bad)


def texts(*lines, level="char"):
    """A set of these texts."""
    names = tokens.vocabulary(Counter(piece for line in lines for piece in tokens.pieces(line, level)))
    encode = tokens.encoder(names, level, 40)
    field = data.Field((40,), "tokens", np.int32, len(names), names)
    return composed.of_arrays("mine", {"x": field}, {"x": np.stack([encode(line) for line in lines])})


def test_molecules_of_all_kinds_are_taken():
    """Brackets, charges, isotopes, two letters, bonds, aromatic ones, salts, rings of two digits."""
    lines = "C", "[Na+].[O-]C#N", "F/C=C\\F", "C[C@@H](N)C(=O)O", "c1cc2ccccc2[nH]1", "C%10CC%10Br", "[13CH4]", "C~*"
    source = texts(*lines)
    assert chemistry.of_molecules(source) is source


@pytest.mark.parametrize(
    "bad, level",
    [
        ("a good film", "char"),
        ("good", "char"),
        ("no", "word"),  # two aromatic atoms, but in a set of words the next one is none
        ("CC(C", "char"),  # cut
        ("C1CC", "char"),
        ("1234", "char"),  # numbers of rings and no atom
        ("CO ", "char"),
        ("MQIFVK", "char"),  # a protein
        ("3+4", "char"),
    ],
)
def test_texts_that_are_no_molecules_are_refused(bad, level):
    """In two lines that name the record: films, proteins, sums, molecules that were cut or are read in words."""
    with pytest.raises(UserError, match=r"mine is no set of molecules: its record 1 is .*\nWas it cut"):
        chemistry.of_molecules(
            texts("CCO" if level == "char" else "on", f"{bad} of" if level == "word" else bad, level=level)
        )
    with pytest.raises(UserError, match="binary_digits can't be read as molecules: its x is of kind row"):
        chemistry.of_molecules(data.load("binary_digits"))


def test_balanced_is_not_valid():
    """A carbon of five bonds is balanced, and RDKit takes it for no molecule."""
    pytest.importorskip("rdkit", reason=NO_RDKIT)
    assert chemistry.balanced("C(C)(C)(C)(C)C") and chemistry.canonical("C(C)(C)(C)(C)C") is None
    assert chemistry.canonical("OC") == chemistry.canonical("CO") and chemistry.canonical("C.C") is None
    assert chemistry.canonical("") is None


NAMES = (*tokens.SPECIAL, *"CNO()1")
WRITTEN = ["CCO", "OCC", "CC", "C(", "C(C)(C)(C)(C)C", "CCO"]


def test_what_is_measured_with_rdkit():
    """By hand: four of six are molecules, of these three ethanol, which is known; the mean is over the four."""
    pytest.importorskip("rdkit", reason=NO_RDKIT)
    found = chemistry.measured(WRITTEN, ["OCC"], lambda: {chemistry.canonical("OCC")}, "heteroatoms")
    assert found == pytest.approx(
        {"balanced": 5 / 6, "distinct": 5 / 6, "copied": 1 / 6, "valid": 4 / 6, "unique": 2 / 4, "novel": 1 / 4}
        | {"mean": 3 / 4 / 3, "spread": np.std([1 / 3] * 3 + [0])}
    )
    assert "mean" not in chemistry.measured(WRITTEN, [], set, "log_solubility")
    none = chemistry.measured(["C("], [], set, "logp")
    assert none["valid"] == none["unique"] == none["novel"] == none["mean"] == 0


def test_which_are_molecules_inside_jit():
    """By hand: ring and branch are closed, and no carbon has five bonds; also two batches of seeds at once."""
    pytest.importorskip("rdkit", reason=NO_RDKIT)
    encode = tokens.encoder(NAMES, "char", 16)
    x = np.stack([encode(text) for text in WRITTEN])
    of = lambda x: chemistry.valid(x, NAMES)
    assert jax.jit(of)(x).tolist() == [1, 1, 1, 0, 0, 1]
    assert jax.jit(jax.vmap(of))(np.stack([x, x[::-1]])).tolist() == [[1, 1, 1, 0, 0, 1], [1, 0, 0, 1, 1, 1]]


def test_properties_are_rdkit_s():
    """The logP of ethane and the weight of ethanol as Crippen's table and the atoms have them; QED and SAS in range."""
    pytest.importorskip("rdkit", reason=NO_RDKIT)
    assert chemistry.of("logp")("CC") == pytest.approx(2 * 0.1441 + 6 * 0.1230, abs=1e-4)  # C1, and H1 six times
    assert chemistry.of("weight")("CCO") == pytest.approx(46.07, abs=0.01)
    assert 0 < chemistry.of("qed")("CCO") < 1 <= chemistry.of("sas")("CCO") < 10
    with pytest.raises(UserError, match=r"logp is of molecules, and 'C1CC' is none; was it cut\? Say a larger length"):
        chemistry.of("logp")("C1CC")


@pytest.fixture
def without(monkeypatch):
    """RDKit isn't there."""
    monkeypatch.setitem(sys.modules, "rdkit", None)
    chemistry.rdkit.cache_clear()
    chemistry.of.cache_clear()
    yield
    chemistry.rdkit.cache_clear()
    chemistry.of.cache_clear()


def test_without_rdkit_nothing_is_called_valid(without, capsys):
    """One line says what is missing, once; texts are counted as texts, and a property that takes RDKit is refused."""
    found = chemistry.measured(WRITTEN, ["OCC"], None, "heteroatoms")
    assert found == pytest.approx(
        {"balanced": 5 / 6, "distinct": 5 / 6, "copied": 1 / 6, "text mean": 3 / 3 / 6}
        | {"text spread": np.std([1 / 3] * 3 + [0] * 3)}
    )
    assert set(chemistry.measured(WRITTEN, [], None, "logp")) == {"balanced", "distinct", "copied"}
    assert capsys.readouterr().err.count('pip install "gan_jax[molecules]"') == 1
    with pytest.raises(UserError, match=r"qed is computed by RDKit: pip install"):
        chemistry.of("qed")
    x = np.stack([tokens.encoder(NAMES, "char", 16)(text) for text in WRITTEN])
    assert chemistry.valid(x, NAMES).tolist() == [1, 1, 1, 0, 1, 1]  # balanced


def test_scores_inside_jit_are_those_of_the_texts():
    """Of chains as tokens, under jit and vmap, against the texts themselves; what was held out is new."""
    source = data.load("chains")
    names, known, x = source.row["x"].names, source.whole()["x"], source.test.whole()["x"][:6]
    of = lambda x: chemistry.scores(x, names, known, "heteroatoms")
    found, both = jax.jit(of)(x), jax.jit(jax.vmap(of))(np.stack([x, known[:6]]))
    text = lambda rows: [tokens.text(row, names) for row in rows]
    canon = lambda: set(map(chemistry.canonical, text(known)))
    expected = chemistry.measured(text(x), text(known), canon, "heteroatoms")
    assert {k: float(v) for k, v in found.items()} == pytest.approx(expected, rel=1e-6)
    assert both["copied"].tolist() == [0, 1] and both["balanced"].tolist() == [1, 1]
