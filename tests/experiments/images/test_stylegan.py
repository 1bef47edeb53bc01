"""StyleGAN's step through two levels against the authors' formulas, its nets against their table of layers."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import stylegan
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.nets import stylegan as nets

B = 8  # two groups of four
CFG = dataclasses.replace(
    stylegan.PRESETS["tiny"],
    stable=8,
    fade=16,
    z_dim=3,
    map_rate=0.1,
    gamma=10.0,
    lr=2**-7,
    eps=1e-8,
    half_life=30,
    w_decay=0.7,
)
FULL, SQRT2 = 8, math.sqrt(2)
leaky = lambda x: jnp.where(x > 0, x, 0.2 * x)
doubled = lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
halved = lambda x: (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def filtered(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def conv(p, x, gain=SQRT2):
    """A convolution with equalised rates, and its bias where it has one."""
    k = p["kernel"]
    return filtered(x, k) * gain / math.sqrt(math.prod(k.shape[:3])) + p.get("bias", jnp.zeros(1)).reshape(1, 1, 1, -1)


def dense(p, x, gain=SQRT2, rate=1.0):
    return x @ p["kernel"] * gain / math.sqrt(x.shape[1]) * rate + p["bias"].reshape(1, -1) * rate


def blurred(x):
    taps = jnp.outer(*[jnp.array([0.25, 0.5, 0.25])] * 2)
    return filtered(x, taps[:, :, None, None] * jnp.eye(x.shape[3])[None, None])


def mapped(p, z):
    w = z / jnp.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
    for i in range(CFG.depth):
        w = leaky(dense(p[f"Dense_{i}"], w, rate=CFG.map_rate))
    return w


def styled(p, x, w, noise):
    """Noise, bias, activation; then instance norm, then the style."""
    channel = lambda a: a.reshape(1, 1, 1, -1)
    x = leaky(x + channel(p["noise"]) * noise + channel(p["bias"]))
    x = (x - x.mean((1, 2), keepdims=True)) / jnp.sqrt(x.var((1, 2), keepdims=True) + 1e-8)
    style = dense(p["Dense_0"], w, gain=1).reshape(len(x), 2, 1, 1, -1)
    return x * (style[:, 0] + 1) + style[:, 1]


def G(p, ws, noises, side, alpha):
    """The picture at full size; ws: a style [b, w] for every layer."""
    x = jnp.stack([p["constant"]] * B)
    x = styled(p["style_0"], x, ws[0], noises[0])
    x = styled(p["style_1"], conv(p["conv_4"], x), ws[1], noises[1])
    image = conv(p["colours_4"], x, 1)
    if side == FULL:
        x = styled(p["style_2"], blurred(conv(p["up_8"], doubled(x))), ws[2], noises[2])
        x = styled(p["style_3"], conv(p["conv_8"], x), ws[3], noises[3])
        return alpha * conv(p["colours_8"], x, 1) + (1 - alpha) * doubled(image)
    return doubled(image)


def deviation(x):
    """With one more channel: image i is grouped with i + 2, i + 4, i + 6."""
    groups = [jnp.sqrt(x[i::2].var(0) + 1e-8).mean() for i in range(2)]
    more = jnp.stack([jnp.full((4, 4, 1), groups[i % 2]) for i in range(B)])
    return jnp.concatenate([x, more], 3)


def D(p, x, side, alpha):
    """Scores of pictures at full size, which are shrunk to the level first."""
    y = leaky(conv(p["colours_4"], halved(x)))
    if side == FULL:
        new = leaky(conv(p["conv_8"], leaky(conv(p["colours_8"], x))))
        new = leaky(halved(conv(p["down_8"], blurred(new))))  # a bias is the same before and after an average
        y = alpha * new + (1 - alpha) * y
    y = leaky(conv(p["conv_4"], deviation(y)))
    return dense(p["score"], leaky(dense(p["dense"], y.reshape(B, -1))), 1)[:, 0]


def generated(p, z, chance, key, side, alpha):
    """Pictures of one cut between two styles, and the mean of the first of them."""
    one, other = (mapped(p["mapping"], z) for z in z)
    layers = 4 if side == FULL else 2
    cut = jnp.where(chance[0] < 0.9, jnp.floor(1 + chance[1] * (layers - 1)), layers)
    ws = [jnp.where(i < cut, one, other) for i in range(layers)]
    numbers, noises = rng.normal(key, (B, 160 if side == FULL else 32)), []  # of 4x4, 4x4, 8x8 and 8x8 pixels
    for i in range(layers):
        s = 4 if i < 2 else 8
        noises.append(numbers[:, : s * s].reshape(B, s, s, 1))
        numbers = numbers[:, s * s :]
    return G(p["synthesis"], ws, noises, side, alpha), one.mean(0)


@functools.partial(jax.jit, static_argnums=6)
def paper(players, average, mean, x, draws, alpha, side, gamma):
    """An iteration of the authors' loop: D and the averages, then G."""
    g, d = players
    coarse = doubled(halved(x))
    reals = alpha * x + (1 - alpha) * coarse if side == FULL else coarse
    fakes, w = generated(g.params, *draws[0], side, alpha)
    mean = 0.7 * mean + 0.3 * w
    average = oracle.averaged(average, g.params, 0.5 ** (B / 30))
    scores = lambda p, x: D(p, x, side, alpha)

    def d_loss(p):
        penalty = (jax.grad(lambda x: scores(p, x).sum())(reals) ** 2).sum((1, 2, 3))
        fooled = -jnp.log(1 - oracle.sigmoid(scores(p, fakes))) - jnp.log(oracle.sigmoid(scores(p, reals)))
        return (fooled + gamma / 2 * penalty).mean(), {}

    d = oracle.moved(oracle.adam, d, d_loss, CFG.lr, 0.0, 0.99)

    def g_loss(p):
        fakes, w = generated(p, *draws[1], side, alpha)
        return -jnp.log(oracle.sigmoid(scores(d.params, fakes))).mean(), w

    grads, w = jax.grad(g_loss, has_aux=True)(g.params)
    return (oracle.adam(g, grads, CFG.lr, 0.0, 0.99), d), average, 0.7 * mean + 0.3 * w


