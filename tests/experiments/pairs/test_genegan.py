"""GeneGAN's step against the authors' losses picture by picture, and its nets against their table of layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.pairs import genegan
from gan_jax import UserError, data
from gan_jax.nets import genegan as nets

CFG = dataclasses.replace(genegan.PRESETS["tiny"], batch_size=3, d_steps=2, lr=1e-2, weight_decay=0.1)


def pictures(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def conv(kernel, x):
    """A convolution of stride 2 with one pixel of 0 around."""
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def unconv(kernel, x):
    """Its transpose: every number of x adds the kernel to where it would be read from."""
    b, n, m, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, 2 * n, 2 * m, kernel.shape[3]), x.dtype)
    (out,) = jax.linear_transpose(lambda y: conv(kernel.swapaxes(2, 3), y), wide)(x)
    return out


def norm(p, stats, which, x):
    return oracle.batch_norm(p, stats[which], x, eps=1e-3)


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def down(p, stats, which, x, levels):
    """Convolutions with a norm after all but the first."""
    new = {}
    for i in range(levels):
        x = conv(p[f"Conv_{i}"]["kernel"], x)
        if i:
            x, new[f"Norm_{i - 1}"] = norm(p[f"Norm_{i - 1}"], stats[f"Norm_{i - 1}"], which, x)
        x = leaky(x)
    return x, new


def split(p, stats, which, x):
    x, new = down(p, stats, which, x, 3)
    return x[..., : 12 * CFG.width], x[..., 12 * CFG.width :], new


def join(p, stats, which, common, own):
    x, new = jnp.concatenate([common, own], 3), {}
    for i in range(2):
        x, new[f"Norm_{i}"] = norm(
            p[f"Norm_{i}"], stats[f"Norm_{i}"], which, unconv(p[f"ConvTranspose_{i}"]["kernel"], x)
        )
        x = jnp.maximum(x, 0)
    return jnp.tanh(unconv(p["ConvTranspose_2"]["kernel"], x)), new


def score(p, stats, x):
    x, new = down(p, stats, "of_0", x, 4)
    dense = p["Dense_0"]
    return (x.reshape(len(x), -1) @ dense["kernel"])[:, 0] + dense["bias"][0], new


def of(stats):
    return stats["batch_stats"]


def together(parts):
    """Return {norm: {which: statistics}} of [(which, {norm: statistics})]."""
    found = {}
    for which, new in parts:
        for name, values in new.items():
            found.setdefault(name, {})[which] = values
    return {"batch_stats": found}


def swapped(s, j, ax, be):
    """Return the four pictures, e and the new statistics of both nets."""
    (s_params, s_stats), (j_params, j_stats) = s, j
    a, x, one = split(s_params, of(s_stats), "of_0", ax)
    b, e, other = split(s_params, of(s_stats), "of_1", be)
    none = jnp.zeros_like(e)
    made = [
        join(j_params, of(j_stats), f"of_{i}", *pair) for i, pair in enumerate(((a, x), (b, none), (b, x), (a, none)))
    ]
    seen = together([("of_0", one), ("of_1", other)]), together([(f"of_{i}", new) for i, (_, new) in enumerate(made)])
    return [picture for picture, _ in made], e, seen


def one_update(p, grads, stats=None):
    return oracle.rmsprop(p, grads, CFG.lr, CFG.decay, eps=0.0, eps_root=1e-10, stats=stats)


@jax.jit
def d_update(s, j, d_with, d_without, ax, be):
    """Each critic down its own difference of means, then clipped."""
    (_, _, bx, a0), *_ = swapped((s.params, s.stats), (j.params, j.stats), ax, be)

    def loss(params, d, real, fake):
        said, new = score(params, of(d.stats), real)
        return score(params, of(d.stats), fake)[0].mean() - said.mean(), together([("of_0", new)])

    moved = []
    for d, real, fake in ((d_with, ax, bx), (d_without, be, a0)):
        grads, stats = jax.grad(loss, has_aux=True)(d.params, d, real, fake)
        d = one_update(d, grads, stats)
        moved.append(d._replace(params=jax.tree.map(lambda w: jnp.clip(w, -CFG.clip, CFG.clip), d.params)))
    return moved


@jax.jit
def g_update(s, j, d_with, d_without, ax, be, weight):
    """All of the authors' losses of splitter and joiner, their levels from 0 to 255 among them."""
    level = lambda x: (x + 1) * 255 / 2

    def loss(s_params, j_params):
        (ax2, be2, bx, a0), e, stats = swapped((s_params, s.stats), (j_params, j.stats), ax, be)
        cycle = jnp.abs(level(ax) - level(ax2)).mean() / 255 + jnp.abs(level(be) - level(be2)).mean() / 255
        fooled = (
            -score(d_with.params, of(d_with.stats), bx)[0].mean()
            - score(d_without.params, of(d_without.stats), a0)[0].mean()
        )
        parallel = weight * jnp.abs(level(ax) + level(be) - level(bx) - level(a0)).mean()
        kernels = [w for w in jax.tree.leaves((s_params, j_params)) if w.ndim == 4]
        decay = sum(0.5 * CFG.weight_decay * (w**2).mean() for w in kernels)
        return fooled + cycle + jnp.abs(e).mean() + parallel + decay, stats

    (of_s, of_j), (s_stats, j_stats) = jax.grad(loss, (0, 1), has_aux=True)(s.params, j.params)
    return one_update(s, of_s, s_stats), one_update(j, of_j, j_stats)


