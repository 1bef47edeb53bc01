"""Curves: which lines share a panel, whose colour they have, and runs laid over one another."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import UserError, curves
from gan_jax.game import losses
from gan_jax.run import cli, plots, recorder
from gan_jax.run.plots import lines, page

CONFIG = {"experiment": "experiments.unrolled", "config": {}, "seed": 3, "seeds": 1, "rekey": 0}


@pytest.fixture
def figures(monkeypatch):
    """The matplotlib figures that are drawn, instead of pictures of them."""
    drawn = []
    monkeypatch.setattr(page, "rendered", lambda fig: (drawn.append(fig), np.zeros((1, 1, 3), np.uint8))[1])
    return drawn


def run(folder, rows, seeds=1):
    """Make a run's folder with these rows and return it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"seeds": seeds}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def draw(tmp_path, rows, seeds=1, first_seed=0):
    file = run(tmp_path / "run", rows, seeds) / "metrics.jsonl"
    plots.curves(tmp_path / "curves.png", file, seeds, first_seed)


def titles(figure):
    return [axis.get_title() for axis in figure.axes]


def test_unlike_scales_share_a_panel(tmp_path, figures):
    """Of one prefix, what is of like size and span shares a panel; a loss in the thousands, or far off, doesn't."""
    rng = np.random.default_rng(0)
    noise = lambda at, wide: float(at + wide * rng.normal())
    rows = [
        {"step": i, "loss/g": noise(2, 0.5), "loss/d": noise(1, 0.3), "loss/c": noise(3000, 500),
         "even/a": noise(1.38, 0.01), "even/b": noise(-1.38, 0.01), "loss": noise(1, 1)}
        for i in range(50)
    ]  # fmt: skip
    draw(tmp_path, rows)
    assert titles(figures[0]) == ["loss: g, d", "loss/c", "even/a", "even/b", "loss"]
    assert [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()] == ["g", "d"]


def test_seeds_have_one_colour(tmp_path, figures):
    """Each seed has a colour in all panels, and the legend says whose it is."""
    rows = [{"step": i, "loss/g": [1.0, 2.0], "loss/d": [i / 9, 3.0], "evaluated": False} for i in range(9)]
    draw(tmp_path, rows, seeds=2, first_seed=3)
    (figure,) = figures
    assert titles(figure) == ["loss/g", "loss/d"]
    colours = [[line.get_color() for line in axis.lines] for axis in figure.axes]
    assert colours[0] == colours[1] and len(set(colours[0])) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seed 3", "seed 4"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), np.arange(9) / 9)
    assert len(set(map(str, lines.palette(40)))) == 40


@pytest.mark.parametrize(
    "name, expected", [("minimax", 1), ("non_saturating", 1), ("least_squares", 0), ("hinge", 0), ("wasserstein", 0),
                       ("relativistic_paired", 0)],
)  # fmt: skip
def test_a_critic_has_no_probabilities(tmp_path, figures, name, expected):
    """D's answers have a panel with a line at 0.5 in games of probabilities, and in no other."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(40):  # D gets better, with noise within a batch and from batch to batch
        goal = (1, 0) if name == "least_squares" else (2, -2)
        real, fake = (rng.normal(end * i / 40, 0.7, 64) + rng.normal() / 4 for end in goal)
        loss = float(np.mean(losses.PAIRS[name].d(real, fake)))
        rows.append({"step": i, "loss/d": loss, "score/real": float(real.mean()), "score/fake": float(fake.mean())})
    draw(tmp_path, rows)
    found = [axis for axis in figures[0].axes if axis.get_title() == "D(x), D(G(z))"]
    assert len(found) == expected
    if expected:
        real, fake, half = found[0].lines
        scores = np.array([[row["score/real"], row["score/fake"]] for row in rows])
        np.testing.assert_allclose(real.get_ydata(), jax.nn.sigmoid(scores[:, 0]), rtol=1e-5)
        np.testing.assert_allclose(fake.get_ydata(), jax.nn.sigmoid(scores[:, 1]), rtol=1e-5)
        assert list(half.get_ydata()) == [0.5, 0.5]


def test_a_game_that_says_its_name(tmp_path, figures):
    """Where the loss is known to be no cross-entropy, no row makes it one."""
    draw(tmp_path, [{"step": i, "loss/d": 9.0, "score/real": 0.1, "score/fake": 0.1} for i in range(3)])
    plots.curves(tmp_path / "c.png", tmp_path / "run" / "metrics.jsonl", loss="least_squares")
    assert "D(x), D(G(z))" in titles(figures[0]) and "D(x), D(G(z))" not in titles(figures[1])


def test_a_step_that_says_its_probabilities(tmp_path, figures):
    """They are drawn as they are, with a panel and a line at 0.5 for each D, and in no other panel."""
    rows = [{"step": i, "p/real_a": 0.9, "p/fake_a": 0.2, "p/real_b": 0.6, "p/fake_b": 0.4} for i in range(3)]
    draw(tmp_path, [row | {"loss/d": -9.0, "score/real": 7.0, "score/fake": -7.0} for row in rows])
    of_d = [axis for axis in figures[0].axes if axis.get_title().startswith("D(x)")]
    assert [axis.get_title() for axis in of_d] == ["D(x), D(G(z)) a", "D(x), D(G(z)) b"]
    assert not [title for title in titles(figures[0]) if title.startswith("p")]
    assert [[*line.get_ydata()][-1] for line in of_d[0].lines] == [0.9, 0.2, 0.5]


def test_a_known_game_whose_loss_has_more_terms(tmp_path, figures):
    """D's loss of infogan or cgan is its game's and others'; where the game is known, the rows need not say it."""
    rows = [{"step": i, "loss/d": -3.0, "score/real": 1.0, "score/fake": -1.0} for i in range(3)]
    file = run(tmp_path / "run", rows) / "metrics.jsonl"
    plots.curves(tmp_path / "c.png", file, loss="non_saturating")
    assert "D(x), D(G(z))" in titles(figures[0])


