"""TVSN's step against the authors' losses, and its nets against their table of layers; what it measures, by loops."""

import collections
import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import novel_view
from gan_jax import data
from gan_jax.metrics.ssim import ssim
from gan_jax.nets import tvsn

CFG = dataclasses.replace(novel_view.PRESETS["tiny"], batch_size=3, f_lr=1e-2, g_lr=2e-2, d_lr=3e-2, smooth=0.1)


class Reader:
    """A net's layers one after the other, by their formulas; `new` has the statistics of the norms."""

    def __init__(self, params, stats):
        self.params, self.stats, self.new, self.seen = params, stats.get("batch_stats"), {}, collections.Counter()

    def next(self, kind):
        self.seen[kind] += 1
        return f"{kind}_{self.seen[kind] - 1}"

    def conv(self, x, stride=1):
        p = self.params[self.next("Conv")]
        pads = [((len(p["kernel"]) - 1) // 2,) * 2] * 2
        order = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, p["kernel"], (stride, stride), pads, dimension_numbers=order)
        return x + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else x

    def widened(self, x):
        """Zeros between the numbers, then a convolution with the kernel turned around; of one pixel a square of 4x4."""
        kernel = self.params[self.next("ConvTranspose")]["kernel"]
        if x.shape[1] == 1:
            return jnp.einsum("bc,hwco->bhwo", x[:, 0, 0], kernel)
        order, turned = ("NHWC", "HWIO", "NHWC"), kernel[::-1, ::-1]
        return jax.lax.conv_general_dilated(
            x, turned, (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=order
        )

    def dense(self, x):
        return oracle.dense(self.params[self.next("Dense")], x)

    def norm(self, x):
        name = self.next("BatchNorm")
        x, self.new[name] = oracle.batch_norm(self.params[name], self.stats[name], x)
        return x


def relu(x, slope=0.0):
    return jnp.where(x > 0, x, slope * x)


def larger(x):
    return jnp.stack([jnp.stack([x, x], 3), jnp.stack([x, x], 3)], 2).reshape(
        len(x), 2 * x.shape[1], 2 * x.shape[2], x.shape[3]
    )


def f_net(params, x, turn):
    """Of 16x16: to 8 and 4 and back; (places, logits of the mask, code)."""
    net = Reader(params, {})
    for _ in range(2):
        x = relu(net.conv(x, 2))
    code, x = x, relu(net.dense(x.reshape(len(x), -1)))
    turn = relu(net.dense(relu(net.dense(turn))))
    x = relu(net.dense(relu(net.dense(jnp.concatenate([x, turn], 1)))))
    x = relu(net.conv(larger(relu(net.dense(x)).reshape(code.shape))))
    x = larger(x)
    return jnp.tanh(net.conv(x)), net.conv(x), code


def moved(x, places):
    """All pixels with the weight of a tent around the place from which it is read."""
    near = lambda at, n: jnp.maximum(0, 1 - abs((at[..., None] + 1) * (n - 1) / 2 - jnp.arange(n).reshape(1, 1, 1, n)))
    return jnp.einsum("bpqh,bpqw,bhwc->bpqc", *(near(places[..., i], x.shape[1 + i]) for i in (0, 1)), x)


def g_net(params, stats, x, code, turn):
    net, down = Reader(params, stats), [x]
    for _ in range(2):
        down.append(relu(net.norm(net.conv(down[-1], 2)), 0.2))
    turn = relu(net.dense(relu(net.dense(turn))))
    turn = net.widened(turn.reshape(len(x), 1, 1, -1))
    x = jnp.concatenate([down[2], code, relu(net.norm(turn))], 3)
    for _ in range(2):
        x = relu(net.norm(net.conv(x)))
    for beside in (down[1], down[0]):
        x = jnp.concatenate([relu(net.norm(net.widened(x))), beside], 3)
        x = relu(net.norm(net.conv(x)))
    return jnp.tanh(net.conv(x)), {"batch_stats": net.new}


def d_net(params, stats, x):
    net, features = Reader(params, stats), []
    for _ in range(2):
        features.append(x := relu(net.norm(net.conv(x, 2)), 0.2))
    return net.dense(x.reshape(len(x), -1))[:, 0], features, {"batch_stats": net.new}


@jax.jit
def f_update(f, a, b, turn):
    """The authors' two losses of F, with the visibility that the truth tells."""

    def loss(params):
        places, logits, _ = f_net(params, a, turn)
        error, p = abs(moved(a, places) - b), oracle.sigmoid(logits[..., 0])
        seen = (error[..., 0] < CFG.near) & (error[..., 1] < CFG.near)
        return 2 * error.mean() - jnp.where(seen, jnp.log(p), jnp.log(1 - p)).mean()

    return oracle.adam(f, jax.grad(loss)(f.params), CFG.f_lr)


@jax.jit
def g_update(f, g, d, a, b, turn, masked):
    """G by the F of before its update and by a D that stays; also what it made, before its own."""
    places, logits, code = f_net(f.params, a, turn)
    flow = moved(a, places)
    flow = jnp.where(masked, (flow + 1) * oracle.sigmoid(logits) - 1, flow)

    def loss(params):
        made, stats = g_net(params, g.stats, flow, code, turn)
        (score, found, _), (_, wanted, _) = d_net(d.params, d.stats, made), d_net(d.params, d.stats, b)
        value = -jnp.log(oracle.sigmoid(score)).mean() + CFG.l1 * abs(made - b).mean()
        value += CFG.features * sum(((x - y) ** 2).mean() for x, y in zip(found, wanted, strict=True))
        first = made[:, :-1, :-1]
        steps = (first - made[:, 1:, :-1]) ** 2 + (first - made[:, :-1, 1:]) ** 2
        return value + CFG.smooth * steps.sum() / len(made) / 2, (stats, made)

    grads, (stats, made) = jax.grad(loss, has_aux=True)(g.params)
    return oracle.adam(g, grads, CFG.g_lr, CFG.b1, stats=stats), made


@jax.jit
def d_update(d, real, fake):
    def loss(params):
        score, _, stats = d_net(params, d.stats, real)
        other, *_ = d_net(params, d.stats, fake)
        return -(jnp.log(oracle.sigmoid(score)) + jnp.log(1 - oracle.sigmoid(other))).mean(), stats

    return oracle.moved(oracle.adam, d, loss, CFG.d_lr, CFG.b1)


def paper(start, batches, masked=True):
    """F and G on each part of a batch, then D on what G made of the last one."""
    f, g, d = oracle.started(start.f, start.g, start.d)
    for parts in batches:
        for a, b, turn in parts:
            before, f = f, f_update(f, a, b, turn)
            g, made = g_update(before, g, d, a, b, turn, masked)
        d = d_update(d, b, made)
    return [f, g, d]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps of two updates equal the authors' in float64, statistics too; without the mask they would not."""
    monkeypatch.setattr(novel_view, "pairs", lambda cfg: type("Set", (), {"shape": (16, 16, 2)}))
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        some = lambda *shape: rng.uniform(-1, 1, (3, *shape))
        batches = [[(some(16, 16, 2), some(16, 16, 2), some(2)) for _ in range(CFG.g_steps)] for _ in range(2)]
        rows = lambda parts: np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])
        fed = [
            dict(zip(("source", "x", "turn"), map(rows, zip(*parts, strict=True)), strict=True)) for parts in batches
        ]
        start, end, metrics = oracle.played(novel_view, CFG, fed)
        oracle.same([end.f, end.g, end.d], paper(start, batches), rtol=1e-7)
        oracle.differ([end.g], [paper(start, batches, masked=False)[1]], rtol=1e-4)
        assert 0 < float(metrics["p/fake"]) < 1 and float(metrics["l1_flow"]) > 0


