"""Losses against the formulas of their papers, written naively in float64 numpy; and what holds for every loss.

A new loss needs no line here: the second half finds it. With its formula in FORMULAS it is held to its paper, too.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.game import losses

GRID = np.array([-50.0, -7.3, -1.0, -0.4, 0.0, 0.7, 1.0, 4.9, 50.0])
REAL, FAKE = (a.ravel() for a in np.meshgrid(GRID, GRID))  # every pair of scores: [81]


def log_sigmoid(s):
    return -math.log1p(math.exp(-s))


FORMULAS = {  # name: (d, g), of one real score r and one fake score f; log(1 - sigmoid(f)) is log sigmoid(-f)
    "minimax": (
        lambda r, f: -(log_sigmoid(r) + log_sigmoid(-f)),
        lambda r, f: log_sigmoid(r) + log_sigmoid(-f),
    ),
    "non_saturating": (lambda r, f: -(log_sigmoid(r) + log_sigmoid(-f)), lambda r, f: -log_sigmoid(f)),
    "least_squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "wasserstein": (lambda r, f: -(r - f), lambda r, f: -f),
    "hinge": (lambda r, f: -min(0, r - 1) - min(0, -f - 1), lambda r, f: -f),
    "relativistic_paired": (lambda r, f: -log_sigmoid(r - f), lambda r, f: -log_sigmoid(f - r)),
}

KNOWN = [(name, player) for name in FORMULAS for player in "dg"]
ALL = [(name, player) for name in losses.PAIRS for player in "dg"]


def slopes(formula, r, f, h=1e-6):
    """Return the two partial derivatives by central differences; none where the formula has a kink."""
    right = [(formula(r + h, f) - formula(r, f)) / h, (formula(r, f + h) - formula(r, f)) / h]
    left = [(formula(r, f) - formula(r - h, f)) / h, (formula(r, f) - formula(r, f - h)) / h]
    return [(a + b) / 2 if abs(a - b) < 1e-3 else math.nan for a, b in zip(right, left, strict=True)]


@pytest.mark.parametrize("name, player", KNOWN)
def test_value(name, player):
    """Each loss is its formula, in float32, at scores up to 50 in size."""
    value = getattr(losses.PAIRS[name], player)(jnp.float32(REAL), jnp.float32(FAKE))
    expected = [FORMULAS[name]["dg".index(player)](r, f) for r, f in zip(REAL, FAKE, strict=True)]
    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("name, player", KNOWN)
def test_gradient(name, player):
    """The gradient with respect to both scores is that of the formula."""
    loss = getattr(losses.PAIRS[name], player)
    with jax.enable_x64(True):
        real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
        grads = jax.grad(lambda r, f: loss(r, f).sum(), (0, 1))(real, fake)
    expected = np.array([slopes(FORMULAS[name]["dg".index(player)], r, f) for r, f in zip(REAL, FAKE, strict=True)]).T
    smooth = np.isfinite(expected)
    assert smooth.mean() > 0.8
    np.testing.assert_allclose(np.array(grads)[smooth], expected[smooth], rtol=1e-6, atol=3e-8)


def test_column_of_scores_is_refused():
    """A score [b, 1] beside one [b] raises instead of broadcasting to [b, b]."""
    with pytest.raises(ValueError, match="rank"):
        losses.wasserstein.d(jnp.ones((3, 1)), jnp.ones(3))


def test_minimax_is_zero_sum():
    """G's loss is minus D's, real term included."""
    real, fake = jnp.float32(REAL), jnp.float32(FAKE)
    np.testing.assert_array_equal(losses.minimax.g(real, fake), -losses.minimax.d(real, fake))


@pytest.mark.parametrize(
    "name, d, g",
    [
        ("minimax", 2 * math.log(2), -2 * math.log(2)),  # Goodfellow 2014: the game's value at the optimum is -log 4
        ("non_saturating", 2 * math.log(2), math.log(2)),
        ("least_squares", 0.5, 0.5),
        ("wasserstein", 0, 0),
        ("hinge", 2, 0),
        ("relativistic_paired", math.log(2), math.log(2)),
    ],
)
def test_undecided(name, d, g):
    """The values where D scores real and fake alike, 0."""
    zero, pair = jnp.zeros(1), losses.PAIRS[name]
    np.testing.assert_allclose([pair.d(zero, zero)[0], pair.g(zero, zero)[0]], [d, g], rtol=1e-6)


# What holds for every loss.


@pytest.mark.parametrize("name, player", ALL)
def test_float32_is_enough(name, player):
    """At scores up to 50 in size, where a naive logarithm of a sigmoid is infinite, value and gradient are as in float64."""
    loss = getattr(losses.PAIRS[name], player)
    all_of = lambda r, f: (loss(r, f), *jax.grad(lambda r, f: loss(r, f).sum(), (0, 1))(r, f))
    real, fake = np.float32(REAL), np.float32(FAKE)
    found = all_of(jnp.asarray(real), jnp.asarray(fake))
    with jax.enable_x64(True):
        exact = all_of(jnp.asarray(real, jnp.float64), jnp.asarray(fake, jnp.float64))
    for ours, wanted in zip(found, exact, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, player", ALL)
def test_large_scores(name, player):
    """Values and gradients stay finite in float32 at scores of 1e4, where exp overflows."""
    loss = getattr(losses.PAIRS[name], player)
    real, fake = jnp.float32([1e4, -1e4, 1e4, -1e4]), jnp.float32([1e4, -1e4, -1e4, 1e4])
    value, grads = loss(real, fake), jax.grad(lambda r, f: loss(r, f).sum(), (0, 1))(real, fake)
    assert np.isfinite(value).all() and np.isfinite(grads).all()


@pytest.mark.parametrize("name, player", ALL)
def test_elementwise(name, player):
    """Scores [b] give losses [b], and row i of the loss knows only row i of the scores."""
    loss = getattr(losses.PAIRS[name], player)
    real, fake = jnp.float32([0.3, -2.0, 1.5]), jnp.float32([-0.1, 0.4, 2.5])
    assert loss(real, fake).shape == (3,) and loss(real, fake).dtype == jnp.float32
    for jacobian in jax.jacobian(loss, (0, 1))(real, fake):
        np.testing.assert_array_equal(jacobian - np.diag(np.diag(jacobian)), 0)


@pytest.mark.parametrize("name", losses.PAIRS)
def test_directions(name):
    """D's loss falls as real scores rise and fake ones sink; G's falls as fake scores rise."""
    real, fake = jnp.float32([0.1]), jnp.float32([0.2])
    d_real, d_fake = jax.grad(lambda r, f: losses.PAIRS[name].d(r, f).sum(), (0, 1))(real, fake)
    g_fake = jax.grad(lambda f: losses.PAIRS[name].g(real, f).sum())(fake)
    assert d_real < 0 < d_fake and g_fake < 0
