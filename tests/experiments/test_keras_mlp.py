"""The guide's loop in plain loops: half batches in turn; its nets' weights; and how its samples' classes are counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import keras_mlp
from gan_jax.game import rng

CFG = dataclasses.replace(keras_mlp.PRESETS["tiny"], batch_size=4, z_dim=3, width=2, lr=1e-2)


def generate(p, stats, z, train=True):
    """Dense, leaky ReLU, batch norm, three times, then tanh; and the new statistics."""
    new = {}
    for i in range(3):
        z = oracle.dense(p[f"Dense_{i}"], z)
        z, name = jnp.where(z > 0, z, 0.2 * z), f"BatchNorm_{i}"
        old = stats["batch_stats"][name]
        if train:
            z, new[name] = oracle.batch_norm(p[name], old, z, momentum=0.8, eps=1e-3)
        else:
            z = (z - old["mean"][None]) / jnp.sqrt(old["var"][None] + 1e-3)
            z = z * p[name]["scale"][None] + p[name]["bias"][None]
    return jnp.tanh(oracle.dense(p["Dense_3"], z)), {"batch_stats": new}


def p_real(p, x):
    return oracle.sigmoid(oracle.perceptron([p[f"Dense_{i}"] for i in range(3)], x, slope=0.2)[:, 0])


@jax.jit
def guide(g, d, x, z_d, z_g, predict):
    """Keras' train_on_batch with ones, with zeros, and of the combined model with ones; binary cross-entropy each."""
    update = lambda d, loss: oracle.adam(d, jax.grad(loss)(d.params), CFG.lr, CFG.b1, eps=1e-7)
    by = [generate(g.params, g.stats, z_d, train)[0] for train in (True, False)]
    fake = jnp.where(predict, by[1], by[0])
    d = update(d, lambda p: -sum(jnp.log(answer) for answer in p_real(p, x.reshape(2, -1))) / 2)
    d = update(d, lambda p: -sum(jnp.log(1 - answer) for answer in p_real(p, fake)) / 2)

    def g_loss(p):
        fake, stats = generate(p, g.stats, z_g)
        return -sum(jnp.log(answer) for answer in p_real(d.params, fake)) / 4, stats

    return oracle.moved(oracle.adam, g, g_loss, CFG.lr, CFG.b1, eps=1e-7), d


def test_step_is_the_guide_s():
    """Three steps in float64, statistics too; with fakes by the statistics of their batch they would not be."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (3, 2, 8, 8, 1))
        start, end, _ = oracle.played(keras_mlp, CFG, [{"x": x} for x in xs])

        def theirs(predict):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                z = [rng.normal(rng.at(start.key, t, name), (n, 3)) for name, n in (("z of D", 2), ("z", 4))]
                players = guide(*players, x, *z, predict)
            return list(players)

        oracle.same([end.g, end.d], theirs(True))
        oracle.differ([end.g, end.d], theirs(False))


def test_the_guide_s_nets():
    """1,489,936 weights of G and 533,505 of D, as Keras' summary has them, 3,584 running statistics beside G's."""
    cfg = keras_mlp.PRESETS["default"]
    G = keras_mlp.keras_mlp.G((28, 28, 1), cfg.width, cfg.momentum)
    D = keras_mlp.keras_mlp.D(cfg.width)
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    of_g, of_d = (
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(s)) for net, s in ((G, (1, cfg.z_dim)), (D, (1, 784)))
    )
    assert (count(of_g["params"]), count(of_g["batch_stats"]), count(of_d)) == (1_489_936, 3_584, 533_505)
    assert (cfg.z_dim, cfg.lr, cfg.b1, cfg.batch_size, cfg.steps, G.momentum) == (100, 2e-4, 0.5, 32, 30_000, 0.8)


@pytest.mark.parametrize(
    "counts, classes, even",
    [([200] * 10, 10, 10), ([1000, 980, 20] + [0] * 7, 3, 2.10048), ([1000, 981, 19] + [0] * 7, 2, 2.09637)],
)
def test_classes_are_those_with_a_tenth_of_their_share(counts, classes, even, monkeypatch):
    """Of 2,000 samples 20 make a class; the evenness is that of all shares."""
    said = jax.nn.one_hot(np.repeat(np.arange(10), counts), 10)
    monkeypatch.setattr(keras_mlp, "sample", lambda *_: None)
    monkeypatch.setattr(keras_mlp.classifier, "load", lambda source: lambda x: said)
    found = keras_mlp.measure(CFG, None, None, {}, {})
    assert found["classes"] == classes
    np.testing.assert_allclose(found["even_classes"], even, rtol=1e-4)