def paper(start, batches, weight=0.01):
    """Both critics on a batch each time, then splitter and joiner on the last one."""
    s, j, *critics = (
        p._replace(v=jax.tree.map(jnp.ones_like, p.params)) for p in oracle.started(*start[2:6])
    )  # as TensorFlow begins
    for ax, be in batches:
        for i in range(CFG.d_steps):
            critics = d_update(s, j, *critics, ax[i], be[i])
        s, j = g_update(s, j, *critics, ax[-1], be[-1], weight)
    return [s, j, *critics]


def test_step_is_the_paper_s(monkeypatch):
    """Three steps equal the authors' in float64, statistics too; with half of the parallelogram they would not."""
    monkeypatch.setattr(genegan.data, "load", lambda name: type("Set", (), {"shape": (16, 16, 1)}))
    with jax.enable_x64(True):
        pairs = pictures(0, 3, 2, CFG.d_steps + 1, 3, 16, 16, 1)
        rows = lambda a: {"x": a.swapaxes(0, 1).reshape(-1, 16, 16, 1)}
        start, end, _ = oracle.played(genegan, CFG, [{"x": rows(ax), "source": rows(be)} for ax, be in pairs])
        oracle.same(list(end[2:6]), paper(start, pairs), rtol=1e-7)
        oracle.differ(list(end[2:6]), paper(start, pairs, 0.005), rtol=1e-7)


def test_the_published_nets():
    """Of 64x64 in colours, counted by hand: convolutions of 4x4 without bias, two numbers a channel that is normalised."""
    cfg, key = genegan.PRESETS["paper"], jax.random.key(0)
    x, (a, own) = jnp.zeros((2, 64, 64, 3)), (jnp.zeros((2, 8, 8, 12 * 32)), jnp.zeros((2, 8, 8, 4 * 32)))
    size = lambda net, *given: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, *given)["params"]))
    narrow = 16 * (3 * 128 + 128 * 256 + 256 * 512) + 2 * (256 + 512)
    assert size(nets.Splitter(cfg.width), x, x) == narrow
    assert size(nets.Joiner((64, 64, 3), cfg.width), a, a, own) == 16 * (512 * 512 + 512 * 256 + 256 * 3) + 2 * (
        512 + 256
    )
    assert size(nets.D(cfg.width), x) == narrow + 16 * 512 * 512 + 2 * 512 + 4 * 4 * 512 + 1


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_pictures_of_any_size(shape):
    """Split and joined they have the size that they had."""
    key, x = jax.random.key(0), jnp.zeros((2, *shape))
    (a, own), _ = jax.eval_shape(nets.Splitter(1).init_with_output, key, x, x)[0]
    made, _ = jax.eval_shape(nets.Joiner(shape, 1).init_with_output, key, a, a, own)
    assert [picture.shape for picture in made] == [x.shape] * 4


def test_one_class_alone():
    """The records of that class, in both splits, resident or read; the other class has the rest; none is named."""
    source = data.load("digits")
    threes = data.of_class(source, 3)
    y = source.whole()["y"]
    assert threes.n == (y == 3).sum() and (threes.whole()["y"] == 3).all() and (threes.test.whole()["y"] == 3).all()
    np.testing.assert_array_equal(threes.whole()["x"], source.whole()["x"][y == 3])
    np.testing.assert_array_equal(threes.read([2, 0])["x"], source.whole()["x"][np.flatnonzero(y == 3)[[2, 0]]])
    picked = np.asarray(threes.pick(jax.random.key(0), 0, threes.n))
    assert sorted(picked) == list(range(threes.n)) and threes.fingerprint.endswith("-class3")
    with pytest.raises(UserError, match="digits has a split without any record of class 3"):
        data.of_class(dataclasses.replace(source, whole=lambda: {"y": np.zeros(9, int)}), 3)
    with pytest.raises(UserError, match="ring8 has no records with labels"):
        data.of_class(data.load("ring8"), 0)
