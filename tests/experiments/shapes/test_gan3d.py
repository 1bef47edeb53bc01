"""3D-GAN's step, convolutions and batch norm and all, against plain sums; its nets' sizes, and what it measures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.shapes import gan3d
from gan_jax import data
from gan_jax.game import rng
from gan_jax.nets.gan3d import SpreadD

B, Z, SIDES = 4, 3, ((9, 6, 5), (5, 3, 3), (3, 2, 2))  # two levels, whose sides differ
CFG = dataclasses.replace(gan3d.PRESETS["tiny"], dataset="small", batch_size=B, z_dim=Z, held_above=0.5, d_lr=0.02)
CFG = dataclasses.replace(CFG, spread=False)  # the paper's D


@functools.cache
def compiled():
    """Return the experiment's own init and step, in float64; XLA compiles them faster without these optimisations."""
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return [jax.jit(functools.partial(f, CFG), compiler_options=quick) for f in (gan3d.init, gan3d.step)]


@pytest.fixture
def small(monkeypatch):
    """A set of solids of 9x6x5 voxels; its first state, the step of the experiment, and six batches, in float64."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field((*SIDES[0], 1), "voxels")}))
    init, step = compiled()
    with jax.enable_x64(True):
        xs = np.sign(np.random.default_rng(0).normal(size=(6, B, *SIDES[0], 1)) - 0.5)
        yield oracle.double(init(jax.random.key(0))), step, xs


def seen(sizes):
    """Return the indices (d, h, w), each of [n, m, l, 4, 4, 4]: what each of these voxels sees, one of them in the pad."""
    d, h, w = (2 * np.arange(n)[:, None] + np.arange(4) for n in sizes)
    return d[:, None, None, :, None, None], h[:, None, None, :, None], w[:, None, None, :]


def conv(kernel, x):
    """A convolution 4x4x4 of stride 2: the products of each window."""
    x = jnp.pad(x, ((0, 0), *((1, 2),) * 3, (0, 0)))
    windows = x[:, *seen([(n - 2) // 2 for n in x.shape[1:4]])]  # [b, n, m, l, 4, 4, 4, c]
    return jnp.einsum("bnmlijkc,ijkco->bnmlo", windows, kernel)


def conv_transpose(kernel, y, sizes):
    """Its adjoint: each voxel of y adds a kernel."""
    x = jnp.zeros((len(y), *(2 * n + 2 for n in y.shape[1:4]), kernel.shape[-1]))
    x = x.at[:, *seen(y.shape[1:4])].add(jnp.einsum("bnmlo,ijkoc->bnmlijkc", y, kernel))
    return x[:, *(slice(1, 1 + n) for n in sizes)]


def norms(params, stats, new):
    """Return name of a batch norm, x -> x normalised; its new statistics are put into `new`."""

    def of(name, x):
        x, new[name] = oracle.batch_norm(params[name], stats["batch_stats"][name], x)
        return x

    return of


def G(p, stats, z):
    """To the least cube; batch norm, ReLU, up; the same, and a sigmoid. In -1 and 1, with the new statistics."""
    norm = norms(p, stats, new := {})
    x = jnp.einsum("bz,ijkzc->bijkc", z, p["ConvTranspose_0"]["kernel"])
    for i in range(2):
        x = jnp.maximum(norm(f"BatchNorm_{i}", x), 0)
        x = conv_transpose(p[f"ConvTranspose_{i + 1}"]["kernel"], x, SIDES[1 - i])
    x = x + p.get("bias", 0)
    return 2 * oracle.sigmoid(x) - 1, {"batch_stats": new}


def D(p, stats, x):
    """Of 0 and 1: down, batch norm, leaky ReLU; the same; one sum. The logit, with the new statistics."""
    norm, x = norms(p, stats, new := {}), (x + 1) / 2
    for i in range(2):
        x = norm(f"BatchNorm_{i}", conv(p[f"Conv_{i}"]["kernel"], x))
        x = jnp.where(x > 0, x, 0.2 * x)
    return jnp.einsum("bijkc,ijkco->bo", x, p["Conv_2"]["kernel"])[:, 0], {"batch_stats": new}


@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
def updated(g, d, x, z, learns):
    """D ascends if it learns, its statistics renewed in any case; then G; and how often D was right before."""
    log_sigmoid = lambda s: jnp.log(oracle.sigmoid(s))
    fake, _ = G(g.params, g.stats, z)

    def d_loss(w):
        (real, stats), (made, _) = D(w, d.stats, x), D(w, d.stats, fake)
        return -(log_sigmoid(real) + log_sigmoid(-made)).mean(), stats

    (real, stats), (made, _) = D(d.params, d.stats, x), D(d.params, d.stats, fake)
    new = oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1)
    d = jax.tree.map(lambda n, o: jnp.where(learns, n, o), new, d._replace(stats=stats))

    def g_loss(w):
        made, stats = G(w, g.stats, z)
        return -log_sigmoid(D(d.params, d.stats, made)[0]).mean(), stats

    right = [*(real > 0), *(made < 0)]
    return oracle.moved(oracle.adam, g, g_loss, CFG.g_lr, CFG.b1), d, sum(right) / len(right)


def paper(start, xs, held_above):
    """The paper's training, and of each step whether D learned."""
    (g, d), accuracy, learned = oracle.started(start.g, start.d), 0.0, []
    for t, x in enumerate(xs):
        learned.append(accuracy <= held_above)
        z = rng.uniform(rng.at(start.key, t, "z"), (B, Z))
        g, d, accuracy = updated(g, d, x, z, learned[-1])
    return [g, d], learned


