"""In float64 noise is as exact as all else, so that a step can be held to its paper's formulas to many digits."""

import jax
import pytest

from gan_jax.game import rng


@pytest.fixture(autouse=True)
def exact_noise(monkeypatch):
    """Draw what `rng` draws in float32 in the precision of the test: float32 is rounded otherwise in another program."""
    monkeypatch.setattr(rng, "normal", jax.random.normal)
    monkeypatch.setattr(rng, "uniform", lambda key, shape=(), **ends: jax.random.uniform(key, shape, **ends))
