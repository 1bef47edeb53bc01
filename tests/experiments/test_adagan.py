"""AdaGAN's rounds against the algorithm in plain loops, learner by learner, and the published nets."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import adagan
from gan_jax.game import rng
from gan_jax.run import cli

CFG = dataclasses.replace(
    adagan.PRESETS["tiny"], learners=2, gan_steps=2, c_steps=1, pool=12, batch_size=4, unroll=1, g_lr=0.01, d_lr=0.02,
    c_lr=2.0,
)  # fmt: skip
adam = functools.partial(oracle.adam, b1=CFG.b1, eps_root=1e-16)
tanh = functools.partial(oracle.mlp, act=jnp.tanh)
net = oracle.with_norm(tanh)


def at_rest(p, x):
    """What the net makes of x by its running statistics."""
    norm, kept = p.params["BatchNorm_0"], p.stats["batch_stats"]["BatchNorm_0"]
    normal = (x - kept["mean"][None]) / jnp.sqrt(kept["var"][None] + 1e-5)
    return tanh(p.params["net"], x + normal * norm["scale"][None] + norm["bias"][None])


def told_apart(params, stats, real, fake):
    """-log D(x) - log(1 - D(x')) on average, and the statistics of real rows."""
    said, new = net(params, stats, real)
    of_fake, _ = net(params, stats, fake)
    return -(jnp.log(oracle.sigmoid(said)) + jnp.log(1 - oracle.sigmoid(of_fake))).mean(), new


@jax.jit
def gan(g, d, real, z):
    """G against the D that is one update ahead; D an update on the same rows."""

    def g_loss(params):
        fake, new = net(params, g.stats, z)
        ahead = oracle.moved(adam, d, lambda w: told_apart(w, d.stats, real, fake), CFG.d_lr)
        return -jnp.log(oracle.sigmoid(net(ahead.params, d.stats, fake)[0])).mean(), new

    fake, _ = net(g.params, g.stats, z)
    moved = oracle.moved(adam, d, lambda w: told_apart(w, d.stats, real, fake), CFG.d_lr)
    return oracle.moved(adam, g, g_loss, CFG.g_lr), moved


@jax.jit
def classified(c, real, fake):
    return oracle.moved(adam, c, lambda w: told_apart(w, c.stats, real, fake), CFG.c_lr)


def found(ratios, beta):
    """The authors' search for lambda, and their weights."""
    n, order = len(ratios), np.sort(ratios)
    for i in range(n):
        level = (beta * n + (1 - beta) * order[: i + 1].sum()) / (i + 1)
        if level >= (1 - beta) * order[i] and (i == n - 1 or level <= (1 - beta) * order[i + 1]):
            return np.array([max(level - (1 - beta) * r, 0) / n / beta for r in ratios])


def paper(start, xs, boosted=True):
    """Learner after learner: a GAN on weighed rows, then C between data and the mixture; the last one goes on."""
    of = lambda player, t: oracle.started(jax.tree.map(lambda a: a[t], player))
    learners = [[of(p, t) for t in range(CFG.learners)] for p in (start.g, start.d, start.c)]
    g, d, c = learners
    key = lambda i, name: rng.at(start.key, i, name)
    for i, x in enumerate(xs):
        t, phase = min(i // 3, 1), i % 3
        if phase < 2:
            w = np.full(len(x), 1 / len(x))
            if t and boosted:
                says = np.asarray(oracle.sigmoid(at_rest(c[t - 1], x)[:, 0]))
                w = found((1 - says) / (says + 1e-8), 1 / (t + 1))
                assert 0 < (w > 0).sum() < len(x)
            rows = jax.random.choice(key(i, "rows"), len(x), (CFG.batch_size,), p=jnp.asarray(w))
            z = rng.normal(key(i, "z"), (CFG.batch_size, CFG.z_dim))
            g[t], d[t] = gan(g[t], d[t], x[rows], z)
        else:
            z = rng.normal(rng.at(key(i, "mixture"), 0, "z"), (CFG.batch_size, CFG.z_dim))
            which = rng.uniform(rng.at(key(i, "mixture"), 0, "which"), (CFG.batch_size,))
            fake = [at_rest(g[int(u * (t + 1))], row[None])[0] for u, row in zip(which, z, strict=True)]
            c[t] = classified(c[t], x[: CFG.batch_size], jnp.stack(fake))
    stack = lambda players: jax.tree.map(lambda *a: jnp.stack(a), *players)
    return [stack(players) for players in learners]


def test_rounds_are_the_paper_s(monkeypatch):
    """Seven steps equal the loops in float64, statistics too; without weights they would not."""
    oracle.normed(adagan, monkeypatch)
    with jax.enable_x64(True):
        xs = 5 * np.random.default_rng(0).normal(size=(7, CFG.pool, 2))
        start, end, metrics = oracle.played(adagan, CFG, [{"x": x} for x in xs])
        oracle.same([end.g, end.d, end.c], paper(start, xs))
        oracle.differ([end.g, end.d, end.c], paper(start, xs, boosted=False))
        assert 0 < metrics["weighed"] < 1


def test_the_published_nets():
    """Two layers of 16 units: 402 parameters of G, 337 of D and of C, in each of ten learners."""
    state = jax.eval_shape(functools.partial(adagan.init, adagan.PRESETS["paper"]), jax.random.key(0))
    sizes = [sum(p.size for p in jax.tree.leaves(player.params)) for player in (state.g, state.d, state.c)]
    assert sizes == [10 * (6 * 16 + 17 * 16 + 17 * 2), *2 * [10 * (3 * 16 + 17 * 16 + 17)]]


def test_learners_that_have_not_begun_are_not_sampled():
    """After the first round samples are the first learner's alone; in the second half of them are the second's."""
    state = jax.jit(functools.partial(adagan.init, CFG))(jax.random.key(0))
    bias = state.g.params["MLP_0"]["Dense_2"]
    bias["bias"] = jnp.arange(2.0)[:, None] * 1e4 + jnp.zeros((2, 2))
    sample = jax.jit(functools.partial(adagan.sample, CFG), static_argnums=2)
    for step, share in ((0, 0), (3, 0), (4, 0.5), (9, 0.5)):
        x = np.asarray(sample(state._replace(step=jnp.int32(step)), jax.random.key(1), 1000))
        assert abs((x[:, 0] > 5e3).mean() - share) < 0.06 * (share > 0) + 1e-9


def test_a_mixture_of_another_size_is_trained_as_the_default():
    """The published lengths, many minutes, are for those who ask for them."""
    cfg, _ = cli.parse(adagan.Config, adagan.PRESETS, ["--dataset=gaussians3"])
    assert dataclasses.replace(cfg, dataset="gaussians10") == adagan.PRESETS["default"]
