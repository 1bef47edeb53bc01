"""GAT's transformers: attention, patches, places, stages; and what D sees of pictures in stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError
from gan_jax.game import penalties, staged
from gan_jax.nets import gat

KEY = jax.random.key(0)


def test_attention_is_jax_s():
    """For queries, keys and values of other lengths and heads, with its gradient."""
    q, k, v = jax.random.normal(KEY, (3, 2, 5, 3, 8))
    of = lambda attention: jax.jit(jax.value_and_grad(lambda q: (attention(q, k[:, :4], v[:, :4]) ** 2).sum()))(q)
    for found, expected in zip(of(gat.attend), of(jax.nn.dot_product_attention), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_attention_can_be_differentiated_twice():
    """As R1 asks: the slope of |the gradient by queries|^2 along a way of the keys is that of differences, in float64."""
    with jax.enable_x64(True):
        q, k, v, way = jax.random.normal(KEY, (4, 2, 3, 2, 4), jnp.float64)
        critic = lambda q, h: jnp.sin(gat.attend(q, k + h * way, v)).sum((1, 2, 3))
        r1 = lambda h: penalties.r1(lambda q: critic(q, h), q, q, None).sum()
        of = jax.jit(jax.value_and_grad(r1))
        np.testing.assert_allclose(of(0.0)[1], (of(1e-5)[0] - of(-1e-5)[0]) / 2e-5, rtol=1e-6)


def test_patches_are_cut_and_joined():
    """A token is a patch of all stages, row by row; `joined` is the way back."""
    x = jnp.arange(2 * 3 * 4 * 6 * 2).reshape(2, 3, 4, 6, 2)
    tokens = gat.patches(x, 2)
    assert tokens.shape == (2, 6, 24)
    np.testing.assert_array_equal(tokens[1, 4], x[1, :, 2:4, 2:4].reshape(-1))  # row 1, column 1
    np.testing.assert_array_equal(gat.joined(gat.patches(x[:, :1], 2)[:, None], 2, (4, 6, 2)), x[:, :1])


def test_answers_depend_on_how_far_tokens_are_apart():
    """The product of a turned query and a turned key is a function of the difference of their places."""
    q, k = np.random.default_rng(0).standard_normal((2, 8))
    at = gat.places(10, 10, 2)  # 5x5
    rotation = gat.rotations(at, 8, jnp.float32)
    both = (np.asarray(gat.turned(jnp.broadcast_to(jnp.asarray(a), (1, 25, 1, 8)), rotation)) for a in (q, k))
    products = np.einsum("tc,sc->ts", *(a[0, :, 0] for a in both))
    apart = {}
    for t, s in np.ndindex(25, 25):
        apart.setdefault(tuple(at[t] - at[s]), []).append(products[t, s])
    assert len(apart) == 81 and all(np.ptp(same) < 1e-5 for same in apart.values())
    assert np.ptp([same[0] for same in apart.values()]) > 0.1


@pytest.fixture(scope="module")
def made():
    """(Synthesis of 4 blocks in 2 stages, its parameters, styles)."""
    net, w = gat.Synthesis((4, 8, 3), 2, 4, 2, 2), jax.random.normal(KEY, (3, 8))
    return net, jax.jit(net.init)(KEY, w)["params"], w


def test_a_picture_follows_each_stage(made):
    """Two pictures, after half of the blocks and after all: the blocks between have no share in the first."""
    net, params, w = made
    draw = jax.jit(lambda params: net.apply({"params": params}, w))
    x = draw(params)
    assert x.shape == (3, 2, 4, 8, 3) and np.abs(x[0] - x[1]).max() > 1e-4
    for name, i, first in (("blocks", 1, True), ("drawings", 0, True), ("blocks", 2, False), ("drawings", 1, False)):
        moved = draw(params | {name: jax.tree.map(lambda p, i=i: p.at[i].add(0.1), params[name])})
        assert [(moved[:, k] != x[:, k]).any() for k in range(2)] == [first, True], (name, i)


def test_what_does_not_fit_is_refused():
    """Patches that don't fill the image, stages that don't divide the blocks, heads of odd pairs: two lines at most."""
    w = jnp.zeros((1, 8))
    of = lambda *shape_etc: jax.eval_shape(gat.Synthesis(*shape_etc).init, KEY, w)
    with pytest.raises(UserError, match="images of 4x6 can't be cut into patches of 4x4"):
        of((4, 6, 1), 4, 2, 2, 2)
    for wrong in ((3, 2, 2), (2, 4, 2), (0, 2, 2)):  # depth, heads, stages
        with pytest.raises(UserError, match="depth must be a multiple of stages, and width one of 4"):
            of((4, 4, 1), 2, *wrong)


def test_noise_falls_from_stage_to_stage():
    """(1 - t) x + t noise with the authors' t; a stage's noise is the next one's, scaled with the picture, and more."""
    t = staged.levels(4)
    np.testing.assert_allclose(t, [0.885, 0.76, 0.51, 0.01], rtol=1e-12)
    np.testing.assert_allclose(staged.levels(1), [0.01])
    x = jnp.ones((20_000, 4, 1, 1, 1)) * jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1, 1)
    seen = np.asarray(jax.jit(staged.noised)(KEY, x)).reshape(-1, 4)
    np.testing.assert_allclose(seen.mean(0), (1 - t) * [1, 2, 3, 4], atol=0.02)
    walk = np.cov(seen.T / (1 - t)[:, None])  # of two stages: the variance of the later one
    later = np.maximum.outer(np.arange(4), np.arange(4))
    np.testing.assert_allclose(walk, ((t / (1 - t)) ** 2)[later], rtol=0.1, atol=0.15)


def test_stages_change_alike():
    """Of one row all stages are moved, mirrored and holed alike; about two fifths of the rows are mirrored."""
    ramp = jnp.arange(1.0, 9.0).reshape(1, 1, 1, 8, 1) * jnp.ones((400, 2, 8, 8, 1))
    seen = np.asarray(jax.jit(staged.changed)(KEY, ramp))
    np.testing.assert_array_equal(seen[:, 0], seen[:, 1])
    rises = np.diff(np.where(seen[:, 0, ..., 0] == 0, np.nan, seen[:, 0, ..., 0]), axis=2)
    mirrored = np.nanmean(rises, (1, 2)) < 0
    assert 0.33 < mirrored.mean() < 0.47
    with jax.enable_x64(True):
        assert jax.eval_shape(staged.changed, KEY, ramp).dtype == jnp.float32
