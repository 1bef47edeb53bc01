"""GAT's step against the authors' formulas in plain loops; presets, rates, samples. The nets' own tests: tests/nets."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import gat
from gan_jax import data
from gan_jax.game import rng, staged

B, CLASSES, SHAPE, PATCH, SIZE = 4, 3, (4, 6, 2), 2, 8  # 2x3 tokens, heads of 8 channels
CFG = dataclasses.replace(
    gat.PRESETS["tiny"], dataset="small", batch_size=B, patch=PATCH, width=2 * SIZE, lr=1e-3, lr_width=768, clip=0.5, gamma=3.0, augment=True, w_decay=0.7,
    ema=0.6,
)  # fmt: skip
PLACES = [(i, j) for i in range(2) for j in range(3)]


@pytest.fixture
def small(monkeypatch):
    """A set of 4x6 images of three classes."""
    fields = {"x": data.Field(SHAPE, "image"), "y": data.label(CLASSES)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))


def normal(x, eps=1e-6):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + eps)


silu = lambda x: x * oracle.sigmoid(x)
row = lambda a, x: a.reshape((1,) * (x.ndim - 1) + (-1,))


def spun(x, places):
    """Pairs of neighbours as complex numbers: the first half of them turn with the row, the others with the column."""
    z = x[..., ::2] + 1j * x[..., 1::2]  # [b, tokens, 4]
    angles = np.array([[at / 10_000 ** (i / 2) for at in place for i in range(2)] for place in places])
    z = z * jnp.exp(1j * angles)[None]
    return jnp.stack([z.real, z.imag], -1).reshape(x.shape)


def attention(p, x, places):
    q, k, v = jnp.split(oracle.dense(p["qkv"], x), 3, -1)
    heads = []
    for h in range(2):
        of = lambda a, h=h: a[..., h * SIZE : (h + 1) * SIZE]
        q_h, k_h = (spun(normal(of(a), 2**-23) * row(p[n]["scale"], a), places) for n, a in (("q", q), ("k", k)))
        e = jnp.exp(q_h @ k_h.swapaxes(1, 2) / math.sqrt(SIZE))  # [b, tokens, tokens]
        heads.append(e / e.sum(-1, keepdims=True) @ of(v))
    return oracle.dense(p["out"], jnp.concatenate(heads, -1))


def block(p, x, places, scale, gate, next_scale, next_gate):
    x = x + gate * attention(p["Attention_0"], scale * normal(x), places)
    a, b = jnp.split(oracle.dense(p["Gated_0"]["in"], next_scale * normal(x)), 2, -1)
    return x + next_gate * oracle.dense(p["Gated_0"]["out"], silu(a) * b)


def sinusoids(x):
    """The place of each token: the column's sines and cosines, then the row's."""
    rates = [10_000 ** (-i / 4) for i in range(4)]
    of = lambda at: [f(at * r) for f in (math.sin, math.cos) for r in rates]
    return jnp.asarray(np.array([of(j) + of(i) for i, j in PLACES]), x.dtype)[None]


def slowly(p, x):
    return x @ (0.01 * p["kernel"]) + row(0.01 * p["bias"], x)


def G(p, z, y):
    """(The two pictures, the style): the second one is added to the first."""
    m, s = p["mapping"], p["synthesis"]
    c = jnp.concatenate([normal(m["Embed_0"]["embedding"][y], 1e-8), normal(z, 1e-8)], 1)
    w = slowly(m["Slow_1"], silu(slowly(m["Slow_0"], c)))
    style = silu(w)[:, None]
    x, picture, pictures = jnp.repeat(sinusoids(w), B, 0), jnp.zeros((B, *SHAPE), w.dtype), []
    for i in range(2):
        of, drawing = (jax.tree.map(lambda a, i=i: a[i], s[name]) for name in ("blocks", "drawings"))
        a, b, c, d = jnp.split(oracle.dense(of["style"], style), 4, -1)
        x = block(of["block"], x, PLACES, 1 + a, b, 1 + c, d)
        tokens = oracle.dense(drawing["pixels"], (1 + oracle.dense(drawing["style"], style)) * normal(x))
        for t, (r, q) in enumerate(PLACES):
            patch = tokens[:, t].reshape(B, PATCH, PATCH, SHAPE[2])
            picture = picture.at[:, 2 * r : 2 * r + 2, 2 * q : 2 * q + 2].add(patch)
        pictures.append(picture)
    return pictures, w


def D(p, pictures, y):
    x = jnp.stack(pictures, 1)
    tokens = jnp.stack([x[:, :, 2 * r : 2 * r + 2, 2 * q : 2 * q + 2].reshape(B, -1) for r, q in PLACES], 1)
    x = oracle.dense(p["patches"], tokens) + sinusoids(tokens)
    x = jnp.concatenate([jnp.repeat(p["first"], B, 0), x], 1)
    for i in range(2):
        of = jax.tree.map(lambda a, i=i: a[i], p["blocks"])
        scales = (of[name] for name in ("scale", "gate", "next_scale", "next_gate"))
        x = block(of["block"], x, [(0, 0), *PLACES], *scales)
    seen = oracle.dense(p["features"], normal(x[:, 0]) * row(p["norm"]["scale"], x[:, 0]))
    label = slowly(p["Slow_1"], silu(slowly(p["Slow_0"], p["Embed_0"]["embedding"][y])))
    return (seen * label).sum(1)


def noised(pictures, noise, joined):
    """The authors' recursion, from the last picture to the first; not joined: each by its own noise alone."""
    made, carried, before = [], 0, 0
    for k in (1, 0):
        t = 1 - 0.125 ** (1 - k) + 0.01
        decay = (1 - t) / (1 - before) * joined
        carried = carried * decay + jnp.sqrt(t**2 - (before * decay) ** 2) * noise[:, k]
        made, before = [(1 - t) * pictures[k] + carried, *made], t
    return made