# The nets


def by_loops(x, places):
    """Bilinear reading of one picture [h, w, c] at places [n, m, 2]: four pixels each, those outside are 0."""
    h, w, c = x.shape
    out = np.zeros((*places.shape[:2], c))
    for p, q in np.ndindex(*places.shape[:2]):
        y, z = (places[p, q, 0] + 1) * (h - 1) / 2, (places[p, q, 1] + 1) * (w - 1) / 2
        top, left = int(np.floor(y)), int(np.floor(z))
        for i, j in itertools.product((top, top + 1), (left, left + 1)):
            if 0 <= i < h and 0 <= j < w:
                out[p, q] += (1 - abs(y - i)) * (1 - abs(z - j)) * x[i, j]
    return out


def test_warp_by_loops():
    """Pictures that aren't square, read inside, on the borders and beyond; at the pixels' own places they stay."""
    rng = np.random.default_rng(0)
    x, places = rng.uniform(-1, 1, (2, 5, 7, 3)), rng.uniform(-1.3, 1.3, (2, 4, 6, 2))
    places[0, 0, :2] = [[-1, 1], [1, -1]]
    with jax.enable_x64(True):
        found = tvsn.warp(jnp.asarray(x), jnp.asarray(places))
        own = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 7), indexing="ij"), 2)[None]
        same = tvsn.warp(jnp.asarray(x[:1]), jnp.asarray(own))
    np.testing.assert_allclose(found, [by_loops(*pair) for pair in zip(x, places, strict=True)], atol=1e-12)
    np.testing.assert_allclose(found[0, 0, :2], [x[0, 0, 6], x[0, 4, 0]], atol=1e-12)
    np.testing.assert_allclose(same[0], x[0], atol=1e-12)


