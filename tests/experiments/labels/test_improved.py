"""Improved GAN's step against the paper in plain loops, and each of its techniques against its definition."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments.labels import improved
from gan_jax.game import rng
from gan_jax.nets import improved as nets

CFG = dataclasses.replace(improved.PRESETS["default"], dataset="digits", batch_size=3, width=2, z_dim=3, lr=1e-2)


def dense(p, x):
    """x [b, i] by columns of length scale."""
    length = jnp.sqrt(jnp.sum(p["v"] ** 2, 0))
    return p["scale"][None] * (x @ p["v"]) / length[None] + p["bias"][None]


def generate(p, stats, z):
    """Batch norm and softplus twice, then pixels by a sigmoid, in [-1, 1]; and the new statistics."""
    new = {}
    for name in ("BatchNorm_0", "BatchNorm_1"):
        h = z @ p[name.replace("BatchNorm", "Dense")]["kernel"]
        h, new[name] = oracle.batch_norm(p[name], stats["batch_stats"][name], h)
        z = jnp.log(1 + jnp.exp(h))
    return 2 / (1 + jnp.exp(-dense(p["NormedDense_0"], z))) - 1, {"batch_stats": new}


def classify(p, x, noise):
    """The D of the paper: (logits, last hidden layer)."""
    x = (x.reshape(len(x), -1) + 1) / 2
    for i in range(6):
        h, std = x, CFG.noise if i else CFG.x_noise
        x, noise = x + std * noise[:, : x.shape[1]], noise[:, x.shape[1] :]
        x = dense(p[f"NormedDense_{i}"], x)
        x = jnp.where(x > 0, x, 0) if i < 5 else x
    return x, h


def distance(p, total, t):
    """The squared distance of parameters from their mean over the past, t + 1 of them in all."""
    return sum(jnp.sum((a - s / (t + 1)) ** 2) for a, s in zip(*map(jax.tree.leaves, (p, total)), strict=True))


@functools.partial(jax.jit, static_argnames="cfg")
def paper(g, d, averaged, past, t, zs, noise, x, labelled, y, cfg):
    """Section 5 with feature matching: D on three batches, then G; past: the sums of G's and of D's parameters."""
    see = lambda p, x, name: classify(p, x, noise[name])

    def d_loss(p):
        fake, loss = generate(g.params, g.stats, zs[0])[0], 0.0
        logits, real, made = (see(p, a, b)[0] for a, b in ((labelled, "labelled"), (x, "real"), (fake, "fake")))
        for row in range(3):
            loss -= jnp.log(jnp.exp(logits[row, y[row]]) / jnp.exp(logits[row]).sum())
            z_real, z_made = jnp.exp(real[row]).sum(), jnp.exp(made[row]).sum()
            loss -= 0.5 * (1 - cfg.smooth) * jnp.log(z_real / (z_real + 1))
            loss -= 0.5 * cfg.smooth * jnp.log(1 / (z_real + 1)) + 0.5 * jnp.log(1 / (z_made + 1))
        return loss / 3 + cfg.history * distance(p, past[1], t), {}

    d = oracle.moved(oracle.adam, d, d_loss, cfg.lr, cfg.b1)

    def g_loss(p):
        fake, stats = generate(p, g.stats, zs[1])
        (logits, f), (_, real_f) = see(d.params, fake, "fake again"), see(d.params, x, "real again")
        loss = cfg.matching * jnp.mean((f.mean(0) - real_f.mean(0)) ** 2)
        z = jnp.exp(logits).sum(1)
        loss -= cfg.adversarial * jnp.log(z / (z + 1)).mean()
        return loss + cfg.history * distance(p, past[0], t), stats

    g = oracle.moved(oracle.adam, g, g_loss, cfg.lr, cfg.b1)
    return g, d, oracle.averaged(averaged, d.params, cfg.ema), jax.tree.map(jnp.add, past, (g.params, d.params))


def test_step_is_the_paper_s():
    """Two steps equal the paper's in float64, techniques included; with D's noise used again they would not."""
    cfg = dataclasses.replace(CFG, adversarial=0.5, smooth=0.1, history=0.2)
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        batches = [
            (*random.uniform(-1, 1, (2, 3, 8, 8, 1)), random.integers(0, 10, 3).astype(np.int32)) for _ in range(2)
        ]
        given = [{"x": {"x": x, "y": y}, "labelled": {"x": labelled, "y": y}} for x, labelled, y in batches]
        start, end, _ = oracle.played(improved, cfg, given)

        def theirs(**heard):
            first = start.g.params, start.d.params
            players = *oracle.started(start.g, start.d), start.d.params, first
            for t, batch in enumerate(batches):
                key = functools.partial(rng.at, start.key, t)
                names = {name: name for name in ("labelled", "real", "fake", "real again", "fake again")} | heard
                noise = {name: jax.random.normal(key(of), (3, 64 + 9 * cfg.width)) for name, of in names.items()}
                zs = rng.uniform(key("z"), (2, 3, cfg.z_dim))
                players = paper(*players, float(t), zs, noise, *batch, cfg)
            *players, sums = players
            return tuple(players), jax.tree.map(lambda s: s / 3, sums)

        ours, (players, means) = (end.g, end.d, end.d_ema), theirs()
        oracle.same(ours, players)
        oracle.same(end.means, means, rtol=1e-6, atol=1e-8)  # their weight, made of the step, has 32 bits
        oracle.differ(ours, theirs(**{"fake again": "fake"})[0])


def test_minibatch_discrimination_adds_the_nearness_of_the_others():
    """Row by row the sum over the others of exp(-L1); a batch of equal rows has b - 1 everywhere."""
    layer, x = nets.MinibatchDiscrimination(4, 3), jax.random.normal(jax.random.key(0), (5, 6))
    out, variables = layer.init_with_output(jax.random.key(1), x)
    m = [jnp.einsum("i,ikd->kd", row, variables["params"]["t"]) for row in x]
    want = [sum(jnp.exp(-jnp.abs(a - b).sum(1)) for j, b in enumerate(m) if j != i) for i, a in enumerate(m)]
    np.testing.assert_allclose(out, np.concatenate([x, want], 1), rtol=1e-5)
    np.testing.assert_allclose(layer.apply(variables, jnp.ones((5, 6)))[:, 6:], 4.0, rtol=1e-6)


def test_virtual_batch_norm_takes_each_row_with_the_reference():
    """A row's output is that of batch norm over the reference and the row, and does not depend on other rows."""
    layer = nets.VirtualBatchNorm()
    x, reference = jax.random.normal(jax.random.key(0), (4, 3)), 2 + jax.random.normal(jax.random.key(1), (7, 3))
    (out, out_reference), variables = layer.init_with_output(jax.random.key(2), x, reference)
    for i in range(4):
        whole = np.concatenate([reference, x[i : i + 1]])
        np.testing.assert_allclose(out[i], ((whole - whole.mean(0)) / np.sqrt(whole.var(0) + 1e-5))[-1], atol=1e-5)
    np.testing.assert_allclose(out[1:2], layer.apply(variables, x[1:2], reference)[0], atol=1e-6)
    np.testing.assert_allclose(out_reference.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out_reference.std(0), 1, atol=1e-3)


