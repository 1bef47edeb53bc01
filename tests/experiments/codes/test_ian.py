"""IAN's step against the authors' losses in plain loops, and its nets against their layers; a stroke by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import scipy.ndimage

from experiments.codes import ian
from gan_jax.game import rng
from gan_jax.metrics import stroke
from gan_jax.nets import ian as nets

CFG = dataclasses.replace(ian.PRESETS["tiny"], batch_size=3, steps=4, flow=True, lr=1e-2, weight_decay=0.1)
SHAPE = (9, 9, 2)


def conv(x, kernel, step=1, pad=2, dilation=1):
    of = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "rhs_dilation": (dilation, dilation)}
    return jax.lax.conv_general_dilated(x, kernel, (step, step), [(pad, pad)] * 2, **of)


def unconv(x, kernel, size):
    """The transpose of a convolution: every number of x adds the kernel to where it would be read from."""
    wide = jax.ShapeDtypeStruct((len(x), size, size, kernel.shape[3]), x.dtype)
    (out,) = jax.linear_transpose(lambda y: conv(y, kernel.swapaxes(2, 3), 2), wide)(x)
    return out


def multiscale(p, x, scales):
    """One convolution of its own for each scale; for 0, the mean of the taps on each pixel."""
    out = p["weights"][0].reshape(1, 1, 1, -1) * conv(x, p["kernel"], pad=1)
    for weight, s in zip(p["weights"][1:], scales, strict=True):
        pixel = p["kernel"].mean((0, 1), keepdims=True)
        made = conv(x, p["kernel"], pad=s, dilation=s) if s else conv(x, pixel, pad=0)
        out += weight.reshape(1, 1, 1, -1) * made
    return out


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


class Norms:
    """Batch norm by a net's parameters, which remembers the new statistics."""

    def __init__(self, params, stats):
        self.params, self.stats, self.new = params, stats["batch_stats"], {}

    def __call__(self, i, x):
        name = f"BatchNorm_{i}"
        x, self.new[name] = oracle.batch_norm(self.params[name], self.stats[name], x, eps=1e-4)
        return x

    @property
    def after(self):
        return {"batch_stats": self.new}


def judged(p, stats, x):
    """Probabilities of the three kinds, features of both levels, statistics."""
    norm = Norms(p, stats)
    one = leaky(conv(x, p["Conv_0"]["kernel"], 2) + p["Conv_0"]["bias"].reshape(1, 1, 1, -1))
    two = leaky(norm(0, conv(one, p["Conv_1"]["kernel"], 2)))
    pooled, t, near = two.mean((1, 2)), p["MinibatchDiscrimination_0"]["t"], []
    for i in range(len(x)):
        apart = [jnp.abs(jnp.tensordot(pooled[i] - pooled[j], t, 1)).sum(1) for j in range(len(x)) if j != i]
        near.append(sum(jnp.exp(-a) for a in apart))
    logits = oracle.dense(p["Dense_0"], jnp.concatenate([pooled, jnp.stack(near)], 1))
    return jnp.exp(logits) / jnp.exp(logits).sum(1, keepdims=True), [one, two], norm.after


def coded(p, stats, f):
    norm = Norms(p, stats)
    h = jnp.maximum(norm(0, f.reshape(len(f), -1) @ p["Dense_0"]["kernel"]), 0)
    return norm(1, h @ p["Dense_1"]["kernel"]), norm(2, h @ p["Dense_2"]["kernel"]), norm.after


def flow(p, z):
    """Number by number: from those before it, by hidden units that see the first k of them."""
    n, out = z.shape[1], []
    for i in range(n):
        m_s = []
        for name in ("mean", "log_std"):
            first, second, direct = (p[f"{name}_{of}"] for of in ("first", "second", "direct"))
            value = sum((z[:, j] * direct[j, i] for j in range(i)), jnp.zeros(len(z), z.dtype))
            for unit in range(n):
                seen = unit % (n - 1) + 1
                if seen <= i:
                    hidden = sum(z[:, j] * first[j, unit] for j in range(seen))
                    value += jnp.maximum(hidden, 0) * second[unit, i]
            m_s.append(value)
        out.append((z[:, i] - m_s[0]) / jnp.exp(m_s[1]))
    return jnp.stack(out, 1)


