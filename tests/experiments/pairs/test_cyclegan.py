"""CycleGAN's step against the paper's objective row by row and its pool as a list."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import cyclegan
from gan_jax.game import pool, rng
from gan_jax.nets import translate

CFG = dataclasses.replace(
    cyclegan.PRESETS["toy"], batch_size=2, width=8, depth=1, identity=0.5, history=3, lr=1e-2, cycle=3.0
)


def net(p, x):
    return oracle.mlp(p, x, 1)


@jax.jit
def g_grads(ab, ba, d_a, d_b, a, b, cycle):
    """Equation 3 of the paper with least squares, and its identity loss; means over rows, and pixels where there are."""

    def total(ab, ba):
        value = 0.0
        for x, y in zip(a, b, strict=True):
            value += (net(d_b, net(ab, x))[0] - 1) ** 2 + (net(d_a, net(ba, y))[0] - 1) ** 2
            value += cycle * (abs(net(ba, net(ab, x)) - x).mean() + abs(net(ab, net(ba, y)) - y).mean())
            value += cycle * CFG.identity * (abs(net(ab, y) - y).mean() + abs(net(ba, x) - x).mean())
        return value / len(a)

    return jax.grad(total, (0, 1))(ab, ba)


@jax.jit
def d_grad(d, real, shown):
    """Half of the least-squares loss of D."""
    rows = lambda d: [(net(d, x)[0] - 1) ** 2 + net(d, fake)[0] ** 2 for x, fake in zip(real, shown, strict=True)]
    return jax.grad(lambda d: sum(rows(d)) / len(real) / 2)(d)


def queried(kept, key, fakes):
    """What D sees: the pool of the authors' code, a list of at most CFG.history fakes."""
    shown = []
    for x, key in zip(fakes, jax.random.split(key, len(fakes)), strict=True):  # noqa: B020
        if len(kept) < CFG.history:
            kept.append(x)
            shown.append(x)
        elif jax.random.bernoulli(key):
            at = int(jax.random.randint(jax.random.fold_in(key, 1), (), 0, CFG.history))
            shown.append(kept[at])
            kept[at] = x
        else:
            shown.append(x)
    return jnp.stack(shown)


def paper(state, xs, cycle):
    """Both translators on both D as they are, then each D on fakes out of its pool."""
    ab, ba, d_a, d_b = oracle.started(*state[2:6])
    adam = jax.jit(lambda player, grads: oracle.adam(player, grads, CFG.lr, CFG.b1))
    pools = [], []
    for t, (a, b) in enumerate(xs):
        fake_a, fake_b = net(ba.params, b), net(ab.params, a)
        ab_grads, ba_grads = g_grads(ab.params, ba.params, d_a.params, d_b.params, a, b, cycle)
        key = rng.at(state.key, t, "history")
        shown_a, shown_b = (queried(pools[i], jax.random.fold_in(key, i), f) for i, f in enumerate((fake_a, fake_b)))
        d_a, d_b = adam(d_a, d_grad(d_a.params, a, shown_a)), adam(d_b, d_grad(d_b.params, b, shown_b))
        ab, ba = adam(ab, ab_grads), adam(ba, ba_grads)
    return [ab, ba, d_a, d_b], [jnp.stack(p) for p in pools]


def test_step_is_the_paper_s():
    """Four steps equal the paper in float64, pools too; with another lambda they would not."""
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(4, 2, 2, 2))
        start, end, _ = oracle.played(cyclegan, CFG, [{"x": {"x": b}, "source": {"x": a}} for a, b in xs])
        ours = list(end[2:6]), [end.old_a, end.old_b]
        oracle.same(ours, paper(start, xs, CFG.cycle))
        oracle.differ(ours, paper(start, xs, CFG.cycle * 2))


