"""3D-VAE-GAN's step, nets and all, against plain sums; E's size in the paper, and what is measured."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from test_gan3d import SIDES, D, G, norms

from experiments.shapes import vaegan3d
from gan_jax import data
from gan_jax.data import depth
from gan_jax.game import rng
from gan_jax.nets import gan3d

B, Z = 3, 3
CFG = dataclasses.replace(vaegan3d.PRESETS["tiny"], dataset="small", batch_size=B, z_dim=Z, held_above=0.45)
CFG = dataclasses.replace(CFG, d_lr=0.02, kl=0.3, again=0.7)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def conv(kernel, x, s):
    """A convolution whose output has a side of ceil(n / s), x padded alike on both sides, or by one more behind."""
    k, sizes = kernel.shape[0], [-(-n // s) for n in x.shape[1:3]]
    more = [max((m - 1) * s + k - n, 0) for m, n in zip(sizes, x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), *((of // 2, of - of // 2) for of in more), (0, 0)))
    rows, columns = (s * np.arange(m)[:, None] + np.arange(k) for m in sizes)
    windows = x[:, rows[:, None, :, None], columns[None, :, None, :]]  # [b, n, m, k, k, c]
    return jnp.einsum("bnmijc,ijco->bnmo", windows, kernel)


def E(p, stats, y):
    """Eleven by eleven, batch norm, ReLU; five by five by two, the same; one sum for each number. With statistics."""
    norm = norms(p, stats, new := {})
    for i, s in enumerate((CFG.stride, 2)):
        y = jnp.maximum(norm(f"BatchNorm_{i}", conv(p[f"Conv_{i}"]["kernel"], y, s)), 0)
    found = jnp.einsum("bijc,ijco->bo", y, p["Conv_2"]["kernel"])
    return found[:, :Z], found[:, Z:], {"batch_stats": new}


@functools.partial(jax.jit, static_argnames="entropy", compiler_options=QUICK)
def updated(e, g, d, x, y, noise, prior, learns, of_old, entropy):
    """D, if it learns; then E and G by what they were, G against the new D. of_old: against the old one."""
    log_sigmoid = lambda s: jnp.log(oracle.sigmoid(s))

    def read(w):
        mean, log_var, stats = E(w, e.stats, y)
        kl = sum((jnp.exp(log_var[i]) + mean[i] ** 2 - 1 - log_var[i]).sum() / 2 for i in range(B)) / B
        return mean + jnp.exp(log_var / 2) * noise, kl, stats

    def off(again):
        p, full = (again + 1) / 2, (x + 1) / 2
        if entropy:
            return -(full * jnp.log(p) + (1 - full) * jnp.log(1 - p)).sum() / B
        return sum(jnp.sqrt(((p[i] - full[i]) ** 2).sum()) for i in range(B)) / B

    z, *_ = read(e.params)
    _, first = G(g.params, g.stats, z)
    made, stats = G(g.params, first, prior)

    def d_loss(w):
        (real, stats), (fake, _) = D(w, d.stats, x), D(w, d.stats, made)
        return -(log_sigmoid(real) + log_sigmoid(-fake)).mean(), stats

    (real, d_stats), (fake, _) = D(d.params, d.stats, x), D(d.params, d.stats, made)
    new = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1)
    new_d = jax.tree.map(lambda n, o: jnp.where(learns, n, o), new, d._replace(stats=d_stats))
    judge = jax.tree.map(lambda n, o: jnp.where(of_old, o, n), new_d.params, d.params)

    def e_loss(w):
        z, kl, stats = read(w)
        return CFG.kl * kl + CFG.again * off(G(g.params, g.stats, z)[0]), stats

    def g_loss(w):
        fooled = -log_sigmoid(D(judge, d.stats, G(w, g.stats, prior)[0])[0]).mean()
        return fooled + CFG.again * off(G(w, g.stats, z)[0]), stats

    right = [*(real > 0), *(fake < 0)]
    e = oracle.moved(oracle.adam, e, e_loss, CFG.e_lr, CFG.b1)
    return e, oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1), new_d, sum(right) / len(right)


def paper(start, xs, ys, entropy, of_old=False):
    """The paper's three steps, and of each whether D learned."""
    players, accuracy, learned = oracle.started(start.e, start.g, start.d), 0.0, []
    for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
        learned.append(bool(accuracy <= CFG.held_above))
        noise, prior = (rng.normal(rng.at(start.key, t, of), (B, Z)) for of in ("noise", "z"))
        *players, accuracy = updated(*players, x, y, noise, prior, learned[-1], of_old, entropy)
    return players, learned


@pytest.mark.parametrize("entropy", [True, False])
def test_step_is_the_paper_s(monkeypatch, entropy):
    """Four steps, of which D is held back in some, equal the paper's in float64; against the old D they would not."""
    cfg = dataclasses.replace(CFG, entropy=entropy, filled=0.3 * entropy)
    small = data.Source("small", {"x": data.Field((*SIDES[0], 1), "voxels")})
    monkeypatch.setattr(data, "load", lambda name: small)
    with jax.enable_x64(True):
        xs = np.sign(np.random.default_rng(0).normal(size=(4, B, *SIDES[0], 1)) - 0.5)
        ys = [np.asarray(depth.seen(x), np.float64) for x in xs]
        init, step = (
            jax.jit(functools.partial(f, cfg), compiler_options=QUICK) for f in (vaegan3d.init, vaegan3d.step)
        )
        start = end = oracle.double(init(jax.random.key(0)))
        for x, y in zip(xs, ys, strict=True):
            end, _ = step(end, {"x": x, "source": y})
        players, learned = paper(start, xs, ys, entropy)
        assert 0 < sum(learned) < 4
        oracle.same([end.e, end.g, end.d], players, rtol=1e-8, atol=1e-11)
        oracle.differ([end.g], paper(start, xs, ys, entropy, True)[0][1:2])


