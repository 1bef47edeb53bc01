"""A player: what `create`, `forward`, `descend` and `ema` do with params, stats and optimiser."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax.game.player import Player, create, descend, ema, falling, forward


class Plain(nn.Module):
    """A dense layer: no stats."""

    @nn.compact
    def __call__(self, x, train=True):
        return nn.Dense(2)(x)


class Normed(nn.Module):
    """Batch norm alone, with scale 1 and shift 0 at first."""

    @nn.compact
    def __call__(self, x, train=True):
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=0.0)(x)


X = np.float32([[1, 10], [2, 30], [6, 20]])


def test_create():
    """Params, stats and optimiser state are apart; a net without stats has {}; the key decides the params."""
    tx = optax.adam(0.1)
    plain, normed = (create(net, tx, jax.random.key(0), X) for net in (Plain(), Normed()))
    assert plain.params["Dense_0"]["kernel"].shape == (2, 2) and plain.stats == {}
    assert list(normed.stats) == ["batch_stats"] and list(normed.params["BatchNorm_0"]) == ["scale", "bias"]
    assert jax.tree.structure(plain.opt) == jax.tree.structure(tx.init(plain.params))
    np.testing.assert_array_equal(normed.stats["batch_stats"]["BatchNorm_0"]["mean"], np.zeros(2))
    other = create(Plain(), tx, jax.random.key(1), X)
    assert (plain.params["Dense_0"]["kernel"] != other.params["Dense_0"]["kernel"]).all()


def test_forward_without_stats():
    """A net without stats gives its output and {} in training, and the same output outside of it."""
    p = create(Plain(), optax.sgd(0.1), jax.random.key(0), X)
    out, stats = forward(Plain(), p.params, p.stats, X)
    kernel, bias = (np.asarray(p.params["Dense_0"][k]) for k in ("kernel", "bias"))
    np.testing.assert_allclose(out, X @ kernel + bias, rtol=1e-5)
    assert stats == {}
    np.testing.assert_array_equal(forward(Plain(), p.params, p.stats, X, train=False)[0], out)


def test_forward_with_stats():
    """In training the batch's own moments are used and the running ones renewed; outside of it the other way round."""
    p = create(Normed(), optax.sgd(0.1), jax.random.key(0), X)
    mean, var = X.mean(0), X.var(0)
    out, stats = forward(Normed(), p.params, p.stats, X)
    np.testing.assert_allclose(out, (X - mean) / np.sqrt(var), rtol=1e-4, atol=1e-6)
    running = stats["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * var, rtol=1e-5)
    out, same = forward(Normed(), p.params, stats, X, train=False)
    np.testing.assert_allclose(out, (X - 0.1 * mean) / np.sqrt(0.9 + 0.1 * var), rtol=1e-4)
    assert same is stats
    np.testing.assert_array_equal(
        p.stats["batch_stats"]["BatchNorm_0"]["mean"], np.zeros(2)
    )  # nothing is changed in place


def test_descend_is_adam():
    """Two updates of Adam, by its formula; the state moves with them."""
    tx, p, m, v = optax.adam(0.1, 0.5, 0.9, 1e-8), np.array([1.0, -2.0]), 0, 0
    player = Player(jnp.float32(p), {}, tx.init(jnp.float32(p)))
    for t, g in enumerate([np.array([0.3, -1.0]), np.array([-0.2, 4.0])], 1):
        player = descend(player, jnp.float32(g), tx)
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g**2
        p = p - 0.1 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
        np.testing.assert_allclose(player.params, p, rtol=1e-5)
    assert player.opt[0].count == 2


def test_descend_goes_down():
    """The update is along minus the gradient."""
    player = Player(jnp.float32([1, 2]), {}, optax.sgd(0.5).init(jnp.zeros(2)))
    np.testing.assert_allclose(descend(player, jnp.float32([2, -4]), optax.sgd(0.5)).params, [0, 4])


def test_descend_shows_params_to_the_optimiser():
    """Weight decay needs them: p - lr * (g + decay * p)."""
    tx = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5))
    player = Player(jnp.float32([1, 2]), {}, tx.init(jnp.zeros(2)))
    np.testing.assert_allclose(descend(player, jnp.zeros(2), tx).params, [0.95, 1.9])


@pytest.mark.parametrize("given, kept", [(None, {"n": 1}), ({"n": 2}, {"n": 2}), ({}, {})])
def test_descend_stats(given, kept):
    """Stats that are given replace the player's, {} too; without them they stay."""
    player = Player(jnp.zeros(2), {"n": 1}, optax.sgd(1.0).init(jnp.zeros(2)))
    assert descend(player, jnp.zeros(2), optax.sgd(1.0), given).stats == kept


def test_ema_of_a_constant_sequence():
    """After n steps from a towards b the average is b + decay^n (a - b)."""
    average = {"p": jnp.float32([1, -4])}
    for _ in range(10):
        average = ema(average, {"p": jnp.float32([3, 2])}, 0.8)
    np.testing.assert_allclose(average["p"], np.array([3, 2]) + 0.8**10 * np.array([-2, -6]), rtol=1e-5)


def test_ema_keeps_dtypes():
    """Half precision stays half, whole numbers and random keys are copied from the new one, also under jit."""
    key = jax.random.key
    old = {"h": jnp.bfloat16(1), "n": jnp.int32(3), "stats": {"mean": jnp.ones(2)}, "key": key(0)}
    new = {"h": jnp.bfloat16(2), "n": jnp.int32(8), "stats": {"mean": jnp.zeros(2)}, "key": key(1)}
    for average in (ema(old, new, 0.5), jax.jit(ema)(old, new, 0.5)):
        assert jax.tree.map(lambda a: a.dtype, average) == jax.tree.map(lambda a: a.dtype, old)
        assert average["h"] == 1.5 and average["n"] == 8 and (average["stats"]["mean"] == 0.5).all()
        assert average["key"] == key(1)


@pytest.mark.parametrize("decay, expected", [(0, 7), (1, 1)])
def test_ema_ends(decay, expected):
    """Decay 0 is the new value and decay 1 the old one."""
    assert ema(jnp.float32(1), jnp.float32(7), decay) == expected


def test_a_rate_that_falls_from_the_start():
    """It stays for the first half of eight updates, and would be 0 at the ninth; with a share of 0 it is a number."""
    np.testing.assert_allclose([falling(2.0, 0.5, 8)(t) for t in range(9)], [2, 2, 2, 2, 2, 1.5, 1, 0.5, 0], atol=1e-6)
    assert falling(2.0, 0.0, 8) == 2.0
