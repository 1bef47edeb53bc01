"""What is measured by the labels of records, of which some may have none (-1)."""

import jax.numpy as jnp


def agreement(said, y):
    """Return the share of the records with a label y [n] for which said [n] is that label."""
    return jnp.sum((said == y) & (y >= 0)) / jnp.sum(y >= 0)
