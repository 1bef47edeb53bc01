"""The robust LSTM autoencoder's step against the authors' losses, its LSTMs against plain loops over places and steps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.restoration import deocclude
from gan_jax import UserError
from gan_jax.game import rng
from gan_jax.nets import deocclude as nets

CFG = dataclasses.replace(deocclude.PRESETS["tiny"], batch_size=2, identity=0.7, adversarial=0.3, removals=2)


def conv(p, x, stride=1):
    """A convolution by JAX alone."""
    dims = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(x, p["kernel"], (stride, stride), "SAME", dimension_numbers=dims)
    return found + p["bias"].reshape(1, 1, 1, -1) if "bias" in p else found


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def plane(p, x):
    """x {(row, column): [b, i]} of 2 x 2 places -> states at all places."""
    c, h, zero = {}, {}, jnp.zeros((len(x[0, 0]), CFG.width))
    for r, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
        left, above = (r, k - 1), (r - 1, k)
        gates = oracle.dense(p["Dense_0"], x[r, k])
        gates = gates + h.get(left, zero) @ p["across"] + h.get(above, zero) @ p["down"]
        i, f_left, f_above, o, new = (gates[:, n * CFG.width : (n + 1) * CFG.width] for n in range(5))
        s = oracle.sigmoid
        c[r, k] = s(f_left) * c.get(left, zero) + s(f_above) * c.get(above, zero) + s(i) * jnp.tanh(new)
        h[r, k] = s(o) * jnp.tanh(c[r, k])
    return h, (c[1, 1], h[1, 1])


def line(p, start, inputs):
    """Hidden states, the first one as it is given; inputs: of the steps after it, or how many."""
    (c, h), found, s = start, [start[1]], oracle.sigmoid
    for x in [None] * inputs if isinstance(inputs, int) else inputs:
        gates = p["bias"][0] if x is None else oracle.dense(p["Dense_0"], x)
        i, f, o, new = jnp.split(gates + h @ p["recurrent"], 4, 1)
        c = s(f + 5) * c + s(i) * jnp.tanh(new)
        h = s(o) * jnp.tanh(c)
        found.append(h)
    return found


def draw(p, v):
    """Of 16 x 16 with patches of 8: the larger ones are the whole picture, shrunk."""
    v = (v + 1) / 2
    flat = lambda a: a.reshape(len(a), -1)
    far = flat(sum(v[:, i::2, k::2] for i in range(2) for k in range(2)) / 4)
    cut = lambda r, k: flat(v[:, 8 * r : 8 * r + 8, 8 * k : 8 * k + 8])
    seen = {(r, k): jnp.concatenate([cut(r, k), far], 1) for r in range(2) for k in range(2)}
    states, first = plane(p["Plane_0"], seen)
    _, second = plane(p["Plane_1"], states)
    inner = line(p["Line_0"], first, CFG.removals - 1)
    face = sum(line(p["Line_1"], second, inner[1:]))
    o = sum(line(p["Line_3"], second, line(p["Line_2"], first, inner[1:])[1:]))
    picture = lambda p, x: oracle.sigmoid(oracle.dense(p, x)).reshape(v.shape)
    return 2 * picture(p["Dense_0"], face) - 1, picture(p["Dense_1"], o)


def score(p, stats, x):
    """DCGAN's D of 16 x 16: two convolutions, the second one normalised."""
    x = leaky(conv(p["Conv_0"], x, 2))
    x, new = oracle.batch_norm(p["BatchNorm_0"], stats["BatchNorm_0"], conv(p["Conv_1"], x, 2))
    return oracle.dense(p["Dense_0"], leaky(x).reshape(len(x), -1))[:, 0], {"batch_stats": {"BatchNorm_0": new}}


def people(p, x):
    """Convolutions whose units are the larger of two, each followed by the largest of 2 x 2; log probabilities."""
    i = 0
    while f"Conv_{i}" in p:
        a, b = jnp.split(conv(p[f"Conv_{i}"], x), 2, 3)
        x = jnp.maximum(a, b)
        x = jnp.max(jnp.stack([x[:, i::2, k::2] for i in range(2) for k in range(2)]), 0)
        i += 1
    a, b = jnp.split(oracle.dense(p["Dense_0"], x.reshape(len(x), -1)), 2, 1)
    logits = oracle.dense(p["Dense_1"], jnp.maximum(a, b))
    return logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))


