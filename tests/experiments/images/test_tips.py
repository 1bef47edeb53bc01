"""The step of "How to train a GAN" against plain formulas, without a tip and with all; nets and flags."""

import dataclasses
import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import tips
from gan_jax import UserError, data
from gan_jax.game import pool, regularisers, rng
from gan_jax.nets import tips as nets
from gan_jax.run import cli

SHAPE, CLASSES, B = (4, 4, 1), 3, 4
CFG = dataclasses.replace(tips.PRESETS["tiny"], batch_size=B, z_dim=3, g_lr=1e-2, d_lr=2e-2, noise_steps=5, flip=0.4)


class Linear(nn.Module):
    """A layer, and noise where there is a key."""

    out: tuple[int, ...]

    @nn.compact
    def __call__(self, x, key=None, train=True):
        y = nn.Dense(math.prod(self.out))(x.reshape(len(x), -1))
        y = y if key is None else y + 0.1 * rng.normal(key, y.shape)
        return y.reshape(-1, *self.out)


@pytest.fixture
def small(monkeypatch):
    """Nets of a batch norm and a layer, on images of 4x4 in three classes; all else of `build` as it is."""
    fields = {"x": data.Field(SHAPE, "image"), "y": data.Field((), "label", classes=CLASSES)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))
    build = tips.build

    def of(cfg):
        _, D, *optimisers = build(cfg)
        return oracle.Normed(Linear(SHAPE)), oracle.Normed(Linear((1 + D.classes,))), *optimisers

    monkeypatch.setattr(tips, "build", of)


@oracle.with_norm
def G(p, z, key):
    y = oracle.dense(p["Dense_0"], z)
    return (y + 0.1 * rng.normal(key, y.shape)).reshape(-1, *SHAPE)


@oracle.with_norm
def D(p, x):
    return oracle.dense(p["Dense_0"], x.reshape(len(x), -1))


def bce(score, label):
    p = oracle.sigmoid(score)
    return -label * jnp.log(p) - (1 - label) * jnp.log(1 - p)


def named(said, y):
    """Cross entropy of the classes beside the score."""
    p = jnp.exp(said[:, 1:])
    return -jnp.log((p / p.sum(1, keepdims=True))[jnp.arange(len(y)), y])


@functools.partial(jax.jit, static_argnums=0)
def played(on, root, t, g, d, old, batch):
    """The players and the old fakes after step t of the tips' game."""
    turns = 1 + ("twice" in on)
    for turn in range(turns):
        key = lambda name: jax.random.fold_in(rng.at(root, t, name), turn)
        to_z, to_y = jax.random.split(key("z"))
        z = rng.normal(to_z, (B, 3)) if "gaussian" in on else 2 * rng.uniform(to_z, (B, 3)) - 1
        y = jax.random.randint(to_y, (B,), 0, CLASSES, jnp.int32)
        z = jnp.concatenate([z, jnp.eye(CLASSES)[y]], 1) if "labels" in on else z
        fake, _ = G(g.params, g.stats, z, key("g"))
        shown, old = pool.query(key("old"), old, (t * turns + turn) * B, fake) if "replay" in on else (fake, old)
        soft = [(0.7, 1.2), (0, 0.3)] if "smooth" in on else [(1.0, 1.0), (0.0, 0.0)]
        label, fake_label = regularisers.labels(key("labels"), B, *soft, 0.4 if "flip" in on else 0)

        def answers(params, d, made, key):
            level = 0.1 * (1 - jnp.float32(t) / 5) if "noise" in on else 0  # a schedule is in float32
            pictures = enumerate((batch["x"], made))
            x, made = (a + level * rng.normal(jax.random.fold_in(key, i), a.shape) for i, a in pictures)
            if "split" in on:
                (real, stats), (said, _) = D(params, d.stats, x), D(params, d.stats, made)
                return real, said, stats
            both, stats = D(params, d.stats, jnp.concatenate([x, made]))
            return both[:B], both[B:], stats

        def d_loss(params):
            real, said, stats = answers(params, d, shown, key("seen by d"))
            classes = named(real, batch["y"]) if "labels" in on else 0
            return (bce(real[:, 0], label) + bce(said[:, 0], fake_label) + classes).mean(), stats

        rates = (tips.Config.sgd * CFG.d_lr,) if "sgd" in on else (CFG.d_lr, CFG.b1)
        d = oracle.moved(oracle.sgd if "sgd" in on else oracle.adam, d, d_loss, *rates)

    def g_loss(params):
        fake, stats = G(params, g.stats, z, key("g"))
        said = answers(d.params, d, fake, rng.at(root, t, "seen by g"))[1]
        fooled = bce(said[:, 0], 1) if "nonsat" in on else -bce(said[:, 0], 0)
        return (fooled + (named(said, y) if "labels" in on else 0)).mean(), stats

    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1), d, old


