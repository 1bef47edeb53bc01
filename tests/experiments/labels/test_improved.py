"""Improved GAN's step against the paper in plain loops, and each of its techniques against its definition."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.labels import improved
from gan_jax.game import rng
from gan_jax.nets import improved as nets

CFG = dataclasses.replace(improved.PRESETS["default"], dataset="digits", batch_size=3, width=2, z_dim=3, lr=1e-2)


def dense(p, x):
    """x [b, i] by columns of length scale."""
    length = jnp.sqrt(jnp.sum(p["v"] ** 2, 0))
    return p["scale"][None] * (x @ p["v"]) / length[None] + p["bias"][None]


def generate(p, z):
    """The G of the paper: batch norm and softplus twice, then pixels by a sigmoid, in [-1, 1]."""
    for i in range(2):
        h = z @ p[f"Dense_{i}"]["kernel"]
        h = (h - h.mean(0)[None]) / jnp.sqrt(h.var(0) + 1e-5)[None] + p[f"BatchNorm_{i}"]["bias"][None]
        z = jnp.log(1 + jnp.exp(h))
    return 2 / (1 + jnp.exp(-dense(p["NormedDense_0"], z))) - 1


def classify(p, x, noise):
    """The D of the paper: (logits, last hidden layer)."""
    x = (x.reshape(len(x), -1) + 1) / 2
    for i in range(6):
        h, std = x, CFG.noise if i else CFG.x_noise
        x, noise = x + std * noise[:, : x.shape[1]], noise[:, x.shape[1] :]
        x = dense(p[f"NormedDense_{i}"], x)
        x = jnp.where(x > 0, x, 0) if i < 5 else x
    return x, h


def adam(player, grads, cfg):
    """(params, m, v, t) after one step of Adam downhill."""
    params, m, v, t = player
    m = jax.tree.map(lambda m, g: cfg.b1 * m + (1 - cfg.b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    move = lambda p, m, v: p - cfg.lr * m / (1 - cfg.b1 ** (t + 1)) / (jnp.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    return jax.tree.map(move, params, m, v), m, v, t + 1


def paper(state, batches, noise, cfg):
    """Section 5 with feature matching: D on three batches, then G."""
    zeros = lambda p: jax.tree.map(jnp.zeros_like, p.params)
    g, d = ((p.params, zeros(p), zeros(p), 0) for p in (state.g, state.d))
    averaged, history = state.d.params, [(state.g.params, state.d.params)]
    distance = lambda p, past: sum(
        jnp.sum((a - sum(b) / len(b)) ** 2) for a, *b in zip(*map(jax.tree.leaves, (p, *past)), strict=True)
    )
    for t, (x, labelled, y) in enumerate(batches):
        z_d, z_g = noise[t, "z"]
        see = lambda p, x, name: classify(p, x, noise[t, name])

        def d_loss(p):
            fake, loss = generate(g[0], z_d).reshape(3, 8, 8, 1), 0.0
            logits, real, made = (see(p, a, b)[0] for a, b in ((labelled, "labelled"), (x, "real"), (fake, "fake")))
            for row in range(3):
                loss -= jnp.log(jnp.exp(logits[row, y[row]]) / jnp.exp(logits[row]).sum())
                z_real, z_made = jnp.exp(real[row]).sum(), jnp.exp(made[row]).sum()
                loss -= 0.5 * (1 - cfg.smooth) * jnp.log(z_real / (z_real + 1))
                loss -= 0.5 * cfg.smooth * jnp.log(1 / (z_real + 1)) + 0.5 * jnp.log(1 / (z_made + 1))
            return loss / 3 + cfg.history * distance(p, [d for _, d in history])

        d = adam(d, jax.grad(d_loss)(d[0]), cfg)
        averaged = jax.tree.map(lambda a, p: cfg.ema * a + (1 - cfg.ema) * p, averaged, d[0])

        def g_loss(p, d=d):
            fake = generate(p, z_g).reshape(3, 8, 8, 1)
            (logits, f), (_, real_f) = see(d[0], fake, "fake again"), see(d[0], x, "real again")
            loss = cfg.matching * jnp.mean((f.mean(0) - real_f.mean(0)) ** 2)
            z = jnp.exp(logits).sum(1)
            loss -= cfg.adversarial * jnp.log(z / (z + 1)).mean()
            return loss + cfg.history * distance(p, [g for g, _ in history])

        g = adam(g, jax.grad(g_loss)(g[0]), cfg)
        history.append((g[0], d[0]))
    return g[0], d[0], averaged


def test_step_is_the_paper_s():
    """Two steps equal the paper's in float64, techniques included; with D's noise used again they would not."""
    cfg = dataclasses.replace(CFG, adversarial=0.5, smooth=0.1, history=0.2)
    with jax.enable_x64(True):
        state = jax.jit(functools.partial(improved.init, cfg))(jax.random.key(0))
        state = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, state)
        random = np.random.default_rng(0)
        batches = [
            (*random.uniform(-1, 1, (2, 3, 8, 8, 1)), random.integers(0, 10, 3).astype(np.int32)) for _ in range(2)
        ]
        noise = {(t, "z"): jax.random.uniform(rng.at(state.key, t, "z"), (2, 3, cfg.z_dim)) for t in range(2)}
        for t, name in itertools.product(range(2), ("labelled", "real", "fake", "real again", "fake again")):
            noise[t, name] = jax.random.normal(rng.at(state.key, t, name), (3, 64 + 9 * cfg.width))
        now, step = state, jax.jit(functools.partial(improved.step, cfg))
        for x, labelled, y in batches:
            batch = {"x": {"x": x, "y": y}, "labelled": {"x": labelled, "y": y}}
            now, _ = step(now, batch)
        found = now.g.params, now.d.params, now.d_ema
        close = functools.partial(chex.assert_trees_all_close, found, rtol=1e-9, atol=1e-12)
        algorithm = jax.jit(functools.partial(paper, cfg=cfg))
        close(algorithm(state, batches, noise))
        with pytest.raises(AssertionError):
            close(algorithm(state, batches, noise | {(t, "fake again"): noise[t, "fake"] for t in range(2)}))


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
    assert state.g.stats == {} and improved.fixed(cfg, state).shape == (4, 3)
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
