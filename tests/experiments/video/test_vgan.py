"""VGAN's step, its two streams and all, in plain formulas; its nets' sizes, and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.video import vgan
from gan_jax import data
from gan_jax.game import rng
from gan_jax.nets.vgan import Clip

B, Z, SHAPE = 3, 3, (4, 16, 16, 2)  # two levels
CFG = dataclasses.replace(vgan.PRESETS["tiny"], dataset="small", batch_size=B, z_dim=Z, width=1, lr=0.02, sparsity=0.5)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def shown(monkeypatch, shape):
    """Let any name be that of a set of clips of this shape."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field(shape, "video")}))


def conv(kernel, x):
    """A convolution of stride 2 with one number of 0 around, over as many axes as the kernel has."""
    axes = "THW"[5 - x.ndim :]
    order = f"N{axes}C", f"{axes}IO", f"N{axes}C"
    return jax.lax.conv_general_dilated(x, kernel, (2,) * len(axes), [(1, 1)] * len(axes), dimension_numbers=order)


def unconv(kernel, x):
    """Its transpose: every number of x adds the kernel to where it would be read from."""
    b, *size, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, *(2 * n for n in size), kernel.shape[-2]), x.dtype)
    (out,) = jax.linear_transpose(lambda y: conv(kernel, y), wide)(x)
    return out


def norms(params, stats, eps=1e-5):
    """Return (name of a batch norm, x -> x normalised), and where its new statistics are put."""
    new = {}

    def of(name, x):
        x, new[name] = oracle.batch_norm(params[name], stats[name], x, eps=eps)
        return x

    return of, new


def stream(p, stats, z, axes):
    """From one number up, with a norm and a ReLU after each layer: to half of the resolution."""
    norm, new = norms(p, stats)
    kernel = p["ConvTranspose_0"]["kernel"]  # [..., z, c]
    x = jnp.maximum(norm("BatchNorm_0", jnp.einsum(f"bz,{axes}zc->b{axes}c", z, kernel)), 0)
    x = unconv(p["ConvTranspose_1"]["kernel"].swapaxes(-2, -1), x)
    return jnp.maximum(norm("BatchNorm_1", x), 0), new


def G(p, stats, z):
    """Both streams, laid over each other: the clip, its mask and the new statistics."""
    last = lambda name, x: (
        unconv(p[name]["kernel"].swapaxes(-2, -1), x) + p[name]["bias"].reshape(*[1] * (x.ndim - 1), -1)
    )
    moving, of_moving = stream(p["moving"], stats["moving"], z, "tij")
    still, of_still = stream(p["still"], stats["still"], z, "ij")
    front, m = jnp.tanh(last("foreground", moving)), oracle.sigmoid(last("mask", moving))
    back = jnp.tanh(last("background", still))
    frames = [m[:, t] * front[:, t] + (1 - m[:, t]) * back for t in range(SHAPE[0])]
    return jnp.stack(frames, 1), m, {"moving": of_moving, "still": of_still}


def D(p, stats, x):
    """Down, leaky; down, norm, leaky; two logits, of which the softmax is taken: log p(real), log p(made), statistics."""
    norm, new = norms(p, stats, eps=1e-3)
    leaky = lambda x: jnp.where(x > 0, x, 0.2 * x)
    x = leaky(conv(p["Conv_0"]["kernel"], x) + p["Conv_0"]["bias"].reshape(1, 1, 1, 1, -1))
    x = leaky(norm("BatchNorm_0", conv(p["Conv_1"]["kernel"], x)))
    logits = jnp.einsum("btijc,tijco->bo", x, p["Conv_2"]["kernel"]) + p["Conv_2"]["bias"].reshape(1, 2)
    real, made = (logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))).T
    return real, made, new


@functools.partial(jax.jit, compiler_options=QUICK)
def updated(g, d, x, z, sparsity):
    """D by the cross entropy of both classes, G by that of the first for what it made, and its mask's mean."""
    of = lambda p: p.stats["batch_stats"]
    fake = G(g.params, of(g), z)[0]

    def d_loss(w):
        (real, _, stats), (_, made, _) = D(w, of(d), x), D(w, of(d), fake)
        return -(real.sum() + made.sum()) / B, {"batch_stats": stats}

    def g_loss(w):
        x, mask, stats = G(w, of(g), z)
        fooled, _, _ = D(d.params, of(d), x)
        return -fooled.sum() / B + sparsity * jnp.abs(mask).sum() / mask.size, {"batch_stats": stats}

    move = lambda p, loss: oracle.moved(oracle.adam, p, loss, CFG.lr, CFG.b1)
    return move(g, g_loss), move(d, d_loss)