@functools.partial(jax.jit, static_argnums=0)
def update(first, g, d, f, x, y, mask, grey, weight):
    """One of all three; of F and G alone in the first stage."""
    v = mask * grey + (1 - mask) * x
    cross = lambda params, x: -people(params, x)[jnp.arange(len(x)), y].mean()

    def result(params):
        face, o = draw(params, v)
        return face if first else o * face + (1 - o) * v

    def d_loss(params):
        real, stats = score(params, d.stats["batch_stats"], x)
        fake, _ = score(params, d.stats["batch_stats"], result(g.params))
        return -(jnp.log(oracle.sigmoid(real)) + jnp.log(1 - oracle.sigmoid(fake))).mean(), stats

    def g_loss(params):
        made = result(params)
        error = ((made / 2 - x / 2) ** 2).sum() / len(x) / 2
        if first:
            return error, {}
        said, _ = score(d.params, d.stats["batch_stats"], made)
        return error - CFG.adversarial * jnp.log(oracle.sigmoid(said)).mean() + weight * cross(f.params, made), {}

    f = oracle.moved(oracle.adam, f, lambda params: (cross(params, x), {}), CFG.lr)
    d = d if first else oracle.moved(oracle.adam, d, d_loss, CFG.lr)
    return oracle.moved(oracle.adam, g, g_loss, CFG.lr), d, f


def paper(start, batches, weight=CFG.identity):
    """One step of the first stage, then of the second."""
    g, d, f = oracle.started(*start[2:5])
    for t, batch in enumerate(batches):
        grey = np.asarray(rng.uniform(rng.at(jax.random.key(0), t, "grey"), (2, 1, 1, 1), minval=-1))
        g, d, f = update(t < 1, g, d, f, *(batch[name] for name in ("x", "y", "mask")), grey, weight)
    return [g, d, f]


def test_step_is_the_paper_s():
    """Three steps equal both stages in float64, statistics too; with another weight of the person they would not."""
    draw = np.random.default_rng(0)
    with jax.enable_x64(True):
        batches = []
        for _ in range(3):
            mask = np.zeros((2, 16, 16, 1))
            mask[0, 2:9, 3:12] = mask[1, 5:15, 0:6] = 1
            rows = {"x": draw.uniform(-1, 1, (2, 16, 16, 1)), "y": draw.integers(0, 10, 2), "mask": mask}
            batches.append(jax.tree.map(jnp.asarray, rows))
        start, end, _ = oracle.played(deocclude, CFG, batches)
        oracle.same(list(end[2:5]), paper(start, batches), rtol=1e-7, atol=1e-10)
        oracle.differ(list(end[2:5]), paper(start, batches, CFG.identity / 2), rtol=1e-7, atol=1e-10)


def test_patches_and_what_is_around_them():
    """Of 10 x 12 pixels, 3 x 3 places of 4; the last ones, and larger ones at a border, end where the picture does."""
    x = np.random.default_rng(0).normal(size=(2, 10, 12, 1)).astype(np.float32)
    found = np.asarray(nets.patches(jnp.asarray(x), 4)).reshape(3, 3, 2, 2, 4, 4)  # [n, m, b, which, side, side]
    for i, (top, above) in enumerate(((0, 0), (4, 2), (6, 2))):
        for k, (left, beside) in enumerate(((0, 0), (4, 2), (8, 4))):
            far = x[:, above : above + 8, beside : beside + 8, 0].reshape(2, 4, 2, 4, 2).mean((2, 4))
            np.testing.assert_array_equal(found[i, k, :, 0], x[:, top : top + 4, left : left + 4, 0])
            np.testing.assert_allclose(found[i, k, :, 1], far, atol=1e-6)
    with pytest.raises(UserError, match="patches of 8 pixels are too large for 10x12"):
        nets.patches(jnp.asarray(x), 8)


def test_the_published_lstms():
    """2048 states, patches of 32 in 128: counted by hand, the peepholes left out."""
    cfg, w = deocclude.PRESETS["paper"], 2048
    G = nets.G(cfg.side, cfg.width, cfg.removals)
    params = jax.eval_shape(G.init, jax.random.key(0), jnp.zeros((1, 128, 128, 1)))["params"]
    plane = 5 * w * (2 * 32 * 32 + 2 * w + 1) + 5 * w * (w + 2 * w + 1)
    lines = 4 * w * (w + 1) + 3 * 4 * w * (2 * w + 1)
    assert sum(p.size for p in jax.tree.leaves(params)) == plane + lines + 2 * (w + 1) * 128 * 128


def test_no_sunglasses_are_learned(tfds_dir):
    """With `--no-worn` of the training faces those without them; of the test faces all."""
    source, worn = (deocclude.hidden(deocclude.Config(worn=worn)) for worn in (False, True))
    assert source.row["sunglasses"].names[0] == "open"
    assert set(source.whole()["sunglasses"].tolist()) == {0} and 200 < source.n < 300
    assert set(source.test.whole()["sunglasses"].tolist()) == {0, 1} and source.test.n == worn.test.n == 124
    assert worn.n == 500 and source.fingerprint != worn.fingerprint
    with pytest.raises(UserError, match="digits16 has no records with labels, by which one class could be taken"):
        deocclude.setup(dataclasses.replace(CFG, worn=False))
