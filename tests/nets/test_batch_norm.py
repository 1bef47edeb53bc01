"""Batch and instance norm in float32 against numpy in float64, on data far from 0, and that all nets have these."""

import re
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest

import gan_jax
from gan_jax.nets import pix2pix
from gan_jax.nets.layers import BatchNorm, instance_norm


@pytest.mark.parametrize("mean", [0.0, 100.0, 3000.0])
def test_far_from_zero(mean):
    """Where the mean is 3,000 deviations the statistics are right; a difference of squares is off by half there."""
    x = np.float32(mean + np.random.default_rng(0).normal(size=(500, 3)))
    net = BatchNorm(use_running_average=False, momentum=0.0, epsilon=1e-5)
    variables = jax.jit(net.init)(jax.random.key(0), x)
    found, new = jax.jit(lambda x: net.apply(variables, x, mutable=["batch_stats"]))(x)
    exact = np.float64(x)
    np.testing.assert_allclose(new["batch_stats"]["var"], exact.var(0), rtol=1e-3)
    expected = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-4 + 1e-6 * mean)


class Plain(nn.Module):
    """`instance_norm` by itself."""

    @nn.compact
    def __call__(self, x):
        return instance_norm(x)


@pytest.mark.parametrize("net", [Plain(), pix2pix.norm()], ids=["plain", "scaled"])
@pytest.mark.parametrize("mean", [0.0, 1000.0, 3000.0])
def test_pictures_far_from_zero(net, mean):
    """Each picture and channel by itself, where its pixels are 1,000 deviations from 0, too."""
    x = np.float32(mean + np.random.default_rng(0).normal(size=(4, 16, 16, 3)))
    variables = net.init(jax.random.key(0), x)
    exact = np.float64(x)
    expected = (exact - exact.mean((1, 2), keepdims=True)) / np.sqrt(exact.var((1, 2), keepdims=True) + 1e-5)
    scale = variables.get("params", {"scale": np.ones(3)})["scale"]
    expected = expected * np.asarray(scale)
    np.testing.assert_allclose(jax.jit(net.apply)(variables, x), expected, atol=5e-4 + 1e-6 * mean)


def test_all_nets_have_them():
    """None takes flax's own, whose squares are not centred."""
    nets = [file for file in Path(gan_jax.__file__).parent.glob("nets/*.py") if file.stem != "layers"]
    assert nets and not [
        file.name for file in nets if re.search(r"nn\.(Batch|Instance|Group|Layer)Norm", file.read_text())
    ]
