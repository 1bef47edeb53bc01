"""The context encoder's step against its losses by the formulas, its nets against their tables, its errors by hand."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.restoration import context_encoder
from gan_jax import UserError, data
from gan_jax.nets import context_encoder as nets

TINY = dataclasses.replace(
    context_encoder.PRESETS["tiny"], batch_size=3, width=1, adversarial=0.3, border=4.0, g_lr=0.02, d_lr=0.01
)
WAYS = {
    "centre, by channels": dataclasses.replace(TINY, crop=32, hole="centre", overlap=2),
    "random, by a bottleneck": dataclasses.replace(TINY, bottleneck=5),
}


def conv(kernel, x):
    """A convolution of stride 2 with one pixel of 0 around."""
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def unconv(kernel, x):
    """Its transpose: every number of x adds the kernel to where it would be read from."""
    b, n, m, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, 2 * n, 2 * m, kernel.shape[3]), x.dtype)
    return jax.linear_transpose(lambda y: conv(kernel.swapaxes(2, 3), y), wide)(x)[0]


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def normed(p, stats, new, x):
    """The next of a net's batch norms, whose new statistics are put into `new`."""
    name = f"BatchNorm_{len(new)}"
    y, new[name] = oracle.batch_norm(p[name], stats["batch_stats"][name], x)
    return y


def encoded(p, stats, new, x, levels):
    """Convolutions with a norm after all but the first."""
    for i in range(levels):
        x = conv(p[f"Conv_{i}"]["kernel"], x)
        x = leaky(normed(p, stats, new, x) if i else x)
    return x


def drawn_by(cfg, p, stats, seen):
    """Encoder, what all of the context goes through, decoder; and the new statistics."""
    new, levels, ups = {}, {32: 3, 16: 2}[cfg.crop], [p[f"ConvTranspose_{i}"]["kernel"] for i in range(2)]
    x = encoded(p, stats, new, seen, levels)
    middle = p[f"Conv_{levels}"]["kernel"]
    if cfg.bottleneck:
        units = jnp.einsum("bhwc,hwcu->bu", x, middle)
        units = leaky(normed(p, stats, new, units[:, None, None]))[:, 0, 0]
        x, ups = jnp.einsum("bu,hwuc->bhwc", units, ups[0]), [ups[1], p["ConvTranspose_2"]["kernel"]]
    else:
        of = p["ChannelDense_0"]["kernel"]
        alone = [x[..., c].reshape(len(x), -1) @ of[..., c] for c in range(x.shape[3])]
        x = jnp.stack(alone, 2).reshape(len(x), 4, 4, -1) @ middle[0, 0]
    for kernel in ups:
        x = unconv(kernel, jnp.maximum(normed(p, stats, new, x), 0))
    return jnp.tanh(x), {"batch_stats": new}


def said_by(p, stats, x):
    """D(x), and the new statistics: two levels of the 16x16 pixels that it sees."""
    new = {}
    x = encoded(p, stats, new, x, 2)
    return oracle.sigmoid(x.reshape(len(x), -1) @ p["Dense_0"]["kernel"][:, 0]), {"batch_stats": new}


@functools.partial(jax.jit, static_argnames="cfg")
def update(cfg, g, d, x, mask, border):
    """D's cross-entropy on what G draws, then G's errors, weighted, and what D, just updated, says."""
    middle = slice(8, 24) if cfg.hole == "centre" else slice(None)
    truth, hidden, seen = x[:, middle, middle], mask[:, middle, middle], jnp.where(mask == 1, 0, x)
    made, _ = drawn_by(cfg, g.params, g.stats, seen)

    def d_loss(params):
        real, stats = said_by(params, d.stats, truth)
        return -jnp.log(real).mean() - jnp.log(1 - said_by(params, d.stats, made)[0]).mean(), stats

    def g_loss(params):
        made, stats = drawn_by(cfg, params, g.stats, seen)
        errors = (made - truth) ** 2
        l2 = jnp.where(hidden == 1, errors, border * errors).mean()
        fooled = -jnp.log(said_by(d.params, d.stats, made)[0]).mean()
        return (1 - cfg.adversarial) * l2 + cfg.adversarial * fooled, stats

    d = oracle.moved(oracle.adam, d, d_loss, cfg.d_lr, cfg.b1)
    return oracle.moved(oracle.adam, g, g_loss, cfg.g_lr, cfg.b1), d


