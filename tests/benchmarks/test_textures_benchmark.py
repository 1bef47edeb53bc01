"""The benchmark of textures: the optimisation is the game's own, with a picture in the place of G, and is recorded."""

import dataclasses
import functools
import json

import jax
import numpy as np
import optax
import pytest

from benchmarks.quality import textures as benchmark
from experiments.pairs import textures
from gan_jax import data
from gan_jax.metrics import frozen

CFG = textures.PRESETS["tiny"]


@pytest.fixture
def small(monkeypatch):
    """A net of one convolution that D looks through."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 4)).astype(np.float32)
    net = frozen.Frozen([(kernel, np.zeros(4, np.float32))], (), 1)
    monkeypatch.setattr(frozen, "load", lambda *_: net)
    return net


@pytest.mark.long
def test_a_picture_is_optimised_against_a_d_that_learns(small):
    """One update by hand: D first, on a crop and on the picture; then the picture against the new D, by its gradient."""
    key = jax.random.key(2)

    @jax.jit
    def found():
        state = textures.init(CFG, jax.random.key(1))
        start, end = (benchmark.optimised(CFG, state, key, 8, n) for n in (0, 1))
        real = data.draw(textures.texture(CFG), jax.random.fold_in(key, 0), 1)["x"]
        see, tx = functools.partial(frozen.seen, small), optax.adam(CFG.lr, CFG.b1)
        d_loss = lambda p: textures.d_loss(p, CFG, state.d, see(real), see(start))[0]
        moves, _ = tx.update(jax.grad(d_loss)(state.d.params), tx.init(state.d.params))
        d = state.d._replace(params=optax.apply_updates(state.d.params, moves))
        return start, end, jax.grad(lambda x: sum(textures.g_losses(CFG, d, x, see(x))))(start)

    start, end, slope = found()
    np.testing.assert_allclose(
        end, start - benchmark.RATE * np.sign(slope), atol=benchmark.RATE / 1000
    )  # Adam's first step
    assert np.abs(slope).min() > 1e-6


@pytest.mark.slow
def test_textures(tmp_path, small):
    """Two sizes: times, their ratio, distances, a picture; the run is trained once."""
    for _ in range(2):
        benchmark.main(2, 2, "--preset=tiny --steps=2", "t", str(tmp_path), str(tmp_path / "runs"))
    rows = [json.loads(line)["rows"][0] for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [row["side"] for row in rows[0]["sizes"]] == [8, 16] and rows[0]["seconds"] == rows[1]["seconds"]
    for row in rows[0]["sizes"]:
        np.testing.assert_allclose(row["ratio"], row["optimised_ms"] / row["g_ms"])
        assert min(row.values()) > 0
    assert rows[0]["config"] == dataclasses.asdict(CFG) | {"steps": 2} and rows[0]["iterations"] == 2
    assert (tmp_path / "t.png").stat().st_size > 500
