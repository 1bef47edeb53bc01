"""The closed triple against plain lax, against loops in numpy and against its own adjoint; the layers against Flax."""

import re
from contextlib import contextmanager
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from gan_jax.nets import conv as module
from gan_jax.nets import triple as three
from gan_jax.nets.conv import Conv, ConvTranspose, conv, conv_transpose

LINE = (7,), (4,), 2, ((0, 2),)
SOLID = (5, 4, 3), (4, 3, 2), (2, 1, 3), "SAME"
GREY = (3, 2, 5), (2, 1, 4), 2, ((1, 0), 0, (1, 2))  # with one channel; lines begin in a pad
CASES = [  # size of x, kernel, strides, padding
    ((7, 6), (3, 3), 1, "SAME"),
    ((5, 8), (4, 4), 2, "SAME"),
    ((5, 7), (3, 4), (1, 2), "VALID"),
    ((6, 5), (4, 3), 2, ((1, 2), (0, 3))),
    ((8, 7), (2, 3), 3, (1, (2, 0))),
    ((2, 3), (5, 4), 2, 3),  # the kernel larger than the image
    ((6, 5), (1, 1), 2, 0),  # a kernel that skips pixels
    ((4, 3), (2, 2), 1, ((3, 0), (-1, 2))),  # a pad larger than the kernel, and a cut
    ((4, 3), (4, 2), 3, ((1, 0), (-1, 1))),  # to one pixel, which sees part of the image and more
    LINE,
    ((6,), (3,), 1, 1),
    SOLID,
    ((2, 2, 2), (4, 4, 4), 2, 1),  # to one voxel
    ((7, 3, 4), (2, 3, 3), (3, 2, 1), ((2, 0), (-1, 2), (1, 1))),  # steps over planes that nothing sees, a cut
    ((3, 4, 2), (2, 1, 2), 1, ((1, 1), 0, (0, 1))),  # a kernel of several planes, no steps
]

# XLA compiles three times as fast without these optimisations.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def draw(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).normal(size=shape)


def operands(case, b=2, c=2, o=3):
    """Return x, the kernel, a y of the convolution's size, and both functions of this case."""
    size, kernel, strides, padding = case
    x, k = draw(b, *size, c), draw(*kernel, c, o) / 4
    down = lambda x, k: conv(x, k, strides, padding)
    up = lambda y, k: conv_transpose(y, k, strides, padding, size)
    return x, k, draw(*jax.eval_shape(down, x, k).shape), down, up


@contextmanager
def using(triple):
    before, module.TRIPLE = module.TRIPLE, triple
    try:
        yield
    finally:
        module.TRIPLE = before


def by(triple, f, *args):
    """Return jit(f)(*args) with the triple, or with plain lax."""
    with using(triple):
        return jax.jit(lambda *args: f(*args), compiler_options=QUICK)(*args)  # new, since jit remembers old traces


def assert_same(f, *args):
    for ours, lax_s in zip(*(jax.tree.leaves(by(triple, f, *args)) for triple in (True, False)), strict=True):
        assert np.abs(lax_s).max() > 1e-3
        np.testing.assert_allclose(ours, lax_s, rtol=1e-12, atol=1e-12 * np.abs(lax_s).max())


def squared_norm(tree):
    return sum(jnp.sum(jnp.sin(leaf) ** 2) for leaf in jax.tree.leaves(tree))  # sin: so that no order is the last


def orders(op, a, k):
    """Return the value, the gradient, and that of its squared norm twice over, each in both arguments."""
    value = lambda *args: squared_norm(op(*args))
    results = [op(a, k)]
    for _ in range(3):
        gradient = jax.grad(value, (0, 1))
        results.append(gradient(a, k))
        value = lambda *args, gradient=gradient: squared_norm(gradient(*args))
    return results


@pytest.mark.parametrize("case, c", [*((case, 2) for case in CASES), (SOLID, 1), (GREY, 1)], ids=str)
def test_three_orders_as_plain_lax(case, c, monkeypatch):
    """Transposed convolutions interleaved, as they are with channels enough; with few they are tested below."""
    monkeypatch.setattr(three, "FEW", (0, 0))
    monkeypatch.setattr(module, "FAST", 17 * (c == 1))  # solids of one channel with the zeros that make theirs enough
    x, k, y, down, up = operands(case, c=c)
    assert_same(partial(orders, down), x, k)
    assert_same(partial(orders, up), y, k)


