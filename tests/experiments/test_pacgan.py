"""PacGAN's step against its algorithm in plain loops, its 2-D nets by hand, and the batches that it refuses."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import pacgan, unrolled_modes
from gan_jax import UserError
from gan_jax.game import rng
from gan_jax.nets import maxout

CFG = dataclasses.replace(
    pacgan.PRESETS["default"], batch_size=6, pack=3, width=8, d_width=8, z_dim=2, g_lr=1e-2, d_lr=2e-2, b2=0.9
)


def net(params, x):
    """A ReLU perceptron of the parameters of `nets.mlp`, layer by layer: x [c] -> [out]."""
    layers = [params["MLP_0"][f"Dense_{i}"] for i in range(3)]
    for layer in layers[:-1]:
        x = jnp.where((x := x @ layer["kernel"] + layer["bias"]) > 0, x, 0)
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def adam(player, grads, lr, b1=CFG.b1, b2=CFG.b2):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    move = lambda p, m, v: p - lr * m / (1 - b1 ** (t + 1)) / (jnp.sqrt(v / (1 - b2 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


@jax.jit
def paper(players, xs, zs):
    """D ascends log D(x_1 .. x_m) + log(1 - D(G(z_1) .. G(z_m))) over packs, G ascends log D(G(z_1) .. G(z_m))."""
    m, packs = CFG.pack, len(xs) // CFG.pack

    def values(theta, w):
        g_value = d_value = 0.0
        for first in range(0, len(xs), m):
            real = jnp.concatenate([xs[i] for i in range(first, first + m)])
            fake = jnp.concatenate([net(theta, zs[i]) for i in range(first, first + m)])
            real, fake = (1 / (1 + jnp.exp(-net(w["net"], pack)[0])) for pack in (real, fake))
            g_value, d_value = g_value - jnp.log(fake), d_value - jnp.log(real) - jnp.log(1 - fake)
        return g_value / packs, d_value / packs

    now = [player[0] for player in players]
    grads = [jax.grad(lambda *now, i=i: values(*now)[i], i)(*now) for i in range(2)]
    return [adam(*of) for of in zip(players, grads, (CFG.g_lr, CFG.d_lr), strict=True)]


def test_step_is_the_paper_s():
    """Two steps equal the loops in float64."""
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(pacgan.init, CFG))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        xs, now = np.random.default_rng(0).normal(size=(2, 6, 2)), state
        zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
        players = [(p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d)]
        step = jax.jit(functools.partial(pacgan.step, CFG))
        for t, x in enumerate(xs):
            z = jax.random.normal(rng.at(state.key, t, "z"), (6, CFG.z_dim))
            now, players = step(now, {"x": x})[0], paper(players, x, z)
        expected = tuple(player[0] for player in players)
        chex.assert_trees_all_close((now.g.params, now.d.params), expected, rtol=1e-9, atol=1e-12)


def test_d_of_the_paper_has_its_size():
    """Its first layer sees the two numbers of both rows of a pack: 407,201 parameters."""
    d = jax.eval_shape(functools.partial(pacgan.init, pacgan.PRESETS["paper_ring"]), jax.random.key(0)).d
    assert sum(p.size for p in jax.tree.leaves(d.params)) == (2 * 2 + 1) * 1000 + 2 * 201 * 1000 + 201


def test_maxout_by_hand():
    """A unit is the largest of its linear functions; D has three such layers and a linear one."""
    D, x = maxout.D(width=4), jax.random.normal(jax.random.key(0), (3, 2))
    params = jax.jit(D.init)(jax.random.key(1), x)["params"]
    seen = []
    for h in np.asarray(x, np.float64):
        for i in range(3):
            layer = params[f"Maxout_{i}"]["Dense_0"]
            linear = h @ np.asarray(layer["kernel"], np.float64) + layer["bias"]
            h = np.array([max(linear[5 * unit : 5 * unit + 5]) for unit in range(4)])
        seen.append(h @ params["Dense_0"]["kernel"][:, 0] + params["Dense_0"]["bias"][0])
    np.testing.assert_allclose(D.apply({"params": params}, x), seen, rtol=1e-4)
    G = jax.eval_shape(maxout.G((2,)).init, jax.random.key(0), jnp.zeros((1, 2)))["params"]
    assert sum(p.size for p in jax.tree.leaves(G)) == 2 * 400 + 3 * 400 * 400 + 4 * 2 * 400 + 802


@pytest.mark.parametrize("module", [pacgan, unrolled_modes])
def test_packs_that_do_not_fit_are_refused(module, tmp_path):
    """In one or two lines, before anything is written."""
    for flags, says in (("--pack=3", "a batch of 128 can't be cut into packs of 3"), ("--pack=0", "--pack is 0")):
        with pytest.raises(UserError, match=says) as refused:
            module.main([flags, "--batch-size=128", "--cpu", f"--out={tmp_path / 'run'}"])
        assert len(str(refused.value).splitlines()) <= 2 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["quarter", "half"])
def test_stacked_presets_are_those_of_unrolled_modes(preset):
    """The same nets, batch, rates and decays."""
    ours, theirs = pacgan.PRESETS[f"stacked_{preset}"], unrolled_modes.PRESETS[preset]
    same = ("dataset", "steps", "batch_size", "z_dim", "width", "d_width", "g_lr", "d_lr", "b1", "b2")
    assert all(getattr(ours, name) == getattr(theirs, name) for name in same) and ours.pack == 2
