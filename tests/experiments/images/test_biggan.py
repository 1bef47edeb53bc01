"""BigGAN's step against its formulas in plain loops: a latent in parts, orthogonal filters, an average; truncation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import resnets

from experiments.images import biggan
from gan_jax import data
from gan_jax.game import rng

B, N, CLASSES, SHAPE = 3, 1, 3, (8, 8, 1)  # rows of an update, updates of D
CFG = dataclasses.replace(
    biggan.PRESETS["tiny"], dataset="small", batch_size=B, d_steps=N, width=1, g_lr=1e-2, d_lr=2e-2, ortho=0.1
)


@pytest.fixture
def small(monkeypatch):
    """A set of 8x8 images of three classes."""
    fields = {"x": data.Field(SHAPE, "image"), "y": data.label(CLASSES)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))


def G(p, stats, z, y):
    return resnets.G(p, stats, z, y, SHAPE, CLASSES, spectral=True, attentive=True, shared=True)


def D(p, stats, x, y):
    return resnets.D(p, stats, x, y, CLASSES, 1, attentive=True)


def orthogonality(params):
    """Of all but the embedding: the squared products of all pairs of filters, without those of one with itself."""
    total = 0.0
    for path, w in jax.tree_util.tree_leaves_with_path(params):
        if w.ndim > 1 and "shared" not in str(path):
            w = w.reshape(-1, w.shape[-1])
            total += jnp.sum((w @ w.T) ** 2) - jnp.sum(jnp.sum(w**2, 0) ** 2)  # |W W^T|^2 = |W^T W|^2
    return total


@jax.jit
def paper(g, d, average, t, x, y, zs, asked, beta):
    """N updates of D, then one of G with its penalty, then its average, which begins after some steps."""
    for i in range(N):
        fake, _ = G(g.params, g.stats, zs[i], asked[i])

        def d_loss(w, d=d, fake=fake, i=i):
            (real, stats), (made, _) = D(w, d.stats, x[i::N], y[i::N]), D(w, d.stats, fake, asked[i])
            return -sum(
                jnp.minimum(0, r - 1) + jnp.minimum(0, -1 - f) for r, f in zip(real, made, strict=True)
            ) / B, stats

        d = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1, b2=CFG.b2)

    def g_loss(theta):
        fake, stats = G(theta, g.stats, zs[N], asked[N])
        return -sum(D(d.params, d.stats, fake, asked[N])[0]) / B + beta * orthogonality(theta), stats

    g = oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1, b2=CFG.b2)
    new = g.params, g.stats
    average = jax.tree.map(lambda a, b: jnp.where(t < CFG.ema_start, b, a), oracle.averaged(average, new, CFG.ema), new)
    return g, d, average


def drawn(key, t):
    """Return all noises and labels of step t."""
    zs, asked = [], []
    for i in range(N + 1):
        noise, which = jax.random.split(jax.random.fold_in(rng.at(key, t, "z"), i))
        zs.append(rng.normal(noise, (B, 2 * CFG.part)))  # a block, and what is before it
        asked.append(jax.random.randint(which, (B,), 0, CLASSES, jnp.int32))
    return zs, asked


def test_step_is_the_paper_s(small):
    """Two steps equal the formulas in float64, the average too; with half of the penalty they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (2, B * N, *SHAPE))
        ys = np.random.default_rng(1).integers(0, CLASSES, (2, B * N)).astype(np.int32)
        start, end, _ = oracle.played(biggan, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(beta):
            parts = *oracle.started(start.g, start.d), start.g_ema
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                parts = paper(*parts, t, x, y, *drawn(start.key, t), beta)
            return list(parts)

        oracle.same([end.g, end.d, end.g_ema], theirs(CFG.ortho), rtol=1e-7)
        oracle.differ([end.g, end.d, end.g_ema], theirs(CFG.ortho / 2), rtol=1e-7)


def test_the_preset_paper(monkeypatch):
    """StudioGAN's numbers, and the sizes of its nets; G's blocks lack its biases, three times c each."""
    cfg = biggan.PRESETS["paper"]
    assert (cfg.batch_size, cfg.d_steps, cfg.steps) == (64, 5, 100_000)
    assert (cfg.g_lr, cfg.d_lr, cfg.b1, cfg.b2) == (2e-4, 2e-4, 0.5, 0.999)
    assert (cfg.ortho, cfg.ema, cfg.ema_start) == (1e-4, 0.9999, 1000)
    g, d = resnets.sizes(biggan, monkeypatch, 80)
    assert g == resnets.g_size(384, 20, 148, 10 * 128) + resnets.attention_size(384) == 9_416_196 - 9 * 384
    assert d == resnets.d_size(192, 10) + resnets.attention_size(192) == 2_415_170


def test_filters_that_are_orthogonal():
    """Cost nothing at any length; the embedding and what is no weight cost nothing at all."""
    found = lambda **params: float(biggan.orthogonality(params))
    assert found(a={"kernel": 3 * jnp.eye(4)}, shared={"kernel": jnp.ones((4, 4))}, b={"bias": jnp.ones(3)}) == 0
    w = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    expected = sum((w[..., i] * w[..., j]).sum() ** 2 for i, j in pairs)
    np.testing.assert_allclose(found(a={"kernel": jnp.float32(w)}), expected, rtol=1e-5)
    np.testing.assert_allclose(orthogonality({"a": {"kernel": jnp.float32(w)}}), expected, rtol=1e-5)


def test_samples_are_drawn_within_the_truncation(small):
    """All of the noise, of each part, is nearer to 0 than `truncation`, and without one it is as in training."""
    cut = dataclasses.replace(CFG, truncation=0.5)
    z, y = (biggan.latent(cut, jax.random.key(0), 200)[name] for name in "zy")
    assert z.shape == (200, 2 * CFG.part) and 0.45 < jnp.abs(z).max() <= 0.5 and set(y.tolist()) == {0, 1, 2}
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(biggan, "generate", lambda cfg, state, z: seen.append(z["z"]))
        for cut in (0.0, 0.1):
            biggan.sample(dataclasses.replace(CFG, truncation=cut), None, jax.random.key(0), 200)
    assert jnp.abs(seen[0]).max() > 2 and jnp.abs(seen[1]).max() <= 0.1


def test_measure_tries_every_cut(monkeypatch):
    """With a G that writes its label unless its noise is far from 0, the judge agrees the more the more is cut."""
    written = lambda cfg, state, z: jnp.broadcast_to(
        (jnp.where(jnp.abs(z["z"]).max(1) > 0.9, 0, z["y"]) / 10)[:, None, None, None], (z["y"].size, 8, 8, 1)
    )
    monkeypatch.setattr(biggan, "generate", written)
    read = lambda x: jax.nn.one_hot(jnp.round(x[:, 0, 0, 0] * 10).astype(int), 10)
    monkeypatch.setattr(biggan.classifier, "load", lambda name: read)
    found = biggan.measure(biggan.PRESETS["tiny"], None, jax.random.key(0), {}, {"y": jnp.arange(10)})
    assert found["agreement"] < found["agreement/1.0"] < found["agreement/0.5"] == 1
    assert found["deviation"] > 0.01 and found["deviation/0.5"] < 1e-6
    assert found["each_label"].x.shape == (10, 12, 8, 8, 1) and len(found["each_label"].columns) == 12
