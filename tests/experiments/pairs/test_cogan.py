"""CoGAN's step against the authors' losses in plain loops, its nets against their layer table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import cogan
from gan_jax import UserError
from gan_jax.game import rng
from gan_jax.nets import cogan as nets

CFG = dataclasses.replace(cogan.PRESETS["tiny"], batch_size=2, z_dim=3, width=2, d_width=2, lr=1e-2, weight_decay=0.05)


def prelu(p, x):
    return jnp.where(x > 0, x, p["negative_slope"] * x)


def conv(p, x, spread=1, around=0):
    """x [b, h, w, c] with spread - 1 zeros between its pixels and some around: [b, n, m, o]."""
    around = ((around, around),) * 2
    layout = "NHWC", "HWIO", "NHWC"
    y = jax.lax.conv_general_dilated(x, p["kernel"], (1, 1), around, (spread, spread), dimension_numbers=layout)
    return y + p.get("bias", jnp.zeros(1)).reshape(1, 1, 1, -1)


def conv_transpose(p, x, stride, crop):
    """Each pixel of x adds its kernel to the image, of which `crop` rows and columns are cut off all around."""
    mirrored = p | {"kernel": p["kernel"][::-1, ::-1]}
    return conv(mirrored, x, stride, len(p["kernel"]) - 1 - crop)


def pooled(x):
    rows = [[x[:, i : i + 2, j : j + 2].max((1, 2)) for j in range(0, x.shape[2], 2)] for i in range(0, x.shape[1], 2)]
    return jnp.stack([jnp.stack(row, 1) for row in rows], 1)


def generate(p, stats, z):
    """Images of a and of b for each z, at 16x16 (4, 7 and 13 come before), and the new statistics."""
    new, x = {}, z[:, None, None]
    for i, (stride, crop) in enumerate(((1, 0), (2, 1), (2, 1))):
        x = conv_transpose(p[f"ConvTranspose_{i}"], x, stride, crop)
        x, new[f"BatchNorm_{i}"] = oracle.batch_norm({}, stats["batch_stats"][f"BatchNorm_{i}"], x)
        x = prelu(p[f"PReLU_{i}"], x)
    both = 2 * oracle.sigmoid(conv_transpose(p["ConvTranspose_3"], x, 1, 1)) - 1
    return both[..., :1], both[..., 1:], {"batch_stats": new}


def judge(p, x, of):
    """Of each image x the two logits (fake, real), the classes and the features, in the domain `of`."""
    x = pooled(conv(p[f"first_{of}"], (x + 1) / 2))
    f = prelu(p["PReLU_0"], conv(p["Conv_1"], pooled(conv(p["Conv_0"], x)))[:, 0, 0])
    return list(zip(oracle.dense(p["Dense_0"], f), oracle.dense(p["Dense_1"], f), f, strict=True))


def named(logits, at):
    """The cross-entropy of a softmax."""
    return -jnp.log(jnp.exp(logits[at]) / jnp.exp(logits).sum())


@jax.jit
def paper(g, d, a, y, b, z, pairs):
    """D and G by the authors' losses, both from where they are; pairs: 1, or 0 where the features are those of data."""
    n = len(a)

    def d_loss(p):
        fake_a, fake_b, _ = generate(g.params, g.stats, z)
        reals, fakes = (judge(p, a, "a"), judge(p, b, "b")), (judge(p, fake_a, "a"), judge(p, fake_b, "b"))
        value = 0.0
        for i in range(n):
            real, fake = ([rows[i] for rows in both] for both in (reals, fakes))
            value += sum(named(one[0], 1) for one in real) / (2 * n) + sum(named(one[0], 0) for one in fake) / (2 * n)
            value += CFG.classify * named(real[0][1], y[i]) / n
            for share, (one, other) in ((pairs, fake), (1 - pairs, real)):
                value += share * CFG.matching * jnp.sum((one[2] - other[2]) ** 2) / n
        return value, {}

    def g_loss(p):
        fake_a, fake_b, stats = generate(p, g.stats, z)
        rows = judge(d.params, fake_a, "a") + judge(d.params, fake_b, "b")
        return sum(named(row[0], 1) for row in rows) / len(rows), stats

    def moved(player, loss):
        grads, stats = jax.grad(loss, has_aux=True)(player.params)
        decayed = jax.tree.map(lambda grad, p: grad + CFG.weight_decay * p, grads, player.params)
        return oracle.adam(player, decayed, CFG.lr, CFG.b1, stats=stats)

    return moved(g, g_loss), moved(d, d_loss)


