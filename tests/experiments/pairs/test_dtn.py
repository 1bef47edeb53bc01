"""DTN's step against the losses of the paper, row by row: f first, then g and D; its f and its D."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import dtn
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.metrics import classifier
from gan_jax.nets import dtn as nets
from gan_jax.nets import mlp

CFG = dataclasses.replace(dtn.PRESETS["tiny"], batch_size=3, pretrain=2, features=5, const=2.0, same=3.0, smooth=0.1)
CFG = dataclasses.replace(CFG, lr=1e-2)
SHAPE = (14, 2, 2)  # high enough to be moved by a pixel
B = CFG.batch_size


class Classifier(nets.nn.Module):
    """Two layers, of which the first gives the features."""

    @nets.nn.compact
    def __call__(self, x, train=True):
        features = nets.nn.tanh(nets.nn.Dense(CFG.features)(x.reshape(x.shape[0], -1)))
        return nets.nn.Dense(4)(features), features


class Kinds(nets.nn.Module):
    """A perceptron that tells three kinds apart."""

    @nets.nn.compact
    def __call__(self, x, train=True):
        x = nets.nn.relu(nets.nn.Dense(6)(x.reshape(x.shape[0], -1)))
        return nets.nn.Dense(3)(x)


def f(p, x):
    """Return (logits, features) of pictures x [b, h, w, 1]."""
    features = jnp.tanh(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)))
    return oracle.dense(p["Dense_1"], features), features


def drawn(p, z):
    return jnp.tanh(oracle.mlp(p, z, 1)).reshape(len(z), *SHAPE)


def kinds(p, x):
    """Return the probabilities of the three kinds."""
    logits = oracle.mlp(p, x.reshape(len(x), -1), 1)
    return jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True)


F, G, D = (oracle.with_norm(net) for net in (f, drawn, kinds))


def mean_of(channels):
    return channels.sum(-1, keepdims=True) / SHAPE[-1]


@jax.jit
def pretrained(f, x, y):
    """Cross-entropy of the source's labels."""

    def loss(params):
        (logits, _), stats = F(params, f.stats, mean_of(x))
        p = jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True)
        return -sum(jnp.log(p[i, y[i]]) for i in range(B)) / B, stats

    return oracle.moved(oracle.adam, f, loss, CFG.lr, CFG.b1)


def features(f, x):
    """Return those of f as it is in use: normalised by its running statistics."""
    norm, stats = f.params["BatchNorm_0"], f.stats["batch_stats"]["BatchNorm_0"]
    x, row = mean_of(x), lambda a: a.reshape(1, 1, 1, -1)
    normal = (x - row(stats["mean"])) / jnp.sqrt(row(stats["var"]) + 1e-5) * row(norm["scale"]) + row(norm["bias"])
    return globals()["f"](f.params["net"], x + normal)[1]


def rough(x):
    """Section 3: the sum over pixels and channels of the length of the gradient; its square is kept from 0."""
    total = 0.0
    for i in range(SHAPE[0] - 1):
        for j in range(SHAPE[1] - 1):
            total += jnp.sqrt((x[i + 1, j] - x[i, j]) ** 2 + (x[i, j + 1] - x[i, j]) ** 2 + 1e-8).sum()
    return total


@jax.jit
def paper(f, g, d, s, t, third):
    """L_D and L_G, means over either domain; third: 0 where D is to tell two kinds apart, a planted deviation."""
    of_s, of_t = features(f, s), features(f, t)

    def made(params):
        both, stats = G(params, g.stats, jnp.concatenate([of_s, of_t]))
        return both, stats

    def l_g(params):
        both, stats = made(params)
        p, _ = D(d.params, d.stats, both)
        again, value = features(f, both[:B]), 0.0
        for i in range(B):
            value -= jnp.log(p[i, 2]) + jnp.log(p[B + i, 2])
            value += CFG.const * ((of_s[i] - again[i]) ** 2).mean() + CFG.same * ((t[i] - both[B + i]) ** 2).mean()
            value += CFG.smooth * (rough(both[i]) + rough(both[B + i]))
        return value / B, stats

    def l_d(params):
        p, stats = D(params, d.stats, t)
        fake, _ = D(params, d.stats, made(g.params)[0])
        of_target = third * fake[:, 1] + (1 - third) * fake[:, 0]
        rows = [jnp.log(fake[i, 0]) + jnp.log(of_target[B + i]) + jnp.log(p[i, 2]) for i in range(B)]
        return -sum(rows) / B, stats

    return [oracle.moved(oracle.adam, player, loss, CFG.lr, CFG.b1) for player, loss in ((g, l_g), (d, l_d))]


