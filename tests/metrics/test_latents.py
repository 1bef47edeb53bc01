"""Ways through a latent against closed forms and plain loops, the first layer against its kernel, and projection."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax.metrics import latents
from gan_jax.nets import conditional, cppn, mlp, r3gan

RNG = np.random.default_rng(0)


def test_slerp_in_closed_form():
    """On axes of lengths 3 and 5 it is 3 cos, 5 sin of a quarter turn; its ends are the points as they are."""
    a, b = np.array([3.0, 0, 0]), np.array([0, 5.0, 0])
    for t in (0.0, 0.25, 0.5, 1.0):
        expected = 3 * math.cos(t * math.pi / 2), 5 * math.sin(t * math.pi / 2), 0
        np.testing.assert_allclose(latents.slerp(a, b, t), expected, atol=1e-12)
    sixty = np.array([0.5, math.sqrt(3) / 2])
    half = np.array([math.cos(math.pi / 6), math.sin(math.pi / 6)])
    np.testing.assert_allclose(latents.slerp(np.array([1.0, 0]), sixty, 0.5), half, atol=1e-12)
    np.testing.assert_allclose(latents.lerp(a, b, 0.25), [2.25, 1.25, 0], atol=1e-12)


def test_slerp_of_rows_and_where_there_is_no_circle():
    """Each row has a t of its own; the same way, opposite ways and from nothing it is the line, never nan."""
    a, b, t = RNG.normal(size=(4, 6)), RNG.normal(size=(4, 6)), np.linspace(0, 1, 4).reshape(-1, 1)
    rows = np.stack([latents.slerp(*one) for one in zip(a, b, t.ravel(), strict=True)])
    np.testing.assert_allclose(latents.slerp(a, b, t), rows, atol=1e-12)
    for other in (a[0], 3 * a[0], -2 * a[0], 0 * a[0]):
        np.testing.assert_allclose(latents.slerp(a[0], other, 0.25), 0.75 * a[0] + 0.25 * other, atol=1e-7)


def plain(t, a, b):
    """Slerp of two vectors, by the formula of the paper."""
    w = math.acos(a @ b / math.sqrt((a @ a) * (b @ b)))
    return math.sin((1 - t) * w) / math.sin(w) * a + math.sin(t * w) / math.sin(w) * b


def test_a_mine_grid_by_loops():
    """Anchors stand at every second place; rows of anchors are filled first, then what is between the rows."""
    anchors = RNG.normal(size=(2, 3, 5))
    found = latents.grid(anchors, 2)
    assert found.shape == (3, 5, 5)
    expected = np.full((3, 5, 5), np.nan)
    for y in (0, 2):
        for x in range(5):
            left, right = anchors[y // 2, x // 2], anchors[y // 2, min(x // 2 + 1, 2)]
            expected[y, x] = left if x % 2 == 0 else plain(0.5, left, right)
    for x in range(5):
        expected[1, x] = plain(0.5, expected[0, x], expected[2, x])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_j_diagram():
    """A and B above, C and B + C - A below; the middle of the left side is that of A and C."""
    a, b, c = RNG.normal(size=(3, 8))
    found = latents.analogy(a, b, c, 5)
    assert found.shape == (5, 5, 8)
    np.testing.assert_allclose(found[[0, 0, 4, 4], [0, 4, 0, 4]], [a, b, c, b + c - a], atol=1e-12)
    np.testing.assert_allclose(found[2, 0], plain(0.5, a, c), atol=1e-12)


def test_directions_are_eigenvectors():
    """Those of A^T A with the largest eigenvalues, of length 1, and the roots of these; their largest number is positive."""
    layer = RNG.normal(size=(5, 30))
    along, far = latents.directions(layer, 3)
    values, vectors = np.linalg.eigh(layer @ layer.T)
    np.testing.assert_allclose(far**2, values[::-1][:3], rtol=1e-9)
    np.testing.assert_allclose(np.abs((along * vectors.T[::-1][:3]).sum(1)), 1, rtol=1e-9)
    assert (np.take_along_axis(along, np.abs(along).argmax(1)[:, None], 1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(along @ layer, axis=1), far, rtol=1e-9)


class Normed(nn.Module):
    """A branch that sees no latent, then a layer that sees one of length 1, inside a switch."""

    @nn.compact
    def __call__(self, z):
        still = nn.Dense(3, name="a")(jnp.ones((len(z), 2)))
        z = z * jax.lax.rsqrt((z**2).mean(1, keepdims=True) + 1e-8)
        return nn.Dense(6, name="b")(z) + nn.Dense(6, name="c")(still)


def params_of(G, *inputs):
    """Return parameters of a net, none of them 0."""
    shapes = jax.eval_shape(lambda: G.init(jax.random.key(0), *inputs))
    return jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape), jnp.float32), shapes)


def test_the_first_layer_is_found():
    """Of a perceptron its first kernel; with a label, the rows of the latent; behind a norm, in a switch, up to a scale."""
    z = jnp.ones((1, 4))
    G = mlp.G((2, 2, 1), 4)  # as wide as the latent: the kernels have one shape
    params = params_of(G, z)
    found = latents.first_layer(lambda z: G.apply(params, z), 4)
    np.testing.assert_allclose(found, params["params"]["MLP_0"]["Dense_0"]["kernel"], atol=1e-5)
    told = conditional.G(mlp.G((2,), 8), 3)
    of = params_of(told, z, jnp.zeros(1, int))
    found = latents.first_layer(lambda z: told.apply(of, z, jnp.full(len(z), 2)), 4)
    np.testing.assert_allclose(found, of["params"]["net"]["MLP_0"]["Dense_0"]["kernel"][:4], atol=1e-5)
    G = r3gan.G((4, 4, 1), 4, 1, 2)  # with a basis of its own, and blocks whose names come before the first layer's
    of = params_of(G, z)
    np.testing.assert_allclose(
        latents.first_layer(lambda z: G.apply(of, z), 4), of["params"]["Dense_0"]["kernel"], atol=1e-5
    )
    G = Normed()
    of = params_of(G, z)
    made = lambda z: jax.lax.switch(1, [lambda z: jnp.zeros((len(z), 6)), lambda z: G.apply(of, z)], z)
    np.testing.assert_allclose(latents.first_layer(made, 4), 2 * of["params"]["b"]["kernel"], rtol=1e-5)
    assert latents.first_layer(lambda z: 2 * z, 4) is None
    five = nn.Dense(5)  # as many units as there are probes, and it sees all else but the latent
    still = five.init(jax.random.key(2), jnp.zeros((1, 3)))
    beside = lambda z: jnp.concatenate([five.apply(still, jnp.ones((len(z), 3))), G.apply(of, z)], 1)
    np.testing.assert_allclose(latents.first_layer(beside, 4), 2 * of["params"]["b"]["kernel"], rtol=1e-5)
    last = cppn.G((2, 2, 1), 3, 1)  # whose rows come last
    of = jax.jit(last.init)(jax.random.key(0), jnp.zeros((1, 4)))
    kernel = of["params"]["Layer_0"]["kernel"]
    np.testing.assert_allclose(latents.first_layer(lambda z: last.apply(of, z), 4), 8 * kernel, rtol=1e-5)


def test_path_lengths_of_a_linear_g():
    """|A s'(t)|^2, s' = w (cos(t w) b - cos((1 - t) w) a) / sin(w), for the squared distance."""
    a, b, t, A = RNG.normal(size=(7, 6)), RNG.normal(size=(7, 6)), RNG.uniform(size=(7, 1)), RNG.normal(size=(6, 9))
    found = latents.path_lengths(lambda z: z @ A, lambda x, y: ((x - y) ** 2).sum(1), a, b, t)
    for i in range(7):
        w = math.acos(a[i] @ b[i] / math.sqrt((a[i] @ a[i]) * (b[i] @ b[i])))
        slope = w * (math.cos(t[i, 0] * w) * b[i] - math.cos((1 - t[i, 0]) * w) * a[i]) / math.sin(w)
        np.testing.assert_allclose(found[i], ((slope @ A) ** 2).sum(), rtol=1e-3)
    np.testing.assert_allclose(
        found, latents.path_lengths(lambda z: z @ A, lambda x, y: ((x - y) ** 2).sum(1), a, b, t, 1e-5), rtol=1e-3
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_projection_finds_the_latent_that_made_a_picture(rows):
    """Of a G that is one to one; each row goes its own way, and its loss is that at what is returned."""
    A = jnp.asarray(np.linalg.qr(RNG.normal(size=(9, 4)))[0].T, jnp.float32)
    G = lambda z: jnp.tanh(z @ A)
    z = jnp.asarray(RNG.uniform(-1, 1, (rows, 4)), jnp.float32)
    loss = lambda at: ((G(at) - G(z)) ** 2).mean(1)
    found, losses = latents.project(loss, jnp.zeros((rows, 4)), 300, 0.1)
    np.testing.assert_allclose(found, z, atol=1e-2)
    assert losses.shape == (rows,) and losses.max() < 1e-5
    np.testing.assert_allclose(losses, loss(found), atol=1e-9)
    away, losses = latents.project(loss, z + 0.01, 5, 10.0)  # steps that lead far away: what it began with is best
    np.testing.assert_array_equal(away, z + 0.01)
    np.testing.assert_allclose(losses, loss(away), atol=1e-9)


def test_a_search_is_momentum_with_latents_cut():
    """The loop of Yeh et al.'s code, v' = 0.9 v - lr g, z += v' + 0.9 (v' - v), clipped; the best on the way counts."""
    A, target = RNG.normal(size=(3, 5)), 2 * RNG.normal(size=5)
    loss = lambda z: (jnp.abs(z @ jnp.asarray(A, jnp.float32) - jnp.asarray(target[None], jnp.float32))).sum(1)
    z, v, rate, seen = RNG.uniform(-1, 1, (2, 3)), 0.0, 0.05, []
    begin = jnp.asarray(z, jnp.float32)
    for _ in range(13):
        seen.append((np.abs(z @ A - target).sum(1), z))
        slope, before = np.sign(z @ A - target) @ A.T, v
        v = 0.9 * v - rate * slope
        z = np.clip(z + v + 0.9 * (v - before), -1, 1)
    values, places = (np.stack(part) for part in zip(*seen, strict=True))
    best = values.argmin(0)
    assert (np.abs(places[1:]) == 1).any() and (best > 0).all()
    tx = optax.sgd(rate, 0.9, nesterov=True)
    found, least = latents.search(loss, begin, tx, 12, lambda z: jnp.clip(z, -1, 1))
    np.testing.assert_allclose(found, places[best, np.arange(2)], atol=1e-5)
    np.testing.assert_allclose(least, values.min(0), atol=1e-4)