def drawn(p, stats, z):
    norm = Norms(p, stats)
    x = leaky(oracle.dense(p["Dense_0"], flow(jax.lax.stop_gradient(p["Flow_0"]), z))).reshape(len(z), 3, 3, -1)
    x = y = norm(0, unconv(x, p["ConvTranspose_0"]["kernel"], 5))
    for i in range(2):
        y = multiscale(p[f"Multiscale_{i}"], leaky(norm(1 + i, y)), (0, 2))
    x = leaky(norm(3, x + y))
    x = leaky(norm(4, unconv(x, p["ConvTranspose_1"]["kernel"], 9)))
    p = p["Colours_0"]
    red = oracle.sigmoid(multiscale(p["Multiscale_0"], x, (2, 3, 4)))
    green = multiscale(p["Multiscale_1"], x, (2, 3, 4)) + multiscale(p["Multiscale_2"], red, (2, 3, 4))
    colours = [2 * a[..., :1] / (a[..., :1] + a[..., 1:] + 1e-8) - 1 for a in (red, oracle.sigmoid(green))]
    return jnp.concatenate(colours, 3), norm.after


def orthogonal(filters):
    """The sum of |W W^T - I| for kernels whose filters lie along the last axis."""
    total = 0.0
    for kernel in filters:
        for k in range(kernel.shape[3]):
            w = kernel[..., k].reshape(len(kernel), -1)
            total += jnp.abs(w @ w.T - np.eye(len(w))).sum()
    return total


@jax.jit
def paper(e, g, d, x, noise, prior, lr, again_is):
    """One step of all players from one batch; again_is: the class of reconstructions for D."""

    def eg(e_params, g_params):
        _, seen, _ = judged(d.params, d.stats, x)
        mean, log_std, e_stats = coded(e_params, e.stats, seen[1])
        again, stats = drawn(g_params, g.stats, mean + jnp.exp(log_std) * noise)
        made, g_stats = drawn(g_params, stats, prior)
        (again_p, found, _), (made_p, _, _) = judged(d.params, d.stats, again), judged(d.params, d.stats, made)
        adversarial = -jnp.log(again_p[:, 0]).mean() - jnp.log(made_p[:, 0]).mean()
        pixel, feature = (2 * jnp.abs(again - x)).mean(), sum(((found[i] - seen[i]) ** 2).mean() / 2 for i in range(2))
        kl = -0.5 * (1 + 2 * log_std - mean**2 - jnp.exp(2 * log_std)).mean()
        filters = [p["kernel"] for name, p in g_params.items() if "Multiscale" in name]
        filters += [p["kernel"] for p in g_params["Colours_0"].values()]
        filters += [g_params[f"ConvTranspose_{i}"]["kernel"].swapaxes(2, 3) for i in range(2)]
        decay = CFG.weight_decay * sum((e_params[f"Dense_{i}"]["kernel"] ** 2).sum() for i in range(3))
        value = adversarial + 3 * pixel + feature + kl + decay + 1e-3 * orthogonal(filters)
        return value, (again, made, e_stats, g_stats)

    (e_grads, g_grads), (again, made, e_stats, g_stats) = jax.grad(eg, (0, 1), has_aux=True)(e.params, g.params)

    def of_d(params):
        (p, _, stats), (again_p, _, _), (made_p, _, _) = (judged(params, d.stats, a) for a in (x, again, made))
        value = -(jnp.log(p[:, 0]) + jnp.log(again_p[:, again_is]) + jnp.log(made_p[:, 2])).mean()
        return value + 1e-3 * orthogonal([params[f"Conv_{i}"]["kernel"] for i in range(2)]), stats

    adam = functools.partial(oracle.adam, lr=lr, b1=0.5)
    d = oracle.moved(adam, d, of_d)
    return adam(e, e_grads, stats=e_stats), adam(g, g_grads, stats=g_stats), d


