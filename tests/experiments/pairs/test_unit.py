"""UNIT's step against the authors' losses in plain loops, its nets against their layer table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import unit
from gan_jax.game import rng
from gan_jax.nets import unit as nets

CFG = dataclasses.replace(
    unit.PRESETS["tiny"], batch_size=2, width=1, d_width=1, lr=1e-2, weight_decay=0.05, matching=0.1, kl=0.01
)


def conv(p, x, stride=1, pads=(0, 0), spread=1):
    """x [b, h, w, c], with spread - 1 zeros between its pixels and pads around: [b, n, m, o]."""
    layout = "NHWC", "HWIO", "NHWC"
    given = (stride, stride), (pads, pads), (spread, spread)
    y = jax.lax.conv_general_dilated(x, p["kernel"], *given, dimension_numbers=layout)
    return y + p.get("bias", jnp.zeros(1)).reshape(1, 1, 1, -1)


def up(p, x, stride, crop):
    """Each pixel of x adds its kernel to the image, of which `crop` rows and columns are cut off all around."""
    around = len(p["kernel"]) - 1 - crop
    return conv({"kernel": p["kernel"][::-1, ::-1]}, x, 1, (around, around), stride)


def autoencode(p, stats, a, b, noise):
    """Both sets at 16x16 as each decoder draws their codes, the codes' mean and deviation, the new statistics."""
    new = {}

    def normed(layer, name, norm, x, *how):
        x, new[norm] = oracle.batch_norm(p[norm], stats["batch_stats"][norm], layer(p[name], x, *how))
        return jnp.where(x > 0, x, 0.01 * x)

    given = ("a", a), ("b", b)
    h = jnp.concatenate([normed(conv, f"first_{of}", f"first_{of}_norm", x, 2, (1, 2)) for of, x in given])
    for i, how in enumerate([(2, (1, 2)), (), ()]):
        h = normed(conv, f"Conv_{i}", f"BatchNorm_{i}", h, *how)
    mean, s = oracle.dense(p["Dense_0"], h[:, 0, 0]), jnp.log(1 + jnp.exp(oracle.dense(p["Dense_1"], h[:, 0, 0])))
    h = (mean + s * noise)[:, None, None]
    for i, how in enumerate([(1, 0), (2, 1), (2, 1)]):
        h = normed(up, f"ConvTranspose_{i}", f"BatchNorm_{i + 3}", h, *how)
    outs = [jnp.tanh(conv(p[f"out_{of}"], normed(up, f"last_{of}", f"last_{of}_norm", h, 2, 1))) for of in "ab"]
    return *outs, mean, s, {"batch_stats": new}


def pooled(x):
    return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))


def judge(p, a, b, key):
    """Of each image, a's first, the logits (fake, real), the classes, through dropout, and the features without."""
    out = []
    for drop in (False, True):
        firsts = [pooled(jnp.maximum(conv(p[f"first_{of}"], x, 1, (2, 2)), 0)) for of, x in (("a", a), ("b", b))]
        x = jnp.concatenate(firsts)
        for i, share in enumerate((0.1, 0.3, 0.5, 0.5)):
            if drop:
                x = x * (jax.random.uniform(jax.random.fold_in(key, i), x.shape) >= share) / (1 - share)
            if i < 3:
                x = pooled(jnp.maximum(conv(p[f"Conv_{i}"], x, 1, (2, 2)), 0))
        out.append(x.reshape(len(x), -1))
    return oracle.dense(p["Dense_0"], out[1]), oracle.dense(p["Dense_1"], out[1]), out[0]


def named(logits, at):
    """The cross-entropy of a softmax."""
    return -jnp.log(jnp.exp(logits[at]) / jnp.exp(logits).sum())