@pytest.mark.long
def test_step_is_the_paper_s(small):
    """Six steps, of which D is held back in some, equal the paper's in float64; were it never, they would not."""
    start, step, xs = small
    end, held = start, []
    for x in xs:
        end, metrics = step(end, {"x": x})
        held.append(metrics["held"])
    players, learned = paper(start, xs, CFG.held_above)
    assert 1 < sum(learned) < 5 and held == [1 - of for of in learned]
    oracle.same([end.g, end.d], players)
    oracle.differ([end.g, end.d], paper(start, xs, 1)[0])


def test_d_is_held_back_above_its_limit_alone(small):
    """An accuracy of the limit itself is not above it."""
    state, step, xs = small
    for accuracy, held in ((0.5, 0), (0.625, 1)):
        after, metrics = step(state._replace(accuracy=jnp.float32(accuracy)), {"x": xs[0]})
        assert metrics["held"] == held and after.accuracy == metrics["accuracy"]
        stays = jax.tree.map(lambda a, b: (a == b).all(), state.d.params, after.d.params)
        assert all(jax.tree.leaves(stays)) == held


def test_a_d_that_does_not_see_how_far_its_batch_differs():
    """Its score is that of plain sums, with the mean deviation over the batch beside the least cube; copies have none."""
    with jax.enable_x64(True):
        x = np.sign(np.random.default_rng(0).normal(size=(B, *SIDES[0], 1)) - 0.5)
        D, key = SpreadD(2), jax.random.key(0)
        p = jax.tree.map(lambda a: np.asarray(a) + 0.1, oracle.double(D.init(key, x)["params"]))  # biases begin as 0
        y = (x + 1) / 2
        for i in range(2):
            y = np.asarray(conv(p[f"level_{i}"]["kernel"], y)) + np.asarray(p[f"level_{i}"]["bias"])
            y = np.where(y > 0, y, 0.2 * y)
        n, m, l = y.shape[1:4]
        spread = np.mean([np.sqrt(y[:, i, j, k].var(0) + 1e-8) for i in range(n) for j in range(m) for k in range(l)])
        y = np.concatenate([y, np.full((B, n, m, l, 1), spread)], -1)
        padded = np.pad(y, ((0, 0), *((1, 1),) * 3, (0, 0)))
        z = sum(
            padded[:, i : i + n, j : j + m, k : k + l] @ p["Conv_0"]["kernel"][i, j, k]
            for i in range(3) for j in range(3) for k in range(3)
        ) + p["Conv_0"]["bias"]  # fmt: skip
        z = np.where(z > 0, z, 0.2 * z)
        score = np.einsum("bijkc,ijkc->b", z, p["Conv_1"]["kernel"][..., 0]) + p["Conv_1"]["bias"]
        np.testing.assert_allclose(D.apply({"params": p}, x), score, rtol=1e-9)
        same = D.apply({"params": p}, x[[0, 0, 0, 0]])
        assert same.std() < 1e-9 < abs(same[0] - D.apply({"params": p}, x)[0])


def test_the_published_nets(monkeypatch):
    """Of 64^3 voxels, counted layer by layer from the paper's table: kernels 4^3 without biases, and batch norm."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field((64, 64, 64, 1), "voxels")}))
    cfg = gan3d.PRESETS["paper"]
    assert (cfg.z_dim, cfg.g_lr, cfg.d_lr, cfg.b1, cfg.batch_size, cfg.held_above) == (200, 2.5e-3, 1e-5, 0.5, 100, 0.8)
    state = jax.eval_shape(functools.partial(gan3d.init, cfg), jax.random.key(0))
    count = lambda p: sum(leaf.size for leaf in jax.tree.leaves(p.params))
    between = 512 * 256 + 256 * 128 + 128 * 64 + 64 * 1
    norm = 2 * (512 + 256 + 128 + 64)
    assert count(state.g) == 64 * (200 * 512 + between) + norm == 17_569_664
    assert count(state.d) == 64 * (between + 512 * 1) + norm == 11_048_832
    z = latent(cfg)
    assert z.min() >= 0 and z.max() < 1 and z.mean() == pytest.approx(0.5, abs=0.02)
    x = jax.eval_shape(lambda s, z: gan3d.generate(cfg, s, z), state, z[:2])
    assert x.shape == (2, 64, 64, 64, 1)
    assert jax.eval_shape(functools.partial(gan3d.discriminate, cfg), state, x).shape == (2,)


def latent(cfg):
    return gan3d.latent(cfg, jax.random.key(0), 20)


def test_what_is_measured_of_training_shapes_as_samples(monkeypatch):
    """They are as good as training shapes, near to which nothing is nearer; the nearest are drawn under them."""
    source = data.load("primitives")
    train, test = source.whole(), {name: a[:40] for name, a in source.test.whole().items()}
    train = {name: a[:60] for name, a in train.items()}
    x = data.decode({"x": jnp.asarray(train["x"])})["x"]
    monkeypatch.setattr(gan3d, "sample", lambda cfg, state, key, n: x[:n])
    found = gan3d.measure(CFG, None, jax.random.key(0), train, test)
    assert found["nearest"] == 1 > found["test/nearest"] > 0.3
    for name in ("coverage", "matched"):
        assert found[name] == found[f"train/{name}"] and 0.2 < found[name] < 1
    assert found["filled"] == pytest.approx((train["x"][:40] == 255).mean(), rel=1e-5)
    np.testing.assert_array_equal(found["beside"].x[0], found["beside"].x[1])
    assert gan3d.measure(CFG, None, jax.random.key(0), {}, test) == {}