def test_the_gradient_of_warp():
    """Of a weighted sum by each place, y and x alike, and by each pixel: finite differences of the plain loop."""
    rng = np.random.default_rng(1)
    x, places, weight = rng.uniform(-1, 1, (4, 5, 2)), rng.uniform(-0.95, 0.95, (3, 3, 2)), rng.normal(size=(3, 3, 2))
    with jax.enable_x64(True):
        total = lambda x, places: (tvsn.warp(x[None], places[None])[0] * weight).sum()
        found = jax.grad(total, (0, 1))(jnp.asarray(x), jnp.asarray(places))
    for k, of in enumerate((x, places)):
        for at in np.ndindex(*of.shape):
            ends = [[x.copy(), places.copy()] for _ in range(2)]
            for end, way in zip(ends, (1e-6, -1e-6), strict=True):
                end[k][at] += way
            slope = ((by_loops(*ends[0]) - by_loops(*ends[1])) * weight).sum() / 2e-6
            np.testing.assert_allclose(found[k][at], slope, atol=1e-7)


def size(net, *given):
    """Return (the shapes of the net's outputs, how many parameters it has)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), *given)
    return jax.tree.map(lambda a: a.shape, out), sum(p.size for p in jax.tree.leaves(variables["params"]))


def test_the_published_nets():
    """Of 256x256 in colours, counted by hand by the authors' layers, less the biases that a norm takes away."""
    cfg, x, turn = novel_view.PRESETS["paper"], jnp.zeros((1, 256, 256, 3)), jnp.zeros((1, 2))
    F, G, D, *_ = novel_view.build(cfg)
    wide, widths = [3, 16, 32, 64, 128, 256, 512], list(zip((5, 5, 5, 3, 3, 3), range(6), strict=True))
    conv = lambda k, c, o: k * k * c * o + o
    line = lambda n, m: n * m + m
    f = sum(conv(k, wide[i], wide[i + 1]) for k, i in widths)
    f += sum(conv(k, wide[i + 1], wide[i]) for k, i in widths if i) + conv(5, 16, 2) + conv(5, 16, 1)
    f += line(8192, 2048) + line(2, 128) + line(128, 256) + line(2304, 2048) + line(2048, 2048) + line(2048, 8192)
    out, found = size(F, x, turn)
    assert out == ((1, 256, 256, 2), (1, 256, 256, 1), (1, 4, 4, 512)) and found == f

    kernels = [16 * a * b for a, b in itertools.pairwise(wide)] + [16 * 128 * 128, 9 * 1152 * 512, 9 * 512 * 512]
    up = [512, 256, 128, 64, 32, 16, 16]
    kernels += [16 * a * b for a, b in itertools.pairwise(up)]
    kernels += [9 * (c + s) * c for c, s in zip(up[1:], (0, 0, 64, 32, 16, 3), strict=True)]
    g = sum(kernels) + line(2, 128) + line(128, 128) + conv(3, 16, 3)
    g += 2 * (sum(wide[1:]) + 128 + 512 + 512 + 2 * sum(up[1:]))
    assert size(G, x, jnp.zeros((1, 4, 4, 512)), turn) == ((1, 256, 256, 3), g)

    of_d = [3, 64, 64, 64, 128, 256, 512]
    d = sum(16 * a * b for a, b in itertools.pairwise(of_d)) + 2 * sum(of_d[1:]) + line(4 * 4 * 512, 1)
    (score, features), found = size(D, x)
    assert found == d and score == (1,) and features == [(1, n, n, 64) for n in (128, 64, 32)]
    assert (cfg.features, cfg.l1, cfg.g_steps, cfg.steps) == (100, 0, 2, 200 * 1000)
    assert cfg.smooth == pytest.approx(0.001 * 1e-4 * cfg.batch_size * 127.5**2, rel=1e-3)


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3), (5, 4, 1)])
def test_pictures_of_any_size(shape):
    """Places, masks and what is completed have the size of the view."""
    x, turn, (h, w, _) = jnp.zeros((2, *shape)), jnp.zeros((2, 2)), shape
    (places, logits, code), _ = size(tvsn.F(2, 16), x, turn)
    assert places == (2, h, w, 2) and logits == (2, h, w, 1)
    assert size(tvsn.G(2), x, jnp.zeros(code), turn)[0] == x.shape


