"""TP-GAN's step against its losses pixel by pixel; its nets against the authors' layers; what it measures."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import tpgan
from gan_jax import UserError, data
from gan_jax.data.composed import of_arrays
from gan_jax.game import rng
from gan_jax.nets import tpgan as nets

CFG = dataclasses.replace(
    tpgan.PRESETS["tiny"], scales=(1.0, 0.7, 1.5), symmetry=0.4, adversarial=0.3, identity=0.6, smooth=0.2, people=0.5,
    lr=1e-2,
)  # fmt: skip
SIDE, C, B, PEOPLE = 16, 2, 2, 4
# eyes, nose and mouth of 16x16, an eighth of the published places
PLACES = (2, 3, 5, 5), (2, 8, 5, 5), (6, 5, 4, 5), (9, 5, 4, 6)
SHAPES = [(SIDE // n, SIDE // n, C) for n in (1, 2, 4)] + [(n, m, C) for *_, n, m in PLACES]


class Front(nn.Module):
    """A layer for each of all that G makes."""

    @nn.compact
    def __call__(self, x, key, train=True):
        x = jnp.concatenate([x.reshape(x.shape[0], -1), rng.normal(key, (x.shape[0], 2))], 1)
        made = [jnp.tanh(nn.Dense(np.prod(shape))(x)).reshape(-1, *shape) for shape in SHAPES]
        return made[:3], made[3:], nn.Dense(PEOPLE)(x)


class Places(nn.Module):
    """Two scores a picture."""

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(nn.Dense(5)(x.reshape(x.shape[0], -1)))
        return nn.Dense(2)(x)


class Who(nn.Module):
    """People, and two layers of features."""

    @nn.compact
    def __call__(self, x, train=True):
        one = jnp.tanh(nn.Dense(6)(x.reshape(x.shape[0], -1)))
        two = jnp.tanh(nn.Dense(3)(one))
        return nn.Dense(PEOPLE)(two), one, two


def front(p, x, key):
    x = jnp.concatenate([x.reshape(len(x), -1), jax.random.normal(key, (len(x), 2))], 1)
    made = [jnp.tanh(oracle.dense(p[f"Dense_{i}"], x)).reshape(-1, *shape) for i, shape in enumerate(SHAPES)]
    return made[:3], made[3:], oracle.dense(p["Dense_7"], x)


def who(p, x):
    one = jnp.tanh(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)))
    two = jnp.tanh(oracle.dense(p["Dense_1"], one))
    return oracle.dense(p["Dense_2"], two), one, two


def is_real(p, x):
    return oracle.sigmoid(oracle.mlp(p, x.reshape(len(x), -1), 1))


G, D, F = (oracle.with_norm(net) for net in (front, is_real, who))


def halved(x):
    """Means of four pixels of a picture [h, w, c]."""
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def with_edges(x):
    """A picture [h, w, c], and eight times each pixel less its neighbours."""
    h, w, _ = x.shape
    around, wide = 0.0, jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    for i in range(3):
        for j in range(3):
            around += 0 if i == j == 1 else wide[i : i + h, j : j + w]
    return jnp.concatenate([x, 8 * x - around], 2)


def unlike(x, held):
    """The sum over the right half of |right - left|, a mean over channels; held: 1 where the left half stays."""
    w, total = x.shape[1], 0.0
    for j in range(w // 2):
        left = held * jax.lax.stop_gradient(x[:, j]) + (1 - held) * x[:, j]
        total += abs(left - x[:, w - 1 - j]).sum() / x.shape[2]
    return total


def rough(x):
    """Section 3.2.4: the sum over pixels and channels of the differences to the next ones."""
    return sum(abs(x[i + 1] - x[i]).sum() + abs(x[:, i + 1] - x[:, i]).sum() for i in range(SIDE - 1))


def of_pixels(large, middle, small, parts, x, held):
    """The losses of one row, before they are divided by the pixels of x."""
    total, truth = CFG.smooth * rough(large), x
    for weight, a, seen in zip(
        CFG.scales, (large, middle, small), (halved(large), with_edges(middle), with_edges(small)), strict=True
    ):
        total += weight * (abs(a - truth).sum() / C + CFG.symmetry * unlike(seen, held))
        truth = halved(truth)
    for a, (top, left, n, m) in zip(parts, PLACES, strict=True):
        total += CFG.parts * abs(a - x[top : top + n, left : left + m]).sum() / C
    return total


def named(logits, y):
    """-log of the probability of the right person."""
    return -jnp.log(jnp.exp(logits[y]) / jnp.exp(logits).sum())


@jax.jit
def paper(g, d, f, key, source, x, y, held):
    """D and F on this batch, then G by what they have become."""

    def l_d(params):
        made = G(g.params, g.stats, source, key)[0][0][0]
        (real, stats), (fake, _) = D(params, d.stats, x), D(params, d.stats, made)
        return -sum((jnp.log(real[i]) + jnp.log(1 - fake[i])).mean() for i in range(B)) / B, stats

    def l_f(params):
        (logits, *_), stats = F(params, f.stats, jnp.concatenate([source, x]))
        return sum(named(logits[i], y[i % B]) for i in range(2 * B)) / (2 * B), stats

    new_d = oracle.moved(oracle.adam, d, l_d, CFG.lr, CFG.b1)
    new_f = oracle.moved(oracle.adam, f, l_f, CFG.lr, CFG.b1)

    def l_g(params):
        (made, parts, logits), stats = G(params, g.stats, source, key)
        real, _ = D(new_d.params, new_d.stats, made[0])
        seen, truth = (features(new_f, a) for a in (made[0], x))
        total = jax.vmap(lambda *row: of_pixels(*row, held))(*made, parts, x).sum() / SIDE**2
        for i in range(B):
            total += CFG.people * named(logits[i], y[i]) - CFG.adversarial * jnp.log(real[i]).mean()
            total += CFG.identity * sum(abs(a[i] - b[i]).mean() for a, b in zip(seen, truth, strict=True))
        return total / B, stats

    return [oracle.moved(oracle.adam, g, l_g, CFG.lr, CFG.b1), new_d, new_f]


def features(f, x):
    """Both layers of F as it is in use: normalised by its running statistics."""
    norm, stats = f.params["BatchNorm_0"], f.stats["batch_stats"]["BatchNorm_0"]
    row = lambda a: a.reshape(1, 1, 1, -1)
    normal = (x - row(stats["mean"])) / jnp.sqrt(row(stats["var"]) + 1e-5) * row(norm["scale"]) + row(norm["bias"])
    return who(f.params["net"], x + normal)[1:]


def test_step_is_the_paper_s(monkeypatch):
    """Three steps equal the losses in float64, statistics too; if the left half moved as well they would not."""
    small = [oracle.Normed(net()) for net in (Front, Places, Who)]
    monkeypatch.setattr(tpgan, "build", lambda cfg: (*small, tpgan.optax.adam(cfg.lr, cfg.b1)))
    monkeypatch.setattr(tpgan, "pairs", lambda cfg: type("Set", (), {"shape": (SIDE, SIDE, C)}))
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        pictures, ys = draw.uniform(-1, 1, (3, 2, B, SIDE, SIDE, C)), draw.integers(0, PEOPLE, (3, B))
        batches = [{"source": source, "x": x, "y": y} for (source, x), y in zip(pictures, ys, strict=True)]
        start, end, _ = oracle.played(tpgan, CFG, batches)

        def theirs(held):
            players = oracle.started(start.g, start.d, start.f)
            for t, batch in enumerate(batches):
                players = paper(*players, rng.at(start.key, t, "g"), **batch, held=held)
            return players

        oracle.same([end.g, end.d, end.f], theirs(1.0))
        oracle.differ([end.g, end.d, end.f], theirs(0.0))


# The nets


def parameters(net, *inputs):
    """Return (what the net gives, as shapes; how many numbers its parameters have)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), *inputs)
    return jax.tree.map(lambda a: a.shape, out), sum(p.size for p in jax.tree.leaves(variables["params"]))