@jax.jit
def paper(g, d, average, mean, x, y, root, t, joined, relativistic, narrow):
    """An iteration of the authors' loop: D against fresh fakes, G against the new D, its averages."""
    key = lambda name: rng.at(root, t, name)
    noise = lambda name, *shape: rng.normal(key(name), shape)

    def shown(name, pictures):
        brighter = rng.uniform(key(f"change of {name}"), (1, B, 1, 1, 1))
        pictures = jnp.stack(pictures) + brighter
        return jnp.stack(noised(pictures, noise(f"noise of {name}", B, 2, *SHAPE), joined))

    z = noise("z", 2, B, CFG.z_dim)

    def moved(player, loss):  # Adam without a first moment, of a gradient whose norm is at most 0.5
        grads, more = jax.grad(loss, has_aux=True)(player.params)
        norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda leaf: leaf * jnp.minimum(1, 0.5 / norm), grads)
        return oracle.adam(player, grads, 1e-3 * jnp.where(narrow, 768 / 16, 1), 0.0, 0.99), more

    fakes, _ = G(g.params, z[0], y)
    moves, near_x = noise("near fakes", B, 2, *SHAPE), x + 0.01 * noise("near reals", B, *SHAPE)
    near_fakes = [fake + 0.01 * moves[:, k] for k, fake in enumerate(fakes)]

    def d_loss(p):
        of = shown("reals", [x, x]), shown("fakes", fakes), shown("reals", [near_x] * 2), shown("fakes", near_fakes)
        real, made, near_real, near_made = jax.vmap(lambda pictures: D(p, pictures, y))(jnp.stack(of))
        steep = ((real - near_real) / 0.01) ** 2 + ((made - near_made) / 0.01) ** 2
        alone = -jnp.log(oracle.sigmoid(real)) - jnp.log(1 - oracle.sigmoid(made))
        told = jnp.where(relativistic, jnp.log(1 + jnp.exp(made - real)), alone)
        return (told + 3 / 2 * steep).mean(), None

    d, _ = moved(d, d_loss)

    def g_loss(p):
        fakes, w = G(p, z[1], y)
        of = shown("g's reals", [x, x]), shown("g's fakes", fakes)
        real, made = jax.vmap(lambda pictures: D(d.params, pictures, y))(jnp.stack(of))
        return jnp.log(1 + jnp.exp(real - made)).mean(), w

    g, w = moved(g, g_loss)
    for label in range(CLASSES):
        count = (y == label).sum()
        of_label = jnp.where((y == label)[:, None], w, 0).sum(0) / jnp.maximum(count, 1)
        mean = mean.at[label].set(jnp.where(count > 0, 0.7 * mean[label] + 0.3 * of_label, mean[label]))
    return g, d, oracle.averaged(average, g.params, 0.6), mean


