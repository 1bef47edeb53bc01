"""The CPPN GAN's step against the author's loops and layers, and its nets: any size, and their published parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import cppn
from gan_jax import UserError, data, metrics
from gan_jax.game import rng
from gan_jax.nets import cppn as nets

CFG = dataclasses.replace(cppn.PRESETS["tiny"], batch_size=4, clip=0.5, kl=3.0, g_lr=3e-3, d_lr=1e-2, drop=0.3)
CFG = dataclasses.replace(CFG, z_dim=2, g_steps=3, g_enough=0.4, d_steps=2, d_behind=0.6, d_enough=0.3)
CFG = dataclasses.replace(CFG, g_able=0.6, real_poor=0.9, real_enough=0.6)
SHAPE, CLASSES, B = (4, 3, 1), 2, CFG.batch_size
FAKE = np.full(B, CLASSES)


def conv(kernel, x):
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def chances(p, stats, x):
    """D: the probability of each class and of what is drawn, [b, classes + 1]; its new statistics."""
    x, new = (x + 1) / 2, {}
    for i in range(3):
        x = conv(p[f"Conv_{i}"]["kernel"], x)
        if i == 0:
            x = x + p["Conv_0"]["bias"].reshape(1, 1, 1, -1)
        else:
            name = f"BatchNorm_{i - 1}"
            x, new[name] = oracle.batch_norm(p[name], stats["batch_stats"][name], x)
        x = 0.6 * x + 0.4 * jnp.abs(x)
    logits = oracle.dense(p["Dense_0"], x.reshape(B, -1))
    return jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True), {"batch_stats": new}


def latent(p, x, key):
    """E: two layers of softplus, of whose units some rest; z = mean + deviation * noise, and KL's sum over z."""
    noise, *rests = jax.random.split(key, 3)
    h = (x.reshape(B, -1) + 1) / 2
    for i, rest in enumerate(rests):
        h = jnp.log(1 + jnp.exp(oracle.dense(p[f"Dense_{i}"], h)))
        h = h * (rng.uniform(rest, h.shape) >= CFG.drop) / (1 - CFG.drop)
    mean, log_var = oracle.dense(p["Dense_2"], h), oracle.dense(p["Dense_3"], h)
    kl = -0.5 * (1 + log_var - mean**2 - jnp.exp(log_var)).sum(1)
    return mean + jnp.sqrt(jnp.exp(log_var)) * rng.normal(noise, mean.shape), kl


def pixel(p, z, x, y):
    """G, of one pixel of one picture: tanh of the sum of four layers, then blocks that are added, then a sigmoid."""
    of = lambda i, h: h @ p[f"Layer_{i}"]["kernel"] + p[f"Layer_{i}"].get("bias", 0)
    h = jnp.tanh(of(0, 8 * z) + of(1, jnp.stack([x, y, jnp.sqrt(x * x + y * y)])))
    for block in range(CFG.depth):
        inner = h
        for j in range(4):
            inner = jnp.maximum(of(2 + 5 * block + j, inner), 0)
        h = h + jnp.tanh(of(6 + 5 * block, inner))
    return oracle.sigmoid(of(2 + 5 * CFG.depth, h))


def drawn(p, x, key, h=SHAPE[0], w=SHAPE[1]):
    """All pixels of each picture; their places are the author's formula, from -8 to 8."""
    place = lambda n: jnp.array([8.0 * (i - (n - 1) / 2.0) / (n - 1) / 0.5 for i in range(n)])
    z, kl = latent(p["e"], x, key)
    along = jax.vmap(lambda x, y, z: pixel(p["g"], z, x, y), (0, None, None))
    picture = jax.vmap(jax.vmap(along, (None, 0, None)), (None, None, 0))
    return 2 * picture(place(w), place(h), z) - 1, kl


def cost(p, labels):
    """Return (cross-entropy, the share that is right) of probabilities p [b, classes + 1]."""
    right = [(p[i].argmax() == labels[i]).astype(jnp.float32) for i in range(B)]
    return -sum(jnp.log(p[i, labels[i]]) for i in range(B)) / B, sum(right) / B


def moved(player, loss, lr):
    """Return the player after a step of Adam along the gradient, whose norm is cut, and the share."""
    grads, share = jax.grad(loss, has_aux=True)(player.params)
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1, CFG.clip / norm), grads)
    return oracle.adam(player, grads, lr, CFG.b1), share


@jax.jit
def g_move(g, d, x, y, key):
    def loss(p):
        made, kl = drawn(p, x, key)
        value, share = cost(chances(d.params, d.stats, made)[0], y)
        return value + CFG.kl * kl.mean() / (SHAPE[0] * SHAPE[1]), share

    return moved(g, loss, CFG.g_lr)


@jax.jit
def d_move(d, g, x, y, key, weight):
    made, _ = drawn(g.params, x, key)

    def loss(p):
        value, share = cost(chances(p, d.stats, made)[0], FAKE)
        return (weight * cost(chances(p, d.stats, x)[0], y)[0] + value) / (weight + 1), share

    return moved(d, loss, CFG.d_lr)