def test_the_pool_fills_and_then_is_shown_half_the_time():
    """Each new fake is a number of its own, so what is shown says where it comes from."""
    query = jax.jit(pool.query)
    old, seen, late = jnp.zeros((50, 1)), 0, []
    for i in range(40):
        fakes = 1.0 + jnp.arange(seen, seen + 25.0)[:, None]
        shown, old = query(jax.random.key(i), old, seen, fakes)
        seen += 25
        assert set(np.ravel(shown)) <= set(range(1, seen + 1))
        if seen <= 50:
            assert (shown == fakes).all() and (old[:seen, 0] == 1 + jnp.arange(seen)).all()
        else:
            late.append(np.mean(np.asarray(shown) != np.asarray(fakes)))
    assert 0.45 < np.mean(late) < 0.55 and len(set(np.ravel(old))) == 50


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 19, 3), (64, 64, 3)])
def test_nets_keep_the_size(shape):
    """An image to an image, and to patches' scores."""
    x = jnp.zeros((2, *shape))
    both = lambda key: (
        translate.G(shape, 4, 1).init_with_output(key, x)[0],
        translate.D(4).init_with_output(key, x)[0],
    )
    image, scores = jax.eval_shape(both, jax.random.key(0))
    patches = -(-shape[0] // 4) * -(-shape[1] // 4)
    assert image.shape == x.shape and scores.shape == (2, patches)


def test_the_published_nets():
    """Of 256x256, counted by hand: 9 blocks, and patches of 70x70.

    The authors' code says 11.378 and 2.765 million, with the biases that a norm takes away again.
    """
    cfg, key, x = cyclegan.PRESETS["paper"], jax.random.key(0), jnp.zeros((1, 256, 256, 3))
    size = lambda net: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, x)))
    around = 49 * 3 * 64 + 49 * 64 * 3 + 3
    g, idle = size(translate.G(x.shape[1:], cfg.width, cfg.depth)), 64 + 128 + 256 + 18 * 256 + 128 + 64
    assert g == around + 2 * 9 * (64 * 128 + 128 * 256) + 18 * 9 * 256**2 and g + idle == 11_378_179
    d = size(translate.D(cfg.width))
    assert d == 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1 and d + 128 + 256 + 512 == 2_764_737
    score = jax.jit(lambda params, x: translate.D(4).apply(params, x)[0].reshape(32, 32)[16, 16])
    params = jax.jit(translate.D(4).init)(key, x)
    bare = lambda: jax.jit(jax.grad(lambda x: score(params, x)))(jax.random.normal(key, x.shape))
    rows = np.flatnonzero(np.abs(without_norms(bare)).sum((0, 2, 3)))
    assert rows.max() - rows.min() + 1 == 70


def without_norms(f):
    """Call f with the nets' norms left out, which look at all pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(translate, "instance_norm", lambda x: x)
        return np.asarray(f())


def test_a_picture_is_mirrored_at_its_border(monkeypatch):
    """From 64 pixels on; what lies outside is not 0, nor the border once more."""
    x = jnp.arange(5.0).reshape(1, 1, 5, 1) * jnp.ones((1, 4, 1, 1))
    np.testing.assert_array_equal(translate.reflected(x, 2)[0, 3, :, 0], [2, 1, 0, 1, 2, 3, 4, 3, 2])
    reaches, reflected = [], translate.reflected
    monkeypatch.setattr(translate, "reflected", lambda x, reach: reaches.append(reach) or reflected(x, reach))
    for side, expected in ((32, []), (64, [3, 1, 1, 1, 1, 3])):
        jax.eval_shape(translate.G((side, side, 1), 2, 2).init, jax.random.key(0), jnp.zeros((1, side, side, 1)))
        assert reaches == expected


def test_the_rate_goes_down_to_0():
    """Constant for half of the steps, then a straight line, as the authors' code has it."""
    cfg = dataclasses.replace(cyclegan.PRESETS["toy"], steps=100, falls=0.5, width=4, depth=0)
    *_, tx = cyclegan.build(cfg)
    one = {"w": jnp.ones(())}
    states = tx.init(one)
    moves = []
    for _ in range(100):
        move, states = tx.update(one, states)
        moves.append(-float(move["w"]) / cfg.lr)
    np.testing.assert_allclose(moves[:51], 1, rtol=1e-4)
    np.testing.assert_allclose(moves[50:], 1 - np.arange(50) / 50, atol=1e-4)
