"""MoCoGAN's step, its recurrent motion and both D, in plain loops; its nets' sizes, and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.video import mocogan
from gan_jax import UserError, data
from gan_jax.game import rng
from gan_jax.nets import mocogan as nets

B, C, M, ACTIONS, SHAPE = 3, 3, 2, 3, (7, 16, 16, 1)  # two levels
CFG = dataclasses.replace(
    mocogan.PRESETS["tiny"],
    dataset="small",
    batch_size=B,
    content_dim=C,
    motion_dim=M,
    width=1,
    lr=0.02,
    weight_decay=0.1,
)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = functools.partial(jax.jit, compiler_options=QUICK)


def shown(monkeypatch, shape, actions=ACTIONS):
    """Let any name be that of a set of clips of this shape, with labels."""
    fields = {"x": data.Field(shape, "video"), "y": data.Field((), "label", np.int32, actions)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))


def conv(kernel, x, strides, pads):
    axes = "THW"[5 - x.ndim :]
    order = f"N{axes}C", f"{axes}IO", f"N{axes}C"
    return jax.lax.conv_general_dilated(x, kernel, strides, [(p, p) for p in pads], dimension_numbers=order)


def unconv(kernel, x):
    """The transpose of a convolution of stride 2: every number of x adds the kernel to where it would be read from."""
    b, n, m, _ = x.shape
    wide = jax.ShapeDtypeStruct((b, 2 * n, 2 * m, kernel.shape[3]), x.dtype)
    (out,) = jax.linear_transpose(lambda y: conv(kernel.swapaxes(2, 3), y, (2, 2), (1, 1)), wide)(x)
    return out


def norms(params, stats):
    """Return (name of a batch norm, x -> x normalised), and where its new statistics are put."""
    new = {}

    def of(name, x):
        x, new[name] = oracle.batch_norm(params[name], stats[name], x)
        return x

    return of, new


def leaky(x):
    """At 0, which D sees where G has drawn nothing yet, the slope is that above."""
    return jnp.where(x >= 0, x, 0.2 * x)


def gru(p, h, e):
    """Cho et al. 2014: how much of the state is asked for a new one, and how much of it is kept."""
    of = lambda name, x: x @ p[name]["kernel"] + (p[name]["bias"][None] if "bias" in p[name] else 0)
    reset = oracle.sigmoid(of("ir", e) + of("hr", h))
    keep = oracle.sigmoid(of("iz", e) + of("hz", h))
    return keep * h + (1 - keep) * jnp.tanh(of("in", e) + reset * of("hn", h))


def G(p, stats, content, noise):
    """A state for each frame, each frame by the same DCGAN from its state and the content."""
    (cell,) = (v for k, v in p.items() if k.startswith("GRUCell"))
    h, rows = noise[:, 0], []
    for t in range(SHAPE[0]):
        h = gru(cell, h, noise[:, t + 1])
        rows.append(jnp.concatenate([content, h], 1))
    z = jnp.stack(rows, 1).reshape(B * SHAPE[0], -1)
    p, (norm, new) = p["G_0"], norms(p["G_0"], stats["G_0"])
    x = jnp.maximum(norm("BatchNorm_0", (z @ p["Dense_0"]["kernel"]).reshape(len(z), 4, 4, -1)), 0)
    x = jnp.maximum(norm("BatchNorm_1", unconv(p["ConvTranspose_0"]["kernel"], x)), 0)
    x = jnp.tanh(unconv(p["ConvTranspose_1"]["kernel"], x) + p["ConvTranspose_1"]["bias"].reshape(1, 1, 1, -1))
    return x.reshape(B, *SHAPE), {"G_0": new}


def DI(p, stats, x):
    norm, new = norms(p, stats)
    for i in range(3):
        x = conv(p[f"Conv_{i}"]["kernel"], x, (2, 2), (1, 1))
        x = leaky(norm(f"BatchNorm_{i - 1}", x) if i else x)
    return conv(p["Conv_3"]["kernel"], x, (2, 2), (1, 1)), new


def DV(p, stats, x):
    """In time three frames go with each layer; what is left is summed: a logit, those of actions, statistics."""
    norm, new = norms(p, stats)
    x = leaky(conv(p["Conv_0"]["kernel"], x, (1, 2, 2), (0, 1, 1)))
    x = leaky(norm("BatchNorm_0", conv(p["Conv_1"]["kernel"], x, (1, 2, 2), (0, 1, 1))))
    said = jnp.einsum("btijc,tijco->bo", x, p["Conv_2"]["kernel"])
    return said[:, 0], said[:, 1:], new


def decayed(p, loss):
    """Adam along the gradient of the loss and of half of the weights' squares."""
    whole = lambda w: (loss(w)[0] + 0.5 * CFG.weight_decay * sum((a**2).sum() for a in jax.tree.leaves(w)), loss(w)[1])
    return oracle.moved(oracle.adam, p, whole, CFG.lr, CFG.b1)