def test_step_is_the_paper_s(monkeypatch):
    """Three steps at falling rates equal the losses in float64; with reconstructions as samples they would not."""
    monkeypatch.setattr(ian.data, "load", lambda name: type("Set", (), {"shape": SHAPE}))
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).uniform(-1, 1, (3, 3, *SHAPE))
        start, end, metrics = oracle.played(ian, CFG, [{"x": x} for x in xs])

        def theirs(again_is):
            players = oracle.started(start.e, start.g, start.d)
            for i, x in enumerate(xs):
                noise = rng.normal(rng.at(start.key, i, "z"), (2, 3, CFG.z_dim))
                players = paper(*players, x, *noise, CFG.lr / 2**i, again_is)
            return list(players)

        oracle.same([end.e, end.g, end.d], theirs(1), rtol=1e-7)
        oracle.differ([end.e, end.g, end.d], theirs(2), rtol=1e-7)
        assert 0 <= metrics["told apart"] <= 1


def test_the_published_nets():
    """Of 64x64 in colours, counted by hand from the authors' layers, less what the docstring says."""
    cfg, key = ian.PRESETS["paper"], jax.random.key(0)
    size = lambda net, x: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, x)["params"]))
    D, E = nets.D(cfg.width, cfg.kernels), nets.E(cfg.z_dim, cfg.hidden)
    G = nets.G((64, 64, 3), cfg.width, cfg.flow)
    narrow = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 128 + 2 * (256 + 512 + 1024)
    assert size(D, jnp.zeros((2, 64, 64, 3))) == narrow + 1024 * 500 * 5 + (1024 + 500 + 1) * 3
    assert size(E, jnp.zeros((2, 4, 4, 1024))) == 16 * 1024 * 1000 + 2 * 1000 + 2 * (1000 * 100 + 200)
    up = 101 * 512 * 16 + 25 * (512 * 512 + 512 * 256 + 256 * 128 + 128 * 128) + 512 + 256 + 128 + 2 * 128
    blocks = sum(2 * (9 * c * c + c * scales) + 3 * 2 * c for c, scales in ((512, 3), (256, 4), (128, 4)))
    colours = 3 * (9 * 128 * 2 + 8) + 9 * 2 * 2 + 8 + 9 * 4 * 2 + 8
    assert size(G, jnp.zeros((2, 100))) == 6 * 100 * 100 + up + blocks + colours


@pytest.mark.parametrize("shape", [(8, 8, 1), (30, 33, 3)])
def test_pictures_of_any_size(shape):
    """G draws them, D looks at them at each level, E reads a code off the last one."""
    key = jax.random.key(0)
    of = lambda net, x: jax.eval_shape(net.init_with_output, key, x)[0]
    assert of(nets.G(shape, 1), jnp.zeros((2, 3))).shape == (2, *shape)
    logits, features = of(nets.D(1, 2), jnp.zeros((2, *shape)))
    assert logits.shape == (2, 3) and max(features[-1].shape[1:3]) <= 4
    assert [f.shape for f in of(nets.E(3, 4), jnp.zeros(features[-1].shape))] == [(2, 3)] * 2


@pytest.mark.parametrize("scales", [(0, 2, 3), (2, 3, 4)])
def test_all_scales_are_one_convolution(scales):
    """It equals the sum of dilated convolutions, each with a weight of its own."""
    net, x = nets.Multiscale(3, scales), jax.random.normal(jax.random.key(0), (2, 7, 6, 2))
    params = net.init(jax.random.key(1), x)["params"]
    params |= {"weights": jax.random.normal(jax.random.key(2), params["weights"].shape)}
    np.testing.assert_allclose(net.apply({"params": params}, x), multiscale(params, x, scales), rtol=1e-4, atol=1e-6)


def test_orthogonal_filters_cost_nothing():
    """Filters whose rows are orthonormal; twice as long ones cost 3 a row."""
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 10, 5)))[0].swapaxes(1, 2)  # [filters, rows, 10]
    kernel = jnp.asarray(rows.reshape(7, 5, 5, 2).transpose(1, 2, 3, 0))
    np.testing.assert_allclose(nets.orthogonality({"Conv_0": {"kernel": kernel}}), 0, atol=1e-4)
    up = {"ConvTranspose_0": {"kernel": 2 * kernel.swapaxes(2, 3)}, "Dense_0": {"kernel": jnp.ones((2, 2))}}
    np.testing.assert_allclose(nets.orthogonality(up), 3 * 5 * 7, rtol=1e-4)


