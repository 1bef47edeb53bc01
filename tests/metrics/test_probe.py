"""What codes say of labels."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.metrics import probe


def test_what_is_told_and_what_is_not():
    """XOR of two numbers is told, though no line does; of noise the classifier knows nothing of rows it never saw."""
    draw = np.random.default_rng(0)
    x = draw.choice([-1.0, 1.0], (600, 2)) + 0.1 * draw.standard_normal((600, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    of = jax.jit(lambda x, y: probe.accuracy(jax.random.key(0), x[:300], y[:300], x[300:], y[300:], 2))
    assert of(100 * x + 7, y) == 1  # whatever the scale
    noise = of(draw.standard_normal((600, 2)), y)
    assert 0.4 < noise < 0.6


def test_a_constant_column_is_no_trouble():
    x, y = jnp.stack([jnp.arange(40.0), jnp.ones(40)], 1), (jnp.arange(40) > 19).astype(int)
    assert probe.accuracy(jax.random.key(0), x, y, x, y, 2) == 1


def test_the_most_frequent_is_of_the_training_rows():
    assert probe.most_frequent(jnp.array([2, 2, 1]), jnp.array([2, 1, 1, 1]), 3) == 0.25


def test_a_missing_label_is_no_mistake():
    x = jnp.stack([jnp.arange(40.0), jnp.ones(40)], 1)
    y = (jnp.arange(40) > 19).astype(int)
    assert probe.accuracy(jax.random.key(0), x, y, x, jnp.where(jnp.arange(40) % 3 == 0, -1, y), 2) == 1
    assert probe.most_frequent(jnp.array([2, 2, 1]), jnp.array([2, 1, -1, -1]), 3) == 0.5