def test_step_is_the_paper_s():
    """Two steps equal the authors' losses in float64, statistics too; with features of real pairs they would not."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        sets = random.uniform(-1, 1, (2, 2, 2, 16, 16, 1)), random.integers(0, 10, (2, 2)).astype(np.int32)
        batches = [{"x": {"x": b}, "source": {"x": a, "y": y}} for (a, b), y in zip(*sets, strict=True)]
        start, end, _ = oracle.played(cogan, CFG, batches)

        def theirs(pairs):
            players = oracle.started(start.g, start.d)
            for t, batch in enumerate(batches):
                z = rng.normal(rng.at(start.key, t, "z"), (2, CFG.z_dim))
                players = paper(*players, *batch["source"].values(), batch["x"]["x"], z, pairs)
            return players

        oracle.same((end.g, end.d), theirs(1.0))
        oracle.differ((end.g, end.d), theirs(0.0))


def test_nets_of_the_paper():
    """At 28x28 and the authors' widths the parameters are those of their layer table, without G's idle biases."""
    cfg, x = cogan.PRESETS["paper"], jnp.zeros((2, 28, 28, 1))
    count = lambda net, *given: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"])
    )
    G, D = nets.G((28, 28, 1), cfg.width), nets.D(10, cfg.d_width)
    tied = 100 * 1024 * 16 + 9 * (1024 * 512 + 512 * 256 + 256 * 128) + 4
    assert count(G, jnp.zeros((2, 100))) == tied + 2 * (128 * 36 + 1)
    assert count(D, x, x) == 2 * (25 * 20 + 20) + (25 * 20 * 50 + 50) + (800 * 500 + 500) + 1 + 501 * 2 + 501 * 10


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 24, 3), (32, 32, 3)])
def test_nets_of_any_size(shape):
    """Two images of the size from a latent; of both domains, or of one alone, a score, classes and features a row."""
    G, D, x = nets.G(shape, 2), nets.D(7, 2), jnp.zeros((3, *shape))
    both = lambda key: (G.init_with_output(key, jnp.zeros((2, 5)))[0], D.init_with_output(key, x, x[:1])[0])
    (a, b), (score, logits, f) = jax.eval_shape(both, jax.random.key(0))
    assert a.shape == b.shape == (2, *shape)
    assert score.shape == (4,) and logits.shape == (4, 7) and f.shape == (4, 50)


def test_one_domain_is_named_as_beside_the_other():
    """D's answer to an image of b is the same without images of a, and through a's first layer another one."""
    D, (a, b) = nets.D(10, 2), jax.random.normal(jax.random.key(0), (2, 3, 16, 16, 1))
    _, variables = D.init_with_output(jax.random.key(1), a, b)
    together, alone, through_a = (D.apply(variables, *given)[1] for given in ((a, b), (None, b), (b, None)))
    np.testing.assert_allclose(together[3:], alone, atol=1e-6)
    assert jnp.abs(alone - through_a).max() > 1e-3


def test_the_images_said_to_be_seen_are_those_of_the_batches():
    """One epoch of batches has just these records, with fewer of the other set, too; another seed has others."""
    cfg = dataclasses.replace(CFG, images=40, source_images=20)
    pick = jax.jit(lambda i: cogan.setup(cfg).source.pick(jax.random.key(3), i, 20)["x"])
    batches = set(np.concatenate([pick(0), pick(1)]).tolist())
    said = [set(np.asarray(jax.jit(lambda: cogan.chosen(cfg, jax.random.key(i)))()).tolist()) for i in (3, 4)]
    assert batches == said[0] != said[1] and len(said[0]) == 40


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dataset": "digits"}, r"16x16 at least\.\nSay so behind the name"),
        ({"source": "ring8"}, r"ring8 is \(2,\) and digits16 is \(16, 16, 1\)"),
        ({"images": 2000}, "digits16 has 1497 records, fewer than 2000"),
    ],
)
def test_sets_that_do_not_suit_are_refused(given, says):
    """Another size, points, and more images than there are, each in a line that says what to do."""
    with pytest.raises(UserError, match=says):
        cogan.setup(dataclasses.replace(CFG, **given))