def named(said, y):
    """The cross entropy of labels."""
    return -sum((said[i] - jnp.log(jnp.exp(said[i]).sum()))[y[i]] for i in range(B)) / B


@jit
def updated(g, di, dv, batch, z, at):
    """The two D, then G against the new ones, of the same clips; of each of them D_I sees one frame."""
    of, log = lambda p: p.stats["batch_stats"], lambda s: jnp.log(oracle.sigmoid(s))
    content = jnp.concatenate([z["z"], jnp.eye(ACTIONS)[z["y"]]], 1)
    made = G(g.params, of(g), content, z["noise"])[0]
    frame = lambda x, at: jnp.stack([x[i, at[i]] for i in range(B)])

    def i_loss(w):
        (real, stats), (fake, _) = DI(w, of(di), frame(batch["x"], at[0])), DI(w, of(di), frame(made, at[1]))
        return -(log(real).mean() + log(-fake).mean()), {"batch_stats": stats}

    def v_loss(w):
        (real, said, stats), (fake, _, _) = DV(w, of(dv), batch["x"]), DV(w, of(dv), made)
        return -(log(real).mean() + log(-fake).mean()) + named(said, batch["y"]), {"batch_stats": stats}

    di, dv = decayed(di, i_loss), decayed(dv, v_loss)

    def g_loss(w):
        x, stats = G(w, of(g), content, z["noise"])
        still, (score, said, _) = DI(di.params, of(di), frame(x, at[1]))[0], DV(dv.params, of(dv), x)
        return -log(still).mean() - log(score).mean() + named(said, z["y"]), {"batch_stats": stats}

    return decayed(g, g_loss), di, dv


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the paper's in float64; were G asked for the data's actions, they would not."""
    shown(monkeypatch, SHAPE)
    latent = mocogan.latent
    monkeypatch.setattr(mocogan, "latent", lambda *args: oracle.double(latent(*args)))  # as the GRU's state is
    init, step = (jit(functools.partial(f, CFG)) for f in (mocogan.init, mocogan.step))
    seen = np.random.default_rng(0)
    with jax.enable_x64(True):
        end = start = oracle.double(init(jax.random.key(0)))
        names = "g", "d_image", "d_video"
        players = other = oracle.started(*(getattr(start, name) for name in names))
        for t in range(2):
            batch = {"x": seen.uniform(-1, 1, (B, *SHAPE)), "y": jnp.array([2, 0, 2 - t], jnp.int32)}
            end, _ = step(end, batch)
            drawn = mocogan.latent(CFG, rng.at(start.key, t, "z"), B)
            at = jax.random.randint(rng.at(start.key, t, "frames"), (2, B), 0, SHAPE[0], jnp.int32)
            z = {"z": drawn["z"], "noise": drawn["noise"], "y": drawn["action"].argmax(1)}
            assert (z["y"] != batch["y"]).any()
            players = updated(*players, batch, z, at)
            other = updated(*other, batch, z | {"y": batch["y"]}, at)
        oracle.same([getattr(end, name) for name in names], list(players))
        oracle.differ([getattr(end, name) for name in names], list(other))


def test_content_stays_and_motion_goes_on():
    """Frames differ by the GRU's state alone: with its noise and its state cut off, all frames are the same one."""
    net = nets.G(SHAPE, 1)
    content, noise = np.ones((2, C), np.float32), np.random.default_rng(0).normal(size=(2, 8, M)).astype(np.float32)
    v = jit(net.init)(jax.random.key(0), content, noise)
    draw = jit(lambda v, noise: net.apply(v, content, noise, train=False))
    x = draw(v, noise)
    assert (x[:, 1:] != x[:, :-1]).any((2, 3, 4)).all()
    kernel = v["params"]["G_0"]["Dense_0"]["kernel"]
    v["params"]["G_0"]["Dense_0"]["kernel"] = kernel.at[C:].set(0)
    x = draw(v, noise)
    np.testing.assert_array_equal(x, jnp.broadcast_to(x[:, :1], x.shape))
    later = noise.copy()
    later[:, 5] += 1  # what comes into frame 5 of 7, counted from 1
    v["params"]["G_0"]["Dense_0"]["kernel"] = kernel
    changed = (draw(v, later) != draw(v, noise)).any((0, 2, 3, 4))
    np.testing.assert_array_equal(changed, [False] * 4 + [True] * 3)


