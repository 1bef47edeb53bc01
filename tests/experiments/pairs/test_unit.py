"""UNIT's step against the authors' losses in plain loops, its nets against their layer table."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import unit
from gan_jax import UserError
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


def autoencode(p, stats, a, b, noise, own=True):
    """Both sets at 16x16 as each decoder draws their codes, the codes' mean and deviation, the new statistics.

    Without `own` only b as a and a as b are drawn.
    """
    new, n = {}, len(a)

    def normed(layer, name, norm, x, *how):
        x, new[norm] = oracle.batch_norm(p[norm], stats["batch_stats"][norm], layer(p[name], x, *how))
        return jnp.where(x > 0, x, 0.01 * x)

    given = ("a", a), ("b", b)
    h = jnp.concatenate([normed(conv, f"first_{of}", f"first_{of}_norm", x, 2, (2, 2)) for of, x in given])
    for i, how in enumerate([(2, (2, 2)), (), ()]):
        h = normed(conv, f"Conv_{i}", f"BatchNorm_{i}", h, *how)
    both, code = oracle.dense(p["Dense_0"], h[:, 0, 0]), 8 * CFG.width
    mean, s = both[:, :code], jnp.log(1 + jnp.exp(both[:, code:]))
    h = (mean + s * noise)[:, None, None]
    for i, how in enumerate([(1, 0), (2, 1), (2, 1)]):
        h = normed(up, f"ConvTranspose_{i}", f"BatchNorm_{i + 3}", h, *how)
    given = (("a", h), ("b", h)) if own else (("a", h[n:]), ("b", h[:n]))
    outs = [jnp.tanh(conv(p[f"out_{of}"], normed(up, f"last_{of}", f"last_{of}_norm", x, 2, 1))) for of, x in given]
    return *outs, mean, s, {"batch_stats": new}


def pooled(x):
    return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))


def judge(p, a, b, shares=(), key=None):
    """Of each image, a's first, the logits (fake, real), those of the classes, and what the layers say.

    shares: how much is dropped before each layer.
    """
    firsts = [pooled(jnp.maximum(conv(p[f"first_{of}"], x, 1, (2, 2)), 0)) for of, x in (("a", a), ("b", b))]
    x = jnp.concatenate(firsts)
    for i in range(4):
        if shares:
            x = x * (jax.random.uniform(jax.random.fold_in(key, i), x.shape) >= shares[i]) / (1 - shares[i])
        if i < 3:
            x = pooled(jnp.maximum(conv(p[f"Conv_{i}"], x, 1, (2, 2)), 0))
    x = x.reshape(len(x), -1)
    return oracle.dense(p["Dense_0"], x), oracle.dense(p["Dense_1"], x), x


def named(logits, at):
    """The cross-entropies of softmaxes, [n] of logits [n, classes], on average."""
    return -jnp.log(jnp.take_along_axis(jnp.exp(logits), at[:, None], 1)[:, 0] / jnp.exp(logits).sum(1)).mean()


@jax.jit
def paper(g, d, a, y, b, noise, back):
    """D and G by the authors' losses, both from where they are; back: 1, or 0 where what comes back does not count."""
    n = len(a)
    rows = lambda x, at: x[at * n : (at + 1) * n]
    fake, real = jnp.zeros(n, int), jnp.ones(n, int)

    def fakes(as_a, as_b):
        return {"aa": as_a[:n], "ba": as_a[n:], "ab": as_b[:n], "bb": as_b[n:]}

    def d_loss(p):
        as_a, as_b, *_ = autoencode(g.params, g.stats, a, b, noise[0])
        x, order = {"a": a, "b": b} | fakes(as_a, as_b), ("a", "ba", "aa", "b", "ab", "bb")
        found = judge(p, *(jnp.concatenate([x[name] for name in half]) for half in (order[:3], order[3:])))
        said, names, f = ({name: rows(part, i) for i, name in enumerate(order)} for part in found)
        value = (named(said["a"], real) + named(said["b"], real)) / 2 + CFG.classify * named(names["a"], y)
        value += sum(named(said[name], fake) for name in ("aa", "ba", "ab", "bb")) / 4
        for one, other in (("ab", "aa"), ("ba", "bb")):
            value += CFG.matching * sum(jnp.sum((f[one][i] - f[other][i]) ** 2) for i in range(n)) / n
        return value, {}

    def g_loss(p):
        as_a, as_b, mean, s, stats = autoencode(p, g.stats, a, b, noise[0])
        x = fakes(as_a, as_b)
        aba, bab, mean_there, s_there, _ = autoencode(p, g.stats, x["ba"], x["ab"], noise[1], own=False)
        said, *_ = judge(d.params, jnp.concatenate([x["ba"], x["aa"]]), jnp.concatenate([x["ab"], x["bb"]]))
        value = sum(named(rows(said, i), real) for i in range(4)) / 2
        for share, new, old in ((1, x["aa"], a), (1, x["bb"], b), (back, aba, a), (back, bab, b)):
            value += share * CFG.reconstruct * jnp.sum((new - old) ** 2) / n
        for share, mu, sd in ((1, mean, s), (back, mean_there, s_there)):
            value += share * 2 * CFG.kl * jnp.sum(mu**2 + sd**2 - jnp.log(sd**2)) / (2 * n)
        return value, stats

    def moved(player, loss):
        grads, stats = jax.grad(loss, has_aux=True)(player.params)
        decayed = jax.tree.map(lambda grad, p: grad + CFG.weight_decay * p, grads, player.params)
        return oracle.adam(player, decayed, CFG.lr, CFG.b1, stats=stats)

    return moved(g, g_loss), moved(d, d_loss)