def test_a_list_of_a_thousand(tmp_path, figures):
    """A short list is a stack that ends at 1; of a long one, a hundred rows hold all of it, of the first seed."""
    rows = [{"step": i, "shares": [[1 / 4] * 4, [1.0, 0, 0, 0]], "many": [[1e-3] * 1000] * 2} for i in range(5)]
    draw(tmp_path, rows, seeds=2, first_seed=7)
    shares, many = figures[0].axes
    assert shares.get_title() == "shares (seed 7)" and len(shares.collections) == 4
    tops = [collection.get_paths()[0].vertices[:, 1].max() for collection in shares.collections]
    np.testing.assert_allclose(tops, [0.25, 0.5, 0.75, 1])
    shown = np.asarray(many.collections[0].get_array())
    assert shown.shape == (100, 5)
    np.testing.assert_allclose(shown.sum(0), 1)


def test_a_long_run_and_gaps(tmp_path, figures):
    """Of 100,000 rows few are drawn, with the running mean on top; what is infinite or missing is a gap."""
    values = np.where(np.arange(100_000) == 70_000, np.inf, 5.0)
    rows = [{"step": i, "a": v} | ({"b": 1.0} if i < 10 else {}) for i, v in enumerate(values.tolist())]
    draw(tmp_path, rows)
    raw, mean = figures[0].axes[0].lines
    assert len(raw.get_xdata()) <= lines.POINTS >= len(mean.get_xdata())
    seen = np.asarray(mean.get_ydata())
    np.testing.assert_allclose(seen[np.isfinite(seen)], 5)
    assert 0 < np.isnan(seen).sum() < 100
    assert len(figures[0].axes[1].lines[0].get_xdata()) == 10


def test_drawing_is_in_the_way(tmp_path, monkeypatch):
    """Curves are drawn 10 seconds after the beginning at the earliest, then after 50 times what drawing took."""
    now, drawn = [0.0], []

    def slow(*_):
        drawn.append(now[0])
        now[0] += 2

    monkeypatch.setattr(recorder.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(plots, "curves", slow)
    with recorder.Recorder(cli.Run(out=str(tmp_path)), 0, 10**6) as recording:
        for i in range(1, 3000):
            now[0] += 0.1
            recording.write(i, {"loss": 1.0})
    gaps = np.diff(drawn)
    assert abs(drawn[0] - 10) < 0.2 and len(drawn) > 2
    assert all(abs(gap - 2 - 100) < 0.2 for gap in gaps)


def test_runs_over_one_another(tmp_path, figures, monkeypatch):
    """A run is a colour, its seeds are thin lines under their mean; --names chooses panels; names tell runs apart."""
    one = run(tmp_path / "a" / "run", [{"step": i, "loss/g": i * 1.0, "modes": 8} for i in range(4)])
    two = run(tmp_path / "b" / "run", [{"step": 2 * i, "modes": [i, i + 2]} for i in range(4)], seeds=2)
    curves.main([str(one), str(two), f"--out={tmp_path / 'both.png'}"])
    assert titles(figures[0]) == ["loss/g", "modes"]
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["a/run", "b/run"]
    first, *seeds, mean = figures[0].axes[1].lines
    assert len(seeds) == 2 and first.get_color() != mean.get_color() == seeds[0].get_color()
    assert seeds[0].get_linewidth() < mean.get_linewidth()
    np.testing.assert_array_equal(mean.get_ydata(), np.arange(4) + 1)
    np.testing.assert_array_equal(mean.get_xdata(), 2 * np.arange(4))
    curves.main([str(one), f"--out={tmp_path / 'one.png'}", "--names=modes,loss/g"])
    assert titles(figures[1]) == ["modes", "loss/g"]


def test_the_picture_of_runs(tmp_path):
    """The picture is one, of some size."""
    folder = run(tmp_path / "run", [{"step": i, "loss/g": i * 1.0} for i in range(4)])
    curves.main([str(folder), f"--out={tmp_path / 'one.png'}"])
    with Image.open(tmp_path / "one.png") as image:
        assert min(image.size) > 200


@pytest.mark.parametrize(
    "flags, message",
    [
        (["none"], r"none holds no run \(it has no config\.json\)"),
        (["run", "empty"], r"empty has no rows yet: there is nothing to draw"),
        (["run", "--names=loss,modes"], r"no run has numbers called modes; there are loss\."),
        (["run", "--out=no/such/x.png"], r"^no/such/x.png can't be written: .* Choose another --out\.$"),
        (["run", "--out=x.nothing"], r"^x.nothing can't be written: .* Choose another --out\.$"),
        (["broken"], r"metrics\.jsonl can't be read"),
        ([], r"name one run's folder or more"),
    ],
)
def test_what_is_no_run(tmp_path, monkeypatch, flags, message):
    """It is refused in one line that names it."""
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "run", [{"step": 1, "loss": 1.0}])
    run(tmp_path / "empty", [])
    (run(tmp_path / "broken", []) / "metrics.jsonl").write_text("{\n")
    with pytest.raises(UserError, match=message) as error:
        curves.main(flags)
    assert "\n" not in str(error.value)
