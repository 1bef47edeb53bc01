"""What of a growing net is in use, by the authors' schedule, and what the reals look like meanwhile."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import UserError
from gan_jax.game import Player, growing


def lod(shown, stable, fade, levels):
    """The level of detail, counted down from the finest, as a number between two levels while one is faded in."""
    done = shown // (stable + fade)
    rest = shown - done * (stable + fade)
    return max(levels - 1 - done - max(rest - stable, 0) / fade, 0) if fade else max(levels - 1 - done, 0)


@pytest.mark.parametrize("stable, fade", [(6, 4), (5, 0), (0, 3)])
def test_a_level_comes_when_and_as_the_authors_have_it(stable, fade):
    levels = 3
    shown = np.arange(40)
    level, alpha = growing.stage(shown, stable, fade, levels)
    for s, found, share in zip(shown, level, alpha, strict=True):
        there = lod(int(s), stable, fade, levels)
        assert found == levels - 1 - math.floor(there)
        assert share == pytest.approx(1 - there % 1, abs=1e-6)
    assert level.dtype == jnp.int32 and alpha.dtype == jnp.float32


def test_a_change_is_the_begin_and_the_end_of_each_fade():
    now, before = (growing.stage(jnp.arange(s, s + 40), 6, 4, 3) for s in (1, 0))
    assert (jnp.flatnonzero(growing.changed(now, before)) + 1).tolist() == [7, 10, 17, 20]


def test_reals_are_means_and_repeats_of_pixels():
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    half = x.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
    quarter = half.reshape(2, 2, 2, 2, 2, 3).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    with jax.enable_x64(True):
        np.testing.assert_allclose(growing.reals(jnp.asarray(x), 4, 0.25), 0.75 * quarter + 0.25 * half)
        np.testing.assert_array_equal(growing.reals(jnp.asarray(x), 8, 1.0), x)
        np.testing.assert_allclose(growing.reals(jnp.asarray(x), 4, 0.0), quarter)


def test_sizes_that_are_not_doubled():
    assert growing.sizes((32, 32, 1)) == (4, 8, 16, 32) and growing.sizes((8, 8, 3), 8) == (8,)
    for shape in (28, 28, 1), (32, 16, 1), (4, 4, 1):
        with pytest.raises(UserError, match=r"can't be grown from 8x8 .* choose squares of (32|8),"):
            growing.sizes(shape, 8)


def test_what_is_padded_is_cropped_again():
    x = np.random.default_rng(0).normal(size=(2, 7, 4, 3)).astype(np.float32)
    wide = growing.padded(jnp.asarray(x), 8)
    assert wide.shape == (2, 8, 8, 3) and (wide[:, :, [0, 1, 6, 7]] == -1).all() and (wide[:, 7] == -1).all()
    np.testing.assert_array_equal(growing.cropped(wide, (7, 4, 3)), x)


def test_an_optimiser_begins_anew_and_the_net_does_not():
    tx, params = optax.adam(0.1), {"w": jnp.ones(3)}
    _, opt = tx.update({"w": jnp.arange(3.0)}, tx.init(params), params)
    player = Player(params, {}, opt)
    for when, expected in ((True, tx.init(params)), (False, opt)):
        found = jax.jit(lambda player, when: growing.restarted(player, tx, when))(player, when)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), found.opt, expected))
        assert (found.params["w"] == 1).all()
