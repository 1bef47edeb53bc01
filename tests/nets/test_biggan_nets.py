"""The residual nets of BigGAN and its forerunners against loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import resnets

from gan_jax.nets import biggan

CLASSES = 3
near = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def begun(net, *given, seed=0):
    """Return variables at random: all that begins at 0 or 1 has moved."""
    variables = jax.eval_shape(net.init, jax.random.key(seed), *given)
    leaves, tree = jax.tree.flatten(variables)
    moved = [normal(i, *leaf.shape) for i, leaf in enumerate(leaves)]
    found = jax.tree.unflatten(tree, moved)
    return jax.tree_util.tree_map_with_path(lambda path, a: abs(a) + 0.1 if "'var'" in str(path) else a, found)


SHAPE = 17, 10, 2  # 9x5, 5x3, 3x2: three blocks of G, and four of D


def test_g():
    """Blocks that cut off a row and a column; attention, a latent in parts, one embedding; its new statistics."""
    net = biggan.G(SHAPE, CLASSES, 2, spectral=True, attention=True, shared=4)
    z, y = normal(1, 2, 12), jnp.array([2, 0])
    v = begun(net, z, y)
    x, new = jax.jit(lambda v: net.apply(v, z, y, mutable=["batch_stats"]))(v)
    by_hand = functools.partial(resnets.G, shape=SHAPE, classes=CLASSES, spectral=True, attentive=True, shared=True)
    expected = jax.jit(by_hand)(v["params"], {"batch_stats": v["batch_stats"]}, z, y)
    near(x, expected[0])
    jax.tree.map(near, new, expected[1])


def test_d():
    """Four blocks, of which two halve, odd sides too; attention, and the projection; its new statistics."""
    net = biggan.D(CLASSES, 2, attention=True)
    x, y = normal(1, 2, *SHAPE), jnp.array([2, 0])
    v = begun(net, x, y)
    score, new = jax.jit(lambda v: net.apply(v, x, y, mutable=["batch_stats"]))(v)
    by_hand = functools.partial(resnets.D, classes=CLASSES, halvings=2, attentive=True)
    expected = jax.jit(by_hand)(v["params"], {"batch_stats": v["batch_stats"]}, x, y)
    assert sum(name.startswith("Down") for name in v["params"]) == 4
    near(score, expected[0])
    jax.tree.map(near, new, expected[1])


def test_conditional_batch_norm_begins_at_one():
    """Where gain and bias are 0, it is batch norm: 1 + gain, not gain."""
    net, x = biggan.Norm(False), 3 + normal(0, 5, 4, 4, 2)
    v = net.init(jax.random.key(0), x, jnp.eye(5, CLASSES), True)
    v = v | {"params": jax.tree.map(jnp.zeros_like, v["params"])}
    y, _ = net.apply(v, x, jnp.eye(5, CLASSES), True, mutable=["batch_stats"])
    near(y, (x - x.mean((0, 1, 2), keepdims=True)) / jnp.sqrt(x.var((0, 1, 2), keepdims=True) + 1e-4))


def test_attention_sees_every_pixel():
    """With a gain of 0 nothing; else what changes in one corner changes all, and weights of all pixels sum to one."""
    net, x = biggan.Attention(), normal(0, 1, 4, 4, 8)
    v = jax.jit(lambda x: net.init(jax.random.key(0), x, True))(x)
    with_gain = jax.jit(
        lambda gain, x: net.apply(v | {"params": v["params"] | {"gain": gain}}, x, True, mutable=["batch_stats"])[0]
    )
    np.testing.assert_array_equal(with_gain(0.0, x), x)
    moved = x.at[0, 0, 0].add(5.0)
    assert (jnp.abs(with_gain(1.0, moved) - with_gain(1.0, x)).max(-1) > 0).all()
    alike = jnp.broadcast_to(x[:, :1, :1], x.shape)  # then what is seen is the value that all have
    near(with_gain(1.0, alike), jnp.broadcast_to(with_gain(1.0, alike)[:, :1, :1], x.shape))


def test_a_net_at_rest():
    """Without `train` no singular vector and no statistic moves, and rows don't depend on each other."""
    net = biggan.G((8, 8, 1), CLASSES, 2, spectral=True, attention=True)
    z, y = normal(1, 3, 4), jnp.array([2, 0, 1])
    v = jax.jit(net.init)(jax.random.key(0), z, y)
    drawn = jax.jit(lambda v, z, y: net.apply(v, z, y, train=False, mutable=["batch_stats"]))
    x, kept = drawn(v, z, y)
    assert jax.tree.all(jax.tree.map(np.array_equal, kept["batch_stats"], v["batch_stats"]))
    alone, _ = drawn(v, z[:1].repeat(3, 0), y[:1].repeat(3))
    near(alone[0], x[0])


def test_weights_begin_orthogonal():
    """Then spectral norm divides them by 1 from the first step on."""
    net = biggan.D(CLASSES, 4)
    v = jax.jit(net.init)(jax.random.key(0), normal(0, 1, 8, 8, 1), jnp.zeros(1, int))
    for path, leaf in jax.tree_util.tree_leaves_with_path(v["params"]):
        if leaf.ndim > 1:
            singular = np.linalg.svd(leaf.reshape(-1, leaf.shape[-1]), compute_uv=False)
            near(singular, np.ones_like(singular), err_msg=str(path))
    sigmas = [value for norm in v["batch_stats"].values() for k, value in norm.items() if k.endswith("sigma")]
    near(np.array(sigmas), np.ones(len(sigmas)))
