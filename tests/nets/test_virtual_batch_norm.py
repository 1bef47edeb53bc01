"""Virtual batch norm in float32 against numpy in float64, on data far from 0."""

import jax
import numpy as np
import pytest

from gan_jax.nets.improved import VirtualBatchNorm


@pytest.mark.parametrize("mean", [0.0, 30.0, 1e4, -1e5])
def test_far_from_zero(mean):
    """Where |mean| is 10,000 deviations the outputs are right to what float32 keeps of the data themselves."""
    rng = np.random.default_rng(0)
    x, reference = (np.float32(mean + rng.normal(size=(n, 3))) for n in (5, 50))
    scale, bias = np.float32([1.0, 2.0, 0.5]), np.float32([0.0, -1.0, 3.0])
    of = VirtualBatchNorm(), {"params": {"scale": scale, "bias": bias}}
    rows, whole = jax.jit(of[0].apply)(of[1], x, reference)

    def normalised(a, among):
        a, among = np.float64(a), np.float64(among)
        return (a - among.mean(0)) / np.sqrt(among.var(0) + 1e-5) * scale + bias

    expected = np.stack([normalised(row, np.concatenate([reference, row[None]])) for row in x])
    close = dict(rtol=1e-5, atol=1e-5 + 1e-6 * abs(mean))
    np.testing.assert_allclose(rows, expected, **close)
    np.testing.assert_allclose(whole, normalised(reference, reference), **close)
    slopes = jax.grad(lambda x: of[0].apply(of[1], x, reference)[0][:, 0].sum())(x)
    assert np.isfinite(slopes).all() and (slopes[:, 0] > 0.1).all()
