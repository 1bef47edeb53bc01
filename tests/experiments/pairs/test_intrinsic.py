"""Neural face editing: its step by the authors' losses, shading by closed forms, the priors by other means."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import intrinsic
from gan_jax import UserError, data
from gan_jax.nets import intrinsic as nets

TINY = dataclasses.replace(intrinsic.PRESETS["tiny"], batch_size=3, lr=1e-2, margin=1.0)
CFG = dataclasses.replace(TINY, channels=(2, 3))

# The five constants of Ramamoorthi and Hanrahan 2001, equation 12, as roots.
C1, C2, C3, C4 = (15 * math.pi) ** 0.5 / 16, (math.pi / 12) ** 0.5, 3 / 16 * (5 * math.pi) ** 0.5, math.pi**0.5 / 2
C5 = C3 / 3


def lit(n, c3=C3):
    """Their equation 13, light by light: what a normal [..., 3] gets of L00, L1-1, L10, L11, L2-2, L2-1, L20, L21, L22."""
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    first = [C4 * x**0, 2 * C2 * y, 2 * C2 * z, 2 * C2 * x]
    return [*first, 2 * C1 * x * y, 2 * C1 * y * z, c3 * z**2 - C5, 2 * C1 * x * z, C1 * (x**2 - y**2)]


def relu(x):
    return jnp.where(x > 0, x, 0.0)  # no slope at 0, where dead inputs put it


def conv(p, x):
    order = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        x, p["kernel"], (1, 1), [(len(p["kernel"]) // 2,) * 2] * 2, dimension_numbers=order
    )
    return x + p["bias"].reshape(1, 1, 1, -1)


def encode(p, y):
    x = 2 * y - 1
    for i in range(len(p) - 1):
        x = relu(conv(p[f"Conv_{i}"], x))
        b, h, w, c = x.shape
        x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
    return oracle.dense(p["Dense_0"], x.reshape(b, -1))


def decode(p, code, act=relu):
    """To 16x16: each pixel becomes four, then a convolution; as often as 16 was halved, then one more."""
    levels = len(p) - 2
    side = 16 // 2**levels
    x = act(oracle.dense(p["Dense_0"], code)).reshape(len(code), side, side, -1)
    for i in range(levels):
        x = x[:, jnp.arange(2 * x.shape[1]) // 2][:, :, jnp.arange(2 * x.shape[2]) // 2]
        x = act(conv(p[f"Conv_{i}"], x))
    return conv(p[f"Conv_{levels}"], x)


def taken_apart(p, y, c3):
    """The parts, and matte * albedo * shading + (1 - matte) * background."""
    code = encode(p["Encoder_0"], y)
    own = lambda name: oracle.dense(p[f"code_{name}"], code)
    slopes = decode(p["normals"], own("normals"), jnp.tanh)
    length = jnp.sqrt(slopes[..., 0] ** 2 + slopes[..., 1] ** 2 + 1)
    normals = jnp.stack([slopes[..., 0] / length, slopes[..., 1] / length, 1 / length], 3)
    light = oracle.dense(p["light"], own("light"))
    light = jnp.stack([light[:, :9], light[:, 9:]], 1)
    shading = sum(light[:, None, None, :, k] * of[..., None] for k, of in enumerate(lit(normals, c3)))
    shading = jnp.maximum(shading, 0)
    albedo, matte, behind = (oracle.sigmoid(decode(p[n], own(n))) for n in ("albedo", "matte", "background"))
    face = jnp.minimum(albedo * shading, 1)
    return albedo, normals, light, shading, matte, face, matte * face + (1 - matte) * behind


def shape_of(side, axes):
    """Normals of the ellipsoid, pixel by pixel, and where it is seen."""
    normals, seen = np.zeros((side, side, 3)), np.zeros((side, side, 1))
    for i, j in np.ndindex(side, side):
        x, y = (2 * j + 1) / side - 1, 1 - (2 * i + 1) / side
        left = 1 - (x / axes[0]) ** 2 - (y / axes[1]) ** 2
        if left > 0:
            n = np.array([x / axes[0] ** 2, y / axes[1] ** 2, math.sqrt(left) / axes[2]])
            normals[i, j], seen[i, j] = n / math.sqrt((n**2).sum()), 1
    return normals, seen


def light_of(y, ridge):
    """Least squares with rows for the ridge, picture by picture and channel by channel."""
    normals, seen = shape_of(y.shape[1], CFG.ellipsoid)
    rows, there = np.stack(lit(normals), -1)[seen[..., 0] > 0], seen[..., 0] > 0
    grey = [y[:, there][..., k].mean() / 0.75 for k in range(y.shape[3])]
    more = np.concatenate([rows, math.sqrt(ridge * len(rows)) * np.eye(9)])
    of = lambda picture, k: np.concatenate([picture[there][:, k] / grey[k], np.zeros(9)])
    return np.array([[np.linalg.lstsq(more, of(x, k))[0] for k in range(y.shape[3])] for x in y])


def g_losses(made, y, light, adversarial):
    """The authors' sum, with their weights."""
    albedo, normals, of_light, shading, matte, face, picture = made
    n0, mask = (a[None] for a in shape_of(16, CFG.ellipsoid))
    right, down = (lambda a: a[:, :-1, 1:] - a[:, :-1, :-1]), (lambda a: a[:, 1:, :-1] - a[:, :-1, :-1])
    inner = mask[:, :-1, :-1]
    value = 4 * ((face * mask - y * mask) ** 2).mean() + 2 * abs(picture - y).mean() + adversarial
    value += 0.2 * (abs(right(albedo)) * inner + abs(down(albedo)) * inner).mean()
    value += CFG.shape * (((normals - n0) * mask) ** 2).mean()
    value += 0.1 * (right(normals) ** 2 * inner + down(normals) ** 2 * inner).mean()
    for k in range(2):
        value += 5 * ((of_light[:, k] - light[:, k]) ** 2).mean()
        value += 0.5 * ((shading[..., k] * mask[..., 0]).sum() / mask.sum() / len(y) - 0.75) ** 2
    return value + 5 * abs(matte - mask).mean() + (right(matte) ** 2 + down(matte) ** 2).mean()