def paper(cfg, start, batches, border):
    """G and D after all batches."""
    players = oracle.started(start.g, start.d)
    for x, mask in batches:
        players = update(cfg, *players, x, mask, border)
    return list(players)


@pytest.mark.parametrize("way", WAYS)
def test_step_is_the_paper_s(way, monkeypatch):
    """Two steps equal the paper's in float64, statistics too; errors of the rim that count as others would not.

    Weights begin larger: of what N(0, 0.02) lets through, Adam's epsilon would make rounding as large as gradients.
    """
    cfg = WAYS[way]
    monkeypatch.setattr(context_encoder, "pictures", lambda cfg: type("Set", (), {"shape": (cfg.crop, cfg.crop, 1)}))
    monkeypatch.setitem(nets.plain, "kernel_init", nn.initializers.normal(0.3))
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        xs = random.uniform(-1, 1, (2, 3, cfg.crop, cfg.crop, 1))
        masks = (random.uniform(size=xs.shape) < 0.3) * 1.0
        if cfg.hole == "centre":
            masks = np.zeros_like(xs)
            masks[:, :, 10:22, 10:22] = 1
        batches = list(zip(xs, masks, strict=True))
        given = [{"x": x, "mask": mask, "source": x * (1 - mask)} for x, mask in batches]
        start, end, _ = oracle.played(context_encoder, cfg, given)
        oracle.same([end.g, end.d], paper(cfg, start, batches, cfg.border), rtol=1e-7)
        oracle.differ([end.g, end.d], paper(cfg, start, batches, 1.0), rtol=1e-4)


def size(net, *given):
    """Return (the shape of a net's output, the number of its weights)."""
    out, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), *given)
    return out.shape, sum(p.size for p in jax.tree.leaves(variables["params"]))


def test_the_published_nets():
    """The authors' tables at 128x128 and, of `random`, 64x64: convolutions of 4x4, two numbers a normalised channel."""
    cfg, x = context_encoder.PRESETS["paper"], jnp.zeros((2, 128, 128, 3))
    down, up = 16 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 256 + 256 * 512), 16 * (512 * 256 + 256 * 128 + 128 * 64)
    norms = 2 * (64 + 128 + 256 + 512) + 2 * 4000 + 2 * (512 + 256 + 128 + 64)
    between = 2 * 16 * 512 * 4000
    net = nets.G((64, 64, 3), cfg.width, cfg.bottleneck)
    assert size(net, x) == ((2, 64, 64, 3), down + between + up + 16 * 64 * 3 + norms)
    of_d = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 2 * (128 + 256 + 512) + 16 * 512
    assert size(nets.D(cfg.width), jnp.zeros((2, 64, 64, 3))) == ((2,), of_d)
    whole = nets.G((128, 128, 3), cfg.width, cfg.bottleneck)
    assert size(whole, x) == ((2, 128, 128, 3), down + between + up + 16 * (64 * 64 + 64 * 3) + norms + 2 * 64)
    assert context_encoder.box(cfg) == (32, 64) and 16 * between > 15 * 16 * 4 * 10**6
    assert size(nets.G((15, 16, 1), 4, 0), jnp.zeros((2, 30, 33, 3)))[0] == (2, 15, 16, 1)


def test_channels_are_connected_apart():
    """Every place of a channel reaches every new place of it, and no other channel; n m h w c weights."""
    layer, x = nets.ChannelDense((2, 4)), jax.random.normal(jax.random.key(0), (1, 2, 3, 3))
    params = jax.jit(layer.init)(jax.random.key(1), x)
    slopes = jax.jit(jax.jacobian(lambda x: layer.apply(params, x)[0]))(x)[..., 0, :, :, :]  # [2, 4, 3, 2, 3, 3]
    reached = np.asarray(slopes != 0).all((0, 1, 3, 4))
    np.testing.assert_array_equal(reached, np.eye(3, dtype=bool))
    assert params["params"]["kernel"].shape == (2 * 3, 2 * 4, 3)