@pytest.mark.parametrize("case", [case for case in CASES if case != SOLID], ids=str)
def test_products_as_plain_lax(case, monkeypatch):
    """Where y has few pixels; and, without strides, where few channels come out, or go in."""
    with monkeypatch.context() as patch:
        patch.setattr(three, "_at_few", lambda y: True)
        x, k, y, down, up = operands(case)
        assert_same(partial(orders, down), x / 4, k)  # else the third order is chaotic
        assert_same(partial(orders, up), y / 4, k)
    for c, o in ((9, 1), (1, 9)):
        x, k, y, down, up = operands(case, c=c, o=o)
        assert_same(partial(orders, down), x / 4, k / 4)
        assert_same(partial(orders, up), y / 4, k / 4)


@pytest.mark.parametrize("case", [CASES[1], CASES[7]], ids=str)
def test_in_parts_of_the_batch(case, monkeypatch):
    """Where x and y are larger than a core's cache, the kernel's gradient is summed over parts of the batch."""
    x, k, y, down, up = operands(case, b=32)
    monkeypatch.setattr(three, "CACHE", (x.nbytes + y.nbytes) // 3)  # so that each of four parts fits
    assert "while" in jax.jit(jax.grad(lambda k: down(x, k).sum())).lower(k).as_text()
    assert_same(partial(orders, down), x / 16, k)  # else the third order is chaotic: sines of hundreds
    assert_same(partial(orders, up), y / 16, k)


def ways(op, a, k):
    """Return op's derivatives in forward mode, and in mixed modes: along tangents, whole Jacobians, linearised."""
    da, dk = jnp.cos(a), jnp.sin(k)
    value = lambda a, k: jnp.sum(jnp.sin(op(a, k)))
    along = jax.jit(
        lambda a, k: jax.jvp(op, (a, k), (da, dk))[1]
    )  # the function that is differentiated is compiled, too
    linear = jax.linearize(jax.jit(op), a, k)[1]
    hessian = jax.jvp(jax.grad(value, (0, 1)), (a, k), (da, dk))[1]
    mixed = jax.grad(lambda k: squared_norm(jax.jvp(jax.checkpoint(op), (a, k), (da, dk))[1]))(k)
    return jax.jacfwd(value, (0, 1))(a, k), along(a, k), linear(da, dk), hessian, mixed


@pytest.mark.parametrize("case", [CASES[1], CASES[3], LINE, SOLID], ids=str)
def test_forward_mode_as_plain_lax(case, monkeypatch):
    """`jvp`, `jacfwd`, `linearize`, forward over reverse and reverse over forward, under jit and remat, too."""
    monkeypatch.setattr(three, "FEW", (0, 0))
    x, k, y, down, up = operands(case)
    assert_same(partial(ways, down), x, k)
    assert_same(partial(ways, up), y, k)


def test_gradients_of_vmapped_images():
    """More images are a larger batch: the gradient of what is vmapped is made of the three, as without vmap."""
    x, k, _, down, up = operands(CASES[1])
    loss = lambda xs, k: squared_norm(jax.vmap(lambda x: up(jnp.tanh(down(x, k)), k))(xs))
    assert_same(jax.grad(loss, (0, 1)), draw(3, *x.shape), k)
    with using(True):
        text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(draw(3, *x.shape), k))
    assert "conv_general_dilated" not in text and text.count("gan_jax_kernel_grad") == 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_transpose_is_the_adjoint(case):
    """With few channels, too."""
    x, k, y, down, up = operands(case)
    assert x.shape[-1] < three.FEW[0]
    for triple in (True, False):
        np.testing.assert_allclose(np.vdot(by(triple, down, x, k), y), np.vdot(x, by(triple, up, y, k)), rtol=1e-12)