def conv(size, i, o, norm=1):
    """A layer's numbers: the kernel, and a scale and a shift where it is normalised, a bias where not."""
    return size**2 * i * o + (2 * o if norm else o)


def block(size, c, n=1):
    return 2 * n * conv(size, c, c)


def local(c):
    """A patch's path: down to an eighth, two blocks there, and up beside what the way down had."""
    down = conv(3, c, 64, 0) + conv(3, 64, 128) + conv(3, 128, 256) + conv(3, 256, 512)
    up = sum(conv(3, 2 * o, o) + conv(3, 2 * o, o) for o in (256, 128, 64))
    blocks = sum(block(3, c) for c in (64, 128, 256, 512, 512, 256, 128, 64))
    return down + up + blocks + conv(3, 64, 3, 0)


def test_the_published_nets():
    """The layers of the authors' code at 128x128 in colours, with 340 people, counted by hand; no bias before a norm."""
    cfg, x = tpgan.PRESETS["paper"], jnp.zeros((2, 128, 128, 3))
    encoder = conv(7, 6, 64, 0) + block(7, 64) + conv(5, 64, 64) + block(5, 64) + conv(3, 64, 128) + block(3, 128)
    encoder += conv(3, 128, 256) + block(3, 256) + conv(3, 256, 512) + block(3, 512, 4) + conv(1, 8 * 8 * 512, 512, 0)
    first = conv(1, 256 + 100, 8 * 8 * 64, 0) + conv(3, 64, 32, 0) + conv(3, 32, 16, 0) + conv(3, 16, 8, 0)
    at_8 = block(2, 64 + 512, 3)
    at_16 = conv(3, 576, 512) + block(3, 256) + block(3, 768, 2)
    at_32 = conv(3, 768, 256) + block(3, 128 + 6 + 32) + block(3, 256 + 166, 2) + conv(3, 422, 3, 0)
    at_64 = conv(3, 422, 128) + block(5, 64 + 6 + 16) + block(3, 128 + 86 + 3, 2) + conv(3, 217, 3, 0)
    at_128 = conv(3, 217, 64) + block(7, 64 + 6 + 8) + block(5, 64 + 78 + 64 + 3 + 3) + conv(5, 212, 64) + block(3, 64)
    at_128 += conv(3, 64, 32) + conv(3, 32, 3, 0)
    whole = encoder + first + at_8 + at_16 + at_32 + at_64 + at_128 + 3 * local(3) + local(6) + conv(1, 256, 340, 0)
    (pictures, patches, logits), n = parameters(nets.G(340, cfg.width, cfg.blocks), x, jax.random.key(0))
    assert n == whole
    assert pictures == [(2, side, side, 3) for side in (128, 64, 32)] and logits == (2, 340)
    assert patches == [(2, 40, 40, 3), (2, 40, 40, 3), (2, 32, 40, 3), (2, 32, 48, 3)]
    narrow = conv(3, 3, 64, 0) + conv(3, 64, 128) + conv(3, 128, 256) + conv(3, 256, 512) + conv(3, 512, 512)
    scores, n = parameters(nets.D(cfg.width, cfg.blocks), x)
    assert scores == (2, 4 * 4) and n == narrow + block(3, 512, 2) + conv(1, 512, 1, 0)


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_pictures_of_any_size(shape):
    """The front has the size of the side view, then half of it, then a quarter, rounded up."""
    (h, w, c), x = shape, jnp.zeros((2, *shape))
    (pictures, patches, _), _ = parameters(nets.G(5, 2, 0), x, jax.random.key(0))
    assert pictures == [(2, -(-h // n), -(-w // n), c) for n in (1, 2, 4)]
    assert patches == [a.shape for a in nets.patches(x)]
    (_, places, code), _ = parameters(nets.F(5, 2), x)
    n = 8 if h > 20 else 2
    assert places == (2, -(-h // n), -(-w // n), n) and code == (2, 16)


def test_patches_are_laid_where_they_came_from():
    """At the authors' places; where two lie over one another the larger number counts, and around them there is none."""
    x = np.random.default_rng(0).uniform(-1, 1, (2, 128, 128, 1)).astype(np.float32)
    places = (20, 23, 40, 40), (20, 65, 40, 40), (48, 43, 32, 40), (72, 40, 32, 48)
    parts = [i / 9 + a for i, a in enumerate(nets.patches(x))]
    expected = np.full(x.shape, -9.0, np.float32)
    for part, (top, left, n, m) in zip(parts, places, strict=True):
        for i in range(n):
            for j in range(m):
                at = expected[:, top + i, left + j]
                at[:] = np.maximum(np.maximum(at, part[:, i, j]), -9)
    np.testing.assert_array_equal(nets.laid(parts, (128, 128), -9), expected)


# What it measures


def portraits(n=24):
    """Return pairs by pose of known people, blocks of light: record i is of person i % 4."""
    draw = np.random.default_rng(0)
    pose, person = np.arange(n, dtype=np.int32) // 4 % 3, np.arange(n, dtype=np.int32) % 4
    x = (person[:, None, None, None] * 60 + draw.integers(0, 9, (n, 8, 8, 1))).astype(np.uint8)
    fields = {"x": data.Field((8, 8, 1), "image"), "y": data.label(4), "pose": data.label(3), "person": data.label(4)}
    raw = {"x": x, "y": person, "pose": pose, "person": person}
    return data.Source("people", fields, n, read=lambda i: {k: a[i] for k, a in raw.items()}, whole=lambda: raw)


def test_what_is_trained_on_and_measured(monkeypatch):
    """Pairs of the set, mirrored by pose; the mean front of training people and the side views stand beside ours."""
    source = dataclasses.replace(portraits(), test=portraits(12), fingerprint="")
    monkeypatch.setattr(tpgan.data, "load", lambda name: source)
    judge = type("Judge", (), {"features": staticmethod(lambda x: 1 + x.mean((1, 2)) ** jnp.arange(1, 3)[None])})
    monkeypatch.setattr(tpgan.classifier, "load", lambda source: judge)
    cfg = dataclasses.replace(tpgan.PRESETS["tiny"], dataset="people")
    pairs = tpgan.setup(cfg).source
    assert pairs.n == 16 and (pairs.whole()["pose"] != 0).all() and pairs.fields["source"].shape == (8, 8, 1)
    monkeypatch.setattr(tpgan, "turned", lambda cfg, state, key, x: x + 0.25)
    found = tpgan.measure(cfg, None, jax.random.key(0), pairs.whole(), pairs.test.whole())
    side, x, known = (data.decode({"x": a})["x"] for a in (
        pairs.test.whole()["source"], pairs.test.whole()["x"], pairs.whole()["x"]
    ))  # fmt: skip
    flip = (pairs.test.whole()["pose"] == cfg.mirrored)[:, None, None, None]
    side, x = (np.where(flip, a[:, :, ::-1], a) for a in (side, x))
    np.testing.assert_allclose(found["l1/as_it_is"], abs(side - x).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["l1/ours"], abs(side + 0.25 - x).mean(), rtol=1e-5)
    flip = (pairs.whole()["pose"] == cfg.mirrored)[:, None, None, None]
    mean = np.where(flip, known[:, :, ::-1], known).mean(0)
    np.testing.assert_allclose(found["l1/mean"], abs(mean - x).mean(), rtol=1e-5)
    np.testing.assert_array_equal(found["test"].x[0], side[:12])
    np.testing.assert_array_equal(found["test"].x[2], x[:12])
    assert {"rank1/ours", "rank1_of_all/as_it_is", "cosine/mean"} < found.keys()
    assert tpgan.measure(cfg, None, None, {}, {}) == {}


def test_sets_without_faces_to_turn():
    """One that does not say what a pair is, and one that does not say who is on it."""
    for dataset, says in {
        "digits": "digits has no pairs by pose: say pose=FEATURE",
        "digits,x=image,source=image,y=": "digits has no classes, and here each record needs one: say y=FEATURE:label",
    }.items():
        with pytest.raises(UserError, match=says):
            tpgan.setup(dataclasses.replace(CFG, dataset=dataset))


@pytest.mark.parametrize("shape", [(16, 16, 3), (8, 8, 1)])
def test_pairs_that_are_not_alike(shape, monkeypatch):
    """Coloured fronts of grey side views, and pairs of two sizes, are refused in a line: G makes what it was given."""
    raw = {"x": np.zeros((9, *shape), np.uint8), "source": np.zeros((9, 16, 16, 1), np.uint8)}
    fields = {name: data.Field(a.shape[1:], "image") for name, a in raw.items()} | {"y": data.label(3)}
    source = of_arrays("mine", fields, raw | {"y": np.arange(9, dtype=np.int32) % 3})
    monkeypatch.setitem(data.DATASETS, "mine", lambda name: source)
    with pytest.raises(UserError, match=r"mine has pairs of \(\d+, \d+, \d\) and \(16, 16, 1\): both have to be alike"):
        tpgan.setup(dataclasses.replace(CFG, dataset="mine"))
