"""What `python -m gan_jax.explore` draws of a run, and what it says where it can't."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import threadpoolctl
from PIL import Image
from runs import DIGITS, train

import gan_jax
import gan_jax.data.cache
from experiments import unrolled
from gan_jax import UserError, data, explore
from gan_jax.data import Field, Source
from gan_jax.metrics import classifier, lpips, vgg
from gan_jax.run import latent, plots
from gan_jax.run.setup import Game

N, FEW = 40, ("--n=40", "--train=60", "--updates=2")
PICTURES = "interpolation", "j_diagram", "mine", "truncation", "directions", "projection", "nearest", "tsne"


@pytest.fixture(scope="module", autouse=True)
def judge(tmp_path_factory):
    """A classifier of the digits that was never trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_jax.data.cache, "FOLDER", tmp_path_factory.mktemp("cache"))
        net, source = classifier.Net(10), data.load("digits")
        untrained = classifier.Classifier(net, net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))), 0.1, "0123abcd")
        patch.setattr(classifier, "_LOADED", {source: untrained})
        with threadpoolctl.threadpool_limits(1):
            yield untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(folder, "--steps=2", of=DIGITS)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """What all looks said of it: its numbers; the pictures are in its folder."""
    return explore.main([str(folder), *FEW])


@pytest.fixture(scope="module")
def g(folder):
    return latent.of_run(gan_jax.load(folder), 0, N)


@pytest.mark.long
def test_every_look_has_its_file_and_its_number(folder, found, g):
    """Pictures under captions, of different sizes; numbers with what they are by; nothing else in the folder."""
    files = {f"{name}.png" for name in PICTURES} | {"explore.json"}
    assert {file.name for file in (folder / "explore").iterdir()} == files
    for name in PICTURES:
        with Image.open(folder / "explore" / f"{name}.png") as picture:
            pixels = np.asarray(picture)
        assert min(pixels.shape[:2]) > 100 and len(np.unique(pixels)) > 20, name
    record = json.loads((folder / "explore" / "explore.json").read_text())
    assert record["step"] == 2 and record["latents"] == N and record["path_length_pairs"] == N // 2
    assert record["path_length_by"] == "squared distance in features of classifier of digits 0123abcd"
    assert record["projection_by"] == "mean squared difference"
    assert all(record[name] == value for name, value in found.items()) and record["path_length"] > 0
    assert record["projection"] < record["projection_of_samples"]


def test_what_a_g_can_not_do_is_a_line(folder, capsys, tmp_path):
    """No styles to mix: said, and no file."""
    explore.main([str(folder), "--only=mixing", f"--out={tmp_path / 'new'}", *FEW])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("mixing: left out, its G has no styles to mix")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["explore.json"]


def test_samples_are_those_of_the_experiment(g, folder):
    """Drawn row by row, in parts of any size, they are what `sample` draws; `load` hands both parts on."""
    run = gan_jax.load(folder)
    x = np.asarray(run.sample(jax.random.key(0), N))
    np.testing.assert_allclose(g.samples, x, atol=1e-5)
    z = run.latent(jax.random.key(0), N)
    np.testing.assert_array_equal(z, g.z)
    np.testing.assert_allclose(run.generate(z), x, atol=1e-6)
    two = run._replace(state=jax.tree.map(lambda a: jnp.stack([a, a]), run.state), seeds=2)
    assert two.generate(z[:3]).shape == (2, 3, 8, 8, 1)
    many = g.draw(np.concatenate([g.z, g.z]), np.arange(2 * N) % N)  # more than one part
    np.testing.assert_allclose(many, np.concatenate([x, x]), atol=1e-5)


