"""SimGAN's step against Algorithm 1 of the paper, its losses place by place, its buffer as a list; its nets."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import simgan
from gan_jax import UserError
from gan_jax.game import pool, rng
from gan_jax.nets import simgan as nets

CFG = dataclasses.replace(simgan.PRESETS["tiny"], batch_size=4, history=6, d_steps=2, regularise=0.3, lr=1e-2)
SIDE = 8


def around(x, size, stride=1, fill=0.0):
    """Yield (row, column, what stands there) of all that a square kernel sees of x [b, h, w, c]: each [b, n, m, c]."""
    n, m = (-(-side // stride) for side in x.shape[1:3])
    above, left = (max((k - 1) * stride + size - side, 0) // 2 for k, side in ((n, x.shape[1]), (m, x.shape[2])))
    x = jnp.pad(x, ((0, 0), (above, size), (left, size), (0, 0)), constant_values=fill)
    for i in range(size):
        for j in range(size):
            yield i, j, x[:, i : i + n * stride : stride, j : j + m * stride : stride][:, :n, :m]


def conv(p, x, stride=1):
    """A convolution as the sum over its kernel's places; what lies outside of x is 0."""
    kernel = p["kernel"]
    return sum(part @ kernel[i, j] for i, j, part in around(x, len(kernel), stride)) + p["bias"].reshape(1, 1, 1, -1)


def highest(x):
    """Return the maxima of x [b, h, w, c] over 3x3 places each."""
    return functools.reduce(jnp.maximum, (part for _, _, part in around(x, 3, fill=-jnp.inf)))


def relu(x):
    return jnp.where(x > 0, x, 0)  # where all before it is dead, x is exactly 0


def refiner(p, x):
    """Section 3.1: a convolution, residual blocks of two, and a 1x1 convolution to a picture."""
    x = relu(conv(p["Conv_0"], x))
    for i in range(CFG.blocks):
        x = relu(x + conv(p[f"Conv_{2 * i + 2}"], relu(conv(p[f"Conv_{2 * i + 1}"], x))))
    return jnp.tanh(conv(p[f"Conv_{2 * CFG.blocks + 1}"], x))


def is_real(p, x):
    """The softmax of each place of D: its second probability [b, n, m]."""
    x = highest(relu(conv(p["Conv_1"], relu(conv(p["Conv_0"], x, 2)), 2)))
    logits = conv(p["Conv_4"], relu(conv(p["Conv_3"], relu(conv(p["Conv_2"], x)))))
    return jnp.exp(logits[..., 1]) / jnp.exp(logits).sum(-1)


R, P = oracle.with_norm(refiner), oracle.with_norm(is_real)


@jax.jit
def refined(r, x):
    return R(r.params, r.stats, x)[0]


@functools.partial(jax.jit, static_argnames="alone")
def r_update(r, d, x, sums, alone):
    """Equation 4: the sum over places, and lambda times the sum over pixels; sums: 0 for means, a planted deviation."""

    def loss(params):
        new, stats = R(params, r.stats, x)
        real, _ = P(d.params, d.stats, new)
        total = 0.0
        for i in range(len(x)):
            change = jnp.abs(new[i] - x[i])
            change = sums * change.sum() + (1 - sums) * change.mean()
            total += CFG.regularise * change - (0 if alone else jnp.log(real[i]).sum())
        return total / len(x), stats

    return oracle.moved(oracle.adam, r, loss, CFG.lr, CFG.b1)


@jax.jit
def d_update(d, fakes, y):
    """Equation 2, summed over places."""

    def loss(params):
        real, stats = P(params, d.stats, y)
        fake, _ = P(params, d.stats, fakes)
        return -sum(jnp.log(real[i]).sum() + jnp.log(1 - fake[i]).sum() for i in range(len(y))) / len(y), stats

    return oracle.moved(oracle.adam, d, loss, CFG.lr, CFG.b1)


class Buffer:
    """Section 2.3: a list of at most CFG.history fakes."""

    def __init__(self):
        self.kept = []

    def old(self, key, new):
        """Return as many old ones as there are new ones."""
        if not self.kept:
            return new
        return jnp.stack([self.kept[int(i)] for i in jax.random.randint(key, (len(new),), 0, len(self.kept))])

    def take(self, key, new):
        """Let the new ones in: in order while there is room, else in others' places."""
        places = [int(i) for i in jax.random.choice(jax.random.fold_in(key, 1), CFG.history, (len(new),), False)]
        full = len(self.kept) == CFG.history
        for x, place in zip(new, places, strict=True):
            if full:
                self.kept[place] = x
            else:
                self.kept.append(x)


