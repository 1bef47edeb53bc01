"""What the nets share, each against numpy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.nets import layers


def test_levels():
    """Sizes are halved, rounded up, to 4 or less; channels are doubled three times at most; there is always a level."""
    assert layers.levels((28, 28, 1), 64) == ([(28, 28), (14, 14), (7, 7), (4, 4)], [64, 128, 256])
    assert layers.levels((64, 64, 3), 64)[1] == [64, 128, 256, 512]  # the paper's G and D, at half the width of its G
    assert layers.levels((105, 20, 3), 8) == (
        [(105, 20), (53, 10), (27, 5), (14, 3), (7, 2), (4, 1)],
        [8, 16, 32, 64, 64],
    )
    assert layers.levels((1, 1, 2), 8) == ([(1, 1), (1, 1)], [8])


def test_minibatch_std():
    """One more channel holds the mean over pixels and channels of the standard deviation over the batch."""
    x = np.random.default_rng(0).normal(size=(6, 3, 4, 5)).astype(np.float32)
    seen = np.asarray(layers.minibatch_std(x))
    np.testing.assert_array_equal(seen[..., :5], x)
    np.testing.assert_allclose(seen[..., 5], np.full((6, 3, 4), np.std(x, axis=0).mean()), rtol=1e-5)


def test_leaky():
    """Both slopes that the nets have."""
    x = np.float32([-2, -0.5, 0, 3])
    np.testing.assert_allclose(layers.leaky(x), [-0.4, -0.1, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(layers.leaky(x, 0.3), [-0.6, -0.15, 0, 3], rtol=1e-6)


@pytest.mark.parametrize("axis", [-1, 0])
def test_batch_norm(axis):
    """Over all axes but the channels', whichever that is, with the statistics of the batch, and later the running ones."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=True):
            return layers.batch_norm(x, train, axis)

    channels_last = 3 + 2 * np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype(np.float32)
    there = lambda x: np.moveaxis(x, -1, axis)
    x, net = there(channels_last), Net()
    variables = jax.jit(net.init)(jax.random.key(0), x)
    scale, bias = np.float32([2, 0.5]), np.float32([1, -1])
    variables = {"params": {"BatchNorm_0": {"scale": scale, "bias": bias}}, "batch_stats": variables["batch_stats"]}
    out, new = net.apply(variables, x, mutable=["batch_stats"])
    mean, var = channels_last.mean((0, 1, 2)), channels_last.var((0, 1, 2))
    normalised = lambda mean, var: there((channels_last - mean) / np.sqrt(var + 1e-5) * scale + bias)
    np.testing.assert_allclose(out, normalised(mean, var), rtol=1e-4, atol=1e-5)
    running = jax.tree.map(np.asarray, new["batch_stats"]["BatchNorm_0"])
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * var, rtol=1e-4)
    used = net.apply(variables | new, x, train=False)
    np.testing.assert_allclose(used, normalised(running["mean"], running["var"]), rtol=1e-4, atol=1e-5)


def test_instance_norm():
    """Over the pixels of each image and channel, with no parameters: other images change nothing."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layers.instance_norm(x)

    x = 3 + 2 * np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    out, variables = Net().init_with_output(jax.random.key(0), x)
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(Net().apply({}, x[:1]), out[:1], rtol=1e-5)
    assert not jax.tree.leaves(variables)


def test_normal():
    """A deviation of 0.02 around 0."""
    kernel = layers.normal(jax.random.key(0), (200, 200), jnp.float32)
    assert abs(kernel.mean()) < 5e-4 and 0.0197 < kernel.std() < 0.0203