@jax.jit
def paper(g, d, a, y, b, noise, keys, rebuilt):
    """D and G by the authors' losses, both from where they are; rebuilt: 1, or 0 where D doesn't see reconstructions."""
    n, domain = len(a), range(len(a))
    mean_of = lambda rows, at: sum(named(row, at) for row in rows) / len(rows)

    def d_loss(p):
        as_a, as_b, *_ = autoencode(g.params, g.stats, a, b, noise)
        real, names, _ = judge(p, a, b, keys["data"])
        there, _, f_there = judge(p, as_a[n:], as_b[:n], keys["there"])
        back, _, f_back = judge(p, as_a[:n], as_b[n:], keys["rebuilt"])
        value = mean_of(real, 1) + 0.5 * (mean_of(there, 0) + rebuilt * mean_of(back, 0))
        value += CFG.classify * sum(named(names[i], y[i]) for i in domain) / n
        value += CFG.matching * sum(jnp.sum((f_there[n + i] - f_back[i]) ** 2) for i in domain) / n
        value += CFG.matching * sum(jnp.sum((f_there[i] - f_back[n + i]) ** 2) for i in domain) / n
        return value, {}

    def g_loss(p):
        as_a, as_b, mean, s, stats = autoencode(p, g.stats, a, b, noise)
        value = mean_of(judge(d.params, as_a[n:], as_b[:n], keys["there, by G"])[0], 1)
        value += mean_of(judge(d.params, as_a[:n], as_b[n:], keys["rebuilt, by G"])[0], 1)
        value += CFG.reconstruct * (jnp.sum((as_a[:n] - a) ** 2) + jnp.sum((as_b[n:] - b) ** 2)) / n
        return value + 2 * CFG.kl * jnp.sum(mean**2 + s**2 - jnp.log(s**2)) / (2 * n), stats

    def moved(player, loss):
        grads, stats = jax.grad(loss, has_aux=True)(player.params)
        decayed = jax.tree.map(lambda grad, p: grad + CFG.weight_decay * p, grads, player.params)
        return oracle.adam(player, decayed, CFG.lr, CFG.b1, stats=stats)

    return moved(g, g_loss), moved(d, d_loss)


def test_step_is_the_paper_s():
    """Two steps equal the authors' losses in float64, statistics too; without reconstructions in D they would not."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        sets = random.uniform(-1, 1, (2, 2, 2, 16, 16, 1)), random.integers(0, 10, (2, 2)).astype(np.int32)
        batches = [{"x": {"x": b}, "source": {"x": a, "y": y}} for (a, b), y in zip(*sets, strict=True)]
        start, end, _ = oracle.played(unit, CFG, batches)

        def theirs(rebuilt):
            players = oracle.started(start.g, start.d)
            for t, batch in enumerate(batches):
                noise = rng.normal(rng.at(start.key, t, "code"), (4, 8 * CFG.width))
                names = "data", "there", "rebuilt", "there, by G", "rebuilt, by G"
                keys = {name: rng.at(start.key, t, name) for name in names}
                players = paper(*players, *batch["source"].values(), batch["x"]["x"], noise, keys, rebuilt)
            return players

        oracle.same((end.g, end.d), theirs(1.0), rtol=1e-8, atol=1e-10)
        oracle.differ((end.g, end.d), theirs(0.0))


def test_nets_of_the_paper():
    """At 32x32 and the authors' width the parameters are those of their layer table, without idle biases."""
    x = jnp.zeros((2, 32, 32, 1))
    count = lambda net, *given: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"])
    )
    w = unit.PRESETS["paper"].width
    layers = [(25, 1, w)] * 2 + [(25, w, 2 * w), (64, 2 * w, 4 * w), (1, 4 * w, 8 * w), *[(1, 8 * w, 8 * w)] * 2]
    layers += [(16, 8 * w, 8 * w), (16, 8 * w, 4 * w), (16, 4 * w, 2 * w), *[(16, 2 * w, w)] * 2, *[(1, w, 1)] * 2]
    assert count(nets.G((32, 32, 1)), x, x, jnp.zeros((4, 8 * w))) == sum(k * i * o + o for k, i, o in layers)
    layers = [(25, 1, w)] * 2 + [(25, w, 2 * w), (25, 2 * w, 4 * w), (25, 4 * w, 8 * w), (4, 8 * w, 2), (4, 8 * w, 10)]
    assert count(nets.D(10), x, x) == sum(k * i * o + o for k, i, o in layers)


def test_a_translation_does_not_hang_on_the_other_set():
    """By running statistics an image of b becomes the same image of a with images of a beside it and without."""
    G, (a, b) = nets.G((16, 16, 1), 1), jax.random.normal(jax.random.key(0), (2, 3, 16, 16, 1))
    variables = G.init(jax.random.key(1), a, b, jnp.zeros((6, 8)))
    together = G.apply(variables, a, b, jnp.zeros((6, 8)), train=False)[0][3:]
    alone = G.apply(variables, None, b, jnp.zeros((3, 8)), train=False)[0]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 24, 3), (28, 28, 1)])
def test_nets_of_any_size(shape):
    """Images of the size by both decoders; of both domains, or of one alone, a score, classes and features a row."""
    G, D, x = nets.G(shape, 1), nets.D(7, 1), jnp.zeros((3, *shape))
    both = lambda key: (
        G.init_with_output(key, x, x[:1], jnp.zeros((4, 8)))[0],
        D.init_with_output(key, x, None, key)[0],
    )
    (as_a, as_b, mean, s), (score, logits, f) = jax.eval_shape(both, jax.random.key(0))
    assert as_a.shape == as_b.shape == (4, *shape) and mean.shape == s.shape == (4, 8)
    assert score.shape == (3,) and logits.shape == (3, 7) and f.shape == (3, 8)
