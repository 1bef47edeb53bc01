"""What became of an attribute, and of the people, in pictures that were edited."""

from collections.abc import Callable

import jax.numpy as jnp

from gan_jax import data
from gan_jax.metrics import labels

MOST = 500  # pictures of each kind


def edited(judge: Callable, attribute: int, test: dict, edit: Callable) -> tuple[dict, dict]:
    """Return (numbers, pictures {name: [m, h, w, c]}) of up to 500 test pictures with the attribute, as many without.

    judge: pictures [m, h, w, c] -> logits [m, classes]; attribute: the class of those that have it. test: raw records
    {"x": with it, "source": without}. edit: (pictures with it, pictures without) -> (the second ones that were given
    it, the first ones that were rid of it). The numbers are "attribute/NAME", the share of the pictures of that name in
    which the judge sees it, and, where the records say whose pictures they are, "person/edited", "person/as_it_is":
    that of the pictures whose `same_person` it is.
    """
    m = min(MOST, *(len(part["x"]) for part in test.values()))
    has, lacks = (data.decode({"x": test[name]["x"][:m]})["x"] for name in ("x", "source"))
    given, rid = edit(has, lacks)
    rows = {"with": has, "rid_of_it": rid, "without": lacks, "given_it": given}
    found = {f"attribute/{name}": (judge(x).argmax(1) == attribute).mean() for name, x in rows.items()}
    if "person" in test["x"]:
        whose = jnp.concatenate([test[name]["person"][:m] for name in ("x", "source")])
        real, new = jnp.concatenate([has, lacks]), jnp.concatenate([rid, given])
        for name, x in {"edited": new, "as_it_is": real}.items():
            found[f"person/{name}"] = same_person(x, real, whose)
    return found, rows


def same_person(new, real, person):
    """Return the share of pictures new [n, h, w, c] whose nearest real one, their own left out, shows their person.

    real: [n, h, w, c]; new[i] was made of real[i], which shows person[i], a label [n] or a name in tokens [n, t].
    Nearest is that of the smallest squared distance. Pictures of which nobody knows who it is don't count.
    """
    n, there = len(real), labels.known(person)
    new, real, person = (a.reshape(n, -1) for a in (new, real, person))
    apart = ((new[:, None] - real[None]) ** 2).sum(2) + jnp.where(jnp.eye(n, dtype=bool), jnp.inf, 0)
    return ((person[apart.argmin(1)] == person).all(1) & there).sum() / there.sum()
