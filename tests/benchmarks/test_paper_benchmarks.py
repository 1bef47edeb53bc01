"""The benchmarks of the unrolled GAN's own experiments run, with a few steps, and their numbers are what they say."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from benchmarks import harness
from benchmarks.quality import ablation, colour_mnist, lstm_mnist, reconstruct
from gan_jax import UserError, data
from gan_jax.data import composed
from gan_jax.run import rundir


def rows_of(file):
    """Return the rows of the one JSON line of a file."""
    (line,) = file.read_text().splitlines()
    return json.loads(line)["rows"]


@pytest.fixture
def small_sets(monkeypatch):
    """The sets that are made of MNIST's digits, made of 8x8 ones."""
    for name, make in {"stacked_mnist": composed.stacked, "coloured_mnist": composed.coloured}.items():
        monkeypatch.setitem(data.DATASETS, name, lambda name, make=make: make(name, data.load("digits")))
    data.load.cache_clear()
    yield
    data.load.cache_clear()


@pytest.mark.slow
def test_ablation(tmp_path, monkeypatch):
    """Two ways on the ring: a row for each with its history, a table, a picture; nothing is trained twice."""
    given = {"steps": 2, "seeds": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    ablation.main(("plain", "averaged"), **given)
    protocol, *rows = rows_of(tmp_path / "ablation-ring8.jsonl")
    assert protocol["protocol"].startswith("ring8, 2 updates of G, 2 seeds")
    assert [(r["way"], r["history"]["step"], len(r["history"]["modes"][0])) for r in rows] == [
        ("plain", [2], 2),
        ("averaged", [2], 2),
    ]
    table = (tmp_path / "ablation-ring8.md").read_text()
    assert "| way | modes | high quality | reverse kl | seconds |" in table and "| averaged | " in table
    assert (tmp_path / "ablation-ring8.png").stat().st_size > 1000
    monkeypatch.setattr(sys.modules["gan_jax.run.program"], "trained", lambda *_: pytest.fail("trained again"))
    config = tmp_path / "runs" / "ring8-2x2" / "averaged" / "config.json"
    saved = json.loads(config.read_text())
    saved["versions"]["jax"], saved["machine"]["cpu"], saved["commit"] = "0.9", "another", "abc"
    config.write_text(json.dumps(saved))
    ablation.main(("averaged",), **given)
    line = json.loads((tmp_path / "ablation-ring8.jsonl").read_text().splitlines()[-1])
    _, plain, averaged = line["rows"]  # a way that was not asked for stays
    table = (tmp_path / "ablation-ring8.md").read_text()
    assert plain["way"] == "plain" and "| plain | " in table and "| averaged | " in table
    assert averaged["trained"]["jax"] == "0.9" and averaged["trained"]["cpu"] == "another"
    assert plain["trained"]["jax"] == jax.__version__ and plain["trained"]["devices"] == jax.device_count()
    # of the line itself, what all its runs have in common, whoever recorded it
    assert "jax" not in line and "cpu" not in line and "commit" not in line and line["flax"] == plain["trained"]["flax"]


@pytest.mark.long
def test_ablation_over_k(tmp_path):
    """A row for each K in files of their own, of the way `unrolled`."""
    runs = tmp_path / "runs"
    ablation.main(steps=2, seeds=2, ks=(2,), flags="--width=8 --batch-size=8", out=str(tmp_path), runs=str(runs))
    _, *rows = rows_of(tmp_path / "ablation-ring8-k.jsonl")
    assert [row["way"] for row in rows] == ["K = 2"] and len(rows[0]["history"]["modes"][0]) == 2
    config = json.loads((runs / "ring8-2x2" / "K2" / "config.json").read_text())["config"]
    assert config["way"] == "unrolled" and config["unroll"] == 2
    table = (tmp_path / "ablation-ring8-k.md").read_text()
    assert "| K | modes | high quality |" in table and "| 2 | " in table
    assert (tmp_path / "ablation-ring8-k.png").stat().st_size > 1000


def test_ways_of_other_flags_are_not_carried_over(tmp_path):
    """Lines of other flags, or that don't say their flags, are of another protocol."""
    protocol = {"protocol": "ring8, 2 updates", "flags": ""}
    row = lambda way: {"way": way, "trained": {"jax": "0.9"}}
    harness.record("ablation-ring8", [protocol, row("plain"), row("sgd")], str(tmp_path))
    harness.record("ablation-ring8", [protocol | {"flags": "--width=8"}, row("delayed")], str(tmp_path))
    harness.record("ablation-ring8", [{"protocol": protocol["protocol"]}, row("averaged")], str(tmp_path))
    assert list(ablation.carried("ablation-ring8", tmp_path, protocol)) == ["plain", "sgd"]


@pytest.mark.slow
def test_ablation_on_stacks(tmp_path, small_sets):
    """Stacked images are scored in the eyes of the classifier of their base, at each evaluation."""
    given = {"steps": 2, "seeds": 1, "flags": "--eval-every=1", "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    ablation.main(("plain",), "stacked_mnist", **given)
    _, row = rows_of(tmp_path / "ablation-stacked_mnist.jsonl")
    assert row["history"]["step"] == [1, 2] and np.shape(row["history"]["modes"]) == (2, 1)
    assert np.min(row["history"]["modes"]) >= 1 and np.max(row["history"]["reverse_kl"]) <= np.log(1000) + 1e-4


def test_labels():
    """Of three channels the label is 100 red + 10 green + blue; the last thousand is cut to what was asked for."""

    class Run:
        def sample(self, key, n):
            return jnp.broadcast_to(jnp.array([3.0, 1, 4]), (2, n, 2, 2, 3)) * jnp.array([1.0, 2]).reshape(
                2, 1, 1, 1, 1
            )

    class Judge:
        net = type("Net", (), {"classes": 10})

        def __call__(self, x):
            return jax.nn.one_hot(x[:, 0, 0, 0].astype(int), 10)

    seen = harness.labels(Run(), Judge(), 1500)
    np.testing.assert_array_equal(seen, np.array([[314], [628]]).repeat(1500, 1))


@pytest.mark.slow
def test_lstm_mnist(tmp_path):
    """Digits, KL and switches at each moment, and the picture."""
    given = {"steps": 2, "seeds": 2, "moments": 2, "samples": 30, "width": 8, "out": str(tmp_path)}
    lstm_mnist.main((1,), "digits", **given, runs=str(tmp_path / "runs"))
    protocol, row = rows_of(tmp_path / "lstm_mnist.jsonl")
    assert "30 samples" in protocol["protocol"] and row["k"] == 1
    assert np.shape(row["shares"]) == (2, 2, 10) and np.allclose(np.sum(row["shares"], -1), 1)
    assert np.shape(row["modes"]) == np.shape(row["reverse_kl"]) == (2, 2) and np.shape(row["switched"]) == (1, 2)
    assert (tmp_path / "lstm_digits.png").stat().st_size > 1000
    with pytest.raises(UserError, match="holds a run with another g_lr"):
        lstm_mnist.main((1,), "digits", **given, flags="--g-lr=1", runs=str(tmp_path / "runs"))


def test_lstm_summary():
    """By hand: half of the samples moved from the second class to the third."""
    found = lstm_mnist.summary(np.array([[[0.5, 0.5, 0]], [[0.5, 0, 0.5]]]), np.array([0.5, 0.25, 0.25]))
    assert found["modes"] == [[2], [2]] and found["switched"] == [[0.5]]
    np.testing.assert_allclose(found["reverse_kl"], 0.5 * np.log(2))


@pytest.mark.slow
def test_reconstruct(tmp_path):
    """For two K: errors of each image, shares of the best that add up to one, distances, the picture."""
    given = {"steps": 2, "seeds": 2, "width": 4, "images": 3, "starts": 2, "iterations": 2, "samples": 20}
    reconstruct.main((0, 1), "digits", **given, out=str(tmp_path), runs=str(tmp_path / "runs"))
    protocol, *rows = rows_of(tmp_path / "reconstruct.jsonl")
    assert protocol["median"] > 0 and [r["k"] for r in rows] == [0, 1]
    assert all(np.shape(r["errors"]) == (2, 3) and len(r["median"]) == len(r["wasserstein"]) == 2 for r in rows)
    np.testing.assert_allclose(np.sum([r["best"] for r in rows], 0), 1)
    assert rows[0]["ratio"] == [1, 1] and (tmp_path / "reconstruct-digits.png").stat().st_size > 1000


def test_minimum_is_found():
    """Of a quadratic the constant is left over; of Rosenbrock's valley nothing."""
    a = jnp.diag(jnp.array([1.0, 10, 100]))
    np.testing.assert_allclose(reconstruct.minimum(lambda z: z @ a @ z + 2, jnp.ones(3), 20), 2, rtol=1e-6)
    valley = lambda z: (1 - z[0]) ** 2 + 100 * (z[1] - z[0] ** 2) ** 2
    assert reconstruct.minimum(valley, jnp.array([-1.2, 1.0]), 60) < 1e-8


def test_distances():
    """Neighbours make pairs; a last one alone is left out."""
    x = np.array([0.0, 3, 1, 1, 7]).reshape(5, 1, 1, 1) * np.ones((1, 2, 2, 1))
    assert reconstruct.distances(x).tolist() == [6, 0]


@pytest.mark.slow
def test_colour_mnist(tmp_path, small_sets):
    """A row for the data and one for each D and K, and the picture."""
    given = {"steps": 2, "seeds": 2, "samples": 40, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    colour_mnist.main((1,), (2,), flags="--z-dim=8", **given)
    protocol, floor, row = rows_of(tmp_path / "colour_mnist.jsonl")
    assert protocol["protocol"] == "coloured_mnist, 2 steps, 2 seeds, 40 samples, --z-dim=8"
    assert rundir.read(tmp_path / "runs" / "coloured_mnist-2x2" / "d2-k1")["config"]["z_dim"] == 8
    assert (row["d_width"], row["k"], len(row["js"])) == (2, 1, 2)
    assert 0 < floor["js"] < min(row["js"]) < np.log(2)
    assert (tmp_path / "colour_mnist.png").stat().st_size > 1000


def test_coloured_digits():
    """Paper stays near black, ink has the colour; each digit is one image, its colour another one each time."""
    source = composed.coloured("coloured", data.load("digits"), std=0.3, noise=0.0)
    drawn = data.draw(source, jax.random.key(0), 2000)
    x, y = np.asarray(drawn["x"]), np.asarray(drawn["y"])
    assert x.shape == (2000, 8, 8, 3) and sorted(np.unique(y)) == list(range(10)) and np.abs(x).max() <= 1
    image = data.load("digits").read(np.arange(1000))
    ink = image["x"][np.argmax(image["y"] == 3)] / 255
    paint = (x[y == 3][:, ink[..., 0].argmax() // 8, ink[..., 0].argmax() % 8] + 1 - ink.max()) / ink.max()
    inside = np.abs(paint).max(1) < 1
    expected = ink * paint[inside][:, None, None] + ink - 1
    np.testing.assert_allclose(x[y == 3][inside], np.clip(expected, -1, 1), atol=1e-5)
    assert np.abs(paint.mean(0)).max() < 0.1 and np.abs(paint.std(0) - 0.3).max() < 0.05


def test_colours_are_recovered():
    """On figures of one colour over black, noise or not, to the precision of the noise."""
    draw = np.random.default_rng(0)
    paint = draw.uniform(-0.3, 1, size=(20, 3)).astype(np.float32)
    ink = (draw.uniform(size=(20, 8, 8, 1)) < 0.3).astype(np.float32)
    x = ink * paint[:, None, None] - (1 - ink)
    np.testing.assert_allclose(colour_mnist.colours(jnp.asarray(x)), paint, atol=1e-5)
    noisy = x + draw.normal(size=x.shape).astype(np.float32) * 0.1
    np.testing.assert_allclose(colour_mnist.colours(jnp.asarray(noisy)), paint, atol=0.15)


def test_divergence():
    """Of two Gaussians: the integral, with the kernel's variance added; 0 of one and the same; log 2 of far ones."""
    a = scipy.stats.norm.ppf((np.arange(500) + 0.5) / 500)[:, None]
    t, wide = np.linspace(-8, 10, 20001), a.std() * np.sqrt(1 + 500 ** (-2 / 5))
    p, q = (scipy.stats.norm.pdf(t, m, wide) for m in (0, 1.5))
    kl = lambda p, q: np.sum(p * np.log(p / q)) * (t[1] - t[0])
    exact = (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2
    np.testing.assert_allclose(colour_mnist.divergence(a, a + 1.5, 20_000), exact, atol=0.006)
    np.testing.assert_allclose(colour_mnist.divergence(a, a), 0, atol=1e-12)
    np.testing.assert_allclose(colour_mnist.divergence(a, a + 100), np.log(2), atol=1e-6)
