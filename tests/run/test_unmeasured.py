"""What is measured with a classifier: trained in the run's folder, stopped and taken up again, or left out."""

import json
import os
import re
import signal
import time
import types

import pytest
from runs import end, killing, start, train, wait_for

from gan_jax import data
from gan_jax.metrics import classifier
from gan_jax.run import cli, fit, log
from gan_jax.run.setup import Setup

JUDGE = types.SimpleNamespace(digest="of a classifier")
ASKING = Setup(data.load("ring8"), 8, 6, classifiers=(data.load("digits"),))


def measured(cfg, state, key, train, test):
    return {"found": state.step}


@pytest.mark.long
def test_without_measure(tmp_path, monkeypatch):
    """With --no-measure no classifier is trained and nothing measured; a resumed run keeps to that until it is told."""
    monkeypatch.setattr(classifier, "load", lambda *_: pytest.fail("a classifier was asked for"))
    parts = {"setup": lambda cfg: ASKING._replace(steps=cfg.steps), "measure": measured}
    _, results = train(tmp_path / "run", "--steps=2", "--no-measure", **parts)
    assert "found" not in results and results["modes"] >= 0  # known modes are counted without a classifier
    assert json.loads((tmp_path / "run" / "config.json").read_text())["measure"] is False
    assert "found" not in train(tmp_path / "run", "--steps=4", "--resume", **parts)[1]
    monkeypatch.setattr(classifier, "load", lambda *_: JUDGE)
    assert train(tmp_path / "run", "--steps=6", "--resume", "--measure", **parts)[1]["found"] == 6


def test_modes_that_a_classifier_counts(capsys):
    """They are left out with --no-measure, and that is said; with it they stay."""
    setup = Setup(data.load("stacked_digits"), 8, 6)
    assert fit.what_is_measured(cli.Run(), setup, measured) == (setup, measured)
    without, measure = fit.what_is_measured(cli.Run(measure=False), setup, measured)
    assert without.source.modes is None and measure is None and without.source.n == setup.source.n
    assert "the coverage of the modes is left out" in capsys.readouterr().err


@pytest.mark.long
def test_a_signal_while_a_classifier_trains(tmp_path, monkeypatch, capsys):
    """The folder is there, how to go on is said, and that command begins the run."""

    def load(source, live):
        with live(1000):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)

    monkeypatch.setattr(classifier, "load", load)
    parts = {"setup": lambda cfg: ASKING._replace(steps=cfg.steps), "measure": measured}
    began = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "run", "--steps=2", **parts)
    assert stopped.value.code == 143 and time.monotonic() - began < 15
    said = capsys.readouterr().err
    assert "what the experiment measures needs a classifier of digits, trained once for all runs (--no-measure" in said
    assert f"to go on: python -m experiments.unrolled --resume --out {tmp_path / 'run'}" in said
    monkeypatch.setattr(classifier, "load", lambda *_: JUDGE)
    assert train(tmp_path / "run", "--resume", **parts)[0].step == 2


def test_how_long_a_classifier_takes(capsys):
    """It is said as soon as it is known: after the second stretch of steps, the first of which is compiled."""
    live = log.Live(1000, title="the classifier of digits")
    with live:
        live.say(50, {"loss": 2.0})
        time.sleep(0.01)
        live.say(100, {"loss": 1.0})
    first, second = capsys.readouterr().err.splitlines()
    assert first == "training the classifier of digits" and re.search(r"step 100/1000 .* about \d+ s left$", second)
    assert [log.minutes(s) for s in (5, 150, 9000)] == ["5 s", "2.5 min", "2.5 h"]


SLOWLY = """
import time
from experiments.__main__ import main
from gan_jax.metrics import classifier
classifier.PAUSE, classifier.EPOCHS, classifier.LEAST_STEPS = 0, 1, 500
finished = classifier.finished
def slowly(some, *given):
    return finished(lambda *at: (time.sleep(0.2), some(*at))[1], *given)
classifier.finished = slowly
main(["unrolled_modes", "--preset=tiny", *__import__("sys").argv[1:]])
"""


@pytest.mark.slow
def test_a_process_that_trains_a_classifier(tmp_path):
    """SIGTERM ends it within 5 seconds with code 143; begun again, it ends its training, and the run begins."""
    given = start("-c", SLOWLY, f"--out={tmp_path / 'run'}", "--eval-every=0", XDG_CACHE_HOME=str(tmp_path / "cache"))
    kept = lambda: list((tmp_path / "cache").rglob("*-unfinished.npz"))
    wait_for(kept, given)
    given.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code, _, stderr = end(given)
    busy = max(1, os.getloadavg()[0] / os.cpu_count())  # others want the cores, too
    assert code == 143 and time.monotonic() - began < 5 * busy, stderr
    assert "the coverage of the modes needs a classifier of digits" in stderr
    assert kept() and (tmp_path / "run" / "config.json").exists()
    flags = f"--out={tmp_path / 'run'}", "--resume"
    again = start("-c", SLOWLY, *flags, XDG_CACHE_HOME=str(tmp_path / "cache"))
    with killing(again):
        finished = lambda: not kept() and list((tmp_path / "cache" / "gan_jax" / "classifiers").iterdir())
        wait_for(finished, again, 300)
        wait_for((tmp_path / "run" / "checkpoints" / "0").exists, again, 300)