def test_ways_begin_and_end_at_samples(g):
    """Interpolations at the samples of their latents, grids at their anchors, directions at a sample in their middle."""
    x, beside = g.samples, None
    ways = explore.interpolation(g, beside).picture
    for row in range(8):
        np.testing.assert_allclose(ways.x[row, [0, -1]], x[[row // 2, row // 2 + 4]], atol=1e-5)
    assert np.abs(ways.x[0] - ways.x[1])[3].max() > 1e-4, "the line is not the circle"
    corners = explore.j_diagram(g, beside).picture.x
    np.testing.assert_allclose(corners[[0, 0, -1], [0, -1, 0]], x[:3], atol=1e-5)
    np.testing.assert_allclose(explore.mine(g, beside).picture.x[::3, ::3].reshape(9, 8, 8, 1), x[:9], atol=1e-5)
    along = explore.directions(g, beside).picture
    np.testing.assert_allclose(along.x[:, 3], np.stack([x[0]] * 6), atol=1e-5)
    assert np.abs(along.x[:, 0] - along.x[:, 6]).max((1, 2, 3)).min() > 1e-4, "nothing moves"
    psi = explore.truncation(g, beside).picture.x
    np.testing.assert_allclose(psi[:, 0], x[:6], atol=1e-5)
    np.testing.assert_allclose(psi[:, -1], np.stack([psi[0, -1]] * 6), atol=1e-5)


def fake(generate, drawn, **parts):
    """Return a G of these parts and latents, without an experiment."""
    bare = not isinstance(drawn, dict)
    game = Game(None, None, None, None, None, generate=generate, **parts)
    return latent.G(game, jnp.float32(2), {"z": drawn} if bare else drawn, bare)


Z = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)


def test_labels_stay_and_noise_is_one():
    """Rows keep their own labels while z moves; noise that a key draws is the same for every row."""

    def generate(state, of):
        noise = jax.random.normal(of["key"], of["z"].shape)
        return (of["z"] * state + 100 * of["y"][:, None] + 7 * noise)[:, :, None, None]

    labels = np.arange(12) % 4
    one = fake(generate, {"z": jnp.asarray(Z), "y": jnp.asarray(labels), "key": jax.random.key(3)})
    noise = np.asarray(7 * jax.random.normal(jax.random.key(3), (1, 3)))
    np.testing.assert_allclose(one.samples[..., 0, 0], 2 * Z + 100 * labels[:, None] + noise, rtol=1e-5)
    ways = explore.interpolation(one, None).picture.x[..., 0, 0]
    assert (np.round((ways - noise).mean(-1) / 100) == labels[:4].repeat(2)[:, None]).all()


def test_styles_are_mixed_and_truncated():
    """The first half of the layers from the left, the others from the top; psi = 0 is the average style."""
    styles = lambda state, z, psi: 1 + psi * jnp.stack([z] * 4, 1)  # [n, 4, 3], the average is 1
    synthesise = lambda state, w, z: w[..., None]
    one = fake(
        lambda state, z: synthesise(state, styles(state, z, 1), z), jnp.asarray(Z), styles=styles, synthesise=synthesise
    )
    x = explore.mixing(one, None).picture.x[..., 0]  # [rows, columns, layers, w]
    np.testing.assert_allclose(x[0, 0], 1)
    np.testing.assert_allclose(x[0, 1:, 0], 1 + Z[:5], rtol=1e-6)
    np.testing.assert_allclose(x[1:, 0, 0], 1 + Z[5:9], rtol=1e-6)
    for row in range(4):
        np.testing.assert_allclose(x[row + 1, 1:, :2], np.broadcast_to(x[row + 1, 0, :2], (5, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(x[row + 1, 1:, 2:], x[0, 1:, 2:], rtol=1e-6)
    psi = explore.truncation(one, None).picture.x[..., 0]
    np.testing.assert_allclose(psi[:, 2, 0], 1 + 0.6 * Z[:6], rtol=1e-5)
    np.testing.assert_allclose(psi[:, 5], 1)


def test_a_g_that_sees_no_length():
    """Nothing is truncated where half a latent makes the same."""
    one = fake(lambda state, z: z / jnp.linalg.norm(z, axis=1, keepdims=True), jnp.asarray(Z))
    assert explore.truncation(one, None) == "its G makes the same of a latent that is half as long"
    assert explore.directions(one, None) == "no layer of its G that has a kernel sees the latent"


def test_lpips(monkeypatch):
    """Where it is asked for, projections and path lengths are by it and say so; AlexNet's needs 31 pixels."""
    monkeypatch.setattr(vgg, "CHANNELS", ((4,), (6,)))
    rng = np.random.default_rng(0)
    small = [rng.normal(size=shape).astype(np.float32) for shape in vgg.shapes()]
    layers = [vgg.Layer(*pair) for pair in zip(small[::2], small[1::2], strict=True)]
    heads = [rng.uniform(size=block[-1]).astype(np.float32) for block in vgg.CHANNELS]
    monkeypatch.setattr(vgg, "load", lambda: layers)
    monkeypatch.setattr(vgg, "heads", lambda: heads)
    source = Source("fake", {"x": Field((16, 16, 1), "image")})
    A = jnp.asarray(rng.normal(size=(3, 256)), jnp.float32)
    one = fake(lambda state, z: jnp.tanh(z @ A).reshape(-1, 16, 16, 1), jnp.asarray(Z))
    beside = explore.Beside(source, explore.Flags("", lpips="vgg", updates=3))
    found = explore.path_length(one, beside)
    assert found.numbers["path_length_by"] == "LPIPS (vgg)" and found.numbers["path_length"] > 0
    beside.__dict__["rows"] = one.samples[:2] * 0.9, None
    numbers = explore.projection(one, beside).numbers
    assert numbers["projection_by"] == "LPIPS (vgg)"
    apart = lpips.distance(layers, heads, one.samples[:2], 0.9 * one.samples[:2])
    np.testing.assert_allclose(numbers["projection_of_samples"], apart.mean(), rtol=1e-4)
    with pytest.raises(UserError, match="31 pixels a side or more"):
        _ = dataclasses.replace(beside, flags=explore.Flags("", lpips="alex")).lpips


def test_a_picture_of_one_s_own(folder, g, tmp_path):
    """A sample of G, written as a PNG, is found again; the record says how near."""
    plots.page.save(tmp_path / "mine.png", data.encode(g.samples[5])[..., 0])
    numbers = explore.main(
        [str(folder), "--only=projection", f"--picture={tmp_path / 'mine.png'}", *FEW, "--updates=60"]
    )
    assert numbers["projection"] < 1e-4


def test_points_are_looked_at_too(tmp_path, capsys):
    """Ways over the modes, path lengths in the plane; no nearest pictures, and that is said."""
    train(tmp_path / "ring", "--steps=2")
    capsys.readouterr()
    found = explore.main([str(tmp_path / "ring"), "--only=interpolation,path_length,nearest,tsne", *FEW])
    assert found["path_length_by"] == "squared distance" and found["path_length"] > 0
    said = capsys.readouterr()
    assert said.out.startswith("path length in z") and said.err.count("left out, its samples are points") == 2
    assert {file.name for file in (tmp_path / "ring" / "explore").iterdir()} == {"interpolation.png", "explore.json"}


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--only=interpolation,walks"], "--only walks: choose from interpolation, j_diagram,"),
        (["--n=3"], "--n is 3; it must be a number, 20 or more"),
        (["--only=tsne", "--picture=x.png"], "--picture is for the look projection"),
        (["--only=projection", "--picture=nothing.png", *FEW], "nothing.png can't be read as a picture"),
        (["--lpips=vgg", *FEW], "LPIPS compares pictures of 16 pixels a side or more; these are 8x8"),
    ],
)
def test_wrong_flags(folder, flags, says):
    """One line that says what is wrong."""
    with pytest.raises(UserError) as error:
        explore.main([str(folder), *flags])
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_run_without_a_latent(folder, monkeypatch):
    """One line names the experiment and what it lacks; in a notebook, too."""
    monkeypatch.delattr(unrolled, "generate")
    for look in (lambda: explore.main([str(folder)]), lambda: gan_jax.load(folder).latent(jax.random.key(0), 2)):
        with pytest.raises(UserError) as error:
            look()
        assert (
            str(error.value)
            == "experiments.unrolled has no latent to look into: it defines no `latent` and `generate`."
        )


def test_samples_that_are_not_finite(folder, monkeypatch):
    """They are refused, not drawn black."""
    monkeypatch.setattr(unrolled, "generate", lambda cfg, state, z: jnp.full((len(z), 8, 8, 1), jnp.nan))
    with pytest.raises(UserError, match="not finite: take an earlier --step"):
        explore.main([str(folder), *FEW])
