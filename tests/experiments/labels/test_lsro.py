"""LSRO's step against the paper's loss row by row, each way of labelling what is made, C's net, and what it measures."""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.labels import lsro
from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game import rng
from gan_jax.nets import lsro as nets
from gan_jax.nets import mlp

B, K = 3, 8
CFG = dataclasses.replace(
    lsro.PRESETS["tiny"], batch_size=B, z_dim=2, after=1, g_lr=1e-2, d_lr=2e-2, c_lr=3e-2, drop=0.5
)


class Few(nn.Module):
    """A C of one layer, whose features are what it sees, and whose logits hear its key."""

    classes: int

    @nn.compact
    def __call__(self, x, key=None, train=True):
        kept = rng.uniform(key, x.shape) if train else 1
        return nn.Dense(self.classes)(x * kept), x


@pytest.fixture
def points(monkeypatch):
    """The experiment on points, with small nets, each with a batch norm before it."""
    build = lsro.build

    def small(cfg):
        C = Few(build(cfg)[2].classes)
        return mlp.G((2,), 4), mlp.D(4), C, *build(cfg)[3:]

    monkeypatch.setattr(lsro, "build", small)
    monkeypatch.setattr(
        data, "load", lambda name: data.Source(name, {"x": data.Field((2,), "points"), "y": data.label(10)})
    )
    oracle.normed(lsro, monkeypatch)


G = oracle.with_norm(lambda p, z: oracle.mlp(p, z))
D = oracle.with_norm(lambda p, x: oracle.sigmoid(oracle.mlp(p, x)[:, 0]))
C = oracle.with_norm(lambda p, x, kept: jnp.exp(oracle.dense(p["Dense_0"], x * kept)))


def of_row(way, p, y):
    """-log p of a label, of the class after all others, of the likeliest, or a K-th of all."""
    if y is None and way == "lsro":
        return -sum(jnp.log(p[k]) for k in range(K)) / K
    y = {"all_in_one": K, "pseudo": p.argmax()}[way] if y is None else y
    return -jnp.log(p[y])


@functools.partial(jax.jit, static_argnames="way")
def paper(g, d, c, z, kept, x, y, way, learns, share=1.0):
    """DCGAN's update of both; then C on real rows and on made ones, if it learns: [1] equations (4) to (6)."""
    fake = G(g.params, g.stats, z)[0]

    def d_loss(w):
        (real, stats), (made, _) = D(w, d.stats, x), D(w, d.stats, fake)
        return -(jnp.log(real) + jnp.log(1 - made)).sum() / B, stats

    def g_loss(w):
        made, stats = G(w, g.stats, z)
        return -jnp.log(D(d.params, d.stats, made)[0]).sum() / B, stats

    def c_loss(w):
        labels = [*y, *[None] * (0 if way == "baseline" else B)]
        e, stats = C(w, c.stats, jnp.concatenate([x, fake])[: len(labels)], kept)
        rows = [of_row(way, row / row.sum(), label) for row, label in zip(e, labels, strict=True)]
        return (sum(rows[:B]) + share * sum(rows[B:])) / len(rows), stats

    new = oracle.moved(oracle.adam, c, c_loss, CFG.c_lr)
    new = jax.tree.map(lambda n, o: jnp.where(learns, n, o), new, c)
    g, d = (oracle.moved(oracle.adam, p, f, lr, CFG.b1) for p, f, lr in ((g, g_loss, CFG.g_lr), (d, d_loss, CFG.d_lr)))
    return g, d, new


