"""Samples of a trained run: from `load` in a notebook, and as a picture from the command line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from runs import DIGITS, same, train

import gan_jax
from experiments import unrolled
from gan_jax import UserError
from gan_jax.data import Field, Source
from gan_jax.run import Setup, plots
from gan_jax.run.plots import page
from gan_jax.sample import main

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """(folder, state) of a run on the ring."""
    out = tmp_path_factory.mktemp("runs") / "ring"
    return out, train(out, "--steps=7")[0]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a run on the digits."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    train(out, "--steps=5", of=DIGITS)
    return out


def by_hand(cfg, state, n):
    """Return what the averaged G makes of standard normal noise."""
    G, *_ = unrolled.build(cfg)
    made = jax.jit(lambda params, z: G.apply({"params": params}, z, train=False))
    return made(state.g_ema[0], jax.random.normal(KEY, (n, cfg.z_dim)))


def picture(file):
    """Return a picture as a numpy array of whole numbers."""
    with Image.open(file) as image:
        return np.asarray(image).astype(int)


def test_load(ring):
    """It gives the module, the config and the very state, and samples of the averaged G as a function of the key."""
    out, state = ring
    run = gan_jax.load(out)
    assert run.experiment is unrolled and run.seeds == 1
    assert (run.cfg.steps, run.cfg.width, run.cfg.dataset) == (7, 8, "ring8")
    same(run.state, state)
    x = run.sample(KEY, 5)
    assert x.shape == (5, 2) and x.dtype == jnp.float32
    np.testing.assert_array_equal(x, run.sample(KEY, 5))
    assert not np.allclose(x, run.sample(jax.random.key(4), 5))
    np.testing.assert_allclose(x, by_hand(run.cfg, state, 5), atol=1e-6)
    assert not np.allclose(x, by_hand(run.cfg, state._replace(g_ema=(state.g.params, {})), 5), atol=1e-6)


def test_load_images(digits):
    """Images come as [n, h, w, c]."""
    assert gan_jax.load(digits).sample(KEY, 3).shape == (3, 8, 8, 1)


def test_load_several_seeds(tmp_path):
    """Of several seeds there are n samples each, from the same noise."""
    train(tmp_path / "run", "--steps=2", "--seeds=2")
    run = gan_jax.load(tmp_path / "run")
    x = run.sample(KEY, 5)
    assert x.shape == (2, 5, 2) and run.seeds == 2
    for i in range(2):
        np.testing.assert_allclose(x[i], by_hand(run.cfg, jax.tree.map(lambda a, i=i: a[i], run.state), 5), atol=1e-6)
    main([str(tmp_path / "run"), f"--out={tmp_path / 'both.png'}"])
    main([str(tmp_path / "run"), f"--out={tmp_path / 'again.png'}"])
    height, width, _ = picture(tmp_path / "both.png").shape
    assert width > 1.9 * height
    assert (tmp_path / "both.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_load_of_another_module(ring, tmp_path):
    """A run of a module that is not in experiments/ is loaded by handing it over."""
    (tmp_path / "checkpoints").symlink_to(ring[0] / "checkpoints")
    text = (ring[0] / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace("experiments.unrolled", "mine.unrolled"))
    with pytest.raises(
        UserError, match=r"was trained by 'mine\.unrolled': pass that module, load\(folder, experiment\)"
    ):
        gan_jax.load(tmp_path)
    same(gan_jax.load(tmp_path, unrolled).state, ring[1])


def test_load_of_an_older_config(ring, tmp_path):
    """Where the Config has lost a field, the message names it."""
    config = json.loads((ring[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"config": config["config"] | {"lost": 1}}))
    with pytest.raises(UserError, match=r"config\.json: lost is 1, and the experiment has no lost any more"):
        gan_jax.load(tmp_path)


def test_a_grid_of_digits(digits, tmp_path):
    """Ten 8x8 images are three rows of four with gaps between, enlarged by a whole factor to 512 pixels or more."""
    out = tmp_path / "grid.png"
    main([str(digits), "--n=10", "--seed=3", f"--out={out}"])
    large, size = picture(out), 8 * 16 + page.GAP
    assert large.shape == (3 * size + page.GAP, 4 * size + page.GAP, 3)
    x = gan_jax.load(digits).sample(KEY, 10)
    for i in range(12):
        tile = large[page.GAP + i // 4 * size :][: 8 * 16, page.GAP + i % 4 * size :][:, : 8 * 16]
        expected = (x[i] + 1) * 127.5 if i < 10 else jnp.full((8, 8, 1), page.GROUND)
        np.testing.assert_allclose(tile, np.asarray(expected).repeat(16, 0).repeat(16, 1).repeat(3, 2), atol=0.51)


def test_a_scatter_of_the_ring(ring, tmp_path):
    """Points are drawn: more of them where more are asked for, elsewhere with another seed."""
    drawn = {}
    for name, flags in {"few": ["--n=5"], "many": ["--n=500"], "other": ["--n=5", "--seed=1"]}.items():
        main([str(ring[0]), *flags, f"--out={tmp_path / name}.png"])
        plot = picture(tmp_path / f"{name}.png")
        assert 0.8 < plot.shape[0] / plot.shape[1] < 1.25 and plot.shape[0] > 200
        drawn[name] = plot[..., 2] - plot[..., 0] > 40  # blue
    assert 0 < drawn["few"].sum() < drawn["many"].sum() / 5
    assert (drawn["few"] != drawn["other"]).any()


def test_samples_of_clips(ring, tmp_path, monkeypatch):
    """Where a run's own source says that samples are clips, all n are strips, with a GIF beside them."""
    drawn = lambda cfg, state, key, n: jax.random.uniform(key, (n, 4, 8, 8, 1))
    monkeypatch.setattr(unrolled, "sample", drawn)
    source = Source("clips", {"x": Field((4, 8, 8, 1), "video")})
    monkeypatch.setattr(unrolled, "setup", lambda cfg: Setup(source, 1, 1))
    main([str(ring[0]), "--n=20", f"--out={tmp_path / 'clips.png'}"])
    height, width, _ = picture(tmp_path / "clips.png").shape
    assert abs(height / width - 5) < 0.5
    with Image.open(tmp_path / "clips.gif") as gif:
        assert gif.n_frames == 4
    assert plots.KINDS["video"].shown < 20


@pytest.mark.parametrize("out", ["no/such/folder/x.png", "x.nothing"])
def test_a_picture_that_can_not_be_written(ring, tmp_path, monkeypatch, out):
    """It is a line that names the file, and leaves none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{out} can't be written: .* Choose another --out.$"):
        main([str(ring[0]), f"--out={out}"])
    assert not list(tmp_path.iterdir())