def test_the_hole_and_its_rim():
    """Half of each side is drawn, `overlap` of which on each side is seen; blobs are drawn with the whole picture."""
    cfg = dataclasses.replace(TINY, hole="centre", overlap=1)
    source = context_encoder.pictures(cfg)
    mask = source.test.make(source.test.read(np.arange(3)), jax.random.key(0), 0, 3)["mask"]
    at, side = context_encoder.box(cfg)
    assert (at, side) == (4, 8) and mask[:, 5:11, 5:11].all() and mask.sum() == 3 * 6 * 6
    assert context_encoder.part(cfg, mask).shape == (3, 8, 8, 1)
    assert context_encoder.box(TINY) == (0, 16)
    with pytest.raises(UserError, match="--overlap is 4: of a hole of 8 pixels nothing would be hidden"):
        context_encoder.pictures(dataclasses.replace(cfg, overlap=4))


def test_errors_are_those_of_hidden_pixels():
    """Of a G that draws mid-grey, and of the mean of what is seen, picture by picture in units of [0, 1]."""
    cfg = dataclasses.replace(TINY, hole="centre")
    source = context_encoder.pictures(cfg)
    raw = jax.tree.map(lambda a: a[:7], data.resident(source.test))
    shapes = jax.eval_shape(functools.partial(context_encoder.init, cfg), jax.random.key(0))
    blank = shapes._replace(g=jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes.g))
    found = jax.jit(functools.partial(context_encoder.measure, cfg))(blank, jax.random.key(0), {}, raw)
    batch = jax.tree.map(np.float64, source.test.make(raw, jax.random.key(0), 0, 7))
    errors = {"ours": [], "mean_colour": []}
    for x, mask in zip((batch["x"] + 1) / 2, batch["mask"][..., 0] == 1, strict=True):
        for name, guess in {"ours": 0.5, "mean_colour": x[~mask].mean()}.items():
            off = x[mask] - guess
            errors[name].append((-10 * np.log10((off**2).mean()), np.abs(off).mean(), (off**2).mean()))
    for name, rows in errors.items():
        of = [float(found[f"{what}/{name}"]) for what in ("psnr", "l1", "l2")]
        np.testing.assert_allclose(of, np.mean(rows, 0), rtol=1e-4)
    seen, ours, truth = np.asarray(found["holes"].x)
    np.testing.assert_array_equal(seen, ours)
    np.testing.assert_allclose(truth, batch["x"], atol=1e-6)
    np.testing.assert_allclose(seen, batch["x"] * (1 - batch["mask"]), atol=1e-6)


def test_presets_find_their_sets(tfds_dir):
    """Squares of each preset's size, whose hole G draws; the paper's rim is 4 of 128 pixels, the default's 1 of 32."""
    found = {}
    for name, cfg in context_encoder.PRESETS.items():
        shape = context_encoder.pictures(cfg).shape
        state = jax.eval_shape(functools.partial(context_encoder.init, cfg), jax.random.key(0))
        G, _, *_ = context_encoder.build(cfg)
        x = jax.ShapeDtypeStruct((2, *shape), np.float32)
        drawn = jax.eval_shape(lambda s, x, G=G: G.apply({"params": s.params} | s.stats, x, train=False), state.g, x)
        found[name] = shape, drawn.shape[1], cfg.overlap * 32 / cfg.crop
    colours = {"default": (32, 16), "facades": (64, 32), "random": (32, 32), "paper": (128, 64)}
    expected = {name: ((side, side, 3), drawn, 1) for name, (side, drawn) in colours.items()}
    assert found == expected | {"faces": ((32, 32, 1), 16, 1), "tiny": ((16, 16, 1), 16, 2)}
