"""MidiNet's step against the authors' loop, its nets against plain sums and their sizes, and what it measures."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.sequences import midinet
from gan_jax import data
from gan_jax.data import tunes
from gan_jax.game import rng
from gan_jax.nets import midinet as nets

B, Z, W = 4, 2, 2  # the mean of four bars is exact, in float32 too
CFG = dataclasses.replace(midinet.PRESETS["tiny"], batch_size=B, z_dim=Z, width=W, hidden=4)
CFG = dataclasses.replace(CFG, features=0.3, mean=0.2, label=0.8, g_lr=0.01, d_lr=0.02)


def norms(p, stats, new):
    """Return name of a batch norm, x -> x normalised; its new statistics are put into `new`."""

    def of(x):
        name = f"BatchNorm_{len(new)}"
        x, new[name] = oracle.batch_norm(p[name], stats["batch_stats"][name], x)
        return x

    return of


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def relu(x):
    return jnp.where(x > 0, x, 0)


def beside(x, chord):
    """The chord at each step of x [b, t, c]."""
    return jnp.concatenate([x, jnp.stack([chord] * x.shape[1], 1)], 2)


def conv(kernel, x, stride):
    """Along time: the products of each window."""
    seen = np.arange(0, x.shape[1] - len(kernel) + 1, stride)[:, None] + np.arange(len(kernel))
    return jnp.einsum("btkc,kco->bto", x[:, seen], kernel)


def G(cfg, p, stats, z, chord, before):
    norm = norms(p, stats, new := {})
    seen = [leaky(norm(conv(p["Conv_0"]["kernel"], before, 1)))]
    for i in range(1, 4):
        seen.append(leaky(norm(conv(p[f"Conv_{i}"]["kernel"], seen[-1], 2))))
    x = relu(norm(jnp.concatenate([z, chord], 1) @ p["Dense_0"]["kernel"]))
    x = relu(norm(jnp.concatenate([x, chord], 1) @ p["Dense_1"]["kernel"])).reshape(B, 2, 2 * W)
    for i in range(3):
        x = beside(x, chord)
        x = jnp.concatenate([x, seen[3 - i]], 2) if cfg.creative else x
        kernel = p[f"ConvTranspose_{i}"]["kernel"]
        x = relu(norm(jnp.einsum("btc,jco->btjo", x, kernel).reshape(B, 2 * x.shape[1], -1)))
    x = jnp.concatenate([beside(x, chord), seen[0]], 2) @ p["ConvTranspose_3"]["kernel"][0] + p["bias"]
    return oracle.sigmoid(x), {"batch_stats": new}


def D(p, stats, x, chord):
    """The first layer sees at each step and pitch the roll and the chord; its features, too."""
    norm = norms(p, stats, new := {})
    kernel = p["Conv_0"]["kernel"].reshape(2, 128, 14, 14)
    told = jnp.concatenate([x[..., None], jnp.broadcast_to(chord[:, None, None], (B, 16, 128, 13))], 3)
    first = jnp.einsum("btipc,ipco->bto", told.reshape(B, 8, 2, 128, 14), kernel)
    features = leaky(first + p["Conv_0"]["bias"].reshape(1, 1, -1))
    x = leaky(norm(conv(p["Conv_1"]["kernel"], beside(features, chord), 2))).reshape(B, -1)
    x = leaky(norm(jnp.concatenate([x, chord], 1) @ p["Dense_0"]["kernel"]))
    return oracle.dense(p["Dense_1"], jnp.concatenate([x, chord], 1))[:, 0], features, {"batch_stats": new}


def given(batch):
    return (batch[name].astype(float) for name in ("x", "before", "chord"))


@functools.partial(jax.jit, static_argnums=0)
def d_updated(cfg, g, d, z, batch):
    """D after it has learned once: what is real it is to call so with `label` alone."""
    (x, before, chord), p = given(batch), oracle.sigmoid
    fake = G(cfg, g.params, g.stats, z, chord, before)[0]

    def d_loss(w):
        (real, _, stats), (made, _, _) = D(w, d.stats, x, chord), D(w, d.stats, fake, chord)
        of_real = -cfg.label * jnp.log(p(real)) - (1 - cfg.label) * jnp.log(1 - p(real))
        return (of_real - jnp.log(1 - p(made))).mean(), stats

    return oracle.moved(oracle.adam, d, d_loss, cfg.d_lr, cfg.b1)


@functools.partial(jax.jit, static_argnums=0)
def g_updated(cfg, g, d, z, batch):
    """G after it has learned once, of this D."""
    (x, before, chord), p = given(batch), oracle.sigmoid
    seen = D(d.params, d.stats, x, chord)[1].mean(0)

    def g_loss(w):
        fake, new = G(cfg, w, g.stats, z, chord, before)
        made, features, _ = D(d.params, d.stats, fake, chord)
        apart = ((features.mean(0) - seen) ** 2).sum() / 2
        bars = ((fake.mean(0) - x.mean(0)) ** 2).sum() / 2
        return -jnp.log(p(made)).mean() + cfg.features * apart + cfg.mean * bars, new

    return oracle.moved(oracle.adam, g, g_loss, cfg.g_lr, cfg.b1)


def paper(cfg, start, batches, g_steps):
    """D learns once, then G so often, all of them from the same noise."""
    g, d = oracle.started(start.g, start.d)
    for t, batch in enumerate(batches):
        z = rng.normal(rng.at(start.key, t, "z"), (B, Z))
        d = d_updated(cfg, g, d, z, batch)
        for _ in range(g_steps):
            g = g_updated(cfg, g, d, z, batch)
    return [g, d]


def bars(n):
    """Batches of bars, in which the first row has none before."""
    random, found = np.random.default_rng(0), []
    for _ in range(n):
        x, before = (np.eye(128, dtype=np.int32)[random.integers(60, 84, (B, 16))] for _ in range(2))
        before[0] = 0
        chord = tunes.chord(jnp.asarray(random.integers(0, 24, B)))
        found.append({"x": jnp.asarray(x), "before": jnp.asarray(before), "chord": chord})
    return found


@pytest.fixture
def large(monkeypatch):
    """Weights of the size of what they see: with DCGAN's small ones some gradients are hardly more than rounding."""
    monkeypatch.setattr(nets, "normal", nn.initializers.normal(0.15))


