"""Players of one kind as one, and the weights of boosting."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax.game import mixture
from gan_jax.nets import mlp


def test_weights_go_where_the_mixture_is_not():
    """Where it has the data's density all rows count alike; where it lacks a part as large as beta, that part alone."""
    np.testing.assert_allclose(mixture.boosted(jnp.zeros(10), 0.3), np.full(10, 0.1), rtol=1e-5)
    missing = jnp.where(jnp.arange(10) < 4, 30.0, jnp.log(0.6))  # C's score: the other six have 1 / 0.6 of the density
    w = np.asarray(mixture.boosted(missing, 0.4))
    np.testing.assert_allclose(w, [0.25] * 4 + [0] * 6, atol=1e-5)
    # a new learner of 0.6 fills the hole of 0.4 and adds to the rest, up to the data's own density
    np.testing.assert_allclose(0.6 * mixture.boosted(missing, 0.6) + 0.4 / (0.6 * 10) * (missing < 0), 0.1, rtol=1e-4)


@pytest.mark.parametrize("beta", [0.5, 1 / 3, 0.1])
def test_weights_sum_to_one(beta):
    """Whatever C says, sure of all rows among it: sums of float32 over many magnitudes."""
    for spread in (1e-3, 1, 30):
        score = spread * jax.random.normal(jax.random.key(0), (500,))
        w = np.asarray(mixture.boosted(score, beta))
        assert w.min() >= 0 and abs(w.sum() - 1) < 1e-4
        order = np.argsort(-np.asarray(score))
        assert (np.diff(w[order]) <= 1e-7).all()  # the surer C is that a row is data, the more it counts


def test_each_row_is_of_one_player():
    """Row i of all is that of player k where which[i] lies in k's part, the last one up to 1."""
    made = jnp.arange(12.0).reshape(3, 4, 1)
    picked = mixture.pick(made, jnp.array([0.25, 0.5, 0.25]), jnp.array([0.1, 0.25, 0.74, 0.9999999]))
    np.testing.assert_array_equal(picked[:, 0], [0, 5, 6, 11])
    few = mixture.pick(made, jnp.array([0.5, 0.5, 0.0]), jnp.array([0.1, 0.5, 0.74, 0.9999999]))
    np.testing.assert_array_equal(few[:, 0], [0, 5, 6, 7])


def test_players_begin_apart_and_stand_alone():
    """No two have the same weights; one put back moves none of the others."""
    of = lambda key: mixture.create(mlp.D(4, 0), optax.sgd(0.1), key, 3, jnp.zeros((1, 4)))
    players = jax.jit(of)(jax.random.key(0))
    kernels = np.asarray(players.params["MLP_0"]["Dense_0"]["kernel"])
    assert kernels.shape == (3, 4, 1) and not np.allclose(kernels[0], kernels[1])
    one = jax.tree.map(lambda a: 0 * a, mixture.one_of(players, 1))
    after = np.asarray(mixture.put(players, 1, one).params["MLP_0"]["Dense_0"]["kernel"])
    np.testing.assert_array_equal(after[[0, 2]], kernels[[0, 2]])
    assert (after[1] == 0).all()
