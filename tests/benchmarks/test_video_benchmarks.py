"""The benchmarks of clips: they run, a line in each file, and what they say is of whom it says."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.quality import mocogan, next_frame, vgan_features
from gan_jax import UserError, data
from gan_jax.game import rng

TINY = "--preset=tiny --steps=2 --no-measure"


@pytest.mark.long
def test_features_and_contents(tmp_path):
    """Three kinds of features; judges of training, held-out, MoCoGAN's and VGAN's clips."""
    of = {"out": str(tmp_path), "runs": str(tmp_path / "runs")}
    vgan_features.main(TINY, rows=40, iterations=5, **of)
    rows = json.loads((tmp_path / "vgan_features.jsonl").read_text())["rows"]
    assert [r["features"] for r in rows] == ["pixels", "D, random", "D, trained"] and rows[0]["train"] == 40
    mocogan.main(TINY, TINY, judge_steps=50, rows=8, **of)
    rows = json.loads((tmp_path / "mocogan_content.jsonl").read_text())["rows"]
    assert [r["clips"] for r in rows] == ["training", "held out", "MoCoGAN", "VGAN"]
    assert all(r["distance"] >= 0 for r in rows) and ["seen" in r for r in rows] == [True, True, True, False]


@pytest.mark.long
def test_losses_side_by_side(tmp_path):
    """Copying stands first, and each way has its own flags."""
    given = {"out": str(tmp_path), "runs": str(tmp_path / "runs")}
    next_frame.main(("l2", "adversarial"), "--preset=tiny --steps=2", **given)
    rows = json.loads((tmp_path / "next_frame.jsonl").read_text())["rows"]
    assert [r["loss"] for r in rows] == ["the last frame, copied", "l2", "adversarial"]
    assert [(r["config"]["p"], r["config"]["adversarial"]) for r in rows[1:]] == [(2, 0), (1, 0.05)]


def test_clips_that_judges_can_not_learn(tmp_path, monkeypatch):
    """Two sets, or one without labels or held-out clips: a line, before anything is trained."""
    with pytest.raises(UserError, match="same --dataset"):
        mocogan.main("--preset=tiny", "--preset=tiny --dataset=moving_digits", runs=str(tmp_path / "runs"))
    with pytest.raises(UserError, match="no-such"):
        mocogan.main("--preset=tiny", "--preset=tiny --no-such=1", runs=str(tmp_path / "runs"))
    bare = data.Source("bare", {"x": data.Field((4, 8, 8, 1), "video")})
    monkeypatch.setattr(data, "load", lambda name: bare)
    with pytest.raises(UserError, match="labels and a split called test"):
        mocogan.clips(["bare", "bare"])
    assert not (tmp_path / "runs").exists()


def test_frames_of_a_clip_are_moved_alike():
    """A clip whose frames are one picture is one after it was moved, and another clip is moved another way."""
    x = jnp.tile(jnp.arange(64.0).reshape(1, 1, 8, 8, 1), (4, 3, 1, 1, 1))
    y = np.asarray(mocogan.moved(jax.random.key(0), x, 2))
    assert y.shape == x.shape and (y == y[:, :1]).all() and (y[0] != y[1]).any()


@pytest.mark.long
def test_a_judge_that_takes_flicker_for_an_action():
    """A bar that goes down or up, in grain that the clips it learned from have not."""
    y, start = np.arange(64) % 2, np.arange(64) // 8
    at = (start[:, None] + np.where(y, 1, -1)[:, None] * np.arange(8)) % 16
    x = np.repeat(np.where(np.arange(16) == at[..., None], 160, 127)[..., None, None], 16, 3).astype(np.uint8)
    arrays = {"x": x, "y": y.astype(np.int32)}
    fields = {"x": data.Field(x.shape[1:], "video"), "y": data.Field((), "label", np.int32, 2)}
    pick = lambda key, i, b: data.order(rng.at(key, 0, "data"), i, b, len(y))
    read = lambda indices: {name: a[np.asarray(indices)] for name, a in arrays.items()}
    acts, _ = mocogan.judges(data.Source("bars", fields, len(y), pick, read, lambda: arrays), 100)
    clips = x / 127.5 - 1
    assert (np.asarray(acts(clips)) == y).all()
    assert (np.asarray(acts(clips + np.random.default_rng(0).normal(0, 0.2, x.shape))) == y).mean() > 0.9