def test_the_published_encoder():
    """Of 256x256 pixels in colour: kernels of 11, 5, 5, 5 and 8, channels counted by hand from the paper's table."""
    net = gan3d.E()
    picture = jax.ShapeDtypeStruct((2, 256, 256, 3), np.float32)
    params = jax.eval_shape(net.init, jax.random.key(0), picture)
    between = 64 * 128 + 128 * 256 + 256 * 512
    norm = 2 * (64 + 128 + 256 + 512)
    expected = 11 * 11 * 3 * 64 + 5 * 5 * between + 8 * 8 * 512 * 400 + norm
    assert sum(leaf.size for leaf in jax.tree.leaves(params["params"])) == expected == 17_433_152
    mean, log_var = jax.eval_shape(functools.partial(net.apply, train=False), params, picture)
    assert mean.shape == log_var.shape == (2, 200)
    cfg = vaegan3d.PRESETS["paper"]
    assert (cfg.kl, cfg.again, cfg.g_lr, cfg.d_lr, cfg.stride) == (5, 1e-4, 2.5e-3, 1e-5, 4)
    assert not cfg.entropy and not cfg.filled and cfg.steps == 100_000


def test_solids_begin_as_full_as_they_are_said_to():
    """Where the last layer's weights are 0 every voxel has the share; of a share of 0 G has no bias."""
    net = gan3d.G((9, 6, 5, 1), 2, 0.3)
    params = net.init(jax.random.key(0), z := jnp.ones((2, Z)))
    last = params["params"]["ConvTranspose_2"]
    params["params"]["ConvTranspose_2"] = jax.tree.map(jnp.zeros_like, last)
    np.testing.assert_allclose((net.apply(params, z, train=False) + 1) / 2, 0.3, rtol=1e-5)
    none = jax.eval_shape(gan3d.G((9, 6, 5, 1), 2).init, jax.random.key(0), z)
    assert "bias" in params["params"] and "bias" not in none["params"]


def test_entropy_is_of_the_net_s_sums():
    """Of tanh(s / 2) it is softplus(-s), with -s's sigmoid as gradient, where a voxel is filled; no p is below 1e-6."""
    s = jnp.linspace(-12, 12, 49).reshape(1, 7, 7, 1, 1)
    cfg = dataclasses.replace(CFG, entropy=True)
    for full in (1, -1):
        of = lambda s, full=full: vaegan3d.again_loss(cfg, jnp.tanh(s / 2), full * jnp.ones_like(s))[0]
        np.testing.assert_allclose(of(s), np.logaddexp(0, -full * np.float64(s)).sum(), rtol=1e-3)
        np.testing.assert_allclose(jax.grad(of)(s), -full * oracle.sigmoid(-full * s), atol=0.02)
        at_most = vaegan3d.again_loss(cfg, jnp.full_like(s, -full), jnp.full_like(s, full))
        np.testing.assert_allclose(at_most, 49 * np.log(1e6), rtol=1e-5)


def test_what_is_measured_of_the_true_solids(monkeypatch):
    """An encoder that knew them would have it all; the nearest picture's solid is better than the mean one."""
    source = data.load("primitives")
    train = {name: jnp.asarray(a[:200]) for name, a in source.whole().items()}
    test = {name: jnp.asarray(a[:16]) for name, a in source.test.whole().items()}
    cfg = dataclasses.replace(vaegan3d.PRESETS["tiny"])
    solids = data.decode({"x": test["x"]})["x"]
    pictures = depth.seen(solids)

    def known(cfg, state, y):
        at = (pictures == y).all((1, 2, 3)).argmax()
        return solids[at][None]

    monkeypatch.setattr(vaegan3d, "reconstruct", known)
    found = vaegan3d.measure(cfg, None, jax.random.key(0), train, test)
    assert found["iou"] == found["precision"] == 1 > found["nearest/iou"] > found["mean/iou"] > 0.2
    assert found["nearest/precision"] > 0.5 and 0.2 < found["mean/precision"] < 1
    np.testing.assert_array_equal(found["solids"].x[0], found["solids"].x[1])
    assert found["pictures"].x.shape == (1, 8, 16, 16, 1)
    assert vaegan3d.measure(cfg, None, jax.random.key(0), {}, test) == {}


@pytest.mark.parametrize("axis", [0, 2])
def test_pictures_of_other_sides(axis):
    """E and G take what is seen along each axis."""
    cfg = dataclasses.replace(vaegan3d.PRESETS["tiny"], axis=axis)
    state = jax.eval_shape(functools.partial(vaegan3d.init, cfg), jax.random.key(0))
    y = jax.ShapeDtypeStruct((2, 16, 16, 1), np.float32)
    assert jax.eval_shape(functools.partial(vaegan3d.reconstruct, cfg), state, y).shape == (2, 16, 16, 16, 1)