def check(cfg):
    with jax.enable_x64(True):
        start, end, _ = oracle.played(midinet, cfg, bars(2))
        oracle.same([end.g, end.d], paper(cfg, start, bars(2), cfg.g_steps))
        oracle.differ([end.g, end.d], paper(cfg, start, bars(2), cfg.g_steps - 1))


def test_step_is_the_authors(large):
    """Two steps equal theirs in float64, statistics too; with one update of G for one of D they would not."""
    check(CFG)


@pytest.mark.long
def test_the_chord_has_the_say(large):
    """The same where the bar before is told to the last layer alone."""
    check(dataclasses.replace(CFG, creative=False))


def test_the_published_nets():
    """The authors' layers, counted by hand: kernels, and scale and shift of each batch norm."""
    cfg = midinet.PRESETS["paper"]
    assert (cfg.batch_size, cfg.z_dim, cfg.g_lr, cfg.d_lr, cfg.b1, cfg.g_steps) == (72, 100, 5e-5, 5e-5, 0.5, 2)
    assert (cfg.features, cfg.mean, cfg.label) == (0.1, 0.01, 0.9) and cfg.steps == 20 * (50_496 // 72)
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    read, dense = 128 * 16 + 3 * 2 * 16 * 16 + 4 * 32, 113 * 1024 + 2048 + 1037 * 256 + 512
    for creative, inputs in ((True, 128 + 13 + 16), (False, 128 + 13)):
        start = functools.partial(midinet.init, dataclasses.replace(cfg, creative=creative))
        state = jax.eval_shape(start, jax.random.key(0))
        assert count(state.g) == read + dense + 3 * (2 * inputs * 128 + 256) + 157 * 128 + 1
        assert count(state.d) == 2 * 128 * 14 * 14 + 14 + 4 * 27 * 77 + 154 + 244 * 1024 + 2048 + 1037 + 1


def test_melodies_go_on_from_their_own_bars(monkeypatch):
    """Each bar is told the one that was drawn before, and its own chord."""
    told = []

    def drawn(cfg, state, key, chord, before):
        told.append(chord.shape)
        pitch = before.argmax(-1) + chord[:, :12].argmax(-1)[:, None]
        return jax.nn.one_hot(pitch, 128, dtype=jnp.int32)

    monkeypatch.setattr(midinet, "drawn", drawn)
    chords = jnp.array([[5, 14, 1], [3, 3, 0]])
    found = midinet.melodies(CFG, None, jax.random.key(0), chords)
    assert found.shape == (2, 48, 128) and (2, 13) in told
    assert found.argmax(-1)[:, ::16].tolist() == [[5, 7, 8], [3, 6, 6]]


def test_what_is_measured_of_held_out_bars_as_samples(monkeypatch):
    """They are as far from others as they can be: not at all; their notes fit their own chords better than others'."""
    source = data.bars("ditties")
    train, test = ({k: jnp.asarray(a) for k, a in s.whole().items()} for s in (source, source.test))
    n = len(test["x"])
    roll = jax.nn.one_hot(test["x"], 128, dtype=jnp.int32)
    monkeypatch.setattr(midinet, "drawn", lambda cfg, state, key, chord, before: roll[: len(chord)])
    found = jax.jit(functools.partial(midinet.measure, CFG, None, jax.random.key(0)))(train, test)
    for name in ("in_chord", "distinct", "notes"):
        assert found[name] == found[f"test/{name}"]
    assert found["pitches"] == found["intervals"] == 0 < found["train/pitches"] < 0.2
    assert found["in_chord"] > found["other/in_chord"] + 0.05 and n == 240 and 3 < found["notes"] < 5
    picture = np.asarray(found["melodies"].x)
    assert picture.shape == (2, 3, 128, 128)
    np.testing.assert_array_equal(picture[1, 1, :, 60:], np.eye(128)[np.asarray(test["x"][8:16]).ravel()][:, 60:])
    np.testing.assert_array_equal(picture[0, 2, 16, :60], tunes.ROLLS[int(test["chord"][17]), :60])
