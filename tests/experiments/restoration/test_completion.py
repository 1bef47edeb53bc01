"""GLCIC's step against its algorithm box phase by phase, its nets against the paper's table of layers; what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.restoration import completion
from gan_jax.metrics import inpainting, poisson, segmenter
from gan_jax.nets import completion as nets

CFG = dataclasses.replace(completion.PRESETS["tiny"], batch_size=3, alpha=0.5, parsing=0.3)
COLOUR = 0.25  # the mean of the training pictures


def conv(p, x, stride=1, rate=1):
    """A convolution by JAX alone."""
    found = jax.lax.conv_general_dilated(
        x, p["kernel"], (stride, stride), "SAME", rhs_dilation=(rate, rate), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return found + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else found


def widened(p, y):
    """The adjoint of one with stride 2."""
    big = jax.ShapeDtypeStruct((len(y), 2 * y.shape[1], 2 * y.shape[2], p["kernel"].shape[3]), y.dtype)
    down = {"kernel": p["kernel"].swapaxes(2, 3)}
    return jax.linear_transpose(lambda x: conv(down, x, 2), big)(y)[0]


def normed(p, stats, new, x):
    """The next batch norm, and a ReLU."""
    name = f"BatchNorm_{len(new)}"
    x, new[name] = oracle.batch_norm(p[name], stats[name], x)
    return jnp.maximum(x, 0)


def complete(p, stats, x):
    """Of width 2: 5x5, down, 3x3, down, dilated by 2, up, 3x3, up, 3x3, 3x3 and a sigmoid."""
    new = {}
    act = functools.partial(normed, p, stats, new)
    for i, how in enumerate(({}, {"stride": 2}, {}, {"stride": 2}, {"rate": 2})):
        x = act(conv(p[f"Conv_{i}"], x, **how))
    for i in range(2):
        x = act(widened(p[f"ConvTranspose_{i}"], x))
        x = act(conv(p[f"Conv_{5 + i}"], x))
    return 2 * oracle.sigmoid(conv(p["Conv_7"], x)) - 1, {"batch_stats": new}


def corner(mask):
    """Where the 8 x 8 around the hole of each picture begins, inside of it: [n, (y, x)]."""
    found = []
    for hole in mask[..., 0]:
        rows, columns = (np.flatnonzero(hole.any(axis)) for axis in (1, 0))
        found.append([int(np.clip((along[0] + along[-1] + 1 - 8) // 2, 0, 16 - 8)) for along in (rows, columns)])
    return np.array(found)


def window(x, at):
    return jnp.stack([jax.lax.dynamic_slice(one, (*i, 0), (8, 8, x.shape[3])) for one, i in zip(x, at, strict=True)])


def score(p, stats, x, at):
    """Two layers see the picture, one sees the window."""
    found, new = [], {}
    for i, (one, layers) in enumerate(((x, 2), (window(x, at), 1))):
        q, of, inner = p[f"Seen_{i}"], stats[f"Seen_{i}"], {}
        for k in range(layers):
            one = normed(q, of, inner, conv(q[f"Conv_{k}"], one, 2))
        found.append(jnp.maximum(oracle.dense(q["Dense_0"], one.reshape(len(x), -1)), 0))
        new[f"Seen_{i}"] = inner
    return oracle.dense(p["Dense_0"], jnp.concatenate(found, 1))[:, 0], {"batch_stats": new}


def adadelta(player, grads, rho=0.9, eps=1e-6, stats=None):
    """Zeiler 2012, Algorithm 1; m: of the squared moves, v: of the squared gradients."""
    v = jax.tree.map(lambda v, g: rho * v + (1 - rho) * g * g, player.v, grads)
    move = jax.tree.map(lambda g, m, v: jnp.sqrt(m + eps) / jnp.sqrt(v + eps) * g, grads, player.m, v)
    m = jax.tree.map(lambda m, d: rho * m + (1 - rho) * d * d, player.m, move)
    params = jax.tree.map(lambda p, d: p - CFG.lr * d, player.params, move)
    return oracle.Player(params, stats, m, v, player.t + 1)


LABELS = np.array([[1.0, -2.0, 0.5]])  # logits of what the segmenter sees in grey 1


def cross_entropy(made, y):
    """Of the pixels whose label is known."""
    logits = made @ LABELS
    said = jnp.log(jnp.exp(logits).sum(-1)) - jnp.take_along_axis(logits, jnp.minimum(y, 2)[..., None], 3)[..., 0]
    return jnp.where(y < 255, said, 0).sum() / (y < 255).sum()


def filled(params, g, x, mask):
    """A picture whose hole C filled; its new statistics."""
    seen = jnp.concatenate([x * (1 - mask) + COLOUR * mask, mask], 3)
    made, stats = complete(params, g.stats["batch_stats"], seen)
    return x * (1 - mask) + made * mask, stats


@functools.partial(jax.jit, static_argnums=0)
def c_update(both, g, d, x, mask, y, at, alpha):
    def loss(params):
        made, stats = filled(params, g, x, mask)
        error = (((made + 1) / 2 - (x + 1) / 2) ** 2 * mask).sum() / x.size
        if not both:
            return error, stats
        said, _ = score(d.params, d.stats["batch_stats"], made, at)
        return error - alpha * jnp.log(oracle.sigmoid(said)).mean() + CFG.parsing * cross_entropy(made, y), stats

    return oracle.moved(adadelta, g, loss)


@jax.jit
def d_update(g, d, x, mask, at, uncut):
    def loss(params):
        real, stats = score(params, d.stats["batch_stats"], x, uncut)
        fake, _ = score(params, d.stats["batch_stats"], filled(g.params, g, x, mask)[0], at)
        return -(jnp.log(oracle.sigmoid(real)) + jnp.log(1 - oracle.sigmoid(fake))).mean(), stats

    return oracle.moved(adadelta, d, loss)


def paper(start, batches, alpha=CFG.alpha):
    """A step of C alone, one of D alone, then of both."""
    g, d = oracle.started(*start[2:4])
    for t, (x, mask, y) in enumerate(batches):
        at = corner(mask)
        if t >= 1:
            d = d_update(g, d, x, mask, at, np.concatenate([at[1:], at[:1]]))
        if t != 1:
            g = c_update(t > 1, g, d, x, mask, y, at, alpha)
    return [g, d]


def boxes(draw, n):
    """Holes of 4 to 8 pixels a side anywhere in 16 x 16, the first in a corner."""
    mask = np.zeros((n, 16, 16, 1))
    for i in range(n):
        sides = draw.integers(4, 9, 2)
        top, left = draw.integers(0, 17 - sides) if i else (0, 16 - sides[1])
        mask[i, top : top + sides[0], left : left + sides[1]] = 1
    return mask


def test_step_is_the_paper_s(monkeypatch):
    """Four steps equal the three phases in float64, statistics too; with half of alpha they would not."""
    monkeypatch.setattr(completion.data, "some", lambda source, n: {"x": np.full((2, 16, 16, 1), np.float32(COLOUR))})
    net = type("Net", (), {"apply": staticmethod(lambda params, x: x @ params)})
    judge = segmenter.Segmenter(net, jnp.asarray(LABELS), "")
    monkeypatch.setattr(segmenter, "load", lambda *_: judge)
    draw = np.random.default_rng(0)
    with jax.enable_x64(True):
        batches = [
            (draw.uniform(-1, 1, (3, 16, 16, 1)), boxes(draw, 3), draw.choice([0, 1, 2, 255], (3, 16, 16)))
            for _ in range(4)
        ]
        rows = [dict(zip(("x", "mask", "y"), map(jnp.asarray, batch), strict=True)) for batch in batches]
        start, end, _ = oracle.played(completion, CFG, rows)
        oracle.same(list(end[2:4]), paper(start, batches), rtol=1e-7)
        oracle.differ(list(end[2:4]), paper(start, batches, CFG.alpha / 2), rtol=1e-7)


def test_the_published_nets():
    """Of 256x256 in colours, by the paper's tables; convolutions that are normalised have a scale and a shift for a bias."""
    cfg, key = completion.PRESETS["paper"], jax.random.key(0)
    size = lambda net, *given: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, *given)["params"]))
    layers = [(5, 4, 64), (3, 64, 128), (3, 128, 128), (3, 128, 256), *[(3, 256, 256)] * 8, (4, 256, 128)]
    layers += [(3, 128, 128), (4, 128, 64), (3, 64, 32)]
    count = lambda layers: sum(k * k * c * o + 2 * o for k, c, o in layers)
    C, D, _ = completion.build(cfg)
    x, mask = jnp.zeros((2, 256, 256, 3)), jnp.zeros((2, 256, 256, 1))
    assert size(C, jnp.zeros((2, 256, 256, 4))) == count(layers) + 9 * 32 * 3 + 3
    seen = [(5, 3, 64), (5, 64, 128), (5, 128, 256), *[(5, 256, 512), (5, 512, 512), (5, 512, 512)]]
    dense = 4 * 4 * 512 * 1024 + 1024
    assert size(D, x, mask) == count(seen) + count(seen[:-1]) + 2 * dense + 2048 + 1


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_pictures_of_any_size(shape):
    x, mask = jnp.zeros((2, *shape)), jnp.ones((2, *shape[:2], 1))
    key, seen = jax.random.key(0), jnp.concatenate([x, mask], 3)
    assert jax.eval_shape(nets.C(2, 0, (2,)).init_with_output, key, seen)[0].shape == x.shape
    assert jax.eval_shape(nets.D(4, 2).init_with_output, key, x, mask)[0].shape == (2,)


