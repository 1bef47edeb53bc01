"""StyleGAN2's step against the four updates of the authors' loop, by hand; its nets against kernels for each row."""

import dataclasses
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from jax import lax

from experiments.images import stylegan2
from gan_jax.game import rng
from gan_jax.nets import stylegan2 as nets

CFG = dataclasses.replace(
    stylegan2.PRESETS["tiny"], batch_size=4, group=2, z_dim=3, depth=2, width=2, most=3, g_every=2, d_every=3, lr=1e-2,
    gamma=0.5, mixing=0.5, ema=5.0, ramp=0.5, target=-2.0, ada_images=64,
)  # fmt: skip
SHAPE = 8, 8, 2
FIR = np.array([1, 3, 3, 1]) / 8


# The nets, by the formulas of the paper and the filters of the authors' code


def band(rows, columns, at):
    """Return the matrix that filters a side, the first tap at j = i step - before; at: (step of i, of j, before)."""
    step, of, before = at
    tap = lambda k: FIR[k] if 0 <= k < 4 else 0.0
    return np.array([[tap(of * j - step * i + before) for j in range(columns)] for i in range(rows)])


def along_sides(matrix, x):
    return jnp.einsum("ih,jw,bhwc->bijc", matrix, matrix, x)


def correlated(x, kernel, stride=1, pad=0):
    return lax.conv_general_dilated(
        x, kernel, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def spread(x):
    """Return x with zeros between its pixels: [b, 2 h - 1, 2 w - 1, c]."""
    b, h, w, c = x.shape
    return jnp.zeros((b, 2 * h - 1, 2 * w - 1, c), x.dtype).at[:, ::2, ::2].set(x)


def up_convolved(x, kernel):
    n = 2 * x.shape[1]
    return 4 * along_sides(band(n, n + 1, (1, 1, 1)), correlated(spread(x), kernel, pad=2))


def down_convolved(x, kernel):
    n, k = x.shape[1], len(kernel)
    return correlated(along_sides(band(n + k - 2, n, (1, 1, (k + 1) // 2)), x), kernel, stride=2)


def lrelu(x):
    return math.sqrt(2) * jnp.maximum(x, 0.2 * x)


def linear(p, x, lrmul=1.0):
    return x @ p["kernel"] * lrmul / math.sqrt(x.shape[-1]) + lrmul * p["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def equalized(kernel):
    return kernel / math.sqrt(math.prod(kernel.shape[:3]))


def modulated(p, x, w, up=False, demodulate=True):
    """The convolution of one image [h, w, c] with the kernel that one style [w] makes."""
    kernel = equalized(p["kernel"]) * linear(p["style"], w)[None, None, :, None]
    if demodulate:
        kernel = kernel / jnp.sqrt((kernel**2).sum((0, 1, 2)) + 1e-8)[None, None, None]
    return (up_convolved(x[None], kernel) if up else correlated(x[None], kernel, pad=len(kernel) // 2))[0]


def layer(p, x, w, noise, up=False):
    of_one = lambda x, w, noise: modulated(p["ModulatedConv_0"], x, w, up) + p["strength"] * noise
    return lrelu(jax.vmap(of_one)(x, w, noise) + p["bias"][None, None, None])


def to_rgb(p, x, w):
    of_one = lambda x, w: modulated(p["ModulatedConv_0"], x, w, demodulate=False)
    return jax.vmap(of_one)(x, w) + p["bias"][None, None, None]


def synthesised(p, ws, key):
    """Two levels: pictures of 8x8 of styles [b, 4, w]."""
    drawn = rng.normal(jax.random.split(key, 3)[2], (len(ws), 16 + 64 + 64))
    noise = lambda first, side: drawn[:, first : first + side**2].reshape(-1, side, side, 1)
    x = layer(p["Layer_0"], jnp.stack([p["const"]] * len(ws)), ws[:, 0], noise(0, 4))
    small = to_rgb(p["ToRGB_0"], x, ws[:, 1])
    x = layer(p["Layer_1"], x, ws[:, 1], noise(16, 8), up=True)
    x = layer(p["Layer_2"], x, ws[:, 2], noise(80, 8))
    return 4 * along_sides(band(8, 4, (1, 2, 2)), small) + to_rgb(p["ToRGB_1"], x, ws[:, 3])


def mapped(p, z):
    x = z / jnp.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
    for i in range(CFG.depth):
        x = lrelu(linear(p[f"Dense_{i}"], x, 0.01))
    return x


def styled(w, stats, keys, n):
    """Return (styles [n, 4, w], the new mean style): in half of the batches two kinds, one after the other."""
    latent, noise = keys
    first = mapped(w["Mapping_0"], rng.normal(latent, (n, CFG.z_dim)))
    mixed, other, _ = jax.random.split(noise, 3)
    whether, where = rng.uniform(mixed, (2,))
    second = mapped(w["Mapping_0"], rng.normal(other, (n, CFG.z_dim)))
    cut = jnp.where(whether < CFG.mixing, 1 + (where > 1 / 3) + (where > 2 / 3), 4)  # 1, 2 or 3
    styles = jnp.stack([jnp.where(i < cut, first, second) for i in range(4)], 1)
    return styles, {"average": {"style": 0.995 * stats["average"]["style"] + 0.005 * first.mean(0)}}


def D(p, x):
    x = lrelu(correlated(x, equalized(p["Conv_0"]["kernel"])) + p["Conv_0"]["bias"][None, None, None])
    y = lrelu(correlated(x, equalized(p["Conv_1"]["kernel"]), pad=1) + p["Conv_1"]["bias"][None, None, None])
    y = lrelu(down_convolved(y, equalized(p["Conv_2"]["kernel"])) + p["Conv_2"]["bias"][None, None, None])
    x = (y + down_convolved(x, equalized(p["Conv_3"]["kernel"]))) / math.sqrt(2)
    deviations = []
    for i in range(len(x)):
        group = x[i % 2 :: 2]  # with batches of 4 in groups of 2
        deviations.append(jnp.sqrt(((group - group.mean(0, keepdims=True)) ** 2).mean(0) + 1e-8).mean())
    x = jnp.concatenate([x, jnp.ones((*x.shape[:3], 1)) * jnp.array(deviations)[:, None, None, None]], 3)
    x = lrelu(correlated(x, equalized(p["Conv_4"]["kernel"]), pad=1) + p["Conv_4"]["bias"][None, None, None])
    return linear(p["Dense_1"], lrelu(linear(p["Dense_0"], x.reshape(len(x), -1))))[:, 0]


# The step


def seen(key, x, p):
    """Stands for ADA: of noise, of p, and not linear in x."""
    return jnp.tanh(x * (1 + (0.5 + p) * rng.normal(key, (len(x), 1, 1, 1))))


def moved(player, loss, k):
    """Return (the player after Adam's step for k + 1 steps in k, what else the loss returns); that is the statistics."""
    c = k / (k + 1)
    grads, others = jax.grad(loss, has_aux=True)(player.params)
    stats = others[0] if isinstance(others, tuple) else others
    return oracle.adam(player, grads, CFG.lr * c, 0.0, 0.99**c, stats=stats), others


@jax.jit
def g_main(g, d, keys, see, p):
    def loss(w):
        ws, stats = styled(w, g.stats, keys, 4)
        scores = D(d.params, seen(see, synthesised(w["Synthesis_0"], ws, keys[1]), p))
        return -jnp.log(oracle.sigmoid(scores)).mean(), stats

    return moved(g, loss, CFG.g_every)[0]


@jax.jit
def g_reg(g, keys, of_y, a):
    """The path lengths of half a batch, each from the gradient of its own picture."""
    y = rng.normal(of_y, (2, *SHAPE)) / 8

    def loss(w):
        ws, stats = styled(w, g.stats, keys, 2)
        dot = lambda ws: (synthesised(w["Synthesis_0"], ws, keys[1]) * y).sum()
        lengths = jnp.sqrt((jax.grad(dot)(ws) ** 2).sum(2).mean(1))
        mean = 0.99 * a + 0.01 * lengths.mean()
        return CFG.g_every * 2 * ((lengths - mean) ** 2).mean(), (stats, mean)

    g, (_, mean) = moved(g, loss, CFG.g_every)
    return g, mean


@jax.jit
def d_main(g, d, keys, see, p, x):
    ws, stats = styled(g.params, g.stats, keys, 4)
    both = seen(see, jnp.concatenate([x, synthesised(g.params["Synthesis_0"], ws, keys[1])]), p)

    def loss(w):
        real_scores, fake_scores = D(w, both[:4]), D(w, both[4:])
        value = -(jnp.log(oracle.sigmoid(real_scores)) + jnp.log(oracle.sigmoid(-fake_scores))).mean()
        return value, ({}, jnp.sign(real_scores).mean())

    d, (_, sign) = moved(d, loss, CFG.d_every)
    return g._replace(stats=stats), d, sign


@jax.jit
def d_reg(d, see, p, x, weight):
    def loss(w):
        slope = jax.grad(lambda x: D(w, seen(see, x, p)).sum())(x)
        return weight * CFG.gamma / 2 * (slope**2).sum((1, 2, 3)).mean(), {}

    return moved(d, loss, CFG.d_every)[0]


def paper(start, batches, lazy=3.0):
    """The authors' loop. lazy: the weight of R1, for a planted deviation."""
    g, d = oracle.started(start.g, start.d)
    average, a, p, signs = g.params, 0.0, 0.0, []
    for t, x in enumerate(batches):
        at = lambda name, t=t: rng.at(start.key, t, name)
        keys = lambda name: jax.random.split(at(name))
        g = g_main(g, d, keys("g"), at("g ada"), p)
        if t % CFG.g_every == 0:
            g, a = g_reg(g, keys("path"), at("path y"), a)
        g, d, sign = d_main(g, d, keys("d"), at("d ada"), p, x)
        if t % CFG.d_every == 0:
            d = d_reg(d, at("r1 ada"), p, x, lazy)
        half_life = min(CFG.ema, CFG.ramp * 4 * t)
        average = oracle.averaged(average, g.params, 0.5 ** (4 / half_life) if half_life else 0.0)
        signs.append(sign)
        if t % 4 == 3:
            p, signs = max(0.0, p + (1 if np.mean(signs) > CFG.target else -1) * 16 / CFG.ada_images), []
    return g, d, (average, g.stats), a, (p, float(sum(signs)))


def test_step_is_the_paper_s(monkeypatch):
    """Five steps, each update at least twice, equal the loop in float64; with R1 unweighted by its rest they would not."""
    monkeypatch.setattr(stylegan2.data, "load", lambda name: types.SimpleNamespace(shape=SHAPE))
    monkeypatch.setattr(stylegan2.augment, "ada", seen)
    exact = types.SimpleNamespace(**vars(jnp) | {"float32": jnp.float64})
    monkeypatch.setattr(stylegan2, "jnp", exact)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, size=(5, 4, *SHAPE))
        start, end, _ = oracle.played(stylegan2, CFG, [{"x": x} for x in xs])
        found = end.g, end.d, end.g_ema, end.path, end.ada
        oracle.same(found, paper(start, xs), rtol=1e-7)
        assert end.ada[0] == 0.25 and abs(end.ada[1]) <= 1
        oracle.differ(found, paper(start, xs, lazy=1.0), rtol=1e-7)


# The nets


@pytest.mark.parametrize("up, demodulate", [(False, True), (True, True), (False, False)])
def test_scaled_inputs_and_outputs_are_a_kernel_for_each_row(up, demodulate):
    """In float64, also of rows whose styles are negative or small."""
    net, draw = nets.ModulatedConv(4, 3, demodulate, up), np.random.default_rng(0).normal
    with jax.enable_x64(True):
        x, w = jnp.asarray(draw(size=(3, 6, 6, 5))), jnp.asarray(draw(size=(3, 2))) * jnp.array([[1.0], [-3.0], [1e-3]])
        params = oracle.double(net.init(jax.random.key(0), x, w))["params"]
        ours = net.apply({"params": params}, x, w)
        theirs = [modulated(params, *of, up, demodulate) for of in zip(x, w, strict=True)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_published_nets():
    """Config F at 1024x1024, as the authors' code counts."""
    key = jax.random.key(0)
    size = lambda net, *given: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, *given)["params"]))
    cfg, latents = stylegan2.PRESETS["paper"], jnp.zeros((4, 512))
    G = nets.G((1024, 1024, 3), cfg.width, cfg.most, cfg.z_dim, cfg.depth)
    assert size(G, latents, key) == 30_370_060 and G.layers == 18
    assert size(nets.D(cfg.width, cfg.most), jnp.zeros((4, 1024, 1024, 3))) == 29_012_513


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 20, 3), (4, 3, 1)])
def test_pictures_of_any_size(shape):
    """z to a picture, a picture to a score."""

    def both(key):
        x = nets.G(shape, 2, 8, 4, 1).init_with_output(key, jnp.ones((2, 4)), key)[0]
        return x, nets.D(2, 8, residual=shape[-1] == 3).init_with_output(key, x)[0]

    x, score = jax.eval_shape(both, jax.random.key(0))
    assert x.shape == (2, *shape) and score.shape == (2,)


def test_truncated_styles_lie_at_their_mean():
    """With psi = 0 all samples are that of the mean style, with 1 they are what G draws of z."""
    G, key = nets.G((8, 8, 1), 2, 4, 4, 1, mixing=0.0), jax.random.key(0)
    z = rng.normal(key, (3, 4))
    params = jax.jit(G.init)(key, z, key)["params"]
    mean = {"average": {"style": rng.normal(jax.random.key(1), (4,))}}
    styles = lambda psi: nets.styles(G, params, mean, z, psi)
    np.testing.assert_allclose(styles(0.0), jnp.broadcast_to(mean["average"]["style"], (3, 4, 4)), atol=1e-6)
    draw = lambda psi: nets.synthesised(G, params, styles(psi), key)
    none, half, whole = jax.jit(lambda: [draw(psi) for psi in (0.0, 0.5, 1.0)])()
    trained, stats = jax.jit(lambda: G.apply({"params": params} | mean, z, key, mutable=["average"]))()
    apart = lambda x: np.abs(x - x[:1]).max()
    assert apart(none) < 1e-5 < 0.1 * apart(half) < 0.1 * apart(whole)  # noise has no strength yet
    np.testing.assert_allclose(whole, trained, atol=1e-5)
    assert not np.array_equal(stats["average"]["style"], mean["average"]["style"])


def test_what_another_run_gives(monkeypatch):
    """Nets and averaged G; without the flag nothing."""
    asked = []
    monkeypatch.setattr(stylegan2, "transferred", lambda *of: asked.append(of))
    cfg = stylegan2.PRESETS["tiny"]
    assert stylegan2.setup(cfg).begin is None
    stylegan2.setup(dataclasses.replace(cfg, begin="runs/a")).begin("state")
    assert asked == [("runs/a", "state", ("g", "d", "g_ema"))]