def drawn(key, t):
    """What the step draws for D and for G: z, the chance of a cut, the key of the noise."""
    z, chance = rng.normal(rng.at(key, t, "z"), (2, 2, B, 3)), rng.uniform(rng.at(key, t, "mixing"), (2, 2))
    return list(zip(z, chance, jax.random.split(rng.at(key, t, "noise")), strict=True))


def theirs(start, xs, gamma=10.0, reset=True):
    """All iterations, the level of detail counted down to 0; moments are forgotten where it becomes whole, or broken."""
    players, average, mean = oracle.started(start.g, start.d), start.g_ema, start.w_mean
    before = 1.0
    for t, x in enumerate(xs):
        lod = 1 - max(t * B - 8, 0) / 16 if t * B < 24 else 0.0
        if reset and (math.floor(lod), math.ceil(lod)) != (math.floor(before), math.ceil(before)):
            players = oracle.started(*players)
        side, alpha, before = (4 if lod == 1 else 8), 1 - (lod - math.floor(lod)), lod
        players, average, mean = paper(players, average, mean, x, drawn(start.key, t), alpha, side, gamma)
    return [*players, average, mean]


def rough(state):
    """The state with noise that is seen, over a constant that is none: else some gradients would be 0 but for rounding."""
    draw = lambda p, i: p + jnp.sin(1.0 + jnp.arange(p.size) + 10 * i).reshape(p.shape)
    s = state.g.params["synthesis"]
    s |= {f"style_{i}": s[f"style_{i}"] | {"noise": draw(s[f"style_{i}"]["noise"], i)} for i in range(4)}
    params = state.g.params | {"synthesis": s | {"constant": draw(s["constant"], 0.5)}}
    return state._replace(g=state.g._replace(params=params), g_ema=params)


def test_step_is_the_paper_s(monkeypatch):
    """Five steps through both levels and the fade, averages too; without a reset, or with another R1, they differ."""
    monkeypatch.setattr(data, "load", lambda name: type("Set", (), {"shape": (8, 8, 1)}))
    begin = stylegan.init
    monkeypatch.setattr(stylegan, "init", lambda cfg, key: rough(begin(cfg, key)))
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (5, B, 8, 8, 1))
        start, end, _ = oracle.played(stylegan, CFG, [{"x": x} for x in xs])
        found = [end.g, end.d, end.g_ema, end.w_mean]
        oracle.same(found, theirs(start, xs), rtol=1e-7)
        oracle.differ(found, theirs(start, xs, reset=False), rtol=1e-7)
        oracle.differ(found, theirs(start, xs, gamma=9.0), rtol=1e-7)


def size(params):
    return sum(p.size for p in jax.tree.leaves(params))