@pytest.mark.long
def test_step_is_the_paper_s(monkeypatch):
    """f learns twice, then g and D twice, as the paper says, in float64; with two kinds for D they would not."""
    build = lambda cfg: (Classifier(), mlp.G(SHAPE, 7, 1), Kinds(), dtn.optax.adam(cfg.lr, cfg.b1))
    monkeypatch.setattr(dtn, "build", build)
    oracle.normed(dtn, monkeypatch)
    monkeypatch.setattr(dtn.data, "load", lambda name: type("Set", (), {"shape": SHAPE}))
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        xs, ys = random.uniform(-1, 1, size=(4, 2, B, *SHAPE)), random.integers(0, 4, (4, B))
        batches = [{"source": {"x": s, "y": y}, "x": {"x": t}} for (s, t), y in zip(xs, ys, strict=True)]
        start, end, metrics = oracle.played(dtn, CFG, batches)

        def theirs(third):
            f, g, d = oracle.started(start.f, start.g, start.d)
            for i, ((s, t), y) in enumerate(zip(xs, ys, strict=True)):
                if i < CFG.pretrain:
                    moved = classifier.shifted(rng.at(start.key, i, "shift"), s, SHAPE[0] // 14)
                    f = pretrained(f, moved, y)
                else:
                    g, d = paper(f, g, d, s, t, third)
            return [f, g, d]

        oracle.same([end.f, end.g, end.d], theirs(1.0))
        oracle.differ([end.f, end.g, end.d], theirs(0.0))
        assert metrics["loss/f"] == 0 < metrics["const"]


def test_the_kind_of_source():
    """Points are refused as a source, and what has no labels; the classifier that is asked is the target's."""
    for source in ("ring8", "unlabelled"):
        with pytest.raises(UserError, match=f"{source} has no pictures with labels"):
            dtn.setup(dataclasses.replace(CFG, source=source))
    assert dtn.setup(CFG).kinds == ("image",) and dtn.setup(CFG).classifiers == (data.load("digits"),)


@pytest.fixture(autouse=True)
def unlabelled(monkeypatch):
    """A set of pictures that have no labels."""
    without = lambda name: dataclasses.replace(
        data.load("digits"), name=name, fields={"x": data.load("digits").fields["x"]}
    )
    monkeypatch.setitem(data.DATASETS, "unlabelled", without)


def test_faces_and_emoji(tfds_dir):
    """People are what f tells apart; emoji are the smileys alone, in colours; nobody judges what becomes of a face."""
    given = dtn.setup(cfg := dtn.PRESETS["faces"])
    faces, emoji = data.load(cfg.source), data.load(cfg.dataset)
    assert (faces.classes, faces.n, emoji.shape, faces.shape) == (16, 500, (32, 32, 3), (32, 32, 1))
    assert 100 < emoji.n < 200 and given.classifiers == ()


def parameters(net, x):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)["params"]))


def test_the_published_f():
    """Four convolutions of 64, 128, 256 and 128 channels on 32x32 grey pictures, and a layer for the labels."""
    F = nets.F(10, dtn.PRESETS["paper"].features, dtn.PRESETS["paper"].f_width)
    layers = [(1, 64), (64, 128), (128, 256), (256, 128)]
    assert parameters(F, jnp.zeros((2, 32, 32, 1))) == sum(9 * i * o + o for i, o in layers) + 128 * 10 + 10


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 19, 3), (64, 60, 3)])
def test_nets(shape):
    """Features in [-1, 1] and logits of any size of picture; three logits of D, and its norm on a single level, too."""
    x = 9 * jax.random.normal(jax.random.key(0), (2, *shape))
    (logits, features), _ = jax.jit(nets.F(10, 6, 4).init_with_output)(jax.random.key(1), dtn.grey(x))
    assert logits.shape == (2, 10) and features.shape == (2, 6) and jnp.abs(features).max() <= 1
    kinds, variables = jax.eval_shape(nets.D(4).init_with_output, jax.random.key(2), x)
    assert kinds.shape == (2, 3) and variables["batch_stats"]