def test_step_is_the_paper_s(small, monkeypatch):
    """Three steps, with the averages; with noises that are not joined, scores alone or another rate they differ.

    In the place of DiffAugment's changes, which are tested by themselves, each row becomes brighter.
    """
    brighter = lambda key, x: x + rng.uniform(key, (B, 1, 1, 1, 1))
    monkeypatch.setattr(staged, "changed", brighter)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (3, B, *SHAPE))
        ys = np.array([[0, 2, 2, 0], [1, 1, 2, 0], [0, 0, 0, 0]], np.int32)
        start, end, _ = oracle.played(gat, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])
        found = [end.g, end.d, end.g_ema, end.w_mean]

        def theirs(joined=True, relativistic=True, narrow=True):
            at = [*oracle.started(start.g, start.d), start.g_ema, start.w_mean]
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                at = paper(*at, x, y, start.key, t, joined, relativistic, narrow)
            return list(at)

        oracle.same(found, theirs(), rtol=1e-7, atol=1e-9)
        for planted in ("joined", "relativistic", "narrow"):
            oracle.differ(found, theirs(**{planted: False}), rtol=1e-7, atol=1e-9)


def g_size(width, depth, classes, colours, z=64, stages=4):
    """G's parameters by hand: labels and mapping; blocks with their styles; what draws the pictures."""
    mapping = classes * z + 2 * z * width + width + width * width + width
    return mapping + depth * (block_size(width) + 4 * (width * width + width)) + stages * (
        width * width + width + width * colours + colours
    )  # fmt: skip


def block_size(width):
    """Queries, keys, values, the norms of a head, what follows them; the gated perceptron, of 8 / 3 of the width."""
    hidden, heads = 8 * width // 3, {384: 6, 768: 12}.get(width, 16)
    attention = 3 * (width * width + width) + 2 * (width // heads) + width * width + width
    return attention + 2 * (width * hidden + hidden) + hidden * width + width


def d_size(width, depth, classes, colours, features=2048, stages=4):
    """D's: patches and the first token; blocks with four scales each; features, and the labels'."""
    label = classes * features + 2 * (features * features + features)
    seen = stages * colours * width + width + width + width + width * features + features
    return seen + depth * (block_size(width) + 4 * width) + label


def test_the_published_sizes():
    """Width, depth and heads are the authors', all else is the same; the layers of XL's G on latents make 602 M."""
    sizes = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "paper": (1152, 28, 16)}
    million = {"s": (29.4, 32.6), "b": (116.8, 97.1), "l": (408.7, 314.9), "paper": (602.3, 459.3)}
    for preset, (width, depth, heads) in sizes.items():
        cfg = gat.PRESETS[preset]
        assert (cfg.width, cfg.depth, cfg.heads) == (width, depth, heads)
        assert dataclasses.replace(cfg, width=1152, depth=28, heads=16) == gat.PRESETS["paper"]
        unused = 16 * width + width + 256 * width  # the input that G multiplies by 0, and its places, which are fixed
        counts = g_size(width, depth, 1000, 16) + unused, d_size(width, depth, 1000, 16)
        assert tuple(round(count / 1e6, 1) for count in counts) == million[preset]
    assert (cfg.lr, cfg.lr_width, cfg.clip, cfg.gamma, cfg.near, cfg.ema) == (2e-4, 768, 1.0, 0.1, 0.01, 0.999)