# What is measured


def views_of(angles, seed):
    """Return raw records of two objects from each of the angles."""
    y, angle = (np.array(a, np.int32) for a in zip(*itertools.product((0, 1), angles), strict=True))
    return {"x": np.random.default_rng(seed).integers(0, 256, (len(y), 16, 16, 1), np.uint8), "y": y, "angle": angle}


def kept(arrays, test=None):
    fields = {"x": data.Field((16, 16, 1), "image"), "y": data.label(2), "angle": data.label(0)}
    read = lambda indices: {k: a[np.asarray(indices)] for k, a in arrays.items()}
    return data.Source(
        "hand", fields, len(arrays["y"]), lambda key, i, b: jnp.arange(b), read, lambda: arrays, test=test
    )


def test_what_is_beside_ours(monkeypatch):
    """With all weights 0 ours is mid-grey, and flow reads the middle of the input; L1 of the others, pair by pair."""
    train, test = views_of((0, 90, 170, 350), 0), views_of((30, 150, 340), 1)
    source = kept(train, kept(test))
    monkeypatch.setattr(data, "load", lambda name: source)
    shapes = jax.eval_shape(functools.partial(novel_view.init, novel_view.PRESETS["tiny"]), jax.random.key(0))
    nothing = lambda player: jax.tree.map(lambda a: np.zeros(a.shape, np.float32), player)
    state = shapes._replace(key=None, step=0, f=nothing(shapes.f), g=nothing(shapes.g), d=None)
    measure = jax.jit(functools.partial(novel_view.measure, novel_view.PRESETS["tiny"]))
    found = measure(state, jax.random.key(0), train, test)
    grey, nearest = lambda a: a.astype(float) / 255, {30: 0, 150: 170, 340: 350}
    errors = collections.defaultdict(list)
    for i, j in itertools.permutations(range(6), 2):
        if test["y"][i] == test["y"][j]:
            truth, of = grey(test["x"][i]), (train["y"] == test["y"][i]) & (train["angle"] == nearest[test["angle"][i]])
            middle = grey(test["x"][j][7:9, 7:9]).mean()
            ways = {"input": grey(test["x"][j]), "nearest": grey(train["x"][of][0]), "flow": middle, "ours": 0.5}
            for way, x in ways.items():
                errors[way].append(abs(truth - x).mean())
    for way, values in errors.items():
        assert len(values) == 12 and found[f"l1/{way}"] == pytest.approx(np.mean(values), rel=1e-5), way
    rows = np.asarray(found["turned"].x)
    assert rows.shape == (5, 12, 16, 16, 1) and (rows[2] == 0).all()
    for way, row in {"input": 0, "flow": 1, "ours": 3}.items():
        assert found[f"ssim/{way}"] == pytest.approx(float(ssim(rows[row], rows[4]).mean()), rel=1e-4, abs=1e-6)
    shown = [data.encode(rows[k]) for k in (0, 4)]
    index = {test["x"][i].tobytes(): i for i in range(6)}
    found = [tuple(index[x.tobytes()] for x in pair) for pair in zip(*shown, strict=True)]
    assert sorted(found) == [(i, j) for i, j in itertools.permutations(range(6), 2) if test["y"][i] == test["y"][j]]


def test_the_held_out_angles(tfds_dir):
    """COIL-20 has 60 views of each object to learn from; 12 others are held out, and make 2,640 pairs."""
    source = novel_view.pairs(novel_view.PRESETS["default"])
    train, test = data.resident(source), data.resident(source.test)
    assert set(test["angle"]) == set(range(15, 360, 30)) and not set(test["angle"]) & set(train["angle"])
    assert np.bincount(train["y"]).tolist() == [60] * 20 and len(data.view_pairs(source.test, 5000)) == 240 * 11