@pytest.mark.parametrize(
    "way", ["lsro", *(pytest.param(way, marks=pytest.mark.long) for way in ("all_in_one", "pseudo", "baseline"))]
)
def test_step_is_the_paper_s(way, points):
    """Three steps, of which C learns in two, equal the loops in float64; with another weight of made rows they do not."""
    cfg = dataclasses.replace(CFG, way=way)
    with jax.enable_x64(True):
        xs, ys = np.random.default_rng(0).normal(size=(3, B, 2)), np.int32([[0, 3, 2], [6, 3, 1], [5, 5, 7]])
        start, end, _ = oracle.played(lsro, cfg, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(**planted):
            players = oracle.started(start.g, start.d, start.c)
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                z = rng.uniform(rng.at(start.key, t, "z"), (B, cfg.z_dim), minval=-1)
                kept = rng.uniform(rng.at(start.key, t, "drop"), (B if way == "baseline" else 2 * B, 2))
                players = paper(*players, z, kept, x, y, way, t >= 1, **planted)
            return list(players)

        oracle.same([end.g, end.d, end.c], theirs())
        if way == "lsro":
            oracle.differ([end.g, end.d, end.c], theirs(share=1.01))


def test_the_features_are_all_there_and_training_drops_some():
    """Features don't hear the key; logits are a dense layer of them, in training of some of them, the larger in turn."""
    C, x = nets.Identifier(3, 2, 0.75), jax.random.normal(jax.random.key(0), (4, 16, 16, 1))
    variables = jax.jit(C.init)(jax.random.key(1), x, jax.random.key(2))
    run = lambda key, train: C.apply(variables, x, key, train=train, mutable="batch_stats")[0]
    p = variables["params"]["Dense_0"]
    logits, features = run(None, False)
    np.testing.assert_allclose(logits, oracle.dense(p, features), rtol=1e-5, atol=1e-6)
    (logits, seen), (other, again) = run(jax.random.key(3), True), run(jax.random.key(4), True)
    assert seen.shape == (4, 4 * 4 * 4) and (seen == again).all() and not (logits == other).any()
    kept = jax.random.uniform(jax.random.key(3), seen.shape) >= 0.75
    np.testing.assert_allclose(logits, oracle.dense(p, 4 * seen * kept), rtol=1e-4, atol=1e-6)


def test_sizes():
    """`paper`: DCGAN's layers at 64x64, in channels 64 to 512; C has a class more where G's pictures are one."""
    cfg = lsro.PRESETS["paper"]
    source = data.Source("faces", {"x": data.Field((64, 64, 1), "image"), "y": data.label(40)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: source)
        G, D, *_ = lsro.build(cfg)
        classes = [lsro.build(dataclasses.replace(cfg, way=way))[2].classes for way in ("lsro", "all_in_one")]
    count = lambda net, shape: sum(
        a.size for a in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))["params"])
    )
    kernels = lambda *channels: sum(16 * a * b for a, b in itertools.pairwise(channels))
    norms = 2 * (128 + 256 + 512)
    assert count(D, (1, 64, 64, 1)) == kernels(1, 64, 128, 256, 512) + 64 + norms + 4 * 4 * 512 + 1
    of_g = 100 * 4 * 4 * 512 + 2 * 512 + kernels(512, 256, 128, 64, 1) + 2 * (256 + 128 + 64) + 1
    assert count(G, (1, 100)) == of_g and classes == [20, 21]


def test_who_is_held_out():
    """The last people are not trained on, and are all of the test; one who is not there can't be."""
    setup = lsro.setup(lsro.PRESETS["tiny"])
    assert set(setup.source.whole()["y"]) == set(range(8)) and set(setup.source.test.whole()["y"]) == {8, 9}
    with pytest.raises(UserError, match="can't be held out"):
        lsro.setup(dataclasses.replace(lsro.PRESETS["tiny"], held_out=10))


def test_what_is_retrieved(monkeypatch):
    """With features that say who it is all are found; the first column are the queries, beside them what is nearest."""
    monkeypatch.setattr(lsro, "features", lambda cfg, state, x: x[:, 0, 0])
    x = np.uint8(255 * np.eye(3)[np.array([0, 1, 2] * 4)])[:, None, None]  # [12, 1, 1, 3]
    test = {"x": x, "y": np.array([0, 1, 2] * 4)}
    found = lsro.measure(CFG, None, None, {}, test)
    assert lsro.measure(dataclasses.replace(CFG, steps=1, after=1), None, None, {}, test) == {}  # C knows nothing
    assert found["rank1"] == found["mAP"] == found["pixels/mAP"] == 1
    assert (
        found["retrieved"].x.shape == (8, 8, 1, 1, 3)
        and (found["retrieved"].about[:, :4] == np.arange(8)[:, None] % 3).all()
    )
