"""The network of FID: its blocks by plain loops, and the whole."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import random_weights

from gan_jax.metrics import inception

# Blocks, by loops


def window(x, i, j, size, stride, pads):
    """Return the part of x [h, w, c] under the window at output (i, j), and where in the window it lies."""
    starts = [at * stride - pad for at, pad in zip((i, j), pads, strict=True)]
    ends = [min(start + k, side) for start, k, side in zip(starts, size, x.shape[:2], strict=True)]
    inside = tuple(slice(max(start, 0), end) for start, end in zip(starts, ends, strict=True))
    return x[inside], tuple(slice(s.start - start, s.stop - start) for s, start in zip(inside, starts, strict=True))


def slide(x, f, size, stride, pads):
    """Return f(part of the image, place in the window) at every place of the window: x [b, h, w, c] -> [b, n, m, o]."""
    n, m = ((side + 2 * pad - k) // stride + 1 for side, pad, k in zip(x.shape[1:3], pads, size, strict=True))
    return np.array(
        [[[f(*window(image, i, j, size, stride, pads)) for j in range(m)] for i in range(n)] for image in x]
    )


def loops(params, path):
    """Return a function that follows a path of convolutions, "name" or "name stride pad-rows pad-columns"."""

    def follow(x):
        for step in path.split(", "):
            name, stride, *pads = step.split() if " " in step else (step, "1", "0", "0")
            kernel = params[f"{name}.conv.weight"]
            convolved = slide(
                x,
                lambda part, at: np.einsum("ijc,ijco->o", part, kernel[at]),
                kernel.shape[:2],
                int(stride),
                tuple(map(int, pads)),
            )
            weight, bias, mean, var = (
                params[f"{name}.bn.{k}"] for k in ("weight", "bias", "running_mean", "running_var")
            )
            x = np.maximum((convolved - mean) / np.sqrt(var + 0.001) * weight + bias, 0)
        return x

    return follow


mean_pool = lambda x: slide(x, lambda part, _: part.mean((0, 1)), (3, 3), 1, (1, 1))  # over the pixels that there are
same_max = lambda x: slide(x, lambda part, _: part.max((0, 1)), (3, 3), 1, (1, 1))
half_max = lambda x: slide(x, lambda part, _: part.max((0, 1)), (3, 3), 2, (0, 0))
same = lambda x: x


def block_e(pool):
    three, double = "branch3x3_1", "branch3x3dbl_1, branch3x3dbl_2 1 1 1"
    return [
        (same, "branch1x1"),
        (same, f"{three}, branch3x3_2a 1 0 1"),
        (same, f"{three}, branch3x3_2b 1 1 0"),
        (same, f"{double}, branch3x3dbl_3a 1 0 1"),
        (same, f"{double}, branch3x3dbl_3b 1 1 0"),
        (pool, "branch_pool"),
    ]


# block, [h, w], its branches (what comes before the convolutions, and those with stride and padding), its channels
BLOCKS = {
    "a": (
        lambda conv, x: inception.block_a(conv, x, 32),
        (5, 4),
        [
            (same, "branch1x1"),
            (same, "branch5x5_1, branch5x5_2 1 2 2"),
            (same, "branch3x3dbl_1, branch3x3dbl_2 1 1 1, branch3x3dbl_3 1 1 1"),
            (mean_pool, "branch_pool"),
        ],
        [64, 64, 96, 32],
    ),
    "b": (
        inception.block_b,
        (7, 6),
        [
            (same, "branch3x3 2 0 0"),
            (same, "branch3x3dbl_1, branch3x3dbl_2 1 1 1, branch3x3dbl_3 2 0 0"),
            (half_max, ""),
        ],
        [384, 96, 3],
    ),
    "c": (
        lambda conv, x: inception.block_c(conv, x, 5),
        (5, 8),
        [
            (same, "branch1x1"),
            (same, "branch7x7_1, branch7x7_2 1 0 3, branch7x7_3 1 3 0"),
            (
                same,
                "branch7x7dbl_1, branch7x7dbl_2 1 3 0, branch7x7dbl_3 1 0 3, branch7x7dbl_4 1 3 0, branch7x7dbl_5 1 0 3",
            ),
            (mean_pool, "branch_pool"),
        ],
        [192, 192, 192, 192],
    ),
    "d": (
        inception.block_d,
        (7, 6),
        [
            (same, "branch3x3_1, branch3x3_2 2 0 0"),
            (same, "branch7x7x3_1, branch7x7x3_2 1 0 3, branch7x7x3_3 1 3 0, branch7x7x3_4 2 0 0"),
            (half_max, ""),
        ],
        [320, 192, 3],
    ),
    "e_1": (
        lambda conv, x: inception.block_e(conv, x, inception._average),
        (4, 3),
        block_e(mean_pool),
        [320, 384, 384, 384, 384, 192],
    ),
    "e_2": (
        lambda conv, x: inception.block_e(conv, x, inception._largest),
        (4, 3),
        block_e(same_max),
        [320, 384, 384, 384, 384, 192],
    ),
}


def with_new_weights(block, x):
    """Return the block's weights, drawn for the shapes that it asks for, and its value."""
    shapes = {}

    def asked(name, x, out, size=1, stride=1, valid=False):
        shapes.update({f"{name}.bn.{k}": (out,) for k in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.conv.weight"] = (*np.broadcast_to(size, 2).tolist(), x.shape[-1], out)
        return inception._convolve(x, jnp.zeros(shapes[f"{name}.conv.weight"]), stride, valid)

    jax.eval_shape(lambda x: block(asked, x), x)
    params = {name: np.float64(value) for name, value in random_weights(shapes).items()}
    value = jax.jit(lambda params, x: block(functools.partial(inception.conv_bn_relu, params), x))(params, x)
    return params, value


@pytest.mark.parametrize("name", BLOCKS)
def test_block_by_loops(name):
    """float64, a few pixels: every branch has its convolutions, strides, pads and pool, in this order of channels."""
    block, (h, w), branches, channels = BLOCKS[name]
    x = np.random.default_rng(1).normal(size=(1, h, w, 3)) + 0.5
    with jax.enable_x64(True):
        params, value = with_new_weights(block, x)
    assert value.dtype == jnp.float64
    expected = [loops(params, path)(before(x)) if path else before(x) for before, path in branches]
    assert [e.shape[-1] for e in expected] == channels
    np.testing.assert_allclose(value, np.concatenate(expected, -1), rtol=1e-9, atol=1e-12)
    asked = {step.split()[0] for _, path in branches for step in path.split(", ") if step}
    assert {key.split(".")[0] for key in params} == asked


def test_loops_see_a_wrong_pool():
    """The two variants of the last block, and of the average, differ by more than the tolerance."""
    x = np.random.default_rng(1).normal(size=(1, 4, 3, 3))
    with_zeros = lambda x: slide(x, lambda part, _: part.sum((0, 1)) / 9, (3, 3), 1, (1, 1))
    assert np.abs(mean_pool(x) - same_max(x)).max() > 0.1 and np.abs(mean_pool(x) - with_zeros(x)).max() > 0.1
    np.testing.assert_allclose(inception._average(x), mean_pool(x), rtol=1e-5, atol=1e-6)


# The whole


def test_shapes():
    """94 convolutions with their norms, and as many numbers as the public file of 95,628,359 bytes has."""
    shapes = inception.shapes()
    assert len(shapes) == 5 * 94 + 1
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (3, 3, 3, 32) and shapes["fc.weight"] == (1008, 2048)
    assert shapes["Mixed_5b.branch_pool.conv.weight"] == (1, 1, 192, 32)
    assert shapes["Mixed_6d.branch7x7dbl_3.conv.weight"] == (1, 7, 160, 160)
    assert shapes["Mixed_7c.branch3x3_2b.conv.weight"] == (3, 1, 384, 384)
    numbers = sum(np.prod(shape) for shape in shapes.values()) + 1008  # fc.bias is not used
    assert 0 < 95_628_359 - 4 * numbers < 100_000  # what names and the archive take


def test_sizes():
    """From 299 pixels down to 8, block by block; the last block, and no other of its kind, has a max pool."""
    seen = {}

    def conv(name, x, out, size=1, stride=1, valid=False):
        seen.setdefault(name.split(".")[0], x.shape)
        return inception._convolve(x, jnp.zeros((*np.broadcast_to(size, 2).tolist(), x.shape[-1], out)), stride, valid)

    program, out = jax.make_jaxpr(lambda x: inception.network(conv, x), return_shape=True)(jnp.zeros((2, 299, 299, 3)))
    assert out.shape == (2, 2048)
    pools = re.findall("reduce_window_(max|sum)", str(program))
    assert pools.count("max") == 5 and pools[-1] == "max" and pools[-2] == "sum"  # stem 2, 6a, 7a, 7c
    sides = {
        "Conv2d_1a_3x3": (299, 3),
        "Conv2d_2a_3x3": (149, 32),
        "Conv2d_2b_3x3": (147, 32),
        "Conv2d_3b_1x1": (73, 64),
    }
    sides |= {"Conv2d_4a_3x3": (73, 80), "Mixed_5b": (35, 192), "Mixed_5c": (35, 256), "Mixed_5d": (35, 288)}
    sides |= {"Mixed_6a": (35, 288), "Mixed_6b": (17, 768), "Mixed_6e": (17, 768), "Mixed_7a": (17, 768)}
    sides |= {"Mixed_7b": (8, 1280), "Mixed_7c": (8, 2048)}
    assert {name: seen[name] for name in sides} == {name: (2, side, side, c) for name, (side, c) in sides.items()}


@pytest.mark.parametrize("h, w, side", [(5, 8, 11), (16, 7, 7), (3, 3, 3)])
def test_resized_by_loops(h, w, side):
    """Pixel (i, j) is read at (i h / side, j w / side), between its neighbours; the last ones repeat."""
    x = np.random.default_rng(0).normal(size=(2, h, w, 3))
    expected = np.empty((2, side, side, 3))
    for i in range(side):
        for j in range(side):
            (p, a), (q, b) = divmod(i * h / side, 1), divmod(j * w / side, 1)
            p, q = int(p), int(q)
            r, s = min(p + 1, h - 1), min(q + 1, w - 1)
            upper, lower = ((1 - b) * x[:, row, q] + b * x[:, row, s] for row in (p, r))
            expected[:, i, j] = (1 - a) * upper + a * lower
    with jax.enable_x64(True):
        np.testing.assert_allclose(inception.resized(jnp.asarray(x), side), expected, rtol=1e-12, atol=1e-12)


@pytest.fixture
def looking(monkeypatch):
    """Return an extractor whose network is cut short: features [n, 2048] begin with the first pixels that it sees."""
    monkeypatch.setattr(inception, "network", lambda conv, x: x.reshape(len(x), -1)[:, : inception.FEATURES])
    monkeypatch.setattr(inception, "_jitted", jax.jit(lambda params, x: inception.apply(params, x)))
    weight = np.zeros((1008, 2048), np.float32)
    weight[:3, :3] = np.eye(3)
    return inception.Inception({"fc.weight": weight}, "", "")


def test_images_as_the_network_sees_them(looking):
    """[-1, 1] -> whole numbers 0 .. 255 -> (v - 128) / 128, grey three times; chunks make no difference."""
    values = np.float32([-1.2, -1, -0.5, 0.001, 0.3, 1, 1.1])
    x = np.broadcast_to(values[:, None, None, None], (7, 299, 299, 1))
    features, probabilities = looking(x, batch=3)
    expected = (np.clip(np.round((values + 1) * 127.5), 0, 255) - 128) / 128
    np.testing.assert_allclose(features, np.tile(expected[:, None], 2048), rtol=1e-6)
    assert features.shape == (7, 2048) and probabilities.shape == (7, 1008) and features.dtype == np.float32
    np.testing.assert_array_equal(looking(x)[0], features)
    colours = np.concatenate([x, -x, 0 * x], axis=-1)
    seen, probabilities = looking(colours)
    np.testing.assert_allclose(seen[3, :6].reshape(2, 3), [[0, -1 / 128, 0]] * 2)  # 128, 127 and 128 of 255
    logits = np.zeros((7, 1008))
    logits[:, :3] = seen[:, :3]
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5)
