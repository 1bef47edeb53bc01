"""Runs in numbers: what `python -m gan_jax.score` measures, beside what, and what it refuses."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import threadpoolctl
from PIL import Image
from runs import DIGITS, train

import gan_jax.data.cache
from experiments import unrolled
from gan_jax import UserError, data, metrics, sample, score, spectrum
from gan_jax.data import Field, Source
from gan_jax.metrics import classifier, features, neighbours, suite
from gan_jax.metrics.protocol import Measured
from gan_jax.run import Setup, provenance

N = 60


@pytest.fixture(scope="module", autouse=True)
def judge(tmp_path_factory):
    """A classifier of the digits that was never trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_jax.data.cache, "FOLDER", tmp_path_factory.mktemp("cache"))
        net, source = classifier.Net(10), data.load("digits")
        untrained = classifier.Classifier(net, net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))), 0.1, "0123abcd")
        patch.setattr(classifier, "_LOADED", {source: untrained})
        with threadpoolctl.threadpool_limits(1):  # of small matrices threads cost more than they save
            yield untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of two seeds on the ring, one on the digits, and a copy of that."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "ring", "--steps=4", "--seeds=2")
    train(folder / "digits", "--steps=4", of=DIGITS)
    shutil.copytree(folder / "digits", folder / "copy")
    return folder


def scored(folder, *flags):
    """Return (what --out holds, {(name, seed): Measured} of the runs, {name: Measured} of the data)."""
    out = folder / "score.json"
    score.main([*flags, f"--n={N}", f"--out={folder}"])
    found = json.loads(out.read_text(), parse_constant=lambda word: pytest.fail(word))
    out.unlink()
    rows = lambda name: [Measured(**row) for row in found[name]]
    return (
        found,
        {(one.run, one.name, one.seed): one for one in rows("measured")},
        {one.name: one for one in rows("data")},
    )


def samples(run, folder):
    """Return the same samples as another tool gets them."""
    sample.main([str(run), f"--n={N}", f"--out={folder / 'x.npz'}"])
    files = sorted(folder.glob("x*.npz"))
    found = [np.load(file)["arr_0"] for file in files]
    for file in files:
        file.unlink()
    return found


@pytest.fixture(scope="module")
def of_digits(folder):
    written = lambda: {file: file.stat().st_mtime_ns for file in (folder / "digits").rglob("*")}
    before = written()
    found = scored(folder, str(folder / "digits"), f"--picture={folder / 'alike.png'}")
    assert written() == before, "a run is only read"
    return found


@pytest.mark.long
def test_pictures(folder, of_digits, judge):
    """The numbers are those of the samples that `gan_jax.sample` gives away, against the test split, by its classifier."""
    found, rows, best = of_digits
    (x,), source = samples(folder / "digits", folder), data.load("digits")
    seen = np.asarray(judge.features(data.decode(x)))
    real = np.concatenate([part["x"] for part in data.parts(source.test, N)])
    real = np.asarray(judge.features(jnp.asarray(real)))
    of = {name: one for (_, name, _), one in rows.items()}
    np.testing.assert_allclose(of["frechet"].values["frechet"], features.frechet(real, seen), rtol=1e-3)
    assert of["precision_recall"].values == pytest.approx(neighbours.precision_recall(real, seen))
    assert of.keys() == best.keys() == {
        "frechet", "kernel", "precision_recall", "density_coverage", "ndb", "birthday", "memorisation", "class_score",
        "classes", "sliced",
    }  # fmt: skip
    assert found["left_out"].keys() == {"ms_ssim"} and found["commit"] is not None and found["machine"]
    with Image.open(folder / "alike.png") as picture:
        assert picture.width > picture.height > 100


