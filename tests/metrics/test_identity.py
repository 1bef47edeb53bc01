"""Whose face it is, on features that are known."""

import jax.numpy as jnp
import numpy as np

from gan_jax.metrics import identity


def faces(*angles):
    """Return pictures whose features, all their pixels, are directions in a plane; brighter ones are no others."""
    turn = np.deg2rad(np.array(angles))
    return jnp.array((1 + np.arange(len(turn)))[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)).reshape(
        -1, 1, 2, 1
    )


def test_who_is_nearest():
    """Of three pictures of two people; with others in the way, one more of ours is taken for a stranger."""
    truth, who = faces(0, 10, 90), jnp.array([[3, 2], [3, 2], [3, 4]])  # the first two are one person
    made = {"ours": faces(8, 80, 60), "truth": truth}
    strangers = faces(62, 200), jnp.array([[5, 5], [6, 6]])
    found = identity.kept(lambda x: x.reshape(len(x), -1), made, (truth, who), strangers)
    cosines = np.cos(np.deg2rad([8, 70, 30])).mean()
    expected = {"cosine/ours": cosines, "rank1/ours": 2 / 3, "rank1_of_all/ours": 1 / 3}
    expected |= {"cosine/truth": 1, "rank1/truth": 1, "rank1_of_all/truth": 1}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_people_that_nobody_knows_are_not_one_person():
    """Two that training never saw, and one that it did: the last one alone counts."""
    truth, strangers = faces(0, 90, 180), (faces(270), jnp.array([4]))
    made = {"ours": faces(80, 10, 100)}  # of the first two each is nearest to the other one, the last one to the second
    found = identity.kept(lambda x: x.reshape(len(x), -1), made, (truth, jnp.array([-1, -1, 3])), strangers)
    assert found["rank1/ours"] == found["rank1_of_all/ours"] == 0
    found = identity.kept(lambda x: x.reshape(len(x), -1), made, (truth, jnp.array([-1, -1, -1])), strangers)
    assert np.isnan(found["rank1/ours"]) and np.isfinite(found["cosine/ours"])


def test_features_of_zeros():
    """Nothing is known of such a face, and nothing is NaN."""
    x = jnp.zeros((2, 1, 2, 1))
    found = identity.kept(lambda x: x.reshape(len(x), -1), {"ours": x}, (x, jnp.arange(2)), (x, jnp.arange(2, 4)))
    assert found["cosine/ours"] == 0 and np.isfinite(list(found.values())).all()
