"""Rank-1 and mean average precision against lists that are ranked by hand, and plain loops."""

import jax.numpy as jnp
import numpy as np

from gan_jax.metrics import retrieval


def directions(*angles):
    """Return features that are directions in a plane, of several lengths."""
    turn = np.deg2rad(np.array(angles, float))
    return jnp.array((1 + np.arange(len(turn)))[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1))


def test_a_list_by_hand():
    """Right at places 1 and 3 of four: 1/2 (1 + 1)/2 + 1/2 (1/2 + 2/3)/2; where the first is junk: 1 and 2 of three."""
    gallery, whose = directions(1, 10, 20, 30), jnp.array([7, 5, 7, 5])
    query, who, none = directions(0, 0), jnp.array([7, 5]), jnp.zeros((2, 4), bool)
    found = retrieval.ranked(query, who, gallery, whose, none)
    first = (1 + (1 / 2 + 2 / 3) / 2) / 2
    second = ((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2
    np.testing.assert_allclose([found["rank1"], found["mAP"]], [1 / 2, (first + second) / 2], rtol=1e-6)
    found = retrieval.ranked(query, who, gallery, whose, none.at[:, 0].set(True))
    first, second = (0 + 1 / 2) / 2, ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2
    np.testing.assert_allclose([found["rank1"], found["mAP"]], [1 / 2, (first + second) / 2], rtol=1e-6)


def test_no_picture_finds_itself():
    """Two pairs of twins: all are found, first of all; of strangers none, and nothing is NaN."""
    twins = retrieval.among_others(directions(0, 1, 90, 91), jnp.array([0, 0, 1, 1]))
    assert twins["rank1"] == 1 and twins["mAP"] == 1
    strangers = retrieval.among_others(directions(0, 1, 90, 91), jnp.arange(4))
    assert strangers["rank1"] == 0 and strangers["mAP"] == 0


def test_random_features_against_loops():
    """Precision before and at each right one, picture by picture."""
    rng = np.random.default_rng(0)
    features, who = rng.normal(size=(12, 3)), rng.integers(0, 3, 12)
    unit = features / np.linalg.norm(features, axis=1)[:, None]
    firsts, areas = [], []
    for i in range(12):
        others = sorted((j for j in range(12) if j != i), key=lambda j: -(unit[i] @ unit[j]))
        good = [who[j] == who[i] for j in others]
        area, before = 0, 1.0
        for place in range(11):
            now = sum(good[: place + 1]) / (place + 1)
            area += good[place] * (before + now) / 2
            before = now
        firsts, areas = [*firsts, good[0]], [*areas, area / sum(good)]
    found = retrieval.among_others(jnp.array(features), jnp.array(who))
    np.testing.assert_allclose([found["rank1"], found["mAP"]], [np.mean(firsts), np.mean(areas)], rtol=1e-5)
    np.testing.assert_array_equal(
        retrieval.nearest(jnp.array(features), 1, 2)[0],
        sorted(range(1, 12), key=lambda j: -(unit[0] @ unit[j]))[:2],
    )