def energy(p, y):
    return ((decode(p["Decoder_0"], encode(p["Encoder_0"], y)) - y) ** 2).mean()


@jax.jit
def update(g, d, y, light, c3):
    """Both players by each other as they were before."""

    def g_loss(params):
        made = taken_apart(params, y, c3)
        return g_losses(made, y, light, energy(d.params, made[-1])), made[-1]

    def d_loss(params):
        return energy(params, y) + jnp.maximum(0, CFG.margin - energy(params, fake))

    grads, fake = jax.grad(g_loss, has_aux=True)(g.params)
    return oracle.adam(g, grads, CFG.lr, CFG.b1), oracle.adam(d, jax.grad(d_loss)(d.params), CFG.lr, CFG.b1)


def paper(start, batches, c3=C3):
    g, d = oracle.started(start.g, start.d)
    for x in batches:
        g, d = update(g, d, (x + 1) / 2, light_of((x + 1) / 2, CFG.ridge), c3)
    return [g, d]


def test_step_is_the_paper_s(monkeypatch):
    """Three steps equal the authors' in float64; with the slip in their constant c3 they would not."""
    monkeypatch.setattr(intrinsic.data, "load", lambda name: type("Set", (), {"shape": (16, 16, 2)}))
    batches = np.random.default_rng(0).uniform(-1, 1, (3, 3, 16, 16, 2))
    with jax.enable_x64(True):
        start, end, metrics = oracle.played(intrinsic, CFG, [{"x": x} for x in batches])
        oracle.same([end.g, end.d], paper(start, batches), rtol=1e-7)
        oracle.differ([end.g], paper(start, batches, 0.743152)[:1], rtol=1e-7)
    assert 0 < float(metrics["energy/fake"]) < CFG.margin


@functools.cache
def begun():
    """The first state of `tiny`."""
    return jax.jit(functools.partial(intrinsic.init, intrinsic.PRESETS["tiny"]))(jax.random.key(0))


