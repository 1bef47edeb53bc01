"""The nets: shapes at any size, batch statistics, the range of G, the order in which the LSTM draws."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.nets import dcgan, lstm

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (12, 30, 2), (40, 3, 1), (4, 4, 1), (1, 1, 2)]


def pair(module, shape):
    return (lstm.G(shape, width=8), lstm.D()) if module is lstm else (dcgan.G(shape, width=4), dcgan.D(width=4))


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


# XLA compiles three times as fast without these optimisations.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = partial(jax.jit, compiler_options=QUICK)


def fill(path, leaf):
    if leaf.ndim == 1:  # of batch norm, or a bias
        return np.full(leaf.shape, float(path[-1].key in ("scale", "var")), np.float32)
    return np.random.default_rng(leaf.size).normal(0, math.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(np.float32)


def fresh(net, x):
    """Return variables such as net.init's, which take seconds to compile: weights at random, the rest as in init."""
    return jax.tree_util.tree_map_with_path(fill, jax.eval_shape(net.init, jax.random.key(0), x))


def run(net, x, train=True):
    """Return fresh variables, the output and the new batch statistics."""
    variables = fresh(net, x)
    out, new = jit(lambda v, x: net.apply(v, x, train=train, mutable=["batch_stats"]))(variables, x)
    return variables, out, new.get("batch_stats", {})


@pytest.mark.parametrize("module", [dcgan, lstm])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(module, shape):
    G, D = pair(module, shape)
    _, x, _ = run(G, 100 * normal(0, 4, 6))  # far out, so that a missing tanh shows
    assert x.shape == (4, *shape) and x.dtype == jnp.float32
    assert 0.1 < np.abs(x).max() <= 1
    _, score, _ = run(D, x)
    assert score.shape == (4,) and score.dtype == jnp.float32


def test_dcgan_layers():
    kernels = lambda params: {p["kernel"].shape for name, p in params.items() if "Norm" not in name}
    biased = lambda params: {name for name, p in params.items() if "bias" in p and "Norm" not in name}
    g, d = fresh(dcgan.G((28, 28, 1), width=4), normal(0, 4, 6)), fresh(dcgan.D(width=4), normal(1, 4, 28, 28, 1))
    assert kernels(g["params"]) == {(6, 16 * 16), (4, 4, 16, 8), (4, 4, 8, 4), (4, 4, 4, 1)}
    assert kernels(d["params"]) == {(4, 4, 1, 4), (4, 4, 4, 8), (4, 4, 8, 16), (16 * 16, 1)}
    # A normalised layer has no bias; G's image, D's first layer and D's score are not normalised.
    assert biased(g["params"]) == {"ConvTranspose_2"} and len(g["batch_stats"]) == 3
    assert biased(d["params"]) == {"Conv_0", "Dense_0"} and len(d["batch_stats"]) == 2


def test_weights_at_birth():
    params = jit(dcgan.D(width=32).init)(jax.random.key(0), jnp.zeros((1, 9, 9, 1)))["params"]
    scale, kernel = params["BatchNorm_0"]["scale"], params["Conv_1"]["kernel"]
    assert abs(scale.mean() - 1) < 0.01 and 0.013 < scale.std() < 0.027  # [64]
    assert abs(kernel.mean()) < 0.001 and 0.019 < kernel.std() < 0.021
    assert np.all(params["Conv_0"]["bias"] == 0)
    params = jit(lstm.G((3, 4, 1), width=16).init)(jax.random.key(0), jnp.zeros((1, 8)))["params"]
    kernel = params["ScanCell_0"]["Dense_0"]["kernel"]
    bound = (6 / (16 + 64)) ** 0.5
    assert 0.9 * bound < np.abs(kernel).max() <= bound


def test_without_norm():
    """Without batch norm there are no statistics, and one image's score doesn't depend on the others."""
    G, D = dcgan.G((9, 9, 1), width=4, norm=False), dcgan.D(width=4, norm=False)
    variables, x, stats = run(G, normal(0, 4, 6))
    assert list(variables) == ["params"] and not stats and x.shape == (4, 9, 9, 1)
    assert all("bias" in p for p in variables["params"].values())
    assert list(fresh(D, x)) == ["params"]

    def depends(D):  # [score of b, x of b]
        score = lambda v, x: D.apply(v, x, mutable=["batch_stats"])[0]
        return np.abs(jit(jax.jacobian(score, 1))(fresh(D, x), x)).max((2, 3, 4)) > 0

    assert np.array_equal(depends(D), np.eye(4, dtype=bool)) and np.array_equal(depends(lstm.D()), depends(D))
    assert depends(dcgan.D(width=4)).all()


