"""IcGAN's step against the authors' updates, row by row: D and G, then the encoders; its nets against their layers."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import icgan
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.metrics import classifier
from gan_jax.nets import dcgan, mlp
from gan_jax.nets import icgan as nets

CFG = dataclasses.replace(icgan.PRESETS["tiny"], batch_size=4, game=2, z_dim=3, g_lr=1e-2, d_lr=2e-2, e_lr=3e-2)
SHAPE, CLASSES = (2, 2, 1), 3
B = CFG.batch_size


class Score(nets.nn.Module):
    """A perceptron of a picture and a label."""

    @nets.nn.compact
    def __call__(self, x, y, train=True):
        return mlp.MLP(1, 6, 1)(jnp.concatenate([x.reshape(x.shape[0], -1), y], 1))[:, 0]


class Code(nets.nn.Module):
    """A perceptron that reads numbers off a picture."""

    out: int

    @nets.nn.compact
    def __call__(self, x, train=True):
        return mlp.MLP(self.out, 5, 1)(x)


flat = lambda x: x.reshape(len(x), -1)
G = oracle.with_norm(lambda p, zy: jnp.tanh(oracle.mlp(p, zy, 1)).reshape(len(zy), *SHAPE))
D = oracle.with_norm(lambda p, x, y: oracle.sigmoid(oracle.mlp(p, jnp.concatenate([flat(x), y], 1), 1)[:, 0]))
E = oracle.with_norm(lambda p, x: oracle.mlp(p, flat(x), 1))


def rows_of(y):
    return jnp.array([[1.0 if label == k else 0.0 for k in range(CLASSES)] for label in y])


@jax.jit
def played(g, d, x, y, wrong, zy, share):
    """D up log D(x, y) + half of both others, then G up log D of the new one; share: of the wrong labels, 1/2."""
    fake, _ = G(g.params, g.stats, zy)

    def l_d(params):
        real, stats = D(params, d.stats, x, y)
        mismatched, made = D(params, d.stats, x, wrong)[0], D(params, d.stats, fake, y)[0]
        each = [jnp.log(real[i]) + share * jnp.log(1 - mismatched[i]) + 0.5 * jnp.log(1 - made[i]) for i in range(B)]
        return -sum(each) / B, stats

    d = oracle.moved(oracle.adam, d, l_d, CFG.d_lr, CFG.b1)

    def l_g(params):
        fake, stats = G(params, g.stats, zy)
        return -sum(jnp.log(D(d.params, d.stats, fake, y)[0][i]) for i in range(B)) / B, stats

    return oracle.moved(oracle.adam, g, l_g, CFG.g_lr, CFG.b1), d


@jax.jit
def encoded(g, e_z, e_y, x, y, zy):
    """E_z and E_y down the mean squares over rows and numbers; G makes pictures as in training, and stays."""
    fake, stats = G(g.params, g.stats, zy)

    def loss(e, x, code):
        def square(params):
            found, new = E(params, e.stats, x)
            return sum(((found[i] - code[i]) ** 2).sum() for i in range(B)) / B / code.shape[1], new

        return oracle.moved(oracle.adam, e, square, CFG.e_lr, CFG.e_b1)

    return g._replace(stats=stats), loss(e_z, fake, zy[:, : CFG.z_dim]), loss(e_y, x, y)


def paper(start, xs, ys, share=0.5):
    """Steps of the game, then of the encoders, on the batches' own labels and noise of the run's key."""
    g, d, e_z, e_y = oracle.started(start.g, start.d, start.e_z, start.e_y)
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        z = rng.normal(rng.at(start.key, i, "z"), (B, CFG.z_dim))
        other = jax.random.randint(rng.at(start.key, i, "wrong"), (B,), 1, CLASSES, jnp.int32)
        wrong = [(int(right) + int(more)) % CLASSES for right, more in zip(y, other, strict=True)]
        zy = jnp.concatenate([z, rows_of(y)], 1)
        if i < CFG.game:
            g, d = played(g, d, x, rows_of(y), rows_of(wrong), zy, share)
        else:
            g, e_z, e_y = encoded(g, e_z, e_y, x, rows_of(y), zy)
    return [g, d, e_z, e_y]


def test_step_is_the_paper_s(monkeypatch):
    """Two updates of the game and two of the encoders, in float64; with whole wrong labels they would be others."""

    def build(cfg):
        adam = icgan.optax.adam
        optimisers = adam(cfg.g_lr, cfg.b1), adam(cfg.d_lr, cfg.b1), adam(cfg.e_lr, cfg.e_b1)
        return mlp.G(SHAPE, 7, 1), Score(), Code(cfg.z_dim), Code(CLASSES), *optimisers

    monkeypatch.setattr(icgan, "build", build)
    oracle.normed(icgan, monkeypatch)
    monkeypatch.setattr(icgan.data, "load", lambda name: type("Set", (), {"shape": SHAPE, "classes": CLASSES}))
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        xs, ys = random.uniform(-1, 1, (4, B, *SHAPE)), random.integers(0, CLASSES, (4, B))
        batches = [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)]
        start, end, metrics = oracle.played(icgan, CFG, batches)
        oracle.same([end.g, end.d, end.e_z, end.e_y], paper(start, xs, ys))
        oracle.differ([end.g, end.d], paper(start, xs, ys, share=1.0)[:2])
        assert metrics["loss/d"] == 0 < metrics["loss/e_z"]


def test_measure_asks_for_the_next_label(monkeypatch):
    """Edited pictures have the label after their own, the last one the first; what has none does not count."""
    monkeypatch.setattr(
        icgan, "forward", lambda E, params, *_, train: (jax.nn.one_hot(jnp.array([0, 9, 4, 4]), 10), {})
    )
    draw = lambda cfg, state, z, y: jnp.broadcast_to(y.argmax(1).reshape(-1, 1, 1, 1) / 10, (4, 16, 16, 1))
    monkeypatch.setattr(icgan, "drawn", draw)
    judge = lambda x: jax.nn.one_hot(jnp.round(10 * x[:, 0, 0, 0]).astype(int), 10)  # reads what `draw` wrote
    monkeypatch.setattr(classifier, "load", lambda source: judge)
    test = {"x": np.zeros((4, 16, 16, 1), np.uint8), "y": np.array([0, 9, 3, -1]), "person": np.array([0, 0, 1, 1])}
    player = SimpleNamespace(params={}, stats={})
    found = icgan.measure(CFG, SimpleNamespace(e_z=player, e_y=player), None, {}, test)
    assert found["attribute/edited"] == 1 and found["attribute/rebuilt"] == np.float32(2 / 3) == found["label/read"]
    picture = found["edited"]
    np.testing.assert_allclose(10 * picture.x[:, :3, 0, 0, 0], [[-10, -10, -10], [0, 9, 4], [1, 0, 4]], rtol=1e-6)
    assert picture.rows == ("as_it_is", "rebuilt", "edited") and found["person/as_it_is"] == 0.5
    assert icgan.measure(CFG, None, None, {}, {}) == {}


def test_what_is_refused(monkeypatch):
    """Sets without labels, and a game that leaves the encoders no step."""
    digits = data.load("digits")
    without = lambda name: dataclasses.replace(digits, name=name, fields={"x": digits.fields["x"]})
    monkeypatch.setitem(data.DATASETS, "unlabelled", without)
    with pytest.raises(UserError, match="unlabelled has no labels, of which others could be asked for"):
        icgan.setup(dataclasses.replace(CFG, dataset="unlabelled"))
    with pytest.raises(UserError, match="--game is 6 of 6 --steps"):
        icgan.setup(dataclasses.replace(CFG, game=6))
    assert icgan.setup(CFG).kinds == ("image",) and icgan.setup(CFG).classifiers == (data.load("digits16"),)


def parameters(net, *given):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"]))


def test_the_published_nets():
    """Of 64x64 in colours and two labels, counted by hand: two numbers a channel that is normalised, else a bias."""
    cfg, x, y = icgan.PRESETS["paper"], jnp.zeros((2, 64, 64, 3)), jnp.zeros((2, 2))
    g = 16 * (102 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (512 + 256 + 128 + 64) + 3
    d = 16 * (3 * 64 + (64 + 2) * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 2 * (128 + 256 + 512) + 1
    e = 25 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256)
    assert parameters(dcgan.G((64, 64, 3), cfg.width), jnp.zeros((2, cfg.z_dim + 2))) == g
    assert parameters(nets.D(cfg.width), x, y) == d
    assert parameters(nets.E(100, cfg.e_width), x) == e + 4096 * 4096 + 2 * 4096 + 4096 * 100 + 100
    assert parameters(nets.E(2, cfg.e_width, cfg.e_hidden), x) == e + 4096 * 512 + 2 * 512 + 512 * 2 + 2


def test_where_the_label_stands():
    """The first convolution sees x alone, the second one its channels and the label at every place."""
    x, y = jnp.zeros((2, 19, 16, 3)), jnp.zeros((2, 7))
    score, variables = jax.eval_shape(nets.D(4).init_with_output, jax.random.key(0), x, y)
    kernels = [variables["params"][f"Conv_{i}"]["kernel"].shape for i in range(3)]
    assert kernels == [(4, 4, 3, 4), (4, 4, 4 + 7, 8), (4, 4, 8, 16)] and score.shape == (2,)


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_encoders_of_any_size(shape):
    """A row of numbers of any picture; the layer before it has as many units as are asked for, or as it has inputs."""
    of = lambda hidden: jax.eval_shape(nets.E(5, 2, hidden).init_with_output, jax.random.key(0), jnp.zeros((3, *shape)))
    (code, variables), (_, wide) = of(6), of(0)
    inputs = {8: 4 * 4 * 2, 30: 2 * 3 * 16}[shape[0]]
    assert code.shape == (3, 5) and variables["params"]["Dense_0"]["kernel"].shape == (inputs, 6)
    assert wide["params"]["Dense_0"]["kernel"].shape == (inputs, inputs) and variables["batch_stats"]
