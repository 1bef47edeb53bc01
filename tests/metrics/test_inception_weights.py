"""The weights of FID's network: from a file, converted from PyTorch's, and torch-fidelity's network where it is."""

import sys
from pathlib import Path

import numpy as np
import pytest
from oracle import random_weights

from gan_jax.errors import UserError
from gan_jax.metrics import inception, protocol

REFERENCE = "a published implementation to compare with: pip install -e '.[reference]'"
TORCH = "PyTorch, whose file is converted: pip install torch"


@pytest.fixture(scope="module")
def made():
    return random_weights(inception.shapes())


def write(file, arrays, **more):
    np.savez(file, **arrays, **more)
    return file


def test_load(tmp_path, made):
    """Only the public file's weights are INCEPTION; the digest is of the parameters."""
    for name, source in (protocol.INCEPTION, inception.PUBLIC), ("inception-v3 of other weights", "0" * 64):
        extractor = inception.load(write(tmp_path / "w.npz", made, source=source))
        assert extractor.name == name and len(extractor.digest) == 16
        assert {k: a.shape for k, a in extractor.params.items()} == inception.shapes()
    other = inception.load(write(tmp_path / "o.npz", made | {"fc.weight": made["fc.weight"] + 1}))
    assert other.digest != extractor.digest and other.name == extractor.name


def test_wrong_weights(tmp_path, made):
    """Missing, cut short, or of another network: said, and nothing stands in for them."""
    with pytest.raises(UserError, match="is missing: FID needs the weights"):
        inception.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no weights")
    with pytest.raises(UserError, match="can't be read"):
        inception.load(tmp_path / "text.npz")
    small = {"fc.weight": np.zeros((1000, 2048), np.float32)}
    with pytest.raises(UserError, match=r"Conv2d_1a_3x3.bn.bias is missing, must be \(32,\)"):
        inception.load(write(tmp_path / "a.npz", small))
    with pytest.raises(UserError, match=r"fc.weight is \(1000, 2048\), must be \(1008, 2048\)"):
        inception.load(write(tmp_path / "b.npz", made | small))
    with pytest.raises(UserError, match=r"AuxLogits is \(1,\), must be missing"):
        inception.load(write(tmp_path / "c.npz", made | {"AuxLogits": np.zeros(1)}))


def test_usage(capsys, monkeypatch, tmp_path):
    """Wrong words and a missing torch end in a line and exit code 2."""
    assert inception.main([]) == 2 and inception.main(["convert", "a.pth"]) == 2 and inception.main(["--help"]) == 0
    assert capsys.readouterr().err.count("usage: ") == 3
    monkeypatch.setitem(sys.modules, "torch", None)
    assert inception.main(["convert", "a.pth", str(tmp_path / "b.npz")]) == 2
    assert "pip install torch" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.fixture
def state(made):
    """What a PyTorch file holds: [o, c, kh, kw], and entries that are of no use."""
    torch = pytest.importorskip("torch", reason=TORCH)
    tensors = {k: torch.from_numpy(a.transpose(3, 2, 0, 1).copy() if a.ndim == 4 else a) for k, a in made.items()}
    counts = {f"{k}.num_batches_tracked": torch.tensor(7) for k in ("Conv2d_1a_3x3.bn", "Mixed_7c.branch_pool.bn")}
    return tensors | counts | {"fc.bias": torch.ones(1008)}


def test_convert(tmp_path, made, state, capsys, monkeypatch):
    """Random weights under the right names come back, bit for bit; the public file is known by its SHA-256."""
    torch = pytest.importorskip("torch", reason=TORCH)
    file, out = str(tmp_path / "w.pth"), str(tmp_path / "w.npz")
    torch.save(state, file)
    assert inception.main(["convert", file, out]) == 0
    assert "inception-v3 of other weights, digest" in capsys.readouterr().out
    extractor = inception.load(out)
    assert extractor.params.keys() == made.keys()
    for name, value in made.items():
        np.testing.assert_array_equal(extractor.params[name], value, err_msg=name)
    with np.load(out) as arrays:
        monkeypatch.setattr(inception, "PUBLIC", str(arrays["source"]))
    assert inception.load(out).name == protocol.INCEPTION


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_convert_says_what_is_wrong(tmp_path, state):
    torch = pytest.importorskip("torch", reason=TORCH)
    file, out = tmp_path / "w.pth", tmp_path / "w.npz"
    with pytest.raises(UserError, match="can't be read as PyTorch weights"):
        inception.convert(tmp_path / "none.pth", out)
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match="can't be read as PyTorch weights"):
        inception.convert(file, out)
    torch.save(Trap(tmp_path / "sprung"), file)  # a pickle may call anything
    with pytest.raises(UserError, match="can't be read as PyTorch weights"):
        inception.convert(file, out)
    assert not (tmp_path / "sprung").exists()
    torch.save({k: v for k, v in state.items() if k != "Mixed_6c.branch1x1.bn.bias"}, file)
    with pytest.raises(UserError, match=r"Mixed_6c\.branch1x1\.bn\.bias is missing"):
        inception.convert(file, out)
    assert not out.exists()
    torch.save(state, file)
    with pytest.raises(UserError, match="can't be written"):
        inception.convert(file, tmp_path / "no folder" / "w.npz")


def test_torch_fidelity(tmp_path, state, made):
    """Features and probabilities of torch-fidelity's network with the same random weights, resizing included."""
    torch = pytest.importorskip("torch", reason=TORCH)
    pytest.importorskip("torch_fidelity", reason=REFERENCE)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.save(state, tmp_path / "w.pth")
    network = FeatureExtractorInceptionV3("", ["2048", "logits_unbiased"], str(tmp_path / "w.pth"))
    raw = np.random.default_rng(0).integers(0, 256, (1, 40, 50, 3), np.uint8)
    features, logits = network(torch.from_numpy(raw).permute(0, 3, 1, 2))
    ours = inception.Inception(made, "", "")(np.float32(raw) / 127.5 - 1)
    np.testing.assert_allclose(ours[0], features.numpy(), atol=1e-4 * float(features.std()))
    np.testing.assert_allclose(ours[1], logits.softmax(1).numpy(), rtol=1e-4)
