"""FGSM and PGD pixel by pixel, the saddle point's update, and what is measured, on perceptrons; and both nets."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.labels import adversarial_examples as module
from gan_jax.game import rng
from gan_jax.nets import mlp, robust

TINY = module.PRESETS["tiny"]
CFG = dataclasses.replace(TINY, eps=0.2, attack_steps=3, attack_size=0.1, start=0.5, clean=0.25, lr=2**-7, rise=0.5)
CFG = dataclasses.replace(CFG, steps=4)


@pytest.fixture
def perceptrons(monkeypatch):
    """Put perceptrons in the place of the convolutional nets."""
    monkeypatch.setattr(robust, "Classifier", lambda *shape: mlp.G((10,), 4, 1))
    monkeypatch.setattr(robust, "Detector", lambda *shape: mlp.D(4, 1))


def log_p(w, x, y):
    logits = oracle.mlp(w, x.ravel(), 1)
    return logits[y] - jnp.log(jnp.exp(logits).sum())


up = jax.jit(lambda w, x, y: jnp.sign(jax.grad(lambda x: -log_p(w, x, y))(x)))


def pgd(w, x, y, away, eps, size, steps):
    """One picture: steps uphill, each cut back pixel by pixel, on the scale from 0 to 1."""
    unit = np.asarray((x + 1) / 2)
    at = unit + np.asarray(away) / 2
    for _ in range(steps):
        at = at + size * np.asarray(up(w, 2 * at - 1, y))
        at = np.minimum(np.maximum(at, unit - eps), unit + eps)
        at = np.minimum(np.maximum(at, 0), 1)
    return 2 * at - 1


@jax.jit
def updated(c, r, d, x, y, of_c, of_r, lr):
    """One update of each net, row by row."""
    error = lambda w, x: -sum(log_p(w, one, k) for one, k in zip(x, y, strict=True)) / len(x)
    tell = lambda w, x: oracle.sigmoid(oracle.mlp(w, x.ravel(), 1)[0])
    own = lambda w: -sum(jnp.log(tell(w, a)) + jnp.log(1 - tell(w, b)) for a, b in zip(x, of_c, strict=True)) / len(x)
    trained = lambda w: CFG.clean * error(w, x) + (1 - CFG.clean) * error(w, of_r)
    plain = lambda w: error(w, x)
    return [oracle.adam(p, jax.grad(loss)(p.params), lr) for p, loss in ((c, plain), (r, trained), (d, own))]


def test_step_is_the_papers(perceptrons):
    """Three of four updates in float64, the rate rising, then falling; with the wrong net's examples they are not."""
    generator = np.random.default_rng(0)
    xs, ys = generator.uniform(-1, 1, (3, 2, 8, 8, 1)), generator.integers(0, 10, (3, 2))
    with jax.enable_x64(True):
        start, end, _ = oracle.played(module, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(of="r", eps=CFG.eps):
            players = oracle.started(start.c, start.r, start.d)
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                away = jax.random.uniform(rng.at(start.key, t, "away"), x.shape, minval=-1.0, maxval=1.0)
                away = 2 * CFG.eps * CFG.start * away
                example = lambda w, x=x, y=y, away=away: jnp.stack(
                    [pgd(w, *row, eps, CFG.attack_size, 3) for row in zip(x, y, away, strict=True)]
                )
                seen = {"c": players[0].params, "r": players[1].params}
                players = updated(*players, x, y, example(seen["c"]), example(seen[of]), CFG.lr * (0.5, 1, 0.5)[t])
            return players

        oracle.same([end.c, end.r, end.d], theirs())
        oracle.differ([end.c, end.r, end.d], theirs(of="c"))
        oracle.differ([end.c, end.r, end.d], theirs(eps=CFG.eps + 0.02))


def test_examples_of_a_linear_classifier():
    """Two classes whose error rises with the sum of pixels times +-1: both attacks end in the worst corner of the box."""
    sign = np.float32(np.random.default_rng(0).choice([-1, 1], (4, 4, 1)))
    net = lambda params, stats, x: jnp.stack([(x * sign[None]).sum((1, 2, 3)), jnp.zeros(len(x))], 1)
    x = np.float32(np.random.default_rng(1).uniform(-1, 1, (6, 4, 4, 1)))
    worst = lambda y: np.clip(x + 2 * 0.1 * (1 - 2 * (y == 0)) * sign, -1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "forward", lambda C, params, stats, x: (net(params, stats, x), stats))
        for y in (0, 1):
            given = None, None, x, jnp.full(6, y)
            away = 0.2 * np.float32(np.random.default_rng(2).uniform(-1, 1, x.shape))
            np.testing.assert_allclose(module.attacked(*given, 0.1, 0.1, 1), worst(y), atol=1e-6)  # FGSM
            np.testing.assert_allclose(module.attacked(*given, 0.1, 0.02, 10, away), worst(y), atol=1e-6)
            one = module.attacked(*given, 0.1, 0.02, 1)
            np.testing.assert_allclose(one, np.clip(x + 0.04 * (1 if y else -1) * sign, -1, 1), atol=1e-6)


def test_what_is_measured(perceptrons):
    """Accuracies are those of the nets asked one by one, on examples within eps; the AUROC that of the pairs."""
    state = jax.jit(functools.partial(module.init, CFG))(jax.random.key(0))
    generator = np.random.default_rng(3)
    test = {"x": generator.integers(0, 256, (60, 8, 8, 1), np.uint8), "y": generator.integers(0, 10, 60)}
    test["y"][:5] = -1
    cfg = dataclasses.replace(CFG, tested=40)
    found = jax.jit(functools.partial(module.measure, cfg))(state, jax.random.key(1), {}, test)
    x, y = np.float32(test["x"][:40] / 127.5 - 1), test["y"][:40]
    said = lambda w, x: np.asarray(oracle.mlp(w, x.reshape(len(x), -1), 1).argmax(1))
    score = lambda x: np.asarray(oracle.mlp(state.d.params, x.reshape(len(x), -1), 1)[:, 0])
    none = np.zeros_like(x[0])
    for name, player in (("plain", state.c), ("trained", state.r)):
        fgsm = np.stack([pgd(player.params, *row, none, 0.2, 0.2, 1) for row in zip(x, y, strict=True)])
        for kind, pictures in (("clean", x), ("fgsm", fgsm)):
            right = (said(player.params, pictures) == y)[5:].mean()
            np.testing.assert_allclose(found[f"{name}/{kind}"], right, atol=1e-6)
        if name == "plain":
            pairs = score(x)[:, None] - score(fgsm)[None]
            np.testing.assert_allclose(
                found["auroc/fgsm"], (pairs > 1e-6).mean() + (np.abs(pairs) < 1e-6).mean() / 2, atol=2e-3
            )
    examples = found["examples"].x
    np.testing.assert_allclose(examples[0], x[:12], atol=1e-6)
    assert 0.1 < np.abs(examples[1] - x[:12]).max() <= 0.4 + 1e-6 and np.abs(examples).max() <= 1
    assert found["plain/pgd"] <= found["plain/clean"] and examples.shape == (4, 12, 8, 8, 1)


def convolved(x, kernel, around, apart):
    """x [n, n, c] with zeros around it, under the kernel at every place, or at every second."""
    x, k, places = np.pad(x, (around, around, (0, 0))), len(kernel), range(0, len(x), apart)
    return np.array([[np.einsum("ijc,ijco->o", x[a : a + k, b : b + k], kernel) for b in places] for a in places])


@pytest.mark.parametrize("strided", [False, True])
def test_nets(strided):
    """Weights by their papers' tables; what they make of a picture is what plain convolutions and maxima make of it."""
    count = lambda net: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1))))
    )
    cfg = module.PRESETS["paper"]
    table = 25 * 32 + 32 + 25 * 32 * 64 + 64 + (7 * 7 * 64 + 1) * 1024
    assert count(robust.Classifier(10, cfg.width, cfg.hidden)) == table + 1025 * 10 == 3_274_634
    assert count(robust.Detector(cfg.width, cfg.hidden)) == table + 1025
    assert (cfg.eps, cfg.attack_steps, cfg.attack_size, cfg.lr, cfg.steps) == (0.3, 40, 0.01, 1e-4, 100_000)
    fast = module.PRESETS["default"]
    table = 16 * 16 + 16 + 16 * 16 * 32 + 32 + (7 * 7 * 32 + 1) * 100
    assert count(robust.Classifier(10, fast.width, fast.hidden, fast.strided)) == table + 101 * 10 == 166_406
    assert (fast.eps, fast.attack_steps, fast.attack_size, fast.start, fast.lr) == (0.3, 1, 0.375, 1, 5e-3)
    net, x = robust.Classifier(3, 2, 4, strided), np.float32(np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 1)))
    params = jax.jit(net.init)(jax.random.key(1), x)["params"]
    h = (x[0] + 1) / 2
    for i, half in enumerate((4, 2)):
        kernel, bias = (np.asarray(params[f"Conv_{i}"][part]) for part in ("kernel", "bias"))
        h = np.maximum(convolved(h, kernel, *(((1, 1), 2) if strided else ((2, 2), 1))) + bias, 0)
        h = h if strided else h.reshape(half, 2, half, 2, -1).max((1, 3))
    logits = oracle.perceptron([params["Dense_0"], params["Dense_1"]], h.ravel())
    np.testing.assert_allclose(net.apply({"params": params}, x)[0], logits, atol=1e-5)