@pytest.mark.parametrize("on", [(), tuple(tips.TIPS)], ids=["none", "all"])
def test_step_is_the_list_s(small, on):
    """Three steps in float64, statistics too: each tip that is on, and the opposite of each that is off."""
    cfg = dataclasses.replace(CFG, tips=on, history=6)
    draw = np.random.default_rng(0)
    batches = [{"x": draw.uniform(-1, 1, (B, *SHAPE)), "y": draw.integers(0, CLASSES, B)} for _ in range(3)]
    with jax.enable_x64(True):
        start, end, metrics = oracle.played(tips, cfg, batches)
        g, d, old = *oracle.started(start.g, start.d), start.old
        for t, batch in enumerate(batches):
            g, d, old = played(on, start.key, t, g, d, old, batch)
        oracle.same([end.g, end.d], [g, d])
        np.testing.assert_allclose(end.old, old, atol=1e-12)
    assert metrics.keys() == {"loss/g", "loss/d", "score/real", "score/fake"}


def test_tips_of_the_nets():
    """Each of these is a switch of a net, or D's optimiser, and no other tip is."""
    of = lambda *on: tips.build(dataclasses.replace(CFG, tips=on))
    G, D, *_ = of()
    assert not (G.tanh or G.leaky or G.noise or G.dropped or D.leaky or D.classes or D.kernels)
    own = {"tanh": (G.clone(tanh=True), D), "leaky": (G.clone(leaky=True), D.clone(leaky=True))}
    own |= {"g_noise": (G.clone(noise=0.1), D), "dropout": (G.clone(dropped=0.5), D)}
    own |= {"labels": (G, D.clone(classes=10)), "minibatch": (G, D.clone(kernels=8))}
    assert {tip: of(tip)[:2] for tip in tips.TIPS} == {tip: own.get(tip, (G, D)) for tip in tips.TIPS}
    states = {tip: of(tip)[3].init({"w": jnp.zeros(2)}) for tip in tips.TIPS}
    assert [tip for tip, state in states.items() if len(jax.tree.leaves(state)) == 0] == ["sgd"]


def test_samples_without_tanh_are_images(small):
    """What a linear layer makes is cut to what an image may be."""
    cfg = dataclasses.replace(CFG, tips=())
    state = jax.jit(functools.partial(tips.init, cfg))(jax.random.key(0))
    state = state._replace(g=state.g._replace(params=jax.tree.map(lambda a: 100 * a, state.g.params)))
    x = np.asarray(jax.jit(lambda *of: tips.sample(cfg, *of, 8))(state, jax.random.key(1)))
    assert x.min() == -1 and x.max() == 1 and x.shape == (8, *SHAPE)


