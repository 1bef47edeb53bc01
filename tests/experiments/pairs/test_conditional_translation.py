"""Conditional translation's step against the authors' two stages in plain loops; its nets, and who judges what."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments.pairs import conditional_translation as ours
from gan_jax import data
from gan_jax.game import Player, rng
from gan_jax.nets import mlp

CFG = dataclasses.replace(ours.PRESETS["tiny"], dataset="ring8", source="ring8", game=2, batch_size=2, z_dim=3, width=7)
CFG = dataclasses.replace(CFG, g_steps=2, g_lr=1e-2, d_lr=2e-2, e_lr=3e-2)
C = (0, 0, 1, 1)  # the set of each row


def drawn(p, z):
    """z [b, z] -> points [b, 2] of the sets C."""
    asked = jnp.stack([jnp.array([1.0 - c, c]) for c in C])
    return oracle.mlp(p["net"], jnp.concatenate([z, asked], 1))


def told(p, x):
    """Points -> the probabilities that they are real [b], and of their own set [b]."""
    h = oracle.perceptron([p["Dense_0"], p["Dense_1"]], x, 0.2)
    h = jnp.where(h > 0, h, 0.2 * h)
    of = jnp.exp(oracle.dense(p["Dense_2"], h))
    real = oracle.sigmoid(oracle.dense(p["Dense_3"], h)[:, 0])
    return real, jnp.stack([row[c] / row.sum() for row, c in zip(of, C, strict=True)])


def encoded(p, x):
    h = oracle.perceptron([p["trunk"]["Dense_0"], p["trunk"]["Dense_1"]], x)
    return oracle.dense(p["MLP_0"]["Dense_0"], jnp.maximum(h, 0))


G, D, E = (oracle.with_norm(net) for net in (drawn, told, encoded))


def at_rest(g, z):
    """What G draws as it is in use: normalised by its running statistics."""
    norm, stats = g.params["BatchNorm_0"], g.stats["batch_stats"]["BatchNorm_0"]
    row = lambda a: a.reshape(1, -1)
    normal = (z - row(stats["mean"])) / jnp.sqrt(row(stats["var"]) + 1e-5) * row(norm["scale"]) + row(norm["bias"])
    return drawn(g.params["net"], z + normal)


@jax.jit
def game(g, d, z, x, named):
    """D once, then G twice, all of one z; named: 1 where D says the sets of fakes, too, a planted deviation."""

    def l_d(params):
        (p, of), stats = D(params, d.stats, x)
        fake, of_fake = D(params, d.stats, G(g.params, g.stats, z)[0])[0]
        rows = [jnp.log(p[i]) + jnp.log(1 - fake[i]) + jnp.log(of[i]) + named * jnp.log(of_fake[i]) for i in range(4)]
        return -sum(rows) / 4, stats

    def l_g(params):
        made, stats = G(params, g.stats, z)
        p, of = D(d.params, d.stats, made)[0]
        return -sum(jnp.log(p[i]) + jnp.log(of[i]) for i in range(4)) / 4, stats

    d = oracle.moved(oracle.adam, d, l_d, CFG.d_lr, CFG.b1)
    for _ in range(CFG.g_steps):
        g = oracle.moved(oracle.adam, g, l_g, CFG.g_lr, CFG.b1)
    return g, d


@jax.jit
def encoder(e, g, z):
    """The mean square of E(G(z, c)) - z."""

    def l_e(params):
        said, stats = E(params, e.stats, at_rest(g, z))
        return sum((said[i, j] - z[i, j]) ** 2 for i in range(4) for j in range(CFG.z_dim)) / (4 * CFG.z_dim), stats

    return oracle.moved(oracle.adam, e, l_e, CFG.e_lr, CFG.b1)


def test_step_is_the_paper_s(monkeypatch):
    """Two turns of the game and two steps of E alone equal the loops in float64; if D named fakes they would not."""
    monkeypatch.setattr(ours, "dcgan", mlp)
    oracle.normed(ours, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(4, 2, CFG.batch_size, 2))
        start, end, metrics = oracle.played(ours, CFG, [{"source": {"x": a}, "x": {"x": b}} for a, b in xs])

        def theirs(named):
            g, d, e = oracle.started(start.g, start.d, start.e)
            for i, (a, b) in enumerate(xs):
                z = rng.normal(rng.at(start.key, i, "z"), (4, CFG.z_dim))
                if i < CFG.game:
                    g, d = game(g, d, z, jnp.concatenate([a, b]), named)
                e = encoder(e, g, z)
            return [g, d, e]

        oracle.same([end.g, end.d, end.e], theirs(0.0))
        oracle.differ([end.g, end.d, end.e], theirs(1.0))
        assert metrics["loss/g"] == metrics["p/real"] == 0 < metrics["loss/e"]


def test_a_picture_is_translated_by_its_latent(monkeypatch):
    """A G that draws its latent and c, and an E that reads the latent, give it back with the other c."""
    told = {"G": lambda z, c: z[:, :1, None, None] * jnp.ones((1, 4, 4, 1)) + 10 * c[:, None, None, None]}
    told["E"] = lambda x: x[:, 0, 0]
    monkeypatch.setattr(ours, "build", lambda cfg: ("G", "D", "E"))
    monkeypatch.setattr(ours, "forward", lambda net, params, stats, *given, train: (told[net](*given), stats))
    state = ours.State(None, None, *(Player(None, None, None) for _ in "gde"))
    x = jnp.linspace(-1, 1, 3)[:, None, None, None] * jnp.ones((3, 4, 4, 1))
    for c in (0, 1):
        np.testing.assert_allclose(ours.translated(CFG, state, x, c), x + 10 * c, rtol=1e-6)


def written(label, c):
    """Return grey pictures [n, 8, 8, 1] that say a label and a set, in [-1, 1]."""
    grey = 6 * (label + 10 * c) / 127.5 - 1
    return grey[:, None, None, None] * jnp.ones((1, 8, 8, 1))


def read(x):
    """Return (label, set) that pictures say."""
    code = jnp.round((x[:, 0, 0, 0] + 1) * 127.5 / 6).astype(int)
    return code % 10, code // 10


def test_who_judges_what(monkeypatch):
    """Translated digits are read by the target's classifier, rebuilt ones by their own set's, both ways."""
    cfg = dataclasses.replace(ours.PRESETS["tiny"], dataset="digits", source="digits16")
    sets = ours.judged(cfg)
    assert sets == ours.setup(cfg).classifiers == (data.load("digits16"), data.load("digits"))
    monkeypatch.setattr(ours, "translated", lambda cfg, state, x, c: written(read(x)[0], c))
    y = np.arange(10)

    def judge_of(source):  # right about pictures of its own set alone

        def judge(x):
            assert x.shape[1:] == source.shape
            label, c = read(x)
            return jax.nn.one_hot(jnp.where(c == sets.index(source), label, (label + 1) % 10), 10)

        return judge

    monkeypatch.setattr(ours.classifier, "load", judge_of)
    raw = lambda c: np.asarray(jnp.round((written(y, c) + 1) * 127.5)).astype(np.uint8)
    test = {"source": {"x": raw(0), "y": y}, "x": {"x": raw(1), "y": y}}
    found = ours.measure(cfg, None, None, {}, test)
    for way in ("ab", "ba"):
        shares = [float(found[f"accuracy/{way}_{name}"]) for name in ("translated", "rebuilt", "as_it_is")]
        assert shares == [1, 1, 0] and found[way].x.shape == (3, 10, 8, 8, 1)


def test_sets_without_judges(monkeypatch):
    """Nothing is judged where one set has no labels, or another number of them; the nets are made for pictures."""
    digits = data.load("digits")
    fewer = digits.fields | {"y": dataclasses.replace(digits.fields["y"], classes=7)}
    for name, fields in {"unlabelled_digits": {"x": digits.fields["x"]}, "seven_digits": fewer}.items():
        other = dataclasses.replace(digits, name=name, fields=fields)
        monkeypatch.setitem(data.DATASETS, name, lambda name, other=other: other)
        assert ours.judged(dataclasses.replace(CFG, dataset="digits", source=name)) == ()
    assert ours.setup(ours.PRESETS["tiny"]).kinds == ("image",)


def test_the_published_nets():
    """Of 64x64 in colours, counted by hand: no bias before a norm, which has two numbers a channel."""
    cfg, key = ours.PRESETS["paper"], jax.random.key(0)
    G = ours.conditional.G(ours.dcgan.G((64, 64, 3), cfg.width), 2)
    D, E = ours.conditional.Classifier(2, cfg.width), ours.inverse.E(ours.vaegan.Trunk(cfg.width), cfg.z_dim)
    size = lambda net, *given: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, *given)["params"]))
    x, c, between, deep = jnp.zeros((2, 64, 64, 3)), jnp.zeros(2, int), 64 * 128 + 128 * 256 + 256 * 512, 16 * 512
    drawing = 102 * deep + 2 * (512 + 256 + 128 + 64) + 16 * (between + 64 * 3) + 3
    seeing = 16 * (3 * 64 + between) + 64 + 2 * (128 + 256 + 512)
    assert size(G, jnp.zeros((2, cfg.z_dim)), c) == drawing
    assert size(D, x, c) == seeing + 2 * deep + 2 + deep + 1
    assert size(E, x) == seeing + 100 * deep + 100