@pytest.mark.parametrize("net", [dcgan.G((9, 9, 1), width=4), dcgan.D(width=4)])
def test_statistics(net):
    """With train=True the statistics move a tenth of the way; with train=False they are used and stay."""
    x = normal(0, 4, 6) if isinstance(net, dcgan.G) else normal(0, 4, 9, 9, 1)
    variables, trained, new = run(net, x)
    old = variables["batch_stats"]
    for name in old:
        assert np.all(old[name]["mean"] == 0) and np.all(old[name]["var"] == 1)
        assert np.all(new[name]["mean"] != 0) and np.all(new[name]["var"] != 1)
    _, used, kept = run(net, x, train=False)
    assert jax.tree.all(jax.tree.map(np.array_equal, kept, old))
    assert not np.allclose(used, trained)
    used_alone = net.apply(variables, x[:1], train=False)
    np.testing.assert_allclose(used_alone, used[:1], rtol=1e-4, atol=1e-6)


def test_statistics_value():
    """The first normalised layer of D against numpy, from what Flax sees of its input."""
    D, x = dcgan.D(width=4), normal(0, 4, 9, 9, 1)
    variables, _, new = run(D, x)
    _, seen = D.apply(variables, x, mutable=["batch_stats", "intermediates"], capture_intermediates=True)
    y = np.asarray(seen["intermediates"]["Conv_1"]["__call__"][0])
    np.testing.assert_allclose(new["BatchNorm_0"]["mean"], 0.1 * y.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(new["BatchNorm_0"]["var"], 0.9 + 0.1 * y.var((0, 1, 2)), rtol=1e-4)


def test_statistics_are_the_global_batch_s():
    D = dcgan.D(width=4)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    x = normal(0, 8, 9, 9, 1) * jnp.repeat(jnp.arange(1.0, 5), 2).reshape(8, 1, 1, 1)  # no two devices' rows are alike
    variables = fresh(D, x)
    f = jit(lambda v, x: D.apply(v, x, mutable=["batch_stats"]))
    divided = jax.device_put(x, NamedSharding(mesh, P("data")))
    assert len(divided.sharding.device_set) == 4 and not divided.sharding.is_fully_replicated
    score, stats = f(jax.device_put(variables, NamedSharding(mesh, P())), divided)
    whole_score, whole_stats = f(variables, x)
    np.testing.assert_allclose(score, whole_score, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), stats, whole_stats)
    own_score = f(variables, x[:2])[0]
    assert np.abs(own_score - whole_score[:2]).max() > 0.01  # a device's own rows would give another score


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_by_hand():
    """The columns, from the left, against a loop in numpy: the forget gate starts open by 1."""
    h, w, c = shape = (3, 5, 2)
    G, z = lstm.G(shape, width=4), normal(0, 2, 6)
    variables, x, _ = run(G, z)
    params = jax.tree.map(np.asarray, variables["params"])
    (gates,) = params["ScanCell_0"].values()
    state = cell = np.maximum(z @ params["Dense_0"]["kernel"], 0)
    assert gates["kernel"].shape == (4, 16) and np.all(gates["bias"] == 0)
    for t in range(w):
        i, f, g, o = np.split(state @ gates["kernel"], 4, axis=1)
        cell = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(cell)
        column = np.tanh(state @ params["Dense_1"]["kernel"]).reshape(2, h, c)
        np.testing.assert_allclose(x[:, :, t], column, rtol=1e-5, atol=1e-6)


def test_lstm_draws_from_the_left():
    """Column t depends on no later one: a wider image begins with the narrower one."""
    variables, x, _ = run(lstm.G((3, 4, 1), width=4), normal(0, 2, 6))
    wider = lstm.G((3, 9, 1), width=4).apply(variables, normal(0, 2, 6))
    np.testing.assert_allclose(wider[:, :, :4], x, rtol=1e-5, atol=1e-6)


def test_spectral_norm():
    """The score does not depend on the kernels' scale; without `train` the singular vectors stay as they are."""
    D, x = dcgan.D(width=4, spectral=True), normal(0, 4, 9, 9, 1)
    variables = jit(D.init)(jax.random.key(0), x)
    apply = jit(lambda v, x: D.apply(v, x, mutable=["batch_stats"]))

    def settled(factor):
        now = {"params": jax.tree.map(lambda a: a * factor if a.ndim > 1 else a, variables["params"])}
        now["batch_stats"] = variables["batch_stats"]
        for _ in range(40):
            score, stats = apply(now, x)
            now |= stats
        return score, now

    (one, now), (ten, _) = settled(1.0), settled(10.0)
    np.testing.assert_allclose(one, ten, rtol=1e-3)
    norms = now["batch_stats"].values()
    sigmas = {k.partition("/")[0]: value for norm in norms for k, value in norm.items() if k.endswith("kernel/sigma")}
    for name, layer in now["params"].items():
        sigma = np.linalg.svd(layer["kernel"].reshape(-1, layer["kernel"].shape[-1]), compute_uv=False)[0]
        np.testing.assert_allclose(sigmas[name], sigma, rtol=1e-2)
    _, kept = jit(lambda v, x: D.apply(v, x, train=False, mutable=["batch_stats"]))(now, x)
    assert jax.tree.all(jax.tree.map(np.array_equal, kept["batch_stats"], now["batch_stats"]))
