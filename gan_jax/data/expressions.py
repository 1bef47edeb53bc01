"""Sums and products of x: strings of a small grammar of which all are known, and how probable each one is."""

import itertools
import math

import numpy as np

from gan_jax.data import tokens
from gan_jax.data.composed import of_arrays
from gan_jax.data.source import Field, Source
from gan_jax.metrics.language import Language

OPERATORS = "+-*/"
NAMES = (*tokens.SPECIAL, "x", *OPERATORS)
MOST, LENGTH = 5, 12  # operators of a string; its eleven characters and its end


def expressions(name: str, n: int = 5000, held_out: int = 1000) -> Source:
    """Return n strings, such as "x+x*x", of the grammar S -> x | S+S | S-S | S*S | S/S; others are the test split.

    The toy of Kusner and Hernandez-Lobato 2016 (arXiv 1611.04051), whose 5,000 strings of up to 12 characters are
    padded by blanks. The grammar says which strings there are, 1365 of up to five operators, but not how often each is;
    here each number of operators from 0 to 5 is as probable as another, and so is each operator. They are the same in
    every process.
    """
    known = language()
    which = np.random.default_rng(0).choice(len(known.strings), n + held_out, p=np.exp(known.log_p))
    fields = {"x": Field((LENGTH,), "tokens", np.int32, len(NAMES), NAMES)}
    test = of_arrays(name, fields, {"x": known.strings[which[n:]]}, language=known)
    return of_arrays(name, fields, {"x": known.strings[which[:n]]}, test, language=known)


def language() -> Language:
    """Return all strings of the grammar up to MOST operators: an x, then operators with an x behind each."""
    encode, strings, log_p = tokens.encoder(NAMES, "char", LENGTH), [], []
    for k in range(MOST + 1):
        for drawn in itertools.product(OPERATORS, repeat=k):
            strings.append(encode("x" + "".join(f"{operator}x" for operator in drawn)))
            log_p.append(-math.log(MOST + 1) - k * math.log(len(OPERATORS)))
    return Language(np.stack(strings), np.array(log_p))