def test_every_technique_trains_and_is_measured():
    """With everything switched on a step is finite, samples don't hang on their number, and errors are counted."""
    cfg = dataclasses.replace(CFG, kernels=3, reference=4, history=0.1, smooth=0.1, adversarial=1.0)
    state = jax.jit(functools.partial(improved.init, cfg))(jax.random.key(0))
    x, y = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 1), np.uint8), np.arange(7, dtype=np.int32)
    part = {"x": x[:3] / np.float32(127.5) - 1, "y": y[:3]}
    state, metrics = jax.jit(functools.partial(improved.step, cfg))(state, {"x": part, "labelled": part})
    chex.assert_tree_all_finite((state.g, state.d, state.means, metrics))
    assert state.g.stats == {} and improved.reference_batch(cfg, state).shape == (4, 3)
    test = {"x": {"x": x, "y": y}, "labelled": {"x": x, "y": y}}
    errors = improved.measure(dataclasses.replace(cfg, kernels=0), state._replace(d_ema=plain(state)), None, None, test)
    D = improved.build(dataclasses.replace(cfg, kernels=0))[1]
    logits, _ = D.apply({"params": plain(state)}, x / np.float32(127.5) - 1, train=False)
    assert errors["test/errors"] == (logits.argmax(1) != y).sum()
    assert 0 <= improved.measure(cfg, state, None, None, test)["test/errors"] <= 7


def plain(state):
    """D's parameters without minibatch discrimination."""
    p = dict(state.d.params)
    p.pop("MinibatchDiscrimination_0")
    return p | {"NormedDense_5": p["NormedDense_5"] | {"v": p["NormedDense_5"]["v"][:2]}}
