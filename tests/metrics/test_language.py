"""Languages of which all strings are known: against formulas, and the expressions' against their grammar."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import data
from gan_jax.data import expressions, tokens
from gan_jax.metrics.language import Language

SMALL = Language(np.array([[3, 2, 0], [3, 4, 2], [4, 2, 0]], np.int32), np.log([0.5, 0.3, 0.2]))
X = np.array([[3, 2, 0], [3, 2, 3], [4, 2, 0], [3, 2, 0], [3, 4, 0], [4, 2, 0]], np.int32)
ENCODE = tokens.encoder(expressions.NAMES, "char", expressions.LENGTH)


def test_a_model_of_a_language():
    """Mass and divergence of a model that gives the strings 0.4, 0.4, 0.1, and something else the rest."""
    found = SMALL.of_model(jnp.log(jnp.array([0.4, 0.4, 0.1])))
    kl = 0.5 * math.log(0.5 / 0.4) + 0.3 * math.log(0.3 / 0.4) + 0.2 * math.log(0.2 / 0.1)
    np.testing.assert_allclose([found["mass"], found["kl"]], [0.9, kl], rtol=1e-6)
    itself = SMALL.of_model(jnp.asarray(SMALL.log_p))
    np.testing.assert_allclose([itself["mass"], itself["kl"]], [1, 0], atol=1e-6)


def test_samples_of_a_language():
    """Two of six are no strings: one goes on after its end, one lacks it; lengths are 2, 3, 2, 2, 2, 2."""
    found = SMALL.of_samples(X, X[:1])
    expected = {"accepted": 4 / 6, "log_p": math.log(0.5 * 0.2) / 2, "different": 2, "new": 2 / 4}
    expected["lengths"] = 0.3 - 1 / 6
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(np.exp(SMALL.log_likelihood(X)), [0.5, 0, 0.2, 0.5, 0, 0.2], rtol=1e-6)
    nothing = SMALL.of_samples(X[1:2], X[:1])
    assert (nothing["accepted"], nothing["log_p"], nothing["new"]) == (0, 0, 0)


def derived(most):
    """All strings of S -> x | S+S | S-S | S*S | S/S of up to so many characters, by applying its rules."""
    found, new = set(), {"x"}
    while new > found:
        found = set(new)
        new |= {a + o + b for a in found for b in found for o in "+-*/" if len(a) + len(b) < most}
    return found


def test_the_strings_of_the_expressions_are_those_of_their_grammar():
    """No one is missing, none is more; their probabilities sum up to 1, and give each number of operators a sixth."""
    known = data.load("expressions").language
    said = [tokens.text(one, expressions.NAMES) for one in known.strings]
    assert set(said) == derived(12) and len(said) == len(set(said)) == sum(4**k for k in range(6)) == 1365
    p = np.exp(known.log_p)
    long = np.array([len(one) for one in said])
    np.testing.assert_allclose([p[long == n].sum() for n in (1, 3, 5, 7, 9, 11)], 1 / 6)
    assert all(p[long == n].std() < 1e-12 for n in (1, 3, 5, 7, 9, 11))
    np.testing.assert_allclose(known.entropy, math.log(6) + 2.5 * math.log(4))


def test_what_the_grammar_accepts():
    """Strings of every kind, right and wrong, and tokens that no text shows: after the end, or none."""
    known, right = data.load("expressions").language, re.compile(r"x([-+*/]x){0,5}")
    said = ["x", "x+x", "x-x*x/x", "x*x*x*x*x*x", "", "+", "x+", "+x", "xx", "x++x", "x+x-", "x+x x"]
    x = np.stack([ENCODE(one) for one in said])
    assert np.isfinite(known.log_likelihood(x)).tolist() == [bool(right.fullmatch(one)) for one in said]
    more, none = ENCODE("x+x"), ENCODE("x+x")
    more[6], none[3] = 3, tokens.PAD  # "x+x<end>..x"; no end
    assert not np.isfinite(known.log_likelihood(np.stack([more, none]))).any()


def test_the_expressions_are_drawn_by_their_probabilities():
    """Of 6,000 strings each length comes in a sixth; splits are of the language, and the same at every call."""
    source = data.load("expressions")
    assert (source.n, source.test.n, source.kind, source.shape) == (5000, 1000, "tokens", (12,))
    both = np.concatenate([source.whole()["x"], source.test.whole()["x"]])
    counts = np.bincount((both != 0).sum(1))[2::2]
    assert counts.sum() == 6000 and np.abs(counts - 1000).max() < 4 * math.sqrt(1000 * 5 / 6)
    mean = jax.jit(source.language.log_likelihood)(both).mean()
    np.testing.assert_allclose(mean, -source.language.entropy, atol=4 * 1.71 * math.log(4) / math.sqrt(6000))
    again = expressions.expressions("expressions")
    assert (again.whole()["x"] == source.whole()["x"]).all() and not source.test.test