@pytest.mark.long
def test_the_protocol_of_a_number(of_digits, judge):
    _, rows, best = of_digits
    one = next(one for (_, name, _), one in rows.items() if name == "frechet")
    assert (one.split, one.real, one.fake) == ("test", N, N)
    assert one.dataset.startswith("digits 8x8x1 (") and "test 300" in one.dataset
    assert (one.extractor, one.digest) == ("classifier of digits", judge.digest)
    assert (one.ema, one.step, one.seed) == (True, 4, 0) and len(one.commit) >= 40
    assert best["frechet"].run == "data" and best["sliced"].extractor == ""
    assert next(one for (_, name, _), one in rows.items() if name == "memorisation").settings == f"train={N}"


@pytest.mark.long
def test_the_floor_is_of_data(of_digits):
    """Training pictures in the place of samples are nearly as good as can be; a G of four steps is not."""
    _, rows, best = of_digits
    of = {name: one.values for (_, name, _), one in rows.items()}
    assert best["frechet"].values["frechet"] < 0.5 * of["frechet"]["frechet"]
    assert best["density_coverage"].values["coverage"] > 0.8 > of["density_coverage"]["coverage"]
    assert 0.3 < best["memorisation"].values["closer"] < 0.7


def test_points_of_two_seeds(folder, capsys):
    """Mode coverage of each seed by itself, as of the points given away; the table has mean and spread."""
    found, rows, best = scored(folder, str(folder / "ring"))
    ring = data.load("ring8")
    given = samples(folder / "ring", folder)
    assert len(given) == 2 and not np.allclose(*given)
    for seed, x in enumerate(given):
        expected = metrics.coverage(jnp.asarray(x), *ring.modes)
        one = rows[str(folder / "ring"), "modes", seed]
        assert (
            one.values == pytest.approx({k: float(v) for k, v in expected.items()}) or one.values["reverse_kl"] is None
        )
        assert one.extractor == "" and one.fake == N and one.split == "draws"
    assert best["modes"].values["modes"] == 8 and best["modes"].values["high_quality"] > 0.9
    table = capsys.readouterr().out
    assert "ring8 2: 60 samples a seed (seed 0) against 60 reals (draws)" in table
    (line,) = [line for line in table.splitlines() if line.startswith("frechet")]
    assert line.split()[1] == "low" and "±" in line
    assert found["left_out"].keys() == {"ms_ssim", "class_score"}


def test_runs_side_by_side(folder, capsys, monkeypatch):
    """A column each; where one is of an average and the other not, only when that is asked for."""
    both = [str(folder / name) for name in ("digits", "copy")]
    monkeypatch.setattr(score, "averages", lambda run: run.folder.name == "digits")
    with pytest.raises(UserError, match=r"ema is True and False[\s\S]*--despite ema"):
        score.main([*both, f"--n={N}"])
    score.main([*both, f"--n={N}", "--despite=ema", "--features=pixels"])
    table = capsys.readouterr().out.splitlines()
    assert table[1].split() == ["better", "data", "digits", "copy"]
    assert ["averaged", "yes", "no"] in [line.split() for line in table]
    assert len(next(line for line in table if line.startswith("frechet")).split()) == 5


def test_unlike_runs_are_refused_before_anything_is_drawn(folder, monkeypatch):
    monkeypatch.setattr(score, "prepare", lambda *_: pytest.fail("measured"))
    with pytest.raises(UserError, match="dataset is 'ring8 2' and 'digits 8x8x1 "):
        score.main([str(folder / "ring"), str(folder / "digits")])


