"""The benchmarks of the unrolled GAN's own experiments run, with a few steps, and their numbers are what they say."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import ablation, lstm_mnist, measure
from gan_jax import data


def rows_of(file):
    """Return the rows of the one JSON line of a file."""
    (line,) = file.read_text().splitlines()
    return json.loads(line)["rows"]


@pytest.fixture
def small_stack(monkeypatch):
    """A stacked_mnist made of the 8x8 digits."""
    monkeypatch.setitem(data.DATASETS, "stacked_mnist", functools.partial(data.stacked, of="digits"))
    data.load.cache_clear()
    yield
    data.load.cache_clear()


def test_ablation(tmp_path, monkeypatch):
    """Two ways on the ring: a row for each with its history, a table, a picture; nothing is trained twice."""
    given = {"steps": 2, "seeds": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    ablation.main(("plain", "averaged"), **given)
    protocol, *rows = rows_of(tmp_path / "ablation-ring8.jsonl")
    assert protocol["protocol"].startswith("ring8, 2 updates of G, 2 seeds")
    assert [(r["way"], r["history"][-1]["step"], len(r["history"][-1]["modes"])) for r in rows] == [
        ("plain", 2, 2),
        ("averaged", 2, 2),
    ]
    table = (tmp_path / "ablation-ring8.md").read_text()
    assert "| way | modes | high quality | reverse kl | seconds |" in table and "| averaged | " in table
    assert (tmp_path / "ablation-ring8.png").stat().st_size > 1000
    monkeypatch.setattr(ablation.ablation, "main", lambda _: pytest.fail("trained again"))
    ablation.main(("averaged",), **given)


def test_ablation_on_stacks(tmp_path, small_stack):
    """Stacked images are scored by the classifier of their base at each moment."""
    given = {"steps": 2, "seeds": 1, "samples": 40, "moments": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    ablation.main(("plain",), "stacked_mnist", **given)
    _, row = rows_of(tmp_path / "ablation-stacked_mnist.jsonl")
    assert [moment["step"] for moment in row["history"]] == [1, 2]
    assert all(1 <= moment["modes"] <= 40 and moment["reverse_kl"] >= np.log(1000 / 40) for moment in row["history"])


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

    seen = measure.labels(Run(), Judge(), 1500)
    np.testing.assert_array_equal(seen, np.array([[314], [628]]).repeat(1500, 1))


def test_lstm_mnist(tmp_path):
    """For two K: digits, KL and switches at each moment, and the picture."""
    given = {"steps": 2, "seeds": 2, "moments": 2, "samples": 30, "width": 8, "out": str(tmp_path)}
    lstm_mnist.main((0, 1), "digits", **given, runs=str(tmp_path / "runs"))
    protocol, *rows = rows_of(tmp_path / "lstm_mnist.jsonl")
    assert "30 samples" in protocol["protocol"] and [r["k"] for r in rows] == [0, 1]
    for row in rows:
        assert np.shape(row["shares"]) == (2, 2, 10) and np.allclose(np.sum(row["shares"], -1), 1)
        assert np.shape(row["modes"]) == np.shape(row["reverse_kl"]) == (2, 2) and np.shape(row["switched"]) == (1, 2)
    assert (tmp_path / "lstm_digits.png").stat().st_size > 1000


def test_lstm_summary():
    """By hand: half of the samples moved from the second class to the third."""
    found = lstm_mnist.summary(np.array([[[0.5, 0.5, 0]], [[0.5, 0, 0.5]]]), np.array([0.5, 0.25, 0.25]))
    assert found["modes"] == [[2], [2]] and found["switched"] == [[0.5]]
    np.testing.assert_allclose(found["reverse_kl"], 0.5 * np.log(2))