def test_the_plain_one_only_reconstructs():
    """By the background's code and decoder: what it descends is 2 L1 + D's energy, and no other part of G moves."""
    start, cfg = begun(), dataclasses.replace(TINY, plain=True)
    x = np.random.default_rng(1).uniform(-1, 1, (3, 16, 16, 1)).astype(np.float32)
    end, metrics = jax.jit(functools.partial(intrinsic.step, cfg))(start, {"x": x})
    moved = lambda one, other: any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))
    went = {name for name, part in start.g.params.items() if moved(part, end.g.params[name])}
    assert went == {"Encoder_0", "code_background", "background"}
    p, y = start.g.params, (x + 1) / 2
    own = oracle.dense(p["code_background"], encode(p["Encoder_0"], y))
    behind = np.asarray(oracle.sigmoid(decode(p["background"], own)))
    assert float(metrics["l1"]) == pytest.approx(abs(behind - y).mean(), rel=1e-5)
    assert float(metrics["loss/g"]) == pytest.approx(2 * metrics["l1"].item() + metrics["energy/fake"].item(), rel=1e-5)


# Shading, by closed forms


def sphere(n=24):
    """Unit vectors and weights of a quadrature that is exact for polynomials of low degree, without and with a kink."""
    z, weight = np.polynomial.legendre.leggauss(n)
    z, weight = np.concatenate([(z - 1) / 2, (z + 1) / 2]), np.concatenate([weight, weight]) / 2  # the kink is at z = 0
    angle = 2 * np.pi * np.arange(2 * n) / (2 * n)
    z, angle = (a.ravel() for a in np.meshgrid(z, angle))
    points = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], 1)
    return points, np.tile(weight, 2 * n) * np.pi / n


