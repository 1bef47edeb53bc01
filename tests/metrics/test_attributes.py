"""What is said of edited pictures, of a few that are worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.metrics import attributes

LEVELS = np.array([0, 10, 100, 130, 200], np.uint8)  # of the pictures, all of one pixel


def test_the_nearest_of_the_others():
    """The picture itself, of which the new one was made, does not count; a tie in one letter of a name is no match."""
    real = jnp.asarray(LEVELS, jnp.float32).reshape(5, 1, 1, 1)
    person = jnp.array([[3, 3], [3, 4], [5, 5], [5, 5], [3, 3]])
    assert attributes.same_person(real, real, person) == np.float32(2 / 5)  # nearest to 0 is 10, to 200 is 130
    new = real.at[4].set(30.0).at[2].set(60.0)  # 30 is nearest to 10, 60 to 10, now that 100 is left out
    assert attributes.same_person(new, real, person) == np.float32(1 / 5)
    assert attributes.same_person(new, real, jnp.array([0, 0, 0, 1, 0])) == np.float32(4 / 5)  # labels; 130 is alone


def test_people_that_nobody_knows_are_not_one_person():
    """A name that training never saw is <unk>, a label is -1: of three such pictures nothing is said."""
    real = jnp.asarray(LEVELS, jnp.float32).reshape(5, 1, 1, 1)
    names = jnp.array([[1, 2], [1, 2], [3, 2], [3, 2], [1, 2]])  # <unk> <end>; anna <end>
    for person in (names, jnp.array([-1, -1, 0, 0, -1])):
        assert attributes.same_person(real, real, person) == 1
    assert np.isnan(attributes.same_person(real, real, jnp.full(5, -1)))


def test_edited():
    """Shares of either kind, as many of both; the second and the first ones are edited; persons only where named."""
    column = lambda *levels: np.array(levels, np.uint8).reshape(-1, 1, 1, 1)
    test = {
        "x": {"x": column(255, 255, 0), "person": np.array([0, 1, 0])},
        "source": {"x": column(0, 51), "person": np.array([0, 1])},
    }
    judge = lambda x: jnp.concatenate([0 * x, x], 3)[:, 0, 0]  # the attribute is there where x is above 0
    found, rows = attributes.edited(judge, 1, test, lambda has, lacks: (lacks + 0.9, -has))
    assert list(rows) == ["with", "rid_of_it", "without", "given_it"]
    x = np.concatenate([x.ravel() for x in rows.values()])
    np.testing.assert_allclose(x, [1, 1, -1, -1, -1, -0.6, -0.1, 0.3], rtol=1e-6)
    shares = {name: float(value) for name, value in found.items() if name.startswith("attribute")}
    assert shares == {"attribute/with": 1, "attribute/rid_of_it": 0, "attribute/without": 0, "attribute/given_it": 0.5}
    # as they are: 1 and 1, -1 and -0.6 are nearest to one another, all of two people; edited, -1 is nearest to -1 and to
    # -1, -0.1 to -0.6 (of person 1), 0.3 to 1 (person 0)
    assert found["person/as_it_is"] == 0 and found["person/edited"] == 0.25
    other, _ = attributes.edited(judge, 0, {name: {"x": part["x"]} for name, part in test.items()}, lambda a, b: (b, a))
    assert other["attribute/with"] == 0 and not [name for name in other if name.startswith("person")]


def test_no_more_than_the_most(monkeypatch):
    """The first ones alone are edited."""
    monkeypatch.setattr(attributes, "MOST", 2)
    x = np.zeros((9, 1, 1, 1), np.uint8)
    seen = []
    attributes.edited(
        lambda x: x[:, 0, 0], 0, {"x": {"x": x}, "source": {"x": x}}, lambda a, b: seen.append(a) or (a, b)
    )
    assert seen[0].shape[0] == 2


@pytest.mark.parametrize("width", [1, 3])
def test_all_pixels_count(width):
    """The distance is over all of a picture."""
    real = jnp.zeros((3, 1, width, 2)).at[1].set(1.0).at[2, 0, 0, 0].set(1.0)
    assert attributes.same_person(real, real, jnp.array([5, 6, 5])) == np.float32(2 / 3)