@pytest.mark.parametrize(
    "preset, shape, patch",
    [("s", (32, 32, 4), 2), pytest.param("paper", (64, 64, 3), 4, marks=pytest.mark.slow)],
)
def test_the_nets_have_these_sizes(monkeypatch, preset, shape, patch):
    """On latents, and on 64x64 pixels, as counted from the layers."""
    fields = {"x": data.Field(shape, "image"), "y": data.label(1000)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))
    cfg = dataclasses.replace(gat.PRESETS[preset], patch=patch)
    state = jax.eval_shape(functools.partial(gat.init, cfg), jax.random.key(0))
    for player, count in ((state.g, g_size), (state.d, d_size)):
        found = sum(p.size for p in jax.tree.leaves(player.params))
        assert found == count(cfg.width, cfg.depth, 1000, patch**2 * shape[2])


def test_rates_fall_with_the_width(small):
    """2e-4 at 768 channels, in proportion to 1 / width elsewhere; with `lr_width` 0 the same at all."""
    expected = {"s": 4e-4, "b": 2e-4, "l": 1.5e-4, "paper": 2e-4 / 1.5}
    weight = {"w": jnp.zeros(1)}
    for flags, rate_of in ({}, expected.get), ({"lr_width": 0}, lambda preset: 2e-4):
        for preset in expected:
            tx = gat.build(dataclasses.replace(gat.PRESETS[preset], **flags))[-1]
            moved = -float(tx.update({"w": jnp.ones(1)}, tx.init(weight))[0]["w"][0])
            assert moved == pytest.approx(rate_of(preset), rel=1e-4)


def test_samples_are_psi_from_the_mean(small):
    """With psi = 0 all samples of one label are alike, and those of other labels other ones; with psi = 1 all differ."""
    state = jax.eval_shape(functools.partial(gat.init, CFG), jax.random.key(0))
    wave = lambda leaf: jnp.sin(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape)
    state = state._replace(g_ema=jax.tree.map(wave, state.g_ema), w_mean=wave(state.w_mean))
    z = gat.latent(CFG, jax.random.key(1), 6) | {"y": jnp.array([0, 0, 1, 1, 2, 2])}
    drawn = jax.jit(lambda psi: gat.generate(dataclasses.replace(CFG, psi=psi), state, z))
    free, mean = np.asarray(drawn(1.0)), np.asarray(drawn(0.0))
    np.testing.assert_array_equal(mean[::2], mean[1::2])
    assert free.shape == (6, *SHAPE) and np.abs(mean).max() <= 1
    assert np.abs(mean[0] - mean[2]).max() > 1e-3 and np.abs(free[::2] - free[1::2]).max() > 1e-4


def test_measure_asks_for_every_label(monkeypatch):
    """With a G that writes its label a judge that reads it agrees with all; one that is wrong about 7 with nine tenths."""
    written = lambda cfg, state, z: jnp.broadcast_to(z["y"].reshape(-1, 1, 1, 1, 1) / 10, (z["y"].size, 2, 8, 8, 1))
    monkeypatch.setattr(gat, "drawn", written)
    read = lambda x: jax.nn.one_hot(jnp.round(x[:, 0, 0, 0] * 10).astype(int), 10)
    for judge, agreement in ((read, 1.0), (lambda x: read(x).at[:, 7].set(0), 0.9)):
        monkeypatch.setattr(gat.classifier, "load", lambda source, judge=judge: judge)
        found = gat.measure(gat.PRESETS["tiny"], None, jax.random.key(0), {}, {"y": jnp.arange(10)})
        np.testing.assert_allclose(found["agreement"], agreement, rtol=1e-6)
    assert found["stages"].x.shape == (2, 12, 8, 8, 1)