def some_directions(n, seed=0):
    found = np.random.default_rng(seed).normal(size=(n, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_harmonics_are_orthonormal():
    """The nine, by quadrature over the whole sphere."""
    points, weight = sphere()
    with jax.enable_x64(True):
        y = np.asarray(nets.harmonics(jnp.asarray(points)))
    np.testing.assert_allclose(np.einsum("pk,pl,p->kl", y, y, weight), np.eye(9), atol=1e-12)


def test_shading_is_the_published_formula():
    """Of any light and normal, with the decimals of the paper of 2001: .429043, .511664, .743125, .886227, .247708."""
    assert [round(c, 6) for c in (C1, C2, C3, C4, C5)] == pytest.approx(
        [0.429043, 0.511664, 0.743125, 0.886227, 0.247708], abs=1.5e-6
    )
    n = some_directions(50)
    with jax.enable_x64(True):
        np.testing.assert_allclose(nets.irradiance(jnp.asarray(n)), np.stack(lit(n), -1), atol=1e-12)


def test_a_sphere_under_a_lamp():
    """A Lambertian sphere: 1/4 + cos / 2 + 5/32 (3 cos^2 - 1), which is max(0, cos) without what it has above order 2.

    By the addition theorem; with the kink at z = 0, by quadrature: what is left out is orthogonal to all nine. Nowhere
    are they more than 3/32 apart.
    """
    points, weight = sphere()
    with jax.enable_x64(True):
        for direction in [np.array([0, 0, 1.0]), *some_directions(5, 1)]:
            shading = np.asarray(nets.irradiance(jnp.asarray(points)) @ nets.harmonics(jnp.asarray(direction)))
            cos = points @ direction
            np.testing.assert_allclose(shading, 1 / 4 + cos / 2 + 5 / 32 * (3 * cos**2 - 1), atol=1e-12)
            assert 0.09 < abs(shading - np.maximum(cos, 0)).max() <= 3 / 32
        left = np.maximum(points[:, 2], 0) - np.asarray(
            nets.irradiance(jnp.asarray(points)) @ nets.harmonics(jnp.array([0, 0, 1.0]))
        )
        y = np.asarray(nets.harmonics(jnp.asarray(points)))
    np.testing.assert_allclose(np.einsum("p,pk,p->k", left, y, weight), 0, atol=1e-12)


def test_lamps_light_what_faces_them():
    """Ambient alone lights all alike; from above the upper half is brighter, from the left the left one."""
    (normals,), (seen,) = nets.ellipsoid((16, 16, 1), (0.9, 0.9, 0.9))
    light = lambda *given: np.asarray(nets.irradiance(jnp.asarray(normals, jnp.float32)) @ nets.lamp(*given))
    np.testing.assert_allclose(light((0, 1, 1), 0.3, 0.0), 0.3, rtol=1e-6)
    inside = np.where(seen[..., 0] > 0, 1, np.nan)
    above, left, right = (inside * light(nets.LAMPS[f"from {way}"], 0, 1) for way in ("above", "the left", "the right"))
    assert np.nanmean(above[:8]) > np.nanmean(above[8:]) + 0.2
    assert np.nanmean(left[:, :8]) > np.nanmean(left[:, 8:]) + 0.2
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-6)


def test_what_is_rendered():
    """One pixel by hand: matte 1/4, albedo 1/2, all light of order 0, background 1; too bright is 1, below 0 is black."""
    one = lambda v, c=1: jnp.full((3, 1, 1, c), v)
    parts = {"albedo": one(0.5), "matte": one(0.25), "background": one(1.0)}
    parts["normals"] = one(0.0, 3).at[..., 2].set(1)
    parts["light"] = jnp.zeros((3, 1, 9)).at[:, 0, 0].set(jnp.array([0.8, 8.0, -1.0]) / (math.pi**0.5 / 2))
    made = nets.rendered(parts)
    np.testing.assert_allclose(made["shading"].ravel(), [0.8, 8, 0], rtol=1e-6)
    np.testing.assert_allclose(made["face"].ravel(), [0.4, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(made["picture"].ravel(), [0.85, 1, 0.75], rtol=1e-6)
    np.testing.assert_allclose(nets.relit(parts, parts["light"][0, 0]).ravel(), [0.85] * 3, rtol=1e-6)


# The priors


def test_the_ellipsoid():
    """Normals are at right angles to the slopes of its depth (finite differences), of a picture that isn't square."""
    (h, w), (a, b, c) = (20, 12), (0.8, 0.9, 0.7)
    (normals,), (seen,) = nets.ellipsoid((h, w, 1), (a, b, c))
    depth = lambda x, y: c * w / 2 * math.sqrt(1 - (x / (a * w / 2)) ** 2 - (y / (b * h / 2)) ** 2)
    for i, j in np.ndindex(h, w):
        x, y = j + 0.5 - w / 2, h / 2 - i - 0.5
        inside = (x / (a * w / 2)) ** 2 + (y / (b * h / 2)) ** 2 < 1
        assert seen[i, j, 0] == inside and np.linalg.norm(normals[i, j]) == pytest.approx(1)
        if inside:
            e = 1e-6
            along = [
                [1, 0, (depth(x + e, y) - depth(x - e, y)) / 2 / e],
                [0, 1, (depth(x, y + e) - depth(x, y - e)) / 2 / e],
            ]
            np.testing.assert_allclose(np.array(along) @ normals[i, j], 0, atol=1e-5)
            assert normals[i, j, 2] > 0


def test_the_light_that_is_fitted():
    """Grey ellipsoids give back the light they were rendered with, scaled to a mean shading of 0.75 over the batch."""
    normals, seen = nets.ellipsoid((16, 16, 2), CFG.ellipsoid)
    light = np.random.default_rng(0).normal(size=(4, 2, 9)) * 0.1 + np.array([1.0] + [0] * 8)
    y = np.einsum("khw,bck->bhwc", np.stack(lit(normals[0])), light)
    inside = y[:, seen[0, ..., 0] > 0]
    y = np.where(seen > 0, y * np.array([0.3, 0.6]), 7.0)  # of two greys; what is around does not count
    with jax.enable_x64(True):
        found = np.asarray(nets.fitted(jnp.asarray(y), normals, seen, 0.0))
    np.testing.assert_allclose(found, light * 0.75 / inside.mean((0, 1))[:, None], rtol=1e-8, atol=1e-8)


def test_people_that_are_held_out():
    """The last classes alone, resident or read, in an order of their own; the others are trained on; or it is said why not."""
    source = data.load("digits")
    parted, y = data.unseen(source, 3), source.whole()["y"]
    assert parted.n == (y < 7).sum() and set(parted.whole()["y"]) == set(range(7))
    assert parted.test.n == (y >= 7).sum() and set(parted.test.whole()["y"]) == {7, 8, 9} and not parted.test.test
    np.testing.assert_array_equal(parted.test.read([3, 1])["x"], source.whole()["x"][np.flatnonzero(y >= 7)[[3, 1]]])
    assert sorted(np.asarray(parted.pick(jax.random.key(0), 0, parted.n))) == list(range(parted.n))
    assert parted.fingerprint != parted.test.fingerprint and data.unseen(source, 3) is parted
    assert data.unseen(source, 0) is source and data.unseen(data.load("ring8"), 2) is data.load("ring8")
    with pytest.raises(UserError, match="digits has 10 classes: the last 10 can't be held out"):
        data.unseen(source, 10)
    with pytest.raises(UserError, match="digits has 0 classes"):
        data.unseen(dataclasses.replace(source, fields={"x": source.fields["x"]}), 2)


# The nets, and what is measured


def size(net, y):
    """Return (the shapes of its outputs, how many parameters it has)."""
    out, variables = jax.eval_shape(functools.partial(net.init_with_output, jax.random.key(0)), y)
    return jax.tree.map(lambda a: a.shape, out), sum(p.size for p in jax.tree.leaves(variables["params"]))


def test_the_published_nets():
    """Of 64x64 in colours, counted by hand by the authors' layers; the matte has one channel, light 9 numbers a channel."""
    G, D, _ = intrinsic.build(intrinsic.PRESETS["paper"])
    conv, line = (lambda k, c, o: k * k * c * o + o), (lambda n, m: n * m + m)
    encoder = conv(5, 3, 96) + conv(5, 96, 48) + conv(5, 48, 24) + line(24 * 8 * 8, 128)
    last = {"albedo": 3, "normals": 2, "background": 3, "matte": 1}
    decoder = lambda code, c: (
        line(code, 24 * 8 * 8) + conv(5, 24, 48) + conv(5, 48, 96) + conv(5, 96, 96) + conv(3, 96, c)
    )
    numbers = dict.fromkeys(last, 128) | {"matte": 32}
    g = encoder + sum(line(128, numbers[n]) + decoder(numbers[n], c) for n, c in last.items())
    g += line(128, 10) + line(10, 27)
    y = jnp.zeros((1, 64, 64, 3))
    shapes, found = size(G, y)
    assert found == g and shapes["light"] == (1, 3, 9) and shapes["normals"] == (1, 64, 64, 3)
    assert size(D, y) == ((1, 64, 64, 3), encoder + decoder(128, 3))


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3), (5, 4, 1)])
def test_pictures_of_any_size(shape):
    """The parts have the size of the picture."""
    y, (h, w, c) = jnp.zeros((2, *shape)), shape
    out, _ = size(nets.G(4, (2, 2, 2)), y)
    assert out == {
        "albedo": (2, *shape), "background": (2, *shape), "normals": (2, h, w, 3), "matte": (2, h, w, 1), "light": (2, c, 9)
    }  # fmt: skip
    assert size(nets.D(4, (2, 2, 2)), y)[0] == y.shape


