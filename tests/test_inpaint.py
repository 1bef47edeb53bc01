"""What `python -m gan_jax.inpaint` fills holes with, and what it says where it can't."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import Player, adam
from PIL import Image

import gan_jax
from experiments.images import dcgan
from gan_jax import UserError, data, inpaint
from gan_jax.metrics import inpainting, poisson
from gan_jax.run import latent, loaded, plots

FEW = ("--n=3", "--starts=2", "--updates=4")
CFG = dataclasses.replace(dcgan.PRESETS["tiny"], dataset="digits", steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of DCGAN on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "dcgan"
    gan_jax.fit(dcgan, CFG, out=folder, eval_every=0, measure=False)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """What it fills three kinds of holes with."""
    return inpaint.main([str(folder), *FEW])


@pytest.mark.long
def test_every_hole_has_its_picture_and_its_numbers(folder, found):
    """In the run's folder; the record says with which flags, of which step."""
    names = {"centre", "half", "pixels"}
    assert {file.name for file in (folder / "inpaint").iterdir()} == {f"{name}.png" for name in names} | {
        "inpaint.json"
    }
    for name in names:
        with Image.open(folder / "inpaint" / f"{name}.png") as picture:
            assert min(picture.size) > 100
    record = json.loads((folder / "inpaint" / "inpaint.json").read_text())
    assert record["found"] == found and set(found) == names and record["step"] == 2 and record["pictures"] == 3
    assert record["weight"] == "paper" and record["starts"] == 2
    for numbers in found.values():
        assert all(math.isfinite(value) for value in numbers.values())


@pytest.mark.parametrize("more", [{}, {"weight": "code", "loss": "non_saturating", "prior": 0.5}])
def test_the_search_is_the_paper_s(folder, more):
    """Each z by itself, by Adam down a sum over known pixels and log(1 - D) (or -log D); the better of two starts counts."""
    flags = inpaint.Flags(str(folder), starts=2, updates=3, lr=0.05, **{"prior": 0.2} | more)
    g = latent.of_run(gan_jax.load(folder), 0, 4)
    x = np.asarray(data.decode({"x": data.load("digits").test.whole()["x"][:2]})["x"])
    hole = np.zeros((2, 8, 8, 1), bool)
    hole[0, 2:6, 2:6] = hole[1, :, :4] = True
    done = inpaint.filler(g, 2, flags)(x, hole)

    weight, truth = inpainting.weights(hole, flags.weight), jnp.asarray(x)
    G, D, _ = dcgan.build(CFG)
    seen = lambda net, player, a: net.apply({"params": player.params, **player.stats}, a, train=False)

    @jax.jit
    def loss(z, i):
        made = seen(G, g.state.g, z[None])
        real = jax.nn.sigmoid(seen(D, g.state.d, made)[0])
        thinks = -jnp.log(real) if flags.loss == "non_saturating" else jnp.log(1 - real) - jnp.log(2.0)
        return sum((weight[i] * jnp.abs(made[0] - truth[i])).ravel()) + flags.prior * thinks

    slope, made = jax.jit(jax.grad(loss)), jax.jit(lambda z: seen(G, g.state.g, z[None])[0])
    for i in range(2):
        ends = []
        for z in (g.z[i], g.z[i + 2]):
            player = Player(jnp.asarray(z), {}, jnp.zeros(4), jnp.zeros(4), jnp.int32(0))
            seen_on_the_way = [player.params]
            for _ in range(3):
                player = adam(player, slope(player.params, i), 0.05)
                player = player._replace(params=jnp.clip(player.params, -1, 1))
                seen_on_the_way.append(player.params)
            ends += [(float(loss(z, i)), z) for z in seen_on_the_way]
        least, z = min(ends, key=lambda end: end[0])
        np.testing.assert_allclose(done.losses[i], least, rtol=1e-5)
        np.testing.assert_allclose(done.made[i], made(z), atol=1e-5)
    np.testing.assert_array_equal(done.pasted, np.where(hole, done.made, x))
    np.testing.assert_allclose(done.blended, np.clip(poisson.blended(x, done.made, hole), -1, 1), atol=1e-5)
    np.testing.assert_allclose(done.smooth, np.clip(poisson.blended(x, 0 * x, hole), -1, 1), atol=1e-5)


def test_what_is_in_the_hole_is_not_looked_at(folder):
    """Other pixels there, the same pictures; and numbers are those of the hole, in the ways that they are called."""
    flags = inpaint.Flags(str(folder), starts=1, updates=2)
    g = latent.of_run(gan_jax.load(folder), 0, 3)
    x = g.samples[:3]
    hole = np.zeros((3, 8, 8, 1), bool)
    hole[:, :, :4] = True
    fill = inpaint.filler(g, 3, flags)
    one, other = fill(x, hole), fill(np.where(hole, 0.9, x), hole)
    for a, b in zip(one[:1] + one[3:], other[:1] + other[3:], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.pasted[~hole[..., 0]], x[~hole[..., 0]])
    numbers = inpaint.measured(inpaint.Filled(x + 0.25, x + 0.2, x + 0.1, x + 2, np.arange(3.0)), x, hole)
    assert numbers["psnr/pasted"] == pytest.approx(20, rel=1e-4) and numbers["psnr/smooth"] == pytest.approx(
        0, abs=1e-4
    )
    assert numbers["context"] == pytest.approx(0.25, rel=1e-4) and numbers["loss"] == 1