@pytest.mark.parametrize(
    "flags, says",
    [
        ([], "name one run's folder or more"),
        (["none"], "none holds no run"),
        (["ring", "--n=49"], "--n is 49; it must be a number, 50 or more"),
        (["ring", "--train=3"], "--train is 3; it must be a number, 50 or more"),
        (["ring", "--seed=-1"], "--seed is -1"),
        (["ring", "--step=3"], "holds no checkpoint of step 3; there are 0, 2, 4|there are 2, 4"),
        (["ring", "--despite=seed"], "--despite seed: choose from name"),
        (["ring", "--features=vgg16"], "are points: their features are they themselves"),
        (["digits", "--features=vgg"], "classifier, vgg16, pixels, or an .npz of Inception's weights"),
        (["digits", "--features=none.npz"], "none.npz is missing: FID needs the weights"),
        (["ring", "--out=ring/config.json"], "is there already, and holds no scores"),
        (["ring", "--out=no/x.json"], "there is no folder no"),
        (["ring", "--out=x.txt"], "must be the name of a .json"),
        (["ring", "--picture=x.jpg"], "must be the name of a .png"),
        (["ring", "--nn=3"], "Unrecognized options: --nn"),
    ],
    ids=str,
)
def test_what_is_refused(folder, monkeypatch, flags, says):
    """In one or two lines, and nothing is written."""
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match=says) as error:
        score.main(flags)
    assert len(str(error.value).splitlines()) <= 2 and sorted(folder.rglob("*")) == before


def test_other_kinds_are_named(folder, monkeypatch):
    """Clips can't be scored here; the line says how to hand them to other tools."""
    clips = Source("clips", {"x": Field((4, 8, 8, 1), "video")})
    monkeypatch.setattr(unrolled, "setup", lambda cfg: Setup(clips, 1, 1))
    with pytest.raises(
        UserError, match=r"draws video; points and pictures alone can be scored[\s\S]*gan_jax.sample .*npz"
    ):
        score.main([str(folder / "ring")])


def test_sets_of_one_name(folder):
    """Another split, other features or other pictures of a folder of the same name are another data set."""
    one = Source("x", {"x": Field((8, 8, 1), "image")}, says="x: x image; small1 90, test 30\n  a note", content="ab")
    assert score.named(one) == "x 8x8x1 (x image; small1 90, test 30) ab"
    others = [dataclasses.replace(one, **changed) for changed in ({"says": "x: x image; small2 90"}, {"content": "cd"})]
    assert len({score.named(source) for source in (one, *others)}) == 3


def test_data_that_changed(folder, tmp_path, capsys):
    """A run is not held against other records than those that it was trained on; where it draws of them, that is said."""
    out = shutil.copytree(folder / "digits", tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"data": "of before"}))
    for use in (score.main, spectrum.main):
        with pytest.raises(UserError, match="changed since it was trained"):
            use([str(out)])
    sample.main([str(out), f"--out={tmp_path / 'x.png'}"])  # of a G that needs no data, that harms nothing
    assert "run changed since it was trained: what it makes of data, it makes of these" in capsys.readouterr().err


def test_samples_that_are_not_finite(folder, monkeypatch):
    """They are refused, and not rounded to black."""
    monkeypatch.setattr(unrolled, "sample", lambda cfg, state, key, n: jnp.full((n, 8, 8, 1), jnp.nan))
    for use in (score.main, lambda flags: sample.main([flags[0], f"--out={folder / 'x.npz'}"])):
        with pytest.raises(UserError, match="draws samples that are not finite"):
            use([str(folder / "digits"), f"--n={N}", "--features=pixels"])
    assert not list(folder.glob("*x.npz*"))


# What a state's samples are drawn from


def test_what_samples_are_drawn_from(folder):
    """The fields that are read, whatever else the state holds; an average that is none is not called one."""
    run = gan_jax.load(folder / "digits")
    draw = lambda state, key, n: unrolled.sample(run.cfg, state, key, n)
    assert provenance.sampled(draw, run.state) == ["g_ema"] and provenance.averaged(run.state, ["g_ema"])
    itself = run.state._replace(g_ema=(run.state.g.params, run.state.g.stats))  # as a decay of 0 leaves it
    assert provenance.sampled(draw, itself) == ["g_ema"] and not provenance.averaged(itself, ["g_ema"])
    other = lambda state, key, n: jax.tree.leaves(state.g.params)[0].ravel()[:n] + jax.random.normal(key)
    assert provenance.sampled(other, run.state) == ["g"] and not provenance.averaged(run.state, ["g"])
    for name, average, seeds in (("digits", True, [0]), ("ring", True, [0, 1])):
        said = json.loads((folder / name / "results.json").read_text())["protocol"]
        assert (said["sampled"], said["averaged"], said["seeds"], said["step"]) == (["g_ema"], average, seeds, 4)