def test_what_is_measured():
    """L1 and PSNR of the rows that are shown; relit pictures differ; a net that does not look at light is not mirrored."""
    cfg = intrinsic.PRESETS["tiny"]
    state, raw = begun(), data.load("digits16").test.whole()
    test, train = ({k: a[some] for k, a in raw.items()} for some in (slice(0, 12), slice(12, 40)))
    measure = jax.jit(functools.partial(intrinsic.measure, cfg))
    found = measure(state, jax.random.key(0), train, test)
    picture = found["faces"]
    rows = dict(zip(picture.rows, (np.asarray(picture.x, np.float64) + 1) / 2, strict=True))
    y, mean = test["x"] / 255, (train["x"] / 255).mean(0)
    np.testing.assert_allclose(rows["input"], np.broadcast_to(y, (12, 16, 16, 3)), atol=1e-6)
    for name, of in {"ours": rows["reconstruction"][..., :1], "mean_face": mean}.items():
        assert found[f"l1/{name}"] == pytest.approx(abs(of - y).mean(), rel=1e-4)
        error = [((a - b) ** 2).mean() for a, b in zip(np.broadcast_to(of, y.shape), y, strict=True)]
        assert found[f"psnr/{name}"] == pytest.approx(np.mean([10 * math.log10(1 / e) for e in error]), rel=1e-4)
    assert abs(rows["from the left"] - rows["from the right"]).max() > 1e-3
    assert -1 <= found["light/mirrored"] <= 1
    even = jax.tree.map(jnp.copy, state)
    even.g.params["light"]["kernel"] *= 0  # shading begins at 0.75 everywhere: nothing is black for good
    shading = measure(even, jax.random.key(0), train, test)["faces"].x[picture.rows.index("shading")]
    np.testing.assert_allclose(shading, 0.5, rtol=1e-5)
