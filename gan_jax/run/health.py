"""What the rows of a run say about its game, in words.

Five findings, each on the last quarter of the rows (at least the last three). The first and the last are for games of
probabilities (minimax, non-saturating), in which D's loss is 2 log 2 and its scores are 0 when it can't tell.
"""

import math

import jax.numpy as jnp
import numpy as np

from gan_jax import metrics

LOST_D, LOST_G = 0.1, 4.0  # D's loss below, and G's above: G learns nothing any more
DIVERSE = 0.5, 2.0  # mean distance of two samples over that of two real ones: below, collapsed; above, blown up
SWITCHED = 0.4  # share of samples that change their label from one evaluation to the next: above it, oscillating
REST = 0.05, 0.5  # D's loss, as a share off 2 log 2, and the size of its scores: below both, at rest
WELL = "no sign of trouble"


def signs(x, real, anchors):
    """Return {"diversity", "labels"} of samples x [n, ...] beside real ones [m, ...].

    diversity: mean distance of two samples over mean distance of two real ones: about 1 for the data itself, 0 for a
    point. labels [a]: the share of samples that are nearest to each of the anchors [a, ...].
    """
    flat = lambda a: a.reshape(a.shape[0], -1)
    x, real, anchors = flat(x), flat(real), flat(anchors)
    near = jnp.argmin(_squared(x, anchors), 1)[:, None] == jnp.arange(len(anchors))[None]
    return {"diversity": _spread(x[:256]) / _spread(real[:256]), "labels": near.mean(0)}


def _squared(a, b):  # [n, c], [m, c] -> squared distances [n, m]
    return jnp.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)


def _spread(x):
    n = x.shape[0]
    return jnp.sqrt(_squared(x, x)).sum() / (n * (n - 1))


def diagnose(rows: list[dict], seeds: int = 1) -> list[str]:
    """Return a line for each seed about rows of a metrics.jsonl: what is wrong, "at rest", or WELL."""
    return [_of_seed(rows, s if seeds > 1 else None) for s in range(seeds)]


def _of_seed(rows, seed):
    def recent(name):
        found = [np.asarray(row[name] if seed is None else row[name][seed]) for row in rows if name in row]
        return found[-max(3, len(found) // 4) :]

    found = []
    d, g, diversity, labels = (recent(name) for name in ("loss/d", "loss/g", "diversity", "labels"))
    if d and g and 0 <= np.mean(d) < LOST_D and np.mean(g) > LOST_G:
        found.append(f"failed to converge: D's loss is {np.mean(d):.2g} and G's {np.mean(g):.2g}, so G learns nothing")
    if diversity and diversity[-1] < DIVERSE[0]:
        found.append(f"collapsed: samples differ {diversity[-1]:.2f} times as much as data")
    if diversity and diversity[-1] > DIVERSE[1]:
        found.append(f"blown up: samples differ {diversity[-1]:.2g} times as much as data")
    if len(labels) >= 3:
        moved = metrics.label_switches(labels).mean()
        if moved > SWITCHED:
            found.append(f"oscillates: {moved:.0%} of the samples change their mode between evaluations")
    scores = [abs(np.mean(row)) for row in (recent("score/real"), recent("score/fake")) if row]
    even = d and abs(np.mean(d) / (2 * math.log(2)) - 1) < REST[0]
    if not found and even and scores and max(scores) < REST[1]:
        found.append("at rest: D can't tell real from fake")
    return "; ".join(found) or WELL