@functools.cache
def played():
    """Return (first state, last state, batches) of two steps in float64."""
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        sets = random.uniform(-1, 1, (2, 2, 2, 16, 16, 1)), random.integers(0, 10, (2, 2)).astype(np.int32)
        batches = [{"x": {"x": b}, "source": {"x": a, "y": y}} for (a, b), y in zip(*sets, strict=True)]
        return *oracle.played(unit, CFG, batches)[:2], batches


def test_step_is_the_paper_s():
    """Two steps equal the authors' losses in float64, statistics too; without what comes back they would not."""
    start, end, batches = played()

    def theirs(back):
        players = oracle.started(start.g, start.d)
        for t, batch in enumerate(batches):
            noise = rng.normal(rng.at(start.key, t, "code"), (2, 4, 8 * CFG.width))
            players = paper(*players, *batch["source"].values(), batch["x"]["x"], noise, back)
        return players

    with jax.enable_x64(True):
        oracle.same((end.g, end.d), theirs(1.0), rtol=1e-8, atol=1e-10)
        oracle.differ((end.g, end.d), theirs(0.0))


def test_the_sets_begin_alike():
    """At first either domain's own layers are the other's, so that nothing is swapped; they learn different things."""
    start, end, _ = played()
    for state, alike in ((start, True), (end, False)):
        for p, own in ((state.g.params, {"first_{}", "last_{}", "out_{}"}), (state.d.params, {"first_{}"})):
            assert {name for name in p if name.endswith("_b")} == {name.format("b") for name in own}
            for name in own:
                assert np.allclose(*(p[name.format(of)]["kernel"] for of in "ab"), atol=1e-12) == alike


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


def test_what_the_decoders_draw():
    """The translations alone are those drawn beside reconstructions, and hang on no image of the other set beside them."""
    G, (a, b) = nets.G((16, 16, 1), 1), jax.random.normal(jax.random.key(0), (2, 3, 16, 16, 1))
    noise = jax.random.normal(jax.random.key(1), (5, 8))

    @jax.jit
    def found(key):
        variables = G.init(key, a, b[:2], noise)
        draw = lambda *given: G.apply(variables, *given, train=False)[:2]
        return draw(a, b[:2], noise), draw(a, b[:2], noise, False), draw(None, b[:2], noise[3:])

    (as_a, as_b), there, (b_as_a, b_as_b) = found(jax.random.key(2))
    for one, other in zip((*there, b_as_a, b_as_b), (as_a[3:], as_b[:3], as_a[3:], as_b[3:]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_heads_see_through_dropout():
    """In a training pass both do, by the shares of the paper; the features do not, nor anything without a key."""
    D, (a, b), key = nets.D(10, 1), jax.random.normal(jax.random.key(0), (2, 3, 16, 16, 1)), jax.random.key(1)

    @jax.jit
    def found(seed):
        variables = D.init(seed, a, b)
        dropped, plain = (judge(variables["params"], a, b, *how) for how in (((0.1, 0.3, 0.5, 0.5), key), ()))
        said = lambda logits: (logits[0][:, 1] - logits[0][:, 0], logits[1])
        expected = (*said(dropped), plain[2]), (*said(plain), plain[2])
        return (D.apply(variables, a, b, key), D.apply(variables, a, b)), expected

    (dropped, plain), expected = found(jax.random.key(2))
    chex.assert_trees_all_close((dropped, plain), expected, rtol=1e-4, atol=1e-5)
    assert jnp.abs(dropped[1] - plain[1]).max() > 0.01


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


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dataset": "digits"}, r"16x16 at least\.\nSay so behind the name"),
        ({"source": "ring8"}, r"ring8 is \(2,\) and digits16 is \(16, 16, 1\)"),
        ({"images": 2000}, "digits16 has 1497 records, fewer than 2000"),
    ],
)
def test_sets_that_do_not_suit_unit_are_refused(given, says):
    """Another size, points, and more images than there are, each in a line that says what to do."""
    with pytest.raises(UserError, match=says):
        unit.setup(dataclasses.replace(CFG, **given))