def test_flags():
    """Words with commas or spaces, or none; a tip that there is not is said, with all that there are."""
    of = lambda *flags: tips.chosen(cli.parse(tips.Config, tips.PRESETS, flags)[0])
    assert of("--tips=smooth,flip") == of("--tips", "smooth", "flip") == {"smooth", "flip"}
    assert of("--tips=") == of("--preset=none") == set() and len(of()) == 5
    with pytest.raises(UserError, match="there is no tip smoth; choose from tanh, "):
        tips.setup(dataclasses.replace(CFG, tips=("smoth", "flip")))


# The nets


@pytest.mark.parametrize(
    "shape, sizes, channels", [((8, 8, 1), [8, 4, 2], [5, 10]), ((28, 20, 3), [28, 14, 7, 4, 2], [5, 10, 20, 40])]
)
def test_shapes_and_parameters(shape, sizes, channels):
    """Down to two pixels a side; weights by the layer table, as many with max-pooling as with strides."""
    key, c = jax.random.key(0), shape[-1]
    assert [size[0] for size in nets.levels(shape, 5)[0]] == sizes and nets.levels(shape, 5)[1] == channels
    pixels = np.prod(nets.levels(shape, 5)[0][-1])
    count = lambda net, *of: sum(a.size for a in jax.tree.leaves(jax.eval_shape(net.init, key, *of)["params"]))
    convs = sum(16 * a * b for a, b in itertools.pairwise(channels))
    expected = 7 * pixels * channels[-1] + convs + 16 * c * channels[0] + c + 2 * sum(channels)
    G = nets.G(shape, 5)
    assert count(G, jnp.zeros((2, 7)), key) == expected
    assert jax.eval_shape(G.init_with_output, key, jnp.zeros((2, 7)), key)[0].shape == (2, *shape)
    first = 16 * c * channels[0] + channels[0]
    for leaky in (True, False):
        D = nets.D(5, leaky, classes=10)
        x = jnp.zeros((2, *shape))
        assert count(D, x) == first + convs + 2 * sum(channels[1:]) + (pixels * channels[-1] + 1) * 11
        assert jax.eval_shape(D.init_with_output, key, x)[0].shape == (2, 11)


def test_largest():
    """Of each 2x2 pixels, an odd last row alone; the gradient goes to the largest."""
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    found, grad = nets.largest(x), jax.grad(lambda x: nets.largest(x).sum())(x)
    expected = np.stack([[x[:, i : i + 2, j : j + 2].max((1, 2)) for j in (0, 2)] for i in (0, 2, 4)]).transpose(
        2, 0, 1, 3
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(grad, np.isin(x, expected), atol=1e-6)


def test_noise_and_dropout_of_g():
    """Functions of the key, afterwards too: noise moves what is made, all hidden numbers can be dropped; tanh is the end."""
    z, shape = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32), (8, 8, 1)
    plain = nets.G(shape, 2)
    variables = jax.jit(plain.init)(jax.random.key(0), z, jax.random.key(0))

    @jax.jit
    def all_made(keys):
        of = lambda key, **more: plain.clone(**more).apply(variables, z, key, train=False)
        ways = {
            "plain": {},
            "noise": {"noise": 0.1},
            "half": {"dropped": 0.5},
            "none": {"dropped": 1 - 1e-7},
            "linear": {"tanh": False},
        }
        return {name: [of(key, **more) for key in keys] for name, more in ways.items()}

    made = jax.tree.map(np.asarray, all_made([jax.random.key(k) for k in (0, 0, 1)]))
    for name, (one, again, other) in made.items():
        np.testing.assert_array_equal(one, again)
        assert ((one != other).mean() > 0.9) == (name in ("noise", "half")), name
    assert np.ptp(made["none"][0]) < 1e-6 < np.ptp(made["half"][0])  # nothing is left of z
    np.testing.assert_allclose(np.tanh(made["linear"][0]), made["plain"][0], atol=1e-6)


def test_points_are_left_to_others():
    """Samples are cut to [-1, 1], where a ring is not."""
    assert tips.setup(dataclasses.replace(tips.PRESETS["default"], dataset="ring8")).kinds == ("image",)
