"""Adversarial losses, as pairs (d, g) of functions of scores: (real [b], fake [b]) -> [b].

Scores are D's raw outputs (logits). Each function is to be *minimised* by its player; the caller reduces, so a weight,
a mask or top-k is one more expression. Add a pair here to add a loss: every experiment with a `loss` flag then has it.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
from jax.nn import relu, softplus


class Loss(NamedTuple):
    """What each player descends, row by row: (real scores [b], fake scores [b]) -> [b]."""

    d: Callable[[jax.Array, jax.Array], jax.Array]
    g: Callable[[jax.Array, jax.Array], jax.Array]


def _cross_entropy(real, fake):  # -log sigmoid(real) - log(1 - sigmoid(fake))
    return softplus(-real) + softplus(fake)


# Goodfellow et al. 2014, arXiv 1406.2661. G's loss keeps the real term: where D's answer depends on G, it counts.
minimax = Loss(d=_cross_entropy, g=lambda real, fake: -_cross_entropy(real, fake))
non_saturating = Loss(d=_cross_entropy, g=lambda real, fake: softplus(-fake))
# Mao et al. 2017, arXiv 1611.04076, with the codes a = 0, b = c = 1.
least_squares = Loss(d=lambda real, fake: 0.5 * ((real - 1) ** 2 + fake**2), g=lambda real, fake: 0.5 * (fake - 1) ** 2)
# Arjovsky et al. 2017, arXiv 1701.07875.
wasserstein = Loss(d=lambda real, fake: fake - real, g=lambda real, fake: -fake)
# Lim and Ye 2017, arXiv 1705.02894.
hinge = Loss(d=lambda real, fake: relu(1 - real) + relu(1 + fake), g=lambda real, fake: -fake)
# Jolicoeur-Martineau 2019, arXiv 1807.00734; the pairing of R3GAN, Huang et al. 2024, arXiv 2501.05441.
relativistic_paired = Loss(d=lambda real, fake: softplus(fake - real), g=lambda real, fake: softplus(real - fake))

PAIRS = {name: pair for name, pair in globals().items() if isinstance(pair, Loss)}
Name = Literal[*PAIRS]  # the type of an experiment's `loss` flag