# The metrics themselves


def seen(x):
    """Return pictures uint8 and their pixels as features, with class probabilities: dark, bright."""
    flat = x.reshape(len(x), -1) / 127.5 - 1
    bright = flat.mean(1) > 0
    return score.extractors.Seen(x, flat, np.stack([~bright, bright], 1).astype(float))


def pictures(n, seed):
    """Return smooth pictures uint8 [n, 16, 16, 1] of two kinds: half of them bright."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 100, (n, 4, 4, 1)) + 155 * rng.integers(0, 2, (n, 1, 1, 1))
    return small.repeat(4, 1).repeat(4, 2).astype(np.uint8)


def test_every_metric_tells_bad_samples_from_good_ones():
    """A sampler of the data is near the floor, one that collapsed is far, and one that copies is closer than data."""
    source = Source("x", {"x": Field((16, 16, 1), "image")}, n=900)
    real, train = seen(pictures(150, 0)), seen(pictures(150, 1))
    chosen, missing = suite.suite(source, real, 150, "classifier of x")
    assert not missing
    noise = np.random.default_rng(2).integers(0, 9, (150, 16, 16, 1))
    fakes = {"good": pictures(150, 3), "collapsed": (train.x[:1] // 2 + noise).astype(np.uint8), "copies": train.x}
    of = {name: {} for name in (*fakes, "floor")}
    for name, metric in chosen.items():
        of["floor"] |= suite.floor(name, metric, real, train)
        for fake, x in fakes.items():
            of[fake] |= metric.of(real, seen(x), train)
    low = ("frechet", "kernel", "ndb", "js", "sliced", "ms_ssim", "class_kl", "duplicate")
    high = ("recall", "coverage", "class_score", "classes", "support", "density")
    for name in low:
        assert of["collapsed"][name] > max(of["good"][name], of["floor"][name]) + 0.01, name
    for name in high:
        assert of["collapsed"][name] < min(of["good"][name], of["floor"][name]), name
    assert of["good"]["frechet"] < 1.5 * of["floor"]["frechet"] < 0.1 * of["collapsed"]["frechet"]
    assert of["copies"]["closer"] == 1 and of["copies"]["copied"] == 1 and of["copies"]["closer_z"] < -14
    assert 0.4 < of["floor"]["closer"] < 0.6 and 0.4 < of["good"]["closer"] < 0.6 and abs(of["floor"]["closer_z"]) < 3


@pytest.mark.parametrize("side, left_out", [(16, set()), (8, {"ms_ssim"}), (6, {"ms_ssim", "sliced"})])
def test_what_makes_no_sense_is_left_out(side, left_out):
    source = Source("x", {"x": Field((side, side, 1), "image")}, n=900)
    some = seen(np.zeros((60, side, side, 1), np.uint8))
    chosen, missing = suite.suite(source, some, 60, "classifier of x")
    assert missing.keys() == left_out and not left_out & chosen.keys()
    _, missing = suite.suite(source, some._replace(probabilities=None), 60, "vgg16")
    assert missing.keys() == left_out | {"class_score"}


def test_inception_s_numbers_have_their_own_names():
    """FID, KID and Inception Score are of the public weights alone."""
    source, some = Source("x", {"x": Field((16, 16, 1), "image")}, n=900), seen(pictures(60, 0))
    chosen, _ = suite.suite(source, some, 60, score.protocol.INCEPTION)
    assert {"fid", "kid", "inception_score"} <= chosen.keys() and "frechet" not in chosen and "classes" not in chosen
    assert chosen["fid"].of(some, some, some).keys() == {"fid"}
    other, _ = suite.suite(source, some, 60, "inception-v3 of other weights")
    assert {"frechet", "kernel", "class_score"} <= other.keys()