def test_the_published_nets(monkeypatch):
    """16 frames of 64x64, counted layer by layer from the authors' table, without biases before norms or at ends of D."""
    shown(monkeypatch, (16, 64, 64, 3), 4)
    cfg = mocogan.PRESETS["paper"]
    assert (cfg.content_dim, cfg.motion_dim, cfg.lr, cfg.b1, cfg.weight_decay) == (50, 10, 2e-4, 0.5, 1e-5)
    state = jax.eval_shape(functools.partial(mocogan.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    inner = 512 * 256 + 256 * 128 + 128 * 64
    cell = 6 * 10 * 10 + 4 * 10
    decoder = 16 * (64 * 512 + inner + 64 * 3) + 3 + 2 * (512 + 256 + 128 + 64)
    assert count(state.g) == cell + decoder
    assert count(state.d_image) == 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256) + 2 * (128 + 256) == 663_296
    assert count(state.d_video) == 64 * (3 * 64 + inner + 512 * 5) + 2 * (128 + 256 + 512) == 11_187_968
    with pytest.raises(UserError, match="more than 12 frames, not 12"):
        nets.DV(4).init(jax.random.key(0), jnp.zeros((1, 12, 64, 64, 3)))


def test_what_d_names_is_counted(monkeypatch):
    """A D_V that always says 1: how often that is asked for, and how often the test split has it."""
    shown(monkeypatch, SHAPE)
    source = data.load("")
    monkeypatch.setattr(data, "load", lambda name: dataclasses.replace(source, test=source))
    monkeypatch.setattr(mocogan, "generate", lambda cfg, state, z: jnp.zeros((len(z["z"]), *SHAPE)) + z["z"].sum())
    said = lambda x: (jnp.zeros(len(x)), jnp.tile(jnp.array([[0.0, 1.0, 0.5]]), (len(x), 1)))
    monkeypatch.setattr(mocogan, "forward", lambda net, params, stats, x, train: (said(x), stats))
    test = {"x": np.zeros((5, *SHAPE), np.uint8), "y": np.array([1, 1, 0, 2, 1])}
    player = mocogan.Player({}, {}, {})
    state, key = mocogan.State(0, None, player, player, player), jax.random.key(0)
    found = mocogan.measure(CFG, state, key, {}, test)
    asked = mocogan.latent(CFG, key, 64)["action"]
    assert found["d/test"] == pytest.approx(0.6) and found["d/asked"] == pytest.approx(float(asked[:, 1].mean()))
    assert found["actions"].x.shape == (4, 3, *SHAPE) and found["actions"].columns == (
        "action 0",
        "action 1",
        "action 2",
    )
    assert "d/test" not in mocogan.measure(CFG, state, key, {}, {})
