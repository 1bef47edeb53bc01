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
from gan_jax import UserError, data
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


def test_samples_of_records_that_come_again(digits, tmp_path, monkeypatch, capsys):
    """Said where there are more of them than records that are held out, 300, or parts draw the same ones anew."""
    drawn = lambda cfg, state, key, n: data.examples(data.load(cfg.dataset), key, n)["x"]
    said = {}
    for n, out in ((300, "a.png"), (301, "b.png"), (300, "a.npz"), (700, "b.npz")):
        for sample in (unrolled.sample, drawn):
            with monkeypatch.context() as patch:
                patch.setattr(unrolled, "sample", sample)
                main([str(digits), f"--n={n}", f"--out={tmp_path / out}"])
            said[out, sample] = "come again" in (words := capsys.readouterr().err)
            assert not said[out, sample] or f"{n} samples are of 300 of them at most" in words
    assert [name for name, there in said.items() if there] == [("b.png", drawn), ("b.npz", drawn)]


def unpacked(file):
    """Return the arrays of an .npz, and its protocol."""
    with np.load(file) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return found, json.loads(str(found.pop("protocol")))


def test_an_archive_for_other_tools(digits, tmp_path):
    """Pictures uint8 [n, h, w, c] under arr_0, those of one seed the same however many; what they are of beside them."""
    for n, out in ((7, "few.npz"), (600, "many.npz")):
        main([str(digits), f"--n={n}", "--seed=3", f"--out={tmp_path / out}"])
    (few, says), (many, _) = (unpacked(tmp_path / name) for name in ("few.npz", "many.npz"))
    assert few.keys() == {"arr_0"} and few["arr_0"].shape == (7, 8, 8, 1) and few["arr_0"].dtype == np.uint8
    np.testing.assert_array_equal(few["arr_0"], many["arr_0"][:7])
    assert len(np.unique(many["arr_0"].reshape(600, -1), axis=0)) == 600  # the second part is no copy of the first
    run = gan_jax.load(digits)
    x = np.asarray(run.sample(jax.random.fold_in(KEY, 0), 500))[:7]
    assert np.abs(np.rint((np.clip(x, -1, 1) + 1) * 127.5) - few["arr_0"]).max() <= 1
    assert (says["data"], says["step"], says["seed"], says["drawn_with_seed"]) == ("digits", 5, 0, 3)
    assert {f.name for f in tmp_path.iterdir()} == {"few.npz", "many.npz"}


def test_an_archive_a_seed(tmp_path):
    """Points float32; of several seeds a file each, named by the seed; of an earlier step other samples."""
    train(tmp_path / "run", "--steps=4", "--seeds=2", "--seed=5")
    main([str(tmp_path / "run"), "--n=9", f"--out={tmp_path / 'x.npz'}"])
    main([str(tmp_path / "run"), "--n=9", "--step=2", f"--out={tmp_path / 'early.npz'}"])
    assert {f.name for f in tmp_path.glob("*.npz")} == {
        f"{name}-seed{s}.npz" for name in ("x", "early") for s in (5, 6)
    }
    found = {file.stem: unpacked(file) for file in tmp_path.glob("*.npz")}
    assert found["x-seed6"][0]["arr_0"].shape == (9, 2) and found["x-seed6"][0]["arr_0"].dtype == np.float32
    assert not np.allclose(found["x-seed5"][0]["arr_0"], found["x-seed6"][0]["arr_0"])
    assert not np.allclose(found["x-seed5"][0]["arr_0"], found["early-seed5"][0]["arr_0"])
    assert [found[name][1]["step"] for name in ("x-seed5", "early-seed5")] == [4, 2]
    with pytest.raises(UserError, match="holds no checkpoint of step 3; there are "):
        main([str(tmp_path / "run"), "--step=3", f"--out={tmp_path / 'y.npz'}"])


def test_labels_beside_samples(digits, tmp_path, monkeypatch):
    """Where an experiment says which labels it drew for, they stand beside the samples, part by part."""
    drawn = lambda cfg, key, n: jax.random.randint(key, (n,), 0, 10)
    monkeypatch.setattr(unrolled, "labels", drawn, raising=False)
    main([str(digits), "--n=502", f"--out={tmp_path / 'x.npz'}"])
    found, _ = unpacked(tmp_path / "x.npz")
    keys = [jax.random.fold_in(jax.random.key(0), i) for i in range(2)]
    expected = np.concatenate([drawn(None, key, 500) for key in keys])[:502]
    np.testing.assert_array_equal(found["arr_1"], expected)
    assert found["arr_1"].dtype == np.int32


def test_more_than_a_picture_holds(digits, tmp_path):
    """Refused before they are drawn, with the way to have as many."""
    with pytest.raises(
        UserError, match=r"--n is 2000000000; a picture holds 8,388,608 of these at most: --out samples"
    ):
        main([str(digits), "--n=2000000000", f"--out={tmp_path / 'x.png'}"])


def test_a_folder_of_pictures(digits, tmp_path, monkeypatch):
    """One .png a sample, those of the archive; a folder in which something is, is refused."""
    monkeypatch.chdir(tmp_path)
    main([str(digits), "--n=12", "--png"])
    main([str(digits), "--n=12", "--out=x.npz"])
    files = sorted(tmp_path.glob("samples/*"))
    assert [file.name for file in files] == [f"{i:06}.png" for i in range(12)]
    np.testing.assert_array_equal(np.stack([picture(file) for file in files]), unpacked("x.npz")[0]["arr_0"][..., 0])
    with pytest.raises(UserError, match="samples is there already: name a new folder"):
        main([str(digits), "--n=12", "--png"])
    with pytest.raises(UserError, match=r"--png makes a folder, and --out is x.npz"):
        main([str(digits), "--png", "--out=x.npz"])


def test_points_are_no_pictures(ring, tmp_path):
    with pytest.raises(UserError, match="draws no grey or RGB pictures"):
        main([str(ring[0]), "--png", f"--out={tmp_path / 'x'}"])
    with pytest.raises(UserError, match=r"no/x.npz|No such file"):
        main([str(ring[0]), f"--out={tmp_path / 'no' / 'x.npz'}"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["no/such/folder/x.png", "x.nothing", "x", "x.psd"])
def test_a_picture_that_can_not_be_written(ring, tmp_path, monkeypatch, out):
    """It is a line that names the file, and leaves none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unrolled, "sample", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UserError, match=f"^{out} can't be written: .* Choose another --out.$"):
        main([str(ring[0]), f"--out={out}"])
    assert not list(tmp_path.iterdir())