def test_a_picture_and_a_mask_of_one_s_own(folder, tmp_path):
    """What G made is found again around a hole, and so in it; the hole is where the mask is bright."""
    x = latent.of_run(gan_jax.load(folder), 0, 30).samples[5]
    mask = np.zeros((8, 8), np.uint8)
    mask[3:5, :3] = 255
    plots.page.save(tmp_path / "mine.png", data.encode(x)[..., 0])
    plots.page.save(tmp_path / "mask.png", mask)
    own = [f"--picture={tmp_path / 'mine.png'}", f"--mask={tmp_path / 'mask.png'}", f"--out={tmp_path / 'out'}"]
    found = inpaint.main([str(folder), *own, "--starts=30", "--updates=200", "--weight=none", "--prior=0"])
    assert set(found) == {"mask"} and {file.name for file in (tmp_path / "out").iterdir()} == {
        "mask.png",
        "inpaint.json",
    }
    assert found["mask"]["psnr/pasted"] > 30 and found["mask"]["context"] < 0.02


@pytest.mark.parametrize("clip, start", [(None, "latent"), (0.5, "normal"), (0.0, "normal")])
def test_where_latents_may_be(folder, clip, start):
    """Those of a run that draws from [-1, 1] stay there; a clip takes them nearer, and 0 lets them go."""
    g = latent.of_run(gan_jax.load(folder), 0, 4)
    keep = inpaint.keep_of(g, inpaint.Flags("", clip=clip, start=start))
    z = np.array([[-3.0, 0.7, 0.2, 1.0]])
    reach = {None: 1, 0.5: 0.5, 0.0: 9}[clip]
    np.testing.assert_allclose(keep(z), np.clip(z, -reach, reach))


@pytest.mark.parametrize(
    "flags, says",
    [
        (["--holes=centre,moon"], "--holes centre,moon: choose from centre, box, half, pixels"),
        (["--holes="], "--holes : choose from"),
        (["--n=0"], "--n is 0; it must be a number, 1 or more"),
        (["--part=1"], "--part is 1.0: a hole takes some of a picture, and not all of it"),
        (["--missing=1.5"], "--missing is 1.5; it must be a number, 0 to 1"),
        (["--prior=-1"], "--prior is -1.0; it must be a number, 0 or more"),
        (["--lr=nan"], "--lr is nan; it must be a number, 0 or more"),
        (["--picture=nothing.png"], "nothing.png can't be read as a picture"),
    ],
)
def test_wrong_flags(folder, flags, says):
    """One line that says what is wrong."""
    with pytest.raises(UserError) as error:
        inpaint.main([str(folder), *FEW, *flags])
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_mask_without_a_hole(folder, tmp_path):
    """Dark all over, or bright: there is nothing to fill, or nothing to fill it by."""
    for level, says in ((0, "dark"), (255, "bright")):
        plots.page.save(tmp_path / "mask.png", np.full((8, 8), level, np.uint8))
        with pytest.raises(UserError, match=f"mask.png is {says} all over"):
            inpaint.main([str(folder), *FEW, f"--mask={tmp_path / 'mask.png'}"])


def test_runs_that_can_not_be_searched(folder, tmp_path, monkeypatch):
    """A D that nobody can ask is named, with the way without it; points have no holes."""
    with monkeypatch.context() as patch:
        patch.delattr(dcgan, "discriminate")
        with pytest.raises(UserError, match=r"defines no `discriminate`\.\n--prior 0 searches without D\."):
            inpaint.main([str(folder), *FEW])
        assert set(inpaint.main([str(folder), *FEW, "--prior=0", "--holes=box", f"--out={tmp_path}"])) == {"box"}
    monkeypatch.setattr(loaded.Loaded, "source", lambda run: data.load("ring8"))
    with pytest.raises(UserError, match="draws points; holes are filled in pictures"):
        inpaint.main([str(folder), *FEW])


def test_d_is_the_run_s(folder):
    """`discriminate` is what D says of pictures by its running statistics: of each by itself."""
    run = gan_jax.load(folder)
    x = jax.random.normal(jax.random.key(0), (5, 8, 8, 1))
    _, D, _ = dcgan.build(run.cfg)
    scores = D.apply({"params": run.state.d.params, **run.state.d.stats}, x, train=False)
    np.testing.assert_allclose(dcgan.discriminate(run.cfg, run.state, x), scores, rtol=1e-6)
    np.testing.assert_allclose(dcgan.discriminate(run.cfg, run.state, x[:1]), scores[:1], rtol=1e-5)