@pytest.mark.parametrize("triple, few", [(True, three.FEW), (True, (0, 0)), (False, three.FEW)])
def test_loops(triple, few, monkeypatch):
    monkeypatch.setattr(three, "FEW", few)
    size, (kh, kw), (s, t), ((top, bottom), (left, right)) = (6, 5), (3, 2), (2, 1), ((2, 1), (0, 1))
    x, k, y, _, _ = operands((size, (kh, kw), (s, t), ((top, bottom), (left, right))))
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    down, up = np.zeros_like(y), np.zeros_like(padded)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            for p in range(kh):
                for q in range(kw):
                    down[:, i, j] += padded[:, i * s + p, j * t + q] @ k[p, q]
                    up[:, i * s + p, j * t + q] += y[:, i, j] @ k[p, q].T
    up = up[:, top : top + size[0], left : left + size[1]]
    pads = ((top, bottom), (left, right))
    np.testing.assert_allclose(by(triple, lambda: conv(x, k, (s, t), pads)), down, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(by(triple, lambda: conv_transpose(y, k, (s, t), pads, size)), up, rtol=1e-12, atol=1e-14)


def unrolled(x, k, case=CASES[1]):
    """Return a loss of the kernel after two descents in a scan, through both operations: gradients of gradients."""
    _, _, _, down, up = operands(case)
    loss = lambda k: jnp.mean(jnp.tanh(up(jnp.tanh(down(x, k)), k)) ** 2)
    k, _ = jax.lax.scan(lambda k, _: (k - jax.grad(loss)(k), None), k, None, length=2)
    return loss(k)


def test_in_scan_and_vmap():
    x, k, *_ = operands(CASES[1])
    xs, ks = draw(3, *x.shape), draw(3, *k.shape)
    assert_same(jax.grad(unrolled, (0, 1)), x, k)
    assert_same(jax.vmap(jax.grad(unrolled, (0, 1)), (0, None)), xs, k)
    each = by(True, lambda xs, ks: jax.lax.map(lambda args: unrolled(*args), (xs, ks)), xs, ks)
    np.testing.assert_allclose(by(True, jax.vmap(unrolled), xs, ks), each, rtol=1e-12)


@pytest.mark.parametrize(
    "case, vmapped, in_parts", [*((CASES[1], *of) for of in ((0, 0), (1, 0), (0, 1))), (SOLID, 0, 0)], ids=str
)
def test_on_a_divided_batch(case, vmapped, in_parts, monkeypatch):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    monkeypatch.setattr(three, "FEW", (0, 0))
    x, k, y, *_ = operands(case, b=32 if in_parts else 8)
    if in_parts:
        monkeypatch.setattr(three, "CACHE", (x.nbytes + y.nbytes) // 3)
    f, spec = jax.value_and_grad(partial(unrolled, case=case), (0, 1)), P("data")
    if vmapped:
        f, spec, x = jax.vmap(f, (0, None)), P(None, "data"), draw(2, *x.shape)
    divided = jax.device_put(x, NamedSharding(mesh, spec)), jax.device_put(k, NamedSharding(mesh, P()))
    assert len(divided[0].sharding.device_set) == 4 and not divided[0].sharding.is_fully_replicated
    for a, b in zip(jax.tree.leaves(by(True, f, *divided)), jax.tree.leaves(by(True, f, x, k)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
    if not vmapped:  # each device convolves its own rows
        assert "all-gather" not in jax.jit(f).lower(*divided).compile().as_text()


FAST = {"dim_labels=b01f_01io->b01f", "dim_labels=b0f_0io->b0f"}
FULL = ((4, 4), (3, 3), 1, 2)  # at one channel and a batch of one, XLA could take the padding for the convolution's


@pytest.mark.parametrize("few", [(0, 0), three.FEW], ids=str)
@pytest.mark.parametrize("case, b, c", [*((CASES[i], 4, 2) for i in (0, 1, 5, 9, 11)), (FULL, 1, 1)], ids=str)
def test_stays_on_the_fast_path(case, b, c, few, monkeypatch):
    """Every convolution that XLA is left with, in a loop body too, is NHWC x HWIO -> NHWC or NWC, none mirrored."""

    def slow(triple):
        step = lambda k, _: (k - jax.grad(lambda k: unrolled(x, k, case))(k), None)
        with using(triple):
            text = jax.jit(lambda k: jax.lax.scan(step, k, None, length=2)).lower(k).compile().as_text()
        return set(re.findall(r"dim_labels=[\w>-]+|rhs_reversal=\w+", text)) - FAST

    monkeypatch.setattr(three, "FEW", few)
    x, k, *_ = operands(case, b, c)
    x, k = x.astype(np.float32), k.astype(np.float32)
    assert not slow(True)
    assert slow(False)  # else the triple is no longer needed


def variables_of(ours, theirs, x):
    """Return random variables for both layers, which must agree on their names, shapes and dtypes."""
    shapes = [jax.eval_shape(layer.init, jax.random.key(0), x) for layer in (ours, theirs)]
    assert shapes[0] == shapes[1] and set(shapes[0]["params"]) == {"kernel", "bias"}
    return jax.tree.map(lambda leaf: draw(*leaf.shape).astype(leaf.dtype), shapes[0])


@pytest.mark.parametrize("strides, padding", [(1, "SAME"), ((2, 1), "VALID"), (2, 1), (2, ((0, 1), (2, 1)))])
def test_conv_as_flax(strides, padding):
    x = draw(2, 7, 6, 3)
    ours, theirs = (layer(4, (3, 2), strides, padding) for layer in (Conv, nn.Conv))
    variables = variables_of(ours, theirs, x)
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "kernel, strides, padding", [((3, 4), (1, 1), "SAME"), ((4, 5), (2, 3), "SAME"), ((3, 3), (2, 2), "VALID")]
)
def test_conv_transpose_as_flax(kernel, strides, padding):
    y = draw(2, 4, 3, 5)
    ours, theirs = (layer(4, kernel, strides, padding) for layer in (ConvTranspose, nn.ConvTranspose))
    variables = variables_of(ours, theirs, y)
    mirrored = {"params": {**variables["params"], "kernel": variables["params"]["kernel"][::-1, ::-1]}}
    np.testing.assert_allclose(ours.apply(mirrored, y), theirs.apply(variables, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(7,), (4, 3, 5)], ids=str)
def test_layers_of_one_and_three_axes_as_flax(size):
    """Kernel, strides and padding as one number each, too."""
    x, kernel, steps = draw(2, *size, 3), (4, 3, 2)[: len(size)], (2,) * len(size)
    for ours, theirs in (
        (Conv(4, kernel, 2), nn.Conv(4, kernel, steps)),
        (Conv(4, 3, steps, 1), nn.Conv(4, (3,) * len(size), steps, 1)),
    ):
        variables = variables_of(ours, theirs, x)
        np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), rtol=1e-12, atol=1e-12)
    up, theirs = (layer(4, kernel, steps) for layer in (ConvTranspose, nn.ConvTranspose))
    variables = variables_of(up, theirs, x)
    flipped = np.flip(variables["params"]["kernel"], tuple(range(len(size))))
    mirrored = {"params": {**variables["params"], "kernel": flipped}}
    np.testing.assert_allclose(up.apply(mirrored, x), theirs.apply(variables, x), rtol=1e-12, atol=1e-12)


def test_layers_in_float32():
    with jax.enable_x64(False):
        for layer in (Conv, ConvTranspose):
            out, variables = layer(2, 3).init_with_output(jax.random.key(0), jnp.ones((1, 3, 3, 1)))
            assert {leaf.dtype for leaf in jax.tree.leaves((out, variables))} == {jnp.dtype("float32")}
            assert np.all(variables["params"]["bias"] == 0)
    assert list(Conv(2, 3, use_bias=False).init(jax.random.key(0), draw(1, 3, 3, 1))["params"]) == ["kernel"]


def test_transposed_sizes():
    kernel, y = draw(4, 4, 2, 3), draw(1, 4, 4, 3)
    for size in (7, 14, 28):
        y = conv_transpose(y, kernel, 2, size=size) @ draw(2, 3)
        assert y.shape == (1, size, size, 3)
    assert conv_transpose(y, kernel, (2, 3)).shape == (1, 56, 84, 2)
    assert conv_transpose(y, kernel, 1, "VALID").shape == (1, 31, 31, 2)
    assert conv_transpose(y, kernel, 2, 1).shape == (1, 56, 56, 2)
    assert ConvTranspose(5, 4, 2, size=(55, 56)).init_with_output(jax.random.key(0), y)[0].shape == (1, 55, 56, 5)
    for size in (54, 57):
        with pytest.raises(ValueError, match=r"can't be had from \(28, 28\)"):
            conv_transpose(y, kernel, 2, size=(size, 56))


def test_which_of_the_two(monkeypatch):
    _, k, y, down, up = operands(CASES[0])
    uses_triple = lambda: "gan_jax_forward" in str(jax.make_jaxpr(lambda: down(up(y, k), k))())
    assert module.TRIPLE is None and uses_triple()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not uses_triple()