@pytest.mark.long
def test_step_is_the_paper_s(monkeypatch):
    """Three steps equal the paper's in float64; without the mask's penalty they would not."""
    shown(monkeypatch, SHAPE)
    init, step = (jax.jit(functools.partial(f, CFG), compiler_options=QUICK) for f in (vgan.init, vgan.step))
    with jax.enable_x64(True):
        end = start = oracle.double(init(jax.random.key(0)))
        players, other = oracle.started(start.g, start.d), oracle.started(start.g, start.d)
        for t, x in enumerate(np.random.default_rng(0).uniform(-1, 1, (3, B, *SHAPE))):
            end, metrics = step(end, {"x": x})
            z = rng.normal(rng.at(start.key, t, "z"), (B, Z))
            players, other = updated(*players, x, z, CFG.sparsity), updated(*other, x, z, 0.0)
        oracle.same([end.g, end.d], list(players))
        oracle.differ([end.g, end.d], list(other))
    assert 0 < float(metrics["mask"]) < 1


def test_the_published_nets(monkeypatch):
    """Of 32 frames of 64x64, counted layer by layer from the paper's table; without biases before a norm."""
    shown(monkeypatch, (32, 64, 64, 3))
    cfg = vgan.PRESETS["paper"]
    assert (cfg.z_dim, cfg.lr, cfg.b1, cfg.batch_size, cfg.sparsity) == (100, 2e-4, 0.5, 64, 0.1)
    state = jax.eval_shape(functools.partial(vgan.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    inner, norm = 512 * 256 + 256 * 128 + 128 * 64, 2 * (512 + 256 + 128 + 64)
    moving = 2 * 16 * 100 * 512 + 64 * (inner + 64 * 4) + 4 + norm
    still = 16 * (100 * 512 + inner + 64 * 3) + 3 + norm
    assert count(state.g) == moving + still == 16_243_463
    assert count(state.d) == 64 * (3 * 64 + inner) + 64 + 2 * (128 + 256 + 512) + 32 * 512 * 2 + 2 == 11_056_962
    made = jax.eval_shape(lambda s: vgan.layers(cfg, s, vgan.latent(cfg, s.key, 2)), state)
    assert made.x.shape == made.foreground.shape == (2, 32, 64, 64, 3)
    assert (made.mask.shape, made.background.shape) == ((2, 32, 64, 64, 1), (2, 1, 64, 64, 3))


def test_what_is_measured_of_known_layers(monkeypatch):
    """A quarter of the mask is 0.75, the rest 0.1; the clip moves by 0.5 every second frame; data by no more."""
    x = jnp.broadcast_to(jnp.array([0.0, 0.5, 0.5, 0.0]).reshape(1, 4, 1, 1, 1), (8, 4, 4, 4, 1))
    mask = jnp.full(x.shape, 0.1).at[:, 0].set(0.75)
    monkeypatch.setattr(vgan, "layers", lambda cfg, state, z: Clip(x, -x, mask, x[:, :1]))
    still = {"x": np.full((5, 4, 4, 4, 1), 7, np.uint8)}
    source = data.Source("still", {"x": data.Field(x.shape[1:], "video")})
    monkeypatch.setattr(data, "load", lambda name: dataclasses.replace(source, test=source))
    found = vgan.measure(CFG, None, jax.random.key(0), {}, still)
    assert found["mask/over_half"] == 0.25 and found["mask/mean"] == pytest.approx((0.75 + 3 * 0.1) / 4)
    assert found["moves"] == pytest.approx(1 / 3) and found["test/moves"] == 0
    layers = found["layers"].x
    assert layers.shape == (4, *x.shape) and (layers[0] == -layers[1]).all() and (layers[3, :, 1] == 0).all()
    np.testing.assert_allclose(layers[2, :, 0], 0.5)
    assert "test/moves" not in vgan.measure(CFG, None, jax.random.key(0), {}, {})