def test_a_stroke():
    """z goes downhill under the bar alone; the photo takes over the change as the authors' editor has it."""
    random = np.random.default_rng(0)
    shape, a = (6, 8, 2), random.normal(size=(3, 6 * 8 * 2)).astype(np.float32) / 10
    decode = lambda z: jnp.tanh(z @ a).reshape(-1, *shape)
    x, z = random.uniform(-1, 1, (2, *shape)).astype(np.float32), random.normal(size=(2, 3)).astype(np.float32)
    found, rows = stroke.edited(decode, z, x, (0.2, 0.6, 0.25, 0.75), 1.0, 5)

    under = np.zeros((6, 8, 1), bool)
    under[1:4, 2:6] = True
    for row in range(2):
        code = z[row]
        off = jax.jit(jax.grad(lambda code: (under * (decode(code[None])[0] - 1) ** 2).sum() / (12 * 2)))
        for _ in range(5):
            code = code - 0.05 * (1 + 4) * off(code)
        before, after = (np.asarray(decode(c[None])[0]) for c in (z[row], code))
        np.testing.assert_allclose(rows["G_after"][row], after, rtol=1e-4, atol=1e-5)
        mask = scipy.ndimage.gaussian_filter(np.minimum(np.abs(after - before).mean(2), 1), 0.7)[..., None]
        made = np.clip(before + mask * (after - before) + (1 - mask) * (x[row] - before), -1, 1)
        np.testing.assert_allclose(rows["edited"][row], made, rtol=1e-3, atol=1e-5)
    both = np.broadcast_to(under, shape)
    np.testing.assert_allclose(found["stroke/before"], (1 - x[:, both]).mean() / 2, rtol=1e-4)
    np.testing.assert_allclose(found["stroke/after"], (1 - rows["edited"][:, both]).mean() / 2, rtol=1e-4)
    np.testing.assert_allclose(found["stroke/elsewhere"], np.abs(rows["edited"] - x)[:, ~both].mean() / 2, rtol=1e-4)
    assert (rows["stroke"][:, both] == 1).all() and (rows["stroke"][:, ~both] == x[:, ~both]).all()


def test_a_bar_has_a_pixel_and_may_be_all():
    """However thin it is, and at the border; where it is the whole picture, nothing is elsewhere."""
    assert stroke.within((9, 9, 1), 1, 1, 0.5, 0.5).sum() == 1 == stroke.within((9, 9, 1), 0.9, 0.1, 0, 0).sum()
    decode = lambda z: jnp.zeros((len(z), 4, 4, 1)) + z.reshape(-1, 1, 1, 1)
    found, _ = stroke.edited(decode, jnp.zeros((2, 1)), jnp.zeros((2, 4, 4, 1)), (0, 1, 0, 1), 0.0, 9)
    assert found["stroke/elsewhere"] == 0 and found["stroke/after"] < found["stroke/before"] == 0.5


def test_errors_of_reconstruction(monkeypatch):
    """A perfect reconstruction has none, and keeps what the classifier sees; without records nothing is measured."""

    class Judge:
        features = staticmethod(lambda x: x.reshape(len(x), -1))
        __call__ = staticmethod(lambda x: x.reshape(len(x), -1)[:, :10])

    monkeypatch.setattr(ian.classifier, "load", lambda source: Judge())
    monkeypatch.setattr(ian.stroke, "edited", lambda *given: ({}, {}))
    monkeypatch.setattr(ian, "encoded", lambda cfg, state, x: (None, None))
    test = {"x": np.random.default_rng(0).integers(0, 256, (30, 16, 16, 1), np.uint8), "y": np.zeros(30, np.int32)}
    mean = test["x"].astype(np.float32).mean(0, keepdims=True) / 127.5 - 1
    found = []
    for again in (lambda rows: rows[0], lambda rows: jnp.repeat(mean, 30, 0)):
        monkeypatch.setattr(ian.jax.lax, "map", lambda f, rows, batch_size, again=again: again(rows))
        found.append(ian.measure(ian.PRESETS["tiny"], None, jax.random.key(0), None, test))
    perfect, blurred = found
    assert perfect["test/pixels"] == perfect["test/features"] == 0 and perfect["test/class kept"] == 1
    np.testing.assert_allclose(blurred["test/features"], 1, rtol=1e-4)
    assert perfect["edited"].x.shape == (2, 12, 16, 16, 1) and ian.measure(CFG, None, None, {}, {}) == {}
