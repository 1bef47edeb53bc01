"""PGGAN's step against the authors' losses and schedule on images of full size; its nets by their table of layers."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import progressive
from gan_jax import UserError
from gan_jax.game import growing, rng
from gan_jax.nets import progressive as nets

SIDES = 4, 8, 16
SHAPE = 15, 12, 1  # padded to 16x16
CFG = dataclasses.replace(
    progressive.PRESETS["tiny"], batch_size=4, d_steps=2, stable=4, fade=16, group=2, drift=0.1, lr=1e-2, ema=0.5
)
STAGES = (4, 1.0), (8, 0.25), (8, 0.75), (8, 1.0), (16, 0.5), (16, 1.0)  # of six steps of 8 images: side, alpha
ANEW = 1, 3, 4, 5  # the steps at which a fade has begun or ended


def conv(p, x, gain=math.sqrt(2)):
    """A convolution whose weights are scaled when used."""
    kernel = p["kernel"] * gain / math.sqrt(math.prod(p["kernel"].shape[:3]))
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + p["bias"].reshape(1, 1, 1, -1)


def dense(p, x, gain):
    return x @ p["kernel"] * gain / math.sqrt(len(p["kernel"]))


def leaky(x):
    return jnp.maximum(x, 0.2 * x)


def normed(x):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-8)


def up(x):
    twice = lambda n: jnp.arange(2 * n) // 2
    return x[:, twice(x.shape[1])][:, :, twice(x.shape[2])]


def down(x):
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def resized(x, side):
    """Images at a side, by the mean of 2x2 pixels and by repeating each."""
    while x.shape[1] > side:
        x = down(x)
    while x.shape[1] < side:
        x = up(x)
    return x


def generated(p, z, side, alpha):
    """G's images at full size, by the table of layers."""
    x = dense(p["begin"], normed(z), math.sqrt(2) / 4).reshape(len(z), 4, 4, -1)
    x = normed(leaky(x + p["bias"].reshape(1, 1, 1, -1)))
    x, image = normed(leaky(conv(p["conv_4"], x))), None
    for s in SIDES:
        if s > side:
            break
        if s > 4:
            image = conv(p[f"to_rgb_{s // 2}"], x, 1)
            x = normed(leaky(conv(p[f"up_{s}"], up(x))))
            x = normed(leaky(conv(p[f"conv_{s}"], x)))
    new = conv(p[f"to_rgb_{side}"], x, 1)
    return resized(new if image is None else (1 - alpha) * up(image) + alpha * new, 16)