def paper(start, batches, sums=1.0):
    """R alone for a round, D alone for a round, then rounds of both: K_g updates of R, K_d of D."""
    (r, d), buffer = oracle.started(start.r, start.d), Buffer()
    for t, (xs, ys) in enumerate(batches):
        for x in xs[: CFG.r_steps]:
            r = r if t == 1 else r_update(r, d, x, sums, alone=t == 0)
        for i, (x, y) in enumerate(zip(xs[CFG.r_steps :], ys[CFG.r_steps :], strict=True)):
            key = jax.random.fold_in(rng.at(start.key, t, "history"), i)
            new = refined(r, x[2:])
            fakes = jnp.concatenate([new, buffer.old(key, new)])
            buffer.take(key, new)
            d = d if t == 0 else d_update(d, fakes, y)
    return [r, d], jnp.stack(buffer.kept)


def test_step_is_the_paper_s(monkeypatch):
    """Five rounds equal the paper in float64, statistics and buffer too; with means over pixels they would not."""
    oracle.normed(simgan, monkeypatch)
    monkeypatch.setattr(simgan.data, "load", lambda name: type("Set", (), {"shape": (SIDE, SIDE, 1)}))
    with jax.enable_x64(True):
        updates = CFG.r_steps + CFG.d_steps
        pairs = np.random.default_rng(0).uniform(-1, 1, size=(5, 2, updates, 4, SIDE, SIDE, 1))
        rows = lambda a: a.swapaxes(0, 1).reshape(-1, SIDE, SIDE, 1)
        start, end, _ = oracle.played(simgan, CFG, [{"source": {"x": rows(x)}, "x": {"x": rows(y)}} for x, y in pairs])
        ours = [end.r, end.d], end.old
        assert end.kept == CFG.history
        oracle.same(ours, paper(start, pairs))
        oracle.differ(ours, paper(start, pairs, sums=0.0))


def test_the_buffer_fills_and_then_loses_half_a_batch_a_time():
    """Each new fake is a number of its own, so what is old says where it comes from; none is replaced twice at once."""
    remembered = jax.jit(pool.remembered)
    old, kept, drawn = jnp.zeros((20, 1)), jnp.int32(0), []
    for i in range(60):
        new = 1.0 + jnp.arange(4 * i, 4 * i + 4.0)[:, None]
        shown, after, now = remembered(jax.random.key(i), old, kept, new)
        known = set(np.ravel(new)) if i == 0 else set(np.ravel(old[:kept]))
        assert set(np.ravel(shown)) <= known and now == min(4 * i + 4, 20)
        if i < 5:
            assert (after[:now, 0] == 1 + jnp.arange(now)).all()
        else:
            assert (after != old).sum() == 4 and set(np.ravel(new)) <= set(np.ravel(after))
            drawn.extend(np.ravel(shown).tolist())
        old, kept = after, now
    ages = 4 * np.repeat(np.arange(5, 60), 4) - np.array(drawn)
    assert ages.max() > 40 and 12 < ages.mean() < 28  # entries live for 20 fakes on average, so those seen are as old


def test_what_can_t_be_refined():
    """Points; and pictures where half a batch of them would not go into the buffer."""
    with pytest.raises(UserError, match="ring8 has no pictures"):
        simgan.setup(dataclasses.replace(CFG, source="ring8"))
    with pytest.raises(UserError, match="--history is 3"):
        simgan.setup(dataclasses.replace(CFG, batch_size=8, history=3))


def parameters(net, x):
    """How many numbers the net's parameters have."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)))


def test_the_published_nets():
    """Their layers, counted by hand, on the paper's 55x35 grey eyes; D answers for 14 times 9 places."""
    x, cfg = jnp.zeros((2, 35, 55, 1)), simgan.PRESETS["paper"]
    both = nets.R(cfg.width, cfg.blocks), nets.D(cfg.width)
    refiner = (9 * 64 + 64) + 4 * 2 * (9 * 64 * 64 + 64) + (64 + 1)
    patches = (9 * 96 + 96) + (9 * 96 * 64 + 64) + (9 * 64 * 32 + 32) + (32 * 32 + 32) + (32 * 2 + 2)
    assert [parameters(net, x) for net in both] == [refiner, patches] == [296_129, 75_906]
    image, scores = (jax.eval_shape(net.init_with_output, jax.random.key(0), x)[0] for net in both)
    assert image.shape == x.shape and scores.shape == (2, 14 * 9)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 19, 3)])
def test_nets_keep_the_size(shape):
    """An image to an image of its channels, and to patches' scores."""
    x = jnp.zeros((2, *shape))
    image, scores = (jax.eval_shape(net.init_with_output, jax.random.key(0), x)[0] for net in (nets.R(4, 1), nets.D(4)))
    assert image.shape == x.shape and scores.shape == (2, -(-shape[0] // 4) * -(-shape[1] // 4))