def test_the_published_nets(monkeypatch):
    """At 1024x1024 in colours, counted by hand from the authors' layers, as their code prints: 26.2 and 23.1 million."""
    of = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}
    finer = [(of[s // 2], c) for s, c in of.items() if s > 4]
    mapping = 8 * (512 * 512 + 512)
    convs = 9 * 512 * 512 + sum(9 * (below * c + c * c) for below, c in finer)
    styles = sum(2 * (c + c + 512 * 2 * c + 2 * c) for c in of.values())  # noise, bias, and two numbers a channel
    colours = sum(c * 3 + 3 for c in of.values())
    assert mapping + 4 * 4 * 512 + convs + styles + colours == 26_219_627
    down = sum(9 * (c * c + c * below) + c + below for below, c in finer)
    last = 9 * (512 + 1) * 512 + 512 + (4 * 4 * 512 * 512 + 512) + 512 + 1
    seen = sum(3 * c + c for c in of.values())
    assert down + last + seen == 23_087_249
    monkeypatch.setattr(data, "load", lambda name: type("Set", (), {"shape": (1024, 1024, 3)}))
    state = jax.eval_shape(functools.partial(stylegan.init, stylegan.PRESETS["paper"]), jax.random.key(0))
    assert size(state.g.params) == 26_219_627 and size(state.d.params) == 23_087_249


def test_rates_and_levels(monkeypatch):
    """As the authors have them, from 8x8 up to 1024x1024; other sides are refused, in a line."""
    cfg = stylegan.PRESETS["paper"]
    monkeypatch.setattr(data, "load", lambda name: type("Set", (), {"shape": (1024, 1024, 3)}))
    found, weight = {}, {"w": jnp.zeros(1)}
    for level, side in enumerate(stylegan.build(cfg)[-1]):
        tx = stylegan.build(cfg, level)[2]
        found[side] = -float(tx.update({"w": jnp.ones(1)}, tx.init(weight))[0]["w"][0])
    rates = dict.fromkeys((8, 16, 32, 64), 1e-3) | {128: 1.5e-3, 256: 2e-3, 512: 3e-3, 1024: 3e-3}
    assert found == pytest.approx(rates, rel=1e-4)
    monkeypatch.setattr(data, "load", lambda name: type("Set", (), {"shape": (48, 48, 3)}))
    with pytest.raises(UserError, match="images of 48x48 can't be grown"):
        stylegan.build(cfg)


def test_a_new_level_begins_as_the_one_below():
    """Where it doesn't count yet, G draws the enlarged picture of the level below, D sees the picture shrunk."""
    made, critic, key = nets.Synthesis(2, 16, 4), nets.D(16, 4), jax.random.key(0)
    w, x = jax.random.normal(key, (4, 4, 3)), jax.random.normal(key, (4, 8, 8, 2))

    @jax.jit
    def shown():
        g, d = made.init(key, w, key, 8), critic.init(key, x)
        images = [made.apply(g, w, key, side, 0.0) for side in (8, 4)]
        return *images, critic.apply(d, x, 0.0), critic.apply(d, halved(x))

    fine, coarse, score, below = shown()
    np.testing.assert_allclose(fine, doubled(coarse), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(score, below, rtol=1e-5, atol=1e-6)


def test_styles_are_cut_once():
    """The first layers follow the first w, the last the other one; each cut is as likely, a tenth has none."""
    w = jnp.stack([jnp.zeros((3, 2)), jnp.ones((3, 2))])
    chance = jax.random.uniform(jax.random.key(0), (4000, 2))
    styles = np.asarray(jax.vmap(lambda u: nets.mixed(w, u, 6, 0.9))(chance))  # [draws, b, layers, w]
    assert (styles == styles[:, :1, :, :1]).all() and (np.diff(styles, axis=2) >= 0).all()
    cuts = np.bincount((styles[:, 0, :, 0] == 0).sum(1), minlength=7)
    assert cuts[0] == 0 and oracle.chi_square_is_small(cuts[1:], 4000 * np.array([0.18] * 5 + [0.1]))


def test_coarse_layers_are_truncated():
    """From the mean at 0 to w itself at 1, in the first eight layers alone."""
    w, mean = jnp.array([[4.0], [8.0]]), jnp.array([2.0])
    for psi, expected in ((0.0, [2, 2]), (0.5, [3, 5]), (1.0, [4, 8])):
        found = np.asarray(nets.truncated(w, mean, psi, 10))[:, :, 0]
        assert (found[:, :8] == np.array(expected)[:, None]).all() and (found[:, 8:] == w).all()


def test_styles_and_samples(monkeypatch):
    """psi is how far styles are from the average; samples are of `psi`, and begin as large as their level is."""
    monkeypatch.setattr(data, "load", lambda name: type("Set", (), {"shape": (8, 8, 1)}))
    state = jax.jit(functools.partial(stylegan.init, CFG))(jax.random.key(0))
    state = state._replace(w_mean=jnp.arange(CFG.z_dim, dtype=jnp.float32))
    z = stylegan.latent(CFG, jax.random.key(2), 3)
    of = jax.jit(functools.partial(stylegan.styles, CFG))
    whole, half, none = (np.asarray(of(state, z, psi)) for psi in (1.0, 0.5, 0.0))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(none, np.broadcast_to(state.w_mean, whole.shape))
    close(half, (whole + none) / 2)
    drawn = jax.jit(functools.partial(stylegan.synthesise, CFG))
    x = jax.jit(functools.partial(stylegan.sample, CFG), static_argnums=2)(state, jax.random.key(2), 3)
    close(x, drawn(state, whole, z))
    close(x, doubled(halved(x)))
    assert np.abs(x[0] - x[1]).max() > 1e-3 and np.abs(x - drawn(state, half, z)).max() > 1e-4