def judged(p, x, side, alpha):
    """D's scores of images of full size."""
    seen = lambda s: leaky(conv(p[f"from_rgb_{s}"], resized(x, s)))
    y = seen(side)
    for s in SIDES[::-1]:
        if 4 < s <= side:
            y = leaky(conv(p[f"conv_{s}"], y))
            y = leaky(down(conv(p[f"down_{s}"], y) - p[f"down_{s}"]["bias"]) + p[f"down_{s}"]["bias"])
            y = (1 - alpha) * seen(s // 2) + alpha * y if s == side else y
    spread = [jnp.sqrt(y[i::2].var(0) + 1e-8).mean() for i in range(2)]  # groups of two: images 0 and 2, 1 and 3
    more = jnp.stack([jnp.full((4, 4, 1), spread[i % 2]) for i in range(4)])
    y = leaky(conv(p["conv_4"], jnp.concatenate([y, more], 3)))
    y = leaky(dense(p["dense"], y.reshape(4, -1), math.sqrt(2)) + p["dense"]["bias"][None])
    return dense(p["score"], y, 1)[:, 0] + p["score"]["bias"][0]


@functools.partial(jax.jit, static_argnames="side")
def paper(g, d, average, x, zs, ts, side, alpha):
    """Both updates of D, then that of G, then the average; x: reals of full size, blurred as far as they are."""
    adam = lambda player, loss: oracle.moved(oracle.adam, player, loss, CFG.lr, 0.0, CFG.b2)
    for i in range(2):
        fake = generated(g.params, zs[i], side, alpha)
        mixed = ts[i] * x[i] + (1 - ts[i]) * fake

        def d_loss(p, real=x[i], fake=fake, mixed=mixed):
            said, total = judged(p, real, side, alpha), 0.0
            slopes = jax.grad(lambda v: judged(p, v, side, alpha).sum())(mixed)
            for good, bad, slope in zip(said, judged(p, fake, side, alpha), slopes, strict=True):
                total += bad - good + 10 * (jnp.sqrt((slope**2).sum()) - 1) ** 2 + CFG.drift * good**2
            return total / 4, {}

        d = adam(d, d_loss)
    g = adam(g, lambda p: (-judged(d.params, generated(p, zs[2], side, alpha), side, alpha).mean(), {}))
    return g, d, oracle.averaged(average, (g.params, g.stats), CFG.ema)


def blurred(x, side, alpha):
    """Reals at full size, without what the nets can't see yet."""
    return (1 - alpha) * resized(resized(x, side // 2), 16) + alpha * resized(resized(x, side), 16)


def theirs(start, xs, anew=ANEW, blur=blurred):
    """Return what the algorithm ends with; anew: the steps at which its optimisers forget."""
    g, d, average = *oracle.started(start.g, start.d), start.g_ema
    for t, (side, alpha) in enumerate(STAGES):
        if t in anew:
            g, d = oracle.started(g, d)
        key = lambda name, i, t=t: jax.random.fold_in(rng.at(start.key, t, name), i)
        zs = [rng.normal(key("z", i), (4, CFG.z_dim)) for i in range(3)]
        ts = [jax.random.uniform(key("penalty", i), (4, 1, 1, 1)) for i in range(2)]
        x = jnp.pad(xs[t], [(0, 0), (0, 0), (0, 1), (2, 2), (0, 0)], constant_values=-1)
        x = jnp.stack([blur(part, side, alpha) for part in x])
        g, d, average = paper(g, d, average, x, zs, ts, side=side, alpha=alpha)
    return g, d, average


def test_step_is_the_paper_s(monkeypatch):
    """All levels and fades equal the authors' in float64; with old moments or sharp reals they would not."""
    monkeypatch.setattr(progressive.data, "load", lambda name: type("Set", (), {"shape": SHAPE}))
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (len(STAGES), 2, 4, *SHAPE))
        rows = [{"x": x.swapaxes(0, 1).reshape(8, *SHAPE)} for x in xs]
        start, end, metrics = oracle.played(progressive, CFG, rows)
        found = end.g, end.d, end.g_ema
        oracle.same(found, theirs(start, xs), rtol=1e-7)
        oracle.differ(found, theirs(start, xs, anew=(1, 3, 4)), rtol=1e-7)
        oracle.differ(found, theirs(start, xs, blur=lambda x, side, alpha: resized(resized(x, side), 16)), rtol=1e-7)
        assert metrics["side"] == 16 and metrics["alpha"] == 1


NETS = {
    "paper": (nets.G((16, 16, 3), 2, 8), nets.D(16, 2, 8)),
    "mnist1k": (nets.SmallG((16, 16, 3), 2, 8), nets.SmallD(16, 2, 8)),
}


@pytest.mark.parametrize("which", NETS)
def test_a_new_level_begins_as_the_old_net_and_ends_alone(which):
    """At alpha 0 both nets are those of the level below; at 1 the layers of its colours have no say."""
    G, D = NETS[which]

    @jax.jit
    def made(key):
        z = rng.normal(key, (4, 6))
        g = G.init(key, z)
        images = G.apply(g, z, 8), G.apply(g, z, 16, jnp.float32(0)), G.apply(g, z, 16, jnp.float32(1))
        d = D.init(key, images[2])
        said = D.apply(d, growing.halved(images[2])), *(D.apply(d, images[2], jnp.float32(a)) for a in (0, 1))
        no_g, no_d = (
            jax.tree_util.tree_map_with_path(lambda path, a: a + 1 if "_rgb_8" in str(path) else a, p) for p in (g, d)
        )
        return *images, *said, G.apply(no_g, z, 16), D.apply(no_d, images[2]), G.apply(no_g, z, 8)

    old, begun, new, of_old, of_begun, of_new, alone, of_alone, other = made(jax.random.key(0))
    np.testing.assert_array_equal(begun, growing.doubled(old))
    np.testing.assert_allclose(of_begun, of_old, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(alone, new, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_alone, of_new, rtol=1e-5, atol=1e-6)
    assert jnp.abs(new - begun).max() > 0.1 and jnp.abs(of_new - of_begun).max() > 0.01
    assert jnp.abs(other - old).max() > 0.1


def sizes(name):
    """Return the numbers of parameters of G and D of a preset."""
    cfg = progressive.PRESETS[name]
    state = jax.eval_shape(functools.partial(progressive.init, cfg), jax.random.key(0))
    return [sum(p.size for p in jax.tree.leaves(player.params)) for player in (state.g, state.d)]


def test_the_published_nets(monkeypatch):
    """At 1024x1024 the 23.1 million of the paper's table, counted by hand; those of the 1000 modes likewise."""
    monkeypatch.setattr(progressive.data, "load", lambda name: type("Set", (), {"shape": (1024, 1024, 3)}))
    conv3 = lambda a, b: 9 * a * b + b
    pairs = [(512, 512)] * 3 + [(512, 256), (256, 128), (128, 64), (64, 32), (32, 16)]  # below, at: 8 to 1024
    g = 512 * 16 * 512 + 512 + conv3(512, 512) + sum(conv3(a, b) + conv3(b, b) + 3 * b + 3 for a, b in pairs)
    d = conv3(513, 512) + 16 * 512 * 512 + 512 + 512 + 1 + sum(conv3(b, b) + conv3(b, a) + 4 * b for a, b in pairs)
    assert sizes("paper") == [g + 3 * 512 + 3, d + 4 * 512] == [23_079_115, 23_087_249]

    monkeypatch.setattr(progressive.data, "load", lambda name: type("Set", (), {"shape": (28, 28, 3)}))
    small = 64 * 16 * 64 + 64 + conv3(64, 32) + conv3(32, 16) + conv3(16, 8) + conv3(8, 3)
    assert sizes("mnist1k_quarter") == [small, conv3(3, 2) + conv3(2, 4) + conv3(4, 8) + 16 * 9 + 1]
    assert sizes("mnist1k_half") == [small, conv3(3, 4) + conv3(4, 8) + conv3(8, 16) + 16 * 17 + 1]


def test_images_that_are_smaller_than_the_first():
    with pytest.raises(UserError, match="images of 16x16 can't be grown from 32x32"):
        progressive.setup(dataclasses.replace(CFG, first=32))