@jax.jit
def d_move_alone(d, x, y):
    return moved(d, lambda p: cost(chances(p, d.stats, x)[0], y), CFG.d_lr)


@jax.jit
def judged(d, g, x, y, key):
    said, new = chances(d.params, d.stats, x)
    return cost(said, y)[1], cost(chances(d.params, d.stats, drawn(g.params, x, key)[0])[0], FAKE)[1], new


def paper(g, d, x, y, keys, weight, seen):
    """A batch's loops; weight: of the classes in D's loss, 1 is a planted deviation; seen: which loops there were."""
    fold = jax.random.fold_in
    for i in range(CFG.g_steps):
        g, able = g_move(g, d, x, y, fold(keys[0], i))
        if able > CFG.g_enough:
            break
    read, caught, new = judged(d, g, x, y, keys[1])
    if caught < CFG.d_behind and able > CFG.g_able:
        for made in range(CFG.d_steps):
            d, share = d_move(d, g, x, y, fold(keys[2], made), weight)
            if share > CFG.d_enough:
                break
        seen.add(f"d {made}")
    elif read < CFG.real_poor:
        for made in range(CFG.d_steps):  # noqa: B007
            d, share = d_move_alone(d, x, y)
            if share > CFG.real_enough:
                break
        seen.add(f"alone {made}")
    seen.add(f"g {i}")
    return g, d._replace(stats=new)


def test_step_is_the_paper_s(monkeypatch):
    """Steps with every loop in them equal the author's in float64; with as much weight on fakes they would not."""
    source = type("Set", (), {"shape": SHAPE, "classes": CLASSES})
    monkeypatch.setattr(cppn, "cut", lambda cfg: source)
    with jax.enable_x64(True):
        random = np.random.default_rng(1)
        xs, ys = random.uniform(-1, 1, (4, B, *SHAPE)), random.integers(0, CLASSES, (4, B))
        start, end, _ = oracle.played(cppn, CFG, [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])

        def theirs(weight):
            (g, d), seen = oracle.started(start.g, start.d), set()
            for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
                g, d = paper(g, d, x, y, jax.random.split(rng.at(start.key, t, "z"), 3), weight, seen)
            return [g, d], seen

        players, seen = theirs(CLASSES)
        assert seen >= {"g 0", f"g {CFG.g_steps - 1}", f"d {CFG.d_steps - 1}", "alone 0"}
        oracle.same([end.g, end.d], players, rtol=1e-7)
        oracle.differ([end.g, end.d], theirs(1)[0], rtol=1e-7)


def test_one_g_draws_at_any_size():
    """Its parameters fit every size, and where two sizes have a pixel in common, the corners, they draw the same."""
    z = jax.random.normal(jax.random.key(0), (2, 5))
    G = nets.G((5, 5, 3), 4, 2)
    params = G.init(jax.random.key(1), z)
    small, large = (nets.G(shape, 4, 2).apply(params, z) for shape in ((5, 5, 3), (9, 13, 3)))
    assert small.shape == (2, 5, 5, 3) and large.shape == (2, 9, 13, 3)
    np.testing.assert_allclose(large[:, ::2, ::3], small, atol=1e-5)


def test_the_published_nets():
    """Counted by hand from the author's layers: G for 26x26 pixels, E, and D, less two biases in front of norms."""
    cfg, x, key = cppn.PRESETS["paper"], jnp.zeros((2, 26, 26, 1)), jax.random.key(0)
    size = lambda net, *given: sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, key, *given)["params"]))
    blocks = 24 * 5 * (6 * 6 + 6)
    assert size(nets.G((26, 26, 1), cfg.width, cfg.depth), jnp.zeros((2, cfg.z_dim))) == 33 * 6 + 3 * 6 + blocks + 7
    assert size(nets.E(cfg.z_dim), x, key) == 677 * 512 + 513 * 512 + 2 * 513 * 32
    convolutions = 25 * (1 * 32 + 32 * 64 + 64 * 128) + 32
    assert size(nets.D(10, cfg.d_width), x) == convolutions + 2 * (64 + 128) + 16 * 128 * 11 + 11
    assert (cfg.batch_size, cfg.b1, cfg.g_lr, cfg.d_lr, cfg.steps) == (1000, 0.75, 1e-3, 1e-3, 3000 * 70)


def test_what_has_no_labels(monkeypatch):
    """It is refused in a line, as are points."""
    bare = dataclasses.replace(data.load("digits"), name="bare", fields={"x": data.load("digits").fields["x"]})
    monkeypatch.setitem(data.DATASETS, "bare", lambda name: bare)
    for name, words in (("bare", "bare has no classes"), ("ring8", "ring8")):
        with pytest.raises(UserError, match=words):
            cppn.setup(dataclasses.replace(CFG, dataset=name))


def test_the_spread_within_a_label():
    """Mean squares from each label's own mean; a record without a label is left out."""
    x, y = jnp.array([[0.0, 0], [2, 0], [5, 5], [5, 5], [99, 0]]), jnp.array([0, 0, 1, 1, -1])
    np.testing.assert_allclose(metrics.within(x, y, 3), (1 / 2 + 1 / 2) / 4, rtol=1e-6)
