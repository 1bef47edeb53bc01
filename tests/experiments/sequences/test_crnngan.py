"""C-RNN-GAN's step against the paper, tone by tone, its nets' sizes, and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import crnngan
from gan_jax import data
from gan_jax.game import rng

B, T = 2, 3
CFG = dataclasses.replace(
    crnngan.PRESETS["tiny"], dataset="small", length=T, batch_size=B, pretrain=2, width=3, matching="none", frozen=0.9
)
CFG = dataclasses.replace(CFG, g_lr=0.02, d_lr=0.5, clip=0.3, l2=0.01)


@pytest.fixture
def small(monkeypatch):
    """A set of tunes of three tones, of which two count at first."""
    monkeypatch.setattr(crnngan, "LONGER", 2)
    monkeypatch.setattr(data, "tones", lambda name, t: data.Source(name, {"x": data.Field((t, 3), "series")}))


def reader(p, k):
    """Return x [b, i] -> what the upper one of two LSTMs says, of stack k, which go on with each x."""
    state = [(jnp.zeros((B, 3)),) * 2 for _ in range(2)]

    def read(x):
        for j in range(2):
            (c, h), kernel, bias = state[j], p[f"kernel_{j}"][k], p[f"bias_{j}"][k]
            gates = jnp.concatenate([x, h], 1) @ kernel + bias
            enters, forgets, new, leaves = (gates[:, 3 * i : 3 * i + 3] for i in range(4))
            c = oracle.sigmoid(forgets + 1) * c + oracle.sigmoid(enters) * jnp.tanh(new)
            x = oracle.sigmoid(leaves) * jnp.tanh(c)
            state[j] = c, x
        return x

    return read


def written(params, noise, given=None):
    """Return G's tones: each is told the one before, its own or the given one, and before the first noise."""
    (p,) = params.values()
    tones, read = [], reader(p["Cells_0"], 0)
    for t in range(T):
        before = noise[:, 0] if t == 0 else tones[-1] if given is None else given[:, t - 1]
        seen = oracle.dense(p["Dense_0"], jnp.concatenate([noise[:, 1 + t], before], 1))
        tones.append(oracle.dense(p["Dense_1"], read(jnp.where(seen > 0, seen, 0))))
    return tones


def judged(p, tones):
    """Return (the mean of D's probabilities at all tones [b], what it has seen at each)."""
    of = next(part for name, part in p.items() if name != "Dense_0")
    there, back = list(map(reader(of, 0), tones)), list(map(reader(of, 1), tones[::-1]))[::-1]
    seen = [jnp.concatenate(both, 1) for both in zip(there, back, strict=True)]
    return sum(oracle.sigmoid(oracle.dense(p["Dense_0"], one)[:, 0]) for one in seen) / T, seen


def squares(params):
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(params))


def moved(cfg, player, grads, lr):
    """Return the player after a step along the gradient of a loss and of the weights' squares, cut to a norm."""
    grads = jax.tree.map(lambda grad, w: grad + cfg.l2 * w, grads, player.params)
    norm = jnp.sqrt(squares(grads))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1, cfg.clip / norm), grads)
    return oracle.adam(player, grads, lr, cfg.b1) if cfg.adam else oracle.sgd(player, grads, lr)


@functools.partial(jax.jit, static_argnums=(0, 4))
def told(cfg, g, noise, x, counted):
    """G learns to tell the next tone, of as many as count."""

    def loss(params):
        tones = written(params, noise, x)
        return sum(((tones[t] - x[:, t]) ** 2).sum() for t in range(counted)) / (B * counted * 3)

    return moved(cfg, g, jax.grad(loss)(g.params), cfg.g_lr)


