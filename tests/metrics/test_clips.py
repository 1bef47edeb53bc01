"""How much content changes: against each two frames by hand."""

import jax.numpy as jnp
import numpy as np

from gan_jax.metrics.clips import content_distance


def test_each_two_frames_count_once():
    """Three frames 3, 4 and 5 apart, on average 4; of frames alike none."""
    features = jnp.array([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], [[1.0, 2.0]] * 3])
    np.testing.assert_allclose(content_distance(features), [(3 + 4 + 5) / 3, 0], rtol=1e-6)
