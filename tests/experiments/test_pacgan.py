"""PacGAN's step against its algorithm in plain loops, its 2-D nets by hand, and the batches that it refuses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import pacgan, unrolled_modes
from gan_jax import UserError
from gan_jax.game import rng
from gan_jax.nets import maxout

M, B = 3, 9  # rows a pack, rows a batch
CFG = dataclasses.replace(
    pacgan.PRESETS["default"], batch_size=B, pack=M, width=8, d_width=8, z_dim=2, g_lr=1e-2, d_lr=2e-2, b2=0.9
)


@jax.jit
def paper(g, d, z, x):
    """D ascends log D(x_1 .. x_m) + log(1 - D(G(z_1) .. G(z_m))) over packs, G ascends log D(G(z_1) .. G(z_m))."""
    packs = lambda rows: [jnp.concatenate([*rows[i : i + M]]) for i in range(0, B, M)]
    D = lambda w, rows: oracle.sigmoid(oracle.with_norm(packed)(w, d.stats, rows)[0])
    packed = lambda w, rows: jnp.stack([oracle.mlp(w["net"], pack)[0] for pack in packs(rows)])
    G = oracle.with_norm(oracle.mlp)

    def d_loss(w):
        real, fake = D(w, x), D(w, G(g.params, g.stats, z)[0])
        stats = oracle.with_norm(packed)(w, d.stats, x)[1]
        return -sum(jnp.log(r) + jnp.log(1 - f) for r, f in zip(real, fake, strict=True)) / (B // M), stats

    def g_loss(theta):
        fake, stats = G(theta, g.stats, z)
        return -sum(jnp.log(f) for f in D(d.params, fake)) / (B // M), stats

    adam = lambda player, loss, lr: oracle.moved(oracle.adam, player, loss, lr, CFG.b1, CFG.b2)
    return adam(g, g_loss, CFG.g_lr), adam(d, d_loss, CFG.d_lr)


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64; with packs of other rows they would not."""
    oracle.normed(pacgan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, B, 2))
        start, end, _ = oracle.played(pacgan, CFG, [{"x": x} for x in xs])

        def theirs(order):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                players = paper(*players, rng.normal(rng.at(start.key, t, "z"), (B, CFG.z_dim)), x[order])
            return list(players)

        oracle.same([end.g, end.d], theirs(np.arange(B)))
        oracle.differ([end.g, end.d], theirs(np.arange(B).reshape(M, -1).T.ravel()))


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