@functools.partial(jax.jit, static_argnums=(0,))
def played(cfg, g, d, noise, x):
    """Both learn of the players as they were: D of the real and the made, G of D's answer or of what D has seen."""
    real = [x[:, t] for t in range(T)]

    def losses(params):
        (p, seen), (q, made) = judged(params[1], real), judged(params[1], written(params[0], noise))
        far = lambda a, b: ((a - b) ** 2).sum() / B if cfg.matching == "pairs" else ((a.mean(0) - b.mean(0)) ** 2).sum()
        apart = sum(far(a, b) for a, b in zip(seen, made, strict=True))
        return -(jnp.log(p) + jnp.log(1 - q)).mean(), -jnp.log(q).mean(), apart

    (d_loss, g_loss, _), back = jax.vjp(losses, (g.params, d.params))
    along = lambda i: back(tuple(jnp.eye(3)[i]))[0]  # the gradient of one of them
    to_g, to_d = along(1 if cfg.matching == "none" else 2)[0], along(0)[1]
    return moved(cfg, g, to_g, cfg.g_lr), moved(cfg, d, to_d, cfg.d_lr), g_loss, d_loss


def paper(cfg, start, xs, frozen):
    """The paper's training, and who learned in each step of the game."""
    (g, d), learned = oracle.started(start.g, start.d), []
    for i, x in enumerate(xs):
        noise = rng.uniform(rng.at(start.key, i, "z"), (B, (1 + T) * 3)).reshape(B, 1 + T, 3)
        if i < cfg.pretrain:
            g = told(cfg, g, noise, x, min(T, 2 * (1 + 6 * i // cfg.pretrain)))
            continue
        new_g, new_d, g_loss, d_loss = played(cfg, g, d, noise, x)
        learned.append((bool(g_loss >= frozen * d_loss), bool(d_loss >= frozen * g_loss)))
        g, d = new_g if learned[-1][0] else g, new_d if learned[-1][1] else d
    return [g, d], learned


def check(cfg):
    """Play eight steps and compare; never frozen, it is another game."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(2, 1, (8, B, T, 3))
        start, end, _ = oracle.played(crnngan, cfg, [{"x": x} for x in xs])
        expected, learned = paper(cfg, start, xs, cfg.frozen)
        assert {(False, True), (True, False)} <= set(learned), learned
        oracle.same([end.g, end.d], expected)
        oracle.differ([end.g, end.d], paper(cfg, start, xs, 0)[0])


def test_step_is_the_paper_s(small):
    """Two updates by real tunes, the first of two tones; then six of the game, of which each player misses some."""
    check(CFG)


@pytest.mark.long
@pytest.mark.parametrize("matching", ["means", "pairs"])
def test_matching_by_gradient_descent(small, matching):
    """The same where G matches features, and both descend without moments."""
    check(dataclasses.replace(CFG, matching=matching, adam=False, d_lr=8.0, clip=3.0))


def test_the_published_nets():
    """Two layers of 350 units, and D has two of these; counted layer by layer."""
    cfg = crnngan.PRESETS["paper"]
    assert (cfg.batch_size, cfg.g_lr, cfg.d_lr, cfg.clip, cfg.frozen, cfg.adam) == (20, 0.1, 0.05, 5, 0.7, False)
    state = jax.eval_shape(functools.partial(crnngan.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    lstm = lambda inputs: (inputs + 350) * 4 * 350 + 4 * 350
    assert count(state.g) == 6 * 350 + 350 + 2 * lstm(350) + 350 * 3 + 3
    assert count(state.d) == 2 * (lstm(3) + lstm(350)) + 2 * 350 + 1
    z = crnngan.latent(cfg, jax.random.key(0), 2)
    assert z.shape == (2, 303) and z.min() >= 0 and z.max() < 1
    assert jax.eval_shape(functools.partial(crnngan.generate, cfg), state, z).shape == (2, 100, 3)


def test_what_is_measured_of_held_out_tunes_as_samples(monkeypatch):
    """It is the same of both."""
    cfg = dataclasses.replace(CFG, dataset="ditties", length=8)
    test = {"x": jnp.asarray(data.tones("ditties", 8).test.whole()["x"])}
    monkeypatch.setattr(crnngan, "sample", lambda cfg, state, key, n: test["x"][:n])
    found = crnngan.measure(cfg, None, jax.random.key(0), {}, test)
    assert len(found) == 12 and all(found[name] == found[f"test/{name}"] >= 0 for name in found if "/" not in name)
    assert found["scale"] == 1 and 0 < found["polyphony"] < 1 and crnngan.measure(cfg, None, None, {}, {}) == {}