@pytest.mark.parametrize("rate", [2, 3, 8])
def test_dilated_is_dilated(rate):
    """Whether the rate divides the sides or is larger than they are."""
    draw = np.random.default_rng(0)
    x, kernel = (jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((2, 6, 9, 3), (3, 3, 3, 4)))
    same = lambda a, k, rate: conv({"kernel": k}, a, rate=rate)
    found = nets.dilated(lambda a: same(a, kernel, 1), x, rate)
    np.testing.assert_allclose(found, same(x, kernel, rate), atol=1e-5)


def test_windows_hold_the_hole():
    """Around the middle of each hole, at the border inside the picture; pixels are numbered."""
    mask = boxes(np.random.default_rng(1), 6)
    x = np.arange(6 * 256, dtype=np.float32).reshape(6, 16, 16, 1)
    found = nets.around(jnp.asarray(x), jnp.asarray(mask), 0.5)
    np.testing.assert_array_equal(found, window(x, corner(mask)))
    assert all(set(x[i][mask[i] > 0]) <= set(np.ravel(found[i])) for i in range(6))


def test_errors_are_of_the_hole_alone():
    """Of two holes, of two pixels and of one, by hand; what lies outside of them doesn't count."""
    x, mask, made = np.zeros((2, 2, 2, 1)), np.zeros((2, 2, 2, 1)), np.ones((2, 2, 2, 1))
    mask[0, 0], mask[1, 1, 1] = 1, 1
    made[0, 0, :, 0], made[1, 1, 1] = (0.2, -0.4), 1.0
    found = inpainting.errors(jnp.asarray(made), jnp.asarray(x), jnp.asarray(mask))
    l2 = (0.1**2 + 0.2**2) / 2, 0.5**2
    assert found["l1"] == pytest.approx((0.15 + 0.5) / 2) and found["l2"] == pytest.approx(sum(l2) / 2)
    assert found["psnr"] == pytest.approx(-10 * np.log10(l2).mean(), rel=1e-5)


def test_blending_solves_poisson_s_equation():
    """In a hole at the picture's border, by a dense matrix, a row a pixel."""
    draw = np.random.default_rng(2)
    x, made, mask = draw.uniform(-0.3, 0.3, (5, 6)), draw.uniform(-0.3, 0.3, (5, 6)), np.zeros((5, 6))
    mask[0:3, 2:5] = 1
    matrix, right = np.eye(30), x.ravel().copy()
    for i, j in np.argwhere(mask):
        near = [(i + a, j + b) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)) if 0 <= i + a < 5 and 0 <= j + b < 6]
        matrix[6 * i + j, 6 * i + j] = len(near)
        matrix[6 * i + j, [6 * a + b for a, b in near]] = -1
        right[6 * i + j] = sum(made[i, j] - made[a, b] for a, b in near)
    batch = lambda a: jnp.asarray(a, jnp.float32)[None, ..., None]
    found = poisson.blended(batch(x), batch(made), batch(mask))[0, ..., 0]
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right).reshape(5, 6), atol=1e-5)
